/* The table `events` of the extension: payloads, snapshots, and what happens under a query. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/retention.h"
#include "segment/bound.h"
#include "segment/format.h"
#include "segment/packer.h"
#include "segment/repair.h"
#include "tests/indexer/scene.h"
#include "tests/indexer/twin.h"

TestSuite(event_table, .init = scene_begin, .fini = scene_end);

static struct error error;

enum { MANY = 20000 }; /* so many that the log itself is gone through (indexer/event_way.c) */

/* Without waiting for the disk each time; some incompressible bytes, so that segments fill. */
static void write_many(unsigned count)
{
    struct segment_log *log = scene_open_log();
    uint64_t noise = 1;
    for (unsigned i = 1; i <= count; i++) {
        char json[200];
        int size = snprintf(json, sizeof json, "{\"n\":%u,\"noise\":\"", i);
        for (int part = 0; part < 4; part++) {
            noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            size += snprintf(json + size, sizeof json - (size_t)size, "%016llx",
                             (unsigned long long)noise);
        }
        snprintf(json + size, sizeof json - (size_t)size, "\"}");
        twin_append(log, i % 3 ? "t" : "u", (int64_t)i * 1000, json);
        if (i % 500 == 0)
            twin_commit(log);
    }
    twin_close_log(log);
}

static void pack_all(void)
{
    struct segment_packer_watcher watcher = {0};
    struct segment_packer_totals totals = {0};
    cr_assert_eq(segment_packer_run(scene_directory(), &watcher, &totals, &error), OK, "%s",
                 error.text);
    cr_assert_gt(totals.segments_packed, 0);
}

static uint64_t retain(uint64_t max_bytes)
{
    struct indexer_retention_options options = {.max_bytes = max_bytes};
    struct indexer_retention_totals totals;
    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 OK, "%s", error.text);
    cr_assert_gt(totals.bound, 1);
    return totals.bound;
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    cr_assert_eq(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(database));
    return statement;
}

/* A bit in the block that holds the event; how many events that block has. */
static int64_t damage_block(int64_t sequence)
{
    char sql[256], name[64];
    snprintf(sql, sizeof sql, "SELECT offset FROM events WHERE seq = %lld", (long long)sequence);
    int64_t offset = scene_number(sql);
    snprintf(sql, sizeof sql, "SELECT segment FROM events WHERE seq = %lld", (long long)sequence);
    int64_t segment = scene_number(sql);
    snprintf(name, sizeof name, "segments/%020lld.seg", (long long)segment);
    scene_flip(name, (uint64_t)offset + FORMAT_BLOCK_HEADER_BYTES + 20);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM events WHERE segment = %lld AND offset = %lld",
             (long long)segment, (long long)offset);
    return scene_number(sql);
}

struct told {
    unsigned times;
    char last[512];
};

static void remember(void *context, const char *text)
{
    struct told *told = context;
    told->times++;
    snprintf(told->last, sizeof told->last, "%s", text);
}

/* ---- payloads -------------------------------------------------------------------------------- */

