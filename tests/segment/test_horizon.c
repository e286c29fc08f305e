/* How far a reader may look while the disk still works on a commit. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/file_calls.h"
#include "tests/support/forge.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "core/bytes.h"
#include "core/file.h"
#include "segment/horizon.h"
#include "segment/lock.h"
#include "segment/set.h"
#include "tests/support/broken_calls.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held; /* syncs do not return */

static int sync_when_let(int fd)
{
    pthread_mutex_lock(&mutex);
    while (held)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    return fdatasync(fd);
}

static void hold_syncs(bool hold)
{
    pthread_mutex_lock(&mutex);
    held = hold;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void wait_until_written(struct segment_log *log, uint64_t sequence)
{
    while (segment_log_written(log) < sequence)
        usleep(1000);
}

Test(horizon, ends_before_what_is_written_and_not_yet_synced)
{
    struct file_calls slow = file_calls_kernel;
    const char *path = scratch_path("log");

    slow.sync_data = sync_when_let;
    file_calls_use(&slow);
    struct segment_log *log = logs_open(path, 0);
    logs_append_to(log, 1, 20);
    logs_commit(log);

    hold_syncs(true);
    logs_append_to(log, 2, 20);
    segment_log_kick(log);
    wait_until_written(log, 2);
    struct segment_reader *reader = logs_read(path);
    logs_expect_events(reader, 1, 1);
    logs_expect_end(reader);
    cr_assert_eq(segment_reader_watermark(reader), 1);

    hold_syncs(false);
    logs_commit(log);
    logs_expect_events(reader, 2, 2);
    segment_reader_close(reader);
    logs_close(log);
    file_calls_use(NULL);
}

/*
 * The power failed, and the disk has torn the block at the end, which the segment's header calls
 * durable. No block behind it names an event, so nobody knows how many there were.
 */
Test(horizon, tells_of_a_lost_end_that_only_the_header_vouches_for)
{
    const char *path = scratch_path("log");
    struct forge forge = {path, 1};
    struct error error;

    logs_kill_writer(logs_start_writer(path, 0, 3, 20));
    struct segment_format_block_header last = logs_find(path, 3).header;
    scratch_delete(scratch_path("log/watermark"));
    scratch_fill(logs_segment_path(path, 1), last.offset, 4096, 0);
    struct segment_reader *reader = logs_read(path);
    logs_expect_events(reader, 1, 2);
    logs_expect_end(reader);
    segment_reader_close(reader);

    forge_header(forge, 96, FORGE_64, last.offset + last.size_bytes);
    reader = logs_read(path);
    logs_expect_events(reader, 1, 2);
    logs_expect_damage(reader, "events from 3 on, if there were any, are lost");
    logs_expect_end(reader);
    logs_expect_end(reader);
    segment_reader_close(reader);

    struct segment_log_options options = {0};
    struct segment_log *log;
    cr_assert_eq(segment_log_open(path, &options, &log, NULL, &error), ERROR_DAMAGED);
    cr_assert(strstr(error.text, "the segment's header says that it was durable"), "%s",
              error.text);
}

/* Each of the two was told again because the other had been told since: reading had no end. */
Test(horizon, tells_of_a_lost_end_and_of_a_lost_segment_behind_it_once)
{
    const char *path = scratch_path("log");
    struct forge forge = {path, 1};

    logs_kill_writer(logs_start_writer(path, 0, 3, 20));
    struct segment_format_block_header last = logs_find(path, 3).header;
    scratch_delete(scratch_path("log/watermark"));
    scratch_fill(logs_segment_path(path, 1), last.offset, 4096, 0);
    forge_header(forge, 96, FORGE_64, last.offset + last.size_bytes);
    const char *behind = scratch_path("log/segments/%020d.seg", 3);
    scratch_copy(logs_segment_path(path, 1), behind);
    scratch_flip(behind, 17, 1);
    scratch_fill(behind, FORMAT_SEGMENT_HEADER_BYTES,
                 scratch_size(behind) - FORMAT_SEGMENT_HEADER_BYTES, 0);

    struct segment_reader *reader = logs_read(path);
    logs_expect_events(reader, 1, 2);
    logs_expect_damage(reader, "its header is damaged, and no event in it can be found");
    logs_expect_damage(reader, "events from 3 on, if there were any, are lost");
    logs_expect_end(reader);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

/* ---- The horizon alone, as a reader has it ---- */

static char log_path[512];
static int log_fd = -1, segments_fd = -1;
static struct segment_horizon horizon;
static struct error error;

/* A log with so many events, stopped; and the horizon of somebody who has just come. */
static void make_log(uint64_t events, size_t payload_bytes)
{
    struct segment_set set;
    snprintf(log_path, sizeof log_path, "%s", scratch_path("log"));
    logs_make(log_path, FORMAT_SEGMENT_BYTES_MIN, events, payload_bytes);
    cr_assert_eq(file_open_directory(log_path, false, &log_fd, &error), OK, "%s", error.text);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, &error), OK);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK, "%s", error.text);
    segment_horizon_init(&horizon, log_fd, segments_fd, set.segments[0].header.log_id);
    segment_set_free(&set);
}

static void leave(void)
{
    segment_horizon_release(&horizon);
    file_close(&segments_fd);
    file_close(&log_fd);
}

static void delete_page(void)
{
    scratch_delete(scratch_path("log/watermark"));
}

static void expect_limit(uint64_t limit)
{
    cr_assert_eq(segment_horizon_refresh(&horizon, &error), OK, "%s", error.text);
    cr_assert_eq(horizon.limit, limit);
}

