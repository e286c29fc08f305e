/*
 * indexer/event_source.h - the events that a plan asks for, whichever way they come.
 *
 * Rows of the index (event_rows.h), or else events of the log, by a walk through it (event_scan.h)
 * or through the values of a field (event_join.h). What is asked of the present event is looked up
 * when it is asked. Internal to indexer/; one thread.
 */
#ifndef DAYBOOK_INDEXER_EVENT_SOURCE_H
#define DAYBOOK_INDEXER_EVENT_SOURCE_H

#include "indexer/event_join.h"
#include "indexer/event_rows.h"
#include "indexer/event_scan.h"
#include "indexer/event_way.h"

/* Zero-initialised is closed. */
struct indexer_event_source {
    struct indexer_host *host;
    struct indexer_event_ways *ways;
    struct indexer_event_plan plan;
    enum indexer_event_way way;
    struct indexer_event_scan scan;
    struct indexer_event_join join;
    struct indexer_event_rows *rows; /* made by the first plan that needs them */
    struct indexer_lookup *lookup;
    struct event event; /* the present one, when it comes from the log */
    int64_t sequence;   /* … its sequence, also from the index */
};

/* Borrows the host, which must outlive it. */
enum error_code indexer_event_source_open(struct indexer_event_source *source,
                                          struct indexer_host *host, struct error *error);
/* Let go of everything but prepared statements, which cost more than a short query. */
void indexer_event_source_close(struct indexer_event_source *source);
/* … of those, too. Closed before, or never opened. */
void indexer_event_source_release(struct indexer_event_source *source);

/* Begin anew. The plan is copied; its values are needed during this call only. */
enum error_code indexer_event_source_start(struct indexer_event_source *source,
                                           const struct indexer_event_plan *plan,
                                           struct error *error);
/* ERROR_END: that was all. ERROR_CLOSED: the query was interrupted. */
enum error_code indexer_event_source_next(struct indexer_event_source *source,
                                          struct error *error);

/* Of the present event; as far as the plan needs it. */
int64_t indexer_event_source_ts(struct indexer_event_source *source);
int64_t indexer_event_source_bytes(struct indexer_event_source *source);
/* EVENT_ROW_SEGMENT, EVENT_ROW_OFFSET: -1 when it is not known. */
int64_t indexer_event_source_place(struct indexer_event_source *source,
                                   enum indexer_event_number number);
/* Valid until the next event. */
enum error_code indexer_event_source_topic(struct indexer_event_source *source,
                                           const char **topic_out, size_t *bytes_out,
                                           struct error *error);
/* All of it; valid until the next event. ERROR_NOT_FOUND: there is none (any more). */
enum error_code indexer_event_source_event(struct indexer_event_source *source,
                                           const struct event **event_out, struct error *error);
/* Has the index brought the value of `column` along? Then indexer_event_rows_value has it. */
bool indexer_event_source_has_value(const struct indexer_event_source *source,
                                    const struct indexer_event_column *column);

#endif
