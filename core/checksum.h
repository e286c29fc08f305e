/*
 * core/checksum.h - CRC32C (Castagnoli), by ISA-L.
 *
 * Detects every change of up to 3 bits and every burst of up to 32 bits at the sizes that we use
 * (Koopman, "32-bit cyclic redundancy codes for internet applications", 2002).
 */
#ifndef DAYBOOK_CORE_CHECKSUM_H
#define DAYBOOK_CORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * The CRC32C of what `checksum` covered followed by `data`; start with 0.
 * checksum_extend(checksum_extend(0, a), b) is the checksum of a and b joined;
 * checksum_extend(0, "123456789", 9) is 0xe3069283.
 */
uint32_t checksum_extend(uint32_t checksum, const void *data, size_t size);

#endif
