#!/usr/bin/env python3
"""daybookd under a service manager: what it says to it, and the socket that it takes from it."""
import contextlib
import glob
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import framed  # noqa: E402
from cli_support import DAYBOOKD, ROOT, daybook, environment, main, promise, started  # noqa: E402


def launch(arguments, log, passed=(), pid="$$", count=None, variables=None):
    """daybookd as a service manager starts it: sockets from descriptor 3 on, two variables."""
    env = environment(variables)
    env["LISTEN_COUNT"] = str(len(passed) if count is None else count)
    words = " ".join(f"{3 + i}<&{fd}" for i, fd in enumerate(passed))
    if passed or count is not None:
        script = f'export LISTEN_PID={pid} LISTEN_FDS=$LISTEN_COUNT; exec "$@" {words}'
    else:
        script = 'exec "$@"'
    process = subprocess.Popen(["bash", "-c", script, "-", DAYBOOKD, *arguments], env=env,
                               pass_fds=passed, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    started.append(process)
    return process


def listen_at(path, kind=socket.SOCK_STREAM):
    listening = socket.socket(socket.AF_UNIX, kind)
    listening.bind(path)
    if kind != socket.SOCK_DGRAM:
        listening.listen(64)
    # Away from the low numbers, so that the shell can put it at 3.
    high = socket.socket(fileno=os.dup2(listening.fileno(), 50, inheritable=True))
    listening.close()
    return high


def said(path):
    with open(path, encoding="utf-8") as log:
        return log.read()


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, process.returncode


class Manager:
    """The datagram socket of a service manager."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.socket.settimeout(60)

    def next(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def until(self, key):
        message = self.next()
        while key not in message:
            message = self.next()
        return message


def told(directory, name):
    """What a daemon tells a manager at `name`, from its start to its stop."""
    manager = Manager(name)
    with open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = launch(["-D", f"{directory}/log"], log,
                         variables={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"})
        ready = manager.until("READY")
        assert ready["READY"] == "1" and ready["STATUS"].startswith("durable up to 0"), ready
        daybook("status", "-D", f"{directory}/log")
        assert framed.Connection(f"{directory}/log/daybook.sock")
        alive = manager.until("WATCHDOG")
        assert "connections" in alive["STATUS"], alive
        manager.until("WATCHDOG")
        process.send_signal(signal.SIGTERM)
        assert manager.until("STOPPING")["STOPPING"] == "1"
        assert process.wait(60) == 0


@promise("the service manager is told that it is ready, again and again that it lives, and when it stops")
def _(directory):
    told(directory, f"{directory}/manager")


@promise("… also at an address that is in no file system")
def _(directory):
    told(directory, "@" + os.path.basename(directory))


@promise("it is ready for clients when it says so, and not before")
def _(directory):
    manager = Manager(f"{directory}/manager")
    with open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = launch(["-D", f"{directory}/log"], log,
                         variables={"NOTIFY_SOCKET": f"{directory}/manager"})
        manager.until("READY")
        daybook("pub", "-t", "t", "-D", f"{directory}/log", stdin='{"n":1}\n')
        stop(process)


@promise("a failed start is told to the service manager in words")
def _(directory):
    manager = Manager(f"{directory}/manager")
    os.mkdir(f"{directory}/log")
    os.mkdir(f"{directory}/log/daybook.sock")
    with open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = launch(["-D", f"{directory}/log"], log,
                         variables={"NOTIFY_SOCKET": f"{directory}/manager"})
        message = manager.next()
        assert process.wait(60) == 1
    assert "is no socket" in message["STATUS"] and "READY" not in message, message


@promise("a manager that has gone, or an address that is none, stops nothing")
def _(directory):
    for address in (f"{directory}/gone", "nonsense", "/" + "x" * 200, ""):
        with open(f"{directory}/out", "w", encoding="utf-8") as log:
            process = launch(["-D", f"{directory}/log"], log, variables={"NOTIFY_SOCKET": address})
            while " ready\n" not in said(f"{directory}/out"):
                assert process.poll() is None, said(f"{directory}/out")
                time.sleep(0.01)
            stop(process)


@promise("it serves a socket that it was passed, leaves its file, and clients wait through a restart")
def _(directory):
    path = f"{directory}/passed.sock"
    listening = listen_at(path)
    log_directory = f"{directory}/log"
    with contextlib.closing(listening), open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = launch(["-D", log_directory, "-s", f"{directory}/other.sock"], log, [50])
        daybook("pub", "-t", "t", "-s", path, stdin='{"n":1}\n')
        stop(process)
        assert stat.S_ISSOCK(os.lstat(path).st_mode)
        assert not os.path.exists(f"{directory}/other.sock")
        # Nobody serves, but who connects now is not refused: it waits for the next daemon.
        waiting = subprocess.Popen(
            [os.path.join(os.path.dirname(DAYBOOKD), "daybook"), "pub", "-t", "t", "-s", path],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        started.append(waiting)
        waiting.stdin.write(b'{"n":2}\n')
        waiting.stdin.close()
        process = launch(["-D", log_directory], log, [50])
        assert waiting.wait(60) == 0, waiting.stderr.read()
        stop(process)
        assert stat.S_ISSOCK(os.lstat(path).st_mode)
    assert f"socket '{path}', passed by the service manager" in said(f"{directory}/out")
    events = daybook("read", "-D", log_directory, "-o", "json").events
    assert [event["payload"] for event in events] == [{"n": 1}, {"n": 2}], events


@promise("a socket that was passed to another process is not taken")
def _(directory):
    listening = listen_at(f"{directory}/passed.sock")
    with contextlib.closing(listening), open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = launch(["-D", f"{directory}/log"], log, [50], pid="1")
        while " ready\n" not in said(f"{directory}/out"):
            assert process.poll() is None, said(f"{directory}/out")
            time.sleep(0.01)
        daybook("pub", "-t", "t", "-s", f"{directory}/log/daybook.sock", stdin='{"n":1}\n')
        stop(process)
    assert "passed by" not in said(f"{directory}/out")


def refused(directory, words, passed, count=None):
    with open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = launch(["-D", f"{directory}/log"], log, passed, count=count)
        assert process.wait(60) == 1, process.returncode
    assert words in said(f"{directory}/out"), said(f"{directory}/out")
    assert not os.path.exists(f"{directory}/log"), "it has made a log that nobody asked for"


@promise("what is passed but is no listening Unix stream socket, or more than one, is refused in words")
def _(directory):
    with contextlib.closing(listen_at(f"{directory}/a")):
        refused(directory, "passed 2 sockets, and daybookd takes one", [50], count=2)
    with contextlib.closing(listen_at(f"{directory}/b", socket.SOCK_DGRAM)):
        refused(directory, "is no listening Unix stream socket", [50])
    with open(f"{directory}/out", "r+b") as file:
        fd = os.dup2(file.fileno(), 50, inheritable=True)
        refused(directory, "is no listening Unix stream socket", [fd])
        os.close(fd)
    unbound = socket.socket(socket.AF_UNIX)
    os.dup2(unbound.fileno(), 50, inheritable=True)
    refused(directory, "is no listening Unix stream socket", [50])
    os.close(50)
    with contextlib.closing(listen_at("\0" + os.path.basename(directory))):
        refused(directory, "has no path", [50])


@promise("systemd-socket-activate starts it when the first client comes")
def _(directory):
    if not shutil.which("systemd-socket-activate"):
        print("# skipped: this machine has no systemd-socket-activate", flush=True)
        return
    path, log_directory = f"{directory}/a.sock", f"{directory}/log"
    with open(f"{directory}/out", "w", encoding="utf-8") as log:
        process = subprocess.Popen(["systemd-socket-activate", "-l", path, DAYBOOKD, "-D",
                                    log_directory], env=environment(), stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL)
        started.append(process)
        while not os.path.exists(path):
            assert process.poll() is None, said(f"{directory}/out")
            time.sleep(0.01)
        assert not os.path.exists(log_directory)
        daybook("pub", "-t", "t", "-s", path, stdin='{"n":1}\n{"n":2}\n')
        stop(process)
    assert len(daybook("read", "-D", log_directory, "-o", "json").events) == 2


def units(directory):
    """The unit files as they are installed, but with programs that are there."""
    paths = []
    for path in sorted(glob.glob(os.path.join(ROOT, "tools/service/*.[st]*"))):
        if os.path.splitext(path)[1] in (".service", ".socket", ".timer"):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            text = re.sub(r"@PREFIX@/bin/\S+", "/bin/true", text)
            paths.append(os.path.join(directory, os.path.basename(path)))
            with open(paths[-1], "w", encoding="utf-8") as file:
                file.write(text)
    return paths


@promise("systemd finds nothing wrong with the units, and that they leave little open", once=True)
def _(directory):
    if not shutil.which("systemd-analyze"):
        print("# skipped: this machine has no systemd-analyze", flush=True)
        return
    paths = units(directory)
    assert len(paths) >= 4, paths
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0 and not done.stdout, done.stdout
    for path in paths:
        if path.endswith(".service"):
            subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", path],
                           stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
