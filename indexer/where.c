#include "indexer/where.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/clock.h"
#include "indexer/database.h"
#include "indexer/where_functions.h"
#include "indexer/where_table.h"
#include "indexer/where_text.h"

/*
 * The whole text is one parenthesised expression (indexer/where_text.h). In a WHERE SQLite refuses
 * what has no value for one row, aggregates above all; therefore it is compiled so first. Then it
 * becomes the column of a statement that gives a row for each event; within a CASE, where AND and
 * OR do not look at their right side when the left one decides.
 */
static const char try_begin[] = "SELECT 1 FROM \"" INDEXER_WHERE_TABLE "\" WHERE (";
static const char try_end[] = "\n)";
static const char ask_begin[] = "SELECT CASE WHEN (";
static const char ask_end[] = "\n) THEN 1 ELSE 0 END FROM \"" INDEXER_WHERE_TABLE "\"";

enum {
    TEXT_MAX = 8 << 20, /* one value; the JSON of the largest payload has less than 7 MiB */
    DEPTH_MAX = 100,    /* of the expression: AND and OR count each */
    LARGE = 256 << 10, /* what an event has taken that so much was spent on is given back */
};

struct indexer_where {
    sqlite3 *database; /* in memory, and of its own */
    sqlite3_stmt *statement;
    struct indexer_where_event at;
    /* While the text is compiled: */
    const char *text;
    size_t text_bytes;
    size_t selects;      /* that the authorizer has seen */
    struct error refusal; /* why it has refused something; OK: it has not */
};

static int refuse(struct indexer_where *where, const char *what)
{
    error_set(&where->refusal, ERROR_INVALID,
              "a condition is one expression over one event: %s is not to be had", what);
    return SQLITE_DENY;
}

/* Everything is refused that is not named here. */
static int authorize(void *argument, int action, const char *first, const char *second,
                     const char *database, const char *trigger)
{
    (void)database, (void)trigger;
    struct indexer_where *where = argument;
    switch (action) {
    case SQLITE_SELECT:
        return where->selects++ == 0 ? SQLITE_OK : refuse(where, "SELECT");
    case SQLITE_READ:
        return strcmp(first, INDEXER_WHERE_TABLE) == 0 ? SQLITE_OK : refuse(where, "a table");
    case SQLITE_FUNCTION:
        return indexer_where_functions_check(second, &where->refusal) ? SQLITE_DENY : SQLITE_OK;
    default:
        return refuse(where, "anything but operators and functions");
    }
}

