#include "segment/set.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <errno.h>

#include "core/file.h"
#include "segment/bound.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tests/support/broken_calls.h"

static int log_fd = -1;
static int segments_fd = -1;
static struct segment_set set;
static struct error error;

/* A log of at least four segments, of which all but the last are sealed. */
static void setup(void)
{
    const char *path = scratch_directory();
    logs_make(path, FORMAT_SEGMENT_BYTES_MIN, 60, 5000);
    cr_assert_eq(file_open_directory(path, false, &log_fd, &error), OK, "%s", error.text);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, &error), OK);
}

static void teardown(void)
{
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
}

TestSuite(set, .init = setup, .fini = teardown);

static void load(void)
{
    segment_set_free(&set);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK, "%s", error.text);
}

static const char *path_of(size_t index)
{
    return logs_segment_path(scratch_directory(), set.segments[index].sequence_first);
}

static void expect_check(enum error_code code, const char *text)
{
    load();
    cr_assert_eq(segment_set_check(&set, &error), code, "%s", error.text);
    if (code)
        cr_assert_not_null(strstr(error.text, text), "'%s' does not say '%s'", error.text, text);
}

Test(set, lists_the_segments_in_order_with_header_and_trailer)
{
    load();
    cr_assert_geq(set.count, 4);
    cr_assert_eq(set.bound, 1);
    cr_assert_eq(set.dead_count, 0);
    for (size_t i = 0; i < set.count; i++) {
        const struct segment_set_segment *segment = &set.segments[i];
        cr_assert_eq(segment->header_verdict, FORMAT_VALID);
        cr_assert_eq(segment->sealed, i + 1 < set.count);
        cr_assert_eq(segment->size_bytes, segment->header.size_bytes);
        if (i > 0)
            cr_assert_eq(segment->sequence_first, set.segments[i - 1].trailer.sequence_last + 1);
    }
    expect_check(OK, "");
}

Test(set, leaves_other_names_alone_and_counts_them)
{
    load();
    size_t before = set.names_ignored;
    const char *const names[] = {"1.seg", "00000000000000000000.seg", "00000000000000000001.seg~",
                                 "0000000000000000000x.seg", "notes.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int fd = -1;
        cr_assert_eq(file_open(segments_fd, names[i], FILE_CREATE, &fd, &error), OK);
        file_close(&fd);
    }
    size_t count = set.count;
    load();
    cr_assert_eq(set.count, count);
    cr_assert_eq(set.names_ignored, before + sizeof names / sizeof *names);
}

Test(set, counts_the_segments_below_the_bound_as_dead)
{
    load();
    uint64_t third = set.segments[2].sequence_first;
    cr_assert_eq(segment_bound_store(log_fd, third - 1, &error), OK);
    expect_check(OK, "");
    cr_assert_eq(set.dead_count, 1, "one event of the second is left");

    cr_assert_eq(segment_bound_store(log_fd, third, &error), OK);
    expect_check(OK, "");
    cr_assert_eq(set.dead_count, 2);

    scratch_delete(path_of(0));
    scratch_delete(logs_segment_path(scratch_directory(), set.segments[1].sequence_first));
    expect_check(OK, "");
    cr_assert_eq(set.dead_count, 0);
    cr_assert_eq(set.segments[0].sequence_first, third);
}

Test(set, misses_a_segment_in_the_middle)
{
    load();
    scratch_delete(path_of(1));
    expect_check(ERROR_DAMAGED, "is missing between");
}

Test(set, misses_the_first_segment_above_the_bound)
{
    load();
    scratch_delete(path_of(0));
    expect_check(ERROR_DAMAGED, "but should start at event 1: events 1 to ");
}

Test(set, misses_all_segments_when_the_bound_says_that_there_were_some)
{
    load();
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK);
    for (size_t i = 0; i < set.count; i++)
        scratch_delete(path_of(i));
    expect_check(ERROR_DAMAGED, "no segment is left");
}

