#include "indexer/connection.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

#include "core/bytes.h"
#include "core/file.h"
#include "indexer/database.h"
#include "indexer/schema.h"
#include "segment/lock.h"

/* "file:…?immutable=1" with everything that a URI gives a meaning escaped. */
static enum error_code make_immutable_uri(const char *file, struct buffer *uri, struct error *error)
{
    enum error_code code = buffer_printf(uri, error, "file:");
    for (const char *at = file; !code && *at; at++) {
        unsigned char c = (unsigned char)*at;
        bool plain = isalnum(c) || strchr("/._-", c);
        code = buffer_printf(uri, error, plain ? "%c" : "%%%02x", c);
    }
    if (!code)
        code = buffer_append(uri, "?immutable=1", sizeof "?immutable=1", error);
    return code;
}

static enum error_code open_file(const char *file, int flags, sqlite3 **database_out,
                                 struct error *error)
{
    sqlite3 *database = NULL;
    int result = sqlite3_open_v2(file, &database,
                                 flags | SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    enum error_code code = OK;
    if (result) {
        code = indexer_database_error(database, result, error);
    } else {
        sqlite3_busy_timeout(database, 5000);
        sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        code = indexer_database_exec(database, "PRAGMA query_only = 1; PRAGMA cache_size = -4096",
                                     error);
        if (!code)
            code = indexer_schema_check(database, "main", error);
    }
    if (code) {
        sqlite3_close(database);
        return code;
    }
    *database_out = database;
    return OK;
}

/* May somebody have put something into a WAL that we cannot read? */
static bool is_at_rest(int log_fd)
{
    struct stat status;
    bool held = true;
    if (segment_lock_is_held(log_fd, LOCK_INDEXER, &held, NULL) || held)
        return false;
    return fstatat(log_fd, INDEXER_DATABASE_NAME "-wal", &status, 0) || status.st_size == 0;
}

/*
 * Even a reader of a WAL database needs its -shm file. Where the directory cannot be written, or
 * the disk is full, and nobody has made one, the database is readable all the same as long as
 * nobody writes to it.
 */
static enum error_code open_at_rest(int log_fd, const char *file, sqlite3 **database_out,
                                    struct error *error)
{
    if (!is_at_rest(log_fd))
        return error_set(error, ERROR_IO,
                         "the directory cannot be written by this user, or the disk is full, and "
                         "the index is in use or was not closed; ask as the owner, free space, or "
                         "query a copy of the directory");
    struct buffer uri = {0};
    enum error_code code = make_immutable_uri(file, &uri, error);
    if (!code)
        code = open_file((const char *)uri.data, SQLITE_OPEN_URI, database_out, error);
    buffer_release(&uri);
    return code;
}

static enum error_code open_in_directory(int log_fd, const char *path, sqlite3 **database_out,
                                       struct error *error)
{
    struct stat status;
    if (fstatat(log_fd, INDEXER_DATABASE_NAME, &status, AT_SYMLINK_NOFOLLOW))
        return error_set(error, ERROR_NOT_FOUND,
                         "there is no index yet; daybook reindex makes one");
    char *file = NULL;
    enum error_code code = indexer_database_path(path, INDEXER_DATABASE_NAME, &file, error);
    if (code)
        return code;
    code = open_file(file, 0, database_out, error);
    if ((code == ERROR_IO && faccessat(log_fd, ".", W_OK, AT_EACCESS)) || code == ERROR_NO_SPACE)
        code = open_at_rest(log_fd, file, database_out, error);
    free(file);
    return code;
}

enum error_code indexer_connection_open(const char *path, sqlite3 **database_out,
                                        struct error *error)
{
    int log_fd = -1;
    enum error_code code = file_open_directory_to_read(path, &log_fd, error);
    if (!code)
        code = open_in_directory(log_fd, path, database_out, error);
    file_close(&log_fd);
    return code;
}
