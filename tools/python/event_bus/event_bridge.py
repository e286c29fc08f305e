"""One line in a program, and its events are in the log:

    from event_bus import event_bridge
    event_bridge.signal_generated({"symbol": "EURUSD", "direction": "BUY", "confidence": 83.5})

A call takes microseconds, never blocks and never raises, whatever state the log is in: it makes a
snapshot of the data and queues it; a thread brings it to the daemon. It may be called from any
thread, from a signal handler, within asyncio, after fork(). True: the event is queued. False: it
was dropped - because the queue is full, the event is larger than 1 MiB or has more than 20,000
values, or the bridge is disabled. Nothing that an enabled bridge drops is dropped silently: stats()
counts it, the log is told as soon as it can be reached, and `daybook gaps` shows it.

Microseconds are those of events as they usually are: a snapshot costs some 0.1 us a value of plain
data, up to 3 us a value where dates, objects and the like have to be made plain first, and what
methods of the data's own (__str__, tolist …) take. Exceptions of such methods are caught. What is no Exception
goes through, because it is a signal handler's: Ctrl-C and sys.exit() end a program that is just
publishing, too.

The event is an object {event_type, timestamp, source, data, correlation_id, user_id, session_id}.
Its topic is event_type, its time is timestamp, and the whole object is the payload. Data that JSON
cannot say is made into what it can: dates into ISO text, sets into lists, numpy's numbers into
numbers, bytes and objects into text. A time without a zone counts as UTC.

Without enable(), the first call enables the bridge, for the log that $DAYBOOK_DIR or
$DAYBOOK_SOCKET name; $DAYBOOK_BRIDGE=off keeps it disabled. $DAYBOOK_BRIDGE_SPILL names a folder
for spill files.

When the program ends, what is queued is sent first, for up to `exit_timeout` seconds; without a
daemon nothing is waited for. A process that ends by os._exit() or a signal loses what is queued, so
call flush() first where that matters.
"""

import atexit
import os
import sys
import threading
import time as _time
from typing import Any, Dict, Optional

from daybook import _wire
from daybook._event import check_producer

from ._courier import BYTES_MAX, EVENTS_MAX, Config, Courier
from ._inbox import Count
from ._names import absolute, program

__all__ = ["balance_update", "disable", "enable", "fire_command", "flush", "market_data", "publish",
           "signal_generated", "stats", "system_health", "trade_executed", "user_action"]

_RETRY = 1.0  # seconds before the thread is started again, when the system had none for us

_courier = Courier()  # it has a queue from the first moment on, whoever calls first, and from where
_disabled = os.environ.get("DAYBOOK_BRIDGE", "").lower() in ("off", "0", "no", "false")
_starting = threading.Lock()
_unqueued = Count()  # events that were dropped before a queue could count them
_trouble = ""  # why
_not_before = 0.0
_exit_registered = False

_now = _time.time


