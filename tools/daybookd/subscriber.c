/* A subscriber's life, and what it sends: docs/protocol.md, "Subscriptions". */
#include "tools/daybookd/subscriber.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "segment/log.h"
#include "tools/daybookd/bus_state.h"
#include "tools/daybookd/subscriber_take.h"

enum { READ_BYTES = 16384, SETTLED_BYTES = 32 /* an answer to accept or release */ };

struct subscriber *subscriber_create(struct bus *bus, struct bus_arrival *arrival)
{
    struct subscriber *subscriber = calloc(1, sizeof *subscriber);
    if (!subscriber)
        return NULL;
    subscriber->bus = bus;
    subscriber->fd = arrival->fd;
    subscriber->number = arrival->number;
    subscriber->peer = arrival->peer;
    subscriber->lines = arrival->lines;
    subscriber->input = arrival->input;
    subscriber->readable = true;
    bus->input_bytes += subscriber->input.capacity;
    arrival->fd = -1;
    arrival->input = (struct buffer){0};
    return subscriber;
}

static void drop_input(struct subscriber *subscriber)
{
    subscriber->bus->input_bytes -= subscriber->input.capacity;
    buffer_release(&subscriber->input);
    subscriber->unit_since_ns = subscriber->held_since_ns = 0;
}

void subscriber_free(struct subscriber *subscriber)
{
    struct bus *bus = subscriber->bus;
    notices_line(&bus->notices, REPORT_DETAIL,
                 "connection %" PRIu64 ": gone, after %" PRIu64 " events to it", subscriber->number,
                 subscriber->delivered);
    list_remove(&subscriber->in_all);
    list_remove(&subscriber->in_readable);
    list_remove(&subscriber->in_place);
    if (subscriber->history)
        history_leave(subscriber->history);
    if (subscriber->feed)
        bus_leave_feed(bus, subscriber->feed);
    drop_input(subscriber);
    buffer_release(&subscriber->answers);
    file_close(&subscriber->fd);
    free(subscriber);
}

static void leave_cursor(struct subscriber *subscriber)
{
    struct bus_cursor *cursor = subscriber->cursor;
    subscriber->cursor = NULL;
    if (cursor)
        bus_cursor_leave(cursor);
    bus_group_leave(subscriber);
    bus_cursors_forget(subscriber);
}

/* Nothing of it is looked at any more in this round. */
void subscriber_drop(struct subscriber *subscriber)
{
    if (subscriber->gone)
        return;
    subscriber->gone = true;
    list_remove(&subscriber->in_place);
    list_remove(&subscriber->in_readable);
    list_remove(&subscriber->in_all);
    list_append(&subscriber->bus->dead, &subscriber->in_all);
    leave_cursor(subscriber);
}

void subscriber_answered(struct subscriber *subscriber, enum error_code encoded)
{
    /* Without memory for an answer the client must not wait for it. */
    if (encoded)
        subscriber_drop(subscriber);
}

static enum error_code write_last_line(struct buffer *out, const char *text)
{
    enum error_code code = buffer_printf(out, NULL, "{\"ok\":false,\"error\":");
    if (!code)
        code = json_append_string(out, text, strlen(text), NULL);
    if (!code)
        code = buffer_append(out, "}\n", 2, NULL);
    return code;
}

/* Where the rest of a frame that is on its way would come from. */
static const struct ring *ring_at_hand(const struct subscriber *subscriber)
{
    if (!subscriber->frame.begun)
        return NULL;
    if (subscriber->history)
        return &subscriber->history->ring;
    return subscriber->feed->live ? &subscriber->feed->ring : NULL;
}

void subscriber_end(struct subscriber *subscriber)
{
    enum sending sending;
    do
        sending = subscriber_send(subscriber, ring_at_hand(subscriber));
    while (sending == SENDING_MORE);
    /* The frame on its way has to end first; where its events are not at hand, nothing follows. */
    if (sending == SENDING_OUTSIDE || sending == SENDING_DONE)
        subscriber_drop(subscriber);
}

