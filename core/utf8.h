/*
 * core/utf8.h - is this UTF-8?
 *
 * As Unicode defines it (table 3-7): no overlong forms, no surrogates, nothing beyond U+10FFFF.
 * NUL is a character like any other.
 */
#ifndef DAYBOOK_CORE_UTF8_H
#define DAYBOOK_CORE_UTF8_H

#include <stddef.h>

/* How many bytes at the start of `text` are whole valid characters; `size` when all of it is. */
size_t utf8_valid_bytes(const void *text, size_t size);

#endif
