#include "indexer/event_columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    enum indexer_event_role role;
    const char *name;
    const char *type;
} plain[] = {
    {EVENT_COLUMN_SEQ, "seq", "INTEGER"},         {EVENT_COLUMN_TS, "ts", "INTEGER"},
    {EVENT_COLUMN_TIME, "time", "TEXT"},          {EVENT_COLUMN_TOPIC, "topic", "TEXT"},
    {EVENT_COLUMN_SEGMENT, "segment", "INTEGER"}, {EVENT_COLUMN_OFFSET, "offset", "INTEGER"},
    {EVENT_COLUMN_BYTES, "bytes", "INTEGER"},     {EVENT_COLUMN_PAYLOAD, "payload", "TEXT"},
};
enum { PLAIN_COUNT = sizeof plain / sizeof plain[0] };

/* An empty column, to be filled at once; NULL: no memory. */
static struct indexer_event_column *add(struct indexer_event_columns *columns, const char *name)
{
    if (columns->count == columns->capacity) {
        size_t capacity = columns->capacity ? 2 * columns->capacity : 16;
        struct indexer_event_column *more =
            realloc(columns->columns, capacity * sizeof *columns->columns);
        if (!more)
            return NULL;
        columns->columns = more;
        columns->capacity = capacity;
    }
    struct indexer_event_column *column = &columns->columns[columns->count];
    memset(column, 0, sizeof *column);
    column->name = strdup(name);
    if (!column->name)
        return NULL;
    columns->count++;
    return column;
}

static enum error_code add_plain(struct indexer_event_columns *columns, size_t index, bool hidden,
                                 struct error *error)
{
    struct indexer_event_column *column = add(columns, plain[index].name);
    if (!column)
        return error_set(error, ERROR_MEMORY, "no memory for columns");
    column->role = plain[index].role;
    column->type = plain[index].type;
    column->hidden = hidden;
    return OK;
}

enum error_code indexer_event_columns_make(struct indexer_event_columns *columns_out,
                                           struct error *error)
{
    struct indexer_event_columns columns = {0};
    enum error_code code = OK;
    for (size_t i = 0; !code && i < PLAIN_COUNT; i++)
        code = add_plain(&columns, i, false, error);
    if (code)
        indexer_event_columns_release(&columns);
    else
        *columns_out = columns;
    return code;
}

enum error_code indexer_event_columns_begin(struct indexer_event_columns *columns_out,
                                            struct error *error)
{
    struct indexer_event_columns columns = {0};
    enum error_code code = OK;
    for (size_t i = 0; !code && plain[i].role != EVENT_COLUMN_TOPIC; i++)
        code = add_plain(&columns, i, false, error);
    if (code)
        indexer_event_columns_release(&columns);
    else
        *columns_out = columns;
    return code;
}

enum error_code indexer_event_columns_finish(struct indexer_event_columns *columns,
                                             struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; !code && i < PLAIN_COUNT; i++)
        if (plain[i].role >= EVENT_COLUMN_TOPIC)
            code = add_plain(columns, i, true, error);
    return code;
}

static bool is_taken(const struct indexer_event_columns *columns, const char *name)
{
    for (size_t i = 0; i < PLAIN_COUNT; i++)
        if (strcasecmp(plain[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < columns->count; i++)
        if (strcasecmp(columns->columns[i].name, name) == 0)
            return true;
    return false;
}

struct indexer_event_column *indexer_event_columns_find(const struct indexer_event_columns *columns,
                                                        const char *path_text)
{
    for (size_t i = 0; i < columns->count; i++)
        if (columns->columns[i].role == EVENT_COLUMN_FIELD &&
            strcmp(columns->columns[i].path_text, path_text) == 0)
            return &columns->columns[i];
    return NULL;
}

/* NAME, else payload.NAME, else payload.payload.NAME …: columns are few. */
static enum error_code find_free_name(const struct indexer_event_columns *columns,
                                      struct buffer *name, struct error *error)
{
    while (is_taken(columns, (const char *)name->data)) {
        struct buffer longer = {0};
        enum error_code code =
            buffer_printf(&longer, error, "payload.%s", (const char *)name->data);
        if (!code)
            code = buffer_append(&longer, "", 1, error);
        buffer_release(name);
        *name = longer;
        if (code)
            return code;
    }
    return OK;
}

enum error_code indexer_event_columns_add_field(struct indexer_event_columns *columns,
                                                const char *name, const char *type,
                                                const struct msgpack_path *path,
                                                struct error *error)
{
    char path_text[MSGPACK_PATH_BYTES_MAX + 1];
    struct buffer free_name = {0};
    enum error_code code = msgpack_path_text(path, path_text, error);
    if (code || indexer_event_columns_find(columns, path_text))
        return code;
    code = buffer_append(&free_name, name, strlen(name) + 1, error);
    if (!code)
        code = find_free_name(columns, &free_name, error);
    struct indexer_event_column *column =
        code ? NULL : add(columns, (const char *)free_name.data);
    if (column) {
        column->role = EVENT_COLUMN_FIELD;
        column->type = type;
        column->path = *path;
        snprintf(column->path_text, sizeof column->path_text, "%s", path_text);
    } else if (!code) {
        code = error_set(error, ERROR_MEMORY, "no memory for columns");
    }
    buffer_release(&free_name);
    return code;
}

/* A name within double quotes. */
static enum error_code append_name(struct buffer *sql, const char *name, struct error *error)
{
    enum error_code code = buffer_append(sql, "\"", 1, error);
    for (const char *at = name; !code && *at; at++)
        code = buffer_append(sql, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1, error);
    return code ? code : buffer_append(sql, "\"", 1, error);
}

enum error_code indexer_event_columns_declare(const struct indexer_event_columns *columns,
                                              struct buffer *sql, struct error *error)
{
    enum error_code code = buffer_printf(sql, error, "CREATE TABLE x(");
    for (size_t i = 0; !code && i < columns->count; i++) {
        const struct indexer_event_column *column = &columns->columns[i];
        if (i)
            code = buffer_append(sql, ", ", 2, error);
        if (!code)
            code = append_name(sql, column->name, error);
        if (!code)
            code = buffer_printf(sql, error, " %s%s%s", column->type,
                                 column->role == EVENT_COLUMN_SEQ ? " PRIMARY KEY" : "",
                                 column->hidden ? " HIDDEN" : "");
    }
    static const char end[] = ") WITHOUT ROWID";
    return code ? code : buffer_append(sql, end, sizeof end, error);
}

void indexer_event_columns_release(struct indexer_event_columns *columns)
{
    for (size_t i = 0; i < columns->count; i++)
        free(columns->columns[i].name);
    free(columns->columns);
    *columns = (struct indexer_event_columns){0};
}
