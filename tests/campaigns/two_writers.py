#!/usr/bin/env python3
"""Two writers for one directory, and directories in which something is not as it should be.

Races: several of daybookd and `daybook pub` start at once on one directory. Never may two of them
write: at each moment at most one holds the writer's lock, all acknowledged events of all of them are
in the log, once, in one order without holes that no gap explains, and `daybook verify` finds
nothing. Those who lose say why and leave.

Holders: the writer is stopped (SIGSTOP), its lock file is deleted, replaced or linked under it, a
child that inherited nothing goes on after it, it is killed: the next one gets in exactly when the
first cannot write any more.

Places: the directory, a segment, the lock, the watermark, the socket, a temporary file are symbolic
links, hard links, FIFOs, devices, directories, another user's, or writable by others. Each is
refused or harmless, with a reason, and nothing outside of the directory is changed: what the links
lead to is compared byte by byte, with its times.

    two_writers.py [--cases N] [--seed S] [--seconds T]

--cases: how many races.
"""

import argparse
import atexit
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import framed  # noqa: E402  pylint: disable=wrong-import-position

OTHER_USER = 65534
SEGMENT = "00000000000000000001.seg"
ALONE = ("--segment-size", "64K")


def run(*words, stdin=b"", user=None, env=None):
    def become():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    return subprocess.run(words, input=stdin, capture_output=True, check=False, env=env,
                          preexec_fn=become if user else None, timeout=120)


@functools.lru_cache(maxsize=None)
def program_for_others():
    """A copy where every user can reach it: root's own clone may lie in a home that is closed."""
    place_for_all = tempfile.mkdtemp(prefix="daybook-two-writers-")
    atexit.register(shutil.rmtree, place_for_all)
    os.chmod(place_for_all, 0o755)
    return shutil.copy(framed.DAYBOOK, place_for_all)


def pub(directory, lines, user=None, **more):
    program = program_for_others() if user else framed.DAYBOOK
    return run(program, "pub", "-D", directory, stdin="".join(
        json.dumps({"topic": "t", "payload": p}) + "\n" for p in lines).encode(), user=user, **more)


def read_all(directory):
    done = run(framed.DAYBOOK, "read", "-D", directory, "-n", "all", "-o", "json")
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def verify(directory):
    done = run(framed.DAYBOOK, "verify", "-D", directory)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


def lock_holders(directory):
    """How many locks the kernel knows on the writer's byte of DIR/LOCK, at several looks in a row:
    its list is no snapshot, and may show one who has just left beside one who has just come."""
    return min(look_for_holders(directory) for _i in range(3))


def look_for_holders(directory):
    inode = ":%d " % os.stat(os.path.join(directory, "LOCK")).st_ino
    with open("/proc/locks", encoding="ascii") as file:
        return sum(inode in line and line.rstrip().endswith(" 0 0") and "->" not in line
                   for line in file)


# ---- Races ----

class Contender:
    """One who wants to write: a daemon with a socket of its own, or a `pub` that finds none."""

    def __init__(self, directory, name, is_daemon):
        self.name = name
        self.is_daemon = is_daemon
        self.socket = os.path.join(directory, name + ".sock")
        self.acked = []
        words = [framed.DAYBOOKD, "-D", os.path.join(directory, "log"), "-s", self.socket, *ALONE]
        if not is_daemon:
            words = [framed.DAYBOOK, "pub", "-D", os.path.join(directory, "log"), *ALONE]
        self.lines = "".join('{"topic":"%s","payload":%d}\n' % (name, n) for n in range(20))
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def feed(self):
        if self.is_daemon:
            self.process.stdin.close()
            self.process.stdin = None
            return
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(self.lines.encode())
            self.process.stdin.close()
        self.process.stdin = None

    def publish(self):
        """Through the daemon's socket; every ack is kept."""
        with contextlib.suppress(OSError, AssertionError):
            connection = framed.Connection(self.socket, timeout=20)
            for number in range(5):
                connection.send(framed.frame(["pub", number, [[self.name, None, number]]]))
                answer = connection.receive()
                if answer[0] == "ack" and answer[2] == 1:
                    self.acked.append(number)
            connection.close()

    def finish(self):
        _, error = self.process.communicate(timeout=120)
        self.error = error.decode(errors="replace")
        if not self.is_daemon and self.process.returncode == 0:
            self.acked = list(range(20))


