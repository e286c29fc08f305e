#!/usr/bin/env python3
"""daybook replay: the same events, with the gaps between them, and an honest report."""
import json
import os
import signal
import time

from cli_support import (FAILURE, UNREACHABLE, USAGE, daemon, daybook, event_lines, jsonl, main,
                         promise, start)

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
        assert abs(report["rate_achieved"] - 10**9 / report["took_ns"]) < 0.01 * rate


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


@promise("an event whose time goes back leaves at once, and is counted")
def backward_times(directory):
    publish(directory, [0, 200, 100, 150, 300])
    result, report = replay(directory, "-r", "10")
    assert [e["payload"]["i"] for e in result.events] == [0, 1, 2, 3, 4]
    assert report["backward"] == 2 and report["span_ns"] == 300 * 10**6
    assert "2 events left at once" in result.err


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


@promise("no daemon at --to: exit status 3; no log: 1; wrong flags: 2")
def refusals(directory):
    publish(directory, [0])
    daybook("replay", "-D", directory, "--to", f"{directory}/no.sock", expect=UNREACHABLE)
    daybook("replay", "-D", f"{directory}/none", expect=FAILURE)
    daybook("replay", "-D", directory, "--report", f"{directory}/no/where", expect=FAILURE)
    for flags in (["-r", "0"], ["-r", "fast"], ["-r", "-1"], ["-r", "nan"], ["--remap", "a"],
                  ["--remap", "a:=b c"], ["--loop", "x"], ["--loop", "0"], ["--to", "x", "-o", "csv"],
                  ["--loop", "2", "3"], ["word"]):
        daybook("replay", "-D", directory, *flags, expect=USAGE)


if __name__ == "__main__":
    main()
