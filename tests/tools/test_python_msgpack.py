#!/usr/bin/env python3
"""The msgpack codec of the Python packages: every form of the format, at its limits, and against
what the log itself writes and reads.
"""
import json
import math
import os
import random
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import daybook, main, promise, same  # noqa: E402
from python_support import running  # noqa: E402
import daybook as packages  # noqa: E402
from daybook import _msgpack as msgpack  # noqa: E402


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{function.__name__}{arguments!r:.80} raised no {kind.__name__}")


# value, its shortest form: what the specification of msgpack says.
FORMS = [
    (None, "c0"), (False, "c2"), (True, "c3"),
    (0, "00"), (127, "7f"), (128, "cc80"), (255, "ccff"), (256, "cd0100"), (65535, "cdffff"),
    (65536, "ce00010000"), (2**32 - 1, "ceffffffff"), (2**32, "cf0000000100000000"),
    (2**64 - 1, "cfffffffffffffffff"),
    (-1, "ff"), (-32, "e0"), (-33, "d0df"), (-128, "d080"), (-129, "d1ff7f"), (-32768, "d18000"),
    (-32769, "d2ffff7fff"), (-2**31, "d280000000"), (-2**31 - 1, "d3ffffffff7fffffff"),
    (-2**63, "d38000000000000000"),
    (1.5, "cb3ff8000000000000"), (-0.0, "cb8000000000000000"), (math.inf, "cb7ff0000000000000"),
    ("", "a0"), ("a", "a161"), ("x" * 31, "bf" + "78" * 31), ("x" * 32, "d920" + "78" * 32),
    ("x" * 256, "da0100" + "78" * 256), ("x" * 65536, "db00010000" + "78" * 65536),
    ("€", "a3e282ac"), (b"", "c400"), (b"\x01", "c40101"), (b"x" * 256, "c50100" + "78" * 256),
    (b"x" * 65536, "c600010000" + "78" * 65536),
    ([], "90"), ([1], "9101"), ([0] * 15, "9f" + "00" * 15), ([0] * 16, "dc0010" + "00" * 16),
    ([0] * 65536, "dd00010000" + "00" * 65536), ({}, "80"), ({"a": 1}, "81a16101"),
    ({str(n): 0 for n in range(16)}, None), ({str(n): 0 for n in range(65536)}, None),
    ({1: 2, None: 3, b"k": 4}, "830102c003c4016b04"),
    (packages.Ext(-1, b"abcd"), "d6ff61626364"), (packages.Ext(5, b"x"), "d40578"),
    (packages.Ext(5, b"xy"), "d5057879"), (packages.Ext(5, b"x" * 8), "d705" + "78" * 8),
    (packages.Ext(5, b"x" * 16), "d805" + "78" * 16),
    (packages.Ext(5, b"xyz"), "c70305" + "78797a"),
    (packages.Ext(0, b"x" * 256), "c8010000" + "78" * 256),
    (packages.Ext(0, b"x" * 65536), "c90001000000" + "78" * 65536),
]


@promise("each form of msgpack is packed in its shortest way, and unpacked as it was")
def forms(_directory):
    for value, expected in FORMS:
        packed = msgpack.pack(value)
        assert expected is None or packed.hex() == expected, (value, packed.hex()[:60])
        back = msgpack.unpack(packed)
        assert back == value and type(back) is type(value), (value, back)


@promise("longer forms than needed, and floats of 32 bits, are unpacked, too")
def other_forms(_directory):
    for text, value in [("cc01", 1), ("cd0001", 1), ("cf0000000000000001", 1), ("d0ff", -1),
                        ("d3ffffffffffffffff", -1), ("d901" + "61", "a"), ("ca3fc00000", 1.5),
                        ("de0001" + "01" + "02", {1: 2}), ("dc0001" + "c0", [None]),
                        ("81" + "9101" + "02", {(1,): 2})]:
        assert msgpack.unpack(bytes.fromhex(text)) == value, text


