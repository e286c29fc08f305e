#!/usr/bin/env python3
"""A thousand random queries: the answers are those of a plain SQLite table with the same events."""
import json
import os
import random
import sqlite3
import subprocess

from cli_support import DAYBOOK, OK, daybook, environment, main, promise

BASE_NS = 1_767_603_600_000_000_000
TOPICS = ["signal", "order.filled", "order.sent", "heartbeat", "user/action", "T:1"]
SCHEMA = {"type": "object", "properties": {
    "pair": {"type": "string"}, "size": {"type": "number"}, "count": {"type": "integer"},
    "win": {"type": "boolean"}, "meta": {"type": "object", "properties": {"user": {"type": "string"}}},
    "tags": {"type": "array"}, "time": {"type": "string"}, "free": {}}}


def iso(time_ns):
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    days, rest = divmod(seconds, 86400)
    year, month, day = sqlite_date(days)
    return (f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
            f".{fraction:09}Z")


def sqlite_date(days):
    """The civil date of a day since the epoch (H. Hinnant, chrono-Compatible Low-Level Date Algorithms)."""
    days += 719468
    era, doe = divmod(days, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    month = (5 * doy + 2) // 153
    day = doy - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return yoe + era * 400 + (month <= 2), month, day


def make_payload(rng):
    payload = {
        "pair": rng.choice(["EURUSD", "XAUUSD", "GBPJPY", "ÄÖ-€", ""]),
        "size": rng.choice([0.5, 1.25, 3, -7, 1e20, 88.0, 0]),
        "count": rng.choice([0, 1, -5, 2**53, 2**63 - 1, -(2**63)]),
        "win": rng.random() < 0.5,
        "meta": {"user": f"u{rng.randrange(20)}", "level": rng.randrange(3)},
        "tags": [rng.randrange(3) for _ in range(rng.randrange(3))],
        "time": rng.choice(["early", "late"]),
        "free": rng.choice([1, "1", 2.5, None, "x", True, [1, "a"], {"b": 1}]),
    }
    payload["noise"] = f"{rng.getrandbits(800):x}"  # which no compression removes
    for key in list(payload):
        if rng.random() < 0.12:
            del payload[key]
    return rng.choice([1, "text", None, [1, 2]]) if rng.random() < 0.02 else payload


def make_events(rng, count):
    """Out of order, with equal times, and some before 1970."""
    now = BASE_NS
    for _ in range(count):
        now += rng.choice([0, 1, 1000, 250_000_000, 3_000_000_000])
        time_ns = now - rng.choice([0, 0, 0, 0, 60_000_000_000])
        if rng.random() < 0.005:
            time_ns = rng.choice([-1, 0, -BASE_NS])
        yield time_ns, rng.choices(TOPICS, [40, 25, 20, 10, 4, 1])[0], make_payload(rng)


def fill_both(directory, rng, count):
    """The same events in a log, in blocks of all sizes and partly packed, and in plain SQLite."""
    events = list(make_events(rng, count))
    schema = os.path.join(directory, "schema.json")
    with open(schema, "w", encoding="utf-8") as to:
        json.dump(SCHEMA, to)
    log = os.path.join(directory, "log")
    at = 0
    while at < count:
        size = rng.choice([1, 3, 50, 700])
        lines = "".join(json.dumps({"time": iso(t), "topic": topic, "payload": payload}) + "\n"
                        for t, topic, payload in events[at:at + size])
        daybook("pub", "-D", log, "--segment-size", "1M", stdin=lines)
        at += size
    plain = sqlite3.connect(os.path.join(directory, "plain.db"), isolation_level=None)
    plain.execute("CREATE TABLE events(seq INTEGER PRIMARY KEY, ts INTEGER, time TEXT, topic TEXT,"
                  " payload TEXT)")
    plain.execute("BEGIN")
    plain.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                      [(i + 1, t, iso(t), topic, json.dumps(payload, separators=(",", ":"),
                                                           ensure_ascii=False))
                       for i, (t, topic, payload) in enumerate(events)])
    plain.execute("COMMIT")
    return log, schema, plain, events


def make_typed(plain):
    """What the table of the topic is to be like."""
    plain.execute('CREATE TABLE "signal"(seq INTEGER PRIMARY KEY, ts INTEGER, time TEXT, topic TEXT,'
                  ' pair TEXT, size REAL, count INTEGER, win BOOLEAN, "meta.user" TEXT, tags TEXT,'
                  ' "payload.time" TEXT, free)')
    fields = ", ".join(f"payload ->> '$.{name}'" for name in
                       ["pair", "size", "count", "win", "meta.user", "tags", "time", "free"])
    plain.execute(f'INSERT INTO "signal" SELECT seq, ts, time, topic, {fields} FROM events'
                  " WHERE topic = 'signal'")


