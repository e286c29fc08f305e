#include "indexer/event_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"
#include "indexer/database.h"
#include "indexer/event_columns.h"
#include "indexer/event_join.h"
#include "indexer/event_plan.h"
#include "indexer/event_rows.h"
#include "indexer/event_scan.h"
#include "indexer/event_way.h"
#include "indexer/functions.h"
#include "indexer/topic_columns.h"

struct event_table {
    sqlite3_vtab base;
    struct indexer_host *host;
    struct indexer_event_columns columns;
    char *topic;               /* the one of a table of one topic; NULL: all */
    struct event_cursor *idle; /* closed, with its statements, for the next query; or NULL */
};

/* Rows come from the index, or else events from the log: gives_events. */
struct event_cursor {
    sqlite3_vtab_cursor base;
    struct indexer_event_ways *ways;
    struct indexer_event_plan plan;
    enum indexer_event_way way;
    struct indexer_event_scan scan;
    struct indexer_event_join join;
    struct indexer_event_rows *rows; /* made by the first query that needs them */
    struct indexer_lookup *lookup;
    struct event event; /* the present one, when it comes from the log */
    int64_t sequence;   /* … its sequence, also from the index */
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
    indexer_event_ways_free(cursor->ways);
    indexer_event_rows_free(cursor->rows);
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
    enum error_code code = OK;
    if (!cursor->ways)
        code = indexer_event_ways_create(table->host, &cursor->ways, error);
    if (!code)
        code = indexer_host_take_lookup(table->host, &cursor->lookup, error);
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
    indexer_host_give_lookup(table->host, cursor->lookup);
    cursor->lookup = NULL;
    indexer_event_join_release(&cursor->join);
    indexer_event_ways_stop(cursor->ways);
    if (cursor->rows)
        indexer_event_rows_stop(cursor->rows);
    if (table->idle)
        cursor_free(cursor);
    else
        table->idle = cursor;
    return SQLITE_OK;
}

/* Begin on cursor->way. */
static enum error_code start(struct event_cursor *cursor, struct error *error)
{
    struct indexer_host *host = table_of(cursor)->host;
    enum error_code code = OK;
    if (cursor->way == EVENT_WAY_NONE || cursor->way == EVENT_WAY_JOIN)
        return OK;
    if (cursor->way == EVENT_WAY_LOG)
        return indexer_event_scan_start(&cursor->scan, cursor->lookup, &cursor->plan, error);
    if (!cursor->rows)
        code = indexer_event_rows_create(host, &cursor->rows, error);
    return code ? code
                : indexer_event_rows_start(cursor->rows, &cursor->plan, cursor->way, error);
}

static enum error_code next_of_rows(struct event_cursor *cursor, struct error *error)
{
    enum error_code code = indexer_event_rows_next(cursor->rows, error);
    if (!code && cursor->way != EVENT_WAY_TOPICS)
        cursor->sequence = indexer_event_rows_number(cursor->rows, EVENT_ROW_SEQUENCE);
    return code;
}

/* Behind damage the index goes on, which knows every event that was there. */
static enum error_code next_of_log(struct event_cursor *cursor, struct error *error)
{
    enum error_code code =
        indexer_event_scan_next(&cursor->scan, &cursor->event, &cursor->sequence, error);
    if (code != ERROR_DAMAGED)
        return code;
    cursor->way = EVENT_WAY_SEQUENCE;
    cursor->plan.sequence_first = cursor->sequence;
    code = start(cursor, error);
    return code ? code : next_of_rows(cursor, error);
}

static enum error_code find_next(struct event_cursor *cursor, struct error *error)
{
    switch (cursor->way) {
    case EVENT_WAY_NONE:
        return ERROR_END;
    case EVENT_WAY_LOG:
        return next_of_log(cursor, error);
    case EVENT_WAY_JOIN:
        return indexer_event_join_next(&cursor->join, cursor->lookup, &cursor->event,
                                       &cursor->sequence, error);
    default:
        return next_of_rows(cursor, error);
    }
}

