/*
 * tools/daybookd/history.h - what a subscriber that is behind gets, from the log.
 *
 * There are few of these (BUS_HISTORIES), so that memory is bounded however many are behind: they
 * go from one to the next, each of whom gets a bounded piece. One that comes back to the same
 * subscriber goes on where it was; else it seeks.
 *
 * The seam: when everything durable has been sent, or everything that the live ring does not hold,
 * the subscriber is given to its live feed. By its position, and nothing else: what is at or below
 * it has been sent, so nothing can be lost there or come twice.
 *
 * The bus thread's.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_HISTORY_H
#define DAYBOOK_TOOLS_DAYBOOKD_HISTORY_H

#include "tools/daybookd/feed.h"

struct bus;
struct subscriber;

struct history {
    struct log_stream *stream;  /* NULL: it has not been needed yet */
    struct subscriber *owner;   /* whose ring this is; NULL: nobody's */
    struct ring ring;
    struct log_stream_item items[LOG_STREAM_BATCH]; /* read, and from `item_next` on not taken */
    size_t item_count, item_next;
    bool at_end; /* everything durable was looked at */
    int64_t used_ns;
};

/* Who is in front of bus->behind has its turn. */
void history_turn(struct bus *bus);
/* Its owner goes, or needs it no more. */
void history_leave(struct history *history);
/* Close and free everything: what is not used holds no segment that retention may have deleted. */
void history_release(struct history *history);

#endif
