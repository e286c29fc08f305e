/*
 * tests/fuzz/fixed_clock.h - one moment of one boot for all inputs, so that each run is the same,
 * and an image can name the boot: 16 times 'B'.
 */
#ifndef DAYBOOK_TESTS_FUZZ_FIXED_CLOCK_H
#define DAYBOOK_TESTS_FUZZ_FIXED_CLOCK_H

#include "core/clock.h"

/* It is this, in ns since the epoch, and since the boot. */
#define FIXED_CLOCK_NS INT64_C(1800000000000000000)

void fixed_clock_use(void);
void fixed_clock_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE]);

#endif
