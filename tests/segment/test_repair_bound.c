/* What a repair makes of a lower bound that says nothing. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/intent.h"
#include "segment/reader.h"
#include "tests/segment/repairs.h"
#include "tests/support/scratch.h"

static const char *bound_path(void)
{
    return scratch_path("log/lower-bound");
}

static int open_directory(void)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    return fd;
}

static void spoil(void)
{
    int fd = open_directory();
    cr_assert_eq(segment_bound_restore(fd, 1, &repairs_error), OK);
    file_close(&fd);
    scratch_flip(bound_path(), 15, 1);
}

static void expect_bound(uint64_t expected)
{
    uint64_t bound = 0;
    int fd = open_directory();
    cr_assert_eq(segment_bound_load(fd, &bound, &repairs_error), OK, "%s", repairs_error.text);
    file_close(&fd);
    cr_assert_eq(bound, expected);
}

static void delete_before(uint64_t end)
{
    for (uint64_t first = 1; first < end; first++)
        unlink(repairs_segment(first));
}

/* `bound` is what the index says. */
static struct repairs_told repair(uint64_t bound)
{
    struct repairs_told told = {0};
    struct segment_repair_options options = {
        .accept_loss = true, .witness_bound = bound, .tell = repairs_tell, .context = &told};
    cr_assert_eq(segment_repair_run(repairs_path, &options, &told.totals, &repairs_error), OK,
                 "%s", repairs_error.text);
    return told;
}

Test(repair_bound, that_says_nothing_is_what_the_index_says_and_what_is_missing_behind_it_is_lost)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1), third = repairs_nth(2);
    char lost[64];
    spoil();
    delete_before(third);
    struct repairs_told told = repair(second);
    cr_assert_eq(told.totals.events_lost, third - second);
    cr_assert_not_null(strstr(told.texts[0], "as the index has it"), "%s", told.texts[0]);
    expect_bound(second);
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64, second, third - 1);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
    repairs_expect_sound(repairs_path);
}

/* Retention has moved the bound, and came not to unlink. */
Test(repair_bound, that_says_nothing_does_not_go_back_behind_what_the_index_says)
{
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    spoil();
    cr_assert_eq(repair(third).totals.events_lost, 0);
    expect_bound(third);
    repairs_expect_sound(repairs_path);
}

Test(repair_bound, that_says_nothing_is_what_the_index_says_where_no_segment_is_left)
{
    char lost[64];
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    spoil();
    delete_before(LAST + 1);
    repair(third);
    expect_bound(third);
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64, third,
             third + FORMAT_UNDURABLE_EVENTS_MAX - 1);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
}

Test(repair_bound, is_not_what_the_index_says_behind_the_last_segment)
{
    repairs_prepare_sound();
    spoil();
    cr_assert_eq(repair(1000).totals.events_lost, 0);
    expect_bound(1);
    repairs_expect_sound(repairs_path);
}

/* The crash came between the move into quarantine and the new file. */
Test(repair_bound, that_was_a_directory_is_restored_by_the_next_repair_when_the_first_one_died)
{
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    delete_before(third);
    cr_assert_eq(mkdir(scratch_path("log/quarantine"), 0700), 0);
    cr_assert_eq(mkdir(scratch_path("log/quarantine/lower-bound"), 0700), 0);
    unlink(bound_path());
    int fd = open_directory();
    cr_assert_eq(segment_intent_store(fd, LAST, &repairs_error), OK);
    file_close(&fd);
    cr_assert_eq(repair(0).totals.events_lost, 0);
    expect_bound(third);
    repairs_expect_sound(repairs_path);
}

Test(repair_bound, stays_where_it_is_when_it_cannot_be_kept)
{
    struct repairs_told told;
    char before[42], after[42];
    repairs_prepare_sound();
    spoil();
    scratch_read(bound_path(), 0, before, sizeof before);
    cr_assert_eq(mkdir(scratch_path("elsewhere"), 0700), 0);
    cr_assert_eq(symlink(scratch_path("elsewhere"), scratch_path("log/quarantine")), 0);
    cr_assert_neq(repairs_run(repairs_path, false, true, &told), OK);
    scratch_read(bound_path(), 0, after, sizeof after);
    cr_assert_arr_eq(after, before, sizeof before);
}

/* What a reader says first, and what a repair would do. */
static void expect_texts(const char *reason, const char *action)
{
    struct segment_reader *reader = NULL;
    struct segment_reader_block block;
    struct repairs_told told;
    struct error error;
    cr_assert_eq(segment_reader_open(repairs_path, &reader, &error), OK, "%s", error.text);
    cr_assert_eq(segment_reader_next_block(reader, &block, &error), ERROR_DAMAGED);
    segment_reader_close(reader);
    cr_assert_not_null(strstr(error.text, reason), "%s", error.text);
    cr_assert_eq(repairs_run(repairs_path, true, false, &told), OK, "%s", repairs_error.text);
    cr_assert_not_null(strstr(told.texts[0], reason), "%s", told.texts[0]);
    cr_assert_not_null(strstr(told.texts[0], action), "%s", told.texts[0]);
}

Test(repair_bound, that_says_nothing_is_told_with_its_reason)
{
    repairs_prepare_sound();
    spoil();
    expect_texts("it is not a sequence with a matching checksum", "is kept in quarantine");
    unlink(bound_path());
    cr_assert_eq(symlink("/dev/null", bound_path()), 0);
    expect_texts("'lower-bound' is ", "a file takes its place");
    unlink(bound_path());
    cr_assert_eq(mkdir(bound_path(), 0700), 0);
    expect_texts("'lower-bound' is ", "is moved into quarantine");
}
