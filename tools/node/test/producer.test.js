'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { DaybookError, Producer, status } = require('..');
const { Daemon, withDaemon } = require('./daemon');

const rejects = (promise, code, text = /./) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof DaybookError, error.stack);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, text);
  return true;
});

test('events get their sequences, in the order of the calls', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket });
  const sequences = await Promise.all(Array.from({ length: 5000 }, (_, i) => producer.publish('t', { i })));
  assert.deepEqual(sequences, Array.from({ length: 5000 }, (_, i) => i + 1));
  await producer.close();
  assert.deepEqual(daemon.read().map((event) => event.payload.i), Array.from({ length: 5000 }, (_, i) => i));
}));

test('times are a Date, milliseconds, or nanoseconds; without one it is the daemon\'s', withDaemon(async (daemon) => {
  const producer = new Producer({ directory: daemon.directory });
  await producer.publish('t', 1, { time: new Date('2026-01-02T03:04:05.678Z') });
  await producer.publish('t', 2, { time: 1767323045678.25 });
  await producer.publish('t', 3, { time: 1767323045678000123n });
  const before = Date.now();
  await producer.publish('t', 4);
  await producer.close();
  const times = daemon.read().map((event) => event.time);
  assert.deepEqual(times.slice(0, 3), ['2026-01-02T03:04:05.678000000Z', '2026-01-02T03:04:05.678250000Z', '2026-01-02T03:04:05.678000123Z']);
  assert.ok(Date.parse(times[3]) >= before - 1000);
}));

test('what breaks a rule is rejected, alone', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket });
  const good = [producer.publish('t', 1)];
  await rejects(producer.publish('two words', 1), 'invalid', /topic/);
  await rejects(producer.publish('t', 2n ** 70n), 'invalid', /64 bits/);
  await rejects(producer.publish('t', 'x'.repeat(2 << 20)), 'invalid', /1048576/);
  await rejects(producer.publish('t', 1, { time: 'yesterday' }), 'invalid', /time/);
  await rejects(producer.publish('_rejected.t', 1), 'invalid', /_rejected/);
  good.push(producer.publish('t', 2));
  assert.deepEqual(await Promise.all(good), [1, 2]);
  await producer.close();
  await rejects(producer.publish('t', 3), 'closed');
  assert.throws(() => new Producer({ producer: 'a b' }), /name/);
}));

test('each event is stored once, whatever is killed: the daemon, again and again', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket, producer: 'node', batchEvents: 7 });
  const results = [];
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 200; i++) results.push(producer.publish('t', round * 200 + i));
    await results[results.length - 150];
    await daemon.kill();
    await daemon.start();
  }
  const sequences = (await Promise.all(results)).filter((sequence) => sequence !== null);
  for (let i = 1; i < sequences.length; i++) assert.ok(sequences[i] > sequences[i - 1]);
  await producer.close();
  assert.deepEqual(daemon.read().map((event) => event.payload), Array.from({ length: 1200 }, (_, i) => i));
}));

test('a new process goes on with the producer\'s numbers', withDaemon(async (daemon) => {
  for (let run = 0; run < 3; run++) {
    const producer = new Producer({ socket: daemon.socket, producer: 'node' });
    assert.equal(await producer.ready(), BigInt(run));
    await producer.publish('t', run);
    await producer.close();
  }
  assert.deepEqual(daemon.read().map((event) => event.payload), [0, 1, 2]);
}));

/** Passes everything to the daemon, and steals so many acks: the connection ends in their place. */
async function thief(daemon, context, acks) {
  const at = path.join(daemon.root, 'thief');
  const state = { socket: at, acks };
  const server = net.createServer((client) => {
    const upstream = net.connect(daemon.socket);
    client.pipe(upstream);
    upstream.on('data', (chunk) => {
      if (chunk.includes('\xa3ack', 0, 'latin1') && state.acks > 0) {
        state.acks--;
        client.destroy();
        upstream.destroy();
      } else client.write(chunk);
    });
    for (const end of [client, upstream]) end.on('error', () => {});
    upstream.on('close', () => client.destroy());
    client.on('close', () => upstream.destroy());
  });
  await new Promise((resolve) => server.listen(at, resolve));
  context.after(() => server.close());
  return state;
}

