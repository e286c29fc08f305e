#include "segment/verify.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/bound.h"
#include "tests/support/forge.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tests/support/stride.h"

enum { SMALL = FORMAT_SEGMENT_BYTES_MIN, TEXTS_MAX = 8 };

/* What one run has found. */
struct outcome {
    struct segment_verify_totals totals;
    struct segment_verify_finding first; /* its text is in texts[0] */
    char texts[TEXTS_MAX][512];
    size_t count;
};

static struct error error;

static const char *path(void)
{
    return scratch_directory();
}

static void note(void *context, const struct segment_verify_finding *finding)
{
    struct outcome *outcome = context;
    if (outcome->count == 0)
        outcome->first = *finding;
    if (outcome->count < TEXTS_MAX)
        snprintf(outcome->texts[outcome->count], sizeof outcome->texts[0], "%s", finding->text);
    outcome->count++;
}

static struct outcome verify(void)
{
    struct outcome outcome = {0};
    cr_assert_eq(segment_verify_log(path(), note, NULL, &outcome, &outcome.totals, &error), OK,
                 "%s", error.text);
    cr_assert_eq(outcome.count, outcome.totals.findings);
    return outcome;
}

static void expect_healthy(uint64_t events)
{
    struct outcome outcome = verify();
    cr_assert_eq(outcome.count, 0, "%s", outcome.texts[0]);
    cr_assert_eq(outcome.totals.events, events);
}

static void expect_finding(const char *text, uint64_t sequence_first, uint64_t sequence_last)
{
    struct outcome outcome = verify();
    cr_assert_gt(outcome.count, 0, "nothing was found");
    cr_assert_not_null(strstr(outcome.texts[0], text), "'%s' does not say '%s'", outcome.texts[0],
                       text);
    cr_assert_eq(outcome.first.sequence_first, sequence_first);
    cr_assert_eq(outcome.first.sequence_last, sequence_last);
}

static uint64_t segment_of(uint64_t sequence)
{
    return logs_find(path(), sequence).segment_first;
}

Test(verify, finds_nothing_in_a_new_log)
{
    logs_make(path(), 0, 0, 0);
    expect_healthy(0);
}

Test(verify, finds_nothing_in_a_healthy_log)
{
    logs_make(path(), SMALL, 100, 3000);
    struct outcome outcome = verify();
    cr_assert_eq(outcome.count, 0, "%s", outcome.texts[0]);
    cr_assert_eq(outcome.totals.events, 100);
    cr_assert_geq(outcome.totals.segments, 5);
    cr_assert_geq(outcome.totals.blocks, 100);
    cr_assert_geq(outcome.totals.bytes, 100 * 3000);
    cr_assert_eq(outcome.totals.torn_bytes, 0);
}

Test(verify, finds_no_log)
{
    struct outcome outcome = {0};
    cr_assert_eq(segment_verify_log(path(), note, NULL, &outcome, &outcome.totals, &error),
                 ERROR_NOT_FOUND);
}

static void count_progress(void *context, uint64_t done, uint64_t total)
{
    struct outcome *outcome = context;
    cr_assert_leq(done, total);
    outcome->totals.bytes = done;
    outcome->totals.blocks++;
}

Test(verify, tells_its_progress_up_to_the_end)
{
    struct segment_log *log = logs_open(path(), 0);
    for (uint64_t last = 1000; last <= 20000; last += 1000) {
        logs_append_to(log, last, 1000);
        logs_commit(log);
    }
    logs_close(log);
    struct outcome outcome = {0};
    struct segment_verify_totals totals;
    cr_assert_eq(segment_verify_log(path(), note, count_progress, &outcome, &totals, &error), OK);
    cr_assert_geq(outcome.totals.blocks, 4);
    cr_assert_geq(outcome.totals.bytes, totals.bytes);
}

/* Only the first segment, sealed, and nobody who knows that there were more. */
static void keep_first_segment(void)
{
    uint64_t last = segment_of(40);
    scratch_delete(scratch_path("watermark"));
    for (uint64_t first = 2; first <= last; first++)
        unlink(logs_segment_path(path(), first));
}

/* A sanitizer makes each look ten times as dear: there every 67th byte must do. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { FLIP_STEP = 67 };
#else
enum { FLIP_STEP = 1 };
#endif

/*
 * Every byte of a sealed segment of 64 KiB: events, producers, table, padding, seal, the zeros
 * behind it, the trailer. A byte's bit changes from one to the next, so that all eight come.
 */
