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
