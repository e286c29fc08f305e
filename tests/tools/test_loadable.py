#!/usr/bin/env python3
"""build/daybook.so in the sqlite3 shell, in Python, and in a program with an SQLite of its own."""
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading

from cli_support import (BUILD, daemon, daybook, environment, event_lines, main, promise, write)

EXTENSION = os.path.join(BUILD, "daybook")
DEBIANS_PYTHON = "/usr/bin/python3"

QUESTIONS = [
    "SELECT count(*), min(seq), max(seq) FROM events",
    "SELECT seq, time, topic, payload FROM events ORDER BY seq DESC LIMIT 3",
    "SELECT sum(json_extract(payload, '$.n')) FROM events WHERE topic = 't'",
    "SELECT daybook_field(seq, 'n'), daybook_payload(seq) = payload FROM events WHERE seq = 5",
    "SELECT n FROM typed WHERE n > 2 ORDER BY seq",
    "SELECT typed.n, events.seq FROM typed JOIN events USING (seq) WHERE events.topic = 'typed'",
    "SELECT seq FROM events WHERE ts >= daybook_time('2026-01-02T03:00:20Z') ORDER BY seq LIMIT 2",
]


def make(directory, events=60):
    """A log with a topic that has a schema; returns its index."""
    log = os.path.join(directory, "log")
    daybook("pub", "-D", log, stdin=event_lines(events))
    schema = write(directory, "typed.json", '{"properties": {"n": {"type": "integer"}}}')
    daybook("schema", "add", "-D", log, "typed", schema)
    daybook("pub", "-D", log, "-t", "typed", stdin="".join(f'{{"n": {n}}}\n' for n in range(5)))
    return os.path.join(log, "events.db")


def connect(index, load=True):
    connection = sqlite3.connect(index, timeout=0)
    connection.enable_load_extension(True)
    if load:
        connection.load_extension(EXTENSION)
    return connection


def shell(index, *statements, expect=0, flags=()):
    done = subprocess.run(["sqlite3", "-batch", "-json", *flags, index, f".load {EXTENSION}",
                           *statements], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment(), check=False)
    assert expect is None or done.returncode == expect, (done.returncode, done.stderr)
    return done


def refused(action, text):
    try:
        action()
    except sqlite3.Error as error:
        assert text in str(error), error
        return
    raise AssertionError(f"not refused: {text}")


@promise("python, the sqlite3 shell and daybook sql give the same answers")
def answers_alike(directory):
    index = make(directory)
    connection = connect(index)
    for question in QUESTIONS:
        rows = connection.execute(question)
        names = [column[0] for column in rows.description]
        ours = [dict(zip(names, row)) for row in rows]
        assert ours, question
        theirs = json.loads(shell(index, question).stdout)
        assert ours == theirs, (question, ours, theirs)
        theirs = daybook("sql", "-D", os.path.dirname(index), "-o", "json", question).text
        assert ours == json.loads(theirs), (question, ours, theirs)


@promise("an index whose tables change while the extension is being loaded crashes nobody")
def schema_changes(directory):
    index = make(directory)
    log = os.path.dirname(index)
    for change in ("add", "drop", "add", "drop", "add", "drop"):
        changed = []

        def meanwhile(sql, words=("index", change, "typed", "n", "-D", log), done=changed):
            if not done and sql.startswith('CREATE VIRTUAL TABLE temp."typed"'):
                done.append(daybook(*words))
        connection = connect(index, load=False)
        connection.set_trace_callback(meanwhile)
        connection.load_extension(EXTENSION)
        assert changed, "the moment was missed"
        assert connection.execute("SELECT count(*) FROM typed WHERE n > 2").fetchall() == [(2,)]
        connection.close()


@promise("a refresh while one table is being read makes the others, and the next one that one, too")
def refresh_in_part(directory):
    index = make(directory)
    log = os.path.dirname(index)
    daybook("schema", "add", "-D", log, "t", write(directory, "t.json", '{"properties": {"n": {}}}'))
    connection = connect(index)
    reading = connection.execute("SELECT * FROM typed")
    reading.fetchone()
    daybook("schema", "add", "-D", log, "typed",
            write(directory, "m.json", '{"properties": {"n": {}, "m": {}}}'))
    daybook("schema", "add", "-D", log, "new", write(directory, "new.json", "{}"))
    refused(lambda: connection.execute("SELECT daybook_refresh()").fetchall(), "locked")
    for question in ("SELECT n FROM t LIMIT 1", "SELECT count(*) FROM new",
                     "SELECT n FROM typed LIMIT 1"):
        assert connection.execute(question).fetchall(), question
    reading.fetchall()
    reading.close()
    connection.execute("SELECT daybook_refresh()").fetchall()
    assert connection.execute("SELECT m FROM typed LIMIT 1").fetchall() == [(None,)]


