"""What a subscriber has asked for and been given: no sockets, no threads.

Whoever owns the socket sends request() behind hello, gives every message that comes to receive(),
takes items with take(), and sends outgoing() whenever there is some. After a lost connection begin
again with request(): it asks for what comes behind the last event that arrived, and what a cursor
makes the daemon send again is left out here, so that the one who takes sees each event once, in
order. (In a group another member may have got it meanwhile: there it is dropped, see `connected`.)
"""

from collections import deque
from typing import Any, Deque, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Union

from . import _wire
from ._event import Event, Time, nanoseconds
from .errors import Damaged, Foreign, Invalid, Lost, ProtocolError

CREDIT = 8192
SHARED_CREDIT = 64
NEVER_GIVEN = "never given"  # numbers that no event ever had: nothing is lost


class CaughtUp(NamedTuple):
    """Everything that was durable has been given; from here on events come as they are stored."""

    last: int


Item = Union[Event, Lost, CaughtUp]


def request_keys(topics: Optional[Union[str, Sequence[str]]], where: Optional[str],
                 after: Optional[int], since: Optional[Time], start: Optional[str],
                 cursor: Optional[str], shared: bool, ack_timeout: Optional[float],
                 tries: Optional[int]) -> Dict[str, Any]:
    """The map of a subscribe frame. Invalid: they do not go together."""
    if sum(each is not None for each in (after, since, start)) > 1:
        raise Invalid("give one of after, since and start, not several")
    if start not in (None, "earliest", "latest"):
        raise Invalid("start is 'earliest' or 'latest', not %r" % (start,))
    if shared and not cursor:
        raise Invalid("a group needs the name of its cursor")
    if not shared and (ack_timeout is not None or tries is not None):
        raise Invalid("ack_timeout and tries are for groups: shared=True")
    if isinstance(topics, str):
        topics = [topics]
    keys = {"topics": list(topics) if topics is not None else None, "where": where,
            "after": after, "since": nanoseconds(since), "from": start, "cursor": cursor,
            "shared": True if shared else None,
            "ack_timeout": None if ack_timeout is None else round(ack_timeout * 1e9),
            "tries": tries}
    return {key: value for key, value in keys.items() if value is not None}


