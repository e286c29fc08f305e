#include "indexer/query.h"

#include "indexer/connection.h"
#include "indexer/database.h"
#include "indexer/extension.h"

enum error_code indexer_query_open(const char *path, sqlite3 **database_out, struct error *error)
{
    return indexer_query_open_watched(path, &(struct indexer_watcher){0}, database_out, error);
}

enum error_code indexer_query_open_watched(const char *path, const struct indexer_watcher *watcher,
                                           sqlite3 **database_out, struct error *error)
{
    sqlite3 *database = NULL;
    enum error_code code = indexer_connection_open(path, &database, error);
    if (!code)
        code = indexer_extension_attach(database, "main", watcher, error);
    if (code) {
        sqlite3_close(database);
        error_prefix(error, "index of '%s'", path);
        return code;
    }
    *database_out = database;
    return OK;
}

enum error_code indexer_query_refresh(sqlite3 *database, struct error *error)
{
    return indexer_database_exec(database, "SELECT daybook_refresh()", error);
}
