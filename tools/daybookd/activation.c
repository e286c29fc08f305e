#include "tools/daybookd/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_PASSED = 3 };

/* How many were passed to this process, and not to one that started it. */
static long count_passed(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    long passed = 0;
    if (pid && count && strtol(pid, NULL, 10) == getpid())
        passed = strtol(count, NULL, 10);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return passed;
}

static int number_option(int fd, int option)
{
    int value = -1;
    socklen_t bytes = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &bytes) ? -1 : value;
}

static enum error_code check_socket(int fd, char *path_out, size_t path_size, struct error *error)
{
    struct sockaddr_un address = {0};
    socklen_t bytes = sizeof address;
    if (number_option(fd, SO_DOMAIN) != AF_UNIX || number_option(fd, SO_TYPE) != SOCK_STREAM ||
        number_option(fd, SO_ACCEPTCONN) != 1)
        return error_set(error, ERROR_INVALID,
                         "the descriptor that the service manager passed is no listening Unix "
                         "stream socket; the socket unit needs ListenStream=/a/path");
    if (getsockname(fd, (struct sockaddr *)&address, &bytes))
        return error_set_errno(error, errno, "ask for the passed socket's path");
    if (address.sun_path[0] != '/')
        return error_set(error, ERROR_INVALID,
                         "the socket that the service manager passed has no path; the socket unit "
                         "needs ListenStream=/a/path");
    if (strnlen(address.sun_path, sizeof address.sun_path) >= path_size)
        return error_set(error, ERROR_INVALID, "the path of the passed socket is too long");
    snprintf(path_out, path_size, "%.*s", (int)sizeof address.sun_path, address.sun_path);
    return OK;
}

enum error_code activation_take(int *fd_out, char *path_out, size_t path_size, struct error *error)
{
    long passed = count_passed();
    if (passed <= 0) {
        *fd_out = -1;
        return OK;
    }
    if (passed > 1)
        return error_set(error, ERROR_INVALID,
                         "the service manager passed %ld sockets, and daybookd takes one: the "
                         "socket unit needs exactly one ListenStream=",
                         passed);
    int fd = FIRST_PASSED;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
        return error_set_errno(error, errno, "take the socket that the service manager passed");
    enum error_code code = check_socket(fd, path_out, path_size, error);
    if (!code)
        *fd_out = fd;
    return code;
}
