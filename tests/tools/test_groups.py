#!/usr/bin/env python3
"""Groups of subscribers: each event to one of them, again when it is not settled, and at last to
_dead.CURSOR. The protocol as docs/protocol.md tells it, against the real daemon."""
import json
import os
import random
import select
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import FAILURE, daybook, event_lines, main, promise
from framed import Connection, Daemon, frame

SECOND = 10**9


def publish(directory, count, first=1, topic="t"):
    daybook("pub", "-D", directory, stdin=event_lines(count, first=first, topic=topic))


def read(directory, *flags):
    return daybook("read", "-D", directory, "-o", "json", *flags).events


def cursor(directory, name="g"):
    rows = json.loads(daybook("cursors", "-D", directory, "-o", "json", name).text)
    return rows[0]


class Member:
    """One subscriber of a group, on a connection of its own."""

    def __init__(self, daemon, name="g", **settings):
        self.connection = daemon.connect()
        self.ids = 0
        self.others = []  # frames that came while another one was waited for
        request = {"cursor": name, "shared": True, **settings}
        self.connection.send(frame(["subscribe", request]))
        self.subscribed = self.expect("subscribed")[1]

    def expect(self, *types):
        for i, value in enumerate(self.others):
            if value[0] in types:
                return self.others.pop(i)
        while True:
            value = self.connection.receive()
            if value[0] in types:
                return value
            assert value[0] != "error", value
            self.others.append(value)

    def events(self, count):
        """The next `count` events, as (sequence, try)."""
        got = []
        while len(got) < count:
            got += self.events_of_a_frame()
        assert len(got) == count, (count, got)
        return got

    def events_of_a_frame(self):
        return [(event[0], event[4]) for event in self.expect("events")[2]]

    def settle(self, verb, *sequences):
        self.ids += 1
        self.connection.send(frame([verb, self.ids, [[s, s] for s in sequences]]))
        answer = self.expect("settled")
        assert answer[1] == self.ids, answer
        return answer[2]

    def accept(self, *sequences):
        return self.settle("accept", *sequences)

    def release(self, *sequences):
        return self.settle("release", *sequences)

    def credit(self, count):
        self.connection.send(frame(["credit", count]))

    def close(self):
        self.connection.close()


def frames_of(*connections):
    """The next frames of whichever of these has some."""
    frames = []
    while not frames:
        for connection in connections:
            value = connection.take()
            if value:
                frames.append((connection, value))
        if not frames:
            for ready in select.select([c.socket for c in connections], [], [])[0]:
                next(c for c in connections if c.socket is ready).fill()
    return frames


class running:
    """A daemon for a with statement, ended whatever happens."""

    def __init__(self, directory, *flags):
        self.daemon = Daemon(directory, *flags)

    def __enter__(self):
        self.daemon.start()
        self.daemon.connect().close()
        return self.daemon

    def __exit__(self, *why):
        status = self.daemon.stop() if self.daemon.process.poll() is None else None
        if why[0] is None:
            assert status == 0, (status, self.daemon.output()[-2000:])
        self.daemon.end()


def refused(daemon, request, code):
    """The error's text."""
    connection = daemon.connect()
    connection.send(frame(["subscribe", request]))
    answer = connection.receive()
    connection.close()
    assert answer[:2] == ["error", code], answer
    return answer[2]


@promise("each event goes to one member, and settled is told once it is durable")
def shared_out(directory):
    log = f"{directory}/log"
    publish(log, 300)
    with running(log) as daemon:
        members = [Member(daemon, credit=100) for _ in range(3)]
        seen = {}
        for member in members:
            got = member.events(100)
            assert [s for s, _ in got] == sorted(s for s, _ in got) and {t for _, t in got} == {1}
            seen[member] = [s for s, _ in got]
        assert sorted(sum(seen.values(), [])) == list(range(1, 301))
        for member in members:
            assert member.accept(*seen[member]) == 100
            assert member.accept(*seen[member]) == 0
        assert daemon.connect().close() is None
        row = cursor(log)
        assert (row["kind"], row["position"], row["lag"], row["pending"]) == ("shared", 300, 0, 0)
        assert row["in_use"].startswith("daybookd"), row
        publish(log, 3, first=301)
        for member in members:
            member.credit(1)
        assert sorted(member.events(1)[0][0] for member in members) == [301, 302, 303]


