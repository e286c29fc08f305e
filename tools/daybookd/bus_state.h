/*
 * tools/daybookd/bus_state.h - what the bus thread's parts share; for nobody else, but for tests,
 * which go through it step by step.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_BUS_STATE_H
#define DAYBOOK_TOOLS_DAYBOOKD_BUS_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tools/daybookd/bus.h"
#include "tools/daybookd/bus_cursor.h"
#include "tools/daybookd/bus_group.h"
#include "tools/daybookd/feed.h"
#include "tools/daybookd/history.h"
#include "tools/daybookd/landmarks.h"
#include "tools/daybookd/notices.h"
#include "tools/daybookd/subscriber.h"

struct json_reader;

enum {
    BUS_LIVE_BYTES = 65536, /* looked at for the live feeds before it is sent */
    BUS_LIVE_MAX = 128,     /* live feeds */
    BUS_LIVE_NS = 10000000,  /* after this time of a round what was read for them is sent */
    BUS_BATCH_NS = 40000000, /* for all of them to look at one batch */
    BUS_SLOW_NS = 1000000,   /* who takes longer for it comes last the next time */
    BUS_WORK_NS = 50000,     /* a live turn that took longer is followed by a rest … */
    BUS_REST_PARTS = 2,      /* … so many times as long … */
    BUS_REST_NS = 700000,    /* … and no longer than this */
    BUS_BEHIND_NS = 1000000, /* a round's time for those who are behind; one turn at least */
};

/*
 * A place in the log from which groups read, one after the other. Whose place it is follows from
 * `looked` alone: a group that is not there seeks, and one that is needs not.
 */
struct bus_source {
    struct log_stream *stream; /* NULL: not needed yet */
    bool placed;               /* false: it has to be sought first */
    uint64_t looked;           /* what was taken from it last, or where it was sought */
    struct log_stream_item items[LOG_STREAM_BATCH];
    size_t count, next;
    int64_t used_ns;
};

struct bus_arrivals {
    struct bus_arrival *items;
    size_t count, capacity;
};

struct bus {
    struct bus_options options;
    char log_id[17];
    int epoll_fd;
    int departures_fd;
    pthread_t thread;
    bool running; /* the thread is there; under the mutex */

    pthread_mutex_t mutex; /* guards what comes and what has gone */
    struct bus_arrivals arrivals;
    struct ucred *departed;
    size_t departed_count, departed_capacity;
    const char *end_code; /* a literal; NULL: it goes on */
    char end_text[sizeof((struct error *)0)->text];
    struct ucred evicted[BUS_EVICTIONS]; /* whose subscribers have to go */
    size_t evicted_count;
    atomic_bool ended;    /* the thread has to go */

    atomic_uint_least64_t subscribers, feed_count, delivered;
    atomic_uint_least64_t closed;

    /* The thread's own from here on. */
    struct notices notices;
    struct list_link all, readable, dead;
    struct list_link behind; /* waits for a turn with the log */
    struct list_link at_end; /* has all, and no live feed: waits for more */
    struct list_link feeds, live;
    size_t live_count, conditions;
    struct landmarks landmarks;
    struct log_stream *trunk; /* reads for the live feeds */
    bool trunk_runs;          /* it stands where they do */
    struct log_stream_item items[LOG_STREAM_BATCH];
    struct ring_budget rings;
    struct history histories[BUS_HISTORIES];
    struct json_reader *json;
    struct buffer scratch; /* for encoding */
    struct buffer line;    /* a subscriber's, as msgpack */
    struct keeper *keeper;
    struct list_link cursors; /* that subscribers have open */
    struct list_link groups;
    size_t group_count;
    size_t letters_on_their_way;
    struct list_link letters;        /* posted to the network threads; under the mutex */
    struct bus_source fresh, again;  /* for what groups give for the first time, and again */
    struct bus_source buried;        /* for dead letters: the keeper's while one is being written */
    size_t listings;          /* of cursors, being made */
    size_t input_bytes;       /* of unfinished frames */
    uint64_t durable;   /* as last looked at */
    int64_t now_ns, ticked_ns;
    int64_t rest_until_ns; /* what comes before is gathered, and sent then */
    bool more; /* there is live work at once */
};

/* One round: wait for at most `timeout_ns` when nothing is to be done, then do a bounded part. */
void bus_round(struct bus *bus, int64_t timeout_ns);

/* Make the thread, unless it is there. With the mutex held. */
enum error_code bus_start(struct bus *bus, struct error *error);
/* It has to look up from its sleep. For any thread. */
void bus_ring_bell(struct bus *bus);
/* In bus_admission.c: what other threads have asked for. */
void bus_take_requests(struct bus *bus);
/* Free those whose connection is over, and tell the network threads. */
void bus_bury_dead(struct bus *bus);
/* What subscribers have sent: a bounded piece of each. */
void bus_take_input(struct bus *bus);

/* Find out from where the subscriber gets its events now, and put it there. */
void bus_place(struct bus *bus, struct subscriber *subscriber);
/* Its socket is to be watched for room, too, or no longer. */
void bus_watch_room(struct bus *bus, const struct subscriber *subscriber, bool wanted);

/* It has sent what is to be looked at, in its socket or in its buffer. */
void bus_watch_input(struct subscriber *subscriber);

/* The feed with this filter, which it takes over or releases. NULL: no memory, or conditions. */
struct feed *bus_find_feed(struct bus *bus, struct filter *filter);
/* One user less. */
void bus_leave_feed(struct bus *bus, struct feed *feed);
/* Be live from here on. False: not now. */
bool bus_make_live(struct bus *bus, struct feed *feed, const struct subscriber *subscriber);

/* Read what has become durable, and send it to the live feeds. True: there may be more. */
bool bus_live_turn(struct bus *bus);

#endif
