#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/log.h"
#include "segment/reader.h"
#include "segment/recovery.h"
#include "segment/watermark.h"
#include "segment/block.h"
#include "segment/writer.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"
#include "tests/support/forge.h"
#include "tests/support/logs.h"

/* The decision, spelled out a second time, from docs/format.md and not from the table in the code.
 */
static enum segment_recovery_verdict expected(const struct segment_recovery_evidence *e)
{
    if (e->last_is_seal && e->rest_is_zero && !e->later_promise && !e->witness)
        return RECOVERY_SEALED;
    if (e->later_promise || e->closed || e->witness || (e->last_is_seal && !e->rest_is_zero))
        return RECOVERY_CORRUPT;
    if (e->rest_is_zero)
        return e->last_is_stop ? RECOVERY_CLEAN : RECOVERY_END;
    return e->not_torn ? RECOVERY_DAMAGED_TAIL : RECOVERY_TORN;
}

Test(recovery, decides_every_combination_of_evidence)
{
    for (unsigned i = 0; i < 128; i++) {
        struct segment_recovery_evidence evidence = {
            .rest_is_zero = i & 1,
            .last_is_stop = i & 2,
            .last_is_seal = i & 4,
            .later_promise = i & 8,
            .closed = i & 16,
            .witness = i & 32,
            .not_torn = i & 64,
        };
        if (evidence.last_is_stop && evidence.last_is_seal)
            continue; /* one block is not both */
        cr_assert_eq(segment_recovery_decide(&evidence), expected(&evidence), "evidence %x", i);
    }
}

/* A log, its writer, and what became of it. */
static struct segment_log *log;
static struct segment_recovery_report report;
static struct error error;
static uint64_t witness;
static enum segment_log_write_path write_path;
static uint64_t segment_bytes = 1 << 20;
static size_t block_bytes;
static uint32_t commit_align;

static enum error_code try_open(void)
{
    struct segment_log_options options = {
        .segment_bytes = segment_bytes, .witness_sequence = witness, .write_path = write_path};
    options.block_bytes_max = block_bytes;
    options.commit_align = commit_align;
    return segment_log_open(scratch_path("log"), &options, &log, &report, &error);
}

static void open_log(void)
{
    cr_assert_eq(try_open(), OK, "%s", error.text);
}

static uint64_t append_of(const char *producer, uint64_t number, const char *text)
{
    char payload[64] = {(char)(0xa0 | strlen(text))};
    struct event event = {.topic = "t",
                          .topic_bytes = 1,
                          .payload = payload,
                          .payload_bytes = 1 + strlen(text),
                          .time_ns = EVENT_TIME_NONE,
                          .producer = producer,
                          .producer_bytes = strlen(producer),
                          .number = number};
    enum segment_log_outcome outcome;
    uint64_t sequence;

    memcpy(payload + 1, text, strlen(text));
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK, "%s",
                 error.text);
    return outcome == LOG_DUPLICATE ? 0 : sequence;
}

static uint64_t append(const char *text)
{
    return append_of("", 0, text);
}

static void commit(void)
{
    cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK, "%s", error.text);
}

static void close_log(void)
{
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
}

/* What a child process does to the log before it dies by SIGKILL. */
static void killed_after(void (*work)(void))
{
    scratch_directory(); /* before the fork: it is the parent's */
    pid_t child = fork();
    if (child == 0) {
        open_log();
        work();
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
}

/* Is everything there, in order, and nothing else? A NULL ends the list. */
static void expect_events(const char *first, ...)
{
    struct segment_reader *reader;
    struct event event;
    va_list list;

    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK, "%s", error.text);
    va_start(list, first);
    for (const char *text = first; text; text = va_arg(list, const char *)) {
        cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "before '%s': %s", text,
                     error.text);
        cr_assert_eq(event.payload_bytes, 1 + strlen(text));
        cr_assert_arr_eq((const char *)event.payload + 1, text, strlen(text));
    }
    va_end(list);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_END);
    segment_reader_close(reader);
}

static const char *first_segment(void)
{
    return scratch_path("log/segments/00000000000000000001.seg");
}

