/*
 * indexer/event_rows.h - the rows of the index that a plan asks for, in the order it asks for.
 *
 * Four ways lead to them: through the sequences, through one topic's times, through every topic's
 * times, through the values of an indexed field. Which one is cheapest is decided when the values
 * are known, by what the index says of its topics and segments.
 *
 * Rows come from the connection's own snapshot. Those below the log's lower bound are left out:
 * retention has deleted the events, and the follower has not come to the rows yet. Internal to
 * indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_ROWS_H
#define DAYBOOK_INDEXER_EVENT_ROWS_H

#include "indexer/event_plan.h"
#include "indexer/host.h"

struct indexer_event_rows;

/* Borrows the host, which must outlive it. */
enum error_code indexer_event_rows_create(struct indexer_host *host,
                                          struct indexer_event_rows **rows_out,
                                          struct error *error);
/* Begin anew. The plan is copied; its values are needed during this call only. */
enum error_code indexer_event_rows_start(struct indexer_event_rows *rows,
                                         const struct indexer_event_plan *plan, int64_t bound,
                                         struct error *error);

struct indexer_event_row {
    int64_t sequence;
    int64_t ts;
    int64_t topic_id;
    int64_t bytes;           /* when the plan needs them */
    int64_t segment, offset; /* when the plan needs the place; -1: not known */
};
/* ERROR_END: that was all. ERROR_CLOSED: the query was interrupted. */
enum error_code indexer_event_rows_next(struct indexer_event_rows *rows,
                                        struct indexer_event_row *row_out, struct error *error);
/* The name behind a topic_id of this snapshot; valid until the next start. */
enum error_code indexer_event_rows_topic(struct indexer_event_rows *rows, int64_t topic_id,
                                         const char **topic_out, size_t *bytes_out,
                                         struct error *error);
/* Nothing will be asked for until the next start: let go of the snapshot. */
void indexer_event_rows_stop(struct indexer_event_rows *rows);
/* Accepts NULL. */
void indexer_event_rows_free(struct indexer_event_rows *rows);

#endif
