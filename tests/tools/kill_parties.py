"""Who takes part in test_kill.py: producers that keep their own ledgers, and readers that remember.

No test of its own; standard library only.
"""

import contextlib
import hashlib
import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import threading
import time

from framed import DAYBOOK, Connection, frame

WINDOW_FRAMES = 8


def payload_of(seed, producer, number):
    """The payload follows from producer and number, so a made-up or mixed-up event is seen."""
    digest = hashlib.blake2b(b"%d:%s:%d" % (seed, producer.encode(), number)).hexdigest()
    size = 8 + int(digest[:3], 16) % (1200 if digest[3] == "0" else 250)
    return {"p": producer, "n": number, "x": (digest * 10)[:size]}


class Producer(threading.Thread):
    """Publishes until told to stop; keeps the ledger of what was acknowledged."""

    def __init__(self, daemon, seed, name, numbered):
        super().__init__(daemon=True)
        self.server = daemon
        self.seed = seed
        self.name = name
        self.numbered = numbered
        self.random = random.Random("%d-%s" % (seed, name))
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.acked = {}  # number -> sequence; 0: a duplicate, whose sequence was not told
        self.highest = 0  # acknowledged ever: the ledger forgets what retention has deleted
        self.acks = 0
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
        assert self.highest <= last <= self.sent, (
            "%s: the log knows number %d, but %d was acknowledged and %d sent"
            % (self.name, last, self.highest, self.sent))
        for _, _, count, data in self.in_flight:
            self.resent += count
            connection.send(data)

    def step(self, connection):
        room = len(self.in_flight) < WINDOW_FRAMES and not self.stopping.is_set()
        if room:
            self.send_new(connection)
        wait = self.random.choice((0, 0.002, 0.005, 0.01)) if room else 1
        if select.select([connection.socket], [], [], wait)[0]:
            connection.fill()
        while (answer := connection.take()) is not None:
            self.take_ack(answer)

    def send_new(self, connection):
        count = self.random.choice((1, 1, 2, 5, 20, 64))
        self.frame_id += 1
        events = []
        for number in range(self.sent + 1, self.sent + 1 + count):
            event = ["kill." + self.name, None, payload_of(self.seed, self.name, number)]
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
        with self.lock:
            for i in range(count):
                self.acked[number + i] = 0 if i < duplicates else first + i - duplicates
            self.highest = number + count - 1
            self.acks += count

    def ledger(self):
        with self.lock:
            return dict(self.acked)

    def forget(self, numbers):
        """Checked, and now behind what retention has deleted."""
        with self.lock:
            for number in numbers:
                del self.acked[number]


class Follower:
    """A `daybook read -f` beside everything else; its lines go to a file."""

    def __init__(self, directory, path):
        self.path = path
        with open(path, "wb") as out:
            self.process = subprocess.Popen(
                [DAYBOOK, "read", "-D", directory, "-f", "-o", "json"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)

    def events(self):
        with open(self.path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def last(self):
        """The last sequence shown, or 0; reads only the end of the file."""
        with open(self.path, "rb") as lines:
            lines.seek(max(0, os.path.getsize(self.path) - 4000))
            whole = [line for line in lines.read().split(b"\n")[:-1] if line.startswith(b'{"seq":')]
        return json.loads(whole[-1])["seq"] if whole else 0

    def wait_for(self, sequence, limit=60):
        end = time.monotonic() + limit
        while self.last() < sequence:
            assert self.process.poll() is None, "read -f ended: %s" % (
                self.process.stderr.read().decode(errors="replace"))
            assert time.monotonic() < end, "read -f never showed event %d" % sequence
            time.sleep(0.01)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        self.process.stderr.close()

    def check(self, events):
        """Nothing that it showed is missing or different now, and it left nothing out."""
        shown = self.events()
        os.unlink(self.path)
        if not shown:
            return 0
        first, last = shown[0]["seq"], shown[-1]["seq"]
        expected = [event for event in events if first <= event["seq"] <= last]
        assert shown == expected, "read -f showed %d events from %d to %d, there are %d" % (
            len(shown), first, last, len(expected))
        return len(shown)


class SqlReader(threading.Thread):
    """Asks the index again and again for what is new; remembers what it was given."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.path = "file:%s/events.db?mode=ro" % directory
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.rows = {}  # sequence -> topic, since the last check
        self.last = 0
        self.answers = 0
        self.failure = None

    def run(self):
        while not self.stopping.is_set():
            try:
                self.ask()
            except sqlite3.Error:
                pass  # not made yet, or in the middle of being made anew
            except Exception as failure:  # pylint: disable=broad-except
                self.failure = failure
                return
            self.stopping.wait(0.02)

    def ask(self):
        with contextlib.closing(sqlite3.connect(self.path, uri=True, timeout=1)) as database:
            rows = database.execute("SELECT seq, topic FROM events WHERE seq > ? ORDER BY seq"
                                    " LIMIT 5000", (self.last,)).fetchall()
        with self.lock:
            self.answers += 1
            self.rows.update(rows)
            if rows:
                self.last = rows[-1][0]

    def check(self, events, checked):
        """Each row that it was ever given is an event now; called before anything is deleted. Only
        where it was slow, it may have got rows that the check before has seen (up to `checked`) and
        that retention has deleted since: the index forgets them a moment later than the log."""
        with self.lock:
            rows, self.rows = self.rows, {}
        topics = {event["seq"]: event["topic"] for event in events}
        bound = events[0]["seq"] if events else checked + 1
        horizon = events[-1]["seq"] if events else 0
        compared = 0
        for sequence, topic in rows.items():
            if sequence > horizon:
                with self.lock:
                    self.rows[sequence] = topic  # newer than `events`
                continue
            if sequence < bound and sequence <= checked:
                continue
            assert topics.get(sequence) == topic, (
                "SQL showed event %d (%s), which is now %r; the log has %d to %d, %d were checked"
                % (sequence, topic, topics.get(sequence), bound, horizon, checked))
            compared += 1
        return compared


class Retention:
    """`daybook retention` beside everything else; sometimes it is killed, too."""

    def __init__(self, directory, dice):
        self.directory = directory
        self.random = dice
        self.process = None
        self.runs = self.killed = 0

    def start(self, size):
        self.runs += 1
        self.process = subprocess.Popen(
            [DAYBOOK, "retention", "-D", self.directory, "--max-size", size],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(0, 0.01))
            self.killed += 1
            self.process.kill()

    def finish(self):
        """It may find the daemon being killed, or itself; what it must not do is find damage. And a
        daemon that is killed again and again may not get as far as the rows of deleted segments."""
        if not self.process:
            return
        _, error = self.process.communicate(timeout=120)
        late = self.process.returncode == 5 and b"still has rows of deleted segments" in error
        assert late or self.process.returncode in (0, 1, -9), "retention: status %d: %s" % (
            self.process.returncode, error.decode(errors="replace"))
        self.process = None
