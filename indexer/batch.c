#include "indexer/batch.h"

#include <stdio.h>
#include <stdlib.h>

#include "indexer/database.h"

/* What SQLite gets to know of a batch: its module's argument, freed with the connection. */
struct module {
    struct indexer_batch *batch;
    char declaration[128];
};

struct table {
    sqlite3_vtab base; /* must be first: SQLite's view of the object */
    const struct indexer_batch *batch;
};

struct cursor {
    sqlite3_vtab_cursor base; /* must be first */
    const int64_t *row;
    const int64_t *end;
    int columns;
};

static int table_connect(sqlite3 *database, void *argument, int argc, const char *const *argv,
                         sqlite3_vtab **table_out, char **message_out)
{
    (void)argc;
    (void)argv;
    (void)message_out;
    const struct module *module = argument;
    int result = sqlite3_declare_vtab(database, module->declaration);
    if (result)
        return result;
    struct table *table = calloc(1, sizeof *table);
    if (!table)
        return SQLITE_NOMEM;
    table->batch = module->batch;
    *table_out = &table->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *base)
{
    free(base);
    return SQLITE_OK;
}

/* There is only one way to read it: all rows, in order. */
static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    const struct table *table = (const struct table *)base;
    info->estimatedCost = (double)table->batch->count;
    info->estimatedRows = (sqlite3_int64)table->batch->count;
    return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor_out)
{
    (void)base;
    struct cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor)
        return SQLITE_NOMEM;
    *cursor_out = &cursor->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
    free(base);
    return SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                         sqlite3_value **argv)
{
    (void)number;
    (void)text;
    (void)argc;
    (void)argv;
    struct cursor *cursor = (struct cursor *)base;
    const struct indexer_batch *batch = ((const struct table *)base->pVtab)->batch;
    cursor->columns = batch->columns;
    cursor->row = batch->cells;
    cursor->end = batch->cells + batch->count * (size_t)batch->columns;
    return SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    cursor->row += cursor->columns;
    return SQLITE_OK;
}

static int cursor_at_end(sqlite3_vtab_cursor *base)
{
    const struct cursor *cursor = (const struct cursor *)base;
    return cursor->row == cursor->end;
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct cursor *cursor = (const struct cursor *)base;
    sqlite3_result_int64(context, cursor->row[column]);
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid_out)
{
    const struct cursor *cursor = (const struct cursor *)base;
    *rowid_out = cursor->row[0];
    return SQLITE_OK;
}

/* No xCreate: the table is eponymous, it exists without CREATE VIRTUAL TABLE. */
static const sqlite3_module module_calls = {
    .xConnect = table_connect,
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_at_end,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

enum error_code indexer_batch_attach(struct indexer_batch *batch, sqlite3 *database,
                                     const char *name, const char *column_names,
                                     struct error *error)
{
    struct module *module = calloc(1, sizeof *module);
    if (!module)
        return error_set(error, ERROR_MEMORY, "no memory for the table %s", name);
    module->batch = batch;
    snprintf(module->declaration, sizeof module->declaration, "CREATE TABLE x(%s)", column_names);
    int result = sqlite3_create_module_v2(database, name, &module_calls, module, free);
    return result ? indexer_database_error(database, result, error) : OK;
}

int64_t *indexer_batch_add(struct indexer_batch *batch)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? 2 * batch->capacity : 1024;
        size_t row_bytes = (size_t)batch->columns * sizeof(int64_t);
        int64_t *cells = realloc(batch->cells, capacity * row_bytes);
        if (!cells)
            return NULL;
        batch->cells = cells;
        batch->capacity = capacity;
    }
    return batch->cells + batch->count++ * (size_t)batch->columns;
}

void indexer_batch_release(struct indexer_batch *batch)
{
    free(batch->cells);
    *batch = (struct indexer_batch){.columns = batch->columns};
}
