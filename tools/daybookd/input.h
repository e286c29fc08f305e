/*
 * tools/daybookd/input.h - bytes that a connection has received and not used yet; and the bounded
 * pool that their memory comes from.
 *
 * A connection that owes nothing holds no memory: it reads into the pool's one spare buffer, and
 * what is left of it (half a frame) either fits a small block or keeps the buffer. All together are
 * bounded by the pool, however many connections there are and whatever they send.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_INPUT_H
#define DAYBOOK_TOOLS_DAYBOOKD_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum {
    INPUT_READ_BYTES = 262144, /* a Unix socket holds hardly more at a time */
    INPUT_SMALL_BYTES = 16384, /* up to this a remainder moves out of the read buffer */
};

struct input_pool {
    size_t bytes_max;
    size_t bytes_used;
    uint8_t *spare; /* INPUT_READ_BYTES, or NULL while somebody has it */
};

/* Zero-initialised is empty. */
struct input {
    uint8_t *data;
    size_t capacity;
    size_t start; /* the first byte not used */
    size_t end;
};

void input_pool_release(struct input_pool *pool);

/*
 * Make room to read at least one byte more, and for `wanted` bytes in one piece.
 * ERROR_BUSY: the pool is used up.
 */
enum error_code input_reserve(struct input *input, struct input_pool *pool, size_t wanted,
                              struct error *error);
size_t input_bytes(const struct input *input);
const uint8_t *input_data(const struct input *input);
void input_use(struct input *input, size_t bytes);
/* Give back what is not needed to keep the unused bytes until more come. */
void input_park(struct input *input, struct input_pool *pool);
/* Forget everything. */
void input_drop(struct input *input, struct input_pool *pool);

#endif