/* The page was followed, closed, and still believed to be there: the next look crashed. */
Test(horizon, survives_a_page_that_is_replaced_and_cannot_be_opened)
{
    make_log(3, 20);
    pid_t writer = logs_start_writer(log_path, FORMAT_SEGMENT_BYTES_MIN, 5, 20);
    expect_limit(5);
    cr_assert(segment_horizon_is_live(&horizon));
    delete_page();
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .reason = EMFILE, .name_part = "watermark"};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_horizon_refresh_now(&horizon, &error), ERROR_IO);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_not(segment_horizon_is_live(&horizon), "nothing is known of it");
    expect_limit(5);
    leave();
    logs_kill_writer(writer);
}

/* An error is no end. */
Test(horizon, behind_damage_that_cannot_be_mapped_is_unknown_and_not_the_end)
{
    make_log(3, 20);
    struct logs_place second = logs_find(log_path, 2);
    delete_page();
    scratch_flip(logs_segment_path(log_path, 1),
                 second.header.offset + FORMAT_BLOCK_HEADER_BYTES + 8, 1);
    struct broken_plan plan = {.call = BROKEN_MAP, .number = 1, .reason = ENOMEM};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_horizon_refresh(&horizon, &error), ERROR_MEMORY);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(horizon.limit, 0);
    expect_limit(3);
    leave();
}

Test(horizon, with_a_damaged_header_is_found_without_its_first_block)
{
    make_log(3, 20);
    delete_page();
    scratch_flip(logs_segment_path(log_path, 1), 40, 2);
    struct broken_plan plan = {.call = BROKEN_MAP, .number = 1, .reason = ENOMEM};
    broken_calls_begin(&plan);
    expect_limit(3);
    cr_assert_eq(broken_calls_end(), 1);
    leave();
}

Test(horizon, is_not_guessed_when_a_newer_daybook_has_taken_over)
{
    make_log(3, 20);
    forge_header((struct forge){log_path, 1}, 12, FORGE_32, FORMAT_VERSION + 1);
    cr_assert_eq(segment_horizon_refresh(&horizon, &error), ERROR_VERSION);
    cr_assert_not_null(strstr(error.text, "newer Daybook"), "%s", error.text);
    leave();
}

/* A writer that holds the lock and has not made its page yet. */
Test(horizon, beside_a_writer_without_a_page_is_what_blocks_promise)
{
    int lock_fd = -1;
    make_log(3, 20);
    delete_page();
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &lock_fd, &error), OK, "%s", error.text);
    expect_limit(3); /* the stop mark vouches for it */
    cr_assert_not(segment_horizon_is_live(&horizon));
    file_close(&lock_fd);
    leave();
}

/* While a writer recovers, its segment is not scanned at each look. */
Test(horizon, beside_a_page_that_is_not_live_yet_is_not_looked_for_again)
{
    struct segment_watermark *page = NULL;
    int lock_fd = -1;
    make_log(3, 20);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &lock_fd, &error), OK, "%s", error.text);
    cr_assert_eq(segment_watermark_create(log_fd, horizon.log_id, 9, &page, &error), OK, "%s",
                 error.text);
    expect_limit(3);
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .for_ever = true, .reason = EIO, .name_part = ".seg"};
    broken_calls_begin(&plan);
    expect_limit(3);
    cr_assert_eq(broken_calls_end(), 0, "it was scanned again");
    segment_watermark_close(page);
    file_close(&lock_fd);
    leave();
}

static char victim[600];

static void delete_victim(void)
{
    unlink(victim);
}

Test(horizon, is_looked_for_again_when_a_segment_vanishes_under_the_scan)
{
    make_log(60, 4000);
    uint64_t last = logs_find(log_path, 60).segment_first;
    cr_assert_gt(last, 1);
    delete_page();
    snprintf(victim, sizeof victim, "%s", logs_segment_path(log_path, last));
    /* The first opening reads its header, the second is for the scan. */
    struct broken_plan plan = {.call = BROKEN_OPEN,
                               .number = 2,
                               .before = delete_victim,
                               .name_part = strrchr(victim, '/') + 1};
    broken_calls_begin(&plan);
    expect_limit(last - 1);
    cr_assert_eq(broken_calls_end(), 1);
    leave();
}

/* Each look finds another page, as if writers came and went. */
static bool flickers;
static uint64_t looks;

static int open_and_flicker(int directory_fd, const char *name, int flags, mode_t mode)
{
    uint8_t sequences[16]; /* durable and written, at byte 64 of the page */
    if (flickers && strstr(name, ".seg")) {
        looks++;
        bytes_store64(sequences, looks);
        bytes_store64(sequences + 8, looks);
        scratch_write(scratch_path("log/watermark"), 64, sequences, sizeof sequences);
    }
    return file_calls_kernel.open(directory_fd, name, flags, mode);
}

Test(horizon, that_never_stands_still_is_left_for_the_next_time)
{
    static struct file_calls calls;
    calls = file_calls_kernel;
    calls.open = open_and_flicker;
    make_log(40, 20);
    file_calls_use(&calls);
    flickers = true;
    expect_limit(0);
    cr_assert_not(horizon.known);
    cr_assert_leq(looks, 40);
    flickers = false;
    expect_limit(40);
    file_calls_use(NULL);
    leave();
}

Test(horizon, that_cannot_be_determined_is_not_waited_for)
{
    make_log(3, 20);
    struct broken_plan plan = {.call = BROKEN_LOCK, .number = 1, .for_ever = true, .reason = EIO};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_horizon_wait(&horizon, 10, 600000, &error),
                 ERROR_IO); /* a hang, if it waits */
    broken_calls_end();
    leave();
}
