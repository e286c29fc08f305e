/* The feeds, and what becomes durable for the live ones: read once, sent to all who are attached. */
#include <assert.h>

#include "core/clock.h"
#include "tools/daybookd/bus_state.h"

static struct feed *feed_of(struct list_link *link)
{
    return LIST_MEMBER(link, struct feed, in_live);
}

struct feed *bus_find_feed(struct bus *bus, struct filter *filter)
{
    for (struct list_link *link = bus->feeds.next; link != &bus->feeds; link = link->next) {
        struct feed *feed = LIST_MEMBER(link, struct feed, in_feeds);
        if (feed->failure.code || !filter_is_equal(&feed->filter, filter))
            continue;
        filter_release(filter);
        feed->users++;
        return feed;
    }
    bool full = filter->condition && bus->conditions >= BUS_CONDITIONS;
    struct feed *feed = full ? NULL : feed_create(filter, &bus->rings);
    if (!feed) {
        filter_release(filter);
        return NULL;
    }
    bus->conditions += feed->filter.condition != NULL;
    feed->users = 1;
    feed->counted_ns = bus->now_ns;
    list_append(&bus->feeds, &feed->in_feeds);
    atomic_fetch_add(&bus->feed_count, 1);
    return feed;
}

void bus_leave_feed(struct bus *bus, struct feed *feed)
{
    if (--feed->users > 0)
        return;
    bus->live_count -= feed->live;
    bus->conditions -= feed->filter.condition != NULL;
    feed_free(feed);
    atomic_fetch_sub(&bus->feed_count, 1);
}

/* No longer live: whoever was attached is served from the log. */
static void end_live(struct bus *bus, struct feed *feed)
{
    feed->live = false;
    bus->live_count--;
    list_remove(&feed->in_live);
    ring_release(&feed->ring);
    while (!list_is_empty(&feed->attached))
        bus_place(bus, LIST_MEMBER(feed->attached.next, struct subscriber, in_place));
}

static void fail_feed(struct bus *bus, struct feed *feed, const char *code,
                      const struct error *error)
{
    feed->failure = *error;
    while (!list_is_empty(&feed->attached))
        subscriber_fail(LIST_MEMBER(feed->attached.next, struct subscriber, in_place), code,
                        error->text);
    end_live(bus, feed);
}

/* The trunk goes on where it was when a feed is live already; else it begins there. */
static bool start_trunk(struct bus *bus, const struct subscriber *subscriber)
{
    if (bus->trunk_runs && bus->live_count > 0)
        return true;
    if (!bus->trunk && log_stream_open(bus->options.directory, &bus->trunk, NULL))
        return false;
    struct log_stream_place place = landmarks_find(&bus->landmarks, subscriber->position + 1);
    log_stream_seek(bus->trunk, subscriber->position, &place);
    bus->trunk_runs = true;
    return true;
}

bool bus_make_live(struct bus *bus, struct feed *feed, const struct subscriber *subscriber)
{
    if (feed->live)
        return true;
    if (bus->live_count >= BUS_LIVE_MAX || feed->failure.code ||
        !feed_may_be_live(feed, clock_monotonic_ns()) || !start_trunk(bus, subscriber))
        return false;
    if (log_stream_looked(bus->trunk) > subscriber->position)
        return false;
    ring_reset(&feed->ring, log_stream_looked(bus->trunk));
    feed->live = true;
    feed->due = false;
    bus->live_count++;
    list_append(&bus->live, &feed->in_live);
    return true;
}

/* The slowest of those who are attached still needs what is above. */
static uint64_t needed_above(const struct feed *feed)
{
    uint64_t lowest = UINT64_MAX;
    for (const struct list_link *link = feed->attached.next; link != &feed->attached;
         link = link->next) {
        const struct subscriber *subscriber =
            LIST_MEMBER((struct list_link *)link, struct subscriber, in_place);
        if (subscriber->position < lowest)
            lowest = subscriber->position;
    }
    return lowest;
}

