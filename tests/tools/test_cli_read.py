#!/usr/bin/env python3
"""daybook read: every flag, every format, against what was published."""
import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import struct
import fcntl
import termios

from cli_support import (DAMAGE, DAYBOOK, FAILURE, USAGE, daemon, daybook, environment,
                         event_lines, jsonl, main, promise, same, segment_files, signals, start)


def publish(directory, count=3000):
    """Enough for several blocks and windows; topics in turn."""
    lines = [json.loads(line) for line in event_lines(count).splitlines()]
    for i, line in enumerate(lines):
        line["topic"] = ["orders.new", "orders.done", "doors"][i % 3]
    for first in range(0, count, 700):  # one block at least for each
        daybook("pub", "-D", directory, stdin=jsonl(lines[first:first + 700]))
    return lines


def sequences(directory, *flags, **keywords):
    result = daybook("read", "-D", directory, "-o", "json", *flags, **keywords)
    return [e["seq"] for e in result.events]


@promise("-n gives the last N, -r the newest first, with and without each other")
def lines_and_reverse(directory):
    publish(directory)
    everything = list(range(1, 3001))
    assert sequences(directory) == everything
    assert sequences(directory, "-n", "all") == everything
    assert sequences(directory, "-r") == everything[::-1]
    for count in (0, 1, 7, 701, 2999, 3000, 5000):
        assert sequences(directory, "-n", count) == everything[3000 - min(count, 3000):], count
        assert sequences(directory, "-r", "-n", count) == everything[::-1][:count], count


@promise("-t takes exact topics and patterns, repeated ones add up, and -n counts what matches")
def topics(directory):
    publish(directory)
    doors = list(range(3, 3001, 3))
    assert sequences(directory, "-t", "doors") == doors
    assert sequences(directory, "-t", "door") == []
    assert sequences(directory, "-t", "d??rs") == doors
    assert sequences(directory, "-t", "d[m-p]ors") == doors
    assert sequences(directory, "-t", "orders.*") == [s for s in range(1, 3001) if s % 3]
    assert sequences(directory, "-t", "doors", "-t", "*.done") == [s for s in range(1, 3001)
                                                                  if s % 3 != 1]
    assert sequences(directory, "-t", "doors", "-n", 5) == doors[-5:]
    assert sequences(directory, "-t", "doors", "-n", 5, "-r") == doors[:-6:-1]


@promise("a pattern of -t goes token by token: * stays within one, > takes all that follow, and the "
         "log's own topics are only meant by name")
def patterns(directory):
    names = ["orders.eu.new", "orders.new", "orders", "_gap.x", "a"]
    daybook("pub", "-D", directory,
            stdin=jsonl([{"topic": name, "payload": {}} for name in names]))
    assert sequences(directory, "-t", "orders.*") == [2]
    assert sequences(directory, "-t", "orders.>") == [1, 2]
    assert sequences(directory, "-t", "orders.*.*") == [1]
    assert sequences(directory, "-t", ">") == [1, 2, 3, 5]
    assert sequences(directory, "-t", "*") == [3, 5]
    assert sequences(directory, "-t", "_>", expect=USAGE) == []
    assert sequences(directory, "-t", "_*.>") == [4]
    assert sequences(directory) == [1, 2, 3, 4, 5]
    refused = daybook("read", "-D", directory, "-t", "orders>", expect=USAGE).err
    assert refused.startswith("daybook read: -t 'orders>': the pattern has '>' at position 7; it may "
                              "only be alone the last token, as in 'orders.>'"), refused


@promise("--where takes what a SQL expression says of the payload, with all other flags")
def where(directory):
    publish(directory)
    assert sequences(directory, "--where", "n > 2990") == list(range(2991, 3001))
    assert sequences(directory, "--where", "n > 2990", "-r", "-n", 3) == [3000, 2999, 2998]
    assert sequences(directory, "--where", "n > 2990", "-n", 3) == [2998, 2999, 3000]
    assert sequences(directory, "--where", "n < 20 AND topic GLOB 'o*'", "-t", "*.done") == [
        2, 5, 8, 11, 14, 17]
    assert sequences(directory, "--where", "n < 20", "-g", '"n":7[,}]') == [7]
    assert sequences(directory, "--where", "seq = 5 OR daybook_field(payload, 'n') = 7",
                     "--after-seq", 5) == [7]
    assert sequences(directory, "--where", "time >= '2026-01-02T03:49:59'") == [2999, 3000]