/* Where the blocks of a segment begin; the last one found ends the list. */
static size_t find_blocks_of(const char *path, uint64_t offsets[16])
{
    struct segment_format_segment_header header;
    static uint8_t bytes[1 << 20];
    uint64_t at = FORMAT_SEGMENT_HEADER_BYTES;
    uint32_t checksum;
    size_t count = 0;

    scratch_read(path, 0, bytes, sizeof bytes);
    cr_assert_eq(segment_format_decode_segment_header(bytes, &header, &checksum), FORMAT_VALID);
    uint32_t seed = segment_format_seed(header.log_id, header.sequence_first);
    struct segment_format_block_header block;
    while (count < 16 && segment_format_decode_block_header(seed, bytes + at, at, sizeof bytes,
                                                            &block) == FORMAT_VALID) {
        offsets[count++] = at;
        at += block.size_bytes;
    }
    return count;
}

static size_t find_blocks(uint64_t offsets[16])
{
    return find_blocks_of(first_segment(), offsets);
}

/* As if the machine had been restarted since: the page names another boot. */
static void lose_power(void)
{
    unlink(scratch_path("log/watermark"));
}

static void two_commits(void)
{
    append("alpha");
    commit();
    append("beta");
    commit();
}

Test(recovery, of_a_clean_stop_goes_on_in_the_same_segment)
{
    open_log();
    cr_assert(report.created);
    two_commits();
    close_log();

    open_log();
    cr_assert_eq(report.verdict, RECOVERY_CLEAN);
    cr_assert_eq(report.segment_first, 1);
    cr_assert_eq(append("gamma"), 3);
    close_log();
    expect_events("alpha", "beta", "gamma", NULL);
}

Test(recovery, of_a_hundred_clean_stops_needs_no_room)
{
    open_log();
    two_commits();
    close_log();
    uint64_t offsets[16];
    size_t blocks = find_blocks(offsets);
    for (int i = 0; i < 100; i++) {
        open_log();
        cr_assert_eq(report.verdict, RECOVERY_CLEAN);
        close_log();
    }
    cr_assert_eq(find_blocks(offsets), blocks);
}

Test(recovery, of_a_killed_writer_keeps_all_and_starts_a_new_segment)
{
    killed_after(two_commits);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_END);
    cr_assert_eq(report.gap_first, 0, "the process was killed, no number can be lost");
    cr_assert_eq(append("gamma"), 3);
    commit();
    cr_assert_eq(access(scratch_path("log/segments/00000000000000000003.seg"), F_OK), 0);
    close_log();
    expect_events("alpha", "beta", "gamma", NULL);
}

Test(recovery, after_a_power_loss_skips_the_numbers_that_may_have_been_told)
{
    killed_after(two_commits);
    lose_power();
    open_log();
    cr_assert_eq(report.gap_first, 3);
    cr_assert_eq(report.gap_last, 2 + FORMAT_UNDURABLE_EVENTS_MAX);
    cr_assert_eq(report.gap_cause, FORMAT_GAP_POWER_LOSS);
    cr_assert_eq(append("gamma"), 3 + FORMAT_UNDURABLE_EVENTS_MAX);
    close_log();
    expect_events("alpha", "beta", "gamma", NULL);
}

/* Every way in which the last, unacknowledged block can have reached the disk in part. */
Test(recovery, drops_the_block_torn_by_a_crash_and_keeps_those_before_it)
{
    uint64_t offsets[16];

    killed_after(two_commits);
    lose_power();
    cr_assert_eq(find_blocks(offsets), 2);
    scratch_copy(scratch_path("log"), scratch_path("before"));
    for (uint64_t cut = offsets[1]; cut < offsets[1] + 200; cut += 8) {
        scratch_copy(scratch_path("before"), scratch_path("log-%d", (int)cut));
        cr_assert_eq(rename(scratch_path("log"), scratch_path("old-%d", (int)cut)), 0);
        cr_assert_eq(rename(scratch_path("log-%d", (int)cut), scratch_path("log")), 0);
        /* Both alone fit within one sector here: nothing of it was written, or the sector behind is
         * missing. */
        scratch_fill(first_segment(), cut, 400, 0);
        open_log();
        if (report.verdict != RECOVERY_END && report.verdict != RECOVERY_TORN)
            cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL);
        append("gamma");
        commit();
        close_log();
        if (cut - offsets[1] < 144)
            expect_events("alpha", "gamma", NULL);
    }
}

static void three_commits(void)
{
    two_commits();
    append("gamma");
    commit();
}

