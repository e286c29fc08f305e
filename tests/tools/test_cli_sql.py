#!/usr/bin/env python3
"""The shell `daybook sql`: at a terminal (a pty), in a pipe, and what it must never do."""
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import sqlite3
import stat
import struct
import subprocess
import termios

from cli_support import (BUILD, DAMAGE, DAYBOOK, FAILURE, daybook, environment, event_lines, jsonl, main,
                         promise, signals, write)

PATIENCE = 60  # seconds without a byte: it hangs
PROMPT = re.compile(r"(?:^|\n)\r*daybook> $")
CONTINUED = re.compile(r"(?:^|\n)\r*    \.\.\.> $")
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {} FROM c;"


def sql(directory, *words, **keywords):
    return daybook("sql", "-D", f"{directory}/log", *words, **keywords)


def log_of(directory, count=30):
    """Some events of four topics, and two hard to write."""
    daybook("pub", "-D", f"{directory}/log", "--topic-field", "pattern", stdin=jsonl(signals(count)))
    daybook("pub", "-D", f"{directory}/log", stdin=event_lines(2, topic="a:b/c-1"))
    daybook("pub", "-D", f"{directory}/log", stdin=event_lines(1, topic="Tea.time"))


class Shell:
    """`daybook sql` at a terminal of its own."""

    def __init__(self, directory, *flags, width=80, **env):
        self.home = directory
        self.seen = ""
        variables = environment({"HOME": directory, "TERM": "xterm", "LANG": "C", **env})
        for name in ("XDG_STATE_HOME", "LC_ALL"):
            if name not in env:
                variables.pop(name, None)
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(directory)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
            os.execve(DAYBOOK, [DAYBOOK, "sql", "-D", f"{directory}/log", *flags], variables)
        self.greeting = self.until(PROMPT)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self.terminal)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def more(self):
        if not select.select([self.terminal], [], [], PATIENCE)[0]:
            raise AssertionError(f"nothing comes after {self.seen[-500:]!r}")
        try:
            return os.read(self.terminal, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            return ""

    def until(self, what):
        """What appears up to a text or a pattern."""
        pattern = re.compile(re.escape(what)) if isinstance(what, str) else what
        while not (found := pattern.search(self.seen)):
            more = self.more()
            assert more, f"it ended before {pattern.pattern!r}: {self.seen[-500:]!r}"
            self.seen += more
            if len(self.seen) > 1 << 20:  # an endless answer
                self.seen = self.seen[-1000:]
        text, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return text

    def enter(self, line):
        """Type a line; gives back when it was taken."""
        self.type(line + "\r")
        self.until("\n")

    def ask(self, *lines):
        """Type lines, the last of which completes a statement; the answer, without the prompt."""
        for line in lines[:-1]:
            self.enter(line)
            self.until(CONTINUED)
        self.enter(lines[-1])
        return PROMPT.sub("\n", self.until(PROMPT)).replace("\r", "").lstrip("\n")

    def end(self, keys="\x04"):
        """Leave, and succeed."""
        self.type(keys)
        while more := self.more():
            self.seen += more
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        self.process = None
        assert status == 0, f"exit status {status} after {self.seen[-3000:]}"

    def history(self, name=".daybook_history"):
        with open(os.path.join(self.home, name), encoding="utf-8") as file:
            return file.read().splitlines()


@promise("sql shell: answers, says rows and time, and ends with Ctrl-D, .quit, .exit and quit")
def shell_answers(directory):
    log_of(directory)
    with Shell(directory) as shell:
        assert ".help" in shell.greeting, shell.greeting
        answer = shell.ask("SELECT 1 AS one, 'zwei' AS two;")
        assert re.fullmatch(r"one  two\n  1  zwei\n\(1 row, [0-9.]+ ms\)\n", answer), answer
        assert shell.ask("SELECT topic FROM topics WHERE 0;").startswith("topic\n(0 rows, ")
        assert shell.ask("SELEC 1;") == 'daybook sql: SQL: near "SELEC": syntax error\n'
        assert "1,234 rows" in shell.ask("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
                                         "SELECT x+1 FROM c LIMIT 1234) SELECT x FROM c;")
        shell.end()
    for words in (".quit\r", ".exit\r", "quit\r", "exit;\r"):
        with Shell(directory) as shell:
            shell.end(words)


@promise("sql shell: sees what was stored after it began")
def shell_is_fresh(directory):
    log_of(directory)
    with Shell(directory) as shell:
        assert "\n33\n" in shell.ask("SELECT count(*) AS n FROM events;").replace(" ", "")
        daybook("pub", "-D", f"{directory}/log", stdin=event_lines(5))
        assert "\n38\n" in shell.ask("SELECT count(*) AS n FROM events;").replace(" ", "")
        shell.ask("CREATE TEMP TABLE mine(a);")
        os.unlink(f"{directory}/log/events.db")
        daybook("pub", "-D", f"{directory}/log", stdin=event_lines(1))
        answer = shell.ask("SELECT count(*) AS n FROM events;")
        assert "made anew" in answer and "\n39\n" in answer.replace(" ", ""), answer
        assert "no such table" in shell.ask("SELECT * FROM mine;")


@promise("sql shell: a topic that gets a schema meanwhile has a table; what was made in temp stays")
def shell_takes_up_schemas(directory):
    daybook("pub", "-D", f"{directory}/log", stdin='{"topic":"door","payload":{"open":1}}')
    schema = os.path.join(directory, "door.json")
    with open(schema, "w", encoding="utf-8") as to:
        json.dump({"properties": {"open": {"type": "integer"}}}, to)
    with Shell(directory) as shell:
        assert "no such table" in shell.ask("SELECT open FROM door;")
        shell.ask("CREATE TEMP TABLE mine(x);")
        daybook("schema", "add", "door", schema, "-D", f"{directory}/log")
        assert "open" in shell.ask("SELECT sum(open) AS open FROM door;")
        assert "no such" not in shell.ask("SELECT count(*) FROM mine;")


@promise("sql shell: a statement takes several lines, and is one entry of the history")
def continuation(directory):
    log_of(directory)
    with Shell(directory) as shell:
        answer = shell.ask("SELECT 'a;", "b' AS t, -- a comment; with a semicolon", "2 AS n;")
        assert "a; b  2" in answer, answer
        shell.type("\x1b[A\r")  # up, and run it again
        assert "a; b  2" in shell.until(PROMPT)
        shell.end()
        assert shell.history() == ["SELECT 'a;\\nb' AS t, -- a comment; with a semicolon\\n2 AS n;"]


@promise("sql shell: the history lasts over sessions, with backslashes and UTF-8, private to its owner")
def history_lasts(directory):
    log_of(directory)
    with Shell(directory) as shell:
        shell.ask("SELECT 'back\\slash \\n' AS x;")
        shell.ask("SELECT 'Zürich 東京' AS x;")
        shell.ask("SELECT 'Zürich 東京' AS x;")  # the same again is no new entry
        shell.end()
        assert shell.history() == ["SELECT 'back\\\\slash \\\\n' AS x;", "SELECT 'Zürich 東京' AS x;"]
    path = f"{directory}/.daybook_history"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    os.chmod(path, 0o644)
    with Shell(directory) as shell:
        shell.type("\x1b[A\r")
        assert "Zürich 東京\r" in shell.until(PROMPT)
        shell.type("\x1b[A\x1b[A\r")
        assert "back\\slash \\n\r" in shell.until(PROMPT)
        shell.end()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@promise("sql shell: the history is where XDG_STATE_HOME and DAYBOOK_HISTORY say, or nowhere")
def history_elsewhere(directory):
    log_of(directory)
    with Shell(directory, XDG_STATE_HOME=f"{directory}/state") as shell:
        shell.ask("SELECT 1;")
        shell.end()
        assert shell.history("state/daybook/history") == ["SELECT 1;"]
    with Shell(directory, DAYBOOK_HISTORY=f"{directory}/mine") as shell:
        shell.ask("SELECT 2;")
        shell.end()
        assert shell.history("mine") == ["SELECT 2;"]
    with Shell(directory, DAYBOOK_HISTORY="") as shell:
        shell.ask("SELECT 3;")
        shell.end()
    assert not os.path.exists(f"{directory}/.daybook_history")
    with Shell(directory, DAYBOOK_HISTORY=f"{directory}/no/such/place") as shell:
        assert "no history" in shell.greeting and "No such file" in shell.greeting, shell.greeting
        assert "(1 row" in shell.ask("SELECT 4;")
        shell.end()


@promise("sql shell: the history is bounded: its last thousand entries are read, and then kept")
def history_is_bounded(directory):
    log_of(directory)
    path = write(directory, ".daybook_history", "".join(f"SELECT {i};\n" for i in range(2500)))
    with Shell(directory) as shell:
        shell.ask("SELECT 'last';")
        shell.end()
        lines = shell.history()
    assert lines == [f"SELECT {i};" for i in range(1500, 2500)] + ["SELECT 'last';"], len(lines)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and not os.path.exists(path + ".tmp")


@promise("sql shell: Ctrl-C leaves the line that is being typed, and all lines of its statement")
def interrupted_typing(directory):
    log_of(directory)
    with Shell(directory) as shell:
        shell.type("SELECT nonsense")
        shell.until("nonsense")
        shell.type("\x03")
        shell.until(PROMPT)
        shell.enter("SELECT more,")
        shell.until(CONTINUED)
        shell.type("\x03")
        shell.until(PROMPT)
        assert "(1 row" in shell.ask("SELECT 1 AS one;")
        shell.end()
        assert shell.history() == ["SELECT 1 AS one;"]


@promise("sql shell: Ctrl-C stops a query, while it computes, prints or waits, and the shell goes on")
def interrupted_query(directory):
    log_of(directory)
    shell_of_user = sqlite3.connect(f"{directory}/mine.db", isolation_level=None)
    shell_of_user.execute("CREATE TABLE t(a)")
    with Shell(directory) as shell:
        shell.enter(ENDLESS.format("count(*)"))
        shell.type("\x03")
        answer = shell.until(PROMPT)
        assert "interrupted" in answer and "count" not in answer, answer
        shell.enter(ENDLESS.format("x"))
        shell.until("1000")
        shell.type("\x03")
        shell.until("interrupted")
        shell.until(PROMPT)
        shell.ask("ATTACH 'mine.db' AS mine;")
        shell_of_user.execute("BEGIN EXCLUSIVE")
        shell.enter("SELECT * FROM mine.t;")
        shell.type("\x03")
        assert re.search("interrupted|locked", shell.until(PROMPT))
        assert "(1 row" in shell.ask("SELECT 1;")
        shell.end()


@promise("sql shell: SIGTERM and a terminal that goes away end it")
def shell_ends(directory):
    log_of(directory)
    with Shell(directory) as shell:
        os.kill(shell.process, signal.SIGTERM)
        shell.end("")
    with Shell(directory) as shell:
        shell.enter(ENDLESS.format("count(*)"))
        os.kill(shell.process, signal.SIGHUP)
        shell.end("")


@promise("sql shell: Ctrl-Z gives the terminal back, and the line is there again afterwards")
def shell_is_suspended(directory):
    log_of(directory)
    with Shell(directory) as shell:
        shell.type("SELECT 5")
        shell.until("SELECT 5")
        shell.type("\x1a")
        assert os.WIFSTOPPED(os.waitpid(shell.process, os.WUNTRACED)[1])
        assert termios.tcgetattr(shell.terminal)[3] & termios.ICANON
        os.kill(shell.process, signal.SIGCONT)
        shell.until("SELECT 5")  # it is drawn again
        shell.type("5;\r")
        assert "55" in shell.until(PROMPT)
        shell.end()


@promise("sql shell: Tab completes keywords, tables, columns, topics, functions and commands")
def completion(directory):
    log_of(directory)
    other(directory)
    typed = {
        "sel\tseq fr\tevents lim\t1;": "select seq from events limit 1;",
        "SEL\tsegment FR\tevents LIM\t0;": "SELECT segment FROM events LIMIT 0;",
        # What follows the cursor counts, too.
        "SELECT  FROM segments;" + "\x1b[D" * 15 + "stored\t": "SELECT stored_bytes FROM segments;",
        "SELECT 1 FROM events e WHERE e.to\t= 'Te\t;":
            "SELECT 1 FROM events e WHERE e.topic = 'Tea.time' ;",
        "SELECT 1 FROM events WHERE topic IN ('a:\t, 'KAL\t) LIMIT 1;":
            "SELECT 1 FROM events WHERE topic IN ('a:b/c-1' , 'KALMAN_QUICKFIRE' ) LIMIT 1;",
        "SELECT coun\t*) FROM top\t;": "SELECT count(*) FROM topics ;",
        "ATTACH 'oth\tAS mine;": "ATTACH 'other.db' AS mine;",
        "SELECT * FROM mi\tpe\t;": "SELECT * FROM mine.people ;",
        "SELECT  FROM mine.people;" + "\x1b[D" * 18 + "\"odd c\t": 'SELECT "odd column" FROM mine.people;',
        "SELECT  FROM mine.people p;" + "\x1b[D" * 20 + "odd\t": 'SELECT "odd column" FROM mine.people p;',
        ".sch\tmine.pe\t": ".schema mine.people",
        ".read no\t": ".read no",
        ".mo\tcs\t": ".mode csv",
    }
    with Shell(directory) as shell:
        for keys in typed:
            shell.ask(keys)
        shell.end()
        for want, got in zip(typed.values(), shell.history(), strict=True):
            assert got == want, (got, want)


def other(directory, name="other.db"):
    """A database of the user's own."""
    with sqlite3.connect(f"{directory}/{name}") as mine:
        mine.execute("CREATE TABLE people(topic TEXT, owner TEXT, \"odd column\")")
        mine.execute("INSERT INTO people VALUES ('a:b/c-1', 'Ada', 1), ('Tea.time', 'Bob', 2)")
    mine.close()
    return f"{directory}/{name}"


@promise("sql shell: Tab lists the words when there are several, and takes what they share")
def completion_lists(directory):
    log_of(directory)
    with Shell(directory) as shell:
        shell.type("SELECT 1 FROM events WHERE topic = '\t")
        listed = shell.until(re.compile(r"\n.*daybook> SELECT 1 FROM events WHERE topic = '$"))
        assert all(topic in listed for topic in ("'a:b/c-1'", "'BB_SCALP'", "'Tea.time'")), listed
        shell.type("\x15SELECT first_\t")  # no table yet: nothing to offer
        shell.type("\x15SELECT fi FROM topics" + "\x1b[D" * 12 + "\t\t")
        shell.until("first_seq")
        shell.until("first_time")
        shell.type("\x03")
        shell.until(PROMPT)
        shell.end()


@promise("sql shell: dot commands, and the nearest one to what is none")
def dot_commands(directory):
    log_of(directory)
    other(directory)
    script = write(directory, "script.sql", "SELECT 1 AS a;\n.mode csv\nSELECT 2\nAS b;\n")
    write(directory, "wrong.sql", "SELECT 1;\n\nSELECT\nnowhere;\nSELECT 3;\n")
    write(directory, "itself.sql", ".read itself.sql\n")
    with Shell(directory) as shell:
        text = shell.ask(".help")
        for word in (".tables", ".schema", ".topics", ".mode", ".timer", ".read", ".quit"):
            assert word in text, text
        assert text.count("\n") < 24 and shell.ask("help") == text
        shell.ask("ATTACH 'other.db' AS mine;")
        shell.ask("CREATE TEMP TABLE scratch AS SELECT 1 AS x;")
        text = shell.ask(".tables")
        assert re.search(r"^events +table +the log$", text, re.M), text
        assert re.search(r"^topics +view +the log's index$", text, re.M), text
        assert re.search(r"^scratch +temporary table +this session$", text, re.M), text
        assert re.search(r"^mine\.people +table +mine$", text, re.M), text
        assert "event_rows" not in text and "main." not in text and "sqlite_" not in text
        text = shell.ask(".schema")
        assert "gaps(first_seq, last_seq" in text.replace(" INTEGER", ""), text
        assert 'mine.people(topic TEXT, owner TEXT, "odd column")' in text, text
        assert re.search(r"^topic +TEXT\nowner +TEXT\n", shell.ask(".schema mine.people"), re.M)
        shell.ask("CREATE TEMP TABLE \"odd.name:x\"(only);")
        for name in ("odd.name:x", '"odd.name:x"', 'temp."odd.name:x"', "odd\t"):
            assert re.search(r"^only +-$", shell.ask(f".schema {name}"), re.M), name
        assert "made from the log" in shell.ask("DROP TABLE events;")
        assert "payload" in shell.ask(".schema events") and "no table" in shell.ask(".schema nothing")
        assert re.search(r"^a:b/c-1 +2 +20..-..-..T..:..:..Z", shell.ask(".topics"), re.M)
        assert shell.ask(".timer") == "timer is on\n"
        assert shell.ask(".timer off") == "" and shell.ask("SELECT 1 AS a;") == "a\n1\n"
        assert "neither on nor off" in shell.ask(".timer maybe")
        assert shell.ask(f".read {script}") == "a\n1\nb\n2\n"
        assert shell.ask(".mode") == "mode is csv\n"
        text = shell.ask(".read wrong.sql")
        assert text.startswith("1\n1\n") and "wrong.sql:3: SQL: no such column: nowhere" in text, text
        assert "'itself.sql' is read by a file" in shell.ask(".read itself.sql")
        assert "No such file" in shell.ask(".read none.sql")
        assert "directory" in shell.ask(".read .") and "which FILE" in shell.ask(".read")
        assert ".mode: 'xml' is none of table, json, csv, markdown" in shell.ask(".mode xml")
        assert "do you mean .tables?" in shell.ask(".tabels") and ".help lists" in shell.ask(".zzzzzz")
        assert "could be" in shell.ask(".t") and shell.ask(".mod") == "mode is csv\n"
        assert ".topics takes no argument" in shell.ask(".topics all")
        shell.end()


@promise("sql shell: .mode and -o give tables, JSON, CSV and Markdown")
def forms(directory):
    log_of(directory)
    query = "SELECT 'a|b' || char(10) || '<c>' AS t, 1.5 AS r, NULL AS n, 2 AS i"
    wanted = {
        "table": "t          r  n  i\na|b <c>  1.5  -  2\n",
        "json": '[{"t":"a|b\\n<c>","r":1.5,"n":null,"i":2}]\n',
        "csv": 't,r,n,i\n"a|b\n<c>",1.5,,2\n',
        "markdown": "| t | r | n | i |\n| --- | ---: | --- | ---: |\n| a\\|b<br>\\<c> | 1.5 |  | 2 |\n",
    }
    with Shell(directory, "-o", "json") as shell:
        shell.ask(".timer off")
        assert shell.ask(query + ";") == wanted["json"]
        for mode, text in wanted.items():
            shell.ask(f".mode {mode}")
            answer = shell.ask(query + ";")
            assert answer == text, (mode, answer)
    for mode, text in wanted.items():
        answer = sql(directory, "-o", mode, query).text
        assert answer == text, (mode, answer)
    two = sql(directory, "-o", "markdown", "SELECT 1 AS a; SELECT 2 AS b").text
    assert two == "| a |\n| ---: |\n| 1 |\n\n| b |\n| ---: |\n| 2 |\n", two
    for verb in ("topics", "segments", "status"):
        lines = daybook(verb, "-D", f"{directory}/log", "-o", "markdown").lines
        assert re.fullmatch(r"\|( -+:? \|)+", lines[1]) and len(set(
            line.replace("\\|", "").count("|") for line in lines)) == 1, lines


@promise("sql shell: a row is one line of the terminal; in a pipe nothing is ever cut")
def widths(directory):
    daybook("pub", "-D", f"{directory}/log", stdin=event_lines(20, topic="Zürich", size=200)
            .replace("Z\\u00fcrich", "z"))
    query = "SELECT seq, time, topic, payload(seq) AS p FROM events"
    for width in (72, 80, 160):
        with Shell(directory, width=width) as shell:
            lines = shell.ask(query + ";").splitlines()
            assert len(lines) == 22 and all(len(line) <= width for line in lines[:-1]), lines
            assert max(map(len, lines[:-1])) == width and ".mode json shows all" in lines[-1], lines
            assert all(re.search(r"2026-01-02T03:00:\d\d\.0+Z", line) for line in lines[1:-1]), lines
            answer = shell.ask("SELECT payload(seq) AS p FROM events LIMIT 1;")
            assert "…" not in answer and "json shows" not in answer, answer
            answer = shell.ask("SELECT seq, time, time AS t2, time AS t3, ts, ts AS t4, topic,"
                               " payload(seq) AS p, 1 AS one FROM events ORDER BY seq LIMIT 2;")
            if width < 160:  # rows stand upright, and whole
                assert re.match(r"seq +1\ntime +2026-01-02T03:00:01\.0+Z\n", answer), answer
                assert "…" not in answer and "one    1\n\nseq    2\n" in answer, answer
            shell.end()
    assert "…" not in sql(directory, query).text


def digests(directory):
    """Of everything that could have been written to; what readers share is not data."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            if not name.endswith(("-shm", ".daybook_history")):
                with open(os.path.join(folder, name), "rb") as file:
                    data = file.read()
                if data or not name.endswith("-wal"):  # a reader may make an empty one
                    found[os.path.join(folder, name)] = hashlib.sha256(data).hexdigest()
    return found


WRITES = [
    "INSERT INTO topic_rows VALUES (1, 'x', 1, 1, 1, 1, 1, 1)", "UPDATE state SET last_seq = 1",
    "DELETE FROM event_rows", "REPLACE INTO mine.people VALUES (1, 2, 3)", "DROP VIEW events",
    "DROP TABLE event_rows", "DROP INDEX event_rows_by_topic", "CREATE TABLE x(a)",
    "CREATE TABLE mine.x(a)", "CREATE VIEW main.x AS SELECT 1", "CREATE INDEX mine.i ON people(topic)",
    "CREATE TRIGGER main.t AFTER INSERT ON event_rows BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE main.x USING fts5(a)", "ALTER TABLE event_rows RENAME TO x",
    "ALTER TABLE mine.people ADD COLUMN x", "ANALYZE", "REINDEX", "VACUUM", "VACUUM mine",
    "VACUUM INTO '{0}/copy.db'", "VACUUM main INTO '{0}/copy.db'",
    "INSERT INTO mine.people VALUES (1, 2, 3)", "UPDATE mine.people SET owner = 'x'",
    "DELETE FROM mine.people", "WITH x AS (SELECT 1) DELETE FROM mine.people",
    "PRAGMA journal_mode = DELETE", "PRAGMA mine.journal_mode = WAL", "PRAGMA user_version = 7",
    "PRAGMA mine.user_version = 7", "PRAGMA application_id = 7", "PRAGMA writable_schema = 1",
    "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA mine.wal_checkpoint", "PRAGMA optimize",
    "PRAGMA incremental_vacuum", "PRAGMA query_only = 0", "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA auto_vacuum = 1", "PRAGMA encoding = 'UTF-16'", "PRAGMA page_size = 512",
    "PRAGMA schema_version = 7", "PRAGMA temp_store_directory = '{0}'", "BEGIN EXCLUSIVE",
    "UPDATE sqlite_master SET sql = ''", "UPDATE mine.sqlite_master SET sql = ''",
    "DELETE FROM sqlite_stat1", "SELECT load_extension('{0}/x.so')", "SELECT writefile('{0}/x', 1)",
    "SELECT fts3_tokenizer('simple')", "EXPLAIN DELETE FROM event_rows",
    "ATTACH 'file:{0}/new.db?mode=rwc' AS new", "ATTACH '{0}/new.db' AS new",
    "ATTACH '{0}' || '/new.db' AS new",
]


@promise("sql: no statement changes the log, its index or an attached database; each is refused")
def only_reads(directory):
    log_of(directory)
    mine = other(directory)
    before = digests(directory)
    for text in WRITES:
        text = text.format(directory)
        result = sql(directory, f"ATTACH '{mine}' AS mine; {text}", expect=FAILURE)
        assert result.err.count("\n") == 1 and result.out == b"", (text, result.err)
        assert result.err.startswith("daybook sql: SQL: "), result.err
    assert digests(directory) == before
    for text, said in (("DELETE FROM event_rows", "this would change 'main.event_rows': "),
                       ("VACUUM INTO 'x'", "this would write to a database: "),
                       ("CREATE TABLE x(a)", "this would change the tables or views of 'main': ")):
        err = sql(directory, text, expect=FAILURE).err
        assert said in err and "CREATE TEMP TABLE" in err, err
    with Shell(directory) as shell:
        shell.ask(f"ATTACH '{mine}' AS mine;")
        for text in WRITES[:-3]:
            answer = shell.ask(text.format(directory) + ";")
            if not text.startswith("CREATE TRIGGER"):  # complete only behind its END
                assert answer.startswith("daybook sql: SQL: "), (text, answer)
        shell.end()
    assert digests(directory) == before


@promise("sql: what is made in temp can be written, and stays with the session")
def temporary_tables(directory):
    log_of(directory)
    before = digests(directory)
    text = sql(directory, "-o", "csv", """
        CREATE TEMP TABLE mine(a, b); INSERT INTO mine VALUES (1, 'x'), (2, 'y');
        CREATE INDEX temp.i ON mine(a); UPDATE mine SET b = 'z' WHERE a = 1;
        CREATE TEMP VIEW v AS SELECT a, b FROM mine; DELETE FROM mine WHERE a = 2;
        CREATE VIRTUAL TABLE temp.words USING fts5(w); INSERT INTO words VALUES ('one two');
        BEGIN; INSERT INTO mine VALUES (3, 'c'); COMMIT;
        SELECT v.a, v.b, w FROM v, words WHERE words MATCH 'two'; DROP TABLE mine;""").text
    assert text == "a,b,w\n1,z,one two\n3,c,one two\n", text
    assert "no such table" in sql(directory, "SELECT * FROM mine", expect=FAILURE).err
    assert digests(directory) == before


@promise("sql: ATTACH joins a database of the user's own; a missing or foreign file is one sentence")
def attach(directory):
    log_of(directory)
    mine = other(directory)
    rows = json.loads(sql(directory, "-o", "json", f"ATTACH '{mine}' AS mine; SELECT owner, count(*) AS n"
                          " FROM events JOIN mine.people USING (topic) GROUP BY owner ORDER BY owner").text)
    assert rows == [{"owner": "Ada", "n": 2}, {"owner": "Bob", "n": 1}], rows
    for file, said in ((f"{directory}/none.db", "No such file or directory"),
                       (directory, "it is a directory"),
                       (write(directory, "text.txt", "no database" * 99), "not a database")):
        err = sql(directory, f"ATTACH '{file}' AS x; SELECT * FROM x.sqlite_schema",
                  expect=None).err
        assert said in err and err.count("\n") == 1, err
    assert not os.path.exists(f"{directory}/none.db")
    # One that is in WAL mode, whose program has it open, shows what is in the WAL.
    writer = sqlite3.connect(f"{directory}/wal.db", isolation_level=None)
    writer.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES (7)")
    query = f"ATTACH '{directory}/wal.db' AS w; SELECT a FROM w.t"
    assert sql(directory, "-o", "csv", query).text == "a\n7\n"
    writer.close()


@promise("sql: a locked database is one sentence that says what to do")
def locked(directory):
    log_of(directory)
    mine = other(directory)
    owner = sqlite3.connect(mine, isolation_level=None)
    owner.execute("BEGIN EXCLUSIVE")
    err = sql(directory, f"ATTACH '{mine}' AS mine; SELECT * FROM mine.people", expect=FAILURE).err
    assert "database is locked: another program" in err and err.count("\n") == 1, err
    owner.close()


@promise("sql: a damaged database is one sentence, and what to do")
def damaged(directory):
    log_of(directory)
    mine = other(directory)
    with open(mine, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    query = f"ATTACH '{mine}' AS mine; SELECT * FROM mine.people"
    err = sql(directory, query, expect=DAMAGE).err
    assert "malformed" in err and "reindex" in err and err.count("\n") == 1, err
    with open(mine, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)
    err = sql(directory, query, expect=DAMAGE).err
    assert mine in err and "malformed" in err and err.count("\n") == 1, err


@promise("sql: a topic without a table, and a name nearly right, are answered with what to ask")
def hints(directory):
    log_of(directory)
    for name, words in (("door", "is a topic that has no schema: ask events WHERE topic = 'door'"),
                        ("event", "did you mean events?"), ("nowhere", ".tables lists them")):
        daybook("pub", "-D", f"{directory}/log", "-t", "door", stdin="{}")
        assert words in sql(directory, f"SELECT * FROM {name}", expect=FAILURE).err, name


@promise("sql: a time with a blank for its T is said to count by the day only")
def times_with_blanks(directory):
    log_of(directory)
    for where, told in (("time > '2026-01-05 10:00'", True), ("time > datetime('now')", True),
                        ("time > '2026-01-05T10:00'", False), ("time > '2026-01-05'", False),
                        ("ts > daybook_time('2026-01-05 10:00')", False)):
        said = sql(directory, f"SELECT count(*) FROM events WHERE {where}").err
        assert ("compared as text" in said) == told, (where, said)


@promise("sql: a NUL in a statement is refused; what follows it is not left out in silence")
def nul(directory):
    log_of(directory)
    assert "NUL" in sql(directory, stdin=b"SELECT 1\0, 2;\n", expect=FAILURE).err
    lines = "SELECT 1 /* ; */ AS a\n, 2 AS b; /* more\n of this */\nSELECT 3 AS c\n;\n"
    assert sql(directory, "-o", "csv", stdin=lines).text == "a,b\n1,2\nc\n3\n"


@promise("sql: what a producer has sent cannot speak to the terminal that shows a table")
def no_escapes(directory):
    daybook("pub", "-D", f"{directory}/log", "-t", "t", stdin=b'{"a":"x\\u001b[2Jy\\u009b2Jz\\u00e9"}\n')
    text = sql(directory, "SELECT payload(seq) ->> '$.a' AS a, 1 AS b FROM events").text
    assert text == "a            b\nx [2Jy 2Jzé  1\n", text


@promise("sql shell: works on a dumb terminal, and on one that has no name")
def dumb_terminals(directory):
    log_of(directory)
    for kind in ("dumb", "", "no-such-terminal"):
        with Shell(directory, TERM=kind) as shell:
            assert re.search(r"^two\n  2\n\(1 row", shell.ask("SELECT 2 AS two;"), re.M), kind
            shell.end()


@promise("only daybook needs the library that edits lines: not the daemon, nor libdaybook")
def library(_):
    for name, wanted in (("daybook", True), ("daybookd", False), ("libdaybook.so", False)):
        needed = subprocess.run(["readelf", "-d", os.path.join(BUILD, name)], check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        assert ("libedit" in needed) == wanted, name


@promise("sql: a pipe may hold dot commands; without a terminal nothing is said but the answers")
def pipes(directory):
    log_of(directory)
    result = sql(directory, stdin="-- first\n.mode csv\nSELECT 1 AS a;\n\n.timer off\nSELECT 2\nAS b\n")
    assert (result.text, result.err) == ("a\n1\nb\n2\n", "")
    result = sql(directory, stdin="SELECT 1 AS a;\nSELECT nowhere;\nSELECT 3;", expect=FAILURE)
    assert result.text == "a\n1\n" and "no such column: nowhere" in result.err
    result = sql(directory, stdin=".nonsense\nSELECT 1;", expect=FAILURE)
    assert result.out == b"" and "no command '.nonsense'" in result.err
    assert sql(directory, stdin="SELECT 1 AS a;\n.quit\nSELECT 2;").text == "a\n1\n"
    assert "view" in sql(directory, ".tables").text
    assert sql(directory, stdin="").text == "" and sql(directory, stdin="/* open").text == ""


if __name__ == "__main__":
    main()
