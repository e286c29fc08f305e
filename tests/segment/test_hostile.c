/*
 * Segments in which every checksum is right and one number is wrong: what a broken program, bad
 * memory or an enemy would leave. Readers, verify and the next writer must notice, each in its way.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/file.h"
#include "segment/pending.h"
#include "segment/verify.h"
#include "segment/watermark.h"
#include "tests/support/forge.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

enum { SMALL = FORMAT_SEGMENT_BYTES_MIN, PAYLOAD = 3000, EVENTS = 40, VICTIM = 5 };

static struct error error;

static const char *path(void)
{
    static char kept[512];
    if (!kept[0])
        snprintf(kept, sizeof kept, "%s", scratch_path("log"));
    return kept;
}

/* What verify says first, and how much it says. */
static char said[512];

static void note(void *context, const struct segment_verify_finding *finding)
{
    uint64_t *count = context;
    if (++*count == 1)
        snprintf(said, sizeof said, "%s", finding->text);
}

static uint64_t verify(void)
{
    struct segment_verify_totals totals;
    uint64_t count = 0;
    said[0] = '\0';
    cr_assert_eq(segment_verify_log(path(), note, NULL, &count, &totals, &error), OK, "%s",
                 error.text);
    return count;
}

static void expect_finding(const char *name, const char *text)
{
    cr_assert_gt(verify(), 0, "%s: nothing was found", name);
    cr_assert_not_null(strstr(said, text), "%s: '%s' does not say '%s'", name, said, text);
}

static void expect_no_writer(const char *name, const char *text)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_log *log;
    cr_assert_eq(segment_log_open(path(), &options, &log, NULL, &error), ERROR_DAMAGED, "%s", name);
    cr_assert_not_null(strstr(error.text, text), "%s: '%s' does not say '%s'", name, error.text,
                       text);
}

/* Nothing that was written differently comes out, sequences ascend, and it ends. */
static uint64_t read_events(uint64_t *damaged_out)
{
    struct segment_reader *reader = logs_read(path());
    struct event event;
    uint64_t last = 0, events = 0;
    enum error_code code;
    *damaged_out = 0;
    while ((code = segment_reader_next(reader, &event, &error)) != ERROR_END) {
        cr_assert(code == OK || code == ERROR_DAMAGED, "%s", error.text);
        *damaged_out += code == ERROR_DAMAGED;
        cr_assert_lt(*damaged_out, 100, "damage without an end");
        if (code)
            continue;
        cr_assert_gt(event.sequence, last);
        last = event.sequence;
        events++;
    }
    segment_reader_close(reader);
    return events;
}

static void remove_log(void)
{
    char command[1024];
    snprintf(command, sizeof command, "rm -rf '%s'", path());
    cr_assert_eq(system(command), 0);
}

/* A log of several segments, copied for each case. */
static void make_master(void)
{
    logs_make(scratch_path("master"), SMALL, EVENTS, PAYLOAD);
}

static void copy_master(void)
{
    remove_log();
    scratch_copy(scratch_path("master"), path());
}

struct edit {
    const char *name;
    bool in_body;
    unsigned at;
    enum forge_width width;
    uint64_t value;
    const char *text; /* of verify's first finding */
};

static const struct edit block_edits[] = {
    {"chain", false, 44, FORGE_32, 12345, "it does not follow the block before it"},
    {"sequence ahead", false, 32, FORGE_64, 7, "it starts with event 7 instead of 5"},
    {"sequence back", false, 32, FORGE_64, 3, "it starts with event 3 instead of 5"},
    {"log", false, 16, FORGE_64, 1, "it belongs to another log"},
    {"epoch", false, 12, FORGE_32, 0, "its writer is older than that of the block before"},
    {"arrival", false, 96, FORGE_64, 0, "its arrival time is before that of the block before"},
    {"a time before the block's", true, 8, FORGE_64, 4999999999,
     "the time of event 5 is not within"},
    {"a time after the block's", true, 8, FORGE_64, 5000000001,
     "the time of event 5 is not within"},
    {"count", false, 40, FORGE_32, 2, "0 bytes are too few for a record"},
    {"a record's reserved bytes", true, 6, FORGE_16, 1, "reserved bytes are not zero"},
    {"a record's payload", true, 0, FORGE_32, PAYLOAD - 1, "1 bytes behind the block's last event"},
    {"kind", false, 8, FORGE_8, FORMAT_BLOCK_GAP, ""},
};
enum { BLOCK_EDITS = sizeof block_edits / sizeof *block_edits };

