#!/usr/bin/env python3
"""daybook replay gives events again with the gaps that were recorded: to stdout, and to a daemon.

What must hold on any machine, however busy, is asserted always: which events, in which order, with
which payloads, none too early, what the report says. How exactly the gaps are kept is printed, and
asserted with STRICT=1: at most 1 ms of error at the 99th percentile, measured by who receives.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from framed import DAYBOOK, Daemon  # noqa: E402  pylint: disable=wrong-import-position

STRICT = os.environ.get("STRICT") == "1"
EVENTS = 400
START_NS = 1767603600 * 10**9
REPORT_KEYS = {"events", "rounds", "span_ns", "took_ns", "rate_asked", "rate_achieved", "measured",
               "error_p50_ns", "error_p99_ns", "error_max_ns", "late", "backward", "refused",
               "interrupted"}


def make_times():
    """Bursts of microseconds, gaps of up to 40 ms: about 3 s in all."""
    pick = random.Random(7)
    times, now = [], START_NS
    for _ in range(EVENTS):
        times.append(now)
        now += pick.choice((0, 3_000, 150_000, 2_000_000, 9_000_000, 40_000_000))
    return times


def rfc3339(time_ns):
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%09dZ" % nanoseconds


def daybook(*arguments, **options):
    return subprocess.run([DAYBOOK, *arguments], capture_output=True, check=False,
                          **options)


def record(directory, times):
    lines = []
    for i, time_ns in enumerate(times):
        payload = {"n": i, "x": "ä%d" % (i * i), "f": i / 7}
        lines.append(json.dumps({"time": rfc3339(time_ns), "topic": "replay.%d" % (i % 3),
                                 "payload": payload}, ensure_ascii=False))
    result = daybook("pub", "-D", directory, input=("\n".join(lines) + "\n").encode())
    assert result.returncode == 0, result.stderr.decode()


def read(directory):
    result = daybook("read", "-D", directory, "-n", "all", "-o", "json")
    assert result.returncode == 0, result.stderr.decode()
    return [json.loads(line) for line in result.stdout.splitlines()]


def replay_to_stdout(directory, report, *flags):
    """The lines, when each arrived, and how long the whole took."""
    begin = time.monotonic_ns()
    process = subprocess.Popen(
        [DAYBOOK, "replay", "-D", directory, "--report", report, *flags],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    lines, arrivals, rest = [], [], b""
    while chunk := os.read(process.stdout.fileno(), 1 << 16):
        now = time.monotonic_ns()
        *whole, rest = (rest + chunk).split(b"\n")
        lines += whole
        arrivals += [now] * len(whole)
    stderr = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == 0, stderr
    assert rest == b"", "the last line has no end"
    return [json.loads(line) for line in lines], arrivals, time.monotonic_ns() - begin, stderr


def load_report(path):
    with open(path) as file:
        report = json.load(file)
    assert REPORT_KEYS <= report.keys(), "the report lacks %s" % (REPORT_KEYS - report.keys())
    assert not report["interrupted"] and report["refused"] == 0, report
    return report


def gap_errors(times, arrivals, rate):
    """How far each event was from its place in time, seen from where most of them were."""
    offsets = [arrival - (recorded - times[0]) / rate
               for recorded, arrival in zip(times, arrivals)]
    usual = percentile(offsets, 0.5)
    return [offset - usual for offset in offsets]


def percentile(values, fraction):
    return sorted(values)[min(int(fraction * len(values)), len(values) - 1)]


def check_timing(times, arrivals, rate, report, stderr):
    errors = gap_errors(times, arrivals, rate)
    p99 = percentile([abs(error) for error in errors], 0.99)
    print("# rate %g: gap error seen by the receiver p50 %.0f us, p99 %.0f us; reported p99 %.0f us"
          % (rate, percentile([abs(e) for e in errors], 0.5) / 1e3, p99 / 1e3,
             report["error_p99_ns"] / 1e3))
    span = (times[-1] - times[0]) / rate
    assert report["took_ns"] >= span, "it took less time than was recorded: %r" % report
    assert "timing error p50" in stderr and "achieved" in stderr, stderr
    assert report["measured"] == len(times) and report["events"] == len(times), report
    assert abs(report["span_ns"] - (times[-1] - times[0])) <= 1, report
    if STRICT:
        assert p99 <= 1_000_000, "p99 of the gap error is %.3f ms" % (p99 / 1e6)
        early = -min(errors)
        assert early <= 1_000_000, "an event came %.3f ms early" % (early / 1e6)
        assert report["error_p99_ns"] <= 1_000_000, report


def check_stdout_paced(work, log, times, expected, rate):
    path = os.path.join(work, "report-%g" % rate)
    events, arrivals, took, stderr = replay_to_stdout(log, path, "--rate", "%g" % rate)
    assert events == expected, "replay gave other events than read"
    assert took >= (times[-1] - times[0]) / rate, "the gaps were not waited for"
    check_timing(times, arrivals, rate, load_report(path), stderr)


def check_stdout_max(work, log, times, expected):
    path = os.path.join(work, "report-max")
    events, _, _, stderr = replay_to_stdout(log, path, "--rate", "max")
    assert events == expected, "replay gave other events than read"
    report = load_report(path)
    assert report["rate_asked"] == "max" and report["events"] == len(times), report
    assert "rate max" in stderr, stderr


def check_slice(work, log, times, expected):
    """-S, -U and -t choose; the first chosen event leaves at once."""
    path = os.path.join(work, "report-slice")
    middle, end = times[EVENTS // 3], times[EVENTS // 2]
    wanted = [event for event, time_ns in zip(expected, times)
              if middle <= time_ns < end and event["topic"] == "replay.1"]
    events, _, _, _ = replay_to_stdout(log, path, "--rate", "10", "-t", "replay.1",
                                       "-S", rfc3339(middle), "-U", rfc3339(end))
    assert wanted and events == wanted, "%d events, not %d" % (len(events), len(wanted))


def comparable(events):
    return [(e["topic"], e["time"], e["payload"]) for e in events]


def check_daemon(work, log, times, expected, rate, name):
    target = os.path.join(work, name)
    daemon = Daemon(target)
    path = os.path.join(work, "report-" + name)
    daemon.start()
    try:
        daemon.connect().close()
        result = daybook("replay", "-D", log, "--rate", rate, "--to", daemon.socket,
                         "--report", path, "--remap", "replay.2:=other/two")
        assert result.returncode == 0, result.stderr.decode()
        assert daemon.stop() == 0, daemon.output()
    finally:
        daemon.end()
    renamed = [dict(e, topic="other/two") if e["topic"] == "replay.2" else e for e in expected]
    assert comparable(read(target)) == comparable(renamed), "the other log has other events"
    report = load_report(path)
    assert report["events"] == len(times), report
    if rate != "max":
        assert report["took_ns"] >= (times[-1] - times[0]) / float(rate), report
        print("# rate %s to a daemon: reported gap error p50 %.0f us, p99 %.0f us" % (
            rate, report["error_p50_ns"] / 1e3, report["error_p99_ns"] / 1e3))


def check_unreachable(work, log):
    result = daybook("replay", "-D", log, "--rate", "max", "--to", os.path.join(work, "nobody"))
    assert result.returncode == 3, (result.returncode, result.stderr)


def main():
    work = tempfile.mkdtemp(prefix="daybook-replay-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    log = os.path.join(work, "log")
    times = make_times()
    failed = 0
    try:
        record(log, times)
        expected = read(log)
        assert [e["time"] for e in expected] == [rfc3339(t) for t in times]
        for sentence, test in (
                ("rate 1 keeps order, payloads and gaps on stdout",
                 lambda: check_stdout_paced(work, log, times, expected, 1)),
                ("rate 10 keeps a tenth of the gaps",
                 lambda: check_stdout_paced(work, log, times, expected, 10)),
                ("rate max gives the same events at once",
                 lambda: check_stdout_max(work, log, times, expected)),
                ("a time range and a topic choose what is replayed",
                 lambda: check_slice(work, log, times, expected)),
                ("another daemon gets the events with their times, gaps and new topics",
                 lambda: check_daemon(work, log, times, expected, "10", "ten")),
                ("another daemon gets everything at rate max",
                 lambda: check_daemon(work, log, times, expected, "max", "max")),
                ("a daemon that is not there is exit status 3",
                 lambda: check_unreachable(work, log))):
            try:
                test()
                print("ok - " + sentence, flush=True)
            except Exception as failure:  # pylint: disable=broad-except
                failed = 1
                print("not ok - %s: %s: %s" % (sentence, type(failure).__name__, failure),
                      flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
