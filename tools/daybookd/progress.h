/*
 * tools/daybookd/progress.h - how the log's threads wake the network threads.
 *
 * An eventfd, written when the durable sequence has moved (or the written one, while somebody waits
 * for that), when the disk is full or no longer full, and after a failure. Of the disk it may miss
 * a step when two threads tell at the same time: who must not miss any also looks now and then.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_PROGRESS_H
#define DAYBOOK_TOOLS_DAYBOOKD_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct segment_log;

struct progress {
    int fd;                            /* an edge for each piece of news; never read */
    int bus_fd;                        /* … for the bus thread, when it asks to be woken */
    atomic_bool bus_waits;             /* it does, for more than this to be durable: */
    _Atomic uint64_t bus_seen;
    atomic_uint written_waiters;       /* connections that asked for "written" acks */
    _Atomic(struct segment_log *) log; /* set once the log is open */
    /* Written by the log's threads, which may tell of the same step twice. */
    _Atomic uint64_t durable_told;
    atomic_bool full_told, missing_told;
};

enum error_code progress_init(struct progress *progress, struct error *error);
/* For segment_log_options: on_progress, with the progress as its context. */
void progress_notify(void *context);
/*
 * Commit on this thread (segment_log_commit). What comes of it is told by the return, not by the
 * descriptor, but for "written" acks, which need not wait for the disk. True: look at the log.
 */
bool progress_commit(struct progress *progress);
/*
 * For the bus thread: have bus_fd written once more than `seen` is durable, once. False: more is
 * already. Whoever commits pays one write for it, and nothing while nobody has asked.
 */
bool progress_await(struct progress *progress, uint64_t seen);
void progress_release(struct progress *progress);

#endif
