/*
 * tests/support/schemas.h - words for tests about schemas: compile one, hold JSON against it.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_SCHEMAS_H
#define DAYBOOK_TESTS_SUPPORT_SCHEMAS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/bytes.h"
#include "core/schema.h"

/* It must be one. The caller frees it. */
struct schema *schemas_compile(const char *text);
/* It must be none, and the error must contain `part`. */
void schemas_expect_refused(const void *text, size_t text_bytes, const char *part);
/* Does this JSON, which must be some, keep to it? *fault_out: if not; NULL: nobody asks. */
bool schemas_keeps(struct schema *schema, const char *json, struct schema_fault *fault_out);
/* The same for a schema that is compiled and freed again. */
bool schemas_takes(const char *schema, const char *json);

/* Append a text `count` times; `out` always ends in a NUL that is not counted. */
void schemas_repeat(struct buffer *out, const char *text, int count);
/* Append a text made as by printf. */
void schemas_append(struct buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
