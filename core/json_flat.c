#include "core/json_flat.h"

#include <math.h>

#include "core/json_number.h"

/*
 * Of one byte of msgpack come less than five of text (an empty key and false are two, and nine with
 * their marks; of the five of a float32 come some twenty), so room is reserved once.
 */
enum { SIZE_MAX_FLAT = 64 << 10, GROWTH = 8, ENDS = 2 * JSON_NUMBER_TEXT_SIZE };

/* What is read, and where the text goes. */
struct flat {
    const uint8_t *at;
    const uint8_t *end;
    char *to;
};

static uint64_t take_big(struct flat *flat, size_t size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | *flat->at++;
    return value;
}

static bool has(const struct flat *flat, uint64_t bytes)
{
    return (uint64_t)(flat->end - flat->at) >= bytes;
}

/*
 * Has one of the eight bytes another meaning in JSON than itself? Below 0x20 taking that away
 * borrows, and what equals another is zero after ^; a borrow goes upwards only, so the lowest such
 * byte is always seen.
 */
static uint64_t special_bytes(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = eight ^ (ones * '"'), backslash = eight ^ (ones * '\\');
    return (eight | (eight - ones * 0x20) | (quote - ones) | (backslash - ones)) & (ones << 7);
}

/*
 * The last `count` bytes, 0 to 7, and blanks, which mean nothing special. Where there are eight, it
 * is faster to read eight and blank out what is too much.
 */
static uint64_t take_rest(const struct flat *flat, const uint8_t *from, uint64_t count)
{
    const uint64_t blanks = UINT64_C(0x2020202020202020);
    uint64_t rest = blanks;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (flat->end - from >= 8) {
        uint64_t wanted = (UINT64_C(1) << (8 * count)) - 1;
        memcpy(&rest, from, sizeof rest);
        return (rest & wanted) | (blanks & ~wanted);
    }
#endif
    memcpy(&rest, from, count);
    return rest;
}

/* Behind a head: `count` bytes, in quotes. */
static bool put_string(struct flat *flat, uint64_t count)
{
    if (!has(flat, count))
        return false;
    const uint8_t *from = flat->at;
    char *to = flat->to;
    *to++ = '"';
    for (; count >= 8; count -= 8, from += 8, to += 8) {
        uint64_t eight;
        memcpy(&eight, from, sizeof eight);
        if (special_bytes(eight))
            return false;
        memcpy(to, &eight, sizeof eight);
    }
    uint64_t rest = take_rest(flat, from, count);
    if (special_bytes(rest))
        return false;
    memcpy(to, &rest, sizeof rest); /* there is room */
    to += count;
    *to++ = '"';
    flat->at = from + count;
    flat->to = to;
    return true;
}

static bool put_word(struct flat *flat, const char *word, size_t bytes)
{
    memcpy(flat->to, word, bytes);
    flat->to += bytes;
    return true;
}

/* Where a number is written from its end, and read with one copy of whatever length is enough. */
struct digits {
    char text[JSON_NUMBER_TEXT_SIZE];
    char behind[JSON_NUMBER_TEXT_SIZE];
};

/* There is room for the whole copy. */
static bool put_number(struct flat *flat, const char *text, const struct digits *digits)
{
    if (!text)
        return false;
    memcpy(flat->to, text, JSON_NUMBER_TEXT_SIZE);
    flat->to += digits->behind - text;
    return true;
}

static bool put_unsigned(struct flat *flat, uint64_t value)
{
    struct digits digits;
    return put_number(flat, json_number_integer(digits.behind, false, value), &digits);
}

static bool put_signed(struct flat *flat, int64_t value)
{
    struct digits digits;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    return put_number(flat, json_number_integer(digits.behind, value < 0, magnitude), &digits);
}

static bool put_real(struct flat *flat, double value, bool strict)
{
    struct digits digits;
    if (strict && !isfinite(value))
        return put_word(flat, "null", 4);
    return put_number(flat, json_number_decimal(digits.behind, value), &digits);
}

static bool put_single(struct flat *flat, bool strict)
{
    uint32_t bits = (uint32_t)take_big(flat, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return put_real(flat, (double)value, strict);
}

static bool put_double(struct flat *flat, bool strict)
{
    uint64_t bits = take_big(flat, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return put_real(flat, value, strict);
}

/* An integer or a string whose head is 0xcc to 0xdb. */
static bool put_sized(struct flat *flat, uint8_t head)
{
    bool is_string = head >= 0xd9;
    size_t size = (size_t)1 << (is_string ? head - 0xd9 : head & 3);
    if (!has(flat, size))
        return false;
    uint64_t value = take_big(flat, size);
    if (is_string)
        return put_string(flat, value);
    if (head <= 0xcf)
        return put_unsigned(flat, value);
    unsigned unused = 64 - 8 * (unsigned)size; /* bits above the number's sign */
    return put_signed(flat, (int64_t)(value << unused) >> unused);
}

static bool put_value(struct flat *flat, bool strict)
{
    if (!has(flat, 1))
        return false;
    uint8_t head = *flat->at++;
    if (head <= 0x7f)
        return put_unsigned(flat, head);
    if (head >= 0xe0)
        return put_signed(flat, (int8_t)head);
    if (head >= 0xa0 && head <= 0xbf)
        return put_string(flat, head & 0x1f);
    if (head == 0xcb)
        return has(flat, 8) && put_double(flat, strict);
    if (head == 0xca)
        return has(flat, 4) && put_single(flat, strict);
    if (head == 0xc0)
        return put_word(flat, "null", 4);
    if (head == 0xc2)
        return put_word(flat, "false", 5);
    if (head == 0xc3)
        return put_word(flat, "true", 4);
    return ((head >= 0xcc && head <= 0xd3) || (head >= 0xd9 && head <= 0xdb)) &&
           put_sized(flat, head);
}

static bool put_key(struct flat *flat)
{
    if (!has(flat, 1) || (*flat->at & 0xe0) != 0xa0)
        return false;
    return put_string(flat, *flat->at++ & 0x1f);
}

/* The map's head is 0x80 to 0x8f, or 0xde and two bytes. */
static bool take_count(struct flat *flat, uint64_t *count_out)
{
    if (!has(flat, 1))
        return false;
    uint8_t head = *flat->at++;
    *count_out = head & 0x0f;
    if ((head & 0xf0) == 0x80)
        return true;
    if (head != 0xde || !has(flat, 2))
        return false;
    *count_out = take_big(flat, 2);
    return true;
}

static bool put_object(struct flat *flat, bool strict)
{
    uint64_t count;
    if (!take_count(flat, &count))
        return false;
    *flat->to++ = '{';
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0)
            *flat->to++ = ',';
        if (!put_key(flat))
            return false;
        *flat->to++ = ':';
        if (!put_value(flat, strict))
            return false;
    }
    *flat->to++ = '}';
    return flat->at == flat->end;
}

bool json_append_flat(const void *data, size_t size, bool strict, struct buffer *out)
{
    uint8_t head = size > 0 ? *(const uint8_t *)data : 0;
    if (((head & 0xf0) != 0x80 && head != 0xde) || size > SIZE_MAX_FLAT)
        return false;
    if (buffer_reserve(out, GROWTH * size + ENDS, NULL))
        return false;
    struct flat flat = {.at = data, .end = (const uint8_t *)data + size};
    flat.to = (char *)out->data + out->size;
    if (!put_object(&flat, strict))
        return false;
    out->size = (size_t)((uint8_t *)flat.to - out->data);
    return true;
}
