/*
 * tools/client/subscription.h - the inside of struct daybook_subscription, for the files of the
 * library.
 *
 *     subscription.c          making and ending one, questions
 *     subscription_link.c     hello, subscribe, and again after a lost connection
 *     subscription_frames.c   what comes: answers are taken at once, the stream's frames are given
 *     subscription_stream.c   the stream's frames as events, caught up, lost: next
 *     subscription_settle.c   commit, accept, release, flush
 *
 * Nothing waits but next, flush and subscribe, and they only in subscription_pump, until a given
 * moment. So the state below is all there is between two calls, in the middle of a reconnect, too.
 *
 * What makes the stream whole over lost connections, without a group:
 *   - `position` only grows as events are given, or told lost, or passed over by the daemon's word.
 *   - A new connection begins behind `position`; with a cursor, where the daemon says (it knows the
 *     cursor, which may have been moved by somebody), and what was given already is dropped.
 *   - Sequences of one connection grow, or it is no Daybook daemon.
 *   - It is the same log, and it has not become shorter.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_SUBSCRIPTION_H
#define DAYBOOK_TOOLS_CLIENT_SUBSCRIPTION_H

#include "tools/client/failure.h"
#include "tools/client/link.h"
#include "tools/client/wire_subscription.h"

enum subscription_state {
    SUBSCRIPTION_OFF,
    SUBSCRIPTION_WELCOMING,   /* hello was sent */
    SUBSCRIPTION_SUBSCRIBING, /* subscribe was sent */
    SUBSCRIPTION_STREAMING,
};

/* Ranges that are accepted, or released, and were not sent yet. */
struct subscription_ranges {
    struct wire_range *ranges; /* room for WIRE_RANGES_MAX */
    uint32_t count;
};

struct daybook_subscription {
    struct daybook_subscription_options options; /* defaults filled in; its strings are in texts */
    char *texts;
    struct wire_subscribe request; /* as the first one; its texts are in texts */
    uint64_t window;
    struct link link;
    struct buffer output; /* frames of ours that the socket has not taken yet */
    struct daybook_subscription_counts counts;

    enum subscription_state state;
    int64_t retry_at_ns;   /* OFF: not before */
    int64_t attempt_ns;    /* WELCOMING, SUBSCRIBING: until then */
    int64_t patience_ns;   /* not STREAMING: until then; 0: not begun */
    int pause_ms;          /* before the next attempt */
    bool streamed;         /* something has come of the stream on this connection */
    bool begun;            /* subscribed, once at least */
    bool told_lost;        /* on_connection was told so */
    struct daybook_error gone;  /* why there is no connection */
    struct daybook_error ended; /* why there will never be one again; code OK: there may */
    char log[WIRE_LOG_ID_TEXT + 1]; /* whose events these are */

    uint64_t position;     /* see above; 0 in a group */
    uint64_t highest;      /* sequence that the log has, because it was given: also in a group */
    uint64_t stream_last;  /* how far the frames that were read to their end go */
    uint64_t seen;         /* how far the frames that have come on this connection go */
    uint64_t credit_due;   /* events done with since credit was given last */
    bool giving;           /* the event that was given last still counts as on its way */
    bool in_frame;
    struct wire_events frame; /* the present one: what is left of it */
    struct buffer held;       /* its events, when they had to leave the link's buffer */
    struct buffer backlog;    /* whole frames of the stream, which flush found before an answer */
    size_t backlog_taken;
    struct daybook_lost lost;
    char lost_cause[48];
    char lost_text[400];

    uint64_t commit_wanted; /* by the program; the daemon's word is counts.committed */
    uint64_t commit_sent;   /* on this connection */
    int64_t settled_ns;     /* when a commit, accept or release was sent last */
    struct subscription_ranges accepted, released;
    uint64_t settle_sent, settle_answered; /* ids */
    bool settle_lost; /* some that were accepted or released got no answer */
};

/* ---- subscription.c ---- */

