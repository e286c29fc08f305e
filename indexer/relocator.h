/*
 * indexer/relocator.h - when to look for packed segments whose blocks have other places now.
 *
 * indexer/relocate.h does the work; this decides that there may be some, cheaply enough to be asked
 * ten times a second. Part of the follower. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_RELOCATOR_H
#define DAYBOOK_INDEXER_RELOCATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core/error.h"
#include "indexer/sqlite.h"

/* Zero-initialised has not looked yet. */
struct indexer_relocator {
    struct timespec changed; /* DIR/segments, when packed segments were looked for */
    bool relocated;          /* … and then none was left whose blocks have other places */
    bool relocating;         /* some are left, for the next look */
    int64_t reload_ns;       /* no look at all the files before */
};

/* *log_at_fault_out: the error is the log's, not the database's. */
enum error_code indexer_relocator_look(struct indexer_relocator *relocator, sqlite3 *database,
                                       int log_fd, int segments_fd, uint64_t last_sequence,
                                       bool *log_at_fault_out, struct error *error);

#endif
