"""What stands below the log in power_cut.py: namespaces, FUSE disks, loop devices, file systems.

Everything is made by system calls, in namespaces of mounts and of processes that end with this
program: when it is killed, the kernel ends every process, unmounts and detaches.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
import uuid

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE, MS_NOATIME = 0x1000, 0x4000, 1 << 18, 0x400
PR_SET_PDEATHSIG = 1
BOOT_ID = "/proc/sys/kernel/random/boot_id"
DISK_BYTES = 320 << 20  # xfs wants 300 MB; what nobody writes costs nothing
BLOCK_BYTES = 4096


class Missing(Exception):
    """This machine lacks something; the campaign, or a part of it, is skipped and says so."""


def checked(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def mount(source, target, kind=None, flags=0, data=None):
    encoded = [x.encode() if x is not None else None for x in (source, target, kind, data)]
    checked(libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]),
            "mount %s at %s" % (source, target))


def unmount(target):
    """A child that has just ended may still be letting go of its files."""
    end = time.monotonic() + 20
    while libc.umount2(target.encode(), 0) != 0:
        if ctypes.get_errno() != errno.EBUSY or time.monotonic() > end:
            checked(-1, "unmount " + target)
        time.sleep(0.002)


def require_machine():
    if os.geteuid() != 0:
        raise Missing("only root may mount and make loop devices")
    for device in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(device, os.O_RDWR))
        except OSError as failure:
            raise Missing("%s cannot be opened: %s" % (device, failure.strerror)) from failure


def start_namespaces():
    """Mounts of our own, and a /proc that shows the processes of our own."""
    try:
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc")
    except PermissionError as failure:
        raise Missing("mounting is refused: " + failure.strerror) from failure


def in_namespaces(run, what="full-stack power cuts"):
    """Call `run` in a process that is the first of its own namespaces; returns its status."""
    if libc.unshare(CLONE_NEWNS | CLONE_NEWPID) != 0:
        raise Missing("namespaces are refused: " + os.strerror(ctypes.get_errno()))
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            start_namespaces()
            status = run()
        except Missing as missing:
            print("ok - skipped: %s: %s" % (what, missing))
            status = 0
        except KeyboardInterrupt:
            status = 130
        except Exception as failure:  # pylint: disable=broad-except
            print("not ok - %s: %s: %s" % (what, type(failure).__name__, failure))
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(status)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: os.kill(child, caught))
    while True:
        with contextlib.suppress(InterruptedError):
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Boot:
    """The identity of the boot, as every process in our namespaces sees it."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "boot_id")
        self.new()
        mount(self.path, BOOT_ID, None, MS_BIND)

    def new(self):
        """The machine has started again."""
        with open(self.path, "w") as file:
            file.write("%s\n" % uuid.uuid4())


class Disks:
    """The program power_cut, which holds the disks; docs of the commands are there."""

    def __init__(self, program, directory):
        self.folder = os.path.join(directory, "disks")
        os.mkdir(self.folder)
        positions = os.path.join(directory, "positions")
        self.process = subprocess.Popen(
            [program, self.folder, positions, str(DISK_BYTES)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()
        with open(positions, "r+b") as file:
            self.positions = mmap.mmap(file.fileno(), 0)

    def answer(self):
        line = self.process.stdout.readline()
        if not line.startswith("ok"):
            raise OSError("the program power_cut answered '%s'" % line.strip())
        return [int(word) for word in line.split()[1:]]

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def position(self, disk=0):
        """How much has been recorded: everything that is done now lies before it."""
        return struct.unpack_from("Q", self.positions, 8 * disk)[0]

    def path(self, disk):
        return os.path.join(self.folder, "disk%d" % disk)

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


LOOP_CONFIGURE, LOOP_CLR_FD, LOOP_GET_FREE = 0x4C0A, 0x4C01, 0x4C82
LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO = 4, 16


class Loop:
    """A loop device with direct I/O, so that it has no cache of its own."""

    def __init__(self, backing):
        file = os.open(backing, os.O_RDWR)
        try:
            self.attach(file)
        finally:
            os.close(file)
        name = os.path.basename(self.path)
        with open("/sys/block/%s/loop/dio" % name) as flag:
            if flag.read().strip() != "1":
                self.detach()
                raise OSError("%s would cache: it refuses direct I/O" % self.path)

    def attach(self, file):
        config = struct.pack("=II", file, 0) + struct.pack(
            "=QQQQQIIII", 0, 0, 0, 0, 0, 0, 0, 0, LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO)
        config += bytes(304 - len(config))
        for _ in range(100):  # Somebody else may take the free one first.
            with open("/dev/loop-control", "rb") as control:
                number = fcntl.ioctl(control, LOOP_GET_FREE)
            self.path = "/dev/loop%d" % number
            self.device = os.open(self.path, os.O_RDWR)
            try:
                fcntl.ioctl(self.device, LOOP_CONFIGURE, config)
                return
            except OSError as failure:
                os.close(self.device)
                if failure.errno != errno.EBUSY:
                    raise
        raise OSError("no free loop device")

    def detach(self):
        """The last to close it makes the kernel detach it."""
        os.close(self.device)


def require_loop(program, directory):
    """Root alone is not enough: a container may have no right to loop devices, or no nodes."""
    try:
        disks = Disks(program, directory)
        try:
            Loop(disks.path(0)).detach()
        finally:
            disks.end()
    except OSError as failure:
        if failure.errno in (errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENXIO, errno.ENODEV):
            raise Missing("a loop device on a FUSE file: %s" % failure) from failure
        raise


class FileSystem:
    """How to make and mount one kind."""

    def __init__(self, name, kind, make, package, options=None, write_paths=("pwrite", "mmap")):
        self.name, self.kind, self.make = name, kind, make
        self.package, self.options = package, options
        self.write_paths = write_paths

    def require(self):
        if not shutil.which(self.make[0]):
            raise Missing("%s is missing (package %s)" % (self.make[0], self.package))
        with open("/proc/filesystems") as known:
            if self.kind in known.read().split():
                return
        if subprocess.run(["modprobe", self.kind], capture_output=True, check=False).returncode:
            raise Missing("this kernel has no " + self.kind)

    def create(self, device):
        result = subprocess.run([*self.make, device], capture_output=True, text=True, check=False)
        if result.returncode:
            raise OSError("%s: %s" % (self.make[0], result.stderr.strip()))


# 4 KiB, as a disk of usual size gets by default; so small a one would get blocks of 1 KiB.
MAKE_EXT4 = ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")
FILE_SYSTEMS = {fs.name: fs for fs in (
    FileSystem("ext4", "ext4", MAKE_EXT4, "e2fsprogs"),
    FileSystem("ext4-data-journal", "ext4", MAKE_EXT4, "e2fsprogs", "data=journal"),
    FileSystem("xfs", "xfs", ("mkfs.xfs", "-q", "-f"), "xfsprogs"),
    FileSystem("btrfs", "btrfs", ("mkfs.btrfs", "-q", "-f"), "btrfs-progs", None,
               ("pwrite",)),  # daybookd refuses mmap on a copy-on-write file system
)}


@contextlib.contextmanager
def mounted(file_system, disks, disk, folder, create=False):
    """A disk's file system at `folder`, which is what becomes of the name."""
    loop = Loop(disks.path(disk))
    try:
        if create:
            file_system.create(loop.path)
        mount(loop.path, folder, file_system.kind, MS_NOATIME, file_system.options)
        try:
            yield folder
        finally:
            unmount(folder)
    finally:
        loop.detach()
