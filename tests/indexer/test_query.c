#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "indexer/query.h"
#include "indexer/retention.h"
#include "indexer/witness.h"
#include "segment/bound.h"
#include "tests/indexer/scene.h"
#include "segment/reader.h"

TestSuite(query, .init = scene_begin, .fini = scene_end);

static sqlite3 *open_query(void)
{
    sqlite3 *database = NULL;
    struct error error = {0};
    cr_assert_eq(indexer_query_open(scene_directory(), &database, &error), OK, "%s", error.text);
    return database;
}

static void expect_rows(sqlite3 *database, const char *sql, const char *expected)
{
    char *rows = scene_rows(database, sql);
    cr_assert_str_eq(rows, expected, "%s gives\n%s", sql, rows);
    free(rows);
}

/* "seq|json" for every event, straight from the log. */
static char *payloads_of_log(void)
{
    struct segment_reader *reader = NULL;
    struct buffer text = {0};
    struct event event;
    cr_assert_eq(segment_reader_open(scene_directory(), &reader, NULL), OK);
    segment_reader_seek(reader, 1, NULL);
    while (!segment_reader_next(reader, &event, NULL)) {
        buffer_printf(&text, NULL, "%llu|", (unsigned long long)event.sequence);
        json_from_msgpack(event.payload, event.payload_bytes, JSON_COMPACT, &text, NULL);
        buffer_append(&text, "\n", 1, NULL);
    }
    segment_reader_close(reader);
    buffer_append(&text, "", 1, NULL);
    return (char *)text.data;
}

Test(query, gives_each_payload_as_json)
{
    scene_write(1200);
    scene_index();
    char *expected = payloads_of_log();
    sqlite3 *database = open_query();

    expect_rows(database, "SELECT seq, payload(seq) FROM events ORDER BY seq", expected);

    free(expected);
    sqlite3_close(database);
}

Test(query, finds_payloads_in_any_order)
{
    scene_write(1200);
    scene_index();
    sqlite3 *database = open_query();

    expect_rows(database,
                "SELECT count(*) FROM events WHERE json_extract(payload(seq), '$.n') = seq",
                "1200\n");
    expect_rows(database,
                "SELECT count(*) FROM (SELECT seq FROM events ORDER BY (seq * 7919) % 1201)"
                " WHERE json_extract(payload(seq), '$.n') = seq",
                "1200\n");
    expect_rows(database,
                "SELECT json_extract(payload(a.seq), '$.n') + json_extract(payload(b.seq), '$.n')"
                " FROM events a JOIN events b ON b.seq = a.seq + 1000 WHERE a.seq <= 3",
                "1002\n1004\n1006\n");
    sqlite3_close(database);
}

Test(query, gives_null_where_there_is_no_event)
{
    scene_write(10);
    scene_index();
    sqlite3 *database = open_query();

    expect_rows(database,
                "SELECT payload(0), payload(-1), payload(11), payload(NULL),"
                " payload(9223372036854775807)",
                "NULL|NULL|NULL|NULL|NULL\n");
    sqlite3_close(database);
}

Test(query, of_an_empty_index_gives_nothing)
{
    scene_write(0);
    scene_index();
    sqlite3 *database = open_query();

    expect_rows(database, "SELECT payload(1)", "NULL\n");
    expect_rows(database, "SELECT seq, payload(seq) FROM events", "");
    sqlite3_close(database);
}

static void store_bound(uint64_t bound)
{
    struct error error;
    int fd = -1;
    cr_assert_eq(file_open_directory(scene_directory(), false, &fd, &error), OK, "%s", error.text);
    cr_assert_eq(segment_bound_store(fd, bound, &error), OK, "%s", error.text);
    file_close(&fd);
}

Test(query, gives_null_for_events_whose_segment_has_gone_before_their_rows)
{
    scene_write(1500);
    scene_index();
    cr_assert_eq(unlink(scene_path("segments/00000000000000000001.seg")), 0);
    store_bound((uint64_t)scene_number("SELECT min(first_seq) FROM segments WHERE first_seq > 1"));
    sqlite3 *database = open_query();

    expect_rows(database, "SELECT payload(1), payload(1500) IS NOT NULL", "NULL|1\n");
    sqlite3_close(database);
}

