/*
 * Repairs of logs in which every checksum is right and a number is wrong, and of damage in
 * combinations that tests/segment/repairs_damages.c does not have.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/file.h"
#include "segment/bound.h"
#include "segment/intent.h"
#include "segment/verify.h"
#include "tests/segment/repairs.h"
#include "tests/support/broken_calls.h"
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

/* Nothing says any more how far it goes but the next one, wrongly; and the events themselves. */
Test(repair_forged, a_segment_without_a_trailer_ends_no_earlier_than_its_events)
{
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    forge_header(forge_nth(2), 64, FORGE_64, first + 2);
    const char *segment = repairs_segment(first);
    scratch_flip(segment, scratch_size(segment) - FORMAT_TRAILER_BYTES, 1);
    struct repairs_told told = expect_repaired("trailer and word of the end");
    cr_assert_eq(told.totals.events_lost, 0);
}

/* The last one: no chain behind it breaks, for which the segment would be written anew anyway. */
Test(repair_forged, a_last_header_that_tells_another_end_of_the_segment_before)
{
    static const uint64_t ends[] = {9, 0};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        repairs_prepare_sound();
        forge_header((struct forge){repairs_path, repairs_last_segment()}, 80, FORGE_64, ends[i]);
        struct repairs_told told = expect_repaired("another end");
        cr_assert_eq(told.count, 1, "%s", told.texts[1]);
        cr_assert_eq(told.totals.events_lost, 0);
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

static void digest_files(char digest_out[80])
{
    char command[1200];
    snprintf(command, sizeof command, "cd '%s' && cat segments/* | sha256sum", repairs_path);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    cr_assert_not_null(fgets(digest_out, 80, pipe));
    cr_assert_eq(pclose(pipe), 0);
}

static enum error_code read_to_the_end(void)
{
    struct event event;
    struct segment_reader *reader = NULL;
    enum error_code code = segment_reader_open(repairs_path, &reader, &repairs_error);
    while (!code || code == ERROR_DAMAGED)
        code = segment_reader_next(reader, &event, &repairs_error);
    if (reader)
        segment_reader_close(reader);
    return code;
}

static void ignore_finding(void *context, const struct segment_verify_finding *finding)
{
    (void)context;
    (void)finding;
}

/*
 * Whoever comes says that it is newer, and leaves every byte where it is. Readers and writers do
 * not look as far where the header is damaged.
 */
static void expect_newer(const char *name, bool header_is_sound)
{
    static const char text[] = "written by a newer Daybook";
    struct repairs_told told;
    struct segment_verify_totals totals;
    struct segment_log *log = NULL;
    char before[80], after[80];
    digest_files(before);
    cr_assert_eq(segment_verify_log(repairs_path, ignore_finding, NULL, NULL, &totals,
                                    &repairs_error),
                 ERROR_VERSION, "%s: %s", name, repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, text), "%s: %s", name, repairs_error.text);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s: %s", name,
                 repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, text), "%s: %s", name, repairs_error.text);
    if (header_is_sound) {
        cr_assert_eq(read_to_the_end(), ERROR_VERSION, "%s: %s", name, repairs_error.text);
        cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_VERSION, "%s: %s", name,
                     repairs_error.text);
        cr_assert_not_null(strstr(repairs_error.text, text), "%s: %s", name, repairs_error.text);
    }
    digest_files(after);
    cr_assert_str_eq(before, after, "%s: the segments have changed", name);
    cr_assert_neq(access(scratch_path("log/quarantine"), F_OK), 0, "%s", name);
}

enum { TRAILER_RESERVED = 20 };

Test(repair_forged, a_newer_trailer_is_left_to_a_newer_daybook)
{
    repairs_prepare_sound();
    forge_trailer(forge_nth(1), TRAILER_RESERVED, FORGE_32, 1);
    expect_newer("in the middle", true);
    repairs_prepare_sound();
    forge_header(forge_nth(1), 12, FORGE_32, FORMAT_VERSION + 1);
    expect_newer("a header in the middle", true);
}

/* What looks like a crash between the seal and the trailer would get a trailer of ours. */
Test(repair_forged, a_newer_trailer_at_the_end_is_left_to_a_newer_daybook)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1);
    for (uint64_t first = second + 1; first <= LAST + 1; first++)
        unlink(repairs_segment(first));
    unlink(scratch_path("log/watermark"));
    forge_trailer((struct forge){repairs_path, second}, TRAILER_RESERVED, FORGE_32, 1);
    expect_newer("at the end", true);
}

Test(repair_forged, a_newer_trailer_below_a_damaged_header_is_left_to_a_newer_daybook)
{
    repairs_prepare_sound();
    struct forge forge = forge_nth(1);
    forge_trailer(forge, TRAILER_RESERVED, FORGE_32, 1);
    scratch_flip(repairs_segment(forge.segment_first), 40, 2);
    expect_newer("below a damaged header", false);
}

