#include "segment/repair_bound.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/intent.h"
#include "tests/segment/repairs.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

static struct repairs_told told;

/* The first segments, up to the one that begins with `sequence`, are gone. */
static void delete_before(uint64_t sequence)
{
    for (uint64_t first = 1; first < sequence; first++)
        unlink(repairs_segment(first));
}

static void expect_asked_and_repaired(uint64_t bound, const char *lost)
{
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED, "asks for nothing");
    cr_assert_not_null(strstr(repairs_error.text, "--accept-loss"), "%s", repairs_error.text);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_bound(bound);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
    repairs_expect_sound(repairs_path);
}

static void expect_repaired(uint64_t bound)
{
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, 0);
    repairs_expect_bound(bound);
    repairs_expect_sound(repairs_path);
}

static const char *range(uint64_t first, uint64_t end)
{
    static char text[64];
    snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64, first, end - 1);
    return text;
}

/* ---- What the index knows ---- */

Test(repair_bound, of_the_index_tells_what_is_missing_before_the_first_segment)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1), third = repairs_nth(2);
    repairs_spoil_bound(second);
    delete_before(third);
    repairs_witness_bound = second;
    expect_asked_and_repaired(second, range(second, third));
}

Test(repair_bound, of_the_index_does_not_go_back_to_what_retention_was_about_to_delete)
{
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    repairs_spoil_bound(third);
    repairs_witness_bound = third;
    expect_repaired(third);
}

Test(repair_bound, of_the_index_counts_where_no_segment_is_left)
{
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    repairs_spoil_bound(third);
    delete_before(LAST + 1);
    repairs_witness_bound = third;
    expect_asked_and_repaired(third, range(third, third + FORMAT_UNDURABLE_EVENTS_MAX));
}

Test(repair_bound, of_the_index_may_lie_where_a_segment_is_missing)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1), third = repairs_nth(2);
    repairs_spoil_bound(second);
    unlink(repairs_segment(second));
    repairs_witness_bound = second;
    expect_asked_and_repaired(second, range(second, third));
}

/* A flipped bit in the index must not make segments dead that are whole. */
Test(repair_bound, of_the_index_is_not_believed_against_the_segments)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1);
    const uint64_t forged[] = {second - 1, second + 1, repairs_last_segment() + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        repairs_prepare_sound();
        repairs_spoil_bound(1);
        repairs_witness_bound = forged[i];
        expect_repaired(1);
    }
}

Test(repair_bound, of_the_index_is_not_believed_behind_a_segment_that_does_not_say_its_end)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1), third = repairs_nth(2);
    const char *first = repairs_segment(1);
    scratch_flip(first, scratch_size(first) - FORMAT_TRAILER_BYTES, 1);
    unlink(repairs_segment(second));
    repairs_spoil_bound(1);
    repairs_witness_bound = second;
    expect_asked_and_repaired(1, range(second, third));
}

/* So does an index begin that was made while the file said nothing. */
Test(repair_bound, of_one_in_the_index_is_no_word_about_what_retention_has_deleted)
{
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    repairs_spoil_bound(third);
    delete_before(third);
    repairs_witness_bound = 1;
    expect_asked_and_repaired(third, "");
}

/* ---- What has its name ---- */

Test(repair_bound, is_told_with_its_reason_and_with_what_is_done)
{
    static const char *const said[] = {
        "'lower-bound' is damaged: it is not a sequence with a matching checksum",
        "'lower-bound' is a symbolic link, which is not followed",
        "'lower-bound' is not a regular file",
        "'lower-bound' is not a regular file",
    };
    static const char *const done[] = {
        "; repair: what can be read of it is kept in quarantine, and it is set to ",
        "; repair: a file takes its place, nothing of it can be kept, and it is set to ",
        "; repair: a file takes its place, nothing of it can be kept, and it is set to ",
        "; repair: the directory is moved into quarantine, and it is set to ",
    };
    for (int kind = 0; kind < 4; kind++) {
        struct event event;
        char text[400];
        repairs_prepare_sound();
        uint64_t third = repairs_nth(2);
        repairs_spoil_bound(third);
        delete_before(third);
        if (kind > 0)
            repairs_displace_bound((enum repairs_stranger)(kind - 1));

        struct segment_reader *reader = logs_read(repairs_path);
        cr_assert_eq(segment_reader_next(reader, &event, &repairs_error), ERROR_DAMAGED);
        snprintf(text, sizeof text,
                 "%s; reading begins with the first segment that is there, and what retention has "
                 "deleted cannot be told from what is missing",
                 said[kind]);
        cr_assert_str_eq(repairs_error.text, text);
        cr_assert_eq(segment_reader_next(reader, &event, &repairs_error), OK, "told twice: %s",
                     repairs_error.text);
        segment_reader_close(reader);

        cr_assert_eq(repairs_run(repairs_path, true, true, &told), OK, "%s", repairs_error.text);
        snprintf(text, sizeof text, "%s%s%" PRIu64 ", where the first segment begins, and nobody ",
                 said[kind], done[kind], third);
        cr_assert_eq(strncmp(told.texts[0], text, strlen(text)), 0, "%s", told.texts[0]);
        expect_asked_and_repaired(third, "");
        bool kept = access(scratch_path("log/quarantine/lower-bound"), F_OK) == 0;
        cr_assert_eq(kept, kind == 0 || kind == 3, "kind %d", kind);
    }
}

