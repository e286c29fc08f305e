/*
 * daybook.h - publish events to a Daybook daemon, subscribe to them, and read a log, from C.
 *
 *     struct daybook_error error;
 *     struct daybook *daybook;
 *     struct daybook_options options = {.producer = "meter-7"};
 *     if (daybook_connect(&options, &daybook, &error))
 *         return complain(error.text);
 *     uint64_t sequence;
 *     if (daybook_publish_json(daybook, "reading", DAYBOOK_TIME_NONE, "{\"kWh\":3.2}", &sequence,
 *                              &error))
 *         complain(error.text);
 *     daybook_close(daybook);
 *
 * Two ways to publish: daybook_publish waits until its one event is durable and gives its sequence;
 * daybook_send gathers events into frames, keeps many in flight, and reports each one's result
 * later (a thousand times faster). docs/protocol.md is what goes over the socket.
 *
 * Exactly once: with a producer's name every event carries a number. When the connection is lost,
 * the library connects again (with a growing pause, up to retry_timeout_ms) and sends again
 * whatever was not acknowledged, with the same numbers; the daemon stores none of them twice.
 * Without a name nobody can tell whether an unacknowledged event was stored: its result is
 * DAYBOOK_UNKNOWN, and it is not sent again, unless resend_anonymous accepts doubles.
 *
 * No threads, no signals, no output: everything happens inside the calls. One handle may be used by
 * one thread at a time. Text in errors is one sentence for people; codes are for programs.
 */
#ifndef DAYBOOK_H
#define DAYBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_VERSION "0.1.0"

#if defined(__GNUC__)
#define DAYBOOK_API __attribute__((visibility("default")))
#else
#define DAYBOOK_API
#endif

enum daybook_code {
    DAYBOOK_OK = 0,
    DAYBOOK_INVALID,     /* the caller's input breaks a rule; nothing was sent */
    DAYBOOK_REFUSED,     /* the daemon refused the event, and says why; it is not stored */
    DAYBOOK_NO_SPACE,    /* refused because the disk is full; it is not stored */
    DAYBOOK_UNREACHABLE, /* no daemon answers at the socket */
    DAYBOOK_UNKNOWN,     /* the connection was lost: the event may be stored or not */
    DAYBOOK_TIMEOUT,     /* no answer in time; what was taken is still on its way */
    DAYBOOK_REPLACED,    /* another program has this producer's name, or this cursor; final */
    DAYBOOK_PROTOCOL,    /* the other side does not speak our protocol, our version, or to us */
    DAYBOOK_NOT_FOUND,   /* no log in this directory */
    DAYBOOK_DAMAGED,     /* bytes on disk are not what was written */
    DAYBOOK_FOREIGN,     /* a healthy file, or log, that is not ours, or of a newer version */
    DAYBOOK_IO,          /* the system refused a read */
    DAYBOOK_MEMORY,
    DAYBOOK_END,       /* nothing more, for now */
    DAYBOOK_CAUGHT_UP, /* daybook_subscription_next: from here on events come as they happen */
    DAYBOOK_LOST,      /* daybook_subscription_next: events that cannot be given any more */
    DAYBOOK_CONFLICT,  /* the log is not as it was expected to be; nothing is stored */
};

struct daybook_error {
    enum daybook_code code;
    char text[760];
};

/* "No time given": the daemon's clock at arrival. */
#define DAYBOOK_TIME_NONE INT64_MIN

/* A topic is 1 to 255 bytes of [A-Za-z0-9_.:/-]; a payload any one msgpack value up to 1 MiB. */
struct daybook_event {
    uint64_t sequence; /* when reading, or subscribed; ignored when publishing */
    int64_t time_ns;   /* since 1970-01-01T00:00:00Z */
    const char *topic; /* not NUL-terminated */
    size_t topic_bytes;
    const void *payload;
    size_t payload_bytes;
    uint64_t number; /* the producer's own count; 0 when publishing: the library's next */
    uint64_t tag;    /* the caller's own mark, which comes back in the result; not sent */
    unsigned tries;  /* to a group's member: which try this is, from 1; otherwise 0 */
};

