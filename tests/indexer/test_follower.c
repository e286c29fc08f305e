#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "indexer/follower.h"
#include "indexer/reindex.h"
#include "tests/indexer/scene.h"

TestSuite(follower, .init = scene_begin, .fini = scene_end);

static struct indexer_follower *open_follower(void)
{
    struct indexer_follower *follower = NULL;
    struct error error = {0};
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), OK, "%s", error.text);
    return follower;
}

static void catch_up(struct indexer_follower *follower)
{
    struct error error = {0};
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
}

static void expect_same_dump(char *expected)
{
    char *found = scene_dump();
    cr_assert(!strcmp(found, expected), "the dumps differ");
    free(found);
    free(expected);
}

Test(follower, makes_the_index_equal_to_the_log)
{
    scene_write(3000);

    scene_index();

    scene_expect_index_equals_log();
    cr_assert_eq(scene_number("SELECT count(*) FROM events"), 3000);
    cr_assert_eq(scene_number("SELECT sum(events) FROM segments"), 3000);
    cr_assert_eq((size_t)scene_number("SELECT count(*) FROM segments"), scene_segment_count());
    cr_assert_eq(scene_number("SELECT sum(events) FROM event_stats"), 3000);
    scene_expect_rows("SELECT state, count(*) > 0 FROM segments GROUP BY state",
                      "active|1\nsealed|1\n");
}

Test(follower, of_an_empty_log_makes_an_empty_index)
{
    scene_write(0);

    scene_index();

    cr_assert_eq(scene_number("SELECT count(*) FROM events"), 0);
    scene_expect_rows("SELECT * FROM gaps", "");
}

Test(follower, shows_the_documented_names_to_a_connection_with_nothing_loaded)
{
    scene_write(200);
    scene_index();

    scene_expect_rows("SELECT seq, ts, topic, segment, offset >= 4096, bytes > 100 FROM events"
                      " WHERE seq = 2",
                      "2|1764000002469135782|sensor/1|1|1|1\n");
    scene_expect_rows(
        "SELECT topic, COUNT(*) FROM events GROUP BY topic",
        "a|39\norders.done|40\norders.new|40\nrare:one|2\nsensor/1|39\nsensor/2|40\n");
    scene_expect_rows("SELECT topic, events, bytes > 0, first_seq, last_seq, first_time, last_time"
                      " FROM topics WHERE topic = 'rare:one'",
                      "rare:one|2|1|97|194|2025-11-24T16:01:59.753085427Z"
                      "|2025-11-24T16:03:59.506170854Z\n");
    scene_expect_rows(
        "SELECT segment, file, first_seq, last_seq, events, bytes, state FROM segments"
        " WHERE segment = 1",
        "1|00000000000000000001.seg|1|200|200|65536|active\n");
    scene_expect_rows("SELECT first_seq, last_seq, missing, cause, segment FROM gaps", "");
    scene_expect_rows("SELECT hour, topic, events, bytes > 0 FROM event_stats"
                      " WHERE topic = 'rare:one'",
                      "2025-11-24T16:00:00Z|rare:one|2|1\n");
}

Test(follower, writes_times_before_1970_as_what_they_are)
{
    scene_write(101);
    scene_index();

    scene_expect_rows("SELECT ts, time FROM events WHERE ts < 0",
                      "-101000000707|1969-12-31T23:58:18.999999293Z\n");
}

struct question {
    const char *sql;
    const char *never; /* in the query plan */
};

Test(follower, answers_common_questions_without_sorting_or_reading_every_row)
{
    static const struct question questions[] = {
        {"SELECT topic, COUNT(*) FROM events GROUP BY topic", "TEMP B-TREE"},
        {"SELECT * FROM events WHERE seq = 7", "SCAN"},
        {"SELECT * FROM events WHERE topic = 'a' AND ts BETWEEN 1 AND 2", "SCAN"},
        {"SELECT seq, ts FROM events WHERE ts BETWEEN 1 AND 2", "SCAN r"},
        {"SELECT * FROM events ORDER BY seq DESC LIMIT 10", "TEMP B-TREE"},
        {"SELECT * FROM events WHERE ts BETWEEN 1 AND 2", "SCAN r"},
        {"SELECT max(seq) FROM events", "SCAN"},
        {"SELECT * FROM events LIMIT 3", "SCAN t"},
    };
    scene_write(10);
    scene_index();
    sqlite3 *database = scene_open_database();
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", questions[i].sql);
        char *plan = scene_rows(database, sql);
        cr_assert_null(strstr(plan, questions[i].never), "%s:\n%s", questions[i].sql, plan);
        free(plan);
    }
    sqlite3_close(database);
}

