#include "tools/daybook/sql_guard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "tools/daybook/sql_hints.h"

#define ONLY_READS                                                                                 \
    "daybook sql only reads; tables made by CREATE TEMP TABLE can be written, and go when it ends"

/* What asks without changing; `value` when it may also be set, for this connection alone. */
static const struct pragma {
    const char *name;
    bool value;
} pragmas[] = {
    {"application_id", false}, {"cache_size", true}, {"case_sensitive_like", true},
    {"collation_list", false}, {"compile_options", false}, {"data_version", false},
    {"database_list", false}, {"encoding", false}, {"foreign_key_check", true},
    {"foreign_key_list", true}, {"freelist_count", false}, {"function_list", false},
    {"index_info", true}, {"index_list", true}, {"index_xinfo", true}, {"integrity_check", true},
    {"module_list", false}, {"page_count", false}, {"page_size", false}, {"pragma_list", false},
    {"query_only", false}, {"quick_check", true}, {"schema_version", false}, {"table_info", true},
    {"table_list", true}, {"table_xinfo", true}, {"temp_store", true}, {"threads", true},
    {"user_version", false},
};

const char *sql_guard_pragma(size_t n)
{
    return n < sizeof pragmas / sizeof pragmas[0] ? pragmas[n].name : NULL;
}

static int refuse(struct sql_guard *guard, const char *format, const char *name, const char *extra)
{
    if (!guard->refusal[0]) /* the first reason is the one that the user can do something about */
        snprintf(guard->refusal, sizeof guard->refusal, format, name ? name : "?",
                 extra ? extra : "?");
    return SQLITE_DENY;
}

static int judge_pragma(struct sql_guard *guard, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++)
        if (strcasecmp(pragmas[i].name, name) == 0 && (!value || pragmas[i].value))
            return SQLITE_OK;
    return refuse(guard,
                  value ? "PRAGMA %s = … is refused: daybook sql only reads"
                        : "PRAGMA %s is refused: it is not one of those that only ask, and daybook "
                          "sql only reads",
                  name, NULL);
}

/*
 * SQLite would say only that it cannot open the file. A name that is no literal, or that means no
 * plain file, is left to SQLite, which creates none either: the connection is read-only.
 */
static int judge_attach(struct sql_guard *guard, const char *file)
{
    struct stat status;
    if (!file || !file[0] || file[0] == ':' || strncmp(file, "file:", 5) == 0)
        return SQLITE_OK;
    if (stat(file, &status))
        return refuse(guard, "cannot attach '%s': %s", file, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return refuse(guard, "cannot attach '%s': it is a directory; the index of a log in it would"
                             " be its events.db",
                      file, NULL);
    return SQLITE_OK;
}

static int judge_write(struct sql_guard *guard, const char *database, const char *table)
{
    if (database && strcmp(database, "temp") == 0) {
        guard->wrote_temp = true;
        return SQLITE_OK;
    }
    if (table && strncmp(table, "sqlite_", 7) == 0)
        return refuse(guard, "this would change the tables or views of '%s': " ONLY_READS, database,
                      NULL);
    return refuse(guard, "this would change '%s.%s': " ONLY_READS, database, table);
}

static int judge_function(struct sql_guard *guard, const char *name)
{
    static const char *const refused[] = {"load_extension", "writefile", "edit", "fts3_tokenizer"};
    for (size_t i = 0; name && i < sizeof refused / sizeof refused[0]; i++)
        if (strcasecmp(name, refused[i]) == 0)
            return refuse(guard, "the function %s is not available here: daybook sql only reads",
                          name, NULL);
    return SQLITE_OK;
}

static int judge(void *context, int action, const char *first, const char *second,
                 const char *database, const char *trigger)
{
    (void)trigger;
    struct sql_guard *guard = context;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
    case SQLITE_DETACH:
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return judge_function(guard, second);
    case SQLITE_ATTACH:
        return judge_attach(guard, first);
    case SQLITE_PRAGMA:
        return judge_pragma(guard, first, second);
    case SQLITE_ALTER_TABLE: /* here the database comes first */
        return judge_write(guard, first, second);
    case SQLITE_UPDATE:
        /*
         * SQLite asks for this when a virtual table of its own (pragma_table_list, json_each) is
         * named first. Statements that do change what there is ask for INSERT or DELETE before, and
         * to a user's own UPDATE these tables are closed.
         */
        if (first && strcmp(first, "sqlite_master") == 0)
            return SQLITE_OK;
        return judge_write(guard, database, first);
    case SQLITE_DROP_VTABLE: /* its module comes second */
        if (second && strncmp(second, "daybook_", 8) == 0)
            return refuse(guard, "'%s' is made from the log, and cannot be dropped", first, NULL);
        return judge_write(guard, database, first);
    case SQLITE_INSERT:
    case SQLITE_DELETE:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_REINDEX:
    case SQLITE_ANALYZE:
        return judge_write(guard, database, first);
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_TEMP_TRIGGER:
        return judge_write(guard, "temp", first);
    default: /* creating and dropping outside of temp, and what a later SQLite may think of */
        return judge_write(guard, database, first);
    }
}

