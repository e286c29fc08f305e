/*
 * Publishing: pipelined, in frames, each event's fate a promise; exactly once under a producer's
 * name (docs/protocol.md, "Exactly once").
 *
 * An event waits in `queue` until it is put into a frame, which gives it its number; the frame waits
 * in `frames` until its ack has come, and is sent again, byte for byte, over each new connection.
 */
'use strict';

const { EventEmitter } = require('node:events');
const { FRAME_MAX, frame } = require('./connection');
const { DaybookError } = require('./errors');
const { Lifeline } = require('./lifeline');
const { tell } = require('./tell');
const { encode } = require('./msgpack');
const { nanoseconds } = require('./times');

const EVENTS_MAX = 4096;
const PAYLOAD_MAX = 1048576;
const TOPIC = /^[A-Za-z0-9_.:/-]{1,255}$/;
const NAME = /^[A-Za-z0-9_.:/-]{1,64}$/;
const NUMBER_BYTES = 9;

const DEFAULTS = {
  ack: 'durable',
  retryTimeout: 30000, // ms without a connection until what waits is given up
  batchEvents: 512,
  batchBytes: 131072,
  windowBytes: 4 << 20, // on their way, not acknowledged
  queueBytes: 64 << 20, // waiting to be on their way
};

/** [topic, time, payload] without the array around them: the number may follow. */
function encodeEvent(topic, payload, time) {
  if (typeof topic !== 'string' || !TOPIC.test(topic)) {
    throw new DaybookError('invalid', `the topic ${JSON.stringify(topic)} is not 1 to 255 characters of A-Z a-z 0-9 _ . : / -`);
  }
  let body;
  try {
    body = encode(payload === undefined ? null : payload);
  } catch (error) {
    throw new DaybookError('invalid', `the payload: ${error.message}`);
  }
  if (body.length > PAYLOAD_MAX) {
    throw new DaybookError('invalid', `the payload has ${body.length} bytes; at most ${PAYLOAD_MAX} are allowed`);
  }
  try {
    return Buffer.concat([encode(topic), encode(nanoseconds(time)), body]);
  } catch (error) {
    throw new DaybookError('invalid', `the time: ${error.message}`);
  }
}

function arrayHead(count) {
  const head = Buffer.from([0xdc, 0, 0]);
  head.writeUInt16BE(count, 1);
  return head;
}

function encodePub(id, bodies, numbers, expected) {
  const parts = [Buffer.from([expected ? 0x94 : 0x93]), encode('pub'), encode(id), arrayHead(bodies.length)];
  bodies.forEach((body, i) => {
    parts.push(Buffer.from([numbers ? 0x94 : 0x93]), body);
    if (numbers) parts.push(encode(numbers[i]));
  });
  if (expected) parts.push(encode(expected));
  return frame(Buffer.concat(parts));
}

class Producer extends EventEmitter {
  constructor(options = {}) {
    super();
    this.options = { ...DEFAULTS, ...options };
    const { producer, ack } = this.options;
    if (producer !== undefined && !NAME.test(producer)) {
      throw new DaybookError('invalid', `the producer's name ${JSON.stringify(producer)} is not 1 to 64 characters of A-Z a-z 0-9 _ . : / -`);
    }
    if (ack !== 'durable' && ack !== 'written') throw new DaybookError('invalid', 'ack is none of durable, written');
    this.queue = []; // { bodies, bytes, expected, together, resolve, reject }
    this.queuedBytes = 0;
    this.frames = []; // { id, buffer, items, numberBefore, sent }
    this.framesBytes = 0;
    this.id = 0;
    this.number = null; // the last one given; null: the first welcome has not come
    this.numberSent = 0n;
    this.planned = false;
    this.idle = [];
    this.welcomes = []; // who waits for the first one
    this.patience = null;
    this.final = null;
    const hello = producer === undefined ? { ack } : { ack, producer };
    this.lifeline = new Lifeline(this.options, hello, this);
  }

  // ---- What users call ----

