#!/usr/bin/env python3
"""daybook cursors and daybook read --cursor: where a consumer stands, kept, moved and told."""
import fcntl
import json
import os
import shutil
import signal
import struct

from cli_support import (DAMAGE, FAILURE, INCOMPLETE, OK, USAGE, daemon, daybook, event_lines,
                         fill, main, promise, segment_files, start)


def publish(directory, count, first=1, topic="t"):
    daybook("pub", "-D", directory, stdin=event_lines(count, first=first, topic=topic))


def consume(directory, name, *flags, expect=OK):
    result = daybook("read", "-D", directory, "--cursor", name, "-o", "json", *flags, expect=expect)
    return [event["seq"] for event in result.events]


def cursors(directory, *flags, expect=OK):
    result = daybook("cursors", "-D", directory, "-o", "json", *flags, expect=expect)
    return {row["cursor"]: row for row in json.loads(result.text)}


def position(directory, name):
    return cursors(directory, name)[name]["position"]


@promise("a new cursor begins with the first event, and goes on behind what was printed")
def goes_on(directory):
    publish(directory, 10)
    assert consume(directory, "a") == list(range(1, 11))
    assert consume(directory, "a") == []
    publish(directory, 5, first=11)
    assert consume(directory, "a") == [11, 12, 13, 14, 15]
    assert consume(directory, "b", "--after-seq", "12") == [13, 14, 15]
    assert position(directory, "b") == 15
    assert consume(directory, "c", "-S", "2026-01-02 03:00:14") == [14, 15]


@promise("-n takes the next N events behind the cursor, and what does not match is done")
def batches(directory):
    for i in range(1, 21):
        publish(directory, 1, first=i, topic=f"t.{i % 2}")
    assert consume(directory, "a", "-n", "3") == [1, 2, 3]
    assert consume(directory, "a", "-n", "3", "-t", "t.0") == [4, 6, 8]
    assert position(directory, "a") == 8
    assert consume(directory, "a", "-n", "0") == []
    assert position(directory, "a") == 8
    assert consume(directory, "a", "-t", "t.0") == [10, 12, 14, 16, 18, 20]
    assert consume(directory, "a") == []
    assert consume(directory, "b", "-t", "t.1")[-1] == 19
    assert position(directory, "b") == 20


@promise("what could not be written out is not done")
def not_written(directory):
    publish(directory, 100)
    with open("/dev/full", "wb") as full:
        process = start("read", "-D", directory, "--cursor", "a", stdout=full)
        assert process.wait() == FAILURE
    assert position(directory, "a") == 0
    assert consume(directory, "a") == list(range(1, 101))


@promise("read -f commits while it runs, and on SIGTERM everything that it has printed")
def follows(directory):
    publish(directory, 10)
    with daemon(directory):
        process = start("read", "-D", directory, "--cursor", "a", "-f", "-o", "json")
        seen = [json.loads(process.stdout.readline())["seq"] for _ in range(10)]
        publish(directory, 10, first=11)
        seen += [json.loads(process.stdout.readline())["seq"] for _ in range(10)]
        assert seen == list(range(1, 21))
        row = cursors(directory)["a"]
        assert row["in_use"] == f"daybook (pid {process.pid})", row
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate()
        assert process.returncode == OK and rest == b"", (process.returncode, rest)
    assert position(directory, "a") == 20
    assert cursors(directory)["a"]["in_use"] is None


@promise("a reader that is killed, again and again, misses nothing and goes back by one commit")
def killed(directory):
    publish(directory, 3000)
    seen = []
    for _ in range(12):
        before = position(directory, "a") if seen else 0
        process = start("read", "-D", directory, "--cursor", "a", "-f", "-o", "json")
        # Up to where it has come is in the pipe; the kill comes anywhere behind that.
        got = [json.loads(process.stdout.readline())["seq"] for _ in range(150)]
        process.kill()
        rest = process.stdout.read().split(b"\n")[:-1]  # behind the last newline a line is cut off
        process.wait()
        got += [json.loads(line)["seq"] for line in rest]
        assert got == list(range(before + 1, before + 1 + len(got))), (before, got[:3])
        assert position(directory, "a") <= got[-1]
        seen.append(got)
        daybook("cursors", "-D", directory, "a", "--reset-to", str(before + 100))
    assert consume(directory, "a")[-1] == 3000


@promise("a cursor has one user at a time, who is named, and nobody moves it meanwhile")
def one_user(directory):
    publish(directory, 5)
    process = start("read", "-D", directory, "--cursor", "a", "-f", "-o", "json")
    for _ in range(5):
        process.stdout.readline()
    user = f"the cursor 'a' is in use by another consumer (daybook, pid {process.pid})"
    assert user in daybook("read", "-D", directory, "--cursor", "a", expect=FAILURE).err
    for flags in (["--reset-to", "earliest"], ["--reset-to", "earliest", "--dry-run"],
                  ["--hold", "1G"], ["--remove"]):
        refused = daybook("cursors", "-D", directory, "a", *flags, expect=FAILURE)
        assert user in refused.err and not refused.out, refused.err
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert position(directory, "a") == 5


