#!/usr/bin/env python3
"""daybookd as producers meet it: refusals, retries, fences, limits, stops.

The protocol itself is tried by test_protocol_python.py; here it is used, and abused.
"""
import contextlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import framed  # noqa: E402
from cli_support import DAYBOOKD, daybook, environment, main, promise  # noqa: E402

MIB = 1 << 20


@contextlib.contextmanager
def running(directory, *flags):
    """A daemon on DIRECTORY/log that is ready; it is killed at the end, if it is still there."""
    daemon = framed.Daemon(os.path.join(directory, "log"), *flags)
    daemon.start()
    await_ready(daemon)
    try:
        yield daemon
    finally:
        daemon.end()


def await_ready(daemon, times=1):
    while daemon.output().count(" ready\n") < times:
        daemon.check_alive()
        time.sleep(0.005)


def events_of(daemon):
    return daybook("read", "-D", daemon.directory, "-n", "all", "-o", "json").events


def publish(connection, number, events):
    connection.send(framed.frame(["pub", number, events]))
    answer = connection.receive()
    assert answer[:2] == ["ack", number], answer
    return answer


def last_words(connection):
    """Everything up to the end of the connection; the last frame is an error."""
    frame = None
    with contextlib.suppress(ConnectionResetError):
        while True:
            frame = connection.receive()
    assert frame and frame[0] == "error", frame
    return frame


def raw(daemon):
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(60)
    plain.connect(daemon.socket)
    return plain


def read_all(plain):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            more = plain.recv(1 << 16)
            if not more:
                break
            data += more
    return data


def say_lines(daemon, data):
    """As `nc -N`: send, shut down, read to the end."""
    with raw(daemon) as plain:
        writer = threading.Thread(target=lambda: (plain.sendall(data),
                                                  plain.shutdown(socket.SHUT_WR)))
        writer.start()
        answers = read_all(plain)
        writer.join()
    return [json.loads(line) for line in answers.splitlines()]


def raw_pub(number, *payloads, topic=b"t"):
    """A pub whose payloads are given as bytes, right or wrong."""
    body = b"\x93\xa3pub" + framed.pack(number) + b"\xdc" + struct.pack(">H", len(payloads))
    for payload in payloads:
        body += b"\x93" + framed.pack(topic.decode()) + b"\xc0" + payload
    return struct.pack(">I", len(body)) + body


# ---- Room ----

@promise("who is ready has the room already that retention needs on a full disk")
def _(directory):
    with running(directory) as daemon:
        # Stopped at once: nobody else has had the time to make it.
        daemon.process.send_signal(signal.SIGSTOP)
        assert os.path.getsize(os.path.join(directory, "log", "ballast")) >= 64 * 1024
        daemon.process.send_signal(signal.SIGCONT)


# ---- Refusals ----

@promise("each bad event is refused with its reason, its neighbours are stored")
def _(directory):
    with running(directory) as daemon:
        connection = daemon.connect()
        deep = b"\x91" * 33 + b"\xc0"
        bad = {
            "space": [["a b", None, 1]],
            "empty": [["", None, 1]],
            "more than 255": [["x" * 256, None, 1]],
            "more than 1048576": [["t", None, b"x" * (MIB - 4)]],
        }
        for reason, events in bad.items():
            answer = publish(connection, 1, [["t", None, "before"], *events, ["t", None, "after"]])
            assert answer[2] == 2 and len(answer[6]) == 1, (reason, answer)
            index, code, text = answer[6][0]
            assert index == 1 and code == "invalid" and reason in text, (reason, answer[6])
        for reason, payload in (("UTF-8", b"\xa2\xff\xfe"), ("inside each other", deep)):
            connection.send(raw_pub(2, b"\x01", payload, b"\x02"))
            answer = connection.receive()
            assert answer[2] == 2 and answer[6][0][:2] == [1, "invalid"], (reason, answer)
            assert reason in answer[6][0][2], (reason, answer[6])
        assert publish(connection, 3, [["t", None, 1]])[2] == 1


@promise("many refusals in one frame get one bounded ack")
def _(directory):
    with running(directory) as daemon:
        connection = daemon.connect()
        answer = publish(connection, 1, [["no good", None, 0]] * 4096)
        assert answer[2] == 0 and len(answer[6]) == 4096
        assert [r[0] for r in answer[6]] == list(range(4096))
        assert answer[6][15][2] and not answer[6][16][2]
        assert {r[1] for r in answer[6]} == {"invalid"}
        connection.send(framed.frame(["pub", 2, [["t", None, 0]] * 4097]))
        assert last_words(connection)[1] == "malformed"


