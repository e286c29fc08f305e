#!/usr/bin/env python3
"""daybook.Producer and daybook.AsyncProducer, against a real daemon: what was acknowledged is
stored once, in order, whatever happens to the connection.
"""
import asyncio
import contextlib
import datetime
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import main, promise  # noqa: E402
from python_support import (events_of, framed, free_disk, gaps_of, payloads_of,  # noqa: E402
                            running, running_on_a_small_disk, script)
import daybook  # noqa: E402
from daybook._event import pack_event  # noqa: E402
from daybook._outbox import Outbox  # noqa: E402


def raises(kind, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind as error:
        return str(error)
    raise AssertionError(f"{function} raised no {kind.__name__}")


@promise("publish gives the sequence of an event that is durable then; send and flush are the "
         "same for many")
def publish_and_send(directory):
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory, producer="p") as producer:
            assert producer.publish("a", {"n": 0}) == 1
            results = []
            many = daybook.Producer(daemon.directory, on_result=results.append)
            for n in range(5000):
                many.send("b", {"n": n}, tag=n)
            many.flush()
            many.close()
            assert [r.tag for r in results] == list(range(5000))
            assert [r.seq for r in results] == list(range(2, 5002))
            assert producer.publish("a", {"n": 1}) == 5002
            assert producer.last_number == 2 and producer.status()["durable"] == 5002
        assert [p["n"] for p in payloads_of(daemon)] == [0, *range(5000), 1]


@promise("times are nanoseconds, seconds, aware datetimes, or that of arrival")
def times(directory):
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory) as producer:
            zone = datetime.timezone(datetime.timedelta(hours=2))
            for when in (1757386981642318001, 1757386981.642318,
                         datetime.datetime(2025, 9, 9, 5, 3, 1, 642318, zone), -1):
                producer.send("t", None, when)
            producer.send("t", None)
            assert "zone" in raises(daybook.Invalid, producer.send, "t", 1, datetime.datetime.now())
            assert "no time" in raises(daybook.Invalid, producer.send, "t", 1, 1e12)
        told = [event["time"] for event in events_of(daemon)]
        assert told[:4] == ["2025-09-09T03:03:01.642318001Z", "2025-09-09T03:03:01.642318000Z",
                            "2025-09-09T03:03:01.642318000Z",
                            "1969-12-31T23:59:59.999999999Z"], told
        assert told[4] > "2026"


@promise("what cannot be stored raises: before it is sent where that can be known, else as the "
         "daemon says it")
def errors(directory):
    assert "no daemon answers" in raises(daybook.Unreachable, daybook.Producer, directory)
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory) as producer:
            assert "topic" in raises(daybook.Invalid, producer.publish, "a b", 1)
            assert "lone surrogate" in raises(daybook.Invalid, producer.publish, "a", "\ud800")
            assert "1048581 bytes" in raises(daybook.Invalid, producer.publish, "a", "x" * 2**20)
            assert "no producer" in raises(daybook.Refused, producer.publish, "_gap", {})
            producer.send("_gap", {})
            producer.send("a", 1)
            raises(daybook.Refused, producer.flush)
            producer.flush()
            assert "producer's name" in raises(daybook.Invalid, producer.report_gap, 1, "why")
            assert "producer's name" in raises(daybook.Invalid, producer.publish, "a", 1, number=3)
        assert "closed" in raises(daybook.Invalid, producer.publish, "a", 1)
        assert "no producer's name" in raises(daybook.Invalid, daybook.Producer, daemon.directory,
                                              producer="a b")
        deep = nested = []
        for _ in range(40):
            nested.append([])
            nested = nested[0]
        with daybook.Producer(daemon.directory, producer="p") as producer:
            assert "32" in raises(daybook.Refused, producer.publish, "a", deep)
            assert producer.publish("a", 2) == 2
        assert payloads_of(daemon) == [1, 2]


@promise("an idle connection that was lost is made again, and events arrive once, over ten kill "
         "-9 of the daemon")
