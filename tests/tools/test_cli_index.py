#!/usr/bin/env python3
"""daybook index: fields added, filled, listed and dropped, with a daemon and without."""
import json
import os
import sqlite3
import time

from cli_support import FAILURE, INCOMPLETE, OK, USAGE, daemon, daybook, main, promise

LAST_S = 60  # only a hang takes so long


def publish(directory, count, first=0):
    lines = (json.dumps({"topic": "t", "payload": {"n": n, "user": {"id": f"u{n % 10}"}}})
             for n in range(first, first + count))
    daybook("pub", "-D", directory, stdin="\n".join(lines))


def listed(directory):
    """What list says, by field. The index may be behind: then it says so by its exit status."""
    result = daybook("index", "list", "-D", directory, "-o", "json", expect=None)
    assert result.status in (OK, INCOMPLETE), result.err
    return {f"{row['topic']} {row['field']}": row for row in json.loads(result.text or "[]")}


def wait_until(condition):
    end = time.monotonic() + LAST_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def is_done(directory, field):
    return listed(directory).get(field, {}).get("state") == "done"


def rows(directory, query):
    with sqlite3.connect(f"file:{directory}/events.db?mode=ro", uri=True) as database:
        return database.execute(query).fetchall()


BY_USER = ("SELECT count(*) FROM field_values f JOIN events e USING(seq)"
           " WHERE f.topic = 't' AND f.field = 'user.id' AND f.value = 'u3'")


@promise("index add fills a field of a log without a daemon before it returns, drop removes it")
def without_daemon(directory):
    publish(directory, 500)
    added = daybook("index", "add", "t", "$.user.id", "n", "-D", directory)
    assert "2 fields added" in added.err, added.err
    assert rows(directory, BY_USER) == [(50,)]
    table = daybook("index", "list", "-D", directory).lines
    assert table[0].split() == ["topic", "field", "events", "state", "storage"], table
    assert table[1].split() == ["t", "n", "500", "done", "field_1"], table
    assert listed(directory)["t user.id"] == {
        "topic": "t", "field": "user.id", "events": 500, "state": "done", "done_seq": 500,
        "until_seq": 500, "storage": "field_2"}
    csv = daybook("index", "list", "-D", directory, "-o", "csv").lines
    assert csv[2] == "t,user.id,500,done,500,500,field_2", csv

    publish(directory, 100, 500)
    daybook("topics", "-D", directory)
    assert rows(directory, BY_USER) == [(60,)]

    assert "0 fields added" in daybook("index", "add", "t", "user.id", "-D", directory).err
    assert "1 field dropped" in daybook("index", "drop", "t", "user.id", "-D", directory).err
    assert rows(directory, BY_USER) == [(0,)]
    assert list(listed(directory)) == ["t n"]
    names = rows(directory, "SELECT name FROM sqlite_schema WHERE name LIKE 'field^_2%' ESCAPE '^'")
    assert names == [], names


@promise("a running daemon takes up fields that are added and dropped, and fills them")
def beside_daemon(directory):
    publish(directory, 2000)
    with daemon(directory):
        daybook("index", "add", "t", "user.id", "-D", directory)
        wait_until(lambda: is_done(directory, "t user.id"))
        assert rows(directory, BY_USER) == [(200,)]
        publish(directory, 100, 2000)
        wait_until(lambda: rows(directory, BY_USER) == [(210,)])
        daybook("index", "drop", "t", "user.id", "-D", directory)
        assert listed(directory) == {}
        wait_until(lambda: rows(directory, "SELECT count(*) FROM field_rows") == [(0,)])


PROGRESS = "SELECT done_seq, done FROM fields"


class Killed(Exception):
    """Leaves a daemon without a word: then it is killed with SIGKILL."""


@promise("a field gives no rows until a daemon that is killed on the way has all of them")
def killed(directory):
    publish(directory, 60000)
    daybook("topics", "-D", directory)
    before = (0, 0)
    for attempt in range(100):
        try:
            with daemon(directory):
                if attempt == 0:
                    daybook("index", "add", "t", "user.id", "-D", directory)
                wait_until(lambda: (rows(directory, PROGRESS) or [(0, 0)])[0] > before)
                raise Killed
        except Killed:
            before = rows(directory, PROGRESS)[0]
            assert rows(directory, BY_USER) == [(6000 if before[1] else 0,)]
        if before[1]:
            break
    assert before == (60000, 1), before
    assert attempt > 0, "nothing was left to be filled after the first kill"


@promise("daybookd adds the fields of its configuration and its flags")
def configured(directory):
    log = os.path.join(directory, "log")
    config = os.path.join(directory, "config")
    with open(config, "w", encoding="utf-8") as file:
        file.write('index = t user.id\nindex = other "a key" b\n')
    publish(log, 100)
    with daemon(log, "-c", config, "--index", "t n", "--index", "u x"):
        wait_until(lambda: is_done(log, "t user.id") and is_done(log, "u x"))
        assert list(listed(log)) == ["other a key", "other b", "t n", "t user.id", "u x"]
        assert rows(log, BY_USER) == [(10,)]
        daybook("index", "drop", "u", "x", "-D", log)
    with daemon(log):
        assert list(listed(log)) == ["other a key", "other b", "t n", "t user.id"]


@promise("the list survives events.db, which comes back with the fields")
def survives(directory):
    publish(directory, 100)
    daybook("index", "add", "t", "user.id", "-D", directory)
    os.unlink(os.path.join(directory, "events.db"))
    daybook("reindex", "-D", directory)
    assert is_done(directory, "t user.id")
    assert rows(directory, BY_USER) == [(10,)]


@promise("daybook index says what is wrong with its words, its list and its directory")
def mistakes(directory):
    log = os.path.join(directory, "log")
    publish(log, 10)
    for words, text in [
            ([], "it needs add, drop or list"),
            (["show"], "it needs add, drop or list"),
            (["list", "t"], "it needs add, drop or list"),
            (["add"], "a topic and at least one field are missing"),
            (["drop", "t"], "a topic and at least one field are missing"),
            (["add", "t", "a..b"], "path 'a..b': byte 3: here a key is missing"),
            (["add", "a topic", "x"], "topic")]:
        result = daybook("index", *words, "-D", log, expect=USAGE)
        assert text in result.err, (words, result.err)
    result = daybook("index", "drop", "t", "x", "-D", log, expect=FAILURE)
    assert "the field 'x' of topic 't' is not indexed; nothing was dropped" in result.err
    result = daybook("index", "add", "t", "x", "-D", os.path.join(directory, "nowhere"),
                     expect=FAILURE)
    assert "no log in" in result.err, result.err
    with open(os.path.join(log, "index-fields"), "w", encoding="utf-8") as file:
        file.write("t x\n")
    for verb in (["add", "t", "y"], ["list"]):
        result = daybook("index", *verb, "-D", log, expect=None)
        assert result.status == 4 and "'index-fields', is damaged" in result.err, result.err


if __name__ == "__main__":
    main()
