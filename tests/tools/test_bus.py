#!/usr/bin/env python3
"""Subscriptions, by the protocol alone: as docs/protocol.md tells it, against the real daemon.

What happens between two rounds of the bus is tests/tools/test_bus.c's; here are processes, sockets,
kills, and clients that mean harm.
"""
import contextlib
import json
import os
import resource
import select
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import framed  # noqa: E402
from cli_support import daybook, main, promise  # noqa: E402

LATEST = {}


@contextlib.contextmanager
def running(directory, *flags):
    daemon = framed.Daemon(os.path.join(directory, "log"), *flags)
    daemon.start()
    daemon.connect().close()
    try:
        yield daemon
    finally:
        daemon.end()


def publish(connection, count, topic="t", payload=None):
    events = [[topic, None, payload if payload is not None else {"i": i}] for i in range(count)]
    connection.send(framed.frame(["pub", 1, events]))
    answer = connection.receive()
    assert answer[0] == "ack" and answer[2] == count, answer
    return answer[3], answer[4]


class Subscriber:
    """Reads frames and checks what holds of all of them."""

    def __init__(self, daemon, request, connection=None):
        self.connection = connection or daemon.connect()
        self.connection.send(framed.frame(["subscribe", request]))
        answer = self.connection.receive()
        assert answer[0] == "subscribed", answer
        self.last = self.after = answer[1]["after"]
        self.events = []
        self.lost = []
        self.caught_up = False

    def take(self, answer):
        if answer[0] == "events":
            for event in answer[2]:
                assert event[0] > self.last, (event, self.last)
                self.last = event[0]
                self.events.append(event)
            assert answer[1] >= self.last
            self.last = answer[1]
        elif answer[0] == "caught_up":
            assert answer[1] == self.last
            self.caught_up = True
        elif answer[0] == "lost":
            self.lost.append(answer)
            self.last = answer[2]
        else:
            raise AssertionError(answer)
        return answer

    def read(self):
        return self.take(self.connection.receive())

    def read_up_to(self, sequence):
        while self.last < sequence:
            self.read()
        return self

    def read_until_caught_up(self):
        while not self.caught_up:
            self.read()
        return self

    def ask(self, *request):
        self.connection.send(framed.frame(list(request)))

    def close(self):
        self.connection.close()


def status_of(daemon):
    with contextlib.closing(framed.Connection(daemon.socket)) as connection:
        connection.send(framed.frame(["status"]))
        return connection.receive()[1]


def wait_for_status(daemon, **wanted):
    while True:
        status = status_of(daemon)
        if all(status[key] == value for key, value in wanted.items()):
            return status
        time.sleep(0.005)


def threads_of(daemon):
    names = []
    path = "/proc/%d/task" % daemon.process.pid
    for task in os.listdir(path):
        with open(os.path.join(path, task, "comm")) as comm:
            names.append(comm.read().strip())
    return names


def last_words(connection):
    """The error frame at the end of the connection."""
    answer = None
    with contextlib.suppress(ConnectionResetError):
        while True:
            answer = connection.receive()
    assert answer and answer[0] == "error" and answer[2], answer
    return answer[1]


@promise("history, then what comes, without a seam, by topics and by a condition")
def _(directory):
    with running(directory) as daemon:
        publisher = daemon.connect()
        publish(publisher, 100, "a.x")
        publish(publisher, 100, "b.x")
        everything = Subscriber(daemon, {"after": 0}).read_until_caught_up()
        some = Subscriber(daemon, {"from": "earliest", "topics": ["b.*"], "where": "i % 10 = 3"})
        some.read_until_caught_up()
        _first, last = publish(publisher, 100, "b.y")
        assert len(everything.read_up_to(last).events) == 300
        some.read_up_to(last - 10)
        expected = [i for i in range(101, 301) if (i - 1) % 10 == 3]
        assert [e[0] for e in some.events] == expected
        assert not everything.lost and not some.lost


@promise("where nobody subscribes there is no thread for it; the status tells who does")
def _(directory):
    with running(directory) as daemon:
        publisher = daemon.connect()
        publish(publisher, 10)
        assert "bus" not in threads_of(daemon)
        assert status_of(daemon)["subscribers"] == 0
        first = Subscriber(daemon, {"after": 0}).read_until_caught_up()
        second = Subscriber(daemon, {"after": 5}).read_until_caught_up()
        third = Subscriber(daemon, {"topics": ["x"]}).read_until_caught_up()
        assert "bus" in threads_of(daemon)
        wait_for_status(daemon, subscribers=3, feeds=2, delivered=15, connections=5)
        shown = json.loads(daybook("status", "-D", daemon.directory, "-o", "json").out)
        assert shown["subscribers"] == 3, shown
        for subscriber in (first, second, third):
            subscriber.close()
        wait_for_status(daemon, subscribers=0, feeds=0, connections=2)


