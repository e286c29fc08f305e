#!/usr/bin/env python3
"""event_bus.event_bridge: one line in a program, which never blocks and never raises, whatever the
log is doing; what it took arrives once and in order, and what it dropped is in `daybook gaps`.
"""
import asyncio
import contextlib
import datetime
import decimal
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import main, promise  # noqa: E402
from python_support import (events_of, framed, free_disk, gaps_of, payloads_of,  # noqa: E402
                            running, running_on_a_small_disk, script)
from event_bus import event_bridge  # noqa: E402
import event_bus._plain as plain  # noqa: E402

NAMES = ("signal_generated", "fire_command", "trade_executed", "balance_update", "system_health",
         "user_action", "market_data")
FOREVER = 120  # longer than anything here takes


@contextlib.contextmanager
def bridge(directory, **settings):
    event_bridge.enable(directory, **settings)
    try:
        yield event_bridge
    finally:
        event_bridge.disable(0)


def numbers_of(daemon):
    return [payload["data"]["n"] for payload in payloads_of(daemon)]


def await_state(state):
    while event_bridge.stats()["state"] != state:
        time.sleep(0.001)


@promise("an event has the seven keys, the topic of its type, and the time of its timestamp")
def shape(directory):
    with running(directory) as daemon, bridge(daemon.directory):
        for name in NAMES:
            assert getattr(event_bridge, name)({"a": [1, 2.5, None, "ü"]}) is True
        event_bridge.publish("own.type", None, source="s", correlation_id="c", user_id=7,
                             session_id="z", timestamp=1757386981.642318)
        event_bridge.publish("iso", {"a": 1}, timestamp="2025-09-09T05:03:01.642318001+02:00", b=2)
        event_bridge.publish("bad", timestamp="soon")
        assert event_bridge.flush(FOREVER)
        events = events_of(daemon)
        assert [e["topic"] for e in events] == [*NAMES, "own.type", "iso", "bad"]
        for event in events:
            assert list(event["payload"]) == ["event_type", "timestamp", "source", "data",
                                              "correlation_id", "user_id", "session_id"], event
            assert event["payload"]["event_type"] == event["topic"]
        first = events[0]
        assert first["payload"]["data"] == {"a": [1, 2.5, None, "ü"]}
        assert first["payload"]["source"] == "test_python_bridge"
        seconds = datetime.datetime.fromisoformat(first["time"][:26] + "+00:00").timestamp()
        assert abs(seconds - first["payload"]["timestamp"]) < 2e-6, first
        assert events[7]["payload"] == {
            "event_type": "own.type", "timestamp": 1757386981.642318, "source": "s", "data": None,
            "correlation_id": "c", "user_id": 7, "session_id": "z"}
        assert events[7]["time"] == "2025-09-09T03:03:01.642318000Z"
        assert events[8]["time"] == "2025-09-09T03:03:01.642318001Z"
        assert events[8]["payload"]["data"] == {"a": 1, "b": 2}
        assert events[9]["time"] > "2026" and events[9]["payload"]["timestamp"] == "soon"


@promise("ten thousand calls in a second lose nothing while the daemon is up")
def ten_thousand(directory):
    with running(directory) as daemon, bridge(daemon.directory):
        began = time.perf_counter()
        for n in range(10000):
            assert event_bridge.signal_generated({"n": n, "symbol": "EURUSD", "price": n / 7})
            while time.perf_counter() - began < n / 10000:
                pass
        assert event_bridge.flush(FOREVER)
        stats = event_bridge.stats()
        assert (stats["taken"], stats["stored"], stats["dropped"]) == (10000, 10000, 0), stats
        assert numbers_of(daemon) == list(range(10000))
        assert gaps_of(daemon) == []


@promise("flush returns when everything is durable, and not before")
def flushing(directory):
    with running(directory) as daemon:
        for attempt in range(100):
            event_bridge.enable(daemon.directory, source=str(attempt))
            event_bridge.publish("t", {"n": attempt})
            assert event_bridge.flush(FOREVER)
            stats = event_bridge.stats()
            assert (stats["stored"], stats["waiting"]) == (1, 0), (attempt, stats)
        event_bridge.disable()
        assert numbers_of(daemon) == list(range(100))


