#include "core/clock.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

Test(clock, tells_the_time_of_the_system)
{
    int64_t before = (int64_t)time(NULL);
    int64_t now = clock_realtime_ns();
    int64_t after = (int64_t)time(NULL);
    /* time() may still tell the second before, for it reads a coarser clock. */
    cr_assert_geq(now / 1000000000, before);
    cr_assert_leq(now / 1000000000, after + 1);
}

Test(clock, never_goes_back_when_monotonic)
{
    int64_t previous = clock_monotonic_ns();
    for (int i = 0; i < 100000; i++) {
        int64_t now = clock_monotonic_ns();
        cr_assert_geq(now, previous);
        previous = now;
    }
}

Test(clock, sleeps_no_less_than_asked)
{
    int64_t deadline = clock_monotonic_ns() + 2000000;
    clock_sleep_until_ns(deadline);
    cr_assert_geq(clock_monotonic_ns(), deadline);
    clock_sleep_until_ns(deadline); /* past: returns */
    clock_sleep_until_ns(-1);
}

Test(clock, knows_one_identity_for_this_boot)
{
    static const uint8_t UNKNOWN[CLOCK_BOOT_ID_SIZE];
    uint8_t first[CLOCK_BOOT_ID_SIZE], second[CLOCK_BOOT_ID_SIZE];
    clock_boot_id(first);
    clock_boot_id(second);
    cr_assert_arr_eq(first, second, sizeof first);
    cr_assert_neq(memcmp(first, UNKNOWN, sizeof first), 0);
}
