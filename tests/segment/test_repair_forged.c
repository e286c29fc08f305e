/*
 * Repairs of logs in which every checksum is right and a number is wrong, and of damage in
 * combinations that tests/segment/repairs_damages.c does not have.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/bound.h"
#include "tests/segment/repairs.h"
#include "tests/support/forge.h"
#include "tests/support/scratch.h"

/* Repairs, and then nothing is found, all that could be read is still there, and a writer goes on.
 */
static struct repairs_told expect_repaired(const char *name)
{
    struct repairs_told told;
    struct repairs_content before = repairs_read_all(repairs_path);
    cr_assert_gt(repairs_verify(repairs_path).count, 0, "%s: verify finds nothing", name);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s: %s", name,
                 repairs_error.text);
    cr_assert_gt(told.totals.actions, 0, "%s", name);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    for (int i = 1; i < EVENTS_MAX; i++)
        cr_assert(before.digests[i] == 0 || before.digests[i] == after.digests[i],
                  "%s: event %d was there and is not", name, i);
    struct segment_log *log = NULL;
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s: %s", name,
                 repairs_error.text);
    logs_close(log);
    return told;
}

static struct forge forge_nth(unsigned n)
{
    return (struct forge){repairs_path, repairs_nth(n)};
}

struct number {
    const char *name;
    unsigned at;
    enum forge_width width;
    uint64_t value;
};

Test(repair_forged, headers_that_tell_something_else_of_the_segment_before)
{
    static const struct number numbers[] = {
        {"no predecessor", 64, FORGE_64, 0}, {"an older one", 64, FORGE_64, 1},
        {"one between", 64, FORGE_64, 30},   {"an earlier end", 72, FORGE_64, 3},
        {"another place", 80, FORGE_64, 9},  {"another chain", 88, FORGE_32, 5},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        repairs_prepare_sound();
        forge_header(forge_nth(2), numbers[i].at, numbers[i].width, numbers[i].value);
        expect_repaired(numbers[i].name);
    }
}

Test(repair_forged, blocks_that_do_not_belong_where_they_stand)
{
    static const struct number numbers[] = {
        {"chain", 44, FORGE_32, 5},
        {"sequence back", 32, FORGE_64, 2},
        {"epoch", 12, FORGE_32, 0},
        {"arrival", 96, FORGE_64, 0},
        {"count", 40, FORGE_32, 2},
        {"kind", 8, FORGE_8, FORMAT_BLOCK_GAP},
        {"kind without events", 8, FORGE_8, FORMAT_BLOCK_SEAL},
    };
    for (unsigned segment = 0; segment < 2; segment++)
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            repairs_prepare_sound();
            uint64_t victim = segment ? LAST - 2 : repairs_nth(1) + 3;
            struct logs_place place = logs_find(repairs_path, victim);
            forge_block((struct forge){repairs_path, place.segment_first}, place.header.offset,
                        numbers[i].at, numbers[i].width, numbers[i].value);
            expect_repaired(numbers[i].name);
        }
}

Test(repair_forged, records_outside_of_the_times_of_their_block)
{
    static const struct number numbers[] = {{"before", 8, FORGE_64, 0},
                                            {"behind", 8, FORGE_64, INT64_MAX / 2},
                                            {"reserved", 6, FORGE_16, 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        repairs_prepare_sound();
        struct logs_place place = logs_find(repairs_path, repairs_nth(1) + 3);
        forge_body((struct forge){repairs_path, place.segment_first}, place.header.offset,
                   numbers[i].at, numbers[i].width, numbers[i].value);
        expect_repaired(numbers[i].name);
    }
}

Test(repair_forged, footers_and_trailers_that_sum_up_something_else)
{
    static const struct number seals[] = {
        {"events", 0, FORGE_64, 99}, {"blocks", 8, FORGE_32, 99}, {"last", 24, FORGE_64, 99}};
    static const struct number trailers[] = {
        {"offset", 8, FORGE_64, 5000}, {"checksum", 16, FORGE_32, 5}, {"last", 24, FORGE_64, 99}};
    for (size_t i = 0; i < 3; i++) {
        repairs_prepare_sound();
        struct forge forge = forge_nth(1);
        forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_SEAL), seals[i].at, seals[i].width,
                   seals[i].value);
        expect_repaired(seals[i].name);
        repairs_prepare_sound();
        forge_trailer(forge_nth(1), trailers[i].at, trailers[i].width, trailers[i].value);
        expect_repaired(trailers[i].name);
    }
}

