/*
 * indexer/topics.h - topic names to ids, and what a transaction adds to each topic's totals.
 *
 * A bounded cache in front of the table topic_rows: however many topics strangers invent, it holds
 * INDEXER_TOPICS_MAX of them. Totals are gathered here and written once a transaction, not once a
 * row. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_TOPICS_H
#define DAYBOOK_INDEXER_TOPICS_H

#include "indexer/sqlite.h"

#include "core/event.h"
#include "indexer/field_set.h"

enum { INDEXER_TOPICS_MAX = 2048 };

struct indexer_topics;

/* Borrows both; after a change of `fields`, clear. */
enum error_code indexer_topics_create(sqlite3 *database, const struct indexer_field_set *fields,
                                      struct indexer_topics **topics_out, struct error *error);
/*
 * Count the event to its topic, which is made when it is new, and give the topic's id, and the
 * position of its first indexed field (indexer_field_set_first). Needs an open transaction: a full
 * cache writes its totals and starts afresh.
 */
enum error_code indexer_topics_count(struct indexer_topics *topics, const struct event *event,
                                     int64_t *id_out, size_t *field_out, struct error *error);
/* Write what was counted since the last flush. */
enum error_code indexer_topics_flush(struct indexer_topics *topics, struct error *error);
/* Forget everything: after a rollback, or when rows of topic_rows were deleted. */
void indexer_topics_clear(struct indexer_topics *topics);
/* Accepts NULL. */
void indexer_topics_free(struct indexer_topics *topics);

#endif