static void edit_block(const struct edit *edit, uint64_t segment_first, uint64_t offset)
{
    struct forge forge = {path(), segment_first};
    if (edit->in_body)
        forge_body(forge, offset, edit->at, edit->width, edit->value);
    else
        forge_block(forge, offset, edit->at, edit->width, edit->value);
}

Test(hostile, verify_names_each_wrong_number_in_a_block_of_a_sealed_segment)
{
    make_master();
    struct logs_place place = logs_find(scratch_path("master"), VICTIM);
    for (size_t i = 0; i < BLOCK_EDITS; i++) {
        uint64_t damaged;
        copy_master();
        edit_block(&block_edits[i], place.segment_first, place.header.offset);
        if (block_edits[i].text[0])
            expect_finding(block_edits[i].name, block_edits[i].text);
        else
            cr_assert_gt(verify(), 0, "%s", block_edits[i].name);
        cr_assert_geq(read_events(&damaged), EVENTS - 4, "%s", block_edits[i].name);
    }
}

Test(hostile, no_writer_goes_on_behind_a_wrong_number_in_the_last_segment)
{
    make_master();
    struct logs_place place = logs_find(scratch_path("master"), EVENTS - 2);
    for (size_t i = 0; i < BLOCK_EDITS; i++) {
        const struct edit *edit = &block_edits[i];
        /* Recovery asks for what the index and readers need: valid, chained, decodable. */
        if (edit->in_body || edit->at == 40)
            continue;
        copy_master();
        edit_block(edit, place.segment_first, place.header.offset);
        expect_no_writer(edit->name, "no valid block at byte");
        cr_assert_gt(verify(), 0, "%s: verify finds nothing", edit->name);
    }
}

/*
 * The same behind the last commit, where no later block vouches for anything: what an earlier life
 * of the sectors left there has the right place, writer and time, and belongs to another history.
 */
Test(hostile, a_stale_block_behind_the_last_commit_is_no_event)
{
    static const struct edit edits[] = {{"chain", false, 44, FORGE_32, 12345, ""},
                                        {"sequence ahead", false, 32, FORGE_64, 7, ""},
                                        {"sequence back", false, 32, FORGE_64, 3, ""}};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct segment_log_options options = {.segment_bytes = SMALL};
        struct segment_recovery_report report;
        struct segment_log *log;
        uint64_t damaged;

        pid_t writer = logs_start_writer(path(), SMALL, 3, 0);
        logs_kill_writer(writer);
        struct segment_format_block_header stale = logs_write_undurable(path(), 1);
        edit_block(&edits[i], 1, stale.offset);
        cr_assert_eq(segment_log_open(path(), &options, &log, &report, &error), OK, "%s: %s",
                     edits[i].name, error.text);
        cr_assert_eq(report.offset, stale.offset, "%s", edits[i].name);
        cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL, "%s", edits[i].name);
        cr_assert_eq(segment_log_close(log, &error), OK);
        cr_assert_eq(read_events(&damaged), 3, "%s", edits[i].name);
        remove_log();
    }
}

Test(hostile, a_block_without_events_that_was_promised_is_missed_too)
{
    /* events, stop mark, events: the stop mark is a block like any other. */
    logs_make(path(), SMALL, 3, 0);
    logs_make(path(), SMALL, 6, 0);
    struct forge forge = {path(), 1};
    forge_block(forge, forge_find_kind(forge, FORMAT_BLOCK_STOP), 96, FORGE_64, 1);
    expect_finding("stop mark", "its arrival time is before that of the block before");
    expect_no_writer("stop mark", "a later block says that it was durable");
}

