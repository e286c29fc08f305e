#include "tools/daybookd/feed.h"

#include <assert.h>
#include <stdlib.h>

#include "core/clock.h"

struct feed *feed_create(const struct filter *filter, struct ring_budget *budget)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return NULL;
    feed->filter = *filter;
    feed->ring.budget = budget;
    list_init(&feed->attached);
    return feed;
}

void feed_free(struct feed *feed)
{
    assert(list_is_empty(&feed->attached));
    list_remove(&feed->in_feeds);
    list_remove(&feed->in_live);
    ring_release(&feed->ring);
    filter_release(&feed->filter);
    free(feed);
}

static uint64_t last_of(const struct log_stream_item *item)
{
    return item->lost ? item->last : item->event.sequence;
}

static enum error_code take_one(struct feed *feed, struct ring *ring,
                                const struct log_stream_item *item, uint64_t needed_above,
                                struct buffer *scratch, struct error *error)
{
    bool match = true;
    uint64_t sequence = last_of(item);
    if (sequence <= ring->looked)
        return OK; /* a ring that began in the middle of this batch */
    enum error_code code =
        item->lost ? OK : filter_match(&feed->filter, &item->event, &match, error);
    if (code || !match) {
        ring_look(ring, code ? ring->looked : sequence);
        return code;
    }
    scratch->size = 0;
    code = filter_write(&feed->filter, item, scratch, error);
    if (!code)
        code = ring_append(ring, sequence, item->lost, scratch->data, scratch->size, needed_above,
                           error);
    return code;
}

/* Looks at the clock behind one item, then behind two more, … while they are quick. */
struct watch {
    int64_t looked_ns;
    unsigned stride, items;
};

static bool is_late(struct watch *watch, int64_t deadline_ns)
{
    enum { STRIDE_MAX = 16, SLOW_NS = 50000 };
    if (++watch->items < watch->stride)
        return false;
    int64_t now_ns = clock_monotonic_ns();
    bool slow = now_ns - watch->looked_ns > SLOW_NS;
    watch->stride = slow ? 1 : watch->stride < STRIDE_MAX ? 2 * watch->stride : STRIDE_MAX;
    watch->looked_ns = now_ns;
    watch->items = 0;
    return now_ns >= deadline_ns;
}

bool feed_has_enough(const struct ring *ring, const struct feed_limits *limits)
{
    return ring_bytes(ring) >= limits->ring_bytes || ring->count >= limits->ring_entries;
}

enum error_code feed_take(struct feed *feed, struct ring *ring, const struct log_stream_item *items,
                          size_t count, const struct feed_limits *limits, struct buffer *scratch,
                          size_t *taken_out, struct error *error)
{
    struct watch watch = {.looked_ns = clock_monotonic_ns(), .stride = 1};
    size_t taken = 0;
    enum error_code code = OK;
    while (!code && taken < count) {
        code = take_one(feed, ring, &items[taken], limits->needed_above, scratch, error);
        taken += !code;
        if (feed_has_enough(ring, limits) || is_late(&watch, limits->deadline_ns))
            break;
    }
    if (scratch->capacity > RING_BYTES_MAX)
        buffer_release(scratch);
    *taken_out = taken;
    return code;
}

static void refill(struct feed *feed, int64_t now_ns)
{
    feed->debt_ns -= (now_ns - feed->counted_ns) / FEED_SHARE;
    if (feed->debt_ns < 0)
        feed->debt_ns = 0;
    feed->counted_ns = now_ns;
}

bool feed_charge(struct feed *feed, int64_t spent_ns, int64_t now_ns)
{
    refill(feed, now_ns);
    feed->debt_ns += spent_ns;
    return feed->debt_ns > FEED_DEBT_NS;
}

bool feed_may_be_live(struct feed *feed, int64_t now_ns)
{
    refill(feed, now_ns);
    return feed->debt_ns < FEED_DEBT_NS / 2;
}
