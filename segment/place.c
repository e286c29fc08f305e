#include "segment/place.h"

#include <unistd.h>

#include "core/file.h"

enum error_code segment_place_open(int log_fd, const char *name, bool create,
                                   struct segment_place *place_out, struct error *error)
{
    struct segment_place place = {.fd = -1};
    struct stat log;
    enum error_code code = file_status(log_fd, "the directory of the log", &log, error);
    if (!code)
        code = file_open_directory_at(log_fd, name, create, &place.fd, error);
    if (code)
        return code;
    place.is_ours = log.st_uid == geteuid();
    place.like = log;
    place.like.st_mode = S_IFREG | 0640;
    if (create && !place.is_ours)
        code = file_make_alike(place.fd, name, &log, error);
    if (code)
        segment_place_close(&place);
    else
        *place_out = place;
    return code;
}

void segment_place_close(struct segment_place *place)
{
    file_close(&place->fd);
}
