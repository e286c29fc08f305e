"""Attacks of hostile.py by subscribers: requests that are nearly right, conditions that take long,
crowds, and those who do not read.

No test of its own; standard library only.
"""

import contextlib
import socket
import time

from hostile_attacker import attack, expect_error, framed, read_frame, send_all


def subscribe(attacker, request):
    plain = attacker.hello()
    plain.sendall(framed.frame(["subscribe", request]))
    return plain


def subscribed(attacker, request):
    plain = subscribe(attacker, request)
    answer = read_frame(plain)
    assert answer[0] == "subscribed", answer
    return plain


@attack("subscribe requests that are nearly right")
def _(attacker):
    requests = [{"after": -1}, {"after": 1 << 62}, {"after": 1, "since": 1}, {"from": "middle"},
                {"topics": "a"}, {"topics": ["a"] * 65}, {"topics": ["a.>.b"]}, {"topics": [1]},
                {"where": ""}, {"where": "1) OR (1"}, {"where": "SELECT 1"}, {"where": "x" * 4097},
                {"cursor": "../x"}, {"cursor": ""}, {"shared": True}, {"credit": -1}, {"x": 1},
                {"where": "(" * 2000 + "1" + ")" * 2000}]
    while attacker.going():
        for request in requests:
            expect_error(subscribe(attacker, request), "invalid")


@attack("garbage behind a subscribe")
def _(attacker):
    while attacker.going():
        plain = subscribed(attacker, {})
        send_all(plain, attacker.dice.randbytes(200))
        plain.shutdown(socket.SHUT_WR)
        plain.close()


@attack("frames that are no subscriber's")
def _(attacker):
    frames = [(["pub", 1, [["attack.bad", None, 1]]], "unsupported"), (["status"], "unsupported"),
              (["subscribe", {}], "malformed"), (["hello", {"version": 1}], "malformed"),
              (["commit", 1], "invalid"), (["credit"], "malformed"), (["dance"], "unsupported"),
              (["accept", 1, [[2, 1]]], "malformed", "invalid"),
              (["ping", "x" * 70000], "too_large")]
    while attacker.going():
        for words, *codes in frames:
            plain = subscribed(attacker, {"topics": ["attack.none"]})
            send_all(plain, framed.frame(words))
            expect_error(plain, *codes)


@attack("conditions that take long")
def _(attacker):
    wheres = ["length(replace(hex(zeroblob(100000)), '0', 'abcdefgh')) > 1",
              "payload LIKE '%" + "a%" * 40 + "b'",
              " AND ".join("instr(payload, '%d') >= 0" % i for i in range(100)),
              "topic GLOB '" + "*a" * 60 + "'"]
    while attacker.going():
        many = []
        for i in range(20):
            where = "(%s) OR seq = %d" % (wheres[i % len(wheres)], attacker.dice.randrange(1 << 40))
            plain = subscribe(attacker, {"from": "earliest", "where": where})
            plain.settimeout(0.01)
            many.append(plain)
        time.sleep(0.05)
        for plain in many:
            with contextlib.suppress(OSError):
                plain.recv(1 << 16)
            plain.close()


@attack("300 subscribers with a filter each, who do not read")
def _(attacker):
    while attacker.going():
        many = [subscribe(attacker, {"from": "earliest", "topics": ["*", "x%d" % i, "y%d.>" % i]})
                for i in range(300)]
        time.sleep(0.1)
        for plain in many:
            plain.close()


@attack("subscribing from anywhere, and hanging up")
def _(attacker):
    while attacker.going():
        plain = subscribed(attacker, {"from": "latest"})
        plain.close()
        for _i in range(20):
            subscribe(attacker, {"after": attacker.dice.randrange(1000)}).close()
            subscribe(attacker, {"since": attacker.dice.randrange(1 << 62)}).close()


@attack("cursors, again and again")
def _(attacker):
    while attacker.going():
        older = subscribed(attacker, {"cursor": "attack", "topics": ["attack.none"]})
        for _i in range(10):
            newer = subscribed(attacker, {"cursor": "attack", "topics": ["attack.none"]})
            newer.sendall(framed.frame(["commit", 0]) * 20 + framed.frame(["cursors"]))
            expect_error(older, "replaced", "busy")  # many ask for cursors at once
            older = newer
        older.close()


@attack("pings of a subscriber who does not read")
def _(attacker):
    while attacker.going():
        plain = subscribed(attacker, {"topics": ["attack.none"]})
        plain.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                plain.send(framed.frame(["ping", 1]) * 1000)
        plain.close()


@attack("half a subscriber's frame", slow=True)
def _(attacker):
    while attacker.going():
        plain = subscribed(attacker, {"topics": ["attack.none"]})
        plain.sendall(b"\0\0\0\x20\x92")
        expect_error(plain, "timeout", seconds=60)
