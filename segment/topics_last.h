/*
 * segment/topics_last.h - the last event of each topic, without reading the whole log: from the
 * footers of sealed segments, and from the events of the last one.
 */
#ifndef DAYBOOK_SEGMENT_TOPICS_LAST_H
#define DAYBOOK_SEGMENT_TOPICS_LAST_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* A topic has an event of this sequence; called more than once for a topic, in any order. */
typedef enum error_code (*segment_topics_last_visit)(void *context, const char *topic,
                                                     size_t topic_bytes, uint64_t sequence,
                                                     struct error *error);
/*
 * Visit the last event of each topic among those up to `through`, which is durable, perhaps a later
 * one instead. *known_above_out says how far back that goes: nothing is known of the events up to
 * this one. (0: there is no such event. Retention, a segment with very many topics, or damage ends
 * it before.)
 */
enum error_code segment_topics_last(const char *path, uint64_t through,
                                    segment_topics_last_visit visit, void *context,
                                    uint64_t *known_above_out, struct error *error);

#endif
