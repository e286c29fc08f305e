#!/usr/bin/env python3
"""daybook retention: exactly the oldest segments that must go, killed or not."""
import contextlib
import json
import os
import random
import re
import sqlite3
import subprocess
import time

from cli_support import (DAMAGE, INCOMPLETE, USAGE, daemon, daybook, event_lines, fill, main,
                         promise, segment_files, start, write)


def table(directory):
    names = segment_files(directory)
    return [(name, os.path.getsize(os.path.join(directory, "segments", name))) for name in names]


def index_segments(directory):
    with contextlib.closing(sqlite3.connect(f"file:{directory}/events.db?mode=ro", uri=True)) as index:
        first, count = index.execute("SELECT min(seq), count(*) FROM events").fetchone()
        files = [row[0] for row in index.execute("SELECT file FROM segments ORDER BY first_seq")]
    return first, count, files


def agree(directory, last):
    """Files, events and index rows are of one mind."""
    names = segment_files(directory)
    first = int(names[0][:20])
    seqs = [e["seq"] for e in daybook("read", "-D", directory, "-o", "json").events]
    assert seqs == list(range(first, last + 1)), (first, last, seqs[:3], seqs[-3:])
    indexed_first, indexed_count, indexed_files = index_segments(directory)
    assert (indexed_first, indexed_count) == (first, last - first + 1)
    assert indexed_files == [n for n in names if n in indexed_files]
    assert not [n for n in indexed_files if n not in names]
    daybook("verify", "-D", directory)


@promise("--max-size deletes exactly the oldest segments that it must, --dry-run none, and names them")
def max_size(directory):
    last = fill(directory, 20)
    for drop in (1, 5, 11):
        files = table(directory)
        doomed = files[:drop]
        limit = sum(size for _, size in files[drop:])
        flags = ["--max-size", str(limit)]
        dry = daybook("retention", "-D", directory, *flags, "--dry-run")
        assert [re.search(r"\d{20}\.seg", line).group() for line in dry.lines] == [
            name for name, _ in doomed], dry.text
        assert all(line.startswith("would delete ") for line in dry.lines)
        assert table(directory) == files, "a dry run deletes nothing"

        real = daybook("retention", "-D", directory, *flags)
        assert [line.replace("deleted ", "") for line in real.lines] == [
            line.replace("would delete ", "") for line in dry.lines], real.text
        assert table(directory) == files[drop:]
        agree(directory, last)
        again = daybook("retention", "-D", directory, *flags)
        assert again.out == b"" and table(directory) == files[drop:]


@promise("one byte less than what is there costs one segment, and the active one always stays")
def edges(directory):
    last = fill(directory, 5)
    files = table(directory)
    total = sum(size for _, size in files)
    daybook("retention", "-D", directory, "--max-size", total)
    assert table(directory) == files
    daybook("retention", "-D", directory, "--max-size", total - 1)
    assert table(directory) == files[1:]
    daybook("retention", "-D", directory, "--max-size", 1)
    assert table(directory)[-1] == files[-1] and table(directory)
    agree(directory, last)


@promise("--max-age goes by arrival, and lets the young stay")
def max_age(directory):
    last = fill(directory, 5)
    files = table(directory)
    daybook("retention", "-D", directory, "--max-age", "1h")
    assert table(directory) == files
    time.sleep(0.01)
    daybook("retention", "-D", directory, "--max-age", "1ms")
    assert len(table(directory)) < len(files) and table(directory)[-1] == files[-1]
    agree(directory, last)


@promise("killed at any moment, it is finished by the next run")
def killed(directory):
    chance = random.Random(7)
    last = fill(directory, 24)
    files = table(directory)
    begin = time.monotonic()
    daybook("retention", "-D", directory, "--max-size", sum(size for _, size in files[2:]))
    takes = time.monotonic() - begin
    files = files[2:]
    killed_runs = 0
    while len(files) > 4:
        limit = sum(size for _, size in files[2:])
        process = start("retention", "-D", directory, "--max-size", limit,
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.random() * takes)
        process.kill()
        killed_runs += process.wait() != 0
        daybook("retention", "-D", directory, "--max-size", limit)
        assert table(directory) == files[2:]
        agree(directory, last)
        files = files[2:]
    assert killed_runs > 0, "no run was killed in time"