@promise("what was published on a connection is answered before it subscribes")
def _(directory):
    with running(directory) as daemon:
        connection = daemon.connect()
        connection.send(framed.frame(["pub", 1, [["t", None, 1]]]) +
                        framed.frame(["pub", 2, [["t", None, 2]]]) +
                        framed.frame(["subscribe", {"after": 0, "credit": 1}]) +
                        framed.frame(["credit", 1]) + framed.frame(["ping", 7]))
        assert connection.receive()[:2] == ["ack", 1]
        assert connection.receive()[:2] == ["ack", 2]
        answers = [connection.receive() for _ in range(3)]
        assert answers[0][0] == "subscribed"
        events = [e for a in answers if a[0] == "events" for e in a[2]]
        while len(events) < 2:
            answer = connection.receive()
            answers.append(answer)
            events += answer[2] if answer[0] == "events" else []
        while ["pong", 7, 2] not in answers:
            answers.append(connection.receive())
        assert [e[3] for e in events] == [1, 2]
        connection.send(framed.frame(["pub", 3, [["t", None, 3]]]))
        assert last_words(connection) == "unsupported"


@promise("lines: events are published, then subscribed to, on one connection without a library")
def _(directory):
    with running(directory) as daemon:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(60)
            plain.connect(daemon.socket)
            plain.sendall(b'{"topic":"a.b","payload":{"n":1}}\n'
                          b'{"topic":"c","payload":{"n":2}}\n'
                          b'{"subscribe":{"topics":["a.*"],"after":0}}\n')
            plain.shutdown(socket.SHUT_WR)
            lines = plain.makefile("r")
            assert json.loads(lines.readline()) == {"ok": True, "seq": 1}
            assert json.loads(lines.readline()) == {"ok": True, "seq": 2}
            assert json.loads(lines.readline())["subscribed"]["after"] == 0
            event = json.loads(lines.readline())
            assert (event["seq"], event["topic"], event["payload"]) == (1, "a.b", {"n": 1})
            assert json.loads(lines.readline()) == {"caught_up": 2}
            publish(daemon.connect(), 1, "a.c", "live")
            assert json.loads(lines.readline())["payload"] == "live"
            shown = daybook("read", "-D", daemon.directory, "-o", "json", "-t", "a.b").out
            assert json.loads(shown) == event
            daemon.stop()
            assert "being stopped" in json.loads(lines.readline())["error"]
            assert lines.readline() == ""


@promise("an event line with a subscribe in it is refused as a line, and nothing is stored")
def _(directory):
    with running(directory) as daemon:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(daemon.socket)
            plain.sendall(b'{"topic":"a","payload":1,"subscribe":{}}\n')
            plain.shutdown(socket.SHUT_WR)
            answer = json.loads(plain.makefile("r").readline())
            assert not answer["ok"] and "subscribe" in answer["error"], answer
        assert status_of(daemon)["durable"] == 0


@promise("a subscriber loses and doubles nothing over kill -9 of the daemon, again and again")
def _(directory):
    rounds, per_round = 8, 400
    with running(directory, "--segment-size", "1M") as daemon:
        seen, acknowledged = [], []
        stop = threading.Event()

        def subscribe():
            last = 0
            while not stop.is_set() or last < acknowledged[-1]:
                try:
                    subscriber = Subscriber(daemon, {"after": last},
                                            framed.Connection(daemon.socket))
                except OSError:
                    time.sleep(0.002)
                    continue
                with contextlib.suppress(OSError):
                    while not stop.is_set() or last < acknowledged[-1]:
                        subscriber.read()
                        seen.extend(e[0] for e in subscriber.events)
                        subscriber.events.clear()
                        last = subscriber.last
                subscriber.close()

        reader = threading.Thread(target=subscribe)
        reader.start()
        for number in range(rounds):
            publisher = daemon.connect()
            for i in range(per_round // 10):
                acknowledged.append(publish(publisher, 10, "t", {"x": "y" * (i * 37 % 900)})[1])
            daemon.kill()
            daemon.start()
        stop.set()
        daemon.connect().close()
        reader.join(timeout=120)
        assert not reader.is_alive()
        assert seen == sorted(set(seen)), "out of order or twice"
        stored = [e["seq"] for e in daybook("read", "-D", daemon.directory, "-n", "all",
                                            "-o", "json").events]
        assert seen == stored[:len(seen)] and seen[-1] >= acknowledged[-1]


@promise("a cursor goes on behind its last commit, over kill -9, and its newest subscriber has it")
def _(directory):
    with running(directory) as daemon:
        publish(daemon.connect(), 50)
        subscriber = Subscriber(daemon, {"cursor": "billing"}).read_until_caught_up()
        assert subscriber.after == 0
        for sequence in (3, 8, 20):
            subscriber.ask("commit", sequence)
        while subscriber.connection.receive() != ["committed", 20]:
            pass
        daemon.kill()
        daemon.start()
        again = Subscriber(daemon, {"cursor": "billing"}, daemon.connect())
        assert again.after == 20
        again.read_until_caught_up()
        assert [e[0] for e in again.events][0] == 21
        newest = Subscriber(daemon, {"cursor": "billing"})
        assert last_words(again.connection) == "replaced"
        newest.ask("cursors")
        while (answer := newest.connection.receive())[0] != "cursors":
            newest.take(answer)
        assert [(c["name"], c["position"], c["lag"], c["in_use"]) for c in answer[1]] == \
            [("billing", 20, 30, True)]
        newest.close()


@promise("a cursor that another process has open is taken")
def _(directory):
    with running(directory) as daemon:
        publish(daemon.connect(), 5)
        Subscriber(daemon, {"cursor": "c"}).close()
        wait_for_status(daemon, subscribers=0)
        import fcntl
        import struct
        path = os.path.join(daemon.directory, "cursors", "c")
        with open(path, "r+b") as held:
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            while True:  # until the keeper has closed it
                try:
                    fcntl.fcntl(held, 37, lock)  # F_OFD_SETLK
                    break
                except OSError:
                    time.sleep(0.005)
            connection = daemon.connect()
            connection.send(framed.frame(["subscribe", {"cursor": "c"}]))
            assert last_words(connection) == "taken"


@promise("the daemon stops at once, whatever its subscribers do")
def _(directory):
    with running(directory) as daemon:
        publisher = daemon.connect()
        readers = [Subscriber(daemon, {"after": 0}) for _ in range(30)]
        lazy = [Subscriber(daemon, {"after": 0}) for _ in range(5)]
        for _ in range(10):
            _first, last = publish(publisher, 1, "t", "x" * 900000)
            for subscriber in readers:
                subscriber.read_up_to(last)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5  # on a slow machine; test_daemon.py measures a second
        for subscriber in readers:
            assert last_words(subscriber.connection) == "stopping"
        for subscriber in lazy:
            subscriber.close()


@promise("subscribers count as connections, and make room for others when one process has most")
def _(directory):
    with running(directory, "--max-connections", "12") as daemon:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                many = [Subscriber(daemon, LATEST) for _ in range(12)]
                many[0].read()
                time.sleep(600)
            os._exit(0)
        try:
            def has_all():
                with contextlib.suppress(OSError):
                    return status_of(daemon)["subscribers"] >= 11
                return False
            while not has_all():
                time.sleep(0.01)
            connections = [daemon.connect() for _ in range(5)]
            publish(connections[0], 3)
            assert status_of(daemon)["connections"] <= 12 + 8
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


def rss_of(daemon):
    with open("/proc/%d/status" % daemon.process.pid) as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) << 10