Test(event_table, gives_payloads_of_every_kind_as_json)
{
    static const char *const payloads[] = {
        "{}", "[]", "null", "true", "0", "-1", "1.5", "\"text\"", "\"\"", "[1,[2,[3]]]",
        "{\"a\":{\"b\":[1,{\"c\":null}]}}", "9223372036854775807", "-9223372036854775808",
        "18446744073709551615", "1e308", "5e-324", "-0.0", "\"\\u0000\\u00e9\\n\\\"\"",
        "{\"\":1,\"a.b\":2,\"a\\\"b\":3,\"$\":4,\"[0]\":5}", "{\"k\":1,\"k\":2}",
        "\"\\ud83d\\ude00\"",
    };
    static const uint8_t not_json[][12] = {
        {5, 0xcb, 0x7f, 0xf8, 0, 0, 0},                                /* cut: see below */
        {0x81, 0x01, 0x02},                                            /* {1: 2} */
        {0xc4, 3, 0, 0xff, 1},                                         /* binary */
        {0xd4, 5, 7},                                                  /* an extension */
        {0x82, 0xa1, 'k', 1, 0xa1, 'k', 2},                            /* a key twice */
        {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0},                          /* NaN */
        {0xcb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0},                          /* -Infinity */
        {0x81, 0xa1, 'x', 0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0},         /* {"x": Infinity} */
    };
    static const size_t sizes[] = {0, 3, 5, 3, 7, 9, 9, 12};
    enum { TEXTS = sizeof payloads / sizeof payloads[0], RAW = sizeof sizes / sizeof sizes[0] };
    struct segment_log *log = scene_open_log();
    for (size_t i = 0; i < TEXTS; i++)
        twin_append(log, "t", (int64_t)i, payloads[i]);
    for (size_t i = 1; i < RAW; i++)
        twin_append_msgpack(log, "raw", (int64_t)i, not_json[i], sizes[i]);
    twin_close_log(log);
    sqlite3 *database = twin_open();

    twin_expect_same(database, "SELECT seq, payload, bytes, typeof(payload) FROM $events"
                               " ORDER BY seq");
    twin_expect_same(database, "SELECT seq, json(payload), json_type(payload) FROM $events"
                               " ORDER BY seq");
    twin_expect(database, "SELECT count(*), sum(json_valid(payload)) FROM events", "28|28\n");
    twin_expect(database, "SELECT payload FROM events WHERE topic = 'raw' ORDER BY seq",
                "{\"1\":2}\n{\"$bin\":\"AP8B\"}\n{\"$ext\":[5,\"Bw==\"]}\n{\"k\":1,\"k\":2}\n"
                "null\nnull\n{\"x\":null}\n");
    twin_expect(database, "SELECT json_object('p', payload) FROM events WHERE seq = 1",
                "{\"p\":{}}\n");
    sqlite3_close(database);
}

/* SQLite knows no such depth: only we read these. */
Test(event_table, gives_payloads_as_deep_as_the_door_lets_in)
{
    struct buffer json = {0};
    for (int i = 0; i < EVENT_PAYLOAD_DEPTH_MAX - 1; i++)
        buffer_append(&json, "[", 1, NULL);
    buffer_append(&json, "7", 1, NULL);
    for (int i = 0; i < EVENT_PAYLOAD_DEPTH_MAX - 1; i++)
        buffer_append(&json, "]", 1, NULL);
    buffer_append(&json, "", 1, NULL);
    struct segment_log *log = scene_open_log();
    twin_append(log, "deep", 1, (char *)json.data);
    twin_close_log(log);
    sqlite3 *database = twin_open_extended();
    char *expected = sqlite3_mprintf("%s\n", json.data);

    twin_expect(database, "SELECT payload FROM events", expected);
    twin_expect(database,
                "SELECT daybook_field(payload, '$[0][0][0][#-1]') IS NOT NULL FROM events", "1\n");
    sqlite3_free(expected);
    buffer_release(&json);
    sqlite3_close(database);
}

