#include "indexer/topic_tables.h"

#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "indexer/database.h"
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

static enum error_code add_kept(struct indexer_host *host, const char *topic,
                                struct indexer_event_columns *columns, struct error *error)
{
    struct indexer_fields fields = {0};
    enum error_code code = indexer_fields_load(host->database, host->schema, &fields, error);
    for (size_t i = 0; !code && i < fields.count; i++)
        if (strcmp(fields.list[i].topic, topic) == 0)
            code = add_field(fields.list[i].path, columns, error);
    indexer_fields_free(&fields);
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

enum error_code indexer_topic_tables_columns(struct indexer_host *host, const char *topic,
                                             struct indexer_event_columns *columns_out,
                                             struct error *error)
{
    struct indexer_event_columns columns = {0};
    enum error_code code = indexer_event_columns_begin(&columns, error);
    if (!code)
        code = add_present(host, topic, &columns, error);
    if (!code)
        code = add_kept(host, topic, &columns, error);
    if (!code)
        code = indexer_event_columns_finish(&columns, error);
    if (code)
        indexer_event_columns_release(&columns);
    else
        *columns_out = columns;
    return code;
}

/*
 * The names of tables and views that are not ours, in whatever database of the connection. Ours are
 * thousands, perhaps, and SQLite finds one by its name at once, but lists all of them each time.
 */
struct taken {
    char **names; /* in order */
    size_t count;
};

/* As SQL compares names. */
static int compare_names(const void *a, const void *b)
{
    return sqlite3_stricmp(*(char *const *)a, *(char *const *)b);
}

static void taken_release(struct taken *taken)
{
    for (size_t i = 0; i < taken->count; i++)
        sqlite3_free(taken->names[i]);
    free(taken->names);
    *taken = (struct taken){0};
}

static enum error_code take_name(struct taken *taken, const char *name, struct error *error)
{
    char **names = taken->names;
    if ((taken->count & (taken->count - 1)) == 0) /* full: 0, 1, 2, 4, 8 … */
        names = realloc(names, (taken->count ? 2 * taken->count : 1) * sizeof *names);
    char *copy = names ? sqlite3_mprintf("%s", name) : NULL;
    if (names)
        taken->names = names;
    if (!copy)
        return error_set(error, ERROR_MEMORY, "no memory for the names of tables");
    names[taken->count++] = copy;
    return OK;
}

/* Once ours, of an earlier time, are gone. */
static enum error_code taken_load(sqlite3 *database, struct taken *taken, struct error *error)
{
    sqlite3_stmt *list = NULL;
    enum error_code code =
        indexer_database_prepare(database, "SELECT name FROM pragma_table_list", &list, error);
    while (!code && !(code = indexer_database_step(list, error)))
        code = take_name(taken, (const char *)sqlite3_column_text(list, 0), error);
    sqlite3_finalize(list);
    if (code != ERROR_END)
        return code;
    qsort(taken->names, taken->count, sizeof *taken->names, compare_names);
    return OK;
}

static bool is_taken(const struct taken *taken, sqlite3 *database, const char *name)
{
    return bsearch(&name, taken->names, taken->count, sizeof *taken->names, compare_names) ||
           sqlite3_table_column_metadata(database, "temp", name, NULL, NULL, NULL, NULL, NULL,
                                         NULL) == SQLITE_OK;
}

static enum error_code run(sqlite3 *database, char *sql, struct error *error)
{
    enum error_code code = sql ? indexer_database_exec(database, sql, error)
                               : error_set(error, ERROR_MEMORY, "no memory for a table");
    sqlite3_free(sql);
    return code;
}

static enum error_code create_named(sqlite3 *database, const struct taken *taken,
                                    const char *topic, const char *name, bool *taken_out,
                                    struct error *error)
{
    *taken_out = false;
    if (!name)
        return error_set(error, ERROR_MEMORY, "no memory for a table");
    *taken_out = is_taken(taken, database, name);
    if (*taken_out)
        return OK;
    return run(database,
               sqlite3_mprintf("CREATE VIRTUAL TABLE temp.\"%w\" USING daybook_events(\"%w\")",
                               name, topic),
               error);
}

/* "NAME", else "topic.NAME", else "topic.topic.NAME" … */
static enum error_code create_somehow(sqlite3 *database, const struct taken *taken,
                                      const char *topic, struct error *error)
{
    bool again = sqlite3_strnicmp(topic, "sqlite_", 7) == 0;
    enum error_code code = OK;
    char *name = sqlite3_mprintf("%s%s", again ? "topic." : "", topic);
    do {
        code = create_named(database, taken, topic, name, &again, error);
        char *longer = !code && again ? sqlite3_mprintf("topic.%s", name) : NULL;
        sqlite3_free(name);
        name = longer;
    } while (!code && again);
    return code;
}

/* One schema that is damaged takes its own table away, and no other. */
static enum error_code create(struct indexer_host *host, const struct taken *taken,
                              const char *topic, struct error *error)
{
    struct error reason;
    enum error_code code = create_somehow(host->database, taken, topic, &reason);
    if (code != ERROR_DAMAGED)
        return code ? error_set(error, code, "%s", reason.text) : OK;
    error_prefix(&reason, "topic %s has no table", topic);
    if (host->watcher.damaged)
        host->watcher.damaged(host->watcher.context, reason.text);
    return OK;
}

/* Of an earlier time, when there may have been others. */
static enum error_code drop_all(sqlite3 *database, struct error *error)
{
    sqlite3_stmt *list = NULL;
    enum error_code code = indexer_database_prepare(
        database,
        "SELECT group_concat(printf('DROP TABLE temp.\"%w\";', name), '') FROM temp.sqlite_schema"
        " WHERE sql LIKE 'CREATE VIRTUAL TABLE % USING daybook_events(%'",
        &list, error);
    char *sql = NULL;
    if (!code)
        code = indexer_database_step(list, error);
    if (!code && sqlite3_column_text(list, 0))
        sql = sqlite3_mprintf("%s", sqlite3_column_text(list, 0));
    sqlite3_finalize(list);
    return code || !sql ? code : run(database, sql, error);
}

/* In the order of the changes: of two names that are one to SQL the older keeps it. */
static enum error_code create_with_schema(struct indexer_host *host,
                                          const struct segment_schemas *schemas,
                                          const struct taken *taken, struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; !code && i < schemas->count; i++) {
        const struct segment_schemas_change *change = &schemas->changes[i];
        if (segment_schemas_presence_find(host->presence, change->topic) == change)
            code = create(host, taken, change->topic, error);
    }
    return code;
}

