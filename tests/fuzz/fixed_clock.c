#include "tests/fuzz/fixed_clock.h"

#include <string.h>

void fixed_clock_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 'B', CLOCK_BOOT_ID_SIZE);
}

static int64_t fixed_time(void)
{
    return FIXED_CLOCK_NS;
}

void fixed_clock_use(void)
{
    static const struct clock_source source = {
        .realtime_ns = fixed_time,
        .monotonic_ns = fixed_time,
        .boottime_ns = fixed_time,
        .boot_id = fixed_clock_boot_id,
    };
    clock_use(&source);
}
