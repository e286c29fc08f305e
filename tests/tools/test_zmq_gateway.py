#!/usr/bin/python3
"""daybook-zmq as programs on the ZeroMQ side meet it, with PUSH and SUB written as in the guide."""
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import zmq

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import BUILD, ROOT, daemon, daybook, environment, main, promise  # noqa: E402

DAYBOOK_ZMQ = os.path.join(BUILD, "daybook-zmq")
PATIENCE_MS = 60000  # for something that has to come


def event(number, event_type="trade_executed", **more):
    return {"event_type": event_type, "timestamp": 1757386981.25 + number, "source": "test",
            "data": {"n": number, "ratio": 0.1 * number, "text": "Zürich → 東京", "none": None},
            "correlation_id": f"C{number}", "user_id": None, "session_id": "s", **more}


class Gateway:
    """A daybook-zmq on sockets in DIRECTORY, beside the log DIRECTORY/log."""

    def __init__(self, directory, *flags, settle="100ms"):
        self.directory = directory
        self.pull, self.pub = f"ipc://{directory}/pull", f"ipc://{directory}/pub"
        self.words = [DAYBOOK_ZMQ, "-D", f"{directory}/log", "--pull", self.pull, "--pub", self.pub,
                      "--heartbeat", "0", "--settle", settle, *flags]
        self.log = open(f"{directory}/gateway.out", "ab")
        self.start()

    def start(self):
        seen = self.said().count(" ready\n")
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, env=environment())
        self.await_said(" ready\n", seen + 1)

    def said(self):
        with open(f"{self.directory}/gateway.out", encoding="utf-8") as log:
            return log.read()

    def await_said(self, words, times=1):
        while self.said().count(words) < times:
            assert self.process.poll() is None, self.said()
            time.sleep(0.01)

    def stop(self, status=0):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == status, self.said()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.kill()
        self.log.close()


@contextlib.contextmanager
def gateway(directory, *flags, **keywords):
    running = Gateway(directory, *flags, **keywords)
    try:
        yield running
    finally:
        running.end()


@contextlib.contextmanager
def sockets():
    """A context whose sockets are closed at the end without waiting for anybody."""
    context = zmq.Context()
    try:
        yield context
    finally:
        context.destroy(linger=0)


def pusher(context, running):
    push = context.socket(zmq.PUSH)
    push.connect(running.pull)
    return push


def subscriber(context, running, *topics, hwm=None):
    sub = context.socket(zmq.SUB)
    if hwm:
        sub.setsockopt(zmq.RCVHWM, hwm)
    sub.connect(running.pub)
    for topic in topics:
        sub.setsockopt_string(zmq.SUBSCRIBE, topic)
    return sub


def receive(sub):
    """One message, as the guide receives it; the JSON decoded."""
    assert sub.poll(PATIENCE_MS), "no message has come"
    topic, *rest = sub.recv_multipart()
    return [topic.decode(), json.loads(rest[0])] + [int(part) for part in rest[1:]]


def nothing_more(sub, milliseconds=300):
    assert not sub.poll(milliseconds), sub.recv_multipart()


def in_log(directory, count):
    """The events of the log, once there are so many."""
    events, end = [], time.monotonic() + PATIENCE_MS / 1000
    while len(events) < count:
        assert time.monotonic() < end, f"{len(events)} of {count} events are there"
        if os.path.exists(f"{directory}/log/segments"):
            events = daybook("read", "-D", f"{directory}/log", "-n", "all", "-o", "json").events
        time.sleep(0.01)
    return [e for e in events if e["topic"][0] != "_"]


def numbers(events):
    return [e["payload"]["data"]["n"] for e in events]


def push_events(push, first, count, pause=0):
    for number in range(first, first + count):
        push.send_json(event(number))
        if pause:
            time.sleep(pause)


@promise("10,000 events from PUSH to SUB, all of them, in order, equal as JSON, and durable")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        push, sub = pusher(context, running), subscriber(context, running, "bitten.")
        sent = [event(n, f"type_{n % 7}") for n in range(10000)]
        start = time.monotonic()
        feeder = threading.Thread(daemon=True, target=lambda: [push.send_string(json.dumps(e)) for e in sent])
        feeder.start()
        for expected in sent:
            topic, got = receive(sub)
            assert topic == "bitten." + expected["event_type"], topic
            assert got == expected, (got, expected)
        print(f"# {10000 / (time.monotonic() - start):,.0f} events/s from PUSH to SUB, durable",
              flush=True)
        feeder.join()
        nothing_more(sub)
        running.stop()
        stored = in_log(directory, 10000)
        assert [e["payload"] for e in stored] == sent
        assert [e["topic"] for e in stored] == [e["event_type"] for e in sent]
        assert stored[4]["time"] == "2025-09-09T03:03:05.250000000Z", stored[4]


