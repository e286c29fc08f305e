#!/usr/bin/env python3
"""Groups from Python: subscribers that share a cursor, each event to one of them, again when it was
not settled, and to _dead.CURSOR in the end.
"""
import asyncio
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import main, promise  # noqa: E402
from python_support import running, script  # noqa: E402
import daybook  # noqa: E402


def publish(daemon, numbers):
    daemon.connect().close()  # it may just have been started
    with daybook.Producer(daemon.directory, producer="publisher") as producer:
        for n in numbers:
            producer.send("t", {"n": n})


def member(daemon, **options):
    return daybook.Subscriber(directory=daemon.directory, cursor="g", shared=True, **options)


def drain(subscriber, timeout=0.05):
    """What comes until nothing does for a while: for what is not to come any more."""
    events = []
    event = subscriber.next(timeout)
    while event:
        events.append(event)
        event = subscriber.next(timeout)
    return events


@promise("each event goes to one member; what all have accepted never comes again")
def shared_out(directory):
    with running(directory) as daemon:
        publish(daemon, range(300))
        members = [member(daemon, credit=10) for _ in range(3)]
        taken = [[], [], []]
        while sum(map(len, taken)) < 300:
            for mine, subscriber in zip(taken, members):
                event = subscriber.next(0.01)
                if event:
                    assert event.tries == 1, event
                    mine.append(event.payload["n"])
                    subscriber.accept(event)
        assert sorted(sum(taken, [])) == list(range(300)), "each once"
        assert all(mine == sorted(mine) and len(mine) > 10 for mine in taken), list(map(len, taken))
        publish(daemon, [300])
        last = None
        while last is None:
            for subscriber in members:
                last = last or subscriber.next(0.01)
                if last and last.payload["n"] == 300:
                    assert subscriber.accept(last, wait=True) in (0, 1)
        told = daybook.cursors(daemon.directory)
        assert [(c.name, c.shared, c.in_use) for c in told] == [("g", True, True)], told
        for subscriber in members:
            subscriber.close()
        with member(daemon) as later:
            assert drain(later) == []


@promise("what was released, or whose member has gone, is given again, with the number of the try")
def again(directory):
    with running(directory) as daemon:
        publish(daemon, range(3))
        with member(daemon) as first:
            events = [first.next() for _ in range(3)]
            assert [e.payload["n"] for e in events] == [0, 1, 2]
            assert first.accept(events[0], wait=True) == 1
            assert first.accept(events[0], wait=True) == 0, "that is done already"
            first.release(events[1].seq)
            event = first.next()
            assert (event.payload["n"], event.tries) == (1, 2), event
        with member(daemon) as second:
            # What it was given first is what it was at work on: the other one is not charged.
            events = sorted(second.next() for _ in range(2))
            assert [(e.payload["n"], e.tries) for e in events] == [(1, 2), (2, 2)], events
            assert second.accept(*events, wait=True) == 2
            assert drain(second) == []


@promise("what is not settled in time is given again, and after its tries goes to _dead.CURSOR")
def dead(directory):
    with running(directory) as daemon:
        publish(daemon, [7])
        with member(daemon, ack_timeout=0.02, tries=3) as subscriber, \
                daybook.Subscriber("_dead.g", after=0, directory=daemon.directory) as letters:
            tries = [subscriber.next().tries for _ in range(3)]
            assert tries == [1, 2, 3], tries
            letter = letters.next().payload
            assert (letter["cursor"], letter["seq"], letter["topic"], letter["tries"],
                    letter["payload"]) == ("g", 1, "t", 3, {"n": 7}), letter


@promise("members that want different things are refused, and so is the cursor used alone")
def different(directory):
    with running(directory) as daemon:
        with member(daemon, tries=3):
            for options in ({"tries": 4}, {"topics": "t", "tries": 3}):
                try:
                    member(daemon, **options)
                    raise AssertionError(options)
                except daybook.Invalid:
                    pass
            try:
                daybook.Subscriber(directory=daemon.directory, cursor="g")
                raise AssertionError("it is a group's")
            except daybook.Invalid:
                pass