Test(recovery, never_trims_damage_that_a_later_block_vouches_for)
{
    uint64_t offsets[16];

    killed_after(three_commits);
    lose_power();
    find_blocks(offsets);
    scratch_flip(first_segment(), offsets[1] + 110, 0x04);
    cr_assert_eq(try_open(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "a later block says that it was durable"));
    cr_assert_not_null(strstr(error.text, "; event 2 is damaged or lost"), "%s", error.text);
    cr_assert_eq(try_open(), ERROR_DAMAGED, "nothing was changed");
}

Test(recovery, believes_a_witness_more_than_zeros)
{
    uint64_t offsets[16];

    killed_after(two_commits);
    lose_power();
    find_blocks(offsets);
    scratch_fill(first_segment(), offsets[1], 400, 0);
    witness = 2; /* the index has it */
    cr_assert_eq(try_open(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "the index or the watermark has seen it"));
    witness = 1;
    open_log();
    close_log();
}

Test(recovery, takes_the_watermark_page_for_a_witness)
{
    uint64_t offsets[16];

    killed_after(two_commits);
    find_blocks(offsets);
    scratch_fill(first_segment(), offsets[1], 400, 0);
    cr_assert_eq(try_open(), ERROR_DAMAGED);
}

Test(recovery, keeps_a_damaged_tail_for_a_person)
{
    uint64_t offsets[16];
    uint8_t before[144], kept[144];

    killed_after(two_commits);
    lose_power();
    find_blocks(offsets);
    scratch_flip(first_segment(), offsets[1] + 110, 0x04); /* in its last commit: no later block */
    scratch_read(first_segment(), offsets[1], before, sizeof before);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL);
    cr_assert_eq(report.gap_cause, FORMAT_GAP_DAMAGED_TAIL);
    cr_assert_neq(report.quarantined[0], 0);
    scratch_read(scratch_path("log/quarantine/%s", report.quarantined), 0, kept, 128);
    cr_assert_arr_eq(kept, before, 128);
    cr_assert_gt(append("gamma"), 2, "a number that was used once is not used again");
    close_log();
    expect_events("alpha", "gamma", NULL);
}

/* Through a map a header is stored line by line, its first word last. */
Test(recovery, takes_a_header_that_was_stored_in_part_for_torn)
{
    enum { HEADER = 104, LINE = 64 };
    uint64_t offsets[16];

    for (size_t from = 0, end; from < HEADER; from = end) {
        killed_after(two_commits);
        lose_power();
        find_blocks(offsets);
        end = from + LINE - (offsets[1] + from) % LINE;
        if (end > HEADER)
            end = HEADER;
        scratch_fill(first_segment(), offsets[1] + from, end - from, 0);
        open_log();
        cr_assert_eq(report.verdict, RECOVERY_TORN, "bytes %zu to %zu", from, end);
        close_log();
        cr_assert_eq(rename(scratch_path("log"), scratch_path("log-%zu", from)), 0);
    }
    killed_after(two_commits);
    lose_power();
    find_blocks(offsets);
    scratch_fill(first_segment(), offsets[1], 8, 0);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_TORN);
    close_log();
}

static void by_producers(void)
{
    append_of("p", 1, "one");
    append_of("q", 10, "ten");
    append_of("p", 2, "two");
    commit();
}

Test(recovery, knows_the_producers_numbers_again)
{
    killed_after(by_producers);
    open_log();
    cr_assert_eq(append_of("p", 2, "two"), 0, "a duplicate");
    cr_assert_eq(append_of("p", 3, "three"), 4);
    cr_assert_eq(append_of("q", 10, "ten"), 0, "a duplicate");
    close_log();
    /* Now they come from the snapshot at the beginning of the second segment. */
    open_log();
    cr_assert_eq(append_of("p", 3, "three"), 0, "a duplicate");
    cr_assert_eq(append_of("q", 11, "eleven"), 5);
    close_log();
    expect_events("one", "ten", "two", "three", "eleven", NULL);
}

/* 3 MB that LZ4 cannot shrink, so that a segment of 1 MiB is full and one of 2 MiB in use. */
static void three_megabytes(void)
{
    static char payload[20000] = {(char)0xc5, (20000 - 3) >> 8, (char)((20000 - 3) & 255)};
    struct event event = {.topic = "t",
                          .topic_bytes = 1,
                          .payload = payload,
                          .payload_bytes = sizeof payload,
                          .time_ns = EVENT_TIME_NONE};
    enum segment_log_outcome outcome;
    uint64_t sequence;

    for (size_t i = 3; i < sizeof payload; i++)
        payload[i] = (char)rand();
    for (int i = 0; i < 150; i++) {
        cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK);
        commit();
    }
}

