#!/usr/bin/env python3
"""Hostile producers beside an honest one: they may cost their own connection, and nothing else (D9).

A daemon is kept busy by two ordinary producers while an honest one sends event after event, one in
flight, and measures how long each ack takes. Beside them the attacks of hostile_frames.py, hostile_strangers.py
and hostile_subscribers.py run, one
kind at a time (those that only wait run all together), each between two stretches without any.
Asserted: the answer to each attack and the time within which its connection is closed (in the
attacks themselves); every honest event acknowledged and stored exactly once; nothing stored of a bad
frame; the daemon's memory below the cap that it states; no descriptor left behind; the daemon alive,
and its log without damage. With --strict also: the p99 of the honest acks at most twice what it is
without the attack, or at most half a millisecond more.

Attackers run with SCHED_IDLE: what is asked is what the daemon lets them cost, not what a processor
that they fill would cost everybody. On an idle processor they still get all that is left.

    hostile.py [--cases N] [--seed S] [--seconds T] [--strict] [--only WORD]

--cases: how often each attack has its turn. --seconds: of one turn.
"""

import argparse
import array
import bisect
import contextlib
import json
import os
import resource
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
# pylint: disable=wrong-import-position,unused-import
from hostile_attacker import Attacker, attacks, framed  # noqa: E402
import hostile_frames  # noqa: E402,F401
import hostile_strangers  # noqa: E402,F401
import hostile_subscribers  # noqa: E402,F401

MIB = 1 << 20
BASELINE_SECONDS = 0.05
IDLE_SECONDS = 30  # until all readers are closed; against a hang only
CONNECTIONS = 1024
SLOW_CASES = 3  # enough of those that only wait for their deadline
RATIO_MAX = 2
GRACE_NS = 500_000  # a ratio of very short times says nothing
FLAGS = ("--segment-size", "16M", "--input-memory", "16M")
SANITIZED = any(word in framed.BUILD for word in ("asan", "tsan"))


# ---- Those who behave ----

def be_idle():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def child(function):
    """Run in a process of its own, which ends with this one; a failure is its exit status."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = function() or 0
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    finally:
        os._exit(status)


def keep_busy(path, stop, number):
    """An ordinary producer: 50 events a frame, four frames in flight, 100 frames a second."""
    connection = framed.Connection(path, "busy-%d" % number)
    sent = 0
    begin = time.monotonic()
    waiting = 0
    while not os.path.exists(stop):
        while waiting < 4 and time.monotonic() >= begin + sent * 0.01:
            first = sent * 50 + 1
            connection.send(framed.frame(["pub", sent, [
                ["busy", None, {"n": n, "text": "an ordinary event of an ordinary size"}, n]
                for n in range(first, first + 50)]]))
            sent += 1
            waiting += 1
        if waiting == 0:
            time.sleep(0.001)
            continue
        answer = connection.receive()
        assert answer[0] == "ack" and answer[2] == 50, answer
        waiting -= 1


def be_honest(path, stop, out_path):
    """One event in flight. Leaves (moment of sending, ns until the ack) for each, in order."""
    connection = framed.Connection(path, "honest")
    times = array.array("q")
    number = 0
    while not os.path.exists(stop):
        number += 1
        data = framed.frame(["pub", number, [["honest", None, {"n": number}, number]]])
        begin = time.monotonic_ns()
        connection.send(data)
        answer = connection.receive()
        times.extend((begin, time.monotonic_ns() - begin))
        assert answer[:3] == ["ack", number, 1], answer
        time.sleep(0.0002)
    with open(out_path, "wb") as out:
        times.tofile(out)


# ---- The daemon, watched ----

class Watched:
    """A daemon, with its memory and descriptors under observation."""

    def __init__(self, directory, *flags):
        self.daemon = framed.Daemon(directory, *FLAGS, *flags)
        self.daemon.start()
        self.daemon.connect().close()
        self.pid = self.daemon.process.pid
        self.anonymous_kib = 0
        self.watching = True
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while self.watching:
            with contextlib.suppress(OSError, ProcessLookupError):
                with open("/proc/%d/status" % self.pid, encoding="ascii") as file:
                    for line in file:
                        if line.startswith("RssAnon"):
                            self.anonymous_kib = max(self.anonymous_kib, int(line.split()[1]))
            time.sleep(0.01)

    def status(self):
        with contextlib.closing(framed.Connection(self.daemon.socket)) as connection:
            connection.send(framed.frame(["status"]))
            return connection.receive()[1]

    def sockets(self):
        """How many clients it has, by its descriptors."""
        count = 0
        folder = "/proc/%d/fd" % self.pid
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                count += os.readlink(os.path.join(folder, name)).startswith("socket:")
        return count

    def others(self):
        return len(os.listdir("/proc/%d/fd" % self.pid)) - self.sockets()

    def wait_for_sockets(self, count, limit=300 if SANITIZED else 30):
        end = time.monotonic() + limit
        while self.sockets() != count:
            self.daemon.check_alive()
            assert time.monotonic() < end, "%d sockets are open, not %d" % (self.sockets(), count)
            time.sleep(0.005)

    def end(self):
        self.watching = False
        self.thread.join()
        self.daemon.end()


# ---- The campaign ----

class Turn:
    """One attack's turn: when it ran, and how often it did what it does."""

    def __init__(self, name):
        self.name = name
        self.begin = self.end = self.cases = 0
        self.started = []  # (pid, name, path)