/* ---- Publishing --------------------------------------------------------------------------- */

enum daybook_ack {
    DAYBOOK_ACK_DURABLE = 0, /* survives a power cut */
    DAYBOOK_ACK_WRITTEN,     /* survives a crash of the daemon, not of the machine */
    DAYBOOK_ACK_NONE,        /* taken by the daemon; only refusals are answered */
};

struct daybook_result {
    uint64_t tag;
    uint64_t number;
    /*
     * DAYBOOK_OK, DAYBOOK_REFUSED, DAYBOOK_NO_SPACE or DAYBOOK_UNKNOWN; DAYBOOK_CONFLICT of what
     * daybook_publish_expecting gave up waiting for. A refused event's number is spent: to try
     * again, send the event as a new one.
     */
    enum daybook_code code;
    uint64_t sequence;  /* when stored now; 0 for a duplicate, and with DAYBOOK_ACK_NONE */
    bool duplicate;     /* it had been stored before, under the same number */
    const char *reason; /* why it was refused; "" otherwise. Valid during the call. */
};

/* Zero, everywhere, means the default. The strings are copied. */
struct daybook_options {
    const char *directory; /* $DAYBOOK_DIR, else ./daybook-data; only to find the socket */
    const char *socket;    /* $DAYBOOK_SOCKET, else <directory>/daybook.sock */
    const char *producer;  /* anonymous */
    const char *client;    /* "libdaybook/<version>": who connects, for the daemon's log */
    enum daybook_ack ack;
    unsigned connect_timeout_ms; /* 5 s: to reach the daemon and be welcomed, at daybook_connect */
    unsigned retry_timeout_ms;   /* 30 s: how long one call goes on reconnecting or waiting */
    unsigned batch_events;       /* 512, at most 4096: events in a frame */
    size_t batch_bytes;          /* 128 KiB: bytes in a frame */
    size_t window_bytes;         /* 4 MiB: not yet acknowledged; daybook_send waits beyond it */
    bool resend_anonymous;       /* without a producer: rather twice than not at all */
    /*
     * daybook_send keeps events until their frame is full, or poll or flush is called, even when
     * nothing is in flight: for who sends a few at a time and then calls one of them, as they are
     * committed together then. Otherwise the first leaves at once, and has a commit to itself.
     */
    bool gather;
    /*
     * Called for each event sent by daybook_send, and each that daybook_publish gave up waiting
     * for, in order, from inside send, poll, flush, publish and close. Must not call back into this
     * handle. May be NULL: then daybook_flush tells the first bad result, and daybook_count the
     * totals.
     */
    void (*on_result)(void *context, const struct daybook_result *result);
    void *context;
    /*
     * Called with false when the connection is lost and could not be had again at once, so that a
     * call may take up to retry_timeout_ms; with true when it is there again. May be NULL; the same
     * context and rules as for on_result.
     */
    void (*on_connection)(void *context, bool connected);
};

struct daybook;

/*
 * Connect and be welcomed. DAYBOOK_UNREACHABLE: nobody listens. `options` may be NULL.
 * The caller owns *daybook_out and must close it.
 */
DAYBOOK_API enum daybook_code daybook_connect(const struct daybook_options *options,
                                              struct daybook **daybook_out,
                                              struct daybook_error *error);

/*
 * Publish one event and wait until it is acknowledged. *sequence_out (may be NULL) is its sequence,
 * 0 when it was found stored already after a lost connection. Events sent before are acknowledged
 * then, too. DAYBOOK_TIMEOUT: it is still on its way; do not publish it again, but flush, which
 * tells its result as if it had been sent by daybook_send.
 */
DAYBOOK_API enum daybook_code daybook_publish(struct daybook *daybook,
                                              const struct daybook_event *event,
                                              uint64_t *sequence_out, struct daybook_error *error);
