#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/bytes.h"

#define NS_PER_SECOND INT64_C(1000000000)

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static int64_t machine_realtime_ns(void)
{
    return now_ns(CLOCK_REALTIME);
}

static int64_t machine_monotonic_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

static int64_t machine_boottime_ns(void)
{
    return now_ns(CLOCK_BOOTTIME);
}

void clock_sleep_until_ns(int64_t deadline_ns)
{
    if (deadline_ns <= 0)
        return;
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_SECOND),
        .tv_nsec = (long)(deadline_ns % NS_PER_SECOND),
    };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR)
        continue;
}

static void machine_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 0, CLOCK_BOOT_ID_SIZE);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    char text[64];
    ssize_t length = read(fd, text, sizeof text);
    close(fd);

    /* 32 hexadecimal digits with dashes between groups of them. */
    int digits = 0;
    for (ssize_t i = 0; i < length && digits < 2 * CLOCK_BOOT_ID_SIZE; i++) {
        int digit = bytes_hex_digit(text[i]);
        if (digit < 0)
            continue;
        uint8_t *byte = &boot_id_out[digits / 2];
        *byte = (uint8_t)(*byte << 4 | digit);
        digits++;
    }
    if (digits < 2 * CLOCK_BOOT_ID_SIZE)
        memset(boot_id_out, 0, CLOCK_BOOT_ID_SIZE);
}

static const struct clock_source machine = {
    .realtime_ns = machine_realtime_ns,
    .monotonic_ns = machine_monotonic_ns,
    .boottime_ns = machine_boottime_ns,
    .boot_id = machine_boot_id,
};
static const struct clock_source *_Atomic source_in_force = &machine;

static const struct clock_source *source(void)
{
    return atomic_load_explicit(&source_in_force, memory_order_relaxed);
}

void clock_use(const struct clock_source *given)
{
    atomic_store(&source_in_force, given ? given : &machine);
}

int64_t clock_realtime_ns(void)
{
    return source()->realtime_ns();
}

int64_t clock_monotonic_ns(void)
{
    return source()->monotonic_ns();
}

int64_t clock_boottime_ns(void)
{
    return source()->boottime_ns ? source()->boottime_ns() : source()->monotonic_ns();
}

void clock_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    source()->boot_id(boot_id_out);
}