Test(repair_forged, a_missing_segment_between_two_of_which_the_first_is_damaged)
{
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1), missing = repairs_nth(2), next = repairs_nth(3);
    struct logs_place place = logs_find(repairs_path, first + 2);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    scratch_delete(repairs_segment(missing));
    struct repairs_told told = expect_repaired("missing behind damage");
    char lost[100];
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64 " %" PRIu64 "-%" PRIu64, first + 2,
             first + 2, missing, next - 1);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
    cr_assert_eq(told.totals.events_lost, next - missing + 1);
}

Test(repair_forged, a_missing_segment_behind_one_without_its_end)
{
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1), missing = repairs_nth(2), next = repairs_nth(3);
    /* Neither seal nor trailer, and the last events gone with them. */
    struct logs_place place = logs_find(repairs_path, missing - 2);
    scratch_fill(repairs_segment(first), place.header.offset, SMALL - place.header.offset, 0x5a);
    scratch_delete(repairs_segment(missing));
    expect_repaired("missing behind a lost end");
    char lost[64];
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64, missing - 2, next - 1);
    const char *gaps = repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE);
    cr_assert_not_null(strstr(gaps, "-"), "%s", gaps);
}

Test(repair_forged, many_places_in_one_segment_are_told_by_the_first_few)
{
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1), next = repairs_nth(2);
    unsigned spoilt = 0;
    for (uint64_t sequence = first; sequence < next && spoilt < 6; sequence += 2, spoilt++) {
        struct logs_place place = logs_find(repairs_path, sequence);
        scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    }
    cr_assert_geq(spoilt, 5);
    struct repairs_told told = expect_repaired("many places");
    cr_assert_eq(told.totals.events_lost, spoilt);
}

Test(repair_forged, a_newer_segment_is_left_to_a_newer_daybook)
{
    struct repairs_told told;
    repairs_prepare_sound();
    forge_header(forge_nth(1), 12, FORGE_32, FORMAT_VERSION + 1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION);
    cr_assert_not_null(
        strstr(repairs_error.text, "was written by a newer Daybook; repair with that"), "%s",
        repairs_error.text);
}

/* ---- What the index knows ---- */

static enum error_code run_with(const uint8_t *log_id, uint64_t bound,
                                struct segment_repair_totals *totals)
{
    struct repairs_told told = {0};
    struct segment_repair_options options = {.accept_loss = true,
                                             .log_id = log_id,
                                             .witness_bound = bound,
                                             .tell = repairs_tell,
                                             .context = &told};
    return segment_repair_run(repairs_path, &options, totals, &repairs_error);
}

Test(repair_forged, an_identity_that_only_the_index_knows_saves_the_blocks)
{
    struct segment_repair_totals totals;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    repairs_prepare_sound();
    scratch_read(repairs_segment(1), 16, log_id, sizeof log_id);
    for (uint64_t first = 1; first <= LAST; first++)
        if (access(repairs_segment(first), F_OK) == 0)
            scratch_fill(repairs_segment(first), 0, 4096, 0x11);
    scratch_delete(scratch_path("log/watermark"));
    cr_assert_eq(run_with(log_id, 0, &totals), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    for (int i = 1; i <= LAST; i++)
        cr_assert_neq(after.digests[i], 0, "event %d", i);
}

Test(repair_forged, a_lower_bound_that_only_the_index_knows_is_restored)
{
    struct segment_repair_totals totals;
    uint64_t bound = 0;
    int fd = -1;
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    for (uint64_t first = 1; first < third; first++)
        unlink(repairs_segment(first));
    /* Retention has deleted two segments, and its word of that is gone. */
    unlink(scratch_path("log/lower-bound"));
    cr_assert_eq(run_with(NULL, third, &totals), OK, "%s", repairs_error.text);
    cr_assert_eq(totals.events_lost, 0);
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_bound_load(fd, &bound, &repairs_error), OK);
    file_close(&fd);
    cr_assert_eq(bound, third);
    repairs_expect_sound(repairs_path);
}
