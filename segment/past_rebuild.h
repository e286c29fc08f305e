/*
 * segment/past_rebuild.h - make the files of segment/past.h anew, from the events that are left.
 *
 * For a log whose table is full while DIR/producers does not say who has left it: a log from before
 * there was such a directory, one that such a Daybook has written to meanwhile, or one whose files
 * are damaged or gone. It reads the whole log once.
 *
 * Internal to segment/opening.c; one thread.
 */
#ifndef DAYBOOK_SEGMENT_PAST_REBUILD_H
#define DAYBOOK_SEGMENT_PAST_REBUILD_H

#include "segment/past.h"

/*
 * Is it needed? `through` is the first sequence of the last segment, at whose beginning the table
 * was as `producers` are; `doubt` is that of segment_past_open.
 */
bool segment_past_needs_rebuild(const struct segment_past *past,
                                const struct segment_producers *producers, uint64_t through,
                                const struct error *doubt);
/*
 * Everybody whom the events below `through` made leave the table. What cannot be read is passed
 * over, and more producers than there may be are given up, oldest first; `doubt_out` tells of it,
 * in words (code OK: of nothing).
 */
enum error_code segment_past_rebuild(struct segment_past *past, int log_fd, int segments_fd,
                                     uint64_t through, struct error *doubt_out,
                                     struct error *error);

#endif
