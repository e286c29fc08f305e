#include "segment/reader.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/checksum.h"
#include "core/file.h"
#include "segment/block.h"
#include "segment/bound.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tests/support/stride.h"
#include "tests/support/broken_calls.h"
#include "tests/support/forge.h"

/* Long enough to be noticed as a hang, never waited for. */
enum { FOREVER_MS = 600000, SMALL = FORMAT_SEGMENT_BYTES_MIN };

static struct error error;

static const char *path(void)
{
    return scratch_directory();
}

/* As if the machine had been started again since the last writer: another boot id in the page. */
static void pretend_reboot(void)
{
    uint8_t constant[56];
    const char *page = scratch_path("watermark");
    scratch_read(page, 0, constant, sizeof constant);
    constant[32]++;
    bytes_store32(constant + 12, 0);
    bytes_store32(constant + 12, checksum_extend(0, constant, sizeof constant));
    scratch_write(page, 0, constant, sizeof constant);
}

static void store_bound(uint64_t sequence)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(path(), false, &fd, &error), OK, "%s", error.text);
    cr_assert_eq(segment_bound_store(fd, sequence, &error), OK, "%s", error.text);
    file_close(&fd);
}

static void delete_below(uint64_t bound)
{
    store_bound(bound);
    for (uint64_t first = 1; first < bound; first++) {
        char name[64];
        snprintf(name, sizeof name, "segments/%020" PRIu64 ".seg", first);
        unlink(scratch_path("%s", name));
    }
}

static uint64_t segment_of(uint64_t sequence)
{
    return logs_find(path(), sequence).segment_first;
}

static void seek(struct segment_reader *reader, uint64_t sequence)
{
    cr_assert_eq(segment_reader_seek(reader, sequence, &error), OK, "%s", error.text);
}

static void expect_all(uint64_t first, uint64_t last)
{
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, first, last);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

/* Plain reading. */

Test(reader, finds_no_log_in_an_empty_directory)
{
    struct segment_reader *reader = NULL;
    cr_assert_eq(segment_reader_open(path(), &reader, &error), ERROR_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "there is no log in"));
    cr_assert_eq(segment_reader_open(scratch_path("nowhere"), &reader, &error), ERROR_NOT_FOUND);
    cr_assert_null(reader);
}

Test(reader, gives_nothing_of_an_empty_log)
{
    logs_make(path(), 0, 0, 0);
    struct segment_reader *reader = logs_read(path());
    logs_expect_end(reader);
    cr_assert_eq(segment_reader_watermark(reader), 0);
    cr_assert_eq(segment_reader_bound(reader), 1);
    cr_assert_not(segment_reader_is_live(reader));
    segment_reader_close(reader);
}

Test(reader, gives_every_event_in_order_across_segments)
{
    logs_make(path(), SMALL, 200, 3000);
    cr_assert_gt(logs_find(path(), 200).segment_first, 50, "several segments");
    expect_all(1, 200);
}