def killed(directory):
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory, producer="p", window_bytes=100000) as producer:
            stop = threading.Event()

            def kill_now_and_then():
                for _ in range(10):
                    before = producer.last_number
                    while producer.last_number < before + 2000 and not stop.is_set():
                        time.sleep(0.001)
                    daemon.kill()
                    daemon.start()

            killer = threading.Thread(target=kill_now_and_then)
            killer.start()
            sent = 0
            while killer.is_alive():
                producer.send("t", sent)
                sent += 1
            stop.set()
            killer.join()
            producer.flush()
            assert producer.reconnects >= 5, producer.reconnects
            daemon.kill()
            daemon.start()
            sequence = producer.publish("t", sent)
            events = events_of(daemon)
        assert [event["payload"] for event in events] == list(range(sent + 1))
        # Not sent + 1: a kill in the middle of a block leaves sequences that are never given again.
        assert sequence == events[-1]["seq"], (sequence, events[-1])


@promise("without a name what was sent and not acknowledged is unknown, and is not sent again")
def anonymous(directory):
    path = os.path.join(directory, "fake.sock")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        listener.listen(5)
        frames = []

        def serve():
            for _ in range(2):
                peer, _ = listener.accept()
                with contextlib.closing(peer):
                    data = b""
                    while data.count(b"pub") == 0:
                        data += peer.recv(4096)
                        if data.endswith(b"durable") and len(frames) < 2:
                            peer.sendall(framed.frame(["welcome", {"version": 1}]))
                    frames.append(data)
                    if len(frames) == 2:
                        identity = framed.unpack(data, data.index(b"pub") + 3)[0]
                        peer.sendall(framed.frame(["ack", identity, 1, 9, 9, 0, []]))

        thread = threading.Thread(target=serve)
        thread.start()
        producer = daybook.Producer(socket=path)
        raises(daybook.Unknown, producer.publish, "a", "first")
        assert producer.publish("a", "second") == 9
        thread.join()
        producer.close()
        assert b"first" in frames[0] and b"first" not in frames[1], frames


@promise("a full disk raises NoSpace; when there is space again all goes on under the same numbers")
def full_disk(directory):
    with running_on_a_small_disk(directory) as daemon:
        with daybook.Producer(daemon.directory, producer="p") as producer:
            stored, given = [], 0
            with contextlib.suppress(daybook.NoSpace):
                while True:
                    given += 1
                    producer.publish("t", [given, os.urandom(9000)])
                    stored.append(given)
            free_disk(daemon)
            while True:
                given += 1
                try:
                    producer.publish("t", [given, None])
                    stored.append(given)
                    break
                except daybook.NoSpace:
                    pass
        assert [p[0] for p in payloads_of(daemon)] == stored


@promise("two programs with one name: the older one is told, and stops")
def replaced(directory):
    with running(directory) as daemon:
        first = daybook.Producer(daemon.directory, producer="p")
        assert first.publish("t", 1) == 1
        second = daybook.Producer(daemon.directory, producer="p")
        assert second.publish("t", 2) == 2
        assert "replaced" in raises(daybook.Replaced, first.publish, "t", 3)
        raises(daybook.Replaced, first.send, "t", 4)
        assert second.publish("t", 5) == 3
        first.close()
        second.close()
        assert payloads_of(daemon) == [1, 2, 5]


@promise("a log that knows higher numbers of the name than were sent belongs to another program "
         "by now")
def overtaken(directory):
    with running(directory) as daemon:
        first = daybook.Producer(daemon.directory, producer="p")
        first.publish("t", 1)
        daemon.kill()
        daemon.start()
        with contextlib.closing(daemon.connect("p")) as other:
            other.send(framed.frame(["pub", 1, [["t", None, 2, 7]]]))
            assert other.receive()[:3] == ["ack", 1, 1]
        assert "another program" in raises(daybook.Replaced, first.publish, "t", 3)
        first.close()


@promise("who drops events says so, and 'daybook gaps' shows it; numbers of one's own may leave "
         "gaps, too")
