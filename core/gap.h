/*
 * core/gap.h - what a log says of numbers that it will not get: events of topic "_gap".
 *
 * A producer's numbers increase, so a gap is seen as soon as something is stored behind it; but
 * not why it is there. That is a fact like any other, and stands in the log as an event with the
 * payload
 *
 *     {"producer": "meter-7", "first": 12, "last": 15, "count": 4, "cause": "dropped",
 *      "reason": "the buffer was full"}
 *
 * docs/protocol.md says who may write it, docs/decisions/0014 why it looks like this.
 */
#ifndef DAYBOOK_CORE_GAP_H
#define DAYBOOK_CORE_GAP_H

#include <string.h>

#include "core/bytes.h"
#include "core/event.h"

#define GAP_TOPIC "_gap"

enum {
    GAP_REASON_BYTES_MAX = 200,   /* what is longer is cut */
    GAP_PAYLOAD_BYTES_MAX = 4096, /* a larger one is none of ours: keys are found soon */
};

enum gap_cause {
    GAP_REFUSED, /* the log's writer refused them: its own word */
    GAP_DROPPED, /* the producer gave them up before they were sent: its own word */
};

struct gap {
    const char *producer; /* borrowed, as is the reason; neither ends in NUL */
    size_t producer_bytes;
    uint64_t first; /* 1 to EVENT_NUMBER_MAX; not above `last` */
    uint64_t last;
    /* How many of them; fewer than last - first + 1 when some between them may be stored. */
    uint64_t count;
    enum gap_cause cause;
    const char *reason;
    size_t reason_bytes;
};

static inline bool gap_is_topic(const char *topic, size_t topic_bytes)
{
    return topic_bytes == sizeof GAP_TOPIC - 1 && memcmp(topic, GAP_TOPIC, topic_bytes) == 0;
}

/* The word for it, in payloads and in the index. */
const char *gap_cause_text(enum gap_cause cause);

/* Append the payload to `out`. */
enum error_code gap_write(const struct gap *gap, struct buffer *out, struct error *error);
/*
 * Read a payload, which is valid msgpack; keys that are not ours are passed over. ERROR_INVALID
 * says what is wrong with it. "count" and "reason" may be missing.
 */
enum error_code gap_read(const void *payload, size_t payload_bytes, struct gap *gap_out,
                         struct error *error);

/*
 * May its producer publish this event? Anything on another topic: yes. On GAP_TOPIC: only of its
 * own numbers, of those below the event's own, and only that it dropped them. ERROR_INVALID says
 * why not. For the doors of the log; its writer's own words do not pass there.
 */
enum error_code gap_check(const struct event *event, struct error *error);

/*
 * Whose word is the event, if it is one? True: *gap_out is a producer's about itself, or (an event
 * without a producer) the writer's about any. What was stored before this topic had a meaning, or
 * by another program, is an event like any other: false.
 */
bool gap_from_event(const struct event *event, struct gap *gap_out);

#endif
