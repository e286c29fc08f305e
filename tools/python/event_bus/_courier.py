"""The thread that brings events from the user's program to the log.

It alone has the backlog and the socket; callers meet it in the inbox only. It holds the
interpreter's lock for some 100 us at a time and then sleeps, because a thread that wants that lock
has to wait for 5 ms otherwise. It never waits for the daemon for more than a few ms.

An event is counted once: taken, then one of stored, refused, dropped, unknown - or still waiting.
"""

import _thread
import logging
import select
import socket
import time
from typing import Any, Dict, List, NamedTuple, Optional

from daybook import _wire
from daybook._event import check_topic
from daybook._outbox import Result
from daybook.errors import DaybookError, Replaced, Taken, Unreachable
from daybook.producer import Pauses

from . import _plain
from ._backlog import RELOAD_STEP, Backlog
from ._inbox import BROKEN, LARGE, Inbox
from ._names import Name, claim

CLIENT = "event_bus-python/0.1.0"
# Seconds of work between two rests, by what waits in the queue: who gets the interpreter's lock
# every 5 ms only, beside a program that never sleeps, has to do more with it.
BURSTS = ((500, 100e-6), (5000, 500e-6), (1 << 60, 5e-3))
BURST = BURSTS[0][1]
REST = 20e-6            # the kernel makes some 70 us of it
TICKS = (0.001, 0.02)   # between looks at the queue while something is awaited: shortest, longest
IDLE = 1.0              # a look at the socket while nothing happens
HOPELESS = 60.0         # before the next attempt, after an answer that trying again won't change
QUIET = 60.0            # between two warnings
FLIGHT_MAX = 1 << 20
EVENTS_MAX = 100000     # in memory, unless enable() says otherwise
BYTES_MAX = 64 << 20

_log = logging.getLogger("event_bus")


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


