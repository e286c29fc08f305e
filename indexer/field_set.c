#include "indexer/field_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/database.h"
#include "indexer/field_value.h"
#include "indexer/schema.h"

static void drop_list(struct indexer_field_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        sqlite3_finalize(set->list[i].insert);
    free(set->list);
    set->list = NULL;
    set->count = 0;
}

void indexer_field_set_release(struct indexer_field_set *set)
{
    drop_list(set);
    sqlite3_finalize(set->count_up);
    buffer_release(&set->scratch);
    *set = (struct indexer_field_set){0};
}

static bool take_text(sqlite3_stmt *row, int column, char *to, size_t to_size)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    int bytes = snprintf(to, to_size, "%s", text ? text : "");
    return text && bytes > 0 && (size_t)bytes < to_size;
}

/* OR ROLLBACK: see indexer/writer.c. */
static enum error_code prepare_insert(sqlite3 *database, struct indexer_field_entry *entry,
                                      struct error *error)
{
    char sql[96];
    snprintf(sql, sizeof sql, "INSERT OR ROLLBACK INTO field_%lld VALUES (?1, ?2)",
             (long long)entry->id);
    return indexer_database_prepare(database, sql, &entry->insert, error);
}

static enum error_code read_entry(sqlite3 *database, sqlite3_stmt *row,
                                  struct indexer_field_entry *entry, struct error *error)
{
    *entry = (struct indexer_field_entry){
        .id = sqlite3_column_int64(row, 0),
        .done_seq = (uint64_t)sqlite3_column_int64(row, 3),
        .until_seq = (uint64_t)sqlite3_column_int64(row, 4),
    };
    struct indexer_wish *name = &entry->name;
    if (!take_text(row, 1, name->topic, sizeof name->topic) ||
        !take_text(row, 2, name->path, sizeof name->path) ||
        msgpack_path_parse(name->path, strlen(name->path), &entry->path, NULL))
        return error_set(error, ERROR_DAMAGED, "index: its field %lld makes no sense",
                         (long long)entry->id);
    entry->topic_bytes = strlen(name->topic);
    return prepare_insert(database, entry, error);
}

static enum error_code read_list(struct indexer_field_set *set, sqlite3_stmt *rows,
                                 struct error *error)
{
    int result;
    while ((result = sqlite3_step(rows)) == SQLITE_ROW) {
        struct indexer_field_entry *list =
            realloc(set->list, (set->count + 1) * sizeof *list);
        if (!list)
            return error_set(error, ERROR_MEMORY, "no memory for the indexed fields");
        set->list = list;
        enum error_code code = read_entry(set->database, rows, &list[set->count], error);
        if (code)
            return code;
        set->count++;
    }
    return result == SQLITE_DONE ? OK : indexer_database_error(set->database, result, error);
}

enum error_code indexer_field_set_load(struct indexer_field_set *set, sqlite3 *database,
                                       struct error *error)
{
    sqlite3_stmt *rows = NULL;
    int64_t dropped = 0;
    drop_list(set);
    set->database = database;
    enum error_code code = OK;
    if (!set->count_up)
        code = indexer_database_prepare(database,
                                        "UPDATE field_rows SET events = events + ?2 WHERE id = ?1",
                                        &set->count_up, error);
    if (!code)
        code = indexer_database_prepare(database,
                                        "SELECT id, topic, path, done_seq, until_seq"
                                        " FROM field_rows WHERE topic IS NOT NULL"
                                        " ORDER BY topic, path",
                                        &rows, error);
    if (!code)
        code = read_list(set, rows, error);
    sqlite3_finalize(rows);
    if (!code)
        code = indexer_database_number(
            database, "SELECT count(*) FROM field_rows WHERE topic IS NULL", 0, &dropped, error);
    set->removing = dropped > 0;
    return code;
}

