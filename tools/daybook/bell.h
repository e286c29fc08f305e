/*
 * tools/daybook/bell.h - wake a thread that sleeps until a moment, also from signal handlers.
 *
 * The sleeper notes how often the bell has rung, looks whether there is something to do, and waits
 * with that note: a ring in between is not missed. One sleeper; anybody may ring.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BELL_H
#define DAYBOOK_TOOLS_DAYBOOK_BELL_H

#include <stdint.h>

/* Zero-initialised is ready. */
struct bell {
    uint32_t rings;
};

/* Async-signal-safe. */
void bell_ring(struct bell *bell);
uint32_t bell_rings(const struct bell *bell);
/*
 * Sleep until clock_monotonic_ns() reaches `deadline_ns` (INT64_MAX: for ever), or until the bell
 * has rung since it had rung `rings` times. May return early for no reason.
 */
void bell_wait(struct bell *bell, uint32_t rings, int64_t deadline_ns);

#endif
