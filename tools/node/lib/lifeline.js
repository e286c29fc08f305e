/*
 * A connection that is made again when it is lost, with a growing pause, until it is closed, or the
 * daemon has said something behind which coming back would not help.
 */
'use strict';

const { connect } = require('./connection');
const { DaybookError, FINAL } = require('./errors');

const PAUSE_FIRST_MS = 10;
const PAUSE_LAST_MS = 1000;

class Lifeline {
  /**
   * `owner` has onWelcome(welcome) (may throw: for good), onFrame(message), onLost(error) each time,
   * onFinal(error) once: it will never be there again.
   */
  constructor(options, hello, owner) {
    this.options = options;
    this.hello = hello;
    this.owner = owner;
    this.connection = null;
    this.pause = PAUSE_FIRST_MS;
    this.timer = null;
    this.final = null;
    this.attempt();
  }

  async attempt() {
    this.timer = null;
    let welcome;
    try {
      const made = await connect(this.options, this.hello, (message) => this.owner.onFrame(message),
        (error) => this.lose(error));
      if (this.final) {
        made.connection.end(this.final);
        return;
      }
      this.connection = made.connection;
      ({ welcome } = made);
      this.pause = PAUSE_FIRST_MS;
    } catch (error) {
      this.lose(error);
      return;
    }
    try {
      this.owner.onWelcome(welcome);
    } catch (error) {
      this.finish(error);
    }
  }

  lose(error) {
    this.connection = null;
    if (this.final) return;
    if (FINAL.has(error.code) || error.code === 'protocol') {
      this.finish(error);
      return;
    }
    this.timer = setTimeout(() => this.attempt(), this.pause);
    this.pause = Math.min(2 * this.pause, PAUSE_LAST_MS);
    this.owner.onLost(error);
  }

  finish(error) {
    if (this.final) return;
    this.final = error;
    clearTimeout(this.timer);
    if (this.connection) this.connection.end(error);
    this.connection = null;
    this.owner.onFinal(error);
  }

  close() {
    this.finish(new DaybookError('closed', 'it has been closed'));
  }
}

module.exports = { Lifeline };
