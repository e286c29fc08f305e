/* A datagram for each event: its line of JSON. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/replay_target_inside.h"

enum { SEND_BUFFER_BYTES = 1 << 20, NAME_BYTES = 256 };

struct udp_target {
    struct replay_target base;
    int fd;
    struct buffer line;
};

/* "HOST:PORT", "[::1]:PORT" */
static enum error_code split(const char *address, char host[NAME_BYTES], const char **port_out,
                             struct error *error)
{
    const char *colon = strrchr(address, ':');
    const char *begin = address, *end = colon;
    if (colon && address[0] == '[' && colon[-1] == ']') {
        begin++;
        end--;
    }
    if (!colon || end <= begin || end - begin >= NAME_BYTES || colon[1] == '\0')
        return error_set(error, ERROR_INVALID, "--to 'udp://%s' is not of the form udp://HOST:PORT",
                         address);
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *port_out = colon + 1;
    return OK;
}

static int connect_first(const struct addrinfo *found)
{
    for (; found; found = found->ai_next) {
        int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
        if (fd < 0)
            continue;
        if (connect(fd, found->ai_addr, found->ai_addrlen) == 0)
            return fd;
        int why = errno;
        close(fd);
        errno = why;
    }
    return -1;
}

static enum error_code connect_to(const char *address, int *fd_out, struct error *error)
{
    char host[NAME_BYTES];
    const char *port = "";
    enum error_code code = split(address, host, &port, error);
    if (code)
        return code;
    struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found;
    int failure = getaddrinfo(host, port, &wanted, &found);
    if (failure)
        return error_set(error, ERROR_INVALID, "--to 'udp://%s': %s", address,
                         gai_strerror(failure));
    int fd = connect_first(found);
    int why = errno;
    freeaddrinfo(found);
    if (fd < 0)
        return error_set_errno(error, why, "send to 'udp://%s'", address);
    int bytes = SEND_BUFFER_BYTES; /* the kernel gives what it allows */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    *fd_out = fd;
    return OK;
}

/* Wait until there is room. False: there was none in all that time. */
static bool wait_for_room(int fd, int why, int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    if (left_ns <= 0 || interrupt_seen())
        return false;
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (why == ENOBUFS) /* the device's queue, of which poll knows nothing */
        clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
    else
        poll(&ready, 1, (int)(left_ns / 1000000) + 1);
    return true;
}

static void drop(struct udp_target *target, const struct replay_event *event, int why)
{
    if (why == EMSGSIZE) {
        target->base.counts.too_large++;
        replay_target_say(&target->base, event,
                          "is dropped: its %zu bytes of JSON do not fit into a datagram",
                          target->line.size);
    } else {
        target->base.counts.no_room++;
        target->base.stalled = true;
        replay_target_say(&target->base, event, "is dropped: the network takes no datagrams");
    }
}

/* News about an earlier datagram: this one is still to be sent. */
static void note_unreachable(struct udp_target *target, const struct replay_event *event)
{
    if (target->base.counts.unreachable++ == 0)
        replay_target_say(&target->base, event,
                          "finds nobody at the other end: an earlier datagram was refused there");
}

static enum error_code send_line(struct udp_target *target, const struct replay_event *event,
                                 bool *sent_out, struct error *error)
{
    const struct buffer *line = &target->line;
    int64_t deadline_ns = 0;
    for (;;) {
        if (send(target->fd, line->data, line->size, MSG_DONTWAIT) >= 0) {
            target->base.stalled = false;
            *sent_out = true;
            return OK;
        }
        if (errno == ECONNREFUSED) {
            note_unreachable(target, event);
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE) {
            int why = errno;
            if (deadline_ns == 0)
                deadline_ns = replay_target_deadline_ns(&target->base);
            if (why == EMSGSIZE || !wait_for_room(target->fd, why, deadline_ns)) {
                drop(target, event, why);
                *sent_out = false;
                return OK;
            }
        } else if (errno != EINTR) {
            return error_set_errno(error, errno, "send a datagram");
        }
    }
}

static enum error_code add(struct replay_target *base, const struct replay_event *event,
                           bool *sent_out, struct error *error)
{
    struct udp_target *target = (struct udp_target *)base;
    target->line.size = 0;
    enum error_code code = buffer_printf(&target->line, error, "{\"seq\":%llu,",
                                         (unsigned long long)event->event.sequence);
    if (!code)
        code = buffer_append(&target->line, event->text, event->text_bytes, error);
    return code ? code : send_line(target, event, sent_out, error);
}

/* News about the last datagram, which no later one can bring. */
static enum error_code finish(struct replay_target *base, bool hurry, struct error *error)
{
    struct udp_target *target = (struct udp_target *)base;
    int why = 0;
    socklen_t size = sizeof why;
    (void)hurry;
    (void)error;
    getsockopt(target->fd, SOL_SOCKET, SO_ERROR, &why, &size);
    base->counts.unreachable += why == ECONNREFUSED;
    return OK;
}

static void close_target(struct replay_target *base)
{
    struct udp_target *target = (struct udp_target *)base;
    close(target->fd);
    buffer_release(&target->line);
    free(target);
}

static const struct replay_target_kind kind = {
    .add = add,
    .flush = replay_target_flushed,
    .finish = finish,
    .close = close_target,
    .batch = 1,
};

enum error_code replay_target_udp(const struct replay_target_options *options, const char *address,
                                  struct replay_target **target_out, struct error *error)
{
    struct udp_target *target = calloc(1, sizeof *target);
    if (!target)
        return error_set(error, ERROR_MEMORY, "no memory to send datagrams");
    target->base.kind = &kind;
    target->base.verb = options->verb;
    enum error_code code = connect_to(address, &target->fd, error);
    if (code) {
        free(target);
        return code;
    }
    *target_out = &target->base;
    return OK;
}