@promise("calls return while the daemon is absent, stopped, killed; afterwards everything is "
         "there, once and in order")
def all_states(directory):
    sent = 0

    def send(count):
        nonlocal sent
        for _ in range(count):
            assert event_bridge.trade_executed({"n": sent}) is True
            sent += 1

    with bridge(os.path.join(directory, "log")):
        send(1000)
        assert event_bridge.stats()["stored"] == 0
        assert not event_bridge.flush(0.05)
        with running(directory) as daemon:
            assert event_bridge.flush(FOREVER)
            daemon.process.send_signal(signal.SIGSTOP)
            send(3000)
            assert not event_bridge.flush(0.05)
            assert event_bridge.stats()["waiting"] >= 2999
            daemon.process.send_signal(signal.SIGCONT)
            assert event_bridge.flush(FOREVER)
            for _ in range(5):
                send(500)
                daemon.kill()
                send(500)
                daemon.start()
            assert event_bridge.flush(FOREVER)
            assert numbers_of(daemon) == list(range(sent))
            assert gaps_of(daemon) == []
            assert event_bridge.stats()["dropped"] == 0


@promise("calls return while the disk is full; when there is space everything is there, once "
         "and in order")
def full_disk(directory):
    with running_on_a_small_disk(directory) as daemon, bridge(daemon.directory):
        pad = random.Random(1).randbytes(9000).hex()
        for n in range(300):
            assert event_bridge.market_data({"n": n, "pad": pad[n:] + pad[:n]})
        before = event_bridge.stats()["connections"]
        while event_bridge.stats()["connections"] < before + 3:  # each of them refuses
            time.sleep(0.001)
        for n in range(300, 400):
            assert event_bridge.market_data({"n": n})
        free_disk(daemon)
        assert event_bridge.flush(FOREVER)
        assert numbers_of(daemon) == list(range(400))
        assert gaps_of(daemon) == [], gaps_of(daemon)


@promise("what the queue has no room for is dropped, counted, and told to the log as a gap when "
         "that comes back")
def drops(directory):
    with running(directory) as daemon, bridge(daemon.directory, max_events=100):
        event_bridge.user_action({"n": 0})
        assert event_bridge.flush(FOREVER)
        daemon.process.send_signal(signal.SIGSTOP)
        taken = [n for n in range(1, 1000) if event_bridge.user_action({"n": n})]
        assert 100 <= len(taken) < 300, len(taken)
        stats = event_bridge.stats()
        assert stats["dropped"] == 999 - len(taken), stats
        assert stats["dropped_because"] == {"the queue was full": 999 - len(taken)}, stats
        daemon.process.send_signal(signal.SIGCONT)
        assert event_bridge.flush(FOREVER)
        event_bridge.user_action({"n": 1000})
        assert event_bridge.flush(FOREVER)
        assert numbers_of(daemon) == [0, *taken, 1000]
        rows = gaps_of(daemon)
        assert {(r["producer"], r["cause"], r["reason"]) for r in rows} == {
            ("event_bridge.test_python_bridge", "dropped", "the queue was full")}, rows
        assert sum(r["missing"] for r in rows) == 999 - len(taken), rows


@promise("the queue is bounded in bytes, too")
def bytes_bound(directory):
    with bridge(os.path.join(directory, "none"), max_bytes=1 << 20):
        taken = sum(event_bridge.user_action("x" * 10000) for _ in range(1000))
        assert 100 <= taken < 120, taken
        assert event_bridge.stats()["dropped"] == 1000 - taken


class Awkward:
    def __str__(self):
        raise RuntimeError("no")


class Lively:
    def __str__(self):
        return "lively"


