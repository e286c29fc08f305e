/*
 * indexer/extension.h - give an SQLite connection the payloads: functions, and tables over them.
 *
 * What is there afterwards, in the connection's temporary schema, in front of the views of the same
 * names in events.db:
 *
 *     events             as the view, and payload; with fast ways for topic, seq, ts, time
 *     one table a topic  that has a schema or indexed fields
 *
 * and the functions of indexer/functions.h. Works on read-only connections, and beside a writing
 * daemon. Internal to indexer/ (indexer/query.h, and the loadable build/daybook.so).
 */
#ifndef DAYBOOK_INDEXER_EXTENSION_H
#define DAYBOOK_INDEXER_EXTENSION_H

#include "indexer/lookup.h"
#include "indexer/sqlite.h"

/*
 * `schema` names the index on this connection: "main", or that of an ATTACH. The watcher is copied.
 * Calling it again takes up what has changed of the topics' schemas and indexed fields.
 * ERROR_EXISTS: there is something of the user's called temp.events.
 */
enum error_code indexer_extension_attach(sqlite3 *database, const char *schema,
                                         const struct indexer_watcher *watcher,
                                         struct error *error);

#endif
