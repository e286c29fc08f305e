#include "segment/lock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "segment/watermark.h"

static const char lock_name[] = "LOCK";

/* How often a lock file may be made or replaced under our eyes before we give up. */
enum { TRIES_MAX = 8 };

enum { PROGRAM_SIZE = 17 }; /* 15 bytes, a newline, NUL */

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

/* A process's program, by the kernel's short name. False: there is no process, or no /proc. */
static bool find_program(uint32_t pid, char name_out[PROGRAM_SIZE])
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/comm", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool found = fgets(name_out, PROGRAM_SIZE, file) != NULL;
    fclose(file);
    if (found)
        name_out[strcspn(name_out, "\n")] = '\0';
    return found;
}

/*
 * The lock does not tell who has it (fcntl(2): l_pid is -1), the watermark page does. A page that
 * its writer has left behind names a process that is no more: one that recovers now is not named.
 */
static bool find_writer(int log_fd, uint32_t *pid_out, char name_out[PROGRAM_SIZE])
{
    struct segment_watermark *page = NULL;
    struct segment_watermark_state state;
    if (segment_watermark_open(log_fd, &page, NULL))
        return false;
    bool told = segment_watermark_read(page, &state) && state.live && state.same_boot;
    segment_watermark_close(page);
    if (!told || !find_program(state.writer_pid, name_out))
        return false;
    *pid_out = state.writer_pid;
    return true;
}

static enum error_code describe_writer(int log_fd, struct error *error)
{
    uint32_t pid;
    char program[PROGRAM_SIZE], who[64] = "another process";
    if (find_writer(log_fd, &pid, program))
        snprintf(who, sizeof who, "another process (%s, pid %" PRIu32 ")", program, pid);
    return error_set(error, ERROR_BUSY,
                     "%s writes to this log; publish through its socket, or stop it first", who);
}

static enum error_code describe_busy(int log_fd, enum segment_lock_role role, struct error *error)
{
    switch (role) {
    case LOCK_WRITER:
        return describe_writer(log_fd, error);
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
            code = describe_busy(log_fd, role, error);
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

enum error_code segment_lock_check_writer(int log_fd, struct error *error)
{
    bool held = false;
    enum error_code code = segment_lock_is_held(log_fd, LOCK_WRITER, &held, error);
    if (code || !held)
        return code;
    return describe_writer(log_fd, error);
}