@promise("whatever the data is, no call raises, and what arrives is as near to it as JSON comes")
def any_data(directory):
    circle = {}
    circle["self"] = circle
    deep = {"n": 1}
    for _ in range(100):
        deep = {"d": deep}
    given = [
        (datetime.datetime(2025, 9, 9, 3, 3, 1), "2025-09-09T03:03:01"),
        (datetime.timedelta(seconds=1.5), 1.5),
        ({1: "a", None: "b", True: "c", 2.5: "d", (1, 2): "e"},
         {"true": "c", "null": "b", "2.5": "d", "(1, 2)": "e"}),
        ({"s": {3}, "t": (1, 2), "f": frozenset("x")}, {"s": [3], "t": [1, 2], "f": ["x"]}),
        (b"text", "text"), (b"\xff\x00", "/wA="), (bytearray(b"ab"), "ab"),
        (2**70, str(2**70)), (-2**63, -2**63), (2**64 - 1, 2**64 - 1),
        ("a\ud800b", "a\\ud800b"), ({"k\udfff": 1}, {"k\\udfff": 1}),
        (decimal.Decimal("1.10"), "1.10"), (Lively(), "lively"),
        (Awkward(), "<Awkward that has no text>"), ([Awkward()], ["<Awkward that has no text>"]),
        (signal.SIGTERM, 15), (math.inf, None), (object, "<class 'object'>"), ("", ""), (0, 0),
    ]
    with running(directory) as daemon, bridge(daemon.directory):
        for data, _ in given:
            assert event_bridge.system_health(data) is True, data
        assert event_bridge.system_health(circle) is True
        assert event_bridge.system_health(deep) is True
        assert event_bridge.system_health("x" * 1000000) is True
        assert event_bridge.system_health("x" * 1048577) is False
        assert event_bridge.system_health(["x" * 1000] * 1100) is False
        assert event_bridge.system_health([0] * 2000000) is False
        assert event_bridge.system_health("ü" * 600000) is True, "too large only when encoded"
        assert event_bridge.publish("not a topic", 1) is True
        assert event_bridge.publish(None, 1) is True
        assert event_bridge.system_health(1, 2, 3, four=4) is True
        assert event_bridge.flush(FOREVER)
        kept = [payload["data"] for payload in payloads_of(daemon)]
        for (data, expected), found in zip(given, kept):
            if data == {1: "a", None: "b", True: "c", 2.5: "d", (1, 2): "e"}:
                expected = {"true" if k == "true" else k: v for k, v in expected.items()}
                expected.pop("true")
                expected["1"] = "c"  # to Python, 1 and True are one key
            if data != math.inf:
                assert found == expected and type(found) is type(expected), (data, found)
        found = kept[len(given):]
        assert json.dumps(found[0]).count("self") >= 20 and json.dumps(found[1]).count('"d"') >= 20
        assert len(found[2]) == 1000000
        assert found[3] == {"data": 1, "four": 4, "args": [2, 3]}
        stats = event_bridge.stats()
        assert stats["dropped_because"] == {"the event was too large": 4,
                                            "the event could not be read": 2}, stats
        assert sum(row["missing"] for row in gaps_of(daemon)) == 6
        assert stats["stored"] == len(kept), stats


@promise("looking at data is bounded by what an event can be, whatever it holds")
def bounded_look(_directory):
    circle = []
    circle += [circle, circle]
    for data, expected in [("x" * 10**8, plain.LARGE), ([0] * 10**7, plain.LARGE),
                           ({"a": [{}] * 10**7}, plain.LARGE), (circle, plain.LARGE),
                           ({"a": (1, [2.5, None])}, plain.PLAIN), ({1: 2}, plain.OTHER),
                           ({"a": object()}, plain.OTHER)]:
        assert plain.look(data) == expected, repr(data)[:50]


@promise("what is changed after the call, or during it, is stored as it was")
def changed(directory):
    with running(directory) as daemon, bridge(daemon.directory):
        data = {"n": 0, "list": [0], "inside": {"n": 0}}
        for n in range(1000):
            data["n"] = data["list"][0] = data["inside"]["n"] = n
            assert event_bridge.user_action(data)
        stop = threading.Event()
        shared = {"n": 5, **{str(n): n for n in range(200)}}
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # so that calls are interrupted

        def change():
            dice = random.Random(2)
            while not stop.is_set():
                shared[str(dice.randrange(400))] = dice.random()
                shared.pop(str(dice.randrange(400)), None)

        changer = threading.Thread(target=change)
        changer.start()
        taken = sum(event_bridge.user_action(shared) for _ in range(3000))
        stop.set()
        changer.join()
        sys.setswitchinterval(interval)
        assert taken == 3000, taken
        assert event_bridge.flush(FOREVER)
        kept = [payload["data"] for payload in payloads_of(daemon)]
        assert kept[:1000] == [{"n": n, "list": [n], "inside": {"n": n}} for n in range(1000)]
        assert len(kept) == 4000 and all(data["n"] == 5 for data in kept[1000:])


