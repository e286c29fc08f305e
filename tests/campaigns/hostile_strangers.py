"""Attacks of hostile.py with lines of JSON, with the socket itself, in crowds, and by chance.

No test of its own; standard library only.
"""

import array
import contextlib
import json
import os
import select
import socket
import tempfile
import time

from hostile_attacker import (
    HELLO, OTHER_USER, attack, expect_error, framed, frames_of, raw_pub, read_frame, read_to_end,
    send_all)


# ---- Lines ----

def say_lines(attacker, data):
    """Send the lines, read to the end; returns the answers."""
    with attacker.connect() as plain:
        plain.setblocking(False)
        answers, rest = b"", memoryview(data)
        while True:
            readable, writable, _ = select.select([plain], [plain] if rest else [], [], 60)
            assert readable or writable, "the daemon neither reads nor writes"
            if writable:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[plain.send(rest):]
                if not rest:
                    plain.shutdown(socket.SHUT_WR)
            if readable:
                more = plain.recv(1 << 16)
                if not more:
                    return [json.loads(line) for line in answers.splitlines()]
                answers += more


def refused_lines(attacker, lines):
    answers = say_lines(attacker, b"".join(line + b"\n" for line in lines))
    assert len(answers) == len(lines), (len(answers), len(lines), answers[-1:])
    assert not any(answer["ok"] for answer in answers), [a for a in answers if a["ok"]][:1]


BAD_LINE = b'{"topic":"attack.bad","payload":%s}'


@attack("lines of garbage")
def _(attacker):
    while attacker.going():
        garbage = [b"{" + attacker.dice.randbytes(50).replace(b"\n", b"") for _i in range(20)]
        refused_lines(attacker, garbage)


@attack("lines that are nearly right")
def _(attacker):
    lines = [BAD_LINE % b"1" + b"}", b'{"topic":"attack.bad"}', b'{"payload":1}', b"{}", b'{"',
             b'{"topic":"attack.bad","payload":1,"x":1}', b'{"topic":1,"payload":1}',
             b'{"topic":"attack.bad","topic":"attack.bad","payload":1}', BAD_LINE % b"",
             b'{"topic":"attack.bad","payload":1,"number":1}', BAD_LINE % b"nul\0",
             b'{"topic":"attack.bad","payload":1,"producer":"p","number":-1}',
             b'{"topic":"attack.bad","payload":1,"time":"soon"}', BAD_LINE % b"'1'",
             BAD_LINE % b'"\xff\xfe"', BAD_LINE % b'"\\ud800"', BAD_LINE % b"01"]
    while attacker.going():
        refused_lines(attacker, lines)


@attack("deep JSON")
def _(attacker):
    lines = [BAD_LINE % (b"[" * n + b"1" + b"]" * n) for n in (33, 1000, 100000)]
    lines.append(b'{"topic":"attack.bad","payload":' + b'{"a":' * 200000)
    while attacker.going():
        refused_lines(attacker, lines)


@attack("numbers as long as a line")
def _(attacker):
    lines = [BAD_LINE % (b"9" * 1000000), BAD_LINE % (b"1" + b"0" * 400),
             BAD_LINE % b"18446744073709551616", BAD_LINE % b"1e999"]
    while attacker.going():
        answers = say_lines(attacker, b"".join(line.replace(b"bad", b"ok.number") + b"\n"
                                               for line in lines))
        assert len(answers) == len(lines), answers
        time.sleep(0.02)


@attack("a line of 3 MiB, and one without an end")
def _(attacker):
    while attacker.going():
        refused_lines(attacker, [BAD_LINE % (b'"' + b"x" * (3 << 20) + b'"')])
        answers = say_lines(attacker, BAD_LINE % (b'"' + b"x" * (5 << 20)))
        assert len(answers) == 1 and not answers[0]["ok"], answers


