#include "tests/segment/repairs.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/intent.h"
#include "tests/support/scratch.h"

/* The damages. Each leaves in repairs_lost what is irretrievable, as repairs_gaps_text gives it. */
char repairs_lost[512];

__attribute__((format(printf, 1, 2))) static void loses(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(repairs_lost, sizeof repairs_lost, format, arguments);
    va_end(arguments);
}

static void spoil_block(uint64_t sequence, uint64_t offset)
{
    struct logs_place place = logs_find(repairs_path, sequence);
    scratch_flip(repairs_segment(place.segment_first), place.header.offset + offset, 0x10);
}

static void body_in_the_middle(void)
{
    spoil_block(repairs_nth(2) + 3, 500);
    loses("%" PRIu64 "-%" PRIu64, repairs_nth(2) + 3, repairs_nth(2) + 3);
}

static void header_of_a_block(void)
{
    uint64_t sequence = repairs_nth(1) + 2;
    spoil_block(sequence, 20);
    loses("%" PRIu64 "-%" PRIu64, sequence, sequence);
}

static void three_blocks_and_a_run(void)
{
    uint64_t first = repairs_nth(1) + 4;
    struct logs_place from = logs_find(repairs_path, first),
                      to = logs_find(repairs_path, first + 3);
    spoil_block(2, 300);
    spoil_block(5, 20);
    spoil_block(LAST - 3, 400);
    scratch_fill(repairs_segment(from.segment_first), from.header.offset,
                 to.header.offset - from.header.offset, 0x5a);
    loses("2-2 5-5 %" PRIu64 "-%" PRIu64 " %d-%d", first, first + 2, LAST - 3, LAST - 3);
}

static void segment_header(void)
{
    scratch_fill(repairs_segment(repairs_nth(2)), 0, 200, 0x33);
    loses("%s", "");
}

static void first_header(void)
{
    scratch_fill(repairs_segment(1), 0, 4096, 0);
    loses("%s", "");
}

static void header_of_the_last(void)
{
    scratch_flip(repairs_segment(repairs_last_segment()), 40, 2);
    loses("%s", "");
}

static void two_headers_in_a_row(void)
{
    uint64_t first = repairs_nth(2), second = repairs_nth(3);
    scratch_flip(repairs_segment(first), 40, 2);
    scratch_flip(repairs_segment(second), 80, 2);
    loses("%s", "");
}

static void header_and_block(void)
{
    uint64_t first = repairs_nth(2);
    spoil_block(first, 200);
    scratch_flip(repairs_segment(first), 40, 2);
    loses("%" PRIu64 "-%" PRIu64, first, first);
}

static void producers_at_a_beginning(void)
{
    /* The first block behind the header. */
    scratch_flip(repairs_segment(repairs_last_segment()), 4096 + 110, 2);
    loses("%s", "");
}

static void trailer(void)
{
    uint64_t first = repairs_nth(1);
    scratch_fill(repairs_segment(first), scratch_size(repairs_segment(first)) - 64, 64, 0x77);
    loses("%s", "");
}

static void trailer_zeroed(void)
{
    uint64_t first = repairs_nth(1);
    scratch_fill(repairs_segment(first), scratch_size(repairs_segment(first)) - 64, 64, 0);
    loses("%s", "");
}

static void seal(void)
{
    uint64_t first = repairs_nth(1);
    uint8_t bytes[8];
    uint64_t offset;
    scratch_read(repairs_segment(first), scratch_size(repairs_segment(first)) - 56, bytes,
                 sizeof bytes);
    offset = bytes_load64(bytes);
    scratch_flip(repairs_segment(first), offset + 120, 1);
    loses("%s", "");
}

static void behind_the_seal(void)
{
    uint64_t first = repairs_nth(1);
    scratch_fill(repairs_segment(first), scratch_size(repairs_segment(first)) - 70, 1, 1);
    loses("%s", "");
}

static void everything_of_a_segment(void)
{
    uint64_t first = repairs_nth(2), next = repairs_nth(3);
    scratch_fill(repairs_segment(first), 0, SMALL, 0xee);
    loses("%" PRIu64 "-%" PRIu64, first, next - 1);
}

static void file_cut(void)
{
    uint64_t first = repairs_nth(2), next = repairs_nth(3);
    struct logs_place place = logs_find(repairs_path, first + 5);
    scratch_cut(repairs_segment(first), place.header.offset + 50);
    loses("%" PRIu64 "-%" PRIu64, first + 5, next - 1);
}

