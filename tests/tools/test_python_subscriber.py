#!/usr/bin/env python3
"""daybook.Subscriber and daybook.AsyncSubscriber, cursors() and sql(), against a real daemon: every
event once, in order, from history into the live stream, whatever happens to the connection.
"""
import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cli_support  # noqa: E402
from cli_support import main, promise, start  # noqa: E402
from python_support import framed, running, script  # noqa: E402
import daybook  # noqa: E402


def raises(kind, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind as error:
        return str(error)
    raise AssertionError(f"{function} raised no {kind.__name__}")


def publish(daemon, numbers, topic="t"):
    daemon.connect().close()  # it may just have been started
    with daybook.Producer(daemon.directory, producer="publisher") as producer:
        for n in numbers:
            producer.send(topic if isinstance(topic, str) else topic(n), {"n": n})


def numbers_of(events, count=None):
    return [event.payload["n"] for event in itertools.islice(events, count)]


@contextlib.contextmanager
def publishing(daemon, batch=50):
    """Publishes 0, 1, 2 … from a thread until the end; gives a list whose length is how many."""
    given, stop, trouble = [], threading.Event(), []

    def work():
        try:
            with daybook.Producer(daemon.directory, producer="publisher") as producer:
                while not stop.is_set():
                    for _ in range(batch):
                        producer.send("t", {"n": len(given)})
                        given.append(None)
                    producer.poll(0.01)
                producer.flush()
        except Exception as error:  # pylint: disable=broad-except
            print("the publisher failed:", repr(error), flush=True)
            trouble.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield given
    finally:
        stop.set()
        thread.join()
        assert not trouble, trouble


@promise("history, then what comes, without a seam: from a sequence, a time, the beginning, the "
         "end")
def beginnings(directory):
    with running(directory) as daemon:
        where = {"directory": daemon.directory}
        publish(daemon, range(1000))
        with publishing(daemon):
            with daybook.Subscriber(after=0, **where) as subscriber:
                events = list(itertools.islice(subscriber, 5000))
                assert [e.seq for e in events] == list(range(1, 5001))
                assert subscriber.caught_up
            with daybook.Subscriber(start="earliest", **where) as subscriber:
                history = list(subscriber.history())
                assert subscriber.caught_up and [e.seq for e in history] == \
                    list(range(1, len(history) + 1))
                assert subscriber.next().seq == len(history) + 1
            with daybook.Subscriber(after=700, **where) as subscriber:
                assert subscriber.next().seq == 701
            with daybook.Subscriber(since=events[2000].time, **where) as subscriber:
                assert subscriber.next().seq <= 2001
            with daybook.Subscriber(**where) as subscriber:
                first = subscriber.next()
                assert first.seq > 5000
                assert [e.seq for e in itertools.islice(subscriber, 1000)] == \
                    list(range(first.seq + 1, first.seq + 1001))
                while not subscriber.caught_up:  # more may have become durable before it began
                    subscriber.next()
        with daybook.Subscriber(**where) as subscriber:
            assert subscriber.next(0.01) is None
            publish(daemon, [7])
            event = subscriber.next()
            assert (event.topic, event.payload, event.tries) == ("t", {"n": 7}, 0)


@promise("topics are patterns, where is SQL over the payload's fields; both say what is wrong "
         "with them")
def filters(directory):
    with running(directory) as daemon:
        where = {"directory": daemon.directory, "after": 0}
        publish(daemon, range(300), topic=lambda n: ("signal.a", "signal.b.c", "_own")[n % 3])
        got = daybook.Subscriber("signal.*", **where)
        assert numbers_of(got.history()) == list(range(0, 300, 3))
        got.close()
        got = daybook.Subscriber(["signal.>"], where="n >= 290", **where)
        assert numbers_of(got.history()) == [n for n in range(290, 300) if n % 3 != 2]
        assert got.position == 300
        got.close()
        assert "where" in raises(daybook.Invalid, daybook.Subscriber, where="n >", **where)
        assert "several" in raises(daybook.Invalid, daybook.Subscriber, start="latest", **where)
        assert "group" in raises(daybook.Invalid, daybook.Subscriber, shared=True, **where)
        assert "'latest'" in raises(daybook.Invalid, daybook.Subscriber, start="now")
        raises(daybook.Invalid, daybook.Subscriber, cursor="../x", directory=daemon.directory)
        assert "no daemon" in raises(daybook.Unreachable, daybook.Subscriber, directory=directory)


@promise("over ten kill -9 of the daemon every event comes once, in order")
def killed(directory):
    with running(directory) as daemon, publishing(daemon):
        # Little credit, so that no kill goes by unnoticed because so much has come already.
        with daybook.Subscriber(after=0, credit=100, directory=daemon.directory) as subscriber:
            numbers = []
            for _ in range(10):
                numbers += numbers_of(subscriber, 700)
                daemon.kill()
                daemon.start()
            numbers += numbers_of(subscriber, 700)
            assert numbers == list(range(len(numbers))), "no hole, nothing twice"
            assert subscriber.reconnects >= 10


@promise("a cursor: what was committed does not come again, and everything else does")
def cursor(directory):
    with running(directory) as daemon:
        where = {"directory": daemon.directory, "cursor": "c.1"}
        publish(daemon, range(100))
        with daybook.Subscriber(**where) as subscriber:
            assert numbers_of(subscriber, 40) == list(range(40))
            subscriber.commit(10)
            subscriber.commit(20, wait=True)
            assert subscriber.committed == 20
            assert "has not come" in raises(daybook.Invalid, subscriber.commit, 500)
        daemon.kill()
        daemon.start()
        daemon.connect().close()
        with daybook.Subscriber(start="latest", **where) as subscriber:
            assert subscriber.committed == 20
            assert numbers_of(subscriber, 30) == list(range(20, 50))
            subscriber.commit()
        with daybook.Subscriber(**where) as subscriber:
            assert numbers_of(subscriber.history()) == list(range(50, 100))
            subscriber.commit()
        told = daybook.cursors(daemon.directory)
        assert [(c.name, c.position, c.lag, c.shared, c.hold) for c in told] == [
            ("c.1", 100, 0, False, False)], told
        with daybook.Subscriber("none.*", directory=daemon.directory, cursor="other") as subscriber:
            assert list(subscriber.history()) == []
            subscriber.commit(wait=True)
            assert subscriber.committed == 100, "what does not match is done, too"
        with daybook.Subscriber(after=0, directory=daemon.directory) as subscriber:
            assert "no cursor" in raises(daybook.Invalid, subscriber.commit)
            assert "group" in raises(daybook.Invalid, subscriber.accept, 1)


@promise("with a cursor, over kill -9 of the daemon: each event once to a living program, "
         "commits go on")
def cursor_killed(directory):
    with running(directory) as daemon, publishing(daemon):
        where = {"directory": daemon.directory, "cursor": "c"}
        seen = []
        # Little credit: what is sent again comes a few events at a time, and cannot be committed
        # before.
        with daybook.Subscriber(credit=10, **where) as subscriber:
            for round_number in range(6):
                for event in itertools.islice(subscriber, 500):
                    seen.append(event.payload["n"])
                    if len(seen) % 100 == 0:
                        subscriber.commit()
                if round_number % 2:
                    subscriber.commit(wait=True)
                daemon.kill()
                daemon.start()
            subscriber.commit(wait=True)
        assert seen == list(range(3000)), (len(seen), seen[:3])
        daemon.connect().close()
        with daybook.Subscriber(**where) as subscriber:
            assert subscriber.next().payload["n"] == 3000


@promise("a cursor that is moved while its subscriber is away is followed")
def moved(directory):
    with running(directory) as daemon:
        publish(daemon, range(100))
        with daybook.Subscriber(directory=daemon.directory, cursor="c") as subscriber:
            assert numbers_of(subscriber.history()) == list(range(100))
            subscriber.commit(wait=True)
            daemon.kill()
            cli_support.daybook("cursors", "c", "--reset-to", "30", "-D", daemon.directory)
            daemon.start()
            assert numbers_of(subscriber, 70) == list(range(30, 100))


@promise("a cursor that is removed while its subscriber is away begins where it was committed; "
         "what was given and not committed comes to the next one")
def removed(directory):
    with running(directory) as daemon:
        publish(daemon, range(100))
        where = {"directory": daemon.directory, "cursor": "c"}
        with daybook.Subscriber(start="latest", **where) as subscriber:
            publish(daemon, range(100, 200))
            assert numbers_of(subscriber, 50) == list(range(100, 150))
            subscriber.commit(120, wait=True)
            daemon.kill()
            cli_support.daybook("cursors", "c", "--remove", "-D", daemon.directory)
            daemon.start()
            assert subscriber.next(0.001) or subscriber.next(), "the connection is lost by now"
            publish(daemon, [200])
            numbers = numbers_of(subscriber, 50)
            assert numbers[-1] == 200, numbers
        daemon.connect().close()
        with daybook.Subscriber(start="latest", **where) as subscriber:
            assert numbers_of(subscriber, 81) == list(range(120, 201))


@promise("calls with short timeouts come to a connection in the end")
def impatient(directory):
    async def work(daemon, subscriber):
        await subscriber.connect()
        daemon.kill()
        for _ in range(300):
            assert await subscriber.next(0.001) is None
        daemon.start()
        publish(daemon, [2])
        event = None
        while event is None:
            event = await subscriber.next(0.0001)
        await subscriber.close()
        return event.payload["n"]

    with running(directory) as daemon:
        with daybook.Subscriber(directory=daemon.directory) as subscriber:
            daemon.kill()
            for _ in range(300):
                assert subscriber.next(0.001) is None
            daemon.start()
            publish(daemon, [1])
            event = None
            while event is None:
                event = subscriber.next(0)
            assert event.payload["n"] == 1
        asyncio.run(work(daemon, daybook.AsyncSubscriber(directory=daemon.directory)))


@promise("a commit that is waited for reads no more than there is credit for, and gets its answer "
         "after a lost connection, too")
def commits_and_credit(directory):
    with running(directory) as daemon:
        publish(daemon, range(20000))
        where = {"directory": daemon.directory, "cursor": "c"}
        with daybook.Subscriber(**where) as subscriber:
            waiting = subscriber._subscription.items  # pylint: disable=protected-access
            until = subscriber._work_until            # pylint: disable=protected-access
            assert numbers_of(subscriber, 1) == [0]
            subscriber.commit(wait=True)
            until(lambda: len(waiting) == 8192, 0.2)
            assert len(waiting) <= 8192, len(waiting)
            assert numbers_of(subscriber, 19999) == list(range(1, 20000))
        for taken, credit in ((800, 1000), (1, 10), (999, 10)):
            where["cursor"] = "c%d" % taken
            with daybook.Subscriber(credit=credit, **where) as subscriber:
                waiting = subscriber._subscription.items  # pylint: disable=protected-access
                until = subscriber._work_until            # pylint: disable=protected-access
                assert numbers_of(subscriber, taken) == list(range(taken))
                until(lambda: len(waiting) >= credit // 2, None)
                daemon.kill()
                daemon.start()
                subscriber.commit(wait=True)
                assert subscriber.committed == taken
                until(lambda: len(waiting) > credit, 0.01)
                assert len(waiting) <= credit, len(waiting)
                assert numbers_of(subscriber, 5000) == list(range(taken, taken + 5000))


@promise("another log behind the socket, or one that has become shorter, is told")
def other_log(directory):
    for kind in (daybook.Foreign, daybook.Damaged):
        folder = os.path.join(directory, kind.__name__)
        os.mkdir(folder)
        with running(folder) as daemon:
            publish(daemon, range(10))
            daemon.stop()
            copy = daemon.directory + ".copy"
            shutil.copytree(daemon.directory, copy)
            daemon.start()
            publish(daemon, range(10, 20))
            with daybook.Subscriber(after=0, directory=daemon.directory) as subscriber:
                assert numbers_of(subscriber, 20) == list(range(20))
                daemon.kill()
                shutil.rmtree(daemon.directory)
                if kind is daybook.Damaged:
                    os.rename(copy, daemon.directory)
                daemon.start()
                raises(kind, subscriber.next)
                raises(kind, subscriber.next)


@promise("the newest subscriber of a cursor has it; the older one is told, and does not come back")
def replaced(directory):
    with running(directory) as daemon:
        publish(daemon, range(10))
        where = {"directory": daemon.directory, "cursor": "c"}
        old = daybook.Subscriber(**where)
        assert numbers_of(old, 3) == [0, 1, 2]
        with daybook.Subscriber(**where) as new:
            assert numbers_of(new, 10) == list(range(10))
            raises(daybook.Replaced, lambda: list(itertools.islice(old, 20)))
            raises(daybook.Replaced, old.next, 0)
        old.close()
        line = b""
        while not line:  # until the daemon has seen that the subscriber is gone
            follower = start("read", "-f", "-n", "all", "--cursor", "c", "-D", daemon.directory)
            line = follower.stdout.readline()
        raises(daybook.Taken, daybook.Subscriber, **where)


@promise("who is slow has bounded memory, slows nobody, and gets everything later")
def slow(directory):
    with running(directory) as daemon:
        with daybook.Subscriber(after=0, credit=20, directory=daemon.directory) as credited, \
                daybook.Subscriber(after=0, directory=daemon.directory) as uncredited:
            publish(daemon, range(20000))
            assert credited.next().seq == 1 and uncredited.next().seq == 1
            for _ in range(50):
                credited._work_until(lambda: False, 0.001)  # pylint: disable=protected-access
            waiting = len(credited._subscription.items)     # pylint: disable=protected-access
            assert waiting <= 21, waiting
            assert numbers_of(credited, 19999) == list(range(1, 20000))
            assert numbers_of(uncredited, 19999) == list(range(1, 20000))


@promise("events that retention has deleted are told in their place: raised, or given to on_lost")
def lost(directory):
    with running(directory, "--segment-size", "64K") as daemon:
        with daybook.Producer(daemon.directory) as producer:
            for n in range(400):
                producer.publish("t", {"n": n, "pad": os.urandom(600).hex()})
        before = daybook.Subscriber(after=0, credit=1, directory=daemon.directory)
        assert before.next().seq == 1
        cli_support.daybook("retention", "--max-size", "128K", "-D", daemon.directory)
        with daybook.Subscriber(after=1, directory=daemon.directory) as subscriber:
            try:
                subscriber.next()
                raise AssertionError("nothing was lost")
            except daybook.Lost as error:
                assert (error.first, error.cause) == (2, "retention"), error
                last = error.last
            assert 2 < last < 400 and numbers_of(subscriber.history()) == list(range(last, 400))
        with daybook.Subscriber(after=1, cursor="c", directory=daemon.directory) as subscriber:
            # pylint: disable=protected-access
            subscriber._work_until(lambda: subscriber.position > last, None)
            subscriber.commit()
            assert not subscriber._subscription.commit_is_due, "nobody was told yet"
            raises(daybook.Lost, subscriber.next)
            subscriber.commit(wait=True)
            assert subscriber.committed == last, "told, it is done"
        told = []
        with daybook.Subscriber(after=1, directory=daemon.directory,
                                on_lost=told.append) as subscriber:
            assert numbers_of(subscriber.history()) == list(range(last, 400))
        assert [(e.first, e.last) for e in told] == [(2, last)], told
        with daybook.Subscriber(after=0, directory=daemon.directory) as subscriber:
            assert subscriber.next().seq == last + 1, "0 is the first that is left"
        # Who was there before has some of what is gone in its socket, and is told of the rest.
        seen = [1]
        while seen[-1] < 400:
            try:
                seen.append(before.next().seq)
            except daybook.Lost as error:
                seen += range(error.first, error.last + 1)
        assert seen == list(range(1, 401)), seen
        before.close()


@promise("a subscriber is not for a forked child, and closed it gives nothing any more")
def misuse(directory):
    with running(directory) as daemon:
        child = script(directory, """
            import daybook, os, sys
            subscriber = daybook.Subscriber(after=0, directory=sys.argv[1])
            if os.fork() == 0:
                try:
                    subscriber.next(0)
                except daybook.Invalid as error:
                    os._exit(0 if "fork" in str(error) else 1)
                os._exit(2)
            sys.exit(os.wait()[1])
            """, daemon.directory)
        assert child.wait() == 0
        subscriber = daybook.Subscriber(after=0, directory=daemon.directory)
        subscriber.close()
        assert "closed" in raises(daybook.Invalid, subscriber.next)


@promise("a stopped daemon makes next() wait no longer than it is told to")
def stopped(directory):
    with running(directory) as daemon:
        publish(daemon, range(5))
        with daybook.Subscriber(after=0, directory=daemon.directory) as subscriber:
            assert numbers_of(subscriber, 5) == list(range(5))
            daemon.process.send_signal(signal.SIGSTOP)
            assert subscriber.next(0.05) is None
            assert "did not welcome" in raises(daybook.Unreachable, daybook.Subscriber,
                                               directory=daemon.directory, connect_timeout=0.05)
            daemon.process.send_signal(signal.SIGCONT)
            publish(daemon, [5])
            assert subscriber.next().payload["n"] == 5
            daemon.kill()
            assert subscriber.next(0.05) is None
            daemon.start()
            publish(daemon, [6])
            assert subscriber.next().payload["n"] == 6


@promise("asyncio: the same; a cancelled next() loses nothing")
def with_asyncio(directory):
    async def work(daemon):
        where = {"directory": daemon.directory}
        async with daybook.AsyncSubscriber(after=0, **where) as subscriber:
            assert [e.payload["n"] async for e in subscriber.history()] == list(range(100))
            assert subscriber.caught_up
            waiting = asyncio.ensure_future(subscriber.next())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert await subscriber.next(0.01) is None
            publish(daemon, [100, 101])
            assert (await subscriber.next()).payload["n"] == 100
            assert (await subscriber.__anext__()).payload["n"] == 101
            daemon.kill()
            daemon.start()
            publish(daemon, [102])
            async for event in subscriber:
                assert event.payload["n"] == 102
                break
        async with daybook.AsyncSubscriber(cursor="a", **where) as subscriber:
            for n in range(60):
                assert (await subscriber.next()).payload["n"] == n
            await subscriber.commit(wait=True)
            async with daybook.AsyncSubscriber(cursor="a", **where) as other:
                assert (await other.next()).payload["n"] == 60
                try:
                    while True:
                        await subscriber.next()
                except daybook.Replaced:
                    pass
        for options, kind in (({"where": "n >", **where}, daybook.Invalid),
                              ({"directory": directory}, daybook.Unreachable)):
            try:
                await daybook.AsyncSubscriber(**options).connect()
                raise AssertionError(options)
            except kind:
                pass

    with running(directory) as daemon:
        publish(daemon, range(100))
        asyncio.run(work(daemon))


@promise("asyncio: over kill -9 of the daemon every event comes once, in order")
def asyncio_killed(directory):
    async def work(daemon):
        numbers = []
        async with daybook.AsyncSubscriber(after=0, credit=100,
                                           directory=daemon.directory) as subscriber:
            async for event in subscriber:
                numbers.append(event.payload["n"])
                if len(numbers) % 700 == 0:
                    daemon.kill()
                    daemon.start()
                if len(numbers) == 4000:
                    return numbers

    with running(directory) as daemon, publishing(daemon):
        assert asyncio.run(work(daemon)) == list(range(4000))


@promise("SQL gives rows by name and number, with payloads where this Python can load the "
         "extension")
def queries(directory):
    with running(directory) as daemon:
        publish(daemon, range(10))
        where = {"directory": daemon.directory}
        indexed = 0
        while indexed < 10:  # until the daemon has made the index, and filled it
            with contextlib.suppress(daybook.DaybookError):
                indexed = daybook.sql("SELECT count(*) FROM events", **where)[0][0]
        rows = daybook.sql("SELECT seq, topic FROM events WHERE seq > ? ORDER BY seq", [8], **where)
        assert [(row["seq"], row[1]) for row in rows] == [(9, "t"), (10, "t")], rows
        assert "no such table: missing" in raises(daybook.DaybookError, daybook.sql,
                                                  "SELECT * FROM missing", **where)
        raises(daybook.DaybookError, daybook.sql, "DELETE FROM events", **where)
        assert len(daybook.sql("SELECT seq FROM events", **where)) == 10
        assert "no index" in raises(daybook.DaybookError, daybook.sql, "SELECT 1",
                                    directory=directory)
        raises(daybook.DaybookError, daybook.open_index, extension="/nowhere.so", **where)
        connection = daybook.open_index(extension=None, **where)
        can_load = hasattr(connection, "enable_load_extension")
        connection.close()
        if not can_load:
            assert "built without extensions" in raises(
                daybook.DaybookError, daybook.sql, "SELECT payload FROM events", **where)
        if can_load and os.path.basename(framed.BUILD) not in ("asan", "tsan"):
            extension = os.path.join(framed.BUILD, "daybook.so")
            found = daybook.sql("SELECT payload ->> '$.n' FROM events WHERE seq = 4", **where,
                                extension=extension)
            assert found[0][0] == 3, tuple(found[0])


main()
