#!/usr/bin/env python3
"""Publishing that must not race: events are stored only when nothing else was published behind the
sequence that their writer expects, and then all of them (docs/protocol.md, "Expectations").
"""
import contextlib
import ctypes
import json
import os
import socket
import struct
import sys
import threading

sys.dont_write_bytecode = True
from cli_support import (  # noqa: E402  pylint: disable=wrong-import-position
    BUILD, FAILURE, USAGE, daybook, event_lines, main, promise, segment_files)
from framed import Connection, Daemon, frame  # noqa: E402  pylint: disable=wrong-import-position

CONFLICT = 7


@contextlib.contextmanager
def running(directory, *flags):
    daemon = Daemon(os.path.join(directory, "log"), *flags)
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.end()


class Publisher(Connection):
    """A connection, with a count of its frames, and of its events when it has a name."""

    def __init__(self, daemon, producer=None):
        daemon.connect().close()
        super().__init__(daemon.socket, producer)
        self.id = 0
        self.number = self.welcome["last_number"] if producer else None

    def send_pub(self, topics, expected=None, number=None):
        self.id += 1
        events = []
        for at, topic in enumerate(topics):
            first = number or (self.number and self.number + 1) or 1
            events.append([topic, None, {"at": at}] +
                          ([first + at] if self.number is not None else []))
        self.send(frame(["pub", self.id, events] + ([expected] if expected else [])))

    def pub(self, topics, expected=None, number=None):
        self.send_pub(topics, expected, number)
        ack = self.receive()
        assert ack[:2] == ["ack", self.id], ack
        if self.number is not None and ack[2]:
            self.number += len(topics)
        return ack

    def stored(self, topics, expected=None):
        ack = self.pub(topics, expected)
        assert ack[2] == len(topics) and not ack[5] and not ack[6], ack
        return ack[3]

    def conflict(self, topics, expected, text):
        ack = self.pub(topics, expected)
        assert ack[2:6] == [0, 0, 0, 0] and len(ack[6]) == len(topics), ack
        assert [refusal[:2] for refusal in ack[6]] == [[i, "conflict"] for i in range(len(topics))]
        assert text in ack[6][0][2], ack
        return ack


def last(sequence, topic=None):
    return {"expect_last": sequence, **({"expect_topic": topic} if topic else {})}


def topics_of(directory):
    return [event["topic"] for event in
            daybook("read", "-D", directory, "-n", "all", "-o", "json").events]


@promise("events are stored if the log's last sequence is the one expected, and none otherwise")
def whole_log(directory):
    with running(directory) as daemon:
        writer = Publisher(daemon)
        assert writer.stored(["a", "b"], last(0)) == 1
        writer.conflict(["c"], last(0), "the log's last sequence is 2, not 0")
        writer.conflict(["c", "d"], last(1), "the log's last sequence is 2, not 1")
        writer.conflict(["c"], last(3), "the log's last sequence is 2, not 3")
        assert writer.stored(["c"], last(2)) == 3
    assert topics_of(daemon.directory) == ["a", "b", "c"]


@promise("with a pattern only events of such topics count, also those from before the daemon began")
def topics(directory):
    with running(directory) as daemon:
        writer = Publisher(daemon)
        writer.stored(["trade.EUR", "trade.USD", "price.EUR", "door"])
        assert writer.stored(["trade.EUR"], last(1, "trade.EUR")) == 5
        writer.conflict(["trade.USD"], last(4, "trade.*"), "event 5 of topic 'trade.EUR' is behind 4")
        writer.conflict(["x"], last(2, "price.>"), "event 3 of topic 'price.EUR' is behind 2")
        assert writer.stored(["price.EUR"], last(3, "price.>")) == 6
        daemon.kill()
        daemon.start()
        writer = Publisher(daemon)
        writer.conflict(["x"], last(4, "trade.*"), "event 5 of topic 'trade.EUR' is behind 4")
        assert writer.stored(["x"], last(5, "trade.*")) > 6
        assert writer.stored(["x"], last(0, "never.*")) > 6


@promise("what the topics' last events are is read from sealed segments, packed or not, too")
def old_segments(directory):
    log = os.path.join(directory, "log")
    daybook("pub", "-D", log, "--segment-size", "64K", stdin=event_lines(3, topic="rare"))
    for round_ in range(6):
        daybook("pub", "-D", log, "--segment-size", "64K",
                stdin=event_lines(120, topic=f"often.{round_}", size=400))
    daybook("pack", "-D", log)
    assert len(segment_files(log)) > 4
    total = len(topics_of(log))
    with running(directory) as daemon:
        writer = Publisher(daemon)
        writer.conflict(["x"], last(2, "rare"), "event 3 of topic 'rare' is behind 2")
        writer.conflict(["x"], last(3, "often.*"), f"event {total} of topic 'often.5' is behind 3")
        writer.stored(["x"], last(3, "rare"))
        writer.stored(["x"], last(123, "often.0"))
        writer.conflict(["x"], last(122, "often.0"), "event 123 of topic 'often.0' is behind 122")


