"""What the tests of `daybook` share: run it, keep scratch directories, print ok and not ok.

A test is a function marked with @promise("a sentence"); it gets a fresh directory and fails by
assert. Only the standard library.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
DAYBOOK = os.path.join(BUILD, "daybook")
DAYBOOKD = os.path.join(BUILD, "daybookd")
TEMPORARY = os.environ.get("TMPDIR", "/var/tmp")

OK, FAILURE, USAGE, UNREACHABLE, DAMAGE, INCOMPLETE = 0, 1, 2, 3, 4, 5

promises = []
started = []  # by start(); whatever a failed promise leaves running ends with it


def promise(sentence, once=False):
    """A test with a directory of its own. `once`: it waits for long and says nothing about memory
    or threads, so only the release build is run for it."""
    def remember(function):
        if not (once and os.path.basename(BUILD) in ("asan", "tsan")):
            promises.append((sentence, function))
        return function
    return remember


def main():
    """Run every promise of the script. Arguments: run only those whose sentence contains one."""
    wanted = sys.argv[1:]
    failed = 0
    for sentence, function in promises:
        if wanted and not any(word in sentence for word in wanted):
            continue
        directory = tempfile.mkdtemp(prefix="daybook-cli.", dir=TEMPORARY)
        try:
            function(directory)
            print(f"ok {sentence}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {sentence}: {error}", flush=True)
            traceback.print_exc(file=sys.stdout)
        finally:
            stop_started()
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if failed else 0)


def stop_started():
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    started.clear()


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")}
    env["TZ"] = "UTC"
    env.update(extra or {})
    return env


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def text(self):
        return self.out.decode()

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def events(self):
        return [json.loads(line) for line in self.lines]


def daybook(*arguments, stdin=b"", expect=OK, env=None, cwd=None):
    """Run the command; its exit status must be `expect` (None: any)."""
    words = [DAYBOOK] + [str(a) for a in arguments]
    if isinstance(stdin, str):
        stdin = stdin.encode()
    done = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment(env), cwd=cwd, check=False)
    result = Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
    if expect is not None and result.status != expect:
        raise AssertionError(f"{' '.join(words)}: exit status {result.status}, not {expect}; "
                             f"stderr: {result.err}; stdout: {result.out[:500]!r}")
    return result


def start(*arguments, **keywords):
    """Start the command without waiting for it."""
    keywords.setdefault("stdout", subprocess.PIPE)
    keywords.setdefault("stderr", subprocess.PIPE)
    keywords.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen([DAYBOOK] + [str(a) for a in arguments], env=environment(),
                               **keywords)
    started.append(process)
    return process


def answers(path):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            return True
        except OSError:
            return False


@contextlib.contextmanager
def daemon(directory, *flags, **keywords):
    """A daybookd that answers at DIR/daybook.sock; stopped, and checked, at the end."""
    path = os.path.join(directory, "daybook.sock")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([DAYBOOKD, "-D", directory, *flags], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, env=environment(), **keywords)
        try:
            while not answers(path):
                if process.poll() is not None:
                    log.seek(0)
                    raise AssertionError(f"daybookd ended: {log.read().decode()}")
                time.sleep(0.01)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0, f"daybookd ended with {process.returncode}"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def same(left, right):
    """Equal as JSON, with 1 and 1.0 and True told apart."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


PATTERNS = ["KALMAN_QUICKFIRE", "BB_SCALP", "ORDER_BLOCK_BOUNCE", "SWEEP_RETURN"]


def signals(count):
    """Lines as a trading program writes them, with everything in them that is hard to keep."""
    lines = []
    for i in range(count):
        second, micro = i * 7 // 60 % 60, (642318 + i * 7919) % 1000000
        lines.append({
            "timestamp": f"2025-09-{9 + i // 1000:02}T{3 + i // 600 % 20:02}:{second:02}:"
                         f"{i * 7 % 60:02}.{micro:06}",
            "pair": ["XAUUSD", "USDCNH", "EURJPY"][i % 3],
            "pattern": PATTERNS[(i * i) % 7 % len(PATTERNS)],
            "confidence": 80.0 + i % 20,
            "ratio": 0.1 * i + 1e-9,
            "win": [True, False, None][i % 3],
            "lifespan": 0,
            "ticket": 2**53 + 1 + i,
            "serial": 2**64 - 1 - i,
            "offset": -(2**63) + i,
            "note": ["plain", "Zürich → 東京 🚀", "quote \" back \\ slash", "tab\tline\nnul\0"][i % 4],
            "legs": [{"side": "buy", "size": 1e-320}, [], {}, [1, [2, [3.0]]]],
            "signal_id": f"ELITE_RAPID_{1757386981 + i}",
        })
    return lines


def jsonl(objects):
    return "".join(json.dumps(o, ensure_ascii=o is objects[0]) + "\n" for o in objects)


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(text.encode() if isinstance(text, str) else text)
    return path


def event_lines(count, topic="t", size=0, first=1):
    """Whole events, one second apart from 2026-01-02T03:00:00Z on, hard to compress."""
    lines = []
    noise = random.Random(first)
    for i in range(first, first + count):
        when = 1767322800 + i
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
        lines.append({"topic": topic, "time": text, "payload": {"n": i, "pad": noise.randbytes(size // 2).hex()}})
    return "".join(json.dumps(line) + "\n" for line in lines)


def segment_files(directory):
    folder = os.path.join(directory, "segments")
    return sorted(name for name in os.listdir(folder) if name.endswith(".seg"))


def fill(directory, segments=20, size=400):
    """A log of at least so many small segments; returns its last sequence. One run publishes one
    block, which is smaller than a segment: a block never crosses from one into the next."""
    first = 1
    while not os.path.isdir(f"{directory}/segments") or len(segment_files(directory)) < segments:
        daybook("pub", "-D", directory, "--segment-size", "64K",
                stdin=event_lines(100, size=size, first=first))
        first += 100
    return first - 1
