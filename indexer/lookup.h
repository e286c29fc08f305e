/*
 * indexer/lookup.h - an event by its sequence: the index says in which block it is, the log gives
 * it.
 *
 * The blocks that were used last stay open: whoever asks for many events in order has each block
 * decoded once, and one that is asked again, or whose events lie in some blocks by turns, none.
 *
 * Blocks are looked up on a connection of its own: where packing has moved a block, the newest
 * answer is the right one, not the one of some reader's snapshot. Only what the segment itself
 * confirms is believed. Internal to indexer/; one thread.
 */
#ifndef DAYBOOK_INDEXER_LOOKUP_H
#define DAYBOOK_INDEXER_LOOKUP_H

#include "core/event.h"

/*
 * For who goes on behind damage: an event that cannot be read is not there then, instead of being
 * an error, and `damaged` is told why, once for each block. Zero-initialised: nobody watches.
 */
struct indexer_watcher {
    void (*damaged)(void *context, const char *text);
    void *context;
};

struct indexer_lookup;
struct segment_reader;

/* For the log in `path`; nothing is opened before the first question. The watcher is copied. */
enum error_code indexer_lookup_create(const char *path, const struct indexer_watcher *watcher,
                                      struct indexer_lookup **lookup_out, struct error *error);
/*
 * *event_out lives until the next call on this lookup. ERROR_NOT_FOUND: there is no such event (any
 * more), or a watcher was told why not. ERROR_DAMAGED names segment and offset.
 */
enum error_code indexer_lookup_event(struct indexer_lookup *lookup, uint64_t sequence,
                                     const struct event **event_out, struct error *error);
/*
 * Its reader, for who goes through the log for a while (segment/reader.h): until the next question
 * to this lookup, which finds its way again. To open another one costs a look at the whole last
 * segment where no writer is alive.
 */
enum error_code indexer_lookup_lend_reader(struct indexer_lookup *lookup,
                                           struct segment_reader **reader_out, struct error *error);
/* Accepts NULL. */
void indexer_lookup_free(struct indexer_lookup *lookup);

#endif
