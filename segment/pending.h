/*
 * segment/pending.h - events that have a sequence and are not durable yet.
 *
 * The meeting place of the threads: appenders put events in, the committer takes blocks out, and
 * both tell and learn how far the log is. One mutex, held only for memory work, never across a
 * system call that could block on disk.
 *
 * Bounded in bytes and in events (FORMAT_UNDURABLE_EVENTS_MAX): beyond that ERROR_BUSY.
 */
#ifndef DAYBOOK_SEGMENT_PENDING_H
#define DAYBOOK_SEGMENT_PENDING_H

#include "segment/block.h"
#include "segment/log.h"
#include "segment/producers.h"

struct segment_pending;

struct segment_pending_start {
    size_t bytes_max;
    uint64_t sequence_next;
    int64_t arrival_ns;                        /* the last one in the log */
    const struct segment_producers *producers; /* copied */
};
enum error_code segment_pending_create(const struct segment_pending_start *start,
                                       struct segment_pending **pending_out, struct error *error);
void segment_pending_free(struct segment_pending *pending);

/* For appenders: see segment_log_append and its neighbours in segment/log.h. */
enum error_code segment_pending_append(struct segment_pending *pending, const struct event *event,
                                       enum segment_log_outcome *outcome_out,
                                       uint64_t *sequence_out, struct error *error);
bool segment_pending_has_room(struct segment_pending *pending, size_t events, size_t bytes);
void segment_pending_kick(struct segment_pending *pending);
enum error_code segment_pending_wait(struct segment_pending *pending, uint64_t sequence,
                                     struct error *error);
void segment_pending_wait_room(struct segment_pending *pending);
uint64_t segment_pending_appended(struct segment_pending *pending);
uint64_t segment_pending_written(const struct segment_pending *pending);
uint64_t segment_pending_durable(const struct segment_pending *pending);
uint64_t segment_pending_producer_number(struct segment_pending *pending, const char *name,
                                         size_t name_bytes);
enum error_code segment_pending_failure(struct segment_pending *pending, struct error *error);
uint64_t segment_pending_duplicates(struct segment_pending *pending);

/* A block's worth of events on its way to the disk. */
struct segment_pending_block {
    struct segment_block_builder builder;
    struct segment_pending_block *next;
};

/*
 * For the committer. Wait until there is something to commit, until `deadline_ns` (monotonic;
 * INT64_MAX: none) or until stop. Takes all blocks, in order; NULL: nothing is there.
 */
struct segment_pending_block *segment_pending_take(struct segment_pending *pending,
                                                   int64_t deadline_ns);
/* Up to here the events are in the file; up to here they are durable. */
void segment_pending_set_written(struct segment_pending *pending, uint64_t sequence);
void segment_pending_set_durable(struct segment_pending *pending, uint64_t sequence);
/* The first `count` blocks of the list became durable: give their memory and room back. Returns the
 * rest. */
struct segment_pending_block *segment_pending_release(struct segment_pending *pending,
                                                      struct segment_pending_block *list,
                                                      size_t count);
/* Refuse new events with this error until the next call with NULL. */
void segment_pending_refuse(struct segment_pending *pending, const struct error *why);
/* For good: nothing is acknowledged any more. */
void segment_pending_fail(struct segment_pending *pending, const struct error *why);
/* Ask the committer to finish; and has somebody asked? */
void segment_pending_stop(struct segment_pending *pending);
bool segment_pending_is_stopping(struct segment_pending *pending);
/* Sleep until `deadline_ns` or until stop. */
void segment_pending_sleep(struct segment_pending *pending, int64_t deadline_ns);

#endif