/* The same with texts that end in NUL; `json` is any one JSON value. */
DAYBOOK_API enum daybook_code daybook_publish_json(struct daybook *daybook, const char *topic,
                                                   int64_t time_ns, const char *json,
                                                   uint64_t *sequence_out,
                                                   struct daybook_error *error);

/* What the log has to be like. */
struct daybook_expectation {
    uint64_t last;     /* there is no event with a higher sequence … */
    const char *topic; /* … of a topic that this pattern matches ("trade.>"); NULL: whichever */
};
/*
 * Publish events that nobody else may have come before: all of them are stored, next to each other,
 * if the log is as expected, and none otherwise. Waits for everything sent before, and then for
 * them. *sequence_out (may be NULL) is that of the first one, 0 when they were found stored already
 * after a lost connection: with a producer's name that is safe. Without one they are never sent
 * again: DAYBOOK_UNKNOWN.
 * DAYBOOK_CONFLICT: somebody was faster; read on, decide anew, expect the sequence up to which you
 * have read. DAYBOOK_REFUSED: one of them breaks a rule, and none is stored. In both cases their
 * numbers are given to the next ones. DAYBOOK_INVALID: also when they do not fit into one frame: at
 * most 4096, of somewhat less than 1 MiB in all.
 */
DAYBOOK_API enum daybook_code daybook_publish_expecting(struct daybook *daybook,
                                                        const struct daybook_event *events,
                                                        size_t count,
                                                        const struct daybook_expectation *expected,
                                                        uint64_t *sequence_out,
                                                        struct daybook_error *error);

/*
 * Take one event for sending; its result comes later. DAYBOOK_OK: it was taken; everything else: it
 * was not, and the error says why (DAYBOOK_INVALID: this event is no good. DAYBOOK_UNKNOWN: the
 * connection was lost and events before this one got that result; send this one again).
 * While nothing is in flight it leaves at once (but see `gather`); otherwise it may wait in the
 * library for company until its frame is full, acknowledgements have come in, or poll or flush is
 * called: so call one of them before doing something else for long. Waits while the window is full.
 */
DAYBOOK_API enum daybook_code daybook_send(struct daybook *daybook,
                                           const struct daybook_event *event,
                                           struct daybook_error *error);
DAYBOOK_API enum daybook_code daybook_send_json(struct daybook *daybook, const char *topic,
                                                int64_t time_ns, const char *json, uint64_t tag,
                                                struct daybook_error *error);

/*
 * The numbers from `first` to `last` will never be sent: their events were dropped, `reason` (a
 * short text) says why. That goes into the log as an event of topic "_gap", numbered `last` + 1 and
 * sent like one of daybook_send with the tag 0, so that `daybook gaps` names the loss and its
 * cause. Later events get higher numbers. Who leaves the numbering to the library and has dropped
 * n events before they were given to it skips the numbers behind its last one:
 *
 *     daybook_count(daybook, &counts);
 *     daybook_report_gap(daybook, counts.last_number + 1, counts.last_number + n, "buffer full",
 *                        &error);
 *
 * DAYBOOK_INVALID: the client has no producer's name, or one of the numbers was given out already.
 */
DAYBOOK_API enum daybook_code daybook_report_gap(struct daybook *daybook, uint64_t first,
                                                 uint64_t last, const char *reason,
                                                 struct daybook_error *error);

/*
 * Send what has gathered and take in what has been acknowledged; waits up to `timeout_ms` for the
 * first acknowledgement when there is none yet (longer, when it has to reconnect). For event loops:
 * poll daybook_fd for input.
 */
DAYBOOK_API enum daybook_code daybook_poll(struct daybook *daybook, int timeout_ms,
                                           struct daybook_error *error);
DAYBOOK_API int daybook_fd(const struct daybook *daybook); /* -1 while not connected */

