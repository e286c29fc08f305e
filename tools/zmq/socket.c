#include "tools/zmq/socket.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <zmq.h>

enum { FDS_MAX = 80 };

enum error_code socket_fail(struct error *error, const char *format, ...)
{
    int reason = errno;
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(error, reason == EADDRINUSE ? ERROR_EXISTS : ERROR_IO, "%s: %s", text,
                     zmq_strerror(reason));
}

enum error_code socket_set(void *socket, int option, int value, struct error *error)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value))
        return socket_fail(error, "set option %d of a socket to %d", option, value);
    return OK;
}

enum error_code socket_bind(void *socket, const char *address, struct error *error)
{
    if (zmq_bind(socket, address))
        return socket_fail(error, "cannot listen at '%s'", address);
    return OK;
}

void socket_close(void *socket, int linger_ms)
{
    if (!socket)
        return;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(socket);
}

enum error_code socket_wait(void *socket, const int *fds, int fd_count, int64_t timeout_ns,
                            struct error *error)
{
    zmq_pollitem_t items[FDS_MAX + 1];
    int count = 0;
    assert(fd_count <= FDS_MAX);
    if (socket)
        items[count++] = (zmq_pollitem_t){.socket = socket, .events = ZMQ_POLLIN};
    for (int i = 0; i < fd_count; i++)
        if (fds[i] >= 0)
            items[count++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    long timeout_ms = timeout_ns <= 0 ? 0 : (long)((timeout_ns + 999999) / 1000000);
    if (zmq_poll(items, count, timeout_ms) < 0 && errno != EINTR)
        return socket_fail(error, "wait for messages");
    return OK;
}