/* Nobody leads to it, and no block is in it: it would pass for one that does not belong here. */
Test(repair_forged, a_newer_trailer_of_a_file_without_a_block_is_left_to_a_newer_daybook)
{
    repairs_prepare_sound();
    const uint64_t first = LAST + 50;
    struct segment_format_trailer trailer = {.sequence_last = first};
    uint8_t zeros[SMALL] = {0}, *bytes = zeros + sizeof zeros - FORMAT_TRAILER_BYTES;
    struct segment_reader *reader = logs_read(repairs_path);
    uint32_t seed = segment_format_seed(segment_reader_log_id(reader), first);
    segment_reader_close(reader);
    segment_format_encode_trailer(seed, &trailer, bytes);
    bytes[TRAILER_RESERVED] = 1;
    bytes_store32(bytes + 4, checksum_extend(seed, bytes + 8, FORMAT_TRAILER_BYTES - 8));
    FILE *file = fopen(repairs_segment(first), "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(zeros, 1, sizeof zeros, file), sizeof zeros);
    cr_assert_eq(fclose(file), 0);
    struct repairs_told told;
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                 repairs_error.text);
}

/* The seal of a segment that is to be written anew for another reason. */
Test(repair_forged, a_newer_seal_is_left_to_a_newer_daybook)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        repairs_prepare_sound();
        struct forge forge = forge_nth(1);
        forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_SEAL), 72, FORGE_32, 1);
        if (damaged)
            scratch_flip(repairs_segment(forge.segment_first), 40, 2);
        struct repairs_told told;
        cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                     repairs_error.text);
        cr_assert_not_null(strstr(repairs_error.text, "fields that this Daybook does not know"),
                           "%s", repairs_error.text);
    }
}

/* A crash came between it and its trailer: it would get one of ours. */
Test(repair_forged, a_newer_seal_without_its_trailer_is_left_to_a_newer_daybook)
{
    struct segment_log *log = NULL;
    char before[80], after[80];
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1);
    for (uint64_t first = second + 1; first <= LAST + 1; first++)
        unlink(repairs_segment(first));
    unlink(scratch_path("log/watermark"));
    struct forge forge = {repairs_path, second};
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_SEAL), 72, FORGE_32, 1);
    scratch_fill(repairs_segment(second), SMALL - FORMAT_TRAILER_BYTES, FORMAT_TRAILER_BYTES, 0);
    digest_files(before);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_VERSION, "%s",
                 repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, "fields that this Daybook does not know"), "%s",
                       repairs_error.text);
    digest_files(after);
    cr_assert_str_eq(before, after, "the segments have changed");
}

Test(repair_forged, a_newer_block_behind_damage_is_left_to_a_newer_daybook)
{
    struct repairs_told told;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    struct logs_place place = logs_find(repairs_path, first + 1);
    struct logs_place later = logs_find(repairs_path, first + 3);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    forge_block_alone(forge_nth(1), later.header.offset, 8, FORGE_8, 99);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                 repairs_error.text);
}

/* Without its header nobody looks at a segment's blocks before they are to be written anew. */
Test(repair_forged, a_newer_block_behind_a_spoilt_header_is_left_to_a_newer_daybook)
{
    struct repairs_told told;
    repairs_prepare_sound();
    struct logs_place later = logs_find(repairs_path, repairs_nth(1) + 3);
    forge_block_alone(forge_nth(1), later.header.offset, 8, FORGE_8, 99);
    scratch_flip(repairs_segment(repairs_nth(1)), 20, 1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                 repairs_error.text);
}

/* To call it damage would be to write a newer log anew, without what it says. */
/* A check that is refused gives no totals: what it finds before that is told only so. */
static unsigned findings;

static void count_finding(void *context, const struct segment_verify_finding *finding)
{
    (void)context;
    (void)finding;
    findings++;
}

Test(repair_forged, a_gap_of_a_newer_cause_is_left_to_a_newer_daybook)
{
    struct repairs_told told;
    struct error error;
    struct event event;
    struct segment_verify_totals totals;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    struct logs_place place = logs_find(repairs_path, first + 2);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK);
    struct forge forge = {repairs_path, first};
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_GAP), 16, FORGE_32, 9);

    struct segment_reader *reader = logs_read(repairs_path);
    enum error_code code = OK;
    while (!code)
        code = segment_reader_next(reader, &event, &error);
    segment_reader_close(reader);
    cr_assert_eq(code, ERROR_VERSION, "%s", error.text);
    cr_assert_not_null(strstr(error.text, "a cause that this Daybook does not know"), "%s",
                       error.text);
    findings = 0;
    cr_assert_eq(segment_verify_log(repairs_path, count_finding, NULL, NULL, &totals, &error),
                 ERROR_VERSION);
    cr_assert_eq(findings, 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                 repairs_error.text);
    scratch_flip(repairs_segment(first), 20, 1); /* the header: now only the salvage sees the gap */
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                 repairs_error.text);
}

