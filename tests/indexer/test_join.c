/* Joins by fields that no index keeps: indexer/event_join.h answers them as a plain table would. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "indexer/retention.h"
#include "segment/format.h"
#include "tests/indexer/scene.h"
#include "tests/indexer/twin.h"

TestSuite(join, .init = scene_begin, .fini = scene_end);

static struct error error;

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { REQUESTS = 300, ANSWERS = 600 };

/* Requests r1 … each with some answers, in another topic, in no order; some answers to nobody. */
static void write_requests(void)
{
    struct segment_log *log = scene_open_log();
    char json[160];
    for (unsigned i = 1; i <= REQUESTS; i++) {
        snprintf(json, sizeof json, "{\"id\":\"r%u\",\"n\":%u,\"real\":%u.0,\"half\":%u.5}", i, i,
                 i, i);
        twin_append(log, "request", (int64_t)i * 1000, json);
        for (unsigned j = 0; j < ANSWERS / REQUESTS; j++) {
            unsigned to = i * 7 % (REQUESTS + 20) + j;
            snprintf(json, sizeof json,
                     "{\"to\":\"r%u\",\"n\":%u,\"real\":%u.0,\"half\":%u.5,\"took\":%u}", to, to,
                     to, to, i % 11);
            twin_append(log, "answer", (int64_t)i * 1000 + j, json);
        }
        if (i % 50 == 0)
            twin_commit(log);
    }
    twin_close_log(log);
    twin_add_schema("request", "{\"properties\":{\"id\":{\"type\":\"string\"},\"n\":{\"type\":"
                               "\"integer\"},\"real\":{\"type\":\"number\"},\"half\":{}}}");
    twin_add_schema("answer", "{\"properties\":{\"to\":{\"type\":\"string\"},\"n\":{\"type\":"
                              "\"integer\"},\"real\":{},\"half\":{\"type\":\"number\"},"
                              "\"took\":{\"type\":\"integer\"},\"nothing\":{}}}");
}

static sqlite3 *open_requests(void)
{
    sqlite3 *database = twin_open_extended();
    sqlite3_exec(database, "PRAGMA query_only = 0", NULL, NULL, NULL);
    twin_add_topic(database, "request", "id TEXT, n INTEGER, real REAL, half");
    twin_add_topic(database, "answer",
                   "\"to\" TEXT, n INTEGER, real, half REAL, took INTEGER, \"nothing\"");
    return database;
}

Test(join, answers_as_plain_tables_in_every_shape)
{
    static const char *const questions[] = {
        "SELECT r.id, a.took, a.seq FROM $request r JOIN $answer a ON a.\"to\" = r.id",
        "SELECT r.id, a.seq FROM $request r LEFT JOIN $answer a ON a.\"to\" = r.id",
        "SELECT r.id FROM $request r LEFT JOIN $answer a ON a.\"to\" = r.id WHERE a.seq IS NULL",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.n = r.n",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.n = r.real",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.real = r.n",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.half = r.half",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.half = r.n + 0.5",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.n = r.half",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.n = CAST(r.n AS TEXT)",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.\"to\" = upper(r.id)",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.\"to\" = upper(r.id)"
        " COLLATE NOCASE WHERE r.n < 40",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.\"to\" = r.id AND a.n = r.n"
        " AND a.took > 3",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.\"to\" = r.id AND a.ts > r.ts"
        " AND a.ts < r.ts + 50000",
        "SELECT r.seq, a.seq FROM $request r JOIN $answer a ON a.\"to\" = r.id AND a.seq > r.seq",
        "SELECT r.seq, (SELECT count(*) FROM $answer a WHERE a.\"to\" = r.id) FROM $request r",
        "SELECT r.seq, (SELECT a.seq FROM $answer a WHERE a.\"to\" = r.id ORDER BY a.seq LIMIT 1)"
        " FROM $request r",
        "SELECT r.seq, (SELECT a.seq FROM $answer a WHERE a.\"to\" = r.id ORDER BY a.seq DESC"
        " LIMIT 1) FROM $request r",
        "SELECT r.seq, (SELECT a.took FROM $answer a WHERE a.\"to\" = r.id ORDER BY a.ts LIMIT 1)"
        " FROM $request r",
        "SELECT seq FROM $request r WHERE EXISTS (SELECT 1 FROM $answer a WHERE a.\"to\" = r.id)",
        "SELECT seq FROM $request r WHERE id NOT IN (SELECT \"to\" FROM $answer)",
        "SELECT r.seq, a.seq, b.seq FROM $request r JOIN $answer a ON a.\"to\" = r.id"
        " JOIN $answer b ON b.\"to\" = r.id AND b.seq > a.seq",
        "SELECT a.took, count(*), avg(a.ts - r.ts) FROM $answer a JOIN $request r"
        " ON r.id = a.\"to\" GROUP BY a.took",
        "SELECT count(*) FROM $request r JOIN $answer a USING (n)",
        "SELECT count(*) FROM $request r LEFT JOIN $answer a ON a.\"nothing\" = r.id",
        "SELECT count(*) FROM $request r FULL JOIN $answer a ON a.\"to\" = r.id",
        "SELECT v.column1, a.seq FROM (VALUES ('r5'), (5), (5.0), (NULL), ('R5'), (x'7235'),"
        " ('r5')) v LEFT JOIN $answer a ON a.\"to\" = v.column1",
        "SELECT v.column1, a.seq FROM (VALUES ('5'), (5), (5.0), (NULL), ('5x'), (x'35'), (5.5),"
        " ('5.0'), (1e300)) v LEFT JOIN $answer a ON a.n = v.column1",
    };
    write_requests();
    sqlite3 *database = open_requests();
    for (size_t i = 0; i < COUNT_OF(questions); i++)
        twin_expect_same_in_any_order(database, questions[i]);
    sqlite3_close(database);
}

