import { EventEmitter } from 'node:events';

/** A sequence of the log: a number, or a BigInt above 2^53. */
export type Sequence = number | bigint;
/** A Date, nanoseconds since 1970 as a BigInt, or milliseconds as Date.now() gives them. */
export type Time = Date | bigint | number;

export interface Where {
  /** Of the log; to find the socket. Default: $DAYBOOK_DIR, else ./daybook-data. */
  directory?: string;
  /** Default: $DAYBOOK_SOCKET, else <directory>/daybook.sock. */
  socket?: string;
}

export class DaybookError extends Error {
  /**
   * Of an event: 'invalid', 'no_space', 'conflict', 'unknown' (it may be stored or not),
   * 'unreachable' (it was not sent), 'full'. Of a commit: 'moved' (somebody moved the cursor). Of a connection, for good: 'replaced', 'taken',
   * 'forbidden', 'closed', 'protocol', 'foreign', 'damaged', and the others of docs/protocol.md.
   */
  readonly code: string;
  constructor(code: string, message: string);
}

/** A msgpack value of an extension type. */
export class Ext {
  constructor(type: number, data: Uint8Array);
  type: number;
  data: Uint8Array;
}
/** Integers beyond 2^53 are BigInt in both directions. */
export function encode(value: unknown): Buffer;
export function decode(buffer: Uint8Array): unknown;

export interface ProducerOptions extends Where {
  /** The name under which events are numbered: exactly once, over reconnects and restarts. */
  producer?: string;
  ack?: 'durable' | 'written';
  /** ms without a connection until what waits is rejected (30 s); Infinity: never. */
  retryTimeout?: number;
  batchEvents?: number;
  batchBytes?: number;
  windowBytes?: number;
  queueBytes?: number;
}

export interface OutgoingEvent {
  topic: string;
  payload: unknown;
  time?: Time;
}

export interface Expectation {
  /** No event has a higher sequence … */
  expectLast: Sequence;
  /** … of a topic that this pattern matches. */
  expectTopic?: string;
}

export class Producer extends EventEmitter {
  constructor(options?: ProducerOptions);
  /** The event's sequence once it is durable; null: it was found stored already. */
  publish(topic: string, payload: unknown, options?: { time?: Time }): Promise<Sequence | null>;
  /** All or none, if the log is as expected; the first one's sequence. Code 'conflict' if it is not. */
  publishTogether(events: Iterable<OutgoingEvent>, expectation: Expectation): Promise<Sequence | null>;
  /** Waits for the daemon; the highest number of ours in the log. */
  ready(): Promise<bigint>;
  flush(): Promise<void>;
  close(): Promise<void>;
  readonly connected: boolean;
  on(event: 'connect', listener: () => void): this;
  on(event: 'disconnect', listener: (error: DaybookError) => void): this;
}

export interface SubscriberOptions extends Where {
  topics?: string | string[];
  /** A SQL expression over seq, ts, time, topic, payload and the payload's fields. */
  where?: string;
  /** At most one of after, since, from; with a cursor: where it begins when it is new. */
  after?: Sequence;
  since?: Time;
  from?: 'earliest' | 'latest';
  cursor?: string;
  /** Be one of a group that shares the cursor. */
  shared?: boolean;
  /** ms; with shared. */
  ackTimeout?: number;
  tries?: number;
  /** How many events may have come and not been given to the program (512). */
  prefetch?: number;
}

export interface Event<Payload = any> {
  seq: Sequence;
  /** Nanoseconds since 1970. */
  time: bigint;
  topic: string;
  payload: Payload;
  /** In a group: which try this is, from 1. */
  tries?: number;
  readonly date: Date;
}

export interface Loss {
  first: Sequence;
  last: Sequence;
  cause: string;
  text: string;
}

export class Subscriber<Payload = any> extends EventEmitter implements AsyncIterableIterator<Event<Payload>> {
  constructor(options?: SubscriberOptions);
  next(): Promise<IteratorResult<Event<Payload>, undefined>>;
  return(): Promise<IteratorResult<Event<Payload>, undefined>>;
  [Symbol.asyncIterator](): this;
  /**
   * Everything up to this event (without one: the last that was given) is done. Resolves to the
   * cursor's position; rejected with 'invalid' when it is of what was not given yet.
   */
  commit(event?: Event | Sequence): Promise<Sequence>;
  accept(...events: Array<Event | Sequence | Array<Event | Sequence>>): Promise<number>;
  release(...events: Array<Event | Sequence | Array<Event | Sequence>>): Promise<number>;
  /** What has come is still given, and then the iteration ends. */
  finish(): void;
  close(): void;
  on(event: 'caughtUp', listener: (sequence: Sequence) => void): this;
  on(event: 'lost', listener: (loss: Loss) => void): this;
  on(event: 'connect', listener: (after: Sequence) => void): this;
  on(event: 'disconnect', listener: (error: DaybookError) => void): this;
}

export interface Cursor {
  name: string;
  position: Sequence;
  lag: Sequence;
  shared: boolean;
  in_use: boolean;
  hold: boolean;
  committed_at: Sequence;
}
export function cursors(where?: Where): Promise<Cursor[]>;
export function status(where?: Where): Promise<Record<string, unknown>>;