Test(repair_forged, a_newer_gap_at_the_end_keeps_an_older_writer_away)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    repairs_prepare_sound();
    repairs_witness = LAST + 20; /* a gap goes on record at the end */
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_witness = 0;
    struct forge forge = {repairs_path, LAST + 1};
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_GAP), 16, FORGE_32, 9);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_VERSION, "%s",
                 repairs_error.text);
}

Test(repair_forged, a_list_of_producers_that_makes_no_sense_costs_no_event)
{
    repairs_prepare_sound();
    struct forge forge = forge_nth(2);
    uint64_t offset = forge_find_kind(forge, FORMAT_BLOCK_PRODUCERS);
    forge_body(forge, offset, 16, FORGE_8, 255); /* the length of a name */
    struct logs_place place = logs_find(repairs_path, forge.segment_first + 3);
    scratch_flip(repairs_segment(forge.segment_first), place.header.offset + 300, 1);
    expect_repaired("producers");
}

Test(repair_forged, a_block_of_another_log_is_no_block_of_ours)
{
    struct repairs_told told;
    repairs_prepare_sound();
    uint64_t victim = repairs_nth(1) + 3;
    struct logs_place place = logs_find(repairs_path, victim);
    forge_block(forge_nth(1), place.header.offset, 16, FORGE_64, 1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, 1);
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, a_gap_that_makes_no_sense_is_put_on_record_anew)
{
    static const struct number numbers[] = {{"another beginning", 0, FORGE_64, 1},
                                            {"backwards", 8, FORGE_64, 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct repairs_told told;
        repairs_prepare_sound();
        /* A first repair leaves a gap in the middle. */
        uint64_t first = repairs_nth(1);
        struct logs_place place = logs_find(repairs_path, first + 2);
        scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
        cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK);
        struct forge forge = {repairs_path, first};
        forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_GAP), numbers[i].at, numbers[i].width,
                   numbers[i].value);
        expect_repaired(numbers[i].name);
        char lost[64];
        snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64, first + 2, first + 2);
        cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
    }
}

Test(repair_forged, a_note_that_makes_no_sense_does_not_stop_the_repair)
{
    struct repairs_told told;
    repairs_prepare_sound();
    scratch_copy(scratch_path("log/LOCK"), scratch_path("log/repair"));
    scratch_write(scratch_path("log/repair"), 0, "nonsense", 8);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, is_not_over_while_its_note_cannot_be_removed)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    struct broken_plan plan = {.call = BROKEN_UNLINK,
                               .number = 2, /* not repair.tmp */
                               .for_ever = true,
                               .reason = EACCES,
                               .name_part = "repair"};
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    struct logs_place place = logs_find(repairs_path, first + 2);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    broken_calls_begin(&plan);
    cr_assert_neq(repairs_run(repairs_path, false, true, &told), OK);
    cr_assert_gt(broken_calls_end(), 0);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_DAMAGED);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
}

/* Many segments, each of which holds one event of its own. */
static void make_many(void)
{
    repairs_prepare_sound();
    static char path[600];
    snprintf(path, sizeof path, "%s", scratch_path("many"));
    struct segment_log *log = logs_open(path, SMALL);
    logs_append_singly(log, 24, 40000);
    logs_close(log);
    repairs_path = path;
}

Test(repair_forged, a_segment_of_one_event_that_is_missing_among_many)
{
    make_many();
    uint64_t missing = logs_find(repairs_path, 12).segment_first;
    cr_assert_eq(missing, 12);
    scratch_delete(repairs_segment(missing));
    struct repairs_told told = expect_repaired("one of many");
    cr_assert_eq(told.totals.events_lost, 1);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), "12-12");
}

Test(repair_forged, the_last_segment_is_damaged_and_its_end_is_gone)
{
    repairs_prepare_sound();
    uint64_t last = repairs_last_segment();
    struct logs_place place = logs_find(repairs_path, LAST - 3);
    scratch_flip(repairs_segment(last), place.header.offset + 300, 1);
    repairs_witness = LAST + 7; /* says the index */
    struct repairs_told told = expect_repaired("damage and a lost end");
    cr_assert_eq(told.totals.events_lost, 8);
    repairs_witness = 0;
}

Test(repair_forged, the_last_segment_is_damaged_and_its_end_is_spoilt)
{
    repairs_prepare_sound();
    uint64_t last = repairs_last_segment();
    struct logs_place place = logs_find(repairs_path, LAST - 3),
                      end = logs_find(repairs_path, LAST);
    scratch_flip(repairs_segment(last), place.header.offset + 300, 1);
    uint64_t behind = end.header.offset + end.header.size_bytes;
    scratch_fill(repairs_segment(last), behind, 3000, 0xa5);
    repairs_witness = LAST + 7;
    struct repairs_told told = expect_repaired("damage and a spoilt end");
    cr_assert_eq(told.totals.events_lost, 8);
    repairs_witness = 0;
}

