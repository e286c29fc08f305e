/*
 * indexer/producers.h - how far each producer has counted, and so which of its numbers are missing.
 *
 * The table producer_rows, with a bounded cache in front of it, as indexer/topics.h: however many
 * names strangers invent, it holds INDEXER_PRODUCERS_MAX of them. A number that follows the one
 * before costs a look into the cache; what jumps costs rows (indexer/gaps.h).
 *
 * Numbers only increase in a log, so that a gap is final once something is stored behind it. A
 * number that is not above the last one means that the log had forgotten the producer, who then
 * counts anew: none of his events was left, or an older Daybook remembered only PRODUCERS_MAX.
 *
 * Internal to indexer/; needs an open transaction; one thread.
 */
#ifndef DAYBOOK_INDEXER_PRODUCERS_H
#define DAYBOOK_INDEXER_PRODUCERS_H

#include <sqlite3.h>

#include "core/event.h"

enum { INDEXER_PRODUCERS_MAX = 2048 };

struct indexer_producers;

enum error_code indexer_producers_create(sqlite3 *database,
                                         struct indexer_producers **producers_out,
                                         struct error *error);
/* Take in the number of an event that has a producer. */
enum error_code indexer_producers_count(struct indexer_producers *producers,
                                        const struct event *event, struct error *error);
/* An event of topic GAP_TOPIC: take in what it says, if that is something (core/gap.h). */
enum error_code indexer_producers_explain(struct indexer_producers *producers,
                                          const struct event *event, struct error *error);
/*
 * What a list of producers in the log (`body` of a PRODUCERS block) says of the time before the
 * index begins: what was missing then is not known, or told.
 */
enum error_code indexer_producers_restore(struct indexer_producers *producers, const void *body,
                                          size_t size, struct error *error);
/* Write what has changed since the last flush. */
enum error_code indexer_producers_flush(struct indexer_producers *producers, struct error *error);
/* Forget everything: after a rollback, or when rows were deleted. */
void indexer_producers_clear(struct indexer_producers *producers);
/* Accepts NULL. */
void indexer_producers_free(struct indexer_producers *producers);

#endif
