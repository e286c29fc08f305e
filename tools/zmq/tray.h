/*
 * tools/zmq/tray.h - the events that the gateway has taken from ZeroMQ and that are not durable
 * yet, in the order in which they came: few, so that a producer is slowed by a full socket instead
 * of the gateway holding what a crash would lose.
 *
 * Each has a tag, under which its result comes back. An event stays until it is settled; one that
 * the daemon had no room for is marked, and is sent again later.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_TRAY_H
#define DAYBOOK_TOOLS_ZMQ_TRAY_H

#include <stdbool.h>

#include "core/event.h"

enum { TRAY_EVENTS_MAX = 1024, TRAY_BYTES_MAX = 4 << 20 };

enum tray_state { TRAY_HELD, TRAY_SENT, TRAY_SETTLED };

struct tray_event {
    enum tray_state state;
    struct event event; /* its bytes are the tray's */
    uint8_t *bytes;
};

/* Zero-initialised is empty; release frees. */
struct tray {
    struct tray_event events[TRAY_EVENTS_MAX]; /* tag t is at t % TRAY_EVENTS_MAX */
    uint64_t tag_first, tag_next;
    size_t bytes;
    size_t held; /* still to be sent, or to be sent again */
};

/* No more events may be put there now. */
bool tray_is_full(const struct tray *tray);
/* Events that are not settled, or wait behind one that is not. */
size_t tray_count(const struct tray *tray);
/* Copy the event, held. ERROR_MEMORY: nothing has changed. */
enum error_code tray_put(struct tray *tray, const struct event *event, struct error *error);
/* The first held event and its tag; NULL: there is none. */
const struct event *tray_first_held(const struct tray *tray, uint64_t *tag_out);
/* The client library has taken it. */
void tray_note_sent(struct tray *tray, uint64_t tag);
/* The daemon had no room for it. */
void tray_hold_again(struct tray *tray, uint64_t tag);
/* It is stored, or refused for good. */
void tray_settle(struct tray *tray, uint64_t tag);
void tray_release(struct tray *tray);

#endif
