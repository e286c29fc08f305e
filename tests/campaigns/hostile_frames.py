"""Attacks of hostile.py on the framed protocol: silence, lengths, msgpack, the conversation.

No test of its own; standard library only.
"""

import contextlib
import select
import socket
import struct
import time

from hostile_attacker import (
    FRAME_MAX, HELLO, HELLO_SECONDS, PAYLOAD_MAX, SLACK_SECONDS, TICK_SECONDS, UNIT_SECONDS,
    UNREAD_SECONDS, attack, bad_pub, expect_error, expect_refused, framed, length, malformed,
    raw_pub, read_frame, read_to_end, send_all)


# ---- Silence and slowness ----

@attack("connects, says nothing, goes")
def _(attacker):
    while attacker.going():
        with attacker.connect():
            pass


@attack("shuts down its side without a word")
def _(attacker):
    while attacker.going():
        with attacker.connect() as plain:
            plain.shutdown(socket.SHUT_WR)
            assert read_to_end(plain) == b""


@attack("connects and says nothing", slow=True)
def _(attacker):
    attacker.going()
    expect_error(attacker.connect(), "timeout",
                 seconds=HELLO_SECONDS + TICK_SECONDS + SLACK_SECONDS)


def trickle(plain, data, seconds):
    """Bytes of `data`, one each half second, until the daemon has had enough."""
    end = time.monotonic() + seconds
    for byte in data:
        if select.select([plain], [], [], 0.5)[0]:
            break
        assert time.monotonic() < end, "not closed within %d s" % seconds
        send_all(plain, bytes([byte]))
    return max(1, end - time.monotonic())


@attack("a hello at two bytes a second", slow=True)
def _(attacker):
    attacker.going()
    plain = attacker.connect()
    left = trickle(plain, HELLO, HELLO_SECONDS + TICK_SECONDS + SLACK_SECONDS)
    expect_error(plain, "timeout", seconds=left)


@attack("a frame at two bytes a second", slow=True)
def _(attacker):
    attacker.going()
    plain = attacker.hello()
    left = trickle(plain, length(1000) + bytes(1000), UNIT_SECONDS + TICK_SECONDS + SLACK_SECONDS)
    expect_error(plain, "timeout", seconds=left)


@attack("a line at two bytes a second", slow=True)
def _(attacker):
    attacker.going()
    plain = attacker.connect()
    left = trickle(plain, b'{"topic":"attack.bad","payload":' + b"1" * 100,
                   UNIT_SECONDS + TICK_SECONDS + SLACK_SECONDS)
    assert b"still not whole" in read_to_end(plain, left)


