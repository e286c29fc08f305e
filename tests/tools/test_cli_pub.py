#!/usr/bin/env python3
"""What goes in by `daybook pub` comes out again, and what cannot go in is named."""
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter

import framed
from cli_support import (DAYBOOK, DAYBOOKD, DAMAGE, FAILURE, INCOMPLETE, UNREACHABLE, USAGE, daemon,
                         daybook, environment, event_lines, jsonl, main, promise, same,
                         segment_files, signals, start, write)

COUNT = 1402


def check_round_trip(directory, data):
    lines = signals(COUNT)
    result = daybook("pub", "-D", data, "--topic-field", "pattern", "--time-field", "timestamp",
                     write(directory, "signals.jsonl", jsonl(lines)))
    assert result.out == b"", "pub prints nothing to stdout"
    assert "1,402 events stored durably in " in result.err, result.err
    assert "(sequences 1-1402)" in result.err, result.err

    events = daybook("read", "-D", data, "-n", "all", "-o", "json").events
    assert [e["seq"] for e in events] == list(range(1, COUNT + 1))
    for event, line in zip(events, lines):
        assert same(event["payload"], line), f"{event} is not {line}"
        assert event["topic"] == line["pattern"]
        assert event["time"] == line["timestamp"] + "000Z", event["time"]
    return lines


def topic_counts(data):
    with sqlite3.connect(f"file:{data}/events.db?mode=ro", uri=True) as index:
        return dict(index.execute("SELECT topic, COUNT(*) FROM events GROUP BY topic"))


@promise("signals come back in order, equal as JSON, to the microsecond")
def round_trip(directory):
    data = os.path.join(directory, "log")
    lines = check_round_trip(directory, data)
    counts = topic_counts(data)
    assert counts == Counter(line["pattern"] for line in lines), counts


@promise("the stock sqlite3 shell counts the topics with nothing loaded")
def stock_shell(directory):
    lines = signals(50)
    daybook("pub", "-D", directory, "--topic-field", "pattern",
            write(directory, "s.jsonl", jsonl(lines)))
    shell = subprocess.run(["sqlite3", f"{directory}/events.db",
                            "SELECT topic, COUNT(*) FROM events GROUP BY topic;"],
                           stdout=subprocess.PIPE, check=True)
    counts = dict(line.split("|") for line in shell.stdout.decode().splitlines())
    assert counts == {k: str(v) for k, v in Counter(x["pattern"] for x in lines).items()}, counts


@promise("through a running daemon the same comes back, and the index follows")
def round_trip_through_daemon(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data)
    with daemon(data):
        lines = check_round_trip(directory, data)
        result = daybook("sql", "-D", data, "-o", "json",
                         "SELECT topic, count(*) AS n FROM events GROUP BY topic")
        counts = {row["topic"]: row["n"] for row in json.loads(result.text)}
        assert counts == Counter(line["pattern"] for line in lines), counts
    assert daybook("verify", "-D", data).out == b""


BAD_LINES = [
    ("# comment", "not JSON"),
    ('{"topic":"t","payload":{"x":', "not JSON"),
    ('[{"topic":"t","payload":1}]', "must be a JSON object, this is an array"),
    ("42", "must be a JSON object"),
    ('{"topic":"with space","payload":1}', "topic has a space"),
    ('{"topic":"","payload":1}', "topic is empty"),
    ('{"topic":7,"payload":1}', "'topic': a topic is text"),
    ('{"payload":1}', "it has no topic"),
    ('{"topic":"t"}', "it has no payload"),
    ('{"topic":"t","payload":1,"level":2}', "no 'level'"),
    ('{"topic":"t","time":"yesterday","payload":1}', "'time'"),
    ('{"topic":"t","time":[],"payload":1}', "a time is text or a number"),
    ('{"topic":"t","payload":' + "9" * 30 + "}", ""),
    ('{"topic":"t","payload":' + "[" * 40 + "]" * 40 + "}", ""),
    ('{"topic":"t","payload":"' + "x" * (2 << 20) + '"}', "more than 1048576"),
    ('{"topic":"t","payload":"' + "x" * (17 << 20) + '"}', "longer than 16 MiB"),
    ('{"topic":"t","payload":1} trailing', ""),
]


