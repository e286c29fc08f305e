#!/usr/bin/env python3
"""fdatasync that really fails: a file system on a loop file in a tmpfs that is full.

A case: a daemon at work on ext4, xfs or btrfs, whose image lies in a small tmpfs. The daemon is
stopped for a moment; what its active segment is yet to be written to is punched out of the image
(it holds only zeros), and the tmpfs is filled. What the daemon writes now stays in the page cache, and the disk does not get it.
Asserted: the kernel did report it (and, on ext4, did lose pages: what O_DIRECT reads differs from
what the page cache shows); nobody is given an ack after it; who waits hears "outcome unknown"; the
daemon says why and exits with status 1. Then the tmpfs gets room, and the daemon is started again,
with or without mounting anew: it accepts nothing that O_DIRECT does not show, every event that was
acknowledged is there, and producers that send again with their old numbers lose and double nothing.

    failed_sync.py [--cases N] [--seed S] [--seconds T] [--only ext4|xfs|btrfs]

Needs root and loop devices; without them it says so, and fails if --cases was given.
"""

import argparse
import contextlib
import ctypes
import fcntl
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
from full_disk import Producer, daybook, framed, say  # noqa: E402
from power_stack import Missing, checked, in_namespaces, libc, unmount  # noqa: E402
from small_disks import KINDS, MIB, Disk, Kind, run  # noqa: E402

WHAT = "failed syncs"
END_S = 20
PAGE = 4096
FS_IOC_FIEMAP, FIEMAP_FLAG_SYNC = 0xC020660B, 1
PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
SIZES = {"ext4": 48 * MIB, "xfs": 112 * MIB, "btrfs": 160 * MIB}  # of the tmpfs


SMALL = {"btrfs": Kind("btrfs", "btrfs", 128 * MIB, KINDS["btrfs"].make)}  # all of it in memory


# ---- Places ----

def extents(path):
    """[(offset in the file, offset on the disk, length)…]"""
    with open(path, "rb") as file:
        head = struct.pack("=QQIIII", 0, (1 << 64) - 1, FIEMAP_FLAG_SYNC, 0, 256, 0)
        data = bytearray(head + bytes(56 * 256))
        fcntl.ioctl(file, FS_IOC_FIEMAP, data)
    count = struct.unpack_from("=I", data, 20)[0]
    return [struct.unpack_from("=QQQ", data, 32 + 56 * i) for i in range(count)]


def chunks(image):
    """What btrfs calls places is mapped once more: [(its offset, offset on the disk, length)…]"""
    text = run("btrfs", "inspect-internal", "dump-tree", "-t", "chunk", image)
    found = re.findall(r"CHUNK_ITEM (\d+)\).*?length (\d+) .*?stripe 0 devid 1 offset (\d+)", text,
                       re.DOTALL)
    return [(int(logical), int(disk), int(length)) for logical, length, disk in found]


def read_direct(path):
    """The bytes of a file as the disk has them."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        size = os.fstat(fd).st_size
        with mmap.mmap(-1, size) as room:
            at = 0
            while at < size:
                got = os.preadv(fd, [memoryview(room)[at:min(size, at + MIB)]], at)
                assert got > 0, "a short read"
                at += got
            return room[:]
    finally:
        os.close(fd)


def punch(image, offset, length):
    checked(libc.fallocate(image, PUNCH, ctypes.c_int64(offset), ctypes.c_int64(length)), "punch")


def used_bytes(data):
    """Up to the last byte that is not zero, in whole pages; a sealed segment's is its trailer."""
    return (len(data.rstrip(b"\0")) + PAGE - 1) // PAGE * PAGE


# ---- One case ----

class Pausing(Producer):
    """One that can be made to wait, with every event answered."""

    paused = idle = False

    def make(self):
        while self.paused and not self.stopping:
            self.idle = True
            time.sleep(0.002)
        self.idle = False
        return super().make()