Test(repair_bound, that_is_missing_or_behind_the_index_is_told_as_that)
{
    char text[200];
    for (int i = 0; i < 2; i++) {
        repairs_prepare_sound();
        uint64_t second = repairs_nth(1), third = repairs_nth(2);
        delete_before(third);
        if (i == 1) {
            repairs_spoil_bound(second);
            scratch_flip(scratch_path("log/lower-bound"), 15, 1); /* sound again */
        }
        repairs_witness_bound = third;
        expect_repaired(third);
        if (i == 0)
            snprintf(text, sizeof text,
                     "'lower-bound' is missing, and the index has seen it at %" PRIu64
                     "; repair: it is made anew, and it is set to %" PRIu64,
                     third, third);
        else
            snprintf(text, sizeof text,
                     "'lower-bound' says %" PRIu64 ", but the index has seen it at %" PRIu64
                     "; repair: what can be read of it is kept in quarantine, and it is set to "
                     "%" PRIu64,
                     second, third, third);
        cr_assert_str_eq(told.texts[0], text);
    }
}

/* The directory is away, and the file not there yet: nothing that is there says so. */
Test(repair_bound, is_as_damaged_as_before_when_a_repair_has_come_half_way)
{
    struct broken_plan plan = {.call = BROKEN_RENAME,
                               .number = 2, /* the first goes to quarantine */
                               .reason = EIO,
                               .name_part = "lower-bound"};
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    delete_before(third);
    repairs_displace_bound(STRANGER_DIRECTORY);
    broken_calls_begin(&plan);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_IO);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_neq(access(scratch_path("log/lower-bound"), F_OK), 0);
    cr_assert_eq(repairs_run(repairs_path, true, true, &told), OK, "%s", repairs_error.text);
    cr_assert_not_null(strstr(told.texts[1], "'lower-bound' is missing: a repair has moved"), "%s",
                       told.texts[1]);
    expect_asked_and_repaired(third, "");
}

/* "Not there" would be a guess. */
Test(repair_bound, is_not_guessed_where_nobody_can_look_into_the_quarantine)
{
    int fd = -1;
    repairs_prepare_sound();
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_intent_store(fd, 0, &repairs_error), OK);
    file_close(&fd);
    cr_assert_eq(symlink("/dev/null", scratch_path("log/quarantine")), 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_FOREIGN, "%s",
                 repairs_error.text);
}

static void expect_not_replaced(void)
{
    char before[42], after[42];
    scratch_read(scratch_path("log/lower-bound"), 0, before, sizeof before);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_FOREIGN, "%s",
                 repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, "quarantine"), "%s", repairs_error.text);
    scratch_read(scratch_path("log/lower-bound"), 0, after, sizeof after);
    cr_assert_eq(memcmp(before, after, sizeof before), 0, "replaced without a copy");
}

Test(repair_bound, that_is_a_file_is_not_replaced_without_a_copy)
{
    repairs_prepare_sound();
    char quarantine[700];
    snprintf(quarantine, sizeof quarantine, "%s", scratch_path("log/quarantine"));
    repairs_spoil_bound(1);
    cr_assert_eq(mkdir(quarantine, 0700), 0);
    cr_assert_eq(chmod(quarantine, 0777), 0);
    expect_not_replaced();
    cr_assert_eq(rmdir(quarantine), 0);
    cr_assert_eq(symlink("/dev/null", quarantine), 0);
    expect_not_replaced();
    cr_assert_eq(unlink(quarantine), 0);
    expect_repaired(1);
    cr_assert_eq(access(scratch_path("log/quarantine/lower-bound"), F_OK), 0);
}

/* ---- What the device refuses, and what we may not ---- */

Test(repair_bound, that_the_device_refuses_to_open_or_to_look_at_is_restored)
{
    for (int i = 0; i < 2; i++) {
        struct segment_log *log = NULL;
        struct broken_plan plan = {.call = i ? BROKEN_STATUS : BROKEN_OPEN,
                                   .number = 1,
                                   .for_ever = true,
                                   .reason = EIO};
        repairs_prepare_sound();
        uint64_t third = repairs_nth(2);
        repairs_spoil_bound(third);
        scratch_flip(scratch_path("log/lower-bound"), 15, 1); /* sound again */
        delete_before(third);
        plan.bad_file = scratch_path("log/lower-bound");
        broken_calls_begin(&plan);
        struct repairs_content content = repairs_read_all(repairs_path);
        cr_assert_eq(content.damage, 1);
        cr_assert_neq(content.digests[third], 0);
        cr_assert_eq(repairs_verify(repairs_path).count, 1);
        cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_DAMAGED, "%s",
                     repairs_error.text);
        expect_asked_and_repaired(third, "");
        cr_assert_gt(broken_calls_end(), 0);
        cr_assert_not_null(strstr(told.texts[0], "nothing of it can be kept"), "%s", told.texts[0]);
        cr_assert_neq(access(scratch_path("log/quarantine/lower-bound"), F_OK), 0);
    }
}

Test(repair_bound, that_we_may_not_open_is_left_alone)
{
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .for_ever = true, .reason = EACCES};
    struct segment_reader *reader = NULL;
    repairs_prepare_sound();
    repairs_spoil_bound(1);
    plan.bad_file = scratch_path("log/lower-bound");
    broken_calls_begin(&plan);
    cr_assert_eq(segment_reader_open(repairs_path, &reader, &repairs_error), ERROR_IO);
    cr_assert_not_null(strstr(repairs_error.text, "Permission denied: that is no damage"), "%s",
                       repairs_error.text);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_IO);
    cr_assert_not_null(strstr(repairs_error.text, "Permission denied: that is no damage"), "%s",
                       repairs_error.text);
    cr_assert_gt(broken_calls_end(), 0);
    cr_assert_neq(access(scratch_path("log/repair"), F_OK), 0);
}
