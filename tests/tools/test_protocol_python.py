#!/usr/bin/env python3
"""A client written from docs/protocol.md alone, with nothing but the standard library.

It says hello, publishes, gets acks, survives a lost connection without a double, and speaks the
line mode. It also reads the examples of docs/protocol.md, so that the page cannot drift from the
program: every frame printed there in hexadecimal must be what the JSON beside it encodes to.
"""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(ROOT, "build"))


# ---- MessagePack, as far as the protocol needs it ----

def pack_int(n):
    if n >= 0:
        if n < 0x80:
            return bytes([n])
        for code, form, limit in ((0xCC, ">B", 1 << 8), (0xCD, ">H", 1 << 16),
                                  (0xCE, ">I", 1 << 32), (0xCF, ">Q", 1 << 64)):
            if n < limit:
                return bytes([code]) + struct.pack(form, n)
    if n >= -32:
        return struct.pack("b", n)
    for code, form, limit in ((0xD0, ">b", 1 << 7), (0xD1, ">h", 1 << 15),
                              (0xD2, ">i", 1 << 31), (0xD3, ">q", 1 << 63)):
        if n >= -limit:
            return bytes([code]) + struct.pack(form, n)
    raise ValueError(n)


def pack_head(count, small, small_max, codes):
    if count <= small_max:
        return bytes([small | count])
    for code, form, limit in codes:
        if count < limit:
            return bytes([code]) + struct.pack(form, count)
    raise ValueError(count)


def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return pack_int(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return pack_head(len(data), 0xA0, 31, ((0xD9, ">B", 1 << 8), (0xDA, ">H", 1 << 16),
                                               (0xDB, ">I", 1 << 32))) + data
    if isinstance(value, (list, tuple)):
        return pack_head(len(value), 0x90, 15, ((0xDC, ">H", 1 << 16), (0xDD, ">I", 1 << 32))) + \
            b"".join(map(pack, value))
    if isinstance(value, dict):
        return pack_head(len(value), 0x80, 15, ((0xDE, ">H", 1 << 16), (0xDF, ">I", 1 << 32))) + \
            b"".join(pack(k) + pack(v) for k, v in value.items())
    raise TypeError(type(value))


def unpack(data, at=0):
    """The value at `at`, and where it ends."""
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    numbers = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h",
               0xD2: ">i", 0xD3: ">q", 0xCA: ">f", 0xCB: ">d"}
    if code in numbers:
        form = numbers[code]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    lengths = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
    if code in lengths:
        count = struct.unpack_from(lengths[code], data, at)[0]
        at += struct.calcsize(lengths[code])
        kind = "s" if code <= 0xDB else "a" if code <= 0xDD else "m"
    elif code & 0xE0 == 0xA0:
        count, kind = code & 31, "s"
    elif code & 0xF0 == 0x90:
        count, kind = code & 15, "a"
    elif code & 0xF0 == 0x80:
        count, kind = code & 15, "m"
    else:
        raise ValueError(hex(code))
    if kind == "s":
        return data[at:at + count].decode(), at + count
    items = []
    for _ in range(count * (2 if kind == "m" else 1)):
        item, at = unpack(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind == "m" else items), at


# ---- The client ----

def frame(message):
    body = pack(message)
    return struct.pack(">I", len(body)) + body


class Client:
    def __init__(self, path, **hello):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.send(["hello", {"version": 1, "client": "test_protocol_python", **hello}])
        kind, self.welcome = self.receive()
        assert kind == "welcome", kind

    def send(self, message):
        self.socket.sendall(frame(message))

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def receive(self):
        body = self.read(struct.unpack(">I", self.read(4))[0])
        message, end = unpack(body)
        assert end == len(body)
        return message

    def publish(self, number, events):
        self.send(["pub", number, events])
        return self.receive()

    def close(self):
        self.socket.close()


