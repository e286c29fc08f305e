#include "tools/daybook/sql_session.h"

#include <stdio.h>
#include <time.h>

#include "indexer/query.h"
#include "tools/daybook/sql_signals.h"
#include "tools/daybook/verb.h"

enum { STEPS_BETWEEN_LOOKS = 4000, BUSY_MS = 5000, BUSY_SLEEP_MS = 20 };

static int look_for_stop(void *context)
{
    (void)context;
    return sql_signals_stop();
}

/* As sqlite3_busy_timeout does it, but Ctrl-C ends the wait. */
static int wait_while_busy(void *context, int tries)
{
    (void)context;
    if (sql_signals_stop() || tries >= BUSY_MS / BUSY_SLEEP_MS)
        return 0;
    nanosleep(&(struct timespec){.tv_nsec = BUSY_SLEEP_MS * 1000000}, NULL);
    return 1;
}

enum error_code sql_session_open(struct sql_session *session, struct error *error)
{
    enum error_code code = index_open(SQL_VERB, session->directory, &session->database,
                                      &session->trouble, error);
    if (code)
        return code;
    code = sql_guard_init(&session->guard, session->database, error);
    if (code) {
        sql_session_close(session);
        return code;
    }
    /*
     * Not sqlite3_interrupt: it is forgotten when it comes between two statements, and a note is
     * all that a signal's handler may well take.
     */
    sqlite3_progress_handler(session->database, STEPS_BETWEEN_LOOKS, look_for_stop, NULL);
    sqlite3_busy_handler(session->database, wait_while_busy, NULL);
    return OK;
}

static bool index_was_replaced(struct sql_session *session)
{
    int moved = 0;
    sqlite3_file_control(session->database, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved != 0;
}

/* The guard would not let topics' tables be made anew. */
static enum error_code take_up_topics(struct sql_session *session, struct error *error)
{
    struct error why;
    sqlite3_set_authorizer(session->database, NULL, NULL);
    if (indexer_query_refresh(session->database, &why))
        verb_say(SQL_VERB, "note: topics' tables are as they were: %s", why.text);
    return sql_guard_init(&session->guard, session->database, error);
}

enum error_code sql_session_freshen(struct sql_session *session, struct error *error)
{
    enum error_code code = OK;
    if (session->database) {
        code = index_freshen(SQL_VERB, session->directory, error);
        if (code)
            return code;
        if (!index_was_replaced(session))
            return take_up_topics(session, error);
        verb_say(SQL_VERB, "note: the index was made anew and is opened again; temporary tables "
                           "and attached databases are gone");
        sql_session_close(session);
    }
    return sql_session_open(session, error);
}

enum error_code sql_session_create_rows(struct sql_session *session, const char *const *names,
                                        size_t name_count, struct rows **rows_out,
                                        struct error *error)
{
    if (session->answered && session->format == ROWS_MARKDOWN)
        putchar('\n'); /* or two tables would be one */
    session->answered = true;
    enum error_code code =
        rows_create(stdout, session->format, false, names, name_count, rows_out, error);
    if (!code && session->interactive)
        rows_fit_terminal(*rows_out);
    return code;
}

void sql_session_close(struct sql_session *session)
{
    if (session->database)
        index_close(session->database, &session->trouble);
    session->database = NULL;
}
