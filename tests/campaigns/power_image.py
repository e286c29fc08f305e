"""What must be true of a disk after a power cut, in power_cut.py.

An image is looked at with the unmodified programs only, first by those that read, then by one that
writes and so recovers, then again.
"""

import json
import sqlite3
import time

from power_load import PATIENCE, Daemon, daybook, first_words, frame, pub, read_lines, require

TABLES = (
    "SELECT seq, ts, topic, segment, offset, bytes FROM events ORDER BY seq",
    "SELECT topic, events, bytes, first_seq, last_seq FROM topics ORDER BY topic",
    "SELECT segment, last_seq, events, bytes, blocks FROM segments ORDER BY segment",
    "SELECT first_seq, last_seq, cause, segment, producer, first_number, last_number FROM gaps"
    " ORDER BY first_seq, producer, length(first_number), first_number",
    "SELECT last_seq, bound FROM state",
)


def verify(log):
    """Nothing but an unfinished write may be found; returns whether one was."""
    result = daybook("verify", "-D", log)
    require(result.returncode == 0 and not result.stdout, "D5", "daybook verify: status %d: %s",
            result.returncode, first_words(result.stdout + result.stderr))
    return b"note:" in result.stderr


def index_of(log):
    database = sqlite3.connect("file:%s/events.db?mode=ro" % log, uri=True)
    try:
        return [database.execute(query).fetchall() for query in TABLES]
    finally:
        database.close()


def wait_for_index(connection):
    """Its thread comes after the acknowledgements, and owes no rows to who stops the daemon."""
    end = time.monotonic() + PATIENCE
    while True:
        connection.send(frame(["status"]))
        status = connection.receive()[1]
        require(not status["index_error"], "D7", "the index: %s", status["index_error"])
        if status["index_sequence"] >= status["durable"]:
            return
        require(time.monotonic() < end, "D7", "the index does not follow the log")
        time.sleep(0.002)


class Expectation:
    """What a cut at `position` of a load's record must leave."""

    def __init__(self, load, position):
        history = load.history
        self.history = history
        self.acked = load.acks.last_index(position)
        self.shown = load.shown.last_index(position)
        begun = [first for begin, _, first in load.retentions if begin <= position]
        ended = [first for _, end, first in load.retentions if end <= position]
        self.first_least = max(ended, default=0)
        self.first_most = max(begun, default=0)

    def check(self, lines):
        """`lines` is what a reader is shown: a stretch of the history that is long enough."""
        end = 0 if not lines else self.check_stretch(lines)
        require(end > self.acked, "D1", "%d acknowledged events are lost, up to sequence %d; the "
                "last one there is %s", self.acked + 1 - end,
                self.history.sequences[self.acked], self.name(end - 1))
        require(end > self.shown, "D4", "event %s was shown to a reader and is gone; the last one "
                "there is %s", self.name(self.shown), self.name(end - 1))

    def name(self, index):
        return self.history.sequences[index] if index >= 0 else "none"

    def check_stretch(self, lines):
        history = self.history
        first = history.index.get(lines[0])
        require(first is not None, "D3", "nobody sent %s", lines[0][:300])
        end = first + len(lines)
        if lines != history.lines[first:end]:
            for line, expected in zip(lines, history.lines[first:end]):
                require(line in history.index, "D3", "nobody sent %s", line[:300])
                require(line == expected, "D2", "the log is no prefix: instead of\n%s\ncomes\n%s",
                        expected[:300], line[:300])
            require(False, "D3", "more events than there ever were: %d", len(lines))
        require(first <= self.first_most, "D1", "the first event there is %s: nobody had deleted "
                "%s", self.name(first), self.name(self.first_most))
        require(first >= self.first_least, "D6", "retention had deleted everything before %s, but "
                "%s is there", self.name(self.first_least), self.name(first))
        return end

    def last_number(self, lines, producer):
        """The producer's highest number in an image, and the least that the log must know."""
        end = self.history.index[lines[-1]] + 1 if lines else 0
        numbers = [n for p, n in self.history.keys[:end] if p == producer]
        return max(numbers, default=0)


