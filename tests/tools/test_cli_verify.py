#!/usr/bin/env python3
"""daybook verify: nothing on a good log, every flipped bit in a sealed segment."""
import json
import os
import random
import re

from cli_support import (DAMAGE, FAILURE, USAGE, daemon, daybook, event_lines, fill, main, promise,
                         segment_files)


@promise("a good log has no findings: nothing on stdout, a summary on stderr, exit status 0")
def good(directory):
    count = fill(directory, 5)
    result = daybook("verify", "-D", directory)
    assert result.out == b"" and f" {count} events" in result.err and "no damage" in result.err
    assert json.loads(daybook("verify", "-D", directory, "-o", "json").text) == []
    with daemon(directory):
        daybook("pub", "-D", directory, stdin=event_lines(100, size=200))
        daybook("verify", "-D", directory)


def flip(path, offset, bit):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


@promise("a flipped bit anywhere in a sealed segment: exit status 4, segment, offset, sequences named")
def flipped_bits(directory):
    fill(directory, 5)
    names = segment_files(directory)
    path = os.path.join(directory, "segments", names[1])
    first, last = int(names[1][:20]), int(names[2][:20]) - 1
    size = os.path.getsize(path)
    chance = random.Random(20260102)
    places = [0, 7, 20, 100, 4095, 4096, size - 1, size - 64, size - 70]
    places += [chance.randrange(size) for _ in range(60)]
    for offset in places:
        bit = chance.randrange(8)
        flip(path, offset, bit)
        result = daybook("verify", "-D", directory, expect=None)
        assert result.status == DAMAGE, f"byte {offset} bit {bit}: exit status {result.status}"
        assert all(names[1] in line for line in result.lines), result.text
        rows = json.loads(daybook("verify", "-D", directory, "-o", "json", expect=DAMAGE).text)
        assert rows and len(rows) == len(result.lines), (rows, result.text)
        for row in rows:
            # A segment that is no longer sealed contradicts the one that follows it.
            assert row["segment"] in (first, last + 1) and 0 <= row["offset"] <= size, row
            assert row["first_seq"] is None or first <= row["first_seq"] <= row["last_seq"] <= last
        assert any(row["segment"] == first and re.search(r"\bbytes? \d+", row["finding"])
                   for row in rows), rows
        flip(path, offset, bit)
    daybook("verify", "-D", directory)


@promise("a flipped bit in an event's bytes names the sequences that readers then miss")
def names_events(directory):
    last_of_all = fill(directory, 5)
    names = segment_files(directory)
    path = os.path.join(directory, "segments", names[1])
    flip(path, 9000, 3)
    rows = json.loads(daybook("verify", "-D", directory, "-o", "json", expect=DAMAGE).text)
    named = {s for row in rows if row["first_seq"]
             for s in range(row["first_seq"], row["last_seq"] + 1)}
    read = daybook("read", "-D", directory, "-o", "json", expect=DAMAGE)
    assert named == set(range(1, last_of_all + 1)) - {e["seq"] for e in read.events}, named


@promise("a missing segment and a foreign one are found")
def missing_segment(directory):
    fill(f"{directory}/a", 5)
    fill(f"{directory}/b", 5)
    names = segment_files(f"{directory}/a")
    segments = os.path.join(directory, "a", "segments")
    os.rename(os.path.join(segments, names[1]), os.path.join(directory, "kept"))
    daybook("verify", "-D", f"{directory}/a", expect=DAMAGE)
    other = segment_files(f"{directory}/b")[1]
    os.rename(os.path.join(directory, "b", "segments", other), os.path.join(segments, names[1]))
    daybook("verify", "-D", f"{directory}/a", expect=DAMAGE)
    os.rename(os.path.join(directory, "kept"), os.path.join(segments, names[1]))
    daybook("verify", "-D", f"{directory}/a")


@promise("no log is a failure, a wrong flag a mistake")
def refusals(directory):
    daybook("verify", "-D", f"{directory}/none", expect=FAILURE)
    daybook("verify", "-D", f"{directory}/none", "--repair", expect=FAILURE)
    daybook("verify", "-D", directory, "--dry-run", expect=USAGE)
    daybook("verify", "-D", directory, "--accept-loss", expect=USAGE)
    daybook("verify", "-D", directory, "--repair", "-o", "json", expect=USAGE)
    daybook("verify", "-D", directory, "--no-such-flag", expect=USAGE)


@promise("a repair leaves a directory that is no log as it is, and a dry run, too")
def no_log(directory):
    os.mkdir(f"{directory}/segments")
    for name in ("segments/notes.txt", "passwd", "events.db"):
        with open(f"{directory}/{name}", "w", encoding="ascii") as file:
            file.write("somebody else's\n")
    os.mkdir(f"{directory}/empty")
    for where in (directory, f"{directory}/empty"):
        before = sorted(os.walk(where))
        for flags in ([], ["--dry-run"], ["--accept-loss"]):
            result = daybook("verify", "-D", where, "--repair", *flags, expect=FAILURE)
            assert "no log" in result.err, result.err
            assert sorted(os.walk(where)) == before, sorted(os.walk(where))


if __name__ == "__main__":
    main()
