/*
 * core/schema_compile.h - between the walk over a schema (schema_compile.c) and what each keyword
 * does (schema_keywords.c).
 *
 * Internal to core/schema_*.c.
 */
#ifndef DAYBOOK_CORE_SCHEMA_COMPILE_H
#define DAYBOOK_CORE_SCHEMA_COMPILE_H

#include "core/schema_node.h"

/* A $ref, until it is resolved. */
struct schema_ref {
    struct schema_node *node;
    const char *pointer; /* behind the '#' */
    size_t pointer_bytes;
    struct schema_ref *next;
};

struct schema_compiler {
    struct schema *schema;
    struct schema_node **nodes_at; /* by the offset of a subschema in the document */
    struct schema_node *nodes;     /* all of them */
    struct schema_ref *refs;
    struct buffer path; /* where we are: "#/properties/price/minimum" */
    struct error *error;
};

/* Set an error that begins with the path. */
enum error_code schema_compile_fail(struct schema_compiler *compiler, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum error_code schema_compile_no_memory(struct schema_compiler *compiler);
/* Append a name, or an index, to the path; leave cuts the path to what it was. */
enum error_code schema_compile_enter(struct schema_compiler *compiler, const char *name,
                                     size_t name_bytes);
enum error_code schema_compile_enter_index(struct schema_compiler *compiler, uint32_t index);
void schema_compile_leave(struct schema_compiler *compiler, size_t path_bytes);

/* The node of the subschema at `at`, which is at the path; made unless it is there. */
enum error_code schema_compile_node(struct schema_compiler *compiler, struct msgpack_cursor at,
                                    const struct schema_node **node_out);

/* One keyword of a node, with its value at the cursor; the path is the keyword's. */
enum error_code schema_keyword_take(struct schema_compiler *compiler, struct schema_node *node,
                                    const struct msgpack_value *keyword,
                                    struct msgpack_cursor value);

#endif
