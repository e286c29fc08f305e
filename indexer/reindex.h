/*
 * indexer/reindex.h - build events.db anew from the segments.
 *
 * The new index grows in DIR/events.db.rebuild and replaces the old one when it is complete, so
 * readers always have one of the two.
 */
#ifndef DAYBOOK_INDEXER_REINDEX_H
#define DAYBOOK_INDEXER_REINDEX_H

#include <stdint.h>

#include "core/error.h"

struct indexer_reindex_totals {
    uint64_t events;
    uint64_t damaged; /* places in the log that could not be read: see the table gaps */
    uint64_t bytes;   /* of the new events.db */
};

/*
 * `progress` (may be NULL) is called now and then with the last sequence done and the watermark.
 * ERROR_BUSY: another process, the daemon if one runs, fills the index. ERROR_NOT_FOUND: no log in
 * `path`.
 */
enum error_code indexer_reindex(const char *path,
                                void (*progress)(void *context, uint64_t sequence_done,
                                                 uint64_t sequence_last),
                                void *context, struct indexer_reindex_totals *totals_out,
                                struct error *error);

#endif
