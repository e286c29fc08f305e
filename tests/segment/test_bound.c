#include "segment/bound.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/event.h"
#include "core/file.h"
#include "core/file_calls.h"
#include "segment/ballast.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

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

TestSuite(bound, .init = setup, .fini = teardown);

static uint64_t load(void)
{
    uint64_t sequence = 0;
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), OK, "%s", error.text);
    return sequence;
}

Test(bound, is_one_in_a_log_from_which_nothing_was_deleted)
{
    cr_assert_eq(load(), 1);
}

Test(bound, keeps_what_was_stored)
{
    const uint64_t sequences[] = {2, 1000000, EVENT_SEQUENCE_END};
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        cr_assert_eq(segment_bound_store(log_fd, sequences[i], &error), OK, "%s", error.text);
        cr_assert_eq(load(), sequences[i]);
    }
}

Test(bound, is_never_beyond_every_event)
{
    cr_assert_eq(segment_bound_store(log_fd, EVENT_SEQUENCE_END + 1, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, "the lower bound of a log cannot be 4611686018427387905: no event "
                                 "has that sequence");
    cr_assert_eq(load(), 1);
}

Test(bound, may_be_stored_again)
{
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    cr_assert_eq(load(), 7);
}

Test(bound, never_goes_back)
{
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    cr_assert_eq(segment_bound_store(log_fd, 6, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, "the lower bound of the log is 7 and cannot go back to 6");
    cr_assert_eq(load(), 7);
}

Test(bound, is_refused_with_any_bit_turned_over)
{
    cr_assert_eq(segment_bound_store(log_fd, 1234567, &error), OK);
    const char *path = scratch_path("lower-bound");
    for (uint64_t offset = 0; offset < scratch_size(path); offset++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint64_t sequence = 42;
            scratch_flip(path, offset, (uint8_t)(1u << bit));
            cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED,
                         "byte %d, bit %u", (int)offset, bit);
            cr_assert_eq(sequence, 42);
            scratch_flip(path, offset, (uint8_t)(1u << bit));
        }
    }
    cr_assert_eq(load(), 1234567);
}

Test(bound, is_refused_at_any_other_length)
{
    cr_assert_eq(segment_bound_store(log_fd, 1234567, &error), OK);
    const char *path = scratch_path("lower-bound");
    uint64_t sequence = 0;
    scratch_write(path, scratch_size(path), "\n", 1);
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
    for (uint64_t size = scratch_size(path) - 2; size > 0; size--) {
        scratch_cut(path, size);
        cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
    }
    scratch_cut(path, 0);
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
    scratch_fill(path, 0, 5000, 'x'); /* longer than any line that could be right */
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
}

Test(bound, is_not_overwritten_while_it_is_damaged)
{
    cr_assert_eq(segment_bound_store(log_fd, 9, &error), OK);
    scratch_flip(scratch_path("lower-bound"), 20, 1u << 0);
    cr_assert_eq(segment_bound_store(log_fd, 10, &error), ERROR_DAMAGED);
}

Test(bound, that_the_device_refuses_is_damaged_and_one_refusal_may_pass)
{
    uint64_t sequence = 42;
    struct broken_plan plan = {.call = BROKEN_READ,
                               .number = 1,
                               .reason = EIO,
                               .bad_file = scratch_path("lower-bound")};
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    broken_calls_begin(&plan);
    cr_assert_eq(load(), 7);
    cr_assert_eq(broken_calls_end(), 1);
    plan.for_ever = true;
    broken_calls_begin(&plan);
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
    cr_assert_gt(broken_calls_end(), 1);
    cr_assert_eq(sequence, 42);
    cr_assert_str_eq(error.text, "'lower-bound' is damaged: cannot read 'lower-bound' at byte 0: "
                                 "Input/output error; 'daybook verify --repair' restores it");
}

static void expect_refusal(const struct broken_plan *plan, enum error_code code, const char *text)
{
    uint64_t sequence = 42;
    broken_calls_begin(plan);
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), code, "%s", error.text);
    cr_assert_gt(broken_calls_end(), 0);
    cr_assert_eq(sequence, 42);
    cr_assert_str_eq(error.text, text);
}

Test(bound, that_the_device_refuses_to_open_is_damaged_and_one_refusal_may_pass)
{
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .reason = EIO, .name_part = "lower-bound"};
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    broken_calls_begin(&plan);
    cr_assert_eq(load(), 7);
    cr_assert_eq(broken_calls_end(), 1);
    plan.for_ever = true;
    expect_refusal(&plan, ERROR_DAMAGED,
                   "'lower-bound' is damaged: cannot open 'lower-bound': Input/output error; "
                   "'daybook verify --repair' restores it");
    plan.reason = EUCLEAN; /* as ext4 and XFS say of a broken inode */
    expect_refusal(&plan, ERROR_DAMAGED,
                   "'lower-bound' is damaged: cannot open 'lower-bound': Structure needs cleaning; "
                   "'daybook verify --repair' restores it");
    plan = (struct broken_plan){
        .call = BROKEN_STATUS, .number = 1, .for_ever = true, .reason = EIO};
    expect_refusal(&plan, ERROR_DAMAGED,
                   "'lower-bound' is damaged: cannot inspect 'lower-bound': Input/output error; "
                   "'daybook verify --repair' restores it");
}

