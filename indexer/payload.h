/*
 * indexer/payload.h - the SQL function payload(seq).
 *
 * Internal to indexer/; users see it through indexer/query.h.
 */
#ifndef DAYBOOK_INDEXER_PAYLOAD_H
#define DAYBOOK_INDEXER_PAYLOAD_H

#include <sqlite3.h>

#include "indexer/query.h"

/*
 * Give `database` the function payload(seq), which finds blocks through `lookup`, a connection to
 * the same index that becomes the function's: it is closed with it, also when this fails. `watcher`
 * is copied.
 */
enum error_code indexer_payload_attach(sqlite3 *database, sqlite3 *lookup, const char *path,
                                       const struct indexer_query_watcher *watcher,
                                       struct error *error);

#endif