@promise("over kill -9 of the daemon and of a member what was told to be settled never comes again")
def killed(directory):
    with running(directory) as daemon:
        publish(daemon, range(400))
        worker = script(directory, """
            import daybook, sys
            with daybook.Subscriber(directory=sys.argv[1], cursor="g", shared=True,
                                    credit=8) as subscriber:
                for event in subscriber:
                    print("try", event.payload["n"], flush=True)
                    try:
                        if subscriber.accept(event, wait=True) == 1:
                            print("done", event.payload["n"], flush=True)
                    except daybook.Timeout:
                        pass
            """, daemon.directory, stdout=subprocess.PIPE)
        first = worker.stdout.readline().split()
        assert first[0] == b"try", first
        told = []
        with member(daemon, credit=8) as subscriber:
            for round_number in range(4):
                for _ in range(20):
                    event = subscriber.next()
                    try:
                        if subscriber.accept(event, wait=True):
                            told.append(event.payload["n"])
                    except daybook.Timeout:
                        pass
                daemon.kill()
                daemon.start()
            worker.kill()
            words = first + worker.communicate()[0].split()
            told += [int(n) for word, n in zip(words[::2], words[1::2]) if word == b"done"]
            assert b"done" in words
            # What the worker had settled when it was killed, without being told so.
            unsure = {int(n) for n in words[1::2]}
            while len(set(told) | unsure) < 400:
                event = subscriber.next()
                try:
                    if subscriber.accept(event, wait=True):
                        told.append(event.payload["n"])
                    else:
                        unsure.add(event.payload["n"])
                except daybook.Timeout:
                    unsure.add(event.payload["n"])
            assert len(told) == len(set(told)), "settled twice"
            # What somebody had at the end of a connection may rest still; no other comes.
            late = {event.payload["n"] for event in drain(subscriber, 0.3)}
            assert not late & set(told), f"settled, and came again: {late & set(told)}"
            assert late <= unsure, late - unsure



@promise("asyncio: members share, accept and release")
def with_asyncio(directory):
    async def work(daemon):
        where = {"directory": daemon.directory, "cursor": "g", "shared": True}
        async with daybook.AsyncSubscriber(credit=4, **where) as first, \
                daybook.AsyncSubscriber(credit=4, **where) as second:
            seen = []

            async def consume(subscriber):
                while len(seen) < 100:
                    event = await subscriber.next(0.05)
                    if event and event.payload["n"] % 10 == 3 and event.tries == 1:
                        await subscriber.release(event)
                    elif event:
                        assert await subscriber.accept(event, wait=True) == 1
                        seen.append(event.payload["n"])

            await asyncio.gather(consume(first), consume(second))
            assert sorted(seen) == list(range(100)), seen

    with running(directory) as daemon:
        publish(daemon, range(100))
        asyncio.run(work(daemon))


@promise("answers that nobody waits for are not kept; a daemon that is stopped makes no accept() "
         "wait")
def answers(directory):
    with running(directory) as daemon:
        publish(daemon, range(60))
        with member(daemon) as subscriber:
            for _ in range(50):
                subscriber.accept(subscriber.next())
            assert subscriber.accept(subscriber.next(), wait=True) == 1
            inside = subscriber._subscription  # pylint: disable=protected-access
            assert not inside.settled and not inside._awaited, inside.settled
            daemon.process.send_signal(signal.SIGSTOP)
            for _ in range(2000):  # more than a socket holds
                subscriber.accept(*range(1000, 2000, 2))
            daemon.process.send_signal(signal.SIGCONT)
            assert subscriber.accept(subscriber.next(), wait=True) == 1
            assert subscriber.reconnects == 0


main()