def gaps(directory):
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory, producer="p") as producer:
            producer.publish("t", 1)
            producer.report_gap(7, "the buffer was full")
            producer.publish("t", 2)
            assert producer.last_number == 10
        with daybook.Producer(daemon.directory, producer="own") as producer:
            producer.publish("t", 3, number=5)
            producer.report_gap(3, "why not", first=6)
            producer.publish("t", 4, number=20)
            assert "must increase" in raises(daybook.Invalid, producer.publish, "t", 5, number=20)
        with daybook.Producer(daemon.directory, producer="own") as producer:
            assert producer.publish("t", 4, number=20) == 0, "it is there already"
            assert producer.publish("t", 6, number=21) > 0
        rows = [(r["producer"], r["first_number"], r["last_number"], r["missing"], r["cause"],
                 r["reason"]) for r in gaps_of(daemon)]
        assert rows == [("own", 6, 8, 3, "dropped", "why not"),
                        ("own", 10, 19, 10, "never arrived", None),
                        ("p", 2, 8, 7, "dropped", "the buffer was full")], rows
        assert payloads_of(daemon) == [1, 2, 3, 4, 6]


@promise("events that expect the log to be as it was read are stored together, or none of them is")
def expecting(directory):
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory, producer="p") as one, \
                daybook.Producer(daemon.directory) as other:
            assert one.publish_expecting([("a.x", 1), ("b", 2, 1757386981642318000)], 0) == 1
            assert "last sequence is 2" in raises(daybook.Conflict, one.publish_expecting,
                                                  [("a.x", 3), ("a.x", 4)], 1)
            assert one.last_number == 2, "what was refused together has used up no number"
            assert other.publish_expecting([("a.y", 5)], 2) == 3
            raises(daybook.Conflict, one.publish_expecting, [("c", 6)], 2, "a.>")
            assert one.publish_expecting([("c", 6)], 3, "a.>") == 4
            assert one.publish_expecting([("a.x", 7)], 2, "b") == 5, "nothing of b is behind 2"
            raises(daybook.Refused, one.publish_expecting, [("a", 8), ("_schema", 9)], 5)
            assert "do not fit" in raises(daybook.Invalid, one.publish_expecting, [], 5)
            assert "do not fit" in raises(daybook.Invalid, one.publish_expecting,
                                          [("a", "x" * 600000)] * 2, 5)
            one.send("t", 10)
            assert one.publish_expecting([("t", 11)], 6) == 7
            daemon.kill()
            daemon.start()
            daemon.connect().close()
            assert one.publish_expecting([("t", 12)], 7) == 8
        assert payloads_of(daemon) == [1, 2, 5, 6, 7, 10, 11, 12]
        assert gaps_of(daemon) == []

        async def work():
            async with daybook.AsyncProducer(daemon.directory, producer="q") as producer:
                assert await producer.publish_expecting([("t", 13), ("t", 14)], 8) == 9
                try:
                    await producer.publish_expecting([("t", 15), ("t", 16)], 9)
                    raise AssertionError("it is at 10")
                except daybook.Conflict as error:
                    assert "10" in str(error), error
                assert await producer.publish("t", 17) == 11

        asyncio.run(work())


@promise("nothing is sent behind events that expect something; unnamed they are never sent again")
def expecting_alone(_directory):
    for name in ("p", None):
        outbox = Outbox(name, resend_anonymous=True)
        assert outbox.welcome({"last_number": 0}) == []
        outbox.expect([pack_event("t", None, 1), pack_event("t", None, 2)], "tag",
                      {"expect_last": 0})
        outbox.add(pack_event("t", None, 3))
        outbox.note_sent(len(outbox.unsent()))
        assert outbox.unsent() is None, "the third has to wait"
        told = outbox.welcome({"last_number": 0})
        if name:
            assert told == [] and outbox.unsent()[6:9] == b"pub"
            outbox.note_sent(len(outbox.unsent()))
            refused = [[0, "conflict", "why"], [1, "conflict", ""]]
            results = outbox.receive(["ack", 1, 0, 0, 0, 0, refused])
            assert [r.code for r in results] == ["conflict", "conflict"], results
            assert outbox.unsent()[-1:] == b"\x01", "the third has the first number"
        else:
            assert [(r.tag, r.code) for r in told] == [("tag", "unknown")] * 2, told
            assert outbox.unsent() is not None


