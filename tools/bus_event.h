/*
 * tools/bus_event.h - events in the shape that the ZeroMQ bus has on the wire.
 *
 *     {"event_type":…,"timestamp":…,"source":…,"data":…,
 *      "correlation_id":…,"user_id":…,"session_id":…}
 *
 * What came over the bus was stored whole, as the payload, and leaves as it came. Another event is
 * put into that shape: its topic is the event_type, its time the timestamp (seconds since the
 * epoch, to the microsecond), its payload the data, "daybook" the source, and the rest null.
 */
#ifndef DAYBOOK_TOOLS_BUS_EVENT_H
#define DAYBOOK_TOOLS_BUS_EVENT_H

#include <stdbool.h>

#include "core/bytes.h"
#include "core/event.h"

/* Is the payload of that shape: a map with a text under "event_type"? */
bool bus_event_is_one(const void *payload, size_t payload_bytes);
/* Append the event's JSON as it leaves; `json` is that of its payload. */
enum error_code bus_event_append(const struct event *event, const char *json, size_t json_bytes,
                                 struct buffer *out, struct error *error);

#endif