@promise("a message that is no event is refused, said and counted, and the next one is taken")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        push = pusher(context, running)
        push.send(b"hello")
        push.send_json([1, 2])
        push.send_json({"no": "type"})
        push.send_json(event(1, "two words"))
        push.send_multipart([b"a", b"b", json.dumps(event(2)).encode()])
        push.send(b"")
        push.send(b"\xff\xfe")
        push.send_json({"event_type": "a", "data": "x" * (2 << 20)})
        push.send_json(event(3))
        assert numbers(in_log(directory, 1)) == [3]
        running.stop()
        said = running.said()
        assert said.count("a message is refused: ") == 8, said
        for words in ("not a JSON object", "no text 'event_type'", "it has 3 parts", "topic"):
            assert words in said, words
        assert "9 messages received, 1 events stored, 8 messages refused" in said, said


@promise("what the daemon refuses by a schema is said, and nothing else suffers")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        daybook("schema", "add", "strict", "-", "-D", f"{directory}/log",
                stdin='{"type":"object","required":["session_id"]}')
        push = pusher(context, running)
        push.send_json(event(1))
        push.send_json({"event_type": "strict", "data": {"n": 2}})
        push.send_json(event(3))
        assert numbers(in_log(directory, 2)) == [1, 3]
        running.stop()
        assert "session_id" in running.said(), running.said()


@promise("a restart of the gateway: subscribers that reconnect get every event once, in order")
def _(directory):
    with daemon(f"{directory}/log"), sockets() as context:
        with gateway(directory, settle="1s") as running:
            push, sub = pusher(context, running), subscriber(context, running, "bitten.")
            got = []
            for round_ in range(3):
                push_events(push, 200 * round_, 200)
                in_log(directory, 200 * round_ + 200)
                # Once it has sent everything, then nothing, then everything again.
                while round_ != 1 and len(got) < 200 * round_ + 200:
                    got.append(receive(sub)[1]["data"]["n"])
                running.stop()
                running.start()
            while len(got) < 600:
                got.append(receive(sub)[1]["data"]["n"])
            assert got == list(range(600)), got
            nothing_more(sub)


@promise("events that are stored while the gateway is away go out when it is back")
def _(directory):
    with daemon(f"{directory}/log"), sockets() as context:
        with gateway(directory, settle="1s") as running:
            push, sub = pusher(context, running), subscriber(context, running, "bitten.")
            push_events(push, 0, 1)
            assert receive(sub)[1]["data"]["n"] == 0
            running.stop()
            lines = "".join(json.dumps({"topic": "direct", "payload": event(n, "direct")}) + "\n"
                            for n in range(1, 50))
            daybook("pub", "-D", f"{directory}/log", stdin=lines)
            running.start()
            assert [receive(sub)[1]["data"]["n"] for _ in range(49)] == list(range(1, 50))


@promise("kill -9 of the gateway: no event of the log is missing for a subscriber that keeps up")
def _(directory):
    with daemon(f"{directory}/log"), sockets() as context:
        with gateway(directory, settle="1s") as running:
            push, sub = pusher(context, running), subscriber(context, running, "bitten.")
            got = []
            for round_ in range(3):
                push_events(push, 300 * round_, 300)
                in_log(directory, 300 * round_ + 300)
                for _ in range(50):
                    got.append(receive(sub)[1]["data"]["n"])
                running.kill()
                running.start()
            while len(set(got)) < 900:
                got.append(receive(sub)[1]["data"]["n"])
            firsts = list(dict.fromkeys(got))
            assert firsts == list(range(900)), "an event came too late"


@promise("kill -9 of the gateway: who asks by sequence misses nothing, however far behind it is")
def _(directory):
    with daemon(f"{directory}/log"), sockets() as context, gateway(directory) as running:
        push, pad = pusher(context, running), "x" * 5000
        sub = subscriber(context, running, "@0/slow@bitten.", hwm=1)
        for number in range(3000):  # more than sockets hold
            push.send_json(event(number, pad=pad))
        in_log(directory, 3000)
        got = {receive(sub)[2] for _ in range(100)}
        running.kill()
        running.start()
        while len(got) < 3000:
            got.add(receive(sub)[2])
        assert got == set(range(1, 3001))