Test(set, tells_a_damaged_header)
{
    load();
    scratch_flip(path_of(1), 40, 1u << 3);
    expect_check(ERROR_DAMAGED, "its header is damaged");
    cr_assert_eq(set.segments[1].header_verdict, FORMAT_BAD);
}

Test(set, tells_a_segment_under_a_wrong_name)
{
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    load();
    segment_format_segment_name(set.segments[1].sequence_first + 1, name);
    cr_assert_eq(renameat(segments_fd, set.segments[1].name, segments_fd, name), 0);
    expect_check(ERROR_DAMAGED, "its header is damaged");
}

Test(set, tells_a_damaged_trailer_in_the_middle)
{
    load();
    scratch_flip(path_of(1), set.segments[1].size_bytes - 20, 1u << 0);
    expect_check(ERROR_DAMAGED, "is not sealed, but segment");
}

Test(set, tells_a_segment_that_was_cut_short)
{
    load();
    const uint64_t sizes[] = {set.segments[1].size_bytes - 1, 5000, 4096, 100, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[FORMAT_SEGMENT_NAME_BYTES + 1];
        memcpy(name, set.segments[1].name, sizeof name);
        scratch_cut(path_of(1), sizes[i]);
        expect_check(ERROR_DAMAGED, name);
    }
}

/* The segment is whole, but its successor was written behind another one. */
Test(set, tells_a_segment_that_was_replaced_by_an_older_copy)
{
    load();
    struct segment_format_trailer trailer = set.segments[1].trailer;
    uint8_t bytes[FORMAT_TRAILER_BYTES];
    trailer.seal_checksum++;
    segment_format_encode_trailer(set.segments[1].seed, &trailer, bytes);
    scratch_write(path_of(1), set.segments[1].size_bytes - sizeof bytes, bytes, sizeof bytes);
    expect_check(ERROR_DAMAGED, "does not end as segment");
}

Test(set, tells_a_segment_of_another_log)
{
    load();
    struct segment_format_segment_header header = set.segments[1].header;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    header.log_id[0]++;
    segment_format_encode_segment_header(&header, bytes, &checksum);
    scratch_write(path_of(1), 0, bytes, sizeof bytes);
    expect_check(ERROR_FOREIGN, "belongs to another log");
}

Test(set, takes_the_fewer_segments_for_the_strangers_wherever_they_stand)
{
    uint8_t ours[FORMAT_LOG_ID_BYTES], found[FORMAT_LOG_ID_BYTES];
    load();
    cr_assert_eq(segment_set_identify(&set, log_fd, ours, &error), OK);
    logs_make(scratch_path("other"), FORMAT_SEGMENT_BYTES_MIN, 200, 5000);
    char path[1024];
    uint64_t last = logs_find(scratch_path("other"), 200).segment_first;
    snprintf(path, sizeof path, "%s", logs_segment_path(scratch_path("other"), last));
    cr_assert_eq(rename(path, logs_segment_path(scratch_directory(), last)), 0);
    load();
    cr_assert_eq(segment_set_identify(&set, log_fd, found, &error), OK);
    cr_assert_eq(memcmp(ours, found, sizeof ours), 0, "the newest is a stranger");
}

Test(set, misses_the_segment_at_the_bound_when_only_dead_ones_are_left)
{
    load();
    uint64_t second = set.segments[1].sequence_first;
    cr_assert_eq(segment_bound_store(log_fd, second, &error), OK);
    for (size_t i = 1; i < set.count; i++)
        scratch_delete(path_of(i));
    expect_check(ERROR_DAMAGED, "no segment is left");
}

Test(set, takes_the_first_segment_for_the_bound_when_that_is_damaged)
{
    load();
    cr_assert_eq(segment_bound_store(log_fd, set.segments[1].sequence_first, &error), OK);
    scratch_cut(scratch_path("lower-bound"), 7);
    expect_check(ERROR_DAMAGED, "'lower-bound' is damaged");
    cr_assert(set.bound_damaged);
    cr_assert_eq(set.bound, set.segments[0].sequence_first);
    cr_assert_eq(set.dead_count, 0);
}

