/*
 * fuzz_segments.c - a whole directory of segments, with whatever stands beside them, is read,
 * verified, recovered, and written on.
 *
 * Whatever the bytes are: everything ends, errors say why, and
 *   - a reader's sequences ascend, and what it calls damaged verify finds too;
 *   - what verify finds nothing in is read without complaint, every event of it;
 *   - what could be read before the log was opened for writing can be read afterwards, unchanged
 *     (D2), and the sequence that comes next is above all of them (D6);
 *   - what was opened once opens again, with nothing left to repair.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "core/error.h"
#include "segment/opening.h"
#include "segment/reader.h"
#include "segment/verify.h"
#include "tests/fuzz/fixed_clock.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

/* Bits of the image's options. */
enum { OPTION_WITNESS = 1, OPTION_MMAP = 2, OPTION_SEEK = 4, OPTION_ALIGN = 8 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return image_mutate(data, size, size_max, seed);
}

/* ---- Reading ---- */

enum { STEPS_MAX = 100000, EVENTS_KEPT_MAX = 8192 };

struct reading {
    bool opened;
    uint64_t events;
    uint64_t damaged;
    uint64_t last;
    size_t kept;
    uint64_t sequences[EVENTS_KEPT_MAX];
    uint32_t checksums[EVENTS_KEPT_MAX];
};

static uint32_t event_checksum(const struct event *event)
{
    uint32_t checksum = checksum_extend(0, event->topic, event->topic_bytes);
    checksum = checksum_extend(checksum, event->producer, event->producer_bytes);
    checksum = checksum_extend(checksum, &event->time_ns, sizeof event->time_ns);
    checksum = checksum_extend(checksum, &event->number, sizeof event->number);
    return checksum_extend(checksum, event->payload, event->payload_bytes);
}

static void keep(struct reading *reading, const struct event *event)
{
    assert(event->sequence > reading->last);
    reading->last = event->sequence;
    reading->events++;
    if (reading->kept == EVENTS_KEPT_MAX)
        return;
    reading->sequences[reading->kept] = event->sequence;
    reading->checksums[reading->kept++] = event_checksum(event);
}

static void read_all(const char *path, struct reading *reading, uint64_t from)
{
    struct segment_reader *reader = NULL;
    struct error error = {0};
    struct event event;
    *reading = (struct reading){0};
    enum error_code code = segment_reader_open(path, &reader, &error);
    reading->opened = code == OK;
    if (code) {
        assert(error.code == code && error.text[0]);
        return;
    }
    if (from > 1)
        segment_reader_seek(reader, from, &error);
    for (unsigned steps = 0;; steps++) {
        assert(steps < STEPS_MAX);
        error.text[0] = 0;
        code = segment_reader_next(reader, &event, &error);
        if (code == ERROR_END)
            break;
        if (code == OK) {
            keep(reading, &event);
            continue;
        }
        assert(error.text[0]);
        reading->damaged++;
        if (code != ERROR_DAMAGED)
            break;
    }
    segment_reader_close(reader);
}

/* ---- Verifying ---- */

static void count_finding(void *context, const struct segment_verify_finding *finding)
{
    assert(finding->text && finding->text[0]);
    ++*(uint64_t *)context;
}

static bool verify(const char *path, struct segment_verify_totals *totals)
{
    uint64_t found = 0;
    struct error error = {0};
    enum error_code code = segment_verify_log(path, count_finding, NULL, &found, totals, &error);
    assert(code ? error.text[0] != 0 : totals->findings == found);
    return code == OK;
}

/* ---- Opening for writing ---- */

static enum error_code open_for_writing(const char *path, const struct segment_log_options *options,
                                        struct segment_recovery_report *report)
{
    struct segment_opening opening;
    struct error error = {0};
    enum error_code code = segment_opening_run(path, options, &opening, report, &error);
    if (code) {
        assert(error.code == code && error.text[0]);
        return code;
    }
    assert(report->sequence_next == opening.sequence_next);
    segment_opening_release(&opening);
    return OK;
}

static void expect_kept(const struct reading *before, const struct reading *after)
{
    size_t j = 0;
    for (size_t i = 0; i < before->kept; i++) {
        while (j < after->kept && after->sequences[j] < before->sequences[i])
            j++;
        assert(j < after->kept && after->sequences[j] == before->sequences[i] &&
               after->checksums[j] == before->checksums[i]);
    }
}

static void recover(const char *path, const struct segment_log_options *options,
                    const struct reading *before, bool was_clean)
{
    static struct reading after;
    struct segment_recovery_report first, second;
    struct segment_verify_totals totals;
    if (open_for_writing(path, options, &first))
        return;
    assert(first.sequence_next > before->last);
    read_all(path, &after, 0);
    assert(after.opened);
    expect_kept(before, &after);
    if (was_clean && verify(path, &totals))
        assert(totals.findings == 0);
    struct segment_log_options again = *options;
    again.witness_sequence = 0;
    /* FULL: that was the last epoch there is. */
    enum error_code code = open_for_writing(path, &again, &second);
    assert(code == ERROR_FULL || (code == OK && second.sequence_next >= first.sequence_next));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reading before, later;
    struct segment_verify_totals totals = {0};
    struct image image;
    fixed_clock_use();
    image_read(&image, data, size);
    image_unpack(&image);
    const char *path = image_directory();

    read_all(path, &before, 0);
    bool verified = verify(path, &totals);
    bool clean = verified && totals.findings == 0;
    if (before.damaged)
        assert(!clean);
    if (clean && before.opened)
        assert(before.damaged == 0);
    if (image.options & OPTION_SEEK) {
        read_all(path, &later, before.last / 2);
        assert(later.events <= before.events);
    }
    struct segment_log_options options = {
        .segment_bytes = FORMAT_SEGMENT_BYTES_MIN,
        .segment_age_ns = INT64_MAX,
        .commit_align = image.options & OPTION_ALIGN ? 512 : 8,
        .write_path = image.options & OPTION_MMAP ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
        .pending_bytes_max = 1 << 20,
        .witness_sequence = image.options & OPTION_WITNESS ? before.last : 0,
    };
    recover(path, &options, &before, clean);
    image_release(&image);
    return 0;
}
