#include "tests/tools/played.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/scratch.h"

static void *run(void *context)
{
    struct played *played = context;
    played->play(played);
    return NULL;
}

void played_start(struct played *played, void (*play)(struct played *played))
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path("played.sock"));
    played->play = play;
    if (!played->log)
        played->log = "0011223344556677";
    played->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(played->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(played->listen_fd, 8), 0);
    cr_assert_eq(pthread_create(&played->thread, NULL, run, played), 0);
}

void played_end(struct played *played)
{
    pthread_join(played->thread, NULL);
    close(played->listen_fd);
    buffer_release(&played->frame);
}

int played_accept(struct played *played)
{
    enum wire_type type;
    uint32_t left;
    int fd = accept(played->listen_fd, NULL, NULL);
    cr_assert_geq(fd, 0);
    played_read(played, fd, &type, &left);
    cr_assert_eq(type, WIRE_HELLO);
    return fd;
}

int played_welcome(struct played *played)
{
    struct buffer frame = {0};
    int fd = played_accept(played);
    struct wire_welcome welcome = {.version = WIRE_VERSION,
                                   .server = {"test", 4},
                                   .log = {played->log, WIRE_LOG_ID_TEXT},
                                   .durable = played->durable,
                                   .frame_max = WIRE_FRAME_MAX,
                                   .events_max = WIRE_EVENTS_MAX};
    wire_write_welcome(&frame, &welcome, NULL);
    played_send_buffer(played, fd, &frame);
    return fd;
}

void played_await_end(int fd)
{
    char rest[4096];
    while (recv(fd, rest, sizeof rest, 0) > 0)
        continue;
    close(fd);
}

/* In pieces it is the receiver who must not care where one ends; so nobody waits between them. */
void played_send(struct played *played, int fd, const void *data, size_t bytes)
{
    size_t piece = played->piece > 0 ? played->piece : bytes;
    for (size_t at = 0; at < bytes; at += piece) {
        size_t size = bytes - at < piece ? bytes - at : piece;
        if (send(fd, (const char *)data + at, size, MSG_NOSIGNAL) != (ssize_t)size)
            return; /* A client that has gone. */
    }
}

void played_send_buffer(struct played *played, int fd, struct buffer *frames)
{
    played_send(played, fd, frames->data, frames->size);
    buffer_release(frames);
}

struct msgpack_cursor played_read(struct played *played, int fd, enum wire_type *type_out,
                                  uint32_t *left_out)
{
    uint8_t length[WIRE_LENGTH_BYTES];
    cr_assert_eq(recv(fd, length, sizeof length, MSG_WAITALL), (ssize_t)sizeof length);
    size_t size = wire_read_length(length);
    cr_assert_leq(size, WIRE_FRAME_MAX);
    played->frame.size = 0;
    cr_assert_eq(buffer_reserve(&played->frame, size, NULL), OK);
    cr_assert_eq(recv(fd, played->frame.data, size, MSG_WAITALL), (ssize_t)size);
    struct msgpack_cursor cursor = {played->frame.data, played->frame.data + size};
    cr_assert_eq(wire_read_type(&cursor, type_out, left_out, NULL), OK);
    return cursor;
}

bool played_is_wanted(const struct played *played)
{
    struct pollfd wanted = {.fd = played->listen_fd, .events = POLLIN};
    return poll(&wanted, 1, 0) > 0;
}
