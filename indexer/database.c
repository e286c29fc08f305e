#include "indexer/database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"

enum error_code indexer_database_path(const char *path, const char *name, char **path_out,
                                      struct error *error)
{
    char *joined = NULL;
    if (asprintf(&joined, "%s/%s", path, name) < 0)
        return error_set(error, ERROR_MEMORY, "no memory for the path of %s", name);
    *path_out = joined;
    return OK;
}

static enum error_code code_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
        return ERROR_DAMAGED;
    case SQLITE_FULL:
        return ERROR_NO_SPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERROR_BUSY;
    case SQLITE_NOMEM:
        return ERROR_MEMORY;
    default:
        return ERROR_IO;
    }
}

/*
 * A file that SQLite cannot make or lengthen is called an I/O error, and only errno knows why. The
 * shared memory is lengthened for one reason only, but errno is lost on the way.
 */
static enum error_code code_of_failure(sqlite3 *database, int result)
{
    enum error_code code = code_of(result);
    if (!database || code != ERROR_IO)
        return code;
    int reason = sqlite3_system_errno(database);
    bool full = reason == ENOSPC || reason == EDQUOT ||
                sqlite3_extended_errcode(database) == SQLITE_IOERR_SHMSIZE;
    return full ? ERROR_NO_SPACE : code;
}

enum error_code indexer_database_error(sqlite3 *database, int result, struct error *error)
{
    const char *text = sqlite3_errstr(result);
    /* The connection's own words say more, as long as they are about the same failure. */
    if (database && (sqlite3_errcode(database) & 0xff) == (result & 0xff))
        text = sqlite3_errmsg(database);
    enum error_code code = code_of_failure(database, result);
    if (code != ERROR_IO)
        return error_set(error, code, "index: %s", text);
    return error_set(error, code, "index: %s (SQLite's code %d)", text,
                     database ? sqlite3_extended_errcode(database) : result);
}

enum error_code indexer_database_exec(sqlite3 *database, const char *sql, struct error *error)
{
    int result = sqlite3_exec(database, sql, NULL, NULL, NULL);
    return result ? indexer_database_error(database, result, error) : OK;
}

enum error_code indexer_database_prepare(sqlite3 *database, const char *sql,
                                         sqlite3_stmt **statement_out, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (result)
        return indexer_database_error(database, result, error);
    *statement_out = statement;
    return OK;
}

enum error_code indexer_database_prepare_in(sqlite3 *database, const char *schema,
                                            const char *format, sqlite3_stmt **statement_out,
                                            struct error *error)
{
    char *quoted = sqlite3_mprintf("\"%w\"", schema);
    char *sql = quoted ? sqlite3_mprintf(format, quoted, quoted) : NULL;
    enum error_code code = sql ? indexer_database_prepare(database, sql, statement_out, error)
                               : error_set(error, ERROR_MEMORY, "no memory for a statement");
    sqlite3_free(quoted);
    sqlite3_free(sql);
    return code;
}

enum error_code indexer_database_run(sqlite3_stmt *statement, struct error *error)
{
    int result;
    do {
        result = sqlite3_step(statement);
    } while (result == SQLITE_ROW);
    enum error_code code = OK;
    if (result != SQLITE_DONE)
        code = indexer_database_error(sqlite3_db_handle(statement), result, error);
    sqlite3_reset(statement);
    return code;
}

enum error_code indexer_database_step(sqlite3_stmt *statement, struct error *error)
{
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return OK;
    if (result == SQLITE_DONE)
        return ERROR_END;
    if (result == SQLITE_INTERRUPT)
        return error_set(error, ERROR_CLOSED, "interrupted");
    return indexer_database_error(sqlite3_db_handle(statement), result, error);
}

enum error_code indexer_database_number(sqlite3 *database, const char *sql, int64_t fallback,
                                        int64_t *number_out, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    enum error_code code = indexer_database_prepare(database, sql, &statement, error);
    if (code)
        return code;

    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        *number_out = sqlite3_column_int64(statement, 0);
    else if (result == SQLITE_ROW || result == SQLITE_DONE)
        *number_out = fallback;
    else
        code = indexer_database_error(database, result, error);
    sqlite3_finalize(statement);
    return code;
}

enum error_code indexer_database_lift_query_only(sqlite3 *database, bool *lifted_out,
                                                 struct error *error)
{
    int64_t closed = 0;
    *lifted_out = false;
    enum error_code code =
        indexer_database_number(database, "PRAGMA query_only", 0, &closed, error);
    if (!code && closed)
        code = indexer_database_exec(database, "PRAGMA query_only = 0", error);
    *lifted_out = !code && closed;
    return code;
}

void indexer_database_restore_query_only(sqlite3 *database, bool lifted)
{
    if (lifted)
        indexer_database_exec(database, "PRAGMA query_only = 1", NULL);
}

enum error_code indexer_database_remove(int log_fd, const char *name, struct error *error)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s%s", name, suffixes[i]);
        enum error_code code = file_unlink(log_fd, file, error);
        if (code && code != ERROR_NOT_FOUND)
            return code;
    }
    return OK;
}
