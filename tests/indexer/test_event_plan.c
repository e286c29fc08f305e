/* What a table of events answers of WHERE, ORDER BY and LIMIT: the same as a plain table. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/indexer/scene.h"
#include "tests/indexer/twin.h"

static sqlite3 *database;

static void begin(void)
{
    scene_begin();
    scene_write(1500);
    scene_index();
    database = twin_open();
}

static void end(void)
{
    sqlite3_close(database);
    scene_end();
}

TestSuite(event_plan, .init = begin, .fini = end);

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

/* Every condition, over ways that ask for little, for the place, and for the payload. */
static void expect_same_conditions(const char *const *conditions, size_t count)
{
    static const char *const shapes[] = {
        "SELECT seq, ts, topic FROM $events WHERE %s ORDER BY seq",
        "SELECT seq, bytes, payload FROM $events WHERE %s ORDER BY seq DESC",
        "SELECT segment, offset, time, seq FROM $events WHERE %s ORDER BY ts, seq",
        "SELECT count(*), min(seq), max(ts), sum(bytes) FROM $events WHERE %s",
        "SELECT topic, count(*) FROM $events WHERE %s GROUP BY topic",
        "SELECT seq FROM $events WHERE %s ORDER BY seq LIMIT 7 OFFSET 3",
        "SELECT seq FROM $events WHERE %s AND topic = 'a' ORDER BY ts DESC, seq DESC LIMIT 5",
    };
    for (size_t i = 0; i < count; i++) {
        for (size_t shape = 0; shape < COUNT_OF(shapes); shape++) {
            char question[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(question, sizeof question, shapes[shape], conditions[i]);
#pragma GCC diagnostic pop
            twin_expect_same(database, question);
        }
    }
}

Test(event_plan, compares_seq_as_sqlite_does)
{
    static const char *const conditions[] = {
        "seq = 7", "seq = 0", "seq = -1", "seq = 1501", "seq = 7.0", "seq = 7.5", "seq = '7'",
        "seq = ' 7 '", "seq = '7x'", "seq = x'37'", "seq = NULL", "seq IS NULL", "seq IS 7",
        "seq IS NOT 7", "seq != 7",
        "seq > 1490", "seq >= 1490", "seq < 10", "seq <= 10", "seq > 1490.5", "seq >= 1490.5",
        "seq < 10.5", "seq <= 10.5", "seq > '1490'", "seq < 'x'", "seq > 'x'", "seq < x'00'",
        "seq >= x'00'", "seq < NULL", "seq BETWEEN 5 AND 9", "seq NOT BETWEEN 5 AND 1495",
        "seq BETWEEN 9 AND 5", "seq > 5 AND seq > 8 AND seq < 12 AND seq <= 10.2",
        "seq < 9223372036854775807", "seq > 9223372036854775807", "seq >= -9223372036854775808",
        "seq < -9223372036854775808", "seq < 1e300", "seq > 1e300", "seq > -1e300", "seq < -1e300",
        "seq = 1e300", "seq < 9223372036854775808", "seq >= 9223372036854775808",
        "seq < -9223372036854775808.0", "seq > -9223372036854775808.0", "seq < 9e999",
        "seq > -9e999", "seq IN (5, 3, 9, 3, 2000, -1)", "seq IN (5, '6', 7.0, NULL, x'38')",
        "seq NOT IN (SELECT seq FROM event_rows WHERE seq > 20)",
        "seq IN (SELECT seq FROM event_rows WHERE seq % 400 = 0)", "seq % 700 = 3",
        "seq = (SELECT max(seq) FROM event_rows)", "seq + 0 = 7", "seq = 7 OR seq = 1400",
        "seq = 7 OR topic = 'rare:one'", "(seq, topic) = (5, 'orders.new')",
        "(seq, ts) > (1495, 0)",
        "NOT seq > 10", "seq COLLATE NOCASE = 7", "+seq = 7", "seq LIKE '14%'", "seq GLOB '14*'",
        "seq = CAST('7' AS TEXT)", "seq > CAST('1490' AS TEXT)", "seq < true + 4", "seq",
    };
    expect_same_conditions(conditions, COUNT_OF(conditions));
}

Test(event_plan, compares_ts_as_sqlite_does)
{
    static const char *const conditions[] = {
        "ts = 1764000009876543128", "ts = '1764000009876543128'", "ts = 1764000009876543128.0",
        "ts > 1765000000000000000", "ts >= 1765000000000000000.0", "ts < 0", "ts <= -1.5",
        "ts < '0'", "ts BETWEEN 1764000000000000000 AND 1764000020000000000",
        "ts > 1764000100000000000 AND ts < 1764000200000000000 AND topic = 'sensor/1'",
        "ts < -9223372036854775808.0", "ts <= -9223372036854775808", "ts > 9.3e18", "ts < 9.3e18",
        "ts > NULL", "ts IS NOT NULL", "ts < x'00'", "ts IN (1764000009876543128, 5)",
        "ts >= daybook_time('2025-11-24T16:10:00Z')", "ts > 0 AND ts < 1", "ts < 0 AND seq > 900",
        "ts > 1764000100000000000 AND seq BETWEEN 100 AND 200",
    };
    expect_same_conditions(conditions, COUNT_OF(conditions));
}

Test(event_plan, compares_time_as_a_text)
{
    static const char *const conditions[] = {
        "time > '2025-11-24T16:20'", "time >= '2025-11-24 16:20'", "time < '2025-11-24T16:20:59.5'",
        "time <= '2025-11-24T16:05:00Z'", "time = '2025-11-24T16:00:01.234567891Z'",
        "time = '2025-11-24T16:00:01.23456789Z'", "time < '1970'", "time > '2025-13'", "time > 'x'",
        "time < 'x'", "time < ''", "time > ''", "time > 2025", "time < 2025", "time > 2026.5",
        "time > x'32'", "time < x'32'", "time = NULL", "time IS NULL", "time != '2025'",
        "time LIKE '2025-11-24T16:2%'", "time LIKE '2025-11-24t16:2%'", "time LIKE '%5Z'",
        "time LIKE '2025_11%'", "time NOT LIKE '2025%'", "time LIKE '1969%'", "time LIKE NULL",
        "time LIKE '2025-11-24T16:2%' ESCAPE '5'", "time LIKE 2025", "time LIKE x'323025'",
        "time GLOB '2025-11-24T16:2[0-3]*'", "time GLOB '2025-11-24t16*'", "time GLOB '?025*'",
        "time GLOB '[12]*'", "time BETWEEN '2025-11-24T16:05' AND '2025-11-24T16:06'",
        "time COLLATE NOCASE = '2025-11-24t16:00:01.234567891z'",
        "time COLLATE NOCASE > '2025-11-24t16:20'", "time > '2025-11-24T16:20' COLLATE RTRIM",
        "time = '2025-11-24T16:00:01.234567891Z  ' COLLATE RTRIM",
        "time IN ('2025-11-24T16:00:01.234567891Z', '2025', NULL)",
        "time > '2025-11-24T16:20' AND topic = 'sensor/2' AND seq < 1000",
        "time > CAST(2030 AS INTEGER)", "time < CAST(2030 AS INTEGER)",
        "time >= CAST(2030.5 AS REAL)", "time = CAST(2025 AS INTEGER)", "time > seq", "time < ts",
        "time > '2025' || '-11-24T16:20'", "time > date('2025-11-24')",
    };
    expect_same_conditions(conditions, COUNT_OF(conditions));
}

Test(event_plan, compares_numbers_of_another_table_with_time_as_sqlite_does)
{
    sqlite3_exec(database, "CREATE TEMP TABLE years(i INTEGER, r REAL, t TEXT, n);"
                           "INSERT INTO years VALUES (2030, 2030, 2030, 2030), (1900, 1, 1900, 1)",
                 NULL, NULL, NULL);
    static const char *const columns[] = {"i", "r", "t", "n"};
    static const char *const operators[] = {"<", "<=", "=", ">=", ">", "LIKE", "GLOB", "IS"};
    for (size_t c = 0; c < COUNT_OF(columns); c++) {
        for (size_t o = 0; o < COUNT_OF(operators); o++) {
            char question[256];
            snprintf(question, sizeof question,
                     "SELECT y.rowid, count(*) FROM years y JOIN $events e ON e.time %s y.%s"
                     " GROUP BY y.rowid",
                     operators[o], columns[c]);
            twin_expect_same(database, question);
        }
    }
}

Test(event_plan, compares_topic_by_its_bytes)
{
    static const char *const conditions[] = {
        "topic = 'a'", "topic = 'A'", "topic = 'A' COLLATE NOCASE", "topic COLLATE NOCASE = 'A'",
        "topic = 'a ' COLLATE RTRIM", "topic = 'rare:one'", "topic = 'nobody'", "topic = ''",
        "topic = NULL", "topic IS 'a'", "topic IS NULL", "topic = x'61'", "topic = 5",
        "topic IN ('a', 'rare:one', 'nobody', NULL)", "topic != 'a'", "topic > 'orders.new'",
        "topic LIKE 'ORDERS%'", "topic GLOB 'orders.*'", "topic = 'a' AND topic = 'rare:one'",
        "topic = 'a' AND topic = 'a'", "topic = 'a' AND seq > 1000",
        "topic = 'a' OR topic = 'sensor/1'", "topic || '' = 'a'",
        "topic IN (SELECT topic FROM topic_rows WHERE topic LIKE 'o%')",
        "topic = 'sensor/1' AND ts > 1764000500000000000 AND seq < 900",
        "topic = printf('%.300c', 'x')", "topic BETWEEN 'b' AND 'p'",
    };
    expect_same_conditions(conditions, COUNT_OF(conditions));
}

Test(event_plan, takes_values_that_are_bound)
{
    static const char *const conditions[] = {"seq = ?1", "seq < ?1", "ts > ?1", "time >= ?1",
                                             "topic = ?1", "time LIKE ?1"};
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        char sql[256];
        sqlite3_stmt *both = NULL;
        snprintf(sql, sizeof sql,
                 "SELECT (SELECT count(*) FROM events WHERE %s) - (SELECT count(*) FROM plain"
                 " WHERE %s)",
                 conditions[i], conditions[i]);
        cr_assert_eq(sqlite3_prepare_v2(database, sql, -1, &both, NULL), SQLITE_OK);
        for (int kind = 0; kind < 8; kind++) {
            sqlite3_reset(both);
            sqlite3_clear_bindings(both); /* the last is NULL */
            if (kind == 0)
                sqlite3_bind_int64(both, 1, 1000);
            if (kind == 1)
                sqlite3_bind_double(both, 1, 1000.5);
            if (kind == 2)
                sqlite3_bind_text(both, 1, "1000", -1, SQLITE_STATIC);
            if (kind == 3)
                sqlite3_bind_text(both, 1, "2025-11-24T16:2%", -1, SQLITE_STATIC);
            if (kind == 4)
                sqlite3_bind_text(both, 1, "a\0b", 3, SQLITE_STATIC);
            if (kind == 5)
                sqlite3_bind_blob(both, 1, "a", 1, SQLITE_STATIC);
            if (kind == 6)
                sqlite3_bind_zeroblob(both, 1, 3);
            cr_assert_eq(sqlite3_step(both), SQLITE_ROW, "%s", sqlite3_errmsg(database));
            cr_assert_eq(sqlite3_column_int64(both, 0), 0, "%s, kind %d", conditions[i], kind);
        }
        sqlite3_finalize(both);
    }
}

