#include "core/json_memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Handle, lexer, two empty buffers, one byte a level, an error's text: less than half of it. */
    STRUCTURES_BYTES = 4096,
    YAJL_BUFFER_BYTES = 2048, /* its buffers begin with so many and double */
    HEAD_BYTES = 16,          /* in front of each block: its size; keeps the alignment of malloc */
    KEPT_BYTES = 65536,
};

/* The most that one of yajl's buffers takes for so many bytes and a terminator. */
static size_t doubled(size_t bytes)
{
    size_t size = YAJL_BUFFER_BYTES;
    while (size <= bytes + 1)
        size *= 2;
    return size + HEAD_BYTES;
}

enum error_code json_memory_reserve(struct json_memory *memory, size_t text_bytes, bool has_escapes,
                                    struct error *error)
{
    if (text_bytes > SIZE_MAX / 16)
        return error_set(error, ERROR_MEMORY, "no memory for %zu bytes of JSON", text_bytes);
    /* One byte more than the text: the line break behind it. */
    size_t wanted = STRUCTURES_BYTES + doubled(text_bytes + 1);
    /* Twice, for it may once have to move, when many levels need another block behind it. */
    if (has_escapes)
        wanted += 2 * doubled(text_bytes + 1);
    memory->used = memory->last = 0;
    if (wanted <= memory->capacity)
        return OK;
    void *bytes = malloc(wanted);
    if (!bytes)
        return error_set(error, ERROR_MEMORY, "no memory for a parser of %zu bytes of JSON",
                         text_bytes);
    free(memory->bytes);
    memory->bytes = bytes;
    memory->capacity = wanted;
    return OK;
}

void json_memory_reset(struct json_memory *memory)
{
    memory->used = memory->last = 0;
    if (memory->capacity > KEPT_BYTES)
        json_memory_release(memory);
}

void json_memory_release(struct json_memory *memory)
{
    free(memory->bytes);
    *memory = (struct json_memory){0};
}

static size_t round_up(size_t size)
{
    return (size + HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
}

static void *take(void *context, size_t size)
{
    struct json_memory *memory = context;
    size_t wanted = HEAD_BYTES + round_up(size);

    /* Else json_memory_reserve has counted wrongly, and yajl would write to nowhere. */
    assert(wanted <= memory->capacity - memory->used);
    unsigned char *block = memory->bytes + memory->used;
    memcpy(block, &size, sizeof size);
    memory->last = memory->used;
    memory->used += wanted;
    return block + HEAD_BYTES;
}

static void *resize(void *context, void *old, size_t size)
{
    struct json_memory *memory = context;
    size_t old_size;

    if (!old)
        return take(context, size);
    unsigned char *block = (unsigned char *)old - HEAD_BYTES;
    memcpy(&old_size, block, sizeof old_size);
    if (block == memory->bytes + memory->last) {
        memory->used = memory->last;
        return take(context, size); /* at the same place, where its bytes are */
    }
    void *moved = take(context, size);
    return memcpy(moved, old, old_size < size ? old_size : size);
}

/* All is given back at once, by json_memory_reset. */
static void give_back(void *context, void *block)
{
    (void)context;
    (void)block;
}

yajl_alloc_funcs json_memory_functions(struct json_memory *memory)
{
    return (yajl_alloc_funcs){.malloc = take, .realloc = resize, .free = give_back, .ctx = memory};
}