Test(verify, finds_a_bit_turned_over_anywhere_in_a_sealed_segment)
{
    logs_make(path(), SMALL, 40, 3000);
    uint64_t second = 1;
    while (segment_of(second) == 1)
        second++;
    keep_first_segment();
    const char *segment = logs_segment_path(path(), 1);
    cr_assert_eq(scratch_size(segment), SMALL);
    expect_healthy(second - 1);
    int fd = open(segment, O_RDWR | O_CLOEXEC);
    for (off_t offset = 0; offset < SMALL; offset += stride(FLIP_STEP)) {
        uint8_t byte, changed;
        cr_assert_eq(pread(fd, &byte, 1, offset), 1);
        changed = (uint8_t)(byte ^ 1u << (offset * 5 % 8));
        cr_assert_eq(pwrite(fd, &changed, 1, offset), 1);
        struct outcome outcome = verify();
        cr_assert_gt(outcome.count, 0, "byte %jd, %02x instead of %02x", (intmax_t)offset, changed,
                     byte);
        cr_assert_not_null(strstr(outcome.texts[0], "00000000000000000001.seg"), "%s",
                           outcome.texts[0]);
        cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    }
    close(fd);
    expect_healthy(second - 1);
}

Test(verify, misses_the_segments_behind_the_last_when_the_page_has_seen_them)
{
    logs_make(path(), SMALL, 40, 3000);
    uint64_t second = 1;
    while (segment_of(second) == 1)
        second++;
    keep_first_segment();
    /* Without a page it might have been a power loss: a gap comes first. */
    uint64_t next = second + FORMAT_UNDURABLE_EVENTS_MAX;
    logs_kill_writer(logs_start_writer(path(), SMALL, next, 3000));
    scratch_delete(logs_segment_path(path(), second));
    expect_finding("but the watermark has seen", second, next);
}

/* Each event has a block of its own, so exactly those whose bytes changed are named. */
Test(verify, names_segment_offset_and_the_sequences_lost)
{
    logs_make(path(), SMALL, 60, 3000);
    for (uint64_t sequence = 1; sequence <= 60; sequence += 7) {
        struct logs_place place = logs_find(path(), sequence);
        const char *segment = logs_segment_path(path(), place.segment_first);
        const uint64_t offsets[] = {0, 30, FORMAT_BLOCK_HEADER_BYTES + 500,
                                    place.header.size_bytes - 8};
        for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
            char text[100];
            snprintf(text, sizeof text, "segment %020" PRIu64 ".seg: block at byte %" PRIu64 ": ",
                     place.segment_first, place.header.offset);
            scratch_flip(segment, place.header.offset + offsets[i], 1u << 6);
            struct outcome outcome = verify();
            cr_assert_eq(outcome.count, 1, "%s", outcome.texts[1]);
            cr_assert_not_null(strstr(outcome.texts[0], text), "%s", outcome.texts[0]);
            cr_assert_eq(outcome.first.segment_first, place.segment_first);
            cr_assert_eq(outcome.first.offset, place.header.offset);
            cr_assert_eq(outcome.first.sequence_first, sequence);
            cr_assert_eq(outcome.first.sequence_last, sequence);
            cr_assert_eq(outcome.totals.events, 59);
            scratch_flip(segment, place.header.offset + offsets[i], 1u << 6);
        }
    }
    expect_healthy(60);
}

Test(verify, passes_over_what_repeats_earlier_events_behind_damage)
{
    logs_make(path(), SMALL, 60, 3000);
    struct logs_place damaged = logs_find(path(), 10), repeating = logs_find(path(), 11);
    cr_assert_eq(damaged.segment_first, repeating.segment_first);
    forge_block((struct forge){path(), repeating.segment_first}, repeating.header.offset, 32,
                FORGE_64, 2);
    scratch_flip(logs_segment_path(path(), damaged.segment_first), damaged.header.offset + 20, 1);
    expect_finding("events 10 to 11", 10, 11);
}

