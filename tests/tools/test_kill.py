#!/usr/bin/env python3
"""kill -9 of the daemon under load, again and again: no acknowledged event is lost, none is doubled.

Named producers number their events and send again what was not acknowledged; an anonymous one does
not. What was acknowledged is kept in this process, which is not killed, and is compared with what
`daybook read` gives. Segments are small, so that the log also rolls all the time, and readers
follow it meanwhile.

    KILLS=100 SEED=7 BUILD=build tests/tools/test_kill.py
"""

import hashlib
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from framed import DAYBOOK, Connection, Daemon, frame  # noqa: E402  pylint: disable=wrong-import-position

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
NAMED = 3
WINDOW_FRAMES = 8
CHECK_EVERY = 10
FLAGS = ("--segment-size", "1M")
HANG_SECONDS = 120 + 5 * KILLS  # against a hang only


def payload_of(producer, number):
    """The payload follows from producer and number, so a made-up or mixed-up event is seen."""
    digest = hashlib.blake2b(b"%d:%s:%d" % (SEED, producer.encode(), number)).hexdigest()
    size = 8 + int(digest[:3], 16) % (1200 if digest[3] == "0" else 250)
    return {"p": producer, "n": number, "x": (digest * 10)[:size]}


class Producer(threading.Thread):
    """Publishes until told to stop; keeps the ledger of what was acknowledged."""

    def __init__(self, daemon, name, numbered):
        super().__init__(daemon=True)
        self.server = daemon
        self.name = name
        self.numbered = numbered
        self.random = random.Random("%d-%s" % (SEED, name))
        self.stopping = threading.Event()
        self.acked = {}  # number -> sequence; 0: a duplicate, whose sequence was not told
        self.sent = 0  # the highest number that ever left
        self.frame_id = 0
        self.in_flight = []  # (frame id, first number, count, bytes)
        self.resent = self.duplicates = self.connections = 0
        self.failure = None

    def run(self):
        try:
            while not self.is_done():
                self.serve_one_connection()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def is_done(self):
        return self.stopping.is_set() and not self.in_flight

    def serve_one_connection(self):
        try:
            connection = Connection(self.server.socket, self.name if self.numbered else None)
        except OSError:
            time.sleep(0.002)
            return
        try:
            self.connections += 1
            self.begin(connection)
            while not self.is_done():
                self.step(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def begin(self, connection):
        if not self.numbered:
            self.in_flight.clear()  # Nobody can tell what became of them: 0 or 1 copy of each.
            return
        last = connection.welcome["last_number"]
        highest = max(self.acked, default=0)
        assert highest <= last <= self.sent, (
            "%s: the log knows number %d, but %d was acknowledged and %d sent"
            % (self.name, last, highest, self.sent))
        for _, _, count, data in self.in_flight:
            self.resent += count
            connection.send(data)

    def step(self, connection):
        room = len(self.in_flight) < WINDOW_FRAMES and not self.stopping.is_set()
        if room:
            self.send_new(connection)
        wait = self.random.choice((0, 0, 0.001, 0.003)) if room else 1
        if select.select([connection.socket], [], [], wait)[0]:
            connection.fill()
        while (answer := connection.take()) is not None:
            self.take_ack(answer)

    def send_new(self, connection):
        count = self.random.choice((1, 1, 2, 5, 20, 64))
        self.frame_id += 1
        events = []
        for number in range(self.sent + 1, self.sent + 1 + count):
            event = ["kill." + self.name, None, payload_of(self.name, number)]
            events.append(event + [number] if self.numbered else event)
        data = frame(["pub", self.frame_id, events])
        self.in_flight.append((self.frame_id, self.sent + 1, count, data))
        self.sent += count
        connection.send(data)

    def take_ack(self, answer):
        assert answer[0] == "ack", "%s: instead of an ack came %r" % (self.name, answer)
        _, frame_id, stored, first, last, duplicates, refused = answer
        expected_id, number, count, _ = self.in_flight.pop(0)
        assert frame_id == expected_id and not refused, "%s: %r" % (self.name, answer)
        assert stored + duplicates == count, "%s: %r for %d events" % (self.name, answer, count)
        assert stored == 0 or last - first + 1 == stored, "%s: %r" % (self.name, answer)
        self.duplicates += duplicates
        for i in range(count):
            self.acked[number + i] = 0 if i < duplicates else first + i - duplicates


class Follower:
    """A `daybook read -f` beside everything else; its lines go to a file."""

    def __init__(self, directory, path):
        self.path = path
        with open(path, "wb") as out:
            self.process = subprocess.Popen(
                [DAYBOOK, "read", "-D", directory, "-f", "-o", "json"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)

    def events(self):
        with open(self.path) as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_for(self, sequence, limit=60):
        end = time.monotonic() + limit
        while self.process.poll() is None and time.monotonic() < end:
            events = self.events()
            if events and events[-1]["seq"] >= sequence:
                return
            time.sleep(0.05)
        raise AssertionError("read -f never showed event %d" % sequence)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        self.process.stderr.close()


def read_all(directory):
    result = subprocess.run([DAYBOOK, "read", "-D", directory, "-n", "all", "-o", "json"],
                            stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert result.returncode == 0, "daybook read: status %d: %s" % (
        result.returncode, result.stderr.decode(errors="replace"))
    return [json.loads(line) for line in result.stdout.splitlines()]


def check(events, ledgers):
    """`ledgers`: per producer (name, numbered, acked, sent), taken before `events` were read."""
    by_name = {name: [] for name, _, _, _ in ledgers}
    before = 0
    for event in events:
        payload = event["payload"]
        assert event["seq"] > before, "event %d comes after %d" % (event["seq"], before)
        before = event["seq"]
        assert payload == payload_of(payload["p"], payload["n"]), "nobody sent %r" % event
        assert event["topic"] == "kill." + payload["p"], "nobody sent %r" % event
        by_name[payload["p"]].append((payload["n"], event["seq"]))
    for name, _, acked, _ in ledgers:
        found = dict(by_name[name])
        numbers = [number for number, _ in by_name[name]]
        assert len(found) == len(numbers), "%s: %d events are there twice" % (
            name, len(numbers) - len(found))
        assert numbers == sorted(numbers), "%s: its events are out of order" % name
        lost = [number for number in acked if number not in found]
        assert not lost, "%s: %d acknowledged events are lost, the first is number %d" % (
            name, len(lost), min(lost))
        wrong = [n for n, sequence in acked.items() if sequence and found[n] != sequence]
        assert not wrong, "%s: number %d was acknowledged as event %d, but is event %d" % (
            name, wrong[0], acked[wrong[0]], found[wrong[0]])


def snapshot(producers):
    return [(p.name, p.numbered, dict(p.acked), p.sent) for p in producers]


def check_sent(events, producers):
    """What is there was sent: no more numbers than left this process."""
    for producer in producers:
        highest = max((e["payload"]["n"] for e in events if e["payload"]["p"] == producer.name),
                      default=0)
        assert highest <= producer.sent, "%s never sent number %d" % (producer.name, highest)


def check_follower(follower, events, complete):
    """Nothing that it showed is missing or different now, and it left nothing out."""
    shown = follower.events()
    if not shown:
        assert not complete, "read -f showed nothing"
        return 0
    first, last = shown[0]["seq"], shown[-1]["seq"]
    expected = [event for event in events if first <= event["seq"] <= last]
    assert shown == expected, "read -f showed %d events from %d to %d, there are %d" % (
        len(shown), first, last, len(expected))
    return len(shown)


def check_index(directory, events):
    database = sqlite3.connect("file:%s/events.db?mode=ro" % directory, uri=True)
    rows = database.execute("SELECT seq, topic FROM events ORDER BY seq").fetchall()
    database.close()
    assert rows == [(e["seq"], e["topic"]) for e in events], "the index has %d rows for %d events" % (
        len(rows), len(events))


def check_failures(producers):
    for producer in producers:
        if producer.failure:
            raise producer.failure


class Campaign:
    """All kills, and what was counted on the way."""

    def __init__(self, directory):
        self.directory = directory
        self.log = os.path.join(directory, "log")
        self.random = random.Random(SEED)
        self.daemon = Daemon(self.log, *FLAGS)
        self.producers = [Producer(self.daemon, "named-%d" % i, True) for i in range(NAMED)]
        self.producers.append(Producer(self.daemon, "anonymous", False))
        self.followers = []
        self.checks = self.early_kills = 0
        self.restart_seconds = []

    def acked(self):
        return sum(len(p.acked) for p in self.producers)

    def start_and_wait_for_acks(self):
        before = self.acked()
        begin = time.monotonic()
        self.daemon.start()
        while self.acked() == before:
            self.daemon.check_alive()
            check_failures(self.producers)
            assert time.monotonic() - begin < HANG_SECONDS, "no ack after the restart"
            time.sleep(0.0005)
        self.restart_seconds.append(time.monotonic() - begin)

    def one_life(self, number):
        if number % 7 == 3:  # During recovery, before it serves anybody.
            self.early_kills += 1
            self.daemon.start()
            time.sleep(self.random.uniform(0, 0.02))
        else:
            self.start_and_wait_for_acks()
            time.sleep(self.random.uniform(0, 0.4))
            self.daemon.check_alive()
        self.daemon.kill()
        check_failures(self.producers)

    def follow(self):
        for follower in self.followers[-1:]:
            follower.stop()
        path = os.path.join(self.directory, "follow-%d" % len(self.followers))
        self.followers.append(Follower(self.log, path))

    def run_kills(self):
        for producer in self.producers:
            producer.start()
        for number in range(KILLS):
            self.one_life(number)
            if number % CHECK_EVERY == 0:
                ledgers = snapshot(self.producers)
                check(read_all(self.log), ledgers)
                self.checks += 1
                self.follow()

    def finish(self):
        """Let everybody come to an end in order; returns what is in the log then."""
        self.start_and_wait_for_acks()
        for producer in self.producers:
            producer.stopping.set()
        for producer in self.producers:
            producer.join(HANG_SECONDS)
            assert not producer.is_alive(), "%s waits for acks that never come" % producer.name
        check_failures(self.producers)
        events = read_all(self.log)
        self.followers[-1].wait_for(events[-1]["seq"])
        self.followers[-1].stop()
        status = self.daemon.stop()
        assert status == 0, "daybookd stopped with status %d:\n%s" % (status, self.daemon.output())
        return events

    def end(self):
        for producer in self.producers:
            producer.stopping.set()
        self.daemon.end()
        for follower in self.followers:
            follower.stop()


def check_idle_kills(directory):
    """Killed again and again before a new event comes: nothing happens to what is there."""
    daemon = Daemon(directory, *FLAGS)
    event = ["kill.idle", None, payload_of("idle", 1), 1]
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
    check(read_all(directory), [("idle", True, {1: 1}, 1)])
    verify(directory)


def verify(directory):
    result = subprocess.run([DAYBOOK, "verify", "-D", directory], capture_output=True, check=False)
    assert result.returncode == 0, "daybook verify: status %d: %s" % (
        result.returncode, (result.stdout + result.stderr).decode(errors="replace"))


def run(campaign, say):
    check_idle_kills(os.path.join(campaign.directory, "idle"))
    say("kills without new events between them change nothing")
    campaign.run_kills()
    events = campaign.finish()
    producers = campaign.producers
    check(read_all(campaign.log), snapshot(producers))
    say("after %d kills every acknowledged event is there exactly once, in order, as it was sent"
        % KILLS)
    check_sent(events, producers)
    say("no event is there that nobody sent")
    shown = sum(check_follower(f, events, f is campaign.followers[-1]) for f in campaign.followers)
    say("read -f showed %d events while the daemon was killed, and none that is absent now" % shown)
    check_index(campaign.log, events)
    say("the index agrees with the log")
    verify(campaign.log)
    say("daybook verify finds no damage")
    assert campaign.acked() > 100 * KILLS and sum(p.resent for p in producers) > 0, (
        "too little happened for a test: %d acks" % campaign.acked())
    return events


def report(campaign, events):
    producers = campaign.producers
    restarts = sorted(campaign.restart_seconds)
    missing = events[-1]["seq"] - len(events)
    print("# seed %d, %d kills (%d during recovery), %d checks on the way" % (
        SEED, KILLS, campaign.early_kills, campaign.checks))
    print("# %d events stored, %d acknowledged, %d sent again, %d of them duplicates, "
          "%d sequences lost with unacknowledged events" % (
              len(events), campaign.acked(), sum(p.resent for p in producers),
              sum(p.duplicates for p in producers), missing))
    print("# first ack after a start: median %.0f ms, longest %.0f ms" % (
        restarts[len(restarts) // 2] * 1e3, restarts[-1] * 1e3))


def main():
    directory = tempfile.mkdtemp(prefix="daybook-kill-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    campaign = Campaign(directory)
    failed = False
    try:
        events = run(campaign, lambda text: print("ok - " + text, flush=True))
        report(campaign, events)
    except Exception as failure:  # pylint: disable=broad-except
        failed = True
        print("not ok - kill -9 with seed %d: %s: %s" % (SEED, type(failure).__name__, failure))
    finally:
        campaign.end()
        if failed and os.environ.get("KEEP"):
            print("# kept: " + directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