class Subscription:
    """`credit`: how many events may be on their way or waiting here (CREDIT). In a group events
    count until they are settled (SHARED_CREDIT)."""

    def __init__(self, keys: Dict[str, Any], credit: Optional[int]):
        self.shared = bool(keys.get("shared"))
        self.cursor = keys.get("cursor")
        self.position = 0          # every event up to here has arrived, or does not match
        self.taken = 0             # the last event that was taken
        self.durable = 0           # the log's last sequence, when we subscribed
        self.committed = 0
        self.items: Deque[Item] = deque()
        self.subscribed = False    # on this connection
        self.settled: Dict[int, int] = {}  # answers that somebody waits for, by number of request
        self._keys = keys
        self._credit = credit or (SHARED_CREDIT if self.shared else CREDIT)
        self._free = 0             # credit that was used up and may be given again
        self._events = 0           # how many of the items are events
        self._losses = 0           # ... and how many are Lost
        self._had = 0              # what was taken before this connection: sent again, it is left out
        self._from = 0             # the daemon sends what is behind this, on this connection
        self._began = False
        self._log: Any = None
        self._highest = 0          # the highest sequence of an event that came
        self._here = 0             # the last sequence that was looked at on this connection
        self._wanted = 0           # to be committed
        self._asked = 0            # committed on this connection, perhaps without an answer yet
        self._settling = 0         # the number of the last accept or release
        self._awaited: Set[int] = set()    # requests whose answer somebody waits for
        self._unsettled: Dict[int, None] = {}
        self._out: List[bytes] = []

    def request(self) -> bytes:
        """The subscribe frame for a new connection."""
        keys = dict(self._keys)
        keys["credit"] = self._credit
        if self._began and not self.shared:
            for key in ("since", "from"):
                keys.pop(key, None)
            # With a cursor the daemon begins behind what is committed. "after" is for one that has
            # been removed meanwhile: what was given and not committed may come to another program.
            keys["after"] = self.committed if self.cursor else self.position
            if not self.cursor:
                keys["credit"] = max(0, self._credit - self._events)
        if self.shared:
            self._drop_items()      # these go to whichever member is there
            self._unsettled.clear()
            self._awaited.clear()
            self.settled.clear()
        self._had = self.taken
        self._free = self._here = self._asked = 0
        self._out.clear()
        self.subscribed = False
        return _wire.frame(["subscribe", keys])

    def _drop_items(self) -> None:
        self.items.clear()
        self._events = self._losses = 0

    # ---- What comes ----

    def welcome(self, keys: Dict[str, Any]) -> None:
        """A new connection is there. Foreign, Damaged: it is not to the log that we know."""
        log, durable = keys.get("log"), keys.get("durable", 0)
        if self._began and log != self._log:
            raise Foreign("there is another log behind the socket now: %s, and the subscription is "
                          "to %s; subscribe anew" % (log, self._log))
        if durable < self._highest:
            raise Damaged("the log ends at %d now, and event %d was given before: it has lost "
                          "events, or is an older copy; subscribe anew" % (durable, self._highest))
        self._log = log

    def receive(self, message: List[Any]) -> None:
        """Take a message. Error frames are raised, Unreachable where one should connect again."""
        kind = message[0]
        if kind == "events":
            self._take_events(message[1], message[2])
        elif kind == "caught_up":
            self._look_to(message[1])
            self.items.append(CaughtUp(message[1]))
        elif kind == "lost":
            self._take_lost(*message[1:5])
        elif kind == "committed":
            self.committed = max(self.committed, message[1])
        elif kind == "settled":
            if message[1] in self._awaited:
                self._awaited.discard(message[1])
                self.settled[message[1]] = message[2]
        elif kind == "subscribed":
            self._begin(message[1])
        elif kind == "error":
            raise _wire.error_of(message)
        elif kind != "pong":
            raise ProtocolError("the daemon sent '%s' to a subscriber" % kind)

    def _begin(self, keys: Dict[str, Any]) -> None:
        self.subscribed = True
        self.durable = keys.get("durable", 0)
        after = keys["after"]
        self._here = self._from = after
        own_cursor = bool(self.cursor) and not self.shared
        if not self._began:
            self._began = True
            self.position = after
            self.committed = after if own_cursor else 0
        elif own_cursor and not self.committed <= after <= self.position:
            # Somebody has moved the cursor meanwhile, and means it.
            self.position = self.committed = after
            self._wanted = self.taken = self._had = 0
            self._drop_items()
        else:
            self.committed = max(self.committed, after if own_cursor else 0)

    def _look_to(self, last: int) -> None:
        self._here = max(self._here, last)
        self.position = max(self.position, last)
        self._commit_wanted()

    def _take_events(self, last: int, events: List[List[Any]]) -> None:
        again = 0
        for seq, time, topic, payload, *tries in events:
            self._highest = max(self._highest, seq)
            if self.shared:
                self._free += seq in self._unsettled  # it was ours before, for too long
                self._unsettled[seq] = None
            elif seq <= self.position:
                # It was here before the connection was lost. If it still is, the credit that it has
                # used now is given when it is taken; else at once, because nobody takes it again.
                again += seq <= self._had
                continue
            self._events += 1
            self.items.append(Event(seq, time, topic, payload, tries[0] if tries else 0))
        self._look_to(last)
        if again:
            self._out.append(_wire.frame(["credit", again]))
        self._give_credit()

    def _take_lost(self, first: int, last: int, cause: str, text: str = "") -> None:
        known = self.position
        if cause != NEVER_GIVEN and (self.shared or last > known):
            first = first if self.shared else max(first, known + 1)
            self.items.append(Lost(first, last, cause, text))
            self._losses += 1
        self._look_to(last)

    # ---- What the consumer does ----

    def take(self) -> Optional[Item]:
        """The next item; None: nothing is here."""
        if not self.items:
            return None
        item = self.items.popleft()
        if isinstance(item, Event):
            self._events -= 1
            self.taken = item.seq
            if not self.shared and (item.seq > self._from or not self.cursor):
                self._free += 1
                self._give_credit()
        elif isinstance(item, Lost):
            self._losses -= 1
            if not self.shared:
                self.taken = max(self.taken, item.last)
        return item

    def commit(self, seq: Optional[int]) -> int:
        """Everything up to `seq`, or all that was taken, is done. Returns what to wait for."""
        if not self.cursor or self.shared:
            raise Invalid("commit is for a subscriber with a cursor of its own; members of a group "
                          "accept" if self.shared else "there is no cursor to commit")
        if seq is None:
            # Behind the last event taken nothing has matched, as long as nothing else is here: no
            # event, and no word of lost ones that the caller has not heard yet.
            seq = self.taken if self._events or self._losses else self.position
        if seq > self.position:
            raise Invalid("event %d has not come yet, so it cannot be committed" % seq)
        self._wanted = max(self._wanted, seq)
        self._commit_wanted()
        return seq

    def _commit_wanted(self) -> None:
        """A daemon takes commits of what it has sent on this connection."""
        if self._asked < self._wanted <= self._here and self._wanted > self.committed:
            self._asked = self._wanted
            self._out.append(_wire.frame(["commit", self._wanted]))

    @property
    def commit_is_due(self) -> bool:
        """Is there a commit without an answer?"""
        return self._wanted > self.committed

    def settle(self, verb: str, seqs: Iterable[int], wait: bool) -> int:
        """"accept" or "release" these. Returns the number of the request; with `wait` its answer
        will be in `settled`, which the caller takes from there or gives up by forget()."""
        if not self.shared:
            raise Invalid("%s is for members of a group; commit instead" % verb)
        numbers = sorted(seqs)
        ranges: List[List[int]] = []
        for seq in numbers:
            if self._unsettled.pop(seq, self) is None:
                self._free += 1
            if ranges and ranges[-1][1] == seq - 1:
                ranges[-1][1] = seq
            else:
                ranges.append([seq, seq])
        self._settling += 1
        if wait:
            self._awaited.add(self._settling)
        self._out.append(_wire.frame([verb, self._settling, ranges]))
        self._give_credit()
        return self._settling

    def forget(self, number: int) -> None:
        """Nobody waits for the answer to this request any more."""
        self._awaited.discard(number)

    def _give_credit(self) -> None:
        if self._free and 2 * self._free >= self._credit:
            self._out.append(_wire.frame(["credit", self._free]))
            self._free = 0

    def outgoing(self) -> bytes:
        """What is to be sent now, once `subscribed`; b"": nothing."""
        if not self._out or not self.subscribed:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data


def sequences(events: Iterable[Any]) -> List[int]:
    """Sequences of events, which may be given as such."""
    return [event.seq if isinstance(event, Event) else int(event) for event in events]
