/*
 * indexer/event_join.h - the events of a plan through the values of a field that the index does not
 * keep: for the inner table of a join, which is asked again and again with other values.
 *
 * At first each question goes through what there is. When as many events have been gone through as
 * the topic has, an index over the field's values is made (join_index.h), and the questions after
 * that are answered from it: so it never costs more than twice what was needed. Internal to
 * indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_JOIN_H
#define DAYBOOK_INDEXER_EVENT_JOIN_H

#include "indexer/event_way.h"
#include "indexer/join_index.h"

/* Zero-initialised is fresh; release frees. For one cursor. */
struct indexer_event_join {
    struct indexer_join_index *index;
    const struct indexer_event_column *column; /* … of this one; NULL: nothing was asked yet */
    bool given_up;                             /* there can be none */
    double walked;                             /* events gone through for its questions so far */
    int64_t sequence_first, sequence_last;     /* of the question at hand: */
    int64_t ts_first, ts_last;
    const uint64_t *candidates;
    size_t left;
};

/* Is the question of `plan` answered from here? Makes the index when its time has come. */
bool indexer_event_join_begin(struct indexer_event_join *join,
                              const struct indexer_event_plan *plan,
                              const struct indexer_event_estimate *estimate,
                              struct indexer_lookup *lookup);
/* As indexer_event_scan_next; the event lives until the lookup is asked again. */
enum error_code indexer_event_join_next(struct indexer_event_join *join,
                                        struct indexer_lookup *lookup, struct event *event_out,
                                        int64_t *sequence_out, struct error *error);
void indexer_event_join_release(struct indexer_event_join *join);

#endif
