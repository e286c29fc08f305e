/*
 * tools/client/wire.h - the frames of docs/protocol.md, encoded and decoded nowhere else; used by
 * both sides.
 *
 * Encoders append to a buffer; decoders read in place, allocate nothing and trust nothing. What
 * they give borrows the frame's bytes.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_WIRE_H
#define DAYBOOK_TOOLS_CLIENT_WIRE_H

#include "core/event.h"
#include "core/msgpack.h"

enum {
    WIRE_VERSION = 1,
    WIRE_LENGTH_BYTES = 4,
    WIRE_FRAME_MAX = 1048576 + 4096, /* behind the length: one event of the largest size fits */
    WIRE_EVENTS_MAX = 4096,          /* in a pub */
    WIRE_REASONS_MAX = 16,           /* refusals of one pub that come with their reason */
    WIRE_LOG_ID_TEXT = 16,
    /* What a frame needs beside its events, and an event beside its topic and payload, at most. */
    WIRE_PUB_BYTES = 4 + 1 + 4 + 9 + 3,
    WIRE_EVENT_BYTES = 1 + 2 + 9 + 9,
};

enum wire_type {
    WIRE_HELLO,
    WIRE_WELCOME,
    WIRE_PUB,
    WIRE_ACK,
    WIRE_PING,
    WIRE_PONG,
    WIRE_STATUS,
    WIRE_ERROR,
    /* The subscriber's family: tools/client/wire_subscription.h. */
    WIRE_SUBSCRIBE,
    WIRE_SUBSCRIBED,
    WIRE_EVENTS,
    WIRE_CAUGHT_UP,
    WIRE_LOST,
    WIRE_CREDIT,
    WIRE_COMMIT,
    WIRE_COMMITTED,
    WIRE_ACCEPT,
    WIRE_RELEASE,
    WIRE_SETTLED,
    WIRE_CURSORS,
    WIRE_OTHER, /* a type that we do not know */
};

enum wire_ack_mode { WIRE_ACK_DURABLE, WIRE_ACK_WRITTEN, WIRE_ACK_NONE };

struct wire_text {
    const char *text; /* not NUL-terminated; NULL: absent */
    size_t bytes;
};

bool wire_text_is(const struct wire_text *text, const char *word);

struct wire_hello {
    uint64_t version;
    struct wire_text client;
    struct wire_text producer;
    enum wire_ack_mode ack;
};

struct wire_welcome {
    uint64_t version;
    struct wire_text server;
    struct wire_text log; /* WIRE_LOG_ID_TEXT digits */
    uint64_t durable;
    uint64_t last_number;
    uint64_t frame_max;
    uint64_t events_max;
};

struct wire_ack {
    uint64_t id;
    uint64_t stored;
    uint64_t sequence_first;
    uint64_t sequence_last;
    uint64_t duplicates;
    uint32_t refused;               /* how many follow in `refusals` */
    struct msgpack_cursor refusals; /* for wire_read_refusal */
};

struct wire_refusal {
    uint64_t index;
    struct wire_text code;
    struct wire_text reason;
};

/* What the log has to be like for events to be stored (tools/expectation.h). */
struct wire_expectation {
    bool given;
    uint64_t last;          /* there is no event behind this one … */
    struct wire_text topic; /* … of a topic that this pattern matches; NULL: of whichever topic */
};

struct wire_error {
    struct wire_text code;
    struct wire_text text;
};

/* ---- Writing. ERROR_MEMORY is the only failure; the buffer keeps its old size then. ---- */

enum error_code wire_write_hello(struct buffer *out, const struct wire_hello *hello,
                                 struct error *error);
enum error_code wire_write_welcome(struct buffer *out, const struct wire_welcome *welcome,
                                   struct error *error);
enum error_code wire_write_ping(struct buffer *out, uint64_t value, struct error *error);
enum error_code wire_write_pong(struct buffer *out, uint64_t value, uint64_t durable,
                                struct error *error);
