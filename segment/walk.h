/*
 * segment/walk.h - from block to block through all segments of a log.
 *
 * The inner half of segment/reader.h: it knows which sequence must come next, and at each block
 * boundary decides between "not durable yet", a block to give out, a block to pass, the next
 * segment, and damage. Whatever keeps `expected` from being found is reported once, with the
 * sequences that are lost by it, and the walk goes on behind it.
 */
#ifndef DAYBOOK_SEGMENT_WALK_H
#define DAYBOOK_SEGMENT_WALK_H

#include "segment/horizon.h"
#include "segment/set.h"
#include "segment/view.h"

enum { WALK_LOSSES_MAX = 16 };

struct segment_walk {
    int log_fd; /* borrowed, both */
    int segments_fd;
    struct segment_set set; /* as last loaded */
    struct segment_horizon horizon;

    /* Where we are: before the block at `offset` of the segment in `view`, if that is open. */
    struct segment_view view;
    uint64_t offset;
    uint64_t expected; /* the sequence that must come next */
    uint64_t finished; /* name of the segment that was left last; 0: `expected` was sought */
    uint32_t chain;    /* checksum of the block before, when known */
    bool chain_known;
    struct error bound_untold; /* why DIR/lower-bound says nothing, until it is told */
    bool at_start;         /* nothing was asked for by number: what retention took is no hole */
    uint64_t lost_told;    /* name of the last segment, when its loss was told: once is enough … */
    uint64_t break_told;   /* … and of the one whose end is lost */
    bool reported;         /* the damage at `offset` was told; what follows was not visible yet */
    uint64_t limit_looked; /* the horizon when the bytes in `view` were copied */

    /* What is wanted: blocks without any of it may be passed unread. */
    uint64_t from;
    int64_t since_ns;
    int64_t until_ns;
    uint64_t last; /* nothing behind this sequence */
    bool gives_producers; /* PRODUCERS blocks, too, where the walk does not pass them unread */
    struct segment_seal_entry *entries; /* directory of the open segment; owned */
    size_t entry_count;
    size_t entry_next; /* the first that has not been reached */

    /* Gaps that were passed by which events were lost, until somebody asks. */
    struct segment_format_gap losses[WALK_LOSSES_MAX];
    size_t loss_count;
    uint64_t hole_first; /* deleted by retention before we came; 0: no hole */
    uint64_t hole_last;
};

/* ERROR_NOT_FOUND: there is no segment. Starts before the first event that is left. */
enum error_code segment_walk_init(struct segment_walk *walk, int log_fd, int segments_fd,
                                  struct error *error);
void segment_walk_release(struct segment_walk *walk);

void segment_walk_seek(struct segment_walk *walk, uint64_t sequence);
/* As segment_reader_seek_block. After a failure the walk stands where seek(sequence_first) puts it.
 */
enum error_code segment_walk_seek_block(struct segment_walk *walk, uint64_t segment_first,
                                        uint64_t offset, uint64_t sequence_first,
                                        struct error *error);
/* As segment_reader_seek_near. */
void segment_walk_seek_near(struct segment_walk *walk, uint64_t sequence, uint64_t segment_first,
                            uint64_t offset, uint64_t sequence_first);
/*
 * The next EVENTS or GAP (or PRODUCERS) block; its raw body is valid until the next call.
 * ERROR_END, ERROR_DAMAGED as in segment_reader_next.
 */
enum error_code segment_walk_next(struct segment_walk *walk,
                                  struct segment_format_block_header *header_out,
                                  const uint8_t **raw_out, struct error *error);

#endif
