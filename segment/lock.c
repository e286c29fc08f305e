#include "segment/lock.h"

#include <fcntl.h>

static const char lock_name[] = "LOCK";

/* How often a lock file may be made or replaced under our eyes before we give up. */
enum { TRIES_MAX = 8 };

static enum error_code open_or_create(int log_fd, int *fd_out, struct error *error)
{
    for (int tries = 0;; tries++) {
        enum error_code code = file_open(log_fd, lock_name, FILE_WRITE, fd_out, error);
        if (code != ERROR_NOT_FOUND || tries == TRIES_MAX)
            return code;
        code = file_open(log_fd, lock_name, FILE_CREATE, fd_out, error);
        if (code != ERROR_EXISTS)
            return code;
    }
}

static enum error_code describe_busy(enum segment_lock_role role, struct error *error)
{
    switch (role) {
    case LOCK_WRITER:
        return error_set(error, ERROR_BUSY,
                         "another process writes to this log; publish through its socket, or stop "
                         "it first");
    case LOCK_RETENTION:
        return error_set(error, ERROR_BUSY,
                         "another process is deleting old segments of this log; try again when it "
                         "is done");
    case LOCK_INDEXER:
        return error_set(error, ERROR_BUSY,
                         "another process fills the index of this log; it does so for everybody");
    }
    return error_set(error, ERROR_BUSY, "another process holds this role in the log");
}

enum error_code segment_lock_take(int log_fd, enum segment_lock_role role, int *fd_out,
                                  struct error *error)
{
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        int fd = -1;
        enum error_code code = open_or_create(log_fd, &fd, error);
        if (code)
            return code;
        code = file_lock(fd, lock_name, role, error);
        if (!code && role == LOCK_WRITER)
            code = file_lock_directory(log_fd, "the directory of the log", error);
        if (code == ERROR_BUSY)
            code = describe_busy(role, error);
        /* A lock on a file that nobody else can find any more excludes nobody. */
        if (!code && file_is_named(fd, log_fd, lock_name)) {
            *fd_out = fd;
            return OK;
        }
        file_close(&fd);
        if (code)
            return code;
    }
    return error_set(error, ERROR_BUSY, "'%s' is replaced again and again by somebody", lock_name);
}

enum error_code segment_lock_is_held(int log_fd, enum segment_lock_role role, bool *held_out,
                                     struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(log_fd, lock_name, FILE_READ, &fd, error);
    if (code == ERROR_NOT_FOUND) {
        *held_out = false;
        return OK;
    }
    if (code)
        return code;
    code = file_is_locked(fd, lock_name, role, held_out, error);
    file_close(&fd);
    return code;
}
