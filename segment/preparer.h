/*
 * segment/preparer.h - a helper thread that keeps the next segment's file ready, and the ballast.
 *
 * Ready means: allocated, filled with zeros, synced, out of the page cache; under a temporary name.
 * Commits into such a file touch no metadata, and running out of space shows itself here, one
 * segment ahead. What could not be made is tried again every half second.
 *
 * request and take from one thread (the committer); the rest from any.
 */
#ifndef DAYBOOK_SEGMENT_PREPARER_H
#define DAYBOOK_SEGMENT_PREPARER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

#define PREPARER_FILE_NAME "prepared.tmp"
/* What an earlier process had made ready, until our thread has deleted it. */
#define PREPARER_DISCARDED_NAME "discarded.tmp"

struct segment_preparer;

struct segment_preparer_start {
    int log_fd;      /* borrowed */
    int segments_fd; /* borrowed */
    /* Called on the preparer's thread when it begins to fail and when that is over. May be NULL. */
    void (*on_change)(void *context);
    void *context;
};
/* Removes what an earlier process left behind. */
enum error_code segment_preparer_create(const struct segment_preparer_start *start,
                                        struct segment_preparer **preparer_out,
                                        struct error *error);
/* Start to make a file of `size_bytes`, unless one is there or being made already. Never waits. */
void segment_preparer_request(struct segment_preparer *preparer, uint64_t size_bytes);
/*
 * Give out the ready file (waits for one that is being made), or make one now when there is none of
 * at least `size_min` bytes: `size_wanted` then. It is named PREPARER_FILE_NAME in the segments'
 * directory; the caller owns *fd_out and gives it its final name before the next request.
 * ERROR_NO_SPACE, ERROR_IO: there is none; the thread goes on trying, so take again later.
 */
enum error_code segment_preparer_take(struct segment_preparer *preparer, uint64_t size_min,
                                      uint64_t size_wanted, int *fd_out, uint64_t *size_out,
                                      struct error *error);

/* Let the thread look at the clock, and wait until it sleeps. For segment_log_settle. */
void segment_preparer_settle(struct segment_preparer *preparer);

struct segment_preparer_state {
    uint64_t failures;    /* how often making a file has failed */
    struct error trouble; /* why there is no next segment; code OK: it is there, or on its way */
};
void segment_preparer_read(struct segment_preparer *preparer,
                           struct segment_preparer_state *state_out);
/* Stop the thread and remove the file that is ready. Accepts NULL. */
void segment_preparer_free(struct segment_preparer *preparer);

#endif