@promise("--reset-to moves it to earliest, latest, a sequence or a time, and says what that means")
def resets(directory):
    publish(directory, 20)
    consume(directory, "a", "-n", "8")
    steps = [("earliest", 0, "8 -> 0, 8 to come again, 0 skipped"),
             ("12", 12, "0 -> 12, 0 to come again, 12 skipped"),
             ("latest", 20, "12 -> 20, 0 to come again, 8 skipped"),
             ("2026-01-02 03:00:15", 14, "20 -> 14, 6 to come again, 0 skipped"),
             ("2026-01-02 04:00", 20, "14 -> 20, 0 to come again, 6 skipped"),
             ("2000-01-01", 0, "20 -> 0, 20 to come again, 0 skipped"),
             ("0", 0, "0 -> 0, 0 to come again, 0 skipped")]
    for where, expected, told in steps:
        before = position(directory, "a")
        dry = daybook("cursors", "-D", directory, "a", "--reset-to", where, "--dry-run")
        assert dry.text == f"would move a: {told}\n", dry.text
        assert position(directory, "a") == before, "a dry run moves nothing"
        assert daybook("cursors", "-D", directory, "a", "--reset-to", where).text == f"moved a: {told}\n"
        assert position(directory, "a") == expected
        assert consume(directory, "a", "-n", "1") == ([expected + 1] if expected < 20 else [])
        daybook("cursors", "-D", directory, "a", "--reset-to", str(expected))
    beyond = daybook("cursors", "-D", directory, "a", "--reset-to", "21", expect=FAILURE)
    assert "--reset-to 21: the log ends with 20" in beyond.err
    for flags in (["--reset-to", "yesteryear"], ["--hold", "much"],
                  ["--remove", "--reset-to", "latest"], ["--dry-run"], ["--hold", "16E"]):
        daybook("cursors", "-D", directory, "a", *flags, expect=USAGE)
    assert "name the cursors" in daybook("cursors", "-D", directory, "--remove", expect=USAGE).err
    assert position(directory, "a") == 0


@promise("the list tells position, lag in events and in time, use, hold and last commit")
def lists(directory):
    publish(directory, 20)
    assert cursors(directory) == {}
    consume(directory, "a", "-n", "8")
    consume(directory, "b")
    daybook("cursors", "-D", directory, "a", "--hold", "5G")
    rows = cursors(directory)
    assert list(rows) == ["a", "b"]
    row = rows["a"]
    assert (row["kind"], row["position"], row["lag"], row["pending"]) == ("single", 8, 12, 0)
    assert row["hold"] == 5 << 30 and row["in_use"] is None
    assert row["committed"].startswith("20") and row["lag_time"] > 0, row
    row = rows["b"]
    assert (row["position"], row["lag"], row["lag_time"], row["hold"]) == (20, 0, None, None)
    daybook("cursors", "-D", directory, "a", "--hold", "off")
    assert cursors(directory, "a")["a"]["hold"] is None
    for form in ("table", "csv", "markdown"):
        assert "single" in daybook("cursors", "-D", directory, "-o", form).text
    missing = daybook("cursors", "-D", directory, "b", "c", expect=FAILURE)
    assert "there is no cursor 'c'" in missing.err and "single" in missing.text


@promise("--remove removes it, --dry-run does not")
def removes(directory):
    publish(directory, 5)
    consume(directory, "a")
    consume(directory, "b")
    assert daybook("cursors", "-D", directory, "a", "--remove", "--dry-run").text == "would remove a\n"
    assert list(cursors(directory)) == ["a", "b"]
    assert daybook("cursors", "-D", directory, "a", "--remove").text == "removed a\n"
    assert list(cursors(directory)) == ["b"]
    daybook("cursors", "-D", directory, "a", "--remove", expect=FAILURE)
    daybook("cursors", "-D", directory, "a", "--reset-to", "latest", expect=FAILURE)
    assert consume(directory, "a") == [1, 2, 3, 4, 5]


@promise("a damaged cursor is told, never guessed, and hides no other one")
def damaged(directory):
    publish(directory, 9)
    consume(directory, "a")
    consume(directory, "b", "-n", "4")
    with open(f"{directory}/cursors/a", "r+b") as file:
        file.write(b"x")
        file.seek(4096)
        file.write(b"x")
    told = daybook("cursors", "-D", directory, "-o", "json", expect=DAMAGE)
    assert "the cursor 'a' is damaged: neither of its two copies is valid" in told.err
    rows = {row["cursor"]: row for row in json.loads(told.text)}
    assert rows["a"]["kind"] == "damaged" and rows["a"]["position"] is None
    assert rows["b"]["position"] == 4
    daybook("read", "-D", directory, "--cursor", "a", expect=DAMAGE)
    daybook("cursors", "-D", directory, "a", "--reset-to", "latest", expect=DAMAGE)
    daybook("cursors", "-D", directory, "a", "--remove")
    with open(f"{directory}/cursors/b", "r+b") as file:
        file.write(b"x")
    torn = daybook("cursors", "-D", directory, "b")
    assert "one of the two copies of 'b' is torn" in torn.err
    assert consume(directory, "b") == [5, 6, 7, 8, 9]
    assert "torn" not in daybook("cursors", "-D", directory, "b").err