/* What it costs is bounded by the filter's own limits for one item, and the deadline for all. */
static void give_to_feed(struct bus *bus, struct feed *feed, size_t count, int64_t deadline_ns)
{
    const struct feed_limits limits = {
        .needed_above = needed_above(feed),
        .ring_bytes = SIZE_MAX,
        .ring_entries = UINT64_MAX,
        .deadline_ns = deadline_ns,
    };
    struct error error;
    size_t taken;
    int64_t begin_ns = clock_monotonic_ns();
    if (begin_ns >= deadline_ns) {
        end_live(bus, feed);
        return;
    }
    enum error_code code = feed_take(feed, &feed->ring, bus->items, count, &limits, &bus->scratch,
                                     &taken, &error);
    int64_t end_ns = clock_monotonic_ns();
    feed->due = true;
    if (code == ERROR_INVALID)
        fail_feed(bus, feed, "invalid", &error);
    else if (feed_charge(feed, end_ns - begin_ns, end_ns) || code || taken < count)
        end_live(bus, feed);
    else if (end_ns - begin_ns > BUS_SLOW_NS)
        feed->slow = true;
}

/* Who has taken long comes last the next time, so that it is not the others who pay for it. */
static void put_slow_last(struct list_link *live, struct list_link *given)
{
    struct list_link slow;
    list_init(&slow);
    while (!list_is_empty(given)) {
        struct feed *feed = feed_of(given->next);
        list_remove(&feed->in_live);
        list_append(feed->slow ? &slow : live, &feed->in_live);
        feed->slow = false;
    }
    while (!list_is_empty(&slow)) {
        struct list_link *link = slow.next;
        list_remove(link);
        list_append(live, link);
    }
}

static void give_to_all(struct bus *bus, size_t count)
{
    int64_t deadline_ns = clock_monotonic_ns() + BUS_BATCH_NS;
    struct list_link given;
    list_init(&given);
    while (!list_is_empty(&bus->live)) {
        struct feed *feed = feed_of(bus->live.next);
        list_remove(&feed->in_live);
        list_append(&given, &feed->in_live);
        if (list_is_empty(&feed->attached))
            end_live(bus, feed);
        else
            give_to_feed(bus, feed, count, deadline_ns);
    }
    put_slow_last(&bus->live, &given);
}

static size_t bytes_of(const struct log_stream_item *items, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        if (!items[i].lost)
            bytes += items[i].event.topic_bytes + items[i].event.payload_bytes;
    return bytes;
}

/* The log cannot be read here: whoever subscribes may find out more from it by its own. */
static void fail_live(struct bus *bus, const struct error *error)
{
    while (!list_is_empty(&bus->live))
        fail_feed(bus, feed_of(bus->live.next), error->code == ERROR_MEMORY ? "busy" : "io", error);
    bus->trunk_runs = false;
}

/* True: there may be more. */
static bool read_trunk(struct bus *bus)
{
    size_t bytes = 0;
    int64_t end_ns = clock_monotonic_ns() + BUS_LIVE_NS;
    while (bytes < BUS_LIVE_BYTES && !list_is_empty(&bus->live) &&
           (bytes == 0 || clock_monotonic_ns() < end_ns)) {
        size_t count;
        struct error error;
        enum error_code code = log_stream_read(bus->trunk, bus->items, &count, &error);
        if (code == ERROR_END)
            return false;
        if (code) {
            fail_live(bus, &error);
            return false;
        }
        struct log_stream_place place = log_stream_place(bus->trunk);
        landmarks_note(&bus->landmarks, &place);
        bytes += bytes_of(bus->items, count) + 1;
        give_to_all(bus, count);
    }
    return !list_is_empty(&bus->live);
}

static bool send_feed(struct bus *bus, struct feed *feed)
{
    bool more = false;
    struct list_link *next;
    ring_look(&feed->ring, log_stream_looked(bus->trunk));
    feed->due = false;
    for (struct list_link *link = feed->attached.next; link != &feed->attached; link = next) {
        next = link->next;
        struct subscriber *subscriber = LIST_MEMBER(link, struct subscriber, in_place);
        if (ring_reaches(&feed->ring, subscriber->position)) {
            more |= subscriber_send(subscriber, &feed->ring) == SENDING_MORE;
        } else {
            subscriber->caught_up = false;
            bus_place(bus, subscriber);
        }
    }
    feed->due |= more;
    return more;
}

bool bus_live_turn(struct bus *bus)
{
    if (bus->live_count == 0)
        return false;
    bool more = read_trunk(bus);
    struct list_link *next;
    for (struct list_link *link = bus->live.next; link != &bus->live; link = next) {
        next = link->next;
        if (feed_of(link)->due)
            more |= send_feed(bus, feed_of(link));
    }
    return more;
}
