"""The thread that brings events from the user's program to the log.

The caller's side, take(), is what runs in the user's code: a bounded look at the data, a snapshot
(marshal: one call in C, so that no other thread can change the data meanwhile), an append to a
deque. No lock, no system call but the wake-up of a sleeping thread, nothing that waits: so it may
be called from any thread, from signal handlers and destructors, inside asyncio.

Everything else is the thread's: it alone has the outbox, the socket and the spill file. It holds
the interpreter's lock for some 100 us at a time and then sleeps, because a thread that wants that
lock has to wait for 5 ms otherwise. It never waits for the daemon for more than a few ms.

An event is counted once: taken, then one of stored, refused, dropped, unknown - or still waiting.
What is dropped leaves a gap in the numbers of the producer, and a `_gap` event that says so.
"""

import _thread
import itertools
import logging
import marshal
import select
import socket
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional

from daybook import _msgpack, _wire
from daybook._event import check_topic
from daybook._outbox import Outbox, Result
from daybook.errors import DaybookError, Replaced, Taken, Unreachable
from daybook.producer import Pauses

from . import _plain
from ._names import Name, claim
from ._spill import Line, Spill

# Seconds of work between two rests, by what waits in the queue: who gets the interpreter's lock
# every 5 ms only, beside a program that never sleeps, has to do more with it.
BURSTS = ((500, 100e-6), (5000, 500e-6), (1 << 60, 2.5e-3))
BURST = BURSTS[0][1]
REST = 20e-6            # the kernel makes some 70 us of it
TICKS = (0.001, 0.02)   # between looks at the queue while something is awaited: shortest, longest
IDLE = 1.0              # a look at the socket while nothing happens
BATCH_EVENTS = 64       # small frames: each is encoded at one go
HOPELESS = 60.0         # before the next attempt, after an answer that another attempt won't change
QUIET = 60.0            # between two warnings
EVENT = True            # the tag of what counts as an event; a `_gap` event has none
CLIENT = "event_bus-python/0.1.0"
RELOAD_EVENTS = 512     # of the spill file that are in memory at once
FLIGHT_MAX = 1 << 20
REASONS = ("the queue was full", "the event was too large", "the event could not be read",
           "the bridge was closed")
FULL, LARGE, BROKEN, CLOSED = range(4)

_log = logging.getLogger("event_bus")
_marshal = marshal.dumps
_look = _plain.look


class Config(NamedTuple):
    """What enable() was given."""

    path: str                  # of the daemon's socket
    producer: Optional[str]
    source: str
    max_events: int
    max_bytes: int
    spill: Optional[str]       # a directory for spill files
    spill_bytes: int
    exit_timeout: float


class _Count:
    """A counter that any thread may increase without a lock: next() of itertools.count is one step
    of the interpreter."""

    __slots__ = ("up", "_counter")

    def __init__(self) -> None:
        self._counter = itertools.count()
        self.up: Callable[[], int] = self._counter.__next__

    def value(self) -> int:
        """How often up() was called."""
        return int(repr(self._counter)[6:-1])


