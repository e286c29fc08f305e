#include "core/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Eight bytes at a time: nearly all text that machines log is ASCII. */
static size_t ascii_bytes(const uint8_t *text, size_t size)
{
    size_t i = 0;
    for (; size - i >= 8; i += 8) {
        uint64_t eight;
        memcpy(&eight, text + i, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    while (i < size && text[i] < 0x80)
        i++;
    return i;
}

static bool in_range(uint8_t byte, uint8_t first, uint8_t last)
{
    return byte >= first && byte <= last;
}

/* Bytes of the valid character of two or more bytes at `at`, 0 when it is none. */
static size_t multibyte_character(const uint8_t *at, size_t size)
{
    uint8_t lead = at[0];
    size_t length = in_range(lead, 0xc2, 0xdf)   ? 2
                    : in_range(lead, 0xe0, 0xef) ? 3
                    : in_range(lead, 0xf0, 0xf4) ? 4
                                                 : 0;
    if (length == 0 || length > size)
        return 0;

    /* The second byte carries what forbids overlong forms, surrogates and too large values. */
    uint8_t first = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t last = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (!in_range(at[1], first, last))
        return 0;
    for (size_t i = 2; i < length; i++)
        if (!in_range(at[i], 0x80, 0xbf))
            return 0;
    return length;
}

size_t utf8_valid_bytes(const void *text, size_t size)
{
    const uint8_t *bytes = text;
    size_t valid = ascii_bytes(bytes, size);
    while (valid < size) {
        size_t length = multibyte_character(bytes + valid, size - valid);
        if (length == 0)
            return valid;
        valid += length;
        valid += ascii_bytes(bytes + valid, size - valid);
    }
    return valid;
}