Test(hostile, a_block_older_than_its_segment_is_found)
{
    logs_make(path(), SMALL, 3, 0);
    struct forge forge = {path(), 1};
    forge_block(forge, forge_find(forge, 0), 12, FORGE_32, 0);
    expect_finding("epoch", "its writer is older than that of the block before");
    expect_no_writer("epoch", "no valid block at byte 4096");
}

Test(hostile, an_epoch_that_cannot_be_counted_on_is_refused)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_log *log;
    logs_make(path(), SMALL, 3, 0);
    struct forge forge = {path(), 1};
    forge_block(forge, forge_find_kind(forge, FORMAT_BLOCK_STOP), 12, FORGE_32, UINT32_MAX);
    cr_assert_eq(segment_log_open(path(), &options, &log, NULL, &error), ERROR_FULL);
    cr_assert_not_null(strstr(error.text, "opened for writing 4294967295 times"), "%s", error.text);
}

Test(hostile, verify_compares_a_footer_with_what_it_sums_up)
{
    static const struct edit edits[] = {
        {"events", true, 0, FORGE_64, 99, "the footer counts 99 events"},
        {"blocks", true, 8, FORGE_32, 99, "the footer counts"},
        {"last sequence", true, 24, FORGE_64, 99, "the footer counts"},
    };
    make_master();
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        copy_master();
        struct forge forge = {path(), 1};
        edit_block(&edits[i], 1, forge_find_kind(forge, FORMAT_BLOCK_SEAL));
        expect_finding(edits[i].name, edits[i].text);
    }
}

Test(hostile, verify_compares_a_trailer_with_its_seal)
{
    static const struct {
        const char *name;
        unsigned at;
        enum forge_width width;
    } edits[] = {
        {"offset", 8, FORGE_64}, {"checksum", 16, FORGE_32}, {"last sequence", 24, FORGE_64}};
    make_master();
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        copy_master();
        forge_trailer((struct forge){path(), 1}, edits[i].at, edits[i].width, 30);
        cr_assert_gt(verify(), 0, "%s", edits[i].name);
    }
}

Test(hostile, segments_that_do_not_know_each_other_are_told)
{
    static const struct {
        const char *name;
        unsigned at;
        uint64_t value;
        const char *text;
    } edits[] = {
        {"an older predecessor", 64, 0, "was written after segment 00000000000000000000.seg"},
        {"a predecessor between them", 64, 2, "00000000000000000002.seg is missing between"},
        {"another end", 72, 3, "does not end as segment"},
        {"another offset", 80, 5000, "ends at byte"},
        {"another chain", 88, 5, "does not end as segment"},
    };
    make_master();
    uint64_t second = logs_find(scratch_path("master"), EVENTS / 2).segment_first;
    cr_assert_gt(second, 1);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        copy_master();
        forge_header((struct forge){path(), second}, edits[i].at,
                     edits[i].at == 88 ? FORGE_32 : FORGE_64, edits[i].value);
        expect_finding(edits[i].name, edits[i].text);
    }
}

Test(hostile, a_newer_segment_is_called_newer_and_never_damaged)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_log *log;
    struct segment_reader *reader;
    logs_make(path(), SMALL, 3, 0);
    forge_header((struct forge){path(), 1}, 12, FORGE_32, FORMAT_VERSION + 1);
    cr_assert_eq(segment_log_open(path(), &options, &log, NULL, &error), ERROR_VERSION);
    cr_assert_not_null(strstr(error.text, "was written by a newer Daybook"), "%s", error.text);
    cr_assert_eq(segment_reader_open(path(), &reader, &error), ERROR_VERSION);
}

