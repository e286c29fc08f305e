#include "core/utf8.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(utf8, is_told_from_what_is_not_utf8)
{
    static const struct {
        const char *name, *text;
        size_t valid;
    } CASES[] = {
        {"nothing", "", 0},
        {"ASCII", "hello, world", 12},
        {"two bytes", "caf\xc3\xa9", 5},
        {"three bytes", "\xe2\x82\xac", 3},
        {"four bytes", "\xf0\x9f\x98\x80", 4},
        {"the last code point", "\xf4\x8f\xbf\xbf", 4},
        {"just below the surrogates", "\xed\x9f\xbf", 3},
        {"just above the surrogates", "\xee\x80\x80", 3},
        {"overlong NUL", "ab\xc0\x80", 2},
        {"overlong slash", "\xc1\xaf", 0},
        {"overlong in three bytes", "\xe0\x9f\xbf", 0},
        {"overlong in four bytes", "\xf0\x8f\xbf\xbf", 0},
        {"surrogate", "\xed\xa0\x80", 0},
        {"beyond the last code point", "\xf4\x90\x80\x80", 0},
        {"five bytes", "\xf8\x88\x80\x80\x80", 0},
        {"continuation alone", "abcdefgh\x80", 8},
        {"cut character", "abcdefgh\xe2\x82", 8},
        {"lead byte before ASCII", "\xc3(", 0},
        {"bad third byte", "\xe2\x82(", 0},
        {"bad byte behind good text", "0123456789012345\xff", 16},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        cr_assert_eq(utf8_valid_bytes(CASES[i].text, strlen(CASES[i].text)), CASES[i].valid, "%s",
                     CASES[i].name);
}

Test(utf8, may_contain_nul)
{
    cr_assert_eq(utf8_valid_bytes("a\0b", 3), 3);
}

/* Encode every number, also those that are no character, by the general pattern. */
static size_t encode(uint32_t code, uint8_t to[4])
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t LEADS[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        to[i] = (uint8_t)(0x80 | (code & 0x3f));
    to[0] = (uint8_t)(LEADS[length] | code);
    return length;
}

Test(utf8, has_every_code_point_but_surrogates)
{
    uint8_t text[4];
    for (uint32_t code = 0; code <= 0x1fffff; code++) {
        size_t length = encode(code, text);
        bool character = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        cr_assert_eq(utf8_valid_bytes(text, length), character ? length : 0, "U+%04X", code);
    }
}