@promise("beside a writing daemon and a reader: files and index agree afterwards, nobody is hurt")
def beside_everybody(directory):
    before = fill(directory, 8)
    seen = os.path.join(directory, "seen")
    with daemon(directory, "--segment-size", "64K"), open(seen, "wb") as file:
        writer = start("pub", "-D", directory, stdin=subprocess.PIPE)
        reader = start("read", "-D", directory, "-f", "-n", "all", "-o", "json", stdout=file)
        while os.path.getsize(seen) == 0:
            time.sleep(0.01)
        for turn in range(5):
            writer.stdin.write(event_lines(400, size=400, first=before + 1 + 400 * turn).encode())
            writer.stdin.flush()
            daybook("retention", "-D", directory, "--max-size", "400K")
        writer.communicate()
        assert writer.returncode == 0
        daybook("retention", "-D", directory, "--max-size", "400K")
        names = segment_files(directory)
        first, count, files = index_segments(directory)
        assert first == int(names[0][:20]) and files[0] == names[0]
        assert count <= before + 2000 - first + 1
        reader.terminate()
        _, err = reader.communicate()
        assert reader.returncode == 0, (reader.returncode, err)
    with open(seen, encoding="utf-8") as file:
        seqs = [json.loads(line)["seq"] for line in file]
    holes = [b for a, b in zip(seqs, seqs[1:]) if b != a + 1]
    assert seqs == sorted(set(seqs)) and err.decode().count("deleted by retention") == len(holes)
    daybook("topics", "-D", directory)  # brings the index up to the end
    agree(directory, before + 2000)


def crc32c(data):
    checksum = 0xffffffff
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82f63b78 if checksum & 1 else 0)
    return checksum ^ 0xffffffff


@promise("a clock that jumped since the last run deletes nothing by age, says so, exit status 5")
def wrong_clock(directory):
    fill(directory, 4)
    files = table(directory)
    daybook("retention", "-D", directory, "--max-age", "52w")
    path = os.path.join(directory, "retention-clock")
    with open(path, encoding="ascii") as file:
        words = file.read().split()[:-1]
    words[2] = str(int(words[2]) - 86400 * 10**9)  # as if the clock had been a day behind then
    line = " ".join(words)
    write(directory, "retention-clock", f"{line} {crc32c(line.encode()):08x}\n")
    result = daybook("retention", "-D", directory, "--max-age", "1ms", expect=INCOMPLETE)
    assert "clock" in result.err and table(directory) == files, result.err


@promise("a damaged segment that is in the way of size or age is named, exit status 5")
def blocked(directory):
    fill(directory, 5)
    files = table(directory)
    name, size = files[0]
    with open(os.path.join(directory, "segments", name), "r+b") as file:
        file.seek(size - 20)  # in its trailer
        byte = file.read(1)[0]
        file.seek(size - 20)
        file.write(bytes([byte ^ 1]))
    for flags in (["--max-size", "1K"], ["--max-age", "1ms"], ["--max-size", "1K", "--dry-run"]):
        result = daybook("retention", "-D", directory, *flags, expect=INCOMPLETE)
        assert name in result.err and "daybook verify" in result.err, result.err
        assert result.out == b"" and table(directory) == files
    daybook("retention", "-D", directory, "--max-size", sum(size for _, size in files))
    daybook("retention", "-D", directory, "--max-age", "1h")


@promise("on a damaged log it warns that what is deleted cannot be repaired, and goes on as before")
def damaged(directory):
    last = fill(directory, 6)
    files = table(directory)
    with open(os.path.join(directory, "segments", files[0][0]), "r+b") as file:
        file.seek(9000)
        byte = file.read(1)[0]
        file.seek(9000)
        file.write(bytes([byte ^ 1]))
    warning = "the log is damaged: what is deleted cannot be repaired any more"
    flags = ["--max-size", sum(size for _, size in files[1:])]
    assert warning not in daybook("retention", "-D", directory, *flags, "--dry-run").err, "not seen"
    daybook("reindex", "-D", directory, expect=DAMAGE)  # now it is
    assert warning in daybook("retention", "-D", directory, *flags, "--dry-run").err
    result = daybook("retention", "-D", directory, *flags)
    assert warning in result.err and f"verify -D {directory} --repair" in result.err, result.err
    assert table(directory) == files[1:]
    agree(directory, last)
    assert warning not in daybook("retention", "-D", directory, *flags).err, "it is gone with it"


@promise("without a limit it is a mistake, exit status 2")
def no_limit(directory):
    fill(directory, 2)
    for flags in ([], ["--dry-run"], ["--max-size", "big"], ["--max-age", "old"],
                  ["--max-size", "0"]):
        result = daybook("retention", "-D", directory, *flags, expect=USAGE)
        assert "try 'daybook retention --help'" in result.err


@promise("an age without a unit is refused: 30 may be meant as days")
def age_without_unit(directory):
    fill(directory, 10)
    assert "Say 30d for days" in daybook("retention", "-D", directory, "--max-age", "30",
                                         expect=USAGE).err


if __name__ == "__main__":
    main()
