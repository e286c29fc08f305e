/*
 * indexer/fields.h - the payload fields that a database keeps, for who plans queries over them.
 *
 * The values of a field are in the table field_<id>(seq INTEGER PRIMARY KEY, value), with an index
 * on value, which gives them in the order of (value, seq):
 *
 *     SELECT seq FROM field_3 WHERE value = 'u17' ORDER BY seq
 *
 * It has a row for each event of the topic that has a value there which is not NULL
 * (indexer/field_value.h says which SQL value it is).
 *
 * `done` is exact: it is true as long as the table holds all of them, for all events that the index
 * has; only then may a query be answered from it. A field that was just added is not done, and one
 * is not for which an event could not be read (until retention has deleted that).
 * Ids are never used again, so a statement over a field that was dropped fails, at worst.
 */
#ifndef DAYBOOK_INDEXER_FIELDS_H
#define DAYBOOK_INDEXER_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "core/msgpack_path.h"
#include "indexer/sqlite.h"

struct indexer_field {
    int64_t id;
    char topic[EVENT_TOPIC_BYTES_MAX + 1];
    char path[MSGPACK_PATH_BYTES_MAX + 1]; /* canonical: msgpack_path_text */
    bool done;
    uint64_t events;    /* rows in its table */
    uint64_t done_seq;  /* filled up to here … */
    uint64_t until_seq; /* … of here; what comes later was indexed with the field at once */
};

struct indexer_fields {
    struct indexer_field *list; /* ordered by topic and path */
    size_t count;
};

/*
 * As the connection sees it now: within a read transaction list and tables belong together.
 * `schema` is the name of the index in the connection: "main", or what it was attached as.
 */
enum error_code indexer_fields_load(sqlite3 *database, const char *schema,
                                    struct indexer_fields *fields_out, struct error *error);
void indexer_fields_free(struct indexer_fields *fields);
/* One that a query may be answered from. NULL: it is not kept, or not done. */
const struct indexer_field *indexer_fields_find(const struct indexer_fields *fields,
                                                const char *topic, const char *path);

#endif