/* Who starts a daemon again waits until the file is there, however large the others are. */
Test(recovery, goes_on_in_a_small_segment)
{
    segment_bytes = 64 << 20;
    killed_after(three_megabytes);
    open_log();
    struct stat status;
    cr_assert_eq(stat(scratch_path("log/segments/%020d.seg", 151), &status), 0);
    cr_assert_eq(status.st_size, 1 << 20);
    close_log();
}

Test(recovery, leaves_no_file_that_the_killed_writer_had_ready)
{
    char both[300];
    killed_after(by_producers);
    FILE *ready = fopen(scratch_path("log/segments/prepared.tmp"), "w");
    cr_assert_not_null(ready); /* the next one may not have been finished */
    fclose(ready);
    /* A crash within a start before this one can leave it with its old and its new name. */
    snprintf(both, sizeof both, "%s", scratch_path("log/segments/discarded.tmp"));
    cr_assert_eq(link(scratch_path("log/segments/prepared.tmp"), both), 0);
    open_log();
    close_log();
    cr_assert_neq(access(scratch_path("log/segments/discarded.tmp"), F_OK), 0);
    cr_assert_neq(access(scratch_path("log/segments/prepared.tmp"), F_OK), 0);
}

static void nothing(void)
{
}

Test(recovery, of_kill_after_kill_without_an_event_between_them_stays_openable)
{
    killed_after(by_producers);
    for (int i = 0; i < 3; i++) {
        killed_after(nothing);
        if (i == 1)
            lose_power();
    }
    open_log();
    cr_assert_eq(append_of("p", 2, "two"), 0, "a duplicate");
    append_of("p", 3, "three");
    close_log();
    expect_events("one", "ten", "two", "three", NULL);
}

/* What a recovery leaves that is killed, or finds the disk full, between its seal and its new
 * segment. */
Test(recovery, that_was_interrupted_still_skips_the_numbers_that_may_have_been_told)
{
    killed_after(two_commits);
    lose_power();
    open_log();
    close_log();
    cr_assert_eq(unlink(scratch_path("log/segments/%020d.seg", 3)), 0);
    lose_power();
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_SEALED);
    cr_assert_eq(append("gamma"), 3 + FORMAT_UNDURABLE_EVENTS_MAX);
    close_log();
}

static void page_names_as_written(const uint8_t *log_id, uint64_t sequence)
{
    struct segment_watermark *page;
    int directory;

    cr_assert_eq(file_open_directory(scratch_path("log"), false, &directory, &error), OK);
    cr_assert_eq(segment_watermark_create(directory, log_id, 1, &page, &error), OK);
    segment_watermark_set_written(page, sequence);
    segment_watermark_close(page);
    file_close(&directory);
}

static void written_and_lost(void)
{
    two_commits();
    page_names_as_written(segment_log_id(log), 7);
}

Test(recovery, on_the_same_boot_skips_what_the_page_names_as_written)
{
    killed_after(written_and_lost); /* as after a failed fdatasync, which drops the pages */
    open_log();
    cr_assert_eq(report.gap_first, 3);
    cr_assert_eq(report.gap_last, 7);
    cr_assert_eq(append("gamma"), 8);
    close_log();
}

Test(recovery, replaces_an_unused_segment_under_the_eyes_of_a_reader)
{
    struct segment_reader *reader;
    struct event event;

    killed_after(nothing);
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_END);
    open_log(); /* another file, of the same name and size */
    two_commits();
    cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    cr_assert_eq(event.sequence, 2);
    segment_reader_close(reader);
    close_log();
}

/* As a writer that is killed between the seal's write and its sync: another block and a seal,
 * promised by nobody. */
