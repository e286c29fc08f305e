/*
 * indexer/store.h - events.db opened for writing: as it is, or deleted and made anew.
 *
 * The index is derived, so anything about it that cannot be trusted is answered by deleting it.
 * Internal to indexer/; the caller holds LOCK_INDEXER.
 */
#ifndef DAYBOOK_INDEXER_STORE_H
#define DAYBOOK_INDEXER_STORE_H

#include "indexer/schema.h"

enum { INDEXER_STORE_REASON_BYTES = 256 };

struct indexer_store_place {
    int log_fd;
    const char *path; /* DIR */
    const char *name; /* of the database in it */
};

/*
 * Open the database for the log that `fresh` names. Where there is none, or none to be trusted,
 * make one with the state `fresh`; `reason_out` then says why the old one was deleted ("" when
 * there was none, or it is fine). *state_out is what the database says now.
 */
enum error_code indexer_store_open(const struct indexer_store_place *place,
                                   const struct indexer_schema_state *fresh, sqlite3 **database_out,
                                   struct indexer_schema_state *state_out,
                                   char reason_out[INDEXER_STORE_REASON_BYTES],
                                   struct error *error);

#endif
