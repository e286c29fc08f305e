#!/usr/bin/env python3
"""daybook replay: the same events, with the gaps between them, and an honest report."""
import hashlib
import json
import os
import re
import signal
import subprocess
import time

from cli_support import (FAILURE, UNREACHABLE, USAGE, daemon, daybook, event_lines, jsonl, main,
                         promise, signals, start)

BASE = 1767322800 * 10**9


def publish(directory, offsets_ms):
    """Events at these milliseconds behind BASE."""
    lines = [{"topic": "abc"[i % 3], "time": BASE + int(ms * 10**6), "payload": {"i": i}}
             for i, ms in enumerate(offsets_ms)]
    daybook("pub", "-D", directory, stdin=jsonl(lines))


def replay(directory, *flags, **keywords):
    report = os.path.join(directory, "report.json")
    result = daybook("replay", "-D", directory, "--report", report, *flags, **keywords)
    with open(report, encoding="utf-8") as file:
        return result, json.load(file)


@promise("without limit all events come in order as read prints them, and the report counts them")
def as_fast_as_possible(directory):
    daybook("pub", "-D", directory, stdin=event_lines(5000, size=100))
    result, report = replay(directory, "-r", "max")
    assert result.out == daybook("read", "-D", directory, "-o", "json").out
    assert (report["events"], report["rate_asked"], report["rounds"]) == (5000, "max", 1)
    assert report["span_ns"] == 4999 * 10**9
    assert "replayed 5,000 events spanning" in result.err and "rate max" in result.err


def arrivals(directory, *flags):
    """When each event came out of the command, in ns since it was started."""
    begin = time.monotonic_ns()
    process = start("replay", "-D", directory, "-o", "cat", *flags)
    times = []
    while process.stdout.readline():
        times.append(time.monotonic_ns() - begin)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return times


@promise("--rate 1 keeps the gaps, --rate 10 a tenth of them: never early, and as late as reported")
def gaps(directory):
    offsets = [0, 100, 105, 300, 300, 420, 700, 1000]
    publish(directory, offsets)
    for rate in (1, 10):
        report_path = os.path.join(directory, "report.json")
        came = arrivals(directory, "-r", str(rate), "--report", report_path)
        with open(report_path, encoding="utf-8") as file:
            report = json.load(file)
        assert len(came) == len(offsets)
        # How late we see an event depends on the machine, so only early ones are wrong here;
        # the report says how late they left.
        for i, ms in enumerate(offsets):
            assert came[i] >= ms * 10**6 / rate, (i, came[i])
        assert report["measured"] == report["events"] == len(offsets)
        assert report["span_ns"] == 10**9 and report["rate_asked"] == rate
        assert report["early"] == 0 and report["took_ns"] >= 10**9 / rate
        assert 0 <= report["error_p50_ns"] <= report["error_p99_ns"] <= report["error_max_ns"]
        assert report["took_ns"] >= report["active_ns"] >= 10**9 / rate
        assert 10**9 / report["took_ns"] <= report["rate_achieved"] <= rate


@promise("each event leaves at its own time: a reader has it before the next one is due")
def one_by_one(directory):
    publish(directory, [0, 50, 3600 * 1000])
    report_path = os.path.join(directory, "report.json")
    process = start("replay", "-D", directory, "-o", "cat", "--report", report_path)
    assert [json.loads(process.stdout.readline())["i"] for _ in range(2)] == [0, 1]
    assert process.poll() is None, "the third is due in an hour"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0 and out == b"", "an event that is not due does not leave"
    assert b"replayed 2 events" in err, err
    with open(report_path, encoding="utf-8") as file:
        report = json.load(file)
    assert (report["events"], report["measured"], report["span_ns"]) == (2, 2, 50 * 10**6), report
    assert 0 < report["rate_achieved"] <= 1.01 and report["interrupted"], report


def indexes(result):
    return [e["payload"]["i"] for e in result.events]


@promise("topics share one clock: what was stored late leaves at its own time, in its own place")
def one_clock(directory):
    publish(directory, [0, 200, 100, 150, 300])
    result, report = replay(directory, "-r", "10")
    assert indexes(result) == [0, 2, 3, 1, 4]
    assert (report["backward"], report["measured"]) == (0, 5) and report["span_ns"] == 300 * 10**6
    assert indexes(replay(directory, "-r", "max")[0]) == [0, 2, 3, 1, 4]


@promise("equal times keep the order of the log, whatever their topics")
def equal_times(directory):
    publish(directory, [5, 0, 5, 5, 0, 5])
    assert indexes(replay(directory, "-r", "max")[0]) == [1, 4, 0, 2, 3, 5]


@promise("what is late by more than --merge-window leaves at once, counted; 0 keeps the log's order")
def merge_window(directory):
    publish(directory, [0, 200, 300, 250, 100, 400])
    result, report = replay(directory, "-r", "10", "--merge-window", "60ms")
    assert indexes(result) == [0, 1, 4, 3, 2, 5], indexes(result)
    assert report["backward"] == 1 and report["span_ns"] == 400 * 10**6
    assert "1 event left at once because" in result.err
    result, report = replay(directory, "-r", "10", "--merge-window", "0")
    assert indexes(result) == [0, 1, 2, 3, 4, 5]
    assert report["backward"] == 2 and report["measured"] == 4
    assert report["merge_window_ns"] == 0


