#!/usr/bin/env python3
"""kill -9 of the daemon under load, again and again: no acknowledged event is lost, none is doubled.

Named producers number their events and send again what was not acknowledged; an anonymous one does
not. What was acknowledged is kept by the producers, in this process, which is not killed, and is
compared with what `daybook read` gives. Segments are small, so that the log also rolls all the
time; retention deletes the oldest (and is itself killed now and then); `read -f` and an SQL reader
follow, and must never have been shown what is absent later. The moments are random: during
recovery, during the start, in the middle of the work.

The kills are shared out among several lanes, each a process with a daemon and a directory of its
own, because a life consists of waiting for the disk.

    KILLS=100 SEED=7 LANES=4 BUILD=build tests/tools/test_kill.py
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
from framed import DAYBOOK, Daemon, frame  # noqa: E402  pylint: disable=wrong-import-position
from kill_parties import (  # noqa: E402  pylint: disable=wrong-import-position
    Follower, Producer, Retention, SqlReader, payload_of)

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
LANES = int(os.environ.get("LANES", str(max(1, min(4, KILLS // 10)))))
NAMED = 3
CHECK_EVERY = 10
LIFE_SECONDS = 0.12  # at most, from the first ack on
FLAGS = ("--segment-size", "1M")
KEEP_SIZE = "6M"
HANG_SECONDS = 240  # against a hang only


def read_all(directory):
    result = subprocess.run([DAYBOOK, "read", "-D", directory, "-n", "all", "-o", "json"],
                            stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert result.returncode == 0, "daybook read: status %d: %s" % (
        result.returncode, result.stderr.decode(errors="replace"))
    return [json.loads(line) for line in result.stdout.splitlines()]


def verify(directory):
    result = subprocess.run([DAYBOOK, "verify", "-D", directory], capture_output=True, check=False)
    assert result.returncode == 0, "daybook verify: status %d: %s" % (
        result.returncode, (result.stdout + result.stderr).decode(errors="replace"))


def numbers_by_producer(events, seed):
    """{name: [(number, sequence)]} in the order of the log; each event is one that somebody sent."""
    found = {}
    before = 0
    for event in events:
        payload = event["payload"]
        assert event["seq"] > before, "event %d comes after %d" % (event["seq"], before)
        before = event["seq"]
        assert payload == payload_of(seed, payload["p"], payload["n"]), "nobody sent %r" % event
        assert event["topic"] == "kill." + payload["p"], "nobody sent %r" % event
        found.setdefault(payload["p"], []).append((payload["n"], event["seq"]))
    return found


def check_ledger(name, acked, found, bound):
    """Every acknowledged number is there once, in order, where it was said to be; returns those
    that retention has deleted since: only a beginning of them, all below `bound`."""
    places = dict(found)
    numbers = [number for number, _ in found]
    assert len(places) == len(numbers), "%s: %d events are there twice" % (
        name, len(numbers) - len(places))
    assert numbers == sorted(numbers), "%s: its events are out of order" % name
    first = numbers[0] if numbers else float("inf")
    gone = [n for n, sequence in acked.items() if n < first and sequence < bound]
    lost = [n for n in acked if n not in places and not (n < first and acked[n] < bound)]
    assert not lost, "%s: %d acknowledged events are lost, the first is number %d" % (
        name, len(lost), min(lost))
    wrong = [n for n, sequence in acked.items() if sequence and places.get(n, sequence) != sequence]
    assert not wrong, "%s: number %d was acknowledged as event %d, but is event %d" % (
        name, wrong[0], acked[wrong[0]], places[wrong[0]])
    return gone


class Lane:
    """A share of the kills, on a log of its own, and what was counted on the way."""

    def __init__(self, directory, seed, kills):
        os.makedirs(directory)
        self.directory = directory
        self.log = os.path.join(directory, "log")
        self.seed = seed
        self.kills = kills
        self.random = random.Random(seed)
        self.daemon = Daemon(self.log, *FLAGS)
        self.producers = [Producer(self.daemon, seed, "named-%d" % i, True) for i in range(NAMED)]
        self.producers.append(Producer(self.daemon, seed, "anonymous", False))
        self.sql = SqlReader(self.log)
        self.retention = Retention(self.log, random.Random("retention %d" % seed))
        self.follower = None
        self.followers = 0
        self.checked = 0  # the last sequence that a check has seen
        self.counts = dict.fromkeys(
            ("early", "checks", "shown", "sql rows", "events", "deleted"), 0)
        self.restart_seconds = []

    def check_parties(self):
        for party in self.producers + [self.sql]:
            if party.failure:
                raise party.failure

    def acks(self):
        return sum(producer.acks for producer in self.producers)

    def start_and_wait_for_acks(self):
        before = self.acks()
        begin = time.monotonic()
        self.daemon.start()
        while self.acks() == before:
            self.daemon.check_alive()
            self.check_parties()
            assert time.monotonic() - begin < HANG_SECONDS, "no ack after the restart"
            time.sleep(0.0005)
        self.restart_seconds.append(time.monotonic() - begin)

    def usual_restart(self):
        recent = sorted(self.restart_seconds[-9:])
        return recent[len(recent) // 2] if recent else 0.02

    def one_life(self, number):
        if number % 3 == 1:  # During recovery or start, before it serves anybody.
            self.counts["early"] += 1
            self.daemon.start()
            time.sleep(self.random.uniform(0, self.usual_restart()))
        else:
            self.start_and_wait_for_acks()
            time.sleep(self.random.uniform(0, LIFE_SECONDS))
            self.daemon.check_alive()
        self.daemon.kill()
        self.check_parties()

    def check(self):
        """Everything that the parties know, against the log as it is; nothing is deleted meanwhile."""
        self.retention.finish()
        ledgers = [(producer, producer.ledger()) for producer in self.producers]
        if self.follower:
            self.follower.stop()
        events = read_all(self.log)
        assert not events or events[0]["seq"] <= self.checked + 1, (
            "retention deleted event %d, which was never checked" % (self.checked + 1))
        bound = events[0]["seq"] if events else 1
        found = numbers_by_producer(events, self.seed)
        for producer, acked in ledgers:
            gone = check_ledger(producer.name, acked, found.get(producer.name, []), bound)
            producer.forget(gone)
            self.counts["deleted"] += len(gone)
            highest = max((n for n, _ in found.get(producer.name, [])), default=0)
            assert highest <= producer.sent, "%s never sent number %d" % (producer.name, highest)
        self.counts["sql rows"] += self.sql.check(events, self.checked)
        if self.follower:
            self.counts["shown"] += self.follower.check(events)
            self.follower = None
        self.counts["events"] += sum(event["seq"] > self.checked for event in events)
        self.checked = events[-1]["seq"] if events else 0
        self.counts["checks"] += 1
        return events

    def follow(self):
        self.followers += 1
        self.follower = Follower(self.log, os.path.join(self.directory,
                                                        "follow-%d" % self.followers))

    def run_kills(self):
        for party in self.producers + [self.sql]:
            party.start()
        for number in range(self.kills):
            self.one_life(number)
            if number % CHECK_EVERY == 0:
                self.check()
                self.follow()
                self.retention.start(KEEP_SIZE)

    def finish(self):
        """Let everybody come to an end in order, and compare a last time."""
        self.start_and_wait_for_acks()
        for producer in self.producers:
            producer.stopping.set()
        for producer in self.producers:
            producer.join(HANG_SECONDS)
            assert not producer.is_alive(), "%s waits for acks that never come" % producer.name
        self.check_parties()
        self.retention.finish()
        last = read_all(self.log)[-1]["seq"]
        self.follower.wait_for(last)
        status = self.daemon.stop()
        assert status == 0, "daybookd stopped with status %d:\n%s" % (status, self.daemon.output())
        self.sql.stopping.set()
        self.sql.join(HANG_SECONDS)
        events = self.check()
        self.check_index(events)
        verify(self.log)

    def check_index(self, events):
        """The same events, and each hole between two of them explained."""
        first = events[0]["seq"]
        database = sqlite3.connect("file:%s/events.db?mode=ro" % self.log, uri=True)
        rows = database.execute("SELECT seq, topic FROM events WHERE seq >= ? ORDER BY seq",
                                (first,)).fetchall()
        gaps = database.execute("SELECT first_seq, last_seq FROM gaps"
                                " WHERE producer IS NULL").fetchall()
        database.close()
        assert rows == [(e["seq"], e["topic"]) for e in events], (
            "the index has %d rows for %d events" % (len(rows), len(events)))
        explained = set()
        for begin, end in gaps:
            explained.update(range(max(begin, first), end + 1))
        present = {event["seq"] for event in events}
        holes = [n for n in range(first, events[-1]["seq"]) if n not in present]
        silent = [n for n in holes if n not in explained]
        assert not silent, "%d missing sequences are in no gap, the first is %d" % (
            len(silent), silent[0])
        assert not present & explained, "an event is there and in a gap as well: %d" % (
            min(present & explained))
        self.counts["in gaps"] = len(holes)

    def end(self):
        for producer in self.producers:
            producer.stopping.set()
        self.sql.stopping.set()
        self.daemon.end()
        if self.follower:
            self.follower.stop()
        if self.retention.process:
            self.retention.process.kill()
            self.retention.process.communicate()

    def result(self):
        return dict(
            self.counts, kills=self.kills, acks=self.acks(),
            resent=sum(p.resent for p in self.producers),
            duplicates=sum(p.duplicates for p in self.producers),
            retentions=self.retention.runs, retentions_killed=self.retention.killed,
            sql_answers=self.sql.answers, restarts=self.restart_seconds)


def check_idle_kills(directory):
    """Killed again and again before a new event comes: nothing happens to what is there."""
    daemon = Daemon(directory, *FLAGS)
    event = ["kill.idle", None, payload_of(SEED, "idle", 1), 1]
    try:
        for _ in range(4):
            daemon.start()
            connection = daemon.connect("idle")
            connection.send(frame(["pub", 1, [event]]))
            answer = connection.receive()
            connection.close()
            daemon.kill()
            daemon.start()
            daemon.connect().close()
            daemon.kill()
        assert answer[2:6] == [0, 0, 0, 1], "the same number was not a duplicate: %r" % answer
    finally:
        daemon.end()
    found = numbers_by_producer(read_all(directory), SEED)
    check_ledger("idle", {1: 1}, found["idle"], 1)
    verify(directory)


def run_lane(directory, number, kills, out):
    """In a process of its own; writes its counts, or what failed, as JSON."""
    lane = Lane(os.path.join(directory, "lane-%d" % number), SEED * 1000 + number, kills)
    failure = None
    try:
        lane.run_kills()
        lane.finish()
    except Exception as error:  # pylint: disable=broad-except
        failure = "lane %d: %s: %s\n%s" % (number, type(error).__name__, error,
                                           traceback.format_exc())
    finally:
        lane.end()
    json.dump([failure, lane.result()], out)


def run_lanes(directory):
    """The lanes side by side; returns their results, or raises what failed first."""
    running = []
    for number in range(LANES):
        kills = KILLS // LANES + (number < KILLS % LANES)
        path = os.path.join(directory, "result-%d" % number)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with open(path, "w", encoding="utf-8") as out:
                    run_lane(directory, number, kills, out)
                status = 0
            finally:
                os._exit(status)
        running.append((pid, path))
    results = []
    for pid, path in running:
        _, status = os.waitpid(pid, 0)
        assert status == 0, "a lane ended with status %d" % status
        with open(path, encoding="utf-8") as file:
            results.append(json.load(file))
    failures = [failure for failure, _ in results if failure]
    if failures:
        raise AssertionError("\n".join(failures))
    return [result for _, result in results]


def report(results):
    def total(key):
        return sum(result[key] for result in results)

    restarts = sorted(seconds for result in results for seconds in result["restarts"])
    for sentence in (
            "after %d kills every acknowledged event is there exactly once, in order, as it was sent"
            % total("kills"),
            "no event is there that nobody sent",
            "read -f showed %d events while the daemon was killed, and none that is absent now"
            % total("shown"),
            "SQL showed %d rows meanwhile, and none that is absent now" % total("sql rows"),
            "the index agrees with the log, and each missing sequence is in a gap",
            "daybook verify finds no damage"):
        print("ok - " + sentence)
    print("# seed %d, %d lanes, %d kills during recovery or start, %d checks on the way" % (
        SEED, LANES, total("early"), total("checks")))
    print("# %d events stored, %d acknowledged, %d sent again, %d of them duplicates" % (
        total("events"), total("acks"), total("resent"), total("duplicates")))
    print("# %d runs of retention, %d of them killed; %d acknowledged events deleted by it" % (
        total("retentions"), total("retentions_killed"), total("deleted")))
    print("# first ack after a start: median %.0f ms, longest %.0f ms" % (
        restarts[len(restarts) // 2] * 1e3, restarts[-1] * 1e3))
    assert total("acks") > 20 * KILLS and total("resent") > 0 and total("sql rows") > 0, (
        "too little happened for a test: %d acks, %d sent again, %d rows" % (
            total("acks"), total("resent"), total("sql rows")))
    if KILLS >= 500:
        assert total("deleted") > 0 and total("retentions_killed") > 0, "retention had nothing to do"
    print("cases: %d kills of a daemon" % total("kills"))


def main():
    directory = tempfile.mkdtemp(prefix="daybook-kill-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    failed = False
    try:
        check_idle_kills(os.path.join(directory, "idle"))
        print("ok - kills without new events between them change nothing", flush=True)
        report(run_lanes(directory))
    except Exception as failure:  # pylint: disable=broad-except
        failed = True
        print("not ok - kill -9 with seed %d: %s: %s" % (SEED, type(failure).__name__, failure))
    finally:
        if failed and os.environ.get("KEEP"):
            print("# kept: " + directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
