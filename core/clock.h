/*
 * core/clock.h - what time it is, and which boot of the machine this is.
 */
#ifndef DAYBOOK_CORE_CLOCK_H
#define DAYBOOK_CORE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since 1970-01-01T00:00:00Z; may jump when somebody sets the clock. */
int64_t clock_realtime_ns(void);
/* Nanoseconds since some fixed moment of this boot; never jumps. */
int64_t clock_monotonic_ns(void);
/* The same, and what the machine slept through counts (CLOCK_BOOTTIME). */
int64_t clock_boottime_ns(void);
/* Sleep until clock_monotonic_ns() reaches `deadline_ns`, through signals' interruptions. */
void clock_sleep_until_ns(int64_t deadline_ns);

#define CLOCK_BOOT_ID_SIZE 16
/* The kernel's random identity of this boot (/proc/sys/kernel/random/boot_id); zeros when unknown.
 */
void clock_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE]);

/*
 * Where the answers above come from; the sleep is always real. For simulations: the
 * process's, set while nothing of a log is open, as core/file_calls.h is. NULL: the machine's.
 */
struct clock_source {
    int64_t (*realtime_ns)(void);
    int64_t (*monotonic_ns)(void);
    int64_t (*boottime_ns)(void); /* NULL: the machine never sleeps */
    void (*boot_id)(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE]);
};
void clock_use(const struct clock_source *source);

#endif
