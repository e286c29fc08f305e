"""Events of a program into the log of a Daybook daemon, with one line: see event_bus.event_bridge.

    from event_bus import event_bridge
    event_bridge.signal_generated({"symbol": "EURUSD"})

or

    from event_bus.event_bridge import signal_generated
    signal_generated({"symbol": "EURUSD"})
"""

from . import event_bridge

__all__ = ["event_bridge"]