class Image:
    """One cut, mounted, and what was found in it."""

    def __init__(self, expectation, log, scratch, case):
        self.expected, self.log, self.scratch, self.case = expectation, log, scratch, case
        self.was_torn = self.was_empty = False
        self.before = self.after = None
        self.marker = {"p": "after", "n": case}

    def examine(self, lives_with_daemon):
        self.before = self.read()
        if self.was_empty:
            self.before = []
        else:
            self.was_torn = verify(self.log)
        self.expected.check(self.before)
        if lives_with_daemon:
            self.recover_with_daemon()
        else:
            pub(self.log, "power.after", [self.marker])
        self.check_recovered()
        self.check_index()

    def read(self):
        lines = read_lines(self.log)
        self.was_empty = lines is None
        return lines

    def recover_with_daemon(self):
        """A numbered producer comes back, and sends its last event again."""
        daemon = Daemon(self.log, self.scratch)
        producer = "named-0"
        last = self.expected.last_number(self.before, producer)
        try:
            daemon.start()
            connection = daemon.connect(producer)
            known = connection.welcome["last_number"]
            require(known == last, "D2", "%s's last number is %d, but the log says %d", producer,
                    last, known)
            if last:
                connection.send(frame(["pub", 1, [["power.after", None, self.marker, last]]]))
                answer = connection.receive()
                require(answer[2:6] == [0, 0, 0, 1], "D2", "%s's number %d, sent again, was no "
                        "duplicate: %r", producer, last, answer)
            connection.close()
            connection = daemon.connect()
            connection.send(frame(["pub", 2, [["power.after", None, self.marker]]]))
            answer = connection.receive()
            require(answer[0] == "ack" and answer[2] == 1, "D1", "after recovery: %r", answer)
            wait_for_index(connection)
            connection.close()
            daemon.stop()
        finally:
            daemon.kill()

    def check_recovered(self):
        """What readers saw before recovery is there after it, with the new event behind."""
        self.after = self.read()
        require(self.after is not None, "D1", "the log is gone after recovery")
        require(self.after[:-1] == self.before and len(self.after) == len(self.before) + 1, "D2",
                "recovery made %d events of %d, where a new one was published", len(self.after),
                len(self.before))
        event = json.loads(self.after[-1])
        require(event["payload"] == self.marker, "D3", "nobody sent %s", self.after[-1][:300])
        seen = max(self.expected.acked, self.expected.shown)
        require(seen < 0 or event["seq"] > self.expected.history.sequences[seen], "D6",
                "the new event has sequence %d, which had been given before", event["seq"])
        require(not verify(self.log), "D5", "recovery left an unfinished write behind")

    def check_index(self):
        # The daemon packs meanwhile; where that ended, the next command goes on.
        result = daybook("topics", "-D", self.log)
        require(result.returncode == 0, "D7", "daybook topics: %s",
                result.stderr.decode(errors="replace"))
        kept = index_of(self.log)
        rows = [row[0] for row in kept[0]]
        sequences = [json.loads(self.after[-1])["seq"]]
        if self.before:
            history = self.expected.history
            first = history.index[self.before[0]]
            sequences = history.sequences[first:first + len(self.before)] + sequences
        require(rows == sequences, "D7", "the index has %d rows for %d events", len(rows),
                len(sequences))
        result = daybook("reindex", "-D", self.log)
        require(result.returncode == 0, "D7", "daybook reindex: %s",
                result.stderr.decode(errors="replace"))
        fresh = index_of(self.log)
        for query, one, other in zip(TABLES, kept, fresh):
            require(one == other, "D7", "the index is not what a new one is: %s\n%s\n%s", query,
                    [row for row in one if row not in other][:3],
                    [row for row in other if row not in one][:3])


class SecondImage(Image):
    """The power goes once more, during the recovery of `image` or after it."""

    def __init__(self, image, has_marker):
        super().__init__(image.expected, image.log, image.scratch, image.case + (1 << 32))
        self.first = image
        self.has_marker = has_marker

    def examine(self, lives_with_daemon=False):
        before = self.read() or []
        torn = False if self.was_empty else verify(self.log)
        allowed = [self.first.after] + ([] if self.has_marker else [self.first.before])
        require(before in allowed, "D1", "after a second power cut %d events are there; %s",
                len(before), " or ".join("%d may be" % len(lines) for lines in allowed))
        self.was_torn = torn
        pub(self.log, "power.after", [self.marker])
        after = self.read()
        require(after[:-1] == before and json.loads(after[-1])["payload"] == self.marker, "D2",
                "the second recovery made %d events of %d", len(after), len(before))
        numbers = [json.loads(line)["seq"] for line in after[-2:]]
        require(numbers == sorted(set(numbers)), "D6", "sequences after a second cut: %r", numbers)
        verify(self.log)
