#include "core/json_number.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* At least one digit; two at a time, because a division takes longer than all the rest. */
static char *put_digits(char *end, uint64_t value)
{
    static const char PAIRS[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    for (; value >= 100; value /= 100)
        memcpy(end -= 2, PAIRS + 2 * (value % 100), 2);
    if (value >= 10)
        return memcpy(end - 2, PAIRS + 2 * value, 2);
    *--end = (char)('0' + value);
    return end;
}

char *json_number_integer(char *end, bool negative, uint64_t magnitude)
{
    char *at = put_digits(end, magnitude);
    if (negative)
        *--at = '-';
    return at;
}

/* digits / 10^places, with a point before the last `places`; without any, ".0" follows. */
static char *put_decimal(char *end, bool negative, uint64_t digits, int places)
{
    if (places == 0) {
        *--end = '0';
        *--end = '.';
        return json_number_integer(end, negative, digits);
    }
    char *at = put_digits(end, digits);
    while (end - at <= places) /* a digit stands before the point */
        *--at = '0';
    for (char *digit = --at; digit < end - places - 1; digit++)
        digit[0] = digit[1];
    end[-places - 1] = '.';
    if (negative)
        *--at = '-';
    return at;
}

/* Take zeros off the end, of which there are at most `places`; the number of those that stay. */
static int strip_zeros(uint64_t *digits, int places)
{
    static const struct {
        uint64_t power;
        int zeros;
    } STEPS[] = {{10000, 4}, {10000, 4}, {100, 2}, {10, 1}};
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        if (places >= STEPS[i].zeros && *digits % STEPS[i].power == 0) {
            *digits /= STEPS[i].power;
            places -= STEPS[i].zeros;
        }
    }
    return places;
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
        double scaled = (double)(int64_t)(magnitude * POWERS[k] + 0.5); /* below 10^16 */
        if (scaled >= 1e15)
            return NULL;
        if (scaled / POWERS[k] != magnitude)
            continue;
        uint64_t digits = (uint64_t)scaled;
        int places = strip_zeros(&digits, k);
        return put_decimal(end, signbit(value), digits, places);
    }
    return NULL;
}
