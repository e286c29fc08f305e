/*
 * tests/tools/played.h - a daemon played by a test, for what a real one would never do, or not at
 * the right moment.
 *
 * A play is a function that runs in a thread of its own and speaks to the clients that connect, one
 * after the other. What it expects of them is asserted.
 */
#ifndef DAYBOOK_TESTS_TOOLS_PLAYED_H
#define DAYBOOK_TESTS_TOOLS_PLAYED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "tools/client/wire.h"

struct played {
    int listen_fd;
    void (*play)(struct played *played);
    pthread_t thread;
    const char *log;   /* 16 digits; a default */
    uint64_t durable;  /* in the welcome */
    size_t piece;      /* send so many bytes at a time; 0: all at once */
    struct buffer frame; /* the last that was read, without its length */
};

/* Listen at scratch_path("played.sock"), and play. All but what a test has set is zero. */
void played_start(struct played *played, void (*play)(struct played *played));
/* Wait for the end of the play. */
void played_end(struct played *played);

/* Accept a connection, and take its hello. */
int played_accept(struct played *played);
/* The same, and welcome it. */
int played_welcome(struct played *played);
/* Read until the client has closed, and close. */
void played_await_end(int fd);
void played_send(struct played *played, int fd, const void *data, size_t bytes);
/* Send and empty the buffer. */
void played_send_buffer(struct played *played, int fd, struct buffer *frames);
/* The next frame: a cursor behind its type, valid until the next call. */
struct msgpack_cursor played_read(struct played *played, int fd, enum wire_type *type_out,
                                  uint32_t *left_out);
/* Is there somebody who wants to connect? */
bool played_is_wanted(const struct played *played);

#endif