/*
 * Send what has gathered and wait until every event has its result. Without on_result it returns
 * the first bad result since the last flush; with it, DAYBOOK_OK means that all have been told.
 * DAYBOOK_TIMEOUT: no progress for retry_timeout_ms; flush may be called again.
 */
DAYBOOK_API enum daybook_code daybook_flush(struct daybook *daybook, struct daybook_error *error);

struct daybook_counts {
    uint64_t stored;
    uint64_t duplicates;
    uint64_t refused; /* for lack of space, too */
    uint64_t unknown;
    uint64_t unacknowledged; /* taken, and no result yet */
    uint64_t reconnects;
    uint64_t last_sequence; /* the highest that was given to one of ours */
    uint64_t last_number;   /* of the producer: given out here, or told by the daemon at connect */
};
DAYBOOK_API void daybook_count(const struct daybook *daybook, struct daybook_counts *counts_out);

/*
 * The daemon's counters: *map_out points at one msgpack map, valid until the next call on this
 * handle. docs/protocol.md names its keys.
 */
DAYBOOK_API enum daybook_code daybook_status(struct daybook *daybook, const void **map_out,
                                             size_t *map_bytes_out, struct daybook_error *error);

/* Free. Does not flush: what has no result yet gets DAYBOOK_UNKNOWN. Accepts NULL. */
DAYBOOK_API void daybook_close(struct daybook *daybook);

/* ---- Subscribing: history, then live, without a seam ---------------------------------------- */

/*
 * The daemon gives every event once it is durable, in the order of the log, from any point of it:
 *
 *     struct daybook_subscription_options options = {.cursor = "billing"};
 *     if (daybook_subscribe(&options, &subscription, &error))
 *         return complain(error.text);
 *     while ((code = daybook_subscription_next(subscription, -1, &event, &error)) != DAYBOOK_END)
 *         switch (code) {
 *         case DAYBOOK_OK:
 *             handle(&event);
 *             daybook_subscription_commit(subscription, event.sequence, &error);
 *             break;
 *         case DAYBOOK_CAUGHT_UP:
 *             break;
 *         case DAYBOOK_LOST:
 *             complain(error.text);
 *             break;
 *         default:
 *             return complain(error.text);
 *         }
 *
 * When the connection is lost, or the daemon, the library connects again inside of
 * daybook_subscription_next, with a growing pause, and goes on behind the last event that it gave:
 * none is lost, none comes twice, the order stays. With a cursor a new process goes on behind the
 * last commit. Who is slow is served from the disk later, and slows nobody else.
 *
 * A subscription is a connection of its own, used by one thread at a time; publishing while
 * subscribed takes a second handle, of daybook_connect.
 */
struct daybook_subscription;

enum daybook_start {
    DAYBOOK_START_DEFAULT = 0, /* latest; with a cursor: where it stands, else earliest */
    DAYBOOK_START_AFTER,       /* events with a sequence above `after` */
    DAYBOOK_START_SINCE,       /* from the first whose time is at or after `since_ns` */
    DAYBOOK_START_EARLIEST,    /* from the first that is left */
    DAYBOOK_START_LATEST,      /* only what becomes durable from now on */
};

