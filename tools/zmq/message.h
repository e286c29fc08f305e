/*
 * tools/zmq/message.h - events as the programs on the ZeroMQ side write and read them.
 *
 *     {"event_type":"trade_executed","timestamp":1757386981.642318,"source":"…","data":{…},
 *      "correlation_id":…,"user_id":…,"session_id":…}
 *
 * Coming in: the topic is event_type, the payload is the whole object as it came, with keys that we
 * do not know and without those that are missing; the time is `timestamp` where that is a time
 * (seconds, or ISO text), else arrival. Going out: a payload with a text `event_type` is such an
 * object and goes out as it is stored; any other becomes `data` of one that is made for it
 * (tools/bus_event.h, as `daybook replay` writes them, too).
 */
#ifndef DAYBOOK_TOOLS_ZMQ_MESSAGE_H
#define DAYBOOK_TOOLS_ZMQ_MESSAGE_H

#include "core/event.h"
#include "core/json.h"
#include "tools/client/daybook.h"

/* Scratch memory of one thread. Zero-initialised is good; release frees. */
struct message_reader {
    struct json_reader *json;
    struct buffer object;
};

/*
 * *event_out is checked by event_check, borrows from the reader, and is valid until the next call.
 * ERROR_INVALID says in one sentence why this is no event; ERROR_MEMORY.
 */
enum error_code message_read(struct message_reader *reader, const void *text, size_t text_bytes,
                             struct event *event_out, struct error *error);
void message_release(struct message_reader *reader);

/* Append the event's JSON. ERROR_INVALID: its payload is no msgpack. */
enum error_code message_write(const struct daybook_event *event, struct buffer *out,
                              struct error *error);

#endif
