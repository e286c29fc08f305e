/*
 * tools/daybook/replay_source.h - the events of a replay, ready before they are due.
 *
 * A thread of its own reads the log, chooses, renames, merges by time and writes the text, so that
 * neither the disk nor a costly filter stands between an event and its deadline. It is ahead of the
 * player by a bounded number of events and bytes.
 *
 * The player's calls are of one thread. What the source was given to work with is the source's own
 * from open to close.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_SOURCE_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_SOURCE_H

#include "tools/daybook/bell.h"
#include "tools/daybook/history.h"
#include "tools/daybook/remap.h"
#include "tools/daybook/replay_event.h"
#include "tools/daybook/selection.h"

struct replay_source_options {
    struct history *history;
    struct selection *selection;
    struct remap *remap;
    int64_t merge_window_ns;
    uint64_t rounds; /* 0: for ever; a round that has no event is the last one */
    struct bell *bell; /* rung when there is something after there was nothing */
};

struct replay_source;

/* Start reading. Borrows everything in `options` until close. */
enum error_code replay_source_open(const struct replay_source_options *options,
                                   struct replay_source **source_out, struct error *error);
/* End the thread, and free. Accepts NULL. */
void replay_source_close(struct replay_source *source);

/* What comes next: */
enum replay_source_kind {
    REPLAY_SOURCE_EVENT,
    REPLAY_SOURCE_ROUND, /* a round is over */
};
/*
 * An event stays valid as long as replay_source_turns() says no. ERROR_BUSY: nothing is there yet,
 * the bell will ring. ERROR_END: all rounds are over.
 */
enum error_code replay_source_next(struct replay_source *source, enum replay_source_kind *kind_out,
                                   const struct replay_event **event_out, struct error *error);
/* Will the next call give events of another batch, and free those that were given so far? */
bool replay_source_turns(const struct replay_source *source);

/*
 * Go on, within the same round, with the events that were recorded at `time_ns` or later. All
 * events that were given are gone.
 */
void replay_source_seek(struct replay_source *source, int64_t time_ns);

#endif
