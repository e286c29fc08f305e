/*
 * tools/daybook/time_merge.h - events of several producers as one stream in the order of their
 * times.
 *
 * A log has events in the order of their arrival. Producers give times of their own, so an event
 * may come behind others that are later. The merge keeps events back until one has been seen whose
 * time is a window later; whatever is late by less leaves in the order of times, equal times in the
 * order of the log. What is later than that leaves next, out of order. A window of 0 keeps the
 * order of the log.
 *
 * What leaves when depends on the events alone, not on how fast anybody is, so the order is the
 * same each time. Memory is bounded: beyond `bytes_max` the earliest leave before their window is
 * over.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_TIME_MERGE_H
#define DAYBOOK_TOOLS_DAYBOOK_TIME_MERGE_H

#include <stdbool.h>

#include "tools/daybook/replay_event.h"

/* Zero-initialised with these two set it is empty; time_merge_release frees. */
struct time_merge {
    int64_t window_ns;
    size_t bytes_max;

    struct replay_event **heap; /* the earliest at the root */
    size_t count;
    size_t capacity;
    size_t bytes;
    int64_t time_last_ns; /* the latest that came */
};

/* Takes the event over; on failure it stays the caller's. */
enum error_code time_merge_add(struct time_merge *merge, struct replay_event *event,
                               struct error *error);
/* The next event whose turn it is, now the caller's; NULL: none yet. `all`: no more will come. */
struct replay_event *time_merge_take(struct time_merge *merge, bool all);
/* Free all events that are kept back. */
void time_merge_clear(struct time_merge *merge);
void time_merge_release(struct time_merge *merge);

#endif