Test(repair_forged, a_file_of_a_size_that_no_segment_has)
{
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    scratch_flip(repairs_segment(first), 40, 2);
    scratch_write(repairs_segment(first), SMALL + 100, "more", 4);
    expect_repaired("damaged header and another size");
}

Test(repair_forged, everything_is_gone_and_the_index_has_seen_more_than_a_power_cut_costs)
{
    struct repairs_told told;
    repairs_prepare_sound();
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    repairs_witness = FORMAT_UNDURABLE_EVENTS_MAX + 1000;
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, FORMAT_UNDURABLE_EVENTS_MAX + 1000);
    struct segment_log *log = logs_open(repairs_path, SMALL);
    cr_assert_geq(segment_log_appended(log), FORMAT_UNDURABLE_EVENTS_MAX + 1000);
    logs_close(log);
    repairs_witness = 0;
}

Test(repair_forged, nothing_at_all_is_no_log)
{
    struct repairs_told told;
    repairs_prepare_sound();
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    unlink(scratch_path("log/watermark"));
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_NOT_FOUND);
    cr_assert_not_null(strstr(repairs_error.text, "there is no log: no segment"), "%s",
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

static uint64_t progress_total;

static void note_progress(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    cr_assert_leq(done, total);
    progress_total = total;
}

Test(repair_forged, tells_how_far_it_has_come)
{
    struct repairs_told told = {0};
    struct segment_repair_totals totals;
    repairs_prepare_sound();
    struct segment_repair_options options = {
        .dry_run = true, .tell = repairs_tell, .progress = note_progress, .context = &told};
    cr_assert_eq(segment_repair_run(repairs_path, &options, &totals, &repairs_error), OK);
    cr_assert_gt(progress_total, 0);
}

Test(repair_forged, a_lower_bound_of_the_index_that_the_segments_contradict_is_not_believed)
{
    struct segment_repair_totals totals;
    repairs_prepare_sound();
    cr_assert_eq(run_with(NULL, 5, &totals), OK, "%s", repairs_error.text);
    cr_assert_eq(totals.actions, 0);
    repairs_expect_sound(repairs_path);
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

Test(repair_forged, no_more_sequences_are_given_up_than_there_are)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    enum segment_log_outcome outcome;
    uint64_t sequence;
    struct event event = {.time_ns = EVENT_TIME_NONE,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = "\xc0",
                          .payload_bytes = 1};
    repairs_prepare_sound();
    scratch_delete(scratch_path("log/watermark")); /* as after a power cut: it costs sequences */
    repairs_witness = EVENT_SEQUENCE_END - 10;
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), "101-4611686018427387894");
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_POWER_LOSS),
                     "4611686018427387895-4611686018427387903");
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &repairs_error), ERROR_FULL);
    logs_close(log);
    repairs_witness = 0;
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, leads_a_reader_before_a_spoilt_gap_to_the_new_file)
{
    struct repairs_told told;
    struct event event;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    struct logs_place place = logs_find(repairs_path, first + 2);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    uint64_t gap = forge_find_kind((struct forge){repairs_path, first}, FORMAT_BLOCK_GAP);
    scratch_flip(repairs_segment(first), gap + FORMAT_BLOCK_HEADER_BYTES + 8, 1);
    struct segment_reader *reader = logs_read(repairs_path);
    cr_assert_eq(segment_reader_seek(reader, first, &repairs_error), OK);
    for (uint64_t sequence = first; sequence < first + 6; sequence++) {
        if (sequence == first + 2) {
            cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK);
            continue; /* on record as lost */
        }
        cr_assert_eq(segment_reader_next(reader, &event, &repairs_error), OK, "%s",
                     repairs_error.text);
        cr_assert_eq(event.sequence, sequence);
    }
    segment_reader_close(reader);
}

Test(repair_forged, a_header_of_another_log_under_another_name_promises_nothing)
{
    struct segment_format_segment_header header;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(2);
    scratch_read(repairs_segment(first), 0, bytes, sizeof bytes);
    cr_assert_eq(segment_format_decode_segment_header(bytes, &header, &checksum), FORMAT_VALID);
    header.log_id[3]++;
    header.sequence_first++;
    segment_format_encode_segment_header(&header, bytes, &checksum);
    scratch_write(repairs_segment(first), 0, bytes, sizeof bytes);
    struct repairs_told told = expect_repaired("another log's header");
    cr_assert_eq(told.totals.events_lost, 0);
}