static void write_unsynced_seal(void)
{
    struct segment_set set;
    struct segment_recovery_scan scan;
    struct segment_writer *writer;
    struct segment_block_builder builder = {0};
    struct buffer footer = {0};
    struct event event = {.topic = "t", .topic_bytes = 1, .payload = "\xc0", .payload_bytes = 1};
    int directory, segments, fd;

    cr_assert_eq(file_open_directory(scratch_path("log"), false, &directory, &error), OK);
    cr_assert_eq(file_open_directory_at(directory, "segments", false, &segments, &error), OK);
    cr_assert_eq(segment_set_load(directory, segments, &set, &error), OK);
    cr_assert_eq(file_open(segments, set.segments[0].name, FILE_WRITE, &fd, &error), OK);
    cr_assert_eq(segment_recovery_scan(fd, &set.segments[0], false, 0, NULL, NULL, &scan, &error),
                 OK);
    struct segment_writer_resume resume = {.segments_fd = segments,
                                           .header = set.segments[0].header,
                                           .epoch = scan.epoch,
                                           .end_offset = scan.end_offset,
                                           .chain = scan.chain};
    segment_seal_init(&resume.seal, 1);
    cr_assert_eq(segment_writer_resume(&resume, fd, &writer, &error), OK);
    cr_assert_eq(segment_block_builder_add(&builder, &event, 1000, &error), OK);
    struct segment_writer_block block = {.kind = FORMAT_BLOCK_EVENTS,
                                         .sequence_first = scan.sequence_next,
                                         .event_count = 1,
                                         .arrival_ns = scan.arrival_ns,
                                         .raw = builder.raw.data,
                                         .raw_bytes = builder.raw.size};
    cr_assert_eq(segment_writer_put(writer, &block, &error), OK, "%s", error.text);
    cr_assert_eq(segment_seal_encode(segment_writer_totals(writer), &footer, &error), OK);
    struct segment_writer_block seal = {.kind = FORMAT_BLOCK_SEAL,
                                        .sequence_first = scan.sequence_next + 1,
                                        .arrival_ns = scan.arrival_ns,
                                        .raw = footer.data,
                                        .raw_bytes = footer.size};
    cr_assert_eq(segment_writer_put(writer, &seal, &error), OK, "%s", error.text);
    segment_writer_close(writer);
    segment_block_builder_release(&builder);
    buffer_release(&footer);
    segment_set_free(&set);
    file_close(&segments);
    file_close(&directory);
}

Test(recovery, takes_no_seal_for_a_proof_that_what_stands_before_it_is_durable)
{
    killed_after(two_commits);
    write_unsynced_seal();
    expect_events("alpha", "beta",
                  NULL); /* a reader, on the same boot: the third may be lost yet */
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_SEALED);
    cr_assert_eq(report.sequence_next, 4, "recovery has synced it: now it counts");
    close_log();
}

/* The last block of kind 7, with right checksums: what a newer Daybook may write. */
static void write_newer_block(void)
{
    struct segment_format_segment_header header;
    static uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint8_t block[FORMAT_BLOCK_HEADER_BYTES];
    uint64_t offsets[16];
    uint32_t checksum;

    size_t count = find_blocks(offsets);
    scratch_read(first_segment(), 0, bytes, sizeof bytes);
    segment_format_decode_segment_header(bytes, &header, &checksum);
    struct segment_format_block_header newer = {.kind = (enum segment_format_block_kind)7,
                                                .offset = offsets[count - 1] + 144,
                                                .sequence_first = 3,
                                                .size_bytes = sizeof block};
    segment_format_encode_block_header(segment_format_seed(header.log_id, 1), &newer, block);
    scratch_write(first_segment(), newer.offset, block, sizeof block);
}

Test(recovery, never_cuts_what_a_newer_daybook_has_written)
{
    uint64_t offsets[16];

    killed_after(two_commits);
    find_blocks(offsets);
    cr_assert_eq(offsets[1] - offsets[0], 144);
    write_newer_block();
    cr_assert_eq(try_open(), ERROR_VERSION);
    cr_assert_not_null(strstr(error.text, "newer Daybook"), "%s", error.text);
    expect_events("alpha", "beta", NULL);
}

static void fill_segments(void)
{
    char text[32];
    for (int i = 0; i < 30000; i++) {
        snprintf(text, sizeof text, "%d", i);
        append(text);
        if (i % 100 == 99)
            commit();
    }
}

Test(recovery, finishes_a_seal_whose_trailer_is_missing)
{
    uint8_t bytes[FORMAT_TRAILER_BYTES], again[FORMAT_TRAILER_BYTES];
    uint64_t trailer = (64 << 10) - FORMAT_TRAILER_BYTES;

    segment_bytes = 64 << 10;
    killed_after(fill_segments);
    scratch_read(first_segment(), trailer, bytes, sizeof bytes);
    cr_assert_not(bytes_are_zero(bytes, sizeof bytes), "the first segment is sealed");
    /* As if the crash had come between the seal and the trailer: no later segment yet. */
    for (int i = 2; i < 30001; i++)
        unlink(scratch_path("log/segments/%020d.seg", i));
    lose_power();
    scratch_fill(first_segment(), trailer, FORMAT_TRAILER_BYTES, 0);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_SEALED);
    scratch_read(first_segment(), trailer, again, sizeof again);
    cr_assert_arr_eq(again, bytes, sizeof bytes);
    close_log();
}

