/*
 * Subscribing: an async iterator over events, from any point of the log on, over lost connections
 * (docs/protocol.md, "Subscriptions").
 *
 * At most `prefetch` events have been asked for and not been given to the program: credit is what
 * says so to the daemon. A program that is slow slows only itself.
 */
'use strict';

const { EventEmitter } = require('node:events');
const { DaybookError } = require('./errors');
const { Lifeline } = require('./lifeline');
const { NS_PER_MS, nanoseconds } = require('./times');

const RANGES_MAX = 1024;

class Event {
  constructor([seq, time, topic, payload, tries]) {
    this.seq = seq;
    this.time = BigInt(time);
    this.topic = topic;
    this.payload = payload;
    if (tries !== undefined) this.tries = tries;
  }

  /** The time, to the millisecond. */
  get date() {
    return new Date(Number(this.time / NS_PER_MS));
  }
}

const KNOWN = new Set([
  'directory', 'socket', 'topics', 'where', 'after', 'since', 'from', 'cursor', 'shared', 'ackTimeout', 'tries', 'prefetch',
]);

/** What does not change from connection to connection. A key that nobody knows would be no filter. */
function requestOf(options) {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw new DaybookError('invalid', `'${key}' is no option of a subscriber`);
  }
  const request = {};
  if (options.topics !== undefined) request.topics = [].concat(options.topics);
  for (const key of ['where', 'cursor', 'shared', 'tries']) if (options[key] !== undefined) request[key] = options[key];
  if (options.ackTimeout !== undefined) request.ack_timeout = BigInt(Math.round(options.ackTimeout * 1e6));
  return request;
}

function startOf({ after, since, from }) {
  const start = {};
  if (after !== undefined) start.after = BigInt(after);
  if (since !== undefined) start.since = nanoseconds(since);
  if (from !== undefined) start.from = from;
  return start;
}

const sequenceOf = (event) => BigInt(typeof event === 'object' && event !== null ? event.seq : event);

/** [[first, last], …] of the sequences, ascending. */
function rangesOf(events) {
  const ranges = [];
  const sequences = events.map(sequenceOf).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  for (const sequence of sequences) {
    const last = ranges[ranges.length - 1];
    if (last && sequence <= last[1] + 1n) last[1] = sequence;
    else ranges.push([sequence, sequence]);
  }
  if (ranges.length === 0 || ranges.length > RANGES_MAX) {
    throw new DaybookError('invalid', `it takes 1 to ${RANGES_MAX} ranges of sequences, not ${ranges.length}`);
  }
  return ranges;
}

class Subscriber extends EventEmitter {
  constructor(options = {}) {
    super();
    this.request = requestOf(options);
    this.start = startOf(options);
    this.shared = options.shared === true;
    this.prefetch = options.prefetch === undefined ? 512 : options.prefetch;
    if (!Number.isInteger(this.prefetch) || this.prefetch < 1) throw new DaybookError('invalid', 'prefetch is not an integer from 1');
    this.queue = []; // come, and not given
    this.waiting = []; // the iterator's promises that nothing has come for
    this.owed = 0; // credit for what was given
    this.finishing = false;
    this.position = null; // everything up to there has come; null: nothing has
    this.given = null; // the sequence of the last event that was given
    this.reached = 0n; // what this connection has sent: commits may go up to there
    this.commits = []; // { sequence, resolve, reject }
    this.commitSent = 0n;
    this.settlements = new Map(); // by id
    this.id = 0;
    this.log = null;
    this.final = null;
    this.lifeline = new Lifeline({ directory: options.directory, socket: options.socket }, {}, this);
  }

