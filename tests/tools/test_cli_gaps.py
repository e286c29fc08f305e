#!/usr/bin/env python3
"""daybook gaps: which numbers of producers are missing, and why, as a real daemon and clients have it.
"""
import contextlib
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import framed  # noqa: E402
from cli_support import FAILURE, OK, USAGE, daybook, main, promise  # noqa: E402

BAD = "no topic"  # for its space


@contextlib.contextmanager
def running(directory):
    daemon = framed.Daemon(os.path.join(directory, "log"))
    daemon.start()
    try:
        daemon.connect().close()
        yield daemon
    finally:
        daemon.end()


def publish(connection, events, identity=1):
    """Returns the refusals, as [index, code, reason]."""
    connection.send(framed.frame(["pub", identity, events]))
    answer = connection.receive()
    assert answer[:2] == ["ack", identity], answer
    return answer[6]


def numbered(*numbers, topic="t"):
    return [[topic, None, {"n": n}, n] for n in numbers]


def report(number, producer, first, last, cause="dropped"):
    return ["_gap", None, {"producer": producer, "first": first, "last": last, "cause": cause,
                           "reason": "no room"}, number]


def rows_of(directory, *flags):
    return json.loads(daybook("gaps", "-D", directory, "-o", "json", *flags).text)


def gaps_of(directory, *flags):
    return [[row["producer"], row["first_number"], row["last_number"], row["cause"]]
            for row in rows_of(directory, *flags)]


def await_gaps(directory, expected):
    """The daemon tells of refusals about a second later, or when their producer has gone."""
    while gaps_of(directory) != expected:
        time.sleep(0.02)


@promise("numbers that were jumped over are told, whoever numbers without gaps is not")
def jumps(directory):
    with running(directory) as daemon:
        with contextlib.closing(daemon.connect("a")) as a, \
                contextlib.closing(daemon.connect("b")) as b:
            publish(a, numbered(1, 2, 6))
            publish(b, numbered(7, 8, 9))
            publish(a, numbered(7, 9))
        found = rows_of(daemon.directory)
        assert [[r["first_number"], r["last_number"], r["missing"], r["cause"]] for r in found] == [
            [3, 5, 3, "never arrived"], [8, 8, 1, "never arrived"]], found
        assert all(r["producer"] == "a" and r["first_seq"] is None and r["reason"] is None
                   and r["time"].startswith("20") for r in found), found
        assert gaps_of(daemon.directory, "-t", "b") == []
        assert len(gaps_of(daemon.directory, "--producer", "a", "--cause", "never arrived")) == 2
        status = json.loads(daybook("status", "-D", daemon.directory, "-o", "json").text)
        assert (status["producer_gaps"], status["gaps"], status["missing"]) == (2, 0, 0), status


@promise("refused numbers are told with the reason, at the latest when their producer has gone")
def refusals(directory):
    with running(directory) as daemon:
        a = daemon.connect("a")
        refused = publish(a, numbered(1) + numbered(2, 3, topic=BAD) + numbered(4))
        assert [r[0] for r in refused] == [1, 2], refused
        a.close()
        await_gaps(daemon.directory, [["a", 2, 3, "refused"]])
        row = rows_of(daemon.directory)[0]
        assert "space" in row["reason"] and row["missing"] == 2, row
        events = daybook("read", "-D", daemon.directory, "-n", "all", "-t", "_gap", "-o",
                         "json").events
        assert [e["payload"]["producer"] for e in events] == ["a"], events


@promise("a refused number that is sent again, repaired, and stored is in no gap")
def repaired(directory):
    with running(directory) as daemon:
        with contextlib.closing(daemon.connect("a")) as a:
            publish(a, numbered(1) + numbered(2, 3, topic=BAD))
        await_gaps(daemon.directory, [["a", 2, 3, "refused"]])
        with contextlib.closing(daemon.connect("a")) as a:
            assert a.welcome["last_number"] == 1
            assert publish(a, numbered(3)) == []
        await_gaps(daemon.directory, [["a", 2, 2, "refused"]])


@promise("what a client has dropped it reports itself, and of nobody else")
def drops(directory):
    with running(directory) as daemon:
        with contextlib.closing(daemon.connect("a")) as a:
            publish(a, numbered(1, 2))
            assert publish(a, [report(11, "a", 3, 10)]) == []
            lies = [report(12, "victim", 1, 1), report(13, "a", 12, 13), report(14, "a", 3, 3, "refused"),
                    ["_gap", None, {"producer": "a"}, 15]]
            words = ["may only speak of itself", "not below its own", "only the log's writer", '"first"']
            for lie, word in zip(lies, words):
                refused = publish(a, [lie])
                assert len(refused) == 1 and word in refused[0][2], (lie, refused)
            publish(a, numbered(16))
        with contextlib.closing(daemon.connect()) as anonymous:
            refused = publish(anonymous, [report(1, "a", 3, 3)[:3]])
            assert "has no producer" in refused[0][2], refused
        await_gaps(daemon.directory, [["a", 3, 10, "dropped"], ["a", 12, 15, "refused"]])
        assert rows_of(daemon.directory, "--cause", "dropped")[0]["reason"] == "no room"


