#!/usr/bin/env python3
"""daybook replay --to udp: and zmq: give each event whole, or say and count that they do not."""
import ctypes
import hashlib
import json
import os
import re
import signal
import socket

from cli_support import FAILURE, INCOMPLETE, daybook, jsonl, main, promise, signals, start

BASE = 1767322800 * 10**9


def publish(directory, payloads):
    daybook("pub", "-D", directory, stdin=jsonl(
        [{"topic": "abc"[i % 3], "time": BASE + i * 10**6, "payload": payload}
         for i, payload in enumerate(payloads)]))


def finish(process, path, expect=0):
    _, err = process.communicate()
    assert process.returncode == expect, (process.returncode, err)
    with open(path, encoding="utf-8") as file:
        return json.load(file), err.decode()


def replay(directory, *flags):
    path = os.path.join(directory, "report.json")
    return start("replay", "-D", directory, "-r", "max", "--report", path, *flags), path


def receiver(family=socket.AF_INET, host="127.0.0.1"):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((host, 0))
    return sock


@promise("udp: each event is a datagram, its line of JSON, in order")
def datagrams(directory):
    publish(directory, signals(100))
    expected = daybook("read", "-D", directory, "-o", "json").out.splitlines(True)
    printed = finish(*replay(directory))[0]
    for family, host, text in ((socket.AF_INET, "127.0.0.1", "127.0.0.1"),
                               (socket.AF_INET6, "::1", "[::1]")):
        with receiver(family, host) as sock:
            process, path = replay(directory, "--to", f"udp://{text}:{sock.getsockname()[1]}")
            came = [sock.recv(1 << 16) for _ in expected]
            report, _ = finish(process, path)
        assert came == expected
        assert (report["events"], report["dropped"], report["unreachable"]) == (100, 0, 0), report
        assert report["sha256"] == printed["sha256"]


@promise("udp: what does not fit into a datagram is dropped, said, counted, and not in the hash")
def too_large(directory):
    publish(directory, [1, "x" * 70000, 2] + ["y" * 70000] * 9 + [3])
    with receiver() as sock:
        process, path = replay(directory, "--to", f"udp://127.0.0.1:{sock.getsockname()[1]}")
        came = [json.loads(sock.recv(1 << 16))["payload"] for _ in range(3)]
        report, err = finish(process, path, INCOMPLETE)
    assert came == [1, 2, 3]
    assert (report["events"], report["dropped"], report["too_large"]) == (3, 10, 10), report
    assert "event 2 is dropped: its 700" in err and "do not fit into a datagram" in err, err
    assert err.count("is dropped") == 5 and err.count("and more such events") == 1, err
    assert "10 events dropped: too large" in err
    sent = [line for line in daybook("read", "-D", directory, "-o", "json").out.splitlines(True)
            if len(line) < 70000]
    hashed = hashlib.sha256(b"".join(re.sub(rb'"seq":\d+,', b"", line, count=1) for line in sent))
    assert len(sent) == 3 and report["sha256"] == hashed.hexdigest()


@promise("udp: that nobody listens is said once, counted, and exit status 5")
def nobody(directory):
    publish(directory, range(20))
    with receiver() as sock:
        port = sock.getsockname()[1]
    report, err = finish(*replay(directory, "--to", f"udp://127.0.0.1:{port}"), INCOMPLETE)
    assert report["unreachable"] >= 10 and report["events"] == 20, report
    assert err.count("finds nobody at the other end") == 1, err


@promise("udp: an address that is none is refused before anything is sent")
def no_address(directory):
    publish(directory, [1])
    for to in ("udp://127.0.0.1", "udp://:5", "udp://127.0.0.1:", "udp://127.0.0.1:x"):
        err = daybook("replay", "-D", directory, "--to", to, expect=FAILURE).err
        assert to in err, err


# What is needed of libzmq, so that no Python package is.
PULL, SUB, SUBSCRIBE, LAST_ENDPOINT, RCVMORE, RCVHWM = 7, 2, 6, 32, 13, 24


class Socket:
    zmq = None

    def __init__(self, kind, address, bind, subscribe=(), room=0):
        if Socket.zmq is None:
            Socket.zmq = ctypes.CDLL("libzmq.so.5")
            for name in ("zmq_ctx_new", "zmq_socket"):
                getattr(Socket.zmq, name).restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.zmq.zmq_ctx_new())
        self.socket = ctypes.c_void_p(self.zmq.zmq_socket(self.context, kind))
        self.zmq.zmq_setsockopt(self.socket, RCVHWM, ctypes.byref(ctypes.c_int(room)), 4)
        for prefix in subscribe:
            self.zmq.zmq_setsockopt(self.socket, SUBSCRIBE, prefix, len(prefix))
        call = self.zmq.zmq_bind if bind else self.zmq.zmq_connect
        assert call(self.socket, address.encode()) == 0, address

    def frame(self):
        buffer = ctypes.create_string_buffer(1 << 16)
        while (size := self.zmq.zmq_recv(self.socket, buffer, len(buffer), 0)) < 0:
            pass  # interrupted
        return buffer.raw[:size]

    def message(self):
        topic, body = self.frame(), self.frame()
        return topic.decode(), json.loads(body)

    def close(self):
        self.zmq.zmq_close(self.socket)
        self.zmq.zmq_ctx_term(self.context)