enum error_code sql_guard_init(struct sql_guard *guard, sqlite3 *database, struct error *error)
{
    *guard = (struct sql_guard){.database = database};
    if (sqlite3_db_readonly(database, "main") != 1)
        return error_set(error, ERROR_INVALID, "the index is not open for reading only");
    /* query_only forbids writing to temp, too; the other locks hold what it held. */
    if (sqlite3_exec(database, "PRAGMA query_only = 0", NULL, NULL, NULL) ||
        sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) ||
        sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL) ||
        sqlite3_set_authorizer(database, judge, guard))
        return sql_guard_failure(database, error);
    return OK;
}

enum error_code sql_guard_failure(sqlite3 *database, struct error *error)
{
    const char *text = sqlite3_errmsg(database);
    if (sqlite3_errcode(database) != SQLITE_CANTOPEN && strncmp(text, "unable to open", 14) == 0)
        return error_set(error, ERROR_DAMAGED, "SQL: %s: %s", text, /* of ATTACH: says not why */
                         sqlite3_errstr(sqlite3_errcode(database)));
    switch (sqlite3_errcode(database) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(error, ERROR_BUSY,
                         "SQL: %s: another program keeps it from being read; try again when that "
                         "has finished",
                         text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(error, ERROR_DAMAGED,
                         "SQL: %s; if it is the log's index, and not an attached database, "
                         "'daybook reindex' makes it anew",
                         text);
    case SQLITE_INTERRUPT:
        return error_set(error, ERROR_END, "interrupted");
    case SQLITE_NOMEM:
        return error_set(error, ERROR_MEMORY, "SQL: %s", text);
    default:
        break;
    }
    char message[sizeof error->text];
    snprintf(message, sizeof message, "%s", text);
    error_set(error, ERROR_INVALID, "SQL: %s", message);
    sql_hints_add_to_failure(database, message, error);
    return ERROR_INVALID;
}

enum error_code sql_guard_prepare(struct sql_guard *guard, const char *text,
                                  sqlite3_stmt **statement_out, const char **rest_out,
                                  struct error *error)
{
    sqlite3_stmt *statement = NULL;
    guard->wrote_temp = false;
    guard->refusal[0] = '\0';
    int result = sqlite3_prepare_v2(guard->database, text, -1, &statement, rest_out);
    if (result && guard->refusal[0])
        return error_set(error, ERROR_INVALID, "SQL: %s", guard->refusal);
    if (result)
        return sql_guard_failure(guard->database, error);
    if (statement && !sqlite3_stmt_readonly(statement) && !guard->wrote_temp) {
        sqlite3_finalize(statement);
        return error_set(error, ERROR_INVALID, "SQL: this would write to a database: " ONLY_READS);
    }
    *statement_out = statement;
    return OK;
}
