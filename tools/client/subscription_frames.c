#include "tools/client/goodbye.h"
#include "tools/client/subscription.h"

enum {
    BACKLOG_BYTES_MAX = 64 << 20, /* beyond it flush reads no further */
    BACKLOG_BYTES_KEPT = 1 << 20, /* when it is empty again, more than this is given back */
};

enum daybook_code subscription_confused(struct daybook_error *error, const char *what)
{
    return failure_set(error, DAYBOOK_PROTOCOL, "the daemon's answer makes no sense: %s", what);
}

/* How far the daemon has looked: up to there it takes commits. */
static enum daybook_code note_seen(struct daybook_subscription *sub,
                                   const struct subscription_frame *frame,
                                   struct daybook_error *error)
{
    struct wire_events events = {0};
    struct wire_lost lost = {0};
    struct error why;
    enum error_code code = OK;
    uint64_t last = 0;
    if (sub->state != SUBSCRIPTION_STREAMING)
        return subscription_confused(error, "events before it has subscribed us");
    if (frame->type == WIRE_EVENTS) {
        code = wire_read_events(frame->cursor, frame->left, &events, &why);
        last = events.last;
    } else if (frame->type == WIRE_LOST) {
        code = wire_read_lost(frame->cursor, frame->left, &lost, &why);
        last = lost.last;
    }
    if (code)
        return subscription_confused(error, why.text);
    if (last > sub->seen)
        sub->seen = last;
    if (last > sub->counts.durable)
        sub->counts.durable = last;
    sub->streamed = true;
    return DAYBOOK_OK;
}

/* DAYBOOK_OK: it is a frame of the stream; DAYBOOK_END: it was an answer, and was taken. */
static enum daybook_code take_frame(struct daybook_subscription *sub,
                                    struct subscription_frame *frame, struct daybook_error *error)
{
    enum daybook_code code = DAYBOOK_OK;
    struct error why;
    frame->cursor = frame->whole;
    if (wire_read_type(&frame->cursor, &frame->type, &frame->left, &why))
        return subscription_confused(error, why.text);
    switch (frame->type) {
    case WIRE_EVENTS:
    case WIRE_CAUGHT_UP:
    case WIRE_LOST:
        return note_seen(sub, frame, error);
    case WIRE_WELCOME:
        code = subscription_take_welcome(sub, frame->cursor, frame->left, error);
        break;
    case WIRE_SUBSCRIBED:
        return subscription_take_subscribed(sub, frame->cursor, frame->left, error);
    case WIRE_COMMITTED:
        code = subscription_take_committed(sub, frame->cursor, frame->left, error);
        break;
    case WIRE_SETTLED:
        code = subscription_take_settled(sub, frame->cursor, frame->left, error);
        break;
    case WIRE_ERROR:
        return goodbye_read(frame->cursor, frame->left, error);
    default:
        break; /* Of a later daemon: not for us. */
    }
    return code ? code : DAYBOOK_END;
}

enum daybook_code subscription_receive(struct daybook_subscription *sub,
                                       struct subscription_frame *frame_out,
                                       struct daybook_error *error)
{
    struct daybook_error lost;
    struct error why;
    enum error_code code;
    if (sub->state == SUBSCRIPTION_OFF)
        return DAYBOOK_END;
    while ((code = link_receive(&sub->link, &frame_out->whole, &why)) == OK) {
        enum daybook_code taken = take_frame(sub, frame_out, &lost);
        if (taken == DAYBOOK_OK)
            return DAYBOOK_OK;
        if (taken != DAYBOOK_END)
            return subscription_lose(sub, &lost, error);
    }
    if (code == ERROR_END)
        return DAYBOOK_END;
    if (code == ERROR_INVALID)
        failure_set(&lost, DAYBOOK_PROTOCOL, "%s", why.text);
    else
        failure_from(&lost, &why);
    return subscription_lose(sub, &lost, error);
}

/* ---- What flush has kept ---- */