/* A backup that root has put back. */
Test(bound, that_we_may_not_open_is_not_damaged_and_it_says_what_to_do)
{
    struct broken_plan plan = {.call = BROKEN_OPEN,
                               .number = 1,
                               .for_ever = true,
                               .reason = EACCES,
                               .name_part = "lower-bound"};
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    expect_refusal(&plan, ERROR_IO,
                   "cannot open 'lower-bound': Permission denied: that is no damage; give it the "
                   "owner and the mode that the segments have");
}

/* That says nothing of what is in it. */
Test(bound, that_cannot_be_opened_is_not_damaged)
{
    uint64_t sequence = 42;
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .reason = EMFILE, .name_part = "lower-bound"};
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    broken_calls_begin(&plan);
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_IO);
    cr_assert_eq(broken_calls_end(), 1);
}

Test(bound, finds_no_room_on_a_full_disk_without_a_ballast)
{
    struct broken_plan plan = {
        .call = BROKEN_WRITE, .number = 1, .for_ever = true, .reason = ENOSPC};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), ERROR_NO_SPACE);
    cr_assert_eq(segment_bound_restore(log_fd, 7, &error), ERROR_NO_SPACE);
    cr_assert_eq(broken_calls_end(), 2);
    cr_assert_eq(load(), 1);
}

Test(bound, of_zero_is_damage) /* else readers would begin before the first event there can be */
{
    uint64_t sequence = 42;
    cr_assert_eq(segment_bound_restore(log_fd, 0, &error), OK, "%s", error.text);
    cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "no event has the sequence 0"), "%s", error.text);
    cr_assert_eq(sequence, 42);
}

Test(bound, that_no_number_of_64_bits_can_be_is_damage)
{
    static const char *const digits[] = {"18446744073709551616", "18446744073709551623",
                                         "99999999999999999999"};
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
        uint64_t sequence = 42;
        scratch_write(scratch_path("lower-bound"), strlen("lower-bound "), digits[i], 20);
        cr_assert_eq(segment_bound_load(log_fd, &sequence, &error), ERROR_DAMAGED);
        cr_assert_eq(sequence, 42);
    }
}

static const struct broken_plan no_room_for_the_file = {.call = BROKEN_OPEN,
                                                        .number = 1,
                                                        .for_ever = true,
                                                        .reason = ENOSPC,
                                                        .name_part = "lower-bound.tmp"};

/* Whatever becomes free on a full disk others may take: the ballast itself becomes the file. */
Test(bound, finds_room_on_a_full_disk_although_others_take_what_is_given_back)
{
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), OK, "%s", error.text);
    broken_calls_begin(&no_room_for_the_file);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK, "%s", error.text);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(load(), 7);
    cr_assert_eq(access(scratch_path(BALLAST_FILE_NAME), F_OK), -1);

    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), OK, "%s", error.text);
    cr_assert_eq(segment_bound_store(log_fd, 8, &error), OK, "%s", error.text);
    cr_assert_eq(load(), 8);
}

/* Where writing over it needs room as well, giving it back may help. */
Test(bound, gives_the_ballast_back_where_that_needs_room_too)
{
    struct broken_plan plan = {
        .call = BROKEN_WRITE, .number = 1, .for_ever = true, .reason = ENOSPC};
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), OK, "%s", error.text);
    broken_calls_begin(&plan);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), ERROR_NO_SPACE);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_eq(broken_calls_end(), 3);
    cr_assert_eq(load(), 1);
    cr_assert_eq(access(scratch_path(BALLAST_FILE_NAME), F_OK), -1);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK, "%s", error.text);
}

Test(bound, needs_a_ballast_on_a_full_disk)
{
    broken_calls_begin(&no_room_for_the_file);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), ERROR_NO_SPACE);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(load(), 1);
}

static int open_without_room(int directory_fd, const char *name, int flags, mode_t mode)
{
    if (strcmp(name, "lower-bound.tmp") == 0) {
        errno = ENOSPC;
        return -1;
    }
    return file_calls_kernel.open(directory_fd, name, flags, mode);
}

static ssize_t write_without_room(int fd, const void *data, size_t size, off_t offset)
{
    (void)fd, (void)data, (void)size, (void)offset;
    errno = ENOSPC;
    return -1;
}

static int truncate_on_a_bad_device(int fd, off_t size)
{
    (void)fd, (void)size;
    errno = EIO;
    return -1;
}

static int unlink_on_a_bad_device(int directory_fd, const char *name)
{
    if (strcmp(name, BALLAST_FILE_NAME) != 0)
        return file_calls_kernel.unlink(directory_fd, name);
    errno = EIO;
    return -1;
}

Test(bound, says_what_is_wrong_with_the_ballast_on_a_full_disk)
{
    static struct file_calls calls;
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), OK, "%s", error.text);
    calls = file_calls_kernel;
    calls.open = open_without_room;
    calls.truncate = truncate_on_a_bad_device;
    file_calls_use(&calls);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, BALLAST_FILE_NAME), "%s", error.text);
    file_calls_use(NULL);
    cr_assert_eq(load(), 1);
}

Test(bound, stays_when_the_ballast_can_be_neither_used_nor_given_back)
{
    static struct file_calls calls;
    cr_assert_eq(segment_ballast_keep(log_fd, 0, &error), OK, "%s", error.text);
    calls = file_calls_kernel;
    calls.write = write_without_room;
    calls.unlink = unlink_on_a_bad_device;
    file_calls_use(&calls);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), ERROR_NO_SPACE);
    file_calls_use(NULL);
    cr_assert_eq(load(), 1);
}
