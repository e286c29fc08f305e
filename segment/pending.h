/*
 * segment/pending.h - events that have a sequence and are not durable yet.
 *
 * The meeting place of the threads: appenders put events in, the committer takes blocks out, and
 * both tell and learn how far the log is. One mutex, held only for memory work, never across a
 * system call that could block on disk.
 *
 * Bounded in bytes and in events (FORMAT_UNDURABLE_EVENTS_MAX): beyond that ERROR_BUSY.
 *
 * What no block of a file has ever held can be withdrawn: when there is no room for it, its
 * sequences and its producers' numbers are free again, as if it had been refused at once.
 */
#ifndef DAYBOOK_SEGMENT_PENDING_H
#define DAYBOOK_SEGMENT_PENDING_H

#include <pthread.h>

#include "segment/block.h"
#include "segment/log.h"
#include "segment/past.h"
#include "segment/producers.h"

struct segment_pending;

struct segment_pending_start {
    size_t bytes_max;
    size_t block_bytes_max; /* events of many connections share blocks of up to this */
    uint64_t sequence_next;
    int64_t arrival_ns;                        /* the last one in the log */
    const struct segment_producers *producers; /* copied */
    struct segment_past *past; /* borrowed; NULL: who leaves the table is forgotten */
    uint64_t event_last;       /* of the events that are there; what follows it are gaps */
    bool withdrawals_are_taken;                /* segment_log_options.takes_withdrawals */
};
enum error_code segment_pending_create(const struct segment_pending_start *start,
                                       struct segment_pending **pending_out, struct error *error);
void segment_pending_free(struct segment_pending *pending);

/* For appenders: see segment_log_append and its neighbours in segment/log.h. */
enum error_code segment_pending_append(struct segment_pending *pending, const struct event *event,
                                       enum segment_log_outcome *outcome_out,
                                       uint64_t *sequence_out, struct error *error);
enum error_code segment_pending_append_together(struct segment_pending *pending,
                                                const struct event *events, size_t count,
                                                uint64_t *sequence_out, struct error *error);
bool segment_pending_has_room(struct segment_pending *pending, size_t events, size_t bytes);
void segment_pending_kick(struct segment_pending *pending);
void segment_pending_wait_room(struct segment_pending *pending);
uint64_t segment_pending_appended(struct segment_pending *pending);
uint64_t segment_pending_written(const struct segment_pending *pending);
uint64_t segment_pending_durable(const struct segment_pending *pending);
enum error_code segment_pending_find_producer(struct segment_pending *pending, const char *name,
                                              size_t name_bytes, uint64_t *number_out,
                                              struct error *error);
/* The last event that the log has been given. */
uint64_t segment_pending_event_last(struct segment_pending *pending);
enum error_code segment_pending_failure(struct segment_pending *pending, struct error *error);
uint64_t segment_pending_duplicates(struct segment_pending *pending);
bool segment_pending_take_withdrawal(struct segment_pending *pending, struct error *why_out);

/* A block's worth of events on its way to the disk. */
struct segment_pending_block {
    struct segment_block_builder builder;
    struct segment_pending_block *next;
};

/*
 * The turn: who has it commits, and nobody else does. The committer's thread takes it when there is
 * work for it; a thread that waits for its event takes it when nobody has it, so that a lone event
 * is on its way to the disk without another thread having to wake.
 *
 * For the committer's thread: wait for the turn until there is something to commit, something is
 * due, or the end has come (*stopping_out). Takes the turn and all blocks, in order; NULL: nothing
 * is there. After a failure there are no turns.
 */
struct segment_pending_block *segment_pending_take(struct segment_pending *pending,
                                                   bool *stopping_out);
/*
 * For any thread: the turn and all blocks; NULL: nothing is there, or somebody else has the turn,
 * and what is there is seen to behind it.
 */
struct segment_pending_block *segment_pending_try_take(struct segment_pending *pending);
/*
 * Give the turn back; who waits for what has come meanwhile gets it, or the committer's thread.
 * `deadline_ns` (monotonic; INT64_MAX: never) is when that has to look without any event.
 */
void segment_pending_leave(struct segment_pending *pending, int64_t deadline_ns);

/* A thread that waits for its event, on its own stack. */
struct segment_pending_waiter {
    uint64_t sequence;
    bool withdrawn;
    bool asleep;
    pthread_cond_t woken;
    struct segment_pending_waiter *next;
};
/*
 * Begin; then, until it returns NULL, wait: that gives the turn and all blocks to be committed;
 * end says what has become of the sequence (see segment_log_wait).
 */
void segment_pending_begin_wait(struct segment_pending *pending,
                                struct segment_pending_waiter *waiter, uint64_t sequence);
struct segment_pending_block *segment_pending_wait(struct segment_pending *pending,
                                                   struct segment_pending_waiter *waiter);
enum error_code segment_pending_end_wait(struct segment_pending *pending,
                                         struct segment_pending_waiter *waiter,
                                         struct error *error);
/* Up to here the events are in the file; up to here they are durable. */
void segment_pending_set_written(struct segment_pending *pending, uint64_t sequence);
void segment_pending_set_durable(struct segment_pending *pending, uint64_t sequence);
/* The first `count` blocks of the list became durable: give their memory and room back. Returns the
 * rest. */
struct segment_pending_block *segment_pending_release(struct segment_pending *pending,
                                                      struct segment_pending_block *list,
                                                      size_t count);
/*
 * There is no room for `list`, nor for what was appended behind it: take all of it back and refuse
 * new events, with this error. `sequence_last` is the last one written, and durable; `producers`
 * are as of there. Frees the list, but not when it fails (ERROR_MEMORY).
 */
enum error_code segment_pending_withdraw(struct segment_pending *pending,
                                         struct segment_pending_block *list, uint64_t sequence_last,
                                         const struct segment_producers *producers,
                                         const struct error *why, struct error *error);
/* With what new events are refused now; code OK: they are not. */
void segment_pending_read_refusal(struct segment_pending *pending, struct error *why_out);
/* Room is there again: refuse nothing more. */
void segment_pending_resume(struct segment_pending *pending);
/* For good: nothing is acknowledged any more. */
void segment_pending_fail(struct segment_pending *pending, const struct error *why);
/* Let the committer look at the clock, and wait until it sleeps again. For segment_log_settle. */
void segment_pending_settle(struct segment_pending *pending);
/* Ask the committer to finish. */
void segment_pending_stop(struct segment_pending *pending);

#endif
