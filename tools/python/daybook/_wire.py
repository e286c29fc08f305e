"""Frames on the socket: docs/protocol.md. Where the socket is, how to connect to it, how to cut
what comes out of it into messages."""

import os
import socket
from struct import Struct
from typing import Any, Dict, List, Optional, Tuple

from . import _msgpack
from .errors import DaybookError, ProtocolError, Unreachable, final_error

FRAME_MAX = 1048576 + 4096
EVENTS_MAX = 4096
RECEIVE_BYTES = 1 << 18
_LENGTH = Struct(">I")
_SUN_PATH_MAX = 107


def find_directory(directory: Optional[str]) -> str:
    """The log's directory: as given, else $DAYBOOK_DIR, else ./daybook-data."""
    return os.fspath(directory or os.environ.get("DAYBOOK_DIR") or "./daybook-data")


def find_socket(path: Optional[str], directory: Optional[str]) -> str:
    """The daemon's socket: as given; else in the given directory; else $DAYBOOK_SOCKET; else in
    the directory that find_directory finds."""
    if path:
        return os.fspath(path)
    if not directory and os.environ.get("DAYBOOK_SOCKET"):
        return os.environ["DAYBOOK_SOCKET"]
    return os.path.join(find_directory(directory), "daybook.sock")


def frame(message: Any) -> bytes:
    """A message as a frame. Invalid sizes are the caller's to avoid: see FRAME_MAX."""
    body = _msgpack.pack(message)
    return _LENGTH.pack(len(body)) + body


def frame_of(body: bytes) -> bytes:
    """A frame around one packed value."""
    return _LENGTH.pack(len(body)) + body


def hello(client: str, producer: Optional[str] = None, ack: str = "durable") -> bytes:
    """The first frame of a connection."""
    keys: Dict[str, Any] = {"version": 1, "client": client, "ack": ack}
    if producer:
        keys["producer"] = producer
    return frame(["hello", keys])


class Splitter:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        if self._at:
            del self._data[:self._at]
            self._at = 0
        self._data += data

    def next(self) -> Optional[List[Any]]:
        """The next message; None while it is not here whole. ProtocolError: it is none."""
        have = len(self._data) - self._at
        if have < 4:
            return None
        size = _LENGTH.unpack_from(self._data, self._at)[0]
        if size > FRAME_MAX:
            raise ProtocolError("a frame of %d bytes came, more than %d: this is no Daybook daemon"
                                % (size, FRAME_MAX))
        if have < 4 + size:
            return None
        body = bytes(self._data[self._at + 4:self._at + 4 + size])
        self._at += 4 + size
        try:
            message = _msgpack.unpack(body)
        except _msgpack.UnpackError as error:
            raise ProtocolError("a frame came that is no message: %s" % error) from None
        if not isinstance(message, list) or not message or not isinstance(message[0], str):
            raise ProtocolError("a frame came that is no message: its first element is no name")
        return message


class _Address:
    """What connect() can be given for a path, which may be longer than a socket's address."""

    def __init__(self, path: str):
        self._folder = -1
        self.path = path
        if len(os.fsencode(path)) > _SUN_PATH_MAX:
            self._folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY)
            self.path = "/proc/self/fd/%d/%s" % (self._folder, os.path.basename(path))

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)


def connect(path: str, timeout: Optional[float]) -> socket.socket:
    """A connected socket, blocking with this timeout (0: not blocking). Unreachable: nobody
    listens there."""
    connection = None
    try:
        address = _Address(path)
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(timeout)
            connection.connect(address.path)
        finally:
            address.close()
    except OSError as error:
        if connection is not None:
            connection.close()
        raise Unreachable("no daemon answers at '%s' (%s); is daybookd running?"
                          % (path, error.strerror or error)) from None
    return connection


def welcome_of(message: List[Any]) -> Dict[str, Any]:
    """The map of a welcome. What came instead is raised: as its own error where it is final, as
    Unreachable where one should try again."""
    if message[0] == "welcome" and len(message) > 1 and isinstance(message[1], dict):
        return message[1]
    if message[0] == "error":
        raise error_of(message)
    raise ProtocolError("the daemon answered hello with '%s' instead of 'welcome'" % message[0])


def error_of(message: List[Any]) -> DaybookError:
    """What an error frame says, as an exception; Unreachable where one should connect again."""
    code, text = (message + ["", ""])[1:3]
    return final_error(str(code), str(text)) or Unreachable("%s: %s" % (code, text))


def handshake(path: str, timeout: float, greeting: bytes) -> Tuple[socket.socket, Dict[str, Any],
                                                                  Splitter]:
    """Connect, say hello and be welcomed, waiting up to `timeout` seconds for each step. The
    splitter holds what came behind the welcome."""
    connection = connect(path, timeout)
    splitter = Splitter()
    try:
        connection.sendall(greeting)
        while True:
            message = splitter.next()
            if message is not None:
                return connection, welcome_of(message), splitter
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                raise Unreachable("the daemon at '%s' closed the connection before its welcome"
                                  % path)
            splitter.feed(data)
    except OSError as error:
        connection.close()
        if isinstance(error, DaybookError):
            raise
        raise Unreachable("the daemon at '%s' did not welcome us within %g s (%s)"
                          % (path, timeout, error)) from None
    except BaseException:
        connection.close()
        raise
