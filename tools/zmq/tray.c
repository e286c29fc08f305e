#include "tools/zmq/tray.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct tray_event *at(struct tray *tray, uint64_t tag)
{
    assert(tag >= tray->tag_first && tag < tray->tag_next);
    return &tray->events[tag % TRAY_EVENTS_MAX];
}

bool tray_is_full(const struct tray *tray)
{
    return tray_count(tray) == TRAY_EVENTS_MAX || tray->bytes >= TRAY_BYTES_MAX;
}

size_t tray_count(const struct tray *tray)
{
    return (size_t)(tray->tag_next - tray->tag_first);
}

enum error_code tray_put(struct tray *tray, const struct event *event, struct error *error)
{
    size_t bytes = event->topic_bytes + event->payload_bytes;
    assert(!tray_is_full(tray));
    uint8_t *copy = malloc(bytes);
    if (!copy)
        return error_set(error, ERROR_MEMORY, "no memory for an event");
    memcpy(copy, event->topic, event->topic_bytes);
    memcpy(copy + event->topic_bytes, event->payload, event->payload_bytes);
    struct tray_event *place = &tray->events[tray->tag_next % TRAY_EVENTS_MAX];
    *place = (struct tray_event){.state = TRAY_HELD, .event = *event, .bytes = copy};
    place->event.topic = (const char *)copy;
    place->event.payload = copy + event->topic_bytes;
    tray->tag_next++;
    tray->bytes += bytes;
    tray->held++;
    return OK;
}

const struct event *tray_first_held(const struct tray *tray, uint64_t *tag_out)
{
    /* Mostly the last ones: everything before them is on its way. */
    uint64_t tag = tray->tag_next;
    for (size_t left = tray->held; left > 0;)
        if (tray->events[--tag % TRAY_EVENTS_MAX].state == TRAY_HELD)
            left--;
    if (tray->held == 0)
        return NULL;
    *tag_out = tag;
    return &tray->events[tag % TRAY_EVENTS_MAX].event;
}

void tray_note_sent(struct tray *tray, uint64_t tag)
{
    struct tray_event *event = at(tray, tag);
    assert(event->state == TRAY_HELD);
    event->state = TRAY_SENT;
    tray->held--;
}

void tray_hold_again(struct tray *tray, uint64_t tag)
{
    struct tray_event *event = at(tray, tag);
    assert(event->state == TRAY_SENT);
    event->state = TRAY_HELD;
    tray->held++;
}

void tray_settle(struct tray *tray, uint64_t tag)
{
    struct tray_event *event = at(tray, tag);
    assert(event->state == TRAY_SENT);
    event->state = TRAY_SETTLED;
    while (tray->tag_first < tray->tag_next) {
        event = at(tray, tray->tag_first);
        if (event->state != TRAY_SETTLED)
            return;
        tray->bytes -= event->event.topic_bytes + event->event.payload_bytes;
        free(event->bytes);
        *event = (struct tray_event){0};
        tray->tag_first++;
    }
}

void tray_release(struct tray *tray)
{
    for (uint64_t tag = tray->tag_first; tag < tray->tag_next; tag++)
        free(at(tray, tag)->bytes);
    *tray = (struct tray){0};
}