Test(recovery, writes_through_the_map_and_comes_back_the_same)
{
    write_path = LOG_WRITE_MMAP;
    killed_after(fill_segments);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_END);
    cr_assert_eq(report.sequence_next, 30001);
    close_log();
}

Test(recovery, refuses_a_directory_whose_segments_are_gone)
{
    open_log();
    two_commits();
    close_log();
    cr_assert_eq(unlink(first_segment()), 0);
    cr_assert_eq(try_open(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "there were events up to 2"), "%s", error.text);
}

Test(recovery, every_verdict_has_a_name)
{
    for (int verdict = RECOVERY_CLEAN; verdict <= RECOVERY_CORRUPT; verdict++) {
        const char *text = segment_recovery_verdict_text((enum segment_recovery_verdict)verdict);
        cr_assert_str_neq(text, "unknown", "%d", verdict);
        for (int other = RECOVERY_CLEAN; other < verdict; other++)
            cr_assert_str_neq(text,
                              segment_recovery_verdict_text((enum segment_recovery_verdict)other));
    }
    cr_assert_str_eq(segment_recovery_verdict_text((enum segment_recovery_verdict)99), "unknown");
}

static void only_gamma(void)
{
    append("gamma");
    commit();
}

/* Behind a stop mark a first commit may be lost as a whole, and its number may have been told. */
Test(recovery, after_a_clean_stop_gives_no_number_again_that_the_first_commit_lost)
{
    uint64_t offsets[16];

    open_log();
    two_commits();
    close_log();
    size_t blocks = find_blocks(offsets);
    killed_after(only_gamma);
    lose_power();
    size_t more = find_blocks(offsets);
    cr_assert_gt(more, blocks);
    scratch_fill(first_segment(), offsets[more - 1], 400, 0); /* gamma never reached the disk */
    open_log();
    cr_assert_neq(report.verdict, RECOVERY_CLEAN);
    cr_assert_gt(append("delta"), 3, "number 3 was gamma's");
    close_log();
    expect_events("alpha", "beta", "delta", NULL);
}

/*
 * The same without a power loss: a disk that forgot all of what it had confirmed behind the stop
 * mark leaves the page to tell.
 */
Test(recovery, takes_no_stop_for_clean_behind_which_the_page_knows_of_more)
{
    uint8_t log_id[FORMAT_LOG_ID_BYTES];

    open_log();
    two_commits();
    memcpy(log_id, segment_log_id(log), sizeof log_id);
    close_log();
    page_names_as_written(log_id, 4);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_END);
    cr_assert_eq(report.gap_first, 3);
    cr_assert_eq(report.gap_last, 4);
    cr_assert_eq(append("gamma"), 5, "numbers 3 and 4 may have been told");
    close_log();
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_CLEAN, "what has been skipped is no reason to doubt");
    close_log();
    expect_events("alpha", "beta", "gamma", NULL);
}

/* A recovery that dies after it has sealed what a damaged tail left has told nobody yet. */
Test(recovery, still_tells_of_a_damaged_tail_that_an_interrupted_recovery_has_cut)
{
    uint64_t offsets[16];

    killed_after(two_commits);
    lose_power();
    find_blocks(offsets);
    scratch_flip(first_segment(), offsets[1] + 110, 0x04);
    scratch_copy(scratch_path("log"), scratch_path("before"));
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL);
    uint64_t next = report.gap_last + 1;
    close_log();
    /* Take the segment back that it had begun: then it was interrupted just before. */
    cr_assert_eq(report.gap_first, 2);
    scratch_delete(scratch_path("log/segments/%020d.seg", 2));
    lose_power();
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL);
    cr_assert_neq(report.quarantined[0], 0);
    cr_assert_eq(report.gap_cause, FORMAT_GAP_DAMAGED_TAIL);
    cr_assert_eq(report.gap_last + 1, next);
    close_log();
}

Test(recovery, goes_on_with_the_alignment_that_is_asked_for_in_the_same_segment)
{
    uint64_t offsets[16];

    open_log();
    two_commits();
    close_log();
    size_t blocks = find_blocks(offsets);
    commit_align = 4096;
    open_log();
    append("gamma");
    commit();
    size_t more = find_blocks(offsets);
    cr_assert_gt(more, blocks + 1);
    cr_assert_eq(offsets[more - 1] % 4096, 0, "gamma is at %llu",
                 (unsigned long long)offsets[more - 1]);
    close_log();
}

