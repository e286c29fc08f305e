/*
 * core/schema_node.h - what a schema is compiled to.
 *
 * Internal to core/schema_*.c. All nodes live in the schema's arena, and point into its document:
 * the schema's own text as msgpack. Nothing changes after schema_compile but the scratch memory.
 */
#ifndef DAYBOOK_CORE_SCHEMA_NODE_H
#define DAYBOOK_CORE_SCHEMA_NODE_H

#include <stdint.h>

#include "core/bytes.h"
#include "core/msgpack.h"
#include "core/schema.h"
#include "core/schema_format.h"
#include "core/schema_number.h"
#include "core/schema_pattern.h"

enum schema_type {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_OBJECT = 4,
    SCHEMA_ARRAY = 8,
    SCHEMA_NUMBER = 16,
    SCHEMA_INTEGER = 32, /* a number without a fraction is both */
    SCHEMA_STRING = 64,
};

enum { SCHEMA_NONE = UINT16_MAX }; /* no name */

struct schema_node;

struct schema_name {
    const char *bytes;
    uint32_t size;
    const struct schema_node *node; /* NULL: only required */
    bool required;
};

/* The names of one object: those of `properties`, and others of `required`. */
struct schema_names {
    struct schema_name *list;
    uint16_t count;
    uint16_t required_count;
    uint16_t *slots; /* a hash table of indexes; its size is a power of two */
    uint32_t slot_mask;
};

struct schema_nodes {
    const struct schema_node **list;
    uint32_t count;
};

struct schema_pattern_rule {
    struct schema_pattern *pattern;
    const struct schema_node *node;
};

/* Values of the schema's document; none: any value is as good. */
struct schema_constants {
    const struct msgpack_cursor *list;
    uint32_t *slots; /* a hash table of indexes; NULL: the list is short */
    uint32_t count;
    uint32_t slot_mask;
};

/* Rules of numbers, by which of them are set. */
enum {
    SCHEMA_MINIMUM = 1,
    SCHEMA_MAXIMUM = 2,
    SCHEMA_EXCLUSIVE_MINIMUM = 4,
    SCHEMA_EXCLUSIVE_MAXIMUM = 8,
    SCHEMA_MULTIPLE = 16,
};

struct schema_node {
    const char *where; /* "#/properties/price", cut after some hundred bytes */
    bool never;        /* the schema `false` */
    unsigned types;    /* of enum schema_type; 0: any */

    bool has_constants;
    struct schema_constants enum_, const_; /* const_: one, or none */

    unsigned number_rules;
    struct schema_number minimum, maximum, exclusive_minimum, exclusive_maximum, multiple;
    struct schema_decimal multiple_decimal;

    bool has_string_rules;
    uint64_t length_min, length_max; /* characters */
    struct schema_pattern *pattern;
    enum schema_format format;

    bool has_array_rules;
    struct schema_nodes prefix;
    const struct schema_node *items;    /* behind the prefix */
    const struct schema_node *contains;
    uint64_t items_min, items_max;
    bool unique;

    bool has_object_rules;
    struct schema_names names;
    struct schema_pattern_rule *pattern_rules;
    uint32_t pattern_rule_count;
    const struct schema_node *additional;
    const struct schema_node *property_names;
    uint64_t properties_min, properties_max;

    bool has_more; /* something of the following */
    const struct schema_node *ref;
    struct schema_nodes all_of, any_of, one_of;
    const struct schema_node *not_, *if_, *then, *else_;

    struct schema_node *next; /* of all, while they are compiled */
    uint16_t chain; /* how many nodes in a row look at the same value from here; 0: not yet known */
    bool on_chain;  /* while that is found out */
};

struct schema_chunk;

struct schema {
    struct buffer document;
    struct schema_chunk *chunks;
    struct schema_pattern *patterns; /* all of them, to be freed */
    struct schema_matcher *matcher;  /* there if there are patterns */
    const struct schema_node *root;
    struct buffer scratch; /* for values in a fault's text */
    size_t allocated;
};

/* Zeroed memory that lives as long as the schema. NULL: there is none, or it has too much. */
void *schema_allocate(struct schema *schema, size_t bytes);
/* For what has memory of its own, like patterns: count it in. False: the schema has too much. */
bool schema_account(struct schema *schema, size_t bytes);

#endif
