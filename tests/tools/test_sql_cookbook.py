#!/usr/bin/env python3
"""docs/sql.md is run as it stands: its set-up, its commands, and its queries over every way in.

What a block is says its info string: `sh set-up` makes the data, `sh` and `python` are commands and
programs, `sql` a query, `sql plain` one that needs no payload. A `text` block right behind one of
these is its answer; one that ends with a line `…` is only its beginning.

COOKBOOK=rewrite writes the answers that come out into the page, for who has changed a query.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

from cli_support import BUILD, DAYBOOK, ROOT, environment, main, promise

PAGE = os.path.join(ROOT, "docs", "sql.md")
# An extension with ASan in it cannot be loaded into a program without.
SANITIZED = os.path.basename(BUILD) in ("asan", "tsan")
PLAIN_MARK = "*No payload needed.*"

# In a process of its own: the Python of the tests may not be able to load extensions.
PYTHON_SIDE = """
import json, sqlite3, sys
job = json.load(sys.stdin)
connection = sqlite3.connect("file:log/events.db?mode=ro", uri=True)
if job["extension"]:
    connection.enable_load_extension(True)
    connection.load_extension(job["extension"])
for statement in job["statements"]:
    cursor = connection.execute(statement)
    rows = cursor.fetchall()
names = [column[0] for column in cursor.description]
print(json.dumps([dict(zip(names, row)) for row in rows]))
"""


class Block:
    def __init__(self, line, info, text, before):
        self.line, self.text, self.before = line, text, before
        self.kind, *self.words = info.split()
        self.answer = None
        self.answer_lines = None  # where the answer stands in the page, for rewriting

    @property
    def plain(self):
        return "plain" in self.words

    def __str__(self):
        return f"docs/sql.md:{self.line}"


def read_page():
    """The blocks of the page, with what is shown as their answers."""
    with open(PAGE, encoding="utf-8") as file:
        lines = file.read().splitlines()
    blocks, at, behind = [], 0, 0
    while at < len(lines):
        if not lines[at].startswith("```"):
            at += 1
            continue
        end = lines.index("```", at + 1)
        text = "\n".join(lines[at + 1:end]) + "\n"
        info = lines[at][3:]
        if info.startswith("text") and blocks and not "".join(lines[behind:at]).strip():
            blocks[-1].answer = text
            blocks[-1].answer_lines = (at + 1, end)
        else:
            assert info, f"docs/sql.md:{at + 1}: a block without a language"
            blocks.append(Block(at + 1, info, text, "\n".join(lines[behind:at])))
        at = behind = end + 1
    return blocks


def of_kind(*kinds):
    return [block for block in read_page() if block.kind in kinds]


def settings(directory):
    path = f"{directory}/bin:{os.environ['PATH']}"
    return environment({"PATH": path, "HOME": directory, "LC_ALL": "C.UTF-8", "DAYBOOK_DIR": "log"})


def run(directory, words, given=""):
    """What it prints. What it has started ends with it: the daemon of a set-up that failed."""
    # Files, not pipes: the daemon would keep a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, \
            tempfile.TemporaryFile() as put:
        put.write(given.encode())
        put.seek(0)
        process = subprocess.Popen(words, cwd=directory, env=settings(directory), stdin=put,
                                   stdout=out, stderr=err, start_new_session=True)
        status = process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        told = err.read().decode(errors="replace")
        assert status == 0, f"{words[0]} ended with {status}: {told[-2000:]}"
        return out.read().decode()


def set_up(directory):
    """A directory in which the page's commands find build/ and the programs, and its data."""
    os.symlink(BUILD, f"{directory}/build")
    os.mkdir(f"{directory}/bin")
    for program in ("daybook", "daybookd", "daybook-generate"):
        os.symlink(os.path.join(BUILD, program), f"{directory}/bin/{program}")
    if not SANITIZED:  # so that python3 is one that can do what the page does with it
        os.symlink(find_python(), f"{directory}/bin/python3")
    for block in read_page():
        if "set-up" in block.words:
            assert block.kind == "sh", f"{block}: a set-up is a block of sh"
            run(directory, ["bash", "-eu", "-c", block.text])


def find_python():
    """One whose sqlite3 loads extensions: not every build's does."""
    tried = []
    ask = "import sqlite3, sys; sys.exit(not hasattr(sqlite3.Connection, 'enable_load_extension'))"
    for python in (sys.executable, "/usr/bin/python3", shutil.which("python3")):
        if python and python not in tried and os.path.exists(python):
            tried.append(python)
            if subprocess.run([python, "-c", ask], check=False).returncode == 0:
                return python
    raise AssertionError("no Python here can load SQLite extensions (enable_load_extension is "
                         f"missing in {', '.join(tried)}): install Debian's python3")


def statements_of(text):
    """The statements of a block: what sqlite3 would take one by one."""
    statements, pending = [], ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    assert not pending.strip(), f"a statement lacks its semicolon: {pending}"
    return statements


