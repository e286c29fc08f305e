/*
 * tools/daybook/sql.c - `daybook sql`: SQL over the index, with the payloads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

static const struct options_flag sql_flags[] = {
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb sql_verb = {
    .name = "sql",
    .usage = "[FLAGS] [QUERY]",
    .about =
        "Ask the index: events(seq, ts, time, topic, segment, offset, bytes), topics, segments,\n"
        "gaps, event_stats; payload(seq) is an event's payload as JSON text. Without QUERY it\n"
        "reads statements from stdin, each up to its semicolon; .quit ends.",
    .flags = sql_flags,
    .example = "  daybook sql \"SELECT topic, count(*) FROM events GROUP BY topic\"\n"
               "  daybook sql -o json \"SELECT time, payload(seq) AS p FROM events\n"
               "                      WHERE p ->> '$.status' = 'failed' LIMIT 10\"\n",
};

enum { NAMES_MAX = 2000 }; /* SQLite's own limit of columns */

struct sql_run {
    const char *directory;
    enum rows_format format;
    sqlite3 *database;
    struct index_trouble trouble;
};

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

static enum error_code create_rows(sqlite3_stmt *statement, enum rows_format format,
                                   struct rows **rows_out, struct error *error)
{
    const char *names[NAMES_MAX];
    int count = sqlite3_column_count(statement);
    for (int i = 0; i < count && i < NAMES_MAX; i++) {
        names[i] = sqlite3_column_name(statement, i);
        if (!names[i])
            return error_set(error, ERROR_MEMORY, "no memory for rows");
    }
    return rows_create(stdout, format, false, names, (size_t)count, rows_out, error);
}

static enum error_code add_rows(sqlite3_stmt *statement, struct rows *rows, struct error *error)
{
    int count = sqlite3_column_count(statement);
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < count; i++)
            add_value(rows, statement, i);
        enum error_code code = rows_end(rows, error);
        if (code)
            return code;
    }
    return result == SQLITE_DONE ? OK : index_sql_error(sqlite3_db_handle(statement), error);
}

/* What came before an error is printed all the same. */
static enum error_code print_statement(sqlite3_stmt *statement, enum rows_format format,
                                       struct error *error)
{
    if (sqlite3_column_count(statement) == 0) {
        int result = sqlite3_step(statement);
        return result == SQLITE_DONE || result == SQLITE_ROW
                   ? OK
                   : index_sql_error(sqlite3_db_handle(statement), error);
    }
    struct rows *rows = NULL;
    enum error_code code = create_rows(statement, format, &rows, error);
    if (code)
        return code;
    code = add_rows(statement, rows, error);
    enum error_code finish = rows_finish(rows, code ? NULL : error);
    rows_free(rows);
    return code ? code : finish;
}

static enum error_code run_statements(struct sql_run *run, const char *text, struct error *error)
{
    while (*text) {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v2(run->database, text, -1, &statement, &text) != SQLITE_OK)
            return index_sql_error(run->database, error);
        if (!statement)
            continue; /* white space or a comment */
        enum error_code code = print_statement(statement, run->format, error);
        sqlite3_finalize(statement);
        if (code)
            return code;
    }
    return OK;
}

static int finish(enum error_code code, const struct error *error)
{
    if (code == OK || code == ERROR_CLOSED) /* who closed the pipe has seen enough */
        return STATUS_OK;
    return verb_fail(sql_verb.name, error);
}

static bool is_quit(const char *line)
{
    static const char *const words[] = {".quit", ".exit", "quit", "exit"};
    size_t bytes = strcspn(line, "; \t\r\n");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == bytes && strncmp(line, words[i], bytes) == 0)
            return true;
    return false;
}

static void prompt(bool interactive, bool continued)
{
    if (!interactive)
        return;
    fputs(continued ? "    ...> " : "daybook> ", stderr);
    fflush(stderr);
}

/* Statements line by line; each runs as soon as its semicolon is there. */
static int run_shell(struct sql_run *run)
{
    bool interactive = isatty(STDIN_FILENO);
    struct buffer text = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    int status = STATUS_OK;
    struct error error;
    prompt(interactive, false);
    while ((bytes = getline(&line, &capacity, stdin)) > 0) {
        if (text.size == 0 && is_quit(line))
            break;
        enum error_code code = buffer_append(&text, line, (size_t)bytes + 1, &error);
        bool complete = !code && sqlite3_complete((const char *)text.data);
        if (code || complete) {
            if (!code && interactive)
                index_freshen(sql_verb.name, run->directory, NULL);
            if (!code)
                code = run_statements(run, (const char *)text.data, &error);
            status = finish(code, &error);
            text.size = 0;
            if (code && !interactive)
                break;
        } else {
            text.size--; /* the NUL: more follows */
        }
        prompt(interactive, !complete);
    }
    bool left = text.size > 0 && status == STATUS_OK;
    if (left) /* the last semicolon may be missing */
        status = finish(run_statements(run, (const char *)text.data, &error), &error);
    buffer_release(&text);
    free(line);
    return interactive ? STATUS_OK : status;
}

static int run_query(struct sql_run *run, const char *query)
{
    struct error error;
    enum error_code code = run_statements(run, query, &error);
    return finish(code, &error);
}

int verb_sql(int argc, char **argv)
{
    struct options options;
    const char *value;
    int id, format = ROWS_TABLE;
    options_init(&options, &sql_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        if (id == 'o')
            options_choice(&options, "-o", value, rows_format_names, &format);
    if (!options.finished && options_operand_count(&options) > 1)
        options_refuse(&options, "one QUERY only: put it into quotes");
    if (options.finished)
        return options.status;

    struct error error;
    struct sql_run run = {.directory = options_directory(&options),
                          .format = (enum rows_format)format};
    if (index_open(sql_verb.name, run.directory, &run.database, &run.trouble, &error))
        return verb_fail_open(sql_verb.name, run.directory, &error);
    int status = options_operand_count(&options) == 1
                     ? run_query(&run, options_operands(&options)[0])
                     : run_shell(&run);
    index_close(run.database, &run.trouble);
    return status == STATUS_OK ? index_status(&run.trouble, run.directory) : status;
}