Test(reader, gives_events_of_every_size)
{
    struct segment_log *log = logs_open(path(), 0);
    const size_t sizes[] = {40, 500, 4096, 70000, EVENT_PAYLOAD_BYTES_MAX, 100, 131072, 40};
    for (uint64_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        logs_append_to(log, i + 1, sizes[i]);
    logs_close(log);
    expect_all(1, sizeof sizes / sizeof *sizes);
}

Test(reader, gives_the_same_with_guarded_maps)
{
    cr_assert_eq(file_map_guard(&error), OK, "%s", error.text);
    logs_make(path(), SMALL, 100, 3000);
    expect_all(1, 100);
}

Test(reader, reads_small_blocks_and_large_ones_alike)
{
    struct segment_log *log = logs_open(path(), 1 << 20);
    logs_append_singly(log, 300, 40);
    logs_append_to(log, 5000, 200);
    logs_commit(log);
    logs_append_singly(log, 5300, 40);
    logs_close(log);
    expect_all(1, 5300);
}

/* Seeking. */

Test(reader, seeks_to_every_sequence)
{
    logs_make(path(), SMALL, 60, 4000);
    struct segment_reader *reader = logs_read(path());
    for (uint64_t sequence = 60; sequence >= 1; sequence--) {
        seek(reader, sequence);
        logs_expect_events(reader, sequence, sequence + 3 < 60 ? sequence + 3 : 60);
        cr_assert_not(segment_reader_hole(reader, &(uint64_t){0}, &(uint64_t){0}));
    }
    segment_reader_close(reader);
}

Test(reader, seeks_into_the_middle_of_a_block)
{
    struct segment_log *log = logs_open(path(), 0);
    logs_append_to(log, 1000, 100);
    logs_close(log);
    struct segment_reader *reader = logs_read(path());
    for (uint64_t sequence = 1; sequence <= 1000; sequence += 37) {
        seek(reader, sequence);
        logs_expect_event(reader, sequence);
    }
    segment_reader_close(reader);
}

/* A sealed segment with more than one entry in its directory. */
Test(reader, seeks_by_the_directory_of_a_sealed_segment)
{
    struct segment_log *log = logs_open(path(), 1 << 20);
    logs_append_singly(log, 400, 10000);
    logs_close(log);
    struct segment_reader *reader = logs_read(path());
    for (uint64_t sequence = 1; sequence <= 400; sequence += 7) {
        seek(reader, sequence);
        logs_expect_event(reader, sequence);
    }
    seek(reader, 1);
    logs_expect_events(reader, 1, 400);
    segment_reader_close(reader);
}

Test(reader, waits_for_a_sequence_that_does_not_exist_yet)
{
    struct segment_log *log = logs_open(path(), SMALL);
    logs_append_singly(log, 5, 100);
    struct segment_reader *reader = logs_read(path());
    seek(reader, 8);
    logs_expect_end(reader);
    logs_append_singly(log, 7, 100);
    logs_expect_end(reader);
    logs_append_singly(log, 60, 3000);
    logs_expect_events(reader, 8, 60);
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, positions_at_a_block_by_its_place)
{
    logs_make(path(), SMALL, 60, 4000);
    struct segment_reader *reader = logs_read(path());
    for (uint64_t sequence = 1; sequence <= 60; sequence += 3) {
        struct logs_place place = logs_find(path(), sequence);
        cr_assert_eq(segment_reader_seek_block(reader, place.segment_first, place.header.offset,
                                               sequence, &error),
                     OK, "%s", error.text);
        logs_expect_events(reader, sequence, sequence + 2 < 60 ? sequence + 2 : 60);
    }
    segment_reader_close(reader);
}

Test(reader, refuses_a_place_where_no_such_block_is)
{
    logs_make(path(), SMALL, 60, 4000);
    struct segment_reader *reader = logs_read(path());
    struct logs_place place = logs_find(path(), 7);
    uint64_t segment = place.segment_first, offset = place.header.offset;
    cr_assert_eq(segment_reader_seek_block(reader, segment, offset + 8, 7, &error), ERROR_DAMAGED);
    cr_assert_eq(segment_reader_seek_block(reader, segment, offset, 8, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "it does not start with event 8"), "%s", error.text);
    cr_assert_eq(segment_reader_seek_block(reader, segment, UINT64_MAX - 7, 7, &error),
                 ERROR_DAMAGED);
    cr_assert_eq(segment_reader_seek_block(reader, segment, 0, 7, &error), ERROR_DAMAGED);
    cr_assert_eq(segment_reader_seek_block(reader, 2, 4096, 2, &error), ERROR_NOT_FOUND);
    /* After a failure it stands where seeking for the event would put it. */
    logs_expect_events(reader, 2, 60);
    segment_reader_close(reader);
}

/* As when it looked between the sealing of a segment and the beginning of the next one. */
Test(reader, finds_what_is_in_a_segment_that_it_has_not_seen_yet)
{
    logs_make(path(), SMALL, 60, 4000);
    uint64_t first = segment_of(60);
    cr_assert(first > 1 && first < 60);
    const char *segment = logs_segment_path(path(), first), *away = scratch_path("away");
    cr_assert_eq(rename(segment, away), 0);
    struct segment_reader *reader = logs_read(path());
    cr_assert_eq(rename(away, segment), 0);
    seek(reader, 60);
    logs_expect_event(reader, 60);
    seek(reader, 3);
    logs_expect_events(reader, 3, 60);
    segment_reader_close(reader);
}

static void expect_block_of(struct segment_reader *reader, uint64_t sequence)
{
    struct segment_reader_block block;
    do
        cr_assert_eq(segment_reader_next_block(reader, &block, &error), OK, "%s", error.text);
    while (block.header.kind != FORMAT_BLOCK_EVENTS);
    cr_assert_leq(block.header.sequence_first, sequence);
    cr_assert_gt(block.header.sequence_first + block.header.event_count, sequence,
                 "event %llu was sought, and the block of event %llu opened",
                 (unsigned long long)sequence, (unsigned long long)block.header.sequence_first);
}

/* Each of 60 events against each known block: in its segment, in another, behind it, none at all. */
Test(reader, goes_near_a_known_block_and_opens_none_before_the_one_that_was_sought)
{
    logs_make(path(), SMALL, 60, 4000);
    struct segment_reader *reader = logs_read(path());
    for (uint64_t known = 1; known <= 60; known++) {
        struct logs_place place = logs_find(path(), known);
        for (uint64_t sequence = 1; sequence <= 60; sequence++) {
            segment_reader_seek_near(reader, sequence, place.segment_first, place.header.offset,
                                     place.header.sequence_first);
            expect_block_of(reader, sequence);
        }
        segment_reader_seek_near(reader, known, place.segment_first, place.header.offset + 8,
                                 place.header.sequence_first);
        expect_block_of(reader, known);
        segment_reader_seek_near(reader, known, place.segment_first, place.header.offset,
                                 place.header.sequence_first);
        logs_expect_event(reader, known);
    }
    segment_reader_close(reader);
}

/* Goes near `near` to the last event; a block that any reader stops at is the one of `avoided`. */
static void avoid(struct segment_reader *reader, uint64_t avoided, const struct logs_place *near)
{
    struct logs_place place = logs_find(path(), avoided);
    forge_block((struct forge){path(), place.segment_first}, place.header.offset, 8, FORGE_8, 99);
    segment_reader_seek_near(reader, 60, near->segment_first, near->header.offset,
                             near->header.sequence_first);
    logs_expect_event(reader, 60);
}

Test(reader, goes_near_a_known_block_without_a_look_at_those_before_it)
{
    logs_make(path(), 0, 60, 100);
    struct segment_reader *reader = logs_read(path());
    struct logs_place near = logs_find(path(), 50);
    avoid(reader, 20, &near);
    seek(reader, 60);
    cr_assert_eq(segment_reader_next(reader, &(struct event){0}, &error), ERROR_VERSION);
    segment_reader_close(reader);
}

/* From a block of the segment before it the walk would pass all that lies between them. */
Test(reader, goes_near_no_block_of_another_segment)
{
    logs_make(path(), SMALL, 60, 4000);
    struct segment_reader *reader = logs_read(path());
    struct logs_place last = logs_find(path(), 60);
    struct logs_place near = logs_find(path(), last.segment_first - 3);
    cr_assert_lt(near.segment_first, last.segment_first);
    avoid(reader, last.segment_first - 1, &near);
    segment_reader_close(reader);
}

/* A segment that was begun after the reader had looked which ones there are. */
Test(reader, goes_near_a_block_of_a_newer_segment_without_a_look_at_the_older_one)
{
    struct segment_log *log = logs_open(path(), SMALL);
    logs_append_singly(log, 8, 4000);
    struct segment_reader *reader = logs_read(path());
    logs_append_singly(log, 60, 4000);
    logs_close(log);
    struct logs_place near = logs_find(path(), 60);
    cr_assert_gt(near.segment_first, 8);
    avoid(reader, 3, &near);
    segment_reader_close(reader);
}

/* It has not seen the last segments, and retention deletes what lies before the sequence. */
Test(reader, tells_no_hole_below_a_sequence_in_a_segment_that_it_has_not_seen_yet)
{
    struct segment_log *log = logs_open(path(), SMALL);
    while (segment_log_durable(log) == 0 || segment_of(segment_log_durable(log)) == 1)
        logs_append_singly(log, segment_log_durable(log) + 1, 4000);
    uint64_t second = segment_of(segment_log_durable(log)), first = 0, last = 0;
    const char *segment = logs_segment_path(path(), second), *away = scratch_path("away");
    cr_assert_eq(rename(segment, away), 0);
    struct segment_reader *reader = logs_read(path());
    cr_assert_eq(rename(away, segment), 0);
    logs_append_singly(log, 60, 4000);
    logs_close(log);
    uint64_t bound = segment_of(60);
    cr_assert_gt(bound, second);
    seek(reader, 60);
    delete_below(bound);
    logs_expect_event(reader, 60);
    cr_assert_not(segment_reader_hole(reader, &first, &last), "%" PRIu64 " to %" PRIu64, first,
                  last);
    segment_reader_close(reader);
}

Test(reader, gives_the_whole_block_after_a_seek_into_it)
{
    struct segment_log *log = logs_open(path(), 0);
    logs_append_to(log, 100, 100);
    logs_close(log);
    struct segment_reader *reader = logs_read(path());
    struct segment_reader_block block;
    struct segment_block_cursor cursor;
    struct event event;
    seek(reader, 100);
    cr_assert_eq(segment_reader_next_block(reader, &block, &error), OK, "%s", error.text);
    cr_assert_eq(block.segment_first, 1);
    cr_assert_leq(block.header.sequence_first, 100);
    uint64_t sequence = block.header.sequence_first;
    segment_block_cursor_init(&cursor, &block.header, block.raw);
    while (segment_block_cursor_next(&cursor, &event, &error) == OK)
        cr_assert_eq(event.sequence, sequence++);
    cr_assert_eq(sequence, 101);
    segment_reader_close(reader);
}

Test(reader, gives_no_block_that_lies_wholly_before_the_sequence_sought)
{
    logs_make(path(), SMALL, 60, 3000);
    struct segment_reader *reader = logs_read(path());
    struct segment_reader_block block;
    for (uint64_t sequence = 1; sequence <= 60; sequence++) {
        seek(reader, sequence);
        cr_assert_eq(segment_reader_next_block(reader, &block, &error), OK, "%s", error.text);
        cr_assert_eq(block.header.sequence_first, sequence);
    }
    segment_reader_close(reader);
}

/* Times: event n has the time n seconds. */
Test(reader, skips_by_time_without_missing_an_event)
{
    const int64_t second = 1000000000;
    logs_make(path(), 1 << 20, 400, 10000);
    struct segment_reader *reader = logs_read(path());
    const uint64_t ranges[][2] = {{1, 400}, {100, 110}, {395, 400}, {1, 1}, {250, 250}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        uint64_t first = ranges[i][0], last = ranges[i][1], given = 0, seen = 0;
        struct event event;
        seek(reader, 1);
        segment_reader_hint_times(reader, (int64_t)first * second, (int64_t)last * second);
        while (segment_reader_next(reader, &event, &error) == OK) {
            given++;
            seen += event.sequence >= first && event.sequence <= last;
        }
        cr_assert_eq(seen, last - first + 1);
        cr_assert_eq(given, seen, "each block has one event, so the others can be skipped");
    }
    segment_reader_hint_times(reader, 401 * second, INT64_MAX);
    seek(reader, 1);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

/* What may be seen. */

Test(reader, hides_what_is_not_known_to_be_durable_after_a_writer_was_killed)
{
    logs_kill_writer(logs_start_writer(path(), 0, 5, 100));
    logs_write_undurable(path(), 3);
    expect_all(1, 5);
    /* With nobody to say what was durable, and no reboot, it is the blocks themselves that do. */
    pretend_reboot();
    expect_all(1, 8);
}

Test(reader, shows_all_valid_blocks_when_there_is_no_page)
{
    logs_kill_writer(logs_start_writer(path(), 0, 5, 100));
    logs_write_undurable(path(), 3);
    scratch_delete(scratch_path("watermark"));
    expect_all(1, 8);
}

Test(reader, hides_what_a_live_writer_has_not_committed)
{
    struct segment_log *log = logs_open(path(), 0);
    logs_append_singly(log, 3, 100);
    struct segment_reader *reader = logs_read(path());
    cr_assert(segment_reader_is_live(reader));
    logs_expect_events(reader, 1, 3);
    logs_append_to(log, 6, 100);
    logs_expect_end(reader);
    logs_commit(log);
    cr_assert_eq(segment_reader_watermark(reader), 6);
    logs_expect_events(reader, 4, 6);
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, reads_a_live_log_whose_page_was_deleted_as_far_as_its_blocks_promise)
{
    struct segment_log *log = logs_open(path(), 0);
    logs_append_singly(log, 10, 100);
    scratch_delete(scratch_path("watermark"));
    struct segment_reader *reader = logs_read(path());
    uint64_t limit = segment_reader_watermark(reader);
    cr_assert_geq(limit, 9);
    cr_assert_leq(limit, 10);
    logs_expect_events(reader, 1, limit);
    logs_expect_end(reader);
    segment_reader_close(reader);
    logs_close(log);
}

/* The reader's bytes must be looked at again when more becomes durable behind them. */
Test(reader, follows_a_writer_in_the_same_process_event_by_event)
{
    struct segment_log *log = logs_open(path(), SMALL);
    struct segment_reader *reader = logs_read(path());
    for (uint64_t sequence = 1; sequence <= 300; sequence++) {
        logs_expect_end(reader);
        logs_append_singly(log, sequence, 1000);
        segment_reader_wait(reader, FOREVER_MS);
        logs_expect_event(reader, sequence);
    }
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, follows_a_writer_in_another_process)
{
    logs_make(path(), SMALL, 1, 1000);
    struct segment_reader *reader = logs_read(path());
    logs_expect_event(reader, 1);
    cr_assert_not(segment_reader_is_live(reader));
    pid_t child = scratch_fork();
    if (child == 0) {
        logs_make(path(), SMALL, 500, 1000);
        _exit(0);
    }
    for (uint64_t sequence = 2; sequence <= 500; sequence++) {
        struct event event;
        enum error_code code;
        while ((code = segment_reader_next(reader, &event, &error)) == ERROR_END)
            segment_reader_wait(reader, FOREVER_MS);
        cr_assert_eq(code, OK, "%s", error.text);
        cr_assert_eq(event.sequence, sequence);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
    logs_expect_end(reader);
    cr_assert_not(segment_reader_is_live(reader));
    segment_reader_close(reader);
}

Test(reader, notices_that_a_writer_has_died_and_that_another_has_come)
{
    pid_t writer = logs_start_writer(path(), 0, 5, 100);
    struct segment_reader *reader = logs_read(path());
    cr_assert(segment_reader_is_live(reader));
    logs_expect_events(reader, 1, 5);
    logs_kill_writer(writer);
    while (segment_reader_is_live(reader))
        segment_reader_wait(reader, 10);
    logs_expect_end(reader);

    /* The next writer goes on behind an explicit gap or none: its numbers are its own. */
    struct segment_log *log = logs_open(path(), 0);
    cr_assert(segment_reader_is_live(reader));
    uint64_t next = segment_log_appended(log) + 1;
    logs_append_singly(log, next, 100);
    segment_reader_wait(reader, FOREVER_MS);
    logs_expect_event(reader, next);
    segment_reader_close(reader);
    logs_close(log);
}

/* Only by waiting: then nobody knows any more what was durable but the disk. */
Test(reader, sees_more_when_the_writer_died_and_its_page_is_gone)
{
    pid_t writer = logs_start_writer(path(), 0, 5, 100);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 5);
    logs_kill_writer(writer);
    logs_write_undurable(path(), 1);
    scratch_delete(scratch_path("watermark"));
    struct event event;
    while (segment_reader_next(reader, &event, &error) == ERROR_END)
        segment_reader_wait(reader, FOREVER_MS);
    cr_assert_eq(event.sequence, 6);
    segment_reader_close(reader);
}

Test(reader, does_not_wait_for_what_is_there)
{
    logs_make(path(), 0, 3, 100);
    struct segment_reader *reader = logs_read(path());
    segment_reader_wait(reader, FOREVER_MS);
    logs_expect_event(reader, 1);
    segment_reader_wait(reader, FOREVER_MS);
    logs_expect_events(reader, 2, 3);
    segment_reader_wait(reader, 1);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, reports_gaps_as_blocks_and_steps_over_them_as_events)
{
    logs_kill_writer(logs_start_writer(path(), 0, 5, 100));
    struct segment_format_block_header header = logs_write_undurable(path(), 3);
    /* Its sequences were named, and then it was damaged: they are never given again. */
    scratch_flip(logs_segment_path(path(), 1), header.offset + FORMAT_BLOCK_HEADER_BYTES + 9, 1);
    struct segment_log *log = logs_open(path(), 0);
    uint64_t next = segment_log_appended(log) + 1;
    logs_append_singly(log, next, 100);
    logs_close(log);
    cr_assert_eq(next, 9);

    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 5);
    logs_expect_event(reader, next);
    logs_expect_end(reader);

    struct segment_reader_block block;
    bool gap_seen = false;
    seek(reader, 1);
    while (segment_reader_next_block(reader, &block, &error) == OK) {
        struct segment_format_gap gap;
        if (block.header.kind != FORMAT_BLOCK_GAP)
            continue;
        gap_seen = true;
        cr_assert_eq(segment_format_decode_gap(block.raw, block.header.raw_bytes, &gap, &error),
                     OK);
        cr_assert_eq(gap.sequence_first, 6);
        cr_assert_eq(gap.sequence_last, next - 1);
    }
    cr_assert(gap_seen);
    segment_reader_close(reader);
}

/* Damage: told once, and everything else is given. */

struct damage_case {
    const char *name;
    void (*damage)(const char *segment, const struct segment_format_block_header *header);
    const char *text;
};

static void damage_magic(const char *segment, const struct segment_format_block_header *header)
{
    scratch_flip(segment, header->offset, 1u << 3);
}

static void damage_length(const char *segment, const struct segment_format_block_header *header)
{
    scratch_flip(segment, header->offset + 49, 1u << 0);
}

static void damage_body(const char *segment, const struct segment_format_block_header *header)
{
    scratch_flip(segment, header->offset + FORMAT_BLOCK_HEADER_BYTES + 40, 1u << 7);
}

static void damage_table(const char *segment, const struct segment_format_block_header *header)
{
    scratch_flip(segment, header->offset + FORMAT_BLOCK_HEADER_BYTES + header->stored_bytes + 1,
                 1u << 7);
}

static void damage_all(const char *segment, const struct segment_format_block_header *header)
{
    scratch_fill(segment, header->offset, header->size_bytes, 0);
}

static void damage_garbage(const char *segment, const struct segment_format_block_header *header)
{
    scratch_fill(segment, header->offset, header->size_bytes, 0xa5);
}

static const struct damage_case damage_cases[] = {
    {"magic", damage_magic, "its header is damaged"},
    {"length", damage_length, "its header is damaged"},
    {"body", damage_body, "checksum mismatch in the"},
    {"table", damage_table, "checksum mismatch in the table"},
    {"zeros", damage_all, "there are only zeros"},
    {"garbage", damage_garbage, "its header is damaged"},
};

static void expect_all_but(uint64_t lost, uint64_t last, uint64_t segment, uint64_t offset,
                           const char *reason)
{
    char text[200];
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, lost - 1);
    snprintf(text, sizeof text, "segment %020" PRIu64 ".seg: block at byte %" PRIu64 ": %s",
             segment, offset, reason);
    logs_expect_damage(reader, text);
    snprintf(text, sizeof text, "event %" PRIu64 " cannot be read", lost);
    seek(reader, lost);
    logs_expect_damage(reader, text);
    logs_expect_events(reader, lost + 1, last);
    logs_expect_end(reader);
    /* Who does not ask for it is not troubled. */
    seek(reader, lost + 1);
    logs_expect_events(reader, lost + 1, last);
    segment_reader_close(reader);
}