/* Those that have kept fields, but no schema. The list is ordered by topic. */
static enum error_code create_with_fields(struct indexer_host *host, const struct taken *taken,
                                          struct error *error)
{
    struct indexer_fields fields = {0};
    enum error_code code = indexer_fields_load(host->database, host->schema, &fields, error);
    for (size_t i = 0; !code && i < fields.count; i++) {
        const char *topic = fields.list[i].topic;
        bool again = i > 0 && strcmp(topic, fields.list[i - 1].topic) == 0;
        if (!again && !segment_schemas_presence_find(host->presence, topic))
            code = create(host, taken, topic, error);
    }
    indexer_fields_free(&fields);
    return code;
}

/*
 * Schemas come with another file in the place of the catalogue, fields with another number or
 * another last id: ids are never used again.
 */
static enum error_code look(struct indexer_host *host, int64_t seen_out[5], struct error *error)
{
    struct stat status = {0};
    sqlite3_stmt *fields = NULL;
    if (fstatat(host->log_fd, "schemas/catalogue", &status, AT_SYMLINK_NOFOLLOW))
        status = (struct stat){0};
    seen_out[0] = (int64_t)status.st_ino;
    seen_out[1] = status.st_size;
    seen_out[2] = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    enum error_code code = indexer_database_prepare_in(
        host->database, host->schema,
        "SELECT count(*), max(id) FROM %s.field_rows WHERE topic IS NOT NULL", &fields, error);
    if (!code)
        code = indexer_database_step(fields, error);
    if (!code) {
        seen_out[3] = sqlite3_column_int64(fields, 0);
        seen_out[4] = sqlite3_column_int64(fields, 1);
    }
    sqlite3_finalize(fields);
    return code;
}

static enum error_code create_all(struct indexer_host *host, struct error *error)
{
    struct segment_schemas schemas = {0};
    struct segment_schemas_presence presence = {0};
    struct taken taken = {0};
    enum error_code code = segment_schemas_load(host->log_fd, &schemas, error);
    if (!code)
        code = segment_schemas_presence_init(&schemas, &presence, error);
    if (!code)
        code = taken_load(host->database, &taken, error);
    host->presence = &presence;
    if (!code)
        code = create_with_schema(host, &schemas, &taken, error);
    if (!code)
        code = create_with_fields(host, &taken, error);
    host->presence = NULL;
    taken_release(&taken);
    segment_schemas_presence_release(&presence);
    segment_schemas_free(&schemas);
    return code;
}

enum error_code indexer_topic_tables_create(struct indexer_host *host, struct error *error)
{
    enum error_code code = look(host, host->topics_seen, error);
    if (!code)
        code = drop_all(host->database, error);
    return code ? code : create_all(host, error);
}

enum error_code indexer_topic_tables_refresh(struct indexer_host *host, struct error *error)
{
    int64_t seen[5];
    enum error_code code = look(host, seen, error);
    if (code || memcmp(seen, host->topics_seen, sizeof seen) == 0)
        return code;
    bool lifted;
    code = indexer_database_lift_query_only(host->database, &lifted, error);
    if (!code)
        code = indexer_topic_tables_create(host, error);
    indexer_database_restore_query_only(host->database, lifted);
    return code;
}
