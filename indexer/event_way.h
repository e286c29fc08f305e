/*
 * indexer/event_way.h - which way to the events of a plan is the shortest?
 *
 * Through the sequences, through one topic's times, through every topic's times, through the values
 * of an indexed field: these are rows of the index (event_rows.h). Or through the log itself, front
 * to back (event_scan.h), when payloads of a good part of what is there are wanted. It is decided
 * when the values are known, by what the index knows of its topics and segments, in some
 * microseconds.
 *
 * The first question begins a transaction that reads, which indexer_event_ways_stop ends: so all
 * questions of a statement see the same index.
 *
 * The plan is narrowed meanwhile: to what the index has, to what retention has left (the follower
 * may not have come to the rows of deleted events yet), to where the topic, or segments with such
 * times, are. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_WAY_H
#define DAYBOOK_INDEXER_EVENT_WAY_H

#include "indexer/event_plan.h"
#include "indexer/host.h"

enum indexer_event_way {
    EVENT_WAY_NONE, /* there are none */
    EVENT_WAY_TOPICS, /* all events of a topic are alike: each as often as the index says */
    EVENT_WAY_SEQUENCE,
    EVENT_WAY_TOPIC,
    EVENT_WAY_TIMES,
    EVENT_WAY_FIELD,
    EVENT_WAY_LOG,
    EVENT_WAY_JOIN, /* never chosen here: indexer/event_join.h */
};

/* How many events there may be, before anybody has looked at them. */
struct indexer_event_estimate {
    double found;                          /* in question */
    double walked;                         /* of the log between the first and the last of them */
    double topic_events;                   /* of the plan's topic in all */
    int64_t sequence_first, sequence_last; /* of the log, as this query sees it */
};

struct indexer_event_ways;

/* Borrows the host, which must outlive it. */
enum error_code indexer_event_ways_create(struct indexer_host *host,
                                          struct indexer_event_ways **ways_out,
                                          struct error *error);
/* `bound` is the log's lower bound, now. */
enum error_code indexer_event_ways_choose(struct indexer_event_ways *ways, int64_t bound,
                                          struct indexer_event_plan *plan,
                                          enum indexer_event_way *way_out,
                                          struct indexer_event_estimate *estimate_out,
                                          struct error *error);
/* No more questions for now: let go of the transaction. */
void indexer_event_ways_stop(struct indexer_event_ways *ways);
/* Accepts NULL. */
void indexer_event_ways_free(struct indexer_event_ways *ways);

#endif