static void damage_in_every_way(uint64_t lost, uint64_t last)
{
    struct logs_place place = logs_find(path(), lost);
    const char *segment = logs_segment_path(path(), place.segment_first);
    char *healthy = malloc(place.header.size_bytes);
    scratch_read(segment, place.header.offset, healthy, place.header.size_bytes);
    for (size_t i = 0; i < sizeof damage_cases / sizeof *damage_cases; i++) {
        damage_cases[i].damage(segment, &place.header);
        expect_all_but(lost, last, place.segment_first, place.header.offset, damage_cases[i].text);
        scratch_write(segment, place.header.offset, healthy, place.header.size_bytes);
    }
    expect_all(1, last);
    free(healthy);
}

Test(reader, tells_damage_once_in_a_sealed_segment_and_gives_all_other_events)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = logs_find(path(), 60 / 2).segment_first;
    damage_in_every_way(second, 60);
    damage_in_every_way(second + 3, 60);
    damage_in_every_way(second - 1, 60);
}

Test(reader, tells_damage_once_in_the_last_segment_and_gives_all_other_events)
{
    logs_make(path(), 0, 30, 100);
    damage_in_every_way(15, 30);
    damage_in_every_way(29, 30);
}

/* A sanitizer makes each search ten times as dear: there every eighth place must do. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { NEXT_STEP = 8 };
#else
enum { NEXT_STEP = 1 };
#endif

/* Wherever the next header lies, also across the pieces in which the search reads. */
Test(reader, finds_the_next_block_behind_damage_of_any_length)
{
    logs_make(path(), 0, 200, 100);
    const char *segment = logs_segment_path(path(), 1);
    uint64_t size = scratch_size(segment);
    void *healthy = malloc(size);
    scratch_read(segment, 0, healthy, size);
    cr_assert_eq(segment_of(200), 1);
    struct segment_format_block_header headers[201];
    for (uint64_t sequence = 1; sequence <= 200; sequence++)
        headers[sequence] = logs_find(path(), sequence).header;
    for (uint64_t first = 1; first <= 13; first += 2) {
        for (uint64_t next = first + 40; next <= 200; next += stride(NEXT_STEP)) {
            char text[100];
            scratch_fill(segment, headers[first].offset,
                         headers[next].offset - headers[first].offset, 0);
            struct segment_reader *reader = logs_read(path());
            snprintf(text, sizeof text, "events %" PRIu64 " to %" PRIu64 " cannot", first,
                     next - 1);
            logs_expect_events(reader, 1, first - 1);
            logs_expect_damage(reader, text);
            logs_expect_event(reader, next);
            segment_reader_close(reader);
        }
        scratch_write(segment, 0, healthy, size);
    }
    free(healthy);
}