static void file_cut_to_nothing(void)
{
    uint64_t first = repairs_nth(2), next = repairs_nth(3);
    scratch_cut(repairs_segment(first), 0);
    loses("%" PRIu64 "-%" PRIu64, first, next - 1);
}

static void file_extended(void)
{
    uint64_t first = repairs_nth(2);
    scratch_write(repairs_segment(first), SMALL + 100, "more", 4);
    loses("%s", "");
}

static void missing_in_the_middle(void)
{
    uint64_t first = repairs_nth(2), next = repairs_nth(3);
    scratch_delete(repairs_segment(first));
    loses("%" PRIu64 "-%" PRIu64, first, next - 1);
}

static void two_missing_in_a_row(void)
{
    uint64_t first = repairs_nth(2), second = repairs_nth(3), next = repairs_nth(4);
    scratch_delete(repairs_segment(first));
    scratch_delete(repairs_segment(second));
    loses("%" PRIu64 "-%" PRIu64, first, next - 1);
}

static void missing_beside_damage(void)
{
    uint64_t before = repairs_nth(1), first = repairs_nth(2), next = repairs_nth(3);
    scratch_flip(repairs_segment(before), 40, 2);
    scratch_flip(repairs_segment(next), 40, 2);
    scratch_delete(repairs_segment(first));
    /* Neither neighbour's header can be read: only the names tell what is missing. */
    loses("%" PRIu64 "-%" PRIu64, first, next - 1);
}

static void missing_at_the_front(void)
{
    uint64_t first = repairs_nth(1);
    scratch_delete(repairs_segment(1));
    loses("1-%" PRIu64, first - 1);
}

static void missing_at_the_end(void)
{
    uint64_t first = repairs_last_segment();
    scratch_delete(repairs_segment(first));
    loses("%" PRIu64 "-%d", first, LAST);
}

static void all_missing(void)
{
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    loses("1-%d", FORMAT_UNDURABLE_EVENTS_MAX);
}

static void replaced_by_a_stranger(void)
{
    uint64_t first = repairs_nth(2), next = repairs_nth(3);
    const char *path = repairs_path;
    repairs_make(scratch_path("other"));
    cr_assert_eq(repairs_nth(2), first, "both logs have the same segments");
    char name[1024];
    snprintf(name, sizeof name, "%s", repairs_segment(first));
    repairs_path = path;
    cr_assert_eq(rename(name, repairs_segment(first)), 0);
    loses("%" PRIu64 "-%" PRIu64, first, next - 1);
}

static void stranger_behind_the_end(void)
{
    const char *path = repairs_path;
    repairs_make(scratch_path("other"));
    char name[1024];
    snprintf(name, sizeof name, "%s", repairs_segment(repairs_last_segment()));
    repairs_path = path;
    /* Under a name of its own it would be a segment that nothing leads to. */
    cr_assert_eq(rename(name, repairs_segment(LAST + 1)), 0);
    loses("%s", "");
}

static void store_bound(uint64_t bound)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_bound_restore(fd, bound, &repairs_error), OK, "%s", repairs_error.text);
    file_close(&fd);
}

static void lower_bound(void)
{
    store_bound(1);
    scratch_flip(scratch_path("log/lower-bound"), 15, 1);
    loses("%s", "");
}

static void lower_bound_after_retention(void)
{
    uint64_t third = repairs_nth(2);
    store_bound(third);
    for (uint64_t first = 1; first < third; first++)
        unlink(repairs_segment(first));
    scratch_flip(scratch_path("log/lower-bound"), 15, 1);
    loses("%s", "");
}

static void directory_for_a_bound(void)
{
    uint64_t third = repairs_nth(2);
    for (uint64_t first = 1; first < third; first++)
        unlink(repairs_segment(first));
    cr_assert_eq(mkdir(scratch_path("log/lower-bound"), 0700), 0);
    loses("%s", "");
}

static void lost_tail(void)
{
    /* Two blocks and the stop mark vanish: as if they had never been written. */
    struct logs_place place = logs_find(repairs_path, LAST - 1);
    const char *name = repairs_segment(place.segment_first);
    scratch_fill(name, place.header.offset, scratch_size(name) - place.header.offset, 0);
    loses("%d-%d", LAST - 1, LAST);
}