/* Two events, then the head of a block in a torn tail that names this sequence. */
static void forge_tail(uint64_t sequence)
{
    uint64_t offsets[16];
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
    struct segment_format_segment_header header;
    static uint8_t segment[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;

    killed_after(two_commits);
    lose_power();
    size_t blocks = find_blocks(offsets);
    scratch_read(first_segment(), 0, segment, sizeof segment);
    segment_format_decode_segment_header(segment, &header, &checksum);
    uint32_t seed = segment_format_seed(header.log_id, header.sequence_first);
    struct segment_format_block_header forged;
    scratch_read(first_segment(), offsets[blocks - 1], bytes, sizeof bytes);
    cr_assert_eq(segment_format_decode_block_header(seed, bytes, offsets[blocks - 1],
                                                    header.size_bytes, &forged),
                 FORMAT_VALID);
    forged.offset += 4096;
    forged.sequence_first = sequence;
    forged.durable_offset = 0;
    segment_format_encode_block_header(seed, &forged, bytes);
    scratch_write(first_segment(), forged.offset, bytes, sizeof bytes);
}

Test(recovery, believes_the_last_sequence_in_a_torn_tail_that_can_have_been_given)
{
    forge_tail(2 + FORMAT_UNDURABLE_EVENTS_MAX);
    open_log();
    cr_assert_eq(report.gap_first, 3);
    cr_assert_eq(report.gap_last, 2 + FORMAT_UNDURABLE_EVENTS_MAX);
    cr_assert_eq(append("gamma"), 3 + FORMAT_UNDURABLE_EVENTS_MAX);
    close_log();
}

/* Whatever a torn tail holds, the sequences do not run out. */
Test(recovery, does_not_believe_a_sequence_in_a_torn_tail_that_cannot_have_been_given)
{
    forge_tail(EVENT_SEQUENCE_END - 10);
    open_log();
    cr_assert_lt(report.gap_last, 1 << 20);
    append("gamma");
    close_log();
}

/* The same behind a stop mark: zeros behind it must not pass for the clean stop that it was. */
Test(recovery, gives_no_number_again_when_it_was_interrupted_behind_a_stop_mark)
{
    uint64_t offsets[16];

    open_log();
    two_commits();
    close_log();
    size_t blocks = find_blocks(offsets);
    killed_after(only_gamma);
    lose_power();
    size_t more = find_blocks(offsets);
    cr_assert_eq(more, blocks + 2);
    /* A disk that tears: one sector held gamma and what vouched for it. */
    for (size_t i = blocks; i < more; i++)
        scratch_flip(first_segment(), offsets[i] + 20, 0x04);
    scratch_copy(scratch_path("log"), scratch_path("before"));
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL);
    close_log();
    /* As if that had ended when the tail was zeros, before anything else. */
    scratch_copy(scratch_path("log/quarantine"), scratch_path("before/quarantine"));
    cr_assert_eq(rename(scratch_path("log"), scratch_path("after")), 0);
    cr_assert_eq(rename(scratch_path("before"), scratch_path("log")), 0);
    scratch_fill(first_segment(), offsets[blocks], 1024, 0);
    struct broken_plan plan = {.call = BROKEN_OPEN,
                               .number = 1,
                               .for_ever = true,
                               .reason = EMFILE,
                               .name_part = "quarantine"};
    broken_calls_begin(&plan);
    cr_assert_neq(try_open(), OK, "nobody can tell whether a tail was cut");
    cr_assert_gt(broken_calls_end(), 0);
    open_log();
    cr_assert_eq(report.verdict, RECOVERY_DAMAGED_TAIL);
    cr_assert_neq(report.quarantined[0], 0);
    cr_assert_gt(append("delta"), 3, "number 3 was gamma's");
    close_log();
    expect_events("alpha", "beta", "delta", NULL);
}

/* A block of two events, then a group of two blocks. */
static void two_blocks_in_one_commit(void)
{
    append("alpha");
    append("beta");
    commit();
    append("gamma, which fills a block of this size alone");
    append("delta, which comes into the one behind it");
    commit();
}