Test(hostile, a_newer_block_stops_readers_and_writers)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_log *log;
    struct event event;
    logs_make(path(), SMALL, 3, 0);
    struct logs_place place = logs_find(path(), 2);
    forge_block((struct forge){path(), 1}, place.header.offset, 8, FORGE_8, 99);
    cr_assert_eq(segment_log_open(path(), &options, &log, NULL, &error), ERROR_VERSION);
    cr_assert_not_null(strstr(error.text, "was written by a newer Daybook"), "%s", error.text);
    struct segment_reader *reader = logs_read(path());
    enum error_code code;
    while ((code = segment_reader_next(reader, &event, &error)) == OK)
        continue;
    cr_assert(code == ERROR_VERSION || code == ERROR_END, "%s", error.text);
    segment_reader_close(reader);
}

Test(hostile, a_gap_that_begins_elsewhere_is_damage)
{
    pid_t writer = logs_start_writer(path(), SMALL, 3, 0);
    logs_kill_writer(writer);
    struct segment_format_block_header torn = logs_write_undurable(path(), 2);
    scratch_fill(logs_segment_path(path(), 1), torn.offset + FORMAT_BLOCK_HEADER_BYTES,
                 torn.stored_bytes, 0);
    logs_make(path(), SMALL, 8, 0); /* recovers: a gap from 4 to 5, then more */
    struct forge forge = {path(), 0};
    struct segment_reader *reader = logs_read(path());
    struct segment_reader_block block;
    while (segment_reader_next_block(reader, &block, &error) == OK)
        if (block.header.kind == FORMAT_BLOCK_GAP)
            forge.segment_first = block.segment_first;
    segment_reader_close(reader);
    cr_assert_neq(forge.segment_first, 0);
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_GAP), 0, FORGE_64, 1);
    cr_assert_gt(verify(), 0);
    expect_no_writer("gap", "no valid block at byte");
}

/* ---- The last sequence ---- */

static enum error_code append_to(struct segment_pending *pending, uint64_t *sequence_out)
{
    enum segment_log_outcome outcome;
    struct event event = {.time_ns = EVENT_TIME_NONE,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = "\xc0",
                          .payload_bytes = 1};
    return segment_pending_append(pending, &event, &outcome, sequence_out, &error);
}

Test(hostile, no_sequence_is_given_beyond_the_last)
{
    struct segment_producers *producers;
    struct segment_pending *pending;
    uint64_t sequence = 0;
    cr_assert_eq(segment_producers_create(&producers, NULL), OK);
    struct segment_pending_start start = {.bytes_max = 1 << 20,
                                          .block_bytes_max = 1 << 18,
                                          .sequence_next = EVENT_SEQUENCE_END - 1,
                                          .producers = producers};
    cr_assert_eq(segment_pending_create(&start, &pending, &error), OK, "%s", error.text);
    cr_assert_eq(append_to(pending, &sequence), OK);
    cr_assert_eq(sequence, EVENT_SEQUENCE_END - 1);
    cr_assert_eq(append_to(pending, &sequence), ERROR_FULL);
    cr_assert_str_eq(error.text, "the log has given its last sequence; start a new directory");
    segment_pending_free(pending);
    segment_producers_free(producers);
}

Test(hostile, a_watermark_beyond_every_event_says_nothing)
{
    static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "a log";
    struct segment_watermark_state state;
    struct segment_watermark *page;
    int log_fd = -1;
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK);
    cr_assert_eq(segment_watermark_create(log_fd, log_id, 1, &page, &error), OK, "%s", error.text);
    segment_watermark_publish(page, EVENT_SEQUENCE_END);
    segment_watermark_set_written(page, UINT64_MAX);
    cr_assert_eq(segment_watermark_sequence(page), 0);
    cr_assert(segment_watermark_read(page, &state));
    cr_assert_eq(state.sequence_durable, 0);
    cr_assert_eq(state.sequence_written, 0);
    segment_watermark_close(page);
    file_close(&log_fd);
}
