/*
 * segment/opening.h - from a directory to a log that can be written: lock, check, recover, start.
 *
 * docs/format.md "Recovery" is the specification. In order: take the writer lock; load and check
 * the set of segments; push out what an earlier process left dirty in the last one (fdatasync) and
 * read it past the page cache, which is no evidence; decide (segment/recovery.h); then write on in
 * it after a clean stop, or close it and start a new segment after any other.
 */
#ifndef DAYBOOK_SEGMENT_OPENING_H
#define DAYBOOK_SEGMENT_OPENING_H

#include "segment/log.h"
#include "segment/past.h"
#include "segment/watermark.h"
#include "segment/writer.h"

struct segment_opening {
    int log_fd, segments_fd, lock_fd;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    uint32_t epoch;
    struct segment_writer *writer;
    struct segment_producers *producers;
    struct segment_past *past; /* those whom the table has forgotten */
    struct segment_watermark *watermark; /* not live yet */
    uint64_t sequence_next;
    uint64_t event_last; /* the last event; between it and sequence_next are gaps */
    int64_t arrival_ns;
};

/* `options` with defaults filled in. Errors: see segment_log_open. On success the caller releases.
 */
enum error_code segment_opening_run(const char *path, const struct segment_log_options *options,
                                    struct segment_opening *opening_out,
                                    struct segment_recovery_report *report_out,
                                    struct error *error);
/* Give back what is still there (set to NULL or -1 what was taken over). Last of all the lock. */
void segment_opening_release(struct segment_opening *opening);

#endif
