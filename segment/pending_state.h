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
    struct segment_past *past;           /* those whom it has forgotten; NULL: nobody knows */
    uint64_t leavings;                   /* how many have left the table since the start */
    uint64_t sequence_start, event_last_before; /* of the log as it was opened */
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

/* What is known of an event's producer. */
struct segment_pending_origin {
    bool known;
    uint64_t number; /* the last one in the log, and its sequence */
    uint64_t sequence;
};
/*
 * In pending_origin.c, with the mutex held. Asks segment/past.h where the table does not know the
 * name, which may read from the disk: the mutex is let go meanwhile, and taken again.
 */
enum error_code segment_pending_find_origin(struct segment_pending *pending, const char *name,
                                            size_t name_bytes,
                                            struct segment_pending_origin *origin_out,
                                            struct error *error);
/*
 * Make room for the producer's entry before its event is stored: then noting the number cannot fail
 * afterwards, and a stored event is never without its number, nor a number without its event. The
 * entry says what `origin` does, for the event may yet be refused: a producer of the past must not
 * come into the table as one of whom nothing is known, which would hide what is. ERROR_BUSY: who has to leave the table for it has an event that is not durable.
 */
enum error_code segment_pending_know_producer(struct segment_pending *pending,
                                              const struct event *event,
                                              const struct segment_pending_origin *origin,
                                              struct error *error);
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