def signal_generated(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                     correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                     timestamp: Any = None, **fields: Any) -> bool:
    """A signal was generated. `fields` are added to the data."""
    return _take("signal_generated", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def fire_command(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                 correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                 timestamp: Any = None, **fields: Any) -> bool:
    """A command to fire was given."""
    return _take("fire_command", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def trade_executed(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                   correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                   timestamp: Any = None, **fields: Any) -> bool:
    """A trade was executed."""
    return _take("trade_executed", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def balance_update(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                   correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                   timestamp: Any = None, **fields: Any) -> bool:
    """An account's balance has changed."""
    return _take("balance_update", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def system_health(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                  correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                  timestamp: Any = None, **fields: Any) -> bool:
    """How a part of the system is doing."""
    return _take("system_health", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def user_action(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                timestamp: Any = None, **fields: Any) -> bool:
    """A user has done something."""
    return _take("user_action", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def market_data(data: Any = None, /, *rest: Any, source: Optional[str] = None,
                correlation_id: Any = None, user_id: Any = None, session_id: Any = None,
                timestamp: Any = None, **fields: Any) -> bool:
    """A tick, a candle, a depth."""
    return _take("market_data", data, rest, fields, source, correlation_id, user_id,
                 session_id, timestamp)


def publish(event_type: Any = None, data: Any = None, /, *rest: Any,
            source: Optional[str] = None, correlation_id: Any = None, user_id: Any = None,
            session_id: Any = None, timestamp: Any = None, **fields: Any) -> bool:
    """An event of any other type: 1 to 255 characters of A-Z a-z 0-9 _ . : / -"""
    if event_type is None:
        event_type = fields.pop("event_type", None)
    return _take(event_type, data, rest, fields, source, correlation_id, user_id, session_id,
                 timestamp)


def _take(event_type: str, data: Any, rest: Any, fields: Dict[str, Any], source: Any,
          correlation_id: Any, user_id: Any, session_id: Any, timestamp: Any) -> bool:
    global _trouble
    try:
        courier = _courier
        if not courier.running:
            if _disabled:
                return False
            courier = _revive()
        if rest or fields:
            data = _merged(data, rest, fields)
        return courier.inbox.take((event_type, _now(), timestamp, source, data, correlation_id,
                                   user_id, session_id))
    except Exception as error:  # pylint: disable=broad-except
        _unqueued.up()
        _trouble = "%s: %s" % (type(error).__name__, error)
        return False


def _merged(data: Any, rest: Any, fields: Dict[str, Any]) -> Any:
    if data is None and "data" in fields:
        data = fields.pop("data")  # as a keyword
        if not rest and not fields:
            return data
    made = dict(data) if isinstance(data, dict) else {} if data is None else {"data": data}
    made.update(fields)
    if rest:
        made["args"] = list(rest)
    return made


# ---- On and off -----------------------------------------------------------------------------


def enable(directory: Optional[str] = None, socket: Optional[str] = None, *,
           producer: Optional[str] = None, source: Optional[str] = None,
           max_events: int = EVENTS_MAX, max_bytes: int = BYTES_MAX, spill: Optional[str] = None,
           spill_bytes: int = 256 << 20, exit_timeout: float = 2.0) -> None:
    """Send events, from now on. What was queued with other settings is sent first, for up to 2 s;
    what could not be sent is left to the new settings.

    directory, socket: where the daemon is (it need not run); else $DAYBOOK_SOCKET, $DAYBOOK_DIR,
        ./daybook-data.
    producer: the name under which events are numbered, for one process at a time; else
        event_bridge.PROGRAM, and event_bridge.PROGRAM.2 for a second process of the program.
    source: of events that name none; else the program's name.
    max_events, max_bytes: what may wait in memory for the log.
    spill: a folder, for one log's. What memory does not hold goes into a file there, of up to
        `spill_bytes`, and from there to the log, in order and exactly once, also after a restart of
        the program. What a process of the program has left there that is no more, another one
        sends while it has nothing else to do (not with a `producer` of its own).
    exit_timeout: seconds that the end of the program may wait for the log.

    Invalid: a producer's name that is none."""
    global _disabled
    if producer is not None:
        check_producer(producer)
    config = Config(absolute(_wire.find_socket(socket, directory)), producer,
                    source or program(), max_events, max_bytes,
                    spill or os.environ.get("DAYBOOK_BRIDGE_SPILL") or None, spill_bytes,
                    exit_timeout)
    with _starting:
        _disabled = False
        if _courier.running and _courier.config == config:
            return
        _start(config)


def disable(timeout: float = 2.0) -> bool:
    """Send what is queued, for up to `timeout` seconds, then stop; calls do nothing until
    enable(). False: events were left over."""
    global _disabled
    with _starting:
        _disabled = True
        return _stop(timeout)


def flush(timeout: float = 5.0) -> bool:
    """Wait until everything that is queued is durable. False: it is not, after `timeout`
    seconds."""
    end = _time.monotonic() + timeout
    courier = _courier
    while courier.pending():
        if _time.monotonic() >= end or not courier.running:
            return False
        if courier.inbox.asleep:
            courier.inbox.wake()
        _time.sleep(0.001)
    return True


def stats() -> Dict[str, Any]:
    """What has become of the events: state ("connected", "connecting", "disabled", or what is
    wrong), producer, taken, stored, waiting, dropped (and dropped_because), refused, and more."""
    made = _courier.stats()
    if _disabled and not _courier.running:
        made["state"] = "disabled"
    if _unqueued.value():
        made["dropped"] += _unqueued.value()
        made["dropped_because"]["there was no queue"] = _unqueued.value()
        made["last_error"] = made["last_error"] or _trouble
    return made


def _start(config: Config) -> None:
    """With the lock. The new courier queues from the first moment; its thread begins when that of
    the old one, if there is one, has ended. Where the system has no thread for it, a later call
    tries again."""
    global _courier
    old, courier = _courier, Courier(config)
    _courier = courier
    if not old.closed:
        old.close_for(courier, 2.0)
    _start_thread(courier)


def _start_thread(courier: Courier) -> None:
    global _not_before, _exit_registered
    try:
        if not courier.has_config:
            courier.config = _config_of_environment()
        courier.start()
        if not _exit_registered:
            _exit_registered = True
            atexit.register(_at_exit)
        _register_with_multiprocessing()
    except Exception as error:  # pylint: disable=broad-except
        courier.inbox.last_error = "no thread: %s: %s" % (type(error).__name__, error)
        _not_before = _time.monotonic() + _RETRY


def _stop(timeout: float) -> bool:
    return _courier.close(timeout)


def _revive() -> Courier:
    """The courier that a call is to use, which is started if need be. Without waiting: while
    another thread does that, or this one, interrupted by a signal, its queue takes events."""
    courier = _courier
    if courier.closed or _time.monotonic() < _not_before or not _starting.acquire(False):
        return courier
    try:
        courier = _courier
        if not courier.running and not courier.closed:
            _start_thread(courier)
        return courier
    finally:
        _starting.release()


def _config_of_environment() -> Config:
    return Config(absolute(_wire.find_socket(None, None)), None, program(), EVENTS_MAX, BYTES_MAX,
                  os.environ.get("DAYBOOK_BRIDGE_SPILL") or None, 256 << 20, 2.0)


# ---- The ends of processes, and their beginnings by fork ------------------------------------


def _at_exit() -> None:
    courier = _courier
    if courier.running:
        courier.close(courier.config.exit_timeout)


def _register_with_multiprocessing() -> None:
    """Children of multiprocessing end without atexit; they have finalizers of their own."""
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=0)


def _after_fork() -> None:
    """In the child: the thread, the queue, the connection and the name are the parent's."""
    global _courier, _starting, _not_before
    _starting = threading.Lock()
    _not_before = 0.0
    old, _courier = _courier, Courier()
    try:
        if old.has_config:
            _courier.config = old.config  # its thread begins with the first event
        _courier.inbox.closed = old.closed
        old.forget()
    except Exception:  # pylint: disable=broad-except
        pass


os.register_at_fork(after_in_child=_after_fork)
