#!/usr/bin/env python3
"""help, status, topics, segments, sql and reindex, with a daemon and without."""
import contextlib
import csv
import fcntl
import io
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import time
from collections import Counter

from cli_support import (DAMAGE, DAYBOOK, FAILURE, INCOMPLETE, OK, USAGE, daemon, daybook,
                         environment, event_lines, fill, jsonl, main, promise, same,
                         segment_files, signals)

VERBS = ["pub", "read", "replay", "sql", "topics", "segments", "status", "retention", "verify",
         "reindex", "bench"]


@promise("help lists every verb; each explains itself with --help and as 'help VERB'")
def helps(_):
    text = daybook("help").text
    assert daybook("--help").text == text
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.M), verb
        own = daybook(verb, "--help").text
        assert own.startswith(f"Usage: daybook {verb}"), own[:80]
        assert all(len(line) <= 100 for line in own.splitlines()), verb
        assert daybook("help", verb).text == own
    assert re.fullmatch(r"daybook \d+\.\d+\.\d+\n", daybook("--version").text)


@promise("no verb, a wrong verb, a wrong flag: one way out on stderr, exit status 2")
def wrong_words(_):
    assert "Verbs:" in daybook(expect=USAGE).err
    for words in (["nonsense"], ["help", "nonsense"]):
        assert daybook(*words, expect=USAGE).err == "daybook: no verb 'nonsense': try 'daybook help'\n"
    for verb in VERBS:
        result = daybook(verb, "--no-such-flag", expect=USAGE)
        assert f"daybook {verb} --help" in result.err and result.out == b"", result.err


def status(directory, expect=OK):
    return json.loads(daybook("status", "-D", directory, "-o", "json", expect=expect).text)


@promise("status: the same facts with and without a daemon, exit status 0")
def status_facts(directory):
    daybook("pub", "-D", directory, stdin=event_lines(10))
    without = status(directory)
    assert (without["writing"], without["writer_pid"], without["answering"]) == (False, None, False)
    assert (without["first_seq"], without["last_seq"], without["events"]) == (1, 10, 10)
    assert (without["index_seq"], without["index_lag"], without["segments"]) == (10, 0, 1)
    assert without["last_event_time"] == "2026-01-02T03:00:10.000000000Z"
    assert re.fullmatch("[0-9a-f]{16}", without["log_id"])
    with daemon(directory) as process:
        within = status(directory)
        assert (within["writing"], within["writer_pid"]) == (True, process.pid)
        assert within["answering"] and within["log_id"] == without["log_id"]
        assert (within["first_seq"], within["last_seq"]) == (1, 10)
    table = daybook("status", "-D", directory).text
    assert re.search(r"^events +10$", table, re.M), table
    assert daybook("status", "-D", directory, "-o", "csv").lines[0].startswith("directory,log_id,")


@promise("status only looks: without an index it says so, and makes none")
def status_looks(directory):
    daybook("pub", "-D", directory, stdin=event_lines(10))
    os.unlink(f"{directory}/events.db")
    facts = status(directory)
    assert facts["index_seq"] is None and facts["last_seq"] == 10
    assert not os.path.exists(f"{directory}/events.db")


@promise("status: the size of the index counts what still waits in its WAL")
def status_index_bytes(directory):
    with daemon(directory):
        daybook("pub", "-D", directory, stdin=event_lines(2000))
        sizes = [os.path.getsize(f"{directory}/{name}") for name in ("events.db", "events.db-wal")]
        assert sizes[1] > 50000, sizes
        assert status(directory)["index_bytes"] >= sum(sizes), (status(directory), sizes)


def wait_for_index(directory):
    while not os.path.exists(f"{directory}/events.db"):  # the daemon looks ten times a second
        time.sleep(0.01)


@promise("sql: an index deleted under a running daemon comes back by itself")
def deleted_index(directory):
    query = ("sql", "-D", directory, "-o", "csv", "SELECT count(*), max(seq) FROM events")
    with daemon(directory):
        daybook("pub", "-D", directory, stdin=event_lines(500))
        assert daybook(*query).lines[1:] == ["500,500"]
        os.unlink(f"{directory}/events.db")
        wait_for_index(directory)
        assert daybook(*query).lines[1:] == ["500,500"]
        daybook("pub", "-D", directory, stdin=event_lines(10))
        assert daybook(*query).lines[1:] == ["510,510"]