Test(reader, tells_damage_in_the_segment_of_a_live_writer)
{
    struct segment_log *log = logs_open(path(), 0);
    logs_append_singly(log, 10, 100);
    struct logs_place place = logs_find(path(), 10);
    scratch_flip(logs_segment_path(path(), 1), place.header.offset + 20, 1);

    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 9);
    logs_expect_damage(reader, "event 10 cannot be read");
    logs_expect_end(reader);
    /* Found again behind the damage as soon as there is something. */
    logs_append_singly(log, 12, 100);
    logs_expect_events(reader, 11, 12);
    logs_expect_end(reader);
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, tells_a_tail_that_the_page_has_seen_and_that_is_gone)
{
    logs_kill_writer(logs_start_writer(path(), 0, 10, 100));
    struct logs_place place = logs_find(path(), 9);
    scratch_fill(logs_segment_path(path(), 1), place.header.offset, 8192, 0);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 8);
    logs_expect_damage(reader, "events 9 to 10 cannot be read");
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, reads_the_blocks_of_a_segment_whose_header_is_damaged)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30), last = logs_find(path(), 60).segment_first;
    const uint64_t segments[] = {1, second, last};
    for (size_t i = 0; i < 3; i++) {
        scratch_flip(logs_segment_path(path(), segments[i]), 17, 1);
        struct segment_reader *reader = logs_read(path());
        logs_expect_events(reader, 1, segments[i] - 1);
        logs_expect_damage(reader, "its header is damaged; no event is lost by it");
        logs_expect_events(reader, segments[i], 60);
        logs_expect_end(reader);
        segment_reader_close(reader);
        scratch_flip(logs_segment_path(path(), segments[i]), 17, 1);
    }
}

