/*
 * core/schema_equal.h - are two msgpack values the same JSON value?
 *
 * Internal to core/schema_*.c. Numbers are compared by value, objects without regard to the order
 * of their keys, everything else byte by byte.
 */
#ifndef DAYBOOK_CORE_SCHEMA_EQUAL_H
#define DAYBOOK_CORE_SCHEMA_EQUAL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/msgpack.h"

/*
 * Each cursor spans exactly one value. *steps_left is counted down by the values looked at; at 0
 * they pass for different.
 */
bool schema_equal(struct msgpack_cursor a, struct msgpack_cursor b, uint64_t *steps_left);
/* Equal for equal values. */
uint64_t schema_equal_hash(struct msgpack_cursor value, uint64_t *steps_left);

#endif