@promise("a malformed frame stores nothing and ends only its own connection")
def _(directory):
    with running(directory) as daemon:
        honest = daemon.connect()
        numbered = {"producer": "p"}
        frames = [
            (raw_pub(1, b"\x01", b"\xc1"), {}),
            (raw_pub(1, b"\x01", b"\xdd\xff\xff\xff\xff"), {}),
            (raw_pub(1, b"\x01", b"\xdb\x00\x01\x00\x00abc"), {}),
            (framed.frame(["pub", 1, [["t", None, 1], ["t", 1.5, 1]]]), {}),
            (framed.frame(["pub", 1, [["t", None, 1], ["t", None]]]), {}),
            (framed.frame(["pub", 1, [["t", None, 1], [None, None, 1]]]), {}),
            (framed.frame(["pub", 1, [["t", None, 1], ["t", None, 1, 1]]]), {}),
            (framed.frame(["pub", 1, [["t", None, 1, 1], ["t", None, 1]]]), numbered),
            (framed.frame(["pub", 1, [["t", None, 1, 2], ["t", None, 1, 2]]]), numbered),
            (framed.frame(["pub", 1, [["t", None, 1]], "more"]), {}),
            (framed.frame(["pub", -1, [["t", None, 1]]]), {}),
            (framed.frame(["hello", {"version": 1}]), {}),
            (framed.frame([]), {}),
            (framed.frame({"a": 1}), {}),
            (framed.frame([1]), {}),
            (struct.pack(">I", 0), {}),
        ]
        for data, hello in frames:
            connection = daemon.connect(hello.get("producer"))
            connection.send(data)
            words = last_words(connection)
            assert words[1] == "malformed" and words[2], (data, words)
            connection.close()
        connection = daemon.connect()
        connection.send(framed.frame(["dance", 1]))
        assert last_words(connection)[1] == "unsupported"
        publish(honest, 1, [["t", None, "the only one"]])
        assert [e["payload"] for e in events_of(daemon)] == ["the only one"]


@promise("an oversized frame is refused before its bytes are taken")
def _(directory):
    with running(directory) as daemon:
        for length in (1052673, 2 * MIB, 0xFFFFFF):
            connection = daemon.connect()
            connection.send(struct.pack(">I", length))
            words = last_words(connection)
            assert words[1] == "too_large" and str(length) in words[2], words
        with raw(daemon) as plain:  # and who has not said hello gets less
            plain.sendall(struct.pack(">I", 5000))
            assert b"too_large" in read_all(plain)


@promise("a hello that breaks a rule is answered with the rule")
def _(directory):
    with running(directory) as daemon:
        cases = [
            (["hello", {"version": 2}], "version", "version 1"),
            (["hello", {}], "invalid", "version"),
            (["hello", {"version": 1, "producer": "a b"}], "invalid", "space"),
            (["hello", {"version": 1, "producer": ""}], "invalid", "empty"),
            (["hello", {"version": 1, "producer": 7}], "invalid", "string"),
            (["hello", {"version": 1, "ack": "soon"}], "invalid", "durable"),
            (["hello", 1], "invalid", "map"),
            (["pub", 1, []], "expected_hello", "hello"),
        ]
        for message, code, text in cases:
            with raw(daemon) as plain:
                plain.sendall(framed.frame(message))
                answer, _end = framed.unpack(read_all(plain), 4)
            assert answer[0] == "error" and answer[1] == code and text in answer[2], (message, answer)


@promise("garbage of any kind leaves the daemon serving others")
def _(directory):
    with running(directory) as daemon:
        honest = daemon.connect()
        dice = random.Random(1)
        whole = framed.frame(["hello", {"version": 1}]) + raw_pub(1, b"\x81\xa1a\x01", b"\x92\x01\x02")
        for round_ in range(300):
            data = bytearray(dice.randbytes(dice.randrange(1, 200)) if round_ % 3 == 0 else whole)
            if round_ % 3 == 1:
                data = data[:dice.randrange(len(data))]  # disconnect at any byte
            if round_ % 3 == 2:
                data[dice.randrange(4, len(data))] ^= 1 << dice.randrange(8)
            with raw(daemon) as plain, contextlib.suppress(OSError):
                plain.sendall(data)
                plain.shutdown(socket.SHUT_WR)
                read_all(plain)
            if round_ % 50 == 0:
                assert publish(honest, round_, [["honest", None, round_]])[2] == 1
        kept = [e["payload"] for e in events_of(daemon) if e["topic"] == "honest"]
        assert kept == list(range(0, 300, 50)), kept
        daemon.check_alive()


@promise("who begins with text that is no JSON gets a line of JSON, who begins with other bytes a frame")
def _(directory):
    reason = "the first byte is neither 0, for a frame, nor '{', for a line of JSON"
    with running(directory) as daemon:
        for text in (b"hello\n", b"?", b"~\n", b" \n", b"\n", b"\t{}\n", b"GET / HTTP/1.1\r\n\r\n"):
            assert say_lines(daemon, text) == [{"ok": False, "error": reason, "line": 1}], text
        for data in (b"\x01", b"\x7f", b"\x80hello", b"\xc3\xa4\n", b"\xff"):
            with raw(daemon) as plain:
                plain.sendall(data)
                answer = read_all(plain)
            assert framed.unpack(answer, 4) == (["error", "malformed", reason], len(answer)), data


# ---- Exactly once ----

