#include "segment/ballast.h"

#include "core/file.h"

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
static enum error_code present_bytes(int log_fd, uint64_t *bytes_out, struct error *error)
{
    struct stat status;
    enum error_code code = file_status_at(log_fd, BALLAST_FILE_NAME, &status, error);

    *bytes_out = 0;
    if (code == ERROR_NOT_FOUND)
        return OK;
    if (!code)
        *bytes_out = (uint64_t)status.st_size;
    return code;
}

enum error_code segment_ballast_keep(int log_fd, uint64_t segment_bytes, struct error *error)
{
    struct file_space space;
    uint64_t present = 0;
    enum error_code code = file_space(log_fd, BALLAST_FILE_NAME, &space, error);

    if (!code)
        code = present_bytes(log_fd, &present, error);
    if (code)
        return code;
    uint64_t wanted = wanted_bytes(segment_bytes, &space);
    if (wanted <= present)
        return OK;
    if (space.free_bytes < 2 * wanted)
        return error_set(error, ERROR_NO_SPACE,
                         "%llu bytes are free, too few for a ballast of %llu",
                         (unsigned long long)space.free_bytes, (unsigned long long)wanted);
    return present > 0 ? file_claim_more(log_fd, BALLAST_FILE_NAME, wanted, error)
                       : file_claim(log_fd, BALLAST_FILE_NAME, wanted, error);
}

static enum error_code give_most(int log_fd, struct error *error)
{
    uint64_t present = 0;
    enum error_code code = present_bytes(log_fd, &present, error);

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