@promise("calls come from threads, signal handlers, asyncio and finalizers")
def callers(directory):
    with running(directory) as daemon, bridge(daemon.directory):
        def work(who):
            for n in range(500):
                event_bridge.publish("thread", {"who": who, "n": n})

        threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
        handled = 0

        def handler(_number, _frame):
            nonlocal handled
            event_bridge.publish("signal", {"n": handled})
            handled += 1

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for thread in threads:
            thread.start()
        n = 0
        while handled < 200:
            event_bridge.publish("main", {"n": n})
            n += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        for thread in threads:
            thread.join()

        async def many():
            await asyncio.gather(*[asyncio.to_thread(event_bridge.publish, "loop", {"n": n})
                                   for n in range(50)])
            event_bridge.publish("loop", {"n": 50})

        asyncio.run(many())

        class Late:
            def __del__(self):
                event_bridge.publish("late", {})

        Late()
        assert event_bridge.flush(FOREVER)
        stats = event_bridge.stats()
        events = events_of(daemon)
        assert len(events) + stats["dropped"] == 2000 + n + handled + 52, stats
        own = [e["payload"]["data"]["n"] for e in events if e["topic"] == "main"]
        assert own == sorted(set(own)) and (stats["dropped"] or own == list(range(n)))
        for who in range(4):
            own = [e["payload"]["data"]["n"] for e in events if e["topic"] == "thread"
                   and e["payload"]["data"]["who"] == who]
            assert own == sorted(own)


@promise("a forked child has a queue, a thread and a name of its own; children of "
         "multiprocessing lose nothing at their end")
def forks(directory):
    with running(directory) as daemon:
        program = script(directory, """
            import multiprocessing, os, sys
            from event_bus import event_bridge
            def child(who):
                for n in range(100):
                    event_bridge.publish("t", {"who": who, "n": n})
            if __name__ == "__main__":
                event_bridge.enable(sys.argv[1], exit_timeout=60)
                event_bridge.publish("t", {"who": "parent", "n": 0})
                pid = os.fork()
                if pid == 0:
                    child("forked")
                    assert event_bridge.flush(60)
                    os._exit(0)
                for n in range(1, 50):
                    event_bridge.publish("t", {"who": "parent", "n": n})
                context = multiprocessing.get_context("fork")
                workers = [context.Process(target=child, args=("worker %d" % w,)) for w in range(3)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                assert os.waitpid(pid, 0)[1] == 0
                assert all(worker.exitcode == 0 for worker in workers)
                for n in range(50, 100):
                    event_bridge.publish("t", {"who": "parent", "n": n})
            """, daemon.directory)
        assert program.wait() == 0
        kept = [payload["data"] for payload in payloads_of(daemon)]
        for who in ("parent", "forked", "worker 0", "worker 1", "worker 2"):
            numbers = [data["n"] for data in kept if data["who"] == who]
            assert numbers == list(range(100)), (who, numbers)
        assert gaps_of(daemon) == []


ONE_LINE = """
    from event_bus.event_bridge import signal_generated
    signal_generated({"n": 1})
    """


@promise("a program of one line has its event in the log when it ends; without a log it ends "
         "all the same")
def one_line(directory):
    with running(directory) as daemon:
        env = {"DAYBOOK_DIR": daemon.directory}
        assert script(directory, ONE_LINE, env=env).wait() == 0
        assert script(directory, ONE_LINE, env={"DAYBOOK_SOCKET": daemon.socket}).wait() == 0
        assert script(directory, ONE_LINE, env={**env, "DAYBOOK_BRIDGE": "off"}).wait() == 0
        assert numbers_of(daemon) == [1, 1]
        daemon.process.send_signal(signal.SIGSTOP)
        assert script(directory, ONE_LINE, env=env).wait() == 0
        daemon.process.send_signal(signal.SIGCONT)
    assert script(directory, ONE_LINE, env=env).wait() == 0
    assert script(directory, ONE_LINE, env={"DAYBOOK_DIR": "/nowhere/at/all"}).wait() == 0
    assert script(directory, ONE_LINE, env={"DAYBOOK_DIR": directory + "/x" * 2000}).wait() == 0