static void shrink_backlog(struct daybook_subscription *sub)
{
    sub->backlog.size = 0;
    sub->backlog_taken = 0;
    if (sub->backlog.capacity > BACKLOG_BYTES_KEPT)
        buffer_release(&sub->backlog);
}

enum daybook_code subscription_next_frame(struct daybook_subscription *sub,
                                          struct subscription_frame *frame_out,
                                          struct daybook_error *error)
{
    if (sub->backlog_taken == sub->backlog.size) {
        shrink_backlog(sub);
        return subscription_receive(sub, frame_out, error);
    }
    /* Its type was read before it was kept. */
    const uint8_t *at = sub->backlog.data + sub->backlog_taken;
    size_t length = wire_read_length(at);
    sub->backlog_taken += WIRE_LENGTH_BYTES + length;
    frame_out->whole.at = at + WIRE_LENGTH_BYTES;
    frame_out->whole.end = frame_out->whole.at + length;
    frame_out->cursor = frame_out->whole;
    wire_read_type(&frame_out->cursor, &frame_out->type, &frame_out->left, NULL);
    return DAYBOOK_OK;
}

/* The present frame's events stay readable while others are received, or kept. */
static enum daybook_code hold_frame(struct daybook_subscription *sub, struct daybook_error *error)
{
    struct msgpack_cursor *events = &sub->frame.events;
    struct error why;
    if (!sub->in_frame || events->at == events->end ||
        (sub->held.size > 0 && events->end == sub->held.data + sub->held.size))
        return DAYBOOK_OK;
    sub->held.size = 0;
    if (buffer_append(&sub->held, events->at, (size_t)(events->end - events->at), &why))
        return failure_from(error, &why);
    events->at = sub->held.data;
    events->end = events->at + sub->held.size;
    return DAYBOOK_OK;
}

/*
 * After a reconnect a cursor's stream begins with what was given already. That is not kept, or more
 * than a window of it would take all credit, and the answer behind it would never come.
 */
static bool is_given_already(struct daybook_subscription *sub,
                             const struct subscription_frame *frame)
{
    struct wire_events events;
    if (sub->request.shared || frame->type != WIRE_EVENTS ||
        wire_read_events(frame->cursor, frame->left, &events, NULL) ||
        events.last > sub->position || events.last < sub->stream_last || sub->in_frame)
        return false;
    sub->credit_due += events.count;
    sub->stream_last = events.last;
    return true;
}

/* With its length, as on the wire, where it stands right behind it. */
static enum daybook_code keep_frame(struct daybook_subscription *sub,
                                    const struct subscription_frame *frame,
                                    struct daybook_error *error)
{
    const uint8_t *at = frame->whole.at - WIRE_LENGTH_BYTES;
    struct daybook_error failure;
    struct error why;
    if (!buffer_append(&sub->backlog, at, (size_t)(frame->whole.end - at), &why))
        return DAYBOOK_OK;
    /* The frame is gone from the link: all of it has to come again. */
    failure_from(&failure, &why);
    return subscription_lose(sub, &failure, error);
}

enum daybook_code subscription_look_ahead(struct daybook_subscription *sub,
                                          struct daybook_error *error)
{
    struct subscription_frame frame;
    enum daybook_code code = hold_frame(sub, error);
    if (!code && sub->backlog_taken > sub->backlog.size / 2) {
        buffer_consume(&sub->backlog, sub->backlog_taken);
        sub->backlog_taken = 0;
    }
    while (!code) {
        if (sub->backlog.size >= BACKLOG_BYTES_MAX)
            return failure_set(error, DAYBOOK_TIMEOUT,
                               "the daemon's answer lies behind more than %d MiB of events that "
                               "were not taken yet",
                               BACKLOG_BYTES_MAX >> 20);
        code = subscription_receive(sub, &frame, error);
        if (code || frame.type == WIRE_SUBSCRIBED || is_given_already(sub, &frame))
            continue;
        code = keep_frame(sub, &frame, error);
    }
    return code == DAYBOOK_END ? DAYBOOK_OK : code;
}
