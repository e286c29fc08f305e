/*
 * tools/client/wire_subscription.h - the frames of subscribers (docs/protocol.md), encoded and
 * decoded nowhere else; used by both sides. See wire.h for the rules and the frames of publishers.
 *
 * Encoders append to a buffer; ERROR_MEMORY is their only failure, and the buffer keeps its old
 * size then. Decoders get the cursor and count that wire_read_type gave; they read in place,
 * allocate nothing and trust nothing; ERROR_INVALID says what is wrong and where.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_WIRE_SUBSCRIPTION_H
#define DAYBOOK_TOOLS_CLIENT_WIRE_SUBSCRIPTION_H

#include "tools/client/wire.h"

enum {
    WIRE_TOPICS_MAX = 64,       /* patterns in a subscribe */
    WIRE_WHERE_BYTES_MAX = 4096,
    WIRE_CURSOR_BYTES_MAX = 64, /* a cursor's name */
    WIRE_TRIES_MAX = 100,
    WIRE_RANGES_MAX = 1024,     /* in an accept or release */
    /* What an events frame needs beside its events, its length included; and an event beside its
     * topic and payload; at most. */
    WIRE_EVENTS_HEAD_BYTES = WIRE_LENGTH_BYTES + 1 + 7 + 9 + 5,
    WIRE_GIVEN_BYTES = 1 + 9 + 9 + 2 + 2,
};
#define WIRE_ACK_TIMEOUT_NS_MIN INT64_C(1000000)
#define WIRE_ACK_TIMEOUT_NS_MAX (INT64_C(86400) * 1000000000)
#define WIRE_ACK_TIMEOUT_NS_DEFAULT (INT64_C(30) * 1000000000)
enum { WIRE_TRIES_DEFAULT = 5 };

/* ---- subscribe, subscribed ---- */

enum wire_start {
    WIRE_START_NONE, /* none was given: "latest", or where the cursor stands */
    WIRE_START_AFTER,
    WIRE_START_SINCE,
    WIRE_START_EARLIEST,
    WIRE_START_LATEST,
};

struct wire_subscribe {
    enum wire_start start;
    uint64_t after;           /* with WIRE_START_AFTER */
    int64_t since_ns;         /* with WIRE_START_SINCE */
    struct wire_text cursor;  /* absent: none */
    bool shared;              /* only with a cursor */
    int64_t ack_timeout_ns;   /* when shared; 0: absent */
    uint32_t tries;           /* when shared; 0: absent */
    struct wire_text where;   /* absent: all events */
    bool limited;             /* by credit */
    uint64_t credit;          /* when limited */
    uint32_t topic_count;     /* 0: all topics */
    struct wire_text topics[WIRE_TOPICS_MAX];
};

enum error_code wire_write_subscribe(struct buffer *out, const struct wire_subscribe *subscribe,
                                     struct error *error);
/*
 * Shape, ranges and which keys go together are checked here, and unknown keys are refused; whether
 * patterns, where and the cursor's name are good is for those who use them to say.
 */
enum error_code wire_read_subscribe(struct msgpack_cursor cursor, uint32_t left,
                                    struct wire_subscribe *subscribe_out, struct error *error);

struct wire_subscribed {
    uint64_t after;
    uint64_t durable;
    struct wire_text log; /* WIRE_LOG_ID_TEXT digits */
};
enum error_code wire_write_subscribed(struct buffer *out, const struct wire_subscribed *subscribed,
                                      struct error *error);
enum error_code wire_read_subscribed(struct msgpack_cursor cursor, uint32_t left,
                                     struct wire_subscribed *subscribed_out, struct error *error);

/* ---- events ---- */

/*
 * An events frame goes out in parts: this head, and behind it `count` events whose encodings have
 * `events_bytes` bytes in all, from anywhere. Head and events, without the length, may have
 * WIRE_FRAME_MAX bytes: with WIRE_EVENTS_HEAD_BYTES for the head one never errs.
 */
enum error_code wire_write_events_head(struct buffer *out, uint64_t last, uint32_t count,
                                       size_t events_bytes, struct error *error);
/* One event of an events frame; its time is not EVENT_TIME_NONE. Producer and number stay here. */
enum error_code wire_write_event(struct buffer *out, const struct event *event,
                                 struct error *error);
/* The same for a group's member: this is the event's `try_number`th try, from 1. */
enum error_code wire_write_event_try(struct buffer *out, const struct event *event,
                                     uint32_t try_number, struct error *error);

struct wire_events {
    uint64_t last;
    uint32_t count;
    struct msgpack_cursor events; /* for wire_read_event, `count` times */
};
/*
 * Only the head. wire_read_events_end, after the last event, says whether something is left over.
 */
