/* What a subscriber is sent: answers of its own, and frames whose events are in a ring. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/daybookd/bus_state.h"
#include "tools/daybookd/subscriber.h"

/* ---- The socket ---- */

static void set_blocked(struct subscriber *subscriber, bool blocked)
{
    if (subscriber->blocked == blocked)
        return;
    subscriber->blocked = blocked;
    bus_watch_room(subscriber->bus, subscriber, blocked);
}

/* How many bytes it has taken; what is left does not fit now. */
static size_t give(struct subscriber *subscriber, struct iovec *pieces, int count, size_t bytes)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do
        sent = sendmsg(subscriber->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS) {
        subscriber_drop(subscriber);
        return 0;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    subscriber->bytes += taken;
    set_blocked(subscriber, taken < bytes);
    return taken;
}

static void send_answers(struct subscriber *subscriber)
{
    struct buffer *answers = &subscriber->answers;
    size_t left = answers->size - subscriber->answers_sent;
    if (left == 0)
        return;
    struct iovec piece = {answers->data + subscriber->answers_sent, left};
    subscriber->answers_sent += give(subscriber, &piece, 1, left);
    if (subscriber->answers_sent < answers->size)
        return;
    buffer_release(answers);
    subscriber->answers_sent = 0;
    if (subscriber->readable || subscriber->input.size > 0)
        bus_watch_input(subscriber); /* it may have waited until its answers were read */
}

/* ---- Frames ---- */

/* The pieces of head and slice, without the first `skip` bytes. */
static int frame_pieces(struct subscriber_frame *frame, const struct ring *ring,
                        const struct ring_run *run, size_t skip, struct iovec pieces[3])
{
    int count = 0;
    uint64_t begin = run->begin;
    if (skip < frame->head_bytes)
        pieces[count++] = (struct iovec){frame->head + skip, frame->head_bytes - skip};
    else
        begin += skip - frame->head_bytes;
    return count + ring_slice(ring, begin, run->end, pieces + count);
}

static void end_frame(struct subscriber *subscriber)
{
    struct subscriber_frame *frame = &subscriber->frame;
    subscriber->position = subscriber->told = frame->last;
    subscriber->delivered += frame->count;
    atomic_fetch_add_explicit(&subscriber->bus->delivered, frame->count, memory_order_relaxed);
    frame->begun = false;
}

static void give_frame(struct subscriber *subscriber, const struct ring *ring,
                       const struct ring_run *run)
{
    struct subscriber_frame *frame = &subscriber->frame;
    struct iovec pieces[3];
    int count = frame_pieces(frame, ring, run, frame->sent, pieces);
    frame->sent += give(subscriber, pieces, count, frame->bytes - frame->sent);
    if (frame->sent == frame->bytes)
        end_frame(subscriber);
}

/*
 * The rest of a frame that the socket took in part. The log must still say what it said then, also
 * as far as it has been read again: what is too much now will not become right later, and may fill
 * the ring before the end of the frame.
 */
static enum sending go_on(struct subscriber *subscriber, const struct ring *ring)
{
    struct subscriber_frame *frame = &subscriber->frame;
    if (!ring || !ring_reaches(ring, frame->after))
        return SENDING_OUTSIDE;
    bool whole = ring->looked >= frame->last_event;
    struct ring_run run =
        ring_find_run(ring, frame->after, whole ? frame->last_event : ring->looked);
    size_t bytes = frame->head_bytes + (size_t)(run.end - run.begin);
    bool fits = !run.alone && run.count <= frame->count && bytes <= frame->bytes;
    if (fits && !whole)
        return SENDING_DONE;
    if (!fits || run.count != frame->count || bytes != frame->bytes) {
        subscriber_drop(subscriber);
        return SENDING_OVER;
    }
    give_frame(subscriber, ring, &run);
    return SENDING_MORE;
}

static bool begin_frame(struct subscriber *subscriber, const struct ring_run *run)
{
    struct subscriber_frame *frame = &subscriber->frame;
    size_t bytes = (size_t)(run->end - run->begin);
    *frame = (struct subscriber_frame){
        .begun = true,
        .after = subscriber->position,
        .last_event = run->last_event,
        .last = run->last,
        .count = run->count,
    };
    if (!subscriber->lines) {
        struct buffer *head = &subscriber->bus->scratch;
        head->size = 0;
        if (wire_write_events_head(head, run->last, run->count, bytes, NULL)) {
            subscriber_drop(subscriber);
            return false;
        }
        assert(head->size <= sizeof frame->head);
        memcpy(frame->head, head->data, head->size);
        frame->head_bytes = head->size;
    }
    frame->bytes = frame->head_bytes + bytes;
    if (subscriber->limited)
        subscriber->credit -= run->count;
    return true;
}

