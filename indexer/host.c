#include "indexer/host.h"

#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/file.h"
#include "indexer/schema.h"
#include "segment/bound.h"

/* The directory of the file behind a schema of the connection. */
static enum error_code find_path(sqlite3 *database, const char *schema, char **path_out,
                                 struct error *error)
{
    const char *file = sqlite3_db_filename(database, schema);
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (!slash)
        return error_set(error, ERROR_NOT_FOUND,
                         "the database '%s' of this connection is not a file; open DIR/events.db, "
                         "or attach it",
                         schema);
    *path_out = slash == file ? strdup("/") : strndup(file, (size_t)(slash - file));
    return *path_out ? OK : error_set(error, ERROR_MEMORY, "no memory for the log's path");
}

/* So many texts are remembered; a log with more damage than that is told of more often. */
enum { TOLD_MAX = 500 };

/* Several lookups may come upon one block, and each of them more than once. */
static void tell_once(void *context, const char *text)
{
    struct indexer_host *host = context;
    for (size_t i = 0; i < host->told_count; i++)
        if (strcmp(host->told[i], text) == 0)
            return;
    char *copy = host->told_count < TOLD_MAX ? strdup(text) : NULL;
    char **told = copy ? realloc(host->told, (host->told_count + 1) * sizeof *told) : NULL;
    if (told) {
        host->told = told;
        told[host->told_count++] = copy;
    } else {
        free(copy); /* rather twice than not at all */
    }
    host->listener.damaged(host->listener.context, text);
}

enum error_code indexer_host_create(sqlite3 *database, const char *schema,
                                    const struct indexer_watcher *watcher,
                                    struct indexer_host **host_out, struct error *error)
{
    struct indexer_host *host = calloc(1, sizeof *host);
    if (!host)
        return error_set(error, ERROR_MEMORY, "no memory for the extension");
    host->references = 1;
    host->log_fd = -1;
    host->database = database;
    host->listener = *watcher;
    if (watcher->damaged)
        host->watcher = (struct indexer_watcher){tell_once, host};
    host->schema = strdup(schema);
    enum error_code code = host->schema ? OK : error_set(error, ERROR_MEMORY, "no memory");
    if (!code)
        code = indexer_schema_check(database, schema, error);
    if (!code)
        code = find_path(database, schema, &host->path, error);
    if (!code)
        code = file_open_directory_to_read(host->path, &host->log_fd, error);
    if (code) {
        indexer_host_release(host);
        return code;
    }
    *host_out = host;
    return OK;
}

struct indexer_host *indexer_host_retain(struct indexer_host *host)
{
    host->references++;
    return host;
}

void indexer_host_release(void *argument)
{
    struct indexer_host *host = argument;
    if (!host || --host->references > 0)
        return;
    indexer_lookup_free(host->lookup);
    for (size_t i = 0; i < INDEXER_HOST_IDLE_MAX; i++)
        indexer_lookup_free(host->idle[i]);
    for (size_t i = 0; i < host->told_count; i++)
        free(host->told[i]);
    free(host->told);
    file_close(&host->log_fd);
    buffer_release(&host->json);
    buffer_release(&host->payload);
    free(host->schema);
    free(host->path);
    free(host);
}

/* The file is replaced when the bound moves; short queries would feel to open it each time. */
uint64_t indexer_host_bound(struct indexer_host *host)
{
    struct stat status;
    struct indexer_host_bound *seen = &host->bound;
    if (fstatat(host->log_fd, SEGMENT_BOUND_NAME, &status, AT_SYMLINK_NOFOLLOW))
        return 1;
    int64_t changed_ns =
        (int64_t)status.st_ctim.tv_sec * 1000000000 + status.st_ctim.tv_nsec;
    if (seen->sequence && seen->inode == status.st_ino && seen->changed_ns == changed_ns)
        return seen->sequence;
    uint64_t sequence = 1;
    segment_bound_load(host->log_fd, &sequence, NULL);
    *seen = (struct indexer_host_bound){sequence, status.st_ino, changed_ns};
    return sequence;
}

enum error_code indexer_host_take_lookup(struct indexer_host *host,
                                         struct indexer_lookup **lookup_out, struct error *error)
{
    for (size_t i = 0; i < INDEXER_HOST_IDLE_MAX; i++) {
        if (host->idle[i]) {
            *lookup_out = host->idle[i];
            host->idle[i] = NULL;
            return OK;
        }
    }
    return indexer_lookup_create(host->path, &host->watcher, lookup_out, error);
}

void indexer_host_give_lookup(struct indexer_host *host, struct indexer_lookup *lookup)
{
    for (size_t i = 0; i < INDEXER_HOST_IDLE_MAX; i++) {
        if (!host->idle[i]) {
            host->idle[i] = lookup;
            return;
        }
    }
    indexer_lookup_free(lookup);
}
