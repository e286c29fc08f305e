"""What the tests of the Python packages share: the packages' folder in the path, daemons, what a
log holds. No test of its own."""
import contextlib
import json
import os
import resource
import subprocess
import sys
import textwrap

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import framed  # noqa: E402
from cli_support import ROOT, daybook, environment  # noqa: E402

PACKAGES = os.path.join(ROOT, "tools", "python")
sys.path.insert(0, PACKAGES)
MIB = 1 << 20


@contextlib.contextmanager
def running(directory, *flags):
    """A daemon on DIRECTORY/log that answers."""
    daemon = framed.Daemon(os.path.join(directory, "log"), *flags)
    daemon.start()
    try:
        daemon.connect().close()
        yield daemon
    finally:
        daemon.end()


@contextlib.contextmanager
def running_on_a_small_disk(directory):
    """The same, where the disk is full behind 1 MiB, until free_disk()."""
    daemon = framed.Daemon(os.path.join(directory, "log"))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open(daemon.log_path, "ab") as log:
        # Python ignores SIGXFSZ; the daemon is to inherit that, so that it sees EFBIG instead.
        daemon.process = subprocess.Popen(
            [framed.DAYBOOKD, "-D", daemon.directory], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, restore_signals=False, env=environment(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, unlimited[1])))
    try:
        daemon.connect().close()
        yield daemon
    finally:
        daemon.end()


def free_disk(daemon):
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE,
                     resource.getrlimit(resource.RLIMIT_FSIZE))


def events_of(daemon, *flags):
    """Everything that the log holds, but the daemon's own and what tells of gaps."""
    read = daybook("read", "-D", daemon.directory, "-n", "all", "-o", "json", *flags).events
    return [event for event in read if not event["topic"].startswith("_")]


def payloads_of(daemon, *flags):
    return [event["payload"] for event in events_of(daemon, *flags)]


def gaps_of(daemon):
    """Rows of `daybook gaps`, as they are now."""
    return json.loads(daybook("gaps", "-D", daemon.directory, "-o", "json").text)


def script(directory, text, *arguments, name="program.py", env=None, **keywords):
    """Start a Python program of its own, with the packages in its path."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(textwrap.dedent(text))
    extra = {"PYTHONPATH": PACKAGES, **(env or {})}
    return subprocess.Popen([sys.executable, path, *map(str, arguments)], env=environment(extra),
                            stdin=subprocess.DEVNULL, **keywords)
