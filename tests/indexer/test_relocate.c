/* What packing does to the index: the same events at other places. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/follower.h"
#include "indexer/query.h"
#include "segment/packer.h"
#include "tests/indexer/scene.h"

TestSuite(relocate, .init = scene_begin, .fini = scene_end);

enum { EVENTS = 2000 };

static struct error error;

static void pack_all(void)
{
    struct segment_packer_watcher watcher = {0};
    struct segment_packer_totals totals = {0};
    cr_assert_eq(segment_packer_run(scene_directory(), &watcher, &totals, &error), OK, "%s",
                 error.text);
    cr_assert_gt(totals.segments_packed, 2);
    cr_assert_eq(totals.segments_left, 0);
}

static void pack_all_again(void)
{
    struct segment_packer_watcher watcher = {0};
    struct segment_packer_totals totals = {0};
    cr_assert_eq(segment_packer_run(scene_directory(), &watcher, &totals, &error), OK, "%s",
                 error.text);
    cr_assert_eq(totals.segments_packed, 1);
}

/* One block an event, as a slow producer makes them. */
static void write_singly(unsigned count)
{
    struct segment_log *log = scene_open_log();
    for (unsigned i = 0; i < count; i++) {
        scene_append(log, 1);
        cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK);
    }
    cr_assert_eq(segment_log_close(log, &error), OK);
}

static struct indexer_follower *open_follower(void)
{
    struct indexer_follower *follower = NULL;
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), OK, "%s", error.text);
    cr_assert_null(indexer_follower_rebuilt(follower));
    return follower;
}

static void catch_up(struct indexer_follower *follower)
{
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
}

static sqlite3 *open_query(void)
{
    sqlite3 *database = NULL;
    cr_assert_eq(indexer_query_open(scene_directory(), &database, &error), OK, "%s", error.text);
    return database;
}

static void expect_payloads(sqlite3 *database)
{
    char *right = scene_rows(database, "SELECT count(*) FROM events"
                                       " WHERE json_extract(payload(seq), '$.n') = seq");
    cr_assert_str_eq(right, "2000\n", "%s", right);
    free(right);
}

static void expect_packed_index(void)
{
    scene_expect_index_equals_log();
    cr_assert_eq(scene_number("SELECT count(*) FROM segments WHERE state = 'packed'"),
                 (int64_t)scene_segment_count() - 1);
    cr_assert_eq(scene_number("SELECT sum(events) FROM segments"), EVENTS);
    cr_assert_eq(scene_number("SELECT sum(count) FROM block_rows"), EVENTS);
    cr_assert_eq(scene_number("SELECT sum(blocks) FROM segments"),
                 scene_number("SELECT count(*) FROM block_rows"));
    for (size_t i = 0; i < scene_segment_count(); i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "SELECT bytes FROM segments WHERE segment = %llu",
                 (unsigned long long)scene_segment_first(i));
        cr_assert_eq((uint64_t)scene_number(sql), scene_segment_bytes(i));
    }
    sqlite3 *database = open_query();
    expect_payloads(database);
    sqlite3_close(database);
}

Test(relocate, gives_the_index_that_is_made_of_the_packed_log)
{
    write_singly(EVENTS);
    scene_index();
    int64_t blocks = scene_number("SELECT count(*) FROM block_rows");
    pack_all();
    scene_index();
    expect_packed_index();
    cr_assert_lt(scene_number("SELECT count(*) FROM block_rows"), blocks / 2);

    char *followed = scene_dump();
    cr_assert_eq(remove(scene_path("events.db")), 0);
    scene_index();
    expect_packed_index();
    char *fresh = scene_dump();
    cr_assert_str_eq(followed, fresh);
    free(followed);
    free(fresh);
}

Test(relocate, is_done_by_a_follower_that_stays_open)
{
    write_singly(EVENTS);
    struct indexer_follower *follower = open_follower();
    catch_up(follower);
    pack_all();
    catch_up(follower);
    expect_packed_index();
    indexer_follower_close(follower);
}

/* The first part of a segment is indexed as it was, the rest as it is when it was packed. */
Test(relocate, of_a_segment_that_is_indexed_in_part)
{
    struct segment_log *log = scene_open_log();
    unsigned written = 0;
    while (written < EVENTS) {
        scene_append(log, 1);
        cr_assert_eq(segment_log_wait(log, ++written, &error), OK);
        if (written == EVENTS / 3 + 20)
            scene_index();
    }
    cr_assert_eq(segment_log_close(log, &error), OK);
    cr_assert_eq(scene_number("SELECT last_seq FROM state"), EVENTS / 3 + 20);
    pack_all();
    scene_index();
    expect_packed_index();
}

