/*
 * tools/daybookd/feed.h - one filter, and what it has lately let through, for all subscribers that
 * have that filter.
 *
 * A feed is *live* while the bus gives it everything that becomes durable: then each event is
 * looked at and encoded once, however many subscribers it goes to. Who is behind what its ring
 * holds, or whose feed is not live, is served from the log (history.h) until it has caught up.
 *
 * A filter that takes long costs its own subscribers only: the time of a live feed is counted, and
 * one that has used up its share is not live for a while. Those that are slow are asked last, and
 * when the time for all of them is over, whoever was not asked is not live any more.
 *
 * The bus thread's.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_FEED_H
#define DAYBOOK_TOOLS_DAYBOOKD_FEED_H

#include "tools/daybookd/filter.h"
#include "tools/daybookd/list.h"
#include "tools/daybookd/ring.h"

enum {
    FEED_SHARE = 5,           /* of the bus thread's time: a fifth each, on the whole */
    FEED_DEBT_NS = 50000000,  /* … and so much at once */
};

struct feed {
    struct filter filter;
    size_t users;              /* subscribers that have it */
    bool live;
    bool slow;                 /* … and has just taken long */
    bool due;                  /* somebody who is attached may have something to be sent */
    struct ring ring;          /* while it is live */
    struct list_link in_feeds; /* of the bus */
    struct list_link in_live;  /* … while it is live */
    struct list_link attached; /* subscribers that are served from the ring */
    struct error failure;      /* of the filter: all its subscribers end */
    int64_t debt_ns, counted_ns;
};

/* Takes over the filter. NULL: no memory. */
struct feed *feed_create(const struct filter *filter, struct ring_budget *budget);
/* Nobody is attached. */
void feed_free(struct feed *feed);

/* Up to where a ring is filled, and what it may forget. */
struct feed_limits {
    uint64_t needed_above; /* nobody needs what is at or below this any more */
    size_t ring_bytes;     /* stop when so many are in the ring */
    uint64_t ring_entries; /* … or so many entries */
    int64_t deadline_ns;   /* … or at this time, as soon as it is seen; one item is always taken */
};
/* Has the ring got as much as the limits allow, but for the time? */
bool feed_has_enough(const struct ring *ring, const struct feed_limits *limits);
/*
 * Look at `items`, which follow on what was looked at, and keep what matches in `ring`, the feed's
 * own or another; `scratch` is for encoding. *taken_out items were looked at. ERROR_INVALID: the
 * filter has failed. ERROR_FULL and ERROR_MEMORY: there is no room, and the ring has to be reset.
 */
enum error_code feed_take(struct feed *feed, struct ring *ring, const struct log_stream_item *items,
                          size_t count, const struct feed_limits *limits, struct buffer *scratch,
                          size_t *taken_out, struct error *error);
/* It has cost so much. True: that is more than its share. */
bool feed_charge(struct feed *feed, int64_t spent_ns, int64_t now_ns);
/* May it be live (again)? */
bool feed_may_be_live(struct feed *feed, int64_t now_ns);

#endif
