#!/usr/bin/python3
"""The pm2 file: pm2 itself starts, shows, stops and restarts the daemon and the gateway with it.

pm2 comes from npm into $BUILD/pm2, and stays there. Where there is no npm, or it gets nothing, the
script says so and ends.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import BUILD, ROOT, daybook, main, promise  # noqa: E402

VERSION = "7.0.4"
PM2 = os.path.join(BUILD, "pm2", "node_modules", ".bin", "pm2")
WHAT = "the daemon and the gateway under pm2"


def install():
    """None, or why pm2 cannot be had."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "this machine has no node and npm"
    if os.path.exists(PM2):
        return None
    done = subprocess.run(["npm", "install", "--prefix", os.path.join(BUILD, "pm2"), "--no-audit",
                           "--no-fund", f"pm2@{VERSION}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return None if done.returncode == 0 else "npm cannot install pm2: " + done.stdout[-300:]


class Pm2:
    def __init__(self, directory):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DAYBOOK_", "PM2_"))}
        self.env.update(PM2_HOME=f"{directory}/pm2", DAYBOOK_DIR=f"{directory}/log", TZ="UTC")
        self.directory = directory
        self.pull, self.pub = f"ipc://{directory}/pull", f"ipc://{directory}/pub"
        # The file as it is, but for addresses that nobody else has.
        flags = ["--pull", self.pull, "--pub", self.pub, "--heartbeat", "0"]
        self.file = f"{directory}/ecosystem.config.js"
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(f"""
                const path = require('path');
                const config = require({json.dumps(ROOT + "/tools/service/ecosystem.config.js")});
                for (const app of config.apps) {{
                  app.script = path.join({json.dumps(BUILD)}, path.basename(app.script));
                  if (app.name === 'event_bus') app.args.push(...{json.dumps(flags)});
                }}
                module.exports = config;
                """)

    def __call__(self, *words):
        done = subprocess.run([PM2, *words], env=self.env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, (words, done.stdout)
        return done.stdout

    def processes(self):
        listed = self("jlist")
        return {p["name"]: p for p in json.loads(listed[listed.index("["):])}

    def states(self):
        return {name: p["pm2_env"]["status"] for name, p in self.processes().items()}

    def log(self, name):
        with open(f"{self.directory}/pm2/logs/{name.replace('_', '-')}-error.log",
                  encoding="utf-8") as log:
            return log.read()

    def await_said(self, name, words, times=1):
        while True:
            with contextlib.suppress(FileNotFoundError):
                if self.log(name).count(words) >= times:
                    return
            time.sleep(0.05)


@contextlib.contextmanager
def under_pm2(directory):
    pm2 = Pm2(directory)
    try:
        yield pm2
    finally:
        pm2("kill")


def events(directory):
    return daybook("read", "-D", f"{directory}/log", "-n", "all", "-o", "json").events


@promise("pm2 starts, shows, stops and restarts both; they end in order, and no event is lost")
def _(directory):
    import zmq
    with under_pm2(directory) as pm2:
        pm2("start", pm2.file)
        pm2.await_said("data_collector", " ready\n")
        pm2.await_said("event_bus", " ready\n")
        assert pm2.states() == {"data_collector": "online", "event_bus": "online"}, pm2.states()
        shown = pm2("status")
        assert "data_collector" in shown and "event_bus" in shown, shown
        assert " ready" in pm2("logs", "event_bus", "--nostream", "--lines", "20")

        context = zmq.Context()
        push, sub = context.socket(zmq.PUSH), context.socket(zmq.SUB)
        push.connect(pm2.pull)
        sub.connect(pm2.pub)
        sub.setsockopt_string(zmq.SUBSCRIBE, "@0/pm2@bitten.")
        got, sent = {}, 0

        def exchange(count):
            nonlocal sent
            for _ in range(count):
                push.send_json({"event_type": "t", "data": sent})
                sent += 1
            while len(got) < sent:
                assert sub.poll(60000), f"{len(got)} of {sent} have come"
                _, body, sequence = sub.recv_multipart()
                got[int(sequence)] = json.loads(body)["data"]

        exchange(200)
        pm2("stop", "event_bus", "data_collector")
        assert pm2.states() == {"data_collector": "stopped", "event_bus": "stopped"}, pm2.states()
        assert pm2.log("data_collector").rstrip().endswith("stopped"), "it was killed"
        assert " stopped: 200 messages received, 200 events stored" in pm2.log("event_bus")

        pm2("restart", "event_bus", "data_collector")
        assert set(pm2.states().values()) == {"online"}
        exchange(200)
        pm2("restart", "data_collector")
        exchange(200)
        pm2("restart", "event_bus")
        exchange(200)
        context.destroy(linger=0)
        assert [got[s] for s in sorted(got)] == list(range(800))
        assert [e["payload"]["data"] for e in events(directory)] == list(range(800))


@promise("pm2 brings both back when they are killed")
def _(directory):
    with under_pm2(directory) as pm2:
        pm2("start", pm2.file)
        for name in ("data_collector", "event_bus"):
            pm2.await_said(name, " ready\n")
            os.kill(pm2.processes()[name]["pid"], signal.SIGKILL)
            pm2.await_said(name, " ready\n", 2)


@promise("pm2 does not bring back a daemon whose log is damaged: a person must look first")
def _(directory):
    daybook("pub", "-t", "t", "-D", f"{directory}/log", stdin='{"n":1}\n' * 100)
    segment = sorted(os.listdir(f"{directory}/log/segments"))[0]
    with open(f"{directory}/log/segments/{segment}", "r+b") as file:
        file.write(b"\0" * 64)
    with under_pm2(directory) as pm2:
        pm2("start", pm2.file)
        pm2.await_said("event_bus", " ready\n")
        while pm2.processes()["data_collector"]["pm2_env"].get("exit_code") != 4:
            time.sleep(0.05)
        # Another one that ends later, and is brought back after the same delay, is there again.
        os.kill(pm2.processes()["event_bus"]["pid"], signal.SIGKILL)
        pm2.await_said("event_bus", " ready\n", 2)
        process = pm2.processes()["data_collector"]
        assert process["pm2_env"]["restart_time"] == 0, process["pm2_env"]["restart_time"]
        assert pm2.log("data_collector").count(" daybookd ") == 1, pm2.log("data_collector")


if __name__ == "__main__":
    missing = install()
    if missing:
        print(f"ok - skipped: {WHAT}: {missing}")
        sys.exit(0)
    main()
