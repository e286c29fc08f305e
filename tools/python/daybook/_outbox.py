"""What a producer has taken and the log has not acknowledged: no sockets, no threads.

Events wait until they are numbered and put into a frame; frames are in flight until their ack has
come. Whoever owns the socket writes unsent() to it, says note_sent(), and gives every message that
comes to receive(), which returns the results. After a lost connection welcome() makes everything
unsent again, in the same frames with the same numbers (docs/protocol.md, "Exactly once").

Numbers are given when a frame is made, so that one can gather events before the first welcome says
where they begin. Nothing here is safe against other threads: the owner sees to that.
"""

from collections import deque
from typing import Any, Deque, Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

from . import _msgpack, _wire
from ._event import NUMBER_MAX
from .errors import Invalid, ProtocolError, Replaced

BATCH_EVENTS = 512
BATCH_BYTES = 128 * 1024
OVERHEAD_BYTES = 32  # of an event in the outbox and in a frame, about: for the accounts
REASON_MAX = 200
_EXPECTING_MAX = 1 << 20


class Result(NamedTuple):
    """What became of one event. `code`: "stored", "refused", "no_space", "conflict", "unknown"."""

    tag: Any
    number: int  # 0 without a producer's name
    code: str
    seq: int = 0  # when stored now; 0 for a duplicate, and with acks of "none"
    duplicate: bool = False
    reason: str = ""


class Pending(NamedTuple):
    """An event that has no result yet; or, with a count in `dropped`, numbers to be skipped."""

    body: bytes
    number: int  # 0: none yet; of a gap: its first
    tag: Any
    dropped: int = 0
    reason: str = ""


class _Entry:
    __slots__ = ("body", "number", "tag")

    def __init__(self, body: bytes, number: int, tag: Any):
        self.body = body
        self.number = number  # 0: the next one, once it is put into a frame
        self.tag = tag


class _Gap:
    """Numbers that are skipped, and the event that tells of them."""

    __slots__ = ("first", "count", "reason", "tag")

    def __init__(self, first: int, count: int, reason: str, tag: Any):
        self.first = first  # 0: the next one
        self.count = count
        self.reason = reason
        self.tag = tag


class _Frame:
    __slots__ = ("id", "data", "entries", "expectation", "sent", "bytes")

    def __init__(self, identity: int, entries: List[_Entry], expectation: Dict[str, Any]):
        self.id = identity
        self.data = b""
        self.expectation = expectation
        self.entries = entries
        self.sent = 0
        self.bytes = sum(len(e.body) + OVERHEAD_BYTES for e in entries)


