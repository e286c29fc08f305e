#include "core/clock.h"
#include "tools/client/subscription.h"

#include <string.h>

#define MS_NS INT64_C(1000000)

/* ---- Credit ---- */

/* Half a window at a time, so that the daemon need never wait for it, and few frames are sent. */
void subscription_give_credit(struct daybook_subscription *sub)
{
    struct error why;
    sub->credit_due += sub->giving;
    sub->giving = false;
    if (sub->credit_due == 0 || sub->credit_due < sub->window / 2 ||
        sub->state != SUBSCRIPTION_STREAMING)
        return;
    /* Without memory it is still due, next time. */
    if (wire_write_credit(&sub->output, sub->credit_due, &why))
        return;
    sub->credit_due = 0;
    subscription_send(sub);
}

/* ---- One frame's events ---- */

static void pass_to(struct daybook_subscription *sub, uint64_t last)
{
    sub->stream_last = last;
    if (last > sub->position)
        sub->position = last;
    if (last > sub->highest)
        sub->highest = last;
}

static enum daybook_code end_frame(struct daybook_subscription *sub, struct daybook_error *error)
{
    struct error why;
    sub->in_frame = false;
    if (wire_read_events_end(&sub->frame.events, &why))
        return subscription_confused(error, why.text);
    if (!sub->request.shared)
        pass_to(sub, sub->frame.last);
    return DAYBOOK_OK;
}

static enum daybook_code check_order(const struct daybook_subscription *sub, uint64_t sequence,
                                     struct daybook_error *error)
{
    if (sub->request.shared || (sequence > sub->stream_last && sequence <= sub->frame.last))
        return DAYBOOK_OK;
    return failure_set(error, DAYBOOK_PROTOCOL,
                       "the daemon's answer makes no sense: event %llu came behind %llu, in a "
                       "frame up to %llu",
                       (unsigned long long)sequence, (unsigned long long)sub->stream_last,
                       (unsigned long long)sub->frame.last);
}

/*
 * The next event of the frame that was not given before. DAYBOOK_END: the frame has no more. The
 * position goes to the frame's end with its last event: behind that nothing of it matches.
 */
static enum daybook_code take_event(struct daybook_subscription *sub,
                                    struct daybook_event *event_out, struct daybook_error *error)
{
    while (sub->frame.count > 0) {
        struct event event;
        uint32_t tries;
        struct error why;
        if (wire_read_event(&sub->frame.events, &event, &tries, &why))
            return subscription_confused(error, why.text);
        enum daybook_code code = check_order(sub, event.sequence, error);
        if (code)
            return code;
        bool given_before = !sub->request.shared && event.sequence <= sub->position;
        if (sub->request.shared && event.sequence > sub->highest)
            sub->highest = event.sequence;
        else if (!sub->request.shared)
            pass_to(sub, event.sequence);
        if (--sub->frame.count == 0)
            code = end_frame(sub, error);
        if (code)
            return code;
        if (given_before) {
            sub->credit_due++;
            continue;
        }
        *event_out = (struct daybook_event){
            .sequence = event.sequence,
            .time_ns = event.time_ns,
            .topic = event.topic,
            .topic_bytes = event.topic_bytes,
            .payload = event.payload,
            .payload_bytes = event.payload_bytes,
            .tries = tries,
        };
        return DAYBOOK_OK;
    }
    return DAYBOOK_END;
}

/* ---- Frames ---- */

static enum daybook_code begin_events(struct daybook_subscription *sub,
                                      const struct subscription_frame *frame,
                                      struct daybook_error *error)
{
    struct error why;
    if (wire_read_events(frame->cursor, frame->left, &sub->frame, &why))
        return subscription_confused(error, why.text);
    if (!sub->request.shared && sub->frame.last < sub->stream_last)
        return subscription_confused(error, "its events go backwards");
    sub->in_frame = true;
    return sub->frame.count == 0 ? end_frame(sub, error) : DAYBOOK_OK;
}

static void copy_text(char *to, size_t bytes, const struct wire_text *text)
{
    size_t length = text->bytes < bytes - 1 ? text->bytes : bytes - 1;
    memcpy(to, text->text, length);
    to[length] = '\0';
}

