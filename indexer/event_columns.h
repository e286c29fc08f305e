/*
 * indexer/event_columns.h - the columns of a table of events.
 *
 * The table `events` has those of the view that it takes the place of, and payload. A table of one
 * topic has seq, ts, time, then one column for each field of its payloads, and the rest hidden:
 * they can be asked for by name, and SELECT * does not show them.
 *
 * Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_COLUMNS_H
#define DAYBOOK_INDEXER_EVENT_COLUMNS_H

#include <stdbool.h>

#include "core/bytes.h"
#include "core/msgpack_path.h"

enum indexer_event_role {
    EVENT_COLUMN_SEQ,
    EVENT_COLUMN_TS,
    EVENT_COLUMN_TIME,
    EVENT_COLUMN_TOPIC,
    EVENT_COLUMN_SEGMENT,
    EVENT_COLUMN_OFFSET,
    EVENT_COLUMN_BYTES,
    EVENT_COLUMN_PAYLOAD,
    EVENT_COLUMN_FIELD, /* a value within the payload, at `path` */
};

struct indexer_event_column {
    enum indexer_event_role role;
    char *name;
    const char *type; /* SQL's; static */
    bool hidden;
    struct msgpack_path path;
    char path_text[MSGPACK_PATH_BYTES_MAX + 1]; /* canonical */
    bool is_kept; /* the index keeps the values (indexer/fields.h), or did when we looked */
};

/* Zero-initialised is empty; release frees. */
struct indexer_event_columns {
    struct indexer_event_column *columns;
    size_t count;
    size_t capacity;
};

/* Those of the table `events`. */
enum error_code indexer_event_columns_make(struct indexer_event_columns *columns_out,
                                           struct error *error);
/*
 * Those of a table of one topic, in three steps: seq, ts, time; then a column for each field; then
 * the hidden rest.
 */
enum error_code indexer_event_columns_begin(struct indexer_event_columns *columns_out,
                                            struct error *error);
/* A second column for the same path is not added. `type` is static; "": none. */
enum error_code indexer_event_columns_add_field(struct indexer_event_columns *columns,
                                                const char *name, const char *type,
                                                const struct msgpack_path *path,
                                                struct error *error);
enum error_code indexer_event_columns_finish(struct indexer_event_columns *columns,
                                             struct error *error);
/* The field whose canonical path (msgpack_path_text) this is; NULL: there is none. */
struct indexer_event_column *indexer_event_columns_find(const struct indexer_event_columns *columns,
                                                        const char *path_text);
/*
 * "CREATE TABLE x(…)" for sqlite3_declare_vtab, with a NUL, appended to `sql`. Without a rowid,
 * which a query can use unseen: so it is known which columns are wanted of a row.
 */
enum error_code indexer_event_columns_declare(const struct indexer_event_columns *columns,
                                              struct buffer *sql, struct error *error);
void indexer_event_columns_release(struct indexer_event_columns *columns);

#endif
