/*
 * segment/preparer.h - a helper thread that keeps the next segment's file ready.
 *
 * Ready means: allocated, filled with zeros, synced, out of the page cache; under a temporary name.
 * Commits into such a file touch no metadata, and running out of space shows itself here, one
 * segment ahead.
 *
 * request and take from one thread (the committer).
 */
#ifndef DAYBOOK_SEGMENT_PREPARER_H
#define DAYBOOK_SEGMENT_PREPARER_H

#include <stdint.h>

#include "core/error.h"

#define PREPARER_FILE_NAME "prepared.tmp"

struct segment_preparer;

/* Removes what an earlier process left behind. Borrows `segments_fd`. */
enum error_code segment_preparer_create(int segments_fd, struct segment_preparer **preparer_out,
                                        struct error *error);
/* Start to make a file of `size_bytes`, unless one is there or being made already. Never waits. */
void segment_preparer_request(struct segment_preparer *preparer, uint64_t size_bytes);
/*
 * Give out the ready file (waits for one that is being made), or make one now when there is none of
 * at least `size_min` bytes: `size_wanted` then. It is named PREPARER_FILE_NAME in the segments'
 * directory; the caller owns *fd_out and gives it its final name before the next request.
 * ERROR_NO_SPACE, ERROR_IO: there is none; try again later.
 */
enum error_code segment_preparer_take(struct segment_preparer *preparer, uint64_t size_min,
                                      uint64_t size_wanted, int *fd_out, uint64_t *size_out,
                                      struct error *error);
/* How often making a file has failed. */
uint64_t segment_preparer_failures(struct segment_preparer *preparer);
/* Stop the thread and remove the file that is ready. Accepts NULL. */
void segment_preparer_free(struct segment_preparer *preparer);

#endif