static int next(sqlite3_vtab_cursor *base)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct error error;
    enum error_code code = find_next(cursor, &error);
    cursor->at_end = code != OK;
    return code && code != ERROR_END ? fail(table_of(cursor), &error) : SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct event_table *table = table_of(cursor);
    struct error error;
    indexer_event_plan_take(&table->columns, number, text, argc, argv, &cursor->plan);
    if (table->topic)
        indexer_event_plan_set_topic(&cursor->plan, table->topic, strlen(table->topic));
    if (cursor->rows)
        indexer_event_rows_stop(cursor->rows);
    struct indexer_event_estimate estimate;
    int64_t bound = (int64_t)indexer_host_bound(table->host);
    enum error_code code = indexer_event_ways_choose(cursor->ways, bound, &cursor->plan,
                                                     &cursor->way, &estimate, &error);
    if (!code && indexer_event_join_begin(&cursor->join, &cursor->plan, &estimate, cursor->lookup))
        cursor->way = EVENT_WAY_JOIN;
    if (!code)
        code = start(cursor, &error);
    return code ? fail(table, &error) : next(base);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct event_cursor *)base)->at_end;
}

static bool gives_events(const struct event_cursor *cursor)
{
    return cursor->way == EVENT_WAY_LOG || cursor->way == EVENT_WAY_JOIN;
}

static int topic_column(struct event_cursor *cursor, sqlite3_context *context)
{
    const char *topic = cursor->event.topic;
    size_t bytes = cursor->event.topic_bytes;
    if (cursor->plan.has_topic) {
        topic = cursor->plan.topic;
        bytes = cursor->plan.topic_bytes;
    } else if (!gives_events(cursor)) {
        struct error error;
        int64_t id = indexer_event_rows_number(cursor->rows, EVENT_ROW_TOPIC_ID);
        if (indexer_event_rows_topic(cursor->rows, id, &topic, &bytes, &error))
            return fail(table_of(cursor), &error);
    }
    sqlite3_result_text(context, topic, (int)bytes, SQLITE_TRANSIENT);
    return SQLITE_OK;
}

static int64_t ts_of(const struct event_cursor *cursor)
{
    return gives_events(cursor) ? cursor->event.time_ns
                                : indexer_event_rows_number(cursor->rows, EVENT_ROW_TS);
}

static void time_column(const struct event_cursor *cursor, sqlite3_context *context)
{
    char text[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(ts_of(cursor), text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

/* Plans that ask for the place do not go through the log. */
static void place_column(const struct event_cursor *cursor, enum indexer_event_number number,
                         sqlite3_context *context)
{
    int64_t place = indexer_event_rows_number(cursor->rows, number);
    if (place >= 0)
        sqlite3_result_int64(context, place);
}

static int64_t bytes_of(const struct event_cursor *cursor)
{
    return gives_events(cursor) ? (int64_t)cursor->event.payload_bytes
                                : indexer_event_rows_number(cursor->rows, EVENT_ROW_BYTES);
}

/* ERROR_NOT_FOUND: there is none (any more). */
static enum error_code find_event(struct event_cursor *cursor, const struct event **event_out,
                                  struct error *error)
{
    *event_out = &cursor->event;
    if (gives_events(cursor))
        return OK;
    return indexer_lookup_event(cursor->lookup, (uint64_t)cursor->sequence, event_out, error);
}

/*
 * A column of numbers gives reals where its type is REAL, and integers where it is INTEGER and JSON's
 * 2.0 is one, as a table that stored them would: so price / 2 is what it says.
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
    enum error_code code = find_event(cursor, &event, &error);
    if (code == ERROR_NOT_FOUND)
        return SQLITE_OK;
    if (code) {
        error_prefix(&error, "event %lld", (long long)cursor->sequence);
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
    if (cursor->way != EVENT_WAY_FIELD || cursor->plan.field.column != column)
        return false;
    sqlite3_value *value = indexer_event_rows_value(cursor->rows);
    if (column->type[0] == 'R' && sqlite3_value_type(value) == SQLITE_INTEGER)
        sqlite3_result_double(context, (double)sqlite3_value_int64(value));
    else if (column->type[0] == 'I' && sqlite3_value_type(value) == SQLITE_FLOAT)
        return false; /* it may be an integer: result_number */
    else
        sqlite3_result_value(context, value);
    return true;
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int index)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    const struct indexer_event_column *wanted = &table_of(cursor)->columns.columns[index];
    switch (wanted->role) {
    case EVENT_COLUMN_SEQ:
        sqlite3_result_int64(context, cursor->sequence);
        return SQLITE_OK;
    case EVENT_COLUMN_TS:
        sqlite3_result_int64(context, ts_of(cursor));
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
        sqlite3_result_int64(context, bytes_of(cursor));
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
