/*
 * msgpack, as far as a log of events needs it: what JSON has, 64-bit integers, bytes, and extension
 * types as they are.
 *
 * JavaScript's numbers hold integers up to 2^53. Larger ones are BigInt, in both directions; a
 * BigInt is always written as an integer, a number as an integer when it is a safe one (but -0 is a
 * float). Objects write as JSON.stringify would: toJSON is asked, undefined and functions are left
 * out (in arrays: nil), symbols do not count.
 */
'use strict';

const DEPTH_MAX = 32;
const UINT64_END = 1n << 64n;
const INT64_MIN = -(1n << 63n);

/** A value of an extension type, which the log never looks into. */
class Ext {
  constructor(type, data) {
    this.type = type;
    this.data = data;
  }
}

// ---- Writing ----

class Writer {
  constructor() {
    this.buffer = Buffer.allocUnsafe(256);
    this.size = 0;
  }

  reserve(bytes) {
    if (this.size + bytes > this.buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(2 * this.buffer.length, this.size + bytes));
      this.buffer.copy(grown, 0, 0, this.size);
      this.buffer = grown;
    }
    const at = this.size;
    this.size += bytes;
    return at;
  }

  byte(value) {
    const at = this.reserve(1);
    this.buffer[at] = value;
  }

  /** A head with the count in the shortest form; `forms` are [largest count, code, bytes]. */
  head(count, fixed, fixedMax, forms) {
    if (count <= fixedMax) {
      this.byte(fixed | count);
      return;
    }
    for (const [max, code, bytes] of forms) {
      if (count > max) continue;
      this.byte(code);
      const at = this.reserve(bytes); // before `buffer` is looked at: it may be another one then
      this.buffer.writeUIntBE(count, at, bytes);
      return;
    }
    throw new RangeError(`${count} elements or bytes are more than msgpack can hold`);
  }

  text(value) {
    const bytes = Buffer.byteLength(value);
    this.head(bytes, 0xa0, 31, [[0xff, 0xd9, 1], [0xffff, 0xda, 2], [0xffffffff, 0xdb, 4]]);
    const at = this.reserve(bytes);
    this.buffer.write(value, at, bytes, 'utf8');
  }

  bytes(value) {
    this.head(value.length, 0, -1, [[0xff, 0xc4, 1], [0xffff, 0xc5, 2], [0xffffffff, 0xc6, 4]]);
    const at = this.reserve(value.length);
    this.buffer.set(value, at);
  }

  double(value) {
    this.byte(0xcb);
    const at = this.reserve(8);
    this.buffer.writeDoubleBE(value, at);
  }

  bigint(value) {
    if (value >= 0n && value < UINT64_END) {
      if (value <= 0xffffffffn) {
        this.integer(Number(value));
        return;
      }
      this.byte(0xcf);
      const at = this.reserve(8);
      this.buffer.writeBigUInt64BE(value, at);
    } else if (value < 0n && value >= INT64_MIN) {
      this.byte(0xd3);
      const at = this.reserve(8);
      this.buffer.writeBigInt64BE(value, at);
    } else {
      throw new RangeError(`the integer ${value} does not fit into 64 bits`);
    }
  }

  integer(value) {
    if (value >= 0 && value < 0x80) this.byte(value);
    else if (value < 0 && value >= -32) this.byte(value & 0xff);
    else if (value >= 0 && value <= 0xffffffff) {
      this.head(value, 0, -1, [[0xff, 0xcc, 1], [0xffff, 0xcd, 2], [0xffffffff, 0xce, 4]]);
    } else this.bigint(BigInt(value));
  }

  number(value) {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.integer(value);
    else this.double(value);
  }

  ext(value) {
    const fixed = { 1: 0xd4, 2: 0xd5, 4: 0xd6, 8: 0xd7, 16: 0xd8 }[value.data.length];
    if (fixed) this.byte(fixed);
    else {
      this.head(value.data.length, 0, -1, [[0xff, 0xc7, 1], [0xffff, 0xc8, 2], [0xffffffff, 0xc9, 4]]);
    }
    this.byte(value.type & 0xff);
    const at = this.reserve(value.data.length);
    this.buffer.set(value.data, at);
  }

  array(values, depth) {
    this.head(values.length, 0x90, 15, [[0xffff, 0xdc, 2], [0xffffffff, 0xdd, 4]]);
    for (const value of values) this.value(isNothing(value) ? null : value, depth + 1);
  }

  map(entries, depth) {
    this.head(entries.length, 0x80, 15, [[0xffff, 0xde, 2], [0xffffffff, 0xdf, 4]]);
    for (const [key, value] of entries) {
      this.value(key, depth + 1);
      this.value(value, depth + 1);
    }
  }

  object(value, depth) {
    if (depth >= DEPTH_MAX) {
      throw new RangeError(`the payload has more than ${DEPTH_MAX} arrays and maps inside each other`);
    }
    if (Array.isArray(value)) this.array(value, depth);
    else if (value instanceof Map) this.map([...value], depth);
    else this.map(Object.entries(value).filter(([, member]) => !isNothing(member)), depth);
  }

  value(value, depth) {
    switch (typeof value) {
      case 'string': return this.text(value);
      case 'number': return this.number(value);
      case 'bigint': return this.bigint(value);
      case 'boolean': return this.byte(value ? 0xc3 : 0xc2);
      case 'object': break;
      default: throw new TypeError(`a ${typeof value} is no value that an event can hold`);
    }
    if (value === null) return this.byte(0xc0);
    if (value instanceof Uint8Array) return this.bytes(value);
    if (value instanceof Ext) return this.ext(value);
    if (typeof value.toJSON === 'function') return this.value(value.toJSON(), depth);
    return this.object(value, depth);
  }
}