@promise("250 subscribers with filters of their own, none of whom reads, cost bounded memory", True)
def _(directory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with running(directory) as daemon:
        publisher = daemon.connect()
        greedy = [Subscriber(daemon, {"topics": ["t", "x%d" % i], "where": "seq > %d" % i})
                  for i in range(250)]
        honest = Subscriber(daemon, LATEST)
        for _ in range(60):
            _first, last = publish(publisher, 10, "t", "x" * 50000)
            honest.read_up_to(last)
        assert rss_of(daemon) < status_of(daemon)["memory_max"]
        assert len(honest.events) == 600
        for subscriber in greedy[::25]:
            subscriber.read_up_to(last - 1)
            assert [e[0] for e in subscriber.events] == \
                list(range(max(1, greedy.index(subscriber) + 1), 601))[:len(subscriber.events)]
        for subscriber in greedy:
            subscriber.close()
        wait_for_status(daemon, subscribers=1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@promise("who reads a byte now and then, or says nonsense, harms nobody else")
def _(directory):
    with running(directory) as daemon:
        publisher = daemon.connect()
        slow = Subscriber(daemon, LATEST)
        honest = Subscriber(daemon, LATEST)
        received = b""
        for i in range(50):
            for nonsense in (b"\0\0\0\3abc", framed.frame(["subscribe", {"after": -1}]),
                             framed.frame(["commit", 1]), framed.frame(["credit", "x"]),
                             framed.frame(["accept", 1, [[1, 1]]]), os.urandom(100)):
                with contextlib.closing(daemon.connect()) as connection:
                    with contextlib.suppress(OSError):
                        connection.send(framed.frame(["subscribe", {}]) + nonsense)
                        connection.socket.shutdown(socket.SHUT_WR)
            _first, last = publish(publisher, 10, "t", "x" * 10000)
            honest.read_up_to(last)
            received += slow.connection.socket.recv(1)
        slow.connection.received = bytearray(received)
        slow.read_up_to(last)
        assert len(slow.events) == 500 and len(honest.events) == 500
        wait_for_status(daemon, subscribers=2)


@promise("unanswered pings and commits make a subscriber wait, not the daemon grow")
def _(directory):
    with running(directory) as daemon:
        subscriber = Subscriber(daemon, {"cursor": "c"})
        before = rss_of(daemon)
        subscriber.connection.socket.setblocking(False)
        requests = framed.frame(["ping", 1]) * 5000
        sent, silence = 0, 0
        while sent < 64 << 20 and silence < 20:
            if not select.select([], [subscriber.connection.socket], [], 0.05)[1]:
                silence += 1
                continue
            silence = 0
            with contextlib.suppress(BlockingIOError):
                sent += subscriber.connection.socket.send(requests)
        assert silence == 20, "the daemon took everything"
        assert rss_of(daemon) < before + (8 << 20)
        publish(daemon.connect(), 1)


if __name__ == "__main__":
    main()