static void spoilt_tail(void)
{
    struct logs_place place = logs_find(repairs_path, LAST - 1);
    const char *name = repairs_segment(place.segment_first);
    scratch_fill(name, place.header.offset, scratch_size(name) - place.header.offset - 64, 0xa5);
    loses("%d-%d", LAST - 1, LAST);
}

/* As a crash leaves it, but the page has seen it durable. */
static void torn_tail(void)
{
    struct logs_place place = logs_find(repairs_path, LAST);
    const char *name = repairs_segment(place.segment_first);
    uint64_t from = (place.header.offset / 512 + 2) * 512;
    scratch_fill(name, from, scratch_size(name) - from, 0);
    loses("%d-%d", LAST, LAST);
}

static void only_the_index_knows(void)
{
    repairs_witness = LAST + 20;
    loses("%d-%d", LAST + 1, LAST + 20);
}

static void junk_under_a_segments_name(void)
{
    scratch_copy(scratch_path("log/LOCK"), repairs_segment(70000));
    scratch_write(repairs_segment(70000), 0, "junk", 4);
    loses("%s", "");
}

static void empty_file_at_the_end(void)
{
    /* The last segment was sealed, say the others, and this stands where the next begins. */
    uint64_t first = repairs_last_segment();
    scratch_cut(repairs_segment(first), 0);
    loses("%" PRIu64 "-%" PRIu64 " %" PRIu64 "-%d", first, first, first + 1, LAST);
}

static void unfinished_repair(void)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_intent_store(fd, LAST, &repairs_error), OK, "%s", repairs_error.text);
    file_close(&fd);
    loses("%s", "");
}

static void page_of_zeros(void)
{
    spoil_block(7, 300);
    scratch_fill(scratch_path("log/watermark"), 0, 4096, 0);
    loses("7-7");
}

const struct repairs_damage repairs_damages[] = {
    {"a block's body in the middle", body_in_the_middle, UNREFUSED},
    {"a block's header", header_of_a_block, UNREFUSED},
    {"blocks in several segments", three_blocks_and_a_run, 0},
    {"a segment's header", segment_header, 0},
    {"the first segment's header", first_header, 0},
    {"the last segment's header", header_of_the_last, 0},
    {"two headers in a row", two_headers_in_a_row, 0},
    {"a header and the first block", header_and_block, 0},
    {"the producers at the beginning of the last", producers_at_a_beginning, UNREAD},
    {"a trailer", trailer, UNREAD},
    {"a trailer that is zero", trailer_zeroed, UNREAD},
    {"a seal", seal, UNREAD | UNREFUSED},
    {"a byte behind the seal", behind_the_seal, UNREAD | UNREFUSED},
    {"everything of a segment", everything_of_a_segment, 0},
    {"a file that was cut", file_cut, ASKS},
    {"a file that was cut to nothing", file_cut_to_nothing, ASKS},
    {"a file that grew", file_extended, UNREAD},
    {"a segment missing in the middle", missing_in_the_middle, ASKS},
    {"two segments missing in a row", two_missing_in_a_row, ASKS},
    {"a segment missing between two damaged headers", missing_beside_damage, ASKS},
    {"the first segment missing", missing_at_the_front, ASKS},
    {"the last segment missing", missing_at_the_end, ASKS},
    {"all segments missing", all_missing, ASKS | UNREAD | EMPTIES},
    {"a segment of another log in the place of ours", replaced_by_a_stranger, ASKS},
    {"a segment of another log behind the end", stranger_behind_the_end, UNREAD},
    {"the lower bound", lower_bound, UNREAD},
    {"the lower bound after retention", lower_bound_after_retention, ASKS | UNREAD},
    {"the end, which is gone", lost_tail, ASKS},
    {"the end, which is spoilt", spoilt_tail, 0},
    {"the end, as only the index knows", only_the_index_knows, ASKS | UNREAD | UNVERIFIED},
    {"junk under a segment's name", junk_under_a_segments_name, UNREAD},
    {"the last file cut to nothing", empty_file_at_the_end, ASKS},
    {"an earlier repair that was interrupted", unfinished_repair, UNREAD},
    {"a block and the watermark page", page_of_zeros, UNREFUSED},
    {"the end, which is torn", torn_tail, 0},
    {"a directory in place of the lower bound", directory_for_a_bound, ASKS | UNREAD},
};
const size_t repairs_damage_count = sizeof repairs_damages / sizeof *repairs_damages;
