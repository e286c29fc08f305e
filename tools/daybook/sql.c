/*
 * tools/daybook/sql.c - `daybook sql`: SQL over the index, with the payloads.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/sql_script.h"
#include "tools/daybook/sql_session.h"
#include "tools/daybook/sql_shell.h"
#include "tools/daybook/verb.h"

static const struct options_flag sql_flags[] = {
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb sql_verb = {
    .name = SQL_VERB,
    .usage = "[FLAGS] [QUERY]",
    .about =
        "Ask the log: events(seq, ts, time, topic, segment, offset, bytes, payload), topics,\n"
        "segments, gaps, event_stats; payload is an event's payload as JSON text. A topic with a\n"
        "schema or indexed fields is a table of its own name, with its fields as columns.\n"
        "daybook_field(payload, 'user') finds a value, daybook_time('-15m') is a time as ts has it.\n"
        "Without QUERY it is a shell on a terminal, and elsewhere it runs the statements on stdin,\n"
        "each up to its semicolon, and dot commands (.help lists them). It only reads: nothing can\n"
        "change the log, its index, or a database that ATTACH adds to join with.",
    .flags = sql_flags,
    .example = "  daybook sql \"SELECT topic, count(*) FROM events GROUP BY topic\"\n"
               "  daybook sql -o json \"SELECT time, payload FROM events\n"
               "                      WHERE payload ->> 'status' = 'failed' LIMIT 10\"\n"
               "  daybook sql \"SELECT pattern, avg(confidence) FROM signal_generated\n"
               "               GROUP BY pattern\"\n",
};

static int finish(enum error_code code, const struct error *error)
{
    if (code == OK || code == ERROR_CLOSED) /* who closed the pipe has seen enough */
        return STATUS_OK;
    return verb_fail(SQL_VERB, error);
}

static int run_query(struct sql_session *session, const char *query)
{
    struct error error;
    struct sql_script script = {0};
    enum error_code code =
        sql_script_add(session, &script, query, strlen(query), NULL, &error);
    if (!code)
        code = sql_script_finish(session, &script, &error);
    sql_script_release(&script);
    return finish(code, &error);
}

static int run_shell(struct sql_session *session)
{
    struct error error;
    session->interactive = true;
    session->timer = true;
    return finish(sql_shell_run(session, &error), &error);
}

static int run(struct sql_session *session, const char *query)
{
    struct error error;
    if (query)
        return run_query(session, query);
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        return run_shell(session);
    return finish(sql_script_run_stream(session, stdin, NULL, &error), &error);
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
    struct sql_session session = {.directory = options_directory(&options),
                                  .format = (enum rows_format)format};
    if (sql_session_open(&session, &error))
        return verb_fail_open(SQL_VERB, session.directory, &error);
    const char *query =
        options_operand_count(&options) == 1 ? options_operands(&options)[0] : NULL;
    int status = run(&session, query);
    sql_session_close(&session);
    return status == STATUS_OK ? index_status(&session.trouble, session.directory) : status;
}