@promise("the merge holds for a log of many batches, and each round begins anew")
def merge_of_many(directory):
    count = 5000
    publish(directory, [i + 40 * (i % 7 == 3) - 900 * (i % 500 == 499) for i in range(count)])
    events = daybook("read", "-D", directory, "-o", "json").events
    expected = [e["seq"] for e in sorted(events, key=lambda e: (e["time"], e["seq"]))]
    result, report = replay(directory, "-r", "max", "--loop", "2")
    assert [e["seq"] for e in result.events] == expected * 2
    assert (report["rounds"], report["events"], report["backward"]) == (2, 2 * count, 0)


@promise("--max-gap shortens long gaps of the recording, and counts what it took away")
def max_gap(directory):
    publish(directory, [0, 10, 3600 * 1000, 3600 * 1000 + 30, 9000 * 1000])
    result, report = replay(directory, "-r", "2", "--max-gap", "50ms")
    assert indexes(result) == [0, 1, 2, 3, 4]
    assert report["span_ns"] == (10 + 50 + 30 + 50) * 10**6
    assert report["gaps_shortened"] == 2
    assert report["shortened_ns"] == (9000 * 1000 - 140) * 10**6
    assert report["early"] == 0 and report["active_ns"] >= 70 * 10**6
    assert report["rate_achieved"] <= 2
    assert "2 gaps shortened, by 2 h 30 m" in result.err, result.err


def digest_of(lines):
    """As the manual defines it: the lines of `read -o json` without their sequences."""
    text = b"".join(re.sub(rb'"seq":\d+,', b"", line, count=1) for line in lines)
    return hashlib.sha256(text).hexdigest()


@promise("the hash is of topics, times and payloads in the order sent: anybody can compute it")
def hash_recomputed(directory):
    lines = signals(50)
    daybook("pub", "-D", directory, "-t", "orders", "--time-field", "timestamp", stdin=jsonl(lines))
    publish(directory, [0, 1, 2])
    result, report = replay(directory, "-r", "max")
    assert report["sha256"] == digest_of(result.out.splitlines(True))
    assert f"sha256 {report['sha256']}\n" in result.err
    by_shell = subprocess.run("sort -t '\"' -k 6,6 -s | sed 's/\"seq\":[0-9]*,//' | sha256sum",
                              shell=True, check=True, stdout=subprocess.PIPE,
                              input=daybook("read", "-D", directory, "-o", "json").out)
    assert by_shell.stdout.decode().split()[0] == report["sha256"]


@promise("the hash is the same at every rate, in every format and by every way; any change changes it")
def hash_compared(directory):
    publish(directory, [0, 3, 2, 40])

    def digest(*flags):
        return replay(directory, *flags)[1]["sha256"]

    first = digest("-r", "max")
    for flags in (["-r", "1"], ["-r", "20"], ["-r", "max", "-o", "csv"], ["-o", "msgpack"],
                  ["-r", "10", "--max-gap", "1ms"], ["-r", "max", "-o", "short", "-u"]):
        assert digest(*flags) == first, flags
    os.mkdir(f"{directory}/target")
    with daemon(f"{directory}/target"):
        assert digest("-r", "100", "--to", f"unix:{directory}/target/daybook.sock") == first
    copied = replay(directory, "-D", f"{directory}/target", "-r", "max")[1]
    assert copied["sha256"] == first, "the copy proves itself"
    others = {digest("-r", "max", *flags) for flags in (
        ["-t", "a"], ["--remap", "a:=b"], ["--loop", "2"], ["--merge-window", "0"])}
    assert len(others | {first}) == 5
    daybook("pub", "-D", f"{directory}/other",
            stdin=daybook("read", "-D", directory, "-o", "json").text.replace('"i":3', '"i":4'))
    assert replay(directory, "-D", f"{directory}/other", "-r", "max")[1]["sha256"] != first
    assert digest("-t", "none") == hashlib.sha256().hexdigest()


@promise("Ctrl-C while an event is far away: the report says what left, and has its hash")
def interrupted(directory):
    publish(directory, [0, 5, 3600 * 1000])
    report_path = os.path.join(directory, "report.json")
    process = start("replay", "-D", directory, "--report", report_path)
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    with open(report_path, encoding="utf-8") as file:
        report = json.load(file)
    assert report["interrupted"] and report["sha256"] == digest_of(lines), report
    assert (report["first_seq"], report["last_seq"]) == (1, 2)


