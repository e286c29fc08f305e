#!/usr/bin/env python3
"""Schemas at the door: what is refused, kept aside or counted, from which event on, and that no
crash, race or forgery leaves a topic unchecked."""
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import framed
from cli_support import (DAMAGE, DAYBOOKD, FAILURE, INCOMPLETE, OK, UNREACHABLE, USAGE, answers,
                         daemon, daybook, jsonl, main, promise, signals, start, write)

DIFFERENT = 6
PRICE = '{"properties": {"price": {"type": "number", "minimum": 0}}}\n'
TOTAL = '{"properties": {"price": {"type": "number", "minimum": 0}}, "required": ["price"]}\n'


def pub(data, payloads, topic="door", expect=OK):
    lines = "".join(json.dumps(p) + "\n" for p in payloads)
    return daybook("pub", "-D", data, "-t", topic, stdin=lines, expect=expect)


def add(data, topic, path, *flags, expect=OK):
    return daybook("schema", "add", "-D", data, topic, path, *flags, expect=expect)


def since(result):
    return int(re.search(r"since event (\d+) of", result.text)[1])


def events(data, topic=None):
    flags = ["-t", topic] if topic else []
    return daybook("read", "-D", data, "-n", "all", "-o", "json", *flags).events


def rows(data):
    return {r["topic"]: r for r in json.loads(daybook("schema", "list", "-D", data, "-o", "json").text)}


def catalogue(data):
    with open(f"{data}/schemas/catalogue", encoding="ascii") as file:
        return file.read()


@contextlib.contextmanager
def daemon_logging(data, log):
    """A daybookd whose words go to the file `log`."""
    process = subprocess.Popen([DAYBOOKD, "-D", data], stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log)
    try:
        while not answers(f"{data}/daybook.sock"):
            assert process.poll() is None, "daybookd ended"
            time.sleep(0.01)
        yield process
        process.terminate()
        assert process.wait() == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def both_ways(check):
    """Once with a daemon, once without."""
    def run(directory):
        check(os.path.join(directory, "embedded"), directory)
        data = os.path.join(directory, "served")
        os.mkdir(data, 0o750)
        with daemon(data):
            check(data, directory)
    return run


@promise("an event that does not keep to the schema is refused, with pointer and rule, with and without a daemon")
@both_ways
def reject(data, directory):
    pub(data, [{"price": -1}])
    result = add(data, "door", write(directory, "s.json", PRICE))
    assert since(result) == 2, result.text
    assert result.text.startswith("schema 1 of topic 'door' (reject) is in effect since event 2")
    result = pub(data, [{"price": -1}, {"price": 2}, {"price": "x"}], expect=INCOMPLETE)
    assert ("<stdin>:1: payload at /price: -1 is less than the minimum 0 "
            "(#/properties/price/minimum of schema 1)") in result.err, result.err
    assert "<stdin>:3: payload at /price: " in result.err, result.err
    assert "2 lines refused" in result.err, result.err
    pub(data, [{"price": -1}], topic="lamp")
    assert [e["payload"] for e in events(data, "door")] == [{"price": -1}, {"price": 2}]
    change = events(data, "_schema")[0]
    assert change["seq"] == 2 and change["payload"] == {
        "topic": "door", "version": 1, "mode": "reject", "action": "add",
        "schema": json.loads(PRICE)}, change


@promise("with quarantine it is stored beside, with the reason; with warn where it belongs")
@both_ways
def quarantine_and_warn(data, directory):
    path = write(directory, "s.json", PRICE)
    add(data, "door", path, "--mode", "quarantine")
    pub(data, [{"price": -1}, {"price": 2}])
    kept = events(data, "_rejected.door")[0]["payload"]
    assert kept == {"topic": "door", "version": 1, "pointer": "/price",
                    "rule": "#/properties/price/minimum",
                    "reason": "-1 is less than the minimum 0", "payload": {"price": -1}}, kept
    assert [e["payload"] for e in events(data, "door")] == [{"price": 2}]
    add(data, "door", path, "--mode", "warn")
    pub(data, [{"price": -3}])
    assert [e["payload"] for e in events(data, "door")] == [{"price": 2}, {"price": -3}]