Test(reader, tells_that_the_seal_is_missing)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30);
    struct logs_place before = logs_find(path(), second - 1);
    const char *segment = logs_segment_path(path(), before.segment_first);
    uint64_t end = before.header.offset + before.header.size_bytes;
    scratch_fill(segment, end, scratch_size(segment) - end, 0);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, second - 1);
    logs_expect_damage(reader, "there are only zeros; no event is lost by it");
    logs_expect_events(reader, second, 60);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, tells_a_segment_that_was_cut_short)
{
    cr_assert_eq(file_map_guard(&error), OK);
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30);
    uint64_t third = second;
    while (logs_find(path(), third).segment_first == second)
        third++;
    struct logs_place place = logs_find(path(), second + 2);
    scratch_cut(logs_segment_path(path(), second), place.header.offset + 50);
    struct segment_reader *reader = logs_read(path());
    char text[100];
    snprintf(text, sizeof text, "events %" PRIu64 " to %" PRIu64 " cannot be read", second + 2,
             third - 1);
    logs_expect_events(reader, 1, second + 1);
    logs_expect_damage(reader, text);
    logs_expect_events(reader, third, 60);
    segment_reader_close(reader);
}

Test(reader, survives_a_segment_that_is_cut_while_it_is_mapped)
{
    cr_assert_eq(file_map_guard(&error), OK);
    struct segment_log *log = logs_open(path(), 0);
    logs_append_singly(log, 20, 1000);
    logs_append_to(log, 2000, 1000);
    logs_close(log);
    struct segment_reader *reader = logs_read(path());
    logs_expect_event(reader, 1);
    scratch_cut(logs_segment_path(path(), 1), 8192);
    struct event event;
    enum error_code code;
    uint64_t given = 1, lost = 0;
    while ((code = segment_reader_next(reader, &event, &error)) != ERROR_END) {
        cr_assert(code == OK || code == ERROR_DAMAGED, "%s", error.text);
        if (code) {
            lost++;
            cr_assert_not_null(strstr(error.text, "cannot be read"), "%s", error.text);
            continue;
        }
        cr_assert(event.sequence == given + 1 || lost > 0);
        given = event.sequence;
    }
    cr_assert_gt(lost, 0);
    cr_assert_eq(given, 2000, "the segments behind are whole");
    segment_reader_close(reader);
}

