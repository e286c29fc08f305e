#include "indexer/topic_tables.h"

#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "indexer/database.h"
#include "indexer/fields.h"
#include "segment/schemas_presence.h"

enum { SEEN = INDEXER_HOST_TOPICS_SEEN };

/* One creation of all tables. */
struct making {
    struct indexer_host *host;
    struct segment_schemas schemas;
    struct segment_schemas_presence presence;
    struct indexer_fields fields;
    void *names; /* tsearch's tree of all names that are taken, without regard to case */
    enum error_code code; /* the first table that could not be dropped, because it is being read */
    struct error reason;
};

static int compare_names(const void *left, const void *right)
{
    return strcasecmp(left, right);
}

static bool is_taken(const struct making *making, const char *name)
{
    return strncasecmp(name, "sqlite_", 7) == 0 || strncasecmp(name, "pragma_", 7) == 0 ||
           tfind(name, &making->names, compare_names);
}

static enum error_code take_name(struct making *making, const char *name, struct error *error)
{
    if (tfind(name, &making->names, compare_names))
        return OK;
    char *copy = strdup(name);
    if (copy && tsearch(copy, &making->names, compare_names))
        return OK;
    free(copy);
    return error_set(error, ERROR_MEMORY, "no memory for the names of tables");
}

/* All names in one column of what `pragma` lists. As statements: a table may hide the functions. */
static enum error_code take_names(struct making *making, const char *pragma, int column,
                                  struct error *error)
{
    sqlite3_stmt *list = NULL;
    enum error_code code =
        indexer_database_prepare(making->host->database, pragma, &list, error);
    while (!code && !(code = indexer_database_step(list, error))) {
        const char *name = (const char *)sqlite3_column_text(list, column);
        code = name ? take_name(making, name, error)
                    : error_set(error, ERROR_MEMORY, "no memory for the names of tables");
    }
    sqlite3_finalize(list);
    return code == ERROR_END ? OK : code;
}

static enum error_code run(sqlite3 *database, char *sql, struct error *error)
{
    enum error_code code = sql ? indexer_database_exec(database, sql, error)
                               : error_set(error, ERROR_MEMORY, "no memory for a table");
    sqlite3_free(sql);
    return code;
}

/* "NAME", else "topic.NAME", else "topic.topic.NAME" … The caller frees it with sqlite3_free. */
static char *find_free_name(const struct making *making, const char *topic)
{
    char *name = sqlite3_mprintf("%s", topic);
    while (name && is_taken(making, name)) {
        char *longer = sqlite3_mprintf("topic.%s", name);
        sqlite3_free(name);
        name = longer;
    }
    return name;
}

static enum error_code create_named(struct making *making, const char *topic, struct error *error)
{
    char *name = find_free_name(making, topic);
    enum error_code code =
        name ? take_name(making, name, error)
             : error_set(error, ERROR_MEMORY, "no memory for the names of tables");
    if (!code)
        code = run(making->host->database,
                   sqlite3_mprintf("CREATE VIRTUAL TABLE temp.\"%w\" USING daybook_events(\"%w\")",
                                   name, topic),
                   error);
    sqlite3_free(name);
    return code;
}

/* Has the topic a table that could not be dropped? */
static enum error_code has_table(const struct making *making, const char *topic, bool *has_out,
                                 struct error *error)
{
    *has_out = false;
    if (!making->code)
        return OK;
    sqlite3_stmt *find = NULL;
    char *end = sqlite3_mprintf(" USING daybook_events(\"%w\")", topic);
    enum error_code code = end ? indexer_database_prepare(
                                     making->host->database,
                                     "SELECT 1 FROM temp.sqlite_schema"
                                     " WHERE substr(sql, -length(?1)) = ?1",
                                     &find, error)
                               : error_set(error, ERROR_MEMORY, "no memory for a table");
    if (!code) {
        sqlite3_bind_text(find, 1, end, -1, SQLITE_STATIC);
        code = indexer_database_step(find, error);
    }
    sqlite3_finalize(find);
    sqlite3_free(end);
    *has_out = code == OK;
    return code == ERROR_END ? OK : code;
}

/* One schema that is damaged takes its own table away, and no other. */
static enum error_code create(struct making *making, const char *topic, struct error *error)
{
    const struct indexer_watcher *watcher = &making->host->watcher;
    struct error reason;
    bool stays;
    enum error_code code = has_table(making, topic, &stays, &reason);
    if (!code && !stays)
        code = create_named(making, topic, &reason);
    if (code != ERROR_DAMAGED)
        return code ? error_set(error, code, "%s", reason.text) : OK;
    error_prefix(&reason, "topic %s has no table", topic);
    if (watcher->damaged)
        watcher->damaged(watcher->context, reason.text);
    return OK;
}

