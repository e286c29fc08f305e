/*
 * tools/daybookd/activation.h - a listening socket that the service manager passes to the daemon.
 *
 * As sd_listen_fds(3) has it: descriptor 3 and $LISTEN_PID, $LISTEN_FDS. The manager made the
 * socket, listens at it while no daemon runs, and keeps it: the daemon neither binds nor removes
 * it, and whoever connects while the daemon is being restarted waits instead of being refused.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_ACTIVATION_H
#define DAYBOOK_TOOLS_DAYBOOKD_ACTIVATION_H

#include <stddef.h>

#include "core/error.h"

/*
 * *fd_out is the socket, the caller's from now on, -1: none was passed to this process; then
 * `path_out` is left alone. The variables are taken out of the environment. ERROR_INVALID: what was
 * passed is not exactly one listening Unix stream socket with a path.
 */
enum error_code activation_take(int *fd_out, char *path_out, size_t path_size,
                                struct error *error);

#endif