def race(directory, dice):
    os.makedirs(directory)
    log = os.path.join(directory, "log")
    if dice.random() < 0.7:
        assert pub(log, [0]).returncode == 0
    number = dice.choice((2, 2, 3))
    contenders = [Contender(directory, "c%d" % i, i == 0 or dice.random() < 0.6)
                  for i in range(number)]
    try:
        for contender in contenders:
            contender.feed()
        served = set()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                # The list is read in pieces: one may go and the next come between two of them.
                # Who really holds it together does so in every one of several looks.
                holders = lock_holders(log)
                for _ in range(4):
                    holders = min(holders, lock_holders(log)) if holders > 1 else holders
                assert holders <= 1, "%d hold the writer's lock" % holders
            alive = [c for c in contenders if c.process.poll() is None]
            for contender in alive:
                if contender.is_daemon and contender not in served and os.path.exists(
                        contender.socket):
                    served.add(contender)
                    contender.publish()
                    contender.process.send_signal(dice.choice((signal.SIGTERM, signal.SIGKILL)))
            if not alive:
                break
        for contender in contenders:
            contender.finish()
    finally:
        for contender in contenders:
            if contender.process.poll() is None:
                contender.process.kill()
                contender.process.wait()
    winners = 0
    for contender in contenders:
        status = contender.process.returncode
        if status in (1, 3):  # 3: a pub that looked for the daemon's socket in vain
            assert "another process " in contender.error, contender.error
        else:
            assert status in (0, -signal.SIGKILL), (status, contender.error)
            winners += 1
    assert winners >= 1, [c.error for c in contenders]
    kept = {}
    for event in read_all(log):
        kept.setdefault(event["topic"], []).append(event["payload"])
    for contender in contenders:
        found = kept.get(contender.name, [])
        assert len(found) == len(set(found)), (contender.name, found)
        assert set(contender.acked) <= set(found), (contender.name, contender.acked, found)
    verify(log)
    shutil.rmtree(directory)
    return winners


# ---- Holders ----

holders = []
places = []


def holder(function):
    holders.append(function)
    return function


def place(text, root=False):
    def remember(function):
        places.append((text, function, root))
        return function
    return remember


@contextlib.contextmanager
def daemon_on(directory):
    daemon = framed.Daemon(os.path.join(directory, "log"), *ALONE)
    daemon.start()
    daemon.connect().close()
    try:
        yield daemon
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.process.send_signal(signal.SIGCONT)
        daemon.end()


def refused(done, *words, status=1):
    text = done.stderr.decode(errors="replace")
    assert done.returncode == status, (done.returncode, text)
    assert not words or any(word in text for word in words), text


def second_daemon(directory):
    return run(framed.DAYBOOKD, "-D", os.path.join(directory, "log"), "-s",
               os.path.join(directory, "second.sock"))


def publish_one(daemon, payload):
    with contextlib.closing(daemon.connect()) as connection:
        connection.send(framed.frame(["pub", 1, [["t", None, payload]]]))
        return connection.receive()


@holder
def a_stopped_holder_keeps_the_lock(directory):
    with daemon_on(directory) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        refused(second_daemon(directory), "(daybookd, pid %d) writes" % daemon.process.pid)
        daemon.process.send_signal(signal.SIGCONT)
        assert publish_one(daemon, 1)[2] == 1
        daemon.process.send_signal(signal.SIGSTOP)
        daemon.kill()
        assert pub(daemon.directory, [2]).returncode == 0
        assert [e["payload"] for e in read_all(daemon.directory)] == [1, 2]


def change_lock(directory, change):
    """Somebody changes DIR/LOCK under the holder, who goes on; nobody else gets in."""
    with daemon_on(directory) as daemon:
        assert publish_one(daemon, 1)[2] == 1
        lock = os.path.join(daemon.directory, "LOCK")
        change(lock)
        refused(second_daemon(directory), "(daybookd, pid %d) writes" % daemon.process.pid)
        try_to_write_past_the_socket(directory)
        assert publish_one(daemon, 2)[:3] == ["ack", 1, 1]
        assert daemon.stop() == 0
        assert pub(daemon.directory, [3]).returncode == 0
        assert [e["payload"] for e in read_all(daemon.directory)] == [1, 2, 3]
        verify(daemon.directory)


def try_to_write_past_the_socket(directory):
    """As `daybook pub` does where no daemon answers."""
    path = os.path.join(directory, "log", "daybook.sock")
    os.rename(path, path + ".aside")
    done = pub(os.path.join(directory, "log"), [3])
    os.rename(path + ".aside", path)
    assert done.returncode in (1, 3), "a second writer got in: %r" % done
    assert b"writes to" in done.stderr, done.stderr


@holder
def a_lock_file_that_is_deleted_lets_no_second_writer_in(directory):
    change_lock(directory, os.unlink)