class Campaign:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.stop_path = os.path.join(directory, "stop")
        self.turns = []
        self.quiet = []  # (begin, end) without any attack
        self.failures = []
        self.helpers = []
        self.again = None  # names, when only these are measured once more
        self.started = 0  # attackers, ever
        self.watched = None
        self.base_sockets = self.base_others = 0

    def start(self):
        self.watched = Watched(os.path.join(self.directory, "log"), "--max-connections",
                               str(self.options.connections))
        # What the setuid child shall prove is not left to the mode of the socket alone.
        os.chmod(self.directory, 0o755)
        os.chmod(os.path.join(self.directory, "log"), 0o755)
        os.chmod(self.watched.daemon.socket, 0o666)
        path = self.watched.daemon.socket
        for number in range(2):
            self.helpers.append(child(lambda n=number: keep_busy(path, self.stop_path, n)))
        self.helpers.append(child(
            lambda: be_honest(path, self.stop_path, os.path.join(self.directory, "times"))))
        self.watched.wait_for_sockets(1 + 3)
        time.sleep(0.2)
        self.base_sockets = self.watched.sockets()
        self.base_others = self.watched.others()

    def attacker(self, name, function, options):
        """Fork one; its count of cases, or what failed, comes through a file."""
        self.started += 1
        number = self.started
        path = os.path.join(self.directory, "attack-%d" % number)

        def run():
            be_idle()
            if options.get("user") and os.geteuid() == 0:
                os.setgroups([])
                os.setgid(options["user"])
                os.setuid(options["user"])
            attacker = Attacker(self.watched.daemon.socket, self.watched.pid,
                                "%d %s" % (self.options.seed, number), self.options.seconds)
            try:
                function(attacker)
                text = ""
            except Exception as failure:  # pylint: disable=broad-except
                text = "%s: %s\n%s" % (type(failure).__name__, failure, traceback.format_exc())
            out.write(json.dumps([attacker.cases, text]))
            out.flush()
            return 0

        with open(path, "w", encoding="utf-8") as out:
            return child(run), name, path

    def collect(self, pid, name, path):
        _, status = os.waitpid(pid, 0)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        os.unlink(path)
        cases, failure = json.loads(text) if text else (0, "ended with status %d" % status)
        if failure:
            self.failures.append("%s: %s" % (name, failure))
        return cases

    def rest(self, seconds):
        begin = time.monotonic_ns()
        time.sleep(seconds)
        self.quiet.append((begin, time.monotonic_ns()))

    def one_turn(self, name, chosen):
        """Quiet first; then these attacks at once."""
        self.rest(BASELINE_SECONDS * self.options.seconds / 0.1)
        turn = Turn(name)
        turn.begin = time.monotonic_ns()
        turn.started = [self.attacker(*attack) for attack in chosen]
        self.turns.append(turn)
        return turn

    def finish_turn(self, turn):
        for pid, name, path in turn.started:
            turn.cases += self.collect(pid, name, path)
        turn.end = time.monotonic_ns()
        self.watched.daemon.check_alive()
        self.check_helpers()

    def chosen(self):
        for name, function, options in attacks:
            if self.options.only and self.options.only not in name:
                continue
            if self.again and name not in self.again:
                continue
            if options.get("many", CONNECTIONS) != self.options.connections:
                continue
            if options.get("user") and os.geteuid() != 0:
                continue
            yield name, function, options

    def run(self):
        slow = [a for a in self.chosen() if a[2].get("slow")]
        swift = [a for a in self.chosen() if not a[2].get("slow") and not a[2].get("memory")]
        # Those that use up the memory would drive out the slow ones before their time.
        greedy = [a for a in self.chosen() if a[2].get("memory")]
        for case in range(self.options.cases):
            # Those who wait for their deadline wait together, and beside the others.
            waiting = self.begin_slow(slow) if slow and case < SLOW_CASES else None
            for chosen in swift:
                self.finish_turn(self.one_turn(chosen[0], [chosen]))
                if not waiting:
                    self.watched.wait_for_sockets(self.base_sockets)
            if waiting:
                end = waiting.end
                self.finish_turn(waiting)
                waiting.end = end
            for chosen in greedy:
                self.finish_turn(self.one_turn(chosen[0], [chosen]))
            self.rest(BASELINE_SECONDS)
            self.watched.wait_for_sockets(self.base_sockets)

    def begin_slow(self, slow):
        turn = self.one_turn("those who wait", slow)
        time.sleep(self.options.seconds)
        turn.end = time.monotonic_ns()
        return turn

    def check_helpers(self):
        for pid in self.helpers:
            ended, status = os.waitpid(pid, os.WNOHANG)
            assert not ended, "an honest producer ended with status %d" % status

    def stop_helpers(self):
        with open(self.stop_path, "w", encoding="ascii"):
            pass
        statuses = [os.waitpid(pid, 0)[1] for pid in self.helpers]
        self.helpers = []
        assert not any(statuses), "an honest producer ended with status %r" % statuses

    def end(self):
        for pid in self.helpers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        if self.watched:
            self.watched.end()