@promise("the same schema again changes nothing; another text or mode is the next version; all are kept")
@both_ways
def versions(data, directory):
    first, second = write(directory, "1.json", PRICE), write(directory, "2.json", TOTAL)
    at = since(add(data, "door", first))
    again = add(data, "door", first)
    assert "was in effect already" in again.text and since(again) == at, again.text
    assert "schema 2 " in add(data, "door", second).text
    assert "schema 3 of topic 'door' (warn)" in add(data, "door", second, "--mode", "warn").text
    show = ["schema", "show", "-D", data, "door"]
    assert daybook(*show).text == TOTAL
    assert daybook(*show, "--version", "1").text == PRICE, "byte for byte"
    assert daybook(*show, "--version", "9", expect=FAILURE).out == b""
    removed = daybook("schema", "remove", "-D", data, "door")
    assert "is removed since event" in removed.text
    assert "nothing to do" in daybook("schema", "remove", "-D", data, "door").err
    pub(data, [{"price": "anything"}])
    daybook(*show, expect=FAILURE)
    assert daybook(*show, "--version", "2").text == TOTAL
    assert rows(data)["door"]["state"] == "removed"
    assert "schema 4 of" in add(data, "door", first).text
    assert rows(data)["door"]["version"] == 4


@promise("the daemon counts what became of a topic's events, in its status and in schema list")
def counts(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", PRICE)
    with daemon(data):
        add(data, "door", path)
        pub(data, [{"price": -1}, {"price": 2}, {"price": -2}], expect=INCOMPLETE)
        add(data, "lamp", path, "--mode", "quarantine")
        pub(data, [{"price": -1}, {"price": 2}], topic="lamp")
        add(data, "bell", path, "--mode", "warn")
        pub(data, [{"price": -1}], topic="bell")
        pub(data, [{"price": -1}], topic="other")
        got = rows(data)
        status = json.loads(daybook("status", "-D", data, "-o", "json").text)
    told = {t: [r[k] for k in ("checked", "refused", "quarantined", "warned")]
            for t, r in got.items()}
    assert told == {"door": [3, 2, 0, 0], "lamp": [2, 0, 1, 0], "bell": [1, 0, 0, 1]}, told
    assert [status[f"schema_{k}"] for k in ("checked", "refused", "quarantined", "warned")] == \
        [6, 2, 1, 1], status
    assert status["schemas"] == 3
    assert rows(data)["door"]["checked"] is None, "without a daemon nobody counts"


@promise("counts are right with more topics than a daemon's status has room for")
def counts_of_many(directory):
    data = os.path.join(directory, "log")
    add(data, "t0", write(directory, "s.json", PRICE), "--mode", "warn")
    line = catalogue(data).split("\n")[1].split(" ")
    lines = ["daybook-schemas 1"]
    for i in range(1200):
        lines.append(" ".join([str(i + 1), "add", f"t{i}"] + line[3:]))
        shutil.copy(f"{directory}/s.json", f"{data}/schemas/t{i}.1.json")
    text = "\n".join(lines) + "\n"
    write(f"{data}/schemas", "catalogue", text + f"checksum {crc32c(text.encode()):08x}\n")
    with daemon(data):
        for i in (0, 500, 1199):
            pub(data, [{"price": -1}, {"price": 1}], topic=f"t{i}")
        status = json.loads(daybook("status", "-D", data, "-o", "json").text)
        assert [status[f"schema_{k}"] for k in ("checked", "warned")] == [6, 3], status
        got = rows(data)
        assert [got[f"t{i}"]["warned"] for i in (0, 500, 1199)] == [1, 1, 1]
        assert sum(r["warned"] or 0 for r in got.values()) == 3 and len(got) == 1200
    assert daybook("sql", "-D", data, "-o", "csv", 'SELECT count(*) FROM "t1199"').text.split() == \
        ["count(*)", "2"]


@promise("nobody publishes under _rejected.*, with and without a daemon")
@both_ways
def rejected_is_ours(data, directory):
    result = pub(data, [{}], topic="_rejected.door", expect=INCOMPLETE)
    assert "topics that begin with '_rejected.' are where" in result.err, result.err
    assert events(data) == []


@promise("a change takes effect exactly at its event, while others publish without waiting")
def exact_moment(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", PRICE)
    stop = threading.Event()
    refused = [0]

    def produce(name):
        connection = framed.Connection(f"{data}/daybook.sock", producer=name)
        number = 1
        while not stop.is_set():
            frames = []
            for _ in range(8):
                batch = [["door", None, {"price": -1}, number + i] for i in range(20)]
                number += 20
                frames.append(batch)
            for i, batch in enumerate(frames):
                connection.send(framed.frame(["pub", i, batch]))
            for _ in frames:
                refused[0] += len(connection.receive()[6])
        connection.close()

    with daemon(data):
        threads = [threading.Thread(target=produce, args=(f"p{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        spans = []
        for _ in range(4):
            begin = since(add(data, "door", path))
            end = since(daybook("schema", "remove", "-D", data, "door"))
            spans.append((begin, end))
        stop.set()
        for thread in threads:
            thread.join()
    assert refused[0] > 0, "the schema was never in effect while somebody published"
    moments = {e["seq"]: e["payload"]["action"] for e in events(data, "_schema")}
    assert moments == {**{b: "add" for b, _ in spans}, **{e: "remove" for _, e in spans}}, moments
    stored = [e["seq"] for e in events(data, "door")]
    assert stored, "nothing was stored"
    inside = [s for s in stored for b, e in spans if b < s < e]
    assert not inside, f"events {inside[:3]} were stored while the schema forbade them: {spans}"


@promise("nobody can forge a change, whatever it says and however often; the topic stays as it was")
def forged(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    with daemon(data):
        add(data, "door", write(directory, "s.json", PRICE))
        change = events(data, "_schema")[0]["payload"]
        forgeries = [change, {**change, "version": 2}, {**change, "action": "remove"},
                     {**change, "version": 2, "schema": True}, {}, None, [], "x" * 1000]
        pub(data, forgeries * 200, topic="_schema", expect=INCOMPLETE)
        pub(data, [{"price": -1}], expect=INCOMPLETE)
        assert len(events(data, "_schema")) == 1
        assert catalogue(data).count("\n") == 3


class Proxy:
    """Between the command and the daemon: at the first pub it forwards it or not, and then lets no
    answer through any more."""

    def __init__(self, path, daemon_path, forward):
        self.path, self.daemon_path, self.forward = path, daemon_path, forward
        self.reached = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(4)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.daemon_path)
        silent = threading.Event()

        def back():
            while data := server.recv(65536):
                if not silent.is_set():
                    client.sendall(data)
                else:
                    self.reached.set()  # the ack: the event is durable

        threading.Thread(target=back, daemon=True).start()
        while frame := receive_frame(client):
            if frame[5:8] == b"pub" or frame[6:9] == b"pub":
                silent.set()
                if not self.forward:
                    self.reached.set()
                    return
            server.sendall(frame)

    def close(self):
        self.listener.close()


def receive_frame(connection):
    data = b""
    while len(data) < 4:
        more = connection.recv(4 - len(data))
        if not more:
            return b""
        data += more
    size = 4 + struct.unpack(">I", data)[0]
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data


def interrupted_add(data, directory, path, forward):
    """`schema add` killed after it has noted the change: before its event, or behind it."""
    proxy = Proxy(os.path.join(directory, "proxy.sock"), f"{data}/daybook.sock", forward)
    process = start("schema", "add", "-D", data, "-s", proxy.path, "door", path)
    assert proxy.reached.wait(60), "no pub came"
    process.kill()
    process.wait()
    proxy.close()
    os.unlink(proxy.path)
    if forward:  # the daemon notes that its event is durable
        settled(data)
    else:
        assert " 0 0 " in catalogue(data), "the change is pending: " + catalogue(data)


def settled(data):
    """Wait until nothing is pending any more; a minute is for ever."""
    end = time.monotonic() + 60
    while " 0 0 " in catalogue(data):
        assert time.monotonic() < end, "still pending: " + catalogue(data)
        time.sleep(0.01)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def unsettle(data, after=None):
    """As a crash leaves it between a change's event and its note: the last line is pending."""
    lines = catalogue(data).split("\n")
    fields = lines[-3].split(" ")
    fields[6] = fields[7] = "0"
    if after is not None:
        fields[5] = str(after)
    text = "\n".join(lines[:-3] + [" ".join(fields)]) + "\n"
    write(f"{data}/schemas", "catalogue", text + f"checksum {crc32c(text.encode()):08x}\n")


def fill(data, segments=4):
    """So much that retention finds whole segments to delete, and everything before is gone."""
    for _ in range(segments):
        pub(data, [{"n": i, "x": os.urandom(800).hex()} for i in range(800)], topic="fill")


FILL_FLAGS = ("--segment-size", "1M")


@promise("killed between note and event, a change is not in effect, and the same command finishes it")
def killed_before_the_event(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", PRICE)
    with daemon(data):
        interrupted_add(data, directory, path, forward=False)
        pub(data, [{"price": -1}])
        assert rows(data)["door"]["state"] == "pending"
    with daemon(data):  # one that starts in between
        pub(data, [{"price": -1}])
        result = add(data, "door", path)
        assert since(result) == 3, result.text
        assert "schema 1 of" in result.text and "had been left unfinished" in result.err
        pub(data, [{"price": -1}], expect=INCOMPLETE)
    assert len(events(data, "_schema")) == 1


@promise("killed between event and its note, a change is in effect, also for a daemon that starts then")
def killed_behind_the_event(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", PRICE)
    with daemon(data):
        pub(data, [{"price": -1}])
        interrupted_add(data, directory, path, forward=True)
        pub(data, [{"price": -1}], expect=INCOMPLETE)
    pub(data, [{"price": -1}], expect=INCOMPLETE)  # without a daemon
    with daemon(data):
        pub(data, [{"price": -1}], expect=INCOMPLETE)
        result = add(data, "door", path)
        assert since(result) == 2, result.text
        assert "was in effect already" in result.text
    assert len(events(data, "_schema")) == 1
    assert " 0 0 " not in catalogue(data)


@promise("a change whose event retention has deleted is in effect all the same, once it was noted")
def survives_retention(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", PRICE)
    with daemon(data, *FILL_FLAGS):
        interrupted_add(data, directory, path, forward=True)
        fill(data)
        daybook("retention", "-D", data, "--max-size", "2M")
        assert events(data, "_schema") == []
    with daemon(data, *FILL_FLAGS):
        pub(data, [{"price": -1}], expect=INCOMPLETE)
        assert rows(data)["door"]["state"] == "in effect"


@promise("when nobody can tell whether a pending change was in effect, events are checked, that is said, and the same command finishes it")
def in_doubt(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", PRICE)
    with daemon(data, *FILL_FLAGS):
        add(data, "door", path)
        fill(data)
        daybook("retention", "-D", data, "--max-size", "2M")
        assert events(data, "_schema") == []
        unsettle(data)
        # The daemon knows its sequence: it settles the line again when the command comes.
        result = add(data, "door", path)
        assert "was in effect already" in result.text, result.text
        assert since(result) == 1 and " 0 0 " not in catalogue(data), result.text
    unsettle(data)
    result = pub(data, [{"price": -1}], expect=INCOMPLETE)
    assert "whether schema 1 of topic 'door' was in effect cannot be told" in result.err, result.err
    with open(f"{directory}/daemon.log", "wb") as log:
        with daemon_logging(data, log):
            pub(data, [{"price": -1}], expect=INCOMPLETE)
            status = json.loads(daybook("status", "-D", data, "-o", "json").text)
            assert "is pending" in status["trouble"], status
            result = add(data, "door", path)
            assert "had been left unfinished" in result.err and since(result) > 1, result.text
            pub(data, [{"price": -1}], expect=INCOMPLETE)
            status = json.loads(daybook("status", "-D", data, "-o", "json").text)
            assert status["trouble"] is None, status
    with open(f"{directory}/daemon.log", encoding="utf-8") as log:
        text = log.read()
        assert "warning schemas: whether schema 1 of topic 'door'" in text, text
    assert events(data, "door") == []


@promise("a catalogue that is ahead of its log, from a backup, is finished with one event, once")
@both_ways
def ahead_of_the_log(data, directory):
    path = write(directory, "s.json", PRICE)
    pub(data, [{}], topic="lamp")
    add(data, "door", path)
    unsettle(data, after=7000)
    result = add(data, "door", path)
    assert since(result) == 2 and "was in effect already" in result.text, result.text
    pub(data, [{"price": -1}], expect=INCOMPLETE)
    assert len(events(data, "_schema")) == 1


@promise("whoever stores a change's event settles its line, without the command")
@both_ways
def settled_by_the_writer(data, directory):
    other = os.path.join(directory, "other")
    add(other, "door", write(directory, "s.json", PRICE))
    change = events(other, "_schema")[0]["payload"]
    pub(data, [{}], topic="lamp")
    shutil.copytree(f"{other}/schemas", f"{data}/schemas")
    unsettle(data, after=0)
    pub(data, [{"price": -1}])
    pub(data, [change], topic="_schema")
    settled(data)
    assert " 0 3 " in catalogue(data), catalogue(data)
    assert rows(data)["door"]["state"] == "in effect" and rows(data)["door"]["since_seq"] == 3
    pub(data, [{"price": -1}], expect=INCOMPLETE)
    shutil.rmtree(other)


@promise("a pending change whose text is lost says which text is needed, and promises nothing")
def lost_text(directory):
    data = os.path.join(directory, "log")
    path = write(directory, "s.json", PRICE)
    add(data, "door", path)
    unsettle(data)
    os.unlink(f"{data}/schemas/door.1.json")
    result = add(data, "door", path, expect=DAMAGE)
    assert "the very text that 'daybook schema add' was given" in result.err, result.err
    assert "event 0" not in result.err and "finishes it" not in result.err, result.err
    shutil.copy(path, f"{data}/schemas/door.1.json")
    add(data, "door", path)


@promise("another change finishes the one that was interrupted first")
def finished_by_another(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    with daemon(data):
        interrupted_add(data, directory, write(directory, "s.json", PRICE), forward=False)
        result = daybook("schema", "remove", "-D", data, "door")
        assert "had been left unfinished" in result.err, result.err
        assert since(result) == 2
    actions = [e["payload"]["action"] for e in events(data, "_schema")]
    assert actions == ["add", "remove"], actions


@promise("killed with SIGKILL at any moment, the command leaves what the next one completes")
def killed_at_any_moment(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    with daemon(data):
        for i in range(25):
            path = write(directory, "s.json", json.dumps({"properties": {"n": {"minimum": i}}}))
            process = start("schema", "add", "-D", data, "door", path)
            time.sleep(0.0006 * i)
            process.kill()
            process.wait()
            add(data, "door", path)
            assert f'"minimum": {i}}}' in daybook("schema", "show", "-D", data, "door").text
            pub(data, [{"n": i - 1}], expect=INCOMPLETE)
            pub(data, [{"n": i}])
    changes = [e["payload"]["schema"]["properties"]["n"]["minimum"]
               for e in events(data, "_schema")]
    assert changes == list(range(25)), changes


@promise("many may change schemas at once: each one waits for its turn")
def at_once(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    with daemon(data):
        processes = []
        for i in range(8):
            path = write(directory, f"{i}.json", json.dumps({"minimum": i}))
            processes.append(start("schema", "add", "-D", data, f"t{i}", path))
        for process in processes:
            _, err = process.communicate()
            assert process.returncode == OK, (process.returncode, err)
        assert sorted(rows(data)) == [f"t{i}" for i in range(8)]
        assert all(r["state"] == "in effect" for r in rows(data).values())
    assert len(events(data, "_schema")) == 8


@promise("where nobody takes the event, nothing is noted")
def unreachable(directory):
    data = os.path.join(directory, "log")
    pub(data, [{}])
    path = write(directory, "s.json", PRICE)
    add(data, "door", path, "-s", f"{directory}/none.sock", expect=UNREACHABLE)
    assert not os.path.exists(f"{data}/schemas/catalogue")
    with daemon(data):
        other = os.path.join(directory, "other")
        pub(other, [{}])
        result = add(other, "door", path, "-s", f"{data}/daybook.sock", expect=FAILURE)
        assert "another log" in result.err, result.err
        assert not os.path.exists(f"{other}/schemas/catalogue")


@promise("a daemon of an older release, which would check nothing, gets no schema")
def older_daemon(directory):
    data = os.path.join(directory, "log")
    pub(data, [{}])
    log_id = json.loads(daybook("status", "-D", data, "-o", "json").text)["log_id"]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{directory}/old.sock")
    listener.listen(1)

    def serve():
        client, _ = listener.accept()
        while frame := receive_frame(client):
            kind = framed.unpack(frame, 4)[0][0]
            assert kind in ("hello", "status"), f"a {kind} came"
            answer = ["welcome", {"version": 1, "server": "daybookd 0.0.9", "log": log_id,
                                  "durable": 1, "last_number": 0, "max_frame": 1052672,
                                  "max_events": 4096}]
            client.sendall(framed.frame(answer if kind == "hello" else ["status", {"log": log_id}]))

    threading.Thread(target=serve, daemon=True).start()
    result = add(data, "door", write(directory, "s.json", PRICE), "-s", f"{directory}/old.sock",
                 expect=FAILURE)
    assert "is of an older release" in result.err, result.err
    assert not os.path.exists(f"{data}/schemas/catalogue")


@promise("a damaged or missing catalogue or text keeps every writer out, and says what to do")
def damaged(directory):
    data = os.path.join(directory, "log")
    add(data, "door", write(directory, "s.json", PRICE))
    kept = f"{directory}/kept"
    shutil.copytree(f"{data}/schemas", kept)

    def expect_refusal(text):
        for words in (["pub", "-D", data, "-t", "door"],
                      ["schema", "add", "-D", data, "lamp", f"{directory}/s.json"]):
            result = daybook(*words, stdin='{"price":-1}\n', expect=DAMAGE)
            assert text in result.err, result.err
        try:
            with daemon(data):
                raise RuntimeError("the daemon started")
        except AssertionError as error:
            assert text in str(error), error
        shutil.rmtree(f"{data}/schemas")
        shutil.copytree(kept, f"{data}/schemas")

    with open(f"{data}/schemas/catalogue", "r+b") as file:
        file.seek(20)
        file.write(b"X")
    found = daybook("verify", "-D", data, expect=DAMAGE)
    assert "schemas/catalogue is damaged" in found.text, found.text
    assert "schemas/catalogue is damaged" in daybook("status", "-D", data, expect=DAMAGE).text
    expect_refusal("schemas/catalogue is damaged: put schemas/catalogue back")
    os.unlink(f"{data}/schemas/catalogue")
    expect_refusal("schemas/catalogue is missing")
    with open(f"{data}/schemas/door.1.json", "ab") as file:
        file.write(b" ")
    result = daybook("pub", "-D", data, "-t", "door", stdin="{}\n", expect=DAMAGE)
    assert "schemas/door.1.json is damaged" in result.err, result.err
    found = daybook("verify", "-D", data, expect=DAMAGE)
    assert "schemas/door.1.json is damaged" in found.text, found.text
    shutil.copy(f"{kept}/door.1.json", f"{data}/schemas/door.1.json")
    pub(data, [{"price": -1}], expect=INCOMPLETE)
    assert len(events(data)) == 1
    daybook("verify", "-D", data)


INVALID = {
    "no JSON": ('{"type": ', ""),
    "no schema": ("7", "#"),
    "an unknown keyword": ('{"properties": {"a": {"minium": 0}}}', "#/properties/a/minium"),
    "a keyword that is not understood": ('{"unevaluatedProperties": false}', "unevaluatedProperties"),
    "a wrong type name": ('{"type": "strng"}', "#/type"),
    "a loop of references": ('{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}', "refers to itself"),
    "a reference to nowhere": ('{"$ref": "#/$defs/b"}', "$ref"),
    "a reference to another file": ('{"$ref": "other.json"}', "$ref"),
    "a broken pattern": ('{"pattern": "("}', "#/pattern"),
    "too many levels": ('{"not":' * 70 + "true" + "}" * 70, ""),
    "NaN": ('{"minimum": NaN}', "#/minimum"),
    "a huge integer": ('{"minimum": 123456789012345678901234567890}', ""),
    "the same key twice": ('{"type": "string", "type": "number"}', "#"),
    "text that is not UTF-8": (b'{"title": "\xff"}', ""),
    "nothing": ("", ""),
}


@promise("an invalid schema of every kind is refused with file and place, and nothing changes")
def invalid(directory):
    data = os.path.join(directory, "log")
    pub(data, [{}])
    for name, (text, where) in INVALID.items():
        path = write(directory, "bad.json", text)
        for words in (["add", "-D", data, "door", path], ["check", "-D", data, "door", path]):
            result = daybook("schema", *words, expect=FAILURE)
            assert f"{path}: " in result.err and where in result.err, f"{name}: {result.err}"
    assert not os.path.exists(f"{data}/schemas/catalogue")
    deep = write(directory, "deep.json", '{"not":' * 40 + "true" + "}" * 40)
    result = add(data, "door", deep, expect=FAILURE)
    assert "as an event" in result.err or "level" in result.err, result.err
    large = write(directory, "large.json", json.dumps({"title": "x" * (1 << 20)}))
    add(data, "door", large, expect=FAILURE)
    assert not os.path.exists(f"{data}/schemas/door.1.json")
    daybook("schema", "add", "-D", data, "door", f"{directory}/missing.json", expect=FAILURE)
    good = write(directory, "good.json", "true")
    for topic in ("_schema", "_gap", "_rejected.door", "no topic"):
        daybook("schema", "add", "-D", data, topic, good, expect=USAGE)
    too_long = "a/" * 100
    err = add(data, too_long, good, expect=FAILURE).err
    assert ("too long to have a schema: it takes 400 bytes in the name of a file, where each '/', each "
            "':' and a '.' at the beginning takes three, and 235 are possible") in err, err
    add(data, "x" * 236, good, expect=FAILURE)
    for words in ([], ["frobnicate"], ["add", "door"], ["show"], ["list", "door"],
                  ["add", "door", good, "more"], ["add", "door", good, "--mode", "maybe"]):
        daybook("schema", *words, "-D", data, expect=USAGE)
    for words in (["list", "--mode", "warn"], ["list", "--version", "1"],
                  ["remove", "door", "--mode", "warn"], ["remove", "door", "-o", "json"],
                  ["add", "door", good, "--version", "1"], ["add", "door", good, "-o", "json"],
                  ["check", "door", good, "--mode", "warn"], ["check", "door", "--version", "1"],
                  ["show", "door", "--mode", "warn"], ["show", "door", "-o", "json"]):
        assert "means nothing to " + words[0] in daybook("schema", *words, "-D", data,
                                                         expect=USAGE).err
    add(data, "x" * 235, good)


@promise("without a log every action says so, in the words of all commands")
def no_log(directory):
    empty = os.path.join(directory, "empty")
    os.mkdir(empty)
    good = write(directory, "good.json", "true")
    for data in (empty, os.path.join(directory, "missing")):
        for words in (["list"], ["show", "door"], ["check", "door"], ["check", "door", good]):
            result = daybook("schema", *words, "-D", data, expect=FAILURE)
            assert f"no log in '{data}': start one with" in result.err, result.err
        assert os.path.isdir(data) == (data == empty)


@promise("a pattern that would take for ever gives up, and costs the daemon no more than moments")
def catastrophic(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    path = write(directory, "s.json", '{"properties": {"a": {"pattern": "^(a+)+$"}}}')
    with daemon(data):
        add(data, "door", path)
        pub(data, [{"a": "a" * 40 + "!"}] * 20, expect=INCOMPLETE)
        pub(data, [{"a": "aaa"}])


@promise("check says how many stored events would fail and why, and changes nothing")
@both_ways
def check_history(data, directory):
    payloads = [{"price": i - 3} for i in range(10)] + [{"price": "x"}, {}]
    pub(data, payloads)
    pub(data, [{"price": -100}], topic="lamp")
    path = write(directory, "s.json", TOTAL)
    result = daybook("schema", "check", "-D", data, "door", path, "-o", "json", expect=DIFFERENT)
    found = json.loads(result.text)
    assert [found[k] for k in ("topic", "events", "passed", "failed")] == ["door", 12, 7, 5], found
    by_rule = {r["rule"]: r for r in found["rules"]}
    assert {k: v["failed"] for k, v in by_rule.items()} == {
        "#/properties/price/minimum": 3, "#/properties/price/type": 1, "#/required": 1} or \
        len(by_rule) == 3, by_rule
    first = by_rule["#/properties/price/minimum"]["examples"][0]
    assert first["seq"] == 1 and first["pointer"] == "/price" and first["value"] == "-3", first
    assert first["reason"] == "-3 is less than the minimum 0" and first["time"].endswith("Z")
    table = daybook("schema", "check", "-D", data, "door", path, expect=DIFFERENT).text
    assert "#/properties/price/minimum" in table and "passed  7" in table, table
    assert not os.path.exists(f"{data}/schemas/catalogue")
    daybook("schema", "check", "-D", data, "door", expect=FAILURE)  # no schema, no file
    loose = write(directory, "loose.json", "true")
    assert json.loads(daybook("schema", "check", "-D", data, "door", loose, "-o", "json").text)[
        "failed"] == 0
    add(data, "door", path)
    daybook("schema", "check", "-D", data, "door", expect=DIFFERENT)
    daybook("schema", "check", "-D", data, "silent", loose)
    for i in range(5):
        pub(data, [{"price": i}])
    many = json.loads(daybook("schema", "check", "-D", data, "door", "-o", "json",
                              expect=DIFFERENT).text)
    assert many["events"] == 17 and many["failed"] == 5, many


@promise("an event repeated after a schema came is a duplicate, not refused")
def repeated(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    with daemon(data):
        connection = framed.Connection(f"{data}/daybook.sock", producer="meter")
        frame = ["pub", 1, [["door", None, {"price": -1}, 1]]]
        connection.send(framed.frame(frame))
        assert connection.receive()[2] == 1
        add(data, "door", write(directory, "s.json", PRICE))
        connection.send(framed.frame(frame))
        answer = connection.receive()
        assert answer[5] == 1 and answer[6] == [], answer
        connection.send(framed.frame(["pub", 2, [["door", None, {"price": -1}, 2]]]))
        index, code, reason = connection.receive()[6][0]
        assert (index, code) == (0, "invalid") and reason.startswith("payload at /price: "), reason
        connection.close()


@promise("large events, which are looked through beside everything else, are held against it, too")
def large(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data, 0o750)
    with daemon(data):
        add(data, "door", write(directory, "s.json", '{"items": {"minimum": 0}}'))
        good, bad = list(range(20000)), list(range(20000)) + [-1]
        connection = framed.Connection(f"{data}/daybook.sock")
        connection.send(framed.frame(["pub", 1, [["door", None, good], ["door", None, bad],
                                                 ["lamp", None, bad]]]))
        answer = connection.receive()
        assert answer[2] == 2 and answer[6] == [[1, "invalid", "payload at /20000: -1 is less than "
                                                 "the minimum 0 (#/items/minimum of schema 1)"]], \
            answer
        connection.close()
        lines = socket.socket(socket.AF_UNIX)
        lines.connect(f"{data}/daybook.sock")
        for payload, expected in ((good, b'{"ok":true'), (bad, b'{"ok":false,"error":"payload at')):
            lines.sendall(json.dumps({"topic": "door", "payload": payload}).encode() + b"\n")
            assert lines.recv(4096).startswith(expected)
        lines.close()
        assert rows(data)["door"]["checked"] == 4 and rows(data)["door"]["refused"] == 2


@promise("what topics --infer proposes is taken by schema add as it is, and all stored events pass")
def inferred(directory):
    data = os.path.join(directory, "log")
    lines = signals(500)
    for line in lines:
        line["ratio"] = float(line["ratio"])
    daybook("pub", "-D", data, "-t", "signal", stdin=jsonl(lines))
    pub(data, [{"other": 1}], topic="lamp")
    result = daybook("topics", "-D", data, "--infer", "signal")
    assert "500 events of 'signal' keep to this" in result.err, result.err
    schema = json.loads(result.text)
    assert schema["type"] == "object" and set(schema["required"]) == set(lines[0])
    assert schema["properties"]["pair"] == {"type": "string", "enum": ["XAUUSD", "USDCNH", "EURJPY"]}
    assert schema["properties"]["win"] == {"type": ["boolean", "null"]}
    assert schema["properties"]["offset"] == {"type": "integer"}
    path = write(directory, "inferred.json", result.out)
    daybook("schema", "check", "-D", data, "signal", path)
    add(data, "signal", path)
    daybook("pub", "-D", data, "-t", "signal", stdin=jsonl(lines))
    pub(data, [{**lines[0], "pair": "BTCUSD"}], topic="signal", expect=INCOMPLETE)
    daybook("topics", "-D", data, "--infer", "silent", expect=FAILURE)
    daybook("topics", "-D", data, "--infer", "no topic", expect=USAGE)
    daybook("topics", "-D", os.path.join(directory, "none"), "--infer", "signal", expect=FAILURE)


if __name__ == "__main__":
    main()
