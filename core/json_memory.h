/*
 * core/json_memory.h - memory for one run of the JSON parser, reserved in advance.
 *
 * yajl writes to what its allocator gives without looking whether it gave anything. So it gets its
 * memory from a piece that is reserved, and checked, before the parser is made. How much it can
 * need is known: it keeps a few small structures, and, in two buffers that double, at most the text
 * itself: once what an escaped string stands for, once a number or string that the text breaks off.
 * Core's own; not for others.
 */
#ifndef DAYBOOK_CORE_JSON_MEMORY_H
#define DAYBOOK_CORE_JSON_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <yajl/yajl_common.h>

#include "core/error.h"

/* Zero-initialised is empty; release frees. */
struct json_memory {
    unsigned char *bytes;
    size_t capacity;
    size_t used;
    size_t last; /* where the last block begins: the only one that grows where it is */
};

/*
 * Make room for parsing a text of `text_bytes`; what was given out before is void. ERROR_MEMORY:
 * there is none, and nothing has changed.
 */
enum error_code json_memory_reserve(struct json_memory *memory, size_t text_bytes, bool has_escapes,
                                    struct error *error);
/* The parser is gone. Room for an unusually large text is given back. */
void json_memory_reset(struct json_memory *memory);
void json_memory_release(struct json_memory *memory);
/* For yajl_alloc. */
yajl_alloc_funcs json_memory_functions(struct json_memory *memory);

#endif
