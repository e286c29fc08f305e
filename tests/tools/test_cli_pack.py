#!/usr/bin/env python3
"""daybook pack, and the daemon that packs by itself: the same events in less space."""
import contextlib
import glob
import json
import os
import random
import re
import sqlite3
import subprocess
import time

from cli_support import (BUILD, DAMAGE, FAILURE, OK, USAGE, daemon, daybook, main, promise, segment_files, start)

SIZE = "256K"


def publish(directory, count, seed=1, size="256K"):
    """A trading day: five segments for 8,000 events."""
    lines = subprocess.run([os.path.join(BUILD, "daybook-generate"), "-n", str(count), "--seed",
                            str(seed)], stdout=subprocess.PIPE, check=True).stdout
    daybook("pub", "-D", directory, "--segment-size", size, stdin=lines)


def sizes(directory):
    return {name: os.path.getsize(os.path.join(directory, "segments", name))
            for name in segment_files(directory)}


def states(directory):
    return [row["state"] for row in json.loads(daybook("segments", "-D", directory, "-o", "json").text)]


def everything(directory):
    return daybook("read", "-D", directory, "-o", "json").text


def payloads(directory):
    return daybook("sql", "-D", directory, "-o", "csv",
                   "SELECT seq, time, topic, payload(seq) FROM events ORDER BY seq").text


@promise("it names each segment, says how much smaller, and every verb gives the same as before")
def by_hand(directory):
    publish(directory, 8000)
    before, text, table = sizes(directory), everything(directory), payloads(directory)
    backwards = daybook("read", "-D", directory, "-r", "-o", "json").text
    topics = daybook("topics", "-D", directory, "-o", "json").text
    sealed = len(before) - 1
    assert sealed >= 3, before

    done = daybook("pack", "-D", directory)

    assert [re.search(r"\d{20}\.seg", line).group() for line in done.lines] == sorted(before)[:-1]
    assert re.search(rf"^daybook pack: {sealed} segments, [\d.]+ [KM]iB, was ", done.err), done.err
    after = sizes(directory)
    assert list(after) == list(before)
    assert sum(after.values()) < 0.85 * sum(before.values()), (before, after)
    assert states(directory) == ["packed"] * sealed + ["active"]
    assert everything(directory) == text
    assert payloads(directory) == table
    assert daybook("read", "-D", directory, "-r", "-o", "json").text == backwards
    assert daybook("topics", "-D", directory, "-o", "json").text == topics
    daybook("verify", "-D", directory)
    daybook("reindex", "-D", directory)
    assert payloads(directory) == table

    again = daybook("pack", "-D", directory)
    assert again.out == b"" and "nothing to pack" in again.err
    publish(directory, 100, seed=2)
    assert everything(directory).startswith(text)


@promise("the index knows the packed places when the command ends")
def index_follows(directory):
    # How many segments that makes depends on how large the groups of the commits happen to be.
    for seed in range(1, 10):
        publish(directory, 2000, seed, size="64K")
    daybook("pack", "-D", directory)
    with contextlib.closing(sqlite3.connect(f"file:{directory}/events.db?mode=ro", uri=True)) as index:
        rows = dict(index.execute("SELECT file, bytes FROM segments WHERE state = 'packed'"))
    assert len(rows) == len(segment_files(directory)) - 1, (len(rows), segment_files(directory))
    assert len(rows) > 4, len(rows)
    assert all(sizes(directory)[name] == size for name, size in rows.items()), rows


@promise("beside writers and readers the daemon packs what is sealed, and nobody notices")
def by_the_daemon(directory):
    with daemon(directory, "--segment-size", SIZE):
        reader = start("read", "-D", directory, "-f", "-n", "all", "-o", "json")
        publish(directory, 8000)
        while "packed" not in states(directory) or states(directory).count("sealed"):
            time.sleep(0.02)
        daybook("verify", "-D", directory)
        assert daybook("pack", "-D", directory).out == b""
        seen = b"".join(reader.stdout.readline() for _ in range(8000))
        reader.terminate()
        reader.wait()
    assert seen.decode() == everything(directory)
    assert len(payloads(directory).splitlines()) == 8001


def threads(process):
    return [open(path, encoding="ascii").read().strip()
            for path in glob.glob(f"/proc/{process.pid}/task/*/comm")]


@promise("--pack off leaves segments as they are sealed")
def off(directory):
    with daemon(directory) as process:
        assert "packer" in threads(process), threads(process)
    with daemon(directory, "--pack", "off") as process:
        assert "packer" not in threads(process), threads(process)


@promise("killed at any moment it leaves a sound log, and the next run does what is left")
def killed(directory):
    chance = random.Random(5)
    publish(directory, 8000)
    text = everything(directory)
    copies = os.path.join(directory, "copies")
    killed_runs = 0
    for turn in range(12):
        copy = f"{copies}.{turn}"
        os.system(f"cp -r '{directory}/segments' '{copy}.segments' && mkdir '{copy}' && "
                  f"mv '{copy}.segments' '{copy}/segments' && cp '{directory}/watermark' '{copy}'")
        process = start("pack", "-D", copy)
        time.sleep(chance.random() * 0.06)
        process.kill()
        killed_runs += process.wait() != 0
        daybook("verify", "-D", copy)
        assert everything(copy) == text
        daybook("pack", "-D", copy)
        assert everything(copy) == text
        assert not os.path.exists(f"{copy}/segments/packed.tmp")
    assert killed_runs > 0, "no run was killed in time"


@promise("a damaged segment is named, left as it is, and the status is 4; the others are packed")
def damaged(directory):
    publish(directory, 8000)
    name = segment_files(directory)[1]
    path = os.path.join(directory, "segments", name)
    with open(path, "r+b") as file:
        file.seek(9000)
        byte = file.read(1)
        file.seek(9000)
        file.write(bytes([byte[0] ^ 4]))
    size = os.path.getsize(path)
    done = daybook("pack", "-D", directory, expect=DAMAGE)
    assert name in done.err and name not in done.text
    assert len(done.lines) == len(segment_files(directory)) - 2
    assert os.path.getsize(path) == size


@promise("read -r beside packing: each event once, damage in a packed block told once")
def backwards(directory):
    publish(directory, 8000)
    text = daybook("read", "-D", directory, "-r", "-o", "json").text
    reader = start("read", "-D", directory, "-r", "-o", "json")
    first = reader.stdout.readline()
    daybook("pack", "-D", directory)
    rest = reader.stdout.read()
    assert reader.wait() == OK and (first + rest).decode() == text
    path = os.path.join(directory, "segments", segment_files(directory)[1])
    with open(path, "r+b") as file:
        file.seek(9000)
        byte = file.read(1)
        file.seek(9000)
        file.write(bytes([byte[0] ^ 4]))
    told = daybook("read", "-D", directory, "-r", "-o", "json", expect=DAMAGE).err
    assert told.count("block at byte") == 1, told


@promise("wrong usage, and a directory without a log, are told in a sentence")
def usage(directory):
    assert "'x'" in daybook("pack", "-D", directory, "x", expect=USAGE).err
    missing = daybook("pack", "-D", directory + "/none", expect=FAILURE).err
    assert missing.count("\n") <= 2 and "none" in missing, missing


if __name__ == "__main__":
    main()
