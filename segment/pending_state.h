/*
 * segment/pending_state.h - what pending.c and pending_turn.c share; for nobody else.
 */
#ifndef DAYBOOK_SEGMENT_PENDING_STATE_H
#define DAYBOOK_SEGMENT_PENDING_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "segment/pending.h"

struct segment_pending {
    pthread_mutex_t mutex;
    pthread_cond_t work;     /* for the committer's thread */
    pthread_cond_t progress; /* for those who wait for room */
    bool has_turn;           /* somebody commits */
    bool committer_waits;    /* its thread sleeps … */
    int64_t waits_until_ns;  /* … until then, unless it is woken */
    int64_t deadline_ns;     /* when something is due without any event, as of the last turn */
    bool kicked;
    bool settling; /* the committer's thread is to tell when it sleeps */
    bool stopping;

    struct segment_pending_block *first, *last; /* last is the open one */
    struct segment_pending_block *spare;
    size_t spare_count;
    size_t bytes, bytes_max; /* raw, of all that is not durable */
    size_t block_bytes_max;
    size_t events;

    uint64_t sequence_next;
    int64_t arrival_ns;
    struct segment_producers *producers; /* as of sequence_next */
    uint64_t duplicates;
    _Atomic uint64_t written;
    _Atomic uint64_t durable;
    struct error refusal; /* code OK: none */
    struct error failure;

    /*
     * Something was withdrawn, and whoever appends has not heard of it. Until then nothing is
     * appended: the same sequences would be given to other events, and who waits for the old ones
     * would take the new ones for them.
     */
    bool withdrawn;
    bool withdrawals_are_taken;
    struct error withdrawal; /* why, the last time */
    struct segment_pending_waiter *waiters;
};

/* With the mutex held. Who has the turn sees for itself when it is over (segment_pending_leave). */
void segment_pending_wake_committer(struct segment_pending *pending);
/* With the mutex held: wake those waiters who have their answer. */
void segment_pending_wake_answered(struct segment_pending *pending);
/*
 * With the mutex held: who has just been refused knows of the withdrawal too, unless it is to be
 * taken.
 */
void segment_pending_tell_withdrawal(struct segment_pending *pending);

#endif
