#include "indexer/event_table.h"

#include <stdlib.h>
#include <string.h>

#include "core/units.h"
#include "indexer/database.h"
#include "indexer/event_columns.h"
#include "indexer/event_plan.h"
#include "indexer/event_rows.h"
#include "indexer/functions.h"

struct event_table {
    sqlite3_vtab base;
    struct indexer_host *host;
    struct indexer_event_columns columns;
    char *topic; /* the one of a table of one topic; NULL: all */
};

struct event_cursor {
    sqlite3_vtab_cursor base;
    struct indexer_event_rows *rows;
    struct indexer_lookup *lookup; /* taken by the first row whose payload is asked for */
    struct indexer_event_row row;
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
    switch (error->code) {
    case ERROR_MEMORY:
        return SQLITE_NOMEM;
    case ERROR_DAMAGED:
        return SQLITE_CORRUPT;
    case ERROR_BUSY:
        return SQLITE_BUSY;
    case ERROR_CLOSED:
        return SQLITE_INTERRUPT;
    default:
        return SQLITE_ERROR;
    }
}

static void table_free(struct event_table *table)
{
    indexer_event_columns_release(&table->columns);
    indexer_host_release(table->host);
    sqlite3_free(table->topic);
    sqlite3_free(table);
}

static enum error_code make_columns(struct event_table *table, struct error *error)
{
    return indexer_event_columns_make(&table->columns, error);
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
        return code == ERROR_MEMORY ? SQLITE_NOMEM : SQLITE_ERROR;
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

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor_out)
{
    struct event_table *table = (struct event_table *)base;
    struct event_cursor *cursor = sqlite3_malloc(sizeof *cursor);
    if (!cursor)
        return SQLITE_NOMEM;
    memset(cursor, 0, sizeof *cursor);
    struct error error;
    if (indexer_event_rows_create(table->host, &cursor->rows, &error)) {
        sqlite3_free(cursor);
        return fail(table, &error);
    }
    *cursor_out = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    if (cursor->lookup)
        indexer_host_give_lookup(table_of(cursor)->host, cursor->lookup);
    indexer_event_rows_free(cursor->rows);
    buffer_release(&cursor->json);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *base)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct error error;
    enum error_code code = indexer_event_rows_next(cursor->rows, &cursor->row, &error);
    cursor->at_end = code != OK;
    if (code == ERROR_END) {
        indexer_event_rows_stop(cursor->rows);
        return SQLITE_OK;
    }
    return code ? fail(table_of(cursor), &error) : SQLITE_OK;
}

static enum error_code take_lookup(struct event_cursor *cursor, struct error *error)
{
    if (cursor->lookup)
        return OK;
    return indexer_host_take_lookup(table_of(cursor)->host, &cursor->lookup, error);
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    struct event_table *table = table_of(cursor);
    struct indexer_event_plan plan;
    struct error error;
    uint64_t bound = 1;
    indexer_event_plan_take(&table->columns, number, text, argc, argv, &plan);
    if (table->topic)
        indexer_event_plan_set_topic(&plan, table->topic, strlen(table->topic));
    enum error_code code = take_lookup(cursor, &error);
    if (!code)
        code = indexer_lookup_bound(cursor->lookup, &bound, &error);
    if (!code)
        code = indexer_event_rows_start(cursor->rows, &plan, (int64_t)bound, &error);
    return code ? fail(table, &error) : next(base);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct event_cursor *)base)->at_end;
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid_out)
{
    *rowid_out = ((struct event_cursor *)base)->row.sequence;
    return SQLITE_OK;
}

static int topic_column(struct event_cursor *cursor, sqlite3_context *context)
{
    const char *topic;
    size_t bytes;
    struct error error;
    if (indexer_event_rows_topic(cursor->rows, cursor->row.topic_id, &topic, &bytes, &error))
        return fail(table_of(cursor), &error);
    sqlite3_result_text(context, topic, (int)bytes, SQLITE_TRANSIENT);
    return SQLITE_OK;
}

static void time_column(const struct event_cursor *cursor, sqlite3_context *context)
{
    char text[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(cursor->row.ts, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void place_column(sqlite3_context *context, int64_t number)
{
    if (number >= 0)
        sqlite3_result_int64(context, number);
}

/* Of the payload, all of it or one value. NULL when there is none. */
static int payload_column(struct event_cursor *cursor, const struct indexer_event_column *column,
                          sqlite3_context *context)
{
    struct event_table *table = table_of(cursor);
    const struct event *event;
    struct error error;
    enum error_code code = indexer_lookup_event(cursor->lookup, (uint64_t)cursor->row.sequence,
                                                &event, &error);
    if (code == ERROR_NOT_FOUND)
        return SQLITE_OK;
    if (code) {
        error_prefix(&error, "event %lld", (long long)cursor->row.sequence);
        return fail(table, &error);
    }
    struct msgpack_cursor found;
    if (column->role == EVENT_COLUMN_PAYLOAD)
        indexer_functions_result_payload(context, table->host, event->payload,
                                         event->payload_bytes);
    else if (!msgpack_path_find(&column->path, event->payload, event->payload_bytes, &found))
        indexer_functions_result_value(context, found, &cursor->json);
    return SQLITE_OK;
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int index)
{
    struct event_cursor *cursor = (struct event_cursor *)base;
    const struct indexer_event_column *wanted = &table_of(cursor)->columns.columns[index];
    switch (wanted->role) {
    case EVENT_COLUMN_SEQ:
        sqlite3_result_int64(context, cursor->row.sequence);
        return SQLITE_OK;
    case EVENT_COLUMN_TS:
        sqlite3_result_int64(context, cursor->row.ts);
        return SQLITE_OK;
    case EVENT_COLUMN_TIME:
        time_column(cursor, context);
        return SQLITE_OK;
    case EVENT_COLUMN_TOPIC:
        return topic_column(cursor, context);
    case EVENT_COLUMN_SEGMENT:
        place_column(context, cursor->row.segment);
        return SQLITE_OK;
    case EVENT_COLUMN_OFFSET:
        place_column(context, cursor->row.offset);
        return SQLITE_OK;
    case EVENT_COLUMN_BYTES:
        sqlite3_result_int64(context, cursor->row.bytes);
        return SQLITE_OK;
    default:
        return payload_column(cursor, wanted, context);
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
    .xRowid = rowid,
};

enum error_code indexer_event_table_register(struct indexer_host *host, struct error *error)
{
    /* SQLite calls the release also when this fails. */
    int result = sqlite3_create_module_v2(host->database, "daybook_events", &event_module,
                                          indexer_host_retain(host), indexer_host_release);
    return result ? indexer_database_error(host->database, result, error) : OK;
}