def check_bad_lines(directory, data):
    """Each bad line between two good ones, which are stored all the same."""
    text = ""
    for number, (line, _) in enumerate(BAD_LINES):
        text += json.dumps({"topic": "good", "payload": number}) + "\n" + line + "\n"
    path = write(directory, "mixed.jsonl", text + '\n  \n{"topic":"good","payload":"last"}')
    result = daybook("pub", "-D", data, path, expect=INCOMPLETE)
    for number, (_, reason) in enumerate(BAD_LINES):
        place = f"{path}:{2 * number + 2}: "
        named = [line for line in result.err.splitlines() if line.startswith(place)]
        assert len(named) == 1 and reason in named[0], f"{place}{reason}: {named}"
    assert f"{len(BAD_LINES)} lines refused" in result.err
    payloads = [e["payload"] for e in daybook("read", "-D", data, "-o", "json").events]
    assert payloads == list(range(len(BAD_LINES))) + ["last"], payloads


@promise("bad lines are named with file, line and reason, good ones stored, exit status 5")
def bad_lines(directory):
    check_bad_lines(directory, os.path.join(directory, "log"))


@promise("bad lines are named in the same way when a daemon is there")
def bad_lines_through_daemon(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data)
    with daemon(data):
        check_bad_lines(directory, data)


@promise("bare objects: a missing topic or time field, or a bad one, refuses the line")
def bare_objects(directory):
    text = "\n".join([
        '{"kind":"a","at":1767323045}',
        '{"at":1767323045}',
        '{"kind":"a"}',
        '{"kind":"a","at":"soon"}',
        '{"kind":null,"at":1}',
        '{"kind":"a b","at":1}',
        '{"kind":"b","at":1767323045500}',
        '{"kind":"b","at":1767323045500250}',
        '{"kind":"b","at":1767323045500250125}',
        '{"kind":"b","at":1767323045.25}',
        '{"kind":"b","at":"2026-01-02T04:04:05+01:00"}',
        '{"kind":"b","at":"2026-01-02 03:04:05.5"}',
    ])
    result = daybook("pub", "-D", directory, "--topic-field", "kind", "--time-field", "at", "-",
                     stdin=text, expect=INCOMPLETE)
    refused = [line.split(": ")[0] for line in result.err.splitlines() if "<stdin>" in line]
    assert refused == [f"<stdin>:{n}" for n in range(2, 7)], result.err
    times = [e["time"][17:-1] for e in daybook("read", "-D", directory, "-o", "json").events]
    assert times == ["05.000000000", "05.500000000", "05.500250000", "05.500250125",
                     "05.250000000", "05.000000000", "05.500000000"], times


@promise("what read -o json prints, pub takes as it stands")
def read_feeds_pub(directory):
    daybook("pub", "-D", f"{directory}/a", "--topic-field", "pattern", "--time-field", "timestamp",
            stdin=jsonl(signals(200)))
    first = daybook("read", "-D", f"{directory}/a", "-o", "json")
    daybook("pub", "-D", f"{directory}/b", stdin=first.out)
    assert daybook("read", "-D", f"{directory}/b", "-o", "json").out == first.out


@promise("-s names the one daemon that will do: without it, exit status 3 and nothing is written")
def explicit_socket(directory):
    data = os.path.join(directory, "log")
    daybook("pub", "-D", data, "-s", f"{directory}/no.sock", stdin='{"topic":"t","payload":1}\n',
            expect=UNREACHABLE)
    assert not os.path.exists(data)