Test(repair_forged, damage_before_a_gap_on_record_is_put_on_record_beside_it)
{
    struct repairs_told told;
    char lost[100];
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    struct logs_place place = logs_find(repairs_path, first + 2);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    place = logs_find(repairs_path, first + 1);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    told = expect_repaired("damage before a gap");
    cr_assert_eq(told.totals.events_lost, 1, "the other one was on record before");
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64 " %" PRIu64 "-%" PRIu64, first + 1,
             first + 1, first + 2, first + 2);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
}

Test(repair_forged, the_times_of_a_block_whose_events_are_not_in_order_are_kept)
{
    struct segment_log *log = NULL;
    struct repairs_told told;
    enum segment_log_outcome outcome;
    uint64_t sequence = 0;
    repairs_prepare_sound();
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    for (int64_t second = 9; second > 7; second--) {
        struct event event = {.time_ns = second * 1000000000,
                              .topic = "t",
                              .topic_bytes = 1,
                              .payload = "\xc0",
                              .payload_bytes = 1};
        cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &repairs_error), OK);
    }
    cr_assert_eq(segment_log_wait(log, sequence, &repairs_error), OK);
    logs_close(log);
    struct logs_place place = logs_find(repairs_path, sequence);
    cr_assert_eq(place.header.event_count, 2);
    scratch_flip(repairs_segment(place.segment_first), 40, 2); /* so all of it is written anew */
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
    place = logs_find(repairs_path, sequence);
    cr_assert_eq(place.header.time_min_ns, INT64_C(8) * 1000000000);
    cr_assert_eq(place.header.time_max_ns, INT64_C(9) * 1000000000);
}

Test(repair_forged, a_cut_file_with_a_damaged_header_asks_before_anything_is_lost)
{
    struct repairs_told told;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    scratch_flip(repairs_segment(first), 40, 2);
    scratch_cut(repairs_segment(first), scratch_size(repairs_segment(first)) / 2 + 123);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED);
    cr_assert_gt(told.totals.refused_lost, 0);
    told = expect_repaired("a cut file without its header");
    cr_assert_gt(told.totals.events_lost, 0);

    /* A length that no segment has. */
    struct logs_place place = logs_find(repairs_path, first);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    scratch_flip(repairs_segment(first), 40, 2);
    scratch_cut(repairs_segment(first), scratch_size(repairs_segment(first)) + 123);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED);
    expect_repaired("a file of an odd length without its header");
}

Test(repair_forged, a_damaged_segment_before_a_lost_end_is_written_as_far_as_it_goes)
{
    repairs_prepare_sound();
    uint64_t last = repairs_last_segment();
    struct logs_place place = logs_find(repairs_path, last - 2);
    unlink(repairs_segment(last));
    scratch_flip(repairs_segment(place.segment_first), place.header.offset + 300, 1);
    struct repairs_told told = expect_repaired("a damaged segment, and the one behind it lost");
    cr_assert_eq(told.totals.events_lost, 1 + LAST - last + 1);
}

Test(repair_forged, the_page_of_another_log_is_no_witness)
{
    uint8_t page[4096];
    struct repairs_told told;
    repairs_prepare_sound();
    logs_make(scratch_path("other"), 0, 2 * LAST, 0);
    scratch_read(scratch_path("other/watermark"), 0, page, sizeof page);
    scratch_write(scratch_path("log/watermark"), 0, page, sizeof page);
    struct logs_place place = logs_find(repairs_path, 7);
    scratch_flip(repairs_segment(place.segment_first), place.header.offset + 300, 1);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, 1);
    repairs_expect_sound(repairs_path);
}

static void spoil_all_headers(void)
{
    for (uint64_t first = 1; first <= LAST; first++)
        if (access(repairs_segment(first), F_OK) == 0)
            scratch_fill(repairs_segment(first), 0, 4096, 0);
}

Test(repair_forged, without_any_header_the_page_still_knows_the_log)
{
    repairs_prepare_sound();
    spoil_all_headers();
    struct repairs_told told = expect_repaired("no header");
    cr_assert_eq(told.totals.events_lost, 0);
}

/* Nobody knows the log; only names and sizes tell how far it may have gone. */
Test(repair_forged, without_any_header_and_page_sequences_end_where_they_must)
{
    char old[600];
    struct repairs_told told;
    struct segment_log *log = NULL;
    struct event event = {.time_ns = EVENT_TIME_NONE,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = "\xc0",
                          .payload_bytes = 1};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    repairs_prepare_sound();
    snprintf(old, sizeof old, "%s", repairs_segment(repairs_last_segment()));
    spoil_all_headers();
    scratch_delete(scratch_path("log/watermark"));
    cr_assert_eq(rename(old, repairs_segment(EVENT_SEQUENCE_END - 3)), 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &repairs_error), ERROR_FULL);
    logs_close(log);
}