/* As daybook_subscribe, but not connected. */
enum daybook_code subscription_create(const struct daybook_subscription_options *options,
                                      struct daybook_subscription **subscription_out,
                                      struct daybook_error *error);

/* ---- subscription_link.c ---- */

/*
 * One step, after subscription_receive has found nothing: connect when it is time, send what is to
 * be sent, and wait until something has come, or `deadline_ns`. DAYBOOK_OK: look for frames.
 * DAYBOOK_END: the deadline has come. DAYBOOK_UNREACHABLE: no daemon for retry_timeout_ms. Others
 * as subscription_lose.
 */
enum daybook_code subscription_pump(struct daybook_subscription *sub, int64_t deadline_ns,
                                    struct daybook_error *error);
/* The link is open: begin with a hello. Failures as subscription_lose. */
enum daybook_code subscription_greet(struct daybook_subscription *sub,
                                     struct daybook_error *error);
/* Send what is to be sent; a lost connection is left for subscription_receive to find. */
void subscription_send(struct daybook_subscription *sub);
/*
 * The connection is lost. DAYBOOK_END when `why` may be cured by another; else `why`'s code, which
 * is final but for DAYBOOK_MEMORY and DAYBOOK_IO.
 */
enum daybook_code subscription_lose(struct daybook_subscription *sub,
                                    const struct daybook_error *why, struct daybook_error *error);
/* Frames that belong to connecting. What they return is for subscription_lose. */
enum daybook_code subscription_take_welcome(struct daybook_subscription *sub,
                                            struct msgpack_cursor cursor, uint32_t left,
                                            struct daybook_error *error);
enum daybook_code subscription_take_subscribed(struct daybook_subscription *sub,
                                               struct msgpack_cursor cursor, uint32_t left,
                                               struct daybook_error *error);

/* ---- subscription_frames.c ---- */

/* A frame of the stream: events, caught_up or lost. */
struct subscription_frame {
    enum wire_type type;
    uint32_t left;
    struct msgpack_cursor cursor; /* behind the type */
    struct msgpack_cursor whole;
};

/*
 * The next frame of the stream that has come (or WIRE_SUBSCRIBED: there is a stream now), valid
 * until the next call. DAYBOOK_END: none yet. Others as subscription_lose.
 */
enum daybook_code subscription_receive(struct daybook_subscription *sub,
                                       struct subscription_frame *frame_out,
                                       struct daybook_error *error);
/* The same, but what flush has kept comes first. */
enum daybook_code subscription_next_frame(struct daybook_subscription *sub,
                                          struct subscription_frame *frame_out,
                                          struct daybook_error *error);
/*
 * Take in all answers that have come, and keep frames of the stream for later. DAYBOOK_TIMEOUT:
 * there are too many of them to keep.
 */
enum daybook_code subscription_look_ahead(struct daybook_subscription *sub,
                                          struct daybook_error *error);
/* The daemon said something that no Daybook daemon says; for subscription_lose. */
enum daybook_code subscription_confused(struct daybook_error *error, const char *what);

/* ---- subscription_stream.c ---- */

/* For events that are done with, when there are enough of them. */
void subscription_give_credit(struct daybook_subscription *sub);

/* ---- subscription_settle.c ---- */

/* Send commits and settlings that have gathered long enough; or, at once, all there are. */
void subscription_settle(struct daybook_subscription *sub, bool at_once);
/* When something will have gathered long enough; INT64_MAX: nothing is there to send. */
int64_t subscription_settle_due_ns(const struct daybook_subscription *sub);
enum daybook_code subscription_take_committed(struct daybook_subscription *sub,
                                              struct msgpack_cursor cursor, uint32_t left,
                                              struct daybook_error *error);
enum daybook_code subscription_take_settled(struct daybook_subscription *sub,
                                            struct msgpack_cursor cursor, uint32_t left,
                                            struct daybook_error *error);
/* A connection has ended: what was sent on it and not answered. */
void subscription_settle_anew(struct daybook_subscription *sub);

#endif