@promise("sql: SELECT * without an ORDER BY begins with the first events")
def sql_first_rows(directory):
    daybook("pub", "-D", directory, stdin="".join(
        json.dumps({"topic": topic, "payload": {}}) + "\n" for topic in "zyxzyx"))
    rows = daybook("sql", "-D", directory, "-o", "json", "SELECT * FROM events LIMIT 4").text
    assert [row["seq"] for row in json.loads(rows)] == [1, 2, 3, 4], rows


@promise("status: damage that the next writer would refuse is seen; nothing seen is no promise")
def status_damage(directory):
    fill(directory, 4)
    assert status(directory)["damaged"] is None
    assert "not seen" in daybook("status", "-D", directory).text
    path = os.path.join(directory, "segments", segment_files(directory)[1])
    with open(path, "r+b") as file:
        file.seek(-30, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert status(directory, DAMAGE)["damaged"] is True


@promise("status: what retention took is no gap, and read says so to who asks for it")
def status_retention(directory):
    fill(directory, 4)
    daybook("retention", "-D", directory, "--max-size", "1")
    facts = status(directory)
    last = facts["first_seq"] - 1
    assert (facts["gaps"], facts["missing"], facts["deleted_by_retention"]) == (0, 0, f"1-{last}")
    for flags in ([], ["-r"]):
        result = daybook("read", "-D", directory, "--after-seq", "3", *flags)
        assert f"events 4 to {last} were deleted by retention" in result.err, result.err


@promise("sql: payload() is strict JSON, so that SQLite understands an event with NaN")
def strict_payload(directory):
    daybook("pub", "-D", directory, stdin='{"topic":"x","payload":{"a":[NaN,-Infinity,1.5]}}')
    text = "SELECT json_extract(payload(seq), '$.a') AS a FROM events"
    assert json.loads(daybook("sql", "-D", directory, "-o", "json", text).text)[0]["a"] == "[null,null,1.5]"
    assert "NaN,-Infinity" in daybook("read", "-D", directory, "-o", "json").text


@promise("topics: counts, bytes, sequences and times, as table, JSON and CSV")
def topics(directory):
    lines = signals(300)
    daybook("pub", "-D", directory, "--topic-field", "pattern", "--time-field", "timestamp",
            stdin=jsonl(lines))
    rows = json.loads(daybook("topics", "-D", directory, "-o", "json").text)
    counts = Counter(line["pattern"] for line in lines)
    assert {r["topic"]: r["events"] for r in rows} == counts
    assert [r["events"] for r in rows] == sorted(counts.values(), reverse=True)
    for row in rows:
        mine = [(i + 1, x) for i, x in enumerate(lines) if x["pattern"] == row["topic"]]
        assert (row["first_seq"], row["last_seq"]) == (mine[0][0], mine[-1][0])
        assert row["first_time"] == min(x["timestamp"] for _, x in mine) + "000Z"
    table = list(csv.DictReader(io.StringIO(daybook("topics", "-D", directory, "-o", "csv").text)))
    assert {r["topic"]: int(r["events"]) for r in table} == counts
    text = daybook("topics", "-D", directory).lines
    assert text[0].split()[:3] == ["topic", "events", "bytes"] and len(text) == len(counts) + 1


@promise("the index is made when it is missing, and caught up when it is behind")
def freshens(directory):
    daybook("pub", "-D", directory, stdin=event_lines(10))
    shutil.copy(f"{directory}/events.db", f"{directory}/old")
    daybook("pub", "-D", directory, stdin=event_lines(5))
    os.unlink(f"{directory}/events.db")
    assert json.loads(daybook("topics", "-D", directory, "-o", "json").text)[0]["events"] == 15
    shutil.move(f"{directory}/old", f"{directory}/events.db")
    assert daybook("sql", "-D", directory, "-o", "csv", "SELECT count(*) FROM events").lines[1] == "15"


def index_behind(directory):
    """A log of 2010 events whose index has 10."""
    daybook("pub", "-D", directory, stdin=event_lines(10))
    shutil.copy(f"{directory}/events.db", f"{directory}/old")
    daybook("pub", "-D", directory, stdin=event_lines(2000))
    shutil.move(f"{directory}/old", f"{directory}/events.db")


QUESTIONS = (["sql", "SELECT count(*) FROM events"], ["topics"], ["segments"])


@promise("an index that its follower does not complete in time: what there is, exit status 5")
def behind_a_follower(directory):
    index_behind(directory)
    with open(f"{directory}/LOCK", "r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2)  # as a follower that does nothing
        for words in QUESTIONS:
            result = daybook(words[0], "-D", directory, *words[1:], expect=INCOMPLETE)
            assert "the index is not complete yet" in result.err and "at 10 of 2010" in result.err
            assert result.out, words
        daybook("sql", "-D", directory, "SELECT nothing FROM events", expect=FAILURE)
    assert sql(directory, "-o", "csv", "SELECT count(*) FROM events").lines[1] == "2010"


@promise("an index that cannot be written: exit status 5 when it is behind, 0 when it has everything")
def behind_on_full_disk(directory):
    index_behind(directory)

    def ask(words):
        """The disk is full where RLIMIT_FSIZE says so: nothing can be written."""
        return subprocess.run(
            [DAYBOOK, words[0], "-D", directory, *words[1:]], capture_output=True, text=True,
            env=environment(), restore_signals=False, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)))
    for words in QUESTIONS:
        done = ask(words)
        assert done.returncode == INCOMPLETE and done.stdout, done
        assert "the index could not be brought up to date" in done.stderr, done
    daybook("topics", "-D", directory)
    for words in QUESTIONS:
        assert ask(words).returncode == OK, ask(words)