@promise("threads whose first calls come together lose nothing; nor does a change of settings")
def first_calls(directory):
    with running(directory) as daemon:
        for attempt in range(5):
            program = script(directory, """
                import sys, threading
                from event_bus import event_bridge
                sys.setswitchinterval(1e-6)
                barrier = threading.Barrier(8)
                def work(n):
                    barrier.wait()
                    assert event_bridge.publish("t", {"n": n})
                threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert event_bridge.flush(120)
                assert event_bridge.stats()["dropped"] == 0
                """, env={"DAYBOOK_DIR": daemon.directory})
            assert program.wait() == 0
        assert sorted(numbers_of(daemon)) == sorted(5 * list(range(8)))
        stop, given = threading.Event(), []

        def work():
            while not stop.is_set():
                given.append(event_bridge.publish("u", {"n": len(given)}))
                time.sleep(0.0001)

        event_bridge.enable(daemon.directory, source="first")
        worker = threading.Thread(target=work)
        worker.start()
        for source in range(20):
            event_bridge.enable(daemon.directory, source=str(source))
        stop.set()
        worker.join()
        assert event_bridge.flush(FOREVER) and all(given), given.count(False)
        assert [e["payload"]["data"]["n"] for e in events_of(daemon, "-t", "u")] \
            == list(range(len(given)))
        event_bridge.disable()


@promise("what waits where no log is goes to the log that is enabled then, in order, with what is "
         "called meanwhile; so do the counts of what was dropped")
def handed_on(directory):
    nowhere = os.path.join(directory, "none")
    with running(directory) as daemon:
        program = script(directory, """
            import sys, threading
            from event_bus import event_bridge
            start = event_bridge._courier.start
            def interrupted():  # as by a signal handler, in the middle of the first call
                assert event_bridge.publish("t", {"n": 0})
                start()
            event_bridge._courier.start = interrupted
            assert event_bridge.publish("t", {"n": 1})
            n = 2
            for n in range(2, 100):
                assert event_bridge.publish("t", {"n": n})
            assert not event_bridge.publish("t", "x" * 1100000)
            before = event_bridge.stats()
            assert (before["waiting"], before["dropped"]) == (100, 1), before
            stop, given = threading.Event(), []
            def work():
                while not stop.is_set():
                    given.append(event_bridge.publish("t", {"n": 100 + len(given)}))
                    stop.wait(0.0001)
            worker = threading.Thread(target=work)
            worker.start()
            for source in "abc":
                event_bridge.enable(sys.argv[1] + source, source=source)
            event_bridge.enable(sys.argv[2])
            stop.set()
            worker.join()
            assert event_bridge.flush(120) and all(given)
            stats = event_bridge.stats()
            assert stats["dropped_because"] == before["dropped_because"], stats
            assert stats["taken"] == stats["stored"] and not stats["waiting"], stats
            print(len(given))
            """, nowhere, daemon.directory, env={"DAYBOOK_DIR": nowhere}, stdout=subprocess.PIPE)
        count = int(program.communicate()[0])
        assert numbers_of(daemon) == list(range(100 + count))
        assert sum(row["missing"] for row in gaps_of(daemon)) == 1


@promise("calls in a directory that is no more raise nothing, nor do our own mistakes; all is counted")
def no_directory(directory):
    program = script(directory, """
        import os, sys
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
        from event_bus import event_bridge
        works = event_bridge._config_of_environment
        event_bridge._config_of_environment = lambda: 1 / 0
        assert event_bridge.publish("t", 1) is True
        stats = event_bridge.stats()
        assert stats["waiting"] == 1 and "ZeroDivision" in stats["last_error"], stats
        event_bridge._config_of_environment = works
        assert event_bridge.publish("t", 2) is True
        took, event_bridge._courier.inbox.take = event_bridge._courier.inbox.take, None
        assert event_bridge.publish("t", 3) is False
        event_bridge._courier.inbox.take = took
        stats = event_bridge.stats()
        assert (stats["waiting"], stats["dropped"]) == (2, 1), stats
        event_bridge._not_before = 0
        assert event_bridge.publish("t", 4) is True
        while "no daemon answers" not in event_bridge.stats()["last_error"]:
            assert not event_bridge.stats()["state"].startswith("failed")
        """, cwd=directory)
    assert program.wait() == 0


