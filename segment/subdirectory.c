#include "segment/subdirectory.h"

#include <unistd.h>

#include "core/file.h"

enum error_code segment_subdirectory_open(int log_fd, const char *name, bool create,
                                          struct segment_subdirectory *out, struct error *error)
{
    struct segment_subdirectory subdirectory = {.fd = -1};
    struct stat log;
    enum error_code code = file_status(log_fd, "the directory of the log", &log, error);
    if (!code)
        code = file_open_directory_at(log_fd, name, create, &subdirectory.fd, error);
    if (code)
        return code;
    subdirectory.is_ours = log.st_uid == geteuid();
    subdirectory.like = log;
    subdirectory.like.st_mode = S_IFREG | 0640;
    if (create && !subdirectory.is_ours)
        code = file_make_alike(subdirectory.fd, name, &log, error);
    if (code)
        segment_subdirectory_close(&subdirectory);
    else
        *out = subdirectory;
    return code;
}

void segment_subdirectory_close(struct segment_subdirectory *subdirectory)
{
    file_close(&subdirectory->fd);
}