Test(query, takes_a_segment_that_retention_has_not_deleted_for_damage)
{
    scene_write(1500);
    scene_index();
    cr_assert_eq(unlink(scene_path("segments/00000000000000000001.seg")), 0);
    sqlite3 *database = open_query();
    sqlite3_stmt *select = NULL;
    cr_assert_eq(sqlite3_prepare_v2(database, "SELECT payload(1)", -1, &select, NULL), SQLITE_OK);

    cr_assert_eq(sqlite3_step(select), SQLITE_CORRUPT);

    cr_assert_not_null(strstr(sqlite3_errmsg(database), "is missing"), "%s",
                       sqlite3_errmsg(database));
    sqlite3_finalize(select);
    sqlite3_close(database);
}

static void count_damage(void *context, const char *text)
{
    uint64_t *count = context;
    cr_assert_not_null(strstr(text, "block at byte"), "%s", text);
    ++*count;
}

Test(query, goes_on_behind_damage_for_who_watches)
{
    scene_write(600);
    scene_index();
    int64_t offset = scene_number("SELECT offset FROM events WHERE seq = 100");
    int64_t bad = scene_number("SELECT count(*) FROM events WHERE offset ="
                               " (SELECT offset FROM events WHERE seq = 100)");
    scene_flip("segments/00000000000000000001.seg", (uint64_t)offset + 200);
    uint64_t count = 0;
    struct indexer_watcher watcher = {count_damage, &count};
    sqlite3 *database = NULL;
    struct error error;
    cr_assert_eq(indexer_query_open_watched(scene_directory(), &watcher, &database, &error), OK,
                 "%s", error.text);

    char rows[32];
    snprintf(rows, sizeof rows, "%lld\n", (long long)(600 - bad));
    expect_rows(database, "SELECT count(payload(seq)) FROM events", rows);
    cr_assert_eq(count, 1, "a block is told once");
    sqlite3_close(database);
}

Test(query, names_the_place_of_a_damaged_block_instead_of_its_content)
{
    scene_write(600);
    scene_index();
    int64_t offset = scene_number("SELECT offset FROM events WHERE seq = 100");
    scene_flip("segments/00000000000000000001.seg", (uint64_t)offset + 200);
    sqlite3 *database = open_query();
    sqlite3_stmt *select = NULL;
    cr_assert_eq(sqlite3_prepare_v2(database, "SELECT payload(100)", -1, &select, NULL), SQLITE_OK);

    cr_assert_eq(sqlite3_step(select), SQLITE_CORRUPT);

    char place[64];
    snprintf(place, sizeof place, "%lld", (long long)offset);
    cr_assert_not_null(strstr(sqlite3_errmsg(database), "payload(100)"), "%s",
                       sqlite3_errmsg(database));
    cr_assert_not_null(strstr(sqlite3_errmsg(database), "00000000000000000001"), "%s",
                       sqlite3_errmsg(database));
    cr_assert_not_null(strstr(sqlite3_errmsg(database), place), "%s", sqlite3_errmsg(database));
    sqlite3_finalize(select);
    expect_rows(database, "SELECT payload(600) IS NOT NULL", "1\n");
    sqlite3_close(database);
}

Test(query, cannot_change_anything)
{
    scene_write(10);
    scene_index();
    sqlite3 *database = open_query();
    static const char *const attempts[] = {
        "DELETE FROM event_rows",
        "UPDATE state SET last_seq = 0",
        "CREATE TABLE x(y)",
        "PRAGMA user_version = 9",
    };
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        sqlite3_exec(database, attempts[i], NULL, NULL, NULL);
        expect_rows(database, "SELECT count(*) FROM events", "10\n");
        expect_rows(database, "PRAGMA user_version", "3\n");
        expect_rows(database, "SELECT count(*) FROM sqlite_schema WHERE name = 'x'", "0\n");
    }
    sqlite3_close(database);
}

