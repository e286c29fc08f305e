"""Subscribing, for programs without asyncio.

    with daybook.Subscriber("signal.*", cursor="pricing") as subscriber:
        for event in subscriber:
            work(event.payload)
            subscriber.commit()

    with daybook.Subscriber(["trade.>"], after=0) as subscriber:
        for event in subscriber.history():      # ends where the live stream begins
            print(event.seq, event.topic, event.payload)

Events come in the order of the log, history first, then live ones, without a seam. When the
connection is lost, the subscriber connects again and goes on behind the last event that it gave.
Nothing is read ahead of need but what the socket holds and `credit` allows: a slow program slows
only itself.

Events that cannot be given any more (retention has deleted them, a disk has lost them) are never
passed over in silence: Lost is raised in their place, and the next call goes on behind them. With
`on_lost` that is called instead.
"""

import os
from socket import socket as Socket
from time import monotonic, sleep
from typing import Any, Callable, Iterator, Optional, Sequence, Union

from . import _wire
from ._event import Event, Time
from ._subscription import CaughtUp, Subscription, request_keys, sequences
from .errors import DaybookError, Invalid, Lost, Timeout, Unreachable
from .producer import CLIENT, Pauses, select_on


class Subscriber:
    """Subscribe. Connects at once: Unreachable when nobody answers.

    topics: patterns, one or several: '*' is any text without dots, '?' one character, '>' at the
        end all further tokens. Absent: all topics.
    where: a SQL expression over seq, ts, time, topic, payload and the payload's fields.
    after, since, start: where to begin: behind a sequence; at a time; "earliest" or "latest" (the
        default without a cursor). With a cursor: where that begins, if it does not exist yet.
    cursor: go on behind what was committed under this name.
    shared: be one of a group that shares the cursor: each event goes to one of them, which has to
        accept() or release() it within `ack_timeout` seconds; after so many `tries` the log keeps
        it under the topic _dead.CURSOR.
    credit: how many events may be on their way, or here and not taken yet (8192); in a group,
        unsettled (64).
    on_lost: called with a Lost instead of its being raised.
    retry_timeout: seconds that a call goes on reconnecting; None: for ever.
    """

    def __init__(self, topics: Optional[Union[str, Sequence[str]]] = None, *,
                 where: Optional[str] = None, after: Optional[int] = None,
                 since: Optional[Time] = None, start: Optional[str] = None,
                 cursor: Optional[str] = None, shared: bool = False,
                 ack_timeout: Optional[float] = None, tries: Optional[int] = None,
                 credit: Optional[int] = None, directory: Optional[str] = None,
                 socket: Optional[str] = None, client: str = CLIENT,
                 on_lost: Optional[Callable[[Lost], None]] = None,
                 connect_timeout: float = 5.0, retry_timeout: Optional[float] = None):
        self.path = _wire.find_socket(socket, directory)
        self.caught_up = False  # has the live stream been reached, and not been lost since?
        self.reconnects = 0
        self._subscription = Subscription(
            request_keys(topics, where, after, since, start, cursor, shared, ack_timeout, tries),
            credit)
        self._hello = _wire.hello(client)
        self._on_lost = on_lost
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout
        self._process = os.getpid()
        self._pauses = Pauses()
        self._retry_at: Optional[float] = None  # over calls with short timeouts, too
        self._socket: Optional[Socket] = None
        self._unsent = bytearray()
        self._splitter = _wire.Splitter()
        self._final: Optional[DaybookError] = None
        self._connect()
        try:
            if not self._work_until(lambda: self._subscription.subscribed, connect_timeout):
                raise Unreachable("the daemon at '%s' did not answer within %g s"
                                  % (self.path, connect_timeout))
        except BaseException:
            self._disconnect()
            raise

    # ---- Events ----

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next event, however long it takes. Lost: see on_lost."""
        event = self.next()
        assert event is not None
        return event

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event; None when none has come within `timeout` seconds."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            item = self._take(end)
            if item is None or isinstance(item, Event):
                return item

    def history(self) -> Iterator[Event]:
        """The events up to the live stream; ends once they have all been given."""
        while not self.caught_up:
            item = self._take(None)
            if isinstance(item, Event):
                yield item

    def _take(self, end: Optional[float]) -> Union[Event, CaughtUp, None]:
        """An event, or the mark behind the history."""
        self._check()
        while True:
            item = self._subscription.take()
            if isinstance(item, CaughtUp):
                self.caught_up = True
            elif isinstance(item, Lost):
                if self._on_lost is None:
                    self._push()
                    raise item
                self._on_lost(item)
                continue
            if item is not None:
                self._push()
                return item
            left = None if end is None else max(0.0, end - monotonic())
            if not self._work_until(lambda: bool(self._subscription.items), left):
                return None

    # ---- Progress ----

    @property
    def position(self) -> int:
        """Every event up to this sequence has arrived here, or does not match."""
        return self._subscription.position

    @property
    def committed(self) -> int:
        """Everything up to this sequence is committed, durably."""
        return self._subscription.committed

    def commit(self, seq: Optional[int] = None, *, wait: bool = False,
               timeout: float = 30.0) -> None:
        """Everything up to `seq`, or up to the last event that was given, is done: whoever
        subscribes with this cursor goes on behind it. With `wait` it is durable on return, else
        soon after; until then a crash makes events come again, but none is ever lost by it."""
        self._check()
        wanted = self._subscription.commit(seq)
        self._push()
        if wait and not self._work_until(lambda: self.committed >= wanted, timeout):
            raise Timeout("the commit of event %d was not answered within %g s" % (wanted, timeout))

    def accept(self, *events: Union[Event, int], wait: bool = False,
               timeout: float = 30.0) -> Optional[int]:
        """These events of a group are done. With `wait` that is durable on return, which is how
        many of them were ours to settle."""
        return self._settle("accept", events, wait, timeout)

    def release(self, *events: Union[Event, int], wait: bool = False,
                timeout: float = 30.0) -> Optional[int]:
        """Give these events of a group to somebody again, after a pause: a try has failed."""
        return self._settle("release", events, wait, timeout)

    def _settle(self, verb: str, events: Any, wait: bool, timeout: float) -> Optional[int]:
        self._check()
        number = self._subscription.settle(verb, sequences(events), wait)
        self._push()
        settled = self._subscription.settled
        if not wait:
            return None
        reconnects = self.reconnects
        self._work_until(lambda: number in settled or self.reconnects != reconnects, timeout)
        if number not in settled:
            self._subscription.forget(number)
            raise Timeout("the daemon has not said what became of the events; they may be given to "
                          "somebody again")
        return settled.pop(number)

    # ---- The connection ----

    def close(self) -> None:
        """Wait for the answers to commits, for up to 2 s, then disconnect."""
        if self._final is None and self._process == os.getpid():
            try:
                self._work_until(lambda: not self._unsent and not self._subscription.commit_is_due,
                                 2.0, again=False)
            except DaybookError:
                pass
        self._disconnect()
        self._final = self._final or Invalid("this subscriber has been closed")

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket, for event loops (call next(0) when it can be read); -1 without one."""
        return self._socket.fileno() if self._socket else -1

    def _check(self) -> None:
        if self._process != os.getpid():
            raise Invalid("this subscriber was made by process %d; after fork() make another one"
                          % self._process)
        if self._final:
            raise self._final

    def _connect(self) -> None:
        self._socket, welcome, self._splitter = _wire.handshake(
            self.path, self._connect_timeout, self._hello)
        self._socket.settimeout(self._connect_timeout)
        try:
            self._subscription.welcome(welcome)
            self._socket.sendall(self._subscription.request())
            self._socket.setblocking(False)
        except OSError as error:
            self._disconnect()
            raise Unreachable("the daemon at '%s' has closed the connection (%s)"
                              % (self.path, error)) from None

    def _disconnect(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None
        self._unsent.clear()

    def _lose(self) -> None:
        self._disconnect()
        self.caught_up = False

    def _work_until(self, done: Callable[[], bool], timeout: Optional[float],
                    again: bool = True) -> bool:
        """Receive until `done`. False: not within `timeout` seconds. `again`: connect again when
        need be."""
        end = None if timeout is None else monotonic() + timeout
        lost_since: Optional[float] = None
        worked = False  # at least once, however short the time is
        while not done():
            left = None if end is None else max(0.0, end - monotonic())
            if worked and left == 0:
                return False
            worked = True
            if self._socket is None:
                lost_since = lost_since or monotonic()
                if not again or not self._reconnect(lost_since, left):
                    return False
                continue
            lost_since = None
            self._work_once(left)
        return True

    def _reconnect(self, lost_since: float, left: Optional[float]) -> bool:
        """One attempt, after a pause. False: `left` was too short for that; a later call goes on
        with it."""
        if self._retry_at is None:
            self._retry_at = monotonic() + self._pauses.next()
        pause = max(0.0, self._retry_at - monotonic())
        if left is not None and pause > left:
            sleep(left)
            return False
        sleep(pause)
        self._retry_at = None
        try:
            self._connect()
            self.reconnects += 1
        except Unreachable:
            limit = self._retry_timeout
            if limit is not None and monotonic() - lost_since > limit:
                raise
        except DaybookError as error:
            self._final = error
            raise
        return True

    def _work_once(self, left: Optional[float]) -> None:
        assert self._socket is not None
        readable, writable, _ = select_on(self._socket, bool(self._unsent),
                                          -1 if left is None else left)
        if readable:
            self._receive(self._socket)
        if readable or writable:
            self._push()

    def _receive(self, connection: Socket) -> None:
        try:
            data = connection.recv(_wire.RECEIVE_BYTES)
            if not data:
                self._lose()
                return
            self._splitter.feed(data)
            message = self._splitter.next()
            while message is not None:
                self._subscription.receive(message)
                self._pauses.reset()
                message = self._splitter.next()
        except Unreachable:
            self._lose()
        except DaybookError as error:
            self._disconnect()
            self._final = error
            raise
        except BlockingIOError:
            pass
        except OSError:
            self._lose()

    def _push(self) -> None:
        """Send what the subscription has to say, as far as the socket takes it: a daemon that is
        stopped makes nobody wait here."""
        if self._socket is None:
            return
        self._unsent += self._subscription.outgoing()
        try:
            if self._unsent:
                del self._unsent[:self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
