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
const { tell } = require('./tell');
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

/** What cannot come any more, in its place among the events. */
class Loss {
  constructor([, first, last, cause, text]) {
    this.seq = first;
    this.told = { first, last, cause, text };
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
    this.queue = []; // come, and not given: events, and losses between them
    this.waiting = []; // the iterator's promises that nothing has come for
    this.owed = 0; // credit for what was given
    this.finishing = false;
    this.position = null; // everything up to there has come; null: nothing has
    this.given = null; // the sequence of the last event that was given
    this.reached = 0n; // what this connection has sent: commits may go up to there
    this.commits = []; // { sequence, resolve, reject }
    this.commitSent = 0n;
    this.committed = null; // the cursor's position, by the daemon's last word
    this.highest = 0n; // the log has this sequence, because its event has come
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
    this.tellLosses();
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
   * Resolves to the cursor's position once that is durable; at once when it was before. What was
   * not given to the program yet cannot be done: 'invalid'. Need not be awaited.
   */
  commit(event) {
    const committed = new Promise((resolve, reject) => {
      if (this.final) throw this.final;
      if (this.request.cursor === undefined || this.shared) {
        throw new DaybookError('invalid', this.shared ? 'a group accepts and releases' : 'there is no cursor to commit to');
      }
      if (event === undefined && this.given === null) throw new DaybookError('invalid', 'no event was given yet');
      const sequence = event === undefined ? this.given : sequenceOf(event);
      if (this.committed !== null && sequence <= BigInt(this.committed)) {
        resolve(this.committed);
        return;
      }
      const last = this.givenUpTo();
      if (last === null || sequence > last) {
        throw new DaybookError('invalid', `sequence ${sequence} was not given yet: a commit is of what is done`);
      }
      this.commits.push({ sequence, resolve, reject });
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

  /** Nothing at or before this is still to be given. */
  givenUpTo() {
    return this.queue.length > 0 ? BigInt(this.queue[0].seq) - 1n : this.position;
  }

  eventsWaiting() {
    return this.queue.reduce((sum, item) => sum + (item instanceof Event ? 1 : 0), 0);
  }

  /** Those that are next are told when the program asks for what is next. */
  tellLosses() {
    while (this.queue[0] instanceof Loss) tell(this, 'lost', this.queue.shift().told);
  }

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
    while (this.waiting.length > 0) {
      this.tellLosses();
      if (this.queue.length === 0) break;
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
    this.committed = position;
    const done = this.commits.filter((commit) => commit.sequence <= sequence);
    this.commits = this.commits.filter((commit) => commit.sequence > sequence);
    for (const { resolve } of done) resolve(position);
  }

  // ---- What the daemon says ----

  onWelcome(welcome) {
    this.checkLog(welcome);
    const request = { ...this.request, credit: Math.max(0, this.prefetch - this.eventsWaiting()) };
    if (this.position === null || this.shared) Object.assign(request, this.start);
    /* A cursor that somebody has removed meanwhile is made again where ours was. */
    else request.after = this.request.cursor === undefined ? this.position : this.committed;
    this.owed = 0;
    this.reached = 0n;
    this.commitSent = 0n;
    this.lifeline.connection.send(['subscribe', request]);
  }

  /** The same log as before, and not shorter: what has come was durable. */
  checkLog({ log, durable }) {
    if (this.log !== null && log !== this.log) throw new DaybookError('foreign', 'the daemon keeps another log than before');
    this.log = log;
    if (BigInt(durable) < this.highest) {
      throw new DaybookError('damaged', `the log ends at ${durable} now, and event ${this.highest} has come before: `
        + 'it has lost events, or is an older copy; subscribe anew');
    }
  }

  onFrame(message) {
    switch (message[0]) {
      case 'subscribed': this.takeSubscribed(message[1]); break;
      case 'events': this.takeEvents(message[1], message[2]); break;
      case 'caught_up':
        this.move(message[1]);
        tell(this, 'caughtUp', message[1]);
        break;
      case 'lost': this.takeLost(message); break;
      case 'committed': this.takeCommitted(message[1]); break;
      case 'settled': this.takeSettled(message[1], message[2]); break;
      default: break;
    }
  }

  takeSubscribed({ after }) {
    if (this.position === null) this.position = BigInt(after);
    this.reached = BigInt(after);
    if (this.request.cursor !== undefined && !this.shared) this.takeCursor(after);
    tell(this, 'connect', after);
  }

  /**
   * A cursor that stands before our last commit, or behind what has come, was moved by somebody
   * while we were away: then that is where to go on, and what is older is not to be given.
   */
  takeCursor(after) {
    const sequence = BigInt(after);
    const moved = sequence > this.position || (this.committed !== null && sequence < BigInt(this.committed));
    this.takeCommitted(after);
    if (!moved) return;
    this.position = sequence;
    this.owed += this.eventsWaiting();
    this.queue = [];
    this.given = null;
    if (this.owed > 0) this.lifeline.connection.send(['credit', this.owed]);
    this.owed = 0;
    for (const { reject } of this.commits.splice(0)) {
      reject(new DaybookError('moved', `the cursor was moved to ${after} by somebody: this commit was dropped`));
    }
  }

  /** What came over the connection before, and was not committed, comes again: it is not new. */
  takeEvents(last, events) {
    let again = 0;
    for (const parts of events) {
      const sequence = BigInt(parts[0]);
      if (sequence > this.reached) this.reached = sequence;
      if (sequence > this.highest) this.highest = sequence;
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

  takeLost(message) {
    const last = BigInt(message[2]);
    if (message[3] !== 'never given' && last > this.position) this.queue.push(new Loss(message));
    this.move(last);
    this.pass();
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
    tell(this, 'disconnect', error);
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
    if (error.code !== 'closed') tell(this, 'disconnect', error);
  }
}

module.exports = { Event, Subscriber };
