/*
 * tools/daybookd/subscriber.h - one client that subscribes: its socket, what it asked for, how far
 * it has got.
 *
 * What goes out is frames (or lines) from a ring, and between them small answers of its own. A
 * frame that the socket took in part is not kept: it is known which events it has and how many of
 * its bytes have gone, and the rest is taken from the ring again, or from the log when the ring has
 * moved on. (When the log has lost those events meanwhile, the connection ends in the middle.) So a
 * subscriber that does not read costs no memory, for as long as it likes.
 *
 * Invariants
 *   - `position`: everything up to it has been handed over in whole frames.
 *   - Never more events are sent than credit was given.
 *   - Answers are put behind the frame that is on its way, and in front of the next.
 *
 * The bus thread's. subscriber.c takes what comes, subscriber_send.c gives what goes.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_SUBSCRIBER_H
#define DAYBOOK_TOOLS_DAYBOOKD_SUBSCRIBER_H

#include <sys/socket.h>

#include "core/bytes.h"
#include "tools/client/wire_subscription.h"
#include "tools/daybookd/group.h"
#include "tools/daybookd/list.h"
#include "tools/daybookd/log_stream.h"
#include "tools/daybookd/ring.h"

struct bus;
struct bus_arrival;
struct bus_cursor;
struct bus_group;
struct bus_listing;
struct feed;
struct history;

enum {
    SUBSCRIBER_UNIT_MAX = 65536,   /* a frame or line of a subscriber */
    SUBSCRIBER_ANSWERS_MAX = 8192, /* unsent: beyond this nothing more is read */
    SUBSCRIBER_FRAME_BYTES = 131072,
    SUBSCRIBER_TURN_BYTES = 524288,
    SUBSCRIBER_UNIT_MS = 10000, /* from a frame's or line's first byte to its last */
    SUBSCRIBER_LAST_MS = 2000,  /* for the last words */
};

/* The frame that is on its way. */
struct subscriber_frame {
    bool begun;
    uint64_t after, last_event; /* its events are those of the ring behind the one, to the other */
    uint64_t last;              /* what it tells: looked at up to here */
    uint32_t count;
    size_t bytes, sent; /* with the head */
    uint8_t head[WIRE_EVENTS_HEAD_BYTES];
    size_t head_bytes; /* 0 in line mode */
};

struct subscriber {
    struct bus *bus;
    int fd;
    uint64_t number; /* of the connection */
    struct ucred peer;
    bool lines;

    struct buffer input; /* half a frame or line, and what came behind it */
    bool readable;       /* the socket may have more */
    bool ended;          /* the client sends no more */
    bool hung_up;        /* … nor reads: what it has sent is taken, then it is gone */
    int64_t unit_since_ns; /* 0: none has begun, or it waits for us */
    int64_t held_since_ns; /* so long it has kept memory for what it has not been served of */

    bool subscribed; /* … has been asked for */
    bool searching;  /* … and the event of that time, where it begins, is still to be found */
    bool begun;      /* … and has been answered */
    bool caught_up;  /* … and it has been told so, and has not fallen behind since */
    enum wire_start start;
    int64_t since_ns;
    struct log_stream_search search;
    uint64_t start_after; /* unless searched for */
    struct bus_cursor *cursor;
    struct bus_group *group;   /* it is a member; then it has no feed */
    struct group_member share; /* … once begun: what it has of the group's */
    struct list_link in_group;
    struct buffer given; /* … the frame that is being made for it */
    uint32_t given_count;
    uint32_t settlings; /* … asked for, and not answered before that is durable */
    struct bus_listing *listing; /* of cursors, is being made for it */
    struct feed *feed; /* while subscribed */
    bool limited;      /* by credit */
    uint64_t credit;
    uint64_t position;
    uint64_t told; /* the client knows that everything up to here was looked at */
    uint64_t delivered; /* events */
    uint64_t bytes;     /* that its socket has taken */
    struct history *history;       /* which reads the log for it */

    struct subscriber_frame frame;
    struct buffer answers;
    size_t answers_sent;
    bool blocked; /* the socket takes no more; epoll tells when it does */
    bool closing; /* what is on its way goes out, then it ends */
    bool gone;    /* it is over: to be freed at the end of the round */
    int64_t closing_since_ns;

    struct list_link in_all;
    struct list_link in_readable; /* has input to be looked at */
    struct list_link in_place;    /* its feed's attached, or the bus's behind, or at_end */
};

/* Takes over what the arrival has. NULL: no memory; the arrival's socket is closed then. */
struct subscriber *subscriber_create(struct bus *bus, struct bus_arrival *arrival);
void subscriber_free(struct subscriber *subscriber);

/* Read and take what the client has sent: a bounded piece of work. True: there may be more. */
bool subscriber_take_input(struct subscriber *subscriber);
/* Look at the deadlines; tell how far the log was looked at when nothing has been sent. */
void subscriber_tick(struct subscriber *subscriber);

/* Last words, then the end. */
void subscriber_fail(struct subscriber *subscriber, const char *code, const char *text);
/* It is closing, and its socket may take what is left to say. */
void subscriber_end(struct subscriber *subscriber);
/* The end, at once: the client is gone, or cannot be told anything. */
void subscriber_drop(struct subscriber *subscriber);

/* Find out where it begins: who has no cursor, or whose cursor is new. */
void subscriber_find_start(struct subscriber *subscriber);
/* That is here, then; who has a cursor begins when that is made. */
void subscriber_found_start(struct subscriber *subscriber, uint64_t after);
/* Answer, and serve it from here on. */
void subscriber_begin(struct subscriber *subscriber, uint64_t after);

enum sending {
    SENDING_DONE,      /* all that the ring has */
    SENDING_MORE,      /* enough for one turn */
    SENDING_BLOCKED,   /* the socket takes no more */
    SENDING_NO_CREDIT,
    SENDING_OUTSIDE, /* the ring no longer has what comes next */
    SENDING_OVER,    /* it is gone, or going */
};
/* Send what is due from the ring; NULL: only what is not events. */
enum sending subscriber_send(struct subscriber *subscriber, const struct ring *ring);

/* For who answers: put it behind subscriber->answers and say how that went. */
void subscriber_answered(struct subscriber *subscriber, enum error_code encoded);

#endif
