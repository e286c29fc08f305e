"""Subscribers for test_bus_kill.py, each a process that writes down what it was given.

A subscriber's journal is a file of lines: `after N` (a subscription began behind sequence N),
`N TOPIC HASH` (an event), `commit N` (asked for) and `committed N` (the daemon said so). It is
written before the next step is taken, so a killed subscriber's journal is what it knew. No test of
its own; standard library only, and the protocol as docs/protocol.md tells it.
"""

import hashlib
import json
import os
import random
import select
import signal
import time

from framed import Connection, frame

TRUE_TO_COMMIT = 1  # of three chances
LINE_MAX = 200  # bytes of a line in a journal


def digest(payload):
    return hashlib.blake2b(json.dumps(payload, sort_keys=True).encode(), digest_size=8).hexdigest()


class Client:
    """A subscriber that is a program of its own, written with one of our clients: it gets over kills
    of the daemon by the client's means, and its journal is what it has printed."""

    late = killed = False
    topics = None

    def __init__(self, name, *words):
        self.name, self.words = name, words
        self.cursor = name.lower().replace(" ", "-")


class Manner:
    """How a subscriber behaves. `cursor`: it commits, and begins there when it is started again;
    without one it remembers in its own memory. `nap`: seconds that it sleeps between two looks at
    its socket. `credit`: so many events at a time; 0: no limit."""

    def __init__(self, name, cursor=None, topics=None, nap=0.0, credit=0, killed=False, late=False):
        self.name, self.cursor, self.topics = name, cursor, topics
        self.nap, self.credit, self.killed, self.late = nap, credit, killed, late


def cut_half_a_line(path):
    """What a process that was killed while it wrote has left at the end: nothing was done about it,
    for a line is whole before the next step is taken."""
    try:
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LINE_MAX))
            tail = file.read()
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    except FileNotFoundError:
        pass


