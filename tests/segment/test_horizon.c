/* How far a reader may look while the disk still works on a commit. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
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