class Outbox:
    """`retry_no_space`: events that were refused for a full disk stay, and are sent again under
    their numbers, which is exact: the daemon reads nothing further of that connection."""

    def __init__(self, producer: Optional[str] = None, ack: str = "durable",
                 batch_events: int = BATCH_EVENTS, batch_bytes: int = BATCH_BYTES,
                 resend_anonymous: bool = False, retry_no_space: bool = False):
        self.producer = producer
        self.bytes = 0   # of all that has no result yet, about
        self.count = 0   # events that have no result yet
        self.last_number = 0   # the last that was given out, or that the daemon told
        self.last_sequence = 0
        self.stored_ever = 0
        self._ack = ack
        self._batch_events = min(batch_events, _wire.EVENTS_MAX)
        self._batch_bytes = batch_bytes
        self._resend_anonymous = resend_anonymous
        self._retry_no_space = retry_no_space
        self._waiting: Deque[Union[_Entry, _Gap]] = deque()
        self._flight: Deque[_Frame] = deque()
        self._unsent: Deque[_Frame] = deque()
        self._next_id = 1
        self._number_sent = 0  # the highest that left in a whole frame, or that a welcome told
        self._flight_bytes = 0
        self._open = False     # has a welcome come, and no refusal for a full disk since?
        self.welcomed = False  # ever: from then on numbers can be given
        self._explicit = 0     # the highest number that the caller gave
        self._automatic = False  # have we given numbers?

    # ---- What the caller gives ----

    def add(self, body: bytes, tag: Any = None, number: int = 0) -> None:
        """Take an event, packed by pack_event. `number`: the caller's own count; else the next."""
        self._check_number(number)
        self._waiting.append(_Entry(body, number, tag))
        self.bytes += len(body) + OVERHEAD_BYTES
        self.count += 1

    def add_gap(self, count: int, reason: str, first: int = 0, tag: Any = None) -> None:
        """`count` numbers will never be sent: skip them (from `first`; else the next ones) and
        tell the log so."""
        if not self.producer:
            raise Invalid("a gap can only be reported by a client with a producer's name")
        if count < 1:
            raise Invalid("a gap has at least one number, not %d" % count)
        self._check_number(first)
        self._explicit = first + count if first else 0
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, _Gap) and not first and last.reason == reason[:REASON_MAX] \
                and tag is None and last.tag is None:
            last.count += count  # what goes on being dropped is one gap
            return
        self._waiting.append(_Gap(first, count, reason[:REASON_MAX], tag))
        self.count += 1

    def expect(self, bodies: Sequence[bytes], tag: Any, expectation: Dict[str, Any]) -> None:
        """Take events that are stored all together, if the log is as expected, or not at all. They
        are alone: nothing else is here, and nothing is sent behind them before their ack."""
        assert not self.count and self.welcomed
        size = sum(len(body) + OVERHEAD_BYTES for body in bodies)
        if not 1 <= len(bodies) <= _wire.EVENTS_MAX or size > _EXPECTING_MAX:
            raise Invalid("%d events of %d bytes do not fit into one frame: it takes 1 to %d, of "
                          "%d bytes in all"
                          % (len(bodies), size, _wire.EVENTS_MAX, _EXPECTING_MAX))
        self._check_number(0)
        self.bytes += size
        self.count += len(bodies)
        self._put_in_flight([self._numbered(_Entry(body, 0, tag)) for body in bodies],
                            expectation=expectation)

    def restore(self, body: bytes, number: int, tag: Any = None) -> None:
        """Take an event that has its number already, from an earlier life: above all others."""
        self._waiting.append(_Entry(body, number, tag))
        self.bytes += len(body) + OVERHEAD_BYTES
        self.count += 1

    def restore_gap(self, first: int, count: int, reason: str) -> None:
        """The same for numbers that are skipped."""
        self._waiting.append(_Gap(first, count, reason, None))
        self.count += 1

    def pending(self) -> Iterator[Pending]:
        """What has no result yet, in order."""
        for each in self._flight:
            yield from (Pending(e.body, e.number, e.tag) for e in each.entries)
        for waiting in self._waiting:
            if isinstance(waiting, _Gap):
                yield Pending(b"", waiting.first, waiting.tag, waiting.count, waiting.reason)
            else:
                yield Pending(waiting.body, waiting.number, waiting.tag)

    def _check_number(self, number: int) -> None:
        if not number:
            if self._explicit:
                raise Invalid("events before this one had numbers from the caller, and it has none")
            self._automatic = True
            return
        if not self.producer:
            raise Invalid("numbers need a producer's name")
        if self._automatic:
            raise Invalid("number %d: events before it were numbered by the library" % number)
        if not self._explicit < number <= NUMBER_MAX:
            raise Invalid("number %d does not come after %d, the last one given; they must "
                          "increase" % (number, self._explicit))
        self._explicit = number

    # ---- What the socket takes ----

    def unsent(self, flight_max: int = 1 << 30) -> Optional[memoryview]:
        """The next bytes to send, of a frame that is made now if need be; None: nothing to send,
        or so many bytes are in flight already."""
        if not self._open:
            return None
        if not self._unsent:
            alone = self._flight and self._flight[0].expectation
            if not self._waiting or self._flight_bytes >= flight_max or alone:
                return None
            self._make_frame()
        front = self._unsent[0]
        return memoryview(front.data)[front.sent:]

    def note_sent(self, size: int) -> None:
        """The socket has taken so many of the bytes that unsent() gave."""
        front = self._unsent[0]
        front.sent += size
        if front.sent >= len(front.data):
            self._unsent.popleft()
            if self.producer and front.entries:
                self._number_sent = max(self._number_sent, front.entries[-1].number)

    @property
    def waiting(self) -> int:
        """Events that are in no frame yet."""
        return len(self._waiting)

    @property
    def in_flight(self) -> bool:
        """Is an ack due?"""
        return bool(self._flight)

    def _make_frame(self) -> None:
        entries: List[_Entry] = []
        size = 0
        while self._waiting and len(entries) < self._batch_events:
            entry = self._waiting[0]
            length = len(entry.body) if isinstance(entry, _Entry) else REASON_MAX
            if entries and size + length > self._batch_bytes:
                break
            self._waiting.popleft()
            entries.append(self._numbered(entry))
            size += length + OVERHEAD_BYTES
        self._put_in_flight(entries)

    def _put_in_flight(self, entries: List[_Entry], front: bool = False,
                       expectation: Optional[Dict[str, Any]] = None) -> None:
        made = _Frame(self._next_id, entries, expectation or {})
        self._next_id += 1
        made.data = self._encode(made)
        self._flight_bytes += made.bytes
        (self._flight.appendleft if front else self._flight.append)(made)
        (self._unsent.appendleft if front else self._unsent.append)(made)

    def _numbered(self, waiting: Union[_Entry, _Gap]) -> _Entry:
        entry = self._gap_event(waiting) if isinstance(waiting, _Gap) else waiting
        if self.producer:
            if not entry.number:
                entry.number = self.last_number + 1
            self.last_number = max(self.last_number, entry.number)
        return entry

    def _gap_event(self, gap: _Gap) -> _Entry:
        """Skips the numbers; the event that tells of them has the next one."""
        first = gap.first or self.last_number + 1
        self.last_number = max(self.last_number, first + gap.count - 1)
        payload = {"producer": self.producer, "first": first, "last": first + gap.count - 1,
                   "count": gap.count, "cause": "dropped", "reason": gap.reason}
        body = _msgpack.pack("_gap") + _msgpack.pack(None) + _msgpack.pack(payload)
        self.bytes += len(body) + OVERHEAD_BYTES
        return _Entry(body, 0, gap.tag)

    def _encode(self, made: _Frame) -> bytes:
        parts = [b"\x94\xa3pub" if made.expectation else b"\x93\xa3pub",
                 _msgpack.pack_integer(made.id), _msgpack.pack_array_head(len(made.entries))]
        for entry in made.entries:
            parts.append(b"\x94" if self.producer else b"\x93")
            parts.append(entry.body)
            if self.producer:
                parts.append(_msgpack.pack_integer(entry.number))
        if made.expectation:
            parts.append(_msgpack.pack(made.expectation))
        data = _wire.frame_of(b"".join(parts))
        if self._ack == "none":
            data += _wire.frame(["ping", made.id])  # its pong says that the frame has been taken
        return data

    # ---- What comes ----

    def welcome(self, keys: Dict[str, Any]) -> List[Result]:
        """A new connection is there: everything without an ack is unsent again. Results are those
        of events that cannot be sent again, because nobody numbered them. Replaced: somebody else
        publishes under our name."""
        told = keys.get("last_number", 0)
        if self.producer and self.welcomed and told > self._number_sent:
            raise Replaced("the log has number %d of producer '%s', but we sent no higher one than "
                           "%d: another program publishes under this name"
                           % (told, self.producer, self._number_sent))
        if not self.welcomed:
            self.last_number = max(self.last_number, told)
            self._number_sent = told
        self.welcomed = self._open = True
        # Sent again, an event without a number could be in the way of its own expectation.
        again = self._resend_anonymous and not (self._flight and self._flight[0].expectation)
        lost = [] if self.producer or again else list(self._abandon_sent())
        for each in self._flight:
            each.sent = 0
        self._unsent = deque(self._flight)
        return lost

    def _abandon_sent(self) -> Iterator[Result]:
        while self._flight and self._flight[0].sent > 0:
            for entry in self._take_first().entries:
                yield Result(entry.tag, entry.number, "unknown",
                             reason="the connection was lost before its ack")

    def abandon(self) -> List[Result]:
        """Give everything up: what was sent is unknown, and so is, to the caller, the rest."""
        results = []
        while self._flight:
            results += [Result(e.tag, e.number, "unknown") for e in self._take_first().entries]
        self._unsent.clear()
        while self._waiting:
            entry = self._waiting.popleft()
            self.count -= 1
            self.bytes -= len(entry.body) + OVERHEAD_BYTES if isinstance(entry, _Entry) else 0
            results.append(Result(entry.tag, 0, "unknown"))
        return results

    def receive(self, message: List[Any]) -> List[Result]:
        """The results that an ack or a pong tells. ProtocolError for what is neither, or not ours;
        error frames are the owner's to look at."""
        if message[0] == "ack" and len(message) >= 7:
            return self._acknowledged(message)
        if message[0] == "pong" and len(message) >= 2:
            if self._ack == "none" and self._flight and self._flight[0].id == message[1]:
                return [Result(e.tag, e.number, "stored") for e in self._take_first().entries]
            return []
        raise ProtocolError("the daemon sent '%s' where an ack was due" % message[0])

    def _acknowledged(self, message: List[Any]) -> List[Result]:
        _, identity, stored, first, _last, duplicates, refused = message[:7]
        if not self._flight or self._flight[0].id != identity:
            raise ProtocolError("the daemon sent an ack for frame %r, which is not the next one "
                                "due" % identity)
        acked = self._flight[0]
        if acked.expectation and refused and self.producer:
            self.last_number = acked.entries[0].number - 1  # refused together, they used none up
        if stored + duplicates + len(refused) != len(acked.entries):
            raise ProtocolError("the daemon's ack of %d events has results for %d"
                                % (len(acked.entries), stored + duplicates + len(refused)))
        if self._ack == "none":
            return self._refusals_only(acked, refused)
        self._take_first()
        self.stored_ever += stored + duplicates
        self.last_sequence = max(self.last_sequence, _last)
        return self._results(acked, first, duplicates, {r[0]: r for r in refused})

    def _results(self, acked: _Frame, first: int, duplicates: int,
                 refused: Dict[int, List[Any]]) -> List[Result]:
        results = []
        again = []
        for i, entry in enumerate(acked.entries):
            if i in refused:
                code, reason = refused[i][1:3]
                if code == "no_space" and self._retry_no_space:
                    again.append(entry)
                    continue
                results.append(Result(entry.tag, entry.number,
                                      code if code in ("no_space", "conflict") else "refused",
                                      reason=reason))
            elif duplicates > 0:
                duplicates -= 1
                results.append(Result(entry.tag, entry.number, "stored", 0, True))
            else:
                results.append(Result(entry.tag, entry.number, "stored", first))
                first += 1
        if again:
            self._keep(again)
        return results

    def _keep(self, entries: List[_Entry]) -> None:
        """Refused for a full disk: they stay the first in flight, to be sent on a new connection;
        this one is about to be closed by the daemon."""
        self.count += len(entries)
        self.bytes += sum(len(e.body) + OVERHEAD_BYTES for e in entries)
        self._put_in_flight(entries, front=True)
        self._open = False

    def _refusals_only(self, acked: _Frame, refused: List[List[Any]]) -> List[Result]:
        indexes = {r[0]: r for r in refused}
        results = [Result(e.tag, e.number,
                          "conflict" if indexes[i][1] == "conflict" else "refused",
                          reason=indexes[i][2])
                   for i, e in enumerate(acked.entries) if i in indexes]
        acked.entries = [e for i, e in enumerate(acked.entries) if i not in indexes]
        self.count -= len(results)
        return results

    def _take_first(self) -> _Frame:
        taken = self._flight.popleft()
        if self._unsent and self._unsent[0] is taken:
            self._unsent.popleft()
        self._flight_bytes -= taken.bytes
        self.count -= len(taken.entries)
        self.bytes -= taken.bytes
        return taken