static char *rows_of(sqlite3 *database, const char *outer, const char *topic, const char *equal)
{
    char *sql = sqlite3_mprintf("SELECT o.rowid, o.x, typeof(o.x), count(*) FROM %s o CROSS JOIN %s"
                                " e WHERE %s GROUP BY o.rowid",
                                outer, topic, equal);
    char *rows = scene_rows(database, sql);
    sqlite3_free(sql);
    return rows;
}

/*
 * Values that are equal, or nearly, each joined with each: topics with values of one kind, which an
 * index can answer, and one with all, where it must not.
 */
Test(join, compares_values_of_all_kinds_as_sqlite_does)
{
    static const char *const values[] = {
        "0", "-0.0", "1", "1.0", "true", "false", "null", "\"1\"", "\"1.0\"", "\"\"", "\" 1\"",
        "9007199254740992", "9007199254740993", "9007199254740992.0", "9223372036854775807",
        "9223372036854775808", "9223372036854775808.0", "18446744073709551615",
        "-9223372036854775808", "-9223372036854775808.0", "1e300", "0.1", "0.30000000000000004",
        "0.3", "\"a\"", "\"A\"", "\"a \"", "\"\\u00e9\"", "\"12345678\"", "\"123456789\"",
        "\"1234567812345678\"", "[1]", "{\"a\":1}", "\"[1]\"",
    };
    enum { REPEATS = 12 };
    struct segment_log *log = scene_open_log();
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        for (size_t i = 0; i < COUNT_OF(values); i++) {
            char json[80];
            bool text = values[i][0] == '"', tree = values[i][0] == '[' || values[i][0] == '{';
            snprintf(json, sizeof json, "{\"x\":%s}", values[i]);
            twin_append(log, "mixed", 1, json);
            if (!tree)
                twin_append(log, text ? "texts" : "numbers", 1, json);
        }
    }
    twin_close_log(log);
    static const char *const topics[] = {"mixed", "texts", "numbers"};
    static const char *const types[] = {"", "string", "number", "integer"};
    for (size_t type = 0; type < COUNT_OF(types); type++) {
        char schema[80];
        snprintf(schema, sizeof schema, "{\"properties\":{\"x\":{%s%s%s}}}",
                 *types[type] ? "\"type\":\"" : "", types[type], *types[type] ? "\"" : "");
        for (size_t t = 0; t < COUNT_OF(topics); t++)
            twin_add_schema(topics[t], schema);
        sqlite3 *database = twin_open_extended();
        sqlite3_exec(database,
                     "PRAGMA query_only = 0;"
                     "CREATE TEMP TABLE none(x); CREATE TEMP TABLE ints(x INTEGER);"
                     "CREATE TEMP TABLE reals(x REAL); CREATE TEMP TABLE strings(x TEXT);"
                     "INSERT INTO none SELECT DISTINCT x FROM mixed;"
                     "INSERT INTO none VALUES (1), ('1'), (1.0), (x'61'), (0.3),"
                     " ('9007199254740993');"
                     "INSERT INTO ints SELECT x FROM none; INSERT INTO reals SELECT x FROM none;"
                     "INSERT INTO strings SELECT x FROM none",
                     NULL, NULL, NULL);
        static const char *const outer[] = {"none", "ints", "reals", "strings"};
        for (size_t t = 0; t < COUNT_OF(topics); t++) {
            for (size_t o = 0; o < COUNT_OF(outer); o++) {
                /* An equality that IS TRUE looks into is not given to the table. */
                char *ours = rows_of(database, outer[o], topics[t], "e.x = o.x");
                char *plain = rows_of(database, outer[o], topics[t], "(e.x = o.x) IS TRUE");
                cr_assert_str_eq(ours, plain, "type '%s', %s with %s:\n%s\nnot\n%s", types[type],
                                 outer[o], topics[t], ours, plain);
                free(ours);
                free(plain);
            }
        }
        sqlite3_close(database);
    }
}

