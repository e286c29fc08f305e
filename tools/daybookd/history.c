#include "tools/daybookd/history.h"

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

/*
 * A frame that was begun is read again from its beginning before more of it can be sent, which may
 * take more than one turn; who lost its history between them would never come to the end.
 */
static bool is_reading_again(const struct subscriber *owner)
{
    return owner && owner->frame.begun && list_contains(&owner->in_place);
}

/* The one that has been of use longest ago, nobody's before anybody's; NULL: none can be spared. */
static struct history *find_free(struct bus *bus)
{
    struct history *best = NULL;
    for (size_t i = 0; i < BUS_HISTORIES; i++) {
        struct history *other = &bus->histories[i];
        if (!other->owner)
            return other;
        if (!is_reading_again(other->owner) && (!best || other->used_ns < best->used_ns))
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

/* Afterwards the history is the subscriber's and stands where it does. */
static enum error_code give_history(struct bus *bus, struct history *history,
                                    struct subscriber *subscriber, struct error *error)
{
    bool is_new = history->owner != subscriber;
    if (is_new) {
        history_leave(history);
        enum error_code code =
            history->stream ? OK : log_stream_open(bus->options.directory, &history->stream, error);
        if (code)
            return code;
        history->owner = subscriber;
        subscriber->history = history;
    }
    if (!subscriber->searching && (is_new || !ring_reaches(&history->ring, subscriber->position)))
        seek(history, subscriber);
    return OK;
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
    struct history *history = subscriber->history ? subscriber->history : find_free(bus);
    struct error error;
    list_remove(&subscriber->in_place);
    if (!history) {
        list_append(&bus->behind, &subscriber->in_place); /* those who have one come first */
        return;
    }
    if (give_history(bus, history, subscriber, &error)) {
        subscriber_fail(subscriber, "io", error.text);
        return;
    }
    give_turn(bus, history, subscriber);
    history->used_ns = clock_monotonic_ns();
}
