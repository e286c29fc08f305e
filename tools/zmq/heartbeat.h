/*
 * tools/zmq/heartbeat.h - an event `system_health` now and then, as the bus before this one sent
 * it: that the gateway lives, and what it has done. It goes into the log like everybody's events,
 * and out to the subscribers from there, so it also tells that this way is open.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_HEARTBEAT_H
#define DAYBOOK_TOOLS_ZMQ_HEARTBEAT_H

#include <stdbool.h>

#include "tools/zmq/counts.h"
#include "tools/zmq/message.h"

struct heartbeat {
    int64_t every_ns; /* 0: never */
    int64_t started_ns;
    int64_t due_ns; /* monotonic */
    struct buffer text;
};

/* The first one is due when the pause has passed for the first time. */
void heartbeat_init(struct heartbeat *heartbeat, int64_t every_ns);
/* Until the next one is due; INT64_MAX: never. */
int64_t heartbeat_left_ns(const struct heartbeat *heartbeat);
bool heartbeat_is_due(const struct heartbeat *heartbeat);
/* The event, as message_read gives it; the next one is due a pause from now. */
enum error_code heartbeat_make(struct heartbeat *heartbeat, const struct counts *counts,
                               struct message_reader *reader, struct event *event_out,
                               struct error *error);
void heartbeat_release(struct heartbeat *heartbeat);

#endif
