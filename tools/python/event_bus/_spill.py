"""A file of events that did not fit into memory: JSON lines, written at its end, read from its
beginning, made empty when everything in it has been acknowledged.

    {"base":17}                                         the first event line below has number 17
    {"topic":"t","time":1757386981642318000,"payload":{…}}  an event; it has the next number
    {"topic":"t","time":…,"payload":{…},"number":30}    … or this one
    {"dropped":5,"reason":"…"}                          5 numbers are skipped, and the event that
                                                        tells of them has the next one

Exactly once: "base" is on the disk before the first event of the file is sent, so that whoever
finds the file after a crash knows every line's number, and the log knows the last one that it has.
The file belongs to one producer's name; a lock on it says which process has it.

A line that a crash has cut short, or that is no JSON, is skipped. One thread at a time.
"""

import fcntl
import json
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

_READ_BYTES = 1 << 16


class SpillBusy(Exception):
    """Another process has the file."""


class Line(NamedTuple):
    """One line that counts: an event, or numbers that were dropped."""

    first: int           # the first number that it takes; 0: not known yet
    number: int          # its event's number; 0: not known yet
    dropped: int         # how many numbers before it are skipped
    keys: Dict[str, Any]


class Spill:
    """The file at `path`, of at most `bytes_max`; made when it is not there. SpillBusy, OSError."""

    def __init__(self, path: str, bytes_max: int):
        self.path = path
        self.lines_left = 0     # not yet read
        self.bytes_max = bytes_max
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(path).st_ino != os.fstat(self._fd).st_ino:
                raise BlockingIOError  # its last owner has replaced it since we opened it
            self._next = 0      # the number of the next line to be read; 0: not known
            self.base = 0       # the number of the first line; 0: not known
            self._buffer = b""  # read, and not yet cut into lines
            self._at = 0        # where reading goes on
            self.size = os.fstat(self._fd).st_size
            self._adopt()
        except (BlockingIOError, FileNotFoundError):
            os.close(self._fd)
            raise SpillBusy(path) from None
        except BaseException:
            os.close(self._fd)
            raise

    def _adopt(self) -> None:
        """Count what an earlier process has left, look for its base, end its last line."""
        for keys in self._scan():
            if "base" in keys:
                self.base = int(keys["base"])
            else:
                self.lines_left += 1
        if self.size and os.pread(self._fd, 1, self.size - 1) != b"\n":
            self._write(b"\n")
        if not self.lines_left:
            self.clear()

    def _scan(self) -> Iterator[Dict[str, Any]]:
        with open(self.path, "rb") as file:
            for raw in file:
                keys = _keys_of(raw)
                if keys is not None:
                    yield keys

    @property
    def active(self) -> bool:
        """Are there lines in it? Then new events go behind them."""
        return self.size > 0

    @property
    def has_base(self) -> bool:
        """Is it known which number the first line has?"""
        return self.base > 0

    def append(self, keys: Dict[str, Any], force: bool = False) -> bool:
        """Write a line. False: the file (unless `force`), or the disk, is full; nothing was
        written."""
        data = _raw_of(keys)
        full = self.size + len(data) > self.bytes_max and not force
        if full or not self._write(data):
            return False
        self.lines_left += 1
        return True

    def _write(self, data: bytes) -> bool:
        try:
            done = os.write(self._fd, data)
        except OSError:
            done = 0
        if done != len(data):
            self._cut(self.size)
            return False
        self.size += done
        return True

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
            self.size = size
        except OSError:
            self.size = os.fstat(self._fd).st_size

    def set_base(self, number: int) -> bool:
        """The file's first line has this number: known after a crash, too. False: not possible now
        (a full disk); then nothing may be sent from it yet."""
        if not self._write(b'{"base":%d}\n' % number):
            return False
        try:
            os.fdatasync(self._fd)
        except OSError:
            return False
        self.base = number
        return True

    def read(self, count: int) -> List[Line]:
        """The next lines, at most so many. Needs a base, unless only their content matters."""
        if not self._next:
            self._next = self.base
        lines: List[Line] = []
        while len(lines) < count and self.lines_left:
            raw = self._next_raw()
            if raw is None:
                self.lines_left = 0
                break
            keys = _keys_of(raw)
            if keys is None or "base" in keys:
                continue
            self.lines_left -= 1
            lines.append(self._line(keys))
        return lines

    def _line(self, keys: Dict[str, Any]) -> Line:
        dropped = int(keys.get("dropped", 0))
        first = int(keys.get("number", self._next))
        number = first + dropped if first else 0
        self._next = number + 1 if number else 0
        return Line(first, number, dropped, keys)

    def _next_raw(self) -> Optional[bytes]:
        while b"\n" not in self._buffer:
            data = os.pread(self._fd, _READ_BYTES, self._at)
            if not data:
                return None
            self._at += len(data)
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\n")
        return raw

    def clear(self) -> None:
        """Everything in it has been acknowledged."""
        self._cut(0)
        self._next = self.base = self._at = self.lines_left = 0
        self._buffer = b""

    def put_before(self, lines: List[Dict[str, Any]], first_number: int) -> bool:
        """Write these lines before all that is in it, as an atomic change: what was in memory when
        the process ends. From here on this is the new file, read from its beginning.
        `first_number`: of the first of them; 0: not known. False: it was left as it was."""
        beside = self.path + ".new"
        new = -1
        try:
            new = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC,
                          0o600)
            # Locked before it has the name, so that nobody else takes it in between.
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            count = len(lines) + self._write_lines(new, lines, first_number)
            os.fdatasync(new)
            os.rename(beside, self.path)
        except (OSError, ValueError):
            if new >= 0:
                os.close(new)
            try:
                os.unlink(beside)
            except OSError:
                pass
            return False
        os.close(self._fd)
        self._fd = new
        self.size = os.fstat(new).st_size
        self.base = first_number
        self.lines_left = count
        self._next = self._at = 0
        self._buffer = b""
        _sync_folder(self.path)
        return True

    def _write_lines(self, new: int, lines: List[Dict[str, Any]], first_number: int) -> int:
        """Into the new file: these, then the old ones. Returns how many of the old ones."""
        old = 0
        with open(new, "wb", closefd=False) as file:
            if first_number:
                file.write(b'{"base":%d}\n' % first_number)
            for keys in lines:
                file.write(_raw_of(keys))
            for keys in self._scan():
                if "base" not in keys:
                    file.write(_raw_of(keys))
                    old += 1
        return old

    def close(self) -> None:
        """Leave what is in it to whoever comes next; an empty file goes away."""
        if not self.size:
            try:
                os.unlink(self.path)
            except OSError:
                pass
        try:
            os.fdatasync(self._fd)
        except OSError:
            pass
        os.close(self._fd)

    def forget(self) -> None:
        """In a child after fork: the file is its parent's."""
        os.close(self._fd)


def _sync_folder(path: str) -> None:
    """The file's name outlives a crash of the machine, too, where the file system can do that."""
    try:
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        pass


def _raw_of(keys: Dict[str, Any]) -> bytes:
    return json.dumps(keys, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _keys_of(raw: bytes) -> Optional[Dict[str, Any]]:
    try:
        keys = json.loads(raw)
    except ValueError:
        return None
    known = isinstance(keys, dict) and ("base" in keys or "dropped" in keys or "topic" in keys)
    return keys if known else None