@promise("what retention has deleted cannot be told, and is refused with what to expect instead")
def after_retention(directory):
    log = os.path.join(directory, "log")
    for round_ in range(6):
        daybook("pub", "-D", log, "--segment-size", "64K",
                stdin=event_lines(120, topic=f"t.{round_}", size=400))
    daybook("retention", "-D", log, "--max-size", "200K")
    first = daybook("read", "-D", log, "-n", "all", "-o", "json").events[0]["seq"]
    assert first > 1
    with running(directory) as daemon:
        writer = Publisher(daemon)
        writer.conflict(["x"], last(1, "t.0"), "cannot be told any more: read the log on to its end, "
                                               "which is 720")
        writer.stored(["x"], last(720, "t.0"))


@promise("of many attempts with one expectation, by writers at the same time, exactly one wins")
def race(directory):
    writers, rounds = 4, 150
    won = [[] for _ in range(writers)]

    def write(me, daemon):
        mine = Publisher(daemon, f"w{me}" if me % 2 else None)
        for at in range(rounds):
            barrier.wait()
            # Every round writes two events; whoever wins, the next one begins at the same place.
            ack = mine.pub([f"round.{at}", f"round.{at}"], last(2 * at, f"round.*" if me > 1 else None))
            if ack[2]:
                won[me].append((at, ack[3]))
            else:
                assert {refusal[1] for refusal in ack[6]} == {"conflict"}, ack
        mine.close()

    with running(directory) as daemon:
        barrier = threading.Barrier(writers)
        threads = [threading.Thread(target=write, args=(me, daemon)) for me in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wins = sorted(win for list_ in won for win in list_)
    assert wins == [(at, 2 * at + 1) for at in range(rounds)], wins[:10]
    assert topics_of(daemon.directory) == [f"round.{at}" for at in range(rounds) for _ in "12"]


@promise("one event that breaks a rule or its schema, and none of the frame is stored")
def all_or_none(directory):
    schema = os.path.join(directory, "s.json")
    with open(schema, "w", encoding="utf-8") as file:
        json.dump({"type": "object", "properties": {"at": {"maximum": 1}}}, file)
    with running(directory) as daemon:
        writer = Publisher(daemon)
        for mode in ("reject", "quarantine"):
            daybook("schema", "add", "-D", daemon.directory, "--mode", mode, mode, schema)
        before = len(topics_of(daemon.directory))
        for bad in (["a", "b b"], ["a", "a", "reject"], ["a", "a", "quarantine"], ["a", "_schema"],
                    ["a", "_rejected.x"], ["_gap", "a"]):
            ack = writer.pub(bad, last(before))
            assert ack[2:6] == [0, 0, 0, 0], ack
            assert [refusal[:2] for refusal in ack[6]] == [[i, "invalid"] for i in range(len(bad))], ack
            assert sum(bool(refusal[2]) for refusal in ack[6]) == 1, "the reason is given once"
        ack = writer.pub(["t"] * 20 + ["b b"], last(before))
        assert "space" in ack[6][20][2], ack
        assert writer.stored(["reject", "quarantine"], last(before)) == before + 1
        ack = writer.pub(["x"], last(before, "_gap"))
        assert ack[6][0][1] == "invalid" and "begin with '_'" in ack[6][0][2], ack
        ack = writer.pub(["x"], last(before, "a.>.b"))
        assert ack[6][0][1] == "invalid" and "expect_topic" in ack[6][0][2], ack
    assert len(topics_of(daemon.directory)) == before + 2


@promise("a frame sent again, of which all is in the log, is a duplicate and no conflict")
def repeated(directory):
    with running(directory) as daemon:
        writer = Publisher(daemon, "w")
        writer.stored(["a", "b"], last(0))
        writer.send_pub(["a", "b"], last(0), number=1)
        assert writer.receive()[2:] == [0, 0, 0, 2, []]
        daemon.kill()
        daemon.start()
        writer = Publisher(daemon, "w")
        assert writer.number == 2
        writer.send_pub(["a", "b"], last(0), number=1)
        assert writer.receive()[2:] == [0, 0, 0, 2, []]
        # A refusal uses no number up, and tells the log of no gap.
        writer.conflict(["c"], last(0), "not 0")
        writer.conflict(["c"], last(0), "not 0")
        assert writer.stored(["c"], last(2)) > 2
    assert topics_of(daemon.directory) == ["a", "b", "c"]
    assert "refused" not in daybook("gaps", "-D", daemon.directory).text


@promise("sequences that a crash has left unused stand in nobody's way")
def after_a_crash(directory):
    with running(directory) as daemon:
        writer = Publisher(daemon)
        writer.stored(["a"])
        daemon.kill()
        os.unlink(os.path.join(daemon.directory, "watermark"))  # as after a power cut
        daemon.start()
        writer = Publisher(daemon)
        writer.conflict(["b"], last(70000), "the log's last sequence is 1, not 70000")
        assert writer.stored(["b"], last(1)) > 65000


@promise("a frame whose expectation is not understood is malformed: what nobody looks at is no use")
def unknown_keys(directory):
    with running(directory) as daemon:
        for bad, text in (({"expect": 1}, "none of expect_last, expect_topic"),
                          ({"expect_topic": "a"}, "no expect_last"),
                          ({"expect_last": -1}, "expect_last"),
                          ({"expect_last": "1"}, "expect_last"),
                          ({"expect_last": 1, "expect_topic": 3}, "expect_topic"), ({}, "no expect_last"),
                          ([1], "what the pub expects")):
            writer = Publisher(daemon)
            writer.send(frame(["pub", 1, [["a", None, 1]], bad]))
            answer = writer.receive()
            assert answer[:2] == ["error", "malformed"] and text in answer[2], answer
            writer.close()
        writer = Publisher(daemon)
        writer.send(frame(["pub", 1, [], last(0)]))
        assert writer.receive()[1] == "malformed"
        assert topics_of(daemon.directory) == []


@promise("in line mode the same, a line at a time; a conflict has a code for programs")
def lines(directory):
    with running(directory) as daemon:
        daemon.connect().close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.socket)
            said = [{"topic": "a", "payload": 1, "expect_last": 0},
                    {"topic": "b", "payload": 1, "expect_last": 0},
                    {"topic": "b", "payload": "x" * 20000, "expect_last": 0, "expect_topic": "b.*"},
                    {"topic": "b", "payload": 1, "expect_last": 0, "expect_topic": "b"},
                    {"topic": "b", "payload": 1, "expect_topic": "b"},
                    {"topic": "b", "payload": 1, "expect_last": 2, "producer": "p", "number": 1},
                    {"topic": "b", "payload": 1, "expect_last": 2, "producer": "p", "number": 1}]
            client.sendall("".join(json.dumps(line) + "\n" for line in said).encode())
            client.shutdown(socket.SHUT_WR)
            answers = [json.loads(line) for line in client.makefile("rb")]
    assert [answer["ok"] for answer in answers] == [True, False, True, False, False, True, True], answers
    assert answers[1] == {"ok": False, "error": "the log's last sequence is 1, not 0",
                          "code": "conflict", "line": 2}, answers[1]
    assert answers[3]["code"] == "conflict" and "event 2 of topic 'b'" in answers[3]["error"]
    assert "code" not in answers[4]
    assert answers[6] == {"ok": True, "duplicate": True}


