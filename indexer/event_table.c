#include "indexer/event_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"
#include "indexer/database.h"
#include "indexer/event_columns.h"
#include "indexer/event_source.h"
#include "indexer/functions.h"
#include "indexer/topic_columns.h"

struct event_table {
    sqlite3_vtab base;
    struct indexer_host *host;
    struct indexer_event_columns columns;
    char *topic;               /* the one of a table of one topic; NULL: all */
    struct event_cursor *idle; /* closed, with its statements, for the next query; or NULL */
};

struct event_cursor {
    sqlite3_vtab_cursor base;
    struct indexer_event_source source;
    bool at_end;
    struct buffer json;
};

static struct event_table *table_of(struct event_cursor *cursor)
{
    return (struct event_table *)cursor->base.pVtab;
}

/* SQLite's code for an error, whose text becomes the table's message. */
static int fail(struct event_table *table, const struct error *error)
{
    sqlite3_free(table->base.zErrMsg);
    table->base.zErrMsg = sqlite3_mprintf("%s", error->text);
    return indexer_functions_sql_code(error->code);
}

static void cursor_free(struct event_cursor *cursor)
{
    if (!cursor)
        return;
    indexer_event_source_release(&cursor->source);
    buffer_release(&cursor->json);
    sqlite3_free(cursor);
}

static void table_free(struct event_table *table)
{
    cursor_free(table->idle);
    indexer_event_columns_release(&table->columns);
    indexer_host_release(table->host);
    sqlite3_free(table->topic);
    sqlite3_free(table);
}

static enum error_code make_columns(struct event_table *table, struct error *error)
{
    if (!table->topic)
        return indexer_event_columns_make(&table->columns, error);
    return indexer_topic_columns_load(table->host, table->topic, &table->columns, error);
}

static enum error_code declare(struct event_table *table, struct error *error)
{
    struct buffer sql = {0};
    enum error_code code = indexer_event_columns_declare(&table->columns, &sql, error);
    if (!code) {
        int result = sqlite3_declare_vtab(table->host->database, (const char *)sql.data);
        if (result)
            code = indexer_database_error(table->host->database, result, error);
    }
    buffer_release(&sql);
    return code;
}

/* SQLite gives arguments as they were written: 'a''b' and "a""b" become a'b and a"b. */
static char *unquote(const char *argument)
{
    char quote = argument[0];
    char *text = sqlite3_mprintf("%s", argument);
    if (!text || (quote != '\'' && quote != '"'))
        return text;
    char *to = text;
    for (const char *from = argument + 1; *from; from++) {
        if (*from == quote && *++from != quote)
            break;
        *to++ = *from;
    }
    *to = '\0';
    return text;
}

static int connect_table(sqlite3 *database, void *argument, int argc, const char *const *argv,
                         sqlite3_vtab **table_out, char **message_out)
{
    struct event_table *table = sqlite3_malloc(sizeof *table);
    if (!table)
        return SQLITE_NOMEM;
    memset(table, 0, sizeof *table);
    table->host = indexer_host_retain(argument);
    if (argc > 3)
        table->topic = unquote(argv[3]);
    struct error error = {0};
    enum error_code code = argc > 3 && !table->topic
                               ? error_set(&error, ERROR_MEMORY, "no memory for a table")
                               : make_columns(table, &error);
    if (!code)
        code = declare(table, &error);
    if (code) {
        *message_out = sqlite3_mprintf("%s", error.text);
        table_free(table);
        return code == ERROR_MEMORY    ? SQLITE_NOMEM
               : code == ERROR_DAMAGED ? SQLITE_CORRUPT
                                       : SQLITE_ERROR;
    }
    sqlite3_vtab_config(database, SQLITE_VTAB_INNOCUOUS);
    *table_out = &table->base;
    return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *base)
{
    table_free((struct event_table *)base);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    struct event_table *table = (struct event_table *)base;
    return indexer_event_plan_best(&table->columns, table->topic != NULL, info);
}

/* Prepared statements cost more than a short query: those of the last one are used again. */
static enum error_code take_cursor(struct event_table *table, struct event_cursor **cursor_out,
                                   struct error *error)
{
    struct event_cursor *cursor = table->idle;
    table->idle = NULL;
    if (!cursor) {
        cursor = sqlite3_malloc(sizeof *cursor);
        if (!cursor)
            return error_set(error, ERROR_MEMORY, "no memory for a cursor");
        memset(cursor, 0, sizeof *cursor);
    }
    enum error_code code = indexer_event_source_open(&cursor->source, table->host, error);
    if (code)
        cursor_free(cursor);
    else
        *cursor_out = cursor;
    return code;
}

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor_out)
{
    struct event_table *table = (struct event_table *)base;
    struct event_cursor *cursor = NULL;
    struct error error;
    if (take_cursor(table, &cursor, &error))
        return fail(table, &error);
    *cursor_out = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct event_table *table = table_of(cursor);
    indexer_event_source_close(&cursor->source);
    if (table->idle)
        cursor_free(cursor);
    else
        table->idle = cursor;
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *base)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct error error;
    enum error_code code = indexer_event_source_next(&cursor->source, &error);
    cursor->at_end = code != OK;
    return code && code != ERROR_END ? fail(table_of(cursor), &error) : SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct event_table *table = table_of(cursor);
    struct indexer_event_plan plan;
    struct error error;
    indexer_event_plan_take(&table->columns, number, text, argc, argv, &plan);
    if (table->topic)
        indexer_event_plan_set_topic(&plan, table->topic, strlen(table->topic));
    return indexer_event_source_start(&cursor->source, &plan, &error) ? fail(table, &error)
                                                                      : next(base);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct event_cursor *)base)->at_end;
}

