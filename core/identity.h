/*
 * core/identity.h - random numbers that are nobody else's: the identity of a log.
 */
#ifndef DAYBOOK_CORE_IDENTITY_H
#define DAYBOOK_CORE_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* `size` random bytes, at most 256, from the kernel (getrandom(2)). */
enum error_code identity_draw(uint8_t *bytes_out, size_t size, struct error *error);

/*
 * Another source, so that a simulation repeats itself: the process's, set while nothing of a log is
 * open, as core/clock.h's is. NULL: the kernel.
 */
void identity_use(void (*source)(uint8_t *bytes_out, size_t size));

#endif
