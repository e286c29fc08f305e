#include "tools/daybook/together.h"

#include <stdlib.h>

#include "tools/client/wire.h"

enum { FIRST = 16 };

static enum error_code reserve(struct together *together, struct error *error)
{
    if (together->count < together->capacity)
        return OK;
    size_t capacity = together->capacity ? 2 * together->capacity : FIRST;
    struct event *events = realloc(together->events, capacity * sizeof *events);
    if (!events)
        return error_set(error, ERROR_MEMORY, "no memory to publish");
    together->events = events;
    together->capacity = capacity;
    return OK;
}

enum error_code together_add(struct together *together, const struct event *event,
                             struct error *error)
{
    size_t bytes = event->topic_bytes + event->payload_bytes;

    if (together->count == WIRE_EVENTS_MAX || together->bytes.size + bytes > WIRE_FRAME_MAX)
        return error_set(error, ERROR_FULL,
                         "more than can be published at once: %d events, or 1 MiB",
                         WIRE_EVENTS_MAX);
    enum error_code code = reserve(together, error);
    if (!code)
        code = buffer_reserve(&together->bytes, bytes, error);
    if (code)
        return code;
    buffer_append(&together->bytes, event->topic, event->topic_bytes, NULL);
    buffer_append(&together->bytes, event->payload, event->payload_bytes, NULL);
    together->events[together->count++] = *event;
    return OK;
}

const struct event *together_events(struct together *together)
{
    const uint8_t *at = together->bytes.data;

    for (size_t i = 0; i < together->count; i++) {
        struct event *event = &together->events[i];
        event->topic = (const char *)at;
        event->payload = at + event->topic_bytes;
        at += event->topic_bytes + event->payload_bytes;
    }
    return together->events;
}

void together_release(struct together *together)
{
    buffer_release(&together->bytes);
    free(together->events);
    *together = (struct together){0};
}