/* Zero, everywhere, means the default. The strings are copied. */
struct daybook_subscription_options {
    const char *directory; /* as in daybook_options */
    const char *socket;
    const char *client;
    enum daybook_start start; /* with a cursor: only when that does not exist yet */
    uint64_t after;
    int64_t since_ns;
    const char *cursor; /* a name; the daemon keeps the position that is committed under it */
    /*
     * Patterns of topics, at most 64, and NULL behind the last: `*` matches any characters but the
     * dot, `?` one of them, `[a-f]` one of a set and `[!a-f]` one that is not in it, `>` at the end
     * one part or more ("signal.*", "trade.>", "shard-[0-3]"). Else all topics.
     */
    const char *const *topics;
    const char *where; /* a SQL expression over seq, ts, time, topic, payload and its fields */
    /*
     * With a cursor: be one of the group of its subscribers. Each event goes to one of them, which
     * has to accept it within ack_timeout_ms; otherwise, or when it goes away or releases the
     * event, another gets it, and after so many `tries` it is stored on topic "_dead.<cursor>".
     * Going away costs a try of the one event that it was given first of those it has not settled.
     */
    bool shared;
    unsigned ack_timeout_ms; /* 30 s, at most a day */
    unsigned tries;          /* 5, at most 100 */
    /* How many events may be on their way to here: 8192, or in a group 16. */
    unsigned window_events;
    unsigned connect_timeout_ms; /* 5 s: to reach the daemon and be welcomed */
    unsigned retry_timeout_ms;   /* 30 s: how long to go on connecting again, or waiting in flush */
    /* As in daybook_options, from inside of subscribe, next and flush. */
    void (*on_connection)(void *context, bool connected);
    void *context;
};

/*
 * Connect, and subscribe. DAYBOOK_UNREACHABLE: nobody listens. DAYBOOK_INVALID: an option breaks a
 * rule, as the daemon may be who says (where). DAYBOOK_REPLACED: the cursor is in use elsewhere.
 * The caller owns *subscription_out and must close it.
 */
DAYBOOK_API enum daybook_code
daybook_subscribe(const struct daybook_subscription_options *options,
                  struct daybook_subscription **subscription_out, struct daybook_error *error);

/*
 * The next event, valid until the next call on this subscription; waits for it up to `timeout_ms`,
 * or for ever when that is negative.
 *
 * DAYBOOK_END: there is none yet. DAYBOOK_CAUGHT_UP: everything that was durable has been given;
 * comes again whenever the subscription had fallen behind. DAYBOOK_LOST: the log does not have some
 * events any more, which would have come now; daybook_subscription_lost says which; the next call
 * goes on behind them. DAYBOOK_UNREACHABLE: no daemon for retry_timeout_ms; the next call tries
 * again. DAYBOOK_REPLACED: another subscriber has taken the cursor. DAYBOOK_FOREIGN,
 * DAYBOOK_DAMAGED: after a lost connection there is another log, or one that ends before what was
 * given already. DAYBOOK_INVALID, DAYBOOK_PROTOCOL. The last five are final; after DAYBOOK_MEMORY
 * and DAYBOOK_IO the next call goes on. Signals do not end the wait.
 *
 * For event loops: poll daybook_subscription_fd for input, then call with timeout 0 until
 * DAYBOOK_END; and call now and then while there is no connection.
 */
DAYBOOK_API enum daybook_code daybook_subscription_next(struct daybook_subscription *subscription,
                                                        int timeout_ms,
                                                        struct daybook_event *event_out,
                                                        struct daybook_error *error);
/* -1 while not connected. */
DAYBOOK_API int daybook_subscription_fd(const struct daybook_subscription *subscription);

struct daybook_lost {
    uint64_t first, last; /* sequences */
    const char *cause;    /* "retention", "damage", …: a word of `daybook gaps` */
    const char *text;     /* more, for people; may be empty */
};
/* What the last DAYBOOK_LOST was about; the strings are valid until the next call of next. */
DAYBOOK_API void daybook_subscription_lost(const struct daybook_subscription *subscription,
                                           struct daybook_lost *lost_out);

/*
 * Every event up to this sequence was given, or told lost, or does not match; so it may be above
 * the last event's. Not for groups: 0.
 */
DAYBOOK_API uint64_t
daybook_subscription_position(const struct daybook_subscription *subscription);

/*
 * With a cursor, not shared: everything up to `sequence` is done, which must have been given: an
 * event's, or the position. Does not wait: commits are gathered for some milliseconds and leave in
 * this call or in a later one of next or flush, so call flush before doing something else for long.
 * A program that dies is given again what it had not committed.
 */
