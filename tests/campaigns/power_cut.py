#!/usr/bin/env python3
"""Power cuts through the full stack: no acknowledged event is lost, none is invented.

    BUILD=build tests/campaigns/power_cut.py [--cases N] [--seed S] [--seconds T] [--fs NAME,...]
                                             [--self-test] [--keep DIR]

The unmodified daybookd writes to a real file system on a loop device on a file of a FUSE file
system, whose program (power_cut.c) records every write and every flush. An image of the disk after
a power cut is everything that was written before the last flush, and a random subset of the units
of 4 KiB that were written since: at any position of the record, not only at flushes. On each image
the file system replays its journal, and the unmodified programs verify, read, recover, publish and
index. Some images lose power once more, during that.

Nothing in an image is believed: what must be in it is known from acknowledgements that this program
received and stamped with the position of the record. The images boot under another boot identity,
as a machine does after a power cut.

That the campaign can fail is tried each time, too (alone with --self-test): a daemon whose syncs do
nothing, and one whose syncs come late, must be caught.

With fewer than 80 cases only ext4 is tried, else ext4, ext4 with data=journal, xfs and btrfs, each
with two alignments and both write paths (btrfs with one, for daybookd refuses the other there).
--seconds bounds the cutting, --keep saves the images that broke a promise. Needs root, /dev/fuse
and loop devices; where something is missing it is said, and what needs it is skipped.
"""

import argparse
import bisect
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter

sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from power_image import Expectation, Image, SecondImage  # noqa: E402
from power_load import BUILD, Broken, Load  # noqa: E402
from power_stack import (  # noqa: E402
    BLOCK_BYTES, FILE_SYSTEMS, Boot, Disks, Missing, in_namespaces, mounted, require_loop,
    require_machine)

PROGRAM = os.path.join(BUILD, "campaigns", "power_cut")
# enum power_disk_keep: of what was not flushed none, a tenth, half, most, all, all but one, one.
KEEPS = (0, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6)
VARIANTS = (("pwrite", 8), ("mmap", 8), ("pwrite", 4096))  # write path, commit alignment
SEGMENT_MAGIC, INDEX_MAGIC = "DAYBOOKS", "SQLite f"
ROLL_BEFORE, ROLL_AFTER = 20, 60  # positions around the header of a new segment
LARGE_LEAST, LARGE_MOST = 4, 25  # units between two flushes: more than a page, no zero-filling
FLUSH_US_MAX = 3000  # as on a disk: what is written meanwhile is not covered
FAILURES_MAX = 5  # a setup that broke its promise so often has made its point

