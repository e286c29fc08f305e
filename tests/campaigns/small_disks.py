"""Small file systems on loop files and in memory, for full_disk.py and failed_sync.py.

A disk is made in a directory, mounted, filled and emptied by a file of the test's own, and goes
away with the namespace of mounts of power_stack.py, also when the test is killed.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from power_stack import Missing, unmount  # noqa: E402

MIB = 1 << 20


class Kind:
    """A file system: how large, how made, how mounted."""

    def __init__(self, name, kind, size, make=None, package=None, options=""):
        self.name, self.kind, self.size, self.make = name, kind, size, make
        self.package, self.options = package, options

    def require(self):
        if self.make and not shutil.which(self.make[0]):
            raise Missing("%s is missing (package %s)" % (self.make[0], self.package))
        with open("/proc/filesystems", encoding="ascii") as known:
            if self.kind in known.read().split():
                return
        if subprocess.run(["modprobe", self.kind], capture_output=True, check=False).returncode:
            raise Missing("this kernel has no " + self.kind)


EXT4 = ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")
KINDS = {kind.name: kind for kind in (
    Kind("ext4", "ext4", 96 * MIB, EXT4, "e2fsprogs"),
    Kind("xfs", "xfs", 320 * MIB, ("mkfs.xfs", "-q", "-f"), "xfsprogs"),
    Kind("btrfs", "btrfs", 512 * MIB, ("mkfs.btrfs", "-q", "-f", "-m", "single"), "btrfs-progs"),
    Kind("tmpfs", "tmpfs", 64 * MIB, options="size=64m"),
)}


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout.strip()


class Disk:
    """One mounted file system, with a file that takes its room."""

    def __init__(self, kind, folder, backing=None):
        """`backing`: a directory for the image; `folder`: where to mount."""
        self.kind, self.folder = kind, folder
        self.device = None
        os.makedirs(folder, exist_ok=True)
        if kind.make:
            image = os.path.join(backing, kind.name + ".img")
            with open(image, "wb") as file:
                file.truncate(kind.size)
            run(*kind.make, image)
            self.device = run("losetup", "--find", "--show", image)
            try:
                run("mount", "-t", kind.kind, "-o", "noatime," + kind.options, self.device, folder)
            finally:
                run("losetup", "-d", self.device)  # at once, or when it is unmounted
        else:
            run("mount", "-t", kind.kind, "-o", kind.options, kind.name, folder)
        if kind.kind == "btrfs" and kind.size > 256 * MIB:
            self.widen_metadata()

    def widen_metadata(self):
        """Disks of any size have room for metadata besides; so small a one has none, unless used.

        Small files are kept in the metadata; its chunk stays when most of them go.
        """
        folder = os.path.join(self.folder, "small")
        os.mkdir(folder)
        for number in range(4000):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(bytes([number & 255]) * 1900)
        run("sync", "-f", self.folder)
        for number in range(4000):
            if number % 100:
                os.unlink(os.path.join(folder, str(number)))
        run("sync", "-f", self.folder)

    @property
    def filler(self):
        return os.path.join(self.folder, "filler")

    def free(self):
        """What an ordinary program could still write here."""
        status = os.statvfs(self.folder)
        return status.f_bfree * status.f_frsize

    def fill(self, leave):
        """Take all the room but about `leave` bytes, as a stranger would; 0: every byte."""
        with open(self.filler, "ab") as file:
            end = os.fstat(file.fileno()).st_size
            step = max(self.free() - leave, 0)
            while step >= 4096:
                step = step // 4096 * 4096
                try:
                    os.posix_fallocate(file.fileno(), end, step)
                    end += step
                    step = max(self.free() - leave, 0) if leave else step
                except OSError as failure:
                    if failure.errno != errno.ENOSPC:
                        raise
                    step //= 2
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), end)

    def filled(self):
        """How much the stranger's file takes."""
        try:
            return os.stat(self.filler).st_size
        except FileNotFoundError:
            return 0

    def empty(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.filler)

    def unmount(self):
        unmount(self.folder)
