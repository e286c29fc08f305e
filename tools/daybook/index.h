/*
 * tools/daybook/index.h - the index, brought up to the log before it is asked.
 *
 * Whoever holds the indexer's lock fills the index. When nobody does, we do it ourselves now;
 * otherwise we wait a moment for the other, until it has what was durable when we came, so the
 * ordinary distance between a busy daemon and its index is never seen. Where neither helps, the
 * user is told how far the index has got, and gets answers from what there is, and an exit status
 * that says so.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_INDEX_H
#define DAYBOOK_TOOLS_DAYBOOK_INDEX_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* What a verb has met on its way to an answer; `verb` is named in messages. */
struct index_trouble {
    const char *verb;
    bool damaged; /* something could not be read */
    bool behind;  /* the index lacks events that were durable, or has some that retention deleted */
    void *told;   /* the texts about damage that were told, a tree of tsearch(3) */
    size_t told_count;
};

/*
 * Make the index of the log in `directory` current, as far as possible; tells on stderr what is in
 * the way. ERROR_NOT_FOUND: there is no log. Other trouble of the index is told, and OK returned.
 */
enum error_code index_freshen(const char *verb, const char *directory, struct error *error);

/*
 * Freshen, then open for reading; close with index_close. A payload that cannot be read is NULL,
 * and told, each text once. `trouble_out` must live as long as the connection.
 */
enum error_code index_open(const char *verb, const char *directory, sqlite3 **database_out,
                           struct index_trouble *trouble_out, struct error *error);

/* Accepts NULL for a connection that could not be opened. `trouble` still has the status. */
void index_close(sqlite3 *database, struct index_trouble *trouble);

/*
 * The exit status of a verb that has answered: STATUS_DAMAGE (also where damage.h sees damage, and
 * says so), else STATUS_INCOMPLETE for an index that is behind, else STATUS_OK.
 */
int index_status(const struct index_trouble *trouble, const char *directory);

/* Set `error` to what SQLite says of the last call on `database`. */
enum error_code index_sql_error(sqlite3 *database, struct error *error);

#endif
