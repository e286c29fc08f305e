// pm2 start ecosystem.config.js - the daemon and its ZeroMQ gateway under pm2, by the names that the
// processes before them had. DAYBOOK_DIR is the log's directory, ~/daybook-data without it.
const os = require('os');
const path = require('path');

// Installed, or beside the sources.
const prefix = '@PREFIX@';
const bin = prefix.startsWith('@') ? path.resolve(__dirname, '../../build') : path.join(prefix, 'bin');
const dir = process.env.DAYBOOK_DIR || path.join(os.homedir(), 'daybook-data');

const common = {
  interpreter: 'none', // programs, not scripts: pm2 starts them as they are
  exec_mode: 'fork',
  instances: 1,
  autorestart: true,
  exp_backoff_restart_delay: 200, // ms, and longer each time, while it fails again and again
  merge_logs: true, // their lines have times; what they say goes to the error log
  vizion: false,
  pmx: false,
  treekill: false, // they have no children
};

module.exports = {
  apps: [
    {
      ...common,
      name: 'data_collector',
      script: path.join(bin, 'daybookd'),
      args: ['-D', dir],
      // It finishes the last commit within a second of SIGINT; a slow disk may need longer.
      kill_timeout: 30000,
      // 2: the flags are wrong. 4: the log is damaged, and a person must look before anything
      // writes again.
      stop_exit_codes: [2, 4],
    },
    {
      ...common,
      name: 'event_bus',
      script: path.join(bin, 'daybook-zmq'),
      args: ['-D', dir],
      // It takes what producers have sent, stores it, and is gone within a second.
      kill_timeout: 5000,
      // 2: the flags are wrong. 3: another gateway has its names, and would be replaced in turn.
      stop_exit_codes: [2, 3],
    },
  ],
};
