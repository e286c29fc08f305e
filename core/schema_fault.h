/*
 * core/schema_fault.h - telling what is at fault: where in the payload, by which rule, in words.
 *
 * Internal to core/schema_*.c.
 */
#ifndef DAYBOOK_CORE_SCHEMA_FAULT_H
#define DAYBOOK_CORE_SCHEMA_FAULT_H

#include <stdarg.h>

#include "core/schema_node.h"

/* Where in the payload we are: how the pointer of a fault is found, and only then. */
struct schema_place {
    const struct schema_place *above; /* NULL: the payload itself */
    const char *key;                  /* of an object; NULL: `index` of an array */
    uint32_t key_bytes;
    uint32_t index;
};

/* By this keyword ("": by the schema itself) of the node. */
void schema_fault_tell(struct schema_fault *fault_out, const struct schema_node *node,
                       const char *keyword, const struct schema_place *place, const char *format,
                       va_list arguments);

/* A value as JSON, cut where it gets long; in `scratch`. */
const char *schema_fault_show(struct buffer *scratch, struct msgpack_cursor value);

enum { SCHEMA_FAULT_NUMBER_BYTES = 32, SCHEMA_FAULT_TYPES_BYTES = 80 };
const char *schema_fault_number(const struct schema_number *number,
                                char text[SCHEMA_FAULT_NUMBER_BYTES]);
/* "string or null" */
const char *schema_fault_types(unsigned types, char text[SCHEMA_FAULT_TYPES_BYTES]);

#endif
