/*
 * indexer/loadable.c - build/daybook.so: the extension for any program with SQLite in it.
 *
 *     sqlite3 DIR/events.db            >>> db = sqlite3.connect("DIR/events.db")
 *     .load build/daybook              >>> db.enable_load_extension(True)
 *                                      >>> db.load_extension("build/daybook")
 *
 * The log's index is the main database of the connection, or the first attached one that is one.
 */
#include "indexer/database.h"
#include "indexer/extension.h"
#include "indexer/schema.h"

SQLITE_EXTENSION_INIT1

/* Whatever we call must be in the table that we are handed, and PRAGMA table_list be known. */
enum { SQLITE_NEEDED = 3037000 };

int sqlite3_daybook_init(sqlite3 *database, char **message_out, const sqlite3_api_routines *api);

/*
 * Is this database an index? One of another version, or a damaged one, is one: attaching says what
 * is wrong. ERROR_BUSY and others: that cannot be told, now.
 */
static enum error_code look_at(sqlite3 *database, const char *name, bool *found_out,
                               struct error *error)
{
    struct error reason;
    *found_out = indexer_schema_is_ours(database, name);
    if (*found_out)
        return OK;
    enum error_code code = indexer_schema_check(database, name, &reason);
    if (!code || code == ERROR_FOREIGN || code == ERROR_NOT_FOUND)
        return OK;
    return error_set(error, code, "database '%s': %s", name, reason.text);
}

/*
 * The name of the first database that is an index; ERROR_NOT_FOUND: none is, and where one could
 * not be looked at, its own error.
 */
static enum error_code find_index(sqlite3 *database, char *name_out, size_t name_size,
                                  struct error *error)
{
    sqlite3_stmt *list = NULL;
    bool found = false;
    enum error_code worst = error_set(error, ERROR_NOT_FOUND,
                                      "no database of this connection is the index of a log: open "
                                      "DIR/events.db, or ATTACH it, then load again");
    enum error_code code = indexer_database_prepare(database, "PRAGMA database_list", &list, error);
    while (!code && !found && sqlite3_step(list) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(list, 1);
        enum error_code why = name ? look_at(database, name, &found, error) : OK;
        worst = why ? why : worst;
        if (found)
            sqlite3_snprintf((int)name_size, name_out, "%s", name);
    }
    sqlite3_finalize(list);
    return code ? code : found ? OK : worst;
}

int sqlite3_daybook_init(sqlite3 *database, char **message_out, const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api)
    char name[256];
    struct error error = {0};
    enum error_code code = OK;
    if (sqlite3_libversion_number() < SQLITE_NEEDED)
        code = error_set(&error, ERROR_VERSION, "SQLite %s is too old, 3.37 is needed",
                         sqlite3_libversion());
    if (!code)
        code = find_index(database, name, sizeof name, &error);
    if (!code)
        code = indexer_extension_attach(database, name, &(struct indexer_watcher){0}, &error);
    if (!code)
        return SQLITE_OK;
    *message_out = sqlite3_mprintf("daybook: %s", error.text);
    return code == ERROR_MEMORY ? SQLITE_NOMEM : SQLITE_ERROR;
}