@promise("topics named like SQLite's own functions that give rows hide none of them")
def hiding_names(directory):
    index = make(directory)
    log = os.path.dirname(index)
    schema = write(directory, "any.json", "{}")
    for topic in ("pragma_table_list", "json_each", "pragma_module_list"):
        daybook("schema", "add", "-D", log, topic, schema)
    connection = connect(index)
    assert connection.execute("SELECT count(*) FROM json_each('[1,2]')").fetchall() == [(2,)]
    assert connection.execute("SELECT name FROM pragma_table_list WHERE name = 'topic.json_each'")
    assert connection.execute('SELECT count(*) FROM "topic.pragma_table_list"').fetchall() == [(0,)]
    daybook("topics", "-D", log)


@promise("it shows one symbol, and calls no SQLite but that of its host")
def symbols(_directory):
    shown = subprocess.run(["nm", "-D", "--defined-only", EXTENSION + ".so"], check=True,
                           stdout=subprocess.PIPE).stdout.decode().split()
    assert [word for word in shown if "sqlite3" in word] == ["sqlite3_daybook_init"], shown
    assert len(shown) == 3, shown
    wanted = subprocess.run(["nm", "-D", "--undefined-only", EXTENSION + ".so"], check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    assert "sqlite3" not in wanted, wanted
    linked = subprocess.run(["ldd", EXTENSION + ".so"], check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    assert "sqlite" not in linked, linked


HOST = r"""
#include <sqlite3.h>
#include <stdio.h>
static int print(void *context, int count, char **values, char **names)
{
    (void)context; (void)count; (void)names;
    printf("%s\n", values[0] ? values[0] : "NULL");
    return 0;
}
int main(int argc, char **argv)
{
    sqlite3 *database;
    char *message = "";
    if (sqlite3_open(argv[1], &database) || sqlite3_enable_load_extension(database, 1) ||
        sqlite3_load_extension(database, argv[2], NULL, &message) ||
        sqlite3_exec(database, argv[3], print, NULL, &message)) {
        fprintf(stderr, "%s %s\n", message, sqlite3_errmsg(database));
        return 1;
    }
    return sqlite3_close(database) || argc != 4;
}
"""


@promise("a program with a copy of SQLite inside loads it, and its copy does the work")
def own_copy(directory):
    index = make(directory)
    host = os.path.join(directory, "host")
    source = write(directory, "host.c", HOST)
    # Debian's libsqlite3-dev has the archive; the program has all of it, and shows none of it.
    subprocess.run([os.environ.get("CC", "cc"), source, "-o", host, "-l:libsqlite3.a", "-lpthread",
                    "-ldl", "-lm"], check=True)
    assert b"libsqlite3" not in subprocess.run(["ldd", host], check=True,
                                               stdout=subprocess.PIPE).stdout
    done = subprocess.run([host, index, EXTENSION,
                           "SELECT count(payload) FROM events; SELECT sum(n) FROM typed"],
                          stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"66\n10\n", done.stdout


@promise("loaded twice it is there once, and takes up what has changed")
def twice(directory):
    index = make(directory)
    connection = connect(index)
    refused(lambda: connection.execute("SELECT * FROM other"), "no such table")
    schema = write(directory, "other.json", '{"properties": {"x": {"type": "string"}}}')
    daybook("schema", "add", "-D", os.path.dirname(index), "other", schema)
    connection.load_extension(EXTENSION)
    assert connection.execute("SELECT count(*) FROM other").fetchall() == [(0,)]
    assert connection.execute("SELECT count(payload) FROM events").fetchone()[0] > 60
    rows = connection.execute("SELECT payload FROM events")
    rows.fetchone()
    refused(lambda: connection.load_extension(EXTENSION), "daybook:")
    assert len(rows.fetchall()) > 60
    assert connection.execute("SELECT count(n) FROM typed").fetchone() == (5,)


@promise("where there is no index, or one of another version, it says so")
def no_index(directory):
    index = make(directory)
    refused(lambda: connect(":memory:"), "no database of this connection is the index of a log")
    refused(lambda: connect(os.path.join(directory, "new.db")), "open DIR/events.db")
    other = os.path.join(directory, "copy", "events.db")
    os.mkdir(os.path.dirname(other))
    shutil.copy(index, other)
    with sqlite3.connect(other) as plain:
        plain.execute("PRAGMA user_version = 99")
    refused(lambda: connect(other), "version")
    plain.close()


@promise("a log attached under an odd name is found, and of two logs the first")
def attached(directory):
    one = make(directory)
    os.mkdir(os.path.join(directory, "b"))
    two = make(os.path.join(directory, "b"), events=7)
    connection = connect(":memory:", load=False)
    connection.execute("CREATE TABLE mine(seq)")
    connection.execute("INSERT INTO mine VALUES (3)")
    connection.execute("ATTACH ? AS \"my \"\"log's\"", (one,))
    connection.execute("ATTACH ? AS two", (two,))
    connection.load_extension(EXTENSION)
    assert connection.execute("SELECT count(payload) FROM events").fetchone() == (66,)
    assert connection.execute("SELECT count(*) FROM two.events").fetchone() == (13,)
    assert connection.execute("SELECT daybook_field(payload, 'n') FROM mine JOIN events USING (seq)"
                              ).fetchall() == [(3,)]
    assert connection.execute("SELECT sum(n) FROM typed").fetchone() == (10,)


@promise("a locked index is a busy one, said clearly, and of use afterwards")
def locked(directory):
    index = make(directory)
    connection = connect(index)
    connection.execute("PRAGMA busy_timeout = 0")
    holder = sqlite3.connect(index, isolation_level=None, timeout=0)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.close()  # no one may hold a lock of the WAL's when it is taken for good
    holder.execute("BEGIN EXCLUSIVE")
    refused(lambda: connect(index), "locked")
    holder.execute("COMMIT")
    holder.close()
    assert connect(index).execute("SELECT count(payload) FROM events").fetchone() == (66,)


@promise("without permission for the log's directory it says so")
def forbidden(directory):
    if os.geteuid() != 0:
        return  # only root can be somebody else
    index = make(directory)
    log = os.path.dirname(index)
    os.chmod(directory, 0o755)
    os.chmod(log, 0o700)
    done = subprocess.run(["sqlite3", "-batch", index, f".load {EXTENSION}",
                           "SELECT count(*) FROM events"], user=65534, group=65534,
                          extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    assert done.returncode and b"unable to open" in done.stderr, done
    # Somebody who may read the index, and not the events.
    subprocess.run(["chmod", "-R", "a+rwX", log], check=True)
    os.chmod(os.path.join(log, "segments"), 0o700)
    done = subprocess.run(["sqlite3", "-batch", index, f".load {EXTENSION}",
                           "SELECT count(*) FROM events", "SELECT count(payload) FROM events"],
                          user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    assert done.stdout == b"66\n" and b"ermission" in done.stderr, done


@promise("two connections in two threads beside a writing daemon give whole answers")
def threads(directory):
    index = make(directory)
    log = os.path.dirname(index)
    failures = []

    def ask():
        try:
            connection = sqlite3.connect(index, timeout=30)
            connection.enable_load_extension(True)
            connection.load_extension(EXTENSION)
            last = 0
            for _ in range(60):
                count, payloads, top = connection.execute(
                    "SELECT count(*), count(payload), max(seq) FROM events").fetchone()
                assert count == payloads == top and top >= last, (count, payloads, top, last)
                last = top
                wrong = connection.execute("SELECT count(*) FROM events WHERE topic = 'more' AND"
                                           " json_extract(payload, '$.n') IS NULL").fetchone()
                assert wrong == (0,), wrong
            connection.close()
        except Exception as error:  # pylint: disable=broad-except
            failures.append(repr(error))

    with daemon(log):
        askers = [threading.Thread(target=ask) for _ in range(2)]
        for asker in askers:
            asker.start()
        first = 1
        while any(asker.is_alive() for asker in askers):
            daybook("pub", "-D", log, stdin=event_lines(200, topic="more", first=first))
            first += 200
        for asker in askers:
            asker.join()
    assert not failures, failures


@promise("a read-only shell has it, too, and nothing can be written through it")
def read_only(directory):
    index = make(directory)
    done = shell(index, "SELECT count(payload) AS n FROM events", flags=["-readonly"])
    assert json.loads(done.stdout) == [{"n": 66}], done
    done = shell(index, "DELETE FROM events", expect=1)
    assert b"may not be modified" in done.stderr, done.stderr


if __name__ == "__main__":
    can_load = hasattr(sqlite3.Connection, "enable_load_extension")
    if not can_load and sys.executable != DEBIANS_PYTHON:
        os.execv(DEBIANS_PYTHON, [DEBIANS_PYTHON, *sys.argv])  # some are built without
    main()