@promise("kill -9 of the gateway: what the log has, it has once, and a producer goes on by itself")
def _(directory):
    with daemon(f"{directory}/log"), sockets() as context:
        with gateway(directory) as running:
            push = pusher(context, running)
            push_events(push, 0, 500)
            in_log(directory, 500)
            running.kill()
            running.start()
            push_events(push, 500, 500)
            assert numbers(in_log(directory, 1000)) == list(range(1000))


@promise("without a daemon at the start it waits, and so do the producers; then everything is stored")
def _(directory):
    with sockets() as context, gateway(directory) as running:
        push, sub = pusher(context, running), subscriber(context, running, "bitten.")
        push_events(push, 0, 300)
        running.await_said("the daemon is away")
        with daemon(f"{directory}/log"):
            assert [receive(sub)[1]["data"]["n"] for _ in range(300)] == list(range(300))
            assert numbers(in_log(directory, 300)) == list(range(300))


@promise("a daemon that is killed again and again under load: nothing is lost, doubled or out of order")
def _(directory):
    os.mkdir(f"{directory}/log")
    rounds, each = 4, 500
    with sockets() as context, gateway(directory) as running:
        push, sub = pusher(context, running), subscriber(context, running, "bitten.")
        got = []
        feeder = threading.Thread(daemon=True, target=push_events, args=(push, 0, rounds * each, 0.0005))
        feeder.start()
        for round_ in range(rounds - 1):
            with contextlib.suppress(AssertionError), daemon(f"{directory}/log") as process:
                while len(got) < (round_ + 1) * each // 2:
                    got.append(receive(sub)[1]["data"]["n"])
                process.kill()
                process.wait()
                os.unlink(f"{directory}/log/daybook.sock")
        with daemon(f"{directory}/log"):
            while len(got) < rounds * each:
                got.append(receive(sub)[1]["data"]["n"])
            nothing_more(sub)
            assert got == list(range(rounds * each))
            assert numbers(in_log(directory, rounds * each)) == list(range(rounds * each))
        feeder.join()


@promise("a daemon that is stopped in the middle (SIGSTOP) holds the producers up, and nothing is lost")
def _(directory):
    with daemon(f"{directory}/log") as process, gateway(directory) as running, sockets() as context:
        push = pusher(context, running)
        push.setsockopt(zmq.SNDHWM, 10)
        push_events(push, 0, 100)
        in_log(directory, 100)
        process.send_signal(signal.SIGSTOP)
        sent, poller = 100, zmq.Poller()
        poller.register(push, zmq.POLLOUT)
        large = "x" * 20000
        while poller.poll(500):
            push.send_json(event(sent, pad=large))
            sent += 1
        assert sent < 20000, "the gateway goes on taking events that it cannot store"
        process.send_signal(signal.SIGCONT)
        assert numbers(in_log(directory, sent)) == list(range(sent))


@promise("on a full disk producers wait, and when there is room again every event is stored, once")
def _(directory):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ; the daemon is to inherit that, so that it sees EFBIG instead.
    with daemon(f"{directory}/log", restore_signals=False, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (1 << 20, limit[1]))) as process, \
            gateway(directory) as running, sockets() as context:
        push = pusher(context, running)
        for number in range(400):
            push.send_json(event(number, pad=os.urandom(2500).hex()))
        while "producers wait" not in running.said():
            time.sleep(0.01)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limit)
        assert sorted(numbers(in_log(directory, 400))) == list(range(400))
        running.stop()


def listens(port):
    with open("/proc/net/tcp", encoding="utf-8") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(row[1] == f"0100007F:{port:04X}" and row[3] == "0A" for row in rows)


@promise("it listens at the ports that the bus before it had, on this machine only", once=True)
def _(directory):
    if listens(5570) or listens(5571):
        print("# skipped: somebody else listens at these ports", flush=True)
        return
    with subprocess.Popen([DAYBOOK_ZMQ, "-D", directory], stderr=subprocess.PIPE, text=True,
                          env=environment()) as process:
        try:
            while " ready" not in process.stderr.readline():
                assert process.poll() is None
            assert listens(5570) and listens(5571)
        finally:
            process.terminate()
        assert process.wait() == 0


