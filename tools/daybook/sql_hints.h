/*
 * tools/daybook/sql_hints.h - what somebody may have meant by a statement that fails, or that runs
 * and answers another question.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_HINTS_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_HINTS_H

#include <sqlite3.h>

#include "core/error.h"

/*
 * `message` is SQLite's own, of a failure. Where it speaks of a table that is a topic, or nearly
 * the name of a table, the error's text goes on with what to ask instead.
 */
void sql_hints_add_to_failure(sqlite3 *database, const char *message, struct error *error);

/*
 * A note on a statement that compares the text `time` with one that has a blank where times have a
 * T, so that it compares days only; NULL: there is nothing to say. Static.
 */
const char *sql_hints_for_statement(const char *sql);

#endif