Test(reader, tells_a_segment_that_is_missing)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30), first = second - 1;
    first = logs_find(path(), first).segment_first;
    scratch_delete(logs_segment_path(path(), first));
    struct segment_reader *reader = logs_read(path());
    char text[100];
    snprintf(text, sizeof text, "events %" PRIu64 " to %" PRIu64 " cannot be read", first,
             second - 1);
    logs_expect_events(reader, 1, first - 1);
    logs_expect_damage(reader, text);
    logs_expect_events(reader, second, 60);
    cr_assert_not(segment_reader_hole(reader, &(uint64_t){0}, &(uint64_t){0}));
    segment_reader_close(reader);
}

Test(reader, tells_a_segment_of_another_log_and_goes_on_behind_it)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30);
    uint64_t first = logs_find(path(), second - 1).segment_first;
    struct segment_format_segment_header header;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    scratch_read(logs_segment_path(path(), first), 0, bytes, sizeof bytes);
    cr_assert_eq(segment_format_decode_segment_header(bytes, &header, &checksum), FORMAT_VALID);
    header.log_id[3]++;
    segment_format_encode_segment_header(&header, bytes, &checksum);
    scratch_write(logs_segment_path(path(), first), 0, bytes, sizeof bytes);

    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, first - 1);
    logs_expect_damage(reader, "belongs to another log");
    logs_expect_events(reader, second, 60);
    segment_reader_close(reader);
}

/* Each block of another file is valid, but not here. */
Test(reader, does_not_take_a_block_from_another_segment)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30);
    struct logs_place foreign = logs_find(path(), 1), place = logs_find(path(), second);
    uint8_t *block = malloc(foreign.header.size_bytes);
    scratch_read(logs_segment_path(path(), 1), foreign.header.offset, block,
                 foreign.header.size_bytes);
    scratch_write(logs_segment_path(path(), second), place.header.offset, block,
                  foreign.header.size_bytes);
    free(block);
    expect_all_but(second, 60, second, place.header.offset, "its header is damaged");
}

/* Valid here, but of another history of this very segment: only the chain tells. */
Test(reader, tells_a_block_that_does_not_follow_the_one_before_it)
{
    logs_make(path(), 0, 20, 100);
    struct logs_place place = logs_find(path(), 10);
    struct segment_format_segment_header segment;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    scratch_read(logs_segment_path(path(), 1), 0, bytes, sizeof bytes);
    cr_assert_eq(segment_format_decode_segment_header(bytes, &segment, &checksum), FORMAT_VALID);
    place.header.chain++;
    segment_format_encode_block_header(segment_format_seed(segment.log_id, 1), &place.header,
                                       bytes);
    scratch_write(logs_segment_path(path(), 1), place.header.offset, bytes,
                  FORMAT_BLOCK_HEADER_BYTES);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 9);
    logs_expect_damage(reader, "it does not follow the block before it; no event is lost by it");
    logs_expect_event(reader, 10);
    logs_expect_damage(reader, "it does not follow the block before it; no event is lost by it");
    logs_expect_events(reader, 11, 20);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

/* Retention. */

Test(reader, starts_at_the_first_event_that_is_left)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t bound = segment_of(40);
    delete_below(bound);
    struct segment_reader *reader = logs_read(path());
    cr_assert_eq(segment_reader_bound(reader), bound);
    logs_expect_events(reader, bound, 60);
    cr_assert_not(segment_reader_hole(reader, &(uint64_t){0}, &(uint64_t){0}),
                  "nothing was asked for that is gone");
    segment_reader_close(reader);
}

Test(reader, tells_the_hole_that_retention_made_while_it_read)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t bound = segment_of(40);
    uint64_t second = 1;
    while (logs_find(path(), second).segment_first == 1)
        second++;
    struct segment_reader *reader = logs_read(path());
    uint64_t first = 0, last = 0;
    logs_expect_events(reader, 1, 3);
    delete_below(bound);
    /* The segment that is open stays readable. */
    logs_expect_events(reader, 4, second - 1);
    cr_assert_not(segment_reader_hole(reader, &first, &last));
    logs_expect_event(reader, bound);
    cr_assert(segment_reader_hole(reader, &first, &last));
    cr_assert_eq(first, second);
    cr_assert_eq(last, bound - 1);
    cr_assert_not(segment_reader_hole(reader, &first, &last), "told once");
    logs_expect_events(reader, bound + 1, 60);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, tells_the_hole_below_a_sequence_that_was_asked_for)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t bound = segment_of(40), first = 0, last = 0;
    delete_below(bound);
    struct segment_reader *reader = logs_read(path());
    seek(reader, 5);
    logs_expect_event(reader, bound);
    cr_assert(segment_reader_hole(reader, &first, &last));
    cr_assert_eq(first, 5);
    cr_assert_eq(last, bound - 1);
    segment_reader_close(reader);
}

Test(reader, finds_the_place_from_the_index_gone_after_retention)
{
    logs_make(path(), SMALL, 60, 3000);
    struct logs_place place = logs_find(path(), 20);
    struct segment_reader *reader = logs_read(path());
    delete_below(segment_of(40));
    cr_assert_eq(segment_reader_seek_block(reader, place.segment_first, place.header.offset,
                                           place.header.sequence_first, &error),
                 ERROR_NOT_FOUND);
    segment_reader_close(reader);
}

