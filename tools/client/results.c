#include "tools/client/goodbye.h"
#include "tools/client/handle.h"
#include "tools/client/wire.h"

/* ---- One event's result ---- */

static void count(struct daybook_counts *counts, const struct daybook_result *result)
{
    switch (result->code) {
    case DAYBOOK_OK:
        if (result->duplicate)
            counts->duplicates++;
        else
            counts->stored++;
        if (result->sequence > counts->last_sequence)
            counts->last_sequence = result->sequence;
        break;
    case DAYBOOK_UNKNOWN:
        counts->unknown++;
        break;
    default:
        counts->refused++;
        break;
    }
}

/* Of several that belong together the first one's result counts, and the one reason there is. */
static void note_published(struct daybook *daybook, const struct daybook_result *result,
                           bool has_reason)
{
    if (daybook->published_came && !has_reason)
        return;
    daybook->published = *result;
    failure_set(&daybook->published_error, result->code, "%s", result->reason);
    daybook->published.reason = daybook->published_error.text;
    daybook->published_came = true;
}

static void deliver_with(struct daybook *daybook, const struct outbox_event *event,
                         struct daybook_result *result, bool has_reason)
{
    result->tag = event->tag;
    result->number = event->number;
    count(&daybook->counts, result);
    if (event->awaited) {
        note_published(daybook, result, has_reason);
        return;
    }
    if (result->code && !daybook->bad.code)
        failure_set(&daybook->bad, result->code, "%s", result->reason);
    if (daybook->options.on_result)
        daybook->options.on_result(daybook->options.context, result);
}

static void deliver(struct daybook *daybook, const struct outbox_event *event,
                    struct daybook_result *result)
{
    deliver_with(daybook, event, result, false);
}

static void deliver_all(struct daybook *daybook, const struct outbox_frame *frame,
                        enum daybook_code code, const char *reason)
{
    for (uint32_t i = 0; i < frame->event_count; i++) {
        struct daybook_result result = {.code = code, .reason = reason};
        deliver(daybook, &frame->events[i], &result);
    }
}

void handle_give_up_first(struct daybook *daybook)
{
    deliver_all(daybook, daybook->outbox.first, DAYBOOK_UNKNOWN,
                "the connection was lost before the daemon had answered");
    outbox_drop_first(&daybook->outbox);
}

/* ---- Acks ---- */

static void deliver_refusal(struct daybook *daybook, const struct outbox_event *event,
                            const struct wire_refusal *refusal)
{
    struct daybook_error text; /* for its NUL */
    failure_set(&text, DAYBOOK_REFUSED, "%.*s",
                (int)(refusal->reason.bytes ? refusal->reason.bytes : refusal->code.bytes),
                refusal->reason.bytes ? refusal->reason.text : refusal->code.text);
    struct daybook_result result = {
        .code = wire_text_is(&refusal->code, "no_space")   ? DAYBOOK_NO_SPACE
                : wire_text_is(&refusal->code, "conflict") ? DAYBOOK_CONFLICT
                                                           : DAYBOOK_REFUSED,
        .reason = text.text,
    };
    deliver_with(daybook, event, &result, refusal->reason.bytes > 0);
}

/* Stored or a duplicate: of those that were not refused, the duplicates come first. */
static void deliver_good(struct daybook *daybook, const struct outbox_event *event,
                         const struct wire_ack *ack, uint64_t index)
{
    struct daybook_result result = {.code = DAYBOOK_OK, .reason = ""};
    result.duplicate = index < ack->duplicates;
    if (!result.duplicate)
        result.sequence = ack->sequence_first + (index - ack->duplicates);
    deliver(daybook, event, &result);
}

/* All of the refusals are looked at before any event gets its result. */
static bool refusals_are_sound(const struct wire_ack *ack, uint32_t event_count)
{
    struct msgpack_cursor cursor = ack->refusals;
    struct wire_refusal refusal;
    uint64_t index_next = 0;
    for (uint32_t i = 0; i < ack->refused; i++) {
        if (wire_read_refusal(&cursor, &refusal, NULL) || refusal.index < index_next ||
            refusal.index >= event_count)
            return false;
        index_next = refusal.index + 1;
    }
    return ack->stored <= event_count && ack->duplicates <= event_count &&
           ack->stored + ack->duplicates + ack->refused == event_count;
}

