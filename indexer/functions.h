/*
 * indexer/functions.h - the SQL functions of the extension.
 *
 *     daybook_payload(seq)         the event's payload as strict JSON text (NaN and the infinities
 *                                  become null); NULL when there is no such event (any more)
 *     payload(seq)                 the same
 *     daybook_field(x, path)       what stands at `path` (core/msgpack_path.h) in a payload: x is
 *                                  the column payload, any JSON text, or the seq of an event, which
 *                                  is fastest. NULL when there is nothing there
 *     daybook_time(text)           nanoseconds since the epoch, to compare with ts: what
 *                                  `daybook read --since` takes, in UTC where no zone is told
 *     daybook_refresh()            take up schemas and indexed fields that came since the
 *                                  connection was opened: topics' tables are made anew. NULL. Fails
 *                                  while one of them is being read
 *
 * Values become SQL's as with SQLite's own ->> (indexer/field_value.h).
 * Damage is an SQL error that names segment and offset, unless the host has a watcher. Internal to
 * indexer/.
 */
#ifndef DAYBOOK_INDEXER_FUNCTIONS_H
#define DAYBOOK_INDEXER_FUNCTIONS_H

#include "core/msgpack_path.h"
#include "indexer/host.h"

/* A reference to the host is taken for each. */
enum error_code indexer_functions_attach(struct indexer_host *host, struct error *error);

/* Make one msgpack value the result (indexer/field_value.h). */
void indexer_functions_result_value(sqlite3_context *context, struct msgpack_cursor found,
                                    struct buffer *scratch);
/* Make a text the result that is JSON, also to SQLite's own functions. */
void indexer_functions_result_json(sqlite3_context *context, const struct buffer *json);
/*
 * The path that is daybook_field's second argument; it stays with the statement when it is a
 * constant, as it nearly always is. NULL: it is none, and the error is set as the result.
 */
const struct msgpack_path *indexer_functions_path(sqlite3_context *context, sqlite3_value *text);
/* Make a whole payload the result, as JSON text. */
void indexer_functions_result_payload(sqlite3_context *context, struct indexer_host *host,
                                      const void *payload, size_t payload_bytes);
/* What SQLite calls a failure: damage is SQLITE_CORRUPT. */
int indexer_functions_sql_code(enum error_code code);
/* Make a failure the result. */
void indexer_functions_result_error(sqlite3_context *context, const struct error *error);

#endif
