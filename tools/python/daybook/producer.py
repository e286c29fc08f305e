"""Publishing, for programs without asyncio.

    with daybook.Producer(producer="meter-7") as producer:
        seq = producer.publish("reading", {"kWh": 3.25})    # waits until it is durable
        for reading in readings:
            producer.send("reading", reading)               # a thousand times faster
        producer.flush()                                    # all of them are durable

Exactly once, with a producer's name: every event carries a number; when the connection is lost, the
producer connects again (with a growing pause, up to `retry_timeout`) and sends again what was not
acknowledged, under the same numbers. Without a name nobody can tell whether an unacknowledged event
was stored: its result is `unknown`, and it is not sent again unless `resend_anonymous` accepts
doubles. Use a name for each program, not for each run of it, and one program at a time for a name.

No threads: everything happens inside the calls. Threads may share a producer; their calls exclude
each other. A process that was forked needs a producer of its own.
"""

import os
import random
import select
import threading
from socket import socket as Socket
from time import monotonic, sleep
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Type

from . import _wire
from ._event import Time, check_producer, pack_event
from ._outbox import BATCH_BYTES, BATCH_EVENTS, Outbox, Result
from .errors import (Conflict, DaybookError, Invalid, NoSpace, ProtocolError, Refused, Timeout,
                     Unknown, Unreachable)

CLIENT = "daybook-python/0.1.0"
ACKS = ("durable", "written", "none")
_PAUSE_MAX = 1.0
_GATHER = 0.001  # seconds that send() lets events gather while others are in flight


class Pauses:
    """Growing pauses between attempts to connect, with some chance in them so that many clients of
    one daemon do not come back all at once."""

    def __init__(self, first: float = 0.01, longest: float = _PAUSE_MAX):
        self._first = self._next = first
        self._longest = longest

    def reset(self) -> None:
        """The connection was good for something."""
        self._next = self._first

    def next(self) -> float:
        """Seconds."""
        pause = self._next * random.uniform(0.7, 1.3)
        self._next = min(2 * self._next, self._longest)
        return pause


def failure_of(result: Result) -> Optional[DaybookError]:
    """The exception for a result; None when the event is stored."""
    if result.code == "stored":
        return None
    kinds: Dict[str, Type[DaybookError]] = {"refused": Refused, "no_space": NoSpace,
                                            "conflict": Conflict}
    kind = kinds.get(result.code, Unknown)
    return kind(result.reason or "the event may be stored or not: its ack never came")


def check_options(producer: Optional[str], ack: str) -> None:
    """Invalid for a name or a kind of ack that there is not."""
    if producer is not None:
        check_producer(producer)
    if ack not in ACKS:
        raise Invalid("ack is one of %s, not %r" % (", ".join(map(repr, ACKS)), ack))


def expectation_of(last: int, topic: Optional[str]) -> Dict[str, Any]:
    """The fourth element of a pub."""
    return {"expect_last": last, **({"expect_topic": topic} if topic is not None else {})}


class _Awaited:
    """The tag of events that somebody waits for."""

    result: Optional[Result] = None  # the first; when they are refused, the one that says why
    waits = True  # False: it gave up, and flush() is to tell the result


