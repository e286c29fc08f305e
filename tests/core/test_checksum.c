#include "core/checksum.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The vectors of RFC 3720, B.4, and the usual check value. */
Test(checksum, is_crc32c)
{
    uint8_t bytes[32];
    cr_assert_eq(checksum_extend(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(checksum_extend(0, "", 0), 0);
    memset(bytes, 0, sizeof bytes);
    cr_assert_eq(checksum_extend(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    cr_assert_eq(checksum_extend(0, bytes, sizeof bytes), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    cr_assert_eq(checksum_extend(0, bytes, sizeof bytes), 0x46dd794e);
}

Test(checksum, of_parts_is_that_of_the_whole_wherever_it_is_cut)
{
    uint8_t bytes[1000];
    srandom(7);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random();
    uint32_t whole = checksum_extend(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t part = checksum_extend(0, bytes, cut);
        cr_assert_eq(checksum_extend(part, bytes + cut, sizeof bytes - cut), whole);
    }
}

Test(checksum, notices_each_single_flipped_bit)
{
    uint8_t bytes[217];
    memset(bytes, 'x', sizeof bytes);
    uint32_t good = checksum_extend(0, bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(checksum_extend(0, bytes, sizeof bytes), good);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
