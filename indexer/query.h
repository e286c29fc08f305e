/*
 * indexer/query.h - a read-only SQL connection to a log's index, with the payloads.
 *
 * Sees what the stock sqlite3 shell sees in DIR/events.db (indexer/schema.h), and what the
 * extension gives to it (indexer/extension.h): the payload of an event is NULL when there is no
 * such event (any more), and an SQL error naming segment and offset when its block is damaged or
 * missing. A connection that has read an event may go on to give it when retention has deleted it
 * meanwhile.
 *
 * The connection never writes and never checkpoints: that is the follower's alone. Needs no daemon.
 */
#ifndef DAYBOOK_INDEXER_QUERY_H
#define DAYBOOK_INDEXER_QUERY_H

#include "indexer/lookup.h"

struct sqlite3;

/*
 * The caller closes *database_out with sqlite3_close_v2. ERROR_NOT_FOUND: there is no index yet
 * (a writer or `daybook reindex` makes it). ERROR_VERSION: of another version of the schema.
 * ERROR_DAMAGED: not a database, or damaged.
 */
enum error_code indexer_query_open(const char *path, struct sqlite3 **database_out,
                                   struct error *error);

/* The same for a program that goes on behind damage: what cannot be read is NULL then. */
enum error_code indexer_query_open_watched(const char *path, const struct indexer_watcher *watcher,
                                           struct sqlite3 **database_out, struct error *error);
/*
 * Topics' tables for what has got a schema or an indexed field since the connection was opened.
 * ERROR_BUSY or ERROR_IO: one of them is being read.
 */
enum error_code indexer_query_refresh(struct sqlite3 *database, struct error *error);

#endif