@promise("what only its member settles: another one's accept settles nothing")
def not_mine(directory):
    log = f"{directory}/log"
    publish(log, 2)
    with running(log) as daemon:
        one = Member(daemon, credit=1)
        assert one.events(1) == [(1, 1)]
        other = Member(daemon, credit=1)
        assert other.events(1) == [(2, 1)]
        assert other.accept(1) == 0 and other.release(1) == 0
        assert one.accept(1, 2) == 1 and other.accept(1, 2) == 1


@promise("what is released comes again, to another member first, and so does what a member had that left")
def comes_again(directory):
    log = f"{directory}/log"
    publish(log, 4)
    with running(log) as daemon:
        one = Member(daemon, credit=4)
        assert one.events(4) == [(1, 1), (2, 1), (3, 1), (4, 1)]
        other = Member(daemon, credit=10)
        one.credit(10)
        assert one.release(2) == 1
        assert other.events(1) == [(2, 2)]
        assert one.accept(4) == 1
        one.close()
        # At once what it had not begun; the one it was at rests first, and has failed.
        assert other.events(2) == [(3, 1), (1, 2)]
        assert other.accept(1, 2, 3) == 3
        assert cursor(log)["pending"] == 0


@promise("what is not settled in time comes again")
def in_time(directory):
    log = f"{directory}/log"
    publish(log, 1)
    with running(log) as daemon:
        one = Member(daemon, credit=1, ack_timeout=SECOND // 20)
        assert one.events(1) == [(1, 1)]
        other = Member(daemon)
        assert other.events(1) == [(1, 2)]
        assert one.accept(1) == 0
        other.accept(1)


@promise("a consumer that dies of one event again and again costs that one its tries, and no other")
def crash_loop(directory):
    log = f"{directory}/log"
    publish(log, 100)
    with running(log) as daemon:
        watcher = daemon.connect()
        watcher.send(frame(["subscribe", {"from": "earliest", "topics": ["_dead.g"]}]))
        deaths, done = 0, set()
        while deaths < 5:
            member = Member(daemon, topics=["t"], credit=64)
            alive = True
            while alive:
                for sequence, number in member.events_of_a_frame():
                    if sequence == 1:
                        deaths += 1
                        assert number == deaths, (number, deaths)
                        alive = False
                        break
                    assert number == 1, (sequence, number)
                    assert member.accept(sequence) == 1
                    member.credit(1)
                    done.add(sequence)
            member.close()
        member = Member(daemon, topics=["t"], credit=100)
        while len(done) < 99:
            for sequence, number in member.events_of_a_frame():
                assert number == 1 and member.accept(sequence) == 1, (sequence, number)
                done.add(sequence)
        value = watcher.receive()
        while value[0] != "events" or not value[2]:
            value = watcher.receive()
        assert [event[3]["seq"] for event in value[2]] == [1], value
        member.expect("caught_up")
        member.close()
        assert [e["payload"]["seq"] for e in read(log, "-t", "_dead.g")] == [1]
    assert cursor(log)["pending"] == 0


@promise("what was released rests before it comes again, longer each time, and others come meanwhile")
def rests(directory):
    log = f"{directory}/log"
    publish(log, 1)
    with running(log) as daemon:
        member = Member(daemon, topics=["t"])
        for number in range(1, 6):
            assert member.events(1) == [(1, number)]
            began = time.monotonic()
            if number > 1:
                assert began - released >= 0.1 * 2 ** (number - 2), (number, began - released)
            released = time.monotonic()
            assert member.release(1) == 1
            if number == 4:
                publish(log, 1, first=2)
                assert member.events(1) == [(2, 1)], "it does not wait for the other one"
                assert member.accept(2) == 1


@promise("a member that fails at once does not become the favourite of a group that works")
def favourite(directory):
    log = f"{directory}/log"
    jobs = 500
    publish(log, jobs)
    with running(log) as daemon:
        good = Member(daemon, topics=["t"], credit=16)
        todo = [s for s, _ in good.events(16)]
        bad = Member(daemon, topics=["t"], credit=64)
        done, failed, busy = set(), 0, False
        while len(done) < jobs:
            if todo and not busy:
                good.connection.send(frame(["accept", len(done) + 1, [[todo[0], todo[0]]]]))
                busy = True
            values = [(bad.connection, value) for value in bad.others]
            bad.others = []
            for connection, value in values or frames_of(good.connection, bad.connection):
                assert value[0] != "error", value
                if value[0] == "events" and connection is good.connection:
                    todo += [event[0] for event in value[2]]
                elif value[0] == "settled" and connection is good.connection:
                    assert value[2] == 1, value
                    done.add(todo.pop(0))
                    good.credit(1)
                    busy = False
                elif value[0] == "events" and value[2]:
                    failed += 1
                    ranges = [[event[0], event[0]] for event in value[2]]
                    bad.connection.send(frame(["release", failed, ranges]))
                    bad.credit(len(ranges))
        assert failed > 0 and done == set(range(1, jobs + 1))
        good.close()
        bad.close()
    assert read(log, "-t", "_dead.g") == []
    assert cursor(log)["pending"] == 0


@promise("after its tries an event is in _dead.CURSOR, once, and is settled")
def dead(directory):
    log = f"{directory}/log"
    publish(log, 3)
    with running(log) as daemon:
        member = Member(daemon, tries=2)
        assert member.events(3) == [(1, 1), (2, 1), (3, 1)]
        assert member.accept(1, 3) == 2
        assert member.release(2) == 1
        assert member.events(1) == [(2, 2)]
        assert member.release(2) == 1
        # The letter is an event of the log, for whoever asks for it by its topic.
        undertaker = Member(daemon, "u", topics=["_dead.>"])
        letter = undertaker.expect("events")[2][0]
        assert letter[2] == "_dead.g" and letter[4] == 1, letter
        assert {k: letter[3][k] for k in ("cursor", "seq", "topic", "tries")} == {
            "cursor": "g", "seq": 2, "topic": "t", "tries": 2}
        assert letter[3]["payload"]["n"] == 2 and letter[3]["time"] == 1767322802 * SECOND
        assert undertaker.accept(letter[0]) == 1
        # Not for the group itself, which would get letters about letters for ever.
        publish(log, 1, first=4)
        assert member.events(1) == [(5, 1)]
        member.accept(5)
        while cursor(log)["pending"]:
            pass  # a letter that is durable is settled in the next round
        member.close()
        assert [e["payload"]["seq"] for e in read(log, "-t", "_dead.g")] == [2]
        publish(log, 1, first=5)
        again = Member(daemon)
        assert again.events(1) == [(6, 1)]
        again.accept(6)
        assert cursor(log)["pending"] == 0


@promise("a dead letter has no room for a payload of 1 MiB, and tells where it is")
def large(directory):
    log = f"{directory}/log"
    line = {"topic": "t", "payload": "x" * ((1 << 20) - 5)}
    daybook("pub", "-D", log, stdin=json.dumps(line) + "\n")
    with running(log) as daemon:
        member = Member(daemon, tries=1, topics=["t"])
        assert member.events(1) == [(1, 1)]
        assert member.release(1) == 1
        other = daemon.connect()
        other.send(frame(["subscribe", {"topics": ["_dead.g"], "from": "earliest"}]))
        value = other.receive()
        while value[0] != "events" or not value[2]:
            value = other.receive()
        assert value[2][0][3] == {"cursor": "g", "seq": 1, "tries": 1, "topic": "t",
                                  "time": value[2][0][3]["time"], "payload": None}, value


@promise("nobody else publishes dead letters, nor under the name of who writes them")
def own_topics(directory):
    log = f"{directory}/log"
    publish(log, 1)
    line = json.dumps({"topic": "_dead.g", "payload": {}}) + "\n"
    assert "are the daemon's own" in daybook("pub", "-D", log, stdin=line, expect=None).err
    with running(log) as daemon:
        assert "are the daemon's own" in daybook("pub", "-D", log, stdin=line, expect=None).err
        stranger = Connection(daemon.socket, producer="_dead.0123456789abcdef")
        stranger.send(frame(["pub", 1, [["t", None, {}, 1]]]))
        answer = stranger.receive()
        assert "are the daemon's own" in json.dumps(answer), answer
    assert [e["topic"] for e in read(log) if e["topic"] != "_gap"] == ["t"]


@promise("members of one group want the same; a cursor is single or shared, never both")
def one_kind(directory):
    log = f"{directory}/log"
    publish(log, 5)
    with running(log) as daemon:
        member = Member(daemon, topics=["t"], ack_timeout=7 * SECOND, tries=3)
        for settings, word in (({"topics": ["u"]}, "topics or where"), ({}, "topics or where"),
                               ({"topics": ["t"], "ack_timeout": SECOND}, "ack_timeout"),
                               ({"topics": ["t"], "tries": 4}, "tries")):
            text = refused(daemon, {"cursor": "g", "shared": True, **settings}, "invalid")
            assert word in text, text
        Member(daemon, topics=["t"], tries=3).close()
        assert "is in use by a group" in refused(daemon, {"cursor": "g"}, "invalid")
        member.close()
        alone = daemon.connect()
        alone.send(frame(["subscribe", {"cursor": "a"}]))
        assert alone.receive()[0] == "subscribed"
        assert "one consumer alone" in refused(daemon, {"cursor": "a", "shared": True}, "invalid")
        alone.close()
    assert "belongs to a group" in daybook("read", "-D", log, "--cursor", "g", expect=FAILURE).err
    with running(log) as daemon:
        assert "shared" in refused(daemon, {"cursor": "g"}, "invalid")
        assert "alone" in refused(daemon, {"cursor": "a", "shared": True}, "invalid")
        # With nobody there the next one says what it wants.
        Member(daemon, topics=["u"], tries=9).close()


@promise("a group's filter passes over the rest, and its cursor goes on behind that")
def filtered(directory):
    log = f"{directory}/log"
    for i in range(1, 41):
        publish(log, 1, first=i, topic=f"t.{i % 4}")
    with running(log) as daemon:
        member = Member(daemon, topics=["t.1"], where="payload ->> 'n' > 20")
        assert [s for s, _ in member.events(5)] == [21, 25, 29, 33, 37]
        member.accept(21, 25, 29, 33, 37)
        member.expect("caught_up")
        member.close()
    row = cursor(log)
    assert (row["position"], row["lag"]) == (40, 0), row


@promise("a group begins where its first member says, and goes on there when it comes back")
def begins(directory):
    log = f"{directory}/log"
    publish(log, 10)
    with running(log) as daemon:
        for name, start, first in (("a", {"after": 4}, 5), ("b", {"from": "earliest"}, 1),
                                   ("c", {"since": 1767322808 * SECOND}, 8), ("d", {}, 1)):
            member = Member(daemon, name, **start)
            got = member.events(11 - first)
            assert got[0] == (first, 1), (name, got)
            assert member.accept(*[s for s, _ in got]) == len(got)
            member.close()
        latest = Member(daemon, "e", **{"from": "latest"})
        latest.expect("caught_up")
        publish(log, 1, first=11)
        assert latest.events(1) == [(11, 1)]
        for name in "abcd":
            again = Member(daemon, name, after=2)
            assert again.events(1) == [(11, 1)], name


@promise("no more than 1,024 events are unsettled at once")
def bounded(directory):
    log = f"{directory}/log"
    publish(log, 1500)
    with running(log) as daemon:
        member = Member(daemon)
        got = [s for s, _ in member.events(1024)]
        assert got == list(range(1, 1025))
        assert member.accept(*got[:10]) == 10
        assert [s for s, _ in member.events(10)] == list(range(1025, 1035))
        assert member.accept(*range(11, 1035)) == 1024
        assert [s for s, _ in member.events(466)] == list(range(1035, 1501))


@promise("a member without credit gets nothing, and one that does not read holds up nobody")
def slow(directory):
    log = f"{directory}/log"
    daybook("pub", "-D", log, stdin=event_lines(400, size=8000))
    with running(log) as daemon:
        parked = Member(daemon, credit=0)
        deaf = Member(daemon, credit=600)
        worker = Member(daemon, credit=600)
        taken = 0
        while True:
            got = worker.expect("events", "caught_up")
            if got[0] == "caught_up":
                break
            taken += worker.accept(*[event[0] for event in got[2]])
        assert taken > 100 and not parked.others, taken
        deaf.close()
        while taken < 400:
            got = worker.expect("events")
            taken += worker.accept(*[event[0] for event in got[2]])
        assert cursor(log)["pending"] == 0


@promise("after a restart, clean or not, what was settled never comes again, and the rest does")
def restarts(directory):
    log = f"{directory}/log"
    publish(log, 20)
    daemon = Daemon(log)
    try:
        daemon.start()
        left = list(range(1, 21))
        tries = dict.fromkeys(left, 1)
        for how in ("kill", "stop", "kill", "kill"):
            member = Member(daemon, tries=50, credit=len(left))
            got = member.events(len(left))
            assert sorted(s for s, _ in got) == left, (how, got)
            assert {s: number for s, number in got} == {s: tries[s] for s in left}, (how, got)
            done = left[1::3]
            assert member.accept(*done) == len(done)
            left = [s for s in left if s not in done]
            # What it was given first of what it has is charged, whoever ends it.
            tries[next(s for s, _ in got if s in left)] += 1
            daemon.kill() if how == "kill" else daemon.stop()
            member.close()
            daemon.start()
        row = cursor(log)
        assert row["pending"] == len(left) and row["position"] == 20, row
    finally:
        daemon.end()


@promise("killed again and again, a daemon loses no event of a group, doubles no settled one and no letter")
def killed(directory):
    log = f"{directory}/log"
    publish(log, 200)
    dice = random.Random(7)
    daemon = Daemon(log)
    settled, poison = set(), {s for s in range(1, 201) if s % 10 == 0}
    try:
        for _ in range(25):
            daemon.start()
            members = [Member(daemon, tries=3, topics=["t"], credit=64) for _ in range(2)]
            for _ in range(dice.randrange(1, 9)):
                member = dice.choice(members)
                value = member.connection.take() if not member.others else member.others.pop(0)
                if value is None:
                    member.connection.socket.settimeout(0.02)
                    try:
                        member.connection.fill()
                    except TimeoutError:
                        pass
                    member.connection.socket.settimeout(60)
                    continue
                if value[0] != "events":
                    continue
                given = [event[0] for event in value[2]]
                assert not settled & set(given), "a settled event came again"
                bad = [s for s in given if s in poison]
                good = [s for s in given if s not in poison]
                member.credit(len(given))
                if good and member.accept(*good) == len(good):
                    settled |= set(good)
                if bad:
                    member.release(*bad)
            daemon.kill()
            for member in members:
                member.close()
        daemon.start()
        watcher = daemon.connect()
        watcher.send(frame(["subscribe", {"from": "earliest", "topics": ["_dead.g"]}]))
        member = Member(daemon, tries=3, topics=["t"])
        dead_letters = []
        while len(settled) < 180 or len(dead_letters) < 20:
            if member.others:
                values = [(member.connection, member.others.pop(0))]
            else:
                values = frames_of(watcher, member.connection)
            for connection, value in values:
                assert value[0] != "error", value
                if value[0] != "events":
                    continue
                if connection is watcher:
                    dead_letters += [event[3]["seq"] for event in value[2]]
                    continue
                given = [event[0] for event in value[2]]
                assert not settled & set(given), "a settled event came again"
                good = [s for s in given if s not in poison]
                if good:
                    assert member.accept(*good) == len(good)
                    settled |= set(good)
                bad = [s for s in given if s in poison]
                if bad:
                    member.release(*bad)
        while cursor(log)["pending"]:
            pass  # a letter that is durable is settled in the next round
        member.close()
        watcher.close()
        assert daemon.stop() == 0, daemon.output()[-2000:]
        letters = [e["payload"]["seq"] for e in read(log, "-t", "_dead.g")]
        assert sorted(letters) == sorted(poison), letters
        row = cursor(log)
        assert row["pending"] == 0 and row["position"] >= 200, row
    finally:
        daemon.end()


@promise("in lines a member gets the try, accepts and releases, and is told what was settled")
def lines(directory):
    log = f"{directory}/log"
    publish(log, 2)
    with running(log) as daemon:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(daemon.socket)
            client.sendall(b'{"subscribe":{"cursor":"g","shared":true,"credit":2}}\n')
            answers = client.makefile("r")
            others = []

            def answer(key):
                for i, value in enumerate(others):
                    if key in value:
                        return others.pop(i)
                while True:
                    value = json.loads(answers.readline())
                    assert "error" not in value, value
                    if key in value:
                        return value
                    others.append(value)

            assert answer("subscribed")["subscribed"]["after"] == 0
            assert [(e["seq"], e["try"]) for e in (answer("seq"), answer("seq"))] == [(1, 1), (2, 1)]
            client.sendall(b'{"accept":[[1,1]]}\n')
            assert answer("settled") == {"settled": 1}
            client.sendall(b'{"release":[[1,2]]}\n{"credit":1}\n')
            assert answer("settled") == {"settled": 1}
            again = answer("seq")
            assert (again["seq"], again["try"]) == (2, 2)
            client.sendall(b'{"accept":[[5,1]]}\n')
            last = json.loads(answers.readline())
            while "caught_up" in last:
                last = json.loads(answers.readline())
            assert last["ok"] is False and "no range" in last["error"], last


if __name__ == "__main__":
    main()
