#!/usr/bin/env python3
"""kill -9 of the daemon under producers and subscribers: each subscriber is given every event.

Four producers, and eight subscribers: two that read at once (one of all topics, one of two of
them), two slow ones, two that are killed themselves and begin again at their cursors, two that join
late and read history first. Beside them one written with each of our clients: the C library, the
Python package, and Node's where there is a node. The daemon is killed every few seconds. In the
end each subscriber has, exactly once and in order, what `daybook read` has, and everything that
producers were told is durable is there. Segments are small and are packed, so that history and live
meet everywhere.

    SECONDS=120 SEED=7 BUILD=build tests/tools/test_bus_kill.py
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from bus_parties import Client, Journal, Manner, digest, start  # noqa: E402  pylint: disable=wrong-import-position
from framed import BUILD, DAYBOOK, Daemon  # noqa: E402  pylint: disable=wrong-import-position
from kill_parties import Producer  # noqa: E402  pylint: disable=wrong-import-position

SECONDS = float(os.environ.get("SECONDS", "15"))
SEED = int(os.environ.get("SEED", "1"))
PRODUCERS = 4
LIFE_SECONDS = (0.5, 3.0) if SECONDS >= 60 else (0.3, 1.5)
HANG_SECONDS = max(240, 6 * SECONDS)  # against a hang only
FLAGS = ("--segment-size", "1M")
SUBSCRIBERS = (
    Manner("all", cursor="all"),
    Manner("two topics", topics=["kill.named-1", "*.named-3"]),
    Manner("slow by credit", cursor="slow", credit=50, nap=0.02),
    Manner("slow by naps", nap=0.1),
    Manner("killed 1", cursor="killed-1", killed=True),
    Manner("killed 2", cursor="killed-2", credit=500, killed=True),
    Manner("late 1", late=True),
    Manner("late 2", cursor="late-2", late=True),
)
HERE = os.path.dirname(os.path.abspath(__file__))
NODE = shutil.which(os.environ.get("NODE", "node"))
CLIENTS = (
    Client("C library", os.path.join(BUILD, "tests", "bus_client")),
    Client("Python package", sys.executable, os.path.join(HERE, "bus_client.py")),
) + ((Client("Node client", NODE, os.path.join(HERE, "bus_client.js")),) if NODE else ())


class Company:
    """The subscribers' processes."""

    def __init__(self, directory, daemon):
        self.directory, self.daemon = directory, daemon
        self.stop_path = os.path.join(directory, "last")
        self.pids = {}
        self.kills = 0
        self.behind_seconds = 0.0  # how long they took for what was left behind the last kill

    def journal(self, manner):
        return os.path.join(self.directory, manner.name.replace(" ", "-"))

    def start(self, manner):
        self.pids[manner] = start(self.daemon.socket, manner, self.journal(manner),
                                  self.stop_path, SEED)

    def kill(self, manner):
        os.kill(self.pids[manner], signal.SIGKILL)
        os.waitpid(self.pids.pop(manner), 0)
        self.kills += 1

    def check(self):
        """Nobody has ended by itself."""
        for manner, pid in list(self.pids.items()):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                del self.pids[manner]
                raise AssertionError("subscriber '%s' ended: %s" % (manner.name, self.why(manner)))

    def why(self, manner):
        try:
            with open(self.journal(manner) + ".failure", encoding="utf-8") as file:
                return file.read()
        except OSError:
            return "without a word"

    def wait_for(self, last):
        """Until each of them has everything up to `last`, and has committed it."""
        with open(self.stop_path + ".new", "w", encoding="ascii") as file:
            file.write("%d" % last)
        os.rename(self.stop_path + ".new", self.stop_path)
        begin = time.monotonic()
        for manner, pid in list(self.pids.items()):
            while not (waited := os.waitpid(pid, os.WNOHANG))[0]:
                assert time.monotonic() < begin + HANG_SECONDS, (
                    "subscriber '%s' never got event %d" % (manner.name, last))
                time.sleep(0.01)
            del self.pids[manner]
            assert waited[1] == 0, "subscriber '%s': %s" % (manner.name, self.why(manner))
        self.behind_seconds = time.monotonic() - begin

    def end(self):
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class Truth:
    """What the log has: `events`, each (sequence, topic, hash of the payload), and at which sequence
    it has which number of which producer. Read a line at a time: it may be millions."""

    def __init__(self, directory):
        self.events, self.places = [], {}
        self.stored = 0
        topics = {}
        with subprocess.Popen([DAYBOOK, "read", "-D", directory, "-n", "all", "-o", "json"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as reading:
            for line in reading.stdout:
                event = json.loads(line)
                topic = topics.setdefault(event["topic"], event["topic"])
                self.events.append((event["seq"], topic, digest(event["payload"])))
                if topic.startswith("kill."):
                    self.stored += 1
                    self.places[(event["payload"]["p"], event["payload"]["n"])] = event["seq"]
        assert reading.returncode == 0, "daybook read: exit status %d" % reading.returncode

    def of(self, manner):
        topics = {"kill.named-1", "kill.named-3"} if manner.topics else None
        return self.events if topics is None else [e for e in self.events if e[1] in topics]


def check_acked(producers, truth):
    assert len(truth.places) == truth.stored, "%d events are there twice" % (
        truth.stored - len(truth.places))
    for producer in producers:
        for number, sequence in producer.ledger().items():
            place = truth.places.get((producer.name, number))
            assert place and sequence in (0, place), "%s: number %d is %r, was said to be %r" % (
                producer.name, number, place, sequence)


def live(company, producers, dice):
    """The kills. Returns how many."""
    begin = time.monotonic()
    kills = 0
    late = [manner for manner in SUBSCRIBERS if manner.late]
    for manner in SUBSCRIBERS + CLIENTS:
        if not manner.late:
            company.start(manner)
    while time.monotonic() < begin + SECONDS:
        time.sleep(dice.uniform(*LIFE_SECONDS))
        for manner in SUBSCRIBERS:
            if manner.killed and dice.randrange(2):
                company.kill(manner)
                company.start(manner)
        while late and time.monotonic() > begin + SECONDS * (3 - len(late)) / 3:
            company.start(late.pop(0))
        company.daemon.check_alive()
        company.daemon.kill()
        kills += 1
        company.daemon.start()
        company.check()
        for producer in producers:
            if producer.failure:
                raise producer.failure
    return kills


def check_client(client, path, events):
    """It has printed each event, as it is, and nothing else."""
    count = 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            sequence, topic, text = line.split(" ", 2)
            assert count < len(events), "the %s has more than %d events" % (client.name, count)
            assert (int(sequence), topic, digest(json.loads(text))) == events[count], (
                "the %s has %.200s where event %d is" % (client.name, line, events[count][0]))
            count += 1
    assert count == len(events), "the %s has %d of %d events" % (client.name, count, len(events))


def check_cursors(company, last):
    """What the clients committed is durable."""
    result = subprocess.run([DAYBOOK, "cursors", "-D", company.daemon.directory, "-o", "json"],
                            stdin=subprocess.DEVNULL, capture_output=True, check=True)
    places = {row["cursor"]: row["position"] for row in json.loads(result.stdout)}
    for client in CLIENTS:
        assert places.get(client.cursor) == last, "the cursor of the %s: %r, not %d" % (
            client.name, places.get(client.cursor), last)


def check_subscriber(manner, path, expected):
    """Returns its journal, without the events."""
    journal = Journal(path, manner.name)
    if journal.events != expected:
        got, want = set(journal.events), set(expected)
        raise AssertionError("subscriber '%s' has %d events, %d are right; missing %r, wrong %r"
                             % (manner.name, len(journal.events), len(expected),
                                sorted(want - got)[:3], sorted(got - want)[:3]))
    journal.events = None
    return journal


def compare(company, producers, last):
    truth = Truth(company.daemon.directory)
    check_acked(producers, truth)
    journals = [check_subscriber(manner, company.journal(manner), truth.of(manner))
                for manner in SUBSCRIBERS]
    for client in CLIENTS:
        check_client(client, company.journal(client), truth.events)
    check_cursors(company, last)
    return len(truth.events), journals


def run(directory):
    daemon = Daemon(os.path.join(directory, "log"), *FLAGS)
    company = Company(directory, daemon)
    producers = [Producer(daemon, SEED, "named-%d" % i, True) for i in range(PRODUCERS)]
    try:
        daemon.start()
        for producer in producers:
            producer.start()
        kills = live(company, producers, random.Random(SEED))
        for producer in producers:
            producer.stopping.set()
        for producer in producers:
            producer.join(HANG_SECONDS)
            assert not producer.is_alive(), "%s waits for acks that never come" % producer.name
        connection = daemon.connect()
        last = connection.welcome["durable"]
        connection.close()
        company.wait_for(last)
        events, journals = compare(company, producers, last)
        assert daemon.stop() == 0, daemon.output()[-2000:]
    finally:
        for producer in producers:
            producer.stopping.set()
        company.end()
        daemon.end()
    return kills, company, events, journals


def main():
    directory = tempfile.mkdtemp(prefix="daybook-bus.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    sentence = ("each of %d subscribers was given every event exactly once and in order, "
                "over kills of the daemon and of subscribers" % len(SUBSCRIBERS + CLIENTS))
    try:
        kills, company, events, journals = run(directory)
    except Exception as failure:  # pylint: disable=broad-except
        print("not ok - %s: %s" % (sentence, failure))
        print("# kept in %s" % directory)
        return 1
    shutil.rmtree(directory)
    print("ok - " + sentence)
    print("# clients: %s%s" % (", ".join(client.name for client in CLIENTS),
                               "" if NODE else "; LEFT OUT: the client for Node, there is no node"))
    print("# seed %d, %.0f s, %d kills of the daemon, %d of subscribers, %d events; the last "
          "subscriber had all of them %.0f s after the last was published" % (
              SEED, SECONDS, kills, company.kills, events, company.behind_seconds))
    print("# %d subscriptions, %d commits, %d events given again behind a cursor" % (
        sum(j.resumed for j in journals), sum(j.commits for j in journals),
        sum(j.repeated for j in journals)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