/* One meaning, whether the payload is read from the log, from the column, or from any text. */
Test(event_table, finds_the_same_field_by_sequence_by_column_and_in_json)
{
    struct segment_log *log = scene_open_log();
    twin_append(log, "t", 1, "{\"a\":1,\"a\":2,\"b\":{\"c\":[10,20,{\"d\":\"x\"}]},\"\":\"empty\","
                             "\"a.b\":\"dot\",\"q\\\"q\":\"quote\",\"t\":true,\"f\":false,"
                             "\"n\":null,\"r\":2.5,\"big\":18446744073709551615}");
    twin_close_log(log);
    sqlite3 *database = twin_open_extended();
    static const char *const paths[] = {
        "$.a", "$.b.c", "$.b.c[1]", "$.b.c[#-1].d", "$.\"\"", "$.\"a.b\"", "$.t", "$.f", "$.n",
        "$.r", "$.big", "$.missing", "$.b.c[9]", "$", "$.b",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *sql = sqlite3_mprintf(
            "SELECT f IS g AND g IS h AND h IS j, typeof(f) = typeof(g) AND typeof(g) = typeof(h)"
            " AND typeof(h) = typeof(j) FROM (SELECT daybook_field(seq, %Q) AS f,"
            " daybook_field(payload, %Q) AS g, daybook_field(payload || ' ', %Q) AS h,"
            " json_extract(payload, %Q) AS j FROM events)",
            paths[i], paths[i], paths[i], paths[i]);
        twin_expect(database, sql, "1|1\n");
        sqlite3_free(sql);
    }
    twin_expect(database, "SELECT daybook_field(seq, '$.\"q\\\"q\"'), daybook_field(seq, 'b.c[0]'),"
                          " json_group_array(daybook_field(seq, 'b.c')) FROM events",
                "quote|10|[[10,20,{\"d\":\"x\"}]]\n");
    twin_expect(database,
                "SELECT daybook_field(NULL, 'a'), daybook_field(1, NULL), daybook_field(99, 'a'),"
                " daybook_field(-1, 'a'), daybook_field('7', '$'), daybook_field('{}', 'a')",
                "NULL|NULL|NULL|NULL|7|NULL\n");
    twin_expect_error(database, "SELECT daybook_field(seq, '$.[') FROM events", SQLITE_ERROR,
                      "daybook_field: path '$.['");
    twin_expect_error(database, "SELECT daybook_field('{', 'a')", SQLITE_ERROR,
                      "its first argument is no JSON");
    twin_expect_error(database, "SELECT daybook_field(seq) FROM events", SQLITE_ERROR,
                      "wrong number of arguments");
    sqlite3_close(database);
}

Test(event_table, reads_times_and_says_what_it_cannot_read)
{
    scene_write(1);
    scene_index();
    sqlite3 *database = twin_open_extended();
    twin_expect(database,
                "SELECT daybook_time('1970-01-01T00:00:01Z'),"
                " daybook_time('1970-01-01 00:00:00.5'),"
                " daybook_time('1970-01-01T01:00:00+01:00'), daybook_time(NULL),"
                " daybook_time('now') > 1700000000000000000",
                "1000000000|500000000|0|NULL|1\n");
    twin_expect_error(database, "SELECT daybook_time('when?')", SQLITE_ERROR, "daybook_time");
    sqlite3_close(database);
}

/* ---- many ------------------------------------------------------------------------------------ */

/* Every way that indexer/event_way.c knows, over segments as they were written, and packed. */
Test(event_table, gives_the_same_on_every_way_through_a_large_log)
{
    static const char *const questions[] = {
        "SELECT count(*), sum(json_extract(payload, '$.n')) FROM $events",
        "SELECT sum(length(payload) * seq) FROM $events WHERE topic = 't'",
        "SELECT count(payload), min(seq), max(ts) FROM $events WHERE ts > 1000500",
        "SELECT count(payload), sum(seq) FROM $events WHERE ts BETWEEN 2000000 AND 19000000",
        "SELECT count(payload), min(seq) FROM $events WHERE topic = 't' AND seq > 2500",
        "SELECT topic, count(*), sum(length(payload)) FROM $events GROUP BY topic",
        "SELECT seq, payload FROM $events ORDER BY seq LIMIT 3 OFFSET 19990",
        "SELECT seq, payload FROM $events WHERE topic = 'u' ORDER BY ts DESC LIMIT 3",
        "SELECT sum(bytes), count(payload), count(time) FROM $events WHERE seq > 100",
        "SELECT count(payload), count(DISTINCT segment) > 1 FROM $events WHERE topic = 't'",
    };
    write_many(MANY);
    for (int packed = 0; packed < 3; packed++) {
        sqlite3 *database = twin_open();
        for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++)
            twin_expect_same(database, questions[i]);
        sqlite3_close(database);
        if (packed == 0)
            pack_all(); /* the index knows nothing of it yet */
        else
            scene_index();
    }
}

