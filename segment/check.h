/*
 * segment/check.h - check every byte of one segment.
 *
 * The inner half of segment/verify.h: chain, every block and record, padding, the zeros behind the
 * last block, seal and trailer. What must be there is said by the caller, who knows the log. Each
 * finding is told once, and the check goes on behind it.
 */
#ifndef DAYBOOK_SEGMENT_CHECK_H
#define DAYBOOK_SEGMENT_CHECK_H

#include "segment/view.h"

/* One finding. `text` is a sentence with segment, offset and sequences. */
struct segment_verify_finding {
    uint64_t segment_first;
    uint64_t offset;
    uint64_t sequence_first; /* 0, 0: no event is concerned */
    uint64_t sequence_last;
    const char *text;
};

struct segment_check {
    void (*found)(void *context, const struct segment_verify_finding *finding);
    void (*gap)(void *context, const struct segment_format_gap *gap); /* a known one; may be NULL */
    /* Often; may be NULL. May set `ended`, which ends the check with that error. */
    void (*progress)(void *context, uint64_t bytes);
    void *context;
    struct segment_view *view; /* borrowed; open */
    const uint8_t *log_id;     /* borrowed */

    bool must_seal;     /* every byte is judged, else only what is durable */
    bool live;          /* a writer is at work behind `must_last` */
    uint64_t must_last; /* the last sequence that must be here */
    uint64_t must_end;  /* up to this offset there must be blocks, with events or without */

    uint64_t offset;   /* of the block at hand; in the end, where the check stopped */
    uint64_t expected; /* its sequence */
    uint32_t chain;    /* of the block before, when known */
    bool chain_known;
    uint32_t epoch;
    int64_t arrival_ns;
    uint64_t events; /* as the headers say */
    uint32_t blocks; /* of events */
    bool intact;     /* no block so far was bad, so that totals can be compared */
    struct segment_format_block_header seal; /* offset 0: not met */
    uint64_t block_count;                    /* of any kind */
    uint64_t event_count;                    /* that can be read */
    struct error ended;                      /* why it could not go on; code OK: it could */
};

/* For the segment that `view` has open; then set callbacks and what must be there. */
void segment_check_init(struct segment_check *check, struct segment_view *view,
                        const uint8_t log_id[FORMAT_LOG_ID_BYTES]);
/* ERROR_MEMORY: the rest was not looked at. Whatever is wrong with the segment is a finding. */
enum error_code segment_check_run(struct segment_check *check, struct error *error);

/* "; events 3 to 5 are lost", or nothing when first > last. Returns `text`. */
const char *segment_check_loss_text(uint64_t first, uint64_t last, char *text, size_t size);

#endif
