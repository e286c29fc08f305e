"""Events on their way into the log: their parts checked and packed; and as they come out of it."""

import datetime
import re
from typing import Any, NamedTuple, Optional, Union

from . import _msgpack
from .errors import Invalid

PAYLOAD_MAX = 1 << 20
DEPTH_MAX = 32  # arrays and maps inside each other
NUMBER_MAX = 2 ** 64 - 2

_TOPIC = re.compile(r"[A-Za-z0-9_.:/-]{1,255}", re.ASCII)
_PRODUCER = re.compile(r"[A-Za-z0-9_.:/-]{1,64}", re.ASCII)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

# Nanoseconds since 1970 (int), seconds since 1970 (float, as time.time() gives them), or an aware
# datetime.
Time = Union[int, float, datetime.datetime]


class Event(NamedTuple):
    """An event of the log. `tries`: in a group, which try at it this is, from 1; else 0."""

    seq: int
    time: int  # nanoseconds since 1970
    topic: str
    payload: Any
    tries: int = 0


def check_topic(topic: str) -> None:
    """Invalid unless it is a topic."""
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise Invalid("%r is no topic: that has 1 to 255 characters of A-Z a-z 0-9 _ . : / -"
                      % (topic,))


def check_producer(name: str) -> None:
    """Invalid unless it is the name of a producer."""
    if not isinstance(name, str) or not _PRODUCER.fullmatch(name):
        raise Invalid("%r is no producer's name: that has 1 to 64 characters of "
                      "A-Z a-z 0-9 _ . : / -" % (name,))


def nanoseconds(when: Optional[Time]) -> Optional[int]:
    """A time in nanoseconds since 1970; None: the time of arrival."""
    if when is None:
        return None
    if isinstance(when, datetime.datetime):
        if when.tzinfo is None:
            raise Invalid("the time %s has no zone; make it one with datetime.timezone.utc or "
                          "astimezone()" % when.isoformat())
        since = when - _EPOCH
        result = (since.days * 86400 + since.seconds) * 10 ** 9 + since.microseconds * 1000
    elif isinstance(when, bool) or not isinstance(when, (int, float)):
        raise Invalid("a time is an int (nanoseconds), a float (seconds) or a datetime, not %s"
                      % type(when).__name__)
    elif isinstance(when, float):
        if not abs(when) < 9.2e9:
            raise Invalid("%r seconds since 1970 are no time that the log can keep" % when)
        result = round(when * 10 ** 6) * 1000  # a double of today has no more than microseconds
    else:
        result = when
    if not -(2 ** 63) <= result < 2 ** 63:
        raise Invalid("%d ns since 1970 are no time that the log can keep" % result)
    return result


def pack_event(topic: str, when: Optional[Time], payload: Any) -> bytes:
    """Topic, time and payload, packed one behind the other: an event of a `pub` without the head of
    its array and without its number. Invalid says what is wrong with which of them."""
    check_topic(topic)
    try:
        body = _msgpack.pack(payload)
    except _msgpack.PackError as error:
        raise Invalid("payload: %s" % error) from None
    if len(body) > PAYLOAD_MAX:
        raise Invalid("a payload of %d bytes is longer than %d" % (len(body), PAYLOAD_MAX))
    return _msgpack.pack_text(topic) + _msgpack.pack(nanoseconds(when)) + body
