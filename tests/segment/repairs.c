#include "tests/segment/repairs.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checksum.h"
#include "core/file.h"
#include "segment/bound.h"
#include "segment/verify.h"
#include "tests/support/scratch.h"

struct error repairs_error;
const char *repairs_path;

/*
 * Event n has the producer "p" or "q" and the number n, and a block of its own. Some 15 of them
 * fill a segment. Hard to compress, so that they do not shrink into one.
 */
void repairs_append(struct segment_log *log, uint64_t number)
{
    uint8_t payload[3000];
    uint32_t noise = (uint32_t)number;
    payload[0] = 0xc5; /* msgpack: bin 16 */
    payload[1] = (sizeof payload - 3) >> 8;
    payload[2] = (sizeof payload - 3) & 0xff;
    for (size_t i = 3; i < sizeof payload; i++)
        payload[i] = (uint8_t)((noise = noise * 1664525 + 1013904223) >> 24);
    struct event event = {
        .topic = "t",
        .topic_bytes = 1,
        .payload = payload,
        .payload_bytes = sizeof payload,
        .time_ns = (int64_t)number * 1000000000,
        .producer = number % 2 ? "p" : "q",
        .producer_bytes = 1,
        .number = number,
    };
    enum segment_log_outcome outcome;
    uint64_t sequence;
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &repairs_error), OK, "%s",
                 repairs_error.text);
    cr_assert_eq(outcome, LOG_APPENDED);
    cr_assert_eq(segment_log_wait(log, sequence, &repairs_error), OK, "%s", repairs_error.text);
}

void repairs_make(const char *path)
{
    struct segment_log *log = logs_open(path, SMALL);
    for (uint64_t number = 1; number <= LAST; number++)
        repairs_append(log, number);
    logs_close(log);
    repairs_path = path;
}

const char *repairs_segment(uint64_t first)
{
    return logs_segment_path(repairs_path, first);
}

/* The first sequence of the n-th segment, from 0. */
uint64_t repairs_nth(unsigned n)
{
    uint64_t sequence = 1;
    while (n-- > 0) {
        uint64_t first = logs_find(repairs_path, sequence).segment_first;
        while (logs_find(repairs_path, sequence).segment_first == first)
            sequence++;
    }
    return sequence;
}

uint64_t repairs_last_segment(void)
{
    return logs_find(repairs_path, LAST).segment_first;
}

struct repairs_content repairs_read_all(const char *path)
{
    struct repairs_content content = {0};
    struct segment_reader *reader = logs_read(path);
    for (;;) {
        struct event event;
        enum error_code code = segment_reader_next(reader, &event, &repairs_error);
        if (code == ERROR_END)
            break;
        if (code == ERROR_DAMAGED) {
            cr_assert_lt(++content.damage, 100, "%s", repairs_error.text);
            continue;
        }
        cr_assert_eq(code, OK, "%s", repairs_error.text);
        if (event.sequence >= EVENTS_MAX)
            continue;
        uint32_t digest = checksum_extend(0, event.payload, event.payload_bytes);
        digest = checksum_extend(digest, &event.time_ns, sizeof event.time_ns);
        digest = checksum_extend(digest, &event.number, sizeof event.number);
        cr_assert_eq(content.digests[event.sequence], 0);
        content.digests[event.sequence] = digest ? digest : 1;
    }
    segment_reader_close(reader);
    return content;
}

const char *repairs_gaps_text(const char *path, enum segment_format_gap_cause cause)
{
    static char text[512];
    struct segment_reader *reader = logs_read(path);
    text[0] = '\0';
    for (;;) {
        struct segment_reader_block block;
        struct segment_format_gap gap;
        enum error_code code = segment_reader_next_block(reader, &block, &repairs_error);
        if (code == ERROR_END)
            break;
        cr_assert_eq(code, OK, "%s", repairs_error.text);
        if (block.header.kind != FORMAT_BLOCK_GAP)
            continue;
        cr_assert_eq(
            segment_format_decode_gap(block.raw, block.header.raw_bytes, &gap, &repairs_error), OK);
        if (gap.cause == cause)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%" PRIu64 "-%" PRIu64,
                     text[0] ? " " : "", gap.sequence_first, gap.sequence_last);
    }
    segment_reader_close(reader);
    return text;
}

