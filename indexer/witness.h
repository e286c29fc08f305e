/*
 * indexer/witness.h - how far the index has got, asked from outside.
 *
 * The index only ever holds events that were durable, so its last sequence is a witness: a log that
 * ends before it has lost data. Read-only; takes no lock; makes no file that was not there.
 */
#ifndef DAYBOOK_INDEXER_WITNESS_H
#define DAYBOOK_INDEXER_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "segment/format.h"

/* All that the index can say of the log. */
struct indexer_testimony {
    bool there; /* false: no index, or none that can be believed; the rest is 0 */
    uint64_t last_sequence;
    uint64_t bound; /* the lower bound of the log, as far as the index has followed it */
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
};
/* Only ERROR_MEMORY and the like are errors. */
enum error_code indexer_testify(const char *path, struct indexer_testimony *testimony_out,
                                struct error *error);

/*
 * The last indexed sequence, for segment_log_open's witness_sequence. 0 when there is no index, or
 * none that can be believed: not a database, damaged, of another log. Only ERROR_MEMORY and the
 * like are errors.
 */
enum error_code indexer_witness(const char *path, uint64_t *sequence_out, struct error *error);

/*
 * Wait until a running follower (the daemon's) has indexed everything up to `sequence`, at most
 * `timeout_ms`. ERROR_BUSY: it has not by then. ERROR_NOT_FOUND: there is no index.
 */
enum error_code indexer_wait_for_sequence(const char *path, uint64_t sequence, int timeout_ms,
                                          struct error *error);

/*
 * Wait until the index holds no row below the log's lower bound: index and files agree after
 * retention. Errors as above.
 */
enum error_code indexer_wait_for_bound(const char *path, int timeout_ms, struct error *error);

#endif
