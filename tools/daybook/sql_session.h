/*
 * tools/daybook/sql_session.h - one run of `daybook sql`: the connection, and how answers look.
 *
 * What the dot commands change lives here. One thread.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_SESSION_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_SESSION_H

#include <sqlite3.h>
#include <stdbool.h>

#include "core/error.h"
#include "tools/daybook/index.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/sql_guard.h"

/* The verb's name, as messages begin with it. */
#define SQL_VERB "sql"

struct sql_session {
    const char *directory;
    enum rows_format format;
    bool timer;       /* say rows and time after each statement */
    bool interactive; /* a person types: go on after mistakes, keep the index fresh */
    bool finished;    /* .quit was said */
    bool hinted;      /* a note on a statement was given */
    bool answered;    /* something was printed: a table in Markdown keeps its distance */
    int depth;        /* of files that .read each other */
    sqlite3 *database; /* NULL after an index that was made anew could not be opened */
    struct index_trouble trouble;
    struct sql_guard guard;
};

/* `session` has `directory` and the choices set. Freshens the index, then opens it, guarded. */
enum error_code sql_session_open(struct sql_session *session, struct error *error);
/*
 * Before a statement that a person has typed: bring the index up to the log. An index that was made
 * anew meanwhile is opened again, which is said, because what was attached is gone then.
 */
enum error_code sql_session_freshen(struct sql_session *session, struct error *error);
/* Rows on stdout in the session's form; for a person they fit the terminal. */
enum error_code sql_session_create_rows(struct sql_session *session, const char *const *names,
                                        size_t name_count, struct rows **rows_out,
                                        struct error *error);
/* Accepts one that is not open. The trouble still has the status. */
void sql_session_close(struct sql_session *session);

#endif
