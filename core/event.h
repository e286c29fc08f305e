/*
 * core/event.h - the event: topic, time, payload, sequence; and who published it.
 *
 * An event borrows all its bytes; whoever hands one out says how long they live.
 */
#ifndef DAYBOOK_CORE_EVENT_H
#define DAYBOOK_CORE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum {
    EVENT_TOPIC_BYTES_MAX = 255,
    EVENT_PRODUCER_BYTES_MAX = 64,
    EVENT_PAYLOAD_BYTES_MAX = 1048576, /* as msgpack */
    EVENT_PAYLOAD_DEPTH_MAX = 32,      /* arrays and maps inside each other */
};

/* The last number but one: whoever has used it up can still be told "the next is one more". */
#define EVENT_NUMBER_MAX (UINT64_MAX - 1)

/*
 * No event has this sequence or a higher one, so that a sequence and a few more never overflow, and
 * SQLite, whose integers have a sign, holds all of them. Files that say otherwise are damaged.
 */
#define EVENT_SEQUENCE_END (UINT64_C(1) << 62)

/* "No time given": the log takes the arrival time. */
#define EVENT_TIME_NONE INT64_MIN

struct event {
    uint64_t sequence; /* 1, 2, 3 … per log; 0: not assigned yet */
    int64_t time_ns;   /* since the epoch; the producer's if it gave one, else arrival */
    const char *topic; /* not NUL-terminated */
    size_t topic_bytes;
    const void *payload; /* exactly one msgpack value */
    size_t payload_bytes;
    const char *producer; /* not NUL-terminated; producer_bytes 0: anonymous, never a duplicate */
    size_t producer_bytes;
    uint64_t number; /* the producer's own count of its events, from 1; 0 when anonymous */
};

/* A topic is 1 to 255 bytes of [A-Za-z0-9_.:/-]; a producer's name 1 to 64 of the same. */
enum error_code event_check_topic(const char *topic, size_t topic_bytes, struct error *error);
enum error_code event_check_producer(const char *name, size_t name_bytes, struct error *error);

/*
 * Everything that must hold before an event is stored: topic, producer and number, payload size,
 * depth and msgpack validity (core/msgpack.h). ERROR_INVALID says which rule and where.
 */
enum error_code event_check(const struct event *event, struct error *error);

#endif
