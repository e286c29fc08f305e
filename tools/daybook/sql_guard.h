/*
 * tools/daybook/sql_guard.h - no statement changes the log's index, or a database that is attached.
 *
 * Three locks, each of which is enough for most: the connection is opened read-only, which SQLite
 * hands on to everything that is attached through it; an authorizer refuses, with a sentence, all
 * that does not read, except for what lives in `temp`, which is the connection's own and goes with
 * it; and a statement that SQLite does not call read-only, although nobody asked for leave to write
 * to `temp`, is not run (VACUUM INTO asks nobody).
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_GUARD_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_GUARD_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

struct sql_guard {
    sqlite3 *database;
    bool wrote_temp; /* the statement that is being prepared may write to temp */
    char refusal[256]; /* why it was refused; empty: it was not */
};

/* Guard a connection that was opened read-only. `guard` must outlive it. */
enum error_code sql_guard_init(struct sql_guard *guard, sqlite3 *database, struct error *error);

/*
 * Prepare the first statement of `text`. *statement_out is NULL when there is none (white space, a
 * comment). *rest_out is what follows it, also after an error.
 */
enum error_code sql_guard_prepare(struct sql_guard *guard, const char *text,
                                  sqlite3_stmt **statement_out, const char **rest_out,
                                  struct error *error);

/* What SQLite says of the last failure on `database`, and what to do where that is known. */
enum error_code sql_guard_failure(sqlite3 *database, struct error *error);

/* The n-th PRAGMA that is let through, for completion; NULL behind the last. */
const char *sql_guard_pragma(size_t n);

#endif