@promise("daybook pub --expect-last stores all lines or none, with the daemon and without, and exits "
         "with 7 on a conflict")
def command(directory):
    log = os.path.join(directory, "log")

    def check(offset):
        both = ("pub", "-D", log, "-t", "t.x")
        result = daybook(*both, "--expect-last", offset, stdin='{"a":1}\n{"a":2}\n')
        assert f"sequences {offset + 1}-{offset + 2}" in result.err, result.err
        result = daybook(*both, "--expect-last", offset, stdin='{"a":1}\n', expect=CONFLICT)
        assert f"nothing was published: the log's last sequence is {offset + 2}, not {offset}" in result.err
        daybook(*both, "--expect-last", offset, "--expect-topic", "u.*", stdin='{"a":3}\n')
        result = daybook(*both, "--expect-last", offset, "--expect-topic", "t.*", stdin='{"a":3}\n',
                         expect=CONFLICT)
        assert "of topic 't.x' is behind" in result.err, result.err
        result = daybook(*both, "--expect-last", offset + 3, "--producer", "p",
                         stdin='{"a":3}\nnonsense\n', expect=FAILURE)
        assert "<stdin>:2:" in result.err, result.err
        assert len(topics_of(log)) == offset + 3

    check(0)
    with running(directory) as daemon:
        daemon.connect().close()
        check(3)
    daybook("pub", "-D", log, "--expect-topic", "a", expect=USAGE)
    daybook("pub", "-D", log, "--expect-last", "1", "--expect-topic", "_gap", expect=USAGE)


# ---- The C library ----


