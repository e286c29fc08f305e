#include "tools/client/outbox.h"

#include <assert.h>
#include <stdlib.h>

#include "tools/client/wire.h"

enum {
    SPARE_BYTES_MAX = 262144, /* a larger frame's memory is not kept */
    PING_BYTES = 64,          /* more than a ping needs */
};

static void free_frame(struct outbox_frame *frame)
{
    if (!frame)
        return;
    buffer_release(&frame->bytes);
    free(frame->events);
    free(frame);
}

static enum error_code new_frame(struct outbox *outbox, struct outbox_frame **frame_out,
                                 struct error *error)
{
    struct outbox_frame *frame = outbox->spare;
    if (frame) {
        outbox->spare = frame->next;
    } else {
        frame = calloc(1, sizeof *frame);
        if (!frame)
            return error_set(error, ERROR_MEMORY, "no memory for a frame of events");
    }
    frame->next = NULL;
    frame->id = outbox->id_last + 1;
    frame->sent = 0;
    frame->expects = false;
    frame->event_count = 0;
    frame->bytes.size = 0;
    enum error_code code = wire_begin_pub(&frame->bytes, frame->id, error);
    if (code) {
        free_frame(frame);
        return code;
    }
    *frame_out = frame;
    return OK;
}

static enum error_code reserve_event(struct outbox_frame *frame, struct error *error)
{
    if (frame->event_count < frame->event_capacity)
        return OK;
    uint32_t capacity = frame->event_capacity ? 2 * frame->event_capacity : 8;
    struct outbox_event *events = realloc(frame->events, capacity * sizeof *events);
    if (!events)
        return error_set(error, ERROR_MEMORY, "no memory for %u events in flight", capacity);
    frame->events = events;
    frame->event_capacity = capacity;
    return OK;
}

static enum error_code append(struct outbox_frame *frame, const struct event *event,
                              const struct outbox_event *about, struct error *error)
{
    enum error_code code = reserve_event(frame, error);
    if (!code)
        code = wire_add_event(&frame->bytes, event, error);
    if (!code)
        frame->events[frame->event_count++] = *about;
    return code;
}

static void link_frame(struct outbox *outbox, struct outbox_frame *frame)
{
    if (outbox->last)
        outbox->last->next = frame;
    else
        outbox->first = frame;
    outbox->last = frame;
    outbox->open = true;
    outbox->id_last = frame->id;
}

enum error_code outbox_add(struct outbox *outbox, const struct event *event,
                           const struct outbox_event *about, struct error *error)
{
    struct outbox_frame *frame = outbox->open ? outbox->last : NULL;
    if (!frame) {
        enum error_code code = new_frame(outbox, &frame, error);
        if (code)
            return code;
    }
    size_t before = outbox->open ? frame->bytes.size : 0;
    enum error_code code = append(frame, event, about, error);
    if (code) {
        if (!outbox->open)
            free_frame(frame);
        return code;
    }
    if (!outbox->open)
        link_frame(outbox, frame);
    outbox->bytes += frame->bytes.size - before;
    outbox->event_count++;
    return OK;
}

uint32_t outbox_open_events(const struct outbox *outbox)
{
    return outbox->open ? outbox->last->event_count : 0;
}

size_t outbox_open_bytes(const struct outbox *outbox)
{
    return outbox->open ? outbox->last->bytes.size : 0;
}

enum error_code outbox_expect(struct outbox *outbox, const struct wire_expectation *expected,
                              struct error *error)
{
    struct outbox_frame *frame = outbox->last;
    size_t before = frame->bytes.size;
    assert(outbox->open && !frame->expects);
    enum error_code code = wire_add_expectation(&frame->bytes, 0, expected, error);
    if (code)
        return code;
    frame->expects = true;
    outbox->bytes += frame->bytes.size - before;
    return OK;
}

void outbox_drop_open(struct outbox *outbox)
{
    assert(outbox->open && outbox->first == outbox->last);
    outbox_drop_first(outbox);
}

