/*
 * What is not there: the page, the segments, the identity of the boot, the writer's word of time.
 * Readers, verify and writers go on with what is left, or say what is missing.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "segment/bound.h"
#include "segment/verify.h"
#include "segment/watermark.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

enum { SMALL = FORMAT_SEGMENT_BYTES_MIN, PAYLOAD = 3000, EVENTS = 60 };

static struct error error;
static char said[512];

static const char *path(void)
{
    return scratch_directory();
}

static void note(void *context, const struct segment_verify_finding *finding)
{
    uint64_t *count = context;
    if (++*count == 1)
        snprintf(said, sizeof said, "%s", finding->text);
}

static enum error_code verify(uint64_t *count_out)
{
    struct segment_verify_totals totals;
    *count_out = 0;
    said[0] = '\0';
    return segment_verify_log(path(), note, NULL, count_out, &totals, &error);
}

static enum error_code open_log(const struct segment_log_options *options)
{
    struct segment_log *log = NULL;
    enum error_code code = segment_log_open(path(), options, &log, NULL, &error);
    if (!code)
        logs_close(log);
    return code;
}

static enum error_code open_small(void)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    return open_log(&options);
}

static void store_bound(uint64_t bound)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(path(), false, &fd, &error), OK);
    cr_assert_eq(segment_bound_store(fd, bound, &error), OK, "%s", error.text);
    file_close(&fd);
}

/* Delete the segments whose names lie within the range. */
static void delete_segments(uint64_t first, uint64_t last)
{
    for (uint64_t name = first; name <= last; name++)
        unlink(logs_segment_path(path(), name));
}

/* ---- A clock that the tests move, of a boot that they choose ---- */

static int64_t now_ns;
static uint8_t boot;

static int64_t test_time(void)
{
    return now_ns;
}

static void test_boot(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, boot, CLOCK_BOOT_ID_SIZE);
}

static void use_test_clock(uint8_t boot_byte)
{
    static const struct clock_source source = {
        .realtime_ns = test_time, .monotonic_ns = test_time, .boot_id = test_boot};
    now_ns = clock_realtime_ns();
    boot = boot_byte;
    clock_use(&source);
}

/* ---- Settings ---- */