/* ---- one state ------------------------------------------------------------------------------- */

Test(event_table, shows_one_state_to_a_statement_and_the_next_to_the_next)
{
    scene_write(300);
    scene_index();
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select =
        prepare(database, "SELECT seq FROM events WHERE seq <= 1 UNION ALL"
                          " SELECT (SELECT max(seq) FROM events x WHERE x.seq > 0 * e.seq) FROM"
                          " events e WHERE seq <= 2 UNION ALL SELECT count(payload) FROM events"
                          " UNION ALL SELECT max(seq) FROM topics JOIN events USING (topic)");
    int64_t expected[] = {1, 300, 300, 300, 300};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW, "%s", sqlite3_errmsg(database));
        cr_assert_eq(sqlite3_column_int64(select, 0), expected[i], "row %zu: %lld", i,
                     (long long)sqlite3_column_int64(select, 0));
        scene_write(40);
        scene_index();
    }
    cr_assert_eq(sqlite3_step(select), SQLITE_DONE);
    sqlite3_finalize(select);
    twin_expect(database, "SELECT count(payload) FROM events", "500\n");
    sqlite3_close(database);
}

Test(event_table, shows_nothing_that_is_not_indexed_yet_on_any_way)
{
    write_many(MANY);
    struct segment_log *log = scene_open_log();
    twin_append(log, "t", 1, "{\"n\":0}");
    twin_commit(log); /* durable, not in the index */
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT count(payload), count(*), max(seq) FROM events",
                "20000|20000|20000\n");
    twin_expect(database, "SELECT count(payload) FROM events WHERE seq > 20000", "0\n");
    twin_close_log(log);
    twin_expect(database, "SELECT count(payload), max(seq) FROM events", "20001|20001\n");
    sqlite3_close(database);
}

/* Also where nothing but a subquery, which is run again for each row, asks for events. */
Test(event_table, shows_one_state_to_all_runs_of_a_subquery)
{
    scene_write(300);
    scene_index();
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select =
        prepare(database, "SELECT (SELECT max(seq) FROM events WHERE seq > column1)"
                          " FROM (VALUES (1), (2), (3))");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW, "%s", sqlite3_errmsg(database));
        cr_assert_eq(sqlite3_column_int64(select, 0), 300, "run %d: %lld", i,
                     (long long)sqlite3_column_int64(select, 0));
        scene_write(40);
        scene_index();
    }
    sqlite3_finalize(select);
    sqlite3_close(database);
}

/* A snapshot that nobody gives back would keep the WAL from being emptied. */
Test(event_table, holds_no_snapshot_between_statements)
{
    scene_write(300);
    scene_index();
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select = prepare(database, "SELECT seq, payload FROM events ORDER BY seq");
    for (int rows = 0; rows < 5; rows++)
        sqlite3_step(select);
    cr_assert_neq(sqlite3_txn_state(database, "main"), SQLITE_TXN_NONE);
    sqlite3_reset(select);
    cr_assert_eq(sqlite3_txn_state(database, "main"), SQLITE_TXN_NONE);
    while (sqlite3_step(select) == SQLITE_ROW)
        continue;
    cr_assert_eq(sqlite3_txn_state(database, "main"), SQLITE_TXN_NONE);
    sqlite3_finalize(select);
    sqlite3_close(database);
}

/* ---- what goes under a query ----------------------------------------------------------------- */

/* The rest of a statement whose n-th event has $.n = n: returns how many rows, and how many of
 * them without a payload; no row may have another event's payload. */
