/* One question, one answer, on a connection of its own. */
'use strict';

const { connect } = require('./connection');

async function ask(options, message) {
  let answer, refuse;
  const answered = new Promise((resolve, reject) => { answer = resolve; refuse = reject; });
  const { connection } = await connect(options, {}, (frame) => answer(frame), (error) => refuse(error));
  connection.send(message);
  try {
    return (await answered)[1];
  } finally {
    connection.onEnd = () => {};
    connection.end();
  }
}

/** The cursors of the log, as docs/protocol.md names their keys. */
const cursors = (options = {}) => ask(options, ['cursors']);
/** The daemon's counters. */
const status = (options = {}) => ask(options, ['status']);

module.exports = { cursors, status };