class Event(ctypes.Structure):
    _fields_ = [("sequence", ctypes.c_uint64), ("time_ns", ctypes.c_int64), ("topic", ctypes.c_char_p),
                ("topic_bytes", ctypes.c_size_t), ("payload", ctypes.c_char_p),
                ("payload_bytes", ctypes.c_size_t), ("number", ctypes.c_uint64), ("tag", ctypes.c_uint64),
                ("tries", ctypes.c_uint)]


class Expectation(ctypes.Structure):
    _fields_ = [("last", ctypes.c_uint64), ("topic", ctypes.c_char_p)]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 760)]


class Options(ctypes.Structure):
    _fields_ = [("directory", ctypes.c_char_p), ("socket", ctypes.c_char_p),
                ("producer", ctypes.c_char_p), ("rest", ctypes.c_uint8 * 256)]


DAYBOOK_INVALID, DAYBOOK_REFUSED, DAYBOOK_UNKNOWN, DAYBOOK_CONFLICT = 1, 2, 5, 17


class Library:
    def __init__(self, path, producer=None):
        self.so = ctypes.CDLL(os.path.join(BUILD, "libdaybook.so"))
        self.handle, self.error = ctypes.c_void_p(), Error()
        options = Options(socket=path.encode(), producer=producer)
        code = self.so.daybook_connect(ctypes.byref(options), ctypes.byref(self.handle),
                                       ctypes.byref(self.error))
        assert code == 0, self.error.text

    def publish(self, topics, last_, topic=None):
        events = (Event * len(topics))()
        for at, name in enumerate(topics):
            events[at] = Event(time_ns=-2**63, topic=name, topic_bytes=len(name), payload=b"\x01",
                               payload_bytes=1)
        sequence = ctypes.c_uint64()
        code = self.so.daybook_publish_expecting(
            self.handle, events, ctypes.c_size_t(len(topics)), ctypes.byref(Expectation(last_, topic)),
            ctypes.byref(sequence), ctypes.byref(self.error))
        return code, sequence.value

    def close(self):
        self.so.daybook_close(self.handle)


class Thief:
    """Between client and daemon: passes everything, but steals the first `acks` acks, and cuts."""

    def __init__(self, directory, daemon, acks):
        self.path, self.daemon, self.acks = os.path.join(directory, "thief"), daemon, acks
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.daemon.socket)
            threading.Thread(target=self.upwards, args=(client, server), daemon=True).start()
            with contextlib.suppress(OSError):
                self.downwards(server, client)

    @staticmethod
    def upwards(client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def downwards(self, server, client):
        received = b""
        while data := server.recv(65536):
            received += data
            while len(received) >= 4 and len(received) >= 4 + struct.unpack(">I", received[:4])[0]:
                size = 4 + struct.unpack(">I", received[:4])[0]
                if received[5:9] == b"\xa3ack" and self.acks > 0:
                    self.acks -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    client.close()
                    server.close()
                    return
                client.sendall(received[:size])
                received = received[size:]
        client.close()


@promise("the library: a lost ack is no second attempt: what was stored is told as stored, what was "
         "in conflict as a conflict, and without a name as unknown")
def library(directory):
    with running(directory) as daemon:
        daemon.connect().close()
        client = Library(daemon.socket, b"lib")
        assert client.publish([b"a", b"b"], 0) == (0, 1), client.error.text
        code, _ = client.publish([b"c"], 0)
        assert code == DAYBOOK_CONFLICT and b"is 2, not 0" in client.error.text, client.error.text
        code, _ = client.publish([b"x", b"b b"], 2)
        assert code == DAYBOOK_INVALID and b"space" in client.error.text, client.error.text
        code, _ = client.publish([b"x", b"_rejected.x"], 2)
        assert code == DAYBOOK_REFUSED and b"_rejected" in client.error.text, client.error.text
        assert client.publish([b"c"], 1, b"other.*") == (0, 3)
        client.close()

        thief = Thief(directory, daemon, 1)
        client = Library(thief.path, b"lib")
        assert client.publish([b"d", b"e"], 3) == (0, 0), "it was stored before"
        thief.acks = 1
        code, _ = client.publish([b"f"], 3)
        assert code == DAYBOOK_CONFLICT, client.error.text
        assert client.publish([b"f"], 5) == (0, 6), client.error.text
        client.close()
        anonymous = Library(thief.path)
        thief.acks = 1
        code, _ = anonymous.publish([b"g"], 6)
        assert code == DAYBOOK_UNKNOWN, client.error.text
        code, _ = anonymous.publish([b"g"], 6)
        assert code == DAYBOOK_CONFLICT
        anonymous.close()
    assert topics_of(daemon.directory) == list("abcdefg")
    assert "lib" not in daybook("gaps", "-D", daemon.directory).text, "a refusal uses up no number"


if __name__ == "__main__":
    main()