function isNothing(value) {
  return value === undefined || typeof value === 'function' || typeof value === 'symbol';
}

function encode(value) {
  const writer = new Writer();
  writer.value(value, 0);
  return writer.buffer.subarray(0, writer.size);
}

// ---- Reading ----

class Reader {
  constructor(buffer) {
    this.buffer = buffer;
    this.at = 0;
  }

  take(bytes) {
    const at = this.at;
    if (bytes > this.buffer.length - at) throw new RangeError('the msgpack value ends early');
    this.at += bytes;
    return at;
  }

  unsigned(bytes) {
    return this.buffer.readUIntBE(this.take(bytes), bytes);
  }

  text(bytes) {
    const at = this.take(bytes);
    return this.buffer.toString('utf8', at, at + bytes);
  }

  /** A copy: the frame's bytes are not kept for the sake of a few. */
  bytes(count) {
    const at = this.take(count);
    return Buffer.from(this.buffer.subarray(at, at + count));
  }

  array(count, depth) {
    if (count > this.buffer.length - this.at) throw new RangeError('the msgpack value ends early');
    const values = new Array(count);
    for (let i = 0; i < count; i++) values[i] = this.value(depth + 1);
    return values;
  }

  /** An object, unless there are keys that are no text: then a Map. */
  map(count, depth) {
    if (2 * count > this.buffer.length - this.at) throw new RangeError('the msgpack value ends early');
    const entries = [];
    for (let i = 0; i < count; i++) entries.push([this.value(depth + 1), this.value(depth + 1)]);
    if (entries.some(([key]) => typeof key !== 'string')) return new Map(entries);
    return Object.fromEntries(entries); // defines, so that a key '__proto__' is one like any other
  }

  ext(count) {
    const type = this.buffer.readInt8(this.take(1));
    return new Ext(type, this.bytes(count));
  }

  value(depth) {
    if (depth > 2 * DEPTH_MAX) throw new RangeError('the msgpack value is too deep');
    const code = this.buffer[this.take(1)];
    if (code < 0x80) return code;
    if (code < 0x90) return this.map(code & 15, depth);
    if (code < 0xa0) return this.array(code & 15, depth);
    if (code < 0xc0) return this.text(code & 31);
    if (code >= 0xe0) return code - 256;
    switch (code) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.bytes(this.unsigned(1));
      case 0xc5: return this.bytes(this.unsigned(2));
      case 0xc6: return this.bytes(this.unsigned(4));
      case 0xc7: return this.ext(this.unsigned(1));
      case 0xc8: return this.ext(this.unsigned(2));
      case 0xc9: return this.ext(this.unsigned(4));
      case 0xca: return this.buffer.readFloatBE(this.take(4));
      case 0xcb: return this.buffer.readDoubleBE(this.take(8));
      case 0xcc: return this.unsigned(1);
      case 0xcd: return this.unsigned(2);
      case 0xce: return this.unsigned(4);
      case 0xcf: return small(this.buffer.readBigUInt64BE(this.take(8)));
      case 0xd0: return this.buffer.readInt8(this.take(1));
      case 0xd1: return this.buffer.readInt16BE(this.take(2));
      case 0xd2: return this.buffer.readInt32BE(this.take(4));
      case 0xd3: return small(this.buffer.readBigInt64BE(this.take(8)));
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return this.ext(1 << (code - 0xd4));
      case 0xd9: return this.text(this.unsigned(1));
      case 0xda: return this.text(this.unsigned(2));
      case 0xdb: return this.text(this.unsigned(4));
      case 0xdc: return this.array(this.unsigned(2), depth);
      case 0xdd: return this.array(this.unsigned(4), depth);
      case 0xde: return this.map(this.unsigned(2), depth);
      case 0xdf: return this.map(this.unsigned(4), depth);
      default: throw new RangeError(`the byte 0x${code.toString(16)} begins no msgpack value`);
    }
  }
}

/** A number where that is exact. */
function small(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function decode(buffer) {
  const reader = new Reader(Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength));
  const value = reader.value(0);
  if (reader.at !== buffer.length) throw new RangeError('bytes are left over behind the msgpack value');
  return value;
}

module.exports = { DEPTH_MAX, Ext, decode, encode };
