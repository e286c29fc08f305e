#include "core/schema_number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TWO_63 9223372036854775808.0
#define TWO_64 18446744073709551616.0

__extension__ typedef unsigned __int128 wide;

static void from_real(double real, struct schema_number *number)
{
    bool whole = trunc(real) == real;
    if (whole && real >= 0 && real < TWO_64)
        *number = (struct schema_number){MSGPACK_KIND_UINT, (uint64_t)real, 0};
    else if (whole && real < 0 && real >= -TWO_63)
        *number = (struct schema_number){MSGPACK_KIND_INT, (uint64_t)-real, 0};
    else
        *number = (struct schema_number){MSGPACK_KIND_FLOAT, 0, real};
}

bool schema_number_from(const struct msgpack_value *value, struct schema_number *number_out)
{
    switch (value->kind) {
    case MSGPACK_KIND_UINT:
        *number_out = (struct schema_number){MSGPACK_KIND_UINT, value->unsigned_, 0};
        return true;
    case MSGPACK_KIND_INT:
        *number_out = (struct schema_number){MSGPACK_KIND_INT, 0 - (uint64_t)value->signed_, 0};
        return true;
    case MSGPACK_KIND_FLOAT:
        if (!isfinite(value->real))
            return false;
        from_real(value->real, number_out);
        return true;
    default:
        return false;
    }
}

bool schema_number_is_integer(const struct schema_number *number)
{
    return number->kind != MSGPACK_KIND_FLOAT || trunc(number->real) == number->real;
}

static int sign(int greater, int less)
{
    return greater - less;
}

static int compare_magnitudes(uint64_t a, uint64_t b)
{
    return sign(a > b, a < b);
}

/* An integer of 64 bits and a double that is none. */
static int compare_mixed(const struct schema_number *integer, double real)
{
    bool negative = integer->kind == MSGPACK_KIND_INT;
    if (real >= TWO_64)
        return -1;
    if (real < -TWO_63)
        return 1;
    if (negative != (real < 0))
        return negative ? -1 : 1;
    /* Of the same sign, and the double has a fraction: it lies between two integers. */
    uint64_t whole = (uint64_t)fabs(real);
    int order = integer->magnitude > whole ? 1 : -1;
    return negative ? -order : order;
}

int schema_number_compare(const struct schema_number *a, const struct schema_number *b)
{
    bool a_real = a->kind == MSGPACK_KIND_FLOAT, b_real = b->kind == MSGPACK_KIND_FLOAT;
    if (a_real && b_real)
        return sign(a->real > b->real, a->real < b->real);
    if (a_real)
        return -compare_mixed(b, a->real);
    if (b_real)
        return compare_mixed(a, b->real);
    bool a_negative = a->kind == MSGPACK_KIND_INT, b_negative = b->kind == MSGPACK_KIND_INT;
    if (a_negative != b_negative)
        return a_negative ? -1 : 1;
    int order = compare_magnitudes(a->magnitude, b->magnitude);
    return a_negative ? -order : order;
}

/*
 * The shortest digits that read back equal. Any 15 digits of a decimal survive in a double, but not
 * in a subnormal one, which has as few as one.
 */
static struct schema_decimal decimal_of_real(double real)
{
    char text[40];
    for (int digits = real < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, real);
        if (strtod(text, NULL) == real)
            break;
    }
    struct schema_decimal form = {0};
    int behind_point = 0;
    bool point = false;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        form.digits = form.digits * 10 + (uint64_t)(*at - '0');
        behind_point += point;
    }
    form.exponent = (int)strtol(at + 1, NULL, 10) - behind_point;
    return form;
}

struct schema_decimal schema_number_decimal(const struct schema_number *number)
{
    struct schema_decimal decimal = {.digits = number->magnitude};
    if (number->kind == MSGPACK_KIND_FLOAT)
        decimal = decimal_of_real(fabs(number->real));
    for (; decimal.digits > 0 && decimal.digits % 10 == 0; decimal.exponent++)
        decimal.digits /= 10;
    return decimal;
}

/* digits * 10^power modulo `modulus`; the power is some hundred, so by its bits. */
static uint64_t scale_modulo(uint64_t digits, int power, uint64_t modulus)
{
    wide rest = digits % modulus, ten = 10 % modulus;
    for (; power > 0 && rest > 0; power /= 2) {
        if (power & 1)
            rest = rest * ten % modulus;
        ten = ten * ten % modulus;
    }
    return (uint64_t)rest;
}

bool schema_number_is_multiple(const struct schema_number *a, const struct schema_decimal *b)
{
    struct schema_decimal of_a = schema_number_decimal(a);
    if (of_a.digits == 0)
        return true;
    if (of_a.exponent >= b->exponent)
        return scale_modulo(of_a.digits, of_a.exponent - b->exponent, b->digits) == 0;
    /* a has more places behind the point; without zeros at its end it is no multiple of a power. */
    wide divisor = b->digits;
    for (int power = b->exponent - of_a.exponent; power > 0; power--) {
        divisor *= 10;
        if (divisor > of_a.digits)
            return false;
    }
    return of_a.digits % divisor == 0;
}
