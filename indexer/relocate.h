/*
 * indexer/relocate.h - follow what packing does to the places of blocks.
 *
 * A packed segment has the same events in other blocks. The index learns them in one transaction a
 * segment; until then, and where the packed segment cannot be read to its end, whoever asks for a
 * payload finds no block where the index says, and looks for the sequence instead. Internal to
 * indexer/.
 */
#ifndef DAYBOOK_INDEXER_RELOCATE_H
#define DAYBOOK_INDEXER_RELOCATE_H

#include "indexer/sqlite.h"
#include <stdbool.h>

#include "core/error.h"
#include "segment/set.h"

/* So long at most in one call, or one segment, so that nothing else waits for long. */
enum { INDEXER_RELOCATE_MS = 50 };

enum indexer_relocate_left {
    RELOCATE_NONE,
    RELOCATE_LATER, /* segments that are not wholly indexed yet */
    RELOCATE_MORE,  /* some that the next call can do */
};

/*
 * Take in the places of the blocks of those segments that were packed since they were indexed, up
 * to `last_sequence`, the end of the index. `segments_fd` is DIR/segments.
 */
enum error_code indexer_relocate_some(sqlite3 *database, const struct segment_set *set,
                                      int segments_fd, uint64_t last_sequence,
                                      enum indexer_relocate_left *left_out, struct error *error);

#endif
