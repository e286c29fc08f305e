#include "indexer/reindex.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/file.h"
#include "indexer/database.h"
#include "indexer/follower.h"

static enum error_code fill(struct indexer_follower *follower,
                            void (*progress)(void *context, uint64_t sequence_done,
                                             uint64_t sequence_last),
                            void *context, struct indexer_reindex_totals *totals,
                            struct error *error)
{
    struct indexer_step step;
    do {
        enum error_code code = indexer_follower_step(follower, &step, error);
        if (code)
            return code;
        totals->events += step.events;
        totals->damaged += step.damaged;
        if (progress)
            progress(context, step.last_sequence, step.watermark);
    } while (!step.caught_up);
    return OK;
}

static enum error_code measure(const char *path, uint64_t *bytes_out, struct error *error)
{
    int log_fd = -1;
    enum error_code code = file_open_directory(path, false, &log_fd, error);
    if (code)
        return code;
    struct stat status = {0};
    if (!fstatat(log_fd, INDEXER_DATABASE_NAME, &status, AT_SYMLINK_NOFOLLOW))
        *bytes_out = (uint64_t)status.st_size;
    file_close(&log_fd);
    return OK;
}

enum error_code indexer_reindex(const char *path,
                                void (*progress)(void *context, uint64_t sequence_done,
                                                 uint64_t sequence_last),
                                void *context, struct indexer_reindex_totals *totals_out,
                                struct error *error)
{
    struct indexer_reindex_totals totals = {0};
    struct indexer_follower *follower = NULL;
    enum error_code code = indexer_follower_open_rebuild(path, &follower, error);
    if (code == ERROR_BUSY)
        return error_set(error, ERROR_BUSY,
                         "reindex '%s': another process fills this index, the daemon if one runs: "
                         "stop it first, or delete events.db, and the daemon builds it anew",
                         path);
    if (code)
        return code;
    code = fill(follower, progress, context, &totals, error);
    if (code) {
        indexer_follower_close(follower);
        return code;
    }
    code = indexer_follower_finish_rebuild(follower, error);
    if (!code)
        code = measure(path, &totals.bytes, error);
    if (!code && totals_out)
        *totals_out = totals;
    return code;
}
