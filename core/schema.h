/*
 * core/schema.h - JSON Schema, draft 2020-12: compiled once, checked on msgpack without a tree.
 *
 * Understood are type, enum, const, properties, required, additionalProperties, patternProperties,
 * propertyNames, minProperties, maxProperties, items, prefixItems, contains, minItems, maxItems,
 * uniqueItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength,
 * maxLength, pattern, format (date-time, uuid, ipv4, ipv6: checked, not only noted), allOf, anyOf,
 * oneOf, not, if, then, else, $defs and $ref within the document ("#…"); $schema and $id at the
 * root; and the words that only describe (title, description, default, examples, deprecated,
 * readOnly, writeOnly, $comment). Anything else is refused when the schema is compiled: a rule that
 * is not checked must not look as if it were.
 *
 * Source: JSON Schema Core and Validation, draft 2020-12. Where JSON and msgpack differ:
 *   - integers and doubles are compared by their exact values; 1.0 is an integer,
 *   - multipleOf is decided on the shortest decimals that read back as the two numbers, as doubles,
 *   - NaN and the infinities, binary and extension values are of no JSON type,
 *   - where a schema has rules for objects, one with a key that is no string, or with a known key
 *     twice, is at fault,
 *   - patterns are ECMA-262's, read by PCRE2 (schema_pattern.h): a look-behind has a length that is
 *     known, and some of what only PCRE has is taken, too (a++, octal numbers).
 *
 * Bounds: the constants below, and 64 MiB of memory for a compiled schema. A check takes at most
 * steps in proportion to the event's size, and gives up loudly: so a large text is not matched with
 * a pattern that begins without '^'. One match may take some milliseconds before it gives up.
 */
#ifndef DAYBOOK_CORE_SCHEMA_H
#define DAYBOOK_CORE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

enum {
    SCHEMA_TEXT_BYTES_MAX = 1 << 20,
    SCHEMA_DEPTH_MAX = 64,   /* JSON levels of the schema's text */
    SCHEMA_CHAIN_MAX = 64,   /* $ref, allOf … one after the other that look at the same value */
    SCHEMA_NAMES_MAX = 1024, /* of one object, and in each map of schemas */
};

/* Not const to whoever checks: it keeps scratch memory. One thread at a time. */
struct schema;

/*
 * ERROR_INVALID: it is no schema, or one that is not understood; the text begins with where, as a
 * JSON pointer into the schema: "#/properties/price/minimum: …".
 */
enum error_code schema_compile(const char *json, size_t json_bytes, struct schema **schema_out,
                               struct error *error);
/* Accepts NULL. */
void schema_free(struct schema *schema);

/* The first rule that a value breaks. Long ones are cut. */
struct schema_fault {
    char pointer[128]; /* JSON pointer to the value within the payload; "": all of it */
    char rule[128];    /* … to the rule within the schema: "#/properties/price/minimum" */
    char text[160];    /* "-1 is less than the minimum 0" */
};

/*
 * Does the payload, exactly one msgpack value that msgpack_check has accepted, keep to the schema?
 * *fault_out (may be NULL) is set only when it does not. Running out of memory is a fault, too.
 */
bool schema_check(struct schema *schema, const void *payload, size_t payload_bytes,
                  struct schema_fault *fault_out);

#endif