  // ---- What users call ----

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    if (this.queue.length > 0) return Promise.resolve({ value: this.give(), done: false });
    if (this.finishing) this.close();
    if (this.final) return this.end();
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** Leaving a `for await` loop closes the subscription. */
  return() {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  /**
   * Everything up to this event (or sequence; without one: the last that was given) is done.
   * Resolves to the cursor's position once that is durable. Need not be awaited.
   */
  commit(event) {
    const committed = new Promise((resolve, reject) => {
      if (this.final) throw this.final;
      if (this.request.cursor === undefined || this.shared) {
        throw new DaybookError('invalid', this.shared ? 'a group accepts and releases' : 'there is no cursor to commit to');
      }
      if (event === undefined && this.given === null) throw new DaybookError('invalid', 'no event was given yet');
      this.commits.push({ sequence: event === undefined ? this.given : sequenceOf(event), resolve, reject });
      this.sendCommit();
    });
    committed.catch(() => {}); // who does not await it learns of the end from the iterator
    return committed;
  }

  /** Group: these events are done. Resolves to how many of them were this member's to settle. */
  accept(...events) {
    return this.settle('accept', events.flat());
  }

  /** Group: these cannot be done here; somebody gets them again, at once. */
  release(...events) {
    return this.settle('release', events.flat());
  }

  /** What has come is still given, and then the iteration ends. */
  finish() {
    this.finishing = true;
    if (this.queue.length === 0 && this.waiting.length > 0) this.close();
  }

  close() {
    this.lifeline.close();
  }

  // ---- Giving ----

  give() {
    const event = this.queue.shift();
    this.given = BigInt(event.seq);
    this.owed++;
    if (2 * this.owed >= this.prefetch && this.lifeline.connection) {
      this.lifeline.connection.send(['credit', this.owed]);
      this.owed = 0;
    }
    return event;
  }

  pass() {
    while (this.waiting.length > 0 && this.queue.length > 0) {
      this.waiting.shift().resolve({ value: this.give(), done: false });
    }
  }

  end() {
    if (this.final.code === 'closed') return Promise.resolve({ value: undefined, done: true });
    return Promise.reject(this.final);
  }

  // ---- Settling and committing ----

  settle(verb, events) {
    const settled = new Promise((resolve, reject) => {
      if (this.final) throw this.final;
      const ranges = rangesOf(events);
      if (!this.lifeline.connection) throw new DaybookError('unreachable', 'there is no connection: these events come again');
      const id = ++this.id;
      this.settlements.set(id, { resolve, reject });
      this.lifeline.connection.send([verb, id, ranges]);
    });
    settled.catch(() => {});
    return settled;
  }

  /** The highest one is enough; and none before this connection has come so far. */
  sendCommit() {
    let wanted = 0n;
    for (const { sequence } of this.commits) if (sequence > wanted && sequence <= this.reached) wanted = sequence;
    if (!this.lifeline.connection || wanted <= this.commitSent) return;
    this.commitSent = wanted;
    this.lifeline.connection.send(['commit', wanted]);
  }

  takeCommitted(position) {
    const sequence = BigInt(position);
    const done = this.commits.filter((commit) => commit.sequence <= sequence);
    this.commits = this.commits.filter((commit) => commit.sequence > sequence);
    for (const { resolve } of done) resolve(position);
  }

  // ---- What the daemon says ----

  onWelcome() {
    const request = { ...this.request, credit: Math.max(0, this.prefetch - this.queue.length) };
    if (this.position !== null && this.request.cursor === undefined) request.after = this.position;
    else Object.assign(request, this.start);
    this.owed = 0;
    this.reached = 0n;
    this.commitSent = 0n;
    this.lifeline.connection.send(['subscribe', request]);
  }

  onFrame(message) {
    switch (message[0]) {
      case 'subscribed': this.takeSubscribed(message[1]); break;
      case 'events': this.takeEvents(message[1], message[2]); break;
      case 'caught_up':
        this.move(message[1]);
        this.emit('caughtUp', message[1]);
        break;
      case 'lost': this.takeLost(message); break;
      case 'committed': this.takeCommitted(message[1]); break;
      case 'settled': this.takeSettled(message[1], message[2]); break;
      default: break;
    }
  }

  takeSubscribed({ after, log }) {
    if (this.log !== null && log !== this.log) {
      this.lifeline.finish(new DaybookError('foreign', 'the daemon keeps another log than before'));
      return;
    }
    this.log = log;
    if (this.position === null) this.position = BigInt(after);
    this.reached = BigInt(after);
    this.emit('connect', after);
  }

  /** What came over the connection before, and was not committed, comes again: it is not new. */
  takeEvents(last, events) {
    let again = 0;
    for (const parts of events) {
      const sequence = BigInt(parts[0]);
      if (sequence > this.reached) this.reached = sequence;
      if (!this.shared && sequence <= this.position) again++;
      else this.queue.push(new Event(parts));
    }
    this.owed += again;
    this.move(last);
    this.pass();
    if (again > 0 && this.lifeline.connection) {
      this.lifeline.connection.send(['credit', this.owed]);
      this.owed = 0;
    }
  }

  move(last) {
    const sequence = BigInt(last);
    if (sequence > this.reached) this.reached = sequence;
    if (sequence > this.position) this.position = sequence;
    if (this.commits.length > 0) this.sendCommit();
  }

  takeLost([, first, last, cause, text]) {
    const again = BigInt(last) <= this.position;
    this.move(last);
    if (cause !== 'never given' && !again) this.emit('lost', { first, last, cause, text });
  }

  takeSettled(id, count) {
    const settlement = this.settlements.get(id);
    this.settlements.delete(id);
    if (settlement) settlement.resolve(count);
  }

  // ---- Without a connection ----

  onLost(error) {
    /* A group gives to somebody what this connection has not settled. */
    if (this.shared) this.queue = [];
    this.dropSettlements(new DaybookError('unknown', 'the connection was lost before these events were told to be settled'));
    this.emit('disconnect', error);
  }

  dropSettlements(error) {
    for (const { reject } of this.settlements.values()) reject(error);
    this.settlements.clear();
  }

  onFinal(error) {
    this.final = error;
    this.dropSettlements(error);
    for (const { reject } of this.commits.splice(0)) reject(error);
    if (error.code === 'closed') this.queue = [];
    for (const { resolve, reject } of this.waiting.splice(0)) {
      if (error.code === 'closed') resolve({ value: undefined, done: true });
      else reject(error);
    }
    if (error.code !== 'closed') this.emit('disconnect', error);
  }
}

module.exports = { Event, Subscriber };
