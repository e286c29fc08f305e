/*
 * indexer/event_rows.h - the rows of the index that a plan asks for, in the order it asks for.
 *
 * One statement, on the connection's own snapshot. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_ROWS_H
#define DAYBOOK_INDEXER_EVENT_ROWS_H

#include "indexer/event_way.h"

struct indexer_event_rows;

/* Borrows the host, which must outlive it. */
enum error_code indexer_event_rows_create(struct indexer_host *host,
                                          struct indexer_event_rows **rows_out,
                                          struct error *error);
/*
 * Begin anew, with a plan and a way as indexer_event_ways_choose left them. The plan is copied; its
 * values are needed during this call only.
 */
enum error_code indexer_event_rows_start(struct indexer_event_rows *rows,
                                         const struct indexer_event_plan *plan,
                                         enum indexer_event_way way, struct error *error);
/*
 * The next row. ERROR_END: that was all, and the snapshot is let go. ERROR_CLOSED: the query was
 * interrupted.
 */
enum error_code indexer_event_rows_next(struct indexer_event_rows *rows, struct error *error);

enum indexer_event_number {
    EVENT_ROW_SEQUENCE,
    EVENT_ROW_TS,
    EVENT_ROW_TOPIC_ID,
    EVENT_ROW_BYTES,   /* when the plan needs them */
    EVENT_ROW_SEGMENT, /* when the plan needs the place; -1: not known */
    EVENT_ROW_OFFSET,
    EVENT_ROW_VALUE, /* on the way through a field, when it is an integer */
};
/* One value of the present row. */
int64_t indexer_event_rows_number(struct indexer_event_rows *rows,
                                  enum indexer_event_number number);
/* On the way through a field: SQLite's type of its value; and itself, for sqlite3_result_value. */
int indexer_event_rows_value_type(struct indexer_event_rows *rows);
sqlite3_value *indexer_event_rows_value(struct indexer_event_rows *rows);
/* The name behind a topic_id of this snapshot; valid until the next start. */
enum error_code indexer_event_rows_topic(struct indexer_event_rows *rows, int64_t topic_id,
                                         const char **topic_out, size_t *bytes_out,
                                         struct error *error);
/* Nothing will be asked for until the next start: let go of the snapshot. */
void indexer_event_rows_stop(struct indexer_event_rows *rows);
/* Accepts NULL. */
void indexer_event_rows_free(struct indexer_event_rows *rows);

#endif