@promise("a --where that is none is refused with a sentence; of an event without a value it is told")
def where_refused(directory):
    publish(directory, 10)
    for text, reason in [("prise >", "incomplete input"), ("", "the condition is empty"),
                         ("n > 1; x", "there is a ';' at position 6, but a condition is one "
                                      "expression")]:
        err = daybook("read", "-D", directory, "--where", text, expect=USAGE).err
        assert err.startswith(f"daybook read: --where '{text}': {reason}: try"), err
    err = daybook("read", "-D", directory, "--where", "n", "--where", "n", expect=USAGE).err
    assert "--where is given twice; join the conditions with AND" in err, err
    failed = daybook("read", "-D", directory, "-o", "json", "--where",
                     "CASE n WHEN 4 THEN json_extract(pad, '$') ELSE n END", expect=FAILURE)
    assert [e["seq"] for e in failed.events] == [1, 2, 3]
    assert failed.err == "daybook read: --where: event 4: malformed JSON\n", failed.err
    note = daybook("read", "-D", directory, "-n", 0, "--where", "time > '2026-01-02 03:00'").err
    assert "time is compared as text" in note, note


@promise("when nothing matches, a note says which topic there is not, and which field no event had")
def notes_on_names(directory):
    names = ["orders.eu.new", "doors", "_gap.x"]
    daybook("pub", "-D", directory,
            stdin=jsonl([{"topic": name, "payload": {"price": 1}} for name in names]))

    def notes(*flags):
        result = daybook("read", "-D", directory, *flags)
        assert not result.out or not result.err, result.err
        return result.err.replace("daybook read: note: ", "").splitlines()

    assert notes("-t", "door") == ["no topic matches -t 'door'; do you mean 'doors'?"]
    for pattern in ["orders", "orders.*", "or*"]:
        wider = pattern.removesuffix(".*") + ".>"
        assert notes("-t", pattern) == [
            f"no topic matches -t '{pattern}'; '{wider}' would match 'orders.eu.new'"]
    assert notes("-t", "a", "-t", "bells") == [
        f"no topic matches -t '{name}'; 'daybook topics' lists what there is"
        for name in ["a", "bells"]]
    assert notes("-t", "doors", "-U", "2001-01-01") == []
    assert notes("-t", "doors", "-t", "bells") == []
    assert notes("--where", "prise = 1") == [
        'no event that was looked at has the field "prise" of --where; '
        "text goes in single quotes: 'prise'"]
    assert notes("--where", "price = 2 OR seq = 4 AND prise") == []
    assert notes("--where", "price = 1 OR prise") == []
    os.remove(os.path.join(directory, "events.db"))
    assert notes("-t", "door") == [] and not os.path.exists(directory + "/events.db")


@promise("-S and -U are inclusive, -g is a POSIX extended expression over the payload's JSON")
def times_and_grep(directory):
    publish(directory)
    late = ["-S", "2026-01-02 03:10:00", "-U", "2026-01-02T03:10:04Z", "-u"]
    assert sequences(directory, *late) == [600 + i for i in range(5)]
    assert sequences(directory, *late, "-r") == [604 - i for i in range(5)]
    assert sequences(directory, *late, "-n", 2) == [603, 604]
    assert sequences(directory, "-S", "@1767325799") == [2999, 3000]
    assert sequences(directory, "-g", '"n":(12|7)[,}]') == [7, 12]
    assert sequences(directory, "-g", '"n":2?99[,}]', "-t", "doors") == [99]
    assert sequences(directory, "--after-seq", 2998) == [2999, 3000]
    assert sequences(directory, "--after-seq", 2998, "-r") == [3000, 2999]
    for flags in (["-S", "yesterday", "-U", "2020-01-01"], ["-t", "a b"], ["-t", "a *"], ["-t", ""]):
        daybook("read", "-D", directory, *flags, expect=USAGE)