@promise("-S, -U, -t and --after-seq choose, --remap renames, --loop repeats")
def choices(directory):
    publish(directory, [10 * i for i in range(12)])

    def seqs(*flags):
        return [e["seq"] for e in replay(directory, "-r", "max", *flags)[0].events]

    assert seqs("-t", "b") == [2, 5, 8, 11]
    assert seqs("-u", "-S", "2026-01-02 03:00:00.05", "-U", "2026-01-02 03:00:00.07") == [6, 7, 8]
    assert seqs("--after-seq", "10") == [11, 12]
    result, report = replay(directory, "-r", "max", "--loop", "3", "-t", "b", "--remap", "b:=x/y",
                            "--remap", "a:=never")
    assert [(e["seq"], e["topic"]) for e in result.events] == [(s, "x/y") for s in (2, 5, 8, 11)] * 3
    assert (report["rounds"], report["events"]) == (3, 12)
    assert result.err.count("matched no event") == 1 and "'a:=never' matched no" in result.err
    assert seqs("--loop=2", "-t", "b") == [2, 5, 8, 11] * 2
    assert seqs("--loop", "-t", "nothing") == []
    assert seqs("--where", "seq % 5 = 0 AND topic <> 'b'") == [10]
    nothing = daybook("replay", "-D", directory, "-r", "max", "-t", "bb", "--where", "x").err
    assert "note: no topic matches -t 'bb'; do you mean 'b'?" in nothing, nothing


@promise("--where chooses by fields; where it fails, what came before it leaves first, late events too")
def where(directory):
    lines = [{"topic": "t", "time": BASE + ms * 10**6,
              "payload": {"i": i, "s": "{" if i == 4 else "{}"}}
             for i, ms in enumerate([0, 20, 10, 30, 40, 50])]
    daybook("pub", "-D", directory, stdin=jsonl(lines))
    result, report = replay(directory, "--where", "i > 1 AND i % 2 = 0")
    assert indexes(result) == [2, 4] and report["events"] == 2
    result, report = replay(directory, "--where", "json(s) = '{}'", expect=FAILURE)
    assert indexes(result) == [0, 2, 1, 3], result.out
    assert "malformed JSON" in result.err and report["events"] == 4, result.err


@promise("an endless loop ends at Ctrl-C, and when nobody reads any more")
def endless(directory):
    publish(directory, [0, 1])
    process = start("replay", "-D", directory, "-r", "max", "--loop", "-o", "cat")
    for _ in range(100):
        process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    process.stderr.close()
    process = start("replay", "-D", directory, "--loop", "-o", "cat")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 0 and b"replayed" in err, err


@promise("--to publishes onto another daemon: the same topics, times and payloads there")
def onto_daemon(directory):
    source, target = f"{directory}/source", f"{directory}/target"
    daybook("pub", "-D", source, stdin=event_lines(500, size=50))
    os.mkdir(target)
    with daemon(target):
        result, report = replay(directory, "-D", source, "-r", "max", "--to",
                                f"{target}/daybook.sock", "--remap", "t:=copy")
        assert result.out == b"" and report["events"] == 500
        replay(directory, "-D", source, "-r", "1000000", "--to", f"{target}/daybook.sock")
    copied = daybook("read", "-D", target, "-o", "json").events
    original = daybook("read", "-D", source, "-o", "json").events
    assert len(copied) == 1000
    for event, other in zip(original * 2, copied):
        assert (event["time"], event["payload"]) == (other["time"], other["payload"])
    assert [e["topic"] for e in copied] == ["copy"] * 500 + ["t"] * 500


@promise("a log is not replayed into itself, where each event would be there twice, but to other topics")
def into_itself(directory):
    daybook("pub", "-D", directory, stdin=event_lines(3, size=50))
    with daemon(directory):
        to = ["replay", "-D", directory, "-r", "max", "--to", f"{directory}/daybook.sock"]
        result = daybook(*to, expect=FAILURE)
        assert "keeps the log in" in result.err and "--remap" in result.err, result.err
        assert len(daybook("read", "-D", directory, "-o", "json").events) == 3
        daybook(*to, "--remap", "t:=copy")
    assert len(daybook("read", "-D", directory, "-t", "copy", "-o", "json").events) == 3


@promise("no daemon at --to: exit status 3; no log: 1; wrong flags: 2")
def refusals(directory):
    publish(directory, [0])
    daybook("replay", "-D", directory, "--to", f"{directory}/no.sock", expect=UNREACHABLE)
    daybook("replay", "-D", f"{directory}/none", expect=FAILURE)
    daybook("replay", "-D", directory, "--report", f"{directory}/no/where", expect=FAILURE)
    for flags in (["-r", "0"], ["-r", "fast"], ["-r", "-1"], ["-r", "nan"], ["--remap", "a"],
                  ["--remap", "a:=b c"], ["--loop", "x"], ["--loop", "0"], ["--to", "x", "-o", "csv"],
                  ["--loop", "2", "3"], ["word"], ["--max-gap", "x"], ["--merge-window", "-1s"],
                  ["--to", "http://x"], ["--to", "udp://"], ["--to", "zmq:x", "-o", "csv"],
                  ["--prefix", "x."], ["--to", "sock", "--subscribers", "2"]):
        daybook("replay", "-D", directory, *flags, expect=USAGE)


if __name__ == "__main__":
    main()
