#include "tools/zmq/stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "tools/zmq/message.h"
#include "tools/zmq/socket.h"

#define MS_NS INT64_C(1000000)

enum {
    /* A call of the library waits no longer, so that a stop is soon seen; a slow disk takes some. */
    CALL_MS = 700,
    FULL_MS = 5,    /* until a socket that was full is tried again */
    AWAY_MS = 200,  /* until a daemon that is away is */
    ROUND_MS = 500, /* between two looks at clocks, when nothing comes */
};

enum error_code stream_init(struct stream *stream, const struct stream_options *options,
                            struct error *error)
{
    *stream = (struct stream){.options = *options};
    stream->head = strdup(options->head);
    stream->topic = strdup(options->topic);
    if (!stream->head || !stream->topic)
        return error_set(error, ERROR_MEMORY, "no memory for a subscription");
    return OK;
}

/* ---- The daemon's side ---- */

static void tell_away(struct stream *stream, const char *why)
{
    if (!stream->away && !stream->options.history)
        notices_line(stream->options.notices, REPORT_WARNING,
                     "the daemon is away, subscribers wait for it: %s", why);
    stream->away = true;
}

static void tell_back(struct stream *stream)
{
    if (stream->away && !stream->options.history)
        notices_line(stream->options.notices, REPORT_INFO,
                     "events come again: the daemon is back");
    stream->away = false;
}

static void take_connection(void *context, bool connected)
{
    if (connected)
        tell_back(context);
    else
        tell_away(context, "the connection was lost");
}

static enum stream_state judge(struct stream *stream, const struct daybook_error *why,
                               struct error *error)
{
    switch (why->code) {
    case DAYBOOK_UNREACHABLE:
    case DAYBOOK_TIMEOUT:
    case DAYBOOK_MEMORY:
        tell_away(stream, why->text);
        return STREAM_AWAY;
    default:
        error_set(error, why->code == DAYBOOK_REPLACED ? ERROR_BUSY : ERROR_CLOSED, "%s",
                  why->text);
        return STREAM_ENDED;
    }
}

enum stream_state stream_open(struct stream *stream, struct error *error)
{
    /* Without the daemon's own, that begin with _. */
    static const char *const OURS_NOT[] = {">", NULL};
    const struct stream_options *given = &stream->options;
    struct daybook_subscription_options options = {
        .directory = given->directory,
        .socket = given->socket,
        .client = "daybook-zmq/" DAYBOOK_VERSION,
        .start = given->start,
        .after = given->after,
        .since_ns = given->since_ns,
        .cursor = given->cursor,
        .topics = given->topic[0] == '_' ? NULL : OURS_NOT,
        .connect_timeout_ms = CALL_MS,
        .retry_timeout_ms = CALL_MS,
        .on_connection = take_connection,
        .context = stream,
    };
    struct daybook_error why;
    if (stream->subscription)
        return STREAM_IDLE;
    if (daybook_subscribe(&options, &stream->subscription, &why))
        return judge(stream, &why, error);
    stream->sent = daybook_subscription_position(stream->subscription);
    tell_back(stream);
    return STREAM_IDLE;
}

static void tell_lost(const struct stream *stream)
{
    struct daybook_lost lost;
    daybook_subscription_lost(stream->subscription, &lost);
    notices_line(stream->options.notices, REPORT_WARNING,
                 "sequences %" PRIu64 " to %" PRIu64 " cannot be sent any more: %s", lost.first,
                 lost.last, lost.text[0] ? lost.text : lost.cause);
}

static bool is_wanted(const struct stream *stream, const struct daybook_event *event)
{
    size_t bytes = strlen(stream->topic);
    return event->topic_bytes >= bytes && memcmp(event->topic, stream->topic, bytes) == 0;
}

