/*
 * indexer/batch.h - rows of integers in memory, readable as an SQL table.
 *
 * INSERT INTO t SELECT * FROM a batch runs the whole transaction's rows through one statement:
 * about twice the speed of binding and stepping an INSERT for each (docs/decisions/0004).
 * Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_BATCH_H
#define DAYBOOK_INDEXER_BATCH_H

#include "indexer/sqlite.h"
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Zero-initialised, with `columns` set, is empty; release frees. Must outlive the connection. */
struct indexer_batch {
    int columns;
    int64_t *cells; /* count rows of `columns` cells */
    size_t count;
    size_t capacity; /* in rows */
};

/* Make the batch the table `name`, with the given columns ("seq, ts, …"), on this connection. */
enum error_code indexer_batch_attach(struct indexer_batch *batch, sqlite3 *database,
                                     const char *name, const char *column_names,
                                     struct error *error);
/* Room for one more row, which the caller fills at once. NULL: no memory. */
int64_t *indexer_batch_add(struct indexer_batch *batch);
void indexer_batch_release(struct indexer_batch *batch);

#endif
