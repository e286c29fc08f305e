#!/usr/bin/env bash
# How long does a killed daemon need to serve again, with a log of SIZE (default 5G)?
#
#     tests/tools/measure_restart.sh [SIZE [DIR]]
#
# Fills a log below DIR (default $TMPDIR, else /var/tmp) through the socket, kills the daemon with
# SIGKILL while events are in flight, and starts it again; then the same once more, as root with an
# empty page cache. Prints the time until a producer is welcomed, and until its first durable ack.
# Not part of `make test`: it takes a minute and twice SIZE of disk, and measures.
set -eu
cd "$(dirname "$0")"
BUILD=$(realpath -m "${BUILD:-../../build}")
export BUILD
exec python3 - "${1:-5G}" "${2:-${TMPDIR:-/var/tmp}}" <<'END'
import os, shutil, struct, sys, tempfile, time

sys.dont_write_bytecode = True
sys.path.insert(0, ".")
from framed import Daemon, frame

EVENTS, WINDOW = 500, 16


def size_of(text):
    unit = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1].upper())
    return int(text[:-1]) << unit if unit else int(text)


def log_bytes(directory):
    folder = os.path.join(directory, "segments")
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))


def make_frames():
    """Random payloads: what LZ4 cannot shrink fills the disk soonest."""
    return [frame(["pub", i, [["restart.%d" % (j % 7), None, {"n": j, "x": os.urandom(190)}]
                              for j in range(EVENTS)]]) for i in range(64)]


def fill(daemon, target):
    """Send until the log has `target` bytes, then kill the daemon with frames in flight."""
    daemon.start()
    connection = daemon.connect(limit=600)
    frames = make_frames()
    begin, sent, acked = time.monotonic(), 0, 0
    while sent % 256 or log_bytes(daemon.directory) < target:
        connection.send(frames[sent % len(frames)])
        sent += 1
        while sent - acked > WINDOW:
            connection.receive()
            acked += 1
        if sent % 4096 == 0:
            print("  %.1f GB" % (log_bytes(daemon.directory) / 1e9), file=sys.stderr)
    seconds = time.monotonic() - begin
    print("added %d events in %.1f s (%d/s), killed with %d unacknowledged; %.2f GB now"
          % (sent * EVENTS, seconds, sent * EVENTS / seconds, (sent - acked) * EVENTS,
             log_bytes(daemon.directory) / 1e9))
    daemon.kill()
    connection.close()


def restart(daemon, how):
    begin = time.monotonic()
    daemon.start()
    connection = daemon.connect(limit=600)
    welcomed = time.monotonic() - begin
    connection.send(frame(["pub", 1, [["restart.first", None, {}]]]))
    answer = connection.receive()
    acked = time.monotonic() - begin
    assert answer[0] == "ack" and answer[2] == 1, answer
    connection.close()
    print("restart, %s: welcomed after %.3f s, first durable ack (event %d) after %.3f s"
          % (how, welcomed, answer[3], acked))
    daemon.kill()


def drop_caches():
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3\n")
        return True
    except OSError:
        return False


directory = tempfile.mkdtemp(prefix="daybook-restart-", dir=sys.argv[2])
daemon = Daemon(os.path.join(directory, "log"))
try:
    size = size_of(sys.argv[1])
    fill(daemon, size)
    restart(daemon, "page cache as it was")
    fill(daemon, size + (100 << 20))
    if drop_caches():
        restart(daemon, "page cache empty")
finally:
    daemon.end()
    shutil.rmtree(directory, ignore_errors=True)
END
