/*
 * core/schema_references.h - from "$ref" to the schema that it means.
 *
 * Internal to core/schema_*.c. A reference is the fragment of a URI: it is read without its %XX
 * first (RFC 3986), and then as a JSON pointer (RFC 6901, section 6).
 */
#ifndef DAYBOOK_CORE_SCHEMA_REFERENCES_H
#define DAYBOOK_CORE_SCHEMA_REFERENCES_H

#include "core/schema_compile.h"

/*
 * All of compiler->refs, and those that are found on the way. The work is bounded: each is found by
 * a walk over what comes before it in the document.
 */
enum error_code schema_references_resolve(struct schema_compiler *compiler);

#endif