enum error_code outbox_complete(struct outbox *outbox, struct error *error)
{
    if (!outbox->open)
        return OK;
    struct outbox_frame *frame = outbox->last;
    enum error_code code = buffer_reserve(&frame->bytes, PING_BYTES, error);
    if (code)
        return code;
    wire_end_pub(&frame->bytes, 0, (uint16_t)frame->event_count);
    size_t before = frame->bytes.size;
    frame->pub_bytes = frame->bytes.size;
    if (outbox->ping)
        wire_write_ping(&frame->bytes, frame->id, NULL);
    outbox->bytes += frame->bytes.size - before;
    outbox->open = false;
    outbox->complete++;
    if (!outbox->unsent)
        outbox->unsent = frame;
    return OK;
}

const uint8_t *outbox_next_bytes(const struct outbox *outbox, size_t *bytes_out)
{
    const struct outbox_frame *frame = outbox->unsent;
    if (!frame)
        return NULL;
    *bytes_out = frame->bytes.size - frame->sent;
    return frame->bytes.data + frame->sent;
}

static bool is_open(const struct outbox *outbox, const struct outbox_frame *frame)
{
    return outbox->open && frame == outbox->last;
}

/* Numbers increase from event to event, so that a frame's last is its highest. */
static void note_number_sent(struct outbox *outbox, const struct outbox_frame *frame)
{
    uint64_t number = frame->event_count > 0 ? frame->events[frame->event_count - 1].number : 0;
    if (number > outbox->number_sent)
        outbox->number_sent = number;
}

void outbox_note_sent(struct outbox *outbox, size_t bytes)
{
    struct outbox_frame *frame = outbox->unsent;
    frame->sent += bytes;
    assert(frame->sent <= frame->bytes.size);
    if (frame->sent >= frame->pub_bytes)
        note_number_sent(outbox, frame);
    if (frame->sent < frame->bytes.size)
        return;
    frame = frame->next;
    outbox->unsent = frame && !is_open(outbox, frame) ? frame : NULL;
}

void outbox_rewind(struct outbox *outbox)
{
    for (struct outbox_frame *frame = outbox->first; frame; frame = frame->next)
        frame->sent = 0;
    struct outbox_frame *first = outbox->first;
    outbox->unsent = first && !is_open(outbox, first) ? first : NULL;
}

bool outbox_first_may_be_stored(const struct outbox *outbox)
{
    const struct outbox_frame *first = outbox->first;
    return first && !is_open(outbox, first) && first->sent >= first->pub_bytes;
}

bool outbox_first_expects(const struct outbox *outbox)
{
    return outbox->first && outbox->first->expects;
}

void outbox_stop_awaiting(struct outbox *outbox)
{
    for (struct outbox_frame *frame = outbox->first; frame; frame = frame->next)
        for (uint32_t i = 0; i < frame->event_count; i++)
            frame->events[i].awaited = false;
}

void outbox_drop_first(struct outbox *outbox)
{
    struct outbox_frame *frame = outbox->first;
    if (is_open(outbox, frame))
        outbox->open = false;
    else
        outbox->complete--;
    outbox->first = frame->next;
    if (!outbox->first)
        outbox->last = NULL;
    if (outbox->unsent == frame)
        outbox->unsent = frame->next && !is_open(outbox, frame->next) ? frame->next : NULL;
    outbox->bytes -= frame->bytes.size;
    outbox->event_count -= frame->event_count;
    if (frame->bytes.capacity > SPARE_BYTES_MAX) {
        free_frame(frame);
        return;
    }
    frame->next = outbox->spare;
    outbox->spare = frame;
}

void outbox_release(struct outbox *outbox)
{
    while (outbox->first)
        outbox_drop_first(outbox);
    while (outbox->spare) {
        struct outbox_frame *frame = outbox->spare;
        outbox->spare = frame->next;
        free_frame(frame);
    }
    *outbox = (struct outbox){0};
}
