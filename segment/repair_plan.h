/*
 * segment/repair_plan.h - what is damaged in a log, and what a repair does about it.
 *
 * Looks at every byte and changes nothing. The plan follows from the files alone, so that a repair
 * that was interrupted is continued by planning again.
 */
#ifndef DAYBOOK_SEGMENT_REPAIR_PLAN_H
#define DAYBOOK_SEGMENT_REPAIR_PLAN_H

#include "segment/repair.h"
#include "segment/repair_bound.h"
#include "segment/salvage.h"

/* An event has 26 bytes at least, and a body is compressed 255 to 1 at most. */
enum { REPAIR_EVENTS_PER_BYTE_MAX = 10 };

/* One segment of the log as it will be, in the order of the sequences. */
struct segment_repair_part {
    enum segment_repair_fate {
        REPAIR_KEEP,  /* it is as it should be */
        REPAIR_RENEW, /* write it anew, from what can be read of it */
        REPAIR_FILL,  /* nothing is there: a segment with a gap */
    } fate;
    struct segment_set_segment segment; /* as found; FILL: only the name and sequence_first */
    uint64_t sequence_last;             /* where it ends; the last one, unsealed: not known (0) */
    uint64_t seal_end;                  /* KEEP: behind its seal; 0: it has none */
    /* RENEW, the last segment: what lies behind this was promised to nobody. */
    uint64_t sequence_promised;
    struct segment_format_predecessor replaces; /* for the new header */
    char why[400];                              /* what is wrong with it */
    uint64_t events_kept;
    uint64_t events_lost;
    char lost[160];        /* which; "" when none */
    bool needs_acceptance; /* nothing, or not all, is left to be kept */
    bool lacks_producers;  /* RENEW: the table at its beginning may not be whole */
    uint32_t epoch;        /* RENEW: the highest in it */
};

struct segment_repair_plan {
    int log_fd; /* borrowed, both */
    int segments_fd;
    struct segment_set set;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    bool unknown_log;  /* nothing tells whose segments these are */
    bool unfinished;   /* an earlier repair was interrupted */
    bool note_damaged; /* … and what it had seen is not known: it may have been more */
    uint64_t agreed;   /* up to here that one was allowed to put an end on record that is gone */
    uint64_t witness;  /* the highest sequence that anybody knows of */

    struct segment_set_segment *strangers; /* files that do not belong here; owned */
    size_t stranger_count;
    struct segment_repair_part *parts; /* owned */
    size_t part_count;

    struct segment_repair_bound bound; /* set.bound is what it becomes */

    bool tail;           /* the end needs a recovery that accepts what is missing */
    uint64_t tail_first; /* what is lost there; tail_first > tail_last: nothing */
    uint64_t tail_last;
    bool tail_needs_acceptance;
};

/* Release what it gives, in any case. Errors as segment_repair_run. */
enum error_code segment_repair_plan_make(int log_fd, int segments_fd,
                                         const struct segment_repair_options *options,
                                         struct segment_repair_plan *plan_out, struct error *error);
void segment_repair_plan_release(struct segment_repair_plan *plan);

/* How much there is to do; and what of it needs options->accept_loss. */
size_t segment_repair_plan_count(const struct segment_repair_plan *plan);
bool segment_repair_plan_needs_acceptance(const struct segment_repair_plan *plan);
#endif
