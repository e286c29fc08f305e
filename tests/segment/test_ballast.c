#include "segment/ballast.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/file_calls.h"
#include "segment/lock.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

enum { MEBIBYTE = 1 << 20 };

static int log_fd = -1;
static struct error error;

static void setup(void)
{
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK, "%s",
                 error.text);
}

static void teardown(void)
{
    file_close(&log_fd);
}

TestSuite(ballast_file, .init = setup, .fini = teardown);

static void keep(uint64_t segment_bytes)
{
    cr_assert_eq(segment_ballast_keep(log_fd, segment_bytes, &error), OK, "%s", error.text);
}

static uint64_t size(void)
{
    struct stat status;
    return stat(scratch_path(BALLAST_FILE_NAME), &status) ? 0 : (uint64_t)status.st_size;
}

Test(ballast_file, is_a_quarter_of_the_segments_within_its_limits)
{
    keep(0);
    cr_assert_eq(size(), MEBIBYTE / 2);
    keep(8 * MEBIBYTE);
    cr_assert_eq(size(), 2 * MEBIBYTE);
    keep((uint64_t)4096 * MEBIBYTE);
    cr_assert_eq(size(), 16 * MEBIBYTE);
}

Test(ballast_file, never_becomes_smaller_by_itself)
{
    keep(8 * MEBIBYTE);
    keep(0);
    cr_assert_eq(size(), 2 * MEBIBYTE);
}

Test(ballast_file, is_given_up_in_two_parts)
{
    keep(8 * MEBIBYTE);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), OK, "%s", error.text);
    cr_assert_eq(size(), MEBIBYTE / 4);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), ERROR_NOT_FOUND);
    cr_assert_str_eq(error.text, "there is no ballast to give");
    cr_assert_eq(segment_ballast_give_all(log_fd, &error), OK, "%s", error.text);
    cr_assert_eq(size(), 0);
    cr_assert_eq(segment_ballast_give_all(log_fd, &error), ERROR_NOT_FOUND);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), ERROR_NOT_FOUND);
}

Test(ballast_file, that_was_given_up_is_made_anew)
{
    keep(8 * MEBIBYTE);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), OK);
    keep(8 * MEBIBYTE);
    cr_assert_eq(size(), 2 * MEBIBYTE);
}

Test(ballast_file, tells_why_it_cannot_be_looked_at)
{
    struct broken_plan plan = {
        .call = BROKEN_STATUS, .number = 1, .reason = EIO, .name_part = BALLAST_FILE_NAME};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "'ballast'"), "%s", error.text);
    broken_calls_end();
    struct broken_plan space = {.call = BROKEN_STATUS, .number = 1, .reason = EIO};
    broken_calls_begin(&space);
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), ERROR_IO);
    broken_calls_end();
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "'ballast'"), "%s", error.text);
    cr_assert_eq(broken_calls_open(), 0);
    broken_calls_end();
}

Test(ballast_file, that_finds_no_room_leaves_nothing_behind)
{
    struct broken_plan plan = {.call = BROKEN_ALLOCATE, .number = 1, .reason = ENOSPC};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), ERROR_NO_SPACE);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(size(), 0);
}

/* A look at the free room may be wrong, or somebody else faster. */
Test(ballast_file, keeps_what_it_has_where_there_is_no_room_for_more)
{
    struct broken_plan plan = {.call = BROKEN_ALLOCATE, .number = 1, .reason = ENOSPC};
    keep(0);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), OK);
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), ERROR_NO_SPACE);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(size(), MEBIBYTE / 4);
    keep(8 * MEBIBYTE);
    cr_assert_eq(size(), 2 * MEBIBYTE);
}

/* A kill may leave an empty one. */
Test(ballast_file, that_is_empty_is_filled)
{
    close(openat(log_fd, BALLAST_FILE_NAME, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    keep(0);
    cr_assert_eq(size(), MEBIBYTE / 2);
}

Test(ballast_file, takes_the_place_of_a_link)
{
    int other = openat(log_fd, "elsewhere", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_eq(write(other, "other", 5), 5);
    close(other);
    cr_assert_eq(symlinkat("elsewhere", log_fd, BALLAST_FILE_NAME), 0);
    keep(0);
    cr_assert_eq(size(), MEBIBYTE / 2);
    cr_assert_eq(scratch_size(scratch_path("elsewhere")), 5);
}

/* Then it may be on its way to becoming the lower bound. */
Test(ballast_file, is_left_alone_while_retention_is_at_work)
{
    int lock_fd = -1;
    keep(0);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), OK);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_RETENTION, &lock_fd, &error), OK, "%s", error.text);
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), ERROR_BUSY);
    cr_assert_eq(size(), MEBIBYTE / 4);
    close(lock_fd);
    keep(0);
    cr_assert_eq(size(), MEBIBYTE / 2);
}

/* Half of it, and then the room is used up. */
static int allocate_half(int fd, off_t size)
{
    int failed = file_calls_kernel.allocate(fd, size / 2);
    errno = failed ? errno : ENOSPC;
    return -1;
}

Test(ballast_file, gives_back_what_it_got_where_there_was_not_enough)
{
    static struct file_calls calls;
    calls = file_calls_kernel;
    calls.allocate = allocate_half;
    keep(0);
    file_calls_use(&calls);
    cr_assert_eq(segment_ballast_keep(log_fd, 8 * MEBIBYTE, &error), ERROR_NO_SPACE);
    file_calls_use(NULL);
    cr_assert_eq(size(), MEBIBYTE / 2);
}

Test(ballast_file, that_cannot_be_opened_says_so)
{
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .reason = EIO, .name_part = BALLAST_FILE_NAME};
    keep(0);
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_keep(log_fd, 8 * MEBIBYTE, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "'ballast'"), "%s", error.text);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(size(), MEBIBYTE / 2);
}

/* A disk of this size with so much room on it. */
static uint64_t disk_bytes, disk_free;

static int small_disk(int fd, struct statfs *status_out)
{
    int result = file_calls_kernel.file_system(fd, status_out);
    status_out->f_frsize = status_out->f_bsize = 4096;
    status_out->f_blocks = disk_bytes / 4096;
    status_out->f_bfree = status_out->f_bavail = disk_free / 4096;
    return result;
}

Test(ballast_file, is_small_on_a_small_disk_and_not_made_where_it_takes_half_of_the_room)
{
    static struct file_calls calls;
    calls = file_calls_kernel;
    calls.file_system = small_disk;
    file_calls_use(&calls);
    disk_bytes = disk_free = 16 * MEBIBYTE;
    keep(8 * MEBIBYTE);
    cr_assert_eq(size(), MEBIBYTE / 4, "a 64th");
    cr_assert_eq(segment_ballast_give_all(log_fd, &error), OK);
    disk_free = MEBIBYTE / 2 - 4096;
    cr_assert_eq(segment_ballast_keep(log_fd, 8 * MEBIBYTE, &error), ERROR_NO_SPACE);
    cr_assert_str_eq(error.text, "520192 bytes are free, too few for a ballast of 262144");
    cr_assert_eq(size(), 0);
    disk_bytes = 0; /* it does not tell */
    keep(8 * MEBIBYTE);
    cr_assert_eq(size(), 0);
    file_calls_use(NULL);
}

Test(ballast_file, of_a_directory_that_is_gone_gives_nothing)
{
    cr_assert_eq(segment_ballast_give_most(scratch_path("nowhere"), &error), ERROR_NOT_FOUND);
}
