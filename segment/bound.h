/*
 * segment/bound.h - DIR/lower-bound: the first sequence that the log still promises to have.
 *
 * Retention moves it up before it deletes a segment. Segments wholly below are dead, present or
 * not; a segment that is missing at or above it is lost data. One line of text with a checksum,
 * replaced atomically. No file means 1.
 */
#ifndef DAYBOOK_SEGMENT_BOUND_H
#define DAYBOOK_SEGMENT_BOUND_H

#include <stdint.h>

#include "core/error.h"

/* Below DIR; for who only wants to know whether it has been replaced. */
#define SEGMENT_BOUND_NAME "lower-bound"

/*
 * ERROR_DAMAGED when the file is there and not valid, or the device refuses it; ERROR_FOREIGN when
 * something else has its name; ERROR_IO when it was not ours to look (no permission, no
 * descriptor), which says nothing of the file.
 */
enum error_code segment_bound_load(int log_fd, uint64_t *sequence_out, struct error *error);
/* The same, for who knows more about the way forward than that a repair restores it. */
enum error_code segment_bound_look(int log_fd, uint64_t *sequence_out, struct error *error);
/* Durable on return. Never moves down: ERROR_INVALID. On a full disk it takes the ballast's room.
 */
enum error_code segment_bound_store(int log_fd, uint64_t sequence, struct error *error);
/*
 * For a repair: whatever has the name, but for a directory, and whatever it holds. Durable on
 * return. The ballast's room is for this, too.
 */
enum error_code segment_bound_restore(int log_fd, uint64_t sequence, struct error *error);

#endif