static int topic_column(struct event_cursor *cursor, sqlite3_context *context)
{
    const char *topic;
    size_t bytes;
    struct error error;
    if (indexer_event_source_topic(&cursor->source, &topic, &bytes, &error))
        return fail(table_of(cursor), &error);
    sqlite3_result_text(context, topic, (int)bytes, SQLITE_TRANSIENT);
    return SQLITE_OK;
}

static void time_column(struct event_cursor *cursor, sqlite3_context *context)
{
    char text[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(indexer_event_source_ts(&cursor->source), text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void place_column(struct event_cursor *cursor, enum indexer_event_number number,
                         sqlite3_context *context)
{
    int64_t place = indexer_event_source_place(&cursor->source, number);
    if (place >= 0)
        sqlite3_result_int64(context, place);
}

/*
 * A column of numbers gives reals where its type is REAL, and integers where it is INTEGER and
 * JSON's 2.0 is one, as a table that stored them would: so price / 2 is what it says.
 */
static bool result_number(sqlite3_context *context, const struct indexer_event_column *column,
                          struct msgpack_cursor at)
{
    const double beyond = 9223372036854775808.0;
    struct msgpack_value value;
    if ((column->type[0] != 'R' && column->type[0] != 'I') || msgpack_read(&at, &value, NULL))
        return false;
    bool is_real = column->type[0] == 'R';
    if (is_real && value.kind == MSGPACK_KIND_UINT)
        sqlite3_result_double(context, (double)value.unsigned_);
    else if (is_real && value.kind == MSGPACK_KIND_INT)
        sqlite3_result_double(context, (double)value.signed_);
    else if (!is_real && value.kind == MSGPACK_KIND_FLOAT && floor(value.real) == value.real &&
             value.real < beyond && value.real >= -beyond)
        sqlite3_result_int64(context, (sqlite3_int64)value.real);
    else
        return false;
    return true;
}

/* Of the payload, all of it or one value. NULL when there is none. */
static int payload_column(struct event_cursor *cursor, const struct indexer_event_column *column,
                          sqlite3_context *context)
{
    struct event_table *table = table_of(cursor);
    const struct event *event;
    struct error error;
    enum error_code code = indexer_event_source_event(&cursor->source, &event, &error);
    if (code == ERROR_NOT_FOUND)
        return SQLITE_OK;
    if (code) {
        error_prefix(&error, "event %lld", (long long)cursor->source.sequence);
        return fail(table, &error);
    }
    struct msgpack_cursor found;
    if (column->role == EVENT_COLUMN_PAYLOAD)
        indexer_functions_result_payload(context, table->host, event->payload,
                                         event->payload_bytes);
    else if (!msgpack_path_find(&column->path, event->payload, event->payload_bytes, &found) &&
             !result_number(context, column, found))
        indexer_functions_result_value(context, found, &cursor->json);
    return SQLITE_OK;
}

/* The rows of an indexed field bring its value along: no need to open a block for it. */
static bool field_column(struct event_cursor *cursor, const struct indexer_event_column *column,
                         sqlite3_context *context)
{
    struct indexer_event_rows *rows = cursor->source.rows;
    if (!indexer_event_source_has_value(&cursor->source, column))
        return false;
    int type = indexer_event_rows_value_type(rows);
    if (column->type[0] == 'R' && type == SQLITE_INTEGER)
        sqlite3_result_double(context, (double)indexer_event_rows_number(rows, EVENT_ROW_VALUE));
    else if (column->type[0] == 'I' && type == SQLITE_FLOAT)
        return false; /* it may be an integer: result_number */
    else
        sqlite3_result_value(context, indexer_event_rows_value(rows));
    return true;
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int index)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    const struct indexer_event_column *wanted = &table_of(cursor)->columns.columns[index];
    switch (wanted->role) {
    case EVENT_COLUMN_SEQ:
        sqlite3_result_int64(context, cursor->source.sequence);
        return SQLITE_OK;
    case EVENT_COLUMN_TS:
        sqlite3_result_int64(context, indexer_event_source_ts(&cursor->source));
        return SQLITE_OK;
    case EVENT_COLUMN_TIME:
        time_column(cursor, context);
        return SQLITE_OK;
    case EVENT_COLUMN_TOPIC:
        return topic_column(cursor, context);
    case EVENT_COLUMN_SEGMENT:
        place_column(cursor, EVENT_ROW_SEGMENT, context);
        return SQLITE_OK;
    case EVENT_COLUMN_OFFSET:
        place_column(cursor, EVENT_ROW_OFFSET, context);
        return SQLITE_OK;
    case EVENT_COLUMN_BYTES:
        sqlite3_result_int64(context, indexer_event_source_bytes(&cursor->source));
        return SQLITE_OK;
    default:
        return field_column(cursor, wanted, context) ? SQLITE_OK
                                                     : payload_column(cursor, wanted, context);
    }
}

static const sqlite3_module event_module = {
    .iVersion = 1,
    .xCreate = connect_table,
    .xConnect = connect_table,
    .xBestIndex = best_index,
    .xDisconnect = disconnect_table,
    .xDestroy = disconnect_table,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = at_end,
    .xColumn = column,
};

enum error_code indexer_event_table_register(struct indexer_host *host, struct error *error)
{
    /* SQLite calls the release also when this fails. */
    int result = sqlite3_create_module_v2(host->database, "daybook_events", &event_module,
                                          indexer_host_retain(host), indexer_host_release);
    return result ? indexer_database_error(host->database, result, error) : OK;
}
