'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { Producer, Subscriber, cursors } = require('..');
const { withDaemon } = require('./daemon');

async function publish(daemon, count, topic = 't', first = 0) {
  const producer = new Producer({ socket: daemon.socket });
  await Promise.all(Array.from({ length: count }, (_, i) => producer.publish(topic, first + i)));
  await producer.close();
}

async function take(subscriber, count) {
  const events = [];
  while (events.length < count) events.push((await subscriber.next()).value);
  return events;
}

const once = (emitter, event) => new Promise((resolve) => { emitter.once(event, resolve); });
const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

test('history, then live, without a seam; caught up in between', withDaemon(async (daemon) => {
  await publish(daemon, 3000);
  const subscriber = new Subscriber({ socket: daemon.socket, from: 'earliest', prefetch: 100 });
  const caughtUp = once(subscriber, 'caughtUp');
  const events = await take(subscriber, 3000);
  assert.ok(await caughtUp >= 3000);
  await publish(daemon, 500, 't', 3000);
  events.push(...await take(subscriber, 500));
  assert.deepEqual(events.map((event) => event.seq), numbers(1, 3500));
  assert.deepEqual(events.map((event) => event.payload), numbers(0, 3499));
  assert.equal(typeof events[0].time, 'bigint');
  assert.ok(Math.abs(events[0].date - Date.now()) < 600000);
  subscriber.close();
  assert.deepEqual(await subscriber.next(), { value: undefined, done: true });
}));

test('from where it is asked: after a sequence, since a time, latest', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket });
  for (let i = 0; i < 5; i++) await producer.publish('t', i, { time: 1000000000000 + i * 1000 });
  const latest = new Subscriber({ socket: daemon.socket });
  await once(latest, 'connect');
  await producer.publish('t', 5, { time: 1000000009000 });
  await producer.close();
  const starts = [[{ after: 3 }, 3], [{ after: 0n }, 0], [{ since: new Date(1000000002000) }, 2], [{ since: 1000000004000000000n }, 4]];
  for (const [start, first] of starts) {
    const subscriber = new Subscriber({ socket: daemon.socket, ...start });
    assert.deepEqual((await take(subscriber, 6 - first)).map((event) => event.payload), numbers(first, 5));
    subscriber.close();
  }
  assert.deepEqual((await take(latest, 1)).map((event) => event.payload), [5]);
  latest.close();
}));

test('topics and where choose', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket });
  for (let i = 0; i < 20; i++) await producer.publish(i % 2 ? 'signal.buy' : 'trade.eur', { price: i });
  await producer.close();
  const subscriber = new Subscriber({ socket: daemon.socket, after: 0, topics: ['signal.*'], where: 'price >= 15' });
  assert.deepEqual((await take(subscriber, 3)).map((event) => event.payload.price), [15, 17, 19]);
  subscriber.close();
  for (const bad of [{ where: 'price >>' }, { topics: 'a.>.b' }, { from: 'here' }, { after: 1, from: 'latest' }, { after: 10 ** 9 }]) {
    const wrong = new Subscriber({ socket: daemon.socket, ...bad });
    await assert.rejects(wrong.next(), (error) => error.code === 'invalid', JSON.stringify(bad));
  }
  assert.throws(() => new Subscriber({ topic: 't' }), /no option/);
}));

test('a lost connection is neither loss nor repetition, without a cursor', withDaemon(async (daemon) => {
  await publish(daemon, 2000);
  const subscriber = new Subscriber({ socket: daemon.socket, after: 0, prefetch: 50 });
  const events = await take(subscriber, 700);
  await daemon.kill();
  await daemon.start();
  events.push(...await take(subscriber, 800));
  await daemon.kill('SIGTERM');
  await daemon.start();
  events.push(...await take(subscriber, 500));
  assert.deepEqual(events.map((event) => event.seq), numbers(1, 2000));
  subscriber.close();
}));

test('a cursor: committed is done, in this process and the next, over kills', withDaemon(async (daemon) => {
  await publish(daemon, 1000);
  const first = new Subscriber({ socket: daemon.socket, cursor: 'c', prefetch: 64 });
  const events = await take(first, 300);
  assert.equal(await first.commit(events[199]), 200);
  await daemon.kill();
  await daemon.start();
  events.push(...await take(first, 100));
  assert.deepEqual(events.map((event) => event.seq), numbers(1, 400), 'nothing twice in one process');
  await first.commit();
  first.close();
  assert.deepEqual((await cursors({ socket: daemon.socket })).map(({ name, position, lag }) => ({ name, position, lag })),
    [{ name: 'c', position: 400, lag: 600 }]);
  const second = new Subscriber({ socket: daemon.socket, cursor: 'c' });
  assert.deepEqual((await take(second, 600)).map((event) => event.seq), numbers(401, 1000));
  second.close();
}));