@promise("a writer that does not answer at the socket is named, exit status 3")
def hidden_writer(directory):
    data = os.path.join(directory, "log")
    os.mkdir(data)
    elsewhere = os.path.join(directory, "elsewhere.sock")
    with daemon(data) as process:
        os.rename(f"{data}/daybook.sock", elsewhere)
        for page in "whole", "of zeros", "missing":
            if page == "of zeros":
                with open(f"{data}/watermark", "r+b") as file:
                    file.write(bytes(64))
            if page == "missing":
                os.unlink(f"{data}/watermark")
            result = daybook("pub", "-D", data, "-t", "t", stdin="{}\n", expect=UNREACHABLE)
            named = f"(daybookd, pid {process.pid}) writes to this log, but nobody takes events at"
            assert named in result.err, (page, result.err)
        daybook("pub", "-D", data, "-s", elsewhere, "-t", "t", stdin="{}\n")


@promise("$DAYBOOK_SOCKET is used, but never for another directory's log")
def socket_of_environment(directory):
    data, other = os.path.join(directory, "log"), os.path.join(directory, "other")
    os.mkdir(data)
    with daemon(data):
        env = {"DAYBOOK_SOCKET": f"{data}/daybook.sock"}
        daybook("pub", "-t", "t", stdin="{}\n", env=env, cwd=directory)
        daybook("pub", "-D", data, "-t", "t", stdin="{}\n", env=env)
        result = daybook("pub", "-D", other, "-t", "t", stdin="{}\n", env=env, expect=FAILURE)
        assert "keeps another log" in result.err, result.err
        assert len(daybook("read", "-D", data).lines) == 2 and not os.path.exists(other)
    daybook("pub", "-t", "t", stdin="{}\n", env=env, cwd=directory, expect=UNREACHABLE)
    assert sorted(os.listdir(directory)) == ["log"], "no log appears anywhere else"


@promise("an event is durable before stdin ends: a slow producer's line can be read at once")
def slow_producer(directory):
    pub = start("pub", "-D", directory, "-t", "t", stdin=subprocess.PIPE)
    pub.stdin.write(b'{"n":1}\n')
    pub.stdin.flush()
    while daybook("read", "-D", directory, "-o", "cat", expect=None).text != '{"n":1}\n':
        time.sleep(0.01)
    pub.stdin.close()
    assert pub.wait() == 0
    pub.stdout.close()
    pub.stderr.close()


@promise("Ctrl-C stores what was read, and says that it was interrupted, exit status 5")
def interrupted(directory):
    pub = start("pub", "-D", directory, "-t", "t", stdin=subprocess.PIPE)
    pub.stdin.write(b"{}\n{}\n")
    pub.stdin.flush()
    while len(daybook("read", "-D", directory, expect=None).lines) < 2:
        time.sleep(0.01)
    pub.send_signal(signal.SIGINT)
    _, err = pub.communicate()
    assert pub.returncode == INCOMPLETE and b"interrupted" in err, (pub.returncode, err)
    assert topic_counts(directory) == {"t": 2}, "the index is caught up all the same"


@promise("a named producer's events are numbered on, run after run")
def named_producer(directory):
    for _ in range(2):
        daybook("pub", "-D", directory, "-t", "t", "--producer", "meter-7", stdin="{}\n{}\n")
    assert len(daybook("read", "-D", directory).lines) == 4


@promise("the settings of a log are understood, and small segments roll")
def settings(directory):
    for first in range(1, 601, 100):
        daybook("pub", "-D", directory, "--segment-size", "64K", "--segment-age", "1d",
                "--write-path", "mmap", "--commit-align", "512",
                stdin=event_lines(100, size=400, first=first))
    assert len(segment_files(directory)) > 2, segment_files(directory)
    assert len(daybook("read", "-D", directory).lines) == 600
    assert daybook("verify", "-D", directory).status == 0