def last_rows(text):
    """Of JSON arrays one after another the last one's rows, as lists of (name, value)."""
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: pairs)
    rows, at = [], 0
    while text[at:].strip():
        rows, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
    # The sqlite3 shell writes 15 digits.
    return [[(name, float(f"{value:.15g}") if isinstance(value, float) else value)
             for name, value in row] for row in rows]


def ask_daybook(directory, block):
    return last_rows(run(directory, [DAYBOOK, "sql", "-o", "json", block.text]))


def ask_shell(directory, block, extension="build/daybook"):
    load = ["-cmd", f".load {extension}"] if extension else []
    return last_rows(run(directory, ["sqlite3", "-bail", "-batch", "-readonly", "-json", *load,
                                     "log/events.db"], block.text))


def ask_python(directory, block, extension="build/daybook"):
    job = {"extension": extension, "statements": statements_of(block.text)}
    return last_rows(run(directory, ["python3", "-c", PYTHON_SIDE], json.dumps(job)))


def expect_rows(block, rows, way):
    assert rows, f"{block}: no row over {way}"


def expect_equal(directory, ask, way, blocks, **keywords):
    for block in blocks:
        expected = ask_daybook(directory, block)
        try:
            rows = ask(directory, block, **keywords)
        except AssertionError as error:
            raise AssertionError(f"{block} over {way}: {error}") from error
        expect_rows(block, rows, way)
        assert repr(rows) == repr(expected), (
            f"{block}: {way} answers {rows[:3]}…, daybook sql {expected[:3]}…")


def stripped(text):
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def expect_shown(block, text):
    shown, found = stripped(block.answer), stripped(text)
    if shown[-1] == "…":
        shown = shown[:-1]
        found, rest = found[:len(shown)], found[len(shown):]
        assert rest, f"{block}: the answer shown ends with …, but that is all of it"
    assert shown == found, f"{block}: the page shows\n{block.answer}but this comes out:\n{text}"


def run_block(directory, block):
    """What a block prints."""
    words = {"sql": [DAYBOOK, "sql", block.text], "sh": ["bash", "-eu", "-c", block.text],
             "python": ["python3", "-c", block.text]}
    return run(directory, words[block.kind])


def rewrite(directory):
    with open(PAGE, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for block in reversed([block for block in read_page() if block.answer_lines]):
        first, end = block.answer_lines
        found = stripped(run_block(directory, block))
        if lines[end - 1] == "…" and first < end:
            found = found[:max(end - first - 1, 1)] + ["…"]
        lines[first:end] = found
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


@promise("cookbook: the page marks what needs no payload, and answers what it must")
def page_is_whole(_):
    queries = of_kind("sql")
    assert len(queries) >= 20, f"{len(queries)} queries"
    for block in read_page():
        assert block.kind in ("sql", "sh", "python"), f"{block}: a block of {block.kind}"
    for block in queries:
        marked = PLAIN_MARK in block.before
        assert marked == block.plain, f"{block}: '{PLAIN_MARK}' and `sql plain` go together"
    with open(PAGE, encoding="utf-8") as file:
        headings = re.findall("^### (.*)", file.read(), re.MULTILINE)
    for topic in ("hour", "success rate", "correlation id", "user", "latency", "silent", "10:05"):
        assert any(topic in heading.lower() for heading in headings), f"no heading is about {topic}"


@promise("cookbook: every query answers in daybook sql, as the page shows")
def answers_are_shown(directory):
    set_up(directory)
    if os.environ.get("COOKBOOK") == "rewrite":
        rewrite(directory)
    for block in of_kind("sql"):
        expect_rows(block, ask_daybook(directory, block), "daybook sql")
        if block.answer:
            expect_shown(block, run_block(directory, block))


if not SANITIZED:
    @promise("cookbook: the stock sqlite3 with .load gives equal answers")
    def stock_shell(directory):
        set_up(directory)
        expect_equal(directory, ask_shell, "sqlite3 with .load", of_kind("sql"))

    @promise("cookbook: Python's sqlite3 with enable_load_extension gives equal answers")
    def python(directory):
        set_up(directory)
        expect_equal(directory, ask_python, "Python's sqlite3", of_kind("sql"))

    @promise("cookbook: what needs no payload, and nothing else, answers without the extension")
    def without_extension(directory):
        set_up(directory)
        plain = [block for block in of_kind("sql") if block.plain]
        expect_equal(directory, ask_shell, "sqlite3", plain, extension=None)
        expect_equal(directory, ask_python, "Python's sqlite3", plain, extension=None)
        for block in of_kind("sql"):
            if block.plain:
                continue
            try:
                ask_shell(directory, block, extension=None)
            except AssertionError:
                continue
            raise AssertionError(f"{block}: needs no payload, but is not marked so")

    @promise("cookbook: the page's commands and programs run, and print what it shows")
    def commands(directory):
        set_up(directory)
        for block in of_kind("sh", "python"):
            if "set-up" in block.words:
                continue
            try:
                text = run_block(directory, block)
            except AssertionError as error:
                raise AssertionError(f"{block}: {error}") from error
            if block.answer:
                expect_shown(block, text)


if __name__ == "__main__":
    main()