@promise("a late subscriber that asks for history by sequence gets it, numbered, and goes on live")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        push = pusher(context, running)
        push_events(push, 0, 500)
        stored = in_log(directory, 500)
        live = subscriber(context, running, "")
        late = subscriber(context, running, f"@{stored[99]['seq']}/late@bitten.")
        for number in range(100, 500):
            topic, got, sequence = receive(late)
            assert topic == f"@{stored[99]['seq']}/late@bitten.trade_executed", topic
            assert got == event(number) and sequence == stored[number]["seq"]
        push_events(push, 500, 10)
        assert [receive(late)[1]["data"]["n"] for _ in range(10)] == list(range(500, 510))
        # Who subscribes to everything gets what is live, and nobody else's history.
        fresh = [receive(live) for _ in range(10)]
        while fresh[0][1]["data"]["n"] < 500:  # it may have come before the last of the others
            fresh = fresh[1:] + [receive(live)]
        assert [m[1]["data"]["n"] for m in fresh] == list(range(500, 510))
        assert all(m[0] == "bitten.trade_executed" and len(m) == 2 for m in fresh)
        nothing_more(live)
        # By topic, by time, and for a second one with a name of its own.
        push.send_json(event(510, "other"))
        seen = receive(live)[1]
        assert seen == event(510, "other")
        other = subscriber(context, running, "@0/x@bitten.other")
        assert receive(other)[:2] == ["@0/x@bitten.other", seen]
        timed = subscriber(context, running, "@2025-09-09T03:11:29Z@bitten.")
        assert receive(timed)[1]["data"]["n"] == 508


@promise("a request for history that makes no sense is said, and harms nobody")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        push = pusher(context, running)
        sub = subscriber(context, running, "@nonsense@bitten.", "@1", "nothing.", "bitten.")
        running.await_said("'@nonsense@bitten.' gets nothing")
        running.await_said("'@1' gets nothing")
        running.await_said("'nothing.' gets nothing: messages begin with 'bitten.'")
        push_events(push, 0, 3)
        assert [receive(sub)[1]["data"]["n"] for _ in range(3)] == [0, 1, 2]


@promise("who asked for history and does not read for a while misses nothing; its events wait in the log")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory, "--hwm", "10") as running, \
            sockets() as context:
        push = pusher(context, running)
        slow = subscriber(context, running, "@0/slow@bitten.", hwm=10)
        pad = "x" * 2000
        for number in range(5000):
            push.send_json(event(number, pad=pad))
        in_log(directory, 5000)
        running.process.send_signal(signal.SIGSTOP)  # and what is in sockets goes no further
        running.process.send_signal(signal.SIGCONT)
        assert [receive(slow)[1]["data"]["n"] for _ in range(5000)] == list(range(5000))
        assert "misses" not in running.said()


@promise("a live subscriber that never reads misses events, which is said, and holds nobody up for long")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory, "--hwm", "1000") as running, \
            sockets() as context:
        push = pusher(context, running)
        asleep = subscriber(context, running, "bitten.", hwm=1)
        awake = subscriber(context, running, "bitten.")
        got, pad = [], "x" * 5000
        feeder = threading.Thread(daemon=True, target=lambda: [push.send_json(event(n, pad=pad))
                                                  for n in range(6000)])
        feeder.start()
        while len(got) < 6000:
            got.append(receive(awake)[1]["data"]["n"])
        feeder.join()
        assert got == list(range(6000))
        running.await_said("a subscriber does not read: it misses events, from sequence ")
        assert asleep.poll(PATIENCE_MS)


@promise("payloads that others have published come as data in an object of the same shape")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        sub = subscriber(context, running, "@0@bitten.")
        daybook("pub", "-D", f"{directory}/log",
                stdin='{"topic":"door","time":"2025-09-09T03:03:01.5Z","payload":{"open":true}}\n')
        assert receive(sub)[:2] == ["@0@bitten.door", {
            "event_type": "door", "timestamp": 1757386981.5, "source": "daybook",
            "data": {"open": True}, "correlation_id": None, "user_id": None, "session_id": None}]
        running.stop()


