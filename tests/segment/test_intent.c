#include "segment/intent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "tests/segment/repairs.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

enum { KNOWN = FORMAT_UNDURABLE_EVENTS_MAX + 1000 };

/*
 * A repair was killed when only its note told any more how far the log had come: what was in the
 * directory was of no use, and is in quarantine.
 */
static void leave_only_a_note(void)
{
    char command[1100];
    int log_fd = -1;
    repairs_prepare_sound();
    snprintf(command, sizeof command, "rm -f '%s'/segments/* '%s'/watermark", repairs_path,
             repairs_path);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(file_open_directory(repairs_path, false, &log_fd, &repairs_error), OK);
    cr_assert_eq(segment_intent_store(log_fd, KNOWN, &repairs_error), OK);
    file_close(&log_fd);
}

static struct segment_intent load(void)
{
    struct segment_intent intent;
    int log_fd = -1;
    cr_assert_eq(file_open_directory(repairs_path, false, &log_fd, &repairs_error), OK);
    cr_assert_eq(segment_intent_load(log_fd, &intent, &repairs_error), OK, "%s",
                 repairs_error.text);
    file_close(&log_fd);
    return intent;
}

static void expect_no_sequence_given_again(void)
{
    struct segment_log *log = NULL;
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    cr_assert_geq(segment_log_appended(log), KNOWN);
    logs_close(log);
}

Test(intent, that_the_device_refuses_is_neither_believed_damaged_nor_written_over)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    leave_only_a_note();
    struct broken_plan plan = {.call = BROKEN_READ,
                               .number = 1,
                               .for_ever = true,
                               .reason = EIO,
                               .bad_file = scratch_path("log/repair")};
    broken_calls_begin(&plan);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_IO, "%s",
                 repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, "empty it, and repair with --accept-loss"), "%s",
                       repairs_error.text);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_IO);
    cr_assert_gt(broken_calls_end(), 1);
    cr_assert_eq(load().witness, KNOWN);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    expect_no_sequence_given_again();
}

Test(intent, that_is_refused_once_is_read_again)
{
    struct repairs_told told;
    leave_only_a_note();
    struct broken_plan plan = {.call = BROKEN_READ,
                               .number = 1,
                               .reason = EIO,
                               .bad_file = scratch_path("log/repair")};
    broken_calls_begin(&plan);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(broken_calls_end(), 1);
    expect_no_sequence_given_again();
}

/* All that is left here is sound, so nothing else asks. */
Test(intent, that_is_damaged_may_have_known_of_more_than_is_left)
{
    struct repairs_told told;
    int log_fd = -1;
    repairs_prepare_sound();
    cr_assert_eq(file_open_directory(repairs_path, false, &log_fd, &repairs_error), OK);
    cr_assert_eq(segment_intent_store(log_fd, KNOWN, &repairs_error), OK);
    file_close(&log_fd);
    scratch_flip(scratch_path("log/repair"), 20, 1);
    cr_assert(load().damaged);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED, "%s",
                 repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, "--accept-loss"), "%s", repairs_error.text);
    cr_assert_not_null(strstr(told.texts[0], "its note 'repair' is damaged"), "%s", told.texts[0]);
    cr_assert(load().damaged);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_not(load().there);
    repairs_expect_sound(repairs_path);
}