@attack("half a frame, then silence", slow=True)
def _(attacker):
    attacker.going()
    plain = attacker.hello()
    plain.sendall(length(FRAME_MAX) + bytes(FRAME_MAX // 2))
    expect_error(plain, "timeout", seconds=UNIT_SECONDS + TICK_SECONDS + SLACK_SECONDS)


@attack("one byte of a frame's length, then silence", slow=True)
def _(attacker):
    attacker.going()
    plain = attacker.hello()
    plain.sendall(b"\0")
    expect_error(plain, "timeout", seconds=UNIT_SECONDS + TICK_SECONDS + SLACK_SECONDS)


@attack("'{', then silence", slow=True)
def _(attacker):
    attacker.going()
    plain = attacker.connect()
    plain.sendall(b"{")
    assert b"still not whole" in read_to_end(plain, UNIT_SECONDS + TICK_SECONDS + SLACK_SECONDS)


def never_read(attacker, request):
    """Send until nothing is taken any more; then it must be cut off, within the deadline."""
    attacker.going()
    plain = attacker.hello()
    plain.setblocking(False)
    limit = time.monotonic() + UNREAD_SECONDS + TICK_SECONDS + SLACK_SECONDS
    poll = select.poll()
    poll.register(plain, select.POLLHUP)
    while not poll.poll(50):
        assert time.monotonic() < limit, "not cut off within %d s" % UNREAD_SECONDS
        with contextlib.suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
            while time.monotonic() < limit:
                plain.send(request)
    plain.close()


@attack("asks and asks, never reads an answer", slow=True)
def _(attacker):
    never_read(attacker, framed.frame(["status"]) * 500)


@attack("publishes, never reads an ack", slow=True)
def _(attacker):
    never_read(attacker, framed.frame(["pub", 1, [["attack.ok.unread", None, 1]]]) * 200)


@attack("reads a large answer byte by byte")
def _(attacker):
    while attacker.going():
        with attacker.hello() as plain:
            plain.sendall(framed.frame(["pub", 1, [["attack bad", None, 0]] * 4096]) * 3)
            for _i in range(50):
                assert len(plain.recv(1)) == 1
                time.sleep(0.0005)


# ---- Lengths ----

@attack("a length of 4 GiB as the first bytes")
def _(attacker):
    while attacker.going():
        plain = attacker.connect()
        plain.sendall(b"\xff\xff\xff\xff")
        expect_error(plain, "malformed")


@attack("a length of 4 GiB behind the hello")
def _(attacker):
    while attacker.going():
        malformed(attacker, b"\xff\xff\xff\xff" + bytes(1000), "too_large")


@attack("a frame of one byte more than the cap")
def _(attacker):
    while attacker.going():
        malformed(attacker, length(FRAME_MAX + 1) + bytes(FRAME_MAX + 1), "too_large")


@attack("a hello longer than a hello may be")
def _(attacker):
    while attacker.going():
        plain = attacker.connect()
        send_all(plain, length(4097) + bytes(4097))
        expect_error(plain, "too_large")


@attack("a frame of exactly the cap that is no msgpack")
def _(attacker):
    while attacker.going():
        malformed(attacker, length(FRAME_MAX) + b"\xc1" * FRAME_MAX)


@attack("a frame of exactly the cap that is right", strict=False)
def _(attacker):
    payload = b"\xc6" + length(PAYLOAD_MAX - 5) + attacker.dice.randbytes(PAYLOAD_MAX - 5)
    body = b"\x93\xa3pub\x01\x92\x93\xadattack.ok.max\xc0" + payload
    rest = FRAME_MAX - len(body) - len(b"\x93\xaeattack.ok.rest\xc0\xc5..")
    body += b"\x93\xaeattack.ok.rest\xc0\xc5" + struct.pack(">H", rest) + bytes(rest)
    assert len(body) == FRAME_MAX, len(body)
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(length(len(body)) + body)
            assert read_frame(plain)[2] == 2
            time.sleep(0.1)


@attack("an event of 2 MiB")
def _(attacker):
    event = raw_pub(b"\xc6" + length(2 << 20) + bytes(2 << 20))
    while attacker.going():
        malformed(attacker, event, "too_large")


@attack("a payload of one byte more than the cap")
def _(attacker):
    event = raw_pub(b"\xc6" + length(PAYLOAD_MAX - 4) + bytes(PAYLOAD_MAX - 4))
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(event)
            expect_refused(plain)


@attack("an empty frame, frames that are no array")
def _(attacker):
    values = [length(0), framed.frame([]), framed.frame({}), framed.frame(7), framed.frame(None),
              framed.frame("hello"), framed.frame([1]), framed.frame([None, "pub"])]
    while attacker.going():
        malformed(attacker, attacker.dice.choice(values))


# ---- msgpack ----

@attack("100,000 arrays inside each other")
def _(attacker):
    event = raw_pub(b"\x91" * 100000 + b"\xc0")
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(event)
            expect_refused(plain)


@attack("maps as keys of maps, 33 deep")
def _(attacker):
    event = raw_pub(b"\x81" * 33 + b"\xc0" * 34)
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(event)
            expect_refused(plain)


@attack("dd ff 00 00 00: an array of four billion")
def _(attacker):
    while attacker.going():
        malformed(attacker, bad_pub(b"\xdd\xff\x00\x00\x00"))


@attack("array16 inside array16, each of 65,535")
def _(attacker):
    while attacker.going():
        malformed(attacker, bad_pub(b"\xdc\xff\xff" * attacker.dice.choice((1, 100, 100000))))


@attack("a map with an odd number of values, and one of two billion")
def _(attacker):
    while attacker.going():
        malformed(attacker, bad_pub(b"\x82\x01\x02\x03"))
        malformed(attacker, bad_pub(b"\xdf\x7f\xff\xff\xff"))


@attack("an events array that claims more than it holds")
def _(attacker):
    while attacker.going():
        malformed(attacker, bad_pub(b"\x02", count=attacker.dice.choice((3, 4096, 4097, 2**32 - 1))))


@attack("a string, binary or extension longer than its frame")
def _(attacker):
    heads = (b"\xdb\x00\x10\x00\x00", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01",
             b"\xda\xff\xff", b"\xd9\xff", b"\xc7\xff\x01", b"\xd8\x01", b"\xbf")
    while attacker.going():
        malformed(attacker, bad_pub(attacker.dice.choice(heads) + b"abc"))


@attack("the byte that is no msgpack")
def _(attacker):
    while attacker.going():
        malformed(attacker, bad_pub(b"\xc1"))


@attack("extensions of every type", strict=False)
def _(attacker):
    topic = b"\xadattack.ok.ext"
    with attacker.hello() as plain:
        while attacker.going():
            kind = attacker.dice.randrange(256)
            plain.sendall(raw_pub(b"\xc7\x03" + bytes([kind]) + b"\xff\x00\xc1", topic=topic))
            assert read_frame(plain)[2] == 1
            time.sleep(0.01)


@attack("strings that are no UTF-8")
def _(attacker):
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(raw_pub(b"\xa2\xff\xfe", b"\x81\xa2\xc0\x80\x01", b"\xa3\xed\xa0\x80"))
            expect_refused(plain, 3)


@attack("a megabyte of tiny values, wrong at its very end")
def _(attacker):
    """The dearest frame to look at: as many values as bytes, and all of it for nothing."""
    values = PAYLOAD_MAX - 16
    event = raw_pub(b"\xdd" + length(values) + b"\xc0" * (values - 1) + b"\xa1\xff")
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(event)
            expect_refused(plain)


@attack("eight clients with a megabyte of tiny values each")
def _(attacker):
    values = PAYLOAD_MAX - 16
    event = raw_pub(b"\xdd" + length(values) + b"\xc0" * (values - 1) + b"\xa1\xff")
    plains = [attacker.hello() for _i in range(8)]
    while attacker.going():
        for plain in plains:
            plain.sendall(event)
        for plain in plains:
            expect_refused(plain)


# ---- The conversation ----

def instead_of_hello(attacker, message, *codes):
    plain = attacker.connect()
    plain.sendall(framed.frame(message))
    expect_error(plain, *codes)


@attack("a hello of another version")
def _(attacker):
    while attacker.going():
        instead_of_hello(attacker, ["hello", {"version": attacker.dice.choice((0, 2, 2**64 - 1))}],
                         "version")


@attack("hellos that break a rule")
def _(attacker):
    words = [{}, {"version": "1"}, {"version": -1}, {"version": 1, "ack": "soon"},
             {"version": 1, "ack": 1}, {"version": 1, "client": 7}, 1, None, [], {1: 2}]
    while attacker.going():
        instead_of_hello(attacker, ["hello", attacker.dice.choice(words)], "invalid")
        instead_of_hello(attacker, ["hello"], "invalid")


@attack("names that no producer may have")
def _(attacker):
    names = ["", "a b", "x" * 65, "nul\0", "ü", "a\n", 7, None, b"raw", ["p"]]
    while attacker.going():
        name = attacker.dice.choice(names)
        instead_of_hello(attacker, ["hello", {"version": 1, "producer": name}], "invalid")


@attack("publishes before the hello")
def _(attacker):
    while attacker.going():
        instead_of_hello(attacker, ["pub", 1, [["attack.bad", None, 1]]], "expected_hello")
        instead_of_hello(attacker, ["status"], "expected_hello")


@attack("a second hello")
def _(attacker):
    while attacker.going():
        malformed(attacker, HELLO)


@attack("unknown verbs")
def _(attacker):
    verbs = ["subscription", "", "PUB", "welcome", "ack", "error", "x" * 100000, "pub\0"]
    while attacker.going():
        malformed(attacker, framed.frame([attacker.dice.choice(verbs), 1]), "unsupported")


@attack("known verbs with wrong arguments")
def _(attacker):
    bad = ["attack.bad", None, 1]
    frames = [["pub"], ["pub", 1], ["pub", -1, [bad]], ["pub", "1", [bad]], ["pub", 1, [bad], 1],
              ["pub", 1, {}], ["pub", 1, [bad, ["attack.bad", None]]], ["pub", 1, [bad, [1, 1, 1]]],
              ["pub", 1, [bad, ["attack.bad", 1.5, 1]]], ["pub", 1, [bad, bad + [1]]],
              ["pub", 1, [bad, None]], ["pub", 1, [bad] * 4097], ["ping"], ["ping", "x"],
              ["ping", -1], ["ping", 1, 2]]
    while attacker.going():
        malformed(attacker, framed.frame(attacker.dice.choice(frames)))


@attack("bytes behind a frame's value")
def _(attacker):
    body = framed.pack(["pub", 1, [["attack.bad", None, 1]]]) + b"\xc0"
    while attacker.going():
        malformed(attacker, length(len(body)) + body)


@attack("numbers that do not increase")
def _(attacker):
    def events(*numbers):
        return framed.frame(["pub", 1, [["attack.bad", None, 1, n] for n in numbers]])
    cases = [events(5, 5), events(5, 4), events(0), events(-1), events(1, 2, 3, 2), framed.frame(["pub", 1, [["attack.bad", None, 1, 1.0]]]),
             framed.frame(["pub", 1, [["attack.bad", None, 1, 1], ["attack.bad", None, 1]]])]
    while attacker.going():
        malformed(attacker, attacker.dice.choice(cases), producer="descending")


@attack("the same numbers again and again", strict=False)
def _(attacker):
    with attacker.hello("again") as plain:
        event = framed.frame(["pub", 1, [["attack.ok.once", None, 1, 1]]])
        plain.sendall(event)
        read_frame(plain)
        while attacker.going():
            plain.sendall(event * 100)
            for _i in range(100):
                assert read_frame(plain)[2:6] == [0, 0, 0, 1]


@attack("two clients fight for one name")
def _(attacker):
    old = attacker.hello("fought-over")
    while attacker.going():
        new = attacker.hello("fought-over")
        expect_error(old, "replaced")
        old = new


@attack("topics that break a rule, 4,096 in a frame")
def _(attacker):
    topics = ["attack bad", "", "attack.bad" * 26, "attack.bad\0", "attack.bäd", "attack.bad\n"]
    while attacker.going():
        with attacker.hello() as plain:
            plain.sendall(framed.frame(
                ["pub", 1, [[attacker.dice.choice(topics), None, 1] for _i in range(4096)]]))
            expect_refused(plain, 4096)


@attack("pings as fast as they go")
def _(attacker):
    pings = framed.frame(["ping", 7]) * 2000
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(pings)
            for _i in range(2000):
                read_frame(plain)


@attack("asks for the status as fast as it goes")
def _(attacker):
    with attacker.hello() as plain:
        while attacker.going():
            plain.sendall(framed.frame(["status"]) * 100)
            for _i in range(100):
                read_frame(plain)
