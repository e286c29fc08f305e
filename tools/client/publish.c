#include <string.h>

#include "core/clock.h"
#include "core/gap.h"
#include "tools/client/handle.h"
#include "tools/client/wire.h"

#define MS_NS INT64_C(1000000)

enum {
    LOOK_AFTER_NS = 1000000, /* the socket is looked at this often while an event waits */
    WAIT_MS = 1000,
};

/* ---- The socket ---- */

/* The connection is lost, or ended for good. */
static enum daybook_code lose(struct daybook *daybook, enum daybook_code code,
                              const struct daybook_error *why, struct daybook_error *error)
{
    link_close(&daybook->link);
    daybook->gone = *why;
    if (code != DAYBOOK_UNREACHABLE && code != DAYBOOK_MEMORY)
        daybook->ended = *why;
    return failure_set(error, code, "%s", why->text);
}

static enum error_code send_ready(struct daybook *daybook, struct error *error)
{
    size_t bytes, sent;
    const uint8_t *data;
    while ((data = outbox_next_bytes(&daybook->outbox, &bytes)) != NULL) {
        enum error_code code = link_send(&daybook->link, data, bytes, &sent, error);
        if (code)
            return code;
        outbox_note_sent(&daybook->outbox, sent);
        if (sent < bytes)
            return OK;
    }
    return OK;
}

/* Take in every frame that has come. ERROR_END: nothing more is there now. */
static enum daybook_code receive_all(struct daybook *daybook, unsigned *frames,
                                     struct daybook_error *error)
{
    struct msgpack_cursor frame;
    struct error why;
    enum error_code code;
    while ((code = link_receive(&daybook->link, &frame, &why)) == OK) {
        enum daybook_code taken = handle_take_frame(daybook, frame, error);
        if (taken)
            return taken;
        ++*frames;
    }
    if (code == ERROR_END)
        return DAYBOOK_OK;
    if (code == ERROR_INVALID)
        return failure_set(error, DAYBOOK_PROTOCOL, "%s", why.text);
    return failure_from(error, &why);
}

static enum daybook_code exchange(struct daybook *daybook, unsigned *frames,
                                  struct daybook_error *error)
{
    struct error why;
    bool lost = send_ready(daybook, &why) != OK;
    /* The daemon's last words may lie there unread. */
    enum daybook_code code = receive_all(daybook, frames, error);
    if (!code && lost)
        code = failure_from(error, &why);
    return code;
}

enum daybook_code handle_pump(struct daybook *daybook, int timeout_ms, struct daybook_error *error)
{
    struct daybook_error why;
    unsigned frames = 0;
    daybook->pumped_ns = clock_monotonic_ns();
    enum daybook_code code = exchange(daybook, &frames, &why);
    if (!code && frames == 0 && timeout_ms != 0) {
        link_wait(&daybook->link, daybook->outbox.unsent != NULL, timeout_ms);
        code = exchange(daybook, &frames, &why);
    }
    return code ? lose(daybook, code, &why, error) : DAYBOOK_OK;
}

static enum daybook_code complete_frame(struct daybook *daybook, struct daybook_error *error)
{
    struct error why;
    if (outbox_complete(&daybook->outbox, &why))
        return failure_from(error, &why);
    return DAYBOOK_OK;
}

/* ---- Waiting ---- */

static int wait_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    if (left_ns <= 0)
        return 0;
    return left_ns < WAIT_MS * MS_NS ? (int)(left_ns / MS_NS) + 1 : WAIT_MS;
}

/*
 * Go on until at most `bytes_left` are in flight. Each acknowledgement, and each new connection
 * that lasts, starts the patience anew: a daemon may be killed as often as it likes.
 */
static enum daybook_code drain(struct daybook *daybook, size_t bytes_left,
                               struct daybook_error *error)
{
    struct outbox *outbox = &daybook->outbox;
    int64_t patience_ns = (int64_t)daybook->options.retry_timeout_ms * MS_NS;
    int64_t deadline_ns = clock_monotonic_ns() + patience_ns;
    while (outbox->first && outbox->bytes > bytes_left) {
        uint64_t id = outbox->first->id;
        bool connected = daybook->link.fd >= 0;
        enum daybook_code code = handle_ensure(daybook, error);
        if (!code)
            code = complete_frame(daybook, error);
        if (code)
            return code;
        code = handle_pump(daybook, wait_ms(deadline_ns), error);
        if (code && code != DAYBOOK_UNREACHABLE)
            return code;
        if (!outbox->first || outbox->first->id != id || (!connected && !code))
            deadline_ns = clock_monotonic_ns() + patience_ns;
        else if (wait_ms(deadline_ns) == 0)
            return failure_set(error, DAYBOOK_TIMEOUT,
                               "%zu events are not acknowledged after %u ms", outbox->event_count,
                               daybook->options.retry_timeout_ms);
    }
    return DAYBOOK_OK;
}