static void deliver_ack(struct daybook *daybook, const struct outbox_frame *frame,
                        const struct wire_ack *ack)
{
    struct msgpack_cursor cursor = ack->refusals;
    struct wire_refusal refusal = {.index = UINT64_MAX};
    uint32_t refusals_left = ack->refused;
    uint64_t good = 0;
    for (uint32_t i = 0; i < frame->event_count; i++) {
        if (refusals_left > 0 && (refusal.index < i || refusal.index == UINT64_MAX)) {
            wire_read_refusal(&cursor, &refusal, NULL);
        }
        if (refusals_left > 0 && refusal.index == i) {
            deliver_refusal(daybook, &frame->events[i], &refusal);
            refusals_left--;
        } else {
            deliver_good(daybook, &frame->events[i], ack, good++);
        }
    }
}

static bool is_in_flight(const struct outbox *outbox, uint64_t id)
{
    return outbox->complete > 0 && id >= outbox->first->id &&
           id < outbox->first->id + outbox->complete;
}

/* Frames before `id` that asked for no ack: the daemon has taken them, and refused nothing. */
static void pass_silent(struct daybook *daybook, uint64_t id)
{
    while (daybook->outbox.first->id < id) {
        deliver_all(daybook, daybook->outbox.first, DAYBOOK_OK, "");
        outbox_drop_first(&daybook->outbox);
    }
}

static enum daybook_code confused(struct daybook_error *error, const char *what)
{
    return failure_set(error, DAYBOOK_PROTOCOL, "the daemon's answer makes no sense: %s", what);
}

static enum daybook_code take_ack(struct daybook *daybook, struct msgpack_cursor cursor,
                                  uint32_t left, struct daybook_error *error)
{
    struct outbox *outbox = &daybook->outbox;
    struct wire_ack ack;
    struct error why;
    if (wire_read_ack(cursor, left, &ack, &why))
        return confused(error, why.text);
    if (!is_in_flight(outbox, ack.id))
        return confused(error, "an ack for a frame that is not in flight");
    if (daybook->options.ack == DAYBOOK_ACK_NONE)
        pass_silent(daybook, ack.id);
    if (outbox->first->id != ack.id)
        return confused(error, "an ack out of order");
    if (!refusals_are_sound(&ack, outbox->first->event_count))
        return confused(error, "an ack that does not add up");
    deliver_ack(daybook, outbox->first, &ack);
    outbox_drop_first(outbox);
    return DAYBOOK_OK;
}

static enum daybook_code take_pong(struct daybook *daybook, struct msgpack_cursor cursor,
                                   uint32_t left, struct daybook_error *error)
{
    uint64_t id, durable;
    struct error why;
    if (wire_read_pong(cursor, left, &id, &durable, &why))
        return confused(error, why.text);
    /* Refusals of that frame came as an ack before; then it has gone already. */
    if (is_in_flight(&daybook->outbox, id)) {
        pass_silent(daybook, id);
        deliver_all(daybook, daybook->outbox.first, DAYBOOK_OK, "");
        outbox_drop_first(&daybook->outbox);
    }
    return DAYBOOK_OK;
}

/* ---- Other frames ---- */

static enum daybook_code take_status(struct daybook *daybook, struct msgpack_cursor cursor,
                                     struct daybook_error *error)
{
    struct error why;
    size_t bytes;
    enum error_code code = msgpack_check_prefix(cursor.at, (size_t)(cursor.end - cursor.at),
                                                EVENT_PAYLOAD_DEPTH_MAX, &bytes, &why);
    if (code)
        return confused(error, why.text);
    daybook->status.size = 0;
    if (buffer_append(&daybook->status, cursor.at, bytes, &why))
        return failure_from(error, &why);
    daybook->status_came = true;
    return DAYBOOK_OK;
}

/* Only our hello can be invalid, which is our own mistake: to callers the word is about events. */
static enum daybook_code take_goodbye(struct msgpack_cursor cursor, uint32_t left,
                                      struct daybook_error *error)
{
    struct daybook_error why;
    enum daybook_code code = goodbye_read(cursor, left, &why);
    return failure_set(error, code == DAYBOOK_INVALID ? DAYBOOK_PROTOCOL : code, "%s", why.text);
}

enum daybook_code handle_take_frame(struct daybook *daybook, struct msgpack_cursor frame,
                                    struct daybook_error *error)
{
    enum wire_type type;
    uint32_t left;
    struct error why;
    if (wire_read_type(&frame, &type, &left, &why))
        return confused(error, why.text);
    switch (type) {
    case WIRE_ACK:
        return take_ack(daybook, frame, left, error);
    case WIRE_PONG:
        return take_pong(daybook, frame, left, error);
    case WIRE_STATUS:
        return take_status(daybook, frame, error);
    case WIRE_ERROR:
        return take_goodbye(frame, left, error);
    default:
        return DAYBOOK_OK; /* Of a later daemon: not for us. */
    }
}
