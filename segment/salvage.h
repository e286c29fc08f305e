/*
 * segment/salvage.h - what can still be read of a damaged segment, in order.
 *
 * For a repair: gives exactly the blocks that a reader (segment/walk.h) would give, whatever lies
 * between them, and learns on the way what else the segment tells: which sequences it has seen, and
 * which of them were promised. Needs no valid header, for blocks name themselves.
 */
#ifndef DAYBOOK_SEGMENT_SALVAGE_H
#define DAYBOOK_SEGMENT_SALVAGE_H

#include "segment/view.h"

/* An EVENTS, GAP or PRODUCERS block that is intact, or the part of it that is. */
struct segment_salvage_block {
    enum segment_format_block_kind kind;
    uint64_t sequence_first; /* PRODUCERS: the next to come */
    uint64_t sequence_last;  /* sequence_first - 1 in PRODUCERS */
    uint32_t event_count;
    int64_t time_min_ns;
    int64_t time_max_ns;
    int64_t arrival_ns;
    const uint8_t *raw; /* valid until the next call */
    size_t raw_bytes;
};

struct segment_salvage {
    struct segment_view view;
    uint64_t log_id;        /* its first 8 bytes, as blocks have them */
    uint64_t sequence_last; /* nothing behind it is given */
    uint64_t offset;
    uint64_t expected;

    /* What was met so far. */
    uint64_t sequence_seen;     /* the highest named by any valid header */
    uint64_t sequence_promised; /* the highest that something valid says to be durable */
    uint32_t epoch;
    int64_t arrival_ns; /* INT64_MIN: none */
    bool begins_bad; /* something is bad before any block of events: producers may be missing */
    struct error trouble; /* why the first bad place could not be read; code OK: not known */
    bool has_events; /* a block of events was met */
    bool sealed;     /* the trailer is valid */
    struct segment_format_trailer trailer;
};

/* Nothing behind `sequence_last` will be given. Release in any case. ERROR_VERSION as next. */
enum error_code segment_salvage_open(struct segment_salvage *salvage, int segments_fd,
                                     const struct segment_set_segment *segment,
                                     const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                     uint64_t sequence_last, struct error *error);
/* ERROR_END: that was all. ERROR_VERSION: a newer Daybook has written here; nothing may be done. */
enum error_code segment_salvage_next(struct segment_salvage *salvage,
                                     struct segment_salvage_block *block_out, struct error *error);
void segment_salvage_release(struct segment_salvage *salvage);

#endif