enum error_code wire_read_events(struct msgpack_cursor cursor, uint32_t left,
                                 struct wire_events *events_out, struct error *error);
/*
 * The payload is checked to be one msgpack value, no more. *try_out is 0 for an event without a
 * try; topic, time and sequence are of their kinds, and a sequence is below EVENT_SEQUENCE_END.
 */
enum error_code wire_read_event(struct msgpack_cursor *events, struct event *event_out,
                                uint32_t *try_out, struct error *error);
enum error_code wire_read_events_end(const struct msgpack_cursor *events, struct error *error);

enum error_code wire_write_caught_up(struct buffer *out, uint64_t last, struct error *error);
enum error_code wire_read_caught_up(struct msgpack_cursor cursor, uint32_t left,
                                    uint64_t *last_out, struct error *error);

struct wire_lost {
    uint64_t first, last; /* sequences; first <= last */
    struct wire_text cause;
    struct wire_text text;
};
enum error_code wire_write_lost(struct buffer *out, const struct wire_lost *lost,
                                struct error *error);
enum error_code wire_read_lost(struct msgpack_cursor cursor, uint32_t left,
                               struct wire_lost *lost_out, struct error *error);

/* ---- credit, commit, committed ---- */

enum error_code wire_write_credit(struct buffer *out, uint64_t events, struct error *error);
enum error_code wire_read_credit(struct msgpack_cursor cursor, uint32_t left, uint64_t *events_out,
                                 struct error *error);
enum error_code wire_write_commit(struct buffer *out, uint64_t sequence, struct error *error);
enum error_code wire_read_commit(struct msgpack_cursor cursor, uint32_t left,
                                 uint64_t *sequence_out, struct error *error);
enum error_code wire_write_committed(struct buffer *out, uint64_t sequence, struct error *error);
enum error_code wire_read_committed(struct msgpack_cursor cursor, uint32_t left,
                                    uint64_t *sequence_out, struct error *error);

/* ---- accept, release, settled ---- */

struct wire_range {
    uint64_t first, last; /* sequences; 1 <= first <= last */
};
/* `count` is at most WIRE_RANGES_MAX. */
enum error_code wire_write_accept(struct buffer *out, uint64_t id, const struct wire_range *ranges,
                                  uint32_t count, struct error *error);
enum error_code wire_write_release(struct buffer *out, uint64_t id, const struct wire_range *ranges,
                                   uint32_t count, struct error *error);
/*
 * Either of the two: all ranges are looked at before any of them is given, so that nothing of a bad
 * frame is settled. `ranges` has room for WIRE_RANGES_MAX.
 */
enum error_code wire_read_settle(struct msgpack_cursor cursor, uint32_t left, uint64_t *id_out,
                                 struct wire_range *ranges, uint32_t *count_out,
                                 struct error *error);
/* The ranges alone, to the end of what the cursor has; `ranges` has room for WIRE_RANGES_MAX. */
enum error_code wire_read_ranges(struct msgpack_cursor *cursor, struct wire_range *ranges,
                                 uint32_t *count_out, struct error *error);
enum error_code wire_write_settled(struct buffer *out, uint64_t id, uint64_t events,
                                   struct error *error);
enum error_code wire_read_settled(struct msgpack_cursor cursor, uint32_t left, uint64_t *id_out,
                                  uint64_t *events_out, struct error *error);

/* ---- cursors: the request has no element, the answer one, an array ---- */

struct wire_cursor {
    struct wire_text name;
    uint64_t position;
    uint64_t lag;
    bool shared;
    bool in_use;
    bool hold;
    int64_t committed_at_ns; /* since 1970 */
};
enum error_code wire_write_cursors_request(struct buffer *out, struct error *error);
enum error_code wire_read_cursors_request(struct msgpack_cursor cursor, uint32_t left,
                                          struct error *error);
/* `list` holds `count` entries made by wire_write_cursor. */
enum error_code wire_write_cursors(struct buffer *out, const struct buffer *list, uint32_t count,
                                   struct error *error);
enum error_code wire_write_cursor(struct buffer *list, const struct wire_cursor *entry,
                                  struct error *error);

struct wire_cursors {
    uint32_t count;
    struct msgpack_cursor entries; /* for wire_read_cursor, `count` times */
};
enum error_code wire_read_cursors(struct msgpack_cursor cursor, uint32_t left,
                                  struct wire_cursors *cursors_out, struct error *error);
/* Keys that we do not know are passed over. */
enum error_code wire_read_cursor(struct msgpack_cursor *entries, struct wire_cursor *entry_out,
                                 struct error *error);

#endif