static void finish(sqlite3_stmt *select, unsigned *rows_out, unsigned *lost_out)
{
    int result;
    *rows_out = *lost_out = 0;
    while ((result = sqlite3_step(select)) == SQLITE_ROW) {
        char start[40];
        const char *payload = (const char *)sqlite3_column_text(select, 1);
        snprintf(start, sizeof start, "{\"n\":%lld,", (long long)sqlite3_column_int64(select, 0));
        ++*rows_out;
        *lost_out += !payload;
        cr_assert(!payload || !strncmp(payload, start, strlen(start)), "%s has %.40s", start,
                  payload);
    }
    cr_assert_eq(result, SQLITE_DONE, "%s", sqlite3_errmsg(sqlite3_db_handle(select)));
}

Test(event_table, goes_on_while_retention_deletes_what_it_reads_row_by_row)
{
    scene_write(3000);
    scene_index();
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select =
        prepare(database, "SELECT seq, payload FROM events ORDER BY seq DESC");
    for (int i = 0; i < 10; i++)
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    uint64_t bound = retain(200000);
    unsigned rows, lost;

    finish(select, &rows, &lost);

    cr_assert_eq(rows, 2990, "the snapshot has them all, not %u", rows);
    cr_assert(lost > 0 && lost <= bound - 1, "%u of %llu have no payload", lost,
              (unsigned long long)bound - 1);
    sqlite3_finalize(select);
    scene_index();
    twin_expect(database, "SELECT count(*) - count(payload) FROM events", "0\n");
    sqlite3_close(database);
}

Test(event_table, goes_on_while_retention_deletes_the_log_that_it_goes_through)
{
    write_many(MANY);
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select = prepare(database, "SELECT seq, payload FROM events ORDER BY seq");
    for (int i = 0; i < 10; i++)
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    uint64_t bound = retain(300000);
    unsigned rows, lost;

    finish(select, &rows, &lost);

    cr_assert_geq(rows + bound, MANY + 1 - 10, "what is left is there: %u rows", rows);
    cr_assert_eq(lost, 0, "what is not left has no row on this way");
    sqlite3_finalize(select);
    char *sql = sqlite3_mprintf("SELECT count(*) = %d - %lld + 1, count(payload) = count(*)"
                                " FROM events", MANY, (long long)bound);
    scene_index();
    twin_expect(database, sql, "1|1\n");
    sqlite3_free(sql);
    sqlite3_close(database);
}

Test(event_table, shows_no_rows_below_the_bound_that_the_index_has_still)
{
    scene_write(3000);
    scene_index();
    uint64_t second = scene_segment_first(1);
    int fd = -1;
    cr_assert_eq(file_open_directory(scene_directory(), false, &fd, &error), OK);
    cr_assert_eq(segment_bound_store(fd, second, &error), OK, "%s", error.text);
    file_close(&fd);
    cr_assert_eq(unlink(scene_path("segments/00000000000000000001.seg")), 0);
    sqlite3 *database = twin_open_extended();
    char rows[64];
    snprintf(rows, sizeof rows, "%llu|0\n", (unsigned long long)second);
    twin_expect(database, "SELECT min(seq), count(*) - count(payload) FROM events", rows);
    twin_expect(database, "SELECT count(*) FROM events WHERE seq = 1", "0\n");
    sqlite3_close(database);
}

static void step_pack_finish(const char *sql, unsigned count)
{
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select = prepare(database, sql);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    pack_all();
    unsigned rows, lost;
    finish(select, &rows, &lost);
    cr_assert_eq(rows, count - 10);
    cr_assert_eq(lost, 0);
    sqlite3_reset(select);
    scene_index();
    finish(select, &rows, &lost);
    cr_assert_eq(rows, count);
    cr_assert_eq(lost, 0);
    sqlite3_finalize(select);
    sqlite3_close(database);
}

Test(event_table, goes_on_while_packing_moves_what_it_reads_row_by_row)
{
    scene_write(3000);
    scene_index();
    step_pack_finish("SELECT seq, payload FROM events ORDER BY seq DESC", 3000);
}

