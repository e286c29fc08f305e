#!/usr/bin/env python3
"""How long does event_bridge.signal_generated({...}) take, with the log in each of five states?

    tests/tools/measure_bridge.py [CALLS]

Prints a table: CALLS (20,000) calls at 10,000/s and as many without a pause, in each state; the first
row is the same loop around an empty function, which is what this machine adds by itself. A
measurement, not a test: it has no limits.
"""
import contextlib
import os
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import TEMPORARY  # noqa: E402
from python_support import running, running_on_a_small_disk  # noqa: E402
import daybook  # noqa: E402
from event_bus import event_bridge  # noqa: E402

RATE = 10000
SIGNAL = {
    "signal_id": "SIG_EURUSD_000123", "symbol": "EURUSD", "direction": "BUY", "confidence": 83.25,
    "pattern": "LIQUIDITY_SWEEP_REVERSAL", "entry": 1.08123, "stop_loss": 1.0792, "lots": 0.1,
    "take_profit": 1.085, "timeframe": "M5", "session": "LONDON", "number": 0, "shield": True,
    "tags": ["a", "b"], "meta": {"spread": 1.2, "note": None},
}


def measure(function, calls, rate):
    """The duration of each call, in ns, sorted."""
    clock, took = time.perf_counter_ns, []
    began = time.perf_counter()
    for n in range(calls):
        SIGNAL["number"] = n
        before = clock()
        function(SIGNAL)
        took.append(clock() - before)
        while rate and time.perf_counter() - began < n / rate:
            time.sleep(0.0002)
    return sorted(took)


def report(state, function, calls):
    for rate, words in ((RATE, "10,000/s"), (0, "no pause")):
        took = measure(function, calls, rate)
        marks = [took[calls // 2], took[calls * 99 // 100], took[calls * 999 // 1000], took[-1]]
        print("%-10s %-9s" % (state, words) + "".join("%10.1f" % (mark / 1000) for mark in marks)
              + "%9d" % event_bridge.stats()["dropped"], flush=True)
        event_bridge.flush(0.2)


@contextlib.contextmanager
def up(directory):
    with running(directory):
        yield


@contextlib.contextmanager
def stopped(directory):
    with running(directory) as daemon:
        event_bridge.signal_generated({})
        event_bridge.flush()
        daemon.process.send_signal(signal.SIGSTOP)
        yield
        daemon.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def killed(directory):
    with running(directory) as daemon:
        event_bridge.signal_generated({})
        event_bridge.flush()
        daemon.kill()
        yield


@contextlib.contextmanager
def absent(_directory):
    yield


@contextlib.contextmanager
def disk_full(directory):
    with running_on_a_small_disk(directory) as daemon:
        with contextlib.suppress(daybook.NoSpace), \
                daybook.Producer(daemon.directory, producer="filler") as filler:
            while True:
                filler.publish("filler", random.randbytes(9000))
        yield


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    print("%-10s %-9s%10s%10s%10s%10s%9s" % ("log", "calls", "p50 us", "p99 us", "p99.9 us",
                                             "max us", "dropped"))
    report("(nothing)", lambda data: None, calls)
    for state in (up, stopped, killed, absent, disk_full):
        with tempfile.TemporaryDirectory(prefix="daybook-measure.", dir=TEMPORARY) as directory:
            event_bridge.enable(os.path.join(directory, "log"), exit_timeout=0)
            with state(directory):
                report(state.__name__.replace("_", " "), event_bridge.signal_generated, calls)
            event_bridge.disable(0)


main()