  /** Resolves to the event's sequence once it is durable; to null if it was stored before. */
  publish(topic, payload, { time } = {}) {
    try {
      return this.enqueue([encodeEvent(topic, payload, time)], false, undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * All of these events or none, and only if the log is as expected: { expectLast, expectTopic }.
   * Resolves to the first one's sequence. Rejected with the code 'conflict' if somebody was faster.
   */
  publishTogether(events, { expectLast, expectTopic } = {}) {
    try {
      const bodies = [...events].map(({ topic, payload, time }) => encodeEvent(topic, payload, time));
      const bytes = bodies.reduce((sum, body) => sum + body.length + NUMBER_BYTES + 1, 64);
      if (expectLast === undefined) throw new DaybookError('invalid', 'expectLast is missing');
      if (bodies.length === 0 || bodies.length > EVENTS_MAX || bytes > FRAME_MAX) {
        throw new DaybookError('invalid', `${bodies.length} events of ${bytes} bytes cannot be published together: it takes 1 to ${EVENTS_MAX}, of ${FRAME_MAX} bytes at most`);
      }
      const expected = { expect_last: BigInt(expectLast) };
      if (expectTopic !== undefined) expected.expect_topic = expectTopic;
      return this.enqueue(bodies, true, expected);
    } catch (error) {
      return Promise.reject(error instanceof DaybookError ? error : new DaybookError('invalid', error.message));
    }
  }

  /**
   * Waits for the daemon. Resolves to the highest number of ours that the log has, as a BigInt: who
   * counts his events himself, from 1, goes on behind it.
   */
  ready() {
    if (this.final) return Promise.reject(this.final);
    if (this.number !== null) return Promise.resolve(this.number);
    return new Promise((resolve, reject) => this.welcomes.push({ resolve, reject }));
  }

  /** Resolves when everything published so far has its result, whatever that is. */
  flush() {
    if (this.final || (this.queue.length === 0 && this.frames.length === 0)) return Promise.resolve();
    return new Promise((resolve) => { this.idle.push(resolve); });
  }

  /** Waits for the results, then ends the connection. */
  async close() {
    await this.flush();
    this.lifeline.close();
  }

  // ---- Events on their way ----

  enqueue(bodies, together, expected) {
    if (this.final) return Promise.reject(this.final);
    const bytes = bodies.reduce((sum, body) => sum + body.length + NUMBER_BYTES + 1, 0);
    if (this.queuedBytes + bytes > this.options.queueBytes) {
      return Promise.reject(new DaybookError('full', `${this.queuedBytes} bytes of events wait for the daemon already (queueBytes)`));
    }
    return new Promise((resolve, reject) => {
      this.queue.push({ bodies, bytes, together, expected, resolve, reject });
      this.queuedBytes += bytes;
      this.plan();
      this.watchPatience();
    });
  }

  /** Later in this turn of the loop: what is published in one go leaves in one frame. */
  plan() {
    if (this.planned) return;
    this.planned = true;
    setImmediate(() => {
      this.planned = false;
      this.pump();
    });
  }

  get connected() {
    return this.lifeline.connection !== null && this.number !== null;
  }

  /** Behind what expects something nothing leaves before its ack: else its refusal, if lost, could
   * not be told from a duplicate. */
  mayLeave() {
    if (!this.connected || this.queue.length === 0 || this.framesBytes >= this.options.windowBytes) return false;
    if (this.frames.length > 0 && this.frames[this.frames.length - 1].expects) return false;
    return !this.queue[0].together || this.frames.length === 0;
  }

  takeBatch() {
    if (this.queue[0].together) return this.queue.splice(0, 1);
    let count = 0, bytes = 0;
    while (count < this.queue.length && count < this.options.batchEvents && !this.queue[count].together &&
           (count === 0 || bytes + this.queue[count].bytes <= this.options.batchBytes)) {
      bytes += this.queue[count].bytes;
      count++;
    }
    return this.queue.splice(0, count);
  }

  pump() {
    while (this.mayLeave()) {
      const items = this.takeBatch();
      const bodies = items.flatMap((item) => item.bodies);
      const numberBefore = this.number;
      const numbers = this.options.producer === undefined ? null : bodies.map(() => ++this.number);
      const buffer = encodePub(++this.id, bodies, numbers, items[0].expected);
      for (const item of items) this.queuedBytes -= item.bytes;
      this.framesBytes += buffer.length;
      this.frames.push({ id: this.id, buffer, items, count: bodies.length, numberBefore, expects: items[0].together });
      if (numbers && this.number > this.numberSent) this.numberSent = this.number;
      this.lifeline.connection.write(buffer);
    }
  }

  // ---- What the daemon says ----

  onWelcome(welcome) {
    const last = BigInt(welcome.last_number);
    if (this.options.producer !== undefined && this.number !== null && last > this.numberSent) {
      throw new DaybookError('replaced', `another program has published under the name '${this.options.producer}' meanwhile`);
    }
    if (this.number === null) {
      this.number = last;
      this.numberSent = last;
      for (const { resolve } of this.welcomes.splice(0)) resolve(last);
    }
    clearTimeout(this.patience);
    this.patience = null;
    for (const { buffer } of this.frames) this.lifeline.connection.write(buffer);
    tell(this, 'connect');
    this.pump();
  }

  onFrame(message) {
    if (message[0] !== 'ack') return;
    const [, id, stored, first, , duplicates, refused] = message;
    const sent = this.frames[0];
    if (!sent || id !== sent.id || stored + duplicates + refused.length !== sent.count) {
      throw new RangeError('an ack that fits no frame on its way');
    }
    this.drop(sent);
    if (sent.expects) this.settleTogether(sent, first, duplicates, refused);
    else this.settle(sent, first, duplicates, refused);
    this.pump();
    this.tellIdle();
  }

  drop(sent) {
    this.frames.shift();
    this.framesBytes -= sent.buffer.length;
  }

  /** Of those that are not refused the duplicates come first. */
  settle(sent, first, duplicates, refused) {
    const reasons = new Map(refused.map(([index, code, reason]) => [index, new DaybookError(code, reason || code)]));
    let good = 0;
    sent.items.forEach((item, i) => {
      if (reasons.has(i)) {
        item.reject(reasons.get(i));
        return;
      }
      const place = good++ - duplicates;
      item.resolve(place < 0 ? null : sequenceAt(first, place));
    });
  }

  settleTogether(sent, first, duplicates, refused) {
    const [item] = sent.items;
    if (refused.length === 0) {
      item.resolve(duplicates === sent.count ? null : first);
      return;
    }
    /* Its numbers are not used up, and nothing was sent behind it. */
    this.number = sent.numberBefore;
    const [, code, reason] = refused.find((refusal) => refusal[2]) || refused[0];
    item.reject(new DaybookError(code, reason || code));
  }

  tellIdle() {
    if (this.queue.length > 0 || this.frames.length > 0) return;
    for (const resolve of this.idle.splice(0)) resolve();
  }

  // ---- Without a connection ----

  onLost(error) {
    this.lastError = error;
    /* Whether an anonymous event is stored nobody can tell, and it is not sent again. */
    if (this.options.producer === undefined) {
      this.giveUpFrames(new DaybookError('unknown', 'the connection was lost before the daemon had answered'));
    }
    this.watchPatience();
    tell(this, 'disconnect', error);
  }

  watchPatience() {
    if (this.patience || this.lifeline.connection || this.options.retryTimeout === Infinity) return;
    if (this.queue.length === 0 && this.frames.length === 0) return;
    this.patience = setTimeout(() => {
      this.patience = null;
      const why = this.lastError ? this.lastError.message : 'no answer yet';
      this.giveUpFrames(new DaybookError('unknown', `the daemon has not come back (${why}); the event may be stored or not`));
      this.giveUpQueue(new DaybookError('unreachable', why));
    }, this.options.retryTimeout);
  }

  giveUpFrames(error) {
    this.framesBytes = 0;
    for (const { items } of this.frames.splice(0)) for (const item of items) item.reject(error);
    this.tellIdle();
  }

  giveUpQueue(error) {
    this.queuedBytes = 0;
    for (const item of this.queue.splice(0)) item.reject(error);
    this.tellIdle();
  }

  onFinal(error) {
    this.final = error;
    clearTimeout(this.patience);
    for (const { reject } of this.welcomes.splice(0)) reject(error);
    this.giveUpFrames(error);
    this.giveUpQueue(error);
    if (error.code !== 'closed') tell(this, 'disconnect', error);
  }
}

function sequenceAt(first, place) {
  return typeof first === 'bigint' ? first + BigInt(place) : first + place;
}

module.exports = { Producer };