test('a commit always ends: of what is done already, before it, and beyond what was given', withDaemon(async (daemon) => {
  await publish(daemon, 10);
  const subscriber = new Subscriber({ socket: daemon.socket, cursor: 'c' });
  const events = await take(subscriber, 5);
  assert.equal(await subscriber.commit(5), 5);
  assert.equal(await subscriber.commit(events[4]), 5);
  assert.equal(await subscriber.commit(), 5);
  assert.equal(await subscriber.commit(3), 5);
  for (const beyond of [999, 6n]) await assert.rejects(subscriber.commit(beyond), { code: 'invalid' });
  await take(subscriber, 2);
  assert.deepEqual(await Promise.all([subscriber.commit(7), subscriber.commit(6)]), [7, 7]);
  subscriber.close();
}));

test('a cursor that somebody moved meanwhile is where it goes on', withDaemon(async (daemon) => {
  await publish(daemon, 100);
  const subscriber = new Subscriber({ socket: daemon.socket, cursor: 'c', prefetch: 16 });
  await take(subscriber, 50);
  assert.equal(await subscriber.commit(40), 40);
  await daemon.kill('SIGTERM');
  daemon.command('cursors', 'c', '--reset-to', '20');
  // Before there is a daemon again, or the subscriber may be faster than the commit.
  const moved = assert.rejects(subscriber.commit(45), { code: 'moved' });
  const connected = once(subscriber, 'connect');
  await daemon.start();
  await moved;
  await connected;
  assert.deepEqual((await take(subscriber, 40)).map((event) => event.seq), numbers(21, 60));
  assert.equal(await subscriber.commit(), 60);
  await daemon.kill('SIGTERM');
  daemon.command('cursors', 'c', '--reset-to', '90');
  const again = once(subscriber, 'connect');
  await daemon.start();
  await again;
  assert.deepEqual((await take(subscriber, 10)).map((event) => event.seq), numbers(91, 100));
  subscriber.close();
}));

test('a cursor that somebody removed meanwhile is made again where it was', withDaemon(async (daemon) => {
  const subscriber = new Subscriber({ socket: daemon.socket, cursor: 'c', from: 'latest' });
  await once(subscriber, 'connect');
  await publish(daemon, 20);
  const events = await take(subscriber, 10);
  assert.equal(await subscriber.commit(5), 5);
  await daemon.kill('SIGTERM');
  daemon.command('cursors', 'c', '--remove');
  await daemon.start();
  await publish(daemon, 1, 't', 20);
  events.push(...await take(subscriber, 11));
  assert.deepEqual(events.map((event) => event.seq), numbers(1, 21));
  subscriber.close();
  assert.deepEqual((await cursors({ socket: daemon.socket })).map(({ position }) => position), [5]);
}));

test('a log that has become shorter is told, and the subscription ends', withDaemon(async (daemon) => {
  await publish(daemon, 10);
  await daemon.kill('SIGTERM');
  const copy = `${daemon.directory}.copy`;
  fs.cpSync(daemon.directory, copy, { recursive: true });
  await daemon.start();
  await publish(daemon, 10, 't', 10);
  const subscriber = new Subscriber({ socket: daemon.socket, after: 0 });
  await take(subscriber, 20);
  await daemon.kill('SIGTERM');
  fs.rmSync(daemon.directory, { recursive: true });
  fs.renameSync(copy, daemon.directory);
  await daemon.start();
  await assert.rejects(subscriber.next(), { code: 'damaged' });
}));

test("a listener's exception is the program's, and does not end the subscription", withDaemon(async (daemon) => {
  await publish(daemon, 3);
  const script = `
    const { Subscriber } = require(${JSON.stringify(path.resolve(__dirname, '..'))});
    process.on('uncaughtException', (error) => console.log(error.message));
    const subscriber = new Subscriber({ socket: ${JSON.stringify(daemon.socket)}, after: 0 });
    subscriber.on('connect', () => { throw new Error('mine'); });
    (async () => {
      for (let i = 0; i < 3; i++) console.log((await subscriber.next()).value.seq);
      subscriber.close();
    })();`;
  const output = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  assert.equal(output, 'mine\n1\n2\n3\n');
}));

test('the newest subscriber has the cursor, and the one before does not come back', withDaemon(async (daemon) => {
  await publish(daemon, 10);
  const older = new Subscriber({ socket: daemon.socket, cursor: 'c' });
  await take(older, 10);
  const newer = new Subscriber({ socket: daemon.socket, cursor: 'c' });
  await assert.rejects(older.next(), (error) => error.code === 'replaced');
  assert.equal((await take(newer, 10)).length, 10);
  newer.close();
}));