@promise("times are local unless they say more, and -u makes them UTC")
def zones(directory):
    publish(directory, 10)
    zone = {"TZ": "Etc/GMT-2"}  # two hours east
    assert sequences(directory, "-S", "2026-01-02 05:00:09", env=zone) == [9, 10]
    assert sequences(directory, "-u", "-S", "2026-01-02 03:00:09", env=zone) == [9, 10]
    local = daybook("read", "-D", directory, "-n", 1, env=zone).text
    assert local.startswith("Jan 02 05:00:10.000000 orders.new {"), local
    utc = daybook("read", "-D", directory, "-n", 1, "-u", env=zone).text
    assert utc.startswith("Jan 02 03:00:10.000000 orders.new {"), utc


def unpack(data):
    """Just enough msgpack: a generator of values."""
    def value(at):
        code = data[at]
        fixed = {0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h",
                 0xd2: ">i", 0xd3: ">q", 0xca: ">f", 0xcb: ">d"}
        if code <= 0x7f:
            return code, at + 1
        if code >= 0xe0:
            return code - 256, at + 1
        if code in (0xc0, 0xc2, 0xc3):
            return {0xc0: None, 0xc2: False, 0xc3: True}[code], at + 1
        if code in fixed:
            size = struct.calcsize(fixed[code])
            return struct.unpack_from(fixed[code], data, at + 1)[0], at + 1 + size
        if 0xa0 <= code <= 0xbf:
            return data[at + 1:at + 1 + (code & 31)].decode(), at + 1 + (code & 31)
        if code == 0xd9:
            return data[at + 2:at + 2 + data[at + 1]].decode(), at + 2 + data[at + 1]
        is_map = code in (0xde, 0xdf) or 0x80 <= code <= 0x8f
        if code in (0xdc, 0xde):
            count, at = struct.unpack_from(">H", data, at + 1)[0], at + 3
        else:
            assert 0x80 <= code <= 0x9f, hex(code)
            count, at = code & 15, at + 1
        items = []
        for _ in range(count * (2 if is_map else 1)):
            item, at = value(at)
            items.append(item)
        return (dict(zip(items[::2], items[1::2])) if is_map else items), at

    at = 0
    while at < len(data):
        item, at = value(at)
        yield item


@promise("json, json-pretty, cat, csv, msgpack and short all say the same")
def formats(directory):
    lines = signals(60)
    daybook("pub", "-D", directory, "--topic-field", "pattern", "--time-field", "timestamp",
            stdin=jsonl(lines))

    def read(form):
        return daybook("read", "-D", directory, "-o", form)

    exact = re.compile(r'\{"seq":\d+,"time":"[^"]{30}","topic":"[^"]+","payload":\{.*\}\}')
    assert all(exact.fullmatch(line) for line in read("json").lines)
    events = read("json").events
    assert all(same(e["payload"], line) for e, line in zip(events, lines))

    decoder, text, pretty = json.JSONDecoder(), read("json-pretty").text, []
    while text.strip():
        event, end = decoder.raw_decode(text.lstrip())
        pretty.append(event)
        text = text.lstrip()[end:]
    assert len(pretty) == 60 and all(same(a, b) for a, b in zip(pretty, events))

    assert all(same(json.loads(line), e["payload"]) for line, e in zip(read("cat").lines, events))

    rows = list(csv.reader(io.StringIO(read("csv").text)))
    assert rows[0] == ["seq", "time", "topic", "payload"] and len(rows) == 61
    for row, event in zip(rows[1:], events):
        assert row[:3] == [str(event["seq"]), event["time"], event["topic"]]
        assert same(json.loads(row[3]), event["payload"])

    packed = list(unpack(read("msgpack").out))
    assert len(packed) == 60
    for (seq, time_ns, topic, payload), event in zip(packed, events):
        assert (seq, topic) == (event["seq"], event["topic"])
        assert f"{time_ns % 10**9:09}" == event["time"][20:29]
        assert same(payload, event["payload"]), (payload, event["payload"])

    short = read("short").lines
    assert short[0].startswith("Sep 09 03:00:00.642318 KALMAN_QUICKFIRE {"), short[0]
    assert all(same(json.loads(line.split(" ", 4)[4]), e["payload"])
               for line, e in zip(short, events))