/* Its reader stands in the old file, which is gone. */
Test(relocate, of_the_segment_that_the_follower_is_in)
{
    struct segment_log *log = scene_open_log();
    struct indexer_follower *follower = NULL;
    for (unsigned written = 1; written <= EVENTS; written++) {
        scene_append(log, 1);
        cr_assert_eq(segment_log_wait(log, written, &error), OK);
        if (written == 1)
            follower = open_follower();
        if (written == EVENTS / 3 + 20)
            catch_up(follower);
    }
    cr_assert_eq(segment_log_close(log, &error), OK);
    pack_all();
    catch_up(follower);
    indexer_follower_close(follower);
    scene_index();
    expect_packed_index();
}

/* The last block that the index knows is the first of a segment: there begins a packed one, too. */
Test(relocate, does_not_take_a_packed_segment_for_that_of_another_log)
{
    write_singly(EVENTS);
    scene_index();
    uint64_t first = scene_segment_first(1);
    cr_assert_eq(remove(scene_path("events.db")), 0);
    struct segment_log *log = scene_open_log();
    cr_assert_eq(segment_log_close(log, &error), OK);
    scene_index();
    sqlite3 *database = scene_open_database();
    char sql[400];
    snprintf(sql, sizeof sql,
             "DELETE FROM block_rows WHERE first_seq > %llu; DELETE FROM event_rows WHERE seq > "
             "%llu; UPDATE state SET last_seq = %llu",
             (unsigned long long)first, (unsigned long long)first, (unsigned long long)first);
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
    pack_all();
    struct indexer_follower *follower = open_follower(); /* says that nothing was built anew */
    indexer_follower_close(follower);
}

/* Until the index has learned the new places, and in whatever order segments are met. */
Test(relocate, is_not_waited_for_by_who_asks_for_payloads)
{
    write_singly(EVENTS);
    scene_index();
    sqlite3 *open_before = open_query();
    expect_payloads(open_before);
    pack_all();
    expect_payloads(open_before);
    sqlite3_close(open_before);
    sqlite3 *open_after = open_query();
    expect_payloads(open_after);
    char *backwards =
        scene_rows(open_after, "SELECT count(*) FROM (SELECT payload(seq) p, seq FROM events"
                               " ORDER BY seq DESC) WHERE json_extract(p, '$.n') = seq");
    cr_assert_str_eq(backwards, "2000\n");
    free(backwards);
    sqlite3_close(open_after);
}

/* What cannot be read is told by who asks, and no event behind it is without its place. */
Test(relocate, of_a_damaged_segment_leaves_nothing_unsaid)
{
    write_singly(EVENTS);
    scene_index();
    int64_t blocks = scene_number("SELECT count(*) FROM block_rows");
    pack_all();
    uint64_t first = scene_segment_first(0);
    char name[64];
    snprintf(name, sizeof name, "segments/%020llu.seg", (unsigned long long)first);
    scene_flip(name, 4096 + 40); /* the header of its first block */
    scene_index();
    cr_assert_eq(scene_number("SELECT sum(events) FROM segments"), EVENTS);
    cr_assert_lt(scene_number("SELECT count(*) FROM block_rows"), blocks);
    sqlite3 *database = open_query();
    sqlite3_stmt *select = NULL;
    cr_assert_eq(sqlite3_prepare_v2(database, "SELECT payload(1)", -1, &select, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(select), SQLITE_CORRUPT, "it is said that there is no payload");
    sqlite3_finalize(select);
    sqlite3_close(database);
}

Test(relocate, follows_a_copy_that_is_put_back)
{
    write_singly(EVENTS);
    scene_copy("segments", "before");
    pack_all();
    scene_index();
    expect_packed_index();
    char command[1000], name[64];
    snprintf(name, sizeof name, "%020llu.seg", (unsigned long long)scene_segment_first(1));
    snprintf(command, sizeof command, "cp '%s/before/%s' '%s/segments/%s'", scene_directory(), name,
             scene_directory(), name);
    cr_assert_eq(system(command), 0);
    scene_index();
    cr_assert_eq(scene_number("SELECT count(*) FROM segments WHERE state = 'sealed'"), 1);
    scene_expect_index_equals_log();
    pack_all_again();
    scene_index();
    expect_packed_index();
}

