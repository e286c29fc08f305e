#include "tools/daybookd/listener.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/file.h"

enum {
    LISTENER_BACKLOG = 512,
    LISTENER_MODE = 0660,
    TEMPORARY_SUFFIX = 10, /* ".", a process's number in hexadecimal, at most */
    LISTENER_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path - 1 - TEMPORARY_SUFFIX,
    TEMPORARY_SIZE = sizeof((struct sockaddr_un *)0)->sun_path + TEMPORARY_SUFFIX,
};

enum error_code listener_check_path(const char *path, struct error *error)
{
    size_t bytes = strlen(path);
    if (bytes == 0 || bytes > LISTENER_PATH_MAX)
        return error_set(error, ERROR_INVALID,
                         "the socket's path '%s' has %zu bytes, and a Unix socket's may have 1 to "
                         "%d; choose a shorter one with -s",
                         path, bytes, (int)LISTENER_PATH_MAX);
    return OK;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert(strlen(path) < sizeof address.sun_path); /* listener_check_path */
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* The user has named the path, and knows nothing of a temporary name beside it. */
static enum error_code describe_failure(int reason, const char *path, struct error *error)
{
    return error_set_errno(error, reason, "cannot listen at the socket '%s'", path);
}

/* Nobody answers at what a killed daemon left. */
static enum error_code check_free(const char *path, struct error *error)
{
    struct stat status;
    if (lstat(path, &status))
        return errno == ENOENT ? OK : describe_failure(errno, path, error);
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_EXISTS,
                         "'%s' is there, but is no socket; remove it or choose another with -s",
                         path);
    int fd = unix_socket();
    if (fd < 0)
        return error_set_errno(error, errno, "create a socket");
    struct sockaddr_un address = address_of(path);
    /* EAGAIN: somebody listens, and is so busy that its queue is full. */
    bool answers = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
    close(fd);
    if (answers)
        return error_set(error, ERROR_BUSY, "a daemon is listening at '%s' already", path);
    return OK;
}

static enum error_code publish(int fd, const char *temporary, struct listener *listener,
                               struct error *error)
{
    struct stat status;
    if (listen(fd, LISTENER_BACKLOG) || lstat(temporary, &status) ||
        rename(temporary, listener->path))
        return describe_failure(errno, listener->path, error);
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    return OK;
}

/* On success the file `temporary_out`, beside the path, is the socket's. */
static enum error_code bind_beside(int fd, const char *path, char temporary_out[TEMPORARY_SIZE],
                                   struct error *error)
{
    snprintf(temporary_out, TEMPORARY_SIZE, "%s.%x", path, (unsigned)getpid());
    unlink(temporary_out);
    struct sockaddr_un address = address_of(temporary_out);
    /* The mode is right from the first moment on; a chmod by name could hit something else. */
    mode_t mask = umask(0777 & ~LISTENER_MODE);
    int failed = bind(fd, (struct sockaddr *)&address, sizeof address);
    int reason = errno;
    umask(mask);
    return failed ? describe_failure(reason, path, error) : OK;
}

static enum error_code bind_and_publish(int fd, struct listener *listener, struct error *error)
{
    char temporary[TEMPORARY_SIZE];
    enum error_code code = bind_beside(fd, listener->path, temporary, error);
    if (code)
        return code;
    code = publish(fd, temporary, listener, error);
    if (code)
        unlink(temporary);
    return code;
}

enum error_code listener_try(const char *path, struct error *error)
{
    char temporary[TEMPORARY_SIZE];
    enum error_code code = listener_check_path(path, error);
    if (!code)
        code = check_free(path, error);
    if (code)
        return code;
    int fd = unix_socket();
    if (fd < 0)
        return error_set_errno(error, errno, "create a socket");
    code = bind_beside(fd, path, temporary, error);
    if (!code)
        unlink(temporary);
    file_close(&fd);
    return code;
}

enum error_code listener_open(const char *path, struct listener *listener_out, struct error *error)
{
    struct listener listener = {.fd = -1};
    enum error_code code = listener_check_path(path, error);
    if (!code)
        code = check_free(path, error);
    if (code)
        return code;
    snprintf(listener.path, sizeof listener.path, "%s", path);
    listener.fd = unix_socket();
    if (listener.fd < 0)
        return error_set_errno(error, errno, "create a socket");
    code = bind_and_publish(listener.fd, &listener, error);
    if (code) {
        file_close(&listener.fd);
        return code;
    }
    *listener_out = listener;
    return OK;
}

void listener_adopt(int fd, const char *path, struct listener *listener_out)
{
    *listener_out = (struct listener){.fd = fd, .adopted = true};
    snprintf(listener_out->path, sizeof listener_out->path, "%s", path);
}

void listener_close(struct listener *listener)
{
    struct stat status;
    if (listener->fd < 0)
        return;
    if (!listener->adopted && lstat(listener->path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode)
        unlink(listener->path);
    file_close(&listener->fd);
}