def read_terminal(directory, *flags, columns=80, env=None):
    """What the command shows on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shell = environment(dict({"TERM": "xterm"}, **(env or {})))
    process = subprocess.Popen([DAYBOOK, "read", "-D", directory, *flags], stdout=slave,
                               stderr=slave, stdin=subprocess.DEVNULL, env=shell)
    os.close(slave)
    shown = b""
    while True:
        try:
            more = os.read(master, 65536)
        except OSError:  # EIO: the other side is gone
            break
        if not more:
            break
        shown += more
    os.close(master)
    assert process.wait() == 0
    return shown.decode()


@promise("on a terminal lines are cut to its width and coloured, unless NO_COLOR; else never")
def terminal(directory):
    daybook("pub", "-D", directory, stdin=event_lines(1, size=500))
    plain = read_terminal(directory, columns=70, env={"NO_COLOR": "1"})
    assert len(plain.rstrip("\r\n")) == 70 and "\x1b" not in plain, repr(plain)
    assert "\x1b[1mt\x1b[0m" in read_terminal(directory, columns=70)
    piped = daybook("read", "-D", directory).text
    assert len(piped) > 500 and "\x1b" not in piped


def lines_of(process, count):
    """The next `count` lines of a running command."""
    return [process.stdout.readline().decode() for _ in range(count)]


def stop(process, expect=0):
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == expect, (process.returncode, err)


@promise("-f shows the last ten, then what comes, from any writer, and ends with 0 at Ctrl-C")
def follow(directory):
    daybook("pub", "-D", directory, stdin=event_lines(25))
    reader = start("read", "-D", directory, "-f", "-o", "json")
    assert [json.loads(x)["seq"] for x in lines_of(reader, 10)] == list(range(16, 26))
    daybook("pub", "-D", directory, stdin=event_lines(2))
    assert [json.loads(x)["seq"] for x in lines_of(reader, 2)] == [26, 27]
    with daemon(directory):
        daybook("pub", "-D", directory, stdin=event_lines(2))
        assert [json.loads(x)["seq"] for x in lines_of(reader, 2)] == [28, 29]
    stop(reader)


@promise("-f with -t shows only what matches, with -n 0 nothing of the past, with -S all since then")
def follow_filtered(directory):
    publish(directory, 30)
    doors = start("read", "-D", directory, "-f", "-t", "doors", "-n", "2", "-o", "json")
    fresh = start("read", "-D", directory, "-f", "-n", "0", "-o", "json")
    since = start("read", "-D", directory, "-f", "-u", "-S", "2026-01-02 03:00:19", "-o", "json")
    assert [json.loads(x)["seq"] for x in lines_of(doors, 2)] == [27, 30]
    assert [json.loads(x)["seq"] for x in lines_of(since, 12)] == list(range(19, 31))
    news = '{"topic":"x","payload":1}\n{"topic":"doors","payload":2}\n'
    while not select.select([fresh.stdout], [], [], 0.05)[0]:
        daybook("pub", "-D", directory, stdin=news)  # until it has started
    assert json.loads(lines_of(doors, 1)[0])["seq"] == 32
    first = json.loads(lines_of(fresh, 1)[0])["seq"]
    assert first > 30 and json.loads(lines_of(fresh, 1)[0])["seq"] == first + 1
    for process in (doors, fresh, since):
        stop(process)


@promise("while a daemon writes, readers see a gap-free history, forward and backward")
def beside_a_writer(directory):
    with daemon(directory, "--segment-size", "64K"):
        writer = start("pub", "-D", directory, "-t", "t", stdin=subprocess.PIPE)
        sent = 0
        for _ in range(20):
            for line in event_lines(100, size=300, first=sent + 1).splitlines():
                writer.stdin.write(line.encode() + b"\n")
            sent += 100
            writer.stdin.flush()
            forward = sequences(directory)
            assert forward == list(range(1, len(forward) + 1))
            backward = sequences(directory, "-r")
            assert backward == list(range(len(backward), 0, -1))
            assert len(backward) >= len(forward)
        writer.communicate()
        assert writer.returncode == 0
        assert sequences(directory) == list(range(1, sent + 1))
    assert len(segment_files(directory)) > 3


def flip(directory, name, offset):
    with open(os.path.join(directory, "segments", name), "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


@promise("damage: what is missing is named once, everything intact is printed, exit status 4")
def damage(directory):
    for first in range(1, 5000, 100):
        daybook("pub", "-D", directory, "--segment-size", "64K",
                stdin=event_lines(100, size=300, first=first))
    names = segment_files(directory)
    assert len(names) > 8
    flip(directory, names[2], 20000)
    forward = daybook("read", "-D", directory, "-o", "json", expect=DAMAGE)
    got = [e["seq"] for e in forward.events]
    missing = sorted(set(range(1, 5001)) - set(got))
    assert got == sorted(got) and 0 < len(missing) <= 100
    assert missing == list(range(missing[0], missing[-1] + 1))
    assert forward.err.count("\n") == 1, forward.err
    assert f"events {missing[0]} to {missing[-1]} " in forward.err, forward.err
    backward = daybook("read", "-D", directory, "-o", "json", "-r", expect=DAMAGE)
    assert [e["seq"] for e in backward.events] == got[::-1]
    assert backward.err.count("\n") == 1, backward.err
    assert sequences(directory, "-n", 10) == list(range(4991, 5001)), "the end is intact"
    asked = len(got) - got.index(missing[0] - 1)
    assert sequences(directory, "-n", asked, expect=DAMAGE)[0] == missing[0] - 1


@promise("who closes the pipe early ends the command quietly")
def closed_pipe(directory):
    publish(directory, 3000)
    reader = start("read", "-D", directory, "-o", "json", stdout=subprocess.PIPE)
    assert b'"seq":1,' in reader.stdout.readline()
    reader.stdout.close()
    err = reader.stderr.read()
    assert reader.wait() == 0 and err == b"", err
    with open("/dev/full", "wb") as full:
        reader = start("read", "-D", directory, stdout=full)
        _, err = reader.communicate()
        assert reader.returncode == FAILURE and b"No space" in err, (reader.returncode, err)


@promise("no log: exit status 1 and how to start one; wrong flags: exit status 2 and the way to help")
def refusals(directory):
    for verb in ("read", "replay", "topics", "segments", "status", "verify", "sql", "reindex"):
        result = daybook(verb, expect=FAILURE, cwd=directory)
        assert result.err == (f"daybook {verb}: no log in './daybook-data': start one with "
                              "'daybookd -D ./daybook-data' or 'daybook pub -D ./daybook-data'\n")
    assert os.listdir(directory) == [], "looking makes nothing"
    for flags in (["--nope"], ["-n"], ["-n", "few"], ["-o", "xml"], ["-g", "("], ["-S", "soon"],
                  ["-f", "-r"], ["word"], ["--after-seq", "-1"]):
        result = daybook("read", "-D", directory, *flags, expect=USAGE)
        assert result.err.count("\n") == 1 and "try 'daybook read --help'" in result.err, result.err


@promise("DAYBOOK_DIR names the directory, and -D wins over it")
def directory_of_environment(directory):
    daybook("pub", "-D", f"{directory}/a", stdin=event_lines(1))
    daybook("pub", "-D", f"{directory}/b", stdin=event_lines(2))
    env = {"DAYBOOK_DIR": f"{directory}/a"}
    assert len(daybook("read", env=env).lines) == 1
    assert len(daybook("read", "-D", f"{directory}/b", env=env).lines) == 2


if __name__ == "__main__":
    main()