@promise("calls at the very end of the interpreter do nothing and raise nothing")
def very_end(directory):
    with open(os.path.join(directory, "err"), "wb+") as err:
        program = script(directory, """
            import atexit
            from event_bus import event_bridge
            class Late:
                def __del__(self, call=event_bridge.publish):
                    call("t", {"a": 1})
            keep = Late()
            keep.circle = keep
            atexit.register(event_bridge.publish, "t", {"b": 1})
            event_bridge.publish("t", {"c": 1})
            """, stderr=err, env={"DAYBOOK_DIR": directory})
        assert program.wait() == 0
        err.seek(0)
        text = err.read()
        assert text == b"", text


@promise("disable sends what is queued and stops; enable begins again, at another log if it is "
         "told so")
def on_and_off(directory):
    first, second = os.path.join(directory, "a"), os.path.join(directory, "b")
    os.mkdir(first)
    os.mkdir(second)
    with running(first) as one, running(second) as two:
        event_bridge.enable(one.directory)
        event_bridge.publish("t", {"n": 1})
        assert event_bridge.disable(FOREVER) is True
        assert event_bridge.publish("t", {"n": 2}) is False
        event_bridge.enable(one.directory)
        event_bridge.publish("t", {"n": 3})
        event_bridge.enable(two.directory)
        event_bridge.publish("t", {"n": 4})
        assert event_bridge.disable(FOREVER) is True
        assert numbers_of(one) == [1, 3] and numbers_of(two) == [4]


@promise("who finds its name in use elsewhere goes on under another one")
def renamed(directory):
    with running(directory) as daemon, bridge(daemon.directory):
        event_bridge.publish("t", {"n": 1})
        assert event_bridge.flush(FOREVER)
        name = event_bridge.stats()["producer"]
        with contextlib.closing(daemon.connect(name)) as thief:
            thief.send(framed.frame(["pub", 1, [["thief", None, 1, 50]]]))
            assert thief.receive()[0] == "ack"
            while event_bridge.stats()["producer"] == name:
                event_bridge.publish("t", {"n": 2})
                time.sleep(0.001)
            event_bridge.publish("t", {"n": 3})
            assert event_bridge.flush(FOREVER)
        assert event_bridge.stats()["producer"].startswith(name + ".")
        numbers = [e["payload"]["data"]["n"] for e in events_of(daemon, "-t", "t")]
        assert numbers[0] == 1 and numbers[-1] == 3 and numbers.count(3) == 1, numbers


SPILLER = """
    import sys, time
    from event_bus import event_bridge
    log, folder, first, last, then = sys.argv[1:]
    event_bridge.enable(log, spill=folder, max_events=MAX_EVENTS)
    n = int(first)
    while n < int(last):
        if event_bridge.publish("t", {"n": n}):
            n += 1
        else:
            time.sleep(0.001)
    if then == "flush":
        sys.exit(0 if event_bridge.flush(120) else 1)
    if then == "stay":
        inbox = event_bridge._courier.inbox
        while (inbox.queue
               or event_bridge.stats()["spilled"] + inbox.held_events < n - int(first)):
            time.sleep(0.001)
        print("spilled", flush=True)
        time.sleep(600)
    """


def spiller(directory, log, *arguments, max_events=50):
    return script(directory, SPILLER.replace("MAX_EVENTS", str(max_events)), log, os.path.join(directory, "spill"), *arguments,
                  stdout=subprocess.PIPE)


def end_of(program):
    program.communicate()
    return program.returncode


@promise("what memory does not hold goes into the spill file, and from there into the log, in "
         "order")