/* ---- Taking events ---- */

static enum daybook_code check_number(const struct daybook *daybook,
                                      const struct daybook_event *event,
                                      struct daybook_error *error)
{
    if (event->number == 0 || event->number > daybook->number_given)
        return DAYBOOK_OK;
    return failure_set(
        error, DAYBOOK_INVALID, "the number %llu is not above %llu, the last one that was given",
        (unsigned long long)event->number, (unsigned long long)daybook->number_given);
}

static enum daybook_code prepare_event(const struct daybook *daybook,
                                       const struct daybook_event *given, struct event *event_out,
                                       struct daybook_error *error)
{
    bool named = daybook->producer_bytes > 0;
    struct event event = {
        .time_ns = given->time_ns,
        .topic = given->topic,
        .topic_bytes = given->topic_bytes,
        .payload = given->payload,
        .payload_bytes = given->payload_bytes,
        .producer = named ? daybook->options.producer : NULL,
        .producer_bytes = daybook->producer_bytes,
        .number = given->number,
    };
    if (named && event.number == 0)
        event.number = daybook->counts.last_number + 1;
    enum daybook_code code = check_number(daybook, given, error);
    if (code)
        return code;
    struct error why;
    if (event_check(&event, &why))
        return failure_from(error, &why);
    *event_out = event;
    return DAYBOOK_OK;
}

/* Put it into the open frame. Nothing has changed unless DAYBOOK_OK. */
static enum daybook_code add_event(struct daybook *daybook, const struct event *event, uint64_t tag,
                                   bool awaited, struct daybook_error *error)
{
    struct outbox_event about = {.tag = tag, .number = event->number, .awaited = awaited};
    struct error why;
    if (outbox_add(&daybook->outbox, event, &about, &why))
        return failure_from(error, &why);
    if (event->number > 0) {
        daybook->number_given = event->number;
        if (event->number > daybook->counts.last_number)
            daybook->counts.last_number = event->number;
    }
    return DAYBOOK_OK;
}

/* The same, into one that has room for it. */
static enum daybook_code take_event(struct daybook *daybook, const struct event *event,
                                    uint64_t tag, bool awaited, struct daybook_error *error)
{
    struct outbox *outbox = &daybook->outbox;
    size_t bytes = WIRE_EVENT_BYTES + event->topic_bytes + event->payload_bytes;
    enum daybook_code code = DAYBOOK_OK;
    if (outbox_open_events(outbox) > 0 &&
        outbox_open_bytes(outbox) + bytes > daybook->options.batch_bytes)
        code = complete_frame(daybook, error);
    return code ? code : add_event(daybook, event, tag, awaited, error);
}

static enum daybook_code accept_event(struct daybook *daybook, const struct daybook_event *given,
                                      bool awaited, struct daybook_error *error)
{
    struct event event;
    enum daybook_code code = prepare_event(daybook, given, &event, error);
    if (!code)
        code = handle_ensure(daybook, error);
    if (!code && daybook->outbox.bytes >= daybook->options.window_bytes)
        code = drain(daybook, daybook->options.window_bytes / 2, error);
    if (!code)
        code = take_event(daybook, &event, given->tag, awaited, error);
    return code;
}

static bool frame_is_full(const struct daybook *daybook)
{
    return outbox_open_events(&daybook->outbox) >= daybook->options.batch_events ||
           outbox_open_bytes(&daybook->outbox) >= daybook->options.batch_bytes;
}

/*
 * Let the event go now when nothing is in flight, or else keep it for company (as in RFC 896): a
 * few that leave alone cost a commit each, for which all behind them wait. A connection found lost
 * here is the next call's business: this event was taken.
 */
static void dispatch(struct daybook *daybook)
{
    struct outbox *outbox = &daybook->outbox;
    bool full = frame_is_full(daybook);
    if (daybook->link.fd < 0)
        return;
    /* A frame that this event did not fit into is complete, and has to go. */
    bool look = outbox->unsent || clock_monotonic_ns() - daybook->pumped_ns > LOOK_AFTER_NS;
    if (!full && outbox->complete > 0 && look && handle_pump(daybook, 0, NULL))
        return;
    if (!full && (outbox->complete > 0 || daybook->options.gather))
        return;
    if (!complete_frame(daybook, NULL))
        handle_pump(daybook, 0, NULL);
}

/* ---- The library's functions ---- */