test('a group: each event to one member; released comes again; after so many tries, dead', withDaemon(async (daemon) => {
  await publish(daemon, 100);
  const options = { socket: daemon.socket, topics: 't', cursor: 'g', shared: true, tries: 2, prefetch: 10 };
  const members = [new Subscriber(options), new Subscriber(options)];
  const done = [];
  const bad = [];
  let settled = 0;
  let tell;
  const allSettled = new Promise((resolve) => { tell = resolve; });
  const loops = members.map(async (member) => {
    for await (const event of member) {
      assert.ok(event.tries >= 1);
      if (event.payload % 10 === 9) {
        bad.push([event.payload, event.tries]);
        assert.equal(await member.release(event), 1);
      } else {
        done.push(event.payload);
        assert.equal(await member.accept(event), 1);
      }
      if (++settled === 90 + 2 * 10) tell();
    }
  });
  await Promise.race([allSettled, Promise.all(loops)]);
  assert.deepEqual(done.sort((a, b) => a - b), numbers(0, 99).filter((n) => n % 10 !== 9));
  assert.deepEqual(bad.sort((a, b) => a[0] - b[0] || a[1] - b[1]), numbers(0, 9).flatMap((n) => [[10 * n + 9, 1], [10 * n + 9, 2]]));
  const dead = new Subscriber({ socket: daemon.socket, after: 0, topics: '_dead.g' });
  assert.deepEqual((await take(dead, 10)).map((event) => event.payload.payload).sort((a, b) => a - b), numbers(0, 9).map((n) => 10 * n + 9));
  dead.close();
  members.forEach((member) => member.close());
  await Promise.all(loops);
}));

test('a slow program has no more than prefetch in memory', withDaemon(async (daemon) => {
  await publish(daemon, 5000);
  const subscriber = new Subscriber({ socket: daemon.socket, after: 0, prefetch: 20 });
  for (let i = 0; i < 200; i++) {
    await subscriber.next();
    if (i % 50 === 0) await publish(daemon, 1);
    assert.ok(subscriber.queue.length <= 20, String(subscriber.queue.length));
  }
  subscriber.close();
}));

test('what retention has deleted meanwhile is told as lost', withDaemon(async (daemon) => {
  await daemon.kill('SIGTERM');
  await daemon.start('--segment-size', '64K');
  const pad = () => Buffer.from(Array.from({ length: 500 }, () => Math.random() * 256));
  const producer = new Producer({ socket: daemon.socket });
  const subscriber = new Subscriber({ socket: daemon.socket, after: 0, prefetch: 2 });
  const losses = [];
  let last = 0;
  subscriber.on('lost', (loss) => {
    losses.push(loss);
    assert.equal(loss.first, last + 1, 'it is told in its place among the events');
  });
  await producer.publish('t', pad());
  last = (await subscriber.next()).value.seq;
  for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 100 }, () => producer.publish('t', pad())));
  daemon.command('retention', '--max-size', '300K');
  await producer.publish('t', pad());
  while (last < 4002) last = (await subscriber.next()).value.seq;
  assert.ok(losses.some((loss) => loss.cause === 'retention'), JSON.stringify(losses));
  subscriber.close();
  await producer.close();
}));

test('lost is told in its place: behind what came before it, before what comes after', async () => {
  const subscriber = new Subscriber({ socket: '/nonexistent/daybook.sock', after: 0 });
  const told = [];
  subscriber.on('lost', ({ first, last }) => told.push([first, last]));
  subscriber.position = 0n; // as if subscribed
  subscriber.onFrame(['events', 2, [[1, 0n, 't', null], [2, 0n, 't', null]]]);
  subscriber.onFrame(['lost', 3, 9, 'retention', 'gone']);
  subscriber.onFrame(['events', 10, [[10, 0n, 't', null]]]);
  assert.deepEqual((await take(subscriber, 2)).map((event) => event.seq), [1, 2]);
  assert.deepEqual(told, []);
  assert.equal((await subscriber.next()).value.seq, 10);
  assert.deepEqual(told, [[3, 9]]);
  const waiting = subscriber.next();
  subscriber.onFrame(['lost', 11, 12, 'damage', 'gone']);
  assert.deepEqual(told, [[3, 9], [11, 12]], 'who waits already is told at once');
  subscriber.close();
  assert.equal((await waiting).done, true);
});

test('finish gives what has come, and ends: all of history', withDaemon(async (daemon) => {
  await publish(daemon, 1000);
  for (const prefetch of [1, 7, 5000]) {
    const subscriber = new Subscriber({ socket: daemon.socket, after: 0, prefetch });
    subscriber.once('caughtUp', () => subscriber.finish());
    const seen = [];
    for await (const event of subscriber) seen.push(event.seq);
    assert.deepEqual(seen, numbers(1, 1000));
  }
}));

test('ESM and CommonJS give the same', async () => {
  const esm = await import('../index.mjs');
  assert.equal(esm.Producer, Producer);
  assert.equal(esm.default.Subscriber, Subscriber);
});
