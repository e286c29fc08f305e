#include "core/checksum.h"

#include <isa-l/crc.h>

/* ISA-L takes an int for the length, and leaves both inversions of CRC32C to its caller. */
enum { CHUNK_BYTES = 1 << 30 };

uint32_t checksum_extend(uint32_t checksum, const void *data, size_t size)
{
    /* ISA-L's parameter lacks the const that its documentation promises. */
    unsigned char *at = (unsigned char *)data;
    uint32_t state = ~checksum;
    while (size > CHUNK_BYTES) {
        state = crc32_iscsi(at, CHUNK_BYTES, state);
        at += CHUNK_BYTES;
        size -= CHUNK_BYTES;
    }
    state = crc32_iscsi(at, (int)size, state);
    return ~state;
}
