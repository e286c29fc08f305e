"""What happens on the disk before the power goes, in power_cut.py: a daemon under load, and the
ledger of what it promised.

Every acknowledgement, and every event that a reader was shown, is stamped with the position that
the record of the disk had reached just after it came: a disk that was cut there or later must have
the event.
"""

import bisect
import hashlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from framed import BUILD, DAYBOOK, DAYBOOKD, Connection, frame  # noqa: E402

SEGMENT_BYTES = 128 << 10
KEPT_BYTES = 5 * SEGMENT_BYTES  # by retention
PATIENCE = 60  # against a hang only


def payload_of(producer, number):
    """
    The payload follows from producer and number, so a made-up or mixed-up event is seen. It does
    not compress well, so a commit has many pages, of which some may be lost.
    """
    digest = hashlib.shake_128(b"%s:%d" % (producer.encode(), number))
    chance = digest.digest(2)
    size = 20000 if chance[0] == 0 else 3000 if chance[0] < 16 else 8 + chance[1] // 2
    return {"p": producer, "n": number, "x": digest.hexdigest(size)}


def daybook(*arguments, stdin=None):
    return subprocess.run([DAYBOOK, *arguments], input=stdin, capture_output=True, check=False)


class Broken(AssertionError):
    """A clause of the contract does not hold."""

    def __init__(self, clause, text):
        super().__init__("%s: %s" % (clause, text))
        self.clause = clause


def require(holds, clause, text, *values):
    if not holds:
        raise Broken(clause, text % values)


def first_words(output):
    return output.decode(errors="replace").strip()[:500]


def read_lines(log):
    """Every event that a reader is shown, a line each; None where there is no log."""
    result = daybook("read", "-D", log, "-n", "all", "-o", "json")
    if result.returncode == 1 and b"no log in" in result.stderr:
        return None
    require(result.returncode == 0, "D5", "daybook read: status %d: %s", result.returncode,
            first_words(result.stderr))
    return result.stdout.splitlines()


def pub(log, topic, payloads):
    """Without a daemon; durable when it returns."""
    lines = "".join(json.dumps({"topic": topic, "payload": p}) + "\n" for p in payloads)
    result = daybook("pub", "-D", log, "--segment-size", str(SEGMENT_BYTES), stdin=lines.encode())
    assert result.returncode == 0, "daybook pub: status %d: %s" % (
        result.returncode, result.stderr.decode(errors="replace"))


class Daemon:
    """A daybookd whose socket and messages are not on the disk that loses power."""

    def __init__(self, log, scratch, flags=(), preload=None):
        self.command = [DAYBOOKD, "-D", log, "--segment-size", str(SEGMENT_BYTES), *flags]
        self.socket = os.path.join(scratch, "daybook.sock")
        self.command += ["-s", self.socket]
        self.messages = os.path.join(scratch, "daybookd.out")
        self.environment = dict(os.environ, **({"LD_PRELOAD": preload} if preload else {}))
        self.process = None

    def start(self):
        with open(self.messages, "ab") as out:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env=self.environment)
        self.connect().close()

    def connect(self, producer=None):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return Connection(self.socket, producer)
            except OSError:
                status = self.process.poll()
                if status is not None or time.monotonic() > end:
                    with open(self.messages, errors="replace") as out:
                        raise AssertionError("daybookd does not serve, status %s: %s" % (
                            status, out.read()[-1500:])) from None
                time.sleep(0.001)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=PATIENCE)
        assert status == 0, "daybookd stopped with status %d" % status