Test(reader, reads_beside_retention_and_a_writer_with_explicit_holes_only)
{
    logs_make(path(), SMALL, 1, 3000);
    struct segment_reader *reader = logs_read(path());
    pid_t child = scratch_fork();
    if (child == 0) {
        segment_reader_close(reader);
        struct segment_log *log = logs_open(path(), SMALL);
        for (uint64_t sequence = 2; sequence <= 1500; sequence++) {
            logs_append_singly(log, sequence, 3000);
            if (sequence % 50 == 0)
                delete_below(logs_find(path(), sequence - 20).segment_first);
        }
        logs_close(log);
        _exit(0);
    }
    uint64_t expected = 1, holes = 0;
    while (expected <= 1500) {
        struct event event;
        uint64_t first = 0, last = 0;
        enum error_code code = segment_reader_next(reader, &event, &error);
        if (code == ERROR_END) {
            segment_reader_wait(reader, FOREVER_MS);
            continue;
        }
        cr_assert_eq(code, OK, "%s", error.text);
        if (segment_reader_hole(reader, &first, &last)) {
            cr_assert_eq(first, expected);
            expected = last + 1;
            holes++;
        }
        cr_assert_eq(event.sequence, expected);
        expected++;
        /* Fall behind, until segments that were not read yet have been deleted. */
        while (expected % 300 == 0 && expected < 1300 &&
               segment_reader_bound(reader) <= expected + 50)
            usleep(1000);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_gt(holes, 0);
    segment_reader_close(reader);
}

Test(reader, goes_back_to_a_place_that_it_has_left_far_behind)
{
    enum { EVENTS = 1400 }; /* the last segment has about 7 MiB of them */
    struct segment_log *log = logs_open(path(), 0);
    for (uint64_t last = 100; last <= EVENTS; last += 100) {
        logs_append_to(log, last, 10000);
        logs_commit(log);
    }
    logs_close(log);
    uint64_t first = segment_of(EVENTS);
    cr_assert_lt(first, EVENTS - 600);
    struct logs_place place = logs_find(path(), first);
    struct segment_reader *reader = logs_read(path());
    seek(reader, first);
    for (int again = 0; again < 2; again++) {
        logs_expect_events(reader, first, EVENTS);
        cr_assert_eq(segment_reader_seek_block(reader, place.segment_first, place.header.offset,
                                               place.header.sequence_first, &error),
                     OK, "%s", error.text);
    }
    logs_expect_event(reader, first);
    segment_reader_close(reader);
}

static void set_page(uint64_t sequence)
{
    uint8_t bytes[8];
    bytes_store64(bytes, sequence);
    scratch_write(scratch_path("watermark"), 64, bytes, sizeof bytes);
}

Test(reader, waits_before_a_gap_that_the_page_has_not_passed)
{
    logs_kill_writer(logs_start_writer(path(), 0, 5, 100));
    struct segment_format_block_header header = logs_write_undurable(path(), 3);
    scratch_flip(logs_segment_path(path(), 1), header.offset + FORMAT_BLOCK_HEADER_BYTES + 9, 1);
    struct segment_log *log = logs_open(path(), 0);
    logs_append_singly(log, 9, 100); /* behind a gap from 6 to 8 */
    set_page(7);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 5);
    logs_expect_end(reader);
    set_page(9);
    logs_expect_event(reader, 9);
    logs_expect_end(reader);
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, waits_before_a_block_that_the_page_has_not_passed)
{
    struct segment_log *log = logs_open(path(), 0);
    logs_append_singly(log, 5, 100);
    logs_append_to(log, 8, 100);
    logs_commit(log);
    cr_assert_eq(logs_find(path(), 8).header.event_count, 3);
    set_page(7);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 5);
    logs_expect_end(reader);
    set_page(8);
    logs_expect_events(reader, 6, 8);
    logs_expect_end(reader);
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, tells_a_spoilt_end_of_a_segment_as_far_as_the_page_goes_and_then_the_rest)
{
    char text[100];
    struct segment_log *log = logs_open(path(), SMALL);
    logs_append_singly(log, 40, 3000);
    uint64_t second = 1;
    while (segment_of(second) == 1)
        second++;
    uint64_t offset = logs_find(path(), second - 3).header.offset;
    scratch_fill(logs_segment_path(path(), 1), offset, SMALL - FORMAT_TRAILER_BYTES - offset, 0xa5);
    set_page(second - 2);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, second - 4);
    snprintf(text, sizeof text, "events %" PRIu64 " to %" PRIu64 " cannot", second - 3, second - 2);
    logs_expect_damage(reader, text);
    logs_expect_end(reader);
    set_page(40);
    snprintf(text, sizeof text, "event %" PRIu64 " cannot be read", second - 1);
    logs_expect_damage(reader, text);
    logs_expect_events(reader, second, 40);
    logs_expect_end(reader);
    segment_reader_close(reader);
    logs_close(log);
}

Test(reader, goes_on_with_a_segment_whose_header_is_damaged_while_it_reads)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30);
    cr_assert_neq(second, 1);
    struct segment_reader *reader = logs_read(path());
    logs_expect_event(reader, 1);
    scratch_flip(logs_segment_path(path(), second), 17, 1);
    logs_expect_events(reader, 2, 60);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, does_not_tell_more_than_was_asked_for_when_the_bound_comes_into_a_lost_segment)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = 1, third;
    char text[100];
    while (segment_of(second) == 1)
        second++;
    for (third = second; segment_of(third) == second;)
        third++;
    cr_assert_gt(third - second, 5);
    scratch_delete(logs_segment_path(path(), second));
    struct segment_reader *reader = logs_read(path());
    seek(reader, third - 2);
    store_bound(second + 2);
    snprintf(text, sizeof text, "events %" PRIu64 " to %" PRIu64 " cannot be read", third - 2,
             third - 1);
    logs_expect_damage(reader, text);
    logs_expect_events(reader, third, 60);
    segment_reader_close(reader);
}

