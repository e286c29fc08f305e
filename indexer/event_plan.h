/*
 * indexer/event_plan.h - what a table of events answers by itself of a query's WHERE and ORDER BY.
 *
 * SQLite asks twice: at planning, what the table could make use of (indexer_event_plan_best), and
 * at running, with the values (indexer_event_plan_take), which become one range of sequences, one
 * of times, one topic, one comparison with an indexed field. The plan travels between the two as
 * the text idxStr: a word a term.
 *
 * Comparisons with seq, ts and topic are answered exactly, so SQLite need not check them again.
 * A topic is compared as a text: where its name is a number ("05") and it is compared with a column
 * of numbers, SQLite would call it equal to 5, and the table does not.
 * `time` is a text and compared as one; of that, only the range of times that the longest sensible
 * beginning of the text allows is answered, and SQLite checks each row. Source: "The Virtual Table
 * Mechanism Of SQLite" and, for comparisons between types, "Datatypes In SQLite", sections 3 and 4.
 *
 * Internal to indexer/; no state, nothing is allocated but idxStr.
 */
#ifndef DAYBOOK_INDEXER_EVENT_PLAN_H
#define DAYBOOK_INDEXER_EVENT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/event.h"
#include "indexer/event_columns.h"
#include "indexer/sqlite.h"

/* In which order the rows must come. */
enum indexer_event_order {
    EVENT_ORDER_NONE,
    EVENT_ORDER_SEQ,
    EVENT_ORDER_SEQ_DESC,
    EVENT_ORDER_TS, /* then by seq */
    EVENT_ORDER_TS_DESC,
    EVENT_ORDER_TOPIC,
};

/* One side of a comparison with an indexed field. */
struct indexer_event_field {
    const struct indexer_event_column *column; /* NULL: none */
    int64_t id; /* of the table field_<id>, when the index answers: event_field.h; else 0 */
    char operators[2]; /* '=', '<', 'l' for <=, '>', 'g' for >= */
    sqlite3_value *values[2]; /* borrowed from xFilter's arguments */
    size_t count;
};

struct indexer_event_plan {
    enum indexer_event_order order;
    bool needs_rows; /* false: nothing but the topics of all events is asked for, or their number */
    bool needs_bytes, needs_place, needs_payload; /* of columns that are asked for */
    bool empty;                                   /* no row can be in it */
    int64_t sequence_first, sequence_last;        /* 1 to 2^62 */
    int64_t ts_first, ts_last;
    bool has_topic;
    int64_t topic_id; /* in the index: indexer_event_ways_choose sets it */
    size_t topic_bytes;
    char topic[EVENT_TOPIC_BYTES_MAX];
    struct indexer_event_field field;
    /* A comparison for equality with a field that is not in the index, as a hint; else NULL. */
    const struct indexer_event_column *equal_column;
    sqlite3_value *equal_value; /* borrowed, as the others */
    int64_t limit; /* at most so many rows will be asked for, as a hint; -1: not known */
};

/* For xBestIndex. `topic` says that the table is one of one topic. Returns SQLITE_OK or _NOMEM. */
int indexer_event_plan_best(const struct indexer_event_columns *columns, bool one_topic,
                            sqlite3_index_info *info);
/* For xFilter. */
void indexer_event_plan_take(const struct indexer_event_columns *columns, int number,
                             const char *text, int argc, sqlite3_value **argv,
                             struct indexer_event_plan *plan_out);
/* The table is one of one topic: there is no other in it. */
void indexer_event_plan_set_topic(struct indexer_event_plan *plan, const char *topic,
                                  size_t topic_bytes);

#endif