test('an ack that is lost: with a name stored once, without one unknown', withDaemon(async (daemon, context) => {
  const stolen = await thief(daemon, context, 1);
  const named = new Producer({ socket: stolen.socket, producer: 'node' });
  assert.equal(await named.publish('t', 1), null, 'it was stored before');
  assert.equal(await named.publish('t', 2), 2);
  await named.close();
  stolen.acks = 1;
  const anonymous = new Producer({ socket: stolen.socket });
  await rejects(anonymous.publish('t', 3), 'unknown');
  assert.equal(await anonymous.publish('t', 4), 4);
  await anonymous.close();
  assert.deepEqual(daemon.read().map((event) => event.payload), [1, 2, 3, 4]);
}));

test('with an expectation: all or none, and exactly one of two that race', withDaemon(async (daemon, context) => {
  const one = new Producer({ socket: daemon.socket, producer: 'one' });
  const two = new Producer({ socket: daemon.socket });
  const events = (who) => [{ topic: 'a', payload: who }, { topic: 'b', payload: who }];
  for (let round = 0; round < 50; round++) {
    const results = await Promise.allSettled([
      one.publishTogether(events('one'), { expectLast: 2 * round }),
      two.publishTogether(events('two'), { expectLast: 2 * round, expectTopic: 'a' }),
    ]);
    const won = results.filter((result) => result.status === 'fulfilled');
    assert.deepEqual(won.map((result) => result.value), [2 * round + 1]);
    const [lost] = results.filter((result) => result.status === 'rejected');
    assert.equal(lost.reason.code, 'conflict', lost.reason.message);
  }
  await rejects(one.publishTogether([{ topic: 'a', payload: 1 }, { topic: '_rejected.b', payload: 1 }], { expectLast: 100 }), 'invalid', /_rejected/);
  await rejects(one.publishTogether([], { expectLast: 100 }), 'invalid');
  await rejects(one.publishTogether([{ topic: 'a', payload: 1 }]), 'invalid', /expectLast/);
  assert.equal(await one.publish('c', 1), 101);
  await one.close();
  await two.close();
  assert.ok(!daemon.command('gaps').includes('one'), 'a refusal uses up no number');

  const stolen = await thief(daemon, context, 1);
  const again = new Producer({ socket: stolen.socket, producer: 'one' });
  assert.equal(await again.publishTogether(events('x'), { expectLast: 101 }), null, 'it was stored before');
  stolen.acks = 1;
  await rejects(again.publishTogether(events('x'), { expectLast: 101 }), 'conflict');
  assert.equal(await again.publish('d', 1), 104);
  await again.close();
}));

test('what waits is given up after the retry timeout, and the producer lives on', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket, producer: 'node', retryTimeout: 100 });
  assert.equal(await producer.publish('t', 1), 1);
  const lost = new Promise((resolve) => { producer.once('disconnect', resolve); });
  await daemon.kill();
  await lost;
  await rejects(producer.publish('t', 2), 'unreachable');
  await daemon.start();
  let sequence;
  while (sequence === undefined) sequence = await producer.publish('t', 3).catch(() => undefined);
  await producer.close();
  assert.deepEqual(daemon.read().map((event) => event.payload), [1, 3]);
}));

test('two programs of one name: the older one is told, and does not come back', withDaemon(async (daemon) => {
  const older = new Producer({ socket: daemon.socket, producer: 'node' });
  await older.publish('t', 1);
  const ended = new Promise((resolve) => { older.on('disconnect', resolve); });
  const newer = new Producer({ socket: daemon.socket, producer: 'node' });
  await newer.publish('t', 2);
  assert.equal((await ended).code, 'replaced');
  await rejects(older.publish('t', 3), 'replaced');
  assert.equal(await newer.publish('t', 4), 3);
  await newer.close();
}));

test('a producer may be there before the daemon; the queue is bounded', async (context) => {
  const daemon = new Daemon();
  context.after(() => daemon.end());
  const producer = new Producer({ socket: daemon.socket, producer: 'early', queueBytes: 1000 });
  const first = producer.publish('t', 'x'.repeat(800));
  await rejects(producer.publish('t', 'x'.repeat(800)), 'full');
  await daemon.start();
  assert.equal(await first, 1);
  await producer.close();
});

test('the daemon\'s counters can be asked for', withDaemon(async (daemon) => {
  const producer = new Producer({ socket: daemon.socket });
  await producer.publish('t', 1);
  await producer.close();
  const counters = await status({ socket: daemon.socket });
  assert.equal(counters.durable, 1);
  await rejects(status({ socket: `${daemon.socket}.not` }), 'unreachable', /cannot connect/);
}));