class Side:
    """How one of the two writes what a query says."""
    def __init__(self, ours, typed):
        self.ours, self.typed = ours, typed

    def table(self):
        return '"signal"' if self.typed else "events"

    def field(self, alias, name, how):
        """A value within the payload; `how` chooses among the ways that we have for it."""
        if self.typed:
            return f'{alias}."{"payload.time" if name == "time" else name}"'
        plain = f"({alias}.payload ->> '$.{name}')"
        if not self.ours:
            return plain
        return [plain, f"daybook_field({alias}.payload, '{name}')",
                f"daybook_field({alias}.seq, '$.{name}')"][how]


def random_constraint(rng, events, alias):
    """A condition, as a function of the side."""
    seq = rng.randrange(-2, len(events) + 3)
    time_ns = rng.choice(events)[0]
    op = rng.choice(["=", "<", "<=", ">", ">=", "<>", "IS"])
    kind = rng.randrange(14)
    how = rng.randrange(3)
    if kind == 0:
        value = rng.choice([seq, seq + 0.5, f"'{seq}'", "NULL", "'x'", "x'00'", 1e30, -1e30,
                            f"{seq}.0"])
        return lambda side: f"{alias}.seq {op} {value}"
    if kind == 1:
        low, width = rng.randrange(len(events)), rng.choice([0, 5, 500])
        return lambda side: f"{alias}.seq BETWEEN {low} AND {low + width}"
    if kind == 2:
        value = rng.choice([time_ns, time_ns + 0.0, f"'{time_ns}'", "NULL", "'y'"])
        return lambda side: f"{alias}.ts {op} {value}"
    if kind == 3:
        width = rng.choice([0, 10**9, 10**11, 10**12])
        return lambda side: f"{alias}.ts >= {time_ns} AND {alias}.ts < {time_ns + width}"
    if kind == 4:
        text = iso(time_ns)[:rng.choice([0, 4, 7, 10, 13, 16, 19, 20, 23, 29, 30])]
        text += rng.choice(["", "", "Z", " ", "9", "-13-", "T25", "\u00e9"])
        return lambda side: f"{alias}.time {op} '{text}'"
    if kind == 5:
        later = iso(time_ns + rng.choice([0, 10**9, 10**12]))[:rng.choice([13, 16, 19, 30])]
        return lambda side: f"{alias}.time BETWEEN '{iso(time_ns)[:16]}' AND '{later}'"
    if kind == 6:
        text = iso(time_ns)[:rng.choice([4, 10, 13, 16, 20])]
        word, end = rng.choice([("LIKE", "%"), ("GLOB", "*"), ("LIKE", "_%")])
        return lambda side: f"{alias}.time {word} '{text}{end}'"
    if kind in (7, 8):
        value = rng.choice([f"'{topic}'" for topic in TOPICS] + ["'none'", "NULL", "5", "x'00'"])
        way = rng.choice(["=", "=", "=", "<>", "IS", "="])
        end = rng.choice(["", "", "", " COLLATE NOCASE"])
        return lambda side: f"{alias}.topic {way} {value}{end}"
    if kind == 9:
        some = ", ".join(f"'{topic}'" for topic in rng.sample(TOPICS, 3))
        return lambda side: f"{alias}.topic IN ({some})"
    if kind == 10:
        some = ", ".join(str(rng.randrange(len(events))) for _ in range(5))
        return lambda side: f"{alias}.seq IN ({some})"
    name = rng.choice(["pair", "size", "count", "win", "meta.user", "time"])
    value = rng.choice(["'EURUSD'", "3", "0.5", "1", "'u7'", "'early'", "88", "-5", "NULL"])
    return lambda side: f"{side.field(alias, name, how)} {op} {value}"


def random_where(rng, events, alias):
    parts = [random_constraint(rng, events, alias) for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))]
    if not parts:
        return lambda side: "1"
    if len(parts) > 1 and rng.random() < 0.15:
        return lambda side: "(" + " OR ".join(part(side) for part in parts) + ")"
    return lambda side: " AND ".join(part(side) for part in parts)