Test(set, refuses_a_symbolic_link_in_place_of_a_segment)
{
    load();
    cr_assert_eq(renameat(segments_fd, set.segments[1].name, segments_fd, "elsewhere"), 0);
    cr_assert_eq(symlinkat("elsewhere", segments_fd, set.segments[1].name), 0);
    segment_set_free(&set);
    cr_assert_neq(segment_set_load(log_fd, segments_fd, &set, &error), OK);
}

Test(set, does_not_wait_for_a_pipe_in_place_of_a_segment)
{
    load();
    scratch_delete(path_of(1));
    cr_assert_eq(mkfifoat(segments_fd, set.segments[1].name, 0600), 0);
    segment_set_free(&set);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), ERROR_FOREIGN);
}

static void write_header(size_t index, struct segment_format_segment_header header)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    segment_format_encode_segment_header(&header, bytes, &checksum);
    scratch_write(path_of(index), 0, bytes, sizeof bytes);
}

/* Repaired, its seal is another; then only what it says to replace can fit the segment behind it.
 */
Test(set, takes_a_segment_for_a_replacement_of_just_the_one_that_it_names)
{
    load();
    struct segment_format_trailer trailer = set.segments[1].trailer;
    struct segment_format_segment_header header = set.segments[1].header;
    struct segment_format_predecessor told = set.segments[2].header.predecessor;
    uint8_t bytes[FORMAT_TRAILER_BYTES];
    trailer.seal_checksum++;
    segment_format_encode_trailer(set.segments[1].seed, &trailer, bytes);
    scratch_write(path_of(1), set.segments[1].size_bytes - sizeof bytes, bytes, sizeof bytes);
    header.replaces = told;
    write_header(1, header);
    expect_check(OK, "");
    header.replaces.sequence_last++;
    write_header(1, header);
    expect_check(ERROR_DAMAGED, "does not end as segment");
    header.replaces = told;
    header.replaces.end_offset++;
    write_header(1, header);
    expect_check(ERROR_DAMAGED, "does not end as segment");
}

Test(set, takes_the_fewer_segments_for_the_strangers_when_there_are_two)
{
    uint8_t ours[FORMAT_LOG_ID_BYTES], found[FORMAT_LOG_ID_BYTES];
    char path[1024];
    load();
    cr_assert_geq(set.count, 5);
    cr_assert_eq(segment_set_identify(&set, log_fd, ours, &error), OK);
    logs_make(scratch_path("other"), FORMAT_SEGMENT_BYTES_MIN, 60, 5000);
    for (size_t i = set.count - 2; i < set.count; i++) {
        snprintf(path, sizeof path, "%s",
                 logs_segment_path(scratch_path("other"), set.segments[i].sequence_first));
        cr_assert_eq(rename(path, path_of(i)), 0); /* both logs have the same segments */
    }
    load();
    cr_assert_eq(segment_set_identify(&set, log_fd, found, &error), OK);
    cr_assert_eq(memcmp(ours, found, sizeof ours), 0, "the two newest are strangers");
}

Test(set, tells_the_first_of_several_segments_that_the_device_refuses)
{
    load();
    struct broken_plan plan = {.call = BROKEN_READ, .number = 1, .for_ever = true, .reason = EIO};
    segment_set_free(&set);
    broken_calls_begin(&plan);
    enum error_code code = segment_set_load(log_fd, segments_fd, &set, &error);
    cr_assert_gt(broken_calls_end(), 1);
    cr_assert_eq(code, OK, "%s", error.text);
    cr_assert_not_null(strstr(set.unreadable.text, set.segments[0].name), "%s",
                       set.unreadable.text);
    cr_assert_eq(segment_set_check(&set, &error), ERROR_IO);
}