Test(recovery, names_every_event_of_a_promised_block_whose_body_is_bad)
{
    uint64_t offsets[16];
    struct segment_reader *reader;
    struct event event;

    block_bytes = 100;
    killed_after(two_blocks_in_one_commit);
    lose_power();
    cr_assert_eq(find_blocks(offsets), 3);
    scratch_flip(first_segment(), offsets[0] + 110, 0x04);
    /* The one that vouches for it is the second of its group: it names no sequence. */
    scratch_flip(first_segment(), offsets[1] + 20, 0x04);
    cr_assert_eq(try_open(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "some or all of the events 1 to 2 are damaged or lost"),
                       "%s", error.text);
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK, "%s", error.text);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_DAMAGED);
    segment_reader_close(reader);
}

/*
 * The block behind may find no room, and then the one before it is the end of the commit: whatever
 * comes next must not share its page.
 */
Test(recovery, finds_every_block_of_a_group_on_a_boundary_of_its_own)
{
    uint64_t offsets[16];

    commit_align = 4096;
    block_bytes = 96;
    killed_after(two_blocks_in_one_commit);
    size_t count = find_blocks(offsets);
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(offsets[i] % 4096, 0, "block %zu at %" PRIu64, i, offsets[i]);
}

/* What vouches for a snapshot of producers is a block of events, and both are damaged. */
Test(recovery, leaves_no_reader_without_a_word_when_only_a_header_names_what_is_lost)
{
    uint64_t offsets[16];
    struct segment_reader *reader;
    struct event event;

    killed_after(by_producers);
    killed_after(only_gamma);
    lose_power();
    const char *second = scratch_path("log/segments/%020d.seg", 4);
    cr_assert_eq(find_blocks_of(second, offsets), 2);
    scratch_flip(second, offsets[0] + 110, 0x04);
    scratch_flip(second, offsets[1] + 110, 0x04);
    cr_assert_eq(try_open(), ERROR_DAMAGED);
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK, "%s", error.text);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "event 4 cannot be read"), "%s", error.text);
    segment_reader_close(reader);
}

Test(recovery, leaves_no_reader_without_a_word_when_all_of_a_segment_is_damaged)
{
    struct segment_reader *reader;
    struct event event;

    killed_after(two_commits);
    scratch_fill(first_segment(), 0, 8192, 0xa5); /* the watermark page still names the log */
    scratch_fill(scratch_path("log/watermark"), 56, 32, 0);
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK, "%s", error.text);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "its header is damaged"), "%s", error.text);
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_END);
    segment_reader_close(reader);
}

/* Somebody has copied a page, or a directory, together. */
Test(recovery, asks_no_page_of_another_log)
{
    uint8_t page[4096];

    logs_make(scratch_path("other"), 0, 40, 0);
    open_log();
    two_commits();
    close_log();
    scratch_read(scratch_path("other/watermark"), 0, page, sizeof page);
    scratch_write(scratch_path("log/watermark"), 0, page, sizeof page);
    open_log(); /* believed, it would be a witness of 38 events that are gone */
    cr_assert_eq(report.verdict, RECOVERY_CLEAN);
    cr_assert_eq(append("gamma"), 3);
    close_log();
    expect_events("alpha", "beta", "gamma", NULL);
}

static void many_producers(void)
{
    char name[24];
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "producer-%04d", i);
        append_of(name, 1, "x");
    }
    commit();
}

/* 17 + 64 bytes each are set aside: they do not fit in the smallest segment. */
Test(recovery, makes_a_segment_large_enough_for_all_producers)
{
    char name[24];

    segment_bytes = 64 << 10;
    killed_after(many_producers);
    open_log();
    cr_assert_eq(report.sequence_next, 1501);
    cr_assert_gt(scratch_size(scratch_path("log/segments/%020d.seg", 1501)), 64 << 10);
    for (int i = 0; i < 1500; i += 7) {
        snprintf(name, sizeof name, "producer-%04d", i);
        cr_assert_eq(append_of(name, 1, "x"), 0, "a duplicate");
    }
    close_log();
}

Test(recovery, refuses_a_promised_gap_that_makes_no_sense)
{
    char path[600];
    killed_after(two_commits);
    lose_power();
    open_log(); /* another segment, which begins with a gap */
    append("gamma");
    close_log();
    snprintf(path, sizeof path, "%s", scratch_path("log"));
    struct forge forge = {path, 3};
    forge_body(forge, forge_find_kind(forge, FORMAT_BLOCK_GAP), 8, FORGE_64,
               1); /* before it begins */
    cr_assert_eq(try_open(), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "the segment's header says that it was durable"), "%s",
                       error.text);
}
