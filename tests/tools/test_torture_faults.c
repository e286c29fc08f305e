/* The fault injector and the order checker do what they say; and what they have found stays mended.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "indexer/follower.h"
#include "indexer/query.h"
#include "segment/reader.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tools/torture/faults.h"
#include "tools/torture/order.h"

static int directory_fd, fd;

static void inject(enum faults_kind kind, enum faults_call call, uint64_t number, bool for_ever)
{
    struct faults_plan plan = {.kind = kind, .call = call, .number = number, .for_ever = for_ever};
    file_calls_use(faults_start(&file_calls_kernel, &plan));
}

/* A file "f" of eight old bytes, open and synced. */
static void make_file(void)
{
    cr_assert_eq(file_open_directory(scratch_directory(), false, &directory_fd, NULL), OK);
    cr_assert_eq(file_open(directory_fd, "f", FILE_CREATE, &fd, NULL), OK);
    cr_assert_eq(file_write(fd, "f", "old old ", 8, 0, NULL), OK);
    cr_assert_eq(file_sync_data(fd, "f", NULL), OK);
}

static void expect_bytes(const char *expected)
{
    char bytes[9] = {0};
    scratch_read(scratch_path("f"), 0, bytes, 8);
    cr_assert_str_eq(bytes, expected);
}

Test(faults, fails_the_nth_call_of_its_kind_and_no_other)
{
    inject(FAULTS_EIO, FAULTS_WRITE, 3, false);
    make_file();
    cr_assert_eq(file_write(fd, "f", "x", 1, 0, NULL), OK);
    struct error error;
    cr_assert_eq(file_write(fd, "f", "x", 1, 0, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "Input/output error"));
    cr_assert_eq(file_write(fd, "f", "x", 1, 0, NULL), OK);
    struct faults_counts counts;
    faults_count(&counts);
    cr_assert_eq(counts.calls[FAULTS_WRITE], 4);
    cr_assert_eq(counts.hits[FAULTS_WRITE], 1);
    cr_assert_eq(counts.fds_open, 2);
}

Test(faults, fails_for_ever_until_the_disk_is_healed)
{
    inject(FAULTS_ENOSPC, FAULTS_WRITE, 2, true);
    make_file();
    cr_assert_eq(file_write(fd, "f", "x", 1, 0, NULL), ERROR_NO_SPACE);
    cr_assert_eq(file_write(fd, "f", "x", 1, 0, NULL), ERROR_NO_SPACE);
    faults_heal();
    cr_assert_eq(file_write(fd, "f", "x", 1, 0, NULL), OK);
}

Test(faults, a_short_write_has_written_half_and_is_continued)
{
    inject(FAULTS_SHORT, FAULTS_WRITE, 2, true);
    make_file();
    cr_assert_eq(file_calls()->write(fd, "new new ", 8, 0), 4);
    expect_bytes("new old ");
    cr_assert_eq(file_write(fd, "f", "new new ", 8, 0, NULL), OK);
    expect_bytes("new new ");
}

Test(faults, a_failed_sync_takes_back_what_was_written_since_the_last)
{
    inject(FAULTS_SYNC_LOSES, FAULTS_SYNC_DATA, 2, false);
    make_file();
    cr_assert_eq(file_write(fd, "f", "new new ", 8, 0, NULL), OK);
    cr_assert_eq(file_sync_data(fd, "f", NULL), ERROR_IO);
    expect_bytes("old old ");
}

Test(faults, or_only_when_the_page_cache_is_dropped)
{
    inject(FAULTS_SYNC_LOSES_LATER, FAULTS_SYNC_DATA, 2, false);
    make_file();
    cr_assert_eq(file_write(fd, "f", "new new ", 8, 0, NULL), OK);
    cr_assert_eq(file_sync_data(fd, "f", NULL), ERROR_IO);
    cr_assert_eq(file_sync_data(fd, "f", NULL), OK, "the second sync finds nothing to write");
    expect_bytes("new new ");
    file_drop_cache(fd, 0, 8);
    expect_bytes("old old ");
}

Test(faults, a_late_failure_is_told_by_the_next_sync)
{
    inject(FAULTS_LATE, FAULTS_WRITE, 2, false);
    make_file();
    cr_assert_eq(file_write(fd, "f", "new new ", 8, 0, NULL), OK);
    cr_assert_eq(file_sync_data(fd, "f", NULL), ERROR_IO);
    expect_bytes("old old ");
}

