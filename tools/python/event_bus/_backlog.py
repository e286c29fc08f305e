"""What the thread has taken and the log has not acknowledged: in memory, and beyond that in a file.

The order is: memory first, then the file. While there are lines in the file, whatever comes goes
behind them; they come back into memory a few at a time, once the log takes events. What finds no
room in either is dropped; numbers of dropped events are skipped, in their place (docs/protocol.md,
"Gaps").
"""

from typing import Any, Dict, List, Optional

from daybook import _msgpack
from daybook._outbox import Outbox, Result
from daybook.errors import DaybookError

from . import _plain
from ._spill import Line, Spill

BATCH_EVENTS = 512      # a frame is encoded at one go, which takes some 0.3 ms
RELOAD_EVENTS = 512     # of the file that are in memory at once, at most
RELOAD_STEP = 8
EVENT = True            # the tag of what counts as an event; a `_gap` event has none


class Backlog:
    """Events of one producer. `max_events`, `max_bytes`: of memory, half of which is used before
    the file is."""

    def __init__(self, producer: str, spill: Optional[Spill], max_events: int, max_bytes: int):
        self.outbox = Outbox(producer, batch_events=BATCH_EVENTS, retry_no_space=True)
        self.spill = spill
        self.spilled = 0      # events that went into the file
        self.spill_full = 0   # events that were dropped because it was full
        self.last_error = ""
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._untold: Dict[str, int] = {}  # gaps to be written before the next line of the file

    @property
    def empty(self) -> bool:
        """Is nothing waiting for the log?"""
        return not self.outbox.count and not self.lines_left

    @property
    def lines_left(self) -> int:
        """Lines of the file that are not in memory."""
        return self.spill.lines_left if self.spill else 0

    # ---- In ----

    def put(self, keys: Dict[str, Any]) -> bool:
        """Take an event: topic, time, payload. False: neither memory nor file had room. TooLarge,
        PackError: it is none that the log could take, and the file has none such either."""
        return self.take(body_of(keys))

    def take(self, body: bytes) -> bool:
        """The same, for what body_of() has made."""
        spill = self.spill
        if spill is None or not self._should_spill(spill):
            self.outbox.add(body, EVENT)
            return True
        if self._write_untold(spill) and spill.append(_keys_of(body)):
            self.spilled += 1
            return True
        self.spill_full += 1
        self._tell_later(1, "the spill file was full")
        return False

    def skip(self, count: int, reason: str) -> None:
        """So many events were dropped before they came here."""
        if self.spill is not None and self.spill.active:
            self._tell_later(count, reason)
        else:
            self.outbox.add_gap(count, reason)

    def _should_spill(self, spill: Spill) -> bool:
        return (spill.active or self.outbox.count >= self._max_events // 2
                or self.outbox.bytes >= self._max_bytes // 2)

    def _write_untold(self, spill: Spill) -> bool:
        for reason, count in list(self._untold.items()):
            if not spill.append({"dropped": count, "reason": reason}):
                return False
            del self._untold[reason]
        return True

    def _tell_later(self, count: int, reason: str) -> None:
        self._untold[reason] = self._untold.get(reason, 0) + count

    # ---- From the file back into memory ----

    @property
    def can_reload(self) -> bool:
        """Are there lines, and is there room for them? Most of the memory is for what comes."""
        return (self.lines_left > 0
                and self.outbox.count < min(RELOAD_EVENTS, max(1, self._max_events // 4))
                and self.outbox.bytes < self._max_bytes // 4)

    def reload(self) -> None:
        """A step: some lines into memory; or, when all of them have been acknowledged, the end of
        the file. The outbox must have been welcomed."""
        spill = self.spill
        if spill is None or not spill.active:
            return
        if self.empty:
            spill.clear()
            for reason, count in self._untold.items():
                self.outbox.add_gap(count, reason)
            self._untold.clear()
        elif self.can_reload and (spill.base or self._give_base(spill)):
            for line in spill.read(RELOAD_STEP):
                self._reload_line(line)

    def _give_base(self, spill: Spill) -> bool:
        """The numbers of what is in the file begin here, and a crash is not to change that."""
        return not self.outbox.waiting and spill.set_base(self.outbox.last_number + 1)

    def _reload_line(self, line: Line) -> None:
        if line.number <= self.outbox.last_number:
            return  # an earlier process had sent it, and the log has it
        try:
            if line.dropped:
                self.outbox.restore_gap(line.first, line.dropped, str(line.keys.get("reason", "")))
            else:
                self.outbox.restore(body_of(line.keys), line.number, EVENT)
        except (DaybookError, _plain.TooLarge, KeyError, TypeError, ValueError) as error:
            self.last_error = "a line of the spill file was dropped: %s" % error

    # ---- Out, otherwise than by acks ----

    def move_to(self, other: "Backlog") -> List[Result]:
        """Give what has no number yet to another backlog; what has one is unknown, because it may
        have been sent. Nothing is here afterwards."""
        unknown = []
        for each in self.outbox.pending():
            if each.dropped:
                other.skip(each.dropped, each.reason)
            elif each.number:
                unknown.append(Result(each.tag, each.number, "unknown"))
            else:
                other.take(each.body)
        other.spilled += self.spilled
        self.outbox.abandon()
        return unknown

    def spill_everything(self) -> None:
        """From here on put() uses the file alone."""
        self._max_events = self._max_bytes = 0

    def close(self) -> None:
        """Leave what is in memory to the file, before what is there already."""
        spill = self.spill
        if spill is None:
            return
        if self.empty:
            spill.clear()
        for reason, count in self._untold.items():
            spill.append({"dropped": count, "reason": reason}, force=True)
        self._untold.clear()
        self._save(spill)
        spill.close()

    def _save(self, spill: Spill) -> None:
        lines = []
        for each in self.outbox.pending():
            if spill.base and each.number >= spill.base:
                break  # from here on they came from the file, and are still there
            if each.dropped:
                line: Dict[str, Any] = {"dropped": each.dropped, "reason": each.reason}
            else:
                line = _keys_of(each.body)
                if each.number:
                    line["number"] = each.number
            lines.append(line)
        if not lines:
            return
        first = self.outbox.last_number + 1 if self.outbox.welcomed else 0
        if spill.put_before(lines, int(lines[0].get("number", first))):
            self.outbox.abandon()
        else:
            self.last_error = "the spill file '%s' could not be written" % spill.path


def body_of(keys: Dict[str, Any]) -> bytes:
    """An event's topic, time and payload as the outbox takes them. TooLarge, PackError."""
    try:
        payload = _msgpack.pack(keys["payload"])
    except _msgpack.PackError:  # a text without UTF-8, an integer of more than 64 bits
        payload = _msgpack.pack(_plain.plain(keys["payload"]))
    if len(payload) > _plain.SIZE_MAX:
        raise _plain.TooLarge("it has more than %d bytes" % _plain.SIZE_MAX)
    return _msgpack.pack_text(keys["topic"]) + _msgpack.pack(keys["time"]) + payload


def _keys_of(body: bytes) -> Dict[str, Any]:
    topic, at = _msgpack.unpack_from(body, 0)
    when, at = _msgpack.unpack_from(body, at)
    return {"topic": topic, "time": when, "payload": _msgpack.unpack_from(body, at)[0]}