class Courier:
    """One log's queue and thread. Opening it costs no I/O; start() begins the thread."""

    def __init__(self, config: Config):
        self.config = config
        self.closed = False
        self.running = False
        self.state = "starting"   # connecting, connected, stopped, or why it can never connect
        self.last_error = ""
        self.name: Optional[Name] = None
        self.queue: Deque[bytes] = deque()
        self.asleep = False
        self.held_events = 0      # by the thread: in the outbox
        self.held_bytes = 0
        self.put_bytes = 0        # into the queue; callers race here, the thread puts it right
        self.got_bytes = 0        # out of the queue
        self.fetched = 0          # events out of the queue
        self.stored = self.refused = self.unknown = self.spilled = 0
        self.connections = 0
        self.drops = tuple(_Count() for _ in REASONS)
        self._drops_told = [0] * len(REASONS)
        self.spill_full = 0       # events dropped because the spill file was full
        self._untold: Dict[str, int] = {}  # gaps to be written before the next line of the file
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._done = _thread.allocate_lock()
        self._deadline = 0.0      # of closing
        self._socket: Optional[socket.socket] = None
        self._welcomed = False
        self._splitter = _wire.Splitter()
        self._outbox = Outbox()
        self._spill: Optional[Spill] = None
        self._pauses = Pauses(0.05)
        self._next_attempt = 0.0
        self._tick = TICKS[0]
        self._dropping = False
        self._quiet_until = 0.0
        self._closing = False
        self._max_events = config.max_events
        self._max_bytes = config.max_bytes

    # ---- The caller's side ----

    def take(self, parts: Any) -> bool:
        """Queue an event: (event_type, timestamp, given, source, data, correlation_id, user_id,
        session_id). False: it was dropped, and counted."""
        queue = self.queue
        if (len(queue) + self.held_events >= self._max_events
                or self.put_bytes - self.got_bytes + self.held_bytes >= self._max_bytes):
            self.drops[FULL].up()
            return False
        snapshot = self._snapshot(parts)
        if snapshot is None:
            return False
        if self.closed:
            self.drops[CLOSED].up()
            return False
        queue.append(snapshot)
        self.put_bytes += len(snapshot)
        if self.asleep:
            self.wake()
        return True

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

    def start(self) -> None:
        """Begin the thread. RuntimeError: the system gives none."""
        self._done.acquire()
        try:
            # Not threading.Thread, whose start() takes locks: we may be in a signal handler that
            # has interrupted another start().
            _thread.start_new_thread(self._run, ())
            self.running = True
        except BaseException:
            self._done.release()
            raise

    def waiting(self) -> int:
        """Events that are taken and have no result yet; those in the spill file, too. What is on
        its way from one place to the next may be counted twice, but is never left out."""
        spill = self._spill
        return len(self.queue) + self.held_events + (spill.lines_left if spill else 0)

    def pending(self) -> int:
        """The same, and drops that the log has to be told of."""
        return self.waiting() + sum(count.value() for count in self.drops) - sum(self._drops_told)

    def close(self, timeout: float) -> bool:
        """Let the thread finish what it has, for so many seconds at most, and end. False: events
        are left; they are in the spill file, if there is one, else lost."""
        self._deadline = time.monotonic() + timeout
        self.closed = True
        self.wake()
        if self.running and self._done.acquire(True, timeout + 0.5):
            self._done.release()
            self.running = False
        return not self.waiting()

    def stats(self) -> Dict[str, Any]:
        """Counts, for people and tests."""
        dropped = {reason: count.value() for reason, count in zip(REASONS, self.drops)
                   if count.value()}
        if self.spill_full:
            dropped["the spill file was full"] = self.spill_full
        spill = self._spill
        return {
            "state": self.state, "producer": self.name.text if self.name else None,
            "taken": self.fetched + len(self.queue), "stored": self.stored,
            "waiting": self.waiting(), "waiting_bytes": self.held_bytes
            + max(0, self.put_bytes - self.got_bytes), "dropped": self._dropped(),
            "dropped_because": dropped, "refused": self.refused,
            "unknown": self.unknown, "spilled": self.spilled,
            "spill_bytes": spill.size if spill else 0, "connections": self.connections,
            "last_error": self.last_error,
        }

    def _dropped(self) -> int:
        return sum(count.value() for count in self.drops) + self.spill_full

    def forget(self) -> None:
        """In a child after fork: what is open here belongs to the parent."""
        self.closed = True
        if self._socket:
            self._socket.close()
        if self._spill:
            self._spill.forget()
        if self.name:
            self.name.release()

    # ---- The thread ----

    def _run(self) -> None:
        try:
            self._begin()
            while self._turn():
                pass
            self._finish()
        except BaseException as error:  # pylint: disable=broad-except
            # A mistake of ours: the program goes on without its events, and stats() says so.
            self.state = "failed: %s: %s" % (type(error).__name__, error)
            self.closed = True
        finally:
            self.running = False
            self._done.release()

    def _begin(self) -> None:
        self.name, self._spill = claim(self.config)
        self._outbox = Outbox(self.name.text, batch_events=BATCH_EVENTS, retry_no_space=True)
        self.state = "connecting"

    def _turn(self) -> bool:
        """A burst of work and a rest. False: it is time to end."""
        more = self._fetch()
        self._count_drops()
        if self.closed and not self._closing:
            self._closing = True
            self._next_attempt = 0.0  # a last one
        if self._socket is None and time.monotonic() >= self._next_attempt:
            self._connect()
        progress = self._exchange()
        more = self._reload() or more
        self._publish_load()
        if self.closed and self._may_end():
            return False
        if more:
            time.sleep(REST)
        else:
            self._rest(progress)
        return True

    def _may_end(self) -> bool:
        left = self.queue or self._outbox.count or (self._spill and self._spill.lines_left)
        unreachable = self._socket is None
        return not left or unreachable or time.monotonic() >= self._deadline

    def _rest(self, progress: bool) -> None:
        held = self._outbox.count or (self._spill and self._spill.lines_left)
        if held or (self._socket is not None and not self._welcomed):
            self._tick = TICKS[0] if progress or self.queue else min(2 * self._tick, TICKS[1])
            self._wait_for_socket(self._tick)
            return
        until = IDLE
        if self._socket is None:
            until = max(0.0, min(IDLE, self._next_attempt - time.monotonic()))
        self.asleep = True
        if not self.queue and not self.closed:
            self._wake.acquire(True, until)
        self.asleep = False

    def _wait_for_socket(self, seconds: float) -> None:
        if self._socket is None or self._tick < 2 * TICKS[0]:
            time.sleep(seconds)  # let acks gather: each wake-up costs the program something
            return
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.poll(seconds * 1000)

    def _publish_load(self) -> None:
        self.held_bytes = self._outbox.bytes
        self.held_events = self._outbox.count
        if not self.queue:
            self.put_bytes = self.got_bytes  # whatever increments were lost between threads

    # ---- From the queue into the outbox, or the spill file ----

    def _fetch(self) -> bool:
        """True: there is more."""
        queue = self.queue
        waiting = len(queue)
        end = time.perf_counter() + next(burst for below, burst in BURSTS if waiting < below)
        while queue:
            self.held_events += 1  # before it leaves the queue, for pending()
            snapshot = queue.popleft()
            self.got_bytes += len(snapshot)
            self.fetched += 1
            self._put(snapshot)
            if time.perf_counter() >= end:
                return bool(queue)
        return False

    def _put(self, snapshot: bytes) -> None:
        try:
            keys = self._event_of(marshal.loads(snapshot))
            if self._should_spill():
                self._put_into_spill(keys)
                return
            self._outbox.add(_body_of(keys), EVENT)
        except _plain.TooLarge:
            self.drops[LARGE].up()
        except Exception as error:  # pylint: disable=broad-except
            self.drops[BROKEN].up()
            self.last_error = "an event was dropped: %s" % error

    def _event_of(self, parts: Any) -> Dict[str, Any]:
        event_type, now, given, source, data, correlation_id, user_id, session_id = parts
        check_topic(event_type)
        when = _plain.nanoseconds_of(now if given is None else given)
        return {"topic": event_type,
                "time": _plain.nanoseconds_of(now) if when is None else when,
                "payload": {"event_type": event_type,
                            "timestamp": now if given is None else given,
                            "source": self.config.source if source is None else source,
                            "data": data, "correlation_id": correlation_id, "user_id": user_id,
                            "session_id": session_id}}

    def _should_spill(self) -> bool:
        spill = self._spill
        return spill is not None and (spill.active
                                      or self._outbox.count >= self._max_events // 2
                                      or self._outbox.bytes >= self._max_bytes // 2)

    def _put_into_spill(self, keys: Dict[str, Any]) -> None:
        assert self._spill is not None
        if self._write_untold(self._spill) and self._spill.append(keys):
            self.spilled += 1
            return
        self.spill_full += 1
        self._tell_later(1, "the spill file was full")
        self._warn_of_drops()

    def _write_untold(self, spill: Spill) -> bool:
        for reason, count in list(self._untold.items()):
            if not spill.append({"dropped": count, "reason": reason}):
                return False
            del self._untold[reason]
        return True

    def _tell_later(self, count: int, reason: str) -> None:
        self._untold[reason] = self._untold.get(reason, 0) + count

    def _count_drops(self) -> None:
        """Numbers for what callers had to drop: behind what they had queued before."""
        for i, count in enumerate(self.drops):
            new = count.value() - self._drops_told[i]
            if new <= 0:
                continue
            self._warn_of_drops()
            if i != CLOSED:
                self.held_events += 1
                self._skip(new, REASONS[i])
            self._drops_told[i] += new

    def _skip(self, count: int, reason: str) -> None:
        spill = self._spill
        if spill is None or not spill.active:
            self._outbox.add_gap(count, reason)
        else:
            self._tell_later(count, reason)

    def _warn_of_drops(self) -> None:
        now = time.monotonic()
        if not self._dropping and now >= self._quiet_until:
            self._dropping = True
            self._quiet_until = now + QUIET
            _log.warning("event_bus has to drop events, %d so far; the log at %s: %s",
                         self._dropped(), self.config.path, self.last_error or self.state)

    # ---- From the spill file back into the outbox ----

    def _reload(self) -> bool:
        """True: there is more to read now."""
        spill = self._spill
        if spill is None or not spill.active:
            return False
        if not spill.lines_left and not self._outbox.count:
            spill.clear()
            for reason, count in self._untold.items():
                self._outbox.add_gap(count, reason)
            self._untold.clear()
            return False
        if not self._welcomed or not spill.lines_left or not self._has_room_to_reload():
            return False
        if not spill.has_base and (self._outbox.waiting
                                   or not spill.set_base(self._outbox.last_number + 1)):
            return False
        self.held_events += 8  # before they leave the file, for pending()
        for line in spill.read(8):
            self._reload_line(line)
        return self._has_room_to_reload()

    def _has_room_to_reload(self) -> bool:
        """Most of the memory is for what callers bring."""
        return (self._outbox.count < min(RELOAD_EVENTS, max(1, self._max_events // 4))
                and self._outbox.bytes < self._max_bytes // 4)

    def _reload_line(self, line: Line) -> None:
        if line.number <= self._outbox.last_number:
            return  # an earlier process had sent it, and the log has it
        try:
            if line.dropped:
                self._outbox.restore_gap(line.first, line.dropped, str(line.keys.get("reason", "")))
            else:
                self._outbox.restore(_body_of(line.keys), line.number, EVENT)
        except (DaybookError, _plain.TooLarge, KeyError, ValueError) as error:
            self.last_error = "a line of the spill file was dropped: %s" % error

    # ---- The connection ----

    def _connect(self) -> None:
        assert self.name is not None
        try:
            self._socket = _wire.connect(self.config.path, 0)
            # A new socket's buffer has room for this.
            self._socket.send(_wire.hello(CLIENT, self.name.text))
        except OSError as error:
            self._lose(error)
            return
        self._welcomed = False
        self._splitter = _wire.Splitter()
        self._tick = TICKS[0]

    def _lose(self, error: Exception) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None
        self._welcomed = False
        self.state = "connecting"
        self.last_error = str(error)
        self._next_attempt = time.monotonic() + self._pauses.next()

    def _exchange(self) -> bool:
        """Take what has come, send what can be sent, for one burst. True: something happened."""
        if self._socket is None:
            return False
        try:
            progress = self._receive()
            if self._welcomed and self._socket is not None:
                progress = self._send(self._socket) or progress
            return progress
        except (Taken, Replaced) as error:
            self._rename(error)
        except (OSError, Unreachable) as error:
            self._lose(error)
        except DaybookError as error:
            self._lose(error)
            self.state = str(error)
            self._next_attempt = time.monotonic() + HOPELESS
        return True

    def _receive(self) -> bool:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return False
        if not data:
            raise Unreachable("the daemon at '%s' has closed the connection" % self.config.path)
        self._splitter.feed(data)
        message = self._splitter.next()
        while message is not None:
            self._take_message(message)
            message = self._splitter.next()
        return True

    def _take_message(self, message: List[Any]) -> None:
        if message[0] == "error":
            raise _wire.error_of(message)
        if self._welcomed:
            self._tell(self._outbox.receive(message))
            return
        self._tell(self._outbox.welcome(_wire.welcome_of(message)))
        self._welcomed = True
        self.state = "connected"
        self.last_error = ""
        self.connections += 1

    def _send(self, connection: socket.socket) -> bool:
        end = time.perf_counter() + BURST
        sent = False
        data = self._outbox.unsent(FLIGHT_MAX)
        while data:
            try:
                self._outbox.note_sent(connection.send(data))
            except BlockingIOError:
                break
            sent = True
            if time.perf_counter() >= end:
                break
            data = self._outbox.unsent(FLIGHT_MAX)
        return sent

    def _tell(self, results: List[Result]) -> None:
        for result in results:
            if result.code == "stored":
                self.stored += 1 if result.tag else 0
            elif result.code == "refused":
                self.refused += 1 if result.tag else 0
                self.last_error = "the log refused an event: %s" % result.reason
            else:
                self.unknown += 1 if result.tag else 0
        if any(result.code == "stored" for result in results):
            self._pauses.reset()
            if self._dropping and not self._outbox.count:
                self._dropping = False
                _log.warning("event_bus goes on; it has dropped %d events, see `daybook gaps`",
                             self._dropped())

    def _rename(self, error: DaybookError) -> None:
        """Another process publishes under our name. A name of our own choice can be changed; what
        was sent under it and not acknowledged may be stored or not."""
        self._lose(error)
        assert self.name is not None
        if self.config.producer:
            self.state = str(error)
            self._next_attempt = float("inf")
            return
        if self._spill:
            self._spill.close()
        self.name.release()
        old = self._outbox
        self.name, self._spill = claim(self.config, unique=True)
        self._outbox = Outbox(self.name.text, batch_events=BATCH_EVENTS, retry_no_space=True)
        for each in old.pending():
            if each.dropped:
                self._outbox.add_gap(each.dropped, each.reason)
            elif each.number:
                self.unknown += 1 if each.tag else 0
            else:
                self._outbox.add(each.body, each.tag)

    # ---- The end ----

    def _finish(self) -> None:
        """What could not be sent in time goes into the spill file, before what is there already."""
        spill = self._spill
        if spill is not None:
            self._max_events = self._max_bytes = 0  # everything spills
            while self._fetch():
                pass
            self._save(spill)
            for reason, count in self._untold.items():
                spill.append({"dropped": count, "reason": reason}, force=True)
            spill.close()
        if self._socket:
            self._socket.close()
            self._socket = None
        if self.name:
            self.name.release()
        self._publish_load()
        self.state = "stopped"

    def _save(self, spill: Spill) -> None:
        lines = []
        for each in self._outbox.pending():
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
        first = self._outbox.last_number + 1 if self._outbox.welcomed else 0
        if spill.put_before(lines, int(lines[0].get("number", first))):
            self.held_events = 0
            self._outbox.abandon()
        else:
            self.last_error = "the spill file '%s' could not be written" % spill.path


def _body_of(keys: Dict[str, Any]) -> bytes:
    """An event's topic, time and payload as the outbox takes them. TooLarge, Invalid."""
    try:
        payload = _msgpack.pack(keys["payload"])
    except _msgpack.PackError:  # a text without UTF-8, an integer of more than 64 bits
        payload = _msgpack.pack(_plain.plain(keys["payload"]))
    if len(payload) > _plain.SIZE_MAX:
        raise _plain.TooLarge("more than %d bytes" % _plain.SIZE_MAX)
    return _msgpack.pack_text(keys["topic"]) + _msgpack.pack(keys["time"]) + payload


def _keys_of(body: bytes) -> Dict[str, Any]:
    topic, at = _msgpack.unpack_from(body, 0)
    when, at = _msgpack.unpack_from(body, at)
    return {"topic": topic, "time": when, "payload": _msgpack.unpack_from(body, at)[0]}
