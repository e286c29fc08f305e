/*
 * core/schema_ecma.h - a regular expression of ECMA-262 as PCRE2 has to read it.
 *
 * Internal to core/schema_*.c. With the right options PCRE2 reads nearly all of it as it is
 * (schema_pattern.c). What it would read otherwise is written otherwise here: \s and \S, which mean
 * all white space of Unicode; '.', which does not take U+2028 and U+2029 either; '[' in a class,
 * which begins no class of POSIX; the long names of Unicode's categories in \p{…}.
 */
#ifndef DAYBOOK_CORE_SCHEMA_ECMA_H
#define DAYBOOK_CORE_SCHEMA_ECMA_H

#include "core/bytes.h"
#include "core/error.h"

/*
 * Append it to `out`. ERROR_INVALID: it has an escape or a group that only PCRE2 knows, and so
 * would mean something else, or nothing, to whoever else reads the schema.
 */
enum error_code schema_ecma_translate(const char *text, size_t text_bytes, struct buffer *out,
                                      struct error *error);

#endif
