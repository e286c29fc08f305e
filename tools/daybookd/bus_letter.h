/*
 * tools/daybookd/bus_letter.h - the dead letter of a group: an event whose tries are used up, on
 * its way to the topic `_dead.CURSOR`.
 *
 * Its number is in the cursor, durably, before any of this begins. The keeper reads the event and
 * writes the letter; the network threads append it, because nobody else appends to the log; when it
 * is durable the event is settled. A crash in between lets all of it be done again, and the log
 * knows the number of the producer `_dead.ID` for a duplicate: so it is there exactly once.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_BUS_LETTER_H
#define DAYBOOK_TOOLS_DAYBOOKD_BUS_LETTER_H

#include <stdint.h>

#include "core/bytes.h"
#include "core/event.h"
#include "segment/cursor.h"
#include "tools/daybookd/list.h"
#include "tools/daybookd/log_stream.h"

struct bus;
struct bus_group;

/* Of the topics of dead letters, and of who writes them. */
#define BUS_LETTER_PREFIX "_dead."

enum bus_letter_state {
    LETTER_NONE,
    LETTER_BEGUN,   /* the keeper is at it */
    LETTER_WRITTEN, /* … and has done it */
    LETTER_POSTED,  /* to the network threads */
};

struct bus_letter {
    enum bus_letter_state state;
    struct segment_cursor_pending what;
    struct log_stream_place place; /* near its event */
    int64_t retry_ns; /* it could not be written: not before this time */
    char topic[EVENT_TOPIC_BYTES_MAX + 1];
    char producer[EVENT_PRODUCER_BYTES_MAX + 1];
    struct buffer payload;
    /* Under the bus's mutex while posted. */
    struct list_link in_letters;
    uint64_t sequence; /* 0: not appended, … */
    struct error why;  /* … because of this */
};

/* The producer of a cursor's dead letters. */
void bus_letter_name_producer(uint64_t cursor_id, char name_out[EVENT_PRODUCER_BYTES_MAX + 1]);

/* Is there a letter to be written now, or is the one at hand to be posted, or durable? True: the
 * keeper has a task. */
bool bus_letter_step(struct bus_group *group);
/* The group is closed: the letter is written again when it is open again. */
void bus_letter_drop(struct bus_group *group);

#endif
