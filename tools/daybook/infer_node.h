/*
 * tools/daybook/infer_node.h - what was seen at one place of the payloads; internal to
 * tools/daybook/infer*.c.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_INFER_NODE_H
#define DAYBOOK_TOOLS_DAYBOOK_INFER_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "tools/daybook/infer.h"

struct infer_node;

struct infer_property {
    char *name;
    size_t name_bytes;
    uint64_t objects;     /* that have it */
    uint64_t object_last; /* the last of them, counted from 1 */
    struct infer_node *node;
};

struct infer_value {
    char text[INFER_VALUE_BYTES_MAX];
    size_t bytes;
    uint64_t count;
};

struct infer_node {
    uint64_t nulls, booleans, integers, reals, strings, objects, arrays;
    uint64_t others;   /* of no JSON type: binary, NaN */
    bool negative;     /* a number was */
    bool not_times;    /* a string was no date-time */
    bool not_uuids;
    bool many_values;  /* more than fit, or too long ones */
    bool unruly;       /* an object had a key twice, or one that is no string: no rules for it */
    struct infer_value values[INFER_VALUES_MAX];
    size_t value_count;
    struct infer_property *properties; /* in the order in which they came */
    size_t property_count, property_capacity;
    struct infer_node *items; /* of all arrays; NULL: nothing is known */
};

/* As text; JSON on one line. */
enum error_code infer_node_write(const struct infer_node *node, bool root, struct buffer *out,
                                 struct error *error);

#endif
