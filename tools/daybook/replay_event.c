#include "tools/daybook/replay_event.h"

#include <stdlib.h>

#include "tools/daybook/output.h"

enum error_code replay_event_make(const struct event *event, struct buffer *scratch,
                                  struct replay_event **event_out, struct error *error)
{
    size_t payload_at;
    scratch->size = 0;
    enum error_code code = output_append_text(event, scratch, &payload_at, error);
    if (code)
        return code;
    size_t size = sizeof **event_out + event->topic_bytes + event->payload_bytes + scratch->size;
    struct replay_event *made = malloc(size);
    if (!made)
        return error_set(error, ERROR_MEMORY, "no memory for event %llu",
                         (unsigned long long)event->sequence);
    char *topic = (char *)(made + 1);
    char *payload = topic + event->topic_bytes;
    char *text = payload + event->payload_bytes;
    memcpy(topic, event->topic, event->topic_bytes);
    memcpy(payload, event->payload, event->payload_bytes);
    memcpy(text, scratch->data, scratch->size);
    *made = (struct replay_event){
        .event = {.sequence = event->sequence,
                  .time_ns = event->time_ns,
                  .topic = topic,
                  .topic_bytes = event->topic_bytes,
                  .payload = payload,
                  .payload_bytes = event->payload_bytes},
        .text = text,
        .text_bytes = scratch->size,
        .payload_text = text + payload_at,
        .payload_text_bytes = scratch->size - payload_at - strlen("}\n"),
        .size = size,
    };
    *event_out = made;
    return OK;
}