@promise("settings come from a file, too: -c; flags win, and the daemon's own are no mistake")
def settings_file(directory):
    data = os.path.join(directory, "log")
    path = write(directory, "daybook.conf", f"# ours\ndir = {data}\nsegment-size = 64K\n"
                                            "max-connections = 7\n")
    for first in range(1, 401, 100):
        daybook("pub", "-c", path, stdin=event_lines(100, size=400, first=first))
    assert len(segment_files(data)) > 2, segment_files(data)
    other = os.path.join(directory, "other")
    daybook("pub", "--segment-size", "1M", "-c", path, "-D", other,
            stdin=event_lines(400, size=400))
    assert len(segment_files(other)) == 1, segment_files(other)
    assert len(daybook("read", "-D", data).lines) == 400


@promise("a mistake in a setting: the same sentence as from daybookd, exit status 2 from both")
def settings_mistakes(directory):
    data = os.path.join(directory, "log")
    for flags, text in (
            (["--segment-size", "1K"], "--segment-size: '1K' is not between 64K and 4G"),
            (["--segment-age", "0"], "--segment-age: '0' is less than a second"),
            (["--commit-align", "7"], "--commit-align: '7' is none of 8, 512, 4096"),
            (["-c", write(directory, "a.conf", "\nsegment-age = 0\n")],
             "a.conf:2: segment-age: '0' is less than a second"),
            (["-c", write(directory, "b.conf", "colour = red\n")], "b.conf:1: there is no setting"),
            (["-c", f"{directory}/none.conf"], "none.conf")):
        result = daybook("pub", "-D", data, *flags, stdin=event_lines(1), expect=USAGE)
        assert text in result.err and result.err.count("\n") == 1, result.err
        theirs = subprocess.run([DAYBOOKD, "-D", data, *flags], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert theirs.returncode == USAGE and text in theirs.stderr.decode(), theirs
    assert not os.path.exists(data)


@promise("the daemon's reason for turning us away is told")
def turned_away(directory):
    path = os.path.join(directory, "busy.sock")

    def turn_away(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)  # its hello
            connection.sendall(framed.frame(["error", "busy", "too many connections"]))

    data = os.path.join(directory, "log")
    with daemon(data), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        thread = threading.Thread(target=turn_away, args=(listener,))
        thread.start()
        result = daybook("pub", "-D", data, stdin=event_lines(1), expect=UNREACHABLE,
                         env={"DAYBOOK_SOCKET": path})
        thread.join()
    assert "too many connections" in result.err and result.err.count("\n") == 1, result.err


@promise("a producer's name does not make a second run a repetition, and the help says so")
def second_run(directory):
    for _ in range(2):
        daybook("pub", "-D", directory, "-t", "t", "--producer", "p", stdin="{}\n{}\n")
    assert len(daybook("read", "-D", directory).lines) == 4
    text = " ".join(daybook("pub", "--help").text.split())
    assert "within a run, but again in a new run" in text and "on retry" not in text, text


@promise("a producer's numbers end: beyond the last one a line is refused, not passed off as stored")
def last_number(directory):
    highest = 2**64 - 2
    line = {"topic": "t", "payload": {}, "producer": "p", "number": highest - 1}
    with daemon(directory), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{directory}/daybook.sock")
        connection.sendall(json.dumps(line).encode() + b"\n")
        answer = connection.makefile().readline()
        assert json.loads(answer)["ok"], answer
    result = daybook("pub", "-D", directory, "-t", "t", "--producer", "p", stdin="{}\n{}\n",
                     expect=INCOMPLETE)
    assert result.err.startswith("<stdin>:2: ") and "used up its numbers" in result.err, result.err
    assert "1 event stored durably" in result.err and "1 line refused" in result.err, result.err
    assert len(daybook("read", "-D", directory).lines) == 2


@promise("wrong flags: one sentence, the way to the help, exit status 2, nothing written")
def wrong_flags(directory):
    data = os.path.join(directory, "log")
    for flags in (["--nope"], ["-t"], ["-t", "a b"], ["-t", "a", "--topic-field", "b"],
                  ["--ack", "maybe"], ["--segment-size", "many"], ["--commit-align", "7"],
                  ["--write-path", "magic"], ["--producer", "a b"]):
        result = daybook("pub", "-D", data, *flags, expect=USAGE)
        assert result.err.count("\n") == 1 and "daybook pub --help" in result.err, result.err
    assert not os.path.exists(data)


@promise("a file that cannot be read is named before anything is written, exit status 1")
def missing_file(directory):
    data = os.path.join(directory, "log")
    good = write(directory, "good.jsonl", event_lines(1))
    result = daybook("pub", "-D", data, good, f"{directory}/absent.jsonl", expect=FAILURE)
    assert "absent.jsonl" in result.err and not os.path.exists(data), result.err


@promise("a log whose durable end is lost is not written on: the index is the witness, exit 4")
def witness(directory):
    daybook("pub", "-D", directory, stdin=event_lines(10))
    shutil.copytree(f"{directory}/segments", f"{directory}/backup")
    daybook("pub", "-D", directory, stdin=event_lines(10))
    shutil.rmtree(f"{directory}/segments")
    os.rename(f"{directory}/backup", f"{directory}/segments")
    result = daybook("pub", "-D", directory, stdin=event_lines(1), expect=DAMAGE)
    assert "20" in result.err, result.err
    result = daybook("verify", "-D", directory, expect=DAMAGE)
    assert "11 to 20" in result.text, result.text
    os.unlink(f"{directory}/watermark")  # then only the index knows
    result = daybook("pub", "-D", directory, stdin=event_lines(1), expect=DAMAGE)
    assert "20" in result.err, result.err
    result = daybook("verify", "-D", directory, expect=DAMAGE)
    assert "sequences 11-20 are lost" in result.text, result.text
    assert len(daybook("read", "-D", directory, expect=None).lines) == 10


# The disk is full where RLIMIT_FSIZE says so, behind the first segment of 1 MiB. Python ignores
# SIGXFSZ, and the program is to inherit that.
FULL_DISK = {"restore_signals": False, "preexec_fn": lambda: resource.setrlimit(
    resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))}