@promise("its heartbeat is an event like others: in the log, and to subscribers")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory, "--heartbeat", "50ms") as running, \
            sockets() as context:
        sub = subscriber(context, running, "bitten.system_health")
        first, second = receive(sub)[1], receive(sub)[1]
        assert first["source"] == "event_bus" and first["data"]["status"] == "healthy", first
        assert second["data"]["stored"] > first["data"]["stored"] - 1
        assert second["data"]["subscriptions"] == 1, second
        running.stop()
        assert {e["topic"] for e in in_log(directory, 2)} == {"system_health"}


@promise("the prefix can be another one, or none")
def _(directory):
    with daemon(f"{directory}/log"), sockets() as context:
        for prefix in ("acme/", ""):
            with gateway(directory, "--prefix", prefix, "--cursor", "c" + prefix[:4]) as running:
                push = pusher(context, running)
                everything = subscriber(context, running, "")
                some = subscriber(context, running, prefix + "trade")
                history = subscriber(context, running, f"@0/{prefix[:4]}@{prefix}")
                push_events(push, 1, 1)
                assert receive(everything)[0] == prefix + "trade_executed"
                assert receive(some)[0] == prefix + "trade_executed"
                assert receive(history)[0].endswith("@" + prefix + "trade_executed")
                nothing_more(everything)
                running.stop()


@promise("what producers have sent when SIGTERM comes is stored before it ends")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as running, sockets() as context:
        push = pusher(context, running)
        push_events(push, 0, 1)
        in_log(directory, 1)  # it is connected
        running.process.send_signal(signal.SIGSTOP)
        push_events(push, 1, 500)
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGCONT)
        assert running.process.wait() == 0, running.said()
        assert numbers(in_log(directory, 501)) == list(range(501))


@promise("it ends at once when there is no daemon, and says what it could not store")
def _(directory):
    with sockets() as context, gateway(directory) as running:
        pusher(context, running)
        running.stop()
        with daemon(f"{directory}/log"):
            running.start()
            push = pusher(context, running)
            push_events(push, 0, 1)
            in_log(directory, 1)
        push_events(push, 1, 3)
        running.await_said("the daemon is away, producers wait")
        running.stop(status=1)
        assert "that had come in could not be stored: the daemon is away" in running.said()


@promise("a second gateway of the same names ends the first one, with a reason")
def _(directory):
    with daemon(f"{directory}/log"), gateway(directory) as first:
        os.mkdir(f"{directory}/b")
        os.symlink(f"{directory}/log", f"{directory}/b/log")
        with gateway(f"{directory}/b") as second:
            assert first.process.wait() == 3, first.said()
            assert "zmq" in first.said(), first.said()
            # So that neither systemd nor pm2 has the two replace each other for ever.
            for name, words in (("daybook-zmq.service", "\nRestartPreventExitStatus=2 3\n"),
                                ("ecosystem.config.js", "stop_exit_codes: [2, 3],")):
                with open(f"{ROOT}/tools/service/{name}", encoding="utf-8") as file:
                    assert words in file.read(), name
            second.stop()


@promise("the service manager is told when it is ready, and when it stops")
def _(directory):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(f"{directory}/manager")
    manager.settimeout(60)
    os.environ["NOTIFY_SOCKET"] = f"{directory}/manager"
    try:
        with gateway(directory) as running:
            assert manager.recv(4096) == b"READY=1"
            running.stop()
            messages = [manager.recv(4096)]
            while messages[-1] != b"STOPPING=1":
                messages.append(manager.recv(4096))
    finally:
        del os.environ["NOTIFY_SOCKET"]


@promise("an address that is in use, and flags that make no sense, are refused in words")
def _(directory):
    with sockets() as context:
        taken = context.socket(zmq.PULL)
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        done = subprocess.run([DAYBOOK_ZMQ, "-D", directory, "--pub", f"tcp://127.0.0.1:{port}"],
                              env=environment(), stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1 and "cannot listen at" in done.stderr, done
    for flags, words in ((["--hwm", "0"], "--hwm"), (["--prefix", "@"], "--prefix"),
                         (["--heartbeat", "soon"], "--heartbeat"), (["x"], "no operands"),
                         (["--pull"], "needs a value"), (["--nothing"], "no such flag")):
        done = subprocess.run([DAYBOOK_ZMQ, *flags], env=environment(), stderr=subprocess.PIPE,
                              text=True, check=False)
        assert done.returncode == 2 and words in done.stderr, done


if __name__ == "__main__":
    main()