class Daemon:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="daybook-", dir=os.environ.get("TMPDIR") or "/var/tmp")
        self.log = os.path.join(self.directory, "log")
        self.socket = os.path.join(self.log, "daybook.sock")
        self.start()

    def start(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "daybookd"), "-D", self.log],
                                        stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.rstrip().endswith(" ready"):
                return
        raise RuntimeError("the daemon did not become ready")

    def stop(self):
        self.process.terminate()
        self.process.stderr.read()
        return self.process.wait()

    def events(self):
        text = subprocess.run([os.path.join(BUILD, "daybook"), "read", "-D", self.log, "-n", "all",
                               "-o", "json"], capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in text.splitlines()]

    def remove(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        shutil.rmtree(self.directory)


# ---- The tests ----

def test_every_frame_printed_in_the_page_is_what_it_says(daemon):
    text = open(os.path.join(ROOT, "docs", "protocol.md"), encoding="utf-8").read()
    printed = ["".join(block.split()) for block in
               re.findall(r"^((?:    [0-9a-f]{2,8}(?: [0-9a-f]{2,8})*\n)+)", text, re.M)]
    printed = [bytes.fromhex(p) for p in printed]
    frames = []
    for data in printed:
        while data:
            size = 4 + struct.unpack(">I", data[:4])[0]
            assert size <= len(data), "a printed frame is shorter than its length says"
            message, end = unpack(data[4:size])
            assert end == size - 4
            # An exact encoder gives the very same bytes.
            assert frame(message) == data[:size], message
            frames.append(message)
            data = data[size:]
    assert [f[0] for f in frames] == ["hello", "welcome", "pub", "ack", "ping", "pong", "status",
                                      "subscribe", "events"]
    for message in frames[:4] + frames[7:]:
        said = json.dumps(message, ensure_ascii=False)
        assert "`" + said + "`" in text, "not beside its bytes: " + said


def test_a_client_publishes_and_gets_acks(daemon):
    client = Client(daemon.socket)
    assert client.welcome["version"] == 1 and client.welcome["max_frame"] == 1052672
    ack = client.publish(7, [["door", None, {"open": True}],
                             ["door", 1757386981642318000, [1, -2, 2.5, None, "ü"]]])
    assert ack == ["ack", 7, 2, 1, 2, 0, []], ack
    client.send(["ping", 99])
    assert client.receive() == ["pong", 99, 2]
    client.send(["status"])
    kind, status = client.receive()
    assert status["schemas"] == {}, "no topic has one"
    assert kind == "status" and status["durable"] == 2 and status["pid"] == daemon.process.pid
    client.close()


def test_what_was_acknowledged_is_read_back_equal(daemon):
    client = Client(daemon.socket)
    client.publish(1, [["door", 1757386981642318001, {"a": [1, 2.5, None, True, "\u20ac", {}]}]])
    client.close()
    event = daemon.events()[-1]
    assert event["topic"] == "door" and event["time"] == "2025-09-09T03:03:01.642318001Z", event
    assert event["payload"] == {"a": [1, 2.5, None, True, "\u20ac", {}]}, event


def test_a_bad_event_is_refused_with_its_reason_and_the_others_are_stored(daemon):
    client = Client(daemon.socket)
    kind, _, stored, first, last, duplicates, refused = client.publish(
        1, [["ok", None, 1], ["not ok", None, 1], ["ok", None, 2]])
    assert (kind, stored, last - first, duplicates) == ("ack", 2, 1, 0)
    assert len(refused) == 1 and refused[0][:2] == [1, "invalid"] and "space" in refused[0][2]
    client.close()


def test_a_retry_after_a_lost_connection_is_stored_once(daemon):
    events = [["meter", None, {"kWh": 1}, 1], ["meter", None, {"kWh": 2}, 2]]
    client = Client(daemon.socket, producer="meter-7")
    assert client.welcome["last_number"] == 0
    client.send(["pub", 1, events])
    client.close()  # without waiting for the ack
    client = Client(daemon.socket, producer="meter-7")
    kind, _, stored, _, _, duplicates, refused = client.publish(1, events)
    assert kind == "ack" and stored + duplicates == 2 and refused == []
    client.close()
    kept = [e["payload"]["kWh"] for e in daemon.events() if e["topic"] == "meter"]
    assert kept == [1, 2], kept


def test_numbers_are_remembered_over_a_restart(daemon):
    assert daemon.stop() == 0
    daemon.process.stderr.close()
    daemon.start()
    client = Client(daemon.socket, producer="meter-7")
    assert client.welcome["last_number"] == 2, client.welcome
    ack = client.publish(5, [["meter", None, {"kWh": 2}, 2], ["meter", None, {"kWh": 3}, 3]])
    assert ack[2] == 1 and ack[5] == 1, ack
    client.close()


def test_the_line_mode_needs_no_library_at_all(daemon):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        plain.connect(daemon.socket)
        plain.sendall(b'{"topic":"line","payload":{"x":1}}\n{"topic":"line"}\n')
        plain.shutdown(socket.SHUT_WR)
        answers = [json.loads(line) for line in plain.makefile()]
    assert answers[0]["ok"] is True and answers[0]["seq"] > 0, answers
    assert answers[1]["ok"] is False and answers[1]["line"] == 2, answers
    assert "payload" in answers[1]["error"], answers


def main():
    daemon = Daemon()
    failed = 0
    try:
        for name, test in list(globals().items()):
            if not name.startswith("test_"):
                continue
            sentence = name[5:].replace("_", " ")
            try:
                test(daemon)
                print("ok", sentence, flush=True)
            except Exception as trouble:  # each test reports for itself
                failed += 1
                print(f"not ok {sentence}: {type(trouble).__name__}: {trouble}", flush=True)
    finally:
        daemon.remove()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
