#include "indexer/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/database.h"
#include "indexer/schema.h"

/* All names with the schema's: a table of the user's may have the same. */
static enum error_code prepare(sqlite3 *database, const char *schema, sqlite3_stmt **select_out,
                               struct error *error)
{
    char *sql = sqlite3_mprintf("SELECT id, topic, path, " INDEXER_SCHEMA_FIELD_DONE_OF("\"%w\".")
                                ", events, min(done_seq, until_seq), until_seq"
                                " FROM \"%w\".field_rows WHERE topic IS NOT NULL"
                                " ORDER BY topic, path",
                                schema, schema);
    enum error_code code = sql ? indexer_database_prepare(database, sql, select_out, error)
                               : error_set(error, ERROR_MEMORY, "no memory for a statement");
    sqlite3_free(sql);
    return code;
}

static enum error_code append(struct indexer_fields *fields, sqlite3_stmt *row,
                              struct error *error)
{
    struct indexer_field *list = realloc(fields->list, (fields->count + 1) * sizeof *list);
    if (!list)
        return error_set(error, ERROR_MEMORY, "no memory for the list of fields");
    fields->list = list;
    struct indexer_field *field = &list[fields->count++];
    *field = (struct indexer_field){
        .id = sqlite3_column_int64(row, 0),
        .done = sqlite3_column_int(row, 3) != 0,
        .events = (uint64_t)sqlite3_column_int64(row, 4),
        .done_seq = (uint64_t)sqlite3_column_int64(row, 5),
        .until_seq = (uint64_t)sqlite3_column_int64(row, 6),
    };
    snprintf(field->topic, sizeof field->topic, "%s", (const char *)sqlite3_column_text(row, 1));
    snprintf(field->path, sizeof field->path, "%s", (const char *)sqlite3_column_text(row, 2));
    return OK;
}

enum error_code indexer_fields_load(sqlite3 *database, const char *schema,
                                    struct indexer_fields *fields_out, struct error *error)
{
    struct indexer_fields fields = {0};
    sqlite3_stmt *select = NULL;
    enum error_code code = prepare(database, schema, &select, error);
    int result = SQLITE_DONE;
    while (!code && (result = sqlite3_step(select)) == SQLITE_ROW)
        code = append(&fields, select, error);
    if (!code && result != SQLITE_DONE)
        code = indexer_database_error(database, result, error);
    sqlite3_finalize(select);
    if (code) {
        indexer_fields_free(&fields);
        return code;
    }
    *fields_out = fields;
    return OK;
}

void indexer_fields_free(struct indexer_fields *fields)
{
    free(fields->list);
    *fields = (struct indexer_fields){0};
}

const struct indexer_field *indexer_fields_find(const struct indexer_fields *fields,
                                                const char *topic, const char *path)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct indexer_field *field = &fields->list[i];
        if (field->done && !strcmp(field->topic, topic) && !strcmp(field->path, path))
            return field;
    }
    return NULL;
}
