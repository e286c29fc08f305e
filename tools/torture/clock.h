/*
 * tools/torture/clock.h - simulated time, boots of the machine and identities, so that a seed
 * repeats itself.
 *
 * Time stands still but for a microsecond a look. Idle time, which makes a log write its idle
 * watermark, passes only while it is wanted, and then at every look of a thread that writes to
 * segments: so nobody ever sleeps for it.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CLOCK_H
#define DAYBOOK_TOOLS_TORTURE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* An age for segments that never comes, whatever this clock does. */
#define TORTURE_CLOCK_NEVER_NS (INT64_C(1) << 61)

/* Take over clock_use and identity_use; starts again at the beginning for each seed. */
void torture_clock_use(uint64_t seed);
/* Give them back to the machine. */
void torture_clock_release(void);
/* From now on it is another boot. */
void torture_clock_reboot(void);
uint64_t torture_clock_boot(void);
void torture_clock_set_boot(uint64_t boot);
/* Go back to a moment, when a simulation goes on from an earlier state. */
struct torture_clock_moment {
    uint64_t boot;
    int64_t realtime_ns;
};
struct torture_clock_moment torture_clock_save(void);
void torture_clock_restore(const struct torture_clock_moment *moment);
/* Does idle time pass? */
void torture_clock_set_idle(bool idle);
/* This thread is one that writes to segments. */
void torture_clock_note_writer(void);

#endif