Test(verify, goes_on_behind_damage_and_finds_all_of_it)
{
    logs_make(path(), SMALL, 60, 3000);
    const uint64_t sequences[] = {3, 5, 6, 30, 58};
    for (size_t i = 0; i < 5; i++) {
        struct logs_place place = logs_find(path(), sequences[i]);
        scratch_flip(logs_segment_path(path(), place.segment_first), place.header.offset + 200, 4);
    }
    struct outcome outcome = verify();
    cr_assert_eq(outcome.count, 5);
    cr_assert_eq(outcome.totals.events, 55);
}

Test(verify, names_a_run_of_blocks_that_was_overwritten)
{
    logs_make(path(), SMALL, 60, 3000);
    uint64_t second = segment_of(30);
    struct logs_place from = logs_find(path(), second + 1), to = logs_find(path(), second + 4);
    scratch_fill(logs_segment_path(path(), second), from.header.offset,
                 to.header.offset - from.header.offset, 0);
    expect_finding("there are only zeros; events", second + 1, second + 3);
}

Test(verify, tells_an_unfinished_tail_from_damage)
{
    logs_kill_writer(logs_start_writer(path(), 0, 5, 100));
    struct segment_format_block_header header = logs_write_undurable(path(), 30);
    /* The crash came when only the first sector had been written. */
    uint64_t cut = (header.offset / 512 + 1) * 512;
    if (cut < header.offset + FORMAT_BLOCK_HEADER_BYTES)
        cut += 512;
    const char *segment = logs_segment_path(path(), 1);
    cr_assert_lt(cut, header.offset + header.size_bytes);
    scratch_fill(segment, cut, header.offset + header.size_bytes - cut, 0);
    struct outcome outcome = verify();
    cr_assert_eq(outcome.count, 0, "%s", outcome.texts[0]);
    cr_assert_gt(outcome.totals.torn_bytes, 0);
    cr_assert_eq(outcome.totals.events, 5);

    /* Bytes that no crash leaves behind. */
    scratch_fill(segment, cut + 512, 700, 0x77);
    scratch_fill(segment, header.offset + FORMAT_BLOCK_HEADER_BYTES, 8, 0x77);
    expect_finding("that no crash alone explains", 6, 35);
}

Test(verify, finds_what_a_later_block_or_the_page_knows_to_be_lost)
{
    logs_kill_writer(logs_start_writer(path(), 0, 20, 100));
    struct logs_place middle = logs_find(path(), 12), tail = logs_find(path(), 20);
    const char *segment = logs_segment_path(path(), 1);
    scratch_flip(segment, middle.header.offset + 4, 1);
    expect_finding("its header is damaged; event 12 is lost", 12, 12);
    scratch_flip(segment, middle.header.offset + 4, 1);
    /* Only the page knows of the last one. */
    uint8_t *block = calloc(1, 8192);
    scratch_read(segment, tail.header.offset, block, 8192);
    scratch_fill(segment, tail.header.offset, 8192, 0);
    expect_finding("there are only zeros; event 20 is lost", 20, 20);
    scratch_write(segment, tail.header.offset, block, 8192);
    free(block);
    expect_healthy(20);
}

Test(verify, judges_a_live_log_up_to_its_watermark)
{
    struct segment_log *log = logs_open(path(), SMALL);
    logs_append_singly(log, 50, 3000);
    expect_healthy(50);
    struct logs_place place = logs_find(path(), 50);
    scratch_flip(logs_segment_path(path(), place.segment_first), place.header.offset + 300, 1);
    expect_finding("checksum mismatch in the", 50, 50);
    logs_close(log);
}

Test(verify, finds_nothing_while_a_writer_is_at_work)
{
    logs_make(path(), SMALL, 1, 1000);
    pid_t pid = scratch_fork();
    if (pid == 0) {
        logs_make(path(), SMALL, 3000, 1000);
        _exit(0);
    }
    for (uint64_t events = 0; events < 3000;) {
        struct outcome outcome = verify();
        cr_assert_eq(outcome.count, 0, "%s", outcome.texts[0]);
        cr_assert_geq(outcome.totals.events, events);
        events = outcome.totals.events;
    }
    logs_kill_writer(pid);
}

Test(verify, misses_segments)
{
    logs_make(path(), SMALL, 80, 3000);
    uint64_t second = segment_of(30), third = second;
    while (segment_of(third) == second)
        third++;
    cr_assert_eq(rename(logs_segment_path(path(), second), scratch_path("kept")), 0);
    expect_finding("is missing between", second, third - 1);
    cr_assert_eq(rename(scratch_path("kept"), logs_segment_path(path(), second)), 0);

    uint64_t next = 1;
    while (segment_of(next) == 1)
        next++;
    scratch_delete(logs_segment_path(path(), 1));
    expect_finding("but should start with 1; events", 1, next - 1);
}