Test(event_table, goes_on_while_packing_moves_the_log_that_it_goes_through)
{
    write_many(MANY);
    step_pack_finish("SELECT seq, payload FROM events ORDER BY seq", MANY);
}

/* The log is changed behind the reader's back: who has opened the block does not look again. */
static void expect_one_look(const char *sql, int64_t first, int64_t last)
{
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select = prepare(database, sql);
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW, "%s", sqlite3_errmsg(database));
    cr_assert_eq(sqlite3_column_int64(select, 0), first);
    cr_assert_not_null(sqlite3_column_text(select, 1));
    cr_assert_gt(damage_block(first), 3);
    for (int64_t sequence = first + 1; sequence <= last; sequence++) {
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW, "%s", sqlite3_errmsg(database));
        cr_assert_not_null(sqlite3_column_text(select, 1), "%lld", (long long)sequence);
    }
    sqlite3_finalize(select);
    sqlite3_close(database);
    database = twin_open_extended();
    twin_expect_error(database, sql, SQLITE_CORRUPT, "block at byte");
    sqlite3_close(database);
}

Test(event_table, opens_each_block_once)
{
    write_many(MANY);
    pack_all();
    scene_index();
    int64_t first = scene_number("SELECT first_seq FROM block_rows WHERE first_seq > 10000"
                                 " ORDER BY count DESC LIMIT 1");
    char sql[160];
    snprintf(sql, sizeof sql,
             "SELECT count FROM block_rows WHERE first_seq = %lld", (long long)first);
    int64_t last = first + scene_number(sql) - 1;
    snprintf(sql, sizeof sql, "SELECT seq, payload FROM events WHERE seq BETWEEN %lld AND %lld"
                              " ORDER BY seq", (long long)first, (long long)last);
    expect_one_look(sql, first, last);
}

/* The index still knows what the repair puts on record as lost; `told` is what was heard of it. */
static uint64_t step_repair_finish(const char *sql, unsigned *rows, unsigned *lost,
                                   struct told *told)
{
    scene_write(1500);
    scene_index();
    damage_block(1000);
    sqlite3 *database = twin_open_watched(&(struct indexer_watcher){remember, told});
    sqlite3_stmt *select = prepare(database, sql);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    struct told actions = {0};
    struct segment_repair_options options = {
        .accept_loss = true, .tell = remember, .context = &actions};
    struct segment_repair_totals totals;
    cr_assert_eq(segment_repair_run(scene_directory(), &options, &totals, &error), OK, "%s",
                 error.text);
    cr_assert_gt(totals.events_lost, 0);
    finish(select, rows, lost);
    sqlite3_finalize(select);
    twin_expect(database, "SELECT count(payload) FROM events WHERE seq < 900", "899\n");
    sqlite3_close(database);
    return totals.events_lost;
}

Test(event_table, goes_on_while_a_repair_writes_segments_anew_that_it_reads_row_by_row)
{
    unsigned rows, lost;
    struct told told = {0};
    uint64_t gone = step_repair_finish("SELECT seq, payload FROM events ORDER BY seq DESC", &rows,
                                       &lost, &told);
    cr_assert_eq(rows, 1490);
    cr_assert_eq(lost, gone);
    cr_assert_eq(told.times, 1, "told %u times: %s", told.times, told.last);
}

