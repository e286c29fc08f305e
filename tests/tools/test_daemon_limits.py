#!/usr/bin/env python3
"""daybookd among clients that it does not know: users, places, what takes long, what it says.

Attacks on a busy daemon are in tests/campaigns/hostile.py; here each limit is tried alone.
"""
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import framed  # noqa: E402
from cli_support import DAYBOOKD, daybook, environment, main, promise  # noqa: E402

STRANGER = 65534
VALUES = 16384  # more are looked through by the examiner


@contextlib.contextmanager
def running(directory, *flags):
    daemon = framed.Daemon(os.path.join(directory, "log"), *flags)
    daemon.start()
    daemon.connect().close()
    try:
        yield daemon
    finally:
        daemon.end()


def open_to_all(daemon):
    for path in (os.path.dirname(daemon.directory), daemon.directory):
        os.chmod(path, 0o755)
    os.chmod(daemon.socket, 0o666)


def as_stranger(function):
    """Run it in a child of another user; its assertion's text, or "" when all is well."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            function()
            text = ""
        except BaseException as error:  # pylint: disable=broad-except
            text = "%s: %s" % (type(error).__name__, error)
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    text = os.read(reader, 10000).decode()
    os.close(reader)
    assert not text, text


def raw(daemon):
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(60)
    plain.connect(daemon.socket)
    return plain


def refusal(daemon, hello=None):
    """The code with which the daemon closes a new connection."""
    with raw(daemon) as plain:
        with contextlib.suppress(OSError):
            plain.sendall(framed.frame(["hello", hello or {"version": 1}]))
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while more := plain.recv(1 << 16):
                data += more
        answer, _end = framed.unpack(data, 4)
    assert answer[0] == "error" and answer[2], answer
    return answer[1]


def status_of(daemon):
    with contextlib.closing(framed.Connection(daemon.socket)) as connection:
        connection.send(framed.frame(["status"]))
        return connection.receive()[1]


def publish(connection, number, events):
    connection.send(framed.frame(["pub", number, events]))
    answer = connection.receive()
    assert answer[:2] == ["ack", number], answer
    return answer


def payloads_of(daemon):
    """Those that clients have sent: the daemon itself tells of refusals on the topic _gap."""
    events = daybook("read", "-D", daemon.directory, "-n", "all", "-o", "json").events
    return [e["payload"] for e in events if e["topic"] != "_gap"]


def only_root(function):
    def run(directory):
        if os.geteuid() == 0:
            function(directory)
    return run


@promise("a producer's name belongs to its user while it is connected")
@only_root
def _(directory):
    with running(directory) as daemon:
        open_to_all(daemon)
        owner = daemon.connect("meter")

        def steal():
            assert refusal(daemon, {"version": 1, "producer": "meter"}) == "taken"
            framed.Connection(daemon.socket, "other").close()

        as_stranger(steal)
        assert publish(owner, 1, [["t", None, 1, 1]])[2] == 1
        owner.close()
        while status_of(daemon)["connections"] > 1:
            time.sleep(0.005)
        as_stranger(lambda: framed.Connection(daemon.socket, "meter").close())


@promise("users who are not allowed are turned away, whatever the mode of the socket")
@only_root
def _(directory):
    def be_refused():
        assert refusal(daemon) == "forbidden"

    with running(directory, "--allow-users", "1") as daemon:
        open_to_all(daemon)
        as_stranger(be_refused)
        assert status_of(daemon)["turned_away"] == 1
        assert daemon.stop() == 0
    with running(directory, "--allow-users", "1,%d" % STRANGER) as daemon:
        open_to_all(daemon)
        as_stranger(lambda: framed.Connection(daemon.socket).close())
    done = subprocess.run([DAYBOOKD, "-D", directory, "--allow-users", "nobody such"],
                          stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 2 and b"nobody such" in done.stderr, done


@promise("descriptors for all clients are there from the start: nobody waits while their table grows")
def _(directory):
    with running(directory, "--max-connections", "3000") as daemon:
        with open("/proc/%d/status" % daemon.process.pid, encoding="ascii") as status:
            size = next(int(line.split()[1]) for line in status if line.startswith("FDSize:"))
        assert size >= 3000, size


@promise("a user has no more places than allowed, and many processes of one cannot keep others out")
@only_root
def _(directory):
    with running(directory, "--max-connections", "8", "--max-user-connections", "3") as daemon:
        held = [daemon.connect() for _i in range(3)]
        assert refusal(daemon) == "busy"
        open_to_all(daemon)
        as_stranger(lambda: framed.Connection(daemon.socket).close())
        for connection in held:
            connection.close()
        assert daemon.stop() == 0
    with running(directory, "--max-connections", "8") as daemon:
        open_to_all(daemon)
        children = []
        for _i in range(8):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.setuid(STRANGER)
                connection = framed.Connection(daemon.socket)
                os.write(writer, b"x")
                with contextlib.suppress(OSError):
                    connection.fill()
                os._exit(0)
            children.append(pid)
            assert os.read(reader, 1) == b"x"
            os.close(reader)
            os.close(writer)
        honest = framed.Connection(daemon.socket)
        assert publish(honest, 1, [["t", None, 1]])[2] == 1
        assert daemon.stop() == 0
        for pid in children:
            os.waitpid(pid, 0)


@promise("frames and lines that take long to look through are stored, refused and answered in order")
def _(directory):
    many = list(range(2 * VALUES))
    with running(directory) as daemon:
        connection = daemon.connect("p")
        data = b""
        for number in range(1, 7):
            dear = number % 2 == 0
            data += framed.frame(["pub", number, [
                ["t", None, many if dear else number, 3 * number],
                ["t t", None, many, 3 * number + 1],
                ["t", None, number, 3 * number + 2]]])
        connection.send(data)
        for number in range(1, 7):
            answer = connection.receive()
            assert answer[:3] == ["ack", number, 2] and [r[0] for r in answer[6]] == [1], answer
            assert "space" in answer[6][0][2], answer
        expected = [p for n in range(1, 7) for p in (many if n % 2 == 0 else n, n)]
        assert payloads_of(daemon) == expected

        long = json.dumps({"topic": "l", "payload": "x" * 20000})
        lines = [long, '{"topic":"l","payload":1}', long.replace('"l"', '"l l"'), long[:-1], long]
        with raw(daemon) as plain:
            plain.sendall("\n".join(lines).encode())  # the last one without its end
            plain.shutdown(socket.SHUT_WR)
            answers = b""
            while more := plain.recv(1 << 16):
                answers += more
        assert [json.loads(a)["ok"] for a in answers.splitlines()] == [True, True, False, False, True]

        body = framed.pack(["pub", 9, [["t", None, many + [1], 100], ["t", None, 1, 101]]])[:-1]
        connection.send(struct.pack(">I", len(body) + 1) + body + b"\xc1")
        answer = connection.receive()
        assert answer[:2] == ["error", "malformed"], answer
        assert len(payloads_of(daemon)) == len(expected) + 3


@promise("who goes, or is replaced, while its frame is looked through leaves nothing behind")
def _(directory):
    many = list(range(100000))
    with running(directory) as daemon:
        frame = framed.frame(["pub", 1, [["gone", None, many + [1.5], 1]]])
        for round_ in range(30):
            connections = [daemon.connect("p%d" % i) for i in range(4)]
            for connection in connections:
                connection.send(frame)
            if round_ % 3 == 0:
                for connection in connections:
                    connection.close()
            else:
                newer = [daemon.connect("p%d" % i) for i in range(4)]
                for connection in connections + newer:
                    connection.close()
        honest = daemon.connect("honest")
        assert publish(honest, 1, [["t", None, many, 1]])[2] == 1
        connections = [daemon.connect() for i in range(4)]
        for connection in connections:
            connection.send(framed.frame(["pub", 1, [["gone", None, many]]]))
        assert daemon.stop() == 0, daemon.output()[-2000:]


class Deaf:
    """Asks for large answers, whole frames however little is taken at a time, and reads none."""

    REQUEST = framed.frame(["pub", 1, [["no good", None, 0]] * 4096])

    def __init__(self, daemon):
        self.daemon = daemon
        self.connect()

    def connect(self):
        self.connection = self.daemon.connect()
        self.connection.socket.setblocking(False)
        self.left = b""

    def ask(self):
        try:
            self.left = self.left or self.REQUEST
            self.left = self.left[self.connection.socket.send(self.left):]
        except BlockingIOError:
            pass
        except OSError:
            self.connection.close()
            self.connect()


@promise("answers that nobody reads are bounded in all, and who reads keeps its connection")
def _(directory):
    with running(directory, "--input-memory", "4M") as daemon:
        cap = status_of(daemon)["memory_max"]
        honest = daemon.connect()
        deaf = [Deaf(daemon) for _i in range(60)]
        while "has not read for longest" not in daemon.output():
            for client in deaf:
                client.ask()
            assert publish(honest, 1, [["t", None, 1]])[2] == 1
        with open("/proc/%d/status" % daemon.process.pid, encoding="ascii") as file:
            used = [int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon")][0]
        assert used < cap or "asan" in DAYBOOKD or "tsan" in DAYBOOKD, (used, cap)


@promise("with all memory for frames taken, small frames pass, and large ones wait their turn")
def _(directory):
    with running(directory, "--input-memory", "4M") as daemon:
        greedy = [daemon.connect() for _i in range(30)]
        for connection in greedy:
            connection.socket.setblocking(False)
            with contextlib.suppress(OSError):
                connection.socket.send(struct.pack(">I", 1 << 20) + bytes(200000))
        honest = daemon.connect()
        for i in range(100):
            assert publish(honest, i, [["t", None, i]])[2] == 1
        with raw(daemon) as plain:
            plain.sendall(b'{"topic":"t","payload":"line"}\n' * 3)
            answers = b""
            while answers.count(b"\n") < 3:
                answers += plain.recv(1 << 16)
            assert answers.count(b'"ok":true') == 3, answers
        assert publish(honest, 1, [["t", None, "x" * 1000000]])[2] == 1
        assert payloads_of(daemon)[:101] == list(range(100)) + ["line"]


@promise("a thousand strangers fill neither the log of the daemon's words nor its memory")
def _(directory):
    with running(directory) as daemon:
        for _i in range(1000):
            with raw(daemon) as plain:
                plain.sendall(b"?")
                plain.recv(1 << 16)
        lines = daemon.output().splitlines()
        assert len(lines) < 300, len(lines)
        status = status_of(daemon)
        assert status["closed"] >= 1000, status
        while "lines about clients were left out" not in daemon.output():
            status_of(daemon)
            time.sleep(0.1)
        assert "closed by us: malformed" in daemon.output()


if __name__ == "__main__":
    main()