Test(query, sees_what_is_indexed_while_it_is_open)
{
    scene_write(10);
    scene_index();
    sqlite3 *database = open_query();
    expect_rows(database, "SELECT max(seq) FROM events", "10\n");
    scene_write(500);
    scene_index();

    expect_rows(database, "SELECT max(seq), json_extract(payload(max(seq)), '$.n') FROM events",
                "510|510\n");
    sqlite3_close(database);
}

Test(query, says_what_to_do_when_there_is_no_index)
{
    scene_write(10);
    sqlite3 *database = NULL;
    struct error error = {0};

    cr_assert_eq(indexer_query_open(scene_directory(), &database, &error), ERROR_NOT_FOUND);

    cr_assert_not_null(strstr(error.text, "daybook reindex"), "%s", error.text);
    cr_assert_eq(indexer_query_open(scene_directory(), &database, NULL), ERROR_NOT_FOUND);
    cr_assert_eq(access(scene_path("events.db"), F_OK), -1);
}

Test(query, refuses_what_is_no_index)
{
    scene_write(10);
    sqlite3 *plain = NULL, *database = NULL;
    cr_assert_eq(sqlite3_open(scene_path("events.db"), &plain), SQLITE_OK);
    sqlite3_exec(plain, "CREATE TABLE x(y); PRAGMA user_version = 1", NULL, NULL, NULL);
    sqlite3_close(plain);
    struct error error = {0};

    cr_assert_eq(indexer_query_open(scene_directory(), &database, &error), ERROR_FOREIGN);
    cr_assert_not_null(strstr(error.text, "another program"), "%s", error.text);
}

Test(query, witness_knows_the_last_indexed_sequence)
{
    uint64_t sequence = 77;
    cr_assert_eq(indexer_witness(scene_directory(), &sequence, NULL), OK);
    cr_assert_eq(sequence, 0);
    scene_write(30);
    cr_assert_eq(indexer_witness(scene_directory(), &sequence, NULL), OK);
    cr_assert_eq(sequence, 0);
    scene_index();
    cr_assert_eq(indexer_witness(scene_directory(), &sequence, NULL), OK);
    cr_assert_eq(sequence, 30);
}

Test(query, witness_does_not_believe_garbage_or_the_index_of_another_log)
{
    uint64_t sequence = 77;
    scene_write(30);
    scene_index();
    sqlite3 *database = scene_open_database();
    sqlite3_exec(database, "UPDATE state SET log_id = randomblob(16)", NULL, NULL, NULL);
    sqlite3_close(database);
    cr_assert_eq(indexer_witness(scene_directory(), &sequence, NULL), OK);
    cr_assert_eq(sequence, 0);
    scene_flip("events.db", 3);
    cr_assert_eq(indexer_witness(scene_directory(), &sequence, NULL), OK);
    cr_assert_eq(sequence, 0);
}

Test(query, waits_for_a_sequence_no_longer_than_it_is_told)
{
    scene_write(30);
    struct error error = {0};
    cr_assert_eq(indexer_wait_for_sequence(scene_directory(), 30, 0, &error), ERROR_NOT_FOUND);
    scene_index();
    cr_assert_eq(indexer_wait_for_sequence(scene_directory(), 30, 0, &error), OK, "%s", error.text);
    cr_assert_eq(indexer_wait_for_sequence(scene_directory(), 31, 20, &error), ERROR_BUSY);
    cr_assert_not_null(strstr(error.text, "at 30 of 31"), "%s", error.text);
}

static void *index_in_a_moment(void *context)
{
    /* By now the other thread has found no index, or will find this one: both must do. */
    (void)context;
    scene_index();
    return NULL;
}

Test(query, waits_for_an_index_that_is_not_there_yet)
{
    scene_write(3000);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, index_in_a_moment, NULL), 0);

    /* Who does not want to know why gives no error. */
    cr_assert_eq(indexer_wait_for_sequence(scene_directory(), 3000, 60000, NULL), OK);

    pthread_join(thread, NULL);
}