DAYBOOK_API enum daybook_code
daybook_subscription_commit(struct daybook_subscription *subscription, uint64_t sequence,
                            struct daybook_error *error);
/*
 * In a group: this event is done; or it cannot be done here, and somebody is to have it, which
 * counts as a try: after a pause, of 100 ms first, and twice as long after each try. Gathered as
 * commits are. An event whose time is over, or that was given on a connection that is lost, is no
 * longer this member's: it comes again, and this changes nothing.
 */
DAYBOOK_API enum daybook_code
daybook_subscription_accept(struct daybook_subscription *subscription, uint64_t sequence,
                            struct daybook_error *error);
DAYBOOK_API enum daybook_code
daybook_subscription_release(struct daybook_subscription *subscription, uint64_t sequence,
                             struct daybook_error *error);
/*
 * Wait until what was committed, accepted and released is durable: then it never comes again.
 * Events that come meanwhile are kept for next. DAYBOOK_TIMEOUT: not for retry_timeout_ms; flush
 * may be called again. DAYBOOK_UNKNOWN: in a group, the connection was lost meanwhile, and what was
 * accepted since the last flush may come again. Others as for next.
 */
DAYBOOK_API enum daybook_code daybook_subscription_flush(struct daybook_subscription *subscription,
                                                         struct daybook_error *error);

struct daybook_subscription_counts {
    uint64_t events;    /* given */
    uint64_t lost;      /* sequences that were told lost */
    uint64_t committed; /* the cursor's durable position; not for groups */
    uint64_t settled;   /* of a group: accepted or released here, and durably so */
    uint64_t durable;   /* the log's last durable sequence, as far as was told */
    uint64_t reconnects;
};
DAYBOOK_API void daybook_subscription_count(const struct daybook_subscription *subscription,
                                            struct daybook_subscription_counts *counts_out);

/* Free. Does not flush. Accepts NULL. */
DAYBOOK_API void daybook_subscription_close(struct daybook_subscription *subscription);

/* ---- Reading: straight from the files, with or without a daemon ----------------------------- */

struct daybook_reader;

/* `directory` NULL: as in daybook_options. DAYBOOK_NOT_FOUND: there is no log. */
DAYBOOK_API enum daybook_code daybook_reader_open(const char *directory,
                                                  struct daybook_reader **reader_out,
                                                  struct daybook_error *error);
/* Go to the first event with a sequence >= `sequence`; 1 is the beginning. */
DAYBOOK_API enum daybook_code daybook_reader_seek(struct daybook_reader *reader, uint64_t sequence,
                                                  struct daybook_error *error);
/*
 * From here on give only events with since_ns <= time < until_ns. INT64_MIN and INT64_MAX: no
 * limit. Cheap: blocks without such events are not read.
 */
DAYBOOK_API void daybook_reader_limit(struct daybook_reader *reader, int64_t since_ns,
                                      int64_t until_ns);
/*
 * The next durable event, valid until the next call on this reader. DAYBOOK_END: none is there
 * yet. DAYBOOK_DAMAGED: events are lost here, the text says which; the next call goes on behind.
 */
DAYBOOK_API enum daybook_code daybook_reader_next(struct daybook_reader *reader,
                                                  struct daybook_event *event_out,
                                                  struct daybook_error *error);
/* Wait up to `timeout_ms` for more than has been read. */
DAYBOOK_API void daybook_reader_wait(struct daybook_reader *reader, int timeout_ms);
/* The last durable sequence; 0 in an empty log. */
DAYBOOK_API uint64_t daybook_reader_watermark(struct daybook_reader *reader);
/* Accepts NULL. */
DAYBOOK_API void daybook_reader_close(struct daybook_reader *reader);

/* A payload as JSON text that ends in NUL, on one line; the caller frees it with free(). */
DAYBOOK_API enum daybook_code daybook_payload_json(const void *payload, size_t payload_bytes,
                                                   char **text_out, struct daybook_error *error);

#ifdef __cplusplus
}
#endif

#endif
