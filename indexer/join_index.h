/*
 * indexer/join_index.h - an index over the values of one field, made for one query.
 *
 * A join by a field that the index does not keep would go through the topic once for each row of
 * the other table. SQLite helps its own tables with an automatic index, but not virtual ones; this
 * is ours. It holds a hash of each value with the sequence, nothing else: whoever asks gets
 * candidates, among them every event whose value is equal.
 *
 * Values of SQL are compared after a conversion that depends on both sides. So an index answers
 * only where there is nothing to convert (indexer/event_field.h): all its values are texts, and a
 * text is asked for, or all are numbers, and a number is. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_JOIN_INDEX_H
#define DAYBOOK_INDEXER_JOIN_INDEX_H

#include "indexer/event_plan.h"
#include "indexer/lookup.h"

/* 16 bytes each. A topic with more values has no such index. */
enum { JOIN_INDEX_VALUES_MAX = 8 << 20 };

struct indexer_join_index;

/*
 * Go through the log, as `plan` says (topic and sequences; its times are not looked at), and take
 * the values at `path`. ERROR_FULL: there are too many. ERROR_DAMAGED: the log could not be read to
 * its end. Neither says that anything is wrong with the query.
 */
enum error_code indexer_join_index_make(struct indexer_lookup *lookup,
                                        const struct indexer_event_plan *plan,
                                        const struct msgpack_path *path,
                                        struct indexer_join_index **index_out,
                                        struct error *error);
/*
 * The sequences, ascending, of all events whose value may be equal to `value`; *sequences_out lives
 * as long as the index. `column` is the one whose values it has. False: this index does not answer
 * for such a value.
 */
bool indexer_join_index_find(const struct indexer_join_index *index,
                             const struct indexer_event_column *column, sqlite3_value *value,
                             const uint64_t **sequences_out, size_t *count_out);
/* Accepts NULL. */
void indexer_join_index_free(struct indexer_join_index *index);

#endif
