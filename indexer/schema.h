/*
 * indexer/schema.h - the tables and views of events.db; all of its SQL definitions are here.
 *
 * The base tables (…_rows, state) are ours to change with the version; the views are what users
 * see and may rely on:
 *
 *     events(seq, ts, time, topic, segment, offset, bytes)
 *     topics(topic, events, bytes, first_seq, last_seq, first_time, last_time)
 *     segments(segment, file, first_seq, last_seq, events, bytes, blocks, raw_bytes, stored_bytes,
 *              first_time, last_time, first_arrival, last_arrival, state)
 *     gaps(first_seq, last_seq, missing, cause, segment, producer, first_number, last_number, time,
 *          reason)
 *     event_stats(hour, topic, events, bytes)
 *     fields(topic, field, events, done, done_seq, until_seq, storage)
 *     field_values(topic, field, seq, value)
 *
 * Each indexed field has a table field_<id> of its own, made and dropped as users ask for it; the
 * view field_values is made anew each time, of those that are complete.
 *
 * docs/decisions/0004-index-schema.md says why it looks like this and what was measured.
 */
#ifndef DAYBOOK_INDEXER_SCHEMA_H
#define DAYBOOK_INDEXER_SCHEMA_H

#include "indexer/sqlite.h"
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "segment/format.h"

enum {
    INDEXER_SCHEMA_APPLICATION_ID = 0x44617962, /* "Dayb" */
    INDEXER_SCHEMA_VERSION = 3,                 /* user_version */
};

/* The cause of a gap that nobody has put on record in the log: see segment_format_gap_cause_text.
 */
#define INDEXER_GAP_UNREPAIRED "damage, not repaired"

/*
 * Of a row of field_rows: its table holds every event of the index that has the field. done_seq:
 * back-filled up to here; until_seq: what comes later was indexed with the field at once; lost_seq:
 * the last event that could not be read for it.
 */
#define INDEXER_SCHEMA_FIELD_DONE INDEXER_SCHEMA_FIELD_DONE_OF("")
/* `schema` is the name of the database, and a dot. */
#define INDEXER_SCHEMA_FIELD_DONE_OF(schema)                                                       \
    "(done_seq >= until_seq AND lost_seq < (SELECT bound FROM " schema "state))"

/* The single row of the table state. */
struct indexer_schema_state {
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    uint64_t last_sequence; /* indexed, or known to be missing, up to here */
    uint64_t bound;         /* rows below are gone */
};

/* Make everything, in one transaction, in an empty database. */
enum error_code indexer_schema_create(sqlite3 *database, const struct indexer_schema_state *state,
                                      struct error *error);

/*
 * Is this our schema, of this version? `schema` is the database's name on the connection: "main",
 * or that of an ATTACH. ERROR_NOT_FOUND: the database is empty. ERROR_FOREIGN: of
 * another program. ERROR_VERSION: ours, of another version. ERROR_DAMAGED: no database, or damaged.
 */
enum error_code indexer_schema_check(sqlite3 *database, const char *schema, struct error *error);

/* The same, but only: does it say that it is an index, of whatever version? */
bool indexer_schema_is_ours(sqlite3 *database, const char *schema);

enum error_code indexer_schema_load_state(sqlite3 *database, struct indexer_schema_state *state_out,
                                          struct error *error);

/* In a transaction: the table and the index of a field, which is in field_rows already. */
enum error_code indexer_schema_create_field(sqlite3 *database, int64_t id, struct error *error);
enum error_code indexer_schema_drop_field(sqlite3 *database, int64_t id, struct error *error);
/* In a transaction: make the view field_values anew, of the fields that are complete now. */
enum error_code indexer_schema_show_fields(sqlite3 *database, struct error *error);

#endif