@promise("whatever was in flight when the connection broke is stored once after the retry")
def _(directory):
    with running(directory) as daemon:
        dice = random.Random(2)
        number = 0
        for round_ in range(20):
            frames = []
            for i in range(dice.randrange(1, 30)):
                events = [["t", None, number + k, number + k]
                          for k in range(1, dice.randrange(2, 40))]
                number = events[-1][3]
                frames.append(framed.frame(["pub", i, events]))
            connection = daemon.connect("p")
            for data in frames:
                connection.send(data)
            for _i in range(dice.randrange(len(frames) + 1)):
                connection.receive()
            connection.close()
            connection = daemon.connect("p")
            for data in frames:
                connection.send(data)
            for i in range(len(frames)):
                answer = connection.receive()
                assert answer[:2] == ["ack", i] and answer[6] == [], answer
            connection.close()
        kept = [e["payload"] for e in events_of(daemon)]
        assert kept == list(range(1, number + 1)), (len(kept), number)


@promise("a duplicate is acknowledged only together with the first copy's durability, also in order")
def _(directory):
    with running(directory) as daemon:
        connection = daemon.connect("p")
        one = framed.frame(["pub", 1, [["t", None, i, i] for i in range(1, 101)]])
        two = framed.frame(["pub", 2, [["t", None, i, i] for i in range(51, 151)]])
        connection.send(one + two + one)
        assert connection.receive() == ["ack", 1, 100, 1, 100, 0, []]
        assert connection.receive() == ["ack", 2, 50, 101, 150, 50, []]
        assert connection.receive() == ["ack", 1, 0, 0, 0, 100, []]
        connection.send(framed.frame(["status"]))
        status = connection.receive()[1]
        assert status["durable"] == 150 and status["duplicates"] == 150, status


@promise("a newer connection of the same producer fences the older one off")
def _(directory):
    with running(directory) as daemon:
        old = daemon.connect("p")
        publish(old, 1, [["t", None, "old", 1]])
        other = daemon.connect("q")
        new = daemon.connect("p")
        assert new.welcome["last_number"] == 1
        assert last_words(old)[1] == "replaced"
        publish(new, 1, [["t", None, "new", 2]])
        publish(other, 1, [["t", None, "other", 1]])
        try:
            old.send(framed.frame(["pub", 2, [["t", None, "ghost", 3]]]))
        except OSError:
            pass
        assert [e["payload"] for e in events_of(daemon)] == ["old", "new", "other"]


@promise("with acks of none only refusals are answered; pong says how far the daemon is")
def _(directory):
    with running(directory) as daemon:
        connection = framed.Connection(daemon.socket, ack="none")
        connection.send(framed.frame(["pub", 1, [["t", None, 1]]]))
        connection.send(framed.frame(["pub", 2, [["t", None, 2], ["a b", None, 3]]]))
        connection.send(framed.frame(["ping", 5]))
        answer = connection.receive()
        assert answer[:3] == ["ack", 2, 1] and answer[6][0][0] == 1, answer
        assert connection.receive()[:2] == ["pong", 5]
        written = framed.Connection(daemon.socket, ack="written")
        assert publish(written, 1, [["t", None, 3]]) == ["ack", 1, 1, 3, 3, 0, []]


