"""Daybook from Python: publish events, subscribe to them, ask for them in SQL.

    import daybook

    with daybook.Producer(producer="meter-7") as producer:
        producer.publish("reading", {"kWh": 3.25})

    for event in daybook.Subscriber("reading", after=0):
        print(event.seq, event.payload)

Plain Python 3.8 or later, the standard library only. The daemon is found as by the commands: by the
arguments `directory` and `socket`, else $DAYBOOK_SOCKET and $DAYBOOK_DIR, else ./daybook-data.
"""

from ._cursors import Cursor, cursors
from ._event import Event, Time
from ._msgpack import Ext
from ._outbox import Result
from ._sql import open_index, sql
from .async_producer import AsyncProducer
from .async_subscriber import AsyncSubscriber
from .errors import (Conflict, Damaged, DaybookError, Foreign, Invalid, Lost, NoSpace,
                     ProtocolError, Refused, Replaced, Taken, Timeout, Unknown, Unreachable)
from .producer import Producer
from .subscriber import Subscriber

__version__ = "0.1.0"
__all__ = [
    "AsyncProducer", "AsyncSubscriber", "Conflict", "Cursor", "Damaged", "DaybookError", "Event",
    "Ext", "Foreign", "Invalid", "Lost", "NoSpace", "Producer", "ProtocolError", "Refused",
    "Replaced", "Result", "Subscriber", "Taken", "Time", "Timeout", "Unknown", "Unreachable",
    "cursors", "open_index", "sql",
]
