"""The named positions of a log's consumers."""

from typing import List, NamedTuple, Optional

from . import _wire
from .errors import ProtocolError, Unreachable
from .producer import CLIENT


class Cursor(NamedTuple):
    """Where the consumer, or the group of them, of this name is."""

    name: str
    position: int      # everything up to here is done
    lag: int           # how many sequences behind the log's last
    shared: bool       # of a group
    in_use: bool
    hold: bool         # keeps retention from deleting what is behind it
    committed_at: int  # nanoseconds since 1970; 0: never


def cursors(directory: Optional[str] = None, socket: Optional[str] = None, *,
            timeout: float = 5.0) -> List[Cursor]:
    """All cursors of the log. Unreachable: no daemon answers. To move or delete one, use the
    command `daybook cursors`."""
    path = _wire.find_socket(socket, directory)
    connection, _, splitter = _wire.handshake(path, timeout, _wire.hello(CLIENT))
    try:
        connection.sendall(_wire.frame(["cursors"]))
        message = splitter.next()
        while message is None:
            data = connection.recv(_wire.RECEIVE_BYTES)
            if not data:
                raise Unreachable("the daemon at '%s' has closed the connection" % path)
            splitter.feed(data)
            message = splitter.next()
    finally:
        connection.close()
    if message[0] == "error":
        raise _wire.error_of(message)
    if message[0] != "cursors":
        raise ProtocolError("the daemon answered '%s' when asked for cursors" % message[0])
    return [Cursor(*(each.get(key, 0) for key in Cursor._fields)) for each in message[1]]
