#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "indexer/retention.h"
#include "segment/bound.h"
#include "segment/cursor.h"
#include "segment/reader.h"
#include "tests/indexer/scene.h"

TestSuite(retention_hold, .init = scene_begin, .fini = scene_end);

static struct error error;
static struct indexer_retention_overrun overruns[8];
static char overrun_names[8][80];
static size_t overrun_count;

static void note_overrun(void *context, const struct indexer_retention_overrun *overrun)
{
    (void)context;
    strncpy(overrun_names[overrun_count], overrun->cursor, sizeof overrun_names[0] - 1);
    overruns[overrun_count++] = *overrun;
}

static struct indexer_retention_totals run(struct indexer_retention_options options)
{
    struct indexer_retention_totals totals;
    overrun_count = 0;
    options.overrun = note_overrun;
    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 OK, "%s", error.text);
    return totals;
}

static void write_segments(void)
{
    do {
        scene_write(400);
    } while (scene_segment_count() < 12);
}

/* Everything but the last segment should go. */
static struct indexer_retention_options all_of_it(void)
{
    return (struct indexer_retention_options){.max_bytes = 1};
}

/* The bytes from the n-th segment to the end. */
static uint64_t bytes_from(size_t n)
{
    uint64_t bytes = 0;
    for (size_t i = n; i < scene_segment_count(); i++)
        bytes += scene_segment_bytes(i);
    return bytes;
}

static void hold(const char *name, uint64_t position, uint64_t hold_bytes, uint64_t pending)
{
    struct segment_reader *reader = NULL;
    struct segment_cursor *cursor = NULL;
    int log_fd = -1;
    cr_assert_eq(segment_reader_open(scene_directory(), &reader, &error), OK);
    cr_assert_eq(file_open_directory(scene_directory(), false, &log_fd, &error), OK);
    cr_assert_eq(segment_cursor_create(log_fd, name, segment_reader_log_id(reader),
                                       pending ? CURSOR_SHARED : CURSOR_SINGLE, position, 0,
                                       &cursor, &error),
                 OK, "%s", error.text);
    struct segment_cursor_pending entry = {.sequence = pending};
    struct segment_cursor_change change = {.position = position,
                                           .hold_bytes = hold_bytes,
                                           .pending = &entry,
                                           .pending_count = pending ? 1 : 0};
    cr_assert_eq(segment_cursor_store(cursor, &change, &error), OK, "%s", error.text);
    segment_cursor_close(cursor);
    segment_reader_close(reader);
    file_close(&log_fd);
}

Test(retention_hold, keeps_the_segment_of_the_first_event_that_is_not_done_and_all_behind_it)
{
    write_segments();
    uint64_t fifth = scene_segment_first(4);
    /* One event more in the fourth, and that is kept, too. */
    hold("a", fifth - 2, UINT64_C(1) << 40, 0);
    struct indexer_retention_totals totals = run(all_of_it());
    cr_assert_eq(totals.segments_deleted, 3);
    cr_assert(strstr(totals.held, "is kept for the cursor 'a', which has done all up to"), "%s",
              totals.held);
    cr_assert_eq(overrun_count, 0);
    hold("b", fifth - 1, UINT64_C(1) << 40, 0);
    totals = run(all_of_it());
    cr_assert_eq(totals.segments_deleted, 0);
}

Test(retention_hold, of_which_nothing_is_asked_is_not_told)
{
    write_segments();
    hold("a", 0, UINT64_C(1) << 40, 0);
    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = UINT64_C(1) << 40});
    cr_assert_eq(totals.held[0], '\0');
    cr_assert_eq(totals.segments_deleted, 0);
}

Test(retention_hold, of_a_group_begins_with_its_first_pending_event)
{
    write_segments();
    uint64_t third = scene_segment_first(2), ninth = scene_segment_first(8);
    hold("group", ninth, UINT64_C(1) << 40, third);
    cr_assert_eq(run(all_of_it()).segments_deleted, 2);
    cr_assert_eq(scene_segment_first(0), third);
}

Test(retention_hold, ends_where_it_would_be_larger_than_its_cap)
{
    write_segments();
    uint64_t fourth = scene_segment_first(3);
    /* One byte less than the fourth and all behind: the fourth goes, the fifth stays. */
    hold("a", 7, bytes_from(3) - 1, 0);
    hold("none", 7, 0, 0);
    hold("done", scene_segment_first(11), bytes_from(3) - 1, 0);
    uint64_t fifth = scene_segment_first(4);
    struct indexer_retention_options dry = all_of_it();
    dry.dry_run = true;
    cr_assert_eq(run(dry).segments_deleted, 4);
    cr_assert_eq(overrun_count, 1);
    struct indexer_retention_totals totals = run(all_of_it());
    cr_assert_eq(totals.segments_deleted, 4);
    cr_assert_eq(totals.bound, fifth);
    cr_assert_eq(overrun_count, 1);
    cr_assert_str_eq(overrun_names[0], "a");
    cr_assert_eq(overruns[0].sequence_first, 8);
    cr_assert_eq(overruns[0].sequence_last, fifth - 1);
    cr_assert(strstr(totals.held, "'a'"));
    /* With one byte more it would have stayed. */
    cr_assert_lt(fourth, fifth);
    /* What is gone is told once. */
    run(all_of_it());
    cr_assert_eq(overrun_count, 0);
}

Test(retention_hold, of_exactly_its_cap_is_kept)
{
    write_segments();
    hold("a", 7, bytes_from(3), 0);
    struct indexer_retention_totals totals = run(all_of_it());
    cr_assert_eq(totals.segments_deleted, 3);
}

Test(retention_hold, counts_for_age_as_for_size)
{
    write_segments();
    hold("a", scene_segment_first(2), UINT64_C(1) << 40, 0);
    cr_assert_eq(run((struct indexer_retention_options){.max_age_ns = 1, .now_ns = INT64_MAX})
                     .segments_deleted,
                 2);
}

Test(retention_hold, that_is_damaged_is_told_and_holds_nothing)
{
    write_segments();
    hold("a", 0, UINT64_C(1) << 40, 0);
    scene_flip("cursors/a", 50);
    scene_flip("cursors/a", 4096 + 50);
    struct indexer_retention_totals totals = run(all_of_it());
    cr_assert(strstr(totals.damaged_cursor, "the cursor 'a' is damaged"));
    cr_assert_eq(scene_segment_count(), 1);
    cr_assert_eq(totals.held[0], '\0');
}