/* In the order in which the schemas came: of two names that clash the older one is free. */
static enum error_code create_with_schema(struct making *making, struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; !code && i < making->schemas.count; i++) {
        const struct segment_schemas_change *change = &making->schemas.changes[i];
        if (segment_schemas_presence_find(&making->presence, change->topic) == change)
            code = create(making, change->topic, error);
    }
    return code;
}

/* Those that have kept fields, but no schema. The list is ordered by topic. */
static enum error_code create_with_fields(struct making *making, struct error *error)
{
    const struct indexer_fields *fields = &making->fields;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < fields->count; i++) {
        const char *topic = fields->list[i].topic;
        bool again = i > 0 && strcmp(topic, fields->list[i - 1].topic) == 0;
        if (!again && !segment_schemas_presence_find(&making->presence, topic))
            code = create(making, topic, error);
    }
    return code;
}

/* The statements that drop the tables of an earlier time, one a line. */
static enum error_code list_drops(sqlite3 *database, char **sql_out, struct error *error)
{
    sqlite3_stmt *list = NULL;
    enum error_code code = indexer_database_prepare(
        database,
        "SELECT group_concat(printf('DROP TABLE temp.\"%w\"', name), char(10))"
        " FROM temp.sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE % USING daybook_events(%'",
        &list, error);
    if (!code)
        code = indexer_database_step(list, error);
    const char *text = code ? NULL : (const char *)sqlite3_column_text(list, 0);
    *sql_out = text ? sqlite3_mprintf("%s", text) : NULL;
    sqlite3_finalize(list);
    return code;
}

/* One that is being read cannot go, and does not keep the others. */
static enum error_code drop_all(struct making *making, struct error *error)
{
    char *drops = NULL;
    enum error_code code = list_drops(making->host->database, &drops, error);
    if (code || !drops)
        return code;
    char *rest = drops;
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct error reason;
        enum error_code dropped =
            indexer_database_exec(making->host->database, line, &reason);
        if (dropped && !making->code) {
            making->code = dropped;
            making->reason = reason;
        }
    }
    sqlite3_free(drops);
    return OK;
}

/*
 * Schemas come with another file in the place of the catalogue, fields with another number or
 * another last id, for ids are never used again. Tables go with a transaction that is rolled back:
 * then the temporary schema has the number that it had before.
 */
static enum error_code look(struct indexer_host *host, int64_t seen_out[SEEN], struct error *error)
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
    return code ? code
                : indexer_database_number(host->database, "PRAGMA temp.schema_version", 0,
                                          &seen_out[5], error);
}

static enum error_code make_all(struct making *making, struct error *error)
{
    enum error_code code = drop_all(making, error);
    if (!code)
        code = take_names(making, "PRAGMA table_list", 1, error);
    if (!code)
        code = take_names(making, "PRAGMA module_list", 0, error);
    if (!code)
        code = create_with_schema(making, error);
    if (!code)
        code = create_with_fields(making, error);
    if (!code && making->code)
        code = error_set(error, making->code, "%s", making->reason.text);
    return code;
}

enum error_code indexer_topic_tables_create(struct indexer_host *host, struct error *error)
{
    struct making making = {.host = host};
    int64_t seen[SEEN];
    memset(host->topics_seen, 0, sizeof host->topics_seen);
    enum error_code code = look(host, seen, error);
    if (!code)
        code = segment_schemas_load(host->log_fd, &making.schemas, error);
    if (!code)
        code = indexer_fields_load(host->database, host->schema, &making.fields, error);
    if (!code)
        code = segment_schemas_presence_init(&making.schemas, &making.presence, error);
    host->presence = &making.presence;
    host->fields = &making.fields;
    if (!code)
        code = make_all(&making, error);
    host->presence = NULL;
    host->fields = NULL;
    /* The temporary schema is another now; what else has changed meanwhile is seen next time. */
    if (!code)
        code = indexer_database_number(host->database, "PRAGMA temp.schema_version", 0, &seen[5],
                                       error);
    if (!code)
        memcpy(host->topics_seen, seen, sizeof seen);
    segment_schemas_presence_release(&making.presence);
    segment_schemas_free(&making.schemas);
    indexer_fields_free(&making.fields);
    tdestroy(making.names, free);
    return code;
}

enum error_code indexer_topic_tables_refresh(struct indexer_host *host, struct error *error)
{
    int64_t seen[SEEN];
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
