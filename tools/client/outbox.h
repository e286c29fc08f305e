/*
 * tools/client/outbox.h - frames that the daemon has not acknowledged, kept to be sent again.
 *
 * The last frame may be open: still gathering events. The others are complete; some prefix of their
 * bytes has been sent on the present connection. Answers come in order, so frames leave from the
 * front.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_OUTBOX_H
#define DAYBOOK_TOOLS_CLIENT_OUTBOX_H

#include <sys/types.h>

#include "core/bytes.h"
#include "core/event.h"

/* What a result needs to know of an event once it is encoded. */
struct outbox_event {
    uint64_t tag;
    uint64_t number;
    bool awaited; /* by daybook_publish and its like, which take the result themselves */
};

struct outbox_frame {
    struct outbox_frame *next;
    uint64_t id;
    struct buffer bytes;
    size_t pub_bytes; /* of them: the pub itself, without the ping behind it */
    size_t sent;
    bool expects; /* … something of the log */
    struct outbox_event *events;
    uint32_t event_count;
    uint32_t event_capacity;
};

/* Zero-initialised is empty; release frees. */
struct outbox {
    struct outbox_frame *first, *last;
    struct outbox_frame *unsent; /* the first complete frame with bytes to send */
    struct outbox_frame *spare;
    bool open; /* the last frame is gathering */
    bool ping; /* put a ping with its id behind each frame: for acks that never come */
    uint64_t id_last;
    uint64_t number_sent; /* the highest that left whole on any connection: it may be stored */
    size_t bytes;         /* of all frames */
    size_t event_count;   /* of all frames */
    unsigned complete;    /* frames, without the open one */
};

/* Add to the open frame; opens one when there is none. ERROR_MEMORY: nothing has changed. */
enum error_code outbox_add(struct outbox *outbox, const struct event *event,
                           const struct outbox_event *about, struct error *error);
/* Events and bytes in the open frame; 0 when there is none. */
uint32_t outbox_open_events(const struct outbox *outbox);
size_t outbox_open_bytes(const struct outbox *outbox);
/*
 * The events in the open frame are to be stored only if the log is as expected: it has to be
 * completed then. ERROR_MEMORY: nothing has changed.
 */
struct wire_expectation;
enum error_code outbox_expect(struct outbox *outbox, const struct wire_expectation *expected,
                              struct error *error);
/* The open frame, of which nothing was sent, was a mistake. */
void outbox_drop_open(struct outbox *outbox);
/* The open frame is complete. ERROR_MEMORY: it stays open. */
enum error_code outbox_complete(struct outbox *outbox, struct error *error);

/* Bytes to send next; NULL: everything complete has been sent. */
const uint8_t *outbox_next_bytes(const struct outbox *outbox, size_t *bytes_out);
void outbox_note_sent(struct outbox *outbox, size_t bytes);
/* A new connection has seen nothing of all this. */
void outbox_rewind(struct outbox *outbox);
/* The first frame left whole on the last connection; who gets only a part of it stores nothing. */
bool outbox_first_may_be_stored(const struct outbox *outbox);
bool outbox_first_expects(const struct outbox *outbox);
/* Nobody waits for a single event's result any more: all results are told in the same way. */
void outbox_stop_awaiting(struct outbox *outbox);

/* The first frame is done with: gone. */
void outbox_drop_first(struct outbox *outbox);
void outbox_release(struct outbox *outbox);

#endif
