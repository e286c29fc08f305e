#include "tools/daybookd/input.h"

#include <stdlib.h>
#include <string.h>

static enum error_code pool_take(struct input_pool *pool, size_t bytes, uint8_t **data_out,
                                 struct error *error)
{
    if (bytes == INPUT_READ_BYTES && pool->spare) {
        *data_out = pool->spare;
        pool->spare = NULL;
        return OK;
    }
    if (bytes > pool->bytes_max - pool->bytes_used)
        return error_set(error, ERROR_BUSY,
                         "the daemon's memory for unfinished frames (%zu bytes) is used up",
                         pool->bytes_max);
    uint8_t *data = malloc(bytes);
    if (!data)
        return error_set(error, ERROR_MEMORY, "no memory for a frame of %zu bytes", bytes);
    pool->bytes_used += bytes;
    *data_out = data;
    return OK;
}

static void pool_give(struct input_pool *pool, uint8_t *data, size_t bytes)
{
    if (bytes == INPUT_READ_BYTES && !pool->spare) {
        pool->spare = data;
        return;
    }
    free(data);
    pool->bytes_used -= bytes;
}

void input_pool_release(struct input_pool *pool)
{
    free(pool->spare);
    pool->spare = NULL;
}

size_t input_bytes(const struct input *input)
{
    return input->end - input->start;
}

const uint8_t *input_data(const struct input *input)
{
    return input->data + input->start;
}

void input_use(struct input *input, size_t bytes)
{
    input->start += bytes;
    if (input->start == input->end)
        input->start = input->end = 0;
}

static enum error_code move_to_block(struct input *input, struct input_pool *pool, size_t capacity,
                                     struct error *error)
{
    uint8_t *data = NULL;
    enum error_code code = pool_take(pool, capacity, &data, error);
    if (code)
        return code;
    size_t bytes = input_bytes(input);
    if (bytes > 0)
        memcpy(data, input_data(input), bytes);
    if (input->data)
        pool_give(pool, input->data, input->capacity);
    *input = (struct input){.data = data, .capacity = capacity, .end = bytes};
    return OK;
}

/* At least doubled, so that a line of unknown length is not moved for every piece of it. */
static size_t grown_capacity(size_t capacity, size_t wanted)
{
    if (capacity < INPUT_READ_BYTES && wanted <= INPUT_READ_BYTES)
        return INPUT_READ_BYTES;
    size_t doubled = 2 * capacity;
    return wanted > doubled ? wanted : doubled;
}

enum error_code input_reserve(struct input *input, struct input_pool *pool, size_t wanted,
                              struct error *error)
{
    if (wanted <= input_bytes(input))
        wanted = input_bytes(input) + 1;
    if (input->capacity < INPUT_READ_BYTES || input->capacity < wanted)
        return move_to_block(input, pool, grown_capacity(input->capacity, wanted), error);
    if (input->capacity - input->start < wanted || input->end == input->capacity) {
        memmove(input->data, input_data(input), input_bytes(input));
        input->end -= input->start;
        input->start = 0;
    }
    return OK;
}

void input_park(struct input *input, struct input_pool *pool)
{
    size_t bytes = input_bytes(input);
    if (bytes == 0)
        input_drop(input, pool);
    else if (bytes <= INPUT_SMALL_BYTES && input->capacity >= INPUT_READ_BYTES)
        /* Without memory for the small block the large one is simply kept. */
        move_to_block(input, pool, INPUT_SMALL_BYTES, NULL);
}

void input_drop(struct input *input, struct input_pool *pool)
{
    if (input->data)
        pool_give(pool, input->data, input->capacity);
    *input = (struct input){0};
}
