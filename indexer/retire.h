/*
 * indexer/retire.h - remove the rows of events that retention has deleted, a little at a time.
 *
 * Each call is one small transaction, so the index never holds up anybody for long. The bound in
 * the table state moves when the last of them is done: a crash in between just goes on later.
 * Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_RETIRE_H
#define DAYBOOK_INDEXER_RETIRE_H

#include "indexer/sqlite.h"
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

enum { INDEXER_RETIRE_ROWS = 8192 };

/*
 * Remove at most INDEXER_RETIRE_ROWS events below `bound`. When none is left, correct the topics'
 * first and last, remove blocks, segments, gaps and producers below, and set state.bound (and
 * state.last_seq, if the index was not even that far): then *done_out is true.
 */
enum error_code indexer_retire_some(sqlite3 *database, uint64_t bound, uint64_t *rows_out,
                                    bool *done_out, struct error *error);

#endif