/* A loss: it waits with the answers, for it is small, and later the log may tell it otherwise. */
static void give_alone(struct subscriber *subscriber, const struct ring *ring,
                       const struct ring_run *run)
{
    struct iovec pieces[2];
    enum error_code code = OK;
    int count = ring_slice(ring, run->begin, run->end, pieces);
    for (int i = 0; !code && i < count; i++)
        code = buffer_append(&subscriber->answers, pieces[i].iov_base, pieces[i].iov_len, NULL);
    if (!code) {
        subscriber->position = run->last;
        subscriber->told = run->last_event; /* what was looked at behind it, it does not say */
    }
    subscriber_answered(subscriber, code);
}

/* ---- What is told beside the events ---- */

/* Nothing that matched: let the client know how far that is true. */
static enum error_code tell_looked(struct subscriber *subscriber)
{
    if (subscriber->told >= subscriber->position)
        return OK;
    subscriber->told = subscriber->position;
    if (subscriber->lines)
        return OK;
    return wire_write_events_head(&subscriber->answers, subscriber->position, 0, 0, NULL);
}

static void tell_caught_up(struct subscriber *subscriber)
{
    subscriber->caught_up = true;
    enum error_code code = tell_looked(subscriber);
    if (!code)
        code = subscriber->lines
                   ? buffer_printf(&subscriber->answers, NULL, "{\"caught_up\":%llu}\n",
                                   (unsigned long long)subscriber->position)
                   : wire_write_caught_up(&subscriber->answers, subscriber->position, NULL);
    subscriber_answered(subscriber, code);
}

static bool has_fresh_answers(const struct subscriber *subscriber)
{
    return subscriber->answers.size > subscriber->answers_sent;
}

/* Nothing of the ring is left to be sent. */
static enum sending reach_end(struct subscriber *subscriber, const struct ring *ring)
{
    if (subscriber->position < ring->looked)
        subscriber->position = ring->looked;
    if (!subscriber->caught_up && subscriber->position >= subscriber->bus->durable)
        tell_caught_up(subscriber);
    return has_fresh_answers(subscriber) ? SENDING_MORE : SENDING_DONE;
}

static enum sending send_next(struct subscriber *subscriber, const struct ring *ring)
{
    struct ring_run run;
    if (!ring_reaches(ring, subscriber->position))
        return SENDING_OUTSIDE;
    uint64_t most = subscriber->limited ? subscriber->credit : WIRE_EVENTS_MAX;
    uint32_t count_max = most < WIRE_EVENTS_MAX ? (uint32_t)most : WIRE_EVENTS_MAX;
    if (!ring_next_run(ring, subscriber->position, count_max, SUBSCRIBER_FRAME_BYTES, &run))
        return reach_end(subscriber, ring);
    if (run.alone) {
        give_alone(subscriber, ring, &run);
        return SENDING_MORE;
    }
    if (count_max == 0)
        return SENDING_NO_CREDIT;
    if (begin_frame(subscriber, &run))
        give_frame(subscriber, ring, &run);
    return SENDING_MORE;
}

static enum sending send_one(struct subscriber *subscriber, const struct ring *ring)
{
    if (subscriber->frame.begun)
        return go_on(subscriber, ring);
    if (has_fresh_answers(subscriber)) {
        send_answers(subscriber);
        return SENDING_MORE;
    }
    if (subscriber->closing) {
        subscriber_drop(subscriber);
        return SENDING_OVER;
    }
    return ring ? send_next(subscriber, ring) : SENDING_DONE;
}

enum sending subscriber_send(struct subscriber *subscriber, const struct ring *ring)
{
    enum sending sending = SENDING_MORE;
    uint64_t enough = subscriber->bytes + SUBSCRIBER_TURN_BYTES;
    while (sending == SENDING_MORE && subscriber->bytes < enough) {
        if (subscriber->gone)
            return SENDING_OVER;
        if (subscriber->blocked)
            return SENDING_BLOCKED;
        sending = send_one(subscriber, ring);
    }
    return sending;
}
