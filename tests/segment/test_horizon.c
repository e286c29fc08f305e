/* How far a reader may look while the disk still works on a commit. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "tests/support/forge.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

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