Test(event_plan, gives_rows_in_the_order_that_is_asked_for)
{
    static const char *const orders[] = {
        "seq", "seq DESC", "ts", "ts DESC, seq DESC", "ts, seq DESC", "ts DESC, seq",
        "time, seq", "time DESC, seq DESC", "topic, seq", "topic DESC, seq", "topic, ts, seq",
        "seq, ts DESC", "bytes, seq", "length(topic), seq", "-seq", "topic COLLATE NOCASE, seq",
        "seq COLLATE NOCASE DESC", "ts NULLS LAST, seq", "ts NULLS FIRST, seq", "payload",
        "2, 1", "ts / 1000000000000, seq DESC",
    };
    static const char *const filters[] = {"", " WHERE topic = 'sensor/2'",
                                          " WHERE topic IN ('a', 'orders.new')",
                                          " WHERE ts > 1764000900000000000",
                                          " WHERE topic = 'a' AND seq BETWEEN 100 AND 900",
                                          " WHERE seq IN (90, 20, 55)", " WHERE seq = 9"};
    static const char *const limits[] = {"", " LIMIT 10", " LIMIT 5 OFFSET 20", " LIMIT 0",
                                         " LIMIT -1 OFFSET 1490"};
    for (size_t o = 0; o < COUNT_OF(orders); o++) {
        for (size_t f = 0; f < COUNT_OF(filters); f++) {
            char question[512];
            size_t l = (o + f) % COUNT_OF(limits);
            snprintf(question, sizeof question,
                     "SELECT seq, ts, topic, length(payload) FROM $events%s ORDER BY %s%s",
                     filters[f], strcmp(orders[o], "ts") ? orders[o] : "ts, seq", limits[l]);
            twin_expect_same(database, question);
        }
    }
    twin_expect_same(database, "SELECT ts FROM $events WHERE topic = 'a' ORDER BY ts");
    twin_expect_same(database, "SELECT ts FROM $events WHERE topic = 'a' ORDER BY ts DESC");
    twin_expect_same(database, "SELECT topic FROM $events ORDER BY topic");
    twin_expect_same(database, "SELECT DISTINCT topic FROM $events ORDER BY topic DESC");
    twin_expect_same(database, "SELECT DISTINCT topic FROM $events WHERE ts < 0 ORDER BY 1");
}

