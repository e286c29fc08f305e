#!/usr/bin/env python3
"""Full disks: real small file systems, filled at odd steps while a daemon works on them.

A case: a log on ext4, xfs, btrfs or tmpfs; a daemon with its index, a
numbered and an unnumbered producer, a follower and an SQL reader. A stranger's file takes the room
but for a random rest, in the middle of one of: appending, rolling, indexing, retention, a clean
stop, a kill. Later it goes away (with retention it stays: deleting old segments must be enough).
Asserted: producers are refused, with a reason, and soon; nothing crashes; readers and SQL go on;
the log goes on by itself when there is space; every acknowledged event is there exactly once, no
refused one is; `daybook verify` finds nothing.

    full_disk.py [--cases N] [--seed S] [--seconds T] [--only KIND]

Needs root and loop devices; without them it says so, and fails if --cases was given.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import framed  # noqa: E402
from cli_support import INCOMPLETE, OK, daybook  # noqa: E402
from power_stack import Missing, in_namespaces  # noqa: E402
from small_disks import KINDS, MIB, Disk  # noqa: E402

WHAT = "full disks"
PACE_S = 0.004   # between two frames, until the disk is full: or the log would be what fills it
ANSWER_S = 10    # a refusal or an ack later than this is a hang; the worst is printed
RECOVERY_S = 60  # btrfs gives deleted space back when it likes
PHASES = ("append", "roll", "index", "retention", "stop", "kill")


def say(good, sentence):
    """One line; gives `good` back."""
    print("%s - %s" % ("ok" if good else "not ok", sentence), flush=True)
    return good


# ---- Producers ----

class Producer(threading.Thread):
    """Sends events one frame at a time until told to stop, and remembers what it was told."""

    def __init__(self, path, name, dice, numbered):
        super().__init__(daemon=True)
        self.path, self.name, self.dice, self.numbered = path, name, dice, numbered
        self.acked, self.refused, self.unknown = set(), set(), set()
        self.reasons = set()
        self.failures = set()  # what was said when the log failed
        self.worst_s = 0
        self.stopping = False
        self.pace_s = PACE_S
        self.fault = None
        self.count = 0
        self.number = 0
        self.unsent = None  # numbered: the frame that has no answer yet

    def run(self):
        try:
            while not self.stopping:
                with contextlib.suppress(OSError):
                    self.talk()
                time.sleep(0.01)
        except BaseException as fault:  # pylint: disable=broad-except
            self.fault = "".join(traceback.format_exception(fault))

    def talk(self):
        with contextlib.closing(framed.Connection(
                self.path, self.name if self.numbered else None, timeout=ANSWER_S)) as connection:
            while not self.stopping:
                events = self.unsent or self.make()
                if self.numbered:
                    self.unsent = events
                refused = len(self.refused)
                self.publish(connection, events)
                self.unsent = None
                time.sleep(0.02 if len(self.refused) > refused else self.pace_s)

    def make(self):
        """[(id, number, payload)…]"""
        events = []
        for _ in range(self.dice.choice((1, 1, 3, 40))):
            self.count += 1
            self.number += 1
            events.append(("%s-%d" % (self.name, self.count), self.number,
                           self.dice.randbytes(self.dice.choice((10, 900, 7000)))))
        return events

    def publish(self, connection, events):
        begin = time.monotonic()
        known = False
        try:
            with contextlib.suppress(BrokenPipeError):  # the last words can still be read
                connection.send(framed.frame(["pub", 1, [
                    ["t", None, {"id": i, "bytes": p}] + ([n] if self.numbered else [])
                    for i, n, p in events]]))
            known = self.take(connection.receive(), events)
        except TimeoutError:
            self.fault = "no answer within %d s" % ANSWER_S
        finally:
            self.worst_s = max(self.worst_s, time.monotonic() - begin)
            if not known and not self.numbered:
                self.unknown |= {event[0] for event in events}
        if not known:
            raise ConnectionResetError

    def take(self, answer, events):
        if answer[0] == "error":
            if answer[1] in ("no_space", "io"):
                (self.reasons if answer[1] == "no_space" else self.failures).add(answer[2])
            return False
        refused = {r[0]: r for r in answer[6]}
        for index, event in enumerate(events):
            (self.refused if index in refused else self.acked).add(event[0])
        for refusal in refused.values():
            assert refusal[1] == "no_space", refusal
            if refusal[2]:
                self.reasons.add(refusal[2])
        return True

    def finish(self):
        self.stopping = True
        self.join(ANSWER_S + 20)
        assert not self.is_alive(), "a producer hangs"
        if self.unsent:
            self.unknown |= {event[0] for event in self.unsent}
        assert not self.fault, self.fault

    @property
    def told(self):
        """How many answers of either kind."""
        return len(self.acked), len(self.refused) + len(self.reasons)


# ---- One case ----

class Case:
    def __init__(self, disk, dice, phase):
        self.disk, self.dice, self.phase = disk, dice, phase
        self.folder = os.path.join(disk.folder, "case")
        os.mkdir(self.folder)
        self.segment = dice.choice((256, 512, 1024, 2048)) * 1024
        self.daemon = framed.Daemon(os.path.join(self.folder, "log"), "--segment-size",
                                    str(self.segment))
        # What it says must not be lost with the space, or take it.
        self.daemon.log_path = tempfile.mktemp(prefix="daybook-full.", suffix=".out",
                                               dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.producers = []
        self.acked_full = []  # by each, when the disk was full
        self.readers = []

    @property
    def directory(self):
        """Of the log."""
        return self.daemon.directory

    def start(self):
        self.daemon.start()
        self.daemon.connect().close()

    def status(self):
        try:
            with contextlib.closing(framed.Connection(self.daemon.socket, timeout=ANSWER_S)) as c:
                c.send(framed.frame(["status"]))
                return c.receive()[1]
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.daemon.process.wait(1)
            self.check_alive()
            raise

    def segments(self):
        """Those that have their name; the next one's file, without it, comes and goes."""
        return sorted(name for name in os.listdir(os.path.join(self.directory, "segments"))
                      if name.endswith(".seg"))

    def wait(self, what, true, limit=RECOVERY_S):
        end = time.monotonic() + limit
        while not true():
            self.check_alive()
            if time.monotonic() > end:
                status = self.status() if self.daemon.process.poll() is None else None
                raise AssertionError("%s: not within %d s; free %d, the stranger's file %d; %s" % (
                    what, limit, self.disk.free(), self.disk.filled(), status))
            time.sleep(0.01)

    def check_alive(self):
        self.daemon.check_alive()
        for producer in self.producers:
            assert not producer.fault, producer.fault

    def produce(self):
        for name, numbered in (("one", True), ("two", False)):
            producer = Producer(self.daemon.socket, name, random.Random(self.dice.random()),
                                numbered)
            self.producers.append(producer)
            producer.start()

    def follow(self):
        """A reader that stays; it must not die while the disk is full."""
        self.readers.append(subprocess.Popen(
            [framed.DAYBOOK, "read", "-D", self.directory, "-f", "-o", "json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def acked(self):
        return sum(p.told[0] for p in self.producers)

    def refusals(self):
        return sum(p.told[1] for p in self.producers)

    def begin(self):
        self.start()
        if self.phase == "retention":
            self.wait("the ballast", lambda: os.path.exists(self.directory + "/ballast"))
        self.produce()
        self.follow()
        segments = self.dice.randrange(3, 7)
        self.wait("the first segments", lambda: len(self.segments()) > segments)

    def fill(self):
        if self.phase == "roll":
            # Just when a segment is being made.
            before = self.segments()[-1]
            self.wait("a roll", lambda: self.segments()[-1] != before)
        if self.phase == "index":
            self.wait("the index", lambda: os.path.exists(self.directory + "/events.db-wal"))
        rest = self.dice.randrange(0, 3 * self.segment // 65536 + 2) * 65536
        if self.phase in ("retention", "stop", "kill") or self.dice.random() < 0.4:
            rest = 0
        self.disk.fill(rest + self.dice.randrange(0, 4096) * (rest > 0))
        for producer in self.producers:
            producer.pace_s = 0

    def await_full(self):
        """The rest of the room is used up by the log itself, and by the stranger."""
        def full():
            if not self.status()["disk_full"]:
                self.disk.fill(0)
                return False
            return True
        self.wait("a full disk", full)
        self.disk.fill(0)
        before = [p.told[1] for p in self.producers]
        self.wait("a refusal for each producer",
                  lambda: all(p.told[1] > b or p.told[1] for p, b in zip(self.producers, before)),
                  ANSWER_S)
        assert self.status()["prepare_error"]
        self.acked_full = [len(p.acked) for p in self.producers]

    def look(self, index=True):
        """Who only reads is served. Not always by SQLite: to open a database needs some room."""
        full = self.daemon.process.poll() is None and self.status()["disk_full"]
        told = json.loads(daybook("status", "-D", self.directory, "-o", "json").text)
        if full and told["answering"]:
            assert "new events are refused: " in told["trouble"], told
        daybook("read", "-D", self.directory, "-n", "5", "-o", "json")
        # At most one of them: each waits 2 s for an index that cannot be brought up to date, and
        # then says so with exit status 5.
        asked = self.dice.choice((None, ["topics"], [
            "sql", "SELECT count(*), sum(length(payload(seq))) FROM events"])) if index else None
        if asked:
            result = daybook(asked[0], "-D", self.directory, *asked[1:], expect=None)
            assert result.status in (OK, INCOMPLETE), result.err
            assert result.status == OK or "note: the index " in result.err, result.err

    def react(self):
        """What the phase does on the full disk; afterwards there is space."""
        if self.phase == "retention":
            # The index may have given up some of the ballast since, and events have had it.
            self.acked_full = [len(p.acked) for p in self.producers]
            daybook("retention", "-D", self.directory, "--max-size", str(self.segment))
            return
        if self.phase == "stop":
            status = self.daemon.stop()
            assert status == 0, "exit status %d" % status
            # After a clean stop it needs no room, unless it stood between two segments.
            try:
                self.start()
            except AssertionError:
                assert any(" error   " in line and
                           ("No space left" in line or "the file system has" in line)
                           for line in self.daemon.output().splitlines()[-4:])
                self.disk.empty()
                self.start()
            self.look(index=False)
        if self.phase == "kill":
            self.daemon.kill()
            self.look(index=False)
            self.disk.empty()
            self.start()
        self.disk.empty()

    def gone_on(self):
        """For each producer: has it an acknowledgement behind the full disk?"""
        return [len(p.acked) > a for p, a in zip(self.producers, self.acked_full)]

    def recover(self):
        # What retention has given back may be used up before both have had their turn.
        self.wait("going on by itself", lambda: any(self.gone_on()))
        self.disk.empty()
        self.wait("both producers going on", lambda: all(self.gone_on()))
        self.wait("the next segment", lambda: not self.status()["prepare_error"])
        for producer in self.producers:
            producer.finish()
        self.wait("the index", self.is_indexed)
        for reader in self.readers:
            assert reader.poll() is None, "a follower ended with status %s" % reader.returncode

    def is_indexed(self):
        status = self.status()
        return status["index_sequence"] == status["durable"] and status["index_error"] == ""

    def check(self):
        status = self.daemon.stop()
        assert status == 0, "exit status %d at the end" % status
        daybook("verify", "-D", self.directory)
        events = daybook("read", "-D", self.directory, "-n", "all", "-o", "json").events
        # The daemon itself says which numbers it has refused, once there is room for that.
        ids = [event["payload"]["id"] for event in events if event["topic"] != "_gap"]
        present = set(ids)
        assert len(present) == len(ids), "an event is there twice"
        first = events[0]["seq"]
        if self.phase != "kill":
            numbers = [event["seq"] for event in events]
            assert numbers == list(range(first, first + len(events))), "sequences have holes"
        acked = set().union(*(p.acked for p in self.producers))
        refused = set().union(*(p.refused for p in self.producers))
        unknown = set().union(*(p.unknown for p in self.producers))
        if self.phase != "retention":
            assert acked <= present, "%d acknowledged events are lost" % len(acked - present)
            assert first == 1
        else:  # What is missing was deleted: the oldest of each producer.
            self.check_deleted(ids, acked)
        assert not refused & present, "%d refused events are there" % len(refused & present)
        assert present <= acked | unknown, "%d unknown events" % len(present - acked - unknown)
        # What the daemon said last, on its way out, is indexed by whoever comes next.
        daybook("topics", "-D", self.directory)
        with contextlib.closing(sqlite3.connect(self.directory + "/events.db")) as database:
            rows = database.execute("SELECT count(*) FROM events").fetchone()[0]
        assert rows == len(events), "%d rows in the index for %d events" % (rows, len(events))

    @staticmethod
    def check_deleted(ids, acked):
        for name in ("one", "two"):
            kept = [int(i.split("-")[1]) for i in ids if i.startswith(name)]
            expected = sorted(int(i.split("-")[1]) for i in acked if i.startswith(name))
            assert kept, "nothing is left of " + name
            assert [n for n in expected if n >= kept[0]] == [n for n in kept if n in set(expected)]

    def run(self):
        try:
            self.begin()
            self.fill()
            self.await_full()
            self.look()
            self.react()
            self.recover()
            self.check()
        except BaseException:
            lines = self.daemon.output().splitlines(keepends=True)
            print("".join(line for line in lines if " connection " not in line)[-3000:])
            raise
        finally:
            self.end()

    def end(self):
        for producer in self.producers:
            producer.stopping = True
        for reader in self.readers:
            reader.kill()
            reader.wait()
        self.daemon.end()
        for producer in self.producers:
            producer.join(1)
        self.disk.empty()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.daemon.log_path)


# ---- The campaign ----

class Campaign:
    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        self.good = True
        self.cases = {}
        self.phases = {}
        self.refusals = 0
        self.worst_s = 0
        self.end = time.monotonic() + arguments.seconds if arguments.seconds else None

    def kinds(self):
        kinds = []
        for name, kind in KINDS.items():
            if self.arguments.only and self.arguments.only != name:
                continue
            try:
                kind.require()
                kinds.append(kind)
            except Missing as missing:
                say(True, "skipped: %s on %s: %s" % (WHAT, name, missing))
        return kinds

    def run_case(self, kind, number):
        """A disk of its own: what the last case did to the file system would not be repeatable."""
        seed = "%s/%d" % (self.arguments.seed, number)
        dice = random.Random(seed)
        phase = PHASES[(number // max(len(KINDS), 1) + number) % len(PHASES)]
        folder = os.path.join(self.directory, "disk")
        disk = Disk(kind, folder, self.directory)
        case = None
        try:
            case = Case(disk, dice, phase)
            case.run()
        except BaseException as failure:  # pylint: disable=broad-except
            if isinstance(failure, KeyboardInterrupt):
                raise
            traceback.print_exc(file=sys.stdout)
            self.good = say(False, "case %d (%s, %s), --seed %s: %s" % (
                number, kind.name, phase, self.arguments.seed, failure))
        finally:
            disk.unmount()
        self.cases[kind.name] = self.cases.get(kind.name, 0) + 1
        self.phases[phase] = self.phases.get(phase, 0) + 1
        self.refusals += case.refusals()
        self.worst_s = max([self.worst_s] + [p.worst_s for p in case.producers])

    def run(self):
        kinds = self.kinds()
        first = self.arguments.case
        numbers = [first] if first is not None else range(self.arguments.cases)
        for number in numbers:
            if self.end and time.monotonic() > self.end:
                break
            if not kinds:
                break
            self.run_case(kinds[number % len(kinds)], number)
        return self.report()

    def report(self):
        count = sum(self.cases.values())
        self.good &= say(count > 0, "%d full disks of %s" % (
            count, ", ".join("%s %d" % pair for pair in sorted(self.cases.items())) or "none"))
        self.good &= say(self.refusals >= count, "%d refusals, each answer within %.2f s" % (
            self.refusals, self.worst_s))
        print("cases: %d full-disk cases on real file systems" % count)
        for phase, number in sorted(self.phases.items()):
            print("cases: %d full disks during: %s" % (number, phase))
        return 0 if self.good else 1


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int)
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--only", choices=sorted(KINDS))
    arguments = parser.parse_args()
    arguments.nightly = arguments.cases is not None
    arguments.cases = 4 if arguments.cases is None else arguments.cases
    return arguments


def main():
    arguments = parse()
    directory = tempfile.mkdtemp(prefix="daybook-full.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        if os.geteuid():
            raise Missing("only root may mount and make loop devices")
        return in_namespaces(lambda: Campaign(arguments, directory).run(), WHAT)
    except Missing as missing:
        return 0 if say(not arguments.nightly, "skipped: %s: %s" % (WHAT, missing)) else 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
