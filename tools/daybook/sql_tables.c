#include "tools/daybook/sql_tables.h"

#include <string.h>
#include <strings.h>

#include "tools/daybook/sql_guard.h"
#include "tools/daybook/sql_words.h"

/*
 * A bare name means the one in temp, else in main, else in the first database attached. Tables of
 * main are internal; those that SQLite's own virtual tables are made of ("shadow") always are.
 */
static const char tables_sql[] =
    "WITH listed AS MATERIALIZED ("
    " SELECT l.schema AS schema, l.name AS name, l.type AS type,"
    " CASE l.schema WHEN 'temp' THEN -1 ELSE d.seq END AS place,"
    " l.schema = 'temp' AND EXISTS (SELECT 1 FROM temp.sqlite_schema s WHERE s.name = l.name"
    " AND s.sql LIKE 'CREATE VIRTUAL TABLE % USING daybook\\_%' ESCAPE '\\') AS ours"
    " FROM pragma_table_list l JOIN pragma_database_list d ON d.name = l.schema"
    " WHERE l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND l.type <> 'shadow'"
    " AND (l.schema <> 'main' OR l.type = 'view')),"
    " found AS MATERIALIZED (SELECT * FROM listed l WHERE schema <> 'main'"
    " OR NOT EXISTS (SELECT 1 FROM listed o WHERE o.ours AND lower(o.name) = lower(l.name)))"
    " SELECT schema, name, CASE WHEN ours THEN 'table' WHEN type = 'virtual' THEN 'virtual table'"
    " WHEN schema = 'temp' THEN 'temporary ' || type ELSE type END,"
    " CASE WHEN ours THEN 'the log' WHEN schema = 'main' THEN 'the log''s index'"
    " WHEN schema = 'temp' THEN 'this session' ELSE schema END,"
    " EXISTS (SELECT 1 FROM found o WHERE lower(o.name) = lower(f.name) AND o.place < f.place)"
    " FROM found f ORDER BY ours DESC, place, name";

static const char *text_of(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? (const char *)text : "";
}

static enum error_code finish(sqlite3 *database, sqlite3_stmt *statement, int result,
                              enum error_code code, struct error *error)
{
    if (!code && result != SQLITE_DONE)
        code = sql_guard_failure(database, error);
    sqlite3_finalize(statement);
    return code;
}

enum error_code sql_tables_visit(sqlite3 *database,
                                 enum error_code (*visit)(void *context,
                                                          const struct sql_table *table,
                                                          struct error *error),
                                 void *context, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, tables_sql, -1, &statement, NULL))
        return sql_guard_failure(database, error);
    enum error_code code = OK;
    int result = SQLITE_DONE;
    while (!code && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct sql_table table = {text_of(statement, 0), text_of(statement, 1),
                                  text_of(statement, 2), text_of(statement, 3),
                                  sqlite3_column_int(statement, 4) != 0};
        code = visit(context, &table, error);
    }
    return finish(database, statement, result, code, error);
}

enum error_code sql_tables_columns(sqlite3 *database, const char *schema, const char *name,
                                   enum error_code (*visit)(void *context, const char *column,
                                                            const char *type, struct error *error),
                                   void *context, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, "SELECT name, type FROM pragma_table_info(?1, ?2)", -1,
                           &statement, NULL))
        return sql_guard_failure(database, error);
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, schema, -1, SQLITE_STATIC);
    enum error_code code = OK;
    int result = SQLITE_DONE;
    while (!code && (result = sqlite3_step(statement)) == SQLITE_ROW)
        code = visit(context, text_of(statement, 0), text_of(statement, 1), error);
    return finish(database, statement, result, code, error);
}

/* Keywords that SQLite takes for a name wherever they make no sense as a keyword. */
static bool is_soft_keyword(const char *name)
{
    static const char *const soft[] = {
        "action", "after",  "before", "column",  "current", "end",     "exclude", "fail",
        "first",  "groups", "ignore", "key",     "last",    "match",   "no",      "of",
        "offset", "others", "plan",   "query",   "range",   "release", "replace", "row",
        "rows",   "temp",   "view",
    };
    for (size_t i = 0; i < sizeof soft / sizeof soft[0]; i++)
        if (strcasecmp(soft[i], name) == 0)
            return true;
    return false;
}

static bool is_plain(const char *name)
{
    const char *at = name;
    struct sql_word word;
    size_t bytes = strlen(name);
    return sql_words_next(&at, name + bytes, &word) && word.kind == SQL_WORD_NAME &&
           word.at == name && word.bytes == bytes && !strchr(name, '$') &&
           (!sqlite3_keyword_check(name, (int)bytes) || is_soft_keyword(name));
}

enum error_code sql_tables_append_name(struct buffer *buffer, const char *name, struct error *error)
{
    if (is_plain(name))
        return buffer_append(buffer, name, strlen(name), error);
    enum error_code code = buffer_append(buffer, "\"", 1, error);
    for (const char *at = name; !code && *at; at++) {
        if (*at == '"')
            code = buffer_append(buffer, "\"", 1, error);
        if (!code)
            code = buffer_append(buffer, at, 1, error);
    }
    return code ? code : buffer_append(buffer, "\"", 1, error);
}

enum error_code sql_tables_append_table(struct buffer *buffer, const struct sql_table *table,
                                        struct error *error)
{
    bool bare = strcmp(table->schema, "main") == 0 || strcmp(table->schema, "temp") == 0;
    enum error_code code = OK;
    if (!bare || table->hidden)
        code = sql_tables_append_name(buffer, table->schema, error);
    if (!code && (!bare || table->hidden))
        code = buffer_append(buffer, ".", 1, error);
    return code ? code : sql_tables_append_name(buffer, table->name, error);
}
