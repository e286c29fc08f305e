#!/usr/bin/env python3
"""Exactly once, as docs/protocol.md promises it: over kill -9 of the daemon and of the client, and
for as long as the events are in the log, however many other producers publish meanwhile.
"""
import json
import os
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from cli_support import daybook, main, promise  # noqa: E402  pylint: disable=wrong-import-position
from framed import Daemon, frame  # noqa: E402  pylint: disable=wrong-import-position

TABLE = 16384  # producers that the log holds in memory
CROWD = TABLE + 1000


def events_of(directory, producers):
    """{producer: its payloads, in the order of the log}"""
    found = {name: [] for name in producers}
    for event in daybook("read", "-D", directory, "-n", "all", "-o", "json").events:
        if event["topic"] == "work":
            found[event["payload"][0]].append(event["payload"][1])
    return found


def pub(number, name, first, last):
    return frame(["pub", number, [["work", None, [name, i], i] for i in range(first, last + 1)]])


def crowd(daemon, family):
    """Publish one event each from more producers than the table holds, in line mode."""
    lines = "".join(json.dumps({"topic": "crowd", "payload": i, "producer": f"{family}-{i}",
                                "number": 1}) + "\n" for i in range(CROWD))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(daemon.socket)
        sender = threading.Thread(target=lambda: (client.sendall(lines.encode()),
                                                  client.shutdown(socket.SHUT_WR)))
        sender.start()
        answers = [json.loads(line) for line in client.makefile("rb")]
        sender.join()
    assert len(answers) == CROWD and all(answer["ok"] for answer in answers)
    return sum("duplicate" in answer for answer in answers)


@promise("a client that sends again what was not acknowledged, after kill -9 of the daemon and of "
         "itself, stores each event once")
def over_kills(directory):
    daemon = Daemon(os.path.join(directory, "log"), "--segment-size", "1M")
    daemon.start()
    try:
        sent = 0
        for life in range(8):
            connection = daemon.connect("worker")
            # The client keeps no count of its own: it may have been killed, too.
            last = connection.welcome["last_number"]
            assert last <= sent, (last, sent)
            for first in range(last + 1, last + 2001, 50):
                connection.send(pub(first, "worker", first, first + 49))
            sent = last + 2000
            if life % 2:
                ack = connection.receive()
                assert ack[0] == "ack" and not ack[6], ack
                assert ack[2] == 50 and ack[5] == 0, ack
            if life % 3 == 2:
                connection.close()  # as if the client were killed: unread acks, half a job
            else:
                daemon.kill()
                daemon.start()
        connection = daemon.connect("worker")
        last = connection.welcome["last_number"]
        connection.send(pub(1, "worker", max(1, last - 100), last + 10))
        ack = connection.receive()
        assert ack[2] == 10 and ack[5] == last - max(1, last - 100) + 1, (ack, last)
        connection.close()
        assert daemon.stop() == 0
    finally:
        daemon.end()
    numbers = events_of(daemon.directory, ["worker"])["worker"]
    assert numbers == list(range(1, last + 11)), "doubled or missing"


@promise("a producer that was silent while 17,000 others published is known by its last number, "
         "and what it sends again is a duplicate, also after kill -9")
def after_a_crowd(directory):
    daemon = Daemon(os.path.join(directory, "log"), "--segment-size", "1M")
    daemon.start()
    try:
        connection = daemon.connect("old")
        connection.send(pub(1, "old", 1, 20))
        assert connection.receive()[2] == 20
        connection.close()
        assert crowd(daemon, "a") == 0
        for kill in (False, True):
            if kill:
                daemon.kill()
                daemon.start()
                daemon.connect().close()
                assert crowd(daemon, "b") == 0
            connection = daemon.connect("old")
            assert connection.welcome["last_number"] == 20, connection.welcome
            connection.send(pub(2, "old", 15, 20))
            ack = connection.receive()
            assert (ack[2], ack[5]) == (0, 6), ack
            connection.close()
        assert crowd(daemon, "a") == CROWD, "all of them, and each in line mode, are duplicates"
        connection = daemon.connect("old")
        connection.send(pub(3, "old", 20, 22))
        ack = connection.receive()
        assert (ack[2], ack[5]) == (2, 1), ack
        connection.close()
        assert daemon.stop() == 0
    finally:
        daemon.end()
    assert events_of(daemon.directory, ["old"])["old"] == list(range(1, 23))
    assert os.path.isdir(os.path.join(daemon.directory, "producers"))


@promise("a log from before, or whose list of past producers is gone, is read once, and says so")
def list_is_made_anew(directory):
    log = os.path.join(directory, "log")
    daemon = Daemon(log, "--segment-size", "1M")
    daemon.start()
    try:
        connection = daemon.connect("old")
        connection.send(pub(1, "old", 1, 3))
        connection.receive()
        connection.close()
        crowd(daemon, "a")
        daemon.kill()  # after a kill the log goes on in a new segment
        daemon.start()
        daemon.connect().close()
        assert daemon.stop() == 0
        subprocess.run(["rm", "-r", os.path.join(log, "producers")], check=True)
        daemon.start()
        connection = daemon.connect("old")
        assert connection.welcome["last_number"] == 3
        assert "listed anew" in daemon.output(), daemon.output()
        connection.close()
        assert daemon.stop() == 0
    finally:
        daemon.end()
    lines = "".join(json.dumps({"topic": "work", "payload": ["old", i]}) + "\n" for i in (4, 5))
    result = daybook("pub", "-D", log, "--producer", "old", stdin=lines)
    assert "listed anew" not in result.err, result.err
    assert events_of(log, ["old"])["old"] == [1, 2, 3, 4, 5]


if __name__ == "__main__":
    main()
