/*
 * indexer/clock_guard.h - is the wall clock to be believed when it decides what to delete?
 *
 * The first follower of each boot, and each retention run, note in DIR/retention-clock what the
 * wall clock and the boot clock (which counts suspended time and cannot be set) said. Within one
 * boot both must have advanced alike; in another boot the wall clock must at least not be behind.
 * Neither may it be behind the log's own newest arrival. What cannot be seen is a clock that was
 * set forward while the machine was off.
 */
#ifndef DAYBOOK_INDEXER_CLOCK_GUARD_H
#define DAYBOOK_INDEXER_CLOCK_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/error.h"

/* A jump of more than this is not believed. */
#define INDEXER_CLOCK_JUMP_NS (INT64_C(3600) * 1000000000)

struct indexer_clock_reading {
    int64_t realtime_ns;
    int64_t boottime_ns;
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE];
};
void indexer_clock_read(struct indexer_clock_reading *reading_out);

/*
 * Compare `now` with the note of the last run and with the newest arrival in the log (INT64_MIN:
 * none). When all is well, `now` becomes the note (unless `keep_note`). ERROR_INVALID: the clock
 * has jumped; the text says by how much and what to do, and the note stays, so that the answer
 * stays the same until the clock is right again, the machine restarts, or somebody removes the
 * note.
 */
enum error_code indexer_clock_guard_check(int log_fd, const struct indexer_clock_reading *now,
                                          int64_t arrival_newest_ns, bool keep_note,
                                          struct error *error);
/*
 * For whoever opens the log: the first note of this boot, so that the first retention run already
 * sees a jump that came before it. A clock that is not to be believed leaves the note as it is, and
 * so does a disk that cannot be written: then the next one tries.
 */
void indexer_clock_guard_begin(int log_fd);

#endif