Test(event_plan, sorts_nothing_that_comes_sorted)
{
    twin_expect_sorted_by_table(database, "SELECT seq FROM events ORDER BY seq");
    twin_expect_sorted_by_table(database, "SELECT payload FROM events ORDER BY seq DESC LIMIT 3");
    twin_expect_sorted_by_table(database, "SELECT seq FROM events WHERE topic = 'a' ORDER BY ts");
    twin_expect_sorted_by_table(database,
                                "SELECT seq FROM events WHERE topic = 'a' ORDER BY time DESC");
    twin_expect_sorted_by_table(database, "SELECT topic, count(*) FROM events GROUP BY topic");
    twin_expect_sorted_by_sqlite(database, "SELECT seq FROM events ORDER BY ts");
    twin_expect_sorted_by_sqlite(database, "SELECT seq FROM events ORDER BY ts, seq DESC");
    twin_expect_sorted_by_sqlite(database, "SELECT seq FROM events ORDER BY topic, ts");
    twin_expect_sorted_by_sqlite(database,
                                 "SELECT seq FROM events WHERE seq IN (3, 1) ORDER BY seq");
    twin_expect_sorted_by_sqlite(database, "SELECT seq FROM events ORDER BY topic COLLATE NOCASE");
}

Test(event_plan, is_right_within_every_shape_of_a_query)
{
    static const char *const questions[] = {
        "SELECT a.seq, b.seq FROM $events a JOIN $events b ON b.seq = a.seq + 1"
        " WHERE a.topic = 'rare:one' ORDER BY 1",
        "SELECT a.seq, b.topic FROM $events a LEFT JOIN $events b ON b.seq = a.seq + 1499"
        " WHERE a.seq < 4 ORDER BY 1",
        "SELECT count(*) FROM $events a LEFT JOIN $events b ON b.seq = a.seq - 1 AND b.topic = 'a'"
        " WHERE b.seq IS NULL",
        "SELECT count(*) FROM $events a RIGHT JOIN $events b ON a.seq = b.seq + 10"
        " WHERE b.seq > 1480",
        "SELECT a.seq, b.seq FROM $events a FULL JOIN $events b ON a.seq = b.seq AND a.topic = 'a'"
        " WHERE coalesce(a.seq, b.seq) < 20 ORDER BY 1, 2",
        "SELECT count(*) FROM $events a, $events b WHERE a.seq < 30 AND b.seq BETWEEN a.seq AND"
        " a.seq + 3",
        "SELECT count(*) FROM $events a NATURAL JOIN $events b WHERE a.seq < 50",
        "SELECT count(*), sum(a.bytes) FROM $events a JOIN $events b USING (seq, bytes, topic)",
        "SELECT count(*) FROM $events a JOIN $events b USING (segment, offset) WHERE a.seq < 100",
        "SELECT seq, (SELECT max(seq) FROM $events p WHERE p.topic = e.topic AND p.seq < e.seq)"
        " FROM $events e WHERE seq > 1480 ORDER BY seq",
        "SELECT topic, (SELECT count(*) FROM $events b WHERE b.topic = a.topic) FROM"
        " (SELECT DISTINCT topic FROM $events) a ORDER BY 1",
        "SELECT seq FROM $events e WHERE EXISTS (SELECT 1 FROM $events x WHERE x.seq = e.seq + 3"
        " AND x.topic = 'rare:one') ORDER BY seq",
        "SELECT seq FROM $events WHERE topic = 'a' AND seq < 50 UNION SELECT seq FROM $events"
        " WHERE topic = 'rare:one' ORDER BY 1 DESC",
        "SELECT seq FROM $events WHERE seq < 100 EXCEPT SELECT seq FROM $events WHERE topic = 'a'"
        " ORDER BY 1",
        "SELECT seq FROM $events WHERE seq < 100 INTERSECT SELECT seq FROM $events WHERE"
        " topic = 'a' ORDER BY 1",
        "SELECT seq FROM (SELECT seq FROM $events WHERE topic = 'a' ORDER BY ts DESC LIMIT 5)"
        " UNION ALL SELECT seq FROM (SELECT seq FROM $events ORDER BY seq LIMIT 5)",
        "SELECT seq, row_number() OVER (PARTITION BY topic ORDER BY seq),"
        " lag(ts) OVER (ORDER BY seq), count(*) OVER (PARTITION BY topic) FROM $events"
        " WHERE seq < 60 ORDER BY seq",
        "SELECT seq, sum(bytes) OVER (ORDER BY seq ROWS 3 PRECEDING) FROM $events"
        " WHERE topic = 'a' ORDER BY seq",
        "WITH RECURSIVE chain(seq, n) AS (SELECT 1, 1 UNION ALL SELECT e.seq, n + 1 FROM chain c"
        " JOIN $events e ON e.seq = c.seq * 2) SELECT * FROM chain",
        "WITH last AS (SELECT topic, max(seq) AS seq FROM $events GROUP BY topic)"
        " SELECT e.seq, e.payload FROM last JOIN $events e USING (seq) ORDER BY 1",
        "WITH m AS MATERIALIZED (SELECT * FROM $events WHERE topic = 'sensor/1')"
        " SELECT count(*), sum(length(payload)), min(time) FROM m",
        "SELECT topic, group_concat(seq) FROM (SELECT * FROM $events WHERE seq < 40 ORDER BY seq)"
        " GROUP BY topic ORDER BY topic",
        "SELECT topic, min(ts), max(ts), count(*) FILTER (WHERE ts < 0) FROM $events GROUP BY topic"
        " HAVING count(*) > 20 ORDER BY 1",
        "SELECT max(seq), topic FROM $events",
        "SELECT min(ts), seq FROM $events WHERE topic = 'a'",
        "SELECT max(ts) FROM $events WHERE topic = 'sensor/2'",
        "SELECT count(DISTINCT topic) FROM $events",
        "SELECT e.seq FROM (VALUES (5), (3), (NULL), ('4'), (3.5)) v JOIN $events e"
        " ON e.seq = v.column1 ORDER BY 1",
        "SELECT CASE WHEN seq > 5 THEN topic ELSE payload END FROM $events WHERE seq IN (5, 6)"
        " ORDER BY seq",
        "SELECT json_extract(payload, '$.n') AS n FROM $events WHERE n > 1490 ORDER BY seq",
        "SELECT count(*) FROM $events WHERE daybook_field(payload, '$.n') = seq",
        "SELECT seq FROM $events WHERE seq = 3 ORDER BY topic, ts, bytes",
        "SELECT 1 FROM $events LIMIT 3",
    };
    for (size_t i = 0; i < COUNT_OF(questions); i++)
        twin_expect_same(database, questions[i]);
}

