/*
 * segment/verify.h - check every byte of a log.
 *
 * Header, chain, every block and record, padding and the zeros behind the last block, seal and
 * trailer, and that segments follow each other. Without the writer lock; of the active segment only
 * what is below the watermark is judged.
 */
#ifndef DAYBOOK_SEGMENT_VERIFY_H
#define DAYBOOK_SEGMENT_VERIFY_H

#include "segment/format.h"

/* One finding. `text` is a sentence with segment, offset and sequences. */
struct segment_verify_finding {
    uint64_t segment_first;
    uint64_t offset;
    uint64_t sequence_first; /* 0, 0: no event is concerned */
    uint64_t sequence_last;
    const char *text;
};

struct segment_verify_totals {
    uint64_t segments;
    uint64_t blocks;
    uint64_t events;
    uint64_t bytes;
    uint64_t findings;
    uint64_t torn_bytes; /* an unfinished tail, which the next writer will cut: no damage */
};

/*
 * Calls `found` for each finding and `progress` (may be NULL) now and then with the bytes done and
 * to do. Returns OK when the check ran to its end, whatever it found.
 */
enum error_code segment_verify_log(
    const char *path, void (*found)(void *context, const struct segment_verify_finding *finding),
    void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
    struct segment_verify_totals *totals_out, struct error *error);

#endif