@promise("'daybook pub' may not write the topic _gap either, with a daemon or without")
def through_pub(directory):
    line = json.dumps({"topic": "_gap", "payload": {"producer": "a", "first": 1, "last": 2,
                                                    "cause": "dropped"}}) + "\n"
    other = os.path.join(directory, "other")
    with running(directory) as daemon:
        for where in (daemon.directory, other):
            for flags in ((), ("--producer", "b")):
                done = daybook("pub", "-D", where, *flags, stdin=line, expect=None)
                assert done.status not in (OK, USAGE) and "'_gap'" in done.err, (done.status, done.err)
    assert gaps_of(other) == []


@promise("ten thousand refusals cost a few events")
def many(directory):
    with running(directory) as daemon:
        began = time.monotonic()
        with contextlib.closing(daemon.connect("a")) as a:
            for i in range(200):
                publish(a, numbered(*range(50 * i + 1, 50 * i + 51), topic=BAD), i)
        await_gaps(daemon.directory, [["a", 1, 10000, "refused"]])
        seconds = time.monotonic() - began
        assert daemon.stop() == 0
        topics = json.loads(daybook("topics", "-D", daemon.directory, "-o", "json").text)
        events = sum(t["events"] for t in topics if t["topic"] == "_gap")
        assert 1 <= events <= seconds + 2, (events, seconds)
        assert sum(r["missing"] for r in rows_of(daemon.directory)) == 10000


@promise("a daemon that is stopped has told of every refusal before; the index made anew says the same")
def stopped(directory):
    with running(directory) as daemon:
        a = daemon.connect("a")
        publish(a, numbered(1, 2) + numbered(3, topic=BAD) + numbered(5))
        assert daemon.stop() == 0
        expected = [["a", 3, 3, "refused"], ["a", 4, 4, "never arrived"]]
        assert gaps_of(daemon.directory) == expected, gaps_of(daemon.directory)
        before = rows_of(daemon.directory)
        daybook("reindex", "-D", daemon.directory)
        assert rows_of(daemon.directory) == before


@promise("after kill -9 no gap is forgotten, though its reason may be")
def killed(directory):
    with running(directory) as daemon:
        for number in (1, 4, 7, 10):
            connection = daemon.connect("a")
            assert len(publish(connection, numbered(number) + numbered(number + 1, topic=BAD))) == 1
            daemon.kill()
            daemon.start()
        with contextlib.closing(daemon.connect("a")) as a:
            publish(a, numbered(13))
        assert daemon.stop() == 0
        found = rows_of(daemon.directory)
        numbers = sorted(n for r in found for n in range(r["first_number"], r["last_number"] + 1))
        assert numbers == [2, 3, 5, 6, 8, 9, 11, 12], found
        assert {r["cause"] for r in found} <= {"never arrived", "refused"}, found
        daybook("reindex", "-D", daemon.directory)
        assert rows_of(daemon.directory) == found


@promise("retention's gap is listed with the others, in every form of output")
def forms(directory):
    log = os.path.join(directory, "log")
    assert daybook("gaps", "-D", log, expect=FAILURE).err
    daybook("pub", "-D", log, stdin='{"topic":"t","payload":1}\n')
    assert daybook("gaps", "-D", log, "-o", "csv").lines == [
        "cause,producer,first_number,last_number,first_seq,last_seq,missing,time,segment,reason"]
    with framed_gap(directory, log):
        csv = daybook("gaps", "-D", log, "-o", "csv").lines[1]
        assert csv.startswith("never arrived,a,2,18446744073709551613,,,8796093022208,"), csv
        assert rows_of(log)[0]["last_number"] == 2**64 - 3
        assert "never arrived" in daybook("gaps", "-D", log).text
    wrong = daybook("gaps", "-D", log, "--cause", "refussed", expect=USAGE)
    assert "never arrived" in wrong.err and "retention" in wrong.err, wrong.err
    assert "space" in daybook("gaps", "-D", log, "-t", "a b", expect=USAGE).err


@contextlib.contextmanager
def framed_gap(directory, log):
    with running(directory) as daemon:
        assert daemon.directory == log
        with contextlib.closing(daemon.connect("a")) as a:
            publish(a, numbered(1, 2**64 - 2))
        yield


main()
