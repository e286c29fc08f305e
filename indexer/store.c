#include "indexer/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "indexer/database.h"

/*
 * quick_check reads the whole database; up to this size that costs some hundredths of a second at
 * opening. A larger one is only checked as far as it is used: SQLite notices malformed pages then.
 */
#define QUICK_CHECK_BYTES_MAX (INT64_C(32) << 20)

/*
 * cache_size is in KiB when negative. With many topics each transaction touches a page for each of
 * them, so the WAL may grow to 4000 pages (16 MB) before they are copied; journal_size_limit cuts
 * it back after a long reader has made it grow beyond. Temporary tables are tiny and stay in
 * memory.
 */
static const char settings[] = "PRAGMA journal_mode = WAL;"
                               "PRAGMA synchronous = NORMAL;"
                               "PRAGMA cache_size = -4096;"
                               "PRAGMA journal_size_limit = 33554432;"
                               "PRAGMA wal_autocheckpoint = 4000;"
                               "PRAGMA temp_store = MEMORY";

/* SQLite would make it readable for everybody; it takes over the mode of a file that is there. */
static enum error_code make_file(const struct indexer_store_place *place, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(place->log_fd, place->name, FILE_CREATE, &fd, error);
    file_close(&fd);
    return code == ERROR_EXISTS ? OK : code;
}

static enum error_code open_database(const struct indexer_store_place *place,
                                     sqlite3 **database_out, struct error *error)
{
    char *file = NULL;
    enum error_code code = make_file(place, error);
    if (!code)
        code = indexer_database_path(place->path, place->name, &file, error);
    if (code)
        return code;

    sqlite3 *database = NULL;
    int result =
        sqlite3_open_v2(file, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    free(file);
    if (result) {
        code = indexer_database_error(database, result, error);
    } else {
        /* Short: the follower tries again by itself, and must not hold up the daemon's end. */
        sqlite3_busy_timeout(database, 250);
        sqlite3_extended_result_codes(database, 1);
        code = indexer_database_exec(database, settings, error);
    }
    if (code) {
        sqlite3_close(database);
        return code;
    }
    *database_out = database;
    return OK;
}

static enum error_code quick_check(sqlite3 *database, struct error *error)
{
    int64_t pages, page_bytes;
    enum error_code code = indexer_database_number(database, "PRAGMA page_count", 0, &pages, error);
    if (!code)
        code = indexer_database_number(database, "PRAGMA page_size", 0, &page_bytes, error);
    if (code || pages > QUICK_CHECK_BYTES_MAX / page_bytes)
        return code;

    sqlite3_stmt *check = NULL;
    code = indexer_database_prepare(database, "PRAGMA quick_check(1)", &check, error);
    if (code)
        return code;
    int result = sqlite3_step(check);
    const char *text = result == SQLITE_ROW ? (const char *)sqlite3_column_text(check, 0) : NULL;
    if (result != SQLITE_ROW)
        code = indexer_database_error(database, result, error);
    else if (!text || strcmp(text, "ok"))
        code = error_set(error, ERROR_DAMAGED, "quick_check says: %s", text ? text : "nothing");
    sqlite3_finalize(check);
    return code;
}

/* Does the database belong to the log, and does what it says of itself fit together? */
static enum error_code check_state(sqlite3 *database, const struct indexer_schema_state *fresh,
                                   struct indexer_schema_state *state_out, struct error *error)
{
    struct indexer_schema_state state;
    enum error_code code = indexer_schema_load_state(database, &state, error);
    if (code)
        return code;
    if (memcmp(state.log_id, fresh->log_id, sizeof state.log_id))
        return error_set(error, ERROR_FOREIGN, "it is the index of another log");

    int64_t last;
    code = indexer_database_number(database, "SELECT max(seq) FROM event_rows", 0, &last, error);
    if (code)
        return code;
    if (last < 0 || (uint64_t)last > state.last_sequence)
        return error_set(error, ERROR_DAMAGED, "it holds rows behind its own last sequence");
    *state_out = state;
    return OK;
}

static enum error_code open_trusted(const struct indexer_store_place *place,
                                    const struct indexer_schema_state *fresh,
                                    sqlite3 **database_out, struct indexer_schema_state *state_out,
                                    struct error *error)
{
    sqlite3 *database = NULL;
    enum error_code code = open_database(place, &database, error);
    if (code)
        return code;
    code = indexer_schema_check(database, "main", error);
    if (code == ERROR_NOT_FOUND) {
        code = indexer_schema_create(database, fresh, error);
        if (!code)
            *state_out = *fresh;
    } else {
        if (!code)
            code = quick_check(database, error);
        if (!code)
            code = check_state(database, fresh, state_out, error);
    }
    if (code) {
        sqlite3_close(database);
        return code;
    }
    *database_out = database;
    return OK;
}

static bool is_untrusted(enum error_code code)
{
    return code == ERROR_DAMAGED || code == ERROR_FOREIGN || code == ERROR_VERSION;
}

enum error_code indexer_store_open(const struct indexer_store_place *place,
                                   const struct indexer_schema_state *fresh, sqlite3 **database_out,
                                   struct indexer_schema_state *state_out,
                                   char reason_out[INDEXER_STORE_REASON_BYTES], struct error *error)
{
    reason_out[0] = 0;
    struct error why = {0};
    enum error_code code = open_trusted(place, fresh, database_out, state_out, &why);
    if (is_untrusted(code)) {
        snprintf(reason_out, INDEXER_STORE_REASON_BYTES, "%.*s", INDEXER_STORE_REASON_BYTES - 1,
                 why.text);
        code = indexer_database_remove(place->log_fd, place->name, &why);
        if (!code)
            code = open_trusted(place, fresh, database_out, state_out, &why);
    }
    if (code)
        return error_set(error, code, "'%s/%s': %s", place->path, place->name, why.text);
    return OK;
}