def random_query(rng, events, typed):
    """A query as a function of the side, and whether it says in which order rows come."""
    where = random_where(rng, events, "e")
    names = rng.sample(["pair", "size", "count", "win", "meta.user", "tags", "time", "free"], 2)
    how = rng.randrange(3)
    shape = rng.randrange(9 if typed else 8)
    limit = rng.choice(["", f" LIMIT {rng.randrange(0, 40)}",
                        f" LIMIT {rng.randrange(1, 40)} OFFSET {rng.randrange(0, 40)}"])
    if shape == 0:
        order = rng.choice(["e.seq", "e.seq DESC", "e.ts, e.seq", "e.ts DESC, e.seq DESC",
                            "e.time, e.seq", "e.topic, e.seq", "e.ts, e.seq DESC"])
        return (lambda side: f"SELECT e.seq, e.ts, e.time, e.topic, {side.field('e', names[0], how)}"
                f" FROM {side.table()} e WHERE {where(side)} ORDER BY {order}{limit}"), True
    if shape == 1:
        return (lambda side: f"SELECT e.seq, {side.field('e', names[0], how)},"
                f" {side.field('e', names[1], how)} FROM {side.table()} e WHERE {where(side)}"), False
    if shape == 2:
        return (lambda side: f"SELECT e.topic, count(*), min(e.seq), max(e.time) FROM"
                f" {side.table()} e WHERE {where(side)} GROUP BY e.topic"), False
    if shape == 3:
        return (lambda side: f"SELECT {side.field('e', names[0], how)} k, count(*), max(e.ts)"
                f" FROM {side.table()} e WHERE {where(side)} GROUP BY k"), False
    if shape == 4:
        step = rng.choice([1, 2, 7])
        return (lambda side: f"SELECT e.seq, f.seq, {side.field('f', names[0], how)}"
                f" FROM {side.table()} e JOIN {side.table()} f ON f.seq = e.seq + {step}"
                f" WHERE {where(side)} ORDER BY e.seq LIMIT 60"), True
    if shape == 5:
        return (lambda side: f"SELECT count(*), count(DISTINCT {side.field('e', names[0], how)}),"
                f" min(e.ts), max(e.seq) FROM {side.table()} e WHERE {where(side)}"), False
    if shape == 7:  # nothing of a row but its topic
        what = rng.choice(["SELECT count(*) FROM {}", "SELECT topic, count(*) FROM {} GROUP BY topic",
                           "SELECT DISTINCT topic FROM {}", "SELECT 1 FROM {} LIMIT 7",
                           "SELECT topic FROM {} ORDER BY topic DESC LIMIT 9",
                           "SELECT count(*) FROM {} WHERE topic = 'order.sent'"])
        return (lambda side: what.format(side.table())), False
    if shape == 8:
        joined = rng.choice(["count", "pair", "meta.user"])
        return (lambda side: f"SELECT count(*), sum(f.seq - e.seq), max({side.field('f', names[0], 0)})"
                f" FROM {side.table()} e JOIN {side.table()} f ON {side.field('e', joined, 0)} ="
                f" {side.field('f', joined, 0)} AND f.seq > e.seq AND f.seq < e.seq + 100"
                f" WHERE {where(side)}"), False
    return (lambda side: f"SELECT DISTINCT e.topic FROM {side.table()} e WHERE {where(side)}"), False


def ask_ours(log, queries):
    """One process for all of them: the answers are one JSON array a statement."""
    done = subprocess.run([DAYBOOK, "sql", "-D", log, "-o", "json"], env=environment(), check=False,
                          input="".join(query + ";\n" for query in queries).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == OK, (done.returncode, done.stderr[-2000:])
    decoder, text, at, answers = json.JSONDecoder(object_pairs_hook=list), done.stdout.decode(), 0, []
    while at < len(text):
        rows, at = decoder.raw_decode(text, at)
        answers.append([tuple(value for _, value in row) for row in rows])
        at += 1  # the line's end
    assert len(answers) == len(queries), (len(answers), len(queries))
    return answers


def same(ours, plain, ordered):
    def tidy(rows):
        rows = [repr(row) for row in rows]  # tells 1 from 1.0
        return rows if ordered else sorted(rows)
    return tidy(ours) == tidy(plain)


def compare(log, plain, rng, events, count, typed):
    queries = [random_query(rng, events, typed) for _ in range(count)]
    ours, theirs = Side(True, typed), Side(False, typed)
    answers = ask_ours(log, [query(ours) for query, _ in queries])
    for (query, ordered), answer in zip(queries, answers):
        expected = plain.execute(query(theirs)).fetchall()
        if not same(answer, expected, ordered):
            raise AssertionError(f"{query(ours)}\n  gives {answer[:5]} … ({len(answer)} rows)\n"
                                 f"{query(theirs)}\n  gives {expected[:5]} … ({len(expected)} rows)")


@promise("a thousand random queries give the answers of a plain SQLite table with the same events")
def thousand(directory):
    rng = random.Random(20261129)
    log, schema, plain, events = fill_both(directory, rng, 6000)
    compare(log, plain, rng, events, 500, typed=False)
    daybook("schema", "add", "signal", schema, "-D", log, "--mode", "warn")
    make_typed(plain)
    rng = random.Random(20261130)
    compare(log, plain, rng, events, 250, typed=True)


@promise("… and so they do over typed tables some of whose fields are in the index")
def with_fields(directory):
    rng = random.Random(20261202)
    log, schema, plain, events = fill_both(directory, rng, 6000)
    daybook("schema", "add", "signal", schema, "-D", log, "--mode", "warn")
    daybook("index", "add", "signal", "pair", "count", "free", "meta.user", "-D", log)
    make_typed(plain)
    compare(log, plain, rng, events, 250, typed=True)


@promise("… and so they do when the log is packed, and when retention has deleted its beginning")
def packed(directory):
    rng = random.Random(20261201)
    log, _, plain, events = fill_both(directory, rng, 12000)
    daybook("pack", "-D", log)
    compare(log, plain, rng, events, 250, typed=False)
    daybook("retention", "-D", log, "--max-size", "1K")
    first = int(daybook("sql", "-D", log, "-o", "csv", "SELECT min(seq) FROM events").lines[1])
    assert first > 1
    plain.execute("DELETE FROM events WHERE seq < ?", [first])
    compare(log, plain, rng, events, 250, typed=False)


if __name__ == "__main__":
    main()