Test(verify, does_not_miss_what_retention_took)
{
    logs_make(path(), SMALL, 80, 3000);
    uint64_t second = segment_of(30);
    int fd = -1;
    cr_assert_eq(file_open_directory(path(), false, &fd, &error), OK);
    cr_assert_eq(segment_bound_store(fd, second, &error), OK);
    file_close(&fd);
    expect_healthy(80 - second + 1);
    scratch_delete(logs_segment_path(path(), 1));
    expect_healthy(80 - second + 1);
}

Test(verify, finds_a_segment_that_was_cut_short)
{
    logs_make(path(), SMALL, 80, 3000);
    uint64_t second = segment_of(30);
    struct logs_place place = logs_find(path(), second + 1);
    scratch_cut(logs_segment_path(path(), second), place.header.offset);
    struct outcome outcome = verify();
    cr_assert_geq(outcome.count, 2);
    bool found = false;
    for (size_t i = 0; i < outcome.count && i < TEXTS_MAX; i++)
        found |= strstr(outcome.texts[i], "bytes, but was made with") != NULL;
    cr_assert(found, "%s", outcome.texts[0]);
}

Test(verify, finds_a_segment_of_another_log)
{
    logs_make(path(), SMALL, 80, 3000);
    uint64_t second = segment_of(30);
    struct segment_format_segment_header header;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    scratch_read(logs_segment_path(path(), second), 0, bytes, sizeof bytes);
    cr_assert_eq(segment_format_decode_segment_header(bytes, &header, &checksum), FORMAT_VALID);
    header.log_id[3]++;
    segment_format_encode_segment_header(&header, bytes, &checksum);
    scratch_write(logs_segment_path(path(), second), 0, bytes, sizeof bytes);
    struct outcome outcome = verify();
    bool found = false;
    for (size_t i = 0; i < outcome.count && i < TEXTS_MAX; i++)
        found |= strstr(outcome.texts[i], "belongs to another log") != NULL;
    cr_assert(found);
}

/* Valid blocks in an impossible order: only the chain and the sequences tell. */
Test(verify, finds_two_equal_blocks_exchanged)
{
    logs_make(path(), 0, 20, 100);
    struct logs_place place = logs_find(path(), 10);
    const char *segment = logs_segment_path(path(), 1);
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
    scratch_read(segment, place.header.offset, bytes, sizeof bytes);
    struct segment_format_block_header header = place.header;
    struct segment_format_segment_header first;
    uint8_t head[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;
    scratch_read(segment, 0, head, sizeof head);
    cr_assert_eq(segment_format_decode_segment_header(head, &first, &checksum), FORMAT_VALID);
    uint32_t seed = segment_format_seed(first.log_id, 1);

    header.chain++;
    segment_format_encode_block_header(seed, &header, bytes);
    scratch_write(segment, header.offset, bytes, sizeof bytes);
    struct outcome outcome = verify();
    cr_assert_geq(outcome.count, 1);
    cr_assert_not_null(strstr(outcome.texts[0], "it does not follow the block before it"), "%s",
                       outcome.texts[0]);

    header = place.header;
    header.time_max_ns = header.time_min_ns = 5;
    segment_format_encode_block_header(seed, &header, bytes);
    scratch_write(segment, header.offset, bytes, sizeof bytes);
    outcome = verify();
    cr_assert_geq(outcome.count, 1);
    cr_assert_not_null(strstr(outcome.texts[0], "the time of event 10 is not within"), "%s",
                       outcome.texts[0]);
}

Test(verify, names_all_headers_when_no_block_can_be_judged)
{
    logs_make(path(), SMALL, 40, 3000);
    uint64_t last = segment_of(40);
    size_t count = 0;
    scratch_delete(scratch_path("watermark"));
    for (uint64_t first = 1; first <= last; first++) {
        if (access(logs_segment_path(path(), first), F_OK) != 0)
            continue;
        scratch_flip(logs_segment_path(path(), first), 20, 1);
        count++;
    }
    struct outcome outcome = verify();
    cr_assert_eq(outcome.count, count);
}