static enum error_code open_database(struct indexer_where *where, struct error *error)
{
    int result = sqlite3_open_v2(":memory:", &where->database,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY |
                                     SQLITE_OPEN_NOMUTEX,
                                 NULL);
    if (result)
        return indexer_database_error(where->database, result, error);
    sqlite3 *database = where->database;
    /* A name in double quotes is a name, and never a text that was meant to be one. */
    sqlite3_db_config(database, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* There may be hundreds of conditions, and none of them allocates much or often. */
    sqlite3_db_config(database, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0);
    sqlite3_limit(database, SQLITE_LIMIT_LENGTH, TEXT_MAX);
    sqlite3_limit(database, SQLITE_LIMIT_EXPR_DEPTH, DEPTH_MAX);
    sqlite3_limit(database, SQLITE_LIMIT_FUNCTION_ARG, INDEXER_WHERE_ARGUMENTS_MAX);
    sqlite3_limit(database, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(database, SQLITE_LIMIT_WORKER_THREADS, 0);
    return indexer_where_functions_attach(database, &where->at, error);
}

static int prepare(struct indexer_where *where, const char *begin, const char *end,
                   sqlite3_stmt **statement_out)
{
    char *sql = sqlite3_mprintf("%s%.*s%s", begin, (int)where->text_bytes, where->text, end);
    if (!sql)
        return SQLITE_NOMEM;
    where->selects = 0;
    where->refusal.code = OK;
    sqlite3_set_authorizer(where->database, authorize, where);
    int result = sqlite3_prepare_v3(where->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                    statement_out, NULL);
    sqlite3_set_authorizer(where->database, NULL, NULL);
    sqlite3_free(sql);
    return result;
}

/*
 * Is SQLite's message about a name that it does not know? Then *name_out, which the caller frees,
 * is the name; NULL: no memory.
 */
static bool misses_name(struct indexer_where *where, char **name_out)
{
    static const char begin[] = "no such column: ";
    /* Newer ones add a hint behind a name in double quotes, and show these. */
    static const char hint[] = "\" - should this be a string literal in single-quotes?";
    const char *message = sqlite3_errmsg(where->database);
    if (strncmp(message, begin, sizeof begin - 1) != 0)
        return false;
    const char *name = message + sizeof begin - 1;
    size_t bytes = strlen(name), hint_bytes = sizeof hint - 1;
    bool has_hint = bytes > hint_bytes && strcmp(name + bytes - hint_bytes, hint) == 0;
    *name_out = has_hint ? strndup(name + 1, bytes - hint_bytes - 1) : strdup(name);
    return true;
}

/* "payload.time" is the field time, as in the topics' tables: their columns' names are taken. */
static const char *without_prefix(const char *name)
{
    static const char prefix[] = "payload.";
    static const char *const taken[] = {"seq",     "ts",     "time",  "topic",
                                        "payload", "segment", "offset", "bytes"};
    const char *rest = name + sizeof prefix - 1;
    if (strncasecmp(name, prefix, sizeof prefix - 1) == 0)
        for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
            if (strcasecmp(rest, taken[i]) == 0)
                return rest;
    return name;
}

static enum error_code add_field(struct indexer_where *where, const char *name, struct error *error)
{
    struct indexer_where_event *at = &where->at;
    struct msgpack_path path;
    const char *path_text = without_prefix(name);
    for (size_t i = 0; i < at->field_count; i++)
        if (strcasecmp(at->fields[i].name, name) == 0)
            return error_set(error, ERROR_INVALID,
                             "a field with a dot in its name has to be in double quotes: \"%s\"",
                             name);
    if (at->field_count == INDEXER_WHERE_FIELDS_MAX)
        return error_set(error, ERROR_INVALID, "it names more than %d fields",
                         INDEXER_WHERE_FIELDS_MAX);
    if (msgpack_path_parse(path_text, strlen(path_text), &path, error))
        return error_prefix(error, "no field can be called \"%s\"", name);
    struct indexer_where_field *fields =
        realloc(at->fields, (at->field_count + 1) * sizeof *at->fields);
    if (fields)
        at->fields = fields;
    char *copy = fields ? strdup(name) : NULL;
    if (!copy)
        return error_set(error, ERROR_MEMORY, "no memory for the fields of a condition");
    at->fields[at->field_count++] = (struct indexer_where_field){.name = copy, .path = path};
    return OK;
}

/* Where in the text SQLite has stopped; what it met behind the text is the end of ours. */
static enum error_code explain_syntax(struct indexer_where *where, struct error *error)
{
    const char *message = sqlite3_errmsg(where->database);
    int offset = sqlite3_error_offset(where->database) - (int)(sizeof try_begin - 1);
    if (offset >= (int)where->text_bytes)
        return error_set(error, ERROR_INVALID, "incomplete input");
    if (offset >= 0)
        return error_set(error, ERROR_INVALID, "%s, at position %d", message, offset + 1);
    return error_set(error, ERROR_INVALID, "%s", message);
}

static enum error_code explain(struct indexer_where *where, int result, struct error *error)
{
    if (result == SQLITE_NOMEM)
        return error_set(error, ERROR_MEMORY, "no memory for the condition");
    if (where->refusal.code)
        return error_set(error, where->refusal.code, "%s", where->refusal.text);
    return explain_syntax(where, error);
}

/* Until SQLite knows all names: each that it misses becomes a column. */
static enum error_code find_fields(struct indexer_where *where, struct error *error)
{
    for (;;) {
        sqlite3_stmt *statement = NULL;
        enum error_code code = indexer_where_table_make(where->database, &where->at, error);
        if (code)
            return code;
        int result = prepare(where, try_begin, try_end, &statement);
        sqlite3_finalize(statement);
        if (result == SQLITE_OK)
            return OK;
        char *name = NULL;
        if (result != SQLITE_ERROR || where->refusal.code || !misses_name(where, &name))
            return explain(where, result, error);
        code = name ? add_field(where, name, error) : explain(where, SQLITE_NOMEM, error);
        free(name);
        if (code)
            return code;
    }
}

/* SQL takes Price and price for one name, JSON for two: the second would silently be the first. */
static enum error_code check_name(const struct indexer_where *where, const char *name,
                                  struct error *error)
{
    for (size_t i = 0; i < where->at.field_count; i++) {
        const char *field = where->at.fields[i].name;
        if (strcasecmp(field, name) == 0 && strcmp(field, name) != 0)
            return error_set(error, ERROR_INVALID,
                             "%s and %s are one name in SQL; write daybook_field(payload, '%s') "
                             "for one of them",
                             field, name, name);
    }
    return OK;
}

static enum error_code check_case(const struct indexer_where *where, struct error *error)
{
    struct buffer name = {0};
    enum error_code code;
    size_t at = 0;
    do {
        code = indexer_where_text_name(where->text, where->text_bytes, &at, &name, error);
        if (!code)
            code = check_name(where, (const char *)name.data, error);
    } while (!code);
    buffer_release(&name);
    return code == ERROR_END ? OK : code;
}

static enum error_code compile(struct indexer_where *where, struct error *error)
{
    enum error_code code = indexer_where_text_check(where->text, where->text_bytes, error);
    if (!code) {
        where->at.passes = indexer_where_text_passes(where->text, where->text_bytes);
        code = open_database(where, error);
    }
    if (!code)
        code = find_fields(where, error);
    if (!code)
        code = check_case(where, error);
    if (code)
        return code;
    int result = prepare(where, ask_begin, ask_end, &where->statement);
    return result ? explain(where, result, error) : OK;
}

enum error_code indexer_where_compile(const char *text, size_t text_bytes,
                                      struct indexer_where **where_out, struct error *error)
{
    struct indexer_where *where = calloc(1, sizeof *where);
    if (!where)
        return error_set(error, ERROR_MEMORY, "no memory for the condition");
    where->text = text;
    where->text_bytes = text_bytes;
    where->at.now_ns = clock_realtime_ns();
    enum error_code code = compile(where, error);
    where->text = NULL;
    if (code) {
        indexer_where_free(where);
        return code;
    }
    *where_out = where;
    return OK;
}

static enum error_code fail(struct indexer_where *where, int result, const struct event *event,
                            struct error *error)
{
    if (result == SQLITE_NOMEM)
        return error_set(error, ERROR_MEMORY, "no memory for the condition");
    return error_set(error, ERROR_INVALID, "event %llu: %s", (unsigned long long)event->sequence,
                     sqlite3_errmsg(where->database));
}

enum error_code indexer_where_match(struct indexer_where *where, const struct event *event,
                                    bool *matches_out, struct error *error)
{
    enum error_code code = OK;
    indexer_where_event_set(&where->at, event);
    int result = sqlite3_step(where->statement);
    if (result == SQLITE_ROW)
        *matches_out = sqlite3_column_int(where->statement, 0) != 0;
    else
        code = fail(where, result, event, error);
    if (code || where->at.work > LARGE) {
        sqlite3_reset(where->statement);
        indexer_where_event_trim(&where->at);
    }
    indexer_where_event_set(&where->at, NULL);
    return code;
}

const char *indexer_where_unseen(const struct indexer_where *where)
{
    for (size_t i = 0; i < where->at.field_count; i++)
        if (where->at.fields[i].asked && !where->at.fields[i].seen)
            return where->at.fields[i].name;
    return NULL;
}

void indexer_where_free(struct indexer_where *where)
{
    if (!where)
        return;
    sqlite3_finalize(where->statement);
    sqlite3_close_v2(where->database);
    indexer_where_event_release(&where->at);
    free(where);
}