class Courier:
    """One log's inbox and thread. Making it costs no I/O, and it takes events from then on; start()
    begins the thread. Without a `config`, it has to be set before that."""

    def __init__(self, config: Optional[Config] = None):
        self._config = config
        self.inbox = Inbox(config.max_events if config else EVENTS_MAX,
                           config.max_bytes if config else BYTES_MAX)
        self.running = False
        self.state = "starting" if config else "idle"   # connecting, connected, stopped, or why it can never connect
        self.name: Optional[Name] = None
        self.stored = self.refused = self.unknown = 0
        self.connections = 0
        self.earlier: Dict[str, int] = {}  # dropped by those whose heir we are, by reason
        self._heir: Optional["Courier"] = None
        self._backlog: Optional[Backlog] = None
        self._done = _thread.allocate_lock()
        self._deadline = 0.0      # of closing
        self._socket: Optional[socket.socket] = None
        self._welcomed = False
        self._splitter = _wire.Splitter()
        self._pauses = Pauses(0.05)
        self._next_attempt = 0.0
        self._tick = TICKS[0]
        self._dropping = False
        self._quiet_until = 0.0
        self._closing = False

    # ---- The caller's side ----

    @property
    def config(self) -> Config:
        """As given, or set since."""
        assert self._config is not None
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = config
        self.inbox.max_events, self.inbox.max_bytes = config.max_events, config.max_bytes

    @property
    def has_config(self) -> bool:
        """Is it known where events are to go?"""
        return self._config is not None

    @property
    def closed(self) -> bool:
        """Has the end begun? Nothing is taken any more."""
        return self.inbox.closed

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
        backlog = self._backlog
        return (len(self.inbox.queue) + self.inbox.held_events
                + sum(each.outbox.count for each in list(self.inbox.inherited))
                + (backlog.lines_left if backlog else 0))

    def pending(self) -> int:
        """The same, and drops that the log has to be told of."""
        return self.waiting() + self.inbox.untold

    def close(self, timeout: float) -> bool:
        """Let the thread finish what it has, for so many seconds at most, and end. False: events
        are left; they are in the spill file, if there is one, else lost."""
        self._deadline = time.monotonic() + timeout
        self.inbox.closed = True
        self.inbox.wake()
        if not self.running:
            self._end()
        if self.running and self._done.acquire(True, timeout + 0.5):
            self._done.release()
            self.running = False
        return not self.waiting()

    def close_for(self, heir: "Courier", timeout: float) -> None:
        """The same; then whatever is left goes to `heir`, whose thread has not begun: events that
        were never sent, and counts of what was dropped. What may have been sent is unknown."""
        self._heir = heir
        self.inbox.heir = heir.inbox
        self.close(timeout)

    def _end(self) -> None:
        """Nobody fetches from the inbox any more."""
        self.inbox.over = True
        heir, self._heir = self._heir, None
        if heir is None:
            return
        for reason, count in self.stats()["dropped_because"].items():
            heir.earlier[reason] = heir.earlier.get(reason, 0) + count
        if self._backlog is not None and self._backlog.outbox.count:
            heir.inbox.inherited.append(self._backlog)
            self.inbox.hold(0, 0)
        self.inbox.bequeath()

    def stats(self) -> Dict[str, Any]:
        """Counts, for people and tests."""
        inbox, backlog = self.inbox, self._backlog
        dropped = dict(self.earlier)
        for reason, count in inbox.dropped().items():
            dropped[reason] = dropped.get(reason, 0) + count
        if backlog and backlog.spill_full:
            reason = "the spill file was full"
            dropped[reason] = dropped.get(reason, 0) + backlog.spill_full
        spill = backlog.spill if backlog else None
        return {
            "state": self.state, "producer": self.name.text if self.name else None,
            "taken": inbox.got + len(inbox.queue), "stored": self.stored,
            "waiting": self.waiting(), "waiting_bytes": inbox.waiting_bytes,
            "dropped": sum(dropped.values()), "dropped_because": dropped,
            "refused": self.refused, "unknown": self.unknown,
            "spilled": backlog.spilled if backlog else 0, "spill_bytes": spill.size if spill else 0,
            "connections": self.connections,
            "last_error": inbox.last_error or (backlog.last_error if backlog else ""),
        }

    def forget(self) -> None:
        """In a child after fork: what is open here belongs to the parent."""
        self.inbox.closed = True
        if self._socket:
            self._socket.close()
        if self._backlog and self._backlog.spill:
            self._backlog.spill.forget()
        if self.name:
            self.name.release()

    # ---- The thread ----

    def _run(self) -> None:
        try:
            backlog = self._new_backlog(False)
            self.state = "connecting"
            while self._turn(backlog):
                assert self._backlog is not None
                backlog = self._backlog
            self._finish(backlog)
        except BaseException as error:  # pylint: disable=broad-except
            # A mistake of ours: the program goes on without its events, and stats() says so.
            self.state = "failed: %s: %s" % (type(error).__name__, error)
            self.inbox.closed = True
            _log.error("event_bus brings no events to the log any more: its thread has %s",
                       self.state)
        finally:
            try:
                self._end()
            finally:
                self.running = False
                self._done.release()

    def _new_backlog(self, unique: bool) -> Backlog:
        self.name, spill = claim(self.config, unique)
        self._backlog = Backlog(self.name.text, spill, self.config.max_events,
                                self.config.max_bytes)
        return self._backlog

    def _turn(self, backlog: Backlog) -> bool:
        """A burst of work and a rest. False: it is time to end."""
        while self.inbox.inherited:
            self._inherit(backlog)
        more = self._fetch(backlog)
        self._skip_drops(backlog)
        if self.closed and not self._closing:
            self._closing = True
            self._next_attempt = 0.0  # a last one
        if self._socket is None and time.monotonic() >= self._next_attempt:
            self._connect()
        progress = self._exchange(backlog)
        if self._welcomed:
            self.inbox.held_events += RELOAD_STEP  # before they leave the file, for pending()
            backlog.reload()
            more = backlog.can_reload or more
        self.inbox.hold(backlog.outbox.count, backlog.outbox.bytes)
        if self.closed and self._may_end(backlog):
            return False
        if more:
            time.sleep(REST)
        else:
            self._rest(backlog, progress)
        return True

    def _may_end(self, backlog: Backlog) -> bool:
        left = self.inbox.queue or not backlog.empty
        return not left or self._socket is None or time.monotonic() >= self._deadline

    def _rest(self, backlog: Backlog, progress: bool) -> None:
        if not backlog.empty or (self._socket is not None and not self._welcomed):
            busy = progress or self.inbox.queue
            self._tick = TICKS[0] if busy else min(2 * self._tick, TICKS[1])
            self._wait_for_socket(self._tick)
        elif self._socket is None:
            self.inbox.sleep(max(0.0, min(IDLE, self._next_attempt - time.monotonic())))
        else:
            self.inbox.sleep(IDLE)

    def _wait_for_socket(self, seconds: float) -> None:
        if self._socket is None or self._tick < 2 * TICKS[0]:
            time.sleep(seconds)  # let acks gather: each wake-up costs the program something
            return
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.poll(seconds * 1000)

    # ---- From the inbox into the backlog ----

    def _fetch(self, backlog: Backlog) -> bool:
        """A burst. True: there is more."""
        queue = self.inbox.queue
        waiting = len(queue)
        end = time.perf_counter() + next(burst for below, burst in BURSTS if waiting < below)
        while queue:
            self._put(backlog, self.inbox.get())
            if time.perf_counter() >= end:
                return bool(queue)
        return False

    def _inherit(self, backlog: Backlog) -> None:
        old = self.inbox.inherited[0]
        count = sum(1 for each in old.outbox.pending() if not each.dropped)
        self.inbox.held_events += old.outbox.count  # before it leaves there, for waiting()
        self.inbox.inherited.popleft()
        self.inbox.got += count
        self._tell(old.move_to(backlog), backlog)

    def _put(self, backlog: Backlog, parts: Any) -> None:
        try:
            if not backlog.put(self._event_of(parts)):
                self._warn_of_drops()
        except _plain.TooLarge:
            self.inbox.drops[LARGE].up()
        except Exception as error:  # pylint: disable=broad-except
            self.inbox.drops[BROKEN].up()
            self.inbox.last_error = "an event was dropped: %s" % error

    def _skip_drops(self, backlog: Backlog) -> None:
        for reason, count in self.inbox.new_drops().items():
            self._warn_of_drops()
            backlog.skip(count, reason)

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

    def _warn_of_drops(self) -> None:
        now = time.monotonic()
        if not self._dropping and now >= self._quiet_until:
            self._dropping = True
            self._quiet_until = now + QUIET
            _log.warning("event_bus has to drop events, %d so far; the log at %s: %s",
                         self.stats()["dropped"], self.config.path,
                         self.inbox.last_error or self.state)

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
        self.inbox.last_error = str(error)
        self._next_attempt = time.monotonic() + self._pauses.next()

    def _exchange(self, backlog: Backlog) -> bool:
        """Take what has come, send what can be sent, for one burst. True: something happened."""
        if self._socket is None:
            return False
        try:
            progress = self._receive(self._socket, backlog)
            if self._welcomed and self._socket is not None:
                progress = self._send(self._socket, backlog) or progress
            return progress
        except (Taken, Replaced) as error:
            self._rename(error, backlog)
        except (OSError, Unreachable) as error:
            self._lose(error)
        except DaybookError as error:
            self._lose(error)
            self.state = str(error)
            self._next_attempt = time.monotonic() + HOPELESS
        return True

    def _receive(self, connection: socket.socket, backlog: Backlog) -> bool:
        try:
            data = connection.recv(1 << 16)
        except BlockingIOError:
            return False
        if not data:
            raise Unreachable("the daemon at '%s' has closed the connection" % self.config.path)
        self._splitter.feed(data)
        message = self._splitter.next()
        while message is not None:
            self._take_message(message, backlog)
            message = self._splitter.next()
        return True

    def _take_message(self, message: List[Any], backlog: Backlog) -> None:
        if message[0] == "error":
            raise _wire.error_of(message)
        if self._welcomed:
            self._tell(backlog.outbox.receive(message), backlog)
            return
        self._tell(backlog.outbox.welcome(_wire.welcome_of(message)), backlog)
        self._welcomed = True
        self.state = "connected"
        self.inbox.last_error = ""
        self.connections += 1

    def _send(self, connection: socket.socket, backlog: Backlog) -> bool:
        end = time.perf_counter() + BURST
        sent = False
        data = backlog.outbox.unsent(FLIGHT_MAX)
        while data:
            try:
                backlog.outbox.note_sent(connection.send(data))
            except BlockingIOError:
                break
            sent = True
            if time.perf_counter() >= end:
                break
            data = backlog.outbox.unsent(FLIGHT_MAX)
        return sent

    def _tell(self, results: List[Result], backlog: Backlog) -> None:
        for result in results:
            if result.code == "stored":
                self.stored += 1 if result.tag else 0
            elif result.code == "refused":
                self.refused += 1 if result.tag else 0
                self.inbox.last_error = "the log refused an event: %s" % result.reason
            else:
                self.unknown += 1 if result.tag else 0
        if any(result.code == "stored" for result in results):
            self._pauses.reset()
            if self._dropping and backlog.empty:
                self._dropping = False
                _log.warning("event_bus goes on; it has dropped %d events, see `daybook gaps`",
                             self.stats()["dropped"])

    def _rename(self, error: DaybookError, backlog: Backlog) -> None:
        """Another process publishes under our name. A name of our own choice can be changed; what
        was sent under it and not acknowledged may be stored or not."""
        self._lose(error)
        assert self.name is not None
        if self.config.producer:
            self.state = str(error)
            self._next_attempt = float("inf")
            return
        if backlog.spill:
            backlog.spill.close()
        self.name.release()
        new = self._new_backlog(True)
        new.spill_full += backlog.spill_full
        self._tell(backlog.move_to(new), new)

    # ---- The end ----

    def _finish(self, backlog: Backlog) -> None:
        """What could not be sent in time goes into the spill file."""
        if backlog.spill is not None:
            backlog.spill_everything()
            while self._fetch(backlog):
                pass
            self._skip_drops(backlog)
            backlog.close()
        if self._socket:
            self._socket.close()
            self._socket = None
        if self.name:
            self.name.release()
        self.inbox.hold(backlog.outbox.count, backlog.outbox.bytes)
        self.state = "stopped"
