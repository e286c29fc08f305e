#include "tools/daybook/sql_statement.h"

#include <stdbool.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/units.h"
#include "tools/daybook/sql_hints.h"
#include "tools/daybook/sql_signals.h"
#include "tools/daybook/verb.h"

enum { NAMES_MAX = 2000 }; /* SQLite's own limit of columns */

static void add_value(struct rows *rows, sqlite3_stmt *statement, int column)
{
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
        rows_null(rows);
        break;
    case SQLITE_INTEGER:
        rows_integer(rows, sqlite3_column_int64(statement, column));
        break;
    case SQLITE_FLOAT:
        rows_real(rows, sqlite3_column_double(statement, column));
        break;
    default: { /* text; a blob's bytes as they are */
        const void *bytes = sqlite3_column_blob(statement, column);
        rows_text(rows, bytes ? bytes : "", (size_t)sqlite3_column_bytes(statement, column));
    }
    }
}

static enum error_code create_rows(struct sql_session *session, sqlite3_stmt *statement,
                                   struct rows **rows_out, struct error *error)
{
    const char *names[NAMES_MAX];
    int count = sqlite3_column_count(statement);
    for (int i = 0; i < count && i < NAMES_MAX; i++) {
        names[i] = sqlite3_column_name(statement, i);
        if (!names[i])
            return error_set(error, ERROR_MEMORY, "no memory for rows");
    }
    return sql_session_create_rows(session, names, (size_t)count, rows_out, error);
}

static enum error_code add_rows(sqlite3_stmt *statement, struct rows *rows, bool *any_out,
                                struct error *error)
{
    int count = sqlite3_column_count(statement);
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        *any_out = true;
        for (int i = 0; i < count; i++)
            add_value(rows, statement, i);
        enum error_code code = rows_end(rows, error);
        if (code)
            return code;
        if (sql_signals_stop()) /* SQLite looks only while it computes; this may be printing */
            return error_set(error, ERROR_END, "interrupted");
    }
    return result == SQLITE_DONE ? OK : sql_guard_failure(sqlite3_db_handle(statement), error);
}

static void format_time(int64_t ns, char *text, size_t size)
{
    double ms = (double)ns / 1e6;
    if (ms < 1)
        snprintf(text, size, "%.2f ms", ms < 0.01 ? 0.01 : ms);
    else if (ms < 10)
        snprintf(text, size, "%.1f ms", ms);
    else if (ms < 1000)
        snprintf(text, size, "%.0f ms", ms);
    else
        snprintf(text, size, "%.2f s", ms / 1000);
}

/* On stderr, so that what is redirected into a file stays data. */
static void say_time(int64_t started_ns, const struct rows *rows)
{
    char count[UNITS_TEXT_SIZE + 8], took[32];
    format_time(clock_monotonic_ns() - started_ns, took, sizeof took);
    if (!rows) {
        fprintf(stderr, "(done, %s)\n", took);
        return;
    }
    units_format_count(rows_printed(rows), count);
    fprintf(stderr, "(%s row%s, %s%s)\n", count, rows_printed(rows) == 1 ? "" : "s", took,
            rows_were_cut(rows) ? "; cut to the terminal's width: .mode json shows all" : "");
}

static enum error_code run_silent(sqlite3_stmt *statement, struct error *error)
{
    int result;
    do {
        result = sqlite3_step(statement);
    } while (result == SQLITE_ROW);
    return result == SQLITE_DONE ? OK : sql_guard_failure(sqlite3_db_handle(statement), error);
}

static enum error_code run_one(struct sql_session *session, sqlite3_stmt *statement,
                               struct error *error)
{
    int64_t started_ns = clock_monotonic_ns();
    if (sqlite3_column_count(statement) == 0) {
        enum error_code code = run_silent(statement, error);
        if (!code && session->timer)
            say_time(started_ns, NULL);
        return code;
    }
    struct rows *rows = NULL;
    enum error_code code = create_rows(session, statement, &rows, error);
    if (code)
        return code;
    bool any = false;
    code = add_rows(statement, rows, &any, error);
    /* To a person, a header above nothing would look like an answer. */
    if (!code || any || !session->interactive) {
        enum error_code finish = rows_finish(rows, code ? NULL : error);
        code = code ? code : finish;
    }
    if (!code && session->timer)
        say_time(started_ns, rows);
    rows_free(rows);
    return code;
}

/* Once is enough. */
static void give_hint(struct sql_session *session, const char *sql)
{
    const char *hint = session->hinted ? NULL : sql_hints_for_statement(sql);
    if (hint)
        verb_say(SQL_VERB, "%s", hint);
    session->hinted |= hint != NULL;
}

enum error_code sql_statement_run(struct sql_session *session, const char *text,
                                  struct error *error)
{
    enum error_code code = session->interactive ? sql_session_freshen(session, error) : OK;
    if (code)
        return code;
    while (*text) {
        sqlite3_stmt *statement = NULL;
        code = sql_guard_prepare(&session->guard, text, &statement, &text, error);
        if (!code && statement)
            give_hint(session, sqlite3_sql(statement));
        if (!code && statement)
            code = run_one(session, statement, error);
        sqlite3_finalize(statement);
        if (code)
            return code;
    }
    return OK;
}