Test(absence, settings_that_no_log_can_have_are_refused_with_a_reason)
{
    static const struct {
        struct segment_log_options options;
        const char *text;
    } wrong[] = {
        {{.segment_bytes = FORMAT_SEGMENT_BYTES_MIN - 1}, "is not between 64K and 4G"},
        {{.segment_bytes = FORMAT_SEGMENT_BYTES_MAX + 1}, "is not between 64K and 4G"},
        {{.segment_age_ns = -1}, "a segment's age must be positive"},
        {{.commit_align = 1024}, "is none of 8, 512, 4096"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_eq(open_log(&wrong[i].options), ERROR_INVALID);
        cr_assert_not_null(strstr(error.text, wrong[i].text), "%s", error.text);
    }
    cr_assert_eq(segment_log_close(NULL, &error), OK);
}

/* ---- Segments ---- */

Test(absence, of_all_segments_is_told_by_the_page)
{
    uint64_t count;
    logs_make(path(), SMALL, EVENTS, PAYLOAD);
    delete_segments(1, EVENTS + 1);
    cr_assert_eq(verify(&count), OK, "%s", error.text);
    cr_assert_eq(count, 1);
    cr_assert_str_eq(said, "no segment is left, but there were events up to 60");
    cr_assert_eq(open_small(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "that there were events up to 60"), "%s", error.text);
}

Test(absence, of_all_segments_is_told_by_the_lower_bound)
{
    uint64_t count;
    logs_make(path(), SMALL, EVENTS, PAYLOAD);
    store_bound(20);
    delete_segments(1, EVENTS + 1);
    scratch_delete(scratch_path("watermark"));
    cr_assert_eq(verify(&count), OK, "%s", error.text);
    cr_assert_str_eq(said, "no segment is left, but there were events up to 19");
    cr_assert_eq(open_small(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "the log should have events from 20 on"), "%s",
                       error.text);
}

Test(absence, of_everything_is_no_log)
{
    uint64_t count;
    logs_make(path(), SMALL, EVENTS, PAYLOAD);
    delete_segments(1, EVENTS + 1);
    scratch_delete(scratch_path("watermark"));
    cr_assert_eq(verify(&count), ERROR_NOT_FOUND);
    /* Of all that was there nothing is known, so it is a new log. */
    cr_assert_eq(open_small(), OK, "%s", error.text);
}

Test(absence, of_what_should_stand_at_the_lower_bound_is_told)
{
    uint64_t count;
    logs_make(path(), SMALL, EVENTS, PAYLOAD);
    uint64_t last = logs_find(path(), EVENTS).segment_first;
    cr_assert_gt(last, 1);
    store_bound(last);
    delete_segments(last, last);
    cr_assert_eq(verify(&count), OK, "%s", error.text);
    cr_assert_gt(count, 0);
    cr_assert_not_null(strstr(said, "no segment is left, but the log should have events from"),
                       "%s", said);
    cr_assert_eq(open_small(), ERROR_DAMAGED);
}

/* ---- Known losses ---- */

static unsigned gaps_told;

static void note_gap(void *context, const struct segment_format_gap *gap)
{
    (void)context;
    cr_assert_leq(gap->sequence_first, gap->sequence_last);
    gaps_told++;
}

Test(absence, on_record_is_told_to_who_asks_for_it)
{
    uint64_t count = 0;
    struct segment_verify_totals totals;
    struct segment_verify_watcher watcher = {.found = note, .gap = note_gap, .context = &count};
    logs_kill_writer(logs_start_writer(path(), SMALL, 3, 0));
    struct segment_format_block_header tail = logs_write_undurable(path(), 2);
    scratch_fill(logs_segment_path(path(), 1), tail.offset + FORMAT_BLOCK_HEADER_BYTES,
                 tail.stored_bytes, 0xee);
    logs_make(path(), SMALL, 20, 0);
    cr_assert_eq(segment_verify_watch(path(), &watcher, &totals, &error), OK, "%s", error.text);
    cr_assert_eq(count, 0, "%s", said);
    cr_assert_eq(gaps_told, 1);
    cr_assert_eq(totals.lost_before, 2);
}

/* ---- The boot and the page ---- */

Test(absence, of_an_identity_of_the_boot_counts_as_a_power_cut)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_recovery_report report;
    struct segment_log *log = NULL;
    logs_kill_writer(logs_start_writer(path(), SMALL, 3, 0));
    use_test_clock(0);
    cr_assert_eq(segment_log_open(path(), &options, &log, &report, &error), OK, "%s", error.text);
    cr_assert_eq(report.gap_first, 4);
    cr_assert_eq(report.gap_last, 3 + FORMAT_UNDURABLE_EVENTS_MAX);
    cr_assert_eq(report.gap_cause, FORMAT_GAP_POWER_LOSS);
    logs_close(log);
}

Test(absence, of_sense_in_the_pages_word_of_what_was_written_is_passed_over)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_recovery_report report;
    struct segment_log *log = NULL;
    uint8_t far[8] = {0x00, 0x00, 0x10};
    logs_kill_writer(logs_start_writer(path(), SMALL, 3, 0));
    scratch_write(scratch_path("watermark"), 72, far, sizeof far);
    cr_assert_eq(segment_log_open(path(), &options, &log, &report, &error), OK, "%s", error.text);
    cr_assert_lt(report.sequence_next, 1 << 18, "a million sequences were given up");
    logs_close(log);
}

