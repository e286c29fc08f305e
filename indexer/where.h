/*
 * indexer/where.h - does an event keep to a condition: price > 100 AND side = 'buy'?
 *
 * A condition is one SQL expression over one event. Its names are seq, ts, time, topic and payload,
 * as in the table `events`, and the fields of the payload: any other name is the path of one
 * (core/msgpack_path.h), in double quotes when it is not a plain word ("order.id",
 * "$.items[0].price"). A field that is called like one of the five, or like another column of
 * `events`, is "payload.time" as in the topics' tables; what an event does not have is NULL; values
 * are SQL's as indexer/field_value.h says. Fields have no type that comparisons would convert to.
 *
 * To be had are SQLite's operators and those of its functions that give the same answer at any
 * time, daybook_field(payload, path), and daybook_time(text), to which "now" is the moment of
 * compiling. An event passes when the expression is true as in a WHERE: not 0, not NULL.
 *
 * Strangers' texts are compiled here. They can neither read nor change anything but the event: not
 * a table, no file, no setting, no clock. No text can be more than one expression; SELECT is not to
 * be had, and without it there is no loop, so that a condition ends. What is done with long texts
 * is counted: each costs its bytes times the functions and operators around it, what would make
 * more bytes of it is not to be had (indexer/where_functions.h), and what would cost more than a
 * few milliseconds (a tenth of a second for the largest payloads) ends with "takes too long". So
 * memory is bounded, too.
 *
 * A condition is used by one thread at a time. It holds about 50 KiB, and during a match what the
 * expression makes of the payload.
 */
#ifndef DAYBOOK_INDEXER_WHERE_H
#define DAYBOOK_INDEXER_WHERE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/event.h"

enum {
    INDEXER_WHERE_BYTES_MAX = 4096, /* of the text */
    INDEXER_WHERE_FIELDS_MAX = 64,  /* that it may name */
};

struct indexer_where;

/*
 * Compile the text, which is not kept. ERROR_INVALID: what is wrong with it, in SQLite's words
 * where they are the best, without the text itself. The caller frees *where_out.
 */
enum error_code indexer_where_compile(const char *text, size_t text_bytes,
                                      struct indexer_where **where_out, struct error *error);
/*
 * ERROR_INVALID: for this event the expression has no value (malformed JSON, an overflow), or takes
 * too long; ERROR_MEMORY. The condition can be used on.
 */
enum error_code indexer_where_match(struct indexer_where *where, const struct event *event,
                                    bool *matches_out, struct error *error);
/*
 * The first field that was looked for and that no event so far has had: perhaps a name that was
 * mistyped. NULL: there is none. Belongs to `where`.
 */
const char *indexer_where_unseen(const struct indexer_where *where);
/* Accepts NULL. */
void indexer_where_free(struct indexer_where *where);

#endif
