/*
 * core/schema_format.h - the formats of JSON Schema that are checked.
 *
 * Internal to core/schema_*.c.
 */
#ifndef DAYBOOK_CORE_SCHEMA_FORMAT_H
#define DAYBOOK_CORE_SCHEMA_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

enum schema_format {
    SCHEMA_FORMAT_NONE,
    SCHEMA_FORMAT_DATE_TIME, /* RFC 3339, section 5.6; leap seconds where UTC can have them */
    SCHEMA_FORMAT_UUID,      /* RFC 4122, section 3 */
    SCHEMA_FORMAT_IPV4,      /* RFC 2673, section 3.2: four decimal numbers without leading zeros */
    SCHEMA_FORMAT_IPV6,      /* RFC 4291, section 2.2; without a zone */
};

/* SCHEMA_FORMAT_NONE: it is none that we know. */
enum schema_format schema_format_find(const char *name, size_t name_bytes);
const char *schema_format_name(enum schema_format format);
bool schema_format_check(enum schema_format format, const char *text, size_t text_bytes);

#endif
