#include "segment/ballast.h"

#include "core/file.h"
#include "segment/lock.h"

#define BALLAST_BYTES_MAX (UINT64_C(16) << 20)
#define BALLAST_BYTES_MIN (UINT64_C(512) << 10)
/* For the lower bound. XFS, for one, may ask for 100 KiB to make a file. */
#define BALLAST_LAST_BYTES   (UINT64_C(256) << 10)
#define BALLAST_SEGMENT_PART 4
#define BALLAST_SYSTEM_PART  64
#define BALLAST_UNIT         UINT64_C(4096)

static uint64_t wanted_bytes(uint64_t segment_bytes, const struct file_space *space)
{
    uint64_t bytes = segment_bytes / BALLAST_SEGMENT_PART;

    if (bytes > BALLAST_BYTES_MAX)
        bytes = BALLAST_BYTES_MAX;
    if (bytes < BALLAST_BYTES_MIN)
        bytes = BALLAST_BYTES_MIN;
    if (bytes > space->total_bytes / BALLAST_SYSTEM_PART)
        bytes = space->total_bytes / BALLAST_SYSTEM_PART;
    return bytes - bytes % BALLAST_UNIT;
}

/* What the file claims: what it was given on file systems that claim without writing. */
static enum error_code look(int log_fd, bool *there_out, uint64_t *bytes_out, struct error *error)
{
    struct stat status;
    enum error_code code = file_status_at(log_fd, BALLAST_FILE_NAME, &status, error);

    *there_out = code == OK;
    *bytes_out = code ? 0 : (uint64_t)status.st_size;
    return code == ERROR_NOT_FOUND ? OK : code;
}

/* Retention may be at work with it: writing it over, to give it another name. */
static enum error_code check_unused(int log_fd, struct error *error)
{
    bool held = false;
    enum error_code code = segment_lock_is_held(log_fd, LOCK_RETENTION, &held, error);

    if (!code && held)
        code = error_set(error, ERROR_BUSY, "retention is at work, and may need the ballast");
    return code;
}

static enum error_code make(int log_fd, bool there, uint64_t bytes, struct error *error)
{
    enum error_code code =
        there ? file_claim_more(log_fd, BALLAST_FILE_NAME, bytes, error) : ERROR_NOT_FOUND;

    if (code == ERROR_FOREIGN) { /* a link, or somebody else's: no room of ours */
        code = segment_ballast_give_all(log_fd, error);
        there = code != OK;
    }
    return there ? code : file_claim(log_fd, BALLAST_FILE_NAME, bytes, error);
}

enum error_code segment_ballast_keep(int log_fd, uint64_t segment_bytes, struct error *error)
{
    struct file_space space;
    uint64_t present = 0;
    bool there = false;
    enum error_code code = file_space(log_fd, BALLAST_FILE_NAME, &space, error);

    if (!code)
        code = look(log_fd, &there, &present, error);
    if (code)
        return code;
    uint64_t wanted = wanted_bytes(segment_bytes, &space);
    if (wanted <= present)
        return OK;
    if (space.free_bytes < 2 * wanted)
        return error_set(error, ERROR_NO_SPACE,
                         "%llu bytes are free, too few for a ballast of %llu",
                         (unsigned long long)space.free_bytes, (unsigned long long)wanted);
    code = check_unused(log_fd, error);
    return code ? code : make(log_fd, there, wanted, error);
}

static enum error_code give_most(int log_fd, struct error *error)
{
    uint64_t present = 0;
    bool there = false;
    enum error_code code = look(log_fd, &there, &present, error);

    if (code)
        return code;
    if (present <= BALLAST_LAST_BYTES)
        return error_set(error, ERROR_NOT_FOUND, "there is no ballast to give");
    return file_shrink(log_fd, BALLAST_FILE_NAME, BALLAST_LAST_BYTES, error);
}

enum error_code segment_ballast_give_most(const char *path, struct error *error)
{
    int log_fd = -1;
    enum error_code code = file_open_directory(path, false, &log_fd, error);

    if (!code)
        code = give_most(log_fd, error);
    file_close(&log_fd);
    return code;
}

enum error_code segment_ballast_give_all(int log_fd, struct error *error)
{
    return file_unlink(log_fd, BALLAST_FILE_NAME, error);
}