# ---- What came of it ----

def around(campaign, turn):
    """The quiet stretches right before and after a turn: the machine may have other moods."""
    before = max((q for q in campaign.quiet if q[1] <= turn.begin), default=None)
    after = min((q for q in campaign.quiet if q[0] >= turn.end), default=None)
    return [stretch for stretch in (before, after) if stretch]


class Honest:
    """The honest producer's times, found by moment."""

    def __init__(self, path):
        times = array.array("q")
        with open(path, "rb") as file:
            times.frombytes(file.read())
        self.moments, self.took = times[::2], times[1::2]

    def between(self, stretches):
        found = []
        for begin, end in stretches:
            found += self.took[bisect.bisect_left(self.moments, begin):
                               bisect.bisect_left(self.moments, end)]
        return found


def p99(samples):
    return sorted(samples)[len(samples) * 99 // 100] if samples else 0


def median(values):
    return sorted(values)[len(values) // 2]


def judge(campaign, honest):
    """Per attack: cases, p99 beside it and without, each the median over its turns, so that one
    stumble of the disk decides nothing. Returns those that cost too much, by name."""
    too_dear = {}
    options = {name: o for name, _, o in attacks}
    print("# %-58s %8s %9s %9s %6s" % ("attack", "cases", "p99 us", "without", "ratio"))
    for name in dict.fromkeys(turn.name for turn in campaign.turns):
        turns = [turn for turn in campaign.turns if turn.name == name]
        beside = median([p99(honest.between([(turn.begin, turn.end)])) for turn in turns])
        quiet = median([p99(honest.between(around(campaign, turn))) for turn in turns])
        print("# %-58s %8d %9d %9d %6.2f" % (name, sum(t.cases for t in turns), beside / 1000,
                                             quiet / 1000, beside / max(1, quiet)))
        if options.get(name, {}).get("strict", True) and beside > max(RATIO_MAX * quiet,
                                                                      quiet + GRACE_NS):
            too_dear[name] = "%s: %d us, without it %d us" % (name, beside / 1000, quiet / 1000)
    return too_dear


def wait_for_index(watched, limit=120):
    end = time.monotonic() + limit
    while True:
        status = watched.status()
        if status["index_sequence"] >= status["durable"]:
            return status
        watched.daemon.check_alive()
        assert time.monotonic() < end, "the index does not catch up: %r" % status
        time.sleep(0.02)


def check_log(directory, acked):
    out = subprocess.run([framed.DAYBOOK, "read", "-D", directory, "-n", "all", "-o", "json", "-t",
                          "honest"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    kept = [json.loads(line)["payload"]["n"] for line in out.stdout.splitlines()]
    assert kept == list(range(1, acked + 1)), (
        "%d honest events are stored, %d were acknowledged" % (len(kept), acked))
    database = sqlite3.connect("file:%s/events.db?mode=ro" % directory, uri=True)
    topics = [row[0] for row in database.execute("SELECT topic FROM topics")]
    database.close()
    assert not any("bad" in topic for topic in topics), [t for t in topics if "bad" in t]
    verified = subprocess.run([framed.DAYBOOK, "verify", "-D", directory], capture_output=True,
                              check=False)
    assert verified.returncode == 0, verified.stderr.decode(errors="replace")


class Report:
    def __init__(self, seed):
        self.seed = seed
        self.failed = 0

    def say(self, sentence, failure=None):
        self.failed += bool(failure)
        print("%s - %s%s" % ("not ok" if failure else "ok", sentence,
                             " (seed %d): %s" % (self.seed, failure) if failure else ""), flush=True)


def conclude(campaign, report):
    watched = campaign.watched
    report.say("each attack is answered as it should be, and closed within its deadline",
               "; ".join(campaign.failures))
    campaign.stop_helpers()
    watched.wait_for_sockets(1)
    # Segments and the index may have a few files more or less open than at the start, and what
    # subscribers have read from is closed when it was idle for 2 s.
    end = time.monotonic() + IDLE_SECONDS
    while (others := watched.others()) > campaign.base_others + 8 and time.monotonic() < end:
        time.sleep(0.01)
    report.say("no descriptor is left behind", None if others <= campaign.base_others + 8 else
               "%d, and %d at the start" % (others, campaign.base_others))
    status = wait_for_index(watched)
    cap = status["memory_max"]
    used = watched.anonymous_kib * 1024
    print("# the daemon's memory: at most %.1f MiB were used of %.1f MiB stated" % (
        used / MIB, cap / MIB))
    report.say("the daemon's memory stays below the cap that it states",
               None if used <= cap or SANITIZED else "%d of %d bytes" % (used, cap))
    stopped = watched.daemon.stop()
    report.say("the daemon lives through all of it and stops in order",
               None if stopped == 0 else "status %d" % stopped)
    honest = Honest(os.path.join(campaign.directory, "times"))
    check_log(os.path.join(campaign.directory, "log"), len(honest.took))
    report.say("every honest event is there exactly once, nothing of a bad frame, and no damage")
    too_dear = judge(campaign, honest)
    told = "; ".join(too_dear.values())
    if campaign.options.strict and (campaign.again or not too_dear):
        report.say("the honest producer's p99 is at most twice its baseline beside each attack",
                   told)
    elif too_dear:
        print("# dearer than twice the baseline in this run: " + told)
    turns = [t for t in campaign.turns]
    print("cases: %d kinds of attack" % sum(1 for _ in campaign.chosen()))
    print("cases: %d attacks on a busy daemon" % sum(t.cases for t in turns))
    print("cases: %d honest events beside them" % len(honest.took))
    return set(too_dear)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--only", default="")
    return parser.parse_args()


def run_campaign(options, connections, report, again=None):
    """With a daemon that allows so many connections, the attacks that are meant for such a one, or
    those of them that are named again. Returns which of them cost too much."""
    options.connections = connections
    directory = tempfile.mkdtemp(prefix="daybook-hostile.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    campaign = Campaign(options, directory)
    campaign.again = again or None
    try:
        if not list(campaign.chosen()):
            return set()
        print("# a daemon that takes up to %d connections" % connections)
        campaign.start()
        campaign.run()
        return conclude(campaign, report)
    except Exception as failure:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stdout)
        if campaign.failures:
            print("# " + "\n# ".join("; ".join(campaign.failures).splitlines()))
        report.say("hostile producers beside an honest one", "%s: %s" % (type(failure).__name__,
                                                                         failure))
        if campaign.watched:
            print("# " + "\n# ".join(campaign.watched.daemon.output()[-1500:].splitlines()))
    finally:
        campaign.end()
        shutil.rmtree(directory, ignore_errors=True)
    return set()


def run_twice(options, connections, report):
    """A hundred honest events beside a turn make a rough p99, and 67 attacks make 67 chances to be
    unlucky: with --strict, who costs too much is measured again, three times as long, and that
    counts."""
    too_dear = run_campaign(options, connections, report)
    if too_dear and options.strict:
        print("# measured again: " + ", ".join(sorted(too_dear)))
        options.cases *= 3
        run_campaign(options, connections, report, too_dear)
        options.cases //= 3


def main():
    options = parse()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    if options.strict:
        with contextlib.suppress(PermissionError):
            os.nice(-15)  # daemon and honest producers: other business of the machine is not asked
    report = Report(options.seed)
    run_twice(options, CONNECTIONS, report)
    if SANITIZED:
        return 1 if report.failed else 0
    crowd = 10000
    if limit[1] >= crowd + 1000:
        run_twice(options, crowd, report)
    else:
        print("# no %d connections: this machine allows %d descriptors" % (crowd, limit[1]))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
