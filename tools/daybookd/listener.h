/*
 * tools/daybookd/listener.h - the daemon's Unix socket in the file system.
 *
 * It appears under its name only when it is complete (mode 0660, listening), by a rename, which
 * also replaces what a killed daemon left behind; it never replaces a socket at which a daemon
 * answers, nor anything that is no socket.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_LISTENER_H
#define DAYBOOK_TOOLS_DAYBOOKD_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/error.h"

struct listener {
    int fd;
    char path[108];
    dev_t device; /* of the socket's file: only our own is removed */
    ino_t inode;
    bool adopted; /* somebody else made the socket, and keeps its file */
};

/* A Unix socket's path is short. ERROR_INVALID says how long it may be. */
enum error_code listener_check_path(const char *path, struct error *error);
/*
 * Would listener_open succeed? Makes a socket beside the path and removes it: no rule of
 * directories and file systems is known better than by trying. Errors are those of listener_open.
 */
enum error_code listener_try(const char *path, struct error *error);
/* ERROR_BUSY: a daemon answers there. ERROR_EXISTS: something else than a socket has the name. */
enum error_code listener_open(const char *path, struct listener *listener_out, struct error *error);
/* A socket that listens already at `path`, made by somebody else; it is ours to close. */
void listener_adopt(int fd, const char *path, struct listener *listener_out);
/* Close, and remove the file if it is still ours. */
void listener_close(struct listener *listener);

#endif