Test(faults, no_interruption_is_for_ever_where_calls_are_repeated)
{
    cr_assert(faults_fits(FAULTS_EINTR, FAULTS_WRITE, false));
    cr_assert_not(faults_fits(FAULTS_EINTR, FAULTS_WRITE, true));
    cr_assert(faults_fits(FAULTS_EINTR, FAULTS_SYNC_DATA, true));
}

/* ---- The order checker ----------------------------------------------------------------------- */

static _Atomic uint64_t called_durable; /* the log's threads ask, too */

static uint64_t durable(void *context)
{
    (void)context;
    return called_durable;
}

static struct segment_log *open_watched(void)
{
    struct order_start start = {.inner = &file_calls_kernel, .durable = durable};
    file_calls_use(order_start(&start));
    return logs_open(scratch_path("log"), 65536);
}

static void expect_violation(const char *text)
{
    struct order_counts counts;
    order_count(&counts);
    cr_assert_eq(counts.violations > 0, text != NULL, "%s", counts.first_violation);
    if (text)
        cr_assert_not_null(strstr(counts.first_violation, text), "%s", counts.first_violation);
}

Test(order, is_content_with_a_log_that_syncs_before_it_acknowledges)
{
    struct segment_log *log = open_watched();
    logs_append_singly(log, 30, 5000);
    order_check(30);
    expect_violation(NULL);
    logs_close(log);
}

Test(order, sees_what_is_called_durable_before_it_was_written)
{
    struct segment_log *log = open_watched();
    logs_append_singly(log, 2, 100);
    order_check(3);
    expect_violation("event 3 is called durable before its write has returned");
    logs_close(log);
}

Test(order, sees_what_is_called_durable_before_its_sync_began)
{
    /* Whoever says so when the sync of the third event begins says it too early. */
    struct segment_log *log = open_watched();
    logs_append_singly(log, 2, 100);
    called_durable = 3;
    logs_append_singly(log, 3, 100);
    expect_violation("event 3 is called durable");
    logs_close(log);
}

/* ---- What was found by the campaign ---------------------------------------------------------- */

Test(faults, a_header_that_the_disk_does_not_give_is_not_called_damaged)
{
    struct segment_log_options options = {.segment_bytes = 65536};
    struct segment_log *log = NULL;
    struct error error = {0};
    logs_make(scratch_path("log"), 65536, 3, 100);
    bool told = false;
    for (uint64_t number = 1; number < 20 && !told; number++) {
        inject(FAULTS_EIO, FAULTS_READ, number, false);
        enum error_code code = segment_log_open(scratch_path("log"), &options, &log, NULL, &error);
        if (!code)
            cr_assert_eq(segment_log_close(log, NULL), OK);
        else
            cr_assert_not_null(strstr(error.text, "Input/output error"), "%s", error.text);
        told |= code && strstr(error.text, "cannot read '00000000000000000001.seg' at byte 0");
        file_calls_use(NULL);
        faults_stop();
    }
    cr_assert(told, "no read of a header has failed");
}

/* How many events the index has. */
static int64_t count_indexed(const char *path)
{
    sqlite3 *database = NULL;
    sqlite3_stmt *select = NULL;
    cr_assert_eq(indexer_query_open(path, &database, NULL), OK);
    cr_assert_eq(sqlite3_prepare_v2(database, "SELECT count(*) FROM events", -1, &select, NULL), 0);
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(select, 0);
    sqlite3_finalize(select);
    sqlite3_close_v2(database);
    return count;
}

Test(faults, a_read_that_fails_once_leaves_no_gap_in_the_index)
{
    char path[512];
    struct faults_counts counts = {.hit_total = 1};
    snprintf(path, sizeof path, "%s", scratch_path("log"));
    logs_make(path, 65536, 3, 100);
    for (uint64_t number = 1; counts.hit_total > 0; number++) {
        struct indexer_follower *follower = NULL;
        inject(FAULTS_EIO, FAULTS_READ, number, false);
        if (!indexer_follower_open(path, &follower, NULL) &&
            indexer_follower_catch_up(follower, NULL))
            cr_assert_eq(indexer_follower_catch_up(follower, NULL), OK);
        indexer_follower_close(follower);
        faults_count(&counts);
        file_calls_use(NULL);
        faults_stop();
        struct error error = {0};
        cr_assert_eq(indexer_follower_open(path, &follower, &error), OK, "%s", error.text);
        cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
        indexer_follower_close(follower);
        cr_assert_eq(count_indexed(path), 3, "after the failure of read %d", (int)number);
        scratch_delete(scratch_path("log/events.db"));
    }
}
