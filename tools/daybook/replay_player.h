/*
 * tools/daybook/replay_player.h - give each event to the target when it is due; obey the user.
 *
 * The player takes events from the source, which is ahead, sleeps until each is due, and hands over
 * together what is due together. While it sleeps it listens: pause, step, seek, end. It keeps the
 * account that the certificate is written from. What was handed over is hashed, in the order in
 * which it left: for each event `{` and its text (replay_event.h).
 *
 * Of one thread.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_PLAYER_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_PLAYER_H

#include "tools/daybook/digest.h"
#include "tools/daybook/pace.h"
#include "tools/daybook/replay_console.h"
#include "tools/daybook/replay_source.h"
#include "tools/daybook/replay_target.h"

enum { REPLAY_PLAYER_BATCH_MAX = 512 };

struct replay_player {
    /* Set by the caller, with pace_init and digest_init; the rest zero. */
    struct replay_source *source;
    struct replay_target *target;
    struct replay_orders *orders;
    struct replay_progress *progress;
    struct pace pace;
    struct digest digest;

    /* The account. */
    uint64_t rounds; /* that have begun */
    uint64_t pauses;
    uint64_t steps;
    uint64_t seeks;
    int64_t paused_ns;
    int64_t took_ns;   /* from the beginning to the end, all in all */
    int64_t active_ns; /* … to the last event that left, without pauses */
    bool interrupted;  /* the user ended it, or a signal */
    uint64_t sequence_first, sequence_last; /* of what left first and last */

    /* The state. */
    const struct replay_event *event; /* what leaves next; NULL: not known yet */
    struct {
        const struct replay_event *event;
        int64_t due_ns;
    } pending[REPLAY_PLAYER_BATCH_MAX]; /* handed over, with the flush to come */
    size_t pending_count;
    size_t pending_bytes;
    int64_t began_ns;
    int64_t time_first_ns; /* of the round's first event: nothing is before it */
    int64_t paused_at_ns;
    int64_t spin_credit_ns;
    int64_t jump_ns; /* when `jumping`: what the clock shows when the next event is there */
    bool jumping;
    bool paused;
    uint64_t steps_wanted; /* so many events now, in the pause */
};

/* Until all rounds are over, or the user has had enough. */
enum error_code replay_player_run(struct replay_player *player, struct error *error);

#endif
