/*
 * indexer/follower.h - keep DIR/events.db equal to the durable log.
 *
 * The index is derived: delete it and only time is lost. The follower is its one writer. It reads
 * the log through segment/reader.h, up to the watermark and never beyond, and adds the events in
 * transactions of whole blocks, so a crash at any moment leaves an index that ends at a block's
 * end. It also removes the rows of segments that retention has deleted, and keeps the payload
 * fields that DIR/index-fields wishes (indexer/wishes.h): those of new events in the events'
 * transactions, those of older ones when there is nothing else to do.
 *
 *     indexer_follower_open(path, &follower, &error);
 *     while (!stopping) {
 *         indexer_follower_step(follower, &step, &error);
 *         if (step.caught_up)
 *             indexer_follower_wait(follower, 100);
 *     }
 *     indexer_follower_close(follower);
 *
 * Nothing here ever writes to the log. A failing index is the index's trouble only: the log goes
 * on, the caller reports it and may try again.
 *
 * One thread a follower. One follower a log, in all processes: LOCK_INDEXER.
 */
#ifndef DAYBOOK_INDEXER_FOLLOWER_H
#define DAYBOOK_INDEXER_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct indexer_follower;

/*
 * Take LOCK_INDEXER and open events.db; make it when it is missing. An index that is no database,
 * is damaged, of another log or of another version of its schema is deleted and will be filled
 * anew: indexer_follower_rebuilt() tells.
 * ERROR_BUSY: another process follows this log. ERROR_NOT_FOUND: there is no log in `path`.
 * ERROR_DAMAGED: the index holds events that the log has lost. It is kept, as evidence.
 */
enum error_code indexer_follower_open(const char *path, struct indexer_follower **follower_out,
                                      struct error *error);

/* Why the index had to be made anew; NULL when it had not. Lives with the follower. */
const char *indexer_follower_rebuilt(const struct indexer_follower *follower);

struct indexer_step {
    uint64_t events;        /* added by this step */
    uint64_t damaged;       /* places in the log that could not be read, met by this step */
    uint64_t retired;       /* rows removed by this step: of segments that retention deleted, of
                               fields that were dropped */
    uint64_t filled;        /* older events that this step read once more, for indexed fields */
    uint64_t last_sequence; /* everything up to here is indexed (or known to be missing) */
    uint64_t watermark;     /* the last durable sequence when the step ended */
    bool relocating;        /* more packed segments wait for their blocks' new places */
    bool working_on_fields; /* indexed fields have rows to be filled or removed */
    bool caught_up;         /* nothing more to do now: wait */
    const char *notice;     /* something a person should read (damage in the log, the index was
                               rebuilt), else NULL; valid until the next call on the follower */
};

/*
 * Do a bounded amount of work: index at most one transaction of durable events, remove at most one
 * transaction of retired rows, fill or remove one of fields' rows. After an error the index is as
 * it was before what failed, and the next step tries again. ERROR_NO_SPACE, ERROR_IO: the index
 * cannot be written now. A database that turns out to be damaged is deleted and filled anew, and so
 * is one whose file somebody has deleted or replaced, which is looked for about ten times a second
 * (notice).
 */
enum error_code indexer_follower_step(struct indexer_follower *follower,
                                      struct indexer_step *step_out, struct error *error);

/*
 * Step until everything that is durable now is indexed, everything retired removed, and every field
 * that is wished is filled as far as the log can be read now.
 */
enum error_code indexer_follower_catch_up(struct indexer_follower *follower, struct error *error);

/*
 * Wait until there is something to do, at most `timeout_ms`, or until a signal comes. At low rates
 * it also lets a moment's events gather (INDEXER_GATHER_MS since the last step), because each
 * transaction rewrites the same few pages, whether for one event or for a thousand.
 */
enum { INDEXER_GATHER_MS = 100 };
void indexer_follower_wait(struct indexer_follower *follower, int timeout_ms);

/* Checkpoint, close, give the lock back. Accepts NULL. */
void indexer_follower_close(struct indexer_follower *follower);

/*
 * For indexer/reindex.h: follow the log into DIR/events.db.rebuild, which is made anew, while
 * readers go on with events.db; then put it in the place of events.db. `finish` closes the
 * follower, whatever it returns.
 */
enum error_code indexer_follower_open_rebuild(const char *path,
                                              struct indexer_follower **follower_out,
                                              struct error *error);
enum error_code indexer_follower_finish_rebuild(struct indexer_follower *follower,
                                                struct error *error);

#endif