class Case:
    def __init__(self, kind, dice, directory):
        self.kind, self.dice = kind, dice
        self.tmpfs = Disk(Kind("memory", "tmpfs", 0, options="size=%d" % SIZES[kind.name]),
                          os.path.join(directory, "memory"))
        self.disk = None
        self.folder = os.path.join(directory, "disk")
        # Each commit begins on a page of its own. A write that begins where the image has room and
        # ends where it has none would be a short one, and the loop device calls that a success.
        self.daemon = framed.Daemon(os.path.join(self.folder, "log"), "--segment-size", "1M",
                                    "--commit-align", "4096")
        self.daemon.log_path = os.path.join(directory, "daemon.out")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.daemon.log_path)
        self.producers = []
        self.lost_pages = 0
        self.again = dice.random() < 0.5 or kind.name != "ext4"  # mount it again

    @property
    def image(self):
        return os.path.join(self.tmpfs.folder, self.kind.name + ".img")

    def active(self):
        segments = os.path.join(self.daemon.directory, "segments")
        return os.path.join(segments, max(n for n in os.listdir(segments) if n.endswith(".seg")))

    def begin(self):
        self.disk = Disk(self.kind, self.folder, self.tmpfs.folder)
        if self.kind.name == "btrfs":
            # It writes its metadata to new places, which shall succeed.
            run("fallocate", "--length", str(self.kind.size), self.image)
        self.daemon.start()
        self.daemon.connect().close()
        for name, numbered in (("one", True), ("two", True), ("three", False)):
            producer = Pausing(self.daemon.socket, name, random.Random(self.dice.random()),
                               numbered)
            self.producers.append(producer)
            producer.start()
        wanted = self.dice.randrange(20, 400)
        self.wait("the first acks", lambda: all(len(p.acked) >= wanted for p in self.producers[:2]))

    def wait(self, what, true):
        end = time.monotonic() + END_S
        while not true():
            for producer in self.producers:
                assert not producer.fault, producer.fault
            assert time.monotonic() < end, what + ": not within %d s" % END_S
            time.sleep(0.005)

    def break_disk(self):
        """The daemon stands still meanwhile, and not in the middle of a group of blocks."""
        for producer in self.producers:
            producer.paused = True
        self.wait("every answer", lambda: all(p.idle for p in self.producers))
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        self.wait("standing still", self.stands_still)  # a thread may be in the middle of a write
        run("sync", "-f", self.folder)
        with open(self.image, "r+b") as image:
            self.dig_segment(image.fileno())
        self.tmpfs.fill(0)
        os.kill(self.daemon.process.pid, signal.SIGCONT)
        for producer in self.producers:
            producer.paused = False

    def stands_still(self):
        tasks = "/proc/%d/task" % self.daemon.process.pid
        for task in os.listdir(tasks):
            with open("%s/%s/stat" % (tasks, task), encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True

    def dig_segment(self, image):
        used = used_bytes(read_direct(self.active()))
        maps = [(0, 0, self.kind.size)]
        if self.kind.name == "btrfs":
            maps = chunks(self.image)
        for logical, place, length in extents(self.active()):
            start = max(logical, used)
            if start >= logical + length:
                continue
            place += start - logical
            disk, = [d + place - l for l, d, size in maps if l <= place < l + size]
            punch(image, disk, logical + length - start)

    def await_end(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.daemon.process.wait(END_S)
        status = self.daemon.process.poll()
        said = [line for line in self.daemon.output().splitlines() if " error   " in line]
        assert status == 1, "exit status %s; it said: %s" % (status, said)
        # The precondition: it was the kernel that failed, at a sync.
        assert any("the log has failed: " in line and "cannot sync" in line for line in said), said
        self.wait("the word to who waits", lambda: any(
            "outcome unknown" in text for p in self.producers for text in list(p.failures)))

    def measure(self):
        """What the page cache shows and the disk does not have."""
        with contextlib.suppress(OSError):  # a file system that has shut down shows nothing
            folder = os.path.dirname(self.active())
            for name in sorted(os.listdir(folder)):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    cached = file.read()
                direct = read_direct(path)
                self.lost_pages += sum(cached[at:at + PAGE] != direct[at:at + PAGE]
                                       for at in range(0, len(cached), PAGE))
        if self.kind.name == "ext4":
            assert self.lost_pages > 0, "no page was lost"

    def mend_disk(self):
        self.tmpfs.empty()
        if self.again:
            self.remount()
        self.daemon.start()
        try:
            self.daemon.connect(limit=END_S).close()
        except AssertionError:
            # Its own metadata could not be written either, and it takes no writer any more.
            if self.again or "Read-only file system" not in self.daemon.output():
                raise
            self.remount()
            self.daemon.start()
            self.daemon.connect(limit=END_S).close()

    def remount(self):
        unmount(self.folder)
        run("mount", "-t", self.kind.kind, "-o", "loop,noatime", self.image, self.folder)

    def finish(self):
        before = [len(p.acked) for p in self.producers]
        self.wait("acks after the restart",
                  lambda: all(len(p.acked) > b for p, b in zip(self.producers, before)))
        for producer in self.producers:
            producer.finish()

    def read(self):
        events = daybook("read", "-D", self.daemon.directory, "-n", "all", "-o", "json").events
        # The daemon itself says which numbers it has refused.
        return [(event["seq"], event["payload"]["id"]) for event in events
                if event["topic"] != "_gap"]

    def check(self):
        accepted = self.read()
        assert self.daemon.stop() == 0
        daybook("verify", "-D", self.daemon.directory)
        self.remount()  # and with it the page cache has gone
        assert self.read() == accepted, "the disk has other events than the page cache"
        ids = [i for _, i in accepted]
        present = set(ids)
        assert len(present) == len(ids), "an event is there twice"
        acked = set().union(*(p.acked for p in self.producers))
        unknown = set().union(*(p.unknown for p in self.producers))
        assert acked <= present, "%d acknowledged events are lost" % len(acked - present)
        assert present <= acked | unknown, "%d events that nobody knows" % len(
            present - acked - unknown)
        refused = set().union(*(p.refused for p in self.producers))
        assert not refused & present, "%d refused events are there" % len(refused & present)
        numbered = [p for p in self.producers if p.numbered]
        for producer in numbered:
            mine = [int(i.split("-")[1]) for i in ids if i.startswith(producer.name + "-")]
            # What was refused for lack of space is not there, and never will be.
            whole = [n for n in range(1, max(mine) + 1)
                     if "%s-%d" % (producer.name, n) not in producer.refused]
            assert mine == whole, "%s has lost %s, or order" % (
                producer.name, sorted(set(whole) - set(mine))[:9])

    def run(self):
        try:
            self.begin()
            self.break_disk()
            self.await_end()
            self.measure()
            self.mend_disk()
            self.finish()
            self.check()
        except BaseException:
            if self.daemon.process:
                print(self.daemon.output()[-2000:])
            raise
        finally:
            self.end()

    def end(self):
        for producer in self.producers:
            producer.stopping = True
        if self.daemon.process:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.daemon.end()
        for producer in self.producers:
            producer.join(2)
        self.tmpfs.empty()
        if self.disk:
            unmount(self.folder)
        self.tmpfs.unmount()


# ---- The campaign ----

class Campaign:
    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        self.good = True
        self.cases = {}
        self.lost_pages = 0
        self.end = time.monotonic() + arguments.seconds if arguments.seconds else None

    def kinds(self):
        kinds = []
        for name in SIZES:
            if self.arguments.only in (None, name):
                try:
                    KINDS[name].require()
                    kinds.append(SMALL.get(name, KINDS[name]))
                except Missing as missing:
                    say(True, "skipped: %s on %s: %s" % (WHAT, name, missing))
        return kinds

    def run_case(self, kind, number):
        dice = random.Random("%s/%d" % (self.arguments.seed, number))
        case = None
        try:
            case = Case(kind, dice, self.directory)
            case.run()
            self.lost_pages += case.lost_pages
            self.cases[kind.name] = self.cases.get(kind.name, 0) + 1
        except Exception as failure:  # pylint: disable=broad-except
            traceback.print_exc(file=sys.stdout)
            self.good = say(False, "case %d (%s), --seed %s: %s" % (
                number, kind.name, self.arguments.seed, failure))

    def run(self):
        kinds = self.kinds()
        first = self.arguments.case
        numbers = [first] if first is not None else range(self.arguments.cases)
        for number in numbers:
            if not kinds or (self.end and time.monotonic() > self.end):
                break
            self.run_case(kinds[number % len(kinds)], number)
        count = sum(self.cases.values())
        self.good &= say(count > 0, "%d syncs that the kernel failed: %s" % (
            count, ", ".join("%s %d" % pair for pair in sorted(self.cases.items())) or "none"))
        if "ext4" in self.cases:
            self.good &= say(self.lost_pages > 0, "%d pages that the page cache showed and the "
                             "disk did not have" % self.lost_pages)
        print("cases: %d real fsync failures" % count)
        print("cases: %d pages lost by the kernel" % self.lost_pages)
        return 0 if self.good else 1


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int)
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--only", choices=sorted(SIZES))
    arguments = parser.parse_args()
    arguments.nightly = arguments.cases is not None
    arguments.cases = 3 if arguments.cases is None else arguments.cases
    return arguments


def main():
    arguments = parse()
    directory = tempfile.mkdtemp(prefix="daybook-sync.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    try:
        if os.geteuid():
            raise Missing("only root may mount and make loop devices")
        return in_namespaces(lambda: Campaign(arguments, directory).run(), WHAT)
    except Missing as missing:
        return 0 if say(not arguments.nightly, "skipped: %s: %s" % (WHAT, missing)) else 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
