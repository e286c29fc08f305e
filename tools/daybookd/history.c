#include "tools/daybookd/history.h"

#include <assert.h>
#include <inttypes.h>

#include "core/clock.h"
#include "tools/daybookd/bus_state.h"

enum {
    HISTORY_RING_BYTES = 262144,
    HISTORY_TURN_NS = 1000000,
};

void history_leave(struct history *history)
{
    if (history->owner)
        history->owner->history = NULL;
    history->owner = NULL;
    history->item_count = history->item_next = 0;
    if (ring_memory(&history->ring) > HISTORY_RING_BYTES * 2)
        ring_release(&history->ring);
}

void history_release(struct history *history)
{
    history_leave(history);
    ring_release(&history->ring);
    log_stream_close(history->stream);
    history->stream = NULL;
}

/* The one that has been of use longest ago; nobody's before anybody's. */
static struct history *find_free(struct bus *bus)
{
    struct history *best = &bus->histories[0];
    for (size_t i = 1; i < BUS_HISTORIES; i++) {
        struct history *other = &bus->histories[i];
        if (!best->owner)
            break;
        if (!other->owner || other->used_ns < best->used_ns)
            best = other;
    }
    return best;
}

static void seek(struct history *history, const struct subscriber *subscriber)
{
    struct log_stream_place place =
        landmarks_find(&subscriber->bus->landmarks, subscriber->position + 1);
    log_stream_seek(history->stream, subscriber->position, &place);
    ring_reset(&history->ring, subscriber->position);
    history->item_count = history->item_next = 0;
    history->at_end = false;
}

/* The history that stands where the subscriber does, or NULL: the log cannot be read. */
static struct history *take_history(struct bus *bus, struct subscriber *subscriber,
                                    struct error *error)
{
    struct history *history = subscriber->history;
    if (history) {
        assert(history->owner == subscriber);
        if (!subscriber->searching && !ring_reaches(&history->ring, subscriber->position))
            seek(history, subscriber);
        return history;
    }
    history = find_free(bus);
    history_leave(history);
    if (!history->stream && log_stream_open(bus->options.directory, &history->stream, error))
        return NULL;
    history->owner = subscriber;
    subscriber->history = history;
    if (!subscriber->searching)
        seek(history, subscriber);
    return history;
}

/* From the first event of that time on; a bounded piece of the search for it. */
static enum error_code search(struct history *history, struct subscriber *subscriber,
                              struct error *error)
{
    uint64_t after;
    enum error_code code = log_stream_find_time(
        history->stream, subscriber->since_ns, clock_monotonic_ns() + HISTORY_TURN_NS,
        &subscriber->search, &after, error);
    if (code == ERROR_BUSY)
        return OK;
    if (code && code != ERROR_END)
        return code;
    subscriber->searching = false;
    subscriber_found_start(subscriber, after);
    if (subscriber->begun)
        seek(history, subscriber);
    return OK;
}

/*
 * What may be sent now: what is read beyond that is read again when another subscriber has had this
 * history meanwhile. One entry more tells that there is more; a frame that was begun has its credit
 * already.
 */
static uint64_t entries_wanted(const struct subscriber *subscriber)
{
    const struct subscriber_frame *frame = &subscriber->frame;
    uint64_t more = 1 + (frame->begun ? frame->count : 0);
    bool bounded = subscriber->limited && subscriber->credit < UINT64_MAX - more;
    return bounded ? subscriber->credit + more : UINT64_MAX;
}

/* Read on until the ring has enough, the time is over or the log has no more. */
static enum error_code fill(struct bus *bus, struct history *history, struct error *error)
{
    struct subscriber *subscriber = history->owner;
    const struct feed_limits limits = {
        .needed_above = subscriber->position,
        .ring_bytes = HISTORY_RING_BYTES,
        .ring_entries = entries_wanted(subscriber),
        .deadline_ns = clock_monotonic_ns() + HISTORY_TURN_NS,
    };
    enum error_code code = OK;
    ring_forget(&history->ring, subscriber->position);
    history->at_end = false;
    while (!code && !feed_has_enough(&history->ring, &limits)) {
        if (history->item_next == history->item_count) {
            history->item_next = history->item_count = 0;
            code = log_stream_read(history->stream, history->items, &history->item_count, error);
            history->at_end = code == ERROR_END;
            struct log_stream_place place = log_stream_place(history->stream);
            landmarks_note(&bus->landmarks, &place);
        }
        if (code == ERROR_END) {
            ring_look(&history->ring, log_stream_looked(history->stream));
            return OK;
        }
        size_t taken = 0;
        if (!code)
            code = feed_take(subscriber->feed, &history->ring,
                             history->items + history->item_next,
                             history->item_count - history->item_next, &limits, &bus->scratch,
                             &taken, error);
        history->item_next += taken;
        if (clock_monotonic_ns() >= limits.deadline_ns)
            break;
    }
    return code;
}

/* It has got all that there is: the seam. */
static bool is_at_seam(const struct history *history, const struct subscriber *subscriber)
{
    const struct feed *feed = subscriber->feed;
    if (subscriber->frame.begun)
        return false;
    if (feed->live && ring_reaches(&feed->ring, subscriber->position))
        return true;
    return history->at_end && subscriber->position >= history->ring.looked;
}

static void give_turn(struct bus *bus, struct history *history, struct subscriber *subscriber)
{
    struct error error;
    enum error_code code = OK;
    if (subscriber->searching)
        code = search(history, subscriber, &error);
    if (!code && subscriber->searching) {
        bus_place(bus, subscriber);
        return;
    }
    if (!code && !subscriber->begun) {
        history_leave(history); /* its cursor is made first */
        return;
    }
    if (!code)
        code = fill(bus, history, &error);
    if (code) {
        const char *name = code == ERROR_INVALID  ? "invalid"
                           : code == ERROR_MEMORY ? "busy"
                                                  : "io";
        subscriber_fail(subscriber, name, error.text);
        return;
    }
    enum sending sending = subscriber_send(subscriber, &history->ring);
    if (sending == SENDING_OVER)
        return;
    if (sending == SENDING_BLOCKED || sending == SENDING_NO_CREDIT) {
        subscriber->caught_up = false;
        return; /* it comes back with room, or credit */
    }
    if (sending == SENDING_DONE && is_at_seam(history, subscriber)) {
        history_leave(history);
        if (!bus_make_live(bus, subscriber->feed, subscriber)) {
            list_append(&bus->at_end, &subscriber->in_place);
            return;
        }
    }
    bus_place(bus, subscriber);
}

void history_turn(struct bus *bus)
{
    struct subscriber *subscriber =
        LIST_MEMBER(bus->behind.next, struct subscriber, in_place);
    struct error error;
    list_remove(&subscriber->in_place);
    struct history *history = take_history(bus, subscriber, &error);
    if (!history) {
        subscriber_fail(subscriber, "io", error.text);
        return;
    }
    give_turn(bus, history, subscriber);
    history->used_ns = clock_monotonic_ns();
}
