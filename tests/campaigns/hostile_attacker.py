"""What the attacks of hostile.py are made of: an attacker, its connections, and what it must meet.

An attack is a function that gets an Attacker and does its harm again and again while
attacker.going(). What must come of it is asserted there: the answer, the end of the connection, and
how soon. An event that must not be stored has a topic with "bad" in it; hostile.py looks for those
in the log. Topics that begin with "attack.ok" may be there.

No test of its own; standard library only.
"""

import contextlib
import os
import random
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import framed  # noqa: E402  pylint: disable=wrong-import-position

FRAME_MAX = (1 << 20) + 4096
LINE_MAX = 2 << 20
PAYLOAD_MAX = 1 << 20
HELLO_SECONDS = 2
UNIT_SECONDS = 10
UNREAD_SECONDS = 10
TICK_SECONDS = 1  # how often the daemon looks at its deadlines
# Of a busy machine; a sanitizer's daemon is ten times as slow.
SLACK_SECONDS = 60 if any(word in framed.BUILD for word in ("asan", "tsan")) else 4
OTHER_USER = 65534
HELLO = framed.frame(["hello", {"version": 1}])

attacks = []  # (name, function, options)


def attack(name, **options):
    """Options: slow: it ends when the daemon ends it. memory: it uses up what the daemon has for
    frames. strict=False: what it costs is not the daemon's fault, but the disk's. user: who does it.
    many: so many connections have to be allowed."""
    def remember(function):
        attacks.append((name, function, options))
        return function
    return remember


class Attacker:
    """What an attack works with: the daemon's address, a clock, dice that a seed fixes."""

    def __init__(self, path, pid, seed, seconds):
        self.path = path
        self.pid = pid
        self.dice = random.Random(seed)
        self.end = time.monotonic() + seconds
        self.cases = 0

    def going(self):
        """Once more? Counts the cases; the first always happens."""
        more = self.cases == 0 or time.monotonic() < self.end
        self.cases += more
        return more

    def connect(self):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(60)
        while True:
            try:
                plain.connect(self.path)
                return plain
            except BlockingIOError:
                time.sleep(0.001)  # its queue of clients is full

    def hello(self, producer=None, **more):
        """A connection that has been welcomed; the caller closes it."""
        plain = self.connect()
        words = {"version": 1, **more}
        if producer:
            words["producer"] = producer
        plain.sendall(framed.frame(["hello", words]))
        answer = read_frame(plain)
        assert answer[0] == "welcome", answer
        return plain


# ---- What is expected ----

def read_exactly(plain, count):
    data = b""
    while len(data) < count:
        more = plain.recv(count - len(data))
        if not more:
            raise ConnectionResetError("closed after %d of %d bytes" % (len(data), count))
        data += more
    return data


def read_frame(plain):
    size = struct.unpack(">I", read_exactly(plain, 4))[0]
    return framed.unpack(read_exactly(plain, size))[0]


def read_to_end(plain, seconds=60):
    """Everything up to the end of the connection, which must come within so many seconds."""
    data = b""
    limit = time.monotonic() + seconds
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while True:
            left = limit - time.monotonic()
            assert left > 0 and select.select([plain], [], [], left)[0], (
                "not closed within %d s" % seconds)
            more = plain.recv(1 << 16)
            if not more:
                break
            data += more
    return data


def frames_of(data):
    frames = []
    while len(data) >= 4:
        size = struct.unpack_from(">I", data)[0]
        frames.append(framed.unpack(data[4:4 + size])[0])
        data = data[4 + size:]
    return frames


def send_all(plain, data):
    """The daemon may close while we still send."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        plain.sendall(data)


def expect_error(plain, *codes, seconds=60):
    """The daemon's last frame is an error with one of these codes; then it closes."""
    frames = frames_of(read_to_end(plain, seconds))
    assert frames and frames[-1][0] == "error" and frames[-1][1] in codes, (codes, frames[-1:])
    plain.close()


def expect_refused(plain, count=1):
    """An ack of events that were all refused."""
    answer = read_frame(plain)
    assert answer[0] == "ack" and answer[2] == 0 and len(answer[6]) == count, answer
    assert all(refusal[1] == "invalid" for refusal in answer[6]), answer


def malformed(attacker, data, *codes, producer=None):
    plain = attacker.hello(producer)
    send_all(plain, data)
    expect_error(plain, *(codes or ("malformed",)))


def length(count):
    return struct.pack(">I", count)


def raw_pub(*payloads, topic=b"\xaaattack.bad", count=None, behind=b""):
    """A pub whose payloads are bytes, right or wrong; `count` is what its array claims."""
    events = b"".join(b"\x93" + topic + b"\xc0" + payload + behind for payload in payloads)
    body = b"\x93\xa3pub\x01\xdd" + length(len(payloads) if count is None else count) + events
    return length(len(body)) + body


def bad_pub(*payloads, **more):
    return raw_pub(b"\x01", *payloads, **more)
