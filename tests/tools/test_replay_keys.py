#!/usr/bin/env python3
"""daybook replay on a terminal: keys, status line, Ctrl-Z, and the terminal as it was afterwards."""
import fcntl
import hashlib
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

from cli_support import DAYBOOK, daybook, environment, jsonl, main, promise, started

BASE = 1767322800 * 10**9

# What a shell does for a job: its own process group in the foreground of the terminal, and word of
# what becomes of it. It is told "fg" or "bg" to continue a job that has stopped.
SHELL = r"""
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
told, orders = int(sys.argv[1]), os.fdopen(int(sys.argv[2]))
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[3], sys.argv[3:])
os.write(told, b"pid %d\n" % pid)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        os.write(told, b"exit %d\n" % os.waitstatus_to_exitcode(status))
        break
    os.write(told, b"stopped\n")
    if orders.readline() == "fg\n":
        os.tcsetpgrp(0, pid)
    os.kill(-pid, signal.SIGCONT)
"""


class Job:
    """A replay on a terminal of its own; events come through a pipe unless `on_screen`."""

    def __init__(self, directory, *flags, on_screen=False):
        self.report_path = os.path.join(directory, "report.json")
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self.settings = termios.tcgetattr(self.slave)
        told_read, told_write = os.pipe()
        orders_read, orders_write = os.pipe()
        words = [DAYBOOK, "replay", "-D", directory, "--report", self.report_path, *flags]
        self.shell = subprocess.Popen(
            [sys.executable, "-c", SHELL, str(told_write), str(orders_read), *words],
            stdin=self.slave, stdout=self.slave if on_screen else subprocess.PIPE,
            stderr=self.slave, pass_fds=(told_write, orders_read),
            env=dict(environment(), TERM="xterm"))
        started.append(self.shell)
        os.close(told_write)
        os.close(orders_read)
        self.told, self.orders = os.fdopen(told_read), os.fdopen(orders_write, "w")
        self.pid = int(self.told.readline().split()[1])
        self.text, self.events = "", []

    def press(self, keys):
        os.write(self.master, keys.encode())

    def see(self, pattern):
        """Wait until this shows on the screen, from where the last look ended."""
        while not (found := re.search(pattern, self.text)):
            self.text += os.read(self.master, 4096).decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def event(self):
        self.events.append(json.loads(self.shell.stdout.readline()))
        return self.events[-1]

    def settings_now(self):
        return termios.tcgetattr(self.slave)

    def has_keys(self):
        return not self.settings_now()[3] & (termios.ICANON | termios.ECHO)

    def wait_for_keys(self):
        """The terminal has been taken: the line is there."""
        self.see("rate ")
        assert self.has_keys()

    def status(self):
        """How it ended; the terminal must be as it was."""
        line = self.told.readline()
        assert line.startswith("exit "), line
        assert self.settings_now() == self.settings, "the terminal is not as it was"
        if self.shell.stdout:
            self.events += [json.loads(line) for line in self.shell.stdout]
            self.shell.stdout.close()
        self.shell.wait()
        os.close(self.master)
        os.close(self.slave)
        self.told.close()
        self.orders.close()
        return int(line.split()[1])

    def report(self):
        with open(self.report_path, encoding="utf-8") as file:
            return json.load(file)


def record(directory, count, step_ms):
    daybook("pub", "-D", directory, stdin=jsonl(
        [{"topic": "abc"[i % 3], "time": BASE + i * step_ms * 10**6, "payload": {"i": i}}
         for i in range(count)]))


def digest(directory, sequences):
    lines = daybook("read", "-D", directory, "-o", "json").lines
    hashed = hashlib.sha256()
    for sequence in sequences:
        hashed.update(re.sub(r'"seq":\d+,', "", lines[sequence - 1], count=1).encode() + b"\n")
    return hashed.hexdigest()


@promise("space pauses and goes on, . steps one event, q ends: nothing is lost, doubled or hurried")
def pause_and_step(directory):
    record(directory, 100000, 20)
    job = Job(directory)
    job.event()
    job.press(" ")
    job.see("paused")
    os.set_blocking(job.shell.stdout.fileno(), False)
    while line := job.shell.stdout.readline():
        job.events.append(json.loads(line))
    os.set_blocking(job.shell.stdout.fileno(), True)
    seen = len(job.events)
    job.press(".")
    assert job.event()["seq"] == seen + 1
    job.press("nn.")
    assert [job.event()["seq"] for _ in range(3)] == [seen + 2, seen + 3, seen + 4]
    job.press(" ")
    job.see("playing")
    for _ in range(3):
        job.event()
    job.press("q")
    assert job.status() == 0
    sequences = [e["seq"] for e in job.events]
    assert sequences == list(range(1, len(sequences) + 1))
    report = job.report()
    assert (report["pauses"], report["steps"], report["seeks"]) == (1, 4, 0), report
    assert report["interrupted"] and report["events"] == len(sequences), report
    assert report["measured"] == len(sequences) - 4, "a step keeps no time"
    assert report["paused_ns"] > 0 and report["early"] == 0, report
    assert report["sha256"] == digest(directory, sequences)