Test(follower, goes_on_where_it_stopped_and_adds_no_row_twice)
{
    for (int i = 0; i < 8; i++) {
        scene_write(150);
        scene_index();
        scene_index();
    }

    scene_expect_index_equals_log();
    cr_assert_eq(scene_number("SELECT count(*) FROM events"), 1200);
    cr_assert_eq(scene_number("SELECT sum(events) FROM segments"), 1200);
}

Test(follower, follows_a_log_that_is_being_written)
{
    struct segment_log *log = scene_open_log();
    struct indexer_follower *follower = open_follower();
    for (int i = 1; i <= 5; i++) {
        scene_append(log, 200);
        catch_up(follower);
        cr_assert_eq(scene_number("SELECT max(seq) FROM events"), 200 * i);
    }

    indexer_follower_close(follower);
    segment_log_close(log, NULL);
    scene_expect_index_equals_log();
}

Test(follower, counts_each_of_more_topics_than_it_remembers)
{
    scene_write_topics(5000);
    scene_write(500);
    scene_write_topics(5000);

    scene_index();

    scene_expect_index_equals_log();
    cr_assert_eq(scene_number("SELECT count(*) FROM topics WHERE events = 2"), 5000);
}

Test(follower, is_alone)
{
    scene_write(10);
    struct indexer_follower *first = open_follower(), *second = NULL;
    struct error error = {0};

    cr_assert_eq(indexer_follower_open(scene_directory(), &second, &error), ERROR_BUSY);
    cr_assert_not_null(strstr(error.text, "another process fills the index"), "%s", error.text);
    cr_assert_eq(indexer_follower_open(scene_directory(), &second, NULL), ERROR_BUSY);
    cr_assert_eq(indexer_follower_open_rebuild(scene_directory(), &second, NULL), ERROR_BUSY);

    indexer_follower_close(first);
    indexer_follower_close(open_follower());
}

Test(follower, needs_a_log)
{
    struct indexer_follower *follower = NULL;
    struct error error = {0};
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), ERROR_NOT_FOUND, "%s",
                 error.text);
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, NULL), ERROR_NOT_FOUND);
    cr_assert_eq(access(scene_path("events.db"), F_OK), -1);
}

Test(follower, killed_at_any_moment_leaves_an_index_that_the_next_completes)
{
    scene_write(4000);
    for (int steps = 0; steps < 4; steps++) {
        pid_t child = fork();
        if (child == 0) {
            struct indexer_follower *follower = NULL;
            struct indexer_step step;
            if (indexer_follower_open(scene_directory(), &follower, NULL))
                _exit(1);
            for (int i = 0; i < steps; i++)
                indexer_follower_step(follower, &step, NULL);
            raise(SIGKILL);
        }
        int status;
        waitpid(child, &status, 0);
        cr_assert(WIFSIGNALED(status));
        scene_write(500);
    }

    scene_index();

    scene_expect_index_equals_log();
}

Test(follower, gives_the_same_index_when_events_db_was_deleted)
{
    for (int i = 0; i < 5; i++) {
        scene_write(300);
        scene_index();
    }
    char *before = scene_dump();
    cr_assert_eq(unlink(scene_path("events.db")), 0);

    scene_index();

    expect_same_dump(before);
}

Test(follower, makes_the_index_anew_that_is_deleted_under_it)
{
    struct segment_log *log = scene_open_log();
    struct indexer_follower *follower = open_follower();
    scene_append(log, 300);
    catch_up(follower);
    char *before = scene_dump();
    cr_assert_eq(unlink(scene_path("events.db")), 0);

    /* Nothing new comes: it must look by itself. */
    struct indexer_step step = {0};
    struct error error = {0};
    for (int steps = 0; steps < 100 && !step.notice; steps++) {
        indexer_follower_wait(follower, 100);
        cr_assert_eq(indexer_follower_step(follower, &step, &error), OK, "%s", error.text);
    }

    cr_assert_not_null(step.notice, "nobody noticed");
    cr_assert_not_null(strstr(step.notice, "deleted or replaced"), "%s", step.notice);
    cr_assert_not_null(strstr(indexer_follower_rebuilt(follower), "deleted or replaced"));
    catch_up(follower);
    expect_same_dump(before);
    scene_append(log, 100);
    catch_up(follower);
    indexer_follower_close(follower);
    segment_log_close(log, NULL);
    scene_expect_index_equals_log();
}