/* In the log itself a loss that is on record is no damage any more. */
Test(event_table, goes_on_while_a_repair_writes_the_log_anew_that_it_goes_through)
{
    unsigned rows, lost;
    struct told told = {0};
    uint64_t gone = step_repair_finish("SELECT seq, payload FROM events ORDER BY seq", &rows,
                                       &lost, &told);
    cr_assert_eq(rows - lost, 1490 - gone, "%u rows, %u lost", rows, lost);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Each of its ways finds the damage, names the place, and the connection stays of use. */
static void expect_damage(sqlite3 *database, int64_t sequence, const char *place)
{
    static const char *const statements[] = {
        "SELECT count(payload) FROM events",
        "SELECT payload FROM events WHERE seq = %lld",
        "SELECT sum(length(payload)) FROM events ORDER BY 1",
        "SELECT max(payload) FROM events GROUP BY topic",
        "SELECT daybook_payload(seq) FROM events WHERE seq = %lld",
        "SELECT daybook_field(seq, '$.n') FROM events WHERE seq = %lld",
        "SELECT count(*) FROM events WHERE json_extract(payload, '$.n') > 5",
    };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        char sql[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(sql, sizeof sql, statements[i], (long long)sequence);
#pragma GCC diagnostic pop
        twin_expect_error(database, sql, SQLITE_CORRUPT, place);
        twin_expect(database, "SELECT count(seq) > 10 FROM events", "1\n");
    }
}

Test(event_table, names_segment_and_offset_of_a_damaged_block)
{
    scene_write(600);
    scene_index();
    damage_block(100);
    char place[64];
    int64_t offset = scene_number("SELECT offset FROM events WHERE seq = 100");
    snprintf(place, sizeof place, "00000000000000000001.seg: block at byte %lld",
             (long long)offset);
    sqlite3 *database = twin_open_extended();
    expect_damage(database, 100, place);
    twin_expect(database, "SELECT count(*), sum(bytes) > 0 FROM events", "600|1\n");
    twin_expect(database, "SELECT payload IS NOT NULL FROM events WHERE seq = 600", "1\n");
    sqlite3_close(database);
}

Test(event_table, names_the_place_also_when_it_goes_through_the_log)
{
    write_many(MANY);
    damage_block(15000);
    sqlite3 *database = twin_open_extended();
    expect_damage(database, 15000, "block at byte");
    sqlite3_close(database);
}

Test(event_table, tells_a_missing_and_a_truncated_segment)
{
    scene_write(1500);
    scene_index();
    int64_t second = (int64_t)scene_segment_first(1);
    char name[64];
    snprintf(name, sizeof name, "segments/%020lld.seg", (long long)second);
    sqlite3 *database = twin_open_extended();
    cr_assert_eq(truncate(scene_path(name), 8192), 0);
    expect_damage(database, second + 100, "ends at byte 8192");
    sqlite3_close(database);
    database = twin_open_extended();
    cr_assert_eq(unlink(scene_path(name)), 0);
    expect_damage(database, second, "missing");
    sqlite3_close(database);
}

static void expect_told(struct told *told, sqlite3 *database, const char *sql, int64_t events,
                        int64_t lost, unsigned blocks)
{
    char rows[64];
    told->times = 0;
    snprintf(rows, sizeof rows, "%lld|%lld\n", (long long)events, (long long)(events - lost));
    twin_expect(database, sql, rows);
    cr_assert_eq(told->times, blocks, "%s: told %u times", sql, told->times);
    cr_assert(blocks == 0 || strstr(told->last, "block at byte"), "%s", told->last);
}

Test(event_table, has_nulls_for_who_watches_and_tells_of_each_block_once)
{
    scene_write(600);
    scene_index();
    int64_t lost = damage_block(100) + damage_block(200);
    struct told told = {0};
    sqlite3 *database = twin_open_watched(&(struct indexer_watcher){remember, &told});
    expect_told(&told, database, "SELECT count(*), count(payload) FROM events", 600, lost, 2);
    /* In turns between the two blocks. */
    expect_told(&told, database,
                "SELECT count(*), count(payload) FROM (SELECT seq, payload(seq) AS payload FROM"
                " events ORDER BY seq % 50, seq)",
                600, lost, 0);
    sqlite3_close(database);
}

Test(event_table, has_nulls_for_who_watches_and_goes_through_the_log)
{
    write_many(MANY);
    int64_t lost = damage_block(15000);
    struct told told = {0};
    sqlite3 *database = twin_open_watched(&(struct indexer_watcher){remember, &told});
    expect_told(&told, database, "SELECT count(*), count(payload) FROM events", MANY, lost, 1);
    sqlite3_close(database);
}

/* Any one bit of a small index: an answer or an error, and each payload is its event's. */
Test(event_table, survives_any_damage_to_the_index)
{
    scene_write(60);
    scene_index();
    scene_copy("events.db", "whole.db");
    int64_t bytes = scene_number("SELECT page_count * page_size FROM pragma_page_count,"
                                 " pragma_page_size");
    unsigned refused = 0, opened = 0;
    for (int64_t at = 16; at < bytes; at += 151) {
        sqlite3 *database = NULL;
        scene_copy("whole.db", "events.db");
        scene_flip("events.db", (uint64_t)at);
        if (indexer_query_open(scene_directory(), &database, &error)) {
            cr_assert(error.text[0]);
            refused++;
            continue;
        }
        opened++;
        static const char *const statements[] = {
            "SELECT seq, payload FROM events ORDER BY seq",
            "SELECT seq, payload, topic FROM events WHERE topic = 'a' ORDER BY ts DESC",
            "SELECT seq, payload, segment, offset FROM events WHERE ts > 0",
        };
        for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
            sqlite3_stmt *select = NULL;
            int result = sqlite3_prepare_v2(database, statements[i], -1, &select, NULL);
            for (int rows = 0; !result && rows < 200; rows++) {
                char start[40];
                result = sqlite3_step(select) == SQLITE_ROW ? SQLITE_OK : SQLITE_DONE;
                const char *payload =
                    result ? NULL : (const char *)sqlite3_column_text(select, 1);
                snprintf(start, sizeof start, "{\"n\":%lld,",
                         (long long)sqlite3_column_int64(select, 0));
                cr_assert(!payload || !strncmp(payload, start, strlen(start)),
                          "byte %lld: %s has %.40s", (long long)at, start, payload);
            }
            sqlite3_finalize(select);
        }
        sqlite3_close(database);
    }
    cr_assert(refused > 0 && opened > 0);
}