class Subscriber:
    """The process's inside: subscribe, write down, commit, and again after each lost connection."""

    def __init__(self, socket, manner, journal, stop_path, seed):
        self.socket, self.manner, self.stop_path = socket, manner, stop_path
        cut_half_a_line(journal)
        self.journal = open(journal, "a", encoding="ascii", buffering=1 << 16)
        self.dice = random.Random("%s %d %d" % (manner.name, seed, os.getpid()))
        self.position = 0  # everything up to here was looked at
        self.committed = 0
        self.used = 0  # credit

    def note(self, line):
        self.journal.write(line + "\n")

    def run(self):
        while True:
            try:
                connection = Connection(self.socket)
            except OSError:
                time.sleep(0.005)
                continue
            try:
                if self.serve(connection):
                    return
            except OSError:
                pass
            finally:
                connection.close()
                self.journal.flush()

    def subscribe(self, connection):
        wish = {}
        if self.manner.cursor:
            wish["cursor"] = self.manner.cursor
        else:
            wish["after"] = self.position
        if self.manner.topics:
            wish["topics"] = self.manner.topics
        if self.manner.credit:
            wish["credit"] = self.manner.credit
        self.used = 0
        connection.send(frame(["subscribe", wish]))
        answer = connection.receive()
        if answer[:2] == ["error", "stopping"]:
            raise ConnectionResetError(answer[2])
        assert answer[0] == "subscribed", "%s: %r" % (self.manner.name, answer)
        self.position = answer[1]["after"]
        self.note("after %d" % self.position)

    def last_wanted(self):
        """The last sequence of the log once everybody else has ended, or None."""
        try:
            with open(self.stop_path, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def serve(self, connection):
        """True: everything has come, and is committed."""
        self.subscribe(connection)
        while True:
            last = self.last_wanted()
            if last is not None and self.position >= last:
                if not self.manner.cursor or self.committed >= last:
                    return True
                self.commit(connection)
            if self.manner.nap and last is None:  # the others have ended: no reason to wait on
                time.sleep(self.dice.uniform(0, 2 * self.manner.nap))
            if select.select([connection.socket], [], [], 0.1)[0]:
                connection.fill()
            while (answer := connection.take()) is not None:
                self.take(connection, answer)
            self.journal.flush()

    def commit(self, connection):
        self.note("commit %d" % self.position)
        self.journal.flush()
        connection.send(frame(["commit", self.position]))
        answer = connection.receive()
        while answer[0] != "committed" or answer[1] < self.position:
            self.take(connection, answer)
            answer = connection.receive()
        self.take(connection, answer)

    def take(self, connection, answer):
        kind = answer[0]
        if kind == "events":
            self.take_events(connection, answer[1], answer[2])
        elif kind == "committed":
            self.committed = answer[1]
            self.note("committed %d" % answer[1])
        elif kind == "lost":
            assert answer[3] == "never given", "%s: %r" % (self.manner.name, answer)
            self.position = max(self.position, answer[2])
        elif kind == "error":
            assert answer[1] in ("stopping", "io"), "%s: %r" % (self.manner.name, answer)
            raise ConnectionResetError(answer[2])
        else:
            assert kind == "caught_up", "%s: %r" % (self.manner.name, answer)

    def take_events(self, connection, last, events):
        for sequence, _, topic, payload in events:
            assert sequence > self.position, "%s: event %d after %d" % (
                self.manner.name, sequence, self.position)
            self.position = sequence
            self.note("%d %s %s" % (sequence, topic, digest(payload)))
        assert last >= self.position, "%s: 'last' %d is below event %d" % (
            self.manner.name, last, self.position)
        self.position = last
        self.used += len(events)
        if self.manner.credit:
            assert self.used <= self.manner.credit, "%s: more events than credit" % self.manner.name
            if self.used * 2 >= self.manner.credit:
                connection.send(frame(["credit", self.used]))
                self.used = 0
        if self.manner.cursor and events and self.dice.randrange(3) < TRUE_TO_COMMIT:
            self.note("commit %d" % self.position)
            self.journal.flush()
            connection.send(frame(["commit", self.position]))


class Journal:
    """What the lines say, replayed: a program that keeps its work and its commits as Subscriber
    does has exactly `events` in the end, for it throws away what lies behind the position at which
    it was resumed."""

    def __init__(self, path, name):
        self.name = name
        self.events = []  # (sequence, topic, hash)
        self.resumed = self.repeated = self.commits = 0
        self.asked = self.committed = 0
        with open(path, encoding="ascii") as lines:
            for line in lines:
                self.take(line.split())

    def take(self, words):
        if words[0] == "commit":
            self.asked = max(self.asked, int(words[1]))
        elif words[0] == "committed":
            self.commits += 1
            self.committed = max(self.committed, int(words[1]))
        elif words[0] == "after":
            self.resume(int(words[1]))
        else:
            self.events.append((int(words[0]), words[1], words[2]))

    def resume(self, after):
        self.resumed += 1
        before = len(self.events)
        if self.asked:
            assert self.committed <= after <= self.asked, (
                "%s: was resumed behind %d, but had committed %d and asked for %d"
                % (self.name, after, self.committed, self.asked))
        while self.events and self.events[-1][0] > after:
            self.events.pop()
        self.repeated += before - len(self.events)


def run_client(socket, manner, journal, stop_path):
    try:
        for number, path in ((1, journal), (2, journal + ".failure")):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
        os.execvp(manner.words[0], (*manner.words, socket, manner.cursor, stop_path))
    finally:
        os._exit(127)


def start(socket, manner, journal, stop_path, seed):
    """Fork it; returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    if isinstance(manner, Client):
        run_client(socket, manner, journal, stop_path)
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        Subscriber(socket, manner, journal, stop_path, seed).run()
        status = 0
    except BaseException as failure:  # pylint: disable=broad-except
        with open(journal + ".failure", "w", encoding="utf-8") as file:
            file.write("%s: %s" % (type(failure).__name__, failure))
    finally:
        os._exit(status)
