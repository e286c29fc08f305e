/*
 * tools/daybookd/landmarks.h - where some blocks of the log stand, so that going to a sequence does
 * not mean looking at every header before it.
 *
 * A sealed segment has a directory; the active one has none, and may hold some hundred thousand
 * blocks. So whoever reads it for the bus leaves marks, at most LANDMARKS_MAX, spread over what has
 * been read lately. A mark may be out of date (the segment was packed, or is gone): then the seek
 * fails, and the reader finds its way without.
 *
 * One thread.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_LANDMARKS_H
#define DAYBOOK_TOOLS_DAYBOOKD_LANDMARKS_H

#include <stddef.h>

#include "tools/daybookd/log_stream.h"

enum { LANDMARKS_MAX = 128, LANDMARKS_APART = 512 /* sequences, at first */ };

/* Zero-initialised is empty. */
struct landmarks {
    struct log_stream_place at[LANDMARKS_MAX]; /* ascending by sequence_first */
    size_t count;
    uint64_t apart; /* at least so many sequences; 0: LANDMARKS_APART */
};

/* A block was read here. Keeps it when it is not close to one that is known. */
void landmarks_note(struct landmarks *landmarks, const struct log_stream_place *place);
/* The last one that begins at or before `sequence`; segment_first 0: none is known. */
struct log_stream_place landmarks_find(const struct landmarks *landmarks, uint64_t sequence);

#endif
