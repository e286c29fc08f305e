/*
 * indexer/payload.h - the SQL function payload(seq).
 *
 * Internal to indexer/; users see it through indexer/query.h.
 */
#ifndef DAYBOOK_INDEXER_PAYLOAD_H
#define DAYBOOK_INDEXER_PAYLOAD_H

#include <sqlite3.h>

#include "core/error.h"

/*
 * Give `database` the function payload(seq), which finds blocks through `lookup`, a connection to
 * the same index that becomes the function's: it is closed with it, also when this fails.
 */
enum error_code indexer_payload_attach(sqlite3 *database, sqlite3 *lookup, const char *path,
                                       struct error *error);

#endif
