"""The framed protocol of docs/protocol.md in plain Python, and a daemon to speak it with: for tests.

Standard library only. No test of its own: see test_protocol_python.py for that.
"""

import os
import signal
import socket
import struct
import subprocess
import time

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
DAYBOOK = os.path.join(BUILD, "daybook")
DAYBOOKD = os.path.join(BUILD, "daybookd")


def pack(value):
    """One msgpack value; the smallest form of integers and lengths is not needed, but easy."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return pack_integer(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return head(len(data), 0xA0, 31, 0xD9, 0xDA, 0xDB) + data
    if isinstance(value, bytes):
        return head(len(value), None, -1, 0xC4, 0xC5, 0xC6) + value
    if isinstance(value, (list, tuple)):
        return head(len(value), 0x90, 15, None, 0xDC, 0xDD) + b"".join(map(pack, value))
    if isinstance(value, dict):
        body = b"".join(pack(k) + pack(v) for k, v in value.items())
        return head(len(value), 0x80, 15, None, 0xDE, 0xDF) + body
    raise TypeError(type(value))


def pack_integer(value):
    if 0 <= value < 128:
        return bytes([value])
    if value >= 0:
        return b"\xcf" + struct.pack(">Q", value)
    return b"\xd3" + struct.pack(">q", value)


def head(size, fixed, fixed_max, code8, code16, code32):
    if size <= fixed_max:
        return bytes([fixed | size])
    if code8 is not None and size < 256:
        return bytes([code8, size])
    if size < 65536:
        return bytes([code16]) + struct.pack(">H", size)
    return bytes([code32]) + struct.pack(">I", size)


NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}
LENGTHS = {
    0xC4: (">B", "bin"), 0xC5: (">H", "bin"), 0xC6: (">I", "bin"),
    0xD9: (">B", "str"), 0xDA: (">H", "str"), 0xDB: (">I", "str"),
    0xDC: (">H", "array"), 0xDD: (">I", "array"), 0xDE: (">H", "map"), 0xDF: (">I", "map"),
}


def unpack(data, at=0):
    """The value that starts at `at`, and where it ends."""
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code in NUMBERS:
        size = struct.calcsize(NUMBERS[code])
        return struct.unpack_from(NUMBERS[code], data, at)[0], at + size
    if code in LENGTHS:
        form, kind = LENGTHS[code]
        count = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
    elif code < 0x90:
        count, kind = code & 15, "map"
    elif code < 0xA0:
        count, kind = code & 15, "array"
    elif code < 0xC0:
        count, kind = code & 31, "str"
    else:
        raise ValueError("msgpack code %#x" % code)
    return unpack_body(data, at, kind, count)


def unpack_body(data, at, kind, count):
    if kind in ("str", "bin"):
        raw = bytes(data[at:at + count])
        return (raw.decode() if kind == "str" else raw), at + count
    items = []
    for _ in range(count if kind == "array" else 2 * count):
        item, at = unpack(data, at)
        items.append(item)
    return (items if kind == "array" else dict(zip(items[::2], items[1::2]))), at


def frame(value):
    body = pack(value)
    return struct.pack(">I", len(body)) + body


class Connection:
    """One framed connection; every method raises OSError when it is lost."""

    def __init__(self, path, producer=None, ack="durable", timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.received = bytearray()
        try:
            self.socket.connect(path)
            hello = {"version": 1, "client": "test", "ack": ack}
            if producer:
                hello["producer"] = producer
            self.socket.sendall(frame(["hello", hello]))
            answer = self.receive()
            if answer[:2] == ["error", "stopping"]:
                raise ConnectionRefusedError(answer[2])
            assert answer[0] == "welcome", answer
            self.welcome = answer[1]
        except BaseException:
            self.socket.close()
            raise

    def send(self, data):
        self.socket.sendall(data)

    def take(self):
        """The next frame if it is here whole, else None."""
        if len(self.received) < 4:
            return None
        size = struct.unpack_from(">I", self.received)[0]
        if len(self.received) < 4 + size:
            return None
        value, end = unpack(self.received, 4)
        assert end == 4 + size, "a frame's length is not its value's"
        del self.received[:4 + size]
        return value

    def fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the daemon has closed the connection")
        self.received += data

    def receive(self):
        while True:
            value = self.take()
            if value is not None:
                return value
            self.fill()

    def close(self):
        self.socket.close()


class Daemon:
    """A daybookd on a directory, its output in a file beside it."""

    def __init__(self, directory, *flags):
        self.directory = directory
        self.flags = flags
        self.socket = os.path.join(directory, "daybook.sock")
        self.log_path = directory + ".out"
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [DAYBOOKD, "-D", self.directory, *self.flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def output(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def check_alive(self):
        status = self.process.poll()
        if status is not None:
            raise AssertionError("daybookd ended by itself, status %d:\n%s"
                                 % (status, self.output()[-2000:]))

    def connect(self, producer=None, limit=60):
        """Connect as soon as the daemon answers."""
        end = time.monotonic() + limit
        while True:
            try:
                return Connection(self.socket, producer)
            except OSError:
                self.check_alive()
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """In order; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def end(self):
        """For finally: whatever state it is in."""
        if self.process and self.process.poll() is None:
            self.kill()
