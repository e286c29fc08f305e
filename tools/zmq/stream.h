/*
 * tools/zmq/stream.h - one subscription of the log, and its events' way to the PUB socket.
 *
 * An event that the socket has no room for stays in hand, and nothing more is taken from the daemon
 * until it has left: so the log is the buffer of a slow subscriber, and no memory is.
 *
 * One thread.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_STREAM_H
#define DAYBOOK_TOOLS_ZMQ_STREAM_H

#include "core/bytes.h"
#include "tools/client/daybook.h"
#include "tools/daybookd/notices.h"

struct stream_options {
    const char *directory; /* as in daybook_options; borrowed, and the next */
    const char *socket;
    const char *cursor; /* NULL: none */
    enum daybook_start start;
    uint64_t after;
    int64_t since_ns;
    const char *head; /* in front of the topic, in the first frame */
    const char *topic; /* only topics that begin so */
    bool history; /* asked for by somebody: a third frame has the sequence, and little is said */
    struct notices *notices;
};

struct stream {
    struct stream_options options;
    struct daybook_subscription *subscription; /* NULL: not yet subscribed */
    char *head, *topic;                        /* the options', copied */
    struct buffer frame, body;                 /* of the event in hand */
    bool in_hand;
    uint64_t sequence; /* of it */
    uint64_t sent;     /* everything up to here has left, or is not for us */
    uint64_t events;   /* that have left */
    bool away;         /* and it has been said that the daemon is */
};

enum stream_state {
    STREAM_MORE,  /* there may be more at once */
    STREAM_IDLE,  /* nothing is there now */
    STREAM_FULL,  /* an event is in hand that the socket has no room for */
    STREAM_AWAY,  /* the daemon is; to be tried again now and then */
    STREAM_ENDED, /* and the error says why, for good */
};

/* Copies head and topic. ERROR_MEMORY. On success, or not, release frees. */
enum error_code stream_init(struct stream *stream, const struct stream_options *options,
                            struct error *error);
/* Be subscribed: STREAM_IDLE, STREAM_AWAY or STREAM_ENDED. Waits for a moment at most. */
enum stream_state stream_open(struct stream *stream, struct error *error);
/* Send at most `events_max` events to the socket. Opens first, if need be. */
enum stream_state stream_pump(struct stream *stream, void *socket, unsigned events_max,
                              struct error *error);
/*
 * Send the event in hand to those who have room; the others miss it. `socket` is as stream_pump
 * found it.
 */
void stream_force(struct stream *stream, void *socket);
/* How long to wait, at most, before the next call of a stream in this state. */
int64_t stream_timeout_ns(enum stream_state state);
/* To wait for input at; -1: not connected. */
int stream_fd(const struct stream *stream);
void stream_release(struct stream *stream);

#endif
