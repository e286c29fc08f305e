/*
 * indexer/connection.h - a read-only connection to DIR/events.db, and nothing else.
 *
 * It never writes and never checkpoints: that is the follower's alone. Needs no daemon. Internal to
 * indexer/; who asks questions opens one through indexer/query.h.
 */
#ifndef DAYBOOK_INDEXER_CONNECTION_H
#define DAYBOOK_INDEXER_CONNECTION_H

#include "core/error.h"
#include "indexer/sqlite.h"

/*
 * The caller closes *database_out with sqlite3_close_v2. ERROR_NOT_FOUND: there is no index yet.
 * ERROR_VERSION: of another version of the schema. ERROR_FOREIGN, ERROR_DAMAGED: it is none.
 */
enum error_code indexer_connection_open(const char *path, sqlite3 **database_out,
                                        struct error *error);

#endif