NO_SYNC = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef LATE
static void *sync_later(void *copy)
{
    syscall(SYS_fdatasync, (int)(long)copy);
    close((int)(long)copy);
    return NULL;
}
int fdatasync(int fd)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, sync_later, (void *)(long)dup(fd)) == 0)
        pthread_detach(thread);
    return 0;
}
#else
int fdatasync(int fd) { (void)fd; return 0; }
int fsync(int fd) { (void)fd; return 0; }
int msync(void *at, size_t size, int flags) { (void)at; (void)size; (void)flags; return 0; }
int sync_file_range(int fd, long long at, long long size, unsigned flags)
{ (void)fd; (void)at; (void)size; (void)flags; return 0; }
int syncfs(int fd) { (void)fd; return 0; }
#endif
"""


def say(holds, text):
    print("%s - %s" % ("ok" if holds else "not ok", text), flush=True)
    return holds


def check_flushes(disks, folder):
    """A sync of a file must arrive below as a flush, and after the data."""
    path = os.path.join(folder, "flushes")
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, bytes(16 * BLOCK_BYTES), 0)
        os.fsync(file)
        for i in range(16):
            magic = "FLUSH%03d" % i
            before, flushes_before = disks.ask("count", 0)
            os.pwrite(file, magic.encode() + bytes(BLOCK_BYTES - 8), i * BLOCK_BYTES)
            os.fdatasync(file)
            after, flushes = disks.ask("count", 0)
            found = disks.ask("find", 0, magic)
            assert flushes > flushes_before, "fdatasync returned, and no flush came to the disk"
            assert found and before <= found[0] < after - 1, "a flush came before its data"
    finally:
        os.close(file)
        os.unlink(path)


class Cut:
    """One case: where, and which of the loose units are kept."""

    def __init__(self, number, label, position, chance):
        self.number, self.label, self.position = number, label, position
        self.seed = chance.getrandbits(60)
        self.keep = chance.choice(KEEPS)
        self.with_daemon = chance.random() < 0.2
        self.second = chance.random() if chance.random() < 0.2 else None


class Setup:
    """One file system and way to write: a recorded life, then its cuts."""

    def __init__(self, file_system, variant, options, scratch, boot):
        self.file_system, self.variant, self.options = file_system, variant, options
        self.name = "%s, %s, alignment %d" % (file_system.name, *variant)
        self.scratch = tempfile.mkdtemp(prefix="setup-", dir=scratch)
        self.folder = os.path.join(self.scratch, "mount")
        os.mkdir(self.folder)
        self.log = os.path.join(self.folder, "log")
        self.boot = boot
        self.disks = Disks(PROGRAM, self.scratch)
        self.load = None
        self.counts = Counter()
        self.names = set()
        self.failures = []

    def record(self, seconds, preload=None):
        flags = ("--write-path", self.variant[0], "--commit-align", str(self.variant[1]))
        with mounted(self.file_system, self.disks, 0, self.folder, create=True):
            check_flushes(self.disks, self.folder)
            os.sync()
            self.disks.ask("slow", 0, FLUSH_US_MAX)
            self.disks.ask("restart", 0)
            self.load = Load(self.disks, self.log, self.scratch, self.options.seed, flags, preload)
            self.load.run(seconds)
            begin = self.disks.position()
        self.load.phases.append(("unmounting", begin, self.disks.position()))
        self.load.finish()

    def choose(self, cases):
        """
        All phases in turn; rolls, the index's checkpoints and commits of several units have turns
        of their own. Every other cut comes just before a flush is done: then most is loose.
        """
        chance = random.Random("%d-%s" % (self.options.seed, self.name))
        stretches = [(label, [(begin, end)]) for label, begin, end in self.load.phases]
        for label, magic in (("a roll", SEGMENT_MAGIC), ("a checkpoint of the index", INDEX_MAGIC)):
            found = self.disks.ask("find", 0, magic)
            if found:
                around = [(max(0, at - ROLL_BEFORE), at + ROLL_AFTER) for at in found]
                stretches += [(label, around)] * 2
        flushes = self.disks.ask("flushes", 0)
        large = [(flush, flush) for before, flush in zip(flushes, flushes[1:])
                 if LARGE_LEAST < flush - before < LARGE_MOST]
        if large:
            stretches += [("a larger write", large)] * 3
        cuts = []
        turn = chance.randrange(len(stretches))
        for number in range(cases):
            label, ranges = stretches[(turn + number) % len(stretches)]
            position = min(chance.randint(*chance.choice(ranges)), self.disks.position())
            if number % 2 and position <= flushes[-1]:
                position = flushes[bisect.bisect_left(flushes, position)]
            cuts.append(Cut(number, label, position, chance))
        return sorted(cuts, key=lambda cut: cut.position)

    def losses(self):
        """What was promised, by an acknowledgement or a reader, and is gone or cannot be read."""
        return [failure for _, failure in self.failures
                if isinstance(failure, Broken) and failure.clause in ("D1", "D4", "D5")]

    def try_all(self, cuts, deadline=None, until_loss=False):
        for cut in cuts:
            if deadline and time.monotonic() > deadline:
                break
            try:
                self.try_one(cut)
            except (AssertionError, OSError, subprocess.SubprocessError) as failure:
                self.failures.append((cut, failure))
                self.keep(cut)
            if self.losses() if until_loss else len(self.failures) >= FAILURES_MAX:
                break

    def make(self, cut):
        self.boot.new()
        return self.disks.ask("cut", 0, 1, cut.position, cut.seed, cut.keep)

    def try_one(self, cut):
        flushed, loose, kept, name = self.make(cut)
        image = Image(Expectation(self.load, cut.position), self.log, self.scratch, cut.number)
        with mounted(self.file_system, self.disks, 1, self.folder):
            image.examine(cut.with_daemon)
            recovered = self.disks.position(1)
        self.names.add((flushed, name))
        self.counts["power cuts"] += 1
        self.counts["during " + cut.label] += 1
        self.counts["with unflushed units"] += loose > 0
        self.counts["with a proper subset of the unflushed units"] += 0 < kept < loose
        self.counts["unflushed units dropped"] += loose - kept
        self.counts["with a torn tail in the log"] += image.was_torn
        self.counts["before there was a log"] += image.was_empty and not image.before
        self.counts["recovered by daybookd"] += cut.with_daemon
        if cut.second is not None:
            self.try_second(cut, image, recovered)

    def try_second(self, cut, image, recovered):
        self.boot.new()
        position = int(cut.second * self.disks.position(1))
        self.disks.ask("cut", 1, 2, position, cut.seed + 1, KEEPS[cut.seed % len(KEEPS)])
        second = SecondImage(image, position >= recovered)
        with mounted(self.file_system, self.disks, 2, self.folder):
            second.examine()
        self.counts["second cuts, during or after recovery"] += 1

    def keep(self, cut):
        """The image as it was before anybody mounted it, without its zeros."""
        if not self.options.keep:
            return
        self.make(cut)
        os.makedirs(self.options.keep, exist_ok=True)
        path = os.path.join(self.options.keep, "%s-%s-%d-%d.image" % (
            self.file_system.name, *self.variant, cut.number))
        with open(self.disks.path(1), "rb") as image, open(path, "wb") as copy:
            while data := image.read(1 << 20):
                copy.seek(len(data), os.SEEK_CUR) if not any(data) else copy.write(data)
            copy.truncate()
        print("# kept: " + path)

    def end(self):
        self.disks.end()
        shutil.rmtree(self.scratch, ignore_errors=True)


@contextlib.contextmanager
def setup(*arguments):
    made = Setup(*arguments)
    try:
        yield made
    finally:
        made.end()


def say_skipped(missing):
    say(True, "skipped: full-stack power cuts: %s" % missing)
    print("cases: 0 full-stack power cuts", flush=True)
    return 0


def describe(cut, failure):
    return "at position %d, during %s, keep %d, seed %d: %s: %s" % (
        cut.position, cut.label, cut.keep, cut.seed, type(failure).__name__, failure)


class Campaign:
    """All setups, and what was counted."""

    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.boot = Boot(scratch)
        self.present = []
        self.counts = Counter()
        self.images = 0
        self.good = True
        self.cut_seconds = 0.0

    def run_setup(self, file_system, variant, cases, deadline):
        with setup(file_system, variant, self.options, self.scratch, self.boot) as made:
            try:
                made.record(self.options.load_seconds)
            except (AssertionError, OSError) as failure:
                self.good = say(False, "%s: before any power cut: %s" % (made.name, failure))
                return
            begin = time.monotonic()
            made.try_all(made.choose(cases), deadline)
            took = time.monotonic() - begin
            self.tell(made, took)

    def tell(self, made, took):
        self.cut_seconds += took
        self.counts += made.counts
        self.images += len(made.names)
        done = made.counts["power cuts"]
        for cut, failure in made.failures:
            say(False, "%s: power cut %s" % (made.name, describe(cut, failure)))
        self.good = self.good and not made.failures
        if not made.failures:
            say(True, "%s: after each of %d power cuts every acknowledged event is there once, as "
                "it was sent" % (made.name, done))
        tried = done + len(made.failures)
        print("# %s: %d events, %d acknowledged, %d writes and flushes recorded, %d flushes, "
              "%.0f ms a cut" % (made.name, len(made.load.history.lines), made.load.acked(),
                                 made.disks.position(), made.disks.ask("count", 0)[1],
                                 took * 1e3 / max(tried, 1)), flush=True)

    def find_present(self):
        for name in self.options.fs:
            try:
                FILE_SYSTEMS[name].require()
                self.present.append(FILE_SYSTEMS[name])
            except Missing as missing:
                say(True, "skipped: power cuts on %s: %s" % (name, missing))
        if not self.present:
            raise Missing("there is no file system to try them on")

    def run(self):
        variants = VARIANTS if self.options.cases >= 80 else VARIANTS[:1]
        pairs = [(fs, variant) for fs in self.present for variant in variants
                 if variant[0] in fs.write_paths]
        for number, (fs, variant) in enumerate(pairs):
            deadline = None
            if self.options.seconds:
                deadline = time.monotonic() + self.options.seconds / len(pairs)
            share = (self.options.cases * (number + 1)) // len(pairs)
            share -= (self.options.cases * number) // len(pairs)
            self.run_setup(fs, variant, share, deadline)

    def report(self):
        """A campaign in which too little happened has shown nothing."""
        total = self.counts.pop("power cuts", 0)
        print("cases: %d full-stack power cuts" % total)
        print("cases: %d distinct images of a disk after a power cut" % self.images)
        for what, count in sorted(self.counts.items()):
            print("cases: %d %s%s" % (count, "" if " cuts" in what or "dropped" in what
                                      else "power cuts ", what))
        print("# %.0f ms a power cut" % (self.cut_seconds * 1e3 / max(total, 1)))
        partly = self.counts["with a proper subset of the unflushed units"]
        self.good = say(partly * 10 >= total > 0, "%d of %d cuts kept some of the writes that no "
                        "flush had covered, and dropped others" % (partly, total)) and self.good

    def self_test(self):
        """Both lies must be found out, or the campaign is worth nothing."""
        for lie, flags, cases in (("do nothing", (), 10),
                                  ("come after they have returned", ("-DLATE",), 60)):
            preload = os.path.join(self.scratch, "no-sync.so")
            compiler = os.environ.get("CC", "cc").split()
            subprocess.run([*compiler, "-shared", "-fPIC", "-pthread", *flags, "-x", "c", "-", "-o",
                            preload], input=NO_SYNC, text=True, check=True)
            quiet = argparse.Namespace(**dict(vars(self.options), keep=None))
            with setup(self.present[0], VARIANTS[0], quiet, self.scratch, self.boot) as made:
                made.record(0.3, preload)
                made.try_all(made.choose(cases), until_loss=True)
                lost = made.losses()
                tried = made.counts["power cuts"] + len(made.failures)
                found = lost[0] if lost else [describe(*failure) for failure in made.failures]
                self.good = say(lost, "a daemon whose syncs %s is caught, by cut %d: %s" % (
                    lie, tried, found)) and self.good


def run(options, scratch):
    try:
        require_loop(PROGRAM, scratch)
        campaign = Campaign(options, tempfile.mkdtemp(prefix="campaign-", dir=scratch))
        campaign.find_present()
    except Missing as missing:
        return say_skipped(missing)
    if not options.self_test:
        campaign.run()
        campaign.report()
    campaign.self_test()
    return 0 if campaign.good else 1


def parse():
    parser = argparse.ArgumentParser(description="power cuts through the full stack")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0, help="stop cutting after so long")
    parser.add_argument("--fs", help="of " + ", ".join(FILE_SYSTEMS))
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--keep", help="a directory for images that broke a promise")
    options = parser.parse_args()
    everything = list(FILE_SYSTEMS) if options.cases >= 80 else ["ext4"]
    options.fs = options.fs.split(",") if options.fs else everything
    for name in options.fs:
        if name not in FILE_SYSTEMS:
            parser.error("'%s' is none of %s" % (name, ", ".join(FILE_SYSTEMS)))
    options.load_seconds = 1.0 if options.cases >= 80 else 0.5
    return options


def main():
    options = parse()
    scratch = tempfile.mkdtemp(prefix="daybook-power-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    try:
        require_machine()
        if not os.access(PROGRAM, os.X_OK):
            say(False, "%s is not built: make campaigns" % PROGRAM)
            return 1
        return in_namespaces(lambda: run(options, scratch))
    except Missing as missing:
        return say_skipped(missing)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
