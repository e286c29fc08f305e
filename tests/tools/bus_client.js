/* A subscriber for test_bus_kill.py, written with the client for Node; as bus_client.c is. */
'use strict';

const fs = require('node:fs');
const { Subscriber } = require('../../tools/node');

const COMMIT_EVERY = 7;
const LOOK_MS = 50;
const [socket, cursor, stop] = process.argv.slice(2);

/* The file comes whole, by a rename. */
const lastWanted = () => (fs.existsSync(stop) ? Number(fs.readFileSync(stop, 'ascii')) : Infinity);

async function main() {
  const subscriber = new Subscriber({ socket, cursor });
  let count = 0;
  let given = 0;
  subscriber.on('lost', (loss) => { throw new Error(`lost: ${JSON.stringify(loss)}`); });
  const look = setInterval(async () => {
    if (given < lastWanted()) return;
    clearInterval(look);
    await subscriber.commit();
    subscriber.close();
  }, LOOK_MS);
  for await (const event of subscriber) {
    fs.writeSync(1, `${event.seq} ${event.topic} ${JSON.stringify(event.payload)}\n`);
    given = event.seq;
    if (++count % COMMIT_EVERY === 0) subscriber.commit(event);
  }
}

main();