enum daybook_code daybook_send(struct daybook *daybook, const struct daybook_event *event,
                               struct daybook_error *error)
{
    enum daybook_code code = accept_event(daybook, event, false, error);
    if (!code)
        dispatch(daybook);
    return code;
}

/* What was taken is awaited. */
static enum daybook_code await(struct daybook *daybook, uint64_t *sequence_out,
                               struct daybook_error *error)
{
    enum daybook_code code = drain(daybook, 0, error);
    if (!daybook->published_came) {
        /* It stays in the outbox, and its result, when it comes, must not pass for a later one's.
         * No daemon now is no different from no answer in time. */
        outbox_stop_awaiting(&daybook->outbox);
        if (code == DAYBOOK_UNREACHABLE && error)
            error->code = DAYBOOK_TIMEOUT;
        return code == DAYBOOK_UNREACHABLE ? DAYBOOK_TIMEOUT : code;
    }
    if (daybook->published.code)
        return failure_set(error, daybook->published.code, "%s", daybook->published.reason);
    if (sequence_out)
        *sequence_out = daybook->published.sequence;
    return DAYBOOK_OK;
}

enum daybook_code daybook_publish(struct daybook *daybook, const struct daybook_event *event,
                                  uint64_t *sequence_out, struct daybook_error *error)
{
    daybook->published_came = false;
    enum daybook_code code = accept_event(daybook, event, true, error);
    return code ? code : await(daybook, sequence_out, error);
}

/* ---- With an expectation ---- */

/* They go into a frame of their own, so they have to fit into one. */
static enum daybook_code check_together(const struct daybook_event *events, size_t count,
                                        const struct wire_expectation *expected,
                                        struct daybook_error *error)
{
    size_t bytes = WIRE_PUB_BYTES + 64 + expected->topic.bytes;
    for (size_t i = 0; i < count; i++)
        bytes += WIRE_EVENT_BYTES + events[i].topic_bytes + events[i].payload_bytes;
    if (count > 0 && count <= WIRE_EVENTS_MAX && bytes <= WIRE_FRAME_MAX)
        return DAYBOOK_OK;
    return failure_set(error, DAYBOOK_INVALID,
                       "%zu events of %zu bytes cannot be published together: it takes 1 to %d, of "
                       "%d bytes at most",
                       count, bytes, WIRE_EVENTS_MAX, WIRE_FRAME_MAX);
}

/* All of them into the open frame, which is there for them alone, or none. */
static enum daybook_code take_together(struct daybook *daybook, const struct daybook_event *events,
                                       size_t count, const struct wire_expectation *expected,
                                       struct daybook_error *error)
{
    enum daybook_code code = DAYBOOK_OK;
    size_t taken = 0;
    struct error why;
    for (; taken < count && !code; taken += !code) {
        struct event event;
        code = prepare_event(daybook, &events[taken], &event, error);
        if (!code)
            code = add_event(daybook, &event, events[taken].tag, true, error);
    }
    if (!code && outbox_expect(&daybook->outbox, expected, &why))
        code = failure_from(error, &why);
    if (!code)
        code = complete_frame(daybook, error);
    if (code && taken > 0)
        outbox_drop_open(&daybook->outbox);
    return code;
}

enum daybook_code daybook_publish_expecting(struct daybook *daybook,
                                            const struct daybook_event *events, size_t count,
                                            const struct daybook_expectation *expectation,
                                            uint64_t *sequence_out, struct daybook_error *error)
{
    struct wire_expectation expected = {.given = true, .last = expectation->last};
    if (expectation->topic)
        expected.topic = (struct wire_text){expectation->topic, strlen(expectation->topic)};
    enum daybook_code code = check_together(events, count, &expected, error);
    /*
     * Alone on its way: were something behind it stored while its refusal got lost, it would pass
     * for a duplicate when it is sent again.
     */
    if (!code)
        code = drain(daybook, 0, error);
    if (!code)
        code = handle_ensure(daybook, error);
    if (code)
        return code;
    uint64_t number_given = daybook->number_given, last_number = daybook->counts.last_number;
    daybook->published_came = false;
    code = take_together(daybook, events, count, &expected, error);
    if (!code)
        code = await(daybook, sequence_out, error);
    else
        daybook->published_came = true; /* nothing is on its way */
    if (code && code != DAYBOOK_UNKNOWN && daybook->published_came) {
        daybook->number_given = number_given;
        daybook->counts.last_number = last_number;
    }
    return code;
}

