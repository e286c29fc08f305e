/*
 * indexer/event_scan.h - the events that a plan asks for, straight from the log, front to back.
 *
 * For who wants the payloads of a good part of what lies between two sequences: each block is
 * opened once, and the index is not asked at all. It gives what indexer/event_rows.h would give, in
 * the order of sequences. Where the log is damaged it stops: whoever asked goes on with the rows,
 * which know every event that was there. Internal to indexer/; one thread.
 */
#ifndef DAYBOOK_INDEXER_EVENT_SCAN_H
#define DAYBOOK_INDEXER_EVENT_SCAN_H

#include "indexer/event_plan.h"
#include "indexer/lookup.h"
#include "segment/block.h"

/* Zero-initialised is ready; there is nothing to release. */
struct indexer_event_scan {
    struct segment_reader *reader;
    struct indexer_event_plan plan;
    struct segment_block_cursor block; /* of the block that is open, in the reader's memory */
    uint64_t next;                     /* all before this sequence is done */
};

/*
 * Begin anew: the plan's range of sequences, its times, its topic. The plan is copied. The reader
 * is the lookup's, which must not be asked meanwhile.
 */
enum error_code indexer_event_scan_start(struct indexer_event_scan *scan,
                                         struct indexer_lookup *lookup,
                                         const struct indexer_event_plan *plan,
                                         struct error *error);
/*
 * *event_out lives until the next call. ERROR_END: that was all. ERROR_DAMAGED: this event and what
 * follows is to be had from the rows, from *sequence_out on.
 */
enum error_code indexer_event_scan_next(struct indexer_event_scan *scan, struct event *event_out,
                                        int64_t *sequence_out, struct error *error);

#endif
