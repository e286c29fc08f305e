/* One sync of the active segment fails, and the next would succeed: it must not be believed (D8).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

static atomic_int failures_left;
static atomic_int syncs_after; /* of the same file, once the failure has been told */
static atomic_int reason;

/* Not the file that is made ready for the next segment. */
static bool is_segment(int fd)
{
    char link[64], path[4096] = "";

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, "00001.seg") != NULL;
}

static int sync_that_fails_once(int fd)
{
    if (!is_segment(fd))
        return fdatasync(fd);
    if (atomic_load(&failures_left) > 0) {
        atomic_fetch_sub(&failures_left, 1);
        errno = atomic_load(&reason);
        return -1;
    }
    atomic_fetch_add(&syncs_after, 1);
    return fdatasync(fd);
}

static void expect_final(int error_number)
{
    struct file_calls broken = file_calls_kernel;
    struct error error;

    broken.sync_data = sync_that_fails_once;
    file_calls_use(&broken);
    struct segment_log *log = logs_open(scratch_path("log-%d", error_number), 0);
    logs_append_to(log, 1, 20);
    logs_commit(log);
    logs_append_to(log, 2, 20);
    atomic_store(&reason, error_number);
    atomic_store(&syncs_after, 0);
    atomic_store(&failures_left, 1);

    cr_assert_eq(segment_log_wait(log, 2, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "outcome of events 2 to 2 is unknown"), "%s", error.text);
    cr_assert_eq(segment_log_durable(log), 1);
    cr_assert_eq(segment_log_failure(log, &error), ERROR_IO);
    cr_assert_eq(segment_log_close(log, &error), ERROR_IO);
    cr_assert_eq(atomic_load(&syncs_after), 0, "nothing is synced in the hope of a better answer");
    file_calls_use(NULL);
}

Test(failed_sync, is_final)
{
    expect_final(EIO);
}

Test(failed_sync, that_was_interrupted_is_as_final_as_any_other)
{
    expect_final(EINTR);
}

/* The writes of the active segment: the first fails, if asked for, and those that come after it are
 * counted. */
static atomic_int write_failures_left, writes_after;

static ssize_t write_that_fails_once(int fd, const void *data, size_t size, off_t offset)
{
    if (is_segment(fd) && atomic_load(&write_failures_left) > 0) {
        atomic_fetch_sub(&write_failures_left, 1);
        errno = EIO;
        return -1;
    }
    if (is_segment(fd))
        atomic_fetch_add(&writes_after, 1);
    return pwrite(fd, data, size, offset);
}

Test(failed_write, of_one_block_ends_the_group_that_it_is_in)
{
    struct file_calls broken = file_calls_kernel;
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN,
                                          .block_bytes_max = 100};
    struct segment_log *log = NULL;
    struct error error;

    broken.write = write_that_fails_once;
    file_calls_use(&broken);
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, NULL, &error), OK, "%s",
                 error.text);
    atomic_store(&writes_after, 0);
    atomic_store(&write_failures_left, 1);
    /* A block each. The committer takes them together: it wakes for the first when there is a
     * second. */
    logs_append_to(log, 2, 200);
    cr_assert_eq(segment_log_wait(log, 2, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "outcome of events 1 to 2 is unknown"), "%s", error.text);
    cr_assert_eq(segment_log_written(log), 0);
    cr_assert_eq(segment_log_close(log, &error), ERROR_IO);
    cr_assert_eq(atomic_load(&writes_after), 0, "nothing is written behind what is missing");
    file_calls_use(NULL);
}

Test(failed_sync, ends_the_wait_of_who_settles_the_log)
{
    struct file_calls broken = file_calls_kernel;
    struct error error;

    broken.sync_data = sync_that_fails_once;
    file_calls_use(&broken);
    struct segment_log *log = logs_open(scratch_path("log"), 0);
    logs_append_to(log, 1, 20);
    atomic_store(&reason, EIO);
    atomic_store(&failures_left, 1);
    segment_log_settle(log); /* a hang, if it waits for a committer that has ended */
    cr_assert_eq(segment_log_failure(log, &error), ERROR_IO);
    cr_assert_eq(segment_log_durable(log), 0);
    cr_assert_eq(segment_log_close(log, &error), ERROR_IO);
    file_calls_use(NULL);
}