def spilled(directory):
    folder = os.path.join(directory, "spill")
    with running(directory) as daemon, bridge(daemon.directory, spill=folder, max_events=200):
        event_bridge.publish("t", {"n": 0})
        assert event_bridge.flush(FOREVER)
        daemon.kill()
        n = 1
        while n < 3000:
            n += event_bridge.publish("t", {"n": n})
        while event_bridge.stats()["spilled"] < 2800:
            time.sleep(0.001)
        files = os.listdir(folder)
        assert files == ["event_bridge.test_python_bridge.jsonl"], files
        first = open(os.path.join(folder, files[0]), encoding="utf-8").readline()
        assert json.loads(first)["topic"] == "t", first
        daemon.start()
        while n < 3100:
            n += event_bridge.publish("t", {"n": n})
        assert event_bridge.flush(FOREVER)
        dropped = event_bridge.stats()["dropped"]
        assert event_bridge.disable(FOREVER)
        assert os.listdir(folder) == []
        assert numbers_of(daemon) == list(range(3100))
        assert sum(row["missing"] for row in gaps_of(daemon)) == dropped


@promise("a spill file is bounded; what it has no room for is dropped and told in its place")
def spill_bound(directory):
    folder = os.path.join(directory, "spill")
    with running(directory) as daemon, \
            bridge(daemon.directory, spill=folder, max_events=100, spill_bytes=20000):
        event_bridge.publish("t", {"n": 0})
        assert event_bridge.flush(FOREVER)
        daemon.process.send_signal(signal.SIGSTOP)
        n = 1
        while event_bridge.stats()["dropped_because"].get("the spill file was full", 0) < 500:
            event_bridge.publish("t", {"n": n})
            n += 1
            time.sleep(0.0001)
        daemon.process.send_signal(signal.SIGCONT)
        assert event_bridge.flush(FOREVER)
        event_bridge.publish("t", {"n": n})
        assert event_bridge.flush(FOREVER)
        numbers = numbers_of(daemon)
        assert numbers == sorted(set(numbers)) and numbers[-1] == n
        missing = sum(row["missing"] for row in gaps_of(daemon))
        assert missing == n + 1 - len(numbers) == event_bridge.stats()["dropped"], missing


@promise("a program that ends while the log is away leaves its events in the spill file, for "
         "its next run: whether memory held them or not")
def spill_over_runs(directory):
    for max_events in (50, 100000, 1):
        folder = os.path.join(directory, str(max_events))
        os.mkdir(folder)
        log, spill = os.path.join(folder, "log"), os.path.join(folder, "spill")
        for first in (0, 500):
            assert end_of(spiller(folder, log, first, first + 500, "exit",
                                  max_events=max_events)) == 0
            kept = os.path.join(spill, "event_bridge.program.jsonl")
            assert os.listdir(spill) == [os.path.basename(kept)]
            assert os.stat(kept).st_mode & 0o777 == 0o600
        with running(folder) as daemon:
            assert end_of(spiller(folder, log, 1000, 1500, "flush", max_events=max_events)) == 0
            assert numbers_of(daemon) == list(range(1500)), max_events
            assert os.listdir(spill) == []


@promise("kill -9 of the program and of the daemon, while the spill file is being sent: each "
         "spilled event once, in order")
def spill_killed(directory):
    log = os.path.join(directory, "log")
    program = spiller(directory, log, 0, 4000, "stay")
    assert program.stdout.readline() == b"spilled\n"
    program.kill()
    end_of(program)
    in_file = sum(1 for line in open(os.path.join(
        directory, "spill", "event_bridge.program.jsonl"), encoding="utf-8") if "topic" in line)
    assert in_file >= 3500, in_file
    with running(directory) as daemon:
        for attempt in range(6):
            program = spiller(directory, log, 4000, 4000, "stay")
            while len(payloads_of(daemon)) < min(in_file, 500 * (attempt + 1)):
                pass
            (program if attempt % 2 else daemon).kill()
            if attempt % 2 == 0:
                daemon.start()
                program.kill()
            end_of(program)
        assert end_of(spiller(directory, log, 4000, 4100, "flush")) == 0
        numbers = numbers_of(daemon)
        # What was in memory alone is lost with it; the first number of the file says how much.
        assert numbers == list(range(4000 - in_file, 4100)), (in_file, len(numbers), numbers[:3])


main()