@promise("segments: every file, with its events, size and state")
def segments(directory):
    last = fill(directory, 4)
    rows = json.loads(daybook("segments", "-D", directory, "-o", "json").text)
    names = segment_files(directory)
    assert [r["segment"] for r in rows] == names
    assert [r["first_seq"] for r in rows] == [int(n[:20]) for n in names]
    assert [r["last_seq"] for r in rows] == [r["first_seq"] - 1 for r in rows[1:]] + [last]
    assert all(r["events"] == r["last_seq"] - r["first_seq"] + 1 for r in rows), rows
    assert [r["state"] for r in rows] == ["sealed"] * (len(rows) - 1) + ["active"]
    assert [r["bytes"] for r in rows] == [os.path.getsize(f"{directory}/segments/{n}") for n in names]

    with open(f"{directory}/segments/{names[1]}", "r+b") as file:
        file.seek(-64, os.SEEK_END)
        file.write(bytes(64))  # its trailer
    damaged = json.loads(daybook("segments", "-D", directory, "-o", "json",
                                 expect=DAMAGE).text)[1]
    assert (damaged["state"], damaged["last_seq"]) == ("unsealed", rows[1]["last_seq"]), damaged


def sql(directory, *words, **keywords):
    return daybook("sql", "-D", directory, *words, **keywords)


@promise("sql: queries with payloads, as table, JSON and CSV, from the command line and from stdin")
def queries(directory):
    lines = signals(40)
    daybook("pub", "-D", directory, "--topic-field", "pattern", stdin=jsonl(lines))
    rows = json.loads(sql(directory, "-o", "json", "SELECT seq, payload(seq) AS p FROM events ORDER BY seq").text)
    assert [r["seq"] for r in rows] == list(range(1, 41))
    assert all(same(json.loads(r["p"]), line) for r, line in zip(rows, lines))
    one = json.loads(sql(directory, "-o", "json",
                         "SELECT NULL AS n, 1 AS i, 2.0 AS d, 'a\"b' AS t, 9223372036854775807 AS m").text)
    assert same(one, [{"n": None, "i": 1, "d": 2.0, "t": 'a"b', "m": 2**63 - 1}]), one
    assert sql(directory, "-o", "csv", "SELECT 'a,b' AS x, 'c\"d' AS y").text == 'x,y\n"a,b","c""d"\n'
    assert sql(directory, "SELECT 1 AS one, 'zwei' AS two").text == "one  two\n  1  zwei\n"
    assert json.loads(sql(directory, "-o", "json", "SELECT 1 WHERE 0").text) == []
    piped = sql(directory, "-o", "csv", stdin="-- a comment\nSELECT 1\nAS a;\nSELECT 2 AS b")
    assert piped.text == "a\n1\nb\n2\n"


