#include "tools/client/link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/clock.h"
#include "tools/client/wire.h"

enum {
    READ_BYTES = 65536,
    QUEUE_FULL_PAUSE_NS = 5000000,
};

static enum error_code make_address(const char *path, struct sockaddr_un *address_out,
                                    struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = strlen(path);
    if (bytes == 0 || bytes >= sizeof address.sun_path)
        return error_set(error, ERROR_INVALID,
                         "the socket's path '%s' has %zu bytes; a Unix socket's may have 1 to %zu",
                         path, bytes, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, bytes);
    *address_out = address;
    return OK;
}

/* EAGAIN: the daemon's queue of connections is full for the moment. */
static int try_connect(int fd, const struct sockaddr_un *address, int64_t deadline_ns)
{
    while (connect(fd, (const struct sockaddr *)address, sizeof *address)) {
        int64_t now = clock_monotonic_ns();
        if ((errno != EAGAIN && errno != EINTR) || now >= deadline_ns)
            return errno;
        clock_sleep_until_ns(now + QUEUE_FULL_PAUSE_NS);
    }
    return 0;
}

enum error_code link_open(struct link *link, const char *path, int64_t deadline_ns,
                          struct error *error)
{
    struct sockaddr_un address;
    enum error_code code = make_address(path, &address, error);
    if (code)
        return code;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, errno, "create a socket");
    int failed = try_connect(fd, &address, deadline_ns);
    if (failed) {
        close(fd);
        error_set_errno(error, failed, "no daemon answers at '%s'", path);
        error->code = failed == EAGAIN ? ERROR_BUSY : ERROR_CLOSED;
        return error->code;
    }
    link->fd = fd;
    link->input.size = 0;
    link->taken = 0;
    return OK;
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    buffer_release(&link->input);
    link->taken = 0;
}

enum error_code link_send(struct link *link, const void *data, size_t bytes, size_t *sent_out,
                          struct error *error)
{
    ssize_t sent;
    do
        sent = send(link->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
        return error_set(error, ERROR_CLOSED, "the connection to the daemon is lost: %s",
                         strerrordesc_np(errno));
    *sent_out = sent < 0 ? 0 : (size_t)sent;
    return OK;
}

/* A whole frame at the front of what has been read? */
static enum error_code take_frame(struct link *link, struct msgpack_cursor *frame_out,
                                  struct error *error)
{
    size_t bytes = link->input.size - link->taken;
    if (bytes < WIRE_LENGTH_BYTES)
        return ERROR_END;
    const uint8_t *at = link->input.data + link->taken;
    size_t length = wire_read_length(at);
    if (length > WIRE_FRAME_MAX)
        return error_set(error, ERROR_INVALID, "the daemon sent a frame of %zu bytes", length);
    if (bytes - WIRE_LENGTH_BYTES < length)
        return ERROR_END;
    link->taken += WIRE_LENGTH_BYTES + length;
    frame_out->at = at + WIRE_LENGTH_BYTES;
    frame_out->end = frame_out->at + length;
    return OK;
}

static enum error_code read_more(struct link *link, struct error *error)
{
    buffer_consume(&link->input, link->taken);
    link->taken = 0;
    enum error_code code = buffer_reserve(&link->input, READ_BYTES, error);
    if (code)
        return code;
    ssize_t got;
    do
        got = recv(link->fd, link->input.data + link->input.size, READ_BYTES, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        link->input.size += (size_t)got;
        return OK;
    }
    if (got < 0 && errno == EAGAIN)
        return ERROR_END;
    return error_set(error, ERROR_CLOSED, "the connection to the daemon is lost: %s",
                     got == 0 ? "it was closed" : strerrordesc_np(errno));
}

enum error_code link_receive(struct link *link, struct msgpack_cursor *frame_out,
                             struct error *error)
{
    enum error_code code;
    while ((code = take_frame(link, frame_out, error)) == ERROR_END) {
        code = read_more(link, error);
        if (code)
            break;
    }
    return code;
}

void link_wait(const struct link *link, bool for_sending, int timeout_ms)
{
    struct pollfd wanted = {.fd = link->fd,
                            .events = (short)(for_sending ? POLLIN | POLLOUT : POLLIN)};
    poll(&wanted, 1, timeout_ms);
}
