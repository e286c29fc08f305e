/*
 * core/schema_constants.h - the values that `enum` or `const` allows, to be found fast.
 *
 * Internal to core/schema_*.c. A few are compared one by one, more are found by their hash: what a
 * check costs must not grow with the list, as it is paid for by the size of the event alone.
 */
#ifndef DAYBOOK_CORE_SCHEMA_CONSTANTS_H
#define DAYBOOK_CORE_SCHEMA_CONSTANTS_H

#include <stdbool.h>

#include "core/schema_node.h"

/* The list is whole: make the table, if it takes one. False: there is no memory. */
bool schema_constants_index(struct schema *schema, struct schema_constants *constants);

/*
 * Is the value, whose head has been read, one of them? Arrays and objects count *steps_left down;
 * at 0 they pass for none.
 */
bool schema_constants_has(const struct schema_constants *constants,
                          const struct msgpack_value *head, struct msgpack_cursor value,
                          uint64_t *steps_left);

#endif