/* The WAL of the old file, too, must not get into the new one. */
Test(follower, makes_the_index_anew_when_another_file_takes_its_place)
{
    scene_write(300);
    scene_index();
    scene_copy("events.db", "older.db");
    struct indexer_follower *follower = open_follower();
    scene_write(300);
    catch_up(follower);
    char older[512];
    snprintf(older, sizeof older, "%s", scene_path("older.db"));
    cr_assert_eq(rename(older, scene_path("events.db")), 0);

    catch_up(follower);

    cr_assert_not_null(indexer_follower_rebuilt(follower), "nobody noticed");
    indexer_follower_close(follower);
    scene_expect_index_equals_log();
    cr_assert_eq(scene_number("SELECT count(*) FROM events"), 600);
    scene_expect_rows("PRAGMA integrity_check", "ok\n");
}

Test(follower, gives_the_same_index_by_reindex)
{
    scene_write(1500);
    scene_index();
    char *before = scene_dump();
    sqlite3 *reader = scene_open_database(); /* readers do not hold it up */
    struct indexer_reindex_totals totals;
    struct error error = {0};

    cr_assert_eq(indexer_reindex(scene_directory(), NULL, NULL, &totals, &error), OK, "%s",
                 error.text);

    cr_assert_eq(totals.events, 1500);
    cr_assert_eq(totals.damaged, 0);
    cr_assert_gt(totals.bytes, 1500);
    cr_assert_eq(access(scene_path("events.db.rebuild"), F_OK), -1);
    sqlite3_close(reader);
    expect_same_dump(before);
    scene_write(10);
    scene_index();
    scene_expect_index_equals_log();
}

Test(follower, is_not_disturbed_by_reindex)
{
    scene_write(10);
    struct indexer_follower *follower = open_follower();
    struct error error = {0};

    cr_assert_eq(indexer_reindex(scene_directory(), NULL, NULL, NULL, &error), ERROR_BUSY);

    cr_assert_not_null(strstr(error.text, "stop it first, or delete events.db"), "%s", error.text);
    indexer_follower_close(follower);
}

/* What may have happened to events.db, and what the follower says of it. */
struct mishap {
    const char *name;
    void (*happen)(void);
    const char *reason;
};

static void write_garbage(void)
{
    FILE *file = fopen(scene_path("events.db"), "w");
    for (int i = 0; i < 2000; i++)
        fprintf(file, "this is no database %d\n", i);
    fclose(file);
}

static void run_sql(const char *sql)
{
    sqlite3 *database = scene_open_database();
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(database));
    sqlite3_close(database);
}

static void make_foreign(void)
{
    run_sql("PRAGMA application_id = 77");
}

static void make_newer(void)
{
    run_sql("PRAGMA user_version = 99");
}

static void make_older(void)
{
    run_sql("PRAGMA user_version = 0");
}

static void give_other_log(void)
{
    run_sql("UPDATE state SET log_id = randomblob(16)");
}

static void add_row_behind_the_end(void)
{
    run_sql("INSERT INTO event_rows VALUES (999999, 1, 1, 1)");
}

static void replace_last_block(void)
{
    run_sql("UPDATE block_rows SET checksum = checksum + 1"
            " WHERE first_seq = (SELECT max(first_seq) FROM block_rows)");
}

static void drop_table(void)
{
    run_sql("DROP TABLE state");
}

static void change_view(void)
{
    run_sql("DROP VIEW topics; CREATE VIEW topics AS SELECT 1 AS topic");
}

static void empty_state(void)
{
    run_sql("DELETE FROM state");
}

static void cut_short(void)
{
    cr_assert_eq(truncate(scene_path("events.db"), 16384), 0);
}

static void cut_within_page(void)
{
    cr_assert_eq(truncate(scene_path("events.db"), 50), 0);
}

static void flip_header(void)
{
    scene_flip("events.db", 3);
}

/* Zeros over one page, of rows: quick_check finds it. */
static void zero_page(void)
{
    int fd = open(scene_path("events.db"), O_RDWR | O_CLOEXEC);
    char zeros[4096] = {0};
    off_t size = lseek(fd, 0, SEEK_END);
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, size * 3 / 4 / 4096 * 4096), 4096);
    close(fd);
}

Test(follower, makes_an_index_anew_that_cannot_be_trusted)
{
    static const struct mishap mishaps[] = {
        {"garbage", write_garbage, "file is not a database"},
        {"foreign", make_foreign, "another program"},
        {"newer", make_newer, "version 99"},
        {"older", make_older, "version 0"},
        {"other log", give_other_log, "another log"},
        {"row behind the end", add_row_behind_the_end, "behind its own last sequence"},
        {"another last block", replace_last_block, "last block is not the log's"},
        {"missing table", drop_table, "state"},
        {"other view", change_view, "topics"},
        {"empty state", empty_state, "state is empty"},
        {"cut short", cut_short, "malformed"},
        {"cut within a page", cut_within_page, "malformed"},
        {"flipped header", flip_header, "not a database"},
        {"zeroed page", zero_page, "quick_check"},
    };
    scene_write(1000);
    scene_index();
    char *expected = scene_dump();
    for (size_t i = 0; i < sizeof mishaps / sizeof mishaps[0]; i++) {
        mishaps[i].happen();
        struct indexer_follower *follower = open_follower();
        const char *reason = indexer_follower_rebuilt(follower);
        cr_assert_not_null(reason, "%s was not noticed", mishaps[i].name);
        cr_assert_not_null(strstr(reason, mishaps[i].reason), "%s: %s", mishaps[i].name, reason);
        catch_up(follower);
        indexer_follower_close(follower);
        char *found = scene_dump();
        cr_assert(!strcmp(found, expected), "%s: the new index differs", mishaps[i].name);
        free(found);
    }
    free(expected);
}