class Producer(threading.Thread):
    """Publishes until told to stop, over any number of lives of the daemon."""

    WINDOW = 6  # frames in flight
    # Events in a frame, and seconds between frames: drops, and bursts that fill many pages.
    HABITS = (((1, 1, 1, 2, 4, 12), (0, 0, 0.004, 0.01, 0.03)), ((15, 30, 60), (0.03, 0.06, 0.12)))

    def __init__(self, daemon, position, name, seed):
        super().__init__(daemon=True)
        self.server, self.position = daemon, position
        self.name, self.numbered = name, name != "anonymous"
        self.is_bursty = name in ("named-2", "anonymous")
        self.frame_sizes, self.pauses = self.HABITS[self.is_bursty]
        self.random = random.Random("%d-%s" % (seed, name))
        self.stopping, self.resting = threading.Event(), threading.Event()
        self.acks = []  # (stamp, (name, number), sequence or 0)
        self.sent = self.frames = 0
        self.next_frame = 0
        self.in_flight = []  # (frame id, first number, count, bytes)
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
            if not self.numbered:
                self.in_flight.clear()  # Nobody can tell what became of them.
            for _, _, _, data in self.in_flight:
                connection.send(data)
            while not self.is_done():
                self.step(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def step(self, connection):
        has_room = len(self.in_flight) < self.WINDOW and not (
            self.stopping.is_set() or self.resting.is_set())
        if has_room and time.monotonic() >= self.next_frame:
            self.send_new(connection)
            self.next_frame = time.monotonic() + self.random.choice(self.pauses)
        wait = max(0, self.next_frame - time.monotonic()) if has_room else 0.05
        if not select.select([connection.socket], [], [], wait)[0]:
            return
        connection.fill()
        stamp = self.position()  # Whatever has come by now, came before this.
        while (answer := connection.take()) is not None:
            if answer[0] == "error" and answer[1] == "stopping":
                raise ConnectionResetError
            self.take_ack(answer, stamp)

    def send_new(self, connection):
        count = self.random.choice(self.frame_sizes)
        self.frames += 1
        events = []
        for number in range(self.sent + 1, self.sent + 1 + count):
            event = ["power." + self.name, None, payload_of(self.name, number)]
            events.append(event + [number] if self.numbered else event)
        data = frame(["pub", self.frames, events])
        self.in_flight.append((self.frames, self.sent + 1, count, data))
        self.sent += count
        connection.send(data)

    def take_ack(self, answer, stamp):
        assert answer[0] == "ack", "%s: instead of an ack came %r" % (self.name, answer)
        _, frame_id, stored, first, _, duplicates, refused = answer
        expected, number, count, _ = self.in_flight.pop(0)
        assert frame_id == expected and not refused and stored + duplicates == count, (
            "%s: %r for %d events" % (self.name, answer, count))
        for i in range(count):
            sequence = 0 if i < duplicates else first + i - duplicates
            self.acks.append((stamp, (self.name, number + i), sequence))


class Follower(threading.Thread):
    """A `daybook read -f` beside everything; stamps what it shows."""

    def __init__(self, log, position):
        super().__init__(daemon=True)
        self.position = position
        self.shown = []  # (stamp, line)
        self.process = subprocess.Popen(
            [DAYBOOK, "read", "-D", log, "-f", "-n", "all", "-o", "json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.start()

    def run(self):
        rest = b""
        while data := os.read(self.process.stdout.fileno(), 1 << 16):
            stamp = self.position()
            *lines, rest = (rest + data).split(b"\n")
            self.shown += [(stamp, line) for line in lines]

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.join()
        self.process.stdout.close()


class Stamps:
    """Which place of the history each stamp promises: asked by position."""

    def __init__(self, pairs):
        self.stamps, self.last = [], []
        highest = -1
        for stamp, index in sorted(pairs):
            highest = max(highest, index)
            self.stamps.append(stamp)
            self.last.append(highest)

    def last_index(self, position):
        """The last event promised by then; -1: none."""
        at = bisect.bisect_right(self.stamps, position)
        return self.last[at - 1] if at else -1


class History:
    """All events that ever were, in order, each compared with what its producer sent."""

    def __init__(self):
        self.by_sequence = {}
        self.lines, self.sequences, self.keys = [], [], []
        self.index = {}  # of a line

    def take(self, lines):
        """What a reader was shown. It never changes (D6)."""
        for line in lines:
            event = json.loads(line)
            before = self.by_sequence.setdefault(event["seq"], line)
            assert before == line, "D6: sequence %d is two events:\n%s\n%s" % (
                event["seq"], before[:200], line[:200])

    def close(self, sent):
        """No more will come. `sent`: how many events each producer sent."""
        keys = {}
        for sequence in sorted(self.by_sequence):
            line = self.by_sequence[sequence]
            event = json.loads(line)
            payload = event["payload"]
            key = (payload["p"], payload["n"])
            assert payload == payload_of(*key) and event["topic"] == "power." + key[0], (
                "D3: nobody sent event %d: %s" % (sequence, line[:200]))
            assert 0 < key[1] <= sent.get(key[0], 0), "D3: %s never sent number %d" % key
            assert key not in keys, "%s's number %d is there twice" % key
            keys[key] = len(self.lines)
            self.index[line] = len(self.lines)
            self.lines.append(line)
            self.sequences.append(sequence)
            self.keys.append(key)
        return keys


class Load:
    """One recorded life of a log, phase after phase."""

    def __init__(self, disks, log, scratch, seed, flags=(), preload=None):
        self.disks, self.log = disks, log
        self.position = disks.position
        self.daemon = Daemon(log, scratch, flags, preload)
        names = ("named-0", "named-1", "named-2", "anonymous")
        self.producers = [Producer(self.daemon, self.position, name, seed) for name in names]
        self.follower = None
        self.phases = []  # (name, first position, end position)
        self.retentions = []  # (position before, position after, first sequence left)
        self.history = History()
        self.embedded = 0

    def phase(self, name, action, *arguments):
        begin = self.position()
        action(*arguments)
        self.phases.append((name, begin, self.position()))
        for producer in self.producers:
            if producer.failure:
                raise producer.failure

    def run(self, seconds):
        try:
            self.phase("the first start", self.begin)
            self.phase("load", time.sleep, seconds)
            self.phase("a clean stop", self.daemon.stop)
            self.phase("a start after a clean stop", self.restart)
            self.phase("load", time.sleep, seconds / 2)
            self.phase("kill -9", self.daemon.kill)
            self.phase("a start after kill -9", self.restart)
            self.phase("load", time.sleep, seconds / 2)
            self.phase("retention", self.retain, seconds / 3)
            self.phase("load", time.sleep, seconds / 4)
            self.phase("the last events and idleness", self.calm_down)
            self.phase("the last stop", self.daemon.stop)
            self.phase("pub without a daemon", self.publish_without_daemon)
            self.follower.end()
            self.history.take(read_lines(self.log))
            self.history.take(line for _, line in self.follower.shown)
        finally:
            for producer in self.producers:
                producer.stopping.set()
            self.daemon.kill()
            if self.follower:
                self.follower.end()

    def begin(self):
        self.daemon.start()
        self.follower = Follower(self.log, self.position)
        for producer in self.producers:
            producer.start()
        self.wait_for_acks()

    def restart(self):
        self.daemon.start()
        self.wait_for_acks()

    def wait_for_acks(self):
        before = self.acked()
        end = time.monotonic() + PATIENCE
        while self.acked() == before:
            assert time.monotonic() < end, "no acknowledgement after a start"
            time.sleep(0.001)

    def acked(self):
        return sum(len(producer.acks) for producer in self.producers)

    def retain(self, seconds):
        """
        Twice, under load. What is deleted was read before; without bursts, lest so much comes
        between reading and deleting that it is deleted unread.
        """
        bursty = [producer for producer in self.producers if producer.is_bursty]
        for producer in bursty:
            producer.resting.set()
        for _ in range(2):
            self.history.take(read_lines(self.log))
            begin = self.position()
            result = daybook("retention", "-D", self.log, "--max-size", str(KEPT_BYTES))
            assert result.returncode == 0, "daybook retention: %s" % result.stderr.decode()
            names = sorted(os.listdir(os.path.join(self.log, "segments")))
            self.retentions.append((begin, self.position(), int(names[0].split(".")[0])))
            time.sleep(seconds / 2)
        for producer in bursty:
            producer.resting.clear()

    def calm_down(self):
        """All but one producer end; it sends an event now and then, then nobody any."""
        for producer in self.producers[1:]:
            producer.stopping.set()
        time.sleep(0.1)
        self.producers[0].stopping.set()
        for producer in self.producers:
            producer.join(PATIENCE)
            assert not producer.is_alive(), "%s waits for acks that never come" % producer.name
        time.sleep(0.25)  # longer than it takes until the daemon writes a mark by itself

    def publish_without_daemon(self):
        for _ in range(2):
            self.embedded += 1
            pub(self.log, "power.embedded", [payload_of("embedded", self.embedded)])
            self.producers[0].acks.append((self.position(), ("embedded", self.embedded), 0))

    def phase_at(self, position):
        return next((name for name, _, end in self.phases if position <= end), "the end")

    def finish(self):
        """Turn what was seen into what can be asked; fails when the live log broke a promise."""
        sent = {producer.name: producer.sent for producer in self.producers}
        sent["embedded"] = self.embedded
        indexes = self.history.close(sent)
        sequences = self.history.sequences
        acks = [ack for producer in self.producers for ack in producer.acks]
        for stamp, key, sequence in acks:
            require(key in indexes, "D1", "without any power cut %s's number %d is lost, which was "
                    "acknowledged as %s during %s", *key, sequence or "a duplicate",
                    self.phase_at(stamp))
            require(sequence in (0, sequences[indexes[key]]), "D6", "%s's number %d was "
                    "acknowledged as %d and is %d", *key, sequence, sequences[indexes[key]])
        self.acks = Stamps((stamp, indexes[key]) for stamp, key, _ in acks)
        for _, line in self.follower.shown:
            assert line in self.history.index, "D4: what read -f showed is gone: %s" % line[:200]
        self.shown = Stamps(
            (stamp, self.history.index[line]) for stamp, line in self.follower.shown)
        self.retentions = [(begin, end, bisect.bisect_left(sequences, first))
                           for begin, end, first in self.retentions]
