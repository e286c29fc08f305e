/*
 * indexer/field_set.h - the indexed fields as whoever fills the index has them in memory.
 *
 * A copy of the table field_rows, with a parsed path and a prepared INSERT for each. It changes
 * with the wishes (indexer/wishes.h): then positions in it are void, too.
 *
 * Invariants
 *   - `add` and `flush` belong to a transaction of the caller's: after its rollback, `forget`.
 *   - A row of a field's table and what field_rows says of the field change together.
 *
 * Internal to indexer/; one thread.
 */
#ifndef DAYBOOK_INDEXER_FIELD_SET_H
#define DAYBOOK_INDEXER_FIELD_SET_H

#include <stdbool.h>

#include "core/bytes.h"
#include "core/event.h"
#include "core/msgpack_path.h"
#include "indexer/sqlite.h"
#include "indexer/wishes.h"

struct indexer_field_entry {
    int64_t id;
    struct indexer_wish name;
    size_t topic_bytes;
    struct msgpack_path path;
    uint64_t done_seq; /* back-filled up to here */
    uint64_t until_seq; /* … and no farther than here */
    sqlite3_stmt *insert;
    int64_t added; /* rows since the last flush */
};

struct indexer_field_set {
    sqlite3 *database; /* borrowed */
    struct indexer_field_entry *list; /* ordered by topic */
    size_t count;
    bool removing; /* there are rows of dropped fields */
    sqlite3_stmt *count_up;
    struct buffer scratch;
};

/* Read field_rows. The set is zero-initialised, or was loaded before. */
enum error_code indexer_field_set_load(struct indexer_field_set *set, sqlite3 *database,
                                       struct error *error);
/*
 * Make tables for what is wished and not there, and mark for removal what is no longer wished, in
 * one transaction; *changed_out: there was something to do. New fields want to be back-filled up to
 * what the database has indexed.
 */
enum error_code indexer_field_set_match(struct indexer_field_set *set,
                                        const struct indexer_wishes *wishes, bool *changed_out,
                                        struct error *error);

/* The position of a topic's first field, from 1; 0: it has none. Its others are behind that. */
size_t indexer_field_set_first(const struct indexer_field_set *set, const char *topic,
                               size_t topic_bytes);
/* Is there another field of the same topic at the position behind? */
bool indexer_field_set_has_next(const struct indexer_field_set *set, size_t position);

/* Add the event's value, if it has one, to one field; or to all of its topic from `first` on. */
enum error_code indexer_field_set_add(struct indexer_field_set *set,
                                      struct indexer_field_entry *entry,
                                      const struct event *event, struct error *error);
enum error_code indexer_field_set_add_all(struct indexer_field_set *set, size_t first,
                                          const struct event *event, struct error *error);
/* Write how many rows were added. */
enum error_code indexer_field_set_flush(struct indexer_field_set *set, struct error *error);
void indexer_field_set_forget(struct indexer_field_set *set);

/*
 * Remove at most INDEXER_FIELD_SET_ROWS rows of a dropped field, in one transaction, and its table
 * with the last of them.
 */
enum { INDEXER_FIELD_SET_ROWS = 8192 };
enum error_code indexer_field_set_remove_some(struct indexer_field_set *set, uint64_t *rows_out,
                                              struct error *error);

void indexer_field_set_release(struct indexer_field_set *set);

#endif