Test(join, says_what_is_damaged_and_is_right_for_who_watches)
{
    write_requests();
    int64_t offset = scene_number("SELECT offset FROM events WHERE seq = 500");
    int64_t segment = scene_number("SELECT segment FROM events WHERE seq = 500");
    char name[64];
    snprintf(name, sizeof name, "segments/%020lld.seg", (long long)segment);
    scene_flip(name, (uint64_t)offset + FORMAT_BLOCK_HEADER_BYTES + 30);
    sqlite3 *database = twin_open_extended();
    twin_expect_error(database,
                      "SELECT count(*) FROM request r JOIN answer a ON a.\"to\" = r.id",
                      SQLITE_CORRUPT, "block at byte");
    twin_expect(database, "SELECT count(*) FROM request", "300\n");
    sqlite3_close(database);
}

/* Candidates that retention has deleted meanwhile have no value any more. */
Test(join, goes_on_while_retention_deletes_its_inner_table)
{
    write_requests();
    scene_write(3000); /* other topics, so that there are segments to delete */
    scene_index();
    sqlite3 *database = twin_open_extended();
    sqlite3_stmt *select = NULL;
    cr_assert_eq(sqlite3_prepare_v2(database,
                                    "SELECT r.id, a.\"to\" FROM request r CROSS JOIN answer a"
                                    " ON a.\"to\" = r.id",
                                    -1, &select, NULL),
                 SQLITE_OK, "%s", sqlite3_errmsg(database));
    for (int i = 0; i < 20; i++)
        cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    struct indexer_retention_options options = {.max_bytes = 100000};
    struct indexer_retention_totals totals;
    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 OK, "%s", error.text);
    cr_assert_gt(totals.bound, 900);
    int result;
    while ((result = sqlite3_step(select)) == SQLITE_ROW)
        cr_assert_str_eq((const char *)sqlite3_column_text(select, 0),
                         (const char *)sqlite3_column_text(select, 1));
    cr_assert_eq(result, SQLITE_DONE, "%s", sqlite3_errmsg(database));
    sqlite3_finalize(select);
    sqlite3_close(database);
}

/* Each question alone costs a walk through all answers: so few steps tell of the index. */
static int count_steps(void *context)
{
    ++*(unsigned *)context;
    return 0;
}

Test(join, does_not_go_through_the_topic_for_each_row)
{
    write_requests();
    sqlite3 *database = twin_open_extended();
    unsigned thousands = 0;
    sqlite3_progress_handler(database, 1000, count_steps, &thousands);
    char *rows = scene_rows(database, "SELECT count(*) FROM request r CROSS JOIN answer a"
                                      " ON a.\"to\" = r.id");
    sqlite3_progress_handler(database, 0, NULL, NULL);
    cr_assert(strtol(rows, NULL, 10) > 400, "%s", rows);
    cr_assert_lt(thousands, REQUESTS * ANSWERS / 1000, "%u thousand steps", thousands);
    free(rows);
    sqlite3_close(database);
}
