'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Ext, decode, encode } = require('..');

const hex = (value) => encode(value).toString('hex');

test('integers are exact to 64 bits, and BigInt beyond 2^53', () => {
  const exact = [0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1,
    -1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 53 - 1),
    2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n, -(2n ** 63n)];
  for (const value of exact) assert.deepEqual(decode(encode(value)), value);
  assert.equal(decode(encode(5n)), 5, 'a small BigInt comes back as a number');
  assert.equal(hex(128), 'cc80');
  assert.equal(hex(-1), 'ff');
  assert.throws(() => encode(2n ** 64n), /does not fit into 64 bits/);
});

test('doubles are exact to the last bit, -0 and NaN too', () => {
  for (const value of [1.5, -0, NaN, Infinity, -Infinity, 1e-320, Number.MAX_VALUE, 2 ** 53]) {
    assert.ok(Object.is(decode(encode(value)), value), String(value));
  }
});

test('values nest as JSON has them', () => {
  const value = { text: 'Zürich → 東京 🚀', list: [null, true, false, { a: [] }], empty: {}, long: 'x'.repeat(70000) };
  assert.deepEqual(decode(encode(value)), value);
  assert.deepEqual(decode(encode(Array.from({ length: 70000 }, (_, i) => i))).length, 70000);
});

test('objects write as JSON.stringify would', () => {
  const value = { when: new Date(0), gone: undefined, f() {}, list: [undefined, 1] };
  assert.deepEqual(decode(encode(value)), JSON.parse(JSON.stringify(value)));
  assert.throws(() => encode(undefined), TypeError);
  assert.throws(() => encode(Symbol('s')), TypeError);
});

test('bytes, Maps and extension types come back as what they were', () => {
  assert.deepEqual(decode(encode(new Uint8Array([1, 2]))), Buffer.from([1, 2]));
  assert.deepEqual(decode(encode(new Map([[1, 'a'], ['b', 2]]))), new Map([[1, 'a'], ['b', 2]]));
  const ext = new Ext(-7, Buffer.from('abc'));
  assert.deepEqual(decode(encode(ext)), ext);
});

test('a key __proto__ is a key like any other', () => {
  const value = decode(encode(new Map([['__proto__', { a: 1 }]])));
  assert.deepEqual(Object.keys(value), ['__proto__']);
  assert.equal({}.a, undefined);
});

test('what is too deep is refused, not the end of the stack', () => {
  let deep = null;
  for (let i = 0; i < 100000; i++) deep = [deep];
  assert.throws(() => encode(deep), /more than 32/);
  assert.throws(() => decode(Buffer.alloc(1000, 0x91)), /too deep/);
});

test('no bytes from a stranger do more than throw', () => {
  const rounds = 20000;
  let state = 1;
  for (let i = 0; i < rounds; i++) {
    const bytes = Buffer.alloc(1 + i % 40);
    for (let at = 0; at < bytes.length; at++) bytes[at] = (state = (state * 1103515245 + 12345) & 0x7fffffff) >> 16;
    try {
      decode(bytes);
    } catch (error) {
      assert.ok(error instanceof RangeError, error.stack);
    }
  }
  assert.throws(() => decode(Buffer.from('ddffffffff', 'hex')), /ends early/);
});
