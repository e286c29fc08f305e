#!/usr/bin/env python3
"""Logs on file systems that are mounted read-only, and one that becomes read-only under the daemon.

Needs root and a loop device; without them it says so, and tries nothing.
"""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "campaigns"))
sys.dont_write_bytecode = True
import framed  # noqa: E402
from cli_support import DAYBOOKD, FAILURE, daybook, environment, main, promise  # noqa: E402
from power_stack import Missing, in_namespaces  # noqa: E402
from small_disks import KINDS, Disk, run  # noqa: E402

WHAT = "read-only file systems"
READ_ONLY = "Read-only file system"
COUNT = 500


class Mounted(Disk):
    """An ext4 with a log of COUNT events in it."""

    def __init__(self, directory):
        super().__init__(KINDS["ext4"], os.path.join(directory, "disk"), directory)
        run("mount", "-o", "remount,errors=remount-ro", self.folder)
        self.daemon = framed.Daemon(os.path.join(self.folder, "log"))
        self.daemon.log_path = os.path.join(directory, "daemon.out")

    @property
    def log(self):
        return self.daemon.directory

    def publish(self):
        self.daemon.start()
        self.daemon.connect().close()
        lines = "".join(json.dumps({"topic": "t", "payload": {"n": n}}) + "\n"
                        for n in range(COUNT))
        daybook("pub", "-D", self.log, stdin=lines)

    def freeze(self):
        run("mount", "-o", "remount,ro", self.folder)


def numbers(log):
    return [e["payload"]["n"] for e in
            daybook("read", "-D", log, "-n", "all", "-o", "json").events]


def refused(*words):
    """One clear sentence, and nothing done."""
    result = daybook(*words, stdin='{"topic":"t","payload":1}\n', expect=FAILURE)
    lines = result.err.strip().splitlines()
    assert len(lines) == 1 and READ_ONLY in lines[0], (words, result.err)


@promise("every reading verb serves a log on a read-only file system, the index too")
def _(directory):
    disk = Mounted(directory)
    disk.publish()
    assert disk.daemon.stop() == 0
    disk.freeze()
    try:
        assert numbers(disk.log) == list(range(COUNT))
        for words in (["status"], ["segments"], ["topics"], ["verify"], ["read", "-n", "3", "-r"],
                      ["replay", "-r", "max"], ["retention", "--max-size", "1M", "--dry-run"]):
            daybook(words[0], "-D", disk.log, *words[1:])
        total = daybook("sql", "-D", disk.log, "-o", "csv",
                        "SELECT sum(payload(seq) ->> '$.n') FROM events").lines
        assert total[-1] == str(sum(range(COUNT))), total
    finally:
        disk.unmount()


@promise("a log that was killed is read on a read-only file system as far as it is durable")
def _(directory):
    disk = Mounted(directory)
    disk.publish()
    disk.daemon.kill()
    disk.freeze()
    try:
        assert numbers(disk.log) == list(range(COUNT))
        daybook("verify", "-D", disk.log)
        daybook("status", "-D", disk.log)
        result = daybook("sql", "-D", disk.log, "SELECT count(*) FROM events", expect=None)
        assert result.status == 0 or "cannot be written" in result.err, result.err
    finally:
        disk.unmount()


@promise("whoever would write to a read-only file system is told so in one sentence")
def _(directory):
    disk = Mounted(directory)
    disk.publish()
    assert disk.daemon.stop() == 0
    disk.freeze()
    try:
        refused("pub", "-D", disk.log)
        refused("pub", "-D", os.path.join(disk.folder, "new"))
        refused("retention", "-D", disk.log, "--max-size", "1M")
        refused("reindex", "-D", disk.log)
        done = subprocess.run([DAYBOOKD, "-D", disk.log], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=environment(), check=False)
        errors = [line for line in done.stderr.splitlines() if " error   " in line]
        assert done.returncode == 1 and len(errors) == 1 and READ_ONLY in errors[0], done.stderr
    finally:
        disk.unmount()


@promise("a file system that turns read-only ends the daemon, loses nothing acknowledged, hinders no reader")
def _(directory):
    disk = Mounted(directory)
    disk.publish()
    try:
        connection = disk.daemon.connect()
        device = os.path.basename(disk.device)
        with open("/sys/fs/ext4/%s/trigger_fs_error" % device, "w", encoding="ascii") as trigger:
            trigger.write("1")
        acked = COUNT
        answer = None
        while not answer or answer[0] == "ack":
            connection.send(framed.frame(["pub", 1, [["t", None, {"n": acked}]]]))
            answer = connection.receive()
            acked += answer[0] == "ack" and answer[2] == 1
        assert answer[:2] == ["error", "io"] and "outcome unknown" in answer[2], answer
        assert disk.daemon.process.wait(20) == 1
        said = [line for line in disk.daemon.output().splitlines() if "the log has failed" in line]
        assert len(said) == 1 and READ_ONLY in said[0], disk.daemon.output()
        there = numbers(disk.log)
        assert there[:acked] == list(range(acked)), len(there)
        disk.unmount()
        run("mount", "-o", "loop", os.path.join(directory, "ext4.img"), disk.folder)
        disk.daemon.start()
        disk.daemon.connect().close()
        assert numbers(disk.log)[:acked] == list(range(acked))
        assert disk.daemon.stop() == 0
        daybook("verify", "-D", disk.log)
    finally:
        disk.daemon.end()
        disk.unmount()


def run_promises():
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


if __name__ == "__main__":
    try:
        if os.geteuid():
            raise Missing("only root may mount and make loop devices")
        KINDS["ext4"].require()
        sys.exit(in_namespaces(run_promises, WHAT))
    except Missing as missing:
        print("ok - skipped: %s: %s" % (WHAT, missing))
