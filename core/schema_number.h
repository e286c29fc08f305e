/*
 * core/schema_number.h - numbers of JSON by their exact values, whether integers or doubles.
 *
 * Internal to core/schema_*.c.
 */
#ifndef DAYBOOK_CORE_SCHEMA_NUMBER_H
#define DAYBOOK_CORE_SCHEMA_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/msgpack.h"

/*
 * In one form each: what is an integer of 64 bits is UINT or INT, also when it came as a double, so
 * that equal numbers have equal forms.
 */
struct schema_number {
    enum msgpack_kind kind; /* UINT, INT (below 0), FLOAT */
    uint64_t magnitude;     /* UINT; of INT the negated value */
    double real;            /* FLOAT, finite */
};

/* False: it is no finite number. */
bool schema_number_from(const struct msgpack_value *value, struct schema_number *number_out);
/* Without a fraction; also beyond 64 bits. */
bool schema_number_is_integer(const struct schema_number *number);
/* Below 0, 0, above 0, as a is less than, equal to or greater than b. */
int schema_number_compare(const struct schema_number *a, const struct schema_number *b);
/* digits * 10^exponent, without a sign; `digits` does not end in 0 unless it is 0. */
struct schema_decimal {
    uint64_t digits;
    int exponent;
};

/* The shortest decimal that reads back as the number. */
struct schema_decimal schema_number_decimal(const struct schema_number *number);
/*
 * Is a = n * b for an integer n? With the shortest decimal for `a`, too, so that 0.3 is a multiple
 * of 0.1. `b` is above 0.
 */
bool schema_number_is_multiple(const struct schema_number *a, const struct schema_decimal *b);

#endif