void subscriber_fail(struct subscriber *subscriber, const char *code, const char *text)
{
    struct bus *bus = subscriber->bus;
    if (subscriber->closing || subscriber->gone)
        return;
    notices_closing(&bus->notices, subscriber->number, code, text);
    atomic_store_explicit(&bus->closed, bus->notices.closed, memory_order_relaxed);
    list_remove(&subscriber->in_place);
    drop_input(subscriber);
    leave_cursor(subscriber);
    subscriber->closing = true;
    subscriber->closing_since_ns = bus->now_ns;
    struct buffer *answers = &subscriber->answers;
    enum error_code encoded = subscriber->lines ? write_last_line(answers, text)
                                                : wire_write_error(answers, code, text, NULL);
    subscriber_answered(subscriber, encoded);
    if (!subscriber->gone)
        subscriber_end(subscriber);
}

/* ---- Input ---- */

/*
 * Before anything else is taken, these have to be read; answers that wait for the disk count with
 * them. But who has hung up reads none, and its last words are worth no less.
 */
static bool has_answered_much(const struct subscriber *subscriber)
{
    size_t owed = subscriber->hung_up ? 0 : subscriber->settlings * SETTLED_BYTES;
    return subscriber->answers.size - subscriber->answers_sent + owed > SUBSCRIBER_ANSWERS_MAX;
}

static bool may_take(const struct subscriber *subscriber)
{
    return !subscriber->gone && !subscriber->closing && !has_answered_much(subscriber);
}

/* How long the first unit is, with its length or newline; 0: it is not all there. */
static size_t unit_bytes(struct subscriber *subscriber)
{
    const struct buffer *input = &subscriber->input;
    if (subscriber->lines) {
        const uint8_t *newline = memchr(input->data, '\n', input->size);
        return newline ? (size_t)(newline - input->data) + 1 : 0;
    }
    if (input->size < WIRE_LENGTH_BYTES)
        return 0;
    size_t bytes = WIRE_LENGTH_BYTES + wire_read_length(input->data);
    if (bytes <= SUBSCRIBER_UNIT_MAX)
        return bytes <= input->size ? bytes : 0;
    if (!subscriber->closing) {
        struct error error;
        error_set(&error, ERROR_INVALID,
                  "a frame of %zu bytes; at most %d are allowed of a subscriber",
                  bytes - WIRE_LENGTH_BYTES, SUBSCRIBER_UNIT_MAX - WIRE_LENGTH_BYTES);
        subscriber_fail(subscriber, "too_large", error.text);
    }
    return 0;
}

static void take_units(struct subscriber *subscriber)
{
    struct buffer *input = &subscriber->input;
    size_t bytes;
    while (input->size > 0 && may_take(subscriber) && (bytes = unit_bytes(subscriber)) > 0) {
        subscriber->unit_since_ns = subscriber->held_since_ns = 0;
        if (subscriber->lines)
            subscriber_take_line(subscriber, (const char *)input->data, bytes - 1);
        else
            subscriber_take_frame(subscriber, input->data + WIRE_LENGTH_BYTES,
                                  bytes - WIRE_LENGTH_BYTES);
        if (input->size > 0) /* else it was dropped, with the subscriber's last words */
            buffer_consume(input, bytes);
    }
    if (input->size == 0 || !may_take(subscriber))
        return;
    if (subscriber->unit_since_ns == 0)
        subscriber->unit_since_ns = subscriber->bus->now_ns;
    if (input->size > SUBSCRIBER_UNIT_MAX)
        subscriber_fail(subscriber, "too_large", "the line is too long for a subscriber's");
}

/* The client sends no more; its subscription goes on. A last line may lack its newline. */
static void take_end(struct subscriber *subscriber)
{
    subscriber->ended = true;
    subscriber->readable = false;
    if (subscriber->lines && subscriber->input.size > 0)
        subscriber_take_line(subscriber, (const char *)subscriber->input.data,
                             subscriber->input.size);
    drop_input(subscriber);
    if (!subscriber->subscribed && !subscriber->closing)
        subscriber_drop(subscriber);
}