Test(follower, keeps_a_healthy_index)
{
    scene_write(100);
    scene_index();
    struct indexer_follower *follower = open_follower();
    cr_assert_null(indexer_follower_rebuilt(follower), "%s", indexer_follower_rebuilt(follower));
    indexer_follower_close(follower);
}

/* Junk over all pages but the first, which has the names of the tables. */
static void overwrite_pages(void)
{
    int fd = open(scene_path("events.db"), O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    for (off_t at = 4096; at < size; at += 4096)
        cr_assert_eq(pwrite(fd, junk, sizeof junk, at), 4096);
    close(fd);
}

Test(follower, starts_afresh_when_the_index_breaks_under_it)
{
    scene_write(2000);
    scene_index();
    struct indexer_follower *follower = open_follower();
    pid_t child = fork(); /* closing the file in this process would drop SQLite's locks */
    if (child == 0) {
        overwrite_pages();
        /* A change by another connection makes the follower forget what it has cached. */
        run_sql("PRAGMA user_version = 1; PRAGMA application_id = 1147238754");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
    scene_write(50);
    struct indexer_step step;
    struct error error = {0};

    cr_assert_eq(indexer_follower_step(follower, &step, &error), OK, "%s", error.text);

    cr_assert_not_null(step.notice);
    cr_assert_not_null(strstr(step.notice, "built anew"), "%s", step.notice);
    catch_up(follower);
    indexer_follower_close(follower);
    scene_expect_index_equals_log();
}

Test(follower, that_is_ahead_of_its_log_reports_lost_data_and_keeps_the_evidence)
{
    scene_write(100);
    scene_copy("segments", "older");
    scene_write(100);
    scene_index();
    scene_copy("older", "segments");
    unlink(scene_path("watermark"));
    struct indexer_follower *follower = NULL;
    struct error error = {0};

    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), ERROR_DAMAGED);

    cr_assert_not_null(strstr(error.text, "evidence of lost log data"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "up to 200"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "ends at 100"), "%s", error.text);
    cr_assert_eq(indexer_reindex(scene_directory(), NULL, NULL, NULL, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "evidence of lost log data"), "%s", error.text);
    cr_assert_eq(scene_number("SELECT max(seq) FROM events"), 200);
}

/* Flip a bit in the body of the block that holds the event; the index says where that is. */
static void damage_block_of(uint64_t sequence)
{
    char sql[96], name[64];
    snprintf(sql, sizeof sql, "SELECT offset FROM events WHERE seq = %llu",
             (unsigned long long)sequence);
    uint64_t offset = (uint64_t)scene_number(sql);
    snprintf(sql, sizeof sql, "SELECT segment FROM events WHERE seq = %llu",
             (unsigned long long)sequence);
    snprintf(name, sizeof name, "segments/%020llu.seg", (unsigned long long)scene_number(sql));
    scene_flip(name, offset + 150);
}

Test(follower, records_unreadable_events_as_a_gap_and_indexes_the_rest)
{
    scene_write(1000);
    scene_index();
    damage_block_of(500);
    cr_assert_eq(unlink(scene_path("events.db")), 0);

    struct indexer_follower *follower = open_follower();
    struct indexer_step step;
    struct error error = {0};
    cr_assert_eq(indexer_follower_step(follower, &step, &error), OK, "%s", error.text);

    cr_assert_eq(step.damaged, 1);
    cr_assert_not_null(step.notice);
    cr_assert_not_null(strstr(step.notice, "cannot be read"), "%s", step.notice);
    indexer_follower_close(follower);
    cr_assert_eq(scene_number("SELECT count(*) FROM gaps WHERE cause = 'damage, not repaired'"
                              " AND first_seq <= 500 AND last_seq >= 500"),
                 1);
    cr_assert_eq(scene_number("SELECT (SELECT count(*) FROM events) + sum(missing) FROM gaps"),
                 1000);
    cr_assert_eq(scene_number("SELECT max(seq) FROM events"), 1000);
}
