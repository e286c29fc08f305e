"""Subscribing, for programs with asyncio.

    async with daybook.AsyncSubscriber("signal.*", cursor="pricing") as subscriber:
        async for event in subscriber:
            await work(event.payload)
            await subscriber.commit()

The same promises as daybook.Subscriber has. For one task at a time.
"""

import asyncio
from time import monotonic
from typing import Any, AsyncIterator, Callable, Optional, Sequence, Union

from . import _wire
from ._event import Event, Time
from ._subscription import CaughtUp, Subscription, request_keys, sequences
from .errors import DaybookError, Invalid, Lost, Timeout, Unreachable
from .producer import CLIENT, Pauses


class AsyncSubscriber:
    """Options: see daybook.Subscriber. connect(), or `async with`, begins."""

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
        self.caught_up = False
        self.reconnects = 0
        self._subscription = Subscription(
            request_keys(topics, where, after, since, start, cursor, shared, ack_timeout, tries),
            credit)
        self._hello = _wire.hello(client)
        self._on_lost = on_lost
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout
        self._pauses = Pauses()
        self._retry_at: Optional[float] = None  # over calls with short timeouts, too
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None
        self._splitter = _wire.Splitter()
        self._pending: Optional["asyncio.Future[bytes]"] = None  # a read that was not waited for
        self._final: Optional[DaybookError] = None
        self._started = False

    async def connect(self) -> "AsyncSubscriber":
        """Connect and subscribe. Unreachable: nobody answers."""
        if not self._started:
            try:
                await self._connect()
                if not await self._work_until(lambda: self._subscription.subscribed,
                                              self._connect_timeout):
                    raise Unreachable("the daemon at '%s' did not answer within %g s"
                                      % (self.path, self._connect_timeout))
            except BaseException:
                self._disconnect()
                raise
            self._started = True
        return self

    # ---- Events ----

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.next()
        assert event is not None
        return event

    async def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event; None when none has come within `timeout` seconds. May be cancelled: no
        event is lost by that."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            item = await self._take(end)
            if item is None or isinstance(item, Event):
                return item

    async def history(self) -> AsyncIterator[Event]:
        """The events up to the live stream; ends once they have all been given."""
        while not self.caught_up:
            item = await self._take(None)
            if isinstance(item, Event):
                yield item

    async def _take(self, end: Optional[float]) -> Union[Event, CaughtUp, None]:
        self._check()
        while True:
            item = self._subscription.take()
            self._push()
            if isinstance(item, CaughtUp):
                self.caught_up = True
            elif isinstance(item, Lost):
                if self._on_lost is None:
                    raise item
                self._on_lost(item)
                continue
            if item is not None:
                return item
            left = None if end is None else max(0.0, end - monotonic())
            if not await self._work_until(lambda: bool(self._subscription.items), left):
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

    async def commit(self, seq: Optional[int] = None, *, wait: bool = False,
                     timeout: float = 30.0) -> None:
        """See Subscriber.commit."""
        self._check()
        wanted = self._subscription.commit(seq)
        self._push()
        if wait and not await self._work_until(lambda: self.committed >= wanted, timeout):
            raise Timeout("the commit of event %d was not answered within %g s" % (wanted, timeout))

    async def accept(self, *events: Union[Event, int], wait: bool = False,
                     timeout: float = 30.0) -> Optional[int]:
        """See Subscriber.accept."""
        return await self._settle("accept", events, wait, timeout)

    async def release(self, *events: Union[Event, int], wait: bool = False,
                      timeout: float = 30.0) -> Optional[int]:
        """See Subscriber.release."""
        return await self._settle("release", events, wait, timeout)

    async def _settle(self, verb: str, events: Any, wait: bool, timeout: float) -> Optional[int]:
        self._check()
        number = self._subscription.settle(verb, sequences(events), wait)
        self._push()
        settled = self._subscription.settled
        if not wait:
            return None
        reconnects = self.reconnects
        await self._work_until(lambda: number in settled or self.reconnects != reconnects, timeout)
        if number not in settled:
            self._subscription.forget(number)
            raise Timeout("the daemon has not said what became of the events; they may be given to "
                          "somebody again")
        return settled.pop(number)

    # ---- The connection ----

    async def close(self) -> None:
        """Wait for the answers to commits, for up to 2 s, then disconnect."""
        if self._final is None and self._started:
            try:
                await self._work_until(lambda: not self._subscription.commit_is_due, 2.0,
                                       again=False)
            except DaybookError:
                pass
        self._disconnect()
        self._final = self._final or Invalid("this subscriber has been closed")

    async def __aenter__(self) -> "AsyncSubscriber":
        return await self.connect()

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> None:
        await self.close()

    def _check(self) -> None:
        if self._final:
            raise self._final
        if not self._started:
            raise Invalid("this subscriber is not connected yet: await its connect(), or use it in "
                          "'async with'")

    async def _connect(self) -> None:
        connection = _wire.connect(self.path, 0)  # at once, or not at all
        self._reader, self._writer = await asyncio.open_unix_connection(sock=connection)
        self._splitter = _wire.Splitter()
        try:
            self._writer.write(self._hello)
            message = await asyncio.wait_for(self._first_message(), self._connect_timeout)
            self._subscription.welcome(_wire.welcome_of(message))
            self._writer.write(self._subscription.request())
        except BaseException as error:
            self._disconnect()
            if isinstance(error, (OSError, asyncio.TimeoutError)) \
                    and not isinstance(error, DaybookError):
                raise Unreachable("the daemon at '%s' did not welcome us within %g s"
                                  % (self.path, self._connect_timeout)) from None
            raise

    async def _first_message(self) -> Any:
        assert self._reader is not None
        while True:
            message = self._splitter.next()
            if message is not None:
                return message
            data = await self._reader.read(_wire.RECEIVE_BYTES)
            if not data:
                raise Unreachable("the daemon at '%s' closed the connection before its welcome"
                                  % self.path)
            self._splitter.feed(data)

    def _disconnect(self) -> None:
        if self._pending:
            self._pending.cancel()
            self._pending = None
        if self._writer:
            self._writer.close()
        self._reader = self._writer = None
        self.caught_up = False

    async def _work_until(self, done: Callable[[], bool], timeout: Optional[float],
                          again: bool = True) -> bool:
        """Receive until `done`. False: not within `timeout` seconds."""
        end = None if timeout is None else monotonic() + timeout
        lost_since: Optional[float] = None
        worked = False  # at least once, however short the time is
        while not done():
            left = None if end is None else max(0.0, end - monotonic())
            if worked and left == 0:
                return False
            worked = True
            if self._reader is None:
                lost_since = lost_since or monotonic()
                if not again or not await self._reconnect(lost_since, left):
                    return False
                continue
            lost_since = None
            await self._work_once(self._reader, left)
        return True

    async def _reconnect(self, lost_since: float, left: Optional[float]) -> bool:
        """One attempt, after a pause. False: `left` was too short for that; a later call goes on
        with it."""
        if self._retry_at is None:
            self._retry_at = monotonic() + self._pauses.next()
        pause = max(0.0, self._retry_at - monotonic())
        if left is not None and pause > left:
            await asyncio.sleep(left)
            return False
        await asyncio.sleep(pause)
        self._retry_at = None
        try:
            await self._connect()
            self.reconnects += 1
        except Unreachable:
            limit = self._retry_timeout
            if limit is not None and monotonic() - lost_since > limit:
                raise
        except DaybookError as error:
            self._final = error
            raise
        return True

    async def _work_once(self, reader: asyncio.StreamReader, left: Optional[float]) -> None:
        # A read that a timeout or a cancellation has left behind is waited for by the next call,
        # so that nothing of what it brings gets lost.
        if self._pending is None:
            self._pending = asyncio.ensure_future(reader.read(_wire.RECEIVE_BYTES))
        await asyncio.wait([self._pending], timeout=left)
        if self._pending is None or not self._pending.done():
            return
        read, self._pending = self._pending, None
        try:
            data = read.result()
            if not data:
                self._disconnect()
                return
            self._splitter.feed(data)
            message = self._splitter.next()
            while message is not None:
                self._subscription.receive(message)
                self._pauses.reset()
                message = self._splitter.next()
            self._push()
        except Unreachable:
            self._disconnect()
        except DaybookError as error:
            self._disconnect()
            self._final = error
            raise
        except OSError:
            self._disconnect()

    def _push(self) -> None:
        data = self._subscription.outgoing() if self._writer else b""
        if data and self._writer:
            self._writer.write(data)
