#!/usr/bin/env python3
"""The programs of docs/clients.md are cut out of the page and run, as it stands: each publishes
exactly once, over kills of the daemon and of itself, and each works on the events of all others
from where it stopped.
"""
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from cli_support import (  # noqa: E402  pylint: disable=wrong-import-position
    BUILD, ROOT, daybook, environment, main, promise)
from framed import Daemon  # noqa: E402  pylint: disable=wrong-import-position

PAGE = os.path.join(ROOT, "docs", "clients.md")
LANGUAGES = ["c", "python", "node", "shell"]
SANITIZED = os.path.basename(BUILD) in ("asan", "tsan")


def programs():
    """{file name: text} of the page's blocks that have one."""
    with open(PAGE, encoding="utf-8") as file:
        return dict((name, text) for name, text in
                    re.findall(r"^```\w+ (meter\.\w+)\n(.*?)^```$", file.read(), re.M | re.S))


class Meter:
    """One of them, built where it has to be."""

    def __init__(self, language, directory, log):
        self.language, self.folder = language, os.path.join(directory, language)
        os.mkdir(self.folder)
        self.env = environment({"DAYBOOK_DIR": log})
        name = {"c": "meter.c", "python": "meter.py", "node": "meter.mjs", "shell": "meter.sh"}[language]
        self.path = os.path.join(self.folder, name)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(programs()[name])
        self.words = getattr(self, "make_" + language)()

    def make_c(self):
        program = os.path.join(self.folder, "meter")
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror",
                        f"-I{ROOT}/tools/client", "-o", program, self.path, f"-L{BUILD}", "-ldaybook",
                        f"-Wl,-rpath,{BUILD}"], check=True)
        return [program]

    def make_python(self):
        self.env["PYTHONPATH"] = os.path.join(ROOT, "tools", "python")
        return [sys.executable, self.path]

    def make_node(self):
        os.mkdir(os.path.join(self.folder, "node_modules"))
        os.symlink(os.path.join(ROOT, "tools", "node"), os.path.join(self.folder, "node_modules", "daybook"))
        return [os.environ.get("NODE", "node"), self.path]

    def make_shell(self):
        return ["bash", self.path]

    def run(self, *arguments, check=True):
        done = subprocess.run(self.words + [str(a) for a in arguments], env=self.env, cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        if check and done.returncode:
            raise AssertionError(f"{self.language} {arguments}: status {done.returncode}: "
                                 f"{done.stderr.decode()}")
        return done.stdout.decode().splitlines()

    def start(self, *arguments):
        return subprocess.Popen(self.words + [str(a) for a in arguments], env=self.env, cwd=self.folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)


def languages(function):
    """The same promise of each of them."""
    for language in LANGUAGES:
        # The library has the sanitizer's run-time only where the program has it, too.
        if not (SANITIZED and language == "c"):
            promise(f"{language}: {function.__doc__}")(lambda directory, of=language: function(of, directory))
    return function


def readings(log, language):
    events = daybook("read", "-D", log, "-n", "all", "-o", "json", "-t", f"reading.{language}").events
    return [event["payload"]["n"] for event in events]


def lines(language, first, last):
    return [f'reading.{language} {{"n":{n},"kWh":{n}.5}}' for n in range(first, last + 1)]


@languages
def whole_story(language, directory):
    """publishes exactly once, consumes from its cursor, and goes on, over kill -9 of the daemon"""
    log = os.path.join(directory, "log")
    daemon = Daemon(log)
    daemon.start()
    try:
        daemon.connect().close()
        meter = Meter(language, directory, log)
        meter.run("publish", 1, 20)
        assert meter.run("consume") == lines(language, 1, 20)
        assert meter.run("consume") == []
        daemon.kill()
        daemon.start()
        daemon.connect().close()
        meter.run("publish", 1, 25)
        meter.run("publish", 18, 30)
        assert readings(log, language) == list(range(1, 31))
        assert meter.run("consume") == lines(language, 21, 30)
        assert meter.run("consume") == []
        assert daemon.stop() == 0
    finally:
        daemon.end()
    cursors = json.loads(daybook("cursors", "-D", log, "-o", "json").text)
    assert [cursor["position"] for cursor in cursors] == [cursors[0]["position"]], cursors


@languages
def killed(language, directory):
    """what it had published when it was killed is stored once when it is run again"""
    log = os.path.join(directory, "log")
    daemon = Daemon(log)
    daemon.start()
    try:
        daemon.connect().close()
        meter = Meter(language, directory, log)
        for last in (3000, 6000):
            process = meter.start("publish", 1, last)
            while process.poll() is None and len(readings(log, language)) == last - 3000:
                pass
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
        meter.run("publish", 1, 6000)
        assert readings(log, language) == list(range(1, 6001))
        assert daemon.stop() == 0
    finally:
        daemon.end()


@promise("each of them works on what the others have published")
def together(directory):
    log = os.path.join(directory, "log")
    daemon = Daemon(log)
    daemon.start()
    try:
        daemon.connect().close()
        meters = [Meter(language, directory, log) for language in LANGUAGES
                  if not (SANITIZED and language == "c")]
        for meter in meters:
            meter.run("publish", 1, 3)
        expected = [line for meter in meters for line in lines(meter.language, 1, 3)]
        for meter in meters:
            got = meter.run("consume")
            assert got == expected, (meter.language, got)
        assert daemon.stop() == 0
    finally:
        daemon.end()


if __name__ == "__main__":
    main()