Test(reader, does_not_believe_the_trailer_of_a_segment_of_another_log)
{
    char foreign[1024];
    logs_make(path(), SMALL, 60, 3000);
    logs_make(scratch_path("other"), SMALL, 60, 3000);
    uint64_t second = 1;
    while (segment_of(second) == 1)
        second++;
    snprintf(foreign, sizeof foreign, "%s", logs_segment_path(scratch_path("other"), second));
    cr_assert_eq(rename(foreign, logs_segment_path(path(), second)), 0);
    struct segment_reader *reader = logs_read(path());
    segment_reader_hint_times(reader, INT64_C(50) * 1000000000, INT64_MAX);
    logs_expect_damage(reader, "belongs to another log");
    logs_expect_events(reader, 50, 60);
    segment_reader_close(reader);
}

Test(reader, tells_that_everything_behind_the_open_segment_is_gone)
{
    logs_make(path(), SMALL, 60, 3000);
    char text[100];
    uint64_t second = 1;
    while (segment_of(second) == 1)
        second++;
    struct segment_reader *reader = logs_read(path());
    logs_expect_event(reader, 1);
    for (uint64_t first = 1; first <= 60; first++)
        unlink(logs_segment_path(path(), first));
    logs_expect_events(reader, 2, second - 1);
    snprintf(text, sizeof text, "the log ends before its watermark; events %" PRIu64 " to 60",
             second);
    logs_expect_damage(reader, text);
    logs_expect_end(reader);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, passes_over_a_block_behind_damage_that_repeats_what_came_before)
{
    logs_make(path(), 0, 20, 100);
    struct logs_place bad = logs_find(path(), 10), again = logs_find(path(), 11);
    forge_block_alone((struct forge){path(), 1}, again.header.offset, 32, FORGE_64, 2);
    scratch_flip(logs_segment_path(path(), 1), bad.header.offset + 4, 1);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 9);
    logs_expect_damage(reader, "events 10 to 11 cannot be read");
    logs_expect_events(reader, 12, 20);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, goes_forward_when_a_trailer_names_an_end_that_lies_behind)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = 1;
    while (segment_of(second) == 1) /* before its trailer lies */
        second++;
    struct forge forge = {path(), 1};
    uint64_t seal = forge_find_kind(forge, FORMAT_BLOCK_SEAL);
    forge_trailer(forge, 24, FORGE_64, 2);
    scratch_flip(logs_segment_path(path(), 1), seal + 4, 1);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, second - 1);
    logs_expect_damage(reader, "no event is lost by it");
    logs_expect_events(reader, second, 60);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(reader, waits_its_time_where_it_cannot_look)
{
    struct broken_plan plan = {.call = BROKEN_LOCK, .number = 1, .for_ever = true, .reason = EIO};
    logs_make(path(), 0, 3, 20);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 3);
    broken_calls_begin(&plan);
    segment_reader_wait(reader, 1);
    struct event event;
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_IO, "and then it says why");
    cr_assert_gt(broken_calls_end(), 1);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

enum { MANY = 24000, MANY_BYTES = 300 };

/* msgpack bin 16: half noise, so that it compresses to half, of which no two are alike. */
static void make_half_noise(uint64_t sequence, uint8_t bytes_out[MANY_BYTES])
{
    uint64_t noise = sequence * UINT64_C(0x9e3779b97f4a7c15);
    memset(bytes_out, 'x', MANY_BYTES);
    bytes_out[0] = 0xc5;
    bytes_out[1] = (MANY_BYTES - 3) >> 8;
    bytes_out[2] = (MANY_BYTES - 3) & 0xff;
    for (size_t i = 3; i < MANY_BYTES / 2; i++) {
        noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes_out[i] = (uint8_t)(noise >> 56);
    }
}

/* Enough in large blocks that they are opened ahead (segment/ahead.h). */
static void make_many(void)
{
    struct segment_log *log = logs_open(path(), UINT64_C(64) << 20);
    for (uint64_t sequence = 1; sequence <= MANY; sequence++) {
        uint8_t payload[MANY_BYTES];
        make_half_noise(sequence, payload);
        struct event event = {.topic = "t",
                              .topic_bytes = 1,
                              .time_ns = (int64_t)sequence * 1000000000,
                              .payload = payload,
                              .payload_bytes = sizeof payload};
        uint64_t given;
        enum segment_log_outcome outcome;
        enum error_code code;
        while ((code = segment_log_append(log, &event, &outcome, &given, &error)) == ERROR_BUSY)
            segment_log_wait_room(log);
        cr_assert_eq(code, OK, "%s", error.text);
    }
    logs_close(log);
}

static void expect_many(struct segment_reader *reader, uint64_t first, uint64_t last)
{
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        struct event event;
        uint8_t payload[MANY_BYTES];
        make_half_noise(sequence, payload);
        cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
        cr_assert_eq(event.sequence, sequence);
        cr_assert_eq(event.payload_bytes, sizeof payload);
        cr_assert_arr_eq(event.payload, payload, sizeof payload);
    }
}

Test(reader, gives_much_in_large_blocks_the_same_as_little)
{
    make_many();
    struct segment_reader *reader = logs_read(path());
    segment_reader_read_ahead(reader);
    expect_many(reader, 1, MANY);
    logs_expect_end(reader);
    /* Somewhere else while a helper is at work. */
    for (uint64_t from = MANY; from > 1000; from -= 1000) {
        seek(reader, from / 3);
        expect_many(reader, from / 3, from);
    }
    segment_reader_close(reader);
}

Test(reader, tells_damage_far_within_large_blocks_once_and_gives_all_other_events)
{
    make_many();
    struct logs_place place = logs_find(path(), MANY / 3 * 2);
    const struct segment_format_block_header *header = &place.header;
    uint64_t at = header->offset + header->size_bytes / 2;
    const char *segment = logs_segment_path(path(), place.segment_first);
    uint8_t byte;
    scratch_read(segment, at, &byte, 1);
    byte ^= 16;
    scratch_write(segment, at, &byte, 1);

    struct segment_reader *reader = logs_read(path());
    segment_reader_read_ahead(reader);
    uint64_t last = header->sequence_first + header->event_count - 1;
    expect_many(reader, 1, header->sequence_first - 1);
    logs_expect_damage(reader, "checksum mismatch");
    expect_many(reader, last + 1, MANY);
    logs_expect_end(reader);
    segment_reader_close(reader);
}
