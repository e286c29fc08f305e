/*
 * indexer/where_event.h - the event that a condition looks at, for its table and its functions.
 *
 * Internal to indexer/. Lives as long as the connection that it is registered with.
 */
#ifndef DAYBOOK_INDEXER_WHERE_EVENT_H
#define DAYBOOK_INDEXER_WHERE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/event.h"
#include "core/json.h"
#include "core/msgpack_path.h"
#include "indexer/sqlite.h"

/*
 * What a condition may spend on one event, in bytes that are looked at, each about a nanosecond:
 * two milliseconds, and for large payloads what it takes to look at them a few times.
 */
enum {
    INDEXER_WHERE_WORK = 2 << 20,
    INDEXER_WHERE_WORK_A_BYTE = 128, /* of the payload */
    INDEXER_WHERE_TEXT_COST = 4,     /* a byte that SQLite reads, beside one that is passed over */
};

/* A column that is a field of the payload. */
struct indexer_where_field {
    char *name;
    struct msgpack_path path;
    bool asked; /* an event was looked at for it … */
    bool seen;  /* … and had it */
};

/* Zero-initialised is without fields and without an event. */
struct indexer_where_event {
    const struct event *event;          /* NULL: no match is going on */
    struct indexer_where_field *fields; /* owned */
    size_t field_count;
    int64_t now_ns; /* what daybook_time calls now */
    struct buffer json; /* the payload, once it was asked for; size 0: it was not */
    struct buffer scratch;
    struct json_reader *reader; /* of texts that daybook_field is given; made when there is one */
    struct buffer parsed;
    uint64_t passes; /* over each text, at most: as often operators and functions can copy it */
    uint64_t work;   /* spent on this event … */
    uint64_t work_max; /* … of so much */
};

/* Takes the next event, or none, and forgets what was made of the last. */
void indexer_where_event_set(struct indexer_where_event *at, const struct event *event);
/*
 * Count `bytes` that are about to be looked at. False: that is too much for one event, and
 * the error is set as the result.
 */
bool indexer_where_event_spend(struct indexer_where_event *at, sqlite3_context *context,
                               uint64_t bytes);
/*
 * The same for a text that is given to SQLite, whose operators and functions count nothing: it is
 * paid for here, `cost` a byte, as if each that can be nested around it looked at all of it. None
 * of them gives more bytes than it is given; those that would are our own, or not to be had.
 */
bool indexer_where_event_spend_text(struct indexer_where_event *at, sqlite3_context *context,
                                    uint64_t bytes, uint64_t cost);
/* The payload as JSON text, in at->json. */
enum error_code indexer_where_event_json(struct indexer_where_event *at, struct error *error);
/* Give back what large events have taken. */
void indexer_where_event_trim(struct indexer_where_event *at);
void indexer_where_event_release(struct indexer_where_event *at);

#endif
