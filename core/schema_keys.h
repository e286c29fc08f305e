/*
 * core/schema_keys.h - no object in a schema's text has a key twice.
 *
 * Internal to core/schema_*.c. Of two equal keywords, names or keys of a constant, readers of JSON
 * take the first, the last, or neither; what a schema means must not depend on that.
 */
#ifndef DAYBOOK_CORE_SCHEMA_KEYS_H
#define DAYBOOK_CORE_SCHEMA_KEYS_H

#include "core/schema_compile.h"

/* Over all of the document, from its root, where the compiler's path must be. */
enum error_code schema_keys_check(struct schema_compiler *compiler);

#endif
