'use strict';

const NS_PER_MS = 1000000n;

/**
 * Nanoseconds since 1970, as a BigInt: from a Date, a BigInt of nanoseconds, or a number of
 * milliseconds as Date.now() gives it. null: no time was given.
 */
function nanoseconds(time) {
  if (time === undefined || time === null) return null;
  if (typeof time === 'bigint') return time;
  const ms = time instanceof Date ? time.getTime() : time;
  if (typeof ms !== 'number' || !Number.isFinite(ms)) {
    throw new TypeError('a time is a Date, a BigInt of nanoseconds, or a number of milliseconds since 1970');
  }
  const whole = Math.floor(ms);
  return BigInt(whole) * NS_PER_MS + BigInt(Math.round((ms - whole) * 1e6));
}

module.exports = { NS_PER_MS, nanoseconds };