/* DAYBOOK_OK: it is none for us: told before, or never an event. */
static enum daybook_code take_lost(struct daybook_subscription *sub,
                                   const struct subscription_frame *frame,
                                   struct daybook_error *error)
{
    struct wire_lost lost;
    struct error why;
    if (wire_read_lost(frame->cursor, frame->left, &lost, &why))
        return subscription_confused(error, why.text);
    bool shared = sub->request.shared;
    if (!shared && lost.first <= sub->position)
        lost.first = sub->position + 1;
    if (!shared && lost.last > sub->stream_last)
        pass_to(sub, lost.last);
    if (lost.first > lost.last || wire_text_is(&lost.cause, "never given"))
        return DAYBOOK_OK;
    copy_text(sub->lost_cause, sizeof sub->lost_cause, &lost.cause);
    copy_text(sub->lost_text, sizeof sub->lost_text, &lost.text);
    sub->lost = (struct daybook_lost){lost.first, lost.last, sub->lost_cause, sub->lost_text};
    sub->counts.lost += lost.last - lost.first + 1;
    return failure_set(error, DAYBOOK_LOST, "the events from %llu to %llu are lost (%s)%s%s",
                       (unsigned long long)lost.first, (unsigned long long)lost.last,
                       sub->lost_cause, *sub->lost_text ? ": " : "", sub->lost_text);
}

/* DAYBOOK_OK: nothing to tell of; look on. DAYBOOK_END: nothing is there. */
static enum daybook_code take_frame(struct daybook_subscription *sub, struct daybook_error *error)
{
    struct subscription_frame frame;
    enum daybook_code code = subscription_next_frame(sub, &frame, error);
    if (code)
        return code;
    switch (frame.type) {
    case WIRE_EVENTS:
        return begin_events(sub, &frame, error);
    case WIRE_LOST:
        return take_lost(sub, &frame, error);
    case WIRE_CAUGHT_UP:
        return failure_set(error, DAYBOOK_CAUGHT_UP, "everything up to here has been given");
    default:
        return DAYBOOK_OK; /* Subscribed. */
    }
}

/* From what is there, without waiting. DAYBOOK_END: nothing. */
static enum daybook_code take(struct daybook_subscription *sub, struct daybook_event *event_out,
                              struct daybook_error *error)
{
    struct daybook_error why;
    enum daybook_code code = DAYBOOK_OK;
    while (!code) {
        code = sub->in_frame ? take_event(sub, event_out, &why) : DAYBOOK_END;
        if (!code)
            return DAYBOOK_OK;
        if (code == DAYBOOK_END)
            code = take_frame(sub, &why);
    }
    if (code == DAYBOOK_PROTOCOL && !sub->ended.code)
        return subscription_lose(sub, &why, error);
    if (code != DAYBOOK_END)
        failure_set(error, code, "%s", why.text);
    return code;
}

/* Wait for more, but not for longer than a commit that is gathering may wait. */
static enum daybook_code wait_for_more(struct daybook_subscription *sub, int64_t deadline_ns,
                                       struct daybook_error *error)
{
    int64_t due_ns = subscription_settle_due_ns(sub);
    enum daybook_code code =
        subscription_pump(sub, due_ns < deadline_ns ? due_ns : deadline_ns, error);
    if (code != DAYBOOK_END)
        return code;
    if (due_ns < deadline_ns) {
        subscription_settle(sub, false);
        return DAYBOOK_OK;
    }
    /* Whoever polls may come back late. */
    subscription_settle(sub, true);
    return failure_set(error, DAYBOOK_END, "no further event is there yet");
}

enum daybook_code daybook_subscription_next(struct daybook_subscription *sub, int timeout_ms,
                                            struct daybook_event *event_out,
                                            struct daybook_error *error)
{
    subscription_give_credit(sub);
    /* A program that is slow with the events of one frame settles in time, too. */
    subscription_settle(sub, false);
    enum daybook_code code = take(sub, event_out, error);
    int64_t deadline_ns = INT64_MAX;
    if (code == DAYBOOK_END && timeout_ms >= 0)
        deadline_ns = clock_monotonic_ns() + timeout_ms * MS_NS;
    while (code == DAYBOOK_END) {
        code = wait_for_more(sub, deadline_ns, error);
        if (code)
            return code;
        code = take(sub, event_out, error);
        subscription_give_credit(sub);
    }
    if (!code) {
        sub->giving = true;
        sub->counts.events++;
    }
    return code;
}
