/*
 * Events to the program's listeners. What one of them throws is the program's, and is thrown as an
 * uncaught exception, outside of ours: a connection does not end in the middle of a frame by it.
 */
'use strict';

function tell(emitter, name, ...values) {
  try {
    emitter.emit(name, ...values);
  } catch (error) {
    process.nextTick(() => { throw error; });
  }
}

module.exports = { tell };