def bus_event(i):
    seconds, ns = divmod(BASE + i * 10**6, 10**9)
    return {"event_type": "abc"[i % 3], "timestamp": float(f"{seconds}.{ns:09}"),
            "source": "daybook", "data": {"i": i},
            "correlation_id": None, "user_id": None, "session_id": None}


@promise("zmq: waits for a subscriber, then gives it every event, as topic and JSON of the bus's shape")
def published(directory):
    count = 3000
    publish(directory, [{"i": i} for i in range(count)])
    address = f"ipc://{directory}/pub"
    process, path = replay(directory, "--to", f"zmq:{address}")
    assert b"waiting for 1 subscription at" in process.stderr.readline()
    deaf = Socket(SUB, address, False, [b"other."])  # not for what we send
    sub = Socket(SUB, address, False, [b"bitten."])
    for i in range(count):
        assert sub.message() == ("bitten." + "abc"[i % 3], bus_event(i))
    report, _ = finish(process, path)
    sub.close()
    deaf.close()
    assert (report["events"], report["dropped"], report["delivered"]) == (count, 0, True), report
    assert report["sha256"] == finish(*replay(directory))[0]["sha256"]


@promise("zmq: what came over the bus leaves as it came; --prefix and --remap name the topic")
def as_it_came(directory):
    ours = {"event_type": "a", "timestamp": "now", "data": [1], "x": {"event_type": 3}}
    publish(directory, [ours, {"x": {"event_type": "deep"}}, {"event_type": 7}])
    address = f"ipc://{directory}/pub"
    process, path = replay(directory, "--to", f"zmq-pub:{address}", "--prefix", "", "--remap",
                           "a:=new", "--subscribers", "2")
    sub = Socket(SUB, address, False, [b"n", b""])
    assert sub.message() == ("new", ours)
    for i, payload in ((1, {"x": {"event_type": "deep"}}), (2, {"event_type": 7})):
        assert sub.message() == ("abc"[i], dict(bus_event(i), data=payload))
    finish(process, path)
    sub.close()


@promise("zmq-push: waits for somebody who pulls, and gives every event once")
def pushed(directory):
    publish(directory, [{"i": i} for i in range(1000)])
    address = f"ipc://{directory}/push"
    process, path = replay(directory, "--to", f"zmq-push:{address}")
    assert b"waiting for somebody at" in process.stderr.readline()
    pull = Socket(PULL, address, True)
    for i in range(1000):
        assert pull.message() == ("bitten." + "abc"[i % 3], bus_event(i))
    report, _ = finish(process, path)
    pull.close()
    assert (report["events"], report["dropped"]) == (1000, 0), report


@promise("zmq: a subscriber that takes nothing is waited for once; what it has no room for is counted")
def no_room(directory):
    count, times = 1000, 200
    publish(directory, range(count))
    address = f"ipc://{directory}/pub"
    process, path = replay(directory, "--to", f"zmq:{address}", "--loop", str(times))
    sub = Socket(SUB, address, False, [b""], room=1)
    report, err = finish(process, path, INCOMPLETE)
    assert report["events"] >= 100000, report
    assert report["events"] + report["no_room"] == count * times and report["no_room"] > 5, report
    assert report["dropped"] == report["no_room"] and not report["delivered"], report
    assert err.count("is dropped: somebody at") == 5, err
    sub.close()


@promise("zmq: Ctrl-C ends the wait for a subscriber; an address in use is said")
def no_subscriber(directory):
    publish(directory, [1])
    address = f"ipc://{directory}/pub"
    process, _ = replay(directory, "--to", f"zmq:{address}")
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0 and out == b"" and b"replayed" not in err, err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        err = daybook("replay", "-D", directory, "--to", f"zmq:tcp://127.0.0.1:{port}",
                      expect=FAILURE).err
    assert re.search("bind a ZeroMQ PUB socket to 'tcp://.*': Address already in use", err), err


@promise("zmq: where libzmq is missing, one sentence says which package has it; nobody else needs it")
def no_library(directory):
    publish(directory, [1])
    os.mkdir(f"{directory}/lib")
    with open(f"{directory}/lib/libzmq.so.5", "wb"):
        pass  # found first, and no library
    hidden = {"LD_LIBRARY_PATH": f"{directory}/lib"}
    err = daybook("replay", "-D", directory, "--to", "zmq:tcp://127.0.0.1:1", env=hidden,
                  expect=FAILURE).err
    assert "needs the library libzmq.so.5" in err and "apt-get install libzmq5" in err, err
    daybook("replay", "-D", directory, env=hidden)


if __name__ == "__main__":
    main()
