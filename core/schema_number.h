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
/*
 * Is a = n * b for an integer n? Both are taken for the shortest decimals that read back as they,
 * so that 0.3 is a multiple of 0.1. `b` is above 0.
 */
bool schema_number_is_multiple(const struct schema_number *a, const struct schema_number *b);

#endif
