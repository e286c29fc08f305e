#include "core/decimal.h"

enum { BILLION = 1000000000 };

static bool is_digit(const char *at, const char *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

static bool read_whole(const char **at, const char *end, uint64_t *whole_out)
{
    uint64_t whole = 0;
    if (!is_digit(*at, end))
        return false;
    for (; is_digit(*at, end); ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (whole > (UINT64_MAX - digit) / 10)
            return false;
        whole = whole * 10 + digit;
    }
    *whole_out = whole;
    return true;
}

static bool read_billionths(const char **at, const char *end, uint32_t *billionths_out)
{
    uint32_t billionths = 0;
    if (!is_digit(*at, end))
        return false;
    for (uint32_t place = BILLION / 10; is_digit(*at, end); ++*at) {
        billionths += (uint32_t)(**at - '0') * place;
        place /= 10;
    }
    *billionths_out = billionths;
    return true;
}

bool decimal_read(const char **at, const char *end, struct decimal *decimal_out)
{
    struct decimal decimal = {0};
    const char *next = *at;
    if (!read_whole(&next, end, &decimal.whole))
        return false;
    if (next < end && *next == '.') {
        next++;
        if (!read_billionths(&next, end, &decimal.billionths))
            return false;
    }
    *at = next;
    *decimal_out = decimal;
    return true;
}

bool decimal_read_digits(const char **at, const char *end, int digits, int *value_out)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit(*at + i, end))
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += digits;
    *value_out = value;
    return true;
}

bool decimal_scale(struct decimal number, uint64_t unit, uint64_t *product_out)
{
    uint64_t whole;
    if (__builtin_mul_overflow(number.whole, unit, &whole))
        return false;
    /* Two steps, because billionths * unit may need more than 64 bits. */
    uint64_t part =
        number.billionths * (unit / BILLION) + number.billionths * (unit % BILLION) / BILLION;
    return !__builtin_add_overflow(whole, part, product_out);
}