/* Put a segment beside the others that claims to follow the n-th one, as far as the one before. */
static void claim(unsigned n, uint64_t first)
{
    const char *path = scratch_path("log/segments/%020" PRIu64 ".seg", first);
    scratch_copy(repairs_segment(repairs_nth(n)), path);
    struct forge forge = {repairs_path, first};
    forge_header(forge, 32, FORGE_64, first);
    forge_header(forge, 64, FORGE_64, repairs_nth(n));
    forge_header(forge, 72, FORGE_64, first - 1);
}

/* Two histories of one log in one directory: which of them is right, no checksum can tell. */
Test(repair_forged, a_header_that_claims_the_place_of_events_that_are_there_is_left_to_a_person)
{
    struct repairs_told told;
    repairs_prepare_sound();
    uint64_t inside = repairs_nth(1) + 3;
    struct repairs_content before = repairs_read_all(repairs_path);
    claim(1, inside);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_DAMAGED);
    cr_assert_not_null(strstr(repairs_error.text, "is of another history"), "%s",
                       repairs_error.text);
    scratch_delete(repairs_segment(inside));
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, "a claim inside of a segment");
}

/* Only its own word says that there were so many events. */
Test(repair_forged, a_header_that_claims_to_follow_what_is_nowhere_asks_first)
{
    struct repairs_told told;
    repairs_prepare_sound();
    claim(2, (uint64_t)1 << 61);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED);
    cr_assert_gt(told.totals.refused_lost, 0);
    cr_assert_eq(access(repairs_segment((uint64_t)1 << 61), F_OK), 0, "%s", repairs_error.text);
}

/*
 * Interrupted when the files that nobody knows were set aside: names and sizes are gone then, and
 * the note must have kept what they told.
 */
Test(repair_forged, without_any_header_and_page_an_interrupted_repair_forgets_no_sequence)
{
    enum { FAR = 10000000 };
    struct repairs_told told;
    struct segment_log *log = NULL;
    struct broken_plan full = {
        .call = BROKEN_ALLOCATE, .number = 1, .for_ever = true, .reason = ENOSPC};
    char old[600];
    repairs_prepare_sound();
    snprintf(old, sizeof old, "%s", repairs_segment(repairs_last_segment()));
    spoil_all_headers();
    scratch_delete(scratch_path("log/watermark"));
    cr_assert_eq(rename(old, repairs_segment(FAR)), 0);
    broken_calls_begin(&full);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_NO_SPACE, "%s",
                 repairs_error.text);
    cr_assert_gt(broken_calls_end(), 0);
    cr_assert_neq(access(repairs_segment(FAR), F_OK), 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    cr_assert_geq(segment_log_appended(log), FAR);
    logs_close(log);
}

/*
 * "It holds no block" is only said of a file that was looked at. Nothing but its blocks says that
 * this segment belongs here; without them it would be set aside, and its events lost.
 */
Test(repair_forged, a_segment_that_cannot_be_opened_is_not_called_empty)
{
    struct repairs_told told;
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    unsigned refused = 0;
    repairs_prepare_sound();
    uint64_t before_it = repairs_nth(1), first = repairs_nth(2), behind_it = repairs_nth(3);
    segment_format_segment_name(first, name);
    scratch_flip(repairs_segment(first), 0, 1);
    scratch_flip(repairs_segment(behind_it), 0, 1);
    scratch_fill(repairs_segment(before_it),
                 scratch_size(repairs_segment(before_it)) - FORMAT_TRAILER_BYTES,
                 FORMAT_TRAILER_BYTES, 0xff);
    scratch_copy(scratch_path("log"), scratch_path("damaged"));
    struct repairs_content before = repairs_read_all(repairs_path);
    for (unsigned i = 1;; i++) {
        struct broken_plan plan = {
            .call = BROKEN_OPEN, .number = i, .reason = EMFILE, .name_part = name};
        broken_calls_begin(&plan);
        enum error_code code = repairs_run(repairs_path, false, true, &told);
        if (broken_calls_end() == 0)
            break;
        refused += code != OK;
        struct repairs_content after = repairs_read_all(repairs_path);
        cr_assert_eq(memcmp(before.digests, after.digests, sizeof before.digests), 0, "open %u", i);
        cr_assert_eq(rename(scratch_path("log"), scratch_path("used-%u", i)), 0);
        scratch_copy(scratch_path("damaged"), scratch_path("log"));
    }
    cr_assert_gt(refused, 1);
}

Test(repair_forged, junk_between_segments_and_before_them_is_set_aside)
{
    repairs_prepare_sound();
    scratch_copy(scratch_path("log/LOCK"), repairs_segment(repairs_nth(1) + 1));
    scratch_write(repairs_segment(repairs_nth(1) + 1), 0, "junk", 4);
    struct repairs_told told = expect_repaired("junk between segments");
    cr_assert_eq(told.totals.events_lost, 0);

    uint64_t second = repairs_nth(1);
    unlink(repairs_segment(1));
    scratch_copy(scratch_path("log/LOCK"), repairs_segment(2));
    scratch_write(repairs_segment(2), 0, "junk", 4);
    told = expect_repaired("junk before the first segment");
    cr_assert_eq(told.totals.events_lost, second - 1);
}

