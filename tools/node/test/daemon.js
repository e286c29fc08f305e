'use strict';

/* A daemon on a directory of its own, for tests; everything is gone afterwards. */
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { Lifeline } = require('../lib/lifeline');

const ROOT = path.resolve(__dirname, '../../..');
const BUILD = path.resolve(ROOT, process.env.BUILD || 'build');

/* For cleaning up only: every lifeline that was made. */
Lifeline.open = new Set();
const { attempt } = Lifeline.prototype;
Lifeline.prototype.attempt = function noted() {
  Lifeline.open.add(this);
  return attempt.call(this);
};

class Daemon {
  constructor() {
    this.root = fs.mkdtempSync(path.join(process.env.TMPDIR || '/var/tmp', 'daybook-node.'));
    this.directory = path.join(this.root, 'log');
    this.socket = path.join(this.directory, 'daybook.sock');
    this.process = null;
  }

  async start(...flags) {
    const output = fs.openSync(path.join(this.root, 'out'), 'a');
    this.process = spawn(path.join(BUILD, 'daybookd'), ['-D', this.directory, ...flags],
      { stdio: ['ignore', output, output] });
    this.gone = new Promise((resolve) => { this.process.on('exit', resolve); });
    fs.closeSync(output);
    while (!(await this.answers())) {
      if (this.process.exitCode !== null) throw new Error(fs.readFileSync(path.join(this.root, 'out'), 'utf8'));
    }
  }

  answers() {
    return new Promise((resolve) => {
      const probe = net.connect(this.socket, () => { probe.destroy(); resolve(true); });
      probe.on('error', () => setTimeout(() => resolve(false), 10));
    });
  }

  async kill(signal = 'SIGKILL') {
    this.process.kill(signal);
    await this.gone;
  }

  async end() {
    if (this.process && this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    fs.rmSync(this.root, { recursive: true, force: true });
  }

  /** All events, as `daybook read -o json` prints them; numbers beyond 2^53 lose digits here. */
  read(...flags) {
    const text = this.command('read', '-n', 'all', '-o', 'json', ...flags);
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  command(verb, ...flags) {
    return execFileSync(path.join(BUILD, 'daybook'), [verb, '-D', this.directory, ...flags], { encoding: 'utf8' });
  }
}

/**
 * A test's body with a daemon. A failed one may leave clients that would try to come back for ever,
 * so the daemon is followed by the end of whatever is still open.
 */
function withDaemon(body) {
  return async (context) => {
    const daemon = new Daemon();
    context.after(async () => {
      await daemon.end();
      for (const client of Lifeline.open) client.close();
    });
    await daemon.start();
    await body(daemon, context);
  };
}

module.exports = { Daemon, withDaemon };
