/*
 * One framed connection (docs/protocol.md), from connect to its end: hello and welcome, frames out,
 * frames in. It never comes back by itself: see lib/lifeline.js.
 */
'use strict';

const net = require('node:net');
const path = require('node:path');
const { DaybookError } = require('./errors');
const { decode, encode } = require('./msgpack');

const FRAME_MAX = 1052672;
const WELCOME_MS = 5000;
const CLIENT = `daybook-node/${require('../package.json').version}`;

/** The daemon's socket: as given, else from the environment, else inside of the directory. */
function socketPath(options) {
  if (options.socket) return options.socket;
  if (!options.directory && process.env.DAYBOOK_SOCKET) return process.env.DAYBOOK_SOCKET;
  const directory = options.directory || process.env.DAYBOOK_DIR || 'daybook-data';
  return path.join(directory, 'daybook.sock');
}

function frame(body) {
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

class Connection {
  /** `onFrame(message)` for each frame behind the welcome, `onEnd(error)` once. */
  constructor(socket, onFrame, onEnd) {
    this.socket = socket;
    this.onFrame = onFrame;
    this.onEnd = onEnd;
    this.chunks = [];
    this.bytes = 0;
    this.ended = false;
    this.goodbye = null;
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('error', (error) => this.end(new DaybookError('unreachable', error.message)));
    socket.on('close', () => this.end(new DaybookError('unreachable', 'the daemon has closed the connection')));
  }

  receive(chunk) {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    try { /* Around our own code: what listeners of the program throw does not come here, see tell.js. */
      let message;
      while (!this.ended && (message = this.next()) !== undefined) this.take(message);
    } catch (error) {
      this.end(new DaybookError('protocol', `the daemon's answer makes no sense: ${error.message}`));
    }
  }

  next() {
    if (this.bytes < 4) return undefined;
    let data = this.chunks[0];
    if (data.length < 4) data = this.join();
    const size = 4 + data.readUInt32BE(0);
    if (size > 4 + FRAME_MAX) throw new RangeError(`a frame of ${size - 4} bytes`);
    if (this.bytes < size) return undefined;
    if (data.length < size) data = this.join();
    this.bytes -= size;
    if (data.length === size) this.chunks.shift();
    else this.chunks[0] = data.subarray(size);
    return decode(data.subarray(4, size));
  }

  join() {
    const all = Buffer.concat(this.chunks);
    this.chunks = [all];
    return all;
  }

  take(message) {
    if (!Array.isArray(message) || typeof message[0] !== 'string') throw new TypeError('a frame without a type');
    if (message[0] === 'error') {
      this.end(new DaybookError(String(message[1]), `the daemon closed the connection: ${message[1]}: ${message[2]}`));
      return;
    }
    this.onFrame(message);
  }

  send(message) {
    this.write(frame(encode(message)));
  }

  write(buffer) {
    if (!this.ended) this.socket.write(buffer);
  }

  end(error) {
    if (this.ended) return;
    this.ended = true;
    /* What was said before the program closes still goes out. */
    if (error && error.code === 'closed') this.socket.end(() => this.socket.destroy());
    else this.socket.destroy();
    this.onEnd(error);
  }
}

/** Connect and be welcomed: resolves to { connection, welcome }. */
function connect(options, hello, onFrame, onEnd) {
  return new Promise((resolve, reject) => {
    const at = socketPath(options);
    const socket = net.connect(at);
    let welcomed = false;
    const connection = new Connection(socket, (message) => {
      if (welcomed) return onFrame(message);
      if (message[0] !== 'welcome') throw new TypeError('there is no welcome');
      welcomed = true;
      clearTimeout(timer);
      return resolve({ connection, welcome: message[1] });
    }, (error) => {
      clearTimeout(timer);
      if (welcomed) return onEnd(error);
      error.message = `cannot connect to the daemon at '${at}': ${error.message}`;
      return reject(error);
    });
    const timer = setTimeout(
      () => connection.end(new DaybookError('unreachable', 'no welcome within 5 seconds')), WELCOME_MS);
    timer.unref();
    connection.send(['hello', { version: 1, client: CLIENT, ...hello }]);
  });
}

module.exports = { FRAME_MAX, connect, frame, socketPath };
