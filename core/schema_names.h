/*
 * core/schema_names.h - the names of an object's rules, to be found fast.
 *
 * Internal to core/schema_*.c.
 */
#ifndef DAYBOOK_CORE_SCHEMA_NAMES_H
#define DAYBOOK_CORE_SCHEMA_NAMES_H

#include <string.h>

#include "core/schema_node.h"

/* A name that is not among them yet, as the last of the list. False: there is no memory. */
bool schema_names_add(struct schema *schema, struct schema_names *names, const char *bytes,
                      uint32_t size);

/* By the table; there is at least one name. */
uint16_t schema_names_look_up(const struct schema_names *names, const char *bytes, uint32_t size);

/* As memcmp says, without a call for what keys and short texts are: up to 16 bytes. */
static inline bool schema_names_same(const char *a, const char *b, uint32_t size)
{
    if (size >= 8 && size <= 16)
        return bytes_load64(a) == bytes_load64(b) &&
               bytes_load64(a + size - 8) == bytes_load64(b + size - 8);
    if (size >= 4 && size < 8)
        return bytes_load32(a) == bytes_load32(b) &&
               bytes_load32(a + size - 4) == bytes_load32(b + size - 4);
    return size == 0 || memcmp(a, b, size) == 0;
}

/*
 * SCHEMA_NONE: it is not among them. `guess` is tried first: whoever writes objects writes their
 * keys in the same order again and again.
 */
static inline uint16_t schema_names_find(const struct schema_names *names, const char *bytes,
                                         uint32_t size, uint16_t guess)
{
    if (guess < names->count && names->list[guess].size == size &&
        schema_names_same(names->list[guess].bytes, bytes, size))
        return guess;
    return names->count == 0 ? SCHEMA_NONE : schema_names_look_up(names, bytes, size);
}

#endif