static void read_once(struct subscriber *subscriber)
{
    struct buffer *input = &subscriber->input;
    size_t before = input->capacity;
    enum error_code code = buffer_reserve(input, READ_BYTES, NULL);
    subscriber->bus->input_bytes += input->capacity - before;
    if (code) {
        subscriber_drop(subscriber);
        return;
    }
    ssize_t got = recv(subscriber->fd, input->data + input->size, READ_BYTES, MSG_DONTWAIT);
    if (got > 0)
        input->size += (size_t)got;
    else if (got == 0)
        take_end(subscriber);
    else if (errno == EAGAIN)
        subscriber->readable = false;
    else if (errno != EINTR)
        subscriber_drop(subscriber);
}

/* Half a frame is mostly small: it should not keep what a read needs. */
static void shrink_input(struct subscriber *subscriber)
{
    enum { LEAST_BYTES = 128 };
    struct buffer *input = &subscriber->input, small = {0};
    if (input->capacity <= LEAST_BYTES || input->capacity / 4 < input->size ||
        buffer_append(&small, input->data, input->size, NULL))
        return;
    subscriber->bus->input_bytes -= input->capacity - small.capacity;
    buffer_release(input);
    *input = small;
}

/* All together have too much: it is not the last who pays, but who has kept his for longest. */
static struct subscriber *find_longest_held(struct bus *bus)
{
    struct subscriber *longest = NULL;
    for (struct list_link *link = bus->all.next; link != &bus->all; link = link->next) {
        struct subscriber *other = LIST_MEMBER(link, struct subscriber, in_all);
        if (other->held_since_ns && (!longest || other->held_since_ns < longest->held_since_ns))
            longest = other;
    }
    return longest;
}

/* What is not a whole unit stays, within the bounds of all; nobody keeps memory for nothing. */
static void park_input(struct subscriber *subscriber)
{
    struct bus *bus = subscriber->bus;
    if (subscriber->input.size == 0) {
        drop_input(subscriber);
        return;
    }
    shrink_input(subscriber);
    if (subscriber->held_since_ns == 0)
        subscriber->held_since_ns = bus->now_ns;
    struct subscriber *longest;
    while (bus->input_bytes > BUS_INPUT_BYTES && (longest = find_longest_held(bus)))
        subscriber_fail(longest, "busy",
                        "the daemon's memory for subscribers' unfinished frames is used up, and "
                        "this one has been unfinished for longest");
}

bool subscriber_take_input(struct subscriber *subscriber)
{
    take_units(subscriber);
    if (may_take(subscriber) && subscriber->readable) {
        read_once(subscriber);
        take_units(subscriber);
    }
    if (subscriber->hung_up && (!subscriber->readable || !may_take(subscriber)))
        subscriber_drop(subscriber);
    if (!subscriber->gone)
        park_input(subscriber);
    return subscriber->readable && may_take(subscriber);
}

/* ---- Time ---- */

void subscriber_tick(struct subscriber *subscriber)
{
    const int64_t ms = 1000000;
    int64_t now_ns = subscriber->bus->now_ns;
    if (subscriber->closing) {
        if (now_ns - subscriber->closing_since_ns > SUBSCRIBER_LAST_MS * ms)
            subscriber_drop(subscriber);
        return;
    }
    if (subscriber->unit_since_ns && !has_answered_much(subscriber) &&
        now_ns - subscriber->unit_since_ns > SUBSCRIBER_UNIT_MS * ms) {
        subscriber_fail(subscriber, "timeout",
                        "a frame or line was still not whole 10 s after its first byte");
        return;
    }
    bool quiet = subscriber->begun && !subscriber->frame.begun &&
                 subscriber->told < subscriber->position && !subscriber->lines;
    if (!quiet || subscriber->answers.size > 0)
        return;
    subscriber->told = subscriber->position;
    subscriber_answered(subscriber, wire_write_events_head(&subscriber->answers,
                                                           subscriber->position, 0, 0, NULL));
    if (!subscriber->gone)
        subscriber_send(subscriber, NULL);
}
