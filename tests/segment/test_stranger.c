/*
 * A file that has a segment's name and is none of the log's: a copy under another number, say. Its
 * header does not fit its name, so a writer refuses; readers must serve every event nevertheless.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/verify.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

enum { EVENTS = 60, PAYLOAD = 4000 };

static char log_path[512];

/* Three segments at least, of which the last is not sealed. Copies the first under `number`. */
static void make_log_with_copy(uint64_t number)
{
    char from[1024];
    uint8_t *bytes = malloc(FORMAT_SEGMENT_BYTES_MIN);
    snprintf(log_path, sizeof log_path, "%s", scratch_path("log"));
    logs_make(log_path, FORMAT_SEGMENT_BYTES_MIN, EVENTS, PAYLOAD);
    snprintf(from, sizeof from, "%s", logs_segment_path(log_path, 1));
    cr_assert_eq(scratch_size(from), FORMAT_SEGMENT_BYTES_MIN);
    scratch_read(from, 0, bytes, FORMAT_SEGMENT_BYTES_MIN);
    FILE *file = fopen(logs_segment_path(log_path, number), "wb");
    cr_assert_eq(fwrite(bytes, 1, FORMAT_SEGMENT_BYTES_MIN, file), FORMAT_SEGMENT_BYTES_MIN);
    cr_assert_eq(fclose(file), 0);
    free(bytes);
}

/* Every event from `first` on comes, and nothing is called lost; the copy itself is told. */
static void expect_all_from(uint64_t first)
{
    struct segment_reader *reader = logs_read(log_path);
    struct error error = {0};
    struct event event;
    uint64_t next = first;
    enum error_code code = segment_reader_seek(reader, first, &error);
    cr_assert_eq(code, OK);
    while ((code = segment_reader_next(reader, &event, &error)) != ERROR_END) {
        if (code == ERROR_DAMAGED) {
            cr_assert(strstr(error.text, "no event is lost by it"), "%s", error.text);
            continue;
        }
        cr_assert_eq(code, OK, "%s", error.text);
        cr_assert_eq(event.sequence, next++);
    }
    cr_assert_eq(next, EVENTS + 1);
    segment_reader_close(reader);
}

Test(stranger, within_an_older_segment_hides_no_event_from_a_reader)
{
    make_log_with_copy(3);
    expect_all_from(1);
    expect_all_from(2);
    expect_all_from(5);
}

Test(stranger, within_the_last_segment_hides_no_event_from_a_reader)
{
    make_log_with_copy(EVENTS);
    expect_all_from(1);
    expect_all_from(EVENTS);
}

Test(stranger, within_the_last_segment_hides_no_event_when_no_page_tells_how_far_the_log_goes)
{
    make_log_with_copy(EVENTS - 1);
    scratch_delete(scratch_path("log/watermark"));
    expect_all_from(1);
}

static void expect_no_loss(void *context, const struct segment_verify_finding *finding)
{
    int *count = context;
    (*count)++;
    cr_assert_eq(finding->sequence_last, 0, "%s", finding->text);
}

Test(stranger, is_told_by_verify_and_no_event_is_called_lost)
{
    int findings = 0;
    struct segment_verify_totals totals;
    make_log_with_copy(3);
    cr_assert_eq(segment_verify_log(log_path, expect_no_loss, NULL, &findings, &totals, NULL), OK);
    cr_assert_gt(findings, 0);
}

static void expect_trailer(void *context, const struct segment_verify_finding *finding)
{
    int *count = context;
    (*count)++;
    cr_assert(strstr(finding->text, "the trailer at byte"), "%s", finding->text);
}

Test(stranger, byte_where_an_unsealed_segment_will_have_its_trailer_is_told_by_verify)
{
    int findings = 0;
    struct segment_verify_totals totals;
    snprintf(log_path, sizeof log_path, "%s", scratch_path("log"));
    logs_make(log_path, FORMAT_SEGMENT_BYTES_MIN, 3, 0);
    scratch_flip(logs_segment_path(log_path, 1), FORMAT_SEGMENT_BYTES_MIN - 7, 0x10);
    cr_assert_eq(segment_verify_log(log_path, expect_trailer, NULL, &findings, &totals, NULL), OK);
    cr_assert_eq(findings, 1);
}