Test(repair_forged, a_missing_segment_before_a_damaged_header_is_filled)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1), third = repairs_nth(2);
    unlink(repairs_segment(second));
    scratch_flip(repairs_segment(third), 40, 2);
    struct repairs_told told = expect_repaired("a header behind a hole");
    cr_assert_eq(told.totals.events_lost, third - second);
}

Test(repair_forged, a_spoilt_bound_where_the_first_header_is_spoilt_as_well)
{
    repairs_prepare_sound();
    repairs_spoil_bound(1);
    scratch_flip(repairs_segment(1), 40, 2);
    struct repairs_told told = expect_repaired("the bound and the first header");
    cr_assert_eq(told.totals.events_lost, 0);
}

Test(repair_forged, a_spoilt_bound_where_no_segment_is_left)
{
    struct repairs_told told;
    repairs_prepare_sound();
    repairs_spoil_bound(1);
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, a_bound_that_the_device_refuses_is_restored_and_keeps_no_reader_away)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    struct broken_plan plan = {
        .call = BROKEN_READ, .number = 1, .for_ever = true, .reason = EIO};
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    repairs_spoil_bound(third);
    scratch_flip(scratch_path("log/lower-bound"), 15, 1); /* sound again */
    for (uint64_t first = 1; first < third; first++)
        unlink(repairs_segment(first));
    plan.bad_file = scratch_path("log/lower-bound");
    broken_calls_begin(&plan);
    struct repairs_content content = repairs_read_all(repairs_path);
    cr_assert_eq(content.damage, 1);
    cr_assert_neq(content.digests[third], 0);
    cr_assert_neq(content.digests[LAST], 0);
    cr_assert_eq(repairs_verify(repairs_path).count, 1);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_DAMAGED);
    cr_assert_not_null(strstr(repairs_error.text, "'daybook verify --repair'"), "%s",
                       repairs_error.text);
    cr_assert_not_null(strstr(repairs_error.text, "Input/output error"), "%s", repairs_error.text);
    /* What nobody can read may have told of more: not without being asked. */
    cr_assert_eq(repairs_run(repairs_path, true, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.actions, 1);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_gt(broken_calls_end(), 0);
    repairs_expect_bound(third);
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, something_else_in_place_of_the_bound_makes_room_for_it)
{
    for (enum repairs_stranger stranger = 0; stranger < STRANGERS; stranger++) {
        repairs_prepare_sound();
        uint64_t third = repairs_nth(2);
        for (uint64_t first = 1; first < third; first++)
            unlink(repairs_segment(first));
        repairs_displace_bound(stranger);
        struct repairs_told told = expect_repaired("something else");
        cr_assert_eq(told.totals.events_lost, 0);
        repairs_expect_bound(third);
        cr_assert_eq(access(scratch_path("log/quarantine/lower-bound"), F_OK) == 0,
                     stranger == STRANGER_DIRECTORY);
    }
}

/* A directory of which only one small file is left was a log nevertheless. */
Test(repair_forged, a_bound_alone_is_the_rest_of_a_log_and_so_is_a_note_of_a_repair)
{
    int fd = -1;
    for (int i = 0; i < 2; i++) {
        struct repairs_told told;
        repairs_prepare_sound();
        for (uint64_t first = 1; first <= LAST; first++)
            unlink(repairs_segment(first));
        scratch_delete(scratch_path("log/watermark"));
        cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
        if (i == 0)
            cr_assert_eq(segment_bound_store(fd, 40, &repairs_error), OK);
        else
            cr_assert_eq(segment_intent_store(fd, 0, &repairs_error), OK);
        file_close(&fd);
        cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
        repairs_expect_sound(repairs_path);
        if (i == 0) {
            char command[700];
            snprintf(command, sizeof command, "rm -r '%s'", repairs_path);
            cr_assert_eq(system(command), 0);
        }
    }
}

Test(repair_forged, a_newer_block_before_a_missing_segment_is_left_to_a_newer_daybook)
{
    struct repairs_told told;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1), missing = repairs_nth(2);
    struct logs_place place = logs_find(repairs_path, first + 1);
    struct logs_place later = logs_find(repairs_path, first + 3);
    scratch_flip(repairs_segment(first), place.header.offset + 300, 1);
    forge_block_alone((struct forge){repairs_path, first}, later.header.offset, 8, FORGE_8, 99);
    scratch_delete(repairs_segment(missing));
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_VERSION, "%s",
                 repairs_error.text);
}

