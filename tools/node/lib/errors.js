'use strict';

/** What went wrong: `code` for programs, `message`, one sentence, for people. */
class DaybookError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'DaybookError';
    this.code = code;
  }
}

/** The daemon's words behind which coming back would not help. */
const FINAL = new Set([
  'malformed', 'too_large', 'expected_hello', 'version', 'unsupported', 'invalid', 'taken',
  'forbidden', 'replaced',
]);

module.exports = { DaybookError, FINAL };
