/*
 * segment/subdirectory.h - a directory inside of a log's, to write into.
 *
 * What root puts there belongs to the owner of the log, who could not read it otherwise: a daemon
 * that runs as somebody else would not start any more.
 */
#ifndef DAYBOOK_SEGMENT_SUBDIRECTORY_H
#define DAYBOOK_SEGMENT_SUBDIRECTORY_H

#include <stdbool.h>
#include <sys/stat.h>

#include "core/error.h"

struct segment_subdirectory {
    int fd;
    bool is_ours;     /* the log is: files need not be made like it */
    struct stat like; /* how files there have to look otherwise */
};

/* ERROR_NOT_FOUND: there is none (not with `create`, which makes it). */
enum error_code segment_subdirectory_open(int log_fd, const char *name, bool create,
                                          struct segment_subdirectory *out, struct error *error);
void segment_subdirectory_close(struct segment_subdirectory *subdirectory);

#endif
