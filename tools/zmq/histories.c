#include "tools/zmq/histories.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { EVENTS_PER_TURN = 64 };

static struct history *find(struct histories *histories, const void *text, size_t bytes)
{
    for (struct history *h = histories->at; h < histories->at + HISTORIES_MAX; h++)
        if (h->text && h->text_bytes == bytes && memcmp(h->text, text, bytes) == 0)
            return h;
    return NULL;
}

static struct history *take_place(struct histories *histories, const void *text, size_t bytes,
                                  struct error *error)
{
    struct history *h = histories->at;
    while (h < histories->at + HISTORIES_MAX && h->text)
        h++;
    if (h == histories->at + HISTORIES_MAX) {
        error_set(error, ERROR_FULL, "%d different ones are being served, which is the most",
                  HISTORIES_MAX);
        return NULL;
    }
    h->text = malloc(bytes);
    if (!h->text) {
        error_set(error, ERROR_MEMORY, "no memory for it");
        return NULL;
    }
    memcpy(h->text, text, bytes);
    h->text_bytes = bytes;
    return h;
}

static void end(struct history *history)
{
    stream_release(&history->stream);
    free(history->text);
    *history = (struct history){0};
}

/* From where the request says, also when another one with the same bytes has got further. */
static enum error_code begin_stream(const struct histories *histories, struct history *history,
                                    const struct request *request, struct error *error)
{
    char head[REQUEST_BYTES_MAX + 80], topic[REQUEST_BYTES_MAX + 1];
    snprintf(head, sizeof head, "%.*s%s", (int)request->head_bytes, request->head,
             histories->options.prefix);
    snprintf(topic, sizeof topic, "%.*s", (int)request->topic_bytes, request->topic);
    struct stream_options options = {
        .directory = histories->options.directory,
        .socket = histories->options.socket,
        .start = request->by_time ? DAYBOOK_START_SINCE : DAYBOOK_START_AFTER,
        .after = request->after,
        .since_ns = request->since_ns,
        .head = head,
        .topic = topic,
        .history = true,
        .notices = histories->options.notices,
    };
    stream_release(&history->stream);
    history->state = STREAM_MORE;
    return stream_init(&history->stream, &options, error);
}

enum error_code histories_begin(struct histories *histories, const struct request *request,
                                const void *text, size_t bytes, struct error *error)
{
    struct history *history = find(histories, text, bytes);
    if (!history)
        history = take_place(histories, text, bytes, error);
    if (!history)
        return error->code;
    zmq_setsockopt(histories->options.pub, ZMQ_SUBSCRIBE, text, bytes);
    history->subscribers++;
    enum error_code code = begin_stream(histories, history, request, error);
    if (code)
        end(history);
    return code;
}

void histories_leave(struct histories *histories, const void *text, size_t bytes)
{
    struct history *history = find(histories, text, bytes);
    if (!history)
        return;
    zmq_setsockopt(histories->options.pub, ZMQ_UNSUBSCRIBE, text, bytes);
    if (--history->subscribers == 0)
        end(history);
}

static void pump(const struct histories *histories, struct history *history)
{
    struct error error;
    uint64_t before = history->stream.events;
    history->state =
        stream_pump(&history->stream, histories->options.pub, EVENTS_PER_TURN, &error);
    atomic_fetch_add(&histories->options.counts->replayed, history->stream.events - before);
    if (history->state == STREAM_ENDED)
        notices_line(histories->options.notices, REPORT_WARNING,
                     "the history that was asked for with '%.*s' ends: %s",
                     (int)history->text_bytes, history->text, error.text);
}

bool histories_pump(struct histories *histories)
{
    bool more = false;
    for (struct history *h = histories->at; h < histories->at + HISTORIES_MAX; h++) {
        if (h->text && h->state != STREAM_ENDED)
            pump(histories, h);
        more = more || (h->text && h->state == STREAM_MORE);
    }
    return more;
}

void histories_wait(const struct histories *histories, int *fds, int *count, int64_t *timeout_ns)
{
    for (const struct history *h = histories->at; h < histories->at + HISTORIES_MAX; h++) {
        if (!h->text)
            continue;
        if (h->state == STREAM_IDLE)
            fds[(*count)++] = stream_fd(&h->stream);
        if (stream_timeout_ns(h->state) < *timeout_ns)
            *timeout_ns = stream_timeout_ns(h->state);
    }
}

void histories_release(struct histories *histories)
{
    for (struct history *h = histories->at; h < histories->at + HISTORIES_MAX; h++)
        if (h->text)
            end(h);
}