@promise("a cursor beyond the log's end tells of lost events, and one of another log of that")
def lost(directory):
    log, old, other = (os.path.join(directory, name) for name in ("log", "old", "other"))
    publish(log, 10)
    shutil.copytree(log, old)
    publish(log, 10, first=11)
    consume(log, "a")
    shutil.copytree(f"{log}/cursors", f"{old}/cursors")
    told = "the cursor 'a' stands at 20 and the log ends with 10"
    assert told in daybook("read", "-D", old, "--cursor", "a", expect=DAMAGE).err
    assert told in daybook("cursors", "-D", old, expect=DAMAGE).err
    moved = daybook("cursors", "-D", old, "a", "--reset-to", "8")
    assert moved.text == "moved a: 20 -> 8, 2 to come again, 0 skipped\n", moved.text
    assert consume(old, "a") == [9, 10]
    publish(other, 3)
    shutil.copytree(f"{log}/cursors", f"{other}/cursors")
    told = "the cursor 'a' belongs to another log"
    assert told in daybook("read", "-D", other, "--cursor", "a", expect=FAILURE).err
    assert told in daybook("cursors", "-D", other, expect=FAILURE).err


@promise("what cannot go together is refused")
def refusals(directory):
    publish(directory, 3)
    for flags in (["--cursor", "../a"], ["--cursor", ".a"], ["--cursor", ""],
                  ["--cursor", "a", "-r"], ["--cursor", "a", "-U", "now"]):
        daybook("read", "-D", directory, *flags, expect=USAGE)
    daybook("cursors", "-D", directory, "a/b", expect=USAGE)
    assert not os.path.exists(f"{directory}/cursors")


@promise("a reader whose pipe is closed ends quietly, and commits nothing that nobody took")
def closed_pipe(directory):
    publish(directory, 3000)
    process = start("read", "-D", directory, "--cursor", "a", "-o", "json")
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == OK and errors == b"", errors
    assert position(directory, "a") == 0
    assert consume(directory, "a")[0] == 1


@promise("a hold is not set while retention is deciding what goes, and says so")
def holds_or_says_so(directory):
    fill(directory, 3)
    consume(directory, "a", "-n", "1")
    with open(os.path.join(directory, "LOCK"), "r+b") as held:
        # F_OFD_SETLK of the byte that stands for retention
        fcntl.fcntl(held, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1, 1, 0))
        refused = daybook("cursors", "-D", directory, "a", "--hold", "1G", expect=FAILURE)
        assert "deleting old segments" in refused.err, refused.err
        assert cursors(directory, "a")["a"]["hold"] is None
        daybook("cursors", "-D", directory, "a", "--reset-to", "latest")
    daybook("cursors", "-D", directory, "a", "--hold", "1G")
    assert cursors(directory, "a")["a"]["hold"] == 1 << 30


@promise("a hold keeps segments from retention up to its size; what it loses beyond that is told")
def holds(directory):
    last = fill(directory, 10)
    consume(directory, "a", "-n", "1")
    daybook("cursors", "-D", directory, "a", "--hold", "1G")
    everything = ["retention", "-D", directory, "--max-size", "1"]
    before = segment_files(directory)
    for flags in (["--dry-run"], []):
        held = daybook(*everything, *flags, expect=INCOMPLETE)
        assert f"segment {before[0]} is kept for the cursor 'a', which has done all up to 1" in held.err
        assert not held.out and segment_files(directory) == before
    with daemon(directory):
        daybook(*everything, expect=INCOMPLETE)
        assert segment_files(directory) == before
    assert consume(directory, "a", "-n", "1") == [2]
    size = sum(os.path.getsize(f"{directory}/segments/{name}") for name in before[4:])
    assert daybook("cursors", "-D", directory, "a", "--hold", size).out
    bound = int(before[4][:20])
    told = ("the cursor 'a' is further behind than the ", f"events 3 to {bound - 1} ")
    dry = daybook(*everything, "--dry-run", expect=INCOMPLETE)
    assert all(word in dry.err for word in told) and "would go" in dry.err, dry.err
    gone = daybook(*everything, expect=INCOMPLETE)
    assert all(word in gone.err for word in told), gone.err
    assert segment_files(directory) == before[4:]
    behind = daybook("read", "-D", directory, "--cursor", "a", "-o", "json", "-n", "1")
    assert behind.events[0]["seq"] == bound
    assert f"events 3 to {bound - 1} were deleted by retention" in behind.err, behind.err
    consume(directory, "a")
    assert position(directory, "a") == last
    daybook(*everything)
    assert len(segment_files(directory)) == 1


if __name__ == "__main__":
    main()
