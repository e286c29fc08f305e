"""Where events wait for the thread: the caller's side of the bridge.

take() is what runs in the user's code: a bounded look at the data, a snapshot (marshal: one call in
C, so that no other thread can change the data meanwhile), an append to a deque. No lock, no system
call but the wake-up of a sleeping thread, nothing that waits: so it may be called from any thread,
from signal handlers and destructors, inside asyncio.

Threads that call at the same time may each see the last free place, so the bounds are exceeded by
some events at most. Counts are exact.
"""

import _thread
import itertools
import marshal
from collections import deque
from typing import Any, Callable, Deque, Dict, Optional

from . import _plain

REASONS = ("the queue was full", "the event was too large", "the event could not be read",
           "the bridge was closed")
FULL, LARGE, BROKEN, CLOSED = range(4)

_marshal = marshal.dumps
_look = _plain.look


class Count:
    """A counter that any thread may increase without a lock: next() of itertools.count is one step
    of the interpreter."""

    __slots__ = ("up", "_counter")

    def __init__(self) -> None:
        self._counter = itertools.count()
        self.up: Callable[[], int] = self._counter.__next__

    def value(self) -> int:
        """How often up() was called."""
        return int(repr(self._counter)[6:-1])


class Inbox:
    """A bounded queue of snapshots, and the counts of what it had no room for."""

    def __init__(self, max_events: int, max_bytes: int):
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.closed = False       # nothing is taken any more
        self.over = False         # the thread has ended: nobody fetches from here
        self.heir: Optional["Inbox"] = None  # of another thread, which goes on where ours ends
        self.inherited: Deque[Any] = deque()  # backlogs of threads whose heir we are
        self.asleep = False       # the thread waits for wake()
        self.queue: Deque[bytes] = deque()
        self.held_events = 0      # what the thread has in memory; it alone writes these two
        self.held_bytes = 0
        self.got = 0              # events that have left the queue; the thread's, too
        self.last_error = ""
        self.drops = tuple(Count() for _ in REASONS)
        self._put_bytes = 0       # into the queue; callers race here, the thread puts it right
        self._got_bytes = 0
        self._told = [0] * len(REASONS)
        self._wake = _thread.allocate_lock()
        self._wake.acquire()

    # ---- Callers ----

    def take(self, parts: Any) -> bool:
        """Queue an event: (event_type, timestamp, given, source, data, correlation_id, user_id,
        session_id). False: it was dropped, and counted."""
        queue = self.queue
        if (len(queue) + self.held_events >= self.max_events
                or self._put_bytes - self._got_bytes + self.held_bytes >= self.max_bytes):
            self.drops[FULL].up()
            return False
        snapshot = self._snapshot(parts)
        if snapshot is None:
            return False
        if self.closed:
            return self._put_late(snapshot)
        self._put(snapshot)
        if self.over:  # the thread has ended since we looked, perhaps without seeing this event
            self.bequeath()
        return True

    def _put(self, snapshot: bytes) -> None:
        self.queue.append(snapshot)
        self._put_bytes += len(snapshot)
        if self.asleep:
            self.wake()

    def _put_late(self, snapshot: bytes) -> bool:
        """An event for which we are closed is the heir's, and dropped where there is none."""
        inbox = self
        while inbox.closed and inbox.heir:
            inbox = inbox.heir
        if inbox.closed:
            inbox.drops[CLOSED].up()
            return False
        inbox._put(snapshot)  # pylint: disable=protected-access
        if inbox.over:
            inbox.bequeath()
        return True

    def bequeath(self) -> None:
        """Once over: what is still in the queue comes first in the heir's; without one it stays.
        Any thread may call it, and several at once."""
        heir = self.heir
        if heir is None:
            return
        left = []
        while True:
            try:
                left.append(self.queue.pop())
            except IndexError:
                break
        if left:
            heir.queue.extendleft(left)
            heir._put_bytes += sum(map(len, left))  # pylint: disable=protected-access
            self._put_bytes = self._got_bytes
            if heir.asleep:
                heir.wake()
            if heir.over:
                heir.bequeath()

    def _snapshot(self, parts: Any) -> Optional[bytes]:
        try:
            kind = _look(parts)
            if kind == _plain.PLAIN:
                return _marshal(parts, 2)
        except Exception:  # pylint: disable=broad-except
            kind = _plain.OTHER  # another thread has changed the data while we looked
        try:
            if kind == _plain.LARGE:
                raise _plain.TooLarge
            return _marshal(_plain.plain(parts), 2)
        except _plain.TooLarge:
            self.drops[LARGE].up()
        except Exception as error:  # pylint: disable=broad-except
            self.drops[BROKEN].up()
            self.last_error = "an event could not be read: %s" % type(error).__name__
        return None

    def wake(self) -> None:
        """The thread sleeps no longer."""
        self.asleep = False
        try:
            self._wake.release()
        except RuntimeError:
            pass  # somebody else has woken it

    # ---- The thread ----

    def sleep(self, seconds: float) -> None:
        """Until an event comes, or wake()."""
        self.asleep = True
        if not self.queue and not self.closed and not self.inherited:
            self._wake.acquire(True, seconds)
        self.asleep = False

    def get(self) -> Any:
        """The parts of the next event. For its place in pending() it counts as held from before it
        leaves the queue."""
        self.held_events += 1
        snapshot = self.queue.popleft()
        self._got_bytes += len(snapshot)
        self.got += 1
        return marshal.loads(snapshot)

    def hold(self, events: int, size: int) -> None:
        """So much is in memory behind the queue."""
        self.held_events = events
        self.held_bytes = size
        if not self.queue:
            self._put_bytes = self._got_bytes  # whatever increments were lost between threads

    def new_drops(self) -> Dict[str, int]:
        """What was dropped since the last call, by reason: to be told to the log. What came after
        the end is counted and not told."""
        new = {}
        for i, count in enumerate(self.drops):
            more = count.value() - self._told[i]
            if more > 0:
                self._told[i] += more
                if i != CLOSED:
                    self.held_events += 1
                    new[REASONS[i]] = more
        return new

    # ---- Both ----

    @property
    def waiting_bytes(self) -> int:
        """Of everything in memory, about."""
        return self.held_bytes + max(0, self._put_bytes - self._got_bytes)

    @property
    def untold(self) -> int:
        """Drops that the thread has not seen yet."""
        return sum(count.value() for count in self.drops) - sum(self._told)

    def dropped(self) -> Dict[str, int]:
        """How many events were dropped, by reason."""
        return {reason: count.value() for reason, count in zip(REASONS, self.drops)
                if count.value()}
