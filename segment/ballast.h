/*
 * segment/ballast.h - a file that holds nothing but room: what is left to work with when the disk
 * is full.
 *
 * Deleting old segments is the way out of a full disk, and needs a little room itself: the new
 * lower bound is written before a segment goes, and the index forgets its rows in transactions. So
 * while there is plenty, DIR/ballast claims some of it, and whoever needs it for that gives it up:
 * the index and the daemon's socket most of it, the lower bound the rest. When there is plenty
 * again it is made anew.
 *
 * A quarter of the segments' present size, so that a young log pays little; at least 512 KiB, at
 * most 16 MiB and at most a 64th of the file system; never when that leaves less than as much again
 * free.
 */
#ifndef DAYBOOK_SEGMENT_BALLAST_H
#define DAYBOOK_SEGMENT_BALLAST_H

#include <stdint.h>

#include "core/error.h"

#define BALLAST_FILE_NAME "ballast"

/* Make the ballast that suits segments of `segment_bytes`, or make it larger; where there is room
 * for it, else do nothing: ERROR_NO_SPACE. Never makes it smaller, nor gives up what it has for
 * more. ERROR_BUSY: retention is at work. */
enum error_code segment_ballast_keep(int log_fd, uint64_t segment_bytes, struct error *error);
/* Give up all but 256 KiB, in the log `path`. ERROR_NOT_FOUND: there is nothing to give. */
enum error_code segment_ballast_give_most(const char *path, struct error *error);
/* Give up all of it. ERROR_NOT_FOUND: there is none. */
enum error_code segment_ballast_give_all(int log_fd, struct error *error);

#endif
