/*
 * core/bytes.h - little-endian integers at any address, and a growing byte buffer.
 *
 * Every number on disk goes through these functions: no struct is ever cast onto bytes.
 */
#ifndef DAYBOOK_CORE_BYTES_H
#define DAYBOOK_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/error.h"

static inline uint16_t bytes_load16(const void *at)
{
    const uint8_t *b = at;
    return (uint16_t)(b[0] | (uint16_t)b[1] << 8);
}

static inline uint32_t bytes_load32(const void *at)
{
    const uint8_t *b = at;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t bytes_load64(const void *at)
{
    const uint8_t *b = at;
    return (uint64_t)bytes_load32(b) | (uint64_t)bytes_load32(b + 4) << 32;
}

static inline void bytes_store16(void *at, uint16_t value)
{
    uint8_t *b = at;
    b[0] = (uint8_t)value;
    b[1] = (uint8_t)(value >> 8);
}

static inline void bytes_store32(void *at, uint32_t value)
{
    uint8_t *b = at;
    b[0] = (uint8_t)value;
    b[1] = (uint8_t)(value >> 8);
    b[2] = (uint8_t)(value >> 16);
    b[3] = (uint8_t)(value >> 24);
}

static inline void bytes_store64(void *at, uint64_t value)
{
    uint8_t *b = at;
    bytes_store32(b, (uint32_t)value);
    bytes_store32(b + 4, (uint32_t)(value >> 32));
}

/* Round up to a multiple of `alignment`, a power of two. */
static inline uint64_t bytes_align(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* The value of a hexadecimal digit of either case; -1: it is none. */
static inline int bytes_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* True when all `size` bytes are zero. */
bool bytes_are_zero(const void *data, size_t size);

/*
 * A growing buffer. Zero-initialised is empty and valid; release frees. Data may move on growth.
 */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* For buffer_reserve, when there is no room yet. */
enum error_code buffer_grow(struct buffer *buffer, size_t extra, struct error *error);
/* Make room for `extra` more bytes behind size. ERROR_MEMORY leaves the buffer as it was. */
static inline enum error_code buffer_reserve(struct buffer *buffer, size_t extra,
                                             struct error *error)
{
    return extra <= buffer->capacity - buffer->size ? OK : buffer_grow(buffer, extra, error);
}
/* Here, so that the few bytes of a mark or a number cost no call. */
static inline enum error_code buffer_append(struct buffer *buffer, const void *data, size_t size,
                                            struct error *error)
{
    if (size == 0)
        return OK;
    enum error_code code = buffer_reserve(buffer, size, error);
    if (code)
        return code;
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return OK;
}
/* Append text as printf would, without its terminating NUL. */
enum error_code buffer_printf(struct buffer *buffer, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Forget the first `size` bytes and move the rest to the front. */
void buffer_consume(struct buffer *buffer, size_t size);
/* Free, and leave an empty valid buffer. */
void buffer_release(struct buffer *buffer);

#endif