@promise("threads may share a producer; a forked child may not, and is told")
def threads_and_forks(directory):
    with running(directory) as daemon:
        with daybook.Producer(daemon.directory, producer="p") as producer:
            def work(who):
                for n in range(200):
                    producer.send("t", [who, n])
                producer.publish("t", [who, 200])

            threads = [threading.Thread(target=work, args=(w,)) for w in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        kept = payloads_of(daemon)
        assert len(kept) == 804
        assert all([n for w, n in kept if w == who] == list(range(201)) for who in range(4))
        child = script(directory, """
            import daybook, os, sys
            producer = daybook.Producer(sys.argv[1], producer="q")
            pid = os.fork()
            if pid == 0:
                try:
                    producer.publish("t", "child")
                except daybook.Invalid as error:
                    os._exit(0 if "fork" in str(error) else 1)
                os._exit(2)
            status = os.waitpid(pid, 0)[1]
            producer.publish("t", "parent")
            sys.exit(status)
            """, daemon.directory)
        assert child.wait() == 0
        assert payloads_of(daemon)[804:] == ["parent"]


@promise("with acks of none or written everything arrives, too, and refusals are told")
def other_acks(directory):
    with running(directory) as daemon:
        for ack in ("none", "written"):
            results = []
            with daybook.Producer(daemon.directory, producer=ack, ack=ack,
                                  on_result=results.append) as producer:
                for n in range(1000):
                    producer.send("_schema" if n == 500 else "t", n, tag=n)
            codes = sorted((r.code, r.tag) for r in results if r.code != "stored")
            assert len(results) == 1000 and codes == [("refused", 500)], (len(results), codes)
        expected = [n for n in range(1000) if n != 500]
        assert payloads_of(daemon) == 2 * expected


@promise("a directory whose name is too long for a socket's address is no hindrance")
def long_path(directory):
    deep = os.path.join(directory, "x" * 60, "y" * 60)
    os.makedirs(deep)
    with running(directory) as daemon:
        os.symlink(daemon.socket, os.path.join(deep, "daybook.sock"))
        with daybook.Producer(deep) as producer:
            assert producer.publish("t", 1) == 1


@promise("asyncio: the same, and what is published together goes together")
def with_asyncio(directory):
    async def work(daemon):
        async with daybook.AsyncProducer(daemon.directory, producer="p") as producer:
            seqs = await asyncio.gather(*[producer.publish("t", n) for n in range(100)])
            assert seqs == list(range(1, 101)), seqs
            for n in range(100, 5000):
                await producer.send("t", n)
            await producer.flush()
            assert producer.unacknowledged == 0
            daemon.kill()
            for n in range(5000, 6000):
                await producer.send("t", n)
            daemon.start()
            assert await producer.publish("t", 6000) == 6001
            await producer.report_gap(3, "tired")
            await producer.flush()
            try:
                await producer.publish("_schema", 1)
                raise AssertionError("that was refused")
            except daybook.Refused:
                pass
        try:
            await producer.publish("t", 1)
            raise AssertionError("it was closed")
        except daybook.Invalid:
            pass

    with running(directory) as daemon:
        before = daemon.process
        asyncio.run(work(daemon))
        assert daemon.process is not before
        assert payloads_of(daemon) == list(range(6001))
        assert [r["missing"] for r in gaps_of(daemon) if r["cause"] == "dropped"] == [3]


@promise("asyncio: two programs with one name: the older one is told; without a daemon connect "
         "raises")
def asyncio_replaced(directory):
    async def work(daemon):
        first = daybook.AsyncProducer(daemon.directory, producer="p", retry_timeout=60)
        await first.connect()
        assert await first.publish("t", 1) == 1
        async with daybook.AsyncProducer(daemon.directory, producer="p") as second:
            assert await second.publish("t", 2) == 2
            try:
                await first.publish("t", 3)
                raise AssertionError("it was replaced")
            except daybook.Replaced:
                pass
        await first.close()
        try:
            await daybook.AsyncProducer(directory).connect()
            raise AssertionError("there is none")
        except daybook.Unreachable:
            pass

    with running(directory) as daemon:
        asyncio.run(work(daemon))


main()
