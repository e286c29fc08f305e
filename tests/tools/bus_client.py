"""A subscriber for test_bus_kill.py, written with the Python package; as bus_client.c is."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools", "python"))
from daybook import Subscriber, Unreachable  # noqa: E402  pylint: disable=wrong-import-position

COMMIT_EVERY = 7
LOOK_SECONDS = 0.05


def last_wanted(path):
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        return None


def subscribe(socket, cursor):
    """The first attempt is the program's to repeat."""
    while True:
        try:
            return Subscriber(socket=socket, cursor=cursor)
        except Unreachable:
            pass


def main():
    socket, cursor, stop = sys.argv[1:]
    count = 0
    with subscribe(socket, cursor) as subscriber:
        while True:
            event = subscriber.next(LOOK_SECONDS)
            if event is not None:
                print(event.seq, event.topic, json.dumps(event.payload))
                count += 1
                if count % COMMIT_EVERY == 0:
                    subscriber.commit(event.seq)
                continue
            last = last_wanted(stop)
            if last is not None and subscriber.position >= last:
                break
        subscriber.commit(subscriber.position, wait=True)


main()