def large_lines(count):
    return "".join(json.dumps({"topic": "t", "payload": {"n": n, "text": os.urandom(2000).hex()}})
                   + "\n" for n in range(count))


def check_full_disk(name, done):
    """One cause is told once. How many lines it says are stored before the first that is not."""
    assert done.returncode == FAILURE, done
    said = [line for line in done.stderr.splitlines() if "a new one is made" not in line]
    assert len(re.findall("^daybook pub: stopped: the log's disk is full: .*no room for a new segment"
                          ".*daybook retention --max-size", done.stderr, re.M)) == 1, done.stderr
    spans = re.search(rf"([\d]+) events from {name}:(\d+) to {name}:(\d+) were not stored$",
                      done.stderr, re.M)
    assert spans, done.stderr
    count, first, last = (int(text) for text in spans.groups())
    assert count == last - first + 1, done.stderr
    assert f", {count} not stored for lack of space" in done.stderr, done.stderr
    rest = re.search(rf"^daybook pub: {name}:(\d+) and everything behind it was not sent$",
                     done.stderr, re.M)
    # Where all had been sent before the disk was found to be full, nothing is behind.
    assert int(rest[1]) == last + 1 if rest else last == 1000, done.stderr
    assert len(said) == (4 if rest else 3), done.stderr
    return first - 1


def check_stored(directory, count):
    there = daybook("read", "-D", directory, "-n", "all", "-o", "json").events
    assert [event["payload"]["n"] for event in there] == list(range(count)), (count, len(there))