enum error_code wire_write_status_request(struct buffer *out, struct error *error);
/* `map` is one msgpack map. */
enum error_code wire_write_status(struct buffer *out, const struct buffer *map,
                                  struct error *error);
enum error_code wire_write_error(struct buffer *out, const char *code, const char *text,
                                 struct error *error);

/* `refusals` holds ack->refused entries made by wire_write_refusal. */
enum error_code wire_write_ack(struct buffer *out, const struct wire_ack *ack,
                               const struct buffer *refusals, struct error *error);
enum error_code wire_write_refusal(struct buffer *refusals, uint32_t index, const char *code,
                                   const char *reason, struct error *error);

/*
 * A pub grows event by event: begin at the buffer's end, add, and set the count and the length when
 * it is complete. `start` is the buffer's size before begin.
 */
enum error_code wire_begin_pub(struct buffer *out, uint64_t id, struct error *error);
/* Time and number go out as they are: EVENT_TIME_NONE as nil, number 0 not at all. */
enum error_code wire_add_event(struct buffer *out, const struct event *event, struct error *error);
/* Behind the last event, before the end: they are stored only if the log is as expected. */
enum error_code wire_add_expectation(struct buffer *out, size_t start,
                                     const struct wire_expectation *expected, struct error *error);
void wire_end_pub(struct buffer *out, size_t start, uint16_t event_count);

/* ---- Reading. ERROR_INVALID: it is not what docs/protocol.md says; the text says where. ---- */

/* What the WIRE_LENGTH_BYTES in front of a frame say; not checked against WIRE_FRAME_MAX. */
size_t wire_read_length(const uint8_t *data);
/* The frame's array head and type; *left_out is how many elements follow. */
enum error_code wire_read_type(struct msgpack_cursor *cursor, enum wire_type *type_out,
                               uint32_t *left_out, struct error *error);
enum error_code wire_read_hello(struct msgpack_cursor cursor, uint32_t left,
                                struct wire_hello *hello_out, struct error *error);
enum error_code wire_read_welcome(struct msgpack_cursor cursor, uint32_t left,
                                  struct wire_welcome *welcome_out, struct error *error);
enum error_code wire_read_ping(struct msgpack_cursor cursor, uint32_t left, uint64_t *value_out,
                               struct error *error);
enum error_code wire_read_pong(struct msgpack_cursor cursor, uint32_t left, uint64_t *value_out,
                               uint64_t *durable_out, struct error *error);
enum error_code wire_read_error(struct msgpack_cursor cursor, uint32_t left,
                                struct wire_error *error_out, struct error *error);
enum error_code wire_read_ack(struct msgpack_cursor cursor, uint32_t left, struct wire_ack *ack_out,
                              struct error *error);
enum error_code wire_read_refusal(struct msgpack_cursor *refusals, struct wire_refusal *refusal_out,
                                  struct error *error);

struct wire_pub {
    uint64_t id;
    uint32_t event_count;
    size_t event_bytes; /* topics and payloads in all */
    struct wire_expectation expected;
};
/*
 * Find the events of a pub: their shape is checked here (also that numbers are there, or not, and
 * increase), their contents are not (event_check). Nothing of a frame is to be stored before its
 * whole shape is known to be right. `events` has room for WIRE_EVENTS_MAX.
 */
enum error_code wire_read_pub(struct msgpack_cursor cursor, uint32_t left,
                              const struct wire_text *producer, struct event *events,
                              struct wire_pub *pub_out, struct error *error);
/* The same, unless there are more than `values_max` msgpack values in the payloads: ERROR_FULL. */
enum error_code wire_read_pub_within(struct msgpack_cursor cursor, uint32_t left,
                                     const struct wire_text *producer, uint64_t values_max,
                                     struct event *events, struct wire_pub *pub_out,
                                     struct error *error);

#endif
