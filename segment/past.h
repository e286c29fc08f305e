/*
 * segment/past.h - the producers of the past: those that have left the table (segment/producers.h)
 * because others published since, but whose last events may still be in the log.
 *
 * The table is bounded, and whoever it had forgotten could publish an event twice. So who leaves it
 * goes here: into memory at first, and into sorted files below DIR/producers, before the segment
 * begins whose own list does not name him any more. They are searched when a name is not in the
 * table, which is rare; while no producer has ever left it, nothing of this costs anything, and
 * DIR/producers is not there.
 *
 * Invariants
 *   - An entry is of a durable event. Of two entries of one producer the one that came later holds.
 *   - What the events below segment_past_through made leave the table is in the files. For those
 *     behind it recovery finds the same again, for it fills the table from the last segment.
 *   - The files follow from the log: without them they are made anew (segment/past_rebuild.h).
 *   - A file is deleted when the lower bound of the log has passed all of its entries.
 *   - Bounded: PAST_RUNS_MAX files, and two runs in memory. Beyond that no further producer may
 *     leave the table, and so none may enter it: that is refused (ERROR_FULL); none is forgotten.
 *
 * Threads: add from one thread at a time (the log's mutex); find from any; write from the one that
 * commits. Nobody waits for the disk in add.
 */
#ifndef DAYBOOK_SEGMENT_PAST_H
#define DAYBOOK_SEGMENT_PAST_H

#include "segment/format.h"
#include "segment/producers.h"

enum {
    PAST_RUN_ENTRIES = 65536, /* with so many the run in memory becomes a file */
    PAST_RUNS_MAX = 64,
};

struct segment_past;

/*
 * What DIR has (`log_fd`, borrowed). What cannot be believed is left aside, as if it were not
 * there, and `doubt_out` says why (then it has to be reset); code OK: there was nothing to doubt.
 */
enum error_code segment_past_open(int log_fd, const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                  struct segment_past **past_out, struct error *doubt_out,
                                  struct error *error);
/* Accepts NULL. What is not in a file yet is found again by recovery. */
void segment_past_close(struct segment_past *past);

/* See above; 0: nothing is in files. */
uint64_t segment_past_through(const struct segment_past *past);
/* Nobody has left the table: cheap. */
bool segment_past_is_empty(const struct segment_past *past);

/*
 * This producer leaves the table; its event is durable. ERROR_FULL: the bound is reached.
 * ERROR_NO_SPACE: memory holds as much as it may, because the files could not be written.
 */
enum error_code segment_past_add(struct segment_past *past,
                                 const struct segment_producers_entry *entry, struct error *error);
/* As segment_producers_note; who has to leave the table for it is added here. */
enum error_code segment_past_note(struct segment_past *past, struct segment_producers *producers,
                                  const struct segment_producers_entry *entry, struct error *error);
/*
 * The last number of a producer that has left the table, and the sequence that it got.
 * ERROR_NOT_FOUND: none of this name has. ERROR_IO, ERROR_DAMAGED: nobody can tell.
 */
enum error_code segment_past_find(struct segment_past *past, const char *name, size_t name_bytes,
                                  uint64_t *number_out, uint64_t *sequence_out,
                                  struct error *error);

/* Memory holds enough for a file. */
bool segment_past_wants_write(struct segment_past *past);
/*
 * Write down all that was added, and that this is everything that the events below `through` made
 * leave; durable on return. Deletes what the lower bound has passed. After an error all is as it
 * was.
 */
enum error_code segment_past_write(struct segment_past *past, uint64_t through,
                                   struct error *error);
/* Delete everything. For who opens the log. */
enum error_code segment_past_reset(struct segment_past *past, struct error *error);
/* For segment/past_rebuild.h: while it is set, the oldest file is given up instead of refusing;
 * *given_up_out: that was done. */
void segment_past_set_lossy(struct segment_past *past, bool lossy, bool *given_up_out);

#endif
