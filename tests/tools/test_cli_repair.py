#!/usr/bin/env python3
"""daybook verify --repair: the way from a damaged log to one that can be written again."""
import json
import os
import re
import shutil
import sqlite3
import subprocess

import framed
from cli_support import (DAMAGE, DAYBOOKD, FAILURE, OK, daemon, daybook, environment,
                         event_lines, fill, main, promise, segment_files, start)


def flip(directory, name, offset):
    with open(os.path.join(directory, "segments", name), "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def read(directory, expect=OK, *flags):
    return daybook("read", "-D", directory, "-o", "json", *flags, expect=expect)


def contents(result):
    return {event["seq"]: event["payload"] for event in result.events}


def ranges(numbers):
    """[[first, last], …] of a set of numbers."""
    pieces = []
    for number in sorted(numbers):
        if pieces and pieces[-1][1] == number - 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return pieces


def gaps(directory, cause="damage"):
    rows = json.loads(daybook("sql", "-D", directory, "-o", "json",
                              f"SELECT * FROM gaps WHERE cause = '{cause}' ORDER BY 1").text)
    return [[row["first_seq"], row["last_seq"]] for row in rows]


def daemon_refuses(directory):
    done = subprocess.run([DAYBOOKD, "-D", directory], stdin=subprocess.DEVNULL, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
                          check=False)
    text = done.stderr.decode()
    assert done.returncode == DAMAGE, (done.returncode, text)
    assert "daybook verify --repair" in text, text
    return text


def files(directory):
    """Name, size and bytes of everything, but for SQLite's own and the locks."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            if not name.startswith("events.db") and name != "LOCK":
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.relpath(os.path.join(folder, name), directory)] = file.read()
    return found


def publish(directory, first, count=10):
    flags = ["--segment-size", "64K"]
    return daybook("pub", "-D", directory, *flags, stdin=event_lines(count, size=300, first=first))


@promise("damage, refusal, verify, dry run, repair, verify, and the daemon starts again")
def the_whole_way(directory):
    last = fill(directory, 8)
    whole = contents(read(directory))
    names = segment_files(directory)
    flip(directory, names[2], 9000)  # a block of events
    flip(directory, names[4], 20)    # a header, of which nothing is lost
    daemon_refuses(directory)
    refused = daybook("pub", "-D", directory, stdin=event_lines(1), expect=DAMAGE)
    assert "daybook verify --repair" in refused.err, refused.err

    before = contents(read(directory, DAMAGE))
    lost = ranges(set(whole) - set(before))
    assert lost, "nothing was damaged"
    findings = daybook("verify", "-D", directory, expect=DAMAGE)
    assert names[2] in findings.text and names[4] in findings.text, findings.text
    assert "--repair" in findings.err

    images = files(directory)
    plan = daybook("verify", "-D", directory, "--repair", "--dry-run", expect=DAMAGE)
    assert names[2] in plan.text and names[4] in plan.text and "lost" in plan.text, plan.text
    assert files(directory) == images, "a dry run has changed something"

    done = daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    assert done.text == plan.text, (done.text, plan.text)
    assert f"the old files are in '{directory}/quarantine'" in done.err, done.err
    for name in (names[2], names[4]):
        with open(os.path.join(directory, "quarantine", name), "rb") as file:
            assert file.read() == images[f"segments/{name}"], "the old file is not the old file"

    clean = daybook("verify", "-D", directory)
    first, final = lost[0]
    assert clean.out == b"" and f"events {first} to {final} are lost, as is on record" in clean.err
    assert daybook("verify", "-D", directory, "--repair").text == ""
    assert gaps(directory) == lost, (gaps(directory), lost)
    with sqlite3.connect(f"{directory}/events.db") as database:
        rows = database.execute("SELECT first_seq, last_seq, missing, cause FROM gaps").fetchall()
    assert [first, final, final - first + 1, "damage"] in [list(row) for row in rows], rows

    with daemon(directory):
        after = read(directory)
        assert contents(after) == before
        assert f"events {first} to {final} are lost, as is on record: damage" in after.err, after.err
        daybook("pub", "-D", directory, stdin=event_lines(10, first=last + 1))
        new = set(contents(read(directory))) - set(before)
        assert len(new) == 10 and min(new) > last, new
    backward = read(directory, OK, "-r")
    assert [e["seq"] for e in backward.events] == sorted(contents(read(directory)), reverse=True)
    assert "on record" in backward.err, backward.err
    count = json.loads(daybook("sql", "-D", directory, "-o", "json",
                               "SELECT count(payload(seq)) AS n FROM events").text)[0]["n"]
    assert count == len(before) + 10
    daybook("verify", "-D", directory)


@promise("a daemon that refuses a damaged segment calls no event lost that reading still gives")
def claims_no_more(directory):
    for first in range(1, 501, 100):
        daybook("pub", "-D", directory, stdin=event_lines(100, size=400, first=first))
    [name] = segment_files(directory)
    with open(os.path.join(directory, "segments", name), "rb") as file:
        used = len(file.read().rstrip(b"\0"))
    flip(directory, name, used * 2 // 5)
    lost = sorted(set(range(1, 501)) - set(contents(read(directory, DAMAGE))))
    assert 0 < len(lost) < 300, lost
    text = daemon_refuses(directory)
    assert f"some or all of the events {lost[0]} to 500 are damaged or lost" in text, text
    findings = daybook("verify", "-D", directory, expect=DAMAGE)
    assert f"events {lost[0]} to {lost[-1]} are lost" in findings.text, findings.text


@promise("every reading verb serves what is intact, says what is not, and exits with 4")
def reading_verbs(directory):
    last = fill(directory, 6)
    daybook("topics", "-D", directory)
    names = segment_files(directory)
    flip(directory, names[1], 9000)
    os.unlink(os.path.join(directory, "segments", names[3]))
    missing = range(int(names[3][:20]), int(names[4][:20]))
    forward = read(directory, DAMAGE)
    there = [event["seq"] for event in forward.events]
    assert names[1] in forward.err and str(missing[0]) in forward.err, forward.err
    assert not set(there) & set(missing) and len(there) < last - len(missing)
    assert [e["seq"] for e in read(directory, DAMAGE, "-r").events] == there[::-1]
    replayed = daybook("replay", "-D", directory, "-r", "max", "-o", "json", expect=DAMAGE)
    assert [event["seq"] for event in replayed.events] == there
    payloads = daybook("sql", "-D", directory, "-o", "json",
                       "SELECT count(payload(seq)) AS n FROM events", expect=DAMAGE)
    assert json.loads(payloads.text) == [{"n": len(there)}], payloads.text
    assert names[1][:20].lstrip("0") in payloads.err, payloads.err
    topics = daybook("topics", "-D", directory, "-o", "json", expect=DAMAGE)
    assert json.loads(topics.text)[0]["events"] == last and "daybook verify" in topics.err
    segments = daybook("segments", "-D", directory, "-o", "json", expect=DAMAGE)
    assert len(json.loads(segments.text)) == len(names) - 1
    status = daybook("status", "-D", directory, "-o", "json", expect=DAMAGE)
    assert json.loads(status.text)["damaged"] is True


@promise("damage inside of a sealed segment is told by who reads it, and does not stop the writer")
def sealed_damage(directory):
    last = fill(directory, 4)
    names = segment_files(directory)
    flip(directory, names[1], 9000)
    publish(directory, last + 1)
    with daemon(directory):
        publish(directory, last + 11)
        assert names[1] in read(directory, DAMAGE).err
        assert names[1] in daybook("verify", "-D", directory, expect=DAMAGE).text
    flip(directory, names[0], 20)  # a header is looked at
    assert names[0] in daemon_refuses(directory)


@promise("sql, topics and segments do not call intact what only the index still counts")
def index_counts_more(directory):
    last = fill(directory, 6)
    os.unlink(os.path.join(directory, "segments", segment_files(directory)[2]))
    there = len(read(directory, DAMAGE).events)
    counted = daybook("sql", "-D", directory, "-o", "csv", "SELECT count(*) FROM events",
                      expect=DAMAGE)
    assert int(counted.lines[1]) == last > there, (counted.text, last, there)
    for words in (["sql", "SELECT count(*) FROM events"], ["topics"], ["segments"]):
        err = daybook(words[0], "-D", directory, *words[1:], expect=DAMAGE).err
        assert "the index may count events that can no longer be read" in err, err
        assert f"daybook verify -D {directory}" in err and "intact" not in err, err


@promise("sql names a damaged place once, also where it meets it once a topic")
def told_once(directory):
    lines = [json.loads(line) for line in event_lines(300, size=400).splitlines()]
    for i, line in enumerate(lines):
        line["topic"] = f"topic{i % 5}"
    for first in range(0, 300, 100):  # a block each
        daybook("pub", "-D", directory,
                stdin="".join(json.dumps(line) + "\n" for line in lines[first:first + 100]))
    name = segment_files(directory)[0]
    flip(directory, name, 9000)
    with open(f"{directory}/segments/{name}", "rb") as file:
        middle = file.read().rindex(b"topic0", 0, 60000)
    flip(directory, name, middle)
    query = "SELECT topic, count(payload(seq)) FROM events GROUP BY topic"
    err = daybook("sql", "-D", directory, query, expect=DAMAGE).err.splitlines()
    assert len(err) == len(set(err)), "\n".join(err)
    assert len([line for line in err if "byte" in line]) == 2, "\n".join(err)


@promise("reading backwards tells every loss, and none below what it gives")
def losses_backwards(directory):
    fill(directory, segments=80)
    for name in segment_files(directory)[1:-2:2]:
        flip(directory, name, 20000)
    daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)

    def losses(*flags):
        """The sequences. A long gap may come in pieces."""
        found = re.findall(r"(\d+)(?:-| to )(\d+)", read(directory, None, *flags).err)
        return sorted(n for first, last in found for n in range(int(first), int(last) + 1))

    there = losses()
    assert len(there) >= 3000 and len(set(there)) == len(there), len(there)
    assert losses("-r") == there, (len(losses("-r")), len(there))
    assert losses("-r", "-n", "5") == [], losses("-r", "-n", "5")


@promise("what has no byte left needs --accept-loss; a file that is found again needs nothing")
def accept_loss(directory):
    last = fill(directory, 6)
    names = segment_files(directory)
    path = os.path.join(directory, "segments", names[2])
    lost = [[int(names[2][:20]), int(names[3][:20]) - 1]]
    shutil.move(path, f"{directory}-kept")
    images = files(directory)
    refused = daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    assert "--accept-loss" in refused.err and str(lost[0][0]) in refused.text, refused.err
    assert files(directory) == images
    shutil.move(f"{directory}-kept", path)
    daybook("verify", "-D", directory)
    assert daybook("verify", "-D", directory, "--repair").text == ""

    os.unlink(path)
    done = daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)
    assert "old files" not in done.err, done.err  # none was left to keep
    assert os.listdir(f"{directory}/quarantine") == ["events.db"]
    daybook("verify", "-D", directory)
    assert gaps(directory) == lost
    publish(directory, last + 1)
    assert max(contents(read(directory))) > last


@promise("an end that only the index has seen goes on record, and its sequences are never given again")
def lost_end(directory):
    last = fill(directory, 4)
    daybook("topics", "-D", directory)  # the index has seen all of it
    names = segment_files(directory)
    os.unlink(os.path.join(directory, "segments", names[-1]))
    os.unlink(os.path.join(directory, "watermark"))
    text = daemon_refuses(directory)
    assert "verify" in text
    daybook("verify", "-D", directory, expect=DAMAGE)
    daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    done = daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)
    assert os.path.exists(f"{directory}/quarantine/events.db"), done.err
    assert "events that are lost, as far as it has them" in done.err, done.err
    assert gaps(directory) == [[int(names[-1][:20]), last]]
    daybook("verify", "-D", directory)
    with daemon(directory):
        daybook("pub", "-D", directory, stdin=event_lines(1))
        assert max(contents(read(directory))) > last
    with sqlite3.connect(f"{directory}/quarantine/events.db") as database:
        assert database.execute("SELECT max(seq) FROM events").fetchone() == (last,)


@promise("all segments gone: said, put on record, and writing goes on above everything")
def all_gone(directory):
    last = fill(directory, 4)
    daybook("topics", "-D", directory)
    for name in segment_files(directory):
        os.unlink(os.path.join(directory, "segments", name))
    daemon_refuses(directory)
    daybook("verify", "-D", directory, expect=DAMAGE)
    daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)
    daybook("verify", "-D", directory)
    publish(directory, 1)
    assert min(contents(read(directory))) > last


@promise("a damaged lower bound: everything is served, and the repair restores it")
def lower_bound(directory):
    fill(directory, 6)
    daybook("retention", "-D", directory, "--max-size", "200K")
    before = contents(read(directory))
    with open(f"{directory}/lower-bound", "rb") as file:
        bound = file.read()
    with open(f"{directory}/lower-bound", "wb") as file:
        file.write(bound[:20])
    daemon_refuses(directory)
    damaged = read(directory, DAMAGE)
    assert contents(damaged) == before and "lower-bound" in damaged.err, damaged.err
    daybook("sql", "-D", directory, "SELECT count(*) FROM events", expect=DAMAGE)
    daybook("verify", "-D", directory, expect=DAMAGE)
    # The index knows the bound too, so nothing is uncertain.
    daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    with open(f"{directory}/lower-bound", "rb") as file:
        assert file.read() == bound
    assert contents(read(directory)) == before
    daybook("verify", "-D", directory)


def retire_and_spoil(directory, spoil, left="200K"):
    """A log that retention was in; `spoil` gets the path of its lower bound. Returns what it was."""
    fill(directory, 6)
    daybook("retention", "-D", directory, "--max-size", left)
    with open(f"{directory}/lower-bound", "rb") as file:
        bound = file.read()
    spoil(f"{directory}/lower-bound")
    return bound


@promise("an index that was made while the lower bound was no file is no witness of it")
def lower_bound_replaced(directory):
    def replace(path):
        os.unlink(path)
        os.mkdir(path)
    bound = retire_and_spoil(directory, replace)
    os.unlink(f"{directory}/events.db")
    damaged = read(directory, DAMAGE)
    assert "'lower-bound' is not a regular file" in damaged.err, damaged.err
    daybook("sql", "-D", directory, "SELECT count(*) FROM events", expect=DAMAGE)
    refused = daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    assert "--accept-loss" in refused.err, refused.err
    done = daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)
    assert "the directory is moved into quarantine" in done.text, done.text
    with open(f"{directory}/lower-bound", "rb") as file:
        assert file.read() == bound
    assert os.path.isdir(f"{directory}/quarantine/lower-bound")
    assert gaps(directory) == []
    daybook("verify", "-D", directory)


@promise("what is missing behind the lower bound of the index goes on record as lost")
def lower_bound_and_first_segment(directory):
    def cut(path):
        os.truncate(path, 20)
    bound = retire_and_spoil(directory, cut, left="400K")
    first = min(contents(read(directory, DAMAGE)))
    assert int(bound.split()[1]) == first
    names = segment_files(directory)
    os.unlink(os.path.join(directory, "segments", names[0]))
    refused = daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    assert "--accept-loss" in refused.err, refused.err
    daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)
    with open(f"{directory}/lower-bound", "rb") as file:
        assert file.read() == bound
    assert gaps(directory) == [[first, int(names[1][:20]) - 1]], gaps(directory)
    daybook("verify", "-D", directory)


@promise("a repair refuses beside a daemon, which it names, and names what to do about a file with a wrong name")
def refusals(directory):
    fill(directory, 4)
    names = segment_files(directory)
    with daemon(directory) as process:
        for flags in ["--repair"], ["--repair", "--dry-run"]:
            busy = daybook("verify", "-D", directory, *flags, expect=FAILURE)
            assert "stop that first" in busy.err, busy.err
            assert f"(daybookd, pid {process.pid}) writes to this log" in busy.err, busy.err
    wrong = os.path.join(directory, "segments", f"{9999:020}.seg")
    os.rename(os.path.join(directory, "segments", names[1]), wrong)
    images = files(directory)
    named = daybook("verify", "-D", directory, "--repair", "--accept-loss", expect=DAMAGE)
    assert f"segments/{9999:020}.seg is segment {names[1]}" in named.err, named.err
    assert files(directory) == images
    os.rename(wrong, os.path.join(directory, "segments", names[1]))
    daybook("verify", "-D", directory)


@promise("read --follow goes on over damage and over a repair, and says each thing once")
def follow(directory):
    last = fill(directory, 4)
    names = segment_files(directory)
    flip(directory, names[1], 9000)
    process = start("read", "-D", directory, "-o", "json", "-f", "-n", "all")
    got = [json.loads(process.stdout.readline())["seq"]]
    while got[-1] < last:
        got.append(json.loads(process.stdout.readline())["seq"])
    daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    publish(directory, last + 1)
    for _ in range(10):
        got.append(json.loads(process.stdout.readline())["seq"])
    process.send_signal(2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == DAMAGE, (process.returncode, err)
    assert got == [event["seq"] for event in read(directory).events], got[-20:]
    assert err.decode().count("cannot be read") == 1, err.decode()


def send_numbered(directory, first, count):
    """Events `first` to first + count - 1 of the producer "p", their numbers as their payload."""
    connection = framed.Connection(f"{directory}/daybook.sock", producer="p")
    events = [["t", None, {"n": first + i, "pad": os.urandom(250).hex()}, first + i]
              for i in range(count)]
    connection.send(framed.frame(["pub", first, events]))
    answer = connection.receive()
    assert answer[0] == "ack", answer
    known = connection.welcome
    connection.close()
    return known


@promise("a retry after a repair doubles nothing that is there")
def producers(directory):
    flags = ("--segment-size", "64K")
    with daemon(directory, *flags):
        for first in range(1, 1001, 50):
            send_numbered(directory, first, 50)
    names = segment_files(directory)
    assert len(names) > 1
    flip(directory, names[-1], 20)          # the header of the last
    flip(directory, names[-1], 4096 + 110)  # and the list of producers at its beginning
    flip(directory, names[0], 4096 + 500)   # and an event block of the first
    daemon_refuses(directory)
    before = contents(read(directory, DAMAGE))
    daybook("verify", "-D", directory, "--repair", expect=DAMAGE)
    assert contents(read(directory)) == before
    with daemon(directory, *flags):
        send_numbered(directory, 951, 50)  # the last group once more
        assert contents(read(directory)) == before
        send_numbered(directory, 1001, 5)
    numbers = [payload["n"] for payload in contents(read(directory)).values()]
    assert len(numbers) == len(set(numbers)) == len(before) + 5


if __name__ == "__main__":
    main()
