#include "core/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bytes_are_zero(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    if (size == 0)
        return true;
    /* Zero, and equal to itself one byte later: memcmp compares whole vectors. */
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

enum error_code buffer_grow(struct buffer *buffer, size_t extra, struct error *error)
{
    if (extra > SIZE_MAX / 2 - buffer->size)
        return error_set(error, ERROR_MEMORY, "a buffer cannot grow by %zu bytes", extra);
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity < buffer->size + extra)
        capacity *= 2;
    uint8_t *data = realloc(buffer->data, capacity);
    if (!data)
        return error_set(error, ERROR_MEMORY, "no memory for a buffer of %zu bytes", capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return OK;
}

enum error_code buffer_printf(struct buffer *buffer, struct error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return error_set(error, ERROR_INVALID, "text of the format '%s' cannot be made", format);

    enum error_code code = buffer_reserve(buffer, (size_t)length + 1, error);
    if (code)
        return code;
    va_start(arguments, format);
    vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)length;
    return OK;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    if (size >= buffer->size) {
        buffer->size = 0;
        return;
    }
    buffer->size -= size;
    memmove(buffer->data, buffer->data + size, buffer->size);
}

void buffer_release(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