Test(absence, of_the_page_beside_a_live_writer_is_borne_by_readers)
{
    pid_t writer = logs_start_writer(path(), SMALL, 3, 0);
    scratch_delete(scratch_path("watermark"));
    struct segment_reader *reader = logs_read(path());
    use_test_clock('B');
    struct event event;
    enum error_code code;
    uint64_t last = 0;
    for (int i = 0; i < 8; i++) {
        while ((code = segment_reader_next(reader, &event, &error)) == OK)
            last = event.sequence;
        cr_assert_eq(code, ERROR_END, "%s", error.text);
        /* Nobody wakes it; it looks again by itself now and then. */
        now_ns += INT64_C(10) * 1000000000;
    }
    cr_assert_leq(last, 3);
    segment_reader_close(reader);
    logs_kill_writer(writer);
}

Test(absence, of_a_page_makes_waiting_a_sleep)
{
    struct event event;
    logs_make(path(), SMALL, 3, 0);
    scratch_delete(scratch_path("watermark"));
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 3);
    logs_expect_end(reader);
    segment_reader_wait(reader, 2);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_END);
    segment_reader_close(reader);
}

Test(absence, of_news_does_not_keep_who_has_not_read_all)
{
    struct segment_log *log = logs_open(path(), SMALL);
    logs_append_to(log, 5, 0);
    logs_commit(log);
    logs_close(log);
    struct segment_reader *reader = logs_read(path());
    logs_expect_event(reader, 1);
    segment_reader_wait(reader, 600000); /* a hang, if it waits */
    logs_expect_events(reader, 2, 5);
    segment_reader_close(reader);
}

Test(absence, of_a_page_that_was_cut_makes_waiting_a_sleep_too)
{
    static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "a log";
    struct segment_watermark *writer = NULL, *reader = NULL;
    int fd = -1;
    cr_assert_eq(file_map_guard(&error), OK);
    cr_assert_eq(file_open_directory(path(), false, &fd, &error), OK);
    cr_assert_eq(segment_watermark_create(fd, log_id, 1, &writer, &error), OK, "%s", error.text);
    segment_watermark_publish(writer, 5);
    cr_assert_eq(segment_watermark_open(fd, &reader, &error), OK, "%s", error.text);
    scratch_cut(scratch_path("watermark"), 0);
    cr_assert(segment_watermark_wait(reader, 5, 2));
    segment_watermark_close(reader);
    segment_watermark_close(writer);
    file_close(&fd);
}

Test(absence, of_trouble_is_no_reason)
{
    struct error trouble = {.code = ERROR_IO, .text = "old"};
    struct segment_log *log = logs_open(path(), SMALL);
    logs_append_singly(log, 2, 0);
    segment_log_read_trouble(log, &trouble);
    cr_assert_eq(trouble.code, OK);
    logs_close(log);
}

Test(absence, of_a_boot_in_the_page_shows_less_and_never_too_much)
{
    use_test_clock(0);
    pid_t writer = logs_start_writer(path(), SMALL, 3, 0);
    logs_kill_writer(writer);
    use_test_clock('B');
    logs_write_undurable(path(), 2);
    struct segment_reader *reader = logs_read(path());
    logs_expect_events(reader, 1, 3);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

Test(absence, that_grows_before_it_was_asked_about_is_one_hole)
{
    uint64_t first = 0, last = 0;
    struct event event;
    logs_make(path(), SMALL, EVENTS, PAYLOAD);
    uint64_t third = 0, names[3] = {0}, count = 0;
    for (uint64_t name = 2; name <= EVENTS && count < 3; name++)
        if (access(logs_segment_path(path(), name), F_OK) == 0)
            names[count++] = name;
    cr_assert_eq(count, 3);
    third = names[2];
    struct segment_reader *reader = logs_read(path());
    logs_expect_event(reader, 1);
    cr_assert_eq(segment_reader_seek(reader, 2, &error), OK);
    /* Retention comes, and comes again before the reader has gone on. */
    store_bound(names[1]);
    delete_segments(1, names[1] - 1);
    cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    cr_assert_eq(event.sequence, names[1]);
    store_bound(third);
    delete_segments(1, third - 1);
    cr_assert(segment_reader_hole(reader, &first, &last));
    cr_assert_eq(first, 2);
    cr_assert_eq(last, names[1] - 1);
    segment_reader_close(reader);
}
