/*
 * tools/daybookd/connection.h - one client: its socket, what it sent, what it will be told.
 *
 * A connection is worked on in turns: at most one read each, and no new frame or line once
 * CONNECTION_TURN_NS are over, so that many clients get equal shares. Nothing here waits. When it
 * cannot go on it says what it waits for: more bytes from the client, the client to read its
 * answers, room in the log or memory (stalled), or the examiner (away); while it waits for one of
 * the last three it is not read from, and the client's own sends begin to wait.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_CONNECTION_H
#define DAYBOOK_TOOLS_DAYBOOKD_CONNECTION_H

#include <sys/socket.h>

#include "core/event.h"
#include "tools/client/wire.h"
#include "tools/daybookd/answers.h"
#include "tools/daybookd/examiner.h"
#include "tools/daybookd/input.h"
#include "tools/daybookd/list.h"

struct server;

enum {
    CONNECTION_ANSWERS_MAX = 262144, /* unread answers beyond which we stop reading */
    CONNECTION_HELLO_MS = 2000,      /* until the hello is complete */
    CONNECTION_UNIT_MS = 10000,      /* from a frame's or line's first byte to its last */
    CONNECTION_UNREAD_MS = 10000,    /* without any answer being read, while some could be */
    CONNECTION_HOLD_MS = 1000, /* of both, when others need the memory: who is honest is done */
    CONNECTION_TURN_NS = 200000,
};

enum connection_mode {
    CONNECTION_NEW, /* nothing has come yet */
    CONNECTION_FRAMED,
    CONNECTION_LINES,
};

/* The framed protocol's part (session.c). */
struct session {
    bool welcomed;
    enum wire_ack_mode ack;
    char producer[EVENT_PRODUCER_BYTES_MAX];
    size_t producer_bytes;
};

/* The line mode's part (line.c). */
struct lines {
    uint64_t count;  /* of the line that is being read, from 1 */
    size_t searched; /* bytes of it that hold no newline */
    bool skipping;   /* it was too long and has been answered; its end is still to come */
};

/* Where its frame or line is that takes long to look through. */
enum away {
    AWAY_NOT,
    AWAY_QUEUED,
    AWAY_RUNNING, /* the examiner reads its input, which has to stay where it is */
    AWAY_BACK,    /* with a result that has not been used yet */
};

struct connection {
    struct server *server;
    int fd;
    uint64_t number; /* for the report */
    uint64_t place;  /* for epoll */
    struct ucred peer;
    enum connection_mode mode;
    struct session session;
    struct lines lines;
    struct input input;
    size_t input_wanted; /* bytes that the unit begun needs in all, as far as known */
    struct answers answers;
    size_t answers_counted; /* memory of theirs, as the server knows it */
    uint64_t events;        /* taken */
    enum away away;
    struct examiner_job examination; /* while it is away */

    bool readable;    /* the socket may have more for us */
    bool hung_up;     /* its end has been announced: read on until it comes */
    bool starved;     /* what is in `input` is not a whole frame or line */
    bool ended;       /* the client sends no more */
    bool closing;     /* nothing is read any more; closes when all answers have left */
    bool leaving;     /* it subscribes: once its answers have left, the bus has it */
    bool stalled;     /* waits for room in the log, or for memory */
    bool deaf;        /* the client reads no more; answers are dropped */
    bool awaits_room; /* epoll tells when the client has read answers */

    int64_t opened_ns;
    int64_t active_ns;        /* when bytes came last */
    int64_t unit_since_ns;    /* 0: no half frame is waiting for its rest */
    int64_t blocked_since_ns; /* 0: no answer is waiting for the client */

    int64_t credit_ns, credited_ns; /* of the network thread's time (turns.h) */
    bool cut_short;                 /* its last turn was, by the clock: there is more to do */

    struct list_link in_all;     /* in the order of their last bytes */
    struct list_link in_ready;   /* has work to do now */
    struct list_link in_away;    /* waits for the examiner */
    struct list_link in_waiting; /* has answers that wait for the log */
    struct list_link in_stalled;
};

/* Who is at the other end of the socket, by the kernel's word: as it was when it connected. */
struct ucred connection_peer(int fd);
/* Takes over `fd`, a non-blocking socket. */
enum error_code connection_create(struct server *server, int fd, uint64_t number,
                                  struct connection **connection_out, struct error *error);
/* Close at once. It must be in no list. */
void connection_free(struct connection *connection);

/* Read, take, answer: a bounded piece of work. */
void connection_turn(struct connection *connection);
/* Could another turn do something at once? */
bool connection_has_work(const struct connection *connection);
/* It subscribes, and everything before that has been answered. */
bool connection_may_leave(const struct connection *connection);
/* Nothing is left to do for it: to be freed. */
bool connection_is_over(const struct connection *connection);

/*
 * The last words: an error frame (in line mode an error line) behind the answers that are due
 * anyway, then the end.
 */
void connection_fail(struct connection *connection, const char *code, const char *text);
/* The same, without answers that still wait for the log. */
void connection_abort(struct connection *connection, const char *code, const char *text);
/*
 * The events that its waiting answers speak of were withdrawn, but for those that are durable: the
 * disk is full. A client that numbers its events, or that sends lines, is told where the refusal
 * begins by the end of the connection; any other gets its acks with refusals, and goes on. Who is
 * deaf may have had such answers: it ends as well when it may number its events, or something
 * behind them would be stored, and they, sent again, would pass for duplicates.
 */
void connection_withdraw(struct connection *connection, const char *text);
/*
 * As connection_abort, at once, because others need its memory or its place: who does not read is
 * cut off without a word. It has given up its memory then, and is over after its next turn.
 */
void connection_evict(struct connection *connection, const char *text);
/* Look at the deadlines. */
void connection_check_time(struct connection *connection, int64_t now_ns);

/* For session.c and line.c: an answer has been put behind answers.bytes; it waits for `sequence`.
 */
void connection_answer(struct connection *connection, enum error_code encoded, uint64_t sequence);

/* What a mode's take function says of the first frame or line in the bytes given to it. */
enum take {
    TAKE_DONE,  /* used: *bytes_out of them */
    TAKE_MORE,  /* it is not complete; it needs *bytes_out in all (as far as known) */
    TAKE_STALL, /* the log has no room now */
    TAKE_AWAY,  /* connection->examination says what has to be looked through first */
    TAKE_LEAVE, /* it subscribes: what is not used, this included, is for the bus */
    TAKE_STOP,  /* connection_fail has been called */
};

/* session.c */
enum take session_take(struct connection *connection, const uint8_t *data, size_t size,
                       size_t *bytes_out);
/* line.c */
enum take line_take(struct connection *connection, const uint8_t *data, size_t size,
                    size_t *bytes_out);
/* The client sends no more: `size` bytes are a last line without its newline. */
enum take line_take_last(struct connection *connection, const uint8_t *data, size_t size);

#endif