Test(repair_forged, a_header_that_knows_no_predecessor_behind_a_missing_segment)
{
    repairs_prepare_sound();
    uint64_t missing = repairs_nth(2), next = repairs_nth(3);
    forge_header((struct forge){repairs_path, next}, 64, FORGE_64, 0);
    scratch_delete(repairs_segment(missing));
    struct repairs_told told = expect_repaired("no predecessor, and it is missing");
    cr_assert_eq(told.totals.events_lost, next - missing);
}

Test(repair_forged, a_sound_segment_that_ends_before_the_next_one_says)
{
    char lost[64];
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1), missing = repairs_nth(2), next = repairs_nth(3);
    forge_header((struct forge){repairs_path, next}, 64, FORGE_64, first);
    scratch_delete(repairs_segment(missing));
    struct repairs_told told = expect_repaired("an end that is told otherwise");
    cr_assert_eq(told.totals.events_lost, next - missing);
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64, missing, next - 1);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
}

Test(repair_forged, where_only_junk_is_left_of_a_known_log_its_name_is_not_believed)
{
    struct repairs_told told;
    repairs_prepare_sound();
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    scratch_copy(scratch_path("log/LOCK"), repairs_segment(700000)); /* the page knows the log */
    scratch_write(repairs_segment(700000), 0, "junk", 4);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, FORMAT_UNDURABLE_EVENTS_MAX);
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, a_lower_bound_that_only_the_index_knows_counts_where_no_segment_is_left)
{
    struct segment_repair_totals totals;
    uint64_t bound = 0;
    char lost[64];
    int fd = -1;
    repairs_prepare_sound();
    uint64_t third = repairs_nth(2);
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    cr_assert_eq(run_with(NULL, third, &totals), OK, "%s", repairs_error.text);
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_bound_load(fd, &bound, &repairs_error), OK);
    file_close(&fd);
    cr_assert_eq(bound, third);
    repairs_expect_sound(repairs_path);
    snprintf(lost, sizeof lost, "%" PRIu64 "-%" PRIu64, third,
             third + FORMAT_UNDURABLE_EVENTS_MAX - 1);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), lost);
}

Test(repair_forged, a_list_of_producers_that_makes_no_sense_before_a_missing_segment)
{
    repairs_prepare_sound();
    struct forge forge = forge_nth(1);
    uint64_t missing = repairs_nth(2), next = repairs_nth(3);
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_PRODUCERS), 16, FORGE_8, 255);
    scratch_delete(repairs_segment(missing));
    struct repairs_told told = expect_repaired("producers before a hole");
    cr_assert_eq(told.totals.events_lost, next - missing);
}

Test(repair_forged, lists_of_producers_where_no_writer_puts_them_are_left_out)
{
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    struct forge forge = {repairs_path, first};
    /* In the middle: a block of events becomes one. */
    struct logs_place place = logs_find(repairs_path, first + 3);
    forge_block(forge, place.header.offset, 40, FORGE_32, 0);
    forge_block(forge, place.header.offset, 8, FORGE_8, FORMAT_BLOCK_PRODUCERS);
    struct repairs_told told = expect_repaired("producers in the middle");
    cr_assert_eq(told.totals.events_lost, 1);

    /* At the beginning, for a sequence that comes later: readers give up what is before it, too. */
    repairs_prepare_sound();
    forge_block(forge, forge_find_kind(forge, FORMAT_BLOCK_PRODUCERS), 32, FORGE_64, first + 2);
    told = expect_repaired("producers of later");
    cr_assert_eq(told.totals.events_lost, 2);
}

Test(repair_forged, ranges_of_long_numbers_are_told_as_far_as_there_is_room)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    struct logs_place places[12];
    repairs_prepare_sound();
    repairs_witness = EVENT_SEQUENCE_END / 2; /* 19 digits */
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    repairs_witness = 0;
    uint64_t first = segment_log_appended(log) + 1;
    for (uint64_t i = 0; i < 12; i++)
        repairs_append(log, 1001 + i);
    logs_close(log);
    for (uint64_t i = 0; i < 12; i++)
        places[i] = logs_find(repairs_path, first + i);
    for (uint64_t i = 0; i < 12; i++)
        if (i % 3 < 2) /* four ranges of two */
            scratch_flip(repairs_segment(places[i].segment_first), places[i].header.offset + 300,
                         1);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, 8);
    cr_assert_not_null(strstr(told.texts[0], ", …, 8 in all"), "%s", told.texts[0]);
    repairs_expect_sound(repairs_path);
}

Test(repair_forged, a_list_of_producers_that_keeps_writers_away_is_made_anew)
{
    struct segment_log *log = NULL;
    repairs_prepare_sound();
    struct forge forge = {repairs_path, repairs_last_segment()};
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_PRODUCERS), 16, FORGE_8, 255);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_DAMAGED);
    struct repairs_told told = expect_repaired("the producers of the last segment");
    cr_assert_eq(told.totals.events_lost, 0);
}