static bool is_wished(const struct indexer_wishes *wishes, const struct indexer_wish *name)
{
    for (size_t i = 0; i < wishes->count; i++)
        if (!strcmp(wishes->list[i].topic, name->topic) &&
            !strcmp(wishes->list[i].path, name->path))
            return true;
    return false;
}

static bool is_there(const struct indexer_field_set *set, const struct indexer_wish *wish)
{
    for (size_t i = 0; i < set->count; i++)
        if (!strcmp(set->list[i].name.topic, wish->topic) &&
            !strcmp(set->list[i].name.path, wish->path))
            return true;
    return false;
}

static enum error_code mark_dropped(struct indexer_field_set *set, int64_t id,
                                    struct error *error)
{
    char sql[96];
    snprintf(sql, sizeof sql, "UPDATE field_rows SET topic = NULL, path = NULL WHERE id = %lld",
             (long long)id);
    return indexer_database_exec(set->database, sql, error);
}

static enum error_code create_field(struct indexer_field_set *set, const struct indexer_wish *wish,
                                    struct error *error)
{
    sqlite3_stmt *insert = NULL;
    enum error_code code = indexer_database_prepare(
        set->database,
        "INSERT INTO field_rows(topic, path, events, done_seq, until_seq, lost_seq)"
        " SELECT ?1, ?2, 0, bound - 1, last_seq, 0 FROM state",
        &insert, error);
    if (code)
        return code;
    sqlite3_bind_text(insert, 1, wish->topic, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 2, wish->path, -1, SQLITE_STATIC);
    code = indexer_database_run(insert, error);
    sqlite3_finalize(insert);
    if (!code)
        code = indexer_schema_create_field(set->database,
                                           sqlite3_last_insert_rowid(set->database), error);
    return code;
}

/* Both have no field twice. */
static bool matches(const struct indexer_field_set *set, const struct indexer_wishes *wishes)
{
    bool same = set->count == wishes->count;
    for (size_t i = 0; same && i < set->count; i++)
        same = is_wished(wishes, &set->list[i].name);
    return same;
}

static enum error_code match(struct indexer_field_set *set, const struct indexer_wishes *wishes,
                             bool *changed, struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; !code && i < set->count; i++)
        if (!is_wished(wishes, &set->list[i].name)) {
            code = mark_dropped(set, set->list[i].id, error);
            *changed = true;
        }
    for (size_t i = 0; !code && i < wishes->count; i++)
        if (!is_there(set, &wishes->list[i])) {
            code = create_field(set, &wishes->list[i], error);
            *changed = true;
        }
    return code || !*changed ? code : indexer_schema_show_fields(set->database, error);
}

enum error_code indexer_field_set_match(struct indexer_field_set *set,
                                        const struct indexer_wishes *wishes, bool *changed_out,
                                        struct error *error)
{
    bool changed = false;
    *changed_out = false;
    if (matches(set, wishes))
        return OK;
    enum error_code code = indexer_database_exec(set->database, "BEGIN IMMEDIATE", error);
    if (code)
        return code;
    code = match(set, wishes, &changed, error);
    if (!code)
        code = indexer_database_exec(set->database, "COMMIT", error);
    if (code) {
        indexer_database_exec(set->database, "ROLLBACK", NULL);
        return code;
    }
    *changed_out = changed;
    return changed ? indexer_field_set_load(set, set->database, error) : OK;
}

size_t indexer_field_set_first(const struct indexer_field_set *set, const char *topic,
                               size_t topic_bytes)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->list[i].topic_bytes == topic_bytes &&
            !memcmp(set->list[i].name.topic, topic, topic_bytes))
            return i + 1;
    return 0;
}

bool indexer_field_set_has_next(const struct indexer_field_set *set, size_t position)
{
    return position < set->count &&
           !strcmp(set->list[position - 1].name.topic, set->list[position].name.topic);
}