def start_limited(daemon, limit=MIB):
    """For the daemon the disk is full where RLIMIT_FSIZE says so: behind its first segment, 1 MiB."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open(daemon.log_path, "ab") as log:
        # Python ignores SIGXFSZ; the daemon is to inherit that, so that it sees EFBIG instead.
        daemon.process = subprocess.Popen(
            [DAYBOOKD, "-D", daemon.directory], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            restore_signals=False, env=environment(), preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, unlimited[1])))
    await_ready(daemon)
    return unlimited


@promise("a full disk refuses with no_space, and when space returns nothing taken is lost or doubled")
def _(directory):
    daemon = framed.Daemon(os.path.join(directory, "log"))
    unlimited = start_limited(daemon)
    try:
        dice = random.Random(3)
        taken = daemon.connect("taken")
        number = 0
        answer = ["ack"]
        while answer[0] == "ack":
            number += 1
            payload = dice.randbytes(9000)
            taken.send(framed.frame(["pub", number, [["n", None, payload, number]]]))
            answer = taken.receive()
            assert answer[:3] == ["ack", number, 1] or answer[:2] == ["error", "no_space"], answer
        # The last event had been taken before that was known. It was given back, and others are
        # refused at once.
        assert "too large" in answer[2], answer
        plain = daemon.connect()
        answer = publish(plain, 1, [["plain", None, 1], ["plain", None, 2]])
        assert [r[:2] for r in answer[6]] == [[0, "no_space"], [1, "no_space"]], answer
        assert "too large" in answer[6][0][2], answer
        numbered = daemon.connect("p")
        numbered.send(framed.frame(["pub", 1, [["p", None, 0, 1], ["p", None, 0, 2]]]) * 2)
        answer = numbered.receive()
        assert [r[:2] for r in answer[6]] == [[0, "no_space"], [1, "no_space"]], answer
        assert last_words(numbered)[1] == "no_space"
        assert [a["ok"] for a in say_lines(daemon, b'{"topic":"t","payload":1}\n' * 2)] == [False] * 2
        status = status_of(daemon)
        assert status["disk_full"] and "too large" in status["prepare_error"], status
        assert status["durable"] == status["appended"] == number - 1, status

        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, unlimited)
        while publish(plain, 2, [["plain", None, 3]])[2] == 0:
            pass
        taken = daemon.connect("taken")
        assert taken.welcome["last_number"] == number - 1, taken.welcome
        assert publish(taken, 1, [["n", None, payload, number]])[:3] == ["ack", 1, 1]
        numbered = daemon.connect("p")
        assert numbered.welcome["last_number"] == 0, numbered.welcome
        assert publish(numbered, 1, [["p", None, 0, 3]])[2] == 1
        status = status_of(daemon)
        assert not status["disk_full"] and status["prepare_error"] == "", status
        topics = [e["topic"] for e in events_of(daemon)]
        assert topics == ["n"] * (number - 1) + ["plain", "n", "p"], topics[number - 2:]
        assert daemon.stop() == 0
    finally:
        daemon.end()


@promise("on a full disk each event of an unnumbered frame is told stored or refused, as it is")
def _(directory):
    daemon = framed.Daemon(os.path.join(directory, "log"))
    unlimited = start_limited(daemon)
    try:
        dice = random.Random(5)
        # Frames of three blocks each, so that one of them is stored in part.
        frames = [[[f"t{f}.{e}", None, dice.randbytes(9000)] for e in range(80)] for f in range(4)]
        frames[2][7][0] = "not a topic"
        plain, lines = daemon.connect(), socket.socket(socket.AF_UNIX)
        lines.settimeout(20)
        lines.connect(daemon.socket)
        plain.send(b"".join(framed.frame(["pub", f, frames[f]]) for f in range(4)))
        said = set()
        for f in range(4):
            _, frame_id, stored, first, last, duplicates, refused = plain.receive()
            assert (frame_id, duplicates, stored + len(refused)) == (f, 0, 80)
            assert stored == 0 or last - first + 1 == stored
            bad = [r[0] for r in refused]
            assert bad == sorted(set(bad))
            # The wrong one is not looked at any more once one before it could not be stored.
            assert all(r[1] == "no_space" or (f, r[0], r[1]) == (2, 7, "invalid") for r in refused)
            assert f != 2 or 7 in bad
            said |= {frames[f][e][0] for e in range(80) if e not in bad}
        assert 0 < len(said) < 319, len(said)
        lines.sendall(b'{"topic":"line","payload":1}\n')
        assert b"no room" in lines.recv(4096)
        plain.send(framed.frame(["ping", 5]))
        assert plain.receive()[0] == "pong"

        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, unlimited)
        while publish(plain, 9, [["after", None, 3]])[2] == 0:
            pass
        events = events_of(daemon)
        assert {e["topic"] for e in events} == said | {"after"}
        assert len(events) == len(said) + 1
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
        assert daemon.stop() == 0
    finally:
        daemon.end()


def status_of(daemon):
    connection = daemon.connect()
    connection.send(framed.frame(["status"]))
    status = connection.receive()[1]
    connection.close()
    return status


# ---- Lines ----

@promise("lines are answered in order, also after the client has shut down its side")
def _(directory):
    with running(directory) as daemon:
        count = 5000
        text = "".join('{"topic":"t","payload":%d}\n' % i for i in range(count))
        answers = say_lines(daemon, text.encode() + b'{"topic":"t","payload":"no newline"}')
        assert [a["seq"] for a in answers] == list(range(1, count + 2))
        assert [e["payload"] for e in events_of(daemon)] == list(range(count)) + ["no newline"]


@promise("each bad line is named with its number and reason, the others are stored")
def _(directory):
    with running(directory) as daemon:
        lines = [
            ('{"topic":"t","payload":1}', None),
            ('', "blank"),
            ('# comment', "JSON"),
            ('{"topic":"t","payload":', "JSON"),
            ('[1,2]', "object"),
            ('{"topic":"a b","payload":1}', "space"),
            ('{"payload":1}', "topic"),
            ('{"topic":"t"}', "payload"),
            ('{"topic":"t","payload":1,"colour":"red"}', "colour"),
            ('{"topic":"t","topic":"u","payload":1}', "twice"),
            ('{"topic":"t","payload":1,"time":"yesterday"}', "time"),
            ('{"topic":"t","payload":1,"time":true}', "time"),
            ('{"topic":"t","payload":1,"producer":"p"}', "number"),
            ('{"topic":"t","payload":1,"number":1}', "producer"),
            ('{"topic":"t","payload":1,"producer":"p","number":0}', "number"),
            ('{"topic":"t","payload":"%s"}' % ("x" * (2 * MIB)), "longer"),
            ('{"topic":"t","payload":"%s"}' % ("x" * (MIB + 10)), "1048576"),
            ('{"topic":"t","payload":%s1%s}' % ("[" * 33, "]" * 33), "inside each other"),
            ('  ', "blank"),
            ('{"topic":"t","payload":2,"time":1757386981.5,"seq":99}\r', None),
        ]
        answers = say_lines(daemon, "\n".join(line for line, _ in lines).encode() + b"\n")
        expected = [(i + 1, reason) for i, (_, reason) in enumerate(lines) if reason != "blank"]
        assert len(answers) == len(expected), (len(answers), len(expected))
        for answer, (number, reason) in zip(answers, expected):
            if reason is None:
                assert answer["ok"] is True, (number, answer)
            else:
                assert answer["ok"] is False and answer["line"] == number, (number, answer)
                assert reason in answer["error"], (number, reason, answer)
        kept = events_of(daemon)
        assert [e["payload"] for e in kept] == [1, 2]
        assert kept[1]["time"] == "2025-09-09T03:03:01.500000000Z", kept[1]


@promise("lines with producer and number are stored once")
def _(directory):
    with running(directory) as daemon:
        text = b"".join(b'{"topic":"t","payload":%d,"producer":"p","number":%d}\n' % (i, i)
                        for i in range(1, 11))
        assert all(a["seq"] == i + 1 for i, a in enumerate(say_lines(daemon, text)))
        assert say_lines(daemon, text) == [{"ok": True, "duplicate": True}] * 10
        assert len(events_of(daemon)) == 10


@promise("a line cannot number the events of a producer that is connected")
def _(directory):
    with running(directory) as daemon:
        owner = daemon.connect("v2")
        line = b'{"topic":"t","payload":"line","producer":"v2","number":1000}\n'
        free = b'{"topic":"t","payload":"free","producer":"v3","number":1}\n'
        answers = say_lines(daemon, line + free)
        assert [a["ok"] for a in answers] == [False, True], answers
        assert "'v2' is connected (pid %d)" % os.getpid() in answers[0]["error"], answers
        assert publish(owner, 1, [["t", None, "frame", 1]])[2] == 1
        assert [e["payload"] for e in events_of(daemon)] == ["free", "frame"]
        owner.close()
        while not say_lines(daemon, line)[0]["ok"]:
            daemon.check_alive()
        assert daemon.connect("v2").welcome["last_number"] == 1000


@promise("the last number of all is refused: nothing could follow it")
def _(directory):
    with running(directory) as daemon:
        last = 2**64 - 1
        connection = daemon.connect("p")
        answer = publish(connection, 1, [["t", None, 1, 7], ["t", None, 2, last]])
        assert answer[2] == 1 and answer[6][0][:2] == [1, "invalid"], answer
        assert str(last - 1) in answer[6][0][2], answer
        line = b'{"topic":"t","payload":1,"producer":"q","number":%d}\n'
        refused, taken = say_lines(daemon, line % last + line % (last - 1))
        assert not refused["ok"] and str(last - 1) in refused["error"], refused
        assert taken["ok"], taken
        assert daemon.connect("p").welcome["last_number"] == 7
        assert daemon.connect("q").welcome["last_number"] == last - 1


# ---- Many and slow ----

@promise("sixteen producers at once lose nothing and keep each their order")
def _(directory):
    with running(directory, "--pending-memory", "2M") as daemon:
        failures = []

        def produce(name):
            try:
                connection = daemon.connect(name)
                for i in range(60):
                    first = i * 50 + 1
                    connection.send(framed.frame(["pub", i, [[name, None, {"n": n, "pad": "x" * 200}, n]
                                                             for n in range(first, first + 50)]]))
                for i in range(60):
                    answer = connection.receive()
                    assert answer[:3] == ["ack", i, 50] and answer[4] - answer[3] == 49, answer
                connection.close()
            except BaseException as error:  # told below, by the main thread
                failures.append((name, error))

        threads = [threading.Thread(target=produce, args=("producer-%d" % i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        kept = {}
        for event in events_of(daemon):
            kept.setdefault(event["topic"], []).append(event["payload"]["n"])
        assert len(kept) == 16 and all(n == list(range(1, 3001)) for n in kept.values())


@promise("a client that never reads its answers is no longer read from, and hurts nobody")
def _(directory):
    with running(directory) as daemon:
        deaf = daemon.connect()
        deaf.socket.setblocking(False)
        ping = framed.frame(["ping", 1]) * 1000
        honest = daemon.connect()
        sent = 0
        for i in range(300):
            with contextlib.suppress(BlockingIOError):
                while sent < 64 * MIB:
                    sent += deaf.socket.send(ping)
            # By the time of this ack the daemon would have read what was sent before it.
            assert publish(honest, i, [["t", None, i]])[2] == 1
        assert sent < 4 * MIB, "the daemon took %d bytes from a client that reads nothing" % sent


@promise("a client that reads its answers late gets every one of them")
def _(directory):
    with running(directory) as daemon:
        late, honest = daemon.connect(), daemon.connect()
        ping = framed.frame(["ping", 1])
        late.socket.setblocking(False)
        sent = 0
        for i in range(100):
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += late.socket.send((ping * 1000)[sent % len(ping):])
            assert publish(honest, i, [["t", None, i]])[2] == 1
        late.socket.settimeout(30)
        for _i in range(sent // len(ping)):
            assert late.receive()[:2] == ["pong", 1]


@promise("when the log is full of pending events producers wait, and nothing is dropped")
def _(directory):
    with running(directory, "--pending-memory", "2M") as daemon:
        connection = daemon.connect()
        payload = bytes(100_000)
        frames = 400

        def produce():
            for i in range(frames):
                connection.send(framed.frame(["pub", i, [["t", None, payload]] * 5]))

        writer = threading.Thread(target=produce)
        writer.start()
        for i in range(frames):
            answer = connection.receive()
            assert answer[:3] == ["ack", i, 5], answer
        writer.join()
        assert status_of(daemon)["durable"] == 5 * frames


@promise("when the memory for frames is too small for all producers they wait for each other")
def _(directory):
    with running(directory, "--pending-memory", "2M", "--input-memory", "4M") as daemon:
        failures = []

        def produce():
            try:
                connection = daemon.connect()
                for i in range(20):
                    connection.send(framed.frame(["pub", i, [["t", None, bytes(125_000)]] * 2]))
                    assert connection.receive()[:3] == ["ack", i, 2]
                connection.close()
            except BaseException as error:  # told below, by the main thread
                failures.append(error)

        threads = [threading.Thread(target=produce) for _i in range(48)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        assert status_of(daemon)["durable"] == 48 * 20 * 2


@promise("a client beyond the limit is turned away with a reason and may come back")
def _(directory):
    with running(directory, "--max-connections", "2") as daemon:
        one, two = daemon.connect(), daemon.connect()
        with raw(daemon) as plain:
            answer, _end = framed.unpack(read_all(plain), 4)
        assert answer[:2] == ["error", "busy"], answer
        one.close()
        while True:
            try:
                three = framed.Connection(daemon.socket)
                break
            except (AssertionError, ConnectionError):
                daemon.check_alive()
        publish(three, 1, [["t", None, 1]])
        publish(two, 1, [["t", None, 1]])


@promise("one process that takes all connections keeps nobody else out")
def _(directory):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 4096), limit[1]))
    held = []

    def take_all(daemon):
        """Connections with one line each, until there is no place."""
        while True:
            plain = raw(daemon)
            held.append(plain)
            with contextlib.suppress(OSError):
                plain.sendall(b'{"topic":"held","payload":1}\n')
            answer = plain.recv(1 << 16)
            if b'"ok":true' not in answer:
                assert framed.unpack(answer, 4)[0][:2] == ["error", "busy"], answer
                return

    try:
        with running(directory) as daemon:
            take_all(daemon)
            assert len(held) == 1025, len(held)
            for i in range(3):  # the first three that were taken have to go, one by one
                while True:
                    daybook("pub", "-s", daemon.socket, stdin='{"topic":"honest","payload":%d}\n' % i)
                    if select.select([held[i]], [], [], 1)[0]:
                        break
                    # There was a free place: the one before had not left yet when all was taken.
                    take_all(daemon)
                words = json.loads(read_all(held[i]))
                assert not words["ok"] and "idle" in words["error"], words
                take_all(daemon)
            held[3].sendall(b'{"topic":"held","payload":2}\n')
            assert b'"ok":true' in held[3].recv(1 << 16)
            kept = [e["payload"] for e in events_of(daemon) if e["topic"] == "honest"]
            assert sorted(set(kept)) == [0, 1, 2] and kept == sorted(kept), kept
    finally:
        for plain in held:
            plain.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@promise("half frames of many clients cannot use up the daemon's memory, nor keep others out")
def _(directory):
    with running(directory, "--input-memory", "8M") as daemon:
        attackers = []

        def attack(count, frame_bytes, sent_bytes):
            for _i in range(count):
                connection = daemon.connect()
                with contextlib.suppress(OSError):
                    connection.send(struct.pack(">I", frame_bytes) + bytes(sent_bytes))
                attackers.append(connection)

        def be_honest():
            honest = daemon.connect()
            for i in range(10):
                assert publish(honest, i, [["t", None, i]])[2] == 1
                assert publish(honest, i, [["t", None, b"x" * (MIB // 2)]])[2] == 1
            honest.close()

        attack(70, MIB, MIB // 2)
        be_honest()
        attack(40, 200_000, 190_000)
        be_honest()
        with open("/proc/%d/status" % daemon.process.pid, encoding="ascii") as file:
            anonymous = [int(line.split()[1]) for line in file if line.startswith("RssAnon")]
        if "asan" not in DAYBOOKD and "tsan" not in DAYBOOKD:
            assert anonymous[0] < 32 * 1024, "%d KiB" % anonymous[0]


@promise("clients that never read their answers cannot keep others out")
def _(directory):
    with running(directory, "--input-memory", "8M") as daemon:
        request = framed.frame(["status"]) * 20000
        deaf = [daemon.connect() for _i in range(100)]
        for connection in deaf:
            connection.socket.setblocking(False)
        honest = daemon.connect()
        # More and more, as far as the daemon takes it, until some have to go for what they hold.
        deadline = time.monotonic() + 60
        i = 0
        while i < 20 or not re.search("has held some of it for longest|closed by us: busy",
                                      daemon.output()):
            assert time.monotonic() < deadline, "nobody had to go: %s" % daemon.output()[-2000:]
            for connection in deaf:
                with contextlib.suppress(OSError):
                    connection.socket.send(request)
            assert publish(honest, i, [["t", None, b"x" * 100_000]])[2] == 1
            i += 1
        daybook("pub", "-s", daemon.socket, stdin='{"topic":"honest","payload":1}\n')


@promise("who says nothing is shown the door")
def _(directory):
    with running(directory) as daemon:
        with raw(daemon) as silent:
            honest = daemon.connect()  # said hello; may be silent as long as it likes
            answer, _end = framed.unpack(read_all(silent), 4)
            assert answer[:2] == ["error", "timeout"], answer
        assert publish(honest, 1, [["t", None, 1]])[2] == 1


# ---- Starting and stopping ----

@promise("SIGTERM under load: exit status 0, soon, and every acknowledged event is there")
def _(directory):
    for round_ in range(3):
        with running(os.path.join(directory), "--segment-size", "4M") as daemon:
            acked = {}

            def produce(name):
                numbers = acked[name] = []
                try:
                    connection = framed.Connection(daemon.socket, name)
                    number = connection.welcome["last_number"]
                    waiting = []
                    while True:
                        while len(waiting) < 5:
                            events = [[name, None, number + k, number + k] for k in range(1, 101)]
                            number += 100
                            connection.send(framed.frame(["pub", number, events]))
                            waiting.append(number)
                        answer = connection.receive()
                        if answer[0] != "ack":
                            assert answer[1] == "stopping", answer
                            return
                        assert answer[1] == waiting.pop(0) and answer[2] == 100, answer
                        numbers.append(answer[1])
                except OSError:
                    return

            threads = [threading.Thread(target=produce, args=("r%d-p%d" % (round_, i),))
                       for i in range(4)]
            for thread in threads:
                thread.start()
            while not all(len(n) > 20 for n in list(acked.values())) or len(acked) < 4:
                daemon.check_alive()
                time.sleep(0.01)
            begin = time.monotonic()
            status = daemon.stop()
            seconds = time.monotonic() - begin
            for thread in threads:
                thread.join()
            assert status == 0, daemon.output()[-2000:]
            # A second is promised; the test's machine may be busy with other tests.
            assert seconds < 3, seconds
            assert not os.path.exists(daemon.socket)
            kept = {}
            for event in events_of(daemon):
                kept.setdefault(event["topic"], []).append(event["payload"])
            for name, numbers in acked.items():
                assert kept[name] == list(range(1, len(kept[name]) + 1)), name
                assert len(kept[name]) >= numbers[-1], (name, len(kept[name]), numbers[-1])
            shutil.rmtree(daemon.directory)
            os.unlink(daemon.log_path)


@promise("SIGTERM is obeyed as soon while another program holds the index locked")
def _(directory):
    with running(directory) as daemon:
        connection = daemon.connect()
        publish(connection, 1, [["t", None, 1]])
        while status_of(daemon)["index_sequence"] < 1:
            daemon.check_alive()
            time.sleep(0.005)
        index = os.path.join(daemon.directory, "events.db")
        with contextlib.closing(sqlite3.connect(index, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            number = 1
            begin = time.monotonic()
            while time.monotonic() - begin < 0.4:  # so the index has begun on some of them
                number += 1
                publish(connection, number, [["t", None, number]])
            begin = time.monotonic()
            assert daemon.stop() == 0, daemon.output()[-2000:]
            seconds = time.monotonic() - begin
            assert seconds < 3, seconds
            other.execute("ROLLBACK")
        daemon.start()
        await_ready(daemon, times=2)
        while status_of(daemon)["index_sequence"] < number:
            daemon.check_alive()
            time.sleep(0.005)


@promise("a second daemon on the same directory is refused and the first goes on")
def _(directory):
    with running(directory) as daemon:
        connection = daemon.connect()
        second = subprocess.run([DAYBOOKD, "-D", daemon.directory], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=environment(), check=False)
        assert second.returncode == 1 and b"ready" not in second.stderr, second
        assert b"(daybookd, pid %d) writes" % daemon.process.pid in second.stderr, second
        elsewhere = subprocess.run([DAYBOOKD, "-D", os.path.join(directory, "other"), "-s",
                                    daemon.socket], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment(), check=False)
        assert elsewhere.returncode == 1 and b"listening" in elsewhere.stderr, elsewhere
        publish(connection, 1, [["t", None, 1]])
        daemon.connect().close()


@promise("the socket has mode 0660, a killed daemon's is replaced, a file in its place is not")
def _(directory):
    with running(directory) as daemon:
        status = os.stat(daemon.socket)
        assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o660
        assert "pid %d, uid %d" % (os.getpid(), os.getuid()) not in daemon.output()
        daemon.connect().close()
        while "pid %d, uid %d" % (os.getpid(), os.getuid()) not in daemon.output():
            time.sleep(0.005)
        daemon.kill()
        assert os.path.exists(daemon.socket)
        daemon.start()
        await_ready(daemon, times=2)
        publish(daemon.connect(), 1, [["t", None, 1]])
        assert daemon.stop() == 0
    with open(daemon.socket, "w", encoding="ascii") as file:
        file.write("mine")
    refused = subprocess.run([DAYBOOKD, "-D", daemon.directory], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=environment(), check=False)
    assert refused.returncode == 1 and b"no socket" in refused.stderr, refused
    with open(daemon.socket, encoding="ascii") as file:
        assert file.read() == "mine"


@promise("where no socket can be, the path and the reason are told, and no new log is left behind")
def _(directory):
    log, file = os.path.join(directory, "log"), os.path.join(directory, "file")
    with open(file, "w", encoding="ascii"):
        pass
    closed = os.path.join(directory, "closed")
    os.mkdir(closed, 0o500)
    wrong = {os.path.join(directory, "none", "x.sock"): "No such file or directory",
             os.path.join(file, "x.sock"): "Not a directory",
             file: "is no socket",
             os.path.join(directory, "x" * 100): "choose a shorter one"}
    if os.geteuid() != 0:
        wrong[os.path.join(closed, "x.sock")] = "Permission denied"
    for path, reason in wrong.items():
        for there in (False, True):
            if there:
                os.mkdir(log)
            refused = subprocess.run([DAYBOOKD, "-D", log, "-s", path], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True, env=environment(),
                                     timeout=60, check=False)
            last = refused.stderr.splitlines()[-1]
            assert refused.returncode == 1 and f"'{path}'" in last and reason in last, refused
            assert os.path.exists(log) == there, (path, refused)
            if there:
                assert os.listdir(log) == [], os.listdir(log)
                os.rmdir(log)
    assert sorted(os.listdir(directory)) == ["closed", "file"], os.listdir(directory)


@promise("settings come from flags, file and environment, and mistakes name their place")
def _(directory):
    path = os.path.join(directory, "daybookd.conf")

    def complain(text, *flags, env=None):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run([DAYBOOKD, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment(env), check=False, cwd=directory)
        assert done.returncode == 2, (text, flags, done)
        return done.stderr.decode()

    assert "daybookd.conf:3: segment-size: " in complain("# x\n\nsegment-size = lots\n", "-c", path)
    assert "daybookd.conf:1: " in complain("colour = red\n", "-c", path)
    assert "daybookd.conf:2: " in complain("dir = x\nsegment-age\n", "-c", path)
    assert "--commit-align: '7'" in complain("", "--commit-align", "7")
    assert "--write-path" in complain("", "--write-path", "magic")
    assert "--colour" in complain("", "--colour")
    assert "needs a value" in complain("", "-D")
    assert "no operands" in complain("", "x")
    assert "missing.conf" in complain("", "-c", os.path.join(directory, "missing.conf"))
    long = subprocess.run([DAYBOOKD, "-D", directory, "-s", "/" + "x" * 120], stderr=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=environment(), check=False)
    assert long.returncode == 1 and b"121 bytes" in long.stderr, long

    # The flag wins over the file, the file over the environment.
    with open(path, "w", encoding="utf-8") as file:
        file.write("dir = %s/from-file\n socket=%s/file.sock \nverbose = yes\n" % ((directory,) * 2))
    daemon = framed.Daemon(os.path.join(directory, "from-file"), "-c", path)
    daemon.socket = os.path.join(directory, "flag.sock")
    with open(daemon.log_path, "ab") as log:
        daemon.process = subprocess.Popen(
            [DAYBOOKD, "-c", path, "-s", daemon.socket], stdout=log, stderr=log,
            env=environment({"DAYBOOK_DIR": directory + "/from-environment"}))
    try:
        await_ready(daemon)
        publish(daemon.connect(), 1, [["t", None, 1]])
        assert os.path.isdir(daemon.directory) and daemon.stop() == 0
        assert not os.path.exists(directory + "/from-environment")
        assert not os.path.exists(directory + "/file.sock")
    finally:
        daemon.end()
    version = subprocess.run([DAYBOOKD, "--version"], stdout=subprocess.PIPE, check=True).stdout
    assert version.startswith(b"daybookd "), version
    text = subprocess.run([DAYBOOKD, "--help"], stdout=subprocess.PIPE, check=True).stdout
    assert b"--segment-size" in text and b"--max-connections" in text


@promise("a log that ends before its index is damaged: exit status 4, and nothing is changed")
def _(directory):
    with running(directory) as daemon:
        publish(daemon.connect(), 1, [["t", None, 1]])
        assert daemon.stop() == 0
        old = os.path.join(directory, "old")
        shutil.copytree(os.path.join(daemon.directory, "segments"), old)
        daemon.start()
        await_ready(daemon, times=2)
        publish(daemon.connect(), 1, [["t", None, i] for i in range(10)])
        while status_of(daemon)["index_sequence"] < 11:
            time.sleep(0.01)
        assert daemon.stop() == 0
        shutil.rmtree(os.path.join(daemon.directory, "segments"))
        shutil.copytree(old, os.path.join(daemon.directory, "segments"))
        daemon.start()
        assert daemon.process.wait() == 4, daemon.output()[-2000:]


@promise("an index that cannot be written hurts nobody but itself")
def _(directory):
    log = os.path.join(directory, "log")
    os.makedirs(os.path.join(log, "events.db"), mode=0o750)
    os.chmod(log, 0o750)
    with running(directory) as daemon:
        connection = daemon.connect()
        for i in range(20):
            assert publish(connection, i, [["t", None, i]])[2] == 1
        while not status_of(daemon)["index_error"]:
            daemon.check_alive()
            time.sleep(0.01)
        assert len(events_of(daemon)) == 20
        assert daemon.stop() == 0


if __name__ == "__main__":
    main()