/* From here on the event is in hand. */
static enum error_code take(struct stream *stream, const struct daybook_event *event,
                            struct error *error)
{
    stream->frame.size = stream->body.size = 0;
    enum error_code code = buffer_append(&stream->frame, stream->head, strlen(stream->head), error);
    if (!code)
        code = buffer_append(&stream->frame, event->topic, event->topic_bytes, error);
    if (!code)
        code = message_write(event, &stream->body, error);
    stream->sequence = event->sequence;
    stream->in_hand = !code;
    return code;
}

/* STREAM_MORE: there is an event in hand now, or there may be one after the next call. */
static enum stream_state fetch(struct stream *stream, struct error *error)
{
    struct daybook_event event;
    struct daybook_error why;
    enum daybook_code code = daybook_subscription_next(stream->subscription, 0, &event, &why);
    switch (code) {
    case DAYBOOK_OK:
        if (!is_wanted(stream, &event))
            break;
        return take(stream, &event, error) ? STREAM_ENDED : STREAM_MORE;
    case DAYBOOK_LOST:
        tell_lost(stream);
        break;
    case DAYBOOK_CAUGHT_UP:
        break;
    case DAYBOOK_END:
        stream->sent = daybook_subscription_position(stream->subscription);
        return stream_fd(stream) < 0 ? STREAM_AWAY : STREAM_IDLE;
    default:
        return judge(stream, &why, error);
    }
    stream->sent = daybook_subscription_position(stream->subscription);
    return STREAM_MORE;
}

/* ---- The subscribers' side ---- */

static void send_rest(struct stream *stream, void *socket)
{
    char number[24];
    bool numbered = stream->options.history;
    int last = numbered ? ZMQ_SNDMORE : 0;
    /* Room is counted in whole messages: where the first frame had some, the others have. */
    zmq_send(socket, stream->body.data, stream->body.size, ZMQ_DONTWAIT | last);
    int bytes = snprintf(number, sizeof number, "%" PRIu64, stream->sequence);
    if (numbered)
        zmq_send(socket, number, (size_t)bytes, ZMQ_DONTWAIT);
}

static void let_go(struct stream *stream)
{
    stream->in_hand = false;
    stream->sent = stream->sequence;
    stream->events++;
}

/* False: somebody who should get it has no room. */
static bool send_in_hand(struct stream *stream, void *socket)
{
    int flags = ZMQ_SNDMORE | ZMQ_DONTWAIT;
    if (zmq_send(socket, stream->frame.data, stream->frame.size, flags) < 0)
        return false;
    send_rest(stream, socket);
    let_go(stream);
    return true;
}

void stream_force(struct stream *stream, void *socket)
{
    assert(stream->in_hand);
    socket_set(socket, ZMQ_XPUB_NODROP, 0, NULL);
    send_in_hand(stream, socket);
    socket_set(socket, ZMQ_XPUB_NODROP, 1, NULL);
}

enum stream_state stream_pump(struct stream *stream, void *socket, unsigned events_max,
                              struct error *error)
{
    enum stream_state state = stream_open(stream, error);
    if (state != STREAM_IDLE)
        return state;
    state = STREAM_MORE;
    for (unsigned i = 0; i < events_max && state == STREAM_MORE; i++) {
        if (!stream->in_hand)
            state = fetch(stream, error);
        if (stream->in_hand && !send_in_hand(stream, socket))
            state = STREAM_FULL;
    }
    return state;
}

int64_t stream_timeout_ns(enum stream_state state)
{
    switch (state) {
    case STREAM_MORE:
        return 0;
    case STREAM_FULL:
        return FULL_MS * MS_NS;
    case STREAM_AWAY:
        return AWAY_MS * MS_NS;
    default:
        return ROUND_MS * MS_NS;
    }
}

int stream_fd(const struct stream *stream)
{
    return stream->subscription ? daybook_subscription_fd(stream->subscription) : -1;
}

void stream_release(struct stream *stream)
{
    daybook_subscription_close(stream->subscription);
    buffer_release(&stream->frame);
    buffer_release(&stream->body);
    free(stream->head);
    free(stream->topic);
    *stream = (struct stream){0};
}