static void bind_value(sqlite3_stmt *insert, const struct indexer_field_value *value)
{
    if (value->type == FIELD_INTEGER)
        sqlite3_bind_int64(insert, 2, value->integer);
    else if (value->type == FIELD_REAL)
        sqlite3_bind_double(insert, 2, value->real);
    else
        sqlite3_bind_text64(insert, 2, value->text, value->text_bytes, SQLITE_STATIC, SQLITE_UTF8);
}

enum error_code indexer_field_set_add(struct indexer_field_set *set,
                                      struct indexer_field_entry *entry,
                                      const struct event *event, struct error *error)
{
    struct msgpack_cursor found;
    struct indexer_field_value value;
    if (msgpack_path_find(&entry->path, event->payload, event->payload_bytes, &found))
        return OK;
    enum error_code code = indexer_field_value_read(&found, &set->scratch, &value, error);
    if (code || value.type == FIELD_NULL)
        return code;
    sqlite3_bind_int64(entry->insert, 1, (sqlite3_int64)event->sequence);
    bind_value(entry->insert, &value);
    code = indexer_database_run(entry->insert, error);
    entry->added += !code;
    return code;
}

enum error_code indexer_field_set_add_all(struct indexer_field_set *set, size_t first,
                                          const struct event *event, struct error *error)
{
    for (size_t at = first;; at++) {
        enum error_code code = indexer_field_set_add(set, &set->list[at - 1], event, error);
        if (code || !indexer_field_set_has_next(set, at))
            return code;
    }
}

enum error_code indexer_field_set_flush(struct indexer_field_set *set, struct error *error)
{
    for (size_t i = 0; i < set->count; i++) {
        struct indexer_field_entry *entry = &set->list[i];
        if (!entry->added)
            continue;
        sqlite3_bind_int64(set->count_up, 1, entry->id);
        sqlite3_bind_int64(set->count_up, 2, entry->added);
        enum error_code code = indexer_database_run(set->count_up, error);
        if (code)
            return code;
        entry->added = 0;
    }
    return OK;
}

void indexer_field_set_forget(struct indexer_field_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->list[i].added = 0;
}

/* By sequence: entries of the index lie anywhere, but those of the table side by side. */
static enum error_code remove_some(sqlite3 *database, int64_t id, uint64_t *rows_out,
                                   struct error *error)
{
    char sql[128];
    int64_t last;
    snprintf(sql, sizeof sql, "SELECT seq FROM field_%lld ORDER BY seq LIMIT 1 OFFSET %d",
             (long long)id, INDEXER_FIELD_SET_ROWS - 1);
    enum error_code code = indexer_database_number(database, sql, 0, &last, error);
    if (code)
        return code;
    if (!last)
        return indexer_schema_drop_field(database, id, error);
    snprintf(sql, sizeof sql, "DELETE FROM field_%lld WHERE seq <= %lld", (long long)id,
             (long long)last);
    code = indexer_database_exec(database, sql, error);
    *rows_out = (uint64_t)sqlite3_changes64(database);
    return code;
}

enum error_code indexer_field_set_remove_some(struct indexer_field_set *set, uint64_t *rows_out,
                                              struct error *error)
{
    static const char first_sql[] = "SELECT min(id) FROM field_rows WHERE topic IS NULL";
    int64_t id = 0, left = 0;
    *rows_out = 0;
    enum error_code code = indexer_database_exec(set->database, "BEGIN IMMEDIATE", error);
    if (code)
        return code;
    code = indexer_database_number(set->database, first_sql, 0, &id, error);
    if (!code && id)
        code = remove_some(set->database, id, rows_out, error);
    if (!code)
        code = indexer_database_number(set->database, first_sql, 0, &left, error);
    if (!code)
        code = indexer_database_exec(set->database, "COMMIT", error);
    if (code)
        indexer_database_exec(set->database, "ROLLBACK", NULL);
    else
        set->removing = left != 0;
    return code;
}
