/*
 * tools/daybook/sql_history.h - the file that keeps what was typed in `daybook sql`.
 *
 * $DAYBOOK_HISTORY, else $XDG_STATE_HOME/daybook/history, else ~/.daybook_history; an empty
 * $DAYBOOK_HISTORY means none. One line a statement, line breaks as \n and backslashes as \\.
 * Each statement is appended at once, so neither a second shell nor a crash loses any. The file is
 * its owner's alone (0600), as statements may hold what nobody else should read; its last
 * thousand entries are read, and when it has grown to twice as many it is cut to them.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_HISTORY_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_HISTORY_H

#include "core/error.h"

enum { SQL_HISTORY_ENTRIES_MAX = 1000, SQL_HISTORY_BYTES_MAX = 64 << 10 /* of one entry */ };

struct sql_history;

/*
 * Open, and make where there is none. *history_out is NULL when none is wanted, or there is no
 * home.
 */
enum error_code sql_history_open(struct sql_history **history_out, struct error *error);
/* Call `entry` with each, the oldest first. */
enum error_code sql_history_load(struct sql_history *history,
                                 void (*entry)(void *context, const char *text), void *context,
                                 struct error *error);
/* An entry that is too long is left out. Accepts NULL for `history`. */
enum error_code sql_history_add(struct sql_history *history, const char *text,
                                struct error *error);
/* Accepts NULL. */
void sql_history_close(struct sql_history *history);

#endif
