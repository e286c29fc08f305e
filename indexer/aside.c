#include "indexer/aside.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/file.h"
#include "indexer/database.h"

enum { NAMES_MAX = 1000 };

/* Bring what waits in the WAL into the file; one that is too broken for that is kept as it is. */
static void checkpoint(const char *path)
{
    char *file = NULL;
    sqlite3 *database = NULL;
    if (indexer_database_path(path, INDEXER_DATABASE_NAME, &file, NULL))
        return;
    if (sqlite3_open_v2(file, &database, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        indexer_database_exec(database, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    sqlite3_close(database);
    free(file);
}

static enum error_code choose_name(int quarantine_fd, char *name_out, size_t name_size,
                                   struct error *error)
{
    struct stat status;
    for (int i = 0; i < NAMES_MAX; i++) {
        if (i == 0)
            snprintf(name_out, name_size, "events.db");
        else
            snprintf(name_out, name_size, "events-%d.db", i);
        enum error_code code = file_status_at(quarantine_fd, name_out, &status, error);
        if (code == ERROR_NOT_FOUND)
            return OK;
        if (code)
            return code;
    }
    return error_set(error, ERROR_EXISTS, "there are %d old indexes in quarantine already",
                     NAMES_MAX);
}

/* The WAL goes first: a database without its name is what the next follower takes for none. */
static enum error_code move(int log_fd, const char *name, struct error *error)
{
    static const char *const suffixes[] = {"-wal", ""};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char from[64], to[96];
        snprintf(from, sizeof from, INDEXER_DATABASE_NAME "%s", suffixes[i]);
        snprintf(to, sizeof to, "quarantine/%s%s", name, suffixes[i]);
        enum error_code code = file_rename(log_fd, from, to, error);
        if (code && code != ERROR_NOT_FOUND)
            return code;
    }
    return indexer_database_remove(log_fd, INDEXER_DATABASE_NAME, error);
}

enum error_code indexer_set_aside(int log_fd, const char *path, char *name_out, size_t name_size,
                                  struct error *error)
{
    struct stat status;
    int quarantine_fd = -1;
    name_out[0] = '\0';
    enum error_code code = file_status_at(log_fd, INDEXER_DATABASE_NAME, &status, error);
    if (code)
        return code == ERROR_NOT_FOUND ? OK : code;
    checkpoint(path);
    code = file_open_directory_at(log_fd, "quarantine", true, &quarantine_fd, error);
    if (!code)
        code = choose_name(quarantine_fd, name_out, name_size, error);
    if (!code)
        code = move(log_fd, name_out, error);
    if (!code)
        code = file_sync_directory(quarantine_fd, "quarantine", error);
    if (!code)
        code = file_sync_directory(log_fd, path, error);
    file_close(&quarantine_fd);
    return code ? error_prefix(error, "set the index aside") : OK;
}
