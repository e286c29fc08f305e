/*
 * tools/daybook/index.h - the index, brought up to the log before it is asked.
 *
 * Whoever holds the indexer's lock fills the index. When nobody does, we do it ourselves now;
 * otherwise we wait a moment for the other. Where neither helps, the user is told how far the index
 * has got, and gets answers from what there is.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_INDEX_H
#define DAYBOOK_TOOLS_DAYBOOK_INDEX_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* What a connection has met; `verb` is named in messages. */
struct index_damage {
    const char *verb;
    bool met;
};

/*
 * Make the index of the log in `directory` current, as far as possible; tells on stderr what is in
 * the way. ERROR_NOT_FOUND: there is no log. Other trouble of the index is told, and OK returned.
 */
enum error_code index_freshen(const char *verb, const char *directory, struct error *error);

/*
 * Freshen, then open for reading; close with sqlite3_close_v2. `damage_out` (may be NULL: then a
 * payload that cannot be read is an SQL error) must live as long as the connection.
 */
enum error_code index_open(const char *verb, const char *directory, sqlite3 **database_out,
                           struct index_damage *damage_out, struct error *error);

/* Set `error` to what SQLite says of the last call on `database`. */
enum error_code index_sql_error(sqlite3 *database, struct error *error);

#endif