void repairs_tell(void *context, const char *text)
{
    struct repairs_told *told = context;
    if (told->count < TEXTS_MAX)
        snprintf(told->texts[told->count], sizeof told->texts[0], "%s", text);
    told->count++;
}

static enum error_code retire(void *context, struct error *why)
{
    struct repairs_told *told = context;
    (void)why;
    told->retired++;
    return OK;
}

uint64_t repairs_witness, repairs_witness_bound;

enum error_code repairs_run(const char *path, bool dry_run, bool accept_loss,
                            struct repairs_told *told)
{
    *told = (struct repairs_told){0};
    struct segment_repair_options options = {
        .dry_run = dry_run,
        .accept_loss = accept_loss,
        .witness_sequence = repairs_witness,
        .witness_bound = repairs_witness_bound,
        .tell = repairs_tell,
        .retire = retire,
        .context = told,
    };
    return segment_repair_run(path, &options, &told->totals, &repairs_error);
}

static void count_finding(void *context, const struct segment_verify_finding *finding)
{
    struct repairs_told *told = context;
    repairs_tell(told, finding->text);
}

struct repairs_told repairs_verify(const char *path)
{
    struct repairs_told told = {0};
    struct segment_verify_totals totals;
    cr_assert_eq(segment_verify_log(path, count_finding, NULL, &told, &totals, &repairs_error), OK,
                 "%s", repairs_error.text);
    return told;
}

void repairs_expect_sound(const char *path)
{
    struct repairs_told told = repairs_verify(path);
    cr_assert_eq(told.count, 0, "%s", told.texts[0]);
    cr_assert_eq(access(scratch_path("log/repair"), F_OK), -1);
}

void repairs_displace_bound(enum repairs_stranger stranger)
{
    const char *name = scratch_path("log/lower-bound");
    unlink(name);
    if (stranger == STRANGER_LINK)
        cr_assert_eq(symlink("/dev/null", name), 0);
    else if (stranger == STRANGER_PIPE)
        cr_assert_eq(mkfifo(name, 0600), 0);
    else
        cr_assert_eq(mkdir(name, 0700), 0);
}

void repairs_spoil_bound(uint64_t sequence)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_bound_restore(fd, sequence, &repairs_error), OK);
    file_close(&fd);
    scratch_flip(scratch_path("log/lower-bound"), 15, 1);
}

void repairs_expect_bound(uint64_t sequence)
{
    uint64_t bound = 0;
    int fd = -1;
    cr_assert_eq(file_open_directory(repairs_path, false, &fd, &repairs_error), OK);
    cr_assert_eq(segment_bound_load(fd, &bound, &repairs_error), OK, "%s", repairs_error.text);
    file_close(&fd);
    cr_assert_eq(bound, sequence, "the lower bound is %" PRIu64 ", not %" PRIu64, bound, sequence);
}

enum error_code repairs_open_as_writer(const char *path, struct segment_log **log_out)
{
    struct segment_log_options options = {.segment_bytes = SMALL,
                                          .witness_sequence = repairs_witness};
    return segment_log_open(path, &options, log_out, NULL, &repairs_error);
}

/* A log in DIR/log. */
void repairs_prepare_sound(void)
{
    scratch_directory();
    repairs_witness = repairs_witness_bound = 0;
    char command[1100];
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", scratch_path("log"),
             scratch_path("other"));
    cr_assert_eq(system(command), 0);
    repairs_make(scratch_path("log"));
    static char path[1024];
    snprintf(path, sizeof path, "%s", scratch_path("log"));
    repairs_path = path;
}

/* … with the damage `i`. */
const struct repairs_damage *repairs_prepare(size_t i)
{
    repairs_prepare_sound();
    repairs_damages[i].make();
    return &repairs_damages[i];
}

struct repairs_content repairs_read_before(const struct repairs_damage *damage)
{
    if (damage->flags & EMPTIES)
        return (struct repairs_content){0};
    return repairs_read_all(repairs_path);
}

void repairs_expect_same_events(const struct repairs_content *before,
                                const struct repairs_content *after, const char *name)
{
    for (uint64_t sequence = 1; sequence < EVENTS_MAX; sequence++)
        cr_assert_eq(before->digests[sequence], after->digests[sequence],
                     "%s: event %" PRIu64 " is another, or %s", name, sequence,
                     after->digests[sequence] ? "has come up" : "gone");
    cr_assert_eq(after->damage, 0, "%s: a reader still meets damage", name);
}
