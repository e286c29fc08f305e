#include "core/json_number.h"

#include <math.h>
#include <stddef.h>

/* With zeros up to `width` digits. */
static char *put_digits(char *end, uint64_t value, int width)
{
    for (; value > 0 || width > 0; width--) {
        *--end = (char)('0' + value % 10);
        value /= 10;
    }
    return end;
}

char *json_number_integer(char *end, bool negative, uint64_t magnitude)
{
    char *at = put_digits(end, magnitude, 1);
    if (negative)
        *--at = '-';
    return at;
}

static char *put_decimal(char *end, bool negative, uint64_t digits, uint64_t power, int places)
{
    char *at = put_digits(end, digits % power, places > 0 ? places : 1);
    *--at = '.';
    at = put_digits(at, digits / power, 1);
    if (negative)
        *--at = '-';
    return at;
}

/*
 * When value * 10^k is an integer below 10^15 and dividing it by 10^k gives the value back, these
 * digits, without the zeros at their end, are the shortest text: both are exact doubles, and the
 * division rounds as strtod does. Where there is room for nine places, a smaller k need not be
 * tried: below 10^15 the product is wrong by less than a fifth, so it rounds to the same decimal.
 */
char *json_number_decimal(char *end, double value)
{
    static const double POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    enum { PLACES_MAX = sizeof POWERS / sizeof POWERS[0] - 1 };
    double magnitude = fabs(value);
    if (!(magnitude < 1e15) || (magnitude < 1e-4 && magnitude > 0))
        return NULL;
    for (int k = magnitude < 1e6 ? PLACES_MAX : 0; k <= PLACES_MAX; k++) {
        double scaled = nearbyint(magnitude * POWERS[k]);
        if (scaled >= 1e15)
            return NULL;
        if (scaled / POWERS[k] != magnitude)
            continue;
        uint64_t digits = (uint64_t)scaled, power = (uint64_t)POWERS[k];
        while (k > 0 && digits % 10 == 0) {
            digits /= 10;
            power /= 10;
            k--;
        }
        return put_decimal(end, signbit(value), digits, power, k);
    }
    return NULL;
}