@holder
def a_lock_file_that_is_replaced_lets_no_second_writer_in(directory):
    def replace(lock):
        with open(lock + ".new", "w", encoding="ascii"):
            pass
        os.chmod(lock + ".new", 0o640)
        os.rename(lock + ".new", lock)
    change_lock(directory, replace)


@holder
def a_lock_file_with_a_second_name_is_refused(directory):
    with daemon_on(directory) as daemon:
        lock = os.path.join(daemon.directory, "LOCK")
        os.link(lock, os.path.join(directory, "other-name"))
        refused(second_daemon(directory), "hard links", "another process writes")
        assert publish_one(daemon, 1)[2] == 1


@holder
def what_the_daemon_starts_with_is_not_inherited_by_the_lock(directory):
    """A child of whoever started the daemon, alive after it, holds nothing."""
    log = os.path.join(directory, "log")
    shell = subprocess.Popen(
        ["sh", "-c", "sleep 300 & exec '%s' -D '%s'" % (framed.DAYBOOKD, log)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not os.path.exists(os.path.join(log, "daybook.sock")):
            assert time.monotonic() < end
            time.sleep(0.005)
        shell.kill()
        shell.wait()
        assert pub(log, [1]).returncode == 0
    finally:
        os.killpg(shell.pid, signal.SIGKILL)


@holder
def the_death_of_a_holder_frees_the_lock_at_once(directory):
    for i in range(5):
        with daemon_on(directory) as daemon:
            assert publish_one(daemon, i)[2] == 1
            daemon.kill()
            assert pub(daemon.directory, [100 + i]).returncode == 0
    assert [e["payload"] for e in read_all(daemon.directory)] == [0, 100, 1, 101, 2, 102, 3, 103, 4,
                                                                  104]


# ---- Places ----

class Outside:
    """Files that links lead to: nothing of them may change."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "outside")
        os.makedirs(self.directory)
        self.file = os.path.join(self.directory, "file")
        with open(self.file, "wb") as file:
            file.write(os.urandom(70000))
        os.chmod(self.file, 0o640)
        self.before = self.look()

    def look(self):
        found = []
        for folder, names, files in os.walk(self.directory):
            for name in sorted(names + files):
                path = os.path.join(folder, name)
                status = os.lstat(path)
                content = b""
                if stat.S_ISREG(status.st_mode):
                    with open(path, "rb") as file:
                        content = file.read()
                found.append((path, status.st_mode, status.st_uid, status.st_size,
                              status.st_mtime_ns, content))
        return found

    def check(self):
        assert self.look() == self.before, "something outside of the directory was changed"


def existing(directory):
    log = os.path.join(directory, "log")
    assert pub(log, [1, 2, 3]).returncode == 0
    return log


def both_refuse(log, *words):
    for done in (run(framed.DAYBOOKD, "-D", log), pub(log, [4])):
        text = done.stderr.decode(errors="replace")
        assert done.returncode in (1, 4), (done.returncode, text)
        assert not words or any(word in text for word in words), text


def replace(path, make):
    """Put something else in the place of the file; the file itself goes to PATH.kept outside."""
    kept = os.path.join(os.path.dirname(os.path.dirname(path)), "..", "kept-" +
                        os.path.basename(path))
    if os.path.lexists(path):
        os.rename(path, os.path.normpath(kept))
    make(path, os.path.normpath(kept))


MAKERS = {
    "a symbolic link to it": lambda path, kept: os.symlink(kept, path),
    "a symbolic link to nothing": lambda path, kept: os.symlink(kept + "-nothing", path),
    "a second name of it": lambda path, kept: os.link(kept, path),
    "a FIFO": lambda path, kept: os.mkfifo(path, 0o640),
    "a directory": lambda path, kept: os.mkdir(path, 0o750),
    "a socket": lambda path, kept: socket.socket(socket.AF_UNIX).bind(path),
    "a device": lambda path, kept: os.mknod(path, 0o640 | stat.S_IFCHR, os.makedev(1, 3)),
}


def try_place(directory, name, what):
    """NAME in the log is something else: both writers refuse, or take no harm; never hang."""
    outside = Outside(directory)
    log = existing(directory)
    path = os.path.join(log, name)
    if len(path) > 100 and what == "a socket":
        return
    replace(path, MAKERS[what])
    before = [e for e in (list_files(log)) if e != "LOCK"]
    results = [run(framed.DAYBOOKD, "-D", log) if name != "watermark" else pub(log, [5]),
               pub(log, [4])]
    for done in results:
        text = done.stderr.decode(errors="replace")
        assert done.returncode in (0, 1, 4), (done.returncode, text)
        if done.returncode:
            assert text.strip(), "refused without a word"
    outside.check()
    missing = set(before) - set(list_files(log))
    assert not {m for m in missing if not m.startswith(("watermark", "events.db"))}, missing


def list_files(log):
    return sorted(os.path.relpath(os.path.join(folder, name), log)
                  for folder, names, files in os.walk(log) for name in names + files)


def make_places():
    for name in ("LOCK", "watermark", "segments/" + SEGMENT, "lower-bound"):
        for what in MAKERS:
            if name == "lower-bound" and what in ("a symbolic link to it", "a second name of it"):
                continue  # a log that was never shortened has none
            if what == "a device":
                places.append(("%s is %s" % (name, what),
                               lambda d, n=name, w=what: try_place(d, n, w), True))
            else:
                places.append(("%s is %s" % (name, what),
                               lambda d, n=name, w=what: try_place(d, n, w), False))


make_places()


@place("the directory is a symbolic link")
def _(directory):
    outside = Outside(directory)
    os.symlink(outside.directory, os.path.join(directory, "log"))
    both_refuse(os.path.join(directory, "log"), "symbolic link", "not a directory")
    outside.check()


@place("segments/ is a symbolic link")
def _(directory):
    outside = Outside(directory)
    log = existing(directory)
    os.rename(os.path.join(log, "segments"), os.path.join(directory, "segments"))
    os.symlink(os.path.join(directory, "segments"), os.path.join(log, "segments"))
    before = list_files(os.path.join(directory, "segments"))
    both_refuse(log)
    assert before == list_files(os.path.join(directory, "segments"))
    outside.check()


@place("the directory is a file, a FIFO")
def _(directory):
    log = os.path.join(directory, "log")
    for make in (lambda: open(log, "w", encoding="ascii").close(), lambda: os.mkfifo(log)):
        make()
        both_refuse(log)
        os.unlink(log)


@place("others may write to the directory, or to segments/")
def _(directory):
    log = existing(directory)
    for path in (log, os.path.join(log, "segments")):
        for mode in (0o770, 0o757, 0o777, 0o1777):
            os.chmod(path, mode)
            both_refuse(log, "others", "write")
            os.chmod(path, 0o750)
    assert pub(log, [4]).returncode == 0


def let_others_in(directory):
    for path in (directory, os.path.dirname(directory)):
        os.chmod(path, 0o755)


@place("the directory, its lock or a segment belongs to another user", root=True)
def _(directory):
    """Root may do everything; for anybody else his own directory has only his own files."""
    let_others_in(directory)
    mine = os.path.join(directory, "mine")
    os.mkdir(mine, 0o750)
    os.chown(mine, OTHER_USER, OTHER_USER)
    theirs = os.path.join(mine, "log")
    assert pub(theirs, [1], user=OTHER_USER).returncode == 0
    for name in ("LOCK", "segments/" + SEGMENT):
        path = os.path.join(theirs, name)
        os.chown(path, 0, OTHER_USER)
        os.chmod(path, 0o660)
        refused(pub(theirs, [2], user=OTHER_USER), "belongs to user", "user")
        os.chown(path, OTHER_USER, OTHER_USER)
        os.chmod(path, 0o640)
    assert pub(theirs, [2], user=OTHER_USER).returncode == 0
    third = os.path.join(directory, "third")
    os.mkdir(third, 0o777)
    refused(pub(third, [1], user=OTHER_USER), "belongs to user", "user")


@place("another user may not write to the log at all", root=True)
def _(directory):
    log = existing(directory)
    let_others_in(directory)
    os.chmod(log, 0o755)
    os.chmod(os.path.join(log, "segments"), 0o755)
    before = list_files(log)
    done = pub(log, [9], user=OTHER_USER)
    assert done.returncode != 0 and done.stderr, done
    assert before == list_files(log)
    assert [e["payload"] for e in read_all(log)] == [1, 2, 3]


@place("the socket's place is taken by a link, a file, a directory")
def _(directory):
    outside = Outside(directory)
    log = existing(directory)
    path = os.path.join(log, "daybook.sock")
    for make, remove in ((lambda: os.symlink(outside.file, path), os.unlink),
                         (lambda: open(path, "w", encoding="ascii").close(), os.unlink),
                         (lambda: os.mkdir(path), os.rmdir), (lambda: os.mkfifo(path), os.unlink)):
        make()
        before = os.lstat(path)
        done = run(framed.DAYBOOKD, "-D", log)
        refused(done, "no socket")
        assert os.lstat(path)[:8] == before[:8]
        remove(path)
        outside.check()


@place("the socket's temporary name is taken by a link")
def _(directory):
    outside = Outside(directory)
    log = existing(directory)
    for number in range(1, 40):  # its name ends in the process's number, which will be one of the next
        os.symlink(outside.file, "%s/daybook.sock.%x" % (log, os.getpid() + number))
    with daemon_on(directory) as daemon:
        assert stat.S_ISSOCK(os.lstat(daemon.socket).st_mode)
        assert publish_one(daemon, 4)[2] == 1
        daemon.stop()
    outside.check()


@place("temporary names of segments and small files are taken by links")
def _(directory):
    outside = Outside(directory)
    log = existing(directory)
    for name in ("segments/next.tmp", "segments/00000000000000000004.seg.tmp", "segments/tmp",
                 "lower-bound.tmp", "retention-clock.tmp", "events.db.rebuild", "watermark.tmp"):
        os.symlink(outside.file, os.path.join(log, name))
    for _i in range(5):
        pub(log, ["x" * 30000] * 5)
    run(framed.DAYBOOK, "retention", "-D", log, "--max-size", "100K", "--max-age", "1d")
    run(framed.DAYBOOK, "reindex", "-D", log)
    outside.check()


@place("files that nobody knows are left alone")
def _(directory):
    log = existing(directory)
    strange = ["README", ".hidden", "segments/notes.txt", "segments/1.seg", "segments/.seg",
               "segments/0000000000000000000x.seg", "segments/" + "9" * 21 + ".seg",
               "segments/lost+found"]
    for name in strange:
        with open(os.path.join(log, name), "w", encoding="ascii") as file:
            file.write("mine")
    with daemon_on(directory) as daemon:
        assert publish_one(daemon, 4)[2] == 1
        assert "6 files are in" in daemon.output() and "notes.txt" in daemon.output()
        daemon.stop()
    pub(log, ["x" * 30000] * 10)
    run(framed.DAYBOOK, "retention", "-D", log, "--max-size", "64K")
    for name in strange:
        with open(os.path.join(log, name), encoding="ascii") as file:
            assert file.read() == "mine", name


@place("descriptors 0, 1 and 2 are closed")
def _(directory):
    log = os.path.join(directory, "log")
    process = subprocess.Popen(
        ["sh", "-c", "exec '%s' -D '%s' <&- >&- 2>&-" % (framed.DAYBOOKD, log)])
    try:
        end = time.monotonic() + 60
        while not os.path.exists(os.path.join(log, "daybook.sock")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.005)
        for number in range(3):
            assert os.readlink("/proc/%d/fd/%d" % (process.pid, number)) == "/dev/null"
        with contextlib.closing(framed.Connection(os.path.join(log, "daybook.sock"))) as connection:
            connection.send(framed.frame(["pub", 1, [["t", None, 1]]]))
            assert connection.receive()[2] == 1
    finally:
        process.terminate()
        assert process.wait(60) == 0


# ---- The campaign ----

class Report:
    def __init__(self, seed):
        self.seed = seed
        self.failed = 0

    def say(self, sentence, function, *arguments):
        try:
            function(*arguments)
            print("ok - " + sentence, flush=True)
        except Exception as failure:  # pylint: disable=broad-except
            self.failed += 1
            print("not ok - %s (seed %d): %s: %s" % (sentence, self.seed, type(failure).__name__,
                                                     failure), flush=True)
            traceback.print_exc(file=sys.stdout)


def run_races(directory, options, counts):
    end = time.monotonic() + (options.seconds or 10**9)
    for number in range(options.cases):
        if time.monotonic() > end:
            break
        try:
            race(os.path.join(directory, "race"), random.Random("%d %d" % (options.seed, number)))
        except Exception as failure:
            raise AssertionError("race %d: %s: %s" % (number, type(failure).__name__,
                                                      failure)) from failure
        counts["races"] += 1


def fresh(directory, function):
    path = tempfile.mkdtemp(dir=directory)
    try:
        function(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="d2w.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    report = Report(options.seed)
    counts = {"races": 0, "holders": 0, "places": 0}
    try:
        report.say("of all who race for a directory only one writes at a time", run_races, directory,
                   options, counts)
        for function in holders:
            report.say(function.__name__.replace("_", " "), fresh, directory, function)
            counts["holders"] += 1
        for sentence, function, root in places:
            if root and os.geteuid() != 0:
                continue
            report.say(sentence + ": refused or harmless, and nothing outside is touched", fresh,
                       directory, function)
            counts["places"] += 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("cases: %d races of two or three writers" % counts["races"])
    print("cases: %d things that happen to a lock and its holder" % counts["holders"])
    print("cases: %d paths that are not as they should be" % counts["places"])
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
