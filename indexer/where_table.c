#include "indexer/where_table.h"

#include <stdlib.h>

#include "core/units.h"
#include "indexer/database.h"
#include "indexer/functions.h"

/* What a byte costs that is made JSON, beside one that is passed over. */
enum { JSON_COST = 8 };

enum { COLUMN_SEQ, COLUMN_TS, COLUMN_TIME, COLUMN_TOPIC, COLUMN_PAYLOAD, COLUMN_FIRST_FIELD };

struct table {
    sqlite3_vtab base;
    struct indexer_where_event *at;
};

/* Without a rowid, which else could be asked for: no event's, and no field's. */
static char *declaration(const struct indexer_where_event *at)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendall(sql, "CREATE TABLE x(seq INTEGER PRIMARY KEY, ts INTEGER, time TEXT,"
                               " topic TEXT, payload TEXT");
    for (size_t i = 0; i < at->field_count; i++)
        sqlite3_str_appendf(sql, ", \"%w\"", at->fields[i].name);
    sqlite3_str_appendall(sql, ") WITHOUT ROWID");
    return sqlite3_str_finish(sql);
}

static int connect_table(sqlite3 *database, void *argument, int argc, const char *const *argv,
                         sqlite3_vtab **table_out, char **message_out)
{
    (void)argc, (void)argv, (void)message_out;
    struct table *table = calloc(1, sizeof *table);
    char *sql = table ? declaration(argument) : NULL;
    int result = sql ? sqlite3_declare_vtab(database, sql) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (result) {
        free(table);
        return result;
    }
    table->at = argument;
    *table_out = &table->base;
    return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 1;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **cursor_out)
{
    (void)table;
    *cursor_out = calloc(1, sizeof **cursor_out);
    return *cursor_out ? SQLITE_OK : SQLITE_NOMEM;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    (void)cursor, (void)number, (void)text, (void)argc, (void)argv;
    return SQLITE_OK;
}

/* Whoever steps has put the next event there already. */
static int next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int at_end(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 0;
}

/* Never called for a table without one, but SQLite wants the function to be there. */
static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid_out)
{
    (void)cursor;
    *rowid_out = 0;
    return SQLITE_OK;
}

static void result_time(sqlite3_context *context, int64_t time_ns)
{
    char text[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(time_ns, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void result_payload(sqlite3_context *context, struct indexer_where_event *at)
{
    struct error error;
    if (!indexer_where_event_spend(at, context, JSON_COST * at->event->payload_bytes))
        return;
    if (indexer_where_event_json(at, &error))
        indexer_functions_result_error(context, &error);
    else if (indexer_where_event_spend_text(at, context, at->json.size, JSON_COST))
        indexer_functions_result_json(context, &at->json);
}

static void result_field(sqlite3_context *context, struct indexer_where_event *at,
                         struct indexer_where_field *field)
{
    struct msgpack_cursor found;
    field->asked = true;
    if (!indexer_where_event_spend(at, context, at->event->payload_bytes) ||
        msgpack_path_find(&field->path, at->event->payload, at->event->payload_bytes, &found))
        return;
    field->seen = true;
    if (indexer_where_event_spend_text(at, context, (uint64_t)(found.end - found.at),
                                       INDEXER_WHERE_TEXT_COST))
        indexer_functions_result_value(context, found, &at->scratch);
}

static int column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int number)
{
    struct indexer_where_event *at = ((struct table *)cursor->pVtab)->at;
    const struct event *event = at->event;
    switch (number) {
    case COLUMN_SEQ:
        sqlite3_result_int64(context, (sqlite3_int64)event->sequence);
        break;
    case COLUMN_TS:
        sqlite3_result_int64(context, event->time_ns);
        break;
    case COLUMN_TIME:
        result_time(context, event->time_ns);
        break;
    case COLUMN_TOPIC:
        sqlite3_result_text64(context, event->topic, event->topic_bytes, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
        break;
    case COLUMN_PAYLOAD:
        result_payload(context, at);
        break;
    default:
        result_field(context, at, &at->fields[number - COLUMN_FIRST_FIELD]);
    }
    return SQLITE_OK;
}

/* There under the module's own name, so that no schema has to be written. */
static const sqlite3_module module = {
    .iVersion = 1,
    .xConnect = connect_table,
    .xBestIndex = best_index,
    .xDisconnect = disconnect_table,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = at_end,
    .xColumn = column,
    .xRowid = rowid,
};

enum error_code indexer_where_table_make(sqlite3 *database, struct indexer_where_event *at,
                                         struct error *error)
{
    int result = sqlite3_create_module_v2(database, INDEXER_WHERE_TABLE, &module, at, NULL);
    if (result)
        return indexer_database_error(database, result, error);
    /* SQLite connects it now, and does so with statements that no authorizer should see. */
    return indexer_database_exec(database, "SELECT 1 FROM \"" INDEXER_WHERE_TABLE "\" LIMIT 0",
                                 error);
}
