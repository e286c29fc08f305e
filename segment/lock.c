#include "segment/lock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char lock_name[] = "LOCK";

/* How often a lock file may be made or replaced under our eyes before we give up. */
enum { TRIES_MAX = 8 };

enum { LINE_SIZE = 128 };

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
static bool find_program(int pid, char name_out[SEGMENT_LOCK_PROGRAM_SIZE])
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool found = fgets(name_out, SEGMENT_LOCK_PROGRAM_SIZE, file) != NULL;
    fclose(file);
    if (found)
        name_out[strcspn(name_out, "\n")] = '\0';
    return found;
}

/* Does a line of /proc/locks (proc(5)) tell who has locked this? Who waits has an arrow. */
static bool tells_holder(const char *line, const struct stat *locked, int *pid_out)
{
    unsigned device_major, device_minor;
    uint64_t inode;
    return sscanf(line, "%*u: FLOCK %*s WRITE %d %x:%x:%" SCNu64, pid_out, &device_major,
                  &device_minor, &inode) == 4 &&
           device_major == major(locked->st_dev) && device_minor == minor(locked->st_dev) &&
           inode == locked->st_ino;
}

/*
 * The lock file does not tell who has it (fcntl(2): l_pid is -1), the lock of the directory does,
 * also across users and in the numbers of our own namespace. No other source is good enough to name
 * a process that somebody will stop then: the watermark page may tell the number that the writer
 * has in a container, or one that was given to somebody else since. Not ourselves: that is no other
 * process.
 */
bool segment_lock_find_holder(int fd, int *pid_out, char name_out[SEGMENT_LOCK_PROGRAM_SIZE])
{
    char line[LINE_SIZE];
    struct stat locked;
    FILE *file = NULL;
    int pid;
    bool found = false;
    if (!file_status(fd, "what is locked", &locked, NULL))
        file = fopen("/proc/locks", "re");
    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file))
        found = tells_holder(line, &locked, &pid) && pid > 0 && pid != getpid();
    fclose(file);
    if (!found || !find_program(pid, name_out))
        return false;
    *pid_out = pid;
    return true;
}

/* Returns whether somebody could be named. */
static bool describe_writer(int log_fd, struct error *error)
{
    int pid;
    char program[SEGMENT_LOCK_PROGRAM_SIZE], who[64] = "another process";
    bool found = segment_lock_find_holder(log_fd, &pid, program);
    if (found)
        snprintf(who, sizeof who, "another process (%s, pid %d)", program, pid);
    error_set(error, ERROR_BUSY, "%s writes to this log", who);
    return found;
}

static enum error_code describe_busy(int log_fd, enum segment_lock_role role, struct error *error)
{
    struct error writer;
    switch (role) {
    case LOCK_WRITER:
        describe_writer(log_fd, &writer);
        return error_set(error, ERROR_BUSY,
                         "%s; publish through its socket, or stop it first", writer.text);
    case LOCK_RETENTION:
        return error_set(error, ERROR_BUSY,
                         "another process is deleting old segments of this log; try again when it "
                         "is done");
    case LOCK_PACKER:
        return error_set(error, ERROR_BUSY,
                         "another process packs the segments of this log; try again when it is "
                         "done");
    case LOCK_SCHEMAS:
        return error_set(error, ERROR_BUSY,
                         "another process is changing the schemas of this log; try again when it "
                         "is done");
    case LOCK_INDEXER:
        return error_set(error, ERROR_BUSY,
                         "another process fills the index of this log; it does so for everybody");
    case LOCK_FIELDS:
        return error_set(error, ERROR_BUSY,
                         "another process changes the list of indexed fields; try again");
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
    struct error writer;
    bool held = false;
    enum error_code code = segment_lock_is_held(log_fd, LOCK_WRITER, &held, error);
    if (code)
        return code;
    /* Where the file was replaced or deleted, the directory's lock still tells. */
    if (!describe_writer(log_fd, &writer) && !held)
        return OK;
    return error_set(error, ERROR_BUSY, "%s", writer.text);
}
