#include "indexer/topic_columns.h"

#include <string.h>

#include "indexer/connection.h"
#include "indexer/fields.h"
#include "indexer/typed_columns.h"
#include "segment/schemas_presence.h"

static enum error_code add_typed(struct indexer_host *host,
                                 const struct segment_schemas_change *present,
                                 struct indexer_event_columns *columns, struct error *error)
{
    if (!present)
        return OK;
    struct buffer text = {0};
    enum error_code code = segment_schemas_read_text(host->log_fd, present, &text, error);
    if (!code)
        code = indexer_typed_columns_add(columns, (const char *)text.data, text.size, error);
    buffer_release(&text);
    return code;
}

/* While the tables of all topics are made, the catalogue is there already. */
static enum error_code add_present(struct indexer_host *host, const char *topic,
                                   struct indexer_event_columns *columns, struct error *error)
{
    if (host->presence)
        return add_typed(host, segment_schemas_presence_find(host->presence, topic), columns,
                         error);
    struct segment_schemas schemas = {0};
    enum error_code code = segment_schemas_load(host->log_fd, &schemas, error);
    if (!code)
        code = add_typed(host, segment_schemas_present(&schemas, topic, strlen(topic)), columns,
                         error);
    segment_schemas_free(&schemas);
    return code;
}

/* Where the schema has named it already, the field is its column. */
static enum error_code add_field(const char *path_text, struct indexer_event_columns *columns,
                                 struct error *error)
{
    struct msgpack_path path;
    enum error_code code = msgpack_path_parse(path_text, strlen(path_text), &path, error);
    if (!code)
        code = indexer_event_columns_add_field(columns, path_text, "", &path, error);
    struct indexer_event_column *column =
        code ? NULL : indexer_event_columns_find(columns, path_text);
    if (column)
        column->is_kept = true;
    return code;
}

static enum error_code add_kept(const struct indexer_fields *fields, const char *topic,
                                struct indexer_event_columns *columns, struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; !code && i < fields->count; i++)
        if (strcmp(fields->list[i].topic, topic) == 0)
            code = add_field(fields->list[i].path, columns, error);
    return code;
}

/*
 * On a connection of our own: SQLite asks for a table's columns at moments at which the host's must
 * not look at a schema that has just changed.
 */
static enum error_code load_fields(const struct indexer_host *host,
                                   struct indexer_fields *fields_out, struct error *error)
{
    sqlite3 *database = NULL;
    enum error_code code = indexer_connection_open(host->path, &database, error);
    if (!code)
        code = indexer_fields_load(database, "main", fields_out, error);
    sqlite3_close(database);
    return code;
}

enum error_code indexer_topic_columns_load(struct indexer_host *host, const char *topic,
                                           struct indexer_event_columns *columns_out,
                                           struct error *error)
{
    struct indexer_fields loaded = {0};
    const struct indexer_fields *fields = host->fields ? host->fields : &loaded;
    struct indexer_event_columns columns = {0};
    enum error_code code = indexer_event_columns_begin(&columns, error);
    if (!code)
        code = add_present(host, topic, &columns, error);
    if (!code && !host->fields)
        code = load_fields(host, &loaded, error);
    if (!code)
        code = add_kept(fields, topic, &columns, error);
    if (!code)
        code = indexer_event_columns_finish(&columns, error);
    indexer_fields_free(&loaded);
    if (code)
        indexer_event_columns_release(&columns);
    else
        *columns_out = columns;
    return code;
}