class Producer:
    """Publish events over the daemon's socket. Connects at once: Unreachable when nobody answers.

    directory, socket: where the daemon is; else $DAYBOOK_DIR, $DAYBOOK_SOCKET, ./daybook-data.
    producer: the name under which events are numbered; makes publishing exactly-once.
    ack: when a result comes: "durable" (survives a power cut), "written" (survives the end of the
        daemon), or "none" (taken by the daemon; only refusals are told).
    connect_timeout: seconds for each attempt to connect.
    retry_timeout: seconds that one call goes on reconnecting, or waiting without progress.
    window_bytes: not yet acknowledged; send() waits beyond it.
    on_result: called with the Result of each event that was sent by send(), in order, inside the
        calls; must not call back. Else flush() raises the first bad one.
    """

    def __init__(self, directory: Optional[str] = None, socket: Optional[str] = None, *,
                 producer: Optional[str] = None, client: str = CLIENT, ack: str = "durable",
                 connect_timeout: float = 5.0, retry_timeout: float = 30.0,
                 batch_events: int = BATCH_EVENTS, batch_bytes: int = BATCH_BYTES,
                 window_bytes: int = 4 << 20, resend_anonymous: bool = False,
                 on_result: Optional[Callable[[Result], None]] = None):
        check_options(producer, ack)
        self.path = _wire.find_socket(socket, directory)
        self.welcome: Dict[str, Any] = {}
        self.reconnects = 0
        self._outbox = Outbox(producer, ack, batch_events, batch_bytes, resend_anonymous)
        self._batch = min(batch_events, _wire.EVENTS_MAX)
        self._hello = _wire.hello(client, producer, ack)
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout
        self._window_bytes = window_bytes
        self._on_result = on_result
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._socket: Optional[Socket] = None
        self._splitter = _wire.Splitter()
        self._pauses = Pauses()
        self._worked = 0.0
        self._lost_at: Optional[float] = None  # by poll()
        self._status: Optional[Dict[str, Any]] = None
        self._first_bad: Optional[Result] = None
        self._final: Optional[DaybookError] = None  # nothing goes over this socket any more
        self._connect()

    # ---- What users call ----

    def publish(self, topic: str, payload: Any, time: Optional[Time] = None, *,
                number: int = 0) -> int:
        """Publish one event and wait for its ack. Returns its sequence; 0 when it was found stored
        already (after a lost connection), or with acks of "none".

        Refused, NoSpace: it is not stored. Unknown: it may be. Timeout: it is still on its way;
        do not publish it again, but flush()."""
        body = pack_event(topic, time, payload)
        awaited = _Awaited()
        with self._lock:
            self._check()
            self._outbox.add(body, awaited, number)
            try:
                self._work_until(lambda: awaited.result is not None)
            except Timeout:
                awaited.waits = False
                raise Timeout("no ack of an event of topic '%s' within %g s; it is still on its "
                              "way" % (topic, self._retry_timeout)) from None
        result = awaited.result
        assert result is not None
        failure = failure_of(result)
        if failure:
            raise failure
        return result.seq

    def publish_expecting(self, events: Sequence[Tuple[Any, ...]], last: int,
                          topic: Optional[str] = None) -> int:
        """Publish events, each (topic, payload) or (topic, payload, time), that nobody else may
        have come before: all of them are stored, next to each other, if the log has no event with a
        higher sequence than `last` - of a topic that the pattern `topic` matches, if there is one -
        and none otherwise. Waits for everything sent before, and then for them. Returns the
        sequence of the first; 0 when they were found stored already after a lost connection.

        Conflict: somebody was faster. Refused: one of them breaks a rule, and none is stored.
        Unknown: without a producer's name they are never sent again."""
        bodies = [pack_event(event[0], event[2] if len(event) > 2 else None, event[1])
                  for event in events]
        awaited = _Awaited()
        with self._lock:
            self._check()
            self._work_until(lambda: self._socket is not None and not self._outbox.count)
            self._outbox.expect(bodies, awaited, expectation_of(last, topic))
            try:
                self._work_until(lambda: awaited.result is not None)
            except Timeout:
                awaited.waits = False
                raise Timeout("no ack of %d events within %g s; they are still on their way"
                              % (len(bodies), self._retry_timeout)) from None
        assert awaited.result is not None
        failure = failure_of(awaited.result)
        if failure:
            raise failure
        return awaited.result.seq

    def send(self, topic: str, payload: Any, time: Optional[Time] = None, *, number: int = 0,
             tag: Any = None) -> None:
        """Take one event for sending; its result comes later: to on_result, with `tag`, or to
        flush(). Waits while more than `window_bytes` have no ack. While nothing is in flight it
        leaves at once; otherwise it may wait for company, so call poll() or flush() before doing
        something else for long."""
        body = pack_event(topic, time, payload)
        with self._lock:
            self._check()
            self._work_until(lambda: self._socket is not None and self._has_room(len(body)))
            self._outbox.add(body, tag, number)
            if not self._outbox.in_flight or self._outbox.waiting >= self._batch \
                    or monotonic() - self._worked > _GATHER:
                self._work_once(0)

    def report_gap(self, count: int, reason: str, *, first: int = 0) -> None:
        """`count` events were dropped before they were given to send(): their numbers, the next
        ones (or those from `first` on, when the caller numbers), are skipped, and the log is told,
        so that `daybook gaps` names the loss. Sent like an event of send()."""
        with self._lock:
            self._check()
            self._outbox.add_gap(count, reason, first)

    def poll(self, timeout: float = 0.0) -> None:
        """Send what has gathered, and take in the acks that have come; waits up to `timeout`
        seconds for the first one. Unreachable: there has been no connection for longer than
        `retry_timeout`."""
        with self._lock:
            self._check()
            try:
                self._work_once(timeout)
                self._lost_at = None
            except Unreachable:
                self._lost_at = self._lost_at or monotonic()
                if monotonic() - self._lost_at > self._retry_timeout:
                    raise
                sleep(min(self._pauses.next(), timeout))

    def flush(self) -> None:
        """Send what has gathered and wait until every event has its result. Raises the first bad
        one since the last flush, unless there is an on_result. Timeout: no progress for
        `retry_timeout` seconds; flush() may be called again."""
        with self._lock:
            self._check()
            self._work_until(lambda: not self._outbox.count)
            bad, self._first_bad = self._first_bad, None
        failure = failure_of(bad) if bad else None
        if failure:
            raise failure

    def status(self) -> Dict[str, Any]:
        """The daemon's counters; docs/protocol.md names them."""
        with self._lock:
            self._check()
            self._work_until(lambda: not self._outbox.count)
            self._status = None
            self._socket_or_connect().sendall(_wire.frame(["status"]))
            self._work_until(lambda: self._status is not None)
            return self._status or {}

    @property
    def unacknowledged(self) -> int:
        """How many events were taken and have no result yet."""
        return self._outbox.count

    @property
    def last_number(self) -> int:
        """The producer's last number: given out here, or told by the daemon."""
        return self._outbox.last_number

    def fileno(self) -> int:
        """The socket, for event loops (call poll() when it can be read); -1 without one."""
        return self._socket.fileno() if self._socket else -1

    def close(self) -> None:
        """Disconnect, without waiting for anything: what has no result yet gets "unknown"."""
        with self._lock:
            self._disconnect()
            self._final = self._final or Invalid("this producer has been closed")
            self._tell(self._outbox.abandon())

    def __enter__(self) -> "Producer":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        """Flushes, unless an exception is on its way; then closes."""
        try:
            if kind is None and self._final is None:
                self.flush()
        finally:
            self.close()

    # ---- The connection ----

    def _has_room(self, size: int) -> bool:
        return not self._outbox.count or self._outbox.bytes + size <= self._window_bytes

    def _check(self) -> None:
        if self._process != os.getpid():
            raise Invalid("this producer was made by process %d; after fork() make another one"
                          % self._process)
        if self._final:
            raise self._final

    def _connect(self) -> None:
        try:
            self._socket, self.welcome, self._splitter = _wire.handshake(
                self.path, self._connect_timeout, self._hello)
            self._socket.setblocking(False)
            self._tell(self._outbox.welcome(self.welcome))
        except Unreachable:
            raise
        except DaybookError as error:
            self._disconnect()
            self._final = error
            raise

    def _disconnect(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def _socket_or_connect(self) -> Socket:
        if self._socket is None:
            self._connect()
            self.reconnects += 1
        assert self._socket is not None
        return self._socket

    def _work_until(self, done: Callable[[], bool]) -> None:
        """Move bytes until `done`. Timeout after retry_timeout without a result; Unreachable, when
        there was no connection all the while."""
        end = monotonic() + self._retry_timeout
        seen = self._outbox.count
        while not done():
            left = max(0.0, end - monotonic())
            if self._socket is None:
                sleep(min(self._pauses.next(), left))
            try:
                self._work_once(left if self._socket else 0.0)
            except Unreachable:
                if monotonic() >= end:
                    raise
                continue
            if self._outbox.count < seen:
                seen = self._outbox.count
                end = monotonic() + self._retry_timeout
            elif monotonic() >= end and not done():
                raise Timeout("no answer from the daemon at '%s' within %g s"
                              % (self.path, self._retry_timeout))

    def _work_once(self, timeout: float) -> None:
        """Send what can be sent, take what has come, waiting for the first progress."""
        self._worked = monotonic()
        connection = self._socket_or_connect()
        try:
            unsent = self._outbox.unsent()
            readable, writable, _ = select_on(connection, unsent is not None, timeout)
            if readable:
                self._receive(connection)
            if writable and self._socket is connection:
                self._send(connection)
        except OSError as error:
            if isinstance(error, DaybookError):
                raise
            self._disconnect()

    def _send(self, connection: Socket) -> None:
        data = self._outbox.unsent()
        while data:
            try:
                self._outbox.note_sent(connection.send(data))
            except BlockingIOError:
                return
            data = self._outbox.unsent()

    def _receive(self, connection: Socket) -> None:
        try:
            data = connection.recv(_wire.RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._disconnect()
            return
        self._splitter.feed(data)
        message = self._splitter.next()
        while message is not None:
            self._take(message)
            message = self._splitter.next()

    def _take(self, message: List[Any]) -> None:
        if message[0] == "status" and len(message) > 1:
            self._status = message[1]
        elif message[0] == "error":
            self._disconnect()
            error = _wire.error_of(message)
            if not isinstance(error, Unreachable):
                self._final = error
                raise error
        else:
            try:
                self._tell(self._outbox.receive(message))
            except ProtocolError as error:
                self._disconnect()
                self._final = error
                raise
            self._pauses.reset()

    def _tell(self, results: List[Result]) -> None:
        for result in results:
            if isinstance(result.tag, _Awaited):
                first = result.tag.result
                if first is None or (result.reason and not first.reason):
                    result.tag.result = result
                if result.tag.waits:
                    continue
                result = result._replace(tag=None)
            if self._on_result:
                self._on_result(result)
            elif result.code != "stored" and self._first_bad is None:
                self._first_bad = result


def select_on(connection: Socket, write: bool, timeout: float) -> Any:
    """Wait until it can be read (or written, when asked): by poll(), which knows no limit of
    descriptors."""
    poller = select.poll()
    poller.register(connection, select.POLLIN | (select.POLLOUT if write else 0))
    ready = poller.poll(timeout * 1000)
    bits = ready[0][1] if ready else 0
    closed = select.POLLHUP | select.POLLERR
    return bool(bits & (select.POLLIN | closed)), bool(bits & select.POLLOUT), bool(bits & closed)