@promise("a full disk is told once, by the daemon's pub too, with the first line that is not stored")
def full_disk_of_the_daemon(directory):
    for producer in ([], ["--producer", "p"]):
        data = os.path.join(directory, f"log{len(producer)}")
        os.mkdir(data)
        path = write(directory, "ev.json", large_lines(2000))
        with daemon(data, **FULL_DISK):
            done = subprocess.run([DAYBOOK, "pub", "-D", data, *producer, path], check=False,
                                  capture_output=True, text=True, env=environment())
            if producer:
                # Sent again over a new connection, until all of it has an answer.
                assert "may be stored" not in done.stderr, done.stderr
                first = re.search(r":(\d+)(?: was| to \S+ were) not stored$", done.stderr, re.M)
                assert done.returncode == FAILURE and first, done.stderr
                check_stored(data, int(first[1]) - 1)
            else:
                check_stored(data, check_full_disk(path, done))
            one = write(directory, "one.json", "{}\n")  # of a pipe nobody knows that it has ended
            for _ in range(20):
                result = daybook("pub", "-D", data, "-t", "t", one, expect=FAILURE)
                assert "pub: stopped: the log's disk is full: there is no room" in result.err
                assert f"{one}:1 was not stored\n" in result.err, result.err
                assert "not sent" not in result.err, result.err
                assert "0 events stored" in result.err and "refused" not in result.err, result.err
            result = daybook("pub", "-D", data, "-t", "t", stdin="{}\n#\n", expect=FAILURE)
            assert result.err.count("stopped: ") == 1, result.err


def frames_from(connection):
    """Each message that comes, until the other side has had enough."""
    data = b""
    while True:
        while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:4], "big"):
            end = 4 + int.from_bytes(data[:4], "big")
            yield framed.unpack(data[4:end])[0]
            data = data[end:]
        more = connection.recv(65536)
        if not more:
            return
        data += more


