/*
 * segment/verify.h - check every byte of a log.
 *
 * Header, chain, every block and record, padding and the zeros behind the last block, seal and
 * trailer, and that segments follow each other. Without the writer lock; of the active segment only
 * what is below the watermark is judged.
 */
#ifndef DAYBOOK_SEGMENT_VERIFY_H
#define DAYBOOK_SEGMENT_VERIFY_H

#include "segment/check.h"

struct segment_verify_totals {
    uint64_t segments;
    uint64_t blocks;
    uint64_t events;
    uint64_t bytes;
    uint64_t findings;
    uint64_t lost_before; /* events that are known to be lost: gaps on record, no findings */
    uint64_t torn_bytes;  /* an unfinished tail, which the next writer will cut: no damage */
};

struct segment_verify_watcher {
    void (*found)(void *context, const struct segment_verify_finding *finding);
    /* A gap on record by which events were lost (segment_format_gap_is_loss); may be NULL. */
    void (*gap)(void *context, const struct segment_format_gap *gap);
    /* Now and then, with the bytes done and to do; may be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

/* Returns OK when the check ran to its end, whatever it found. */
enum error_code segment_verify_watch(const char *path, const struct segment_verify_watcher *watcher,
                                     struct segment_verify_totals *totals_out, struct error *error);
/* The same, for who cares for findings alone. */
enum error_code segment_verify_log(
    const char *path, void (*found)(void *context, const struct segment_verify_finding *finding),
    void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
    struct segment_verify_totals *totals_out, struct error *error);

#endif