@promise("after a pause everything is due that much later: nothing that was not due comes at once")
def clock_stands_still(directory):
    record(directory, 100000, 20)
    job = Job(directory)
    job.event()
    job.press(" ")
    for _ in range(5):
        job.see("paused")  # it is drawn ten times a second
    job.press(" ")
    for _ in range(10):
        job.event()
    job.press("q")
    assert job.status() == 0
    report = job.report()
    assert report["active_ns"] >= report["span_ns"], "events came before their time: %r" % report
    assert 0 < report["paused_ns"] < report["took_ns"], report


@promise("a step while it plays pauses, and gives the next event at once")
def step_while_playing(directory):
    record(directory, 10, 3600 * 1000)
    job = Job(directory)
    assert job.event()["seq"] == 1
    job.press(".")
    assert job.event()["seq"] == 2, "it is due in an hour"
    job.see("paused")
    job.press("q")
    assert job.status() == 0 and job.report()["steps"] == 1


@promise("arrows turn the clock by 10 s and 1 min, + and - by 10 s; not before the first event")
def seeking(directory):
    record(directory, 400, 10000)
    job = Job(directory, "-u")
    assert job.event()["payload"]["i"] == 0
    job.press(" ")
    job.see("paused")
    for keys, expected in (("\x1b[C", 2), ("\x1b[A", 8), ("\x1b[B", 2), ("\x1b[D", 1), ("+", 2),
                           ("-", 1), ("+++", 4), ("\x1bOA\x1bOC", 11), ("\x1b[D\x1b[B" * 2, 0),
                           ("\x1b[1;2C", 1)):
        job.press(keys + ".")
        got = job.event()["payload"]["i"]
        assert got == expected, (keys, got, expected)
    job.press("\x1b[A" * 67)  # beyond the end, with the last of them
    assert job.status() == 0
    report = job.report()
    assert report["seeks"] == 10 + 2 + 1 + 3 + 67, report
    assert not report["interrupted"] and report["backward"] == 0, report
    assert report["sha256"] == digest(directory, [e["seq"] for e in job.events])


@promise("a seek while it plays goes on from there on the beat")
def seek_while_playing(directory):
    record(directory, 100000, 100)
    job = Job(directory, "-r", "10")
    job.event()
    job.press("\x1b[A")
    while job.event()["payload"]["i"] < 600:
        pass
    job.event()
    job.press("q")
    assert job.status() == 0
    indexes = [e["payload"]["i"] for e in job.events]
    jumps = [(a, b) for a, b in zip(indexes, indexes[1:]) if b != a + 1]
    assert len(jumps) == 1 and 600 <= jumps[0][1] - jumps[0][0] + 1 < 700, jumps
    assert job.report()["early"] == 0


@promise("the line shows where the clock is, and is wiped at the end; --no-keys leaves all alone")
def status_line(directory):
    record(directory, 3, 3600 * 1000)
    job = Job(directory, "-u")
    job.see("Jan 02 03:00:0.*playing, rate 1 [(].*[)]  1 events, .* off, 0 late  .space pause")
    job.press("q")
    assert job.status() == 0
    job = Job(directory, "--no-keys")
    job.event()
    assert job.settings_now() == job.settings
    os.kill(job.pid, signal.SIGINT)
    assert job.status() == 0


@promise("with events on the screen the line shows in a pause only")
def line_beside_events(directory):
    record(directory, 100000, 20)
    job = Job(directory, "-o", "cat", on_screen=True)
    job.see('"i":7}')
    job.press(" ")
    before = job.see("(?s)(.*)paused").group(1)
    assert "playing" not in before
    job.press("q")
    assert job.status() == 0


@promise("whatever ends it, the terminal is as it was: SIGINT, SIGTERM, SIGQUIT, SIGSEGV, no reader")
def restored(directory):
    record(directory, 100000, 100)
    for number, expected in ((signal.SIGINT, 0), (signal.SIGTERM, 0),
                             (signal.SIGQUIT, -signal.SIGQUIT), (signal.SIGHUP, -signal.SIGHUP),
                             (signal.SIGSEGV, -signal.SIGSEGV)):
        job = Job(directory)
        job.wait_for_keys()
        os.kill(job.pid, number)
        assert job.status() == expected, number
    job = Job(directory)
    job.wait_for_keys()
    job.shell.stdout.close()
    job.shell.stdout = None
    assert job.status() == 0
    job = Job(directory)
    job.wait_for_keys()
    job.press("\x03")
    assert job.status() == 0 and job.report()["interrupted"]


@promise("Ctrl-Z gives the terminal back and stops the clock; in the background keys are not read")
def suspended(directory):
    record(directory, 100000, 100)
    job = Job(directory)
    job.wait_for_keys()
    job.press("\x1a")
    assert job.told.readline() == "stopped\n"
    assert job.settings_now() == job.settings
    time.sleep(0.3)  # no hope for anything: the longer, the plainer a clock that goes on
    job.orders.write("fg\n")
    job.orders.flush()
    job.see("playing")
    while not job.has_keys():
        job.see("playing")
    job.press("\x1a")
    assert job.told.readline() == "stopped\n"
    job.orders.write("bg\n")
    job.orders.flush()
    for _ in range(3):
        job.event()  # it goes on
    assert job.settings_now() == job.settings, "the terminal is the shell's"
    os.kill(job.pid, signal.SIGTERM)
    assert job.status() == 0
    report = job.report()
    assert report["pauses"] == 2 and report["paused_ns"] > 0, report
    assert report["backward"] == 0 and report["early"] == 0, report
    assert report["active_ns"] >= report["span_ns"], "events came before their time: %r" % report


if __name__ == "__main__":
    main()