/* ---- the host ------------------------------------------------------------------------------- */

static int interrupt_soon(void *context)
{
    int *left = context;
    return --*left < 0;
}

Test(event_table, can_be_interrupted_on_every_way)
{
    static const char *const statements[] = {
        "SELECT count(payload) FROM events",
        "SELECT count(*) FROM events a JOIN events b WHERE a.topic = b.topic",
        "SELECT max(length(payload)) FROM events WHERE topic = 'u' GROUP BY ts % 7",
    };
    write_many(MANY);
    sqlite3 *database = twin_open_extended();
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        int left = 3;
        sqlite3_progress_handler(database, 1000, interrupt_soon, &left);
        twin_expect_error(database, statements[i], SQLITE_INTERRUPT, "interrupted");
        sqlite3_progress_handler(database, 0, NULL, NULL);
        twin_expect(database, "SELECT count(payload) FROM events WHERE seq < 100", "99\n");
    }
    sqlite3_stmt *select = prepare(database, "SELECT seq, payload FROM events ORDER BY seq");
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    sqlite3_interrupt(database);
    cr_assert_eq(sqlite3_step(select), SQLITE_INTERRUPT);
    sqlite3_finalize(select);
    sqlite3_close(database);
}

Test(event_table, outlives_its_connection_as_long_as_a_statement_does)
{
    scene_write(600);
    scene_index();
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select = prepare(database, "SELECT seq, payload FROM events ORDER BY seq");
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    cr_assert_eq(sqlite3_close(database), SQLITE_BUSY);
    cr_assert_eq(sqlite3_close_v2(database), SQLITE_OK);
    unsigned rows, lost;
    finish(select, &rows, &lost);
    cr_assert_eq(rows, 599);
    sqlite3_finalize(select);
}
