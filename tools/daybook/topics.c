/*
 * tools/daybook/topics.c - `daybook topics`: what topics there are.
 */
#include <stdio.h>

#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

static const struct options_flag topics_flags[] = {
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb topics_verb = {
    .name = "topics",
    .usage = "[FLAGS]",
    .about = "List the topics of the log, the largest first, from the index.",
    .flags = topics_flags,
    .example = "  daybook topics -o json\n",
};

static const char *const names[] = {"topic",    "events",     "bytes",    "first_seq",
                                    "last_seq", "first_time", "last_time"};
static const char query[] =
    "SELECT topic, events, bytes, first_seq, last_seq, first_time, last_time"
    " FROM topics ORDER BY events DESC, topic";

static enum error_code add_topic(struct rows *rows, sqlite3_stmt *topic, struct error *error)
{
    rows_string(rows, (const char *)sqlite3_column_text(topic, 0));
    rows_count(rows, (uint64_t)sqlite3_column_int64(topic, 1));
    rows_size(rows, (uint64_t)sqlite3_column_int64(topic, 2));
    rows_sequence(rows, (uint64_t)sqlite3_column_int64(topic, 3));
    rows_sequence(rows, (uint64_t)sqlite3_column_int64(topic, 4));
    rows_string(rows, (const char *)sqlite3_column_text(topic, 5));
    rows_string(rows, (const char *)sqlite3_column_text(topic, 6));
    return rows_end(rows, error);
}

static enum error_code print_topics(sqlite3 *database, enum rows_format format, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, query, -1, &statement, NULL) != SQLITE_OK)
        return index_sql_error(database, error);
    struct rows *rows = NULL;
    enum error_code code =
        rows_create(stdout, format, false, names, sizeof names / sizeof names[0], &rows, error);
    int result = SQLITE_DONE;
    while (!code && (result = sqlite3_step(statement)) == SQLITE_ROW)
        code = add_topic(rows, statement, error);
    if (!code && result != SQLITE_DONE)
        code = index_sql_error(database, error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    sqlite3_finalize(statement);
    return code;
}

int verb_topics(int argc, char **argv)
{
    struct options options;
    const char *value;
    int id, format = ROWS_TABLE;
    options_init(&options, &topics_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        options_choice(&options, "-o", value, rows_format_names, &format);
    options_refuse_operands(&options);
    if (options.finished)
        return options.status;

    struct error error;
    sqlite3 *database = NULL;
    struct index_trouble trouble;
    const char *directory = options_directory(&options);
    if (index_open(topics_verb.name, directory, &database, &trouble, &error))
        return verb_fail_open(topics_verb.name, directory, &error);
    enum error_code code = print_topics(database, (enum rows_format)format, &error);
    index_close(database, &trouble);
    if (code && code != ERROR_CLOSED)
        return verb_fail(topics_verb.name, &error);
    return index_status(&trouble, directory);
}