@promise("doubles keep every bit, and NaN is NaN")
def doubles(_directory):
    dice = random.Random(7)
    for _ in range(5000):
        value = struct.unpack(">d", dice.randbytes(8))[0]
        back = msgpack.unpack(msgpack.pack(value))
        assert back == value or (math.isnan(back) and math.isnan(value)), value


@promise("what has no form is refused with what is wrong with it")
def refused(_directory):
    assert "65 bits" in raises(msgpack.PackError, msgpack.pack, 2**64)
    assert "64 bits" in raises(msgpack.PackError, msgpack.pack, -2**63 - 1)
    assert "lone surrogate at position 2" in raises(msgpack.PackError, msgpack.pack, "ab\ud800")
    assert "type object" in raises(msgpack.PackError, msgpack.pack, {"a": object()})
    assert "-128 to 127" in raises(msgpack.PackError, msgpack.pack, packages.Ext(200, b""))
    circle = []
    circle.append(circle)
    assert "contains itself" in raises(msgpack.PackError, msgpack.pack, circle)


@promise("no bytes are believed beyond those that are there, whatever a length says")
def hostile(_directory):
    for text in ["", "c1", "a2" + "61", "d9ff", "daffff00", "dbffffffff", "c6ffffffff00",
                 "ddffffffff", "dfffffffff", "c9ffffffff01", "cb00", "9201", "8101", "d801"]:
        raises(msgpack.UnpackError, msgpack.unpack, bytes.fromhex(text))
    assert "not valid UTF-8" in raises(msgpack.UnpackError, msgpack.unpack, b"\xa1\xff")
    assert "behind the value" in raises(msgpack.UnpackError, msgpack.unpack, b"\x01\x02")
    assert "deep" in raises(msgpack.UnpackError, msgpack.unpack, b"\x91" * 100000)
    dice = random.Random(11)
    good = [msgpack.pack(value) for value, _ in FORMS if len(msgpack.pack(value)) < 300]
    for _ in range(20000):
        data = bytearray(dice.choice(good))
        data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            msgpack.unpack(bytes(data))
        except msgpack.UnpackError:
            pass


@promise("subclasses are packed as what they are made from")
def subclasses(_directory):
    import collections
    import enum

    class Colour(enum.IntEnum):
        RED = 3

    class Text(str):
        pass

    given = collections.OrderedDict([("c", Colour.RED), ("t", Text("x")), ("l", (1, 2))])
    assert msgpack.unpack(msgpack.pack(given)) == {"c": 3, "t": "x", "l": [1, 2]}


PAYLOADS = [None, True, -2**63, 2**64 - 1, 0.1, 1e300, "ünï\0\u20ac\U0001f600", [], {},
            [1, [2, {"a": []}]], {"": 0, "k": {"n": None}}, -0.5, 123456789.123456789]


@promise("what was packed here comes out of the log as JSON would have it, and back as it was")
def through_the_log(directory):
    with running(directory) as daemon:
        with packages.Producer(daemon.directory) as producer:
            for payload in PAYLOADS:
                producer.send("t", payload)
            producer.send("b", {"raw": b"\x00\xff"})
            producer.send("e", packages.Ext(5, b"xyz"))
        text = daybook("read", "-D", daemon.directory, "-n", "all", "-t", "t", "-o", "json").events
        for payload, event in zip(PAYLOADS, text):
            assert same(json.loads(json.dumps(payload)), event["payload"]), (payload, event)
        raw = daybook("read", "-D", daemon.directory, "-n", "all", "-o", "msgpack").out
        at, values = 0, []
        while at < len(raw):
            value, at = msgpack.unpack_from(raw, at)
            values.append(value)
        back = [value[-1] for value in values]
        assert back[:len(PAYLOADS)] == PAYLOADS and len(text) == len(PAYLOADS), back
        assert back[len(PAYLOADS):] == [{"raw": b"\x00\xff"}, packages.Ext(5, b"xyz")], back


main()