enum daybook_code daybook_poll(struct daybook *daybook, int timeout_ms, struct daybook_error *error)
{
    bool idle = daybook->outbox.first == NULL;
    if (idle && daybook->link.fd < 0 && !daybook->ended.code)
        return DAYBOOK_OK; /* Connecting can wait until there is something to send. */
    enum daybook_code code = handle_ensure(daybook, error);
    if (!code)
        code = complete_frame(daybook, error);
    if (!code)
        code = handle_pump(daybook, idle ? 0 : timeout_ms, error);
    if (code == DAYBOOK_UNREACHABLE && daybook->outbox.first)
        code = handle_ensure(daybook, error);
    else if (code == DAYBOOK_UNREACHABLE)
        code = DAYBOOK_OK;
    return code;
}

enum daybook_code daybook_flush(struct daybook *daybook, struct daybook_error *error)
{
    enum daybook_code code = drain(daybook, 0, error);
    if (code)
        return code;
    struct daybook_error bad = daybook->bad;
    daybook->bad.code = DAYBOOK_OK;
    if (bad.code && !daybook->options.on_result)
        return failure_set(error, bad.code, "%s", bad.text);
    return DAYBOOK_OK;
}

/* ---- JSON ---- */

static enum daybook_code convert(struct daybook *daybook, const char *topic, int64_t time_ns,
                                 const char *json, struct daybook_event *event_out,
                                 struct daybook_error *error)
{
    struct error why;
    if (!daybook->json && json_reader_create(&daybook->json, &why))
        return failure_from(error, &why);
    daybook->converted.size = 0;
    if (json_to_msgpack(daybook->json, json, strlen(json), EVENT_PAYLOAD_DEPTH_MAX,
                        &daybook->converted, &why))
        return failure_from(error, &why);
    *event_out = (struct daybook_event){
        .time_ns = time_ns,
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = daybook->converted.data,
        .payload_bytes = daybook->converted.size,
    };
    return DAYBOOK_OK;
}

static enum daybook_code check_gap(const struct daybook *daybook, uint64_t first, uint64_t last,
                                   struct daybook_error *error)
{
    if (daybook->producer_bytes == 0)
        return failure_set(error, DAYBOOK_INVALID,
                           "a client without a producer's name numbers no events, so none of its "
                           "numbers can be missing");
    /* The report itself needs the number behind them. */
    if (first == 0 || last < first || last >= EVENT_NUMBER_MAX)
        return failure_set(error, DAYBOOK_INVALID,
                           "from %llu to %llu is no range of numbers below %llu",
                           (unsigned long long)first, (unsigned long long)last,
                           (unsigned long long)EVENT_NUMBER_MAX);
    if (first <= daybook->counts.last_number)
        return failure_set(error, DAYBOOK_INVALID,
                           "the number %llu is not above %llu, the last one that was given or is "
                           "in the log, so it was not dropped",
                           (unsigned long long)first,
                           (unsigned long long)daybook->counts.last_number);
    return DAYBOOK_OK;
}

enum daybook_code daybook_report_gap(struct daybook *daybook, uint64_t first, uint64_t last,
                                     const char *reason, struct daybook_error *error)
{
    struct error why;
    enum daybook_code code = check_gap(daybook, first, last, error);
    if (code)
        return code;
    struct gap gap = {
        .producer = daybook->options.producer,
        .producer_bytes = daybook->producer_bytes,
        .first = first,
        .last = last,
        .count = last - first + 1,
        .cause = GAP_DROPPED,
        .reason = reason ? reason : "",
        .reason_bytes = reason ? strlen(reason) : 0,
    };
    daybook->converted.size = 0;
    if (gap_write(&gap, &daybook->converted, &why))
        return failure_from(error, &why);
    struct daybook_event event = {
        .time_ns = DAYBOOK_TIME_NONE,
        .topic = GAP_TOPIC,
        .topic_bytes = sizeof GAP_TOPIC - 1,
        .payload = daybook->converted.data,
        .payload_bytes = daybook->converted.size,
        .number = last + 1,
    };
    return daybook_send(daybook, &event, error);
}

enum daybook_code daybook_publish_json(struct daybook *daybook, const char *topic, int64_t time_ns,
                                       const char *json, uint64_t *sequence_out,
                                       struct daybook_error *error)
{
    struct daybook_event event;
    enum daybook_code code = convert(daybook, topic, time_ns, json, &event, error);
    return code ? code : daybook_publish(daybook, &event, sequence_out, error);
}

enum daybook_code daybook_send_json(struct daybook *daybook, const char *topic, int64_t time_ns,
                                    const char *json, uint64_t tag, struct daybook_error *error)
{
    struct daybook_event event;
    enum daybook_code code = convert(daybook, topic, time_ns, json, &event, error);
    if (code)
        return code;
    event.tag = tag;
    return daybook_send(daybook, &event, error);
}
