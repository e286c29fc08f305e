#include "segment/ballast.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
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
    struct broken_plan plan = {.call = BROKEN_STATUS, .number = 1, .reason = EIO};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "ballast"), "%s", error.text);
    broken_calls_end();
    broken_calls_begin(&plan);
    cr_assert_eq(segment_ballast_give_most(scratch_directory(), &error), ERROR_IO);
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
