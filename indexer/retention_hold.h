/*
 * indexer/retention_hold.h - which segments cursors keep from retention; internal to
 * indexer/retention.c.
 *
 * A cursor with a hold keeps the segment with the first event that is not done, and all behind it,
 * as long as these are not more bytes than its hold. When they are more, it loses the oldest of
 * them: retention goes on, and says so.
 */
#ifndef DAYBOOK_INDEXER_RETENTION_HOLD_H
#define DAYBOOK_INDEXER_RETENTION_HOLD_H

#include <stddef.h>
#include <stdint.h>

#include "indexer/retention.h"
#include "segment/cursors.h"
#include "segment/set.h"

struct indexer_retention_holds {
    struct segment_cursors cursors; /* owned */
    struct error damage;            /* the first damaged cursor: what it held is not known */
};

/*
 * ERROR_IO, ERROR_VERSION: a cursor cannot be read by us or by this Daybook; it may hold something,
 * so nothing should be deleted.
 */
enum error_code indexer_retention_holds_load(int log_fd, const struct segment_set *set,
                                             struct indexer_retention_holds *holds_out,
                                             struct error *error);
/*
 * The cursor that keeps a segment with events up to `sequence_last`, from which on the log has
 * `bytes` of segments; NULL: none does.
 */
const struct segment_cursors_cursor *
indexer_retention_holds_find(const struct indexer_retention_holds *holds, uint64_t sequence_last,
                             uint64_t bytes);
/* Tell each cursor with a hold that needs events below the new bound. */
void indexer_retention_holds_tell(const struct indexer_retention_holds *holds, uint64_t bound_old,
                                  uint64_t bound,
                                  const struct indexer_retention_options *options, void *context);
void indexer_retention_holds_release(struct indexer_retention_holds *holds);

#endif
