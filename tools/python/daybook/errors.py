"""What can go wrong, as exceptions. Each one's text is a sentence for people; its class is for
programs. The names are those of the C library and of docs/protocol.md."""

from typing import Optional


class DaybookError(Exception):
    """The base of all of them."""


class Invalid(DaybookError, ValueError):
    """What the caller gave breaks a rule; nothing of it was stored."""


class Refused(DaybookError):
    """The daemon refused the event, and says why; it is not stored. Its number is spent."""


class NoSpace(Refused):
    """Refused because the disk is full; it is not stored."""


class Conflict(Refused):
    """The log is not as expected: somebody else was faster, and nothing is stored. Read on, decide
    anew, and expect the sequence up to which was read."""


class Unreachable(DaybookError, ConnectionError):
    """No daemon answers at the socket."""


class Unknown(DaybookError, ConnectionError):
    """The connection was lost before the answer: the event may be stored or not."""


class Timeout(DaybookError, TimeoutError):
    """No answer in time; what was taken is still on its way, and must not be given again."""


class Taken(DaybookError):
    """Somebody else uses this cursor, or another user this producer's name."""


class Replaced(DaybookError):
    """Another program uses this producer's name, or this cursor. Final: do not connect again."""


class Foreign(DaybookError):
    """After a lost connection there is another log behind the socket, whose sequences say nothing
    here; subscribe anew."""


class Damaged(DaybookError):
    """After a lost connection the log ends before an event that it has given: it has lost events,
    or is an older copy; subscribe anew."""


class ProtocolError(DaybookError):
    """The other side does not speak this protocol, this version of it, or to us."""


class Lost(DaybookError):
    """Events that a subscriber asked for and that cannot be given any more.

    `first` and `last` are their sequences, `cause` a word of `daybook gaps`."""

    def __init__(self, first: int, last: int, cause: str, text: Optional[str] = None):
        super().__init__("events %d to %d are lost (%s)%s"
                         % (first, last, cause, ": " + text if text else ""))
        self.first = first
        self.last = last
        self.cause = cause
        self.text = text or ""


_BY_CODE = {
    "invalid": Invalid, "taken": Taken, "forbidden": ProtocolError, "replaced": Replaced,
    "malformed": ProtocolError, "too_large": ProtocolError, "expected_hello": ProtocolError,
    "version": ProtocolError, "unsupported": ProtocolError,
}


def final_error(code: str, text: str) -> Optional[DaybookError]:
    """The exception for a daemon's error frame; None when one should simply connect again."""
    kind = _BY_CODE.get(code)
    return kind("%s: %s" % (code, text)) if kind else None