@promise("sql: a mistake is one sentence and exit status 1; nothing can be written")
def sql_mistakes(directory):
    daybook("pub", "-D", directory, stdin=event_lines(3))
    for query in ("SELEC 1", "SELECT nothing FROM events", "DELETE FROM event_rows",
                  "DROP VIEW events", "UPDATE state SET last_seq = 1"):
        result = sql(directory, query, expect=FAILURE)
        assert result.err.count("\n") == 1 and result.err.startswith("daybook sql: "), result.err
        sql(directory, stdin=query, expect=FAILURE)
    sql(directory, "SELECT 1", "SELECT 2", expect=USAGE)
    assert sql(directory, "-o", "csv", "SELECT count(*) AS n FROM events").text == "n\n3\n"


@promise("sql beside a daemon sees what was acknowledged before it was asked")
def sql_beside_daemon(directory):
    with daemon(directory):
        for turn in range(1, 6):
            daybook("pub", "-D", directory, stdin=event_lines(50))
            result = sql(directory, "-o", "csv", "SELECT count(*) AS n FROM events")
            assert result.text == f"n\n{50 * turn}\n" and result.err == "", (turn, result.err)


def dump(directory):
    with contextlib.closing(sqlite3.connect(f"file:{directory}/events.db?mode=ro", uri=True)) as db:
        return [db.execute(f"SELECT * FROM {view} ORDER BY 1, 2").fetchall()
                for view in ("events", "topics", "segments", "gaps", "event_stats")]


@promise("reindex builds the same index again, whatever was there")
def reindex(directory):
    last = fill(directory, 4)
    daybook("pack", "-D", directory)  # what the daemon had no time for; it moves events
    before = dump(directory)
    for damage in ("keep", "remove", "garbage"):
        if damage == "remove":
            os.unlink(f"{directory}/events.db")
        elif damage == "garbage":
            with open(f"{directory}/events.db", "wb") as file:
                file.write(b"no database" * 1000)
        result = daybook("reindex", "-D", directory)
        assert f"{last} events indexed in" in result.err and result.out == b"", result.err
        assert dump(directory) == before
    with daemon(directory):
        result = daybook("reindex", "-D", directory, expect=FAILURE)
        assert "the daemon if one runs" in result.err, result.err
        assert "delete events.db, and the daemon builds it anew" in result.err, result.err
        os.unlink(f"{directory}/events.db")  # as it says
        wait_for_index(directory)
        daybook("topics", "-D", directory)
        assert dump(directory) == before


@promise("reindex tells of places that cannot be read, exit status 4")
def reindex_damage(directory):
    fill(directory, 4)
    path = os.path.join(directory, "segments", segment_files(directory)[1])
    with open(path, "r+b") as file:
        file.seek(9000)
        byte = file.read(1)[0]
        file.seek(9000)
        file.write(bytes([byte ^ 1]))
    result = daybook("reindex", "-D", directory, expect=DAMAGE)
    assert "could not be read" in result.err


def everything(directory):
    """Each file with its bytes."""
    found = {}
    for folder, _, files in os.walk(directory):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(folder, name)] = file.read()
    return found


@promise("reading verbs change no file of the log")
def reading_verbs(directory):
    fill(directory, 3)
    before = {k: v for k, v in everything(directory).items() if "/events.db" not in k}
    for words in (["read", "-n", "1"], ["read", "-r"], ["status"], ["verify"], ["topics"],
                  ["segments"], ["sql", "SELECT count(*) FROM events"], ["replay", "-r", "max"],
                  ["retention", "--max-size", "1", "--dry-run"]):
        daybook(words[0], "-D", directory, *words[1:])
    after = {k: v for k, v in everything(directory).items() if "/events.db" not in k}
    assert after == before, {k for k in after if after[k] != before.get(k)}


if __name__ == "__main__":
    main()