def full_daemon(listener, given_back):
    """As a daemon on a full disk: first it gives all back that it has taken, over so many
    connections, then it refuses a frame and closes, until nobody comes."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                for message in frames_from(connection):
                    if message[0] == "hello":
                        answers = [["welcome", {"version": 1, "server": "s", "log": "0" * 16,
                                                "durable": 0, "last_number": 0,
                                                "max_frame": 1052672, "max_events": 4096}]]
                    elif message[0] == "pub":
                        refused = [[i, "no_space", "full"] for i in range(len(message[2]))]
                        ack = ["ack", message[1], 0, 0, 0, 0, refused]
                        answers = [["error", "no_space", "nothing was stored"]]
                        if given_back > 0:
                            given_back -= 1
                        else:
                            answers.insert(0, ack)
                    connection.sendall(b"".join(map(framed.frame, answers)))
                    if message[0] == "pub":
                        break


@promise("what a full disk refuses is not stored, however often the daemon gives it back before it says so")
def given_back_and_refused(directory):
    path = os.path.join(directory, "full.sock")
    lines = write(directory, "ev.json", '{"topic":"t","payload":1}\n' * 3000)
    for times in 0, 1, 5, 15:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            thread = threading.Thread(target=full_daemon, args=(listener, times))
            thread.start()
            try:
                result = daybook("pub", "-s", path, "--producer", "p", lines, expect=FAILURE)
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()
            os.unlink(path)
        assert "may be stored" not in result.err and "unknown" not in result.err, result.err
        told = re.search(r":1(?: was| to \S+:(\d+) were) not stored$", result.err, re.M)
        assert told, result.err
        last = int(told[1] or 1)
        assert f", {last} not stored for lack of space" in result.err, result.err
        assert last == 3000 or f"{lines}:{last + 1} and everything behind" in result.err, result.err
        assert "stopped: the log's disk is full: full" in result.err, result.err


@promise("without a daemon a full disk ends pub with what is stored, and what is not, counted right")
def full_disk(directory):
    lines = large_lines(1000)
    done = subprocess.run(
        [DAYBOOK, "pub", "-D", directory], input=lines, capture_output=True, text=True,
        env=environment(), check=False, **FULL_DISK)
    stored = check_full_disk("<stdin>", done)
    check_stored(directory, stored)
    daybook("pub", "-D", directory, stdin=lines)
    assert len(daybook("read", "-D", directory, "-n", "all").lines) == stored + 1000


def lines_from(process, wanted):
    """What it says until a line contains `wanted`."""
    said = ""
    while wanted not in said:
        line = process.stderr.readline().decode()
        assert line, said
        said += line
    return said


@promise("an interrupted pub names the first line that it did not send, in a file to come as well")
def interrupted(directory):
    path = write(directory, "behind.jsonl", "{}\n")
    publishing = start("pub", "-D", f"{directory}/log", "-t", "t", "-", path, stdin=subprocess.PIPE)
    publishing.stdin.write(b"{}\n{}\n")
    publishing.stdin.flush()
    while len(daybook("read", "-D", f"{directory}/log", expect=None).lines) < 2:
        time.sleep(0.01)
    publishing.send_signal(signal.SIGINT)
    said = publishing.stderr.read()
    assert publishing.wait() == INCOMPLETE, said
    assert b"pub: <stdin>:3 and everything behind it was not sent\n2 events" in said, said

    data = f"{directory}/full"
    os.mkdir(data)
    with daemon(data, **FULL_DISK):
        daybook("pub", "-D", data, stdin=large_lines(2000), expect=FAILURE)
        one = write(directory, "one.jsonl", "{}\n")
        result = daybook("pub", "-D", data, "-t", "t", one, expect=FAILURE)
        assert "not sent" not in result.err, result.err
        with open(one, "ab") as file:
            file.write(b"{}\n" * 200000)
        result = daybook("pub", "-D", data, "-t", "t", one, path, expect=FAILURE)
        assert f"{one}:" in result.err and "behind it was not sent" in result.err, result.err


@promise("a daemon that is lost: a line says that pub waits, one that it is back, and it goes on")
def lost_and_back(directory):
    with daemon(directory) as first:
        publishing = start("pub", "-D", directory, "-t", "t", "--producer", "p",
                           stdin=subprocess.PIPE)
        publishing.stdin.write(b"{}\n")
        publishing.stdin.flush()
        while not daybook("read", "-D", directory, expect=None).lines:
            time.sleep(0.01)
        first.kill()
        first.wait()
        publishing.stdin.write(b"{}\n")
        publishing.stdin.flush()
        said = lines_from(publishing, "lost")
        assert said == "daybook pub: connection to the daemon lost; trying for up to 30 s\n", said
        with daemon(directory):
            said = lines_from(publishing, "again")
            assert said == "daybook pub: connected to the daemon again\n", said
            _, rest = publishing.communicate(b"{}\n")
            assert publishing.returncode == 0 and b"3 events stored" in rest, rest
        first.returncode = 0  # killed, as was meant
    assert len(daybook("read", "-D", directory).lines) == 3


@promise("a daemon that stays away is waited for once, 30 s, and then pub ends with 3", once=True)
def lost_for_good(directory):
    with daemon(directory) as first:
        publishing = start("pub", "-D", directory, "-t", "t", "--producer", "p",
                           stdin=subprocess.PIPE)
        publishing.stdin.write(b"{}\n" * 10)
        publishing.stdin.flush()
        while len(daybook("read", "-D", directory, expect=None).lines) < 10:
            time.sleep(0.01)
        first.kill()
        first.wait()
        began = time.monotonic()
        publishing.stdin.write(b"{}\n" * 3000)
        _, said = publishing.communicate(b"{}\n" * 3000)
        took = time.monotonic() - began
        first.returncode = 0  # killed, as was meant
    assert publishing.returncode == UNREACHABLE, (publishing.returncode, said)
    assert said.count(b"trying for up to 30 s") == 1, said
    assert b"10 events stored durably" in said, said
    # Not one of the lines is left out.
    rest = int(re.search(rb"<stdin>:(\d+) and everything behind it was not sent", said)[1])
    span = (f"{rest - 11} events from <stdin>:11 to <stdin>:{rest - 1} may" if rest > 12 else
            "<stdin>:11 may")
    assert f"pub: {span} be stored or not\n".encode() in said, said
    assert 29 < took < 40, took


if __name__ == "__main__":
    main()
