"""Publishing, for programs with asyncio.

    async with daybook.AsyncProducer(producer="meter-7") as producer:
        seq = await producer.publish("reading", {"kWh": 3.25})
        for reading in readings:
            await producer.send("reading", reading)    # waits only while the window is full
        await producer.flush()

The same promises as daybook.Producer has. A task of its own keeps the connection, and connects
again for as long as the producer is open; what is published in one turn of the loop goes in one
frame. For use from one event loop.
"""

import asyncio
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from . import _wire
from ._event import Time, pack_event
from ._outbox import BATCH_BYTES, BATCH_EVENTS, Outbox, Result
from .errors import DaybookError, Invalid, Timeout, Unreachable
from .producer import CLIENT, Pauses, check_options, expectation_of, failure_of

_FLIGHT_MAX = 1 << 20  # bytes that are in frames; the rest of the window waits to be gathered


class _Told(List[Result]):
    """The tag of events that publish_expecting() waits for."""


class AsyncProducer:
    """Options: see daybook.Producer. connect(), or `async with`, begins."""

    def __init__(self, directory: Optional[str] = None, socket: Optional[str] = None, *,
                 producer: Optional[str] = None, client: str = CLIENT, ack: str = "durable",
                 connect_timeout: float = 5.0, retry_timeout: float = 30.0,
                 batch_events: int = BATCH_EVENTS, batch_bytes: int = BATCH_BYTES,
                 window_bytes: int = 4 << 20, resend_anonymous: bool = False,
                 on_result: Optional[Callable[[Result], None]] = None):
        check_options(producer, ack)
        self.path = _wire.find_socket(socket, directory)
        self.welcome: Dict[str, Any] = {}
        self.reconnects = -1
        self._outbox = Outbox(producer, ack, batch_events, batch_bytes, resend_anonymous)
        self._hello = _wire.hello(client, producer, ack)
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout
        self._window_bytes = window_bytes
        self._on_result = on_result
        self._pauses = Pauses()
        self._writer: Optional[asyncio.StreamWriter] = None
        self._task: Optional["asyncio.Task[None]"] = None
        self._waiters: Set["asyncio.Future[None]"] = set()  # woken by every result
        self._kicked = False
        self._first_bad: Optional[Result] = None
        self._final: Optional[DaybookError] = None

    # ---- What users call ----

    async def connect(self) -> "AsyncProducer":
        """Connect and be welcomed. Unreachable: nobody answers."""
        if self._task is None:
            opened = await self._open()
            self._task = asyncio.ensure_future(self._run(*opened))
        return self

    async def publish(self, topic: str, payload: Any, time: Optional[Time] = None, *,
                      number: int = 0) -> int:
        """Publish one event and wait for its ack: see Producer.publish. When the caller is
        cancelled meanwhile, the event stays on its way."""
        body = pack_event(topic, time, payload)
        self._check()
        future: "asyncio.Future[Result]" = asyncio.get_event_loop().create_future()
        self._outbox.add(body, future, number)
        self._kick()
        try:
            result = await asyncio.wait_for(asyncio.shield(future), self._retry_timeout)
        except asyncio.TimeoutError:
            raise Timeout("no ack of an event of topic '%s' within %g s; it is still on its way"
                          % (topic, self._retry_timeout)) from None
        failure = failure_of(result)
        if failure:
            raise self._final or failure
        return result.seq

    async def publish_expecting(self, events: Sequence[Tuple[Any, ...]], last: int,
                                topic: Optional[str] = None) -> int:
        """See Producer.publish_expecting."""
        bodies = [pack_event(event[0], event[2] if len(event) > 2 else None, event[1])
                  for event in events]
        self._check()
        await self._wait(lambda: not self._outbox.count)
        told = _Told()
        self._outbox.expect(bodies, told, expectation_of(last, topic))
        self._kick()
        await self._wait(lambda: bool(told))
        result = next((each for each in told if each.reason), told[0])
        failure = failure_of(result)
        if failure:
            raise self._final or failure
        return result.seq

    async def send(self, topic: str, payload: Any, time: Optional[Time] = None, *,
                   number: int = 0, tag: Any = None) -> None:
        """Take one event for sending; its result comes later, to on_result or to flush(). Waits
        while more than `window_bytes` have no ack."""
        body = pack_event(topic, time, payload)
        self._check()
        await self._wait(lambda: not self._outbox.count
                         or self._outbox.bytes + len(body) <= self._window_bytes)
        self._outbox.add(body, tag, number)
        self._kick()

    async def report_gap(self, count: int, reason: str, *, first: int = 0) -> None:
        """See Producer.report_gap."""
        self._check()
        self._outbox.add_gap(count, reason, first)
        self._kick()

    async def flush(self) -> None:
        """Wait until every event has its result; see Producer.flush."""
        self._check()
        await self._wait(lambda: not self._outbox.count)
        bad, self._first_bad = self._first_bad, None
        failure = failure_of(bad) if bad else None
        if failure:
            raise failure

    @property
    def unacknowledged(self) -> int:
        """How many events were taken and have no result yet."""
        return self._outbox.count

    @property
    def last_number(self) -> int:
        """The producer's last number: given out here, or told by the daemon."""
        return self._outbox.last_number

    async def close(self) -> None:
        """Disconnect, without waiting for acks: what has no result yet gets "unknown"."""
        self._final = self._final or Invalid("this producer has been closed")
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._tell(self._outbox.abandon())

    async def __aenter__(self) -> "AsyncProducer":
        return await self.connect()

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> None:
        """Flushes, unless an exception is on its way; then closes."""
        try:
            if kind is None and self._final is None:
                await self.flush()
        finally:
            await self.close()

    # ---- The connection ----

    def _check(self) -> None:
        if self._final:
            raise self._final
        if self._task is None:
            raise Invalid("this producer is not connected yet: await its connect(), or use it in "
                          "'async with'")

    async def _wait(self, done: Callable[[], bool]) -> None:
        """Timeout after retry_timeout without any result."""
        while not done():
            waiter: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
            self._waiters.add(waiter)
            try:
                await asyncio.wait_for(waiter, self._retry_timeout)
            except asyncio.TimeoutError:
                raise Timeout("no answer from the daemon at '%s' within %g s"
                              % (self.path, self._retry_timeout)) from None
            finally:
                self._waiters.discard(waiter)
            if self._final:
                raise self._final

    async def _open(self) -> Any:
        """Connect, say hello and be welcomed."""
        connection = _wire.connect(self.path, 0)  # at once, or not at all
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        try:
            writer.write(self._hello)
            splitter = _wire.Splitter()
            message = await asyncio.wait_for(self._first_message(reader, splitter),
                                             self._connect_timeout)
            self.welcome = _wire.welcome_of(message)
            self._tell(self._outbox.welcome(self.welcome))
        except BaseException as error:
            writer.close()
            if isinstance(error, (OSError, asyncio.TimeoutError)) \
                    and not isinstance(error, DaybookError):
                raise Unreachable("the daemon at '%s' did not welcome us within %g s"
                                  % (self.path, self._connect_timeout)) from None
            raise
        self.reconnects += 1
        return reader, writer, splitter

    async def _first_message(self, reader: asyncio.StreamReader,
                             splitter: _wire.Splitter) -> List[Any]:
        while True:
            message = splitter.next()
            if message is not None:
                return message
            data = await reader.read(_wire.RECEIVE_BYTES)
            if not data:
                raise Unreachable("the daemon at '%s' closed the connection before its welcome"
                                  % self.path)
            splitter.feed(data)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                   splitter: _wire.Splitter) -> None:
        """The task: serve one connection after the other until something final happens."""
        while self._final is None:
            try:
                await self._serve(reader, writer, splitter)
            except (OSError, Unreachable):
                pass
            except DaybookError as error:
                self._end(error)
                return
            finally:
                self._writer = None
                writer.close()
            while self._final is None:
                await asyncio.sleep(self._pauses.next())
                try:
                    reader, writer, splitter = await self._open()
                    break
                except Unreachable:
                    continue
                except DaybookError as error:
                    self._end(error)

    def _end(self, error: DaybookError) -> None:
        self._final = error
        self._tell(self._outbox.abandon())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                     splitter: _wire.Splitter) -> None:
        self._writer = writer
        self._write()
        while True:
            message = splitter.next()
            if message is None:
                data = await reader.read(_wire.RECEIVE_BYTES)
                if not data:
                    return
                splitter.feed(data)
                continue
            if message[0] == "error":
                raise _wire.error_of(message)
            self._tell(self._outbox.receive(message))
            self._pauses.reset()
            self._write()

    def _kick(self) -> None:
        if not self._kicked:
            self._kicked = True
            asyncio.get_event_loop().call_soon(self._write)

    def _write(self) -> None:
        self._kicked = False
        if self._writer is None:
            return
        data = self._outbox.unsent(_FLIGHT_MAX)
        while data:
            self._writer.write(bytes(data))
            self._outbox.note_sent(len(data))
            data = self._outbox.unsent(_FLIGHT_MAX)

    def _tell(self, results: List[Result]) -> None:
        for result in results:
            if isinstance(result.tag, asyncio.Future):
                if not result.tag.done():
                    result.tag.set_result(result)
            elif isinstance(result.tag, _Told):
                result.tag.append(result)
            elif self._on_result:
                self._on_result(result)
            elif result.code != "stored" and self._first_bad is None:
                self._first_bad = result
        if results or self._final:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