Test(event_plan, serves_views_and_tables_that_are_made_from_it)
{
    char *rows;
    sqlite3_exec(database, "CREATE TEMP VIEW late AS SELECT * FROM events WHERE seq > 1490;"
                           "CREATE TEMP TABLE copy AS SELECT * FROM events WHERE topic = 'a'",
                 NULL, NULL, NULL);
    rows = scene_rows(database, "SELECT count(*), min(seq), count(payload) FROM late");
    cr_assert_str_eq(rows, "10|1491|10\n");
    free(rows);
    rows = scene_rows(database, "SELECT seq FROM late WHERE topic = 'a' ORDER BY ts DESC");
    char *same = scene_rows(database, "SELECT seq FROM plain WHERE seq > 1490 AND topic = 'a'"
                                      " ORDER BY ts DESC");
    cr_assert_str_eq(rows, same);
    free(rows);
    free(same);
    twin_expect(database, "SELECT count(*) FROM (SELECT * FROM copy EXCEPT SELECT * FROM plain)",
                "0\n");
}

Test(event_plan, refuses_to_be_written)
{
    static const char *const attempts[] = {"DELETE FROM events", "UPDATE events SET topic = 'x'",
                                           "INSERT INTO events(seq) VALUES (1)"};
    for (size_t i = 0; i < COUNT_OF(attempts); i++)
        twin_expect_error(database, attempts[i], SQLITE_ERROR, "may not be modified");
    twin_expect(database, "SELECT count(*) FROM events", "1500\n");
}