@attack("a byte order mark, CR, NUL, spaces first")
def _(attacker):
    while attacker.going():
        for first in (b"\xef\xbb\xbf", b"\r", b" ", b"[", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"):
            plain = attacker.connect()
            send_all(plain, first + BAD_LINE % b"1" + b"\n")
            if first.isascii() and (first[:1].isspace() or chr(first[0]).isprintable()):
                answer = json.loads(read_to_end(plain))  # text is answered by text
                assert not answer["ok"] and "the first byte" in answer["error"], answer
                plain.close()
            else:
                expect_error(plain, "malformed")
        refused_lines(attacker, [b"{\0}", b"{\r}", BAD_LINE % b"1\r2", BAD_LINE % b'"\0"'])


@attack("two-byte lines whose answers nobody reads")
def _(attacker):
    while attacker.going():
        with attacker.connect() as plain:
            plain.settimeout(0.05)
            with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                plain.sendall(b"{\n" * 200000)


@attack("blank lines without end")
def _(attacker):
    with attacker.connect() as plain:
        plain.sendall(b"{\n")
        while attacker.going():
            plain.sendall(b"\n" * 200000)


@attack("numbered lines under a name that is connected")
def _(attacker):
    line = b'{"topic":"attack.bad","payload":1,"producer":"honest","number":9}\n'
    while attacker.going():
        answers = say_lines(attacker, line * 500)
        assert len(answers) == 500 and all("connected" in a["error"] for a in answers)


# ---- The socket itself ----

@attack("passes open files")
def _(attacker):
    with tempfile.TemporaryFile(prefix="daybook-passed.") as file:
        fds = array.array("i", [file.fileno()] * 50)
        with attacker.hello() as plain:
            while attacker.going():
                plain.sendmsg([framed.frame(["ping", 1])],
                              [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                assert read_frame(plain)[0] == "pong"
            links = [os.readlink("/proc/%d/fd/%s" % (attacker.pid, name))
                     for name in os.listdir("/proc/%d/fd" % attacker.pid)
                     if os.path.lexists("/proc/%d/fd/%s" % (attacker.pid, name))]
            assert not any("daybook-passed" in link for link in links), links


@attack("out-of-band bytes")
def _(attacker):
    while attacker.going():
        with attacker.connect() as plain:
            with contextlib.suppress(OSError):
                plain.send(b"\0", socket.MSG_OOB)
            send_all(plain, HELLO[1:])
            plain.shutdown(socket.SHUT_WR)
            read_to_end(plain)


@attack("shuts down one side in the middle of everything")
def _(attacker):
    event = framed.frame(["pub", 1, [["attack.ok.half", None, 1]]])
    while attacker.going():
        for side in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            with attacker.hello() as plain:
                send_all(plain, event + event[:attacker.dice.randrange(len(event))])
                plain.shutdown(side)
                send_all(plain, event)
                if side == socket.SHUT_WR:
                    assert [f[0] for f in frames_of(read_to_end(plain))] == ["ack"]


@attack("goes at every byte of a conversation without an event")
def _(attacker):
    go_at_every_byte(attacker, HELLO + framed.frame(["ping", 1]) + framed.frame(["status"]))


# Not strict: its events are as good as anybody's, and each is one more sync to wait for.
@attack("goes at every byte of a good conversation", strict=False)
def _(attacker):
    go_at_every_byte(
        attacker, HELLO + framed.frame(["pub", 1, [["attack.ok.cut", None, {"a": [1, 2]}]]]) +
        framed.frame(["ping", 1]) + framed.frame(["status"]))


def go_at_every_byte(attacker, whole):
    at = 0
    while attacker.going():
        with attacker.connect() as plain:
            send_all(plain, whole[:at])
        at = (at + 1) % (len(whole) + 1)


@attack("connects and goes as fast as it can, 64 at a time")
def _(attacker):
    while attacker.going():
        plains = [attacker.connect() for _i in range(64)]
        for plain in plains:
            plain.close()


@attack("takes all places for clients")
def _(attacker):
    crowd(attacker, 1100)


@attack("10,000 clients", many=10000)
def _(attacker):
    crowd(attacker, 10000)


def crowd(attacker, count):
    """So many connections at a time, some with a hello, some with a line, some with nothing."""
    plains = []
    line = b'{"topic":"attack bad","payload":1}\n'
    try:
        for i in range(count):
            plain = attacker.connect()
            plains.append(plain)
            plain.setblocking(False)
            with contextlib.suppress(OSError):
                plain.send((HELLO, line, b"")[i % 3])
        while attacker.going():
            for plain in attacker.dice.sample(plains, 200):
                with contextlib.suppress(OSError):
                    plain.recv(1 << 16)
                    plain.send(line)
            # Whoever was shown the door knocks again.
            at = attacker.dice.randrange(len(plains))
            plains[at].close()
            plains[at] = attacker.connect()
            plains[at].setblocking(False)
    finally:
        for plain in plains:
            plain.close()


@attack("half frames of 60 clients, finished just in time", memory=True)
def _(attacker):
    """Each holds a megabyte for half a second: nobody for so long that it must go."""
    frame = framed.frame(["pub", 1, [["attack bad", None, "x" * 1000000]]])
    plains = [attacker.hello() for _i in range(60)]
    for plain in plains:
        plain.setblocking(False)
    sent = [0] * len(plains)
    since = [0.0] * len(plains)
    while attacker.going():
        for i, plain in enumerate(plains):
            hold = sent[i] > 900000 and time.monotonic() < since[i] + 0.5
            with contextlib.suppress(OSError):
                if not hold:
                    since[i] = since[i] if sent[i] else time.monotonic()
                    end = len(frame) if sent[i] > 900000 else 900001
                    sent[i] += plain.send(frame[sent[i]:end])
                    sent[i] %= len(frame)
                plain.recv(1 << 16)
    for plain in plains:
        plain.close()


@attack("comes as another user", user=OTHER_USER)
def _(attacker):
    """The socket is not for others; where somebody has opened it to them, a name stays its user's."""
    while attacker.going():
        with attacker.connect() as plain:
            plain.sendall(framed.frame(["hello", {"version": 1, "producer": "honest"}]))
            expect_error(plain, "taken")
        with attacker.hello() as plain:
            plain.sendall(raw_pub(b"\x01", b"\xa1\xff", topic=b"\xaeattack.ok.user"))
            assert read_frame(plain)[2] == 1


# ---- Chance ----

@attack("good frames with a few bits changed")
def _(attacker):
    """What is still right after the change is stored under the topic that the change left."""
    good = framed.frame(["pub", 1, [["attack.ok.flips", None, {"a": [1, 2.5, None, "text"]}, 1]]])
    hello = framed.frame(["hello", {"version": 1, "producer": "bits", "ack": "none"}])
    while attacker.going():
        data = bytearray(hello + good + good)
        first = 0 if attacker.dice.random() < 0.2 else len(hello)
        for _i in range(attacker.dice.randrange(1, 4)):
            at = attacker.dice.randrange(first, len(data))
            data[at] ^= 1 << attacker.dice.randrange(8)
        with attacker.connect() as plain:
            send_all(plain, bytes(data))
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_WR)
            read_to_end(plain)


@attack("chance bytes")
def _(attacker):
    while attacker.going():
        first = attacker.dice.choice((b"\0", b"{", b"", b"\0\0\0\x10"))
        with attacker.connect() as plain:
            send_all(plain, first + attacker.dice.randbytes(attacker.dice.randrange(1, 300)))
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_WR)
            read_to_end(plain)
