#include "segment/window.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/file.h"

/* Enough for any alignment that O_DIRECT asks for on the disks of today. */
enum { ALIGNMENT = 4096, CAPACITY = (2 << 20) + 2 * ALIGNMENT };

struct segment_window {
    int fd;
    const char *name;
    uint64_t file_bytes;
    uint64_t offset; /* of data[0] in the file */
    size_t size;
    uint8_t *data;
};

enum error_code segment_window_create(int fd, const char *name, uint64_t size_bytes,
                                      struct segment_window **window_out, struct error *error)
{
    struct segment_window *window = calloc(1, sizeof *window);
    void *data = NULL;

    if (!window || posix_memalign(&data, ALIGNMENT, CAPACITY) != 0) {
        free(window);
        return error_set(error, ERROR_MEMORY, "no memory to read segment %s", name);
    }
    *window =
        (struct segment_window){.fd = fd, .name = name, .file_bytes = size_bytes, .data = data};
    *window_out = window;
    return OK;
}

static enum error_code load(struct segment_window *window, uint64_t offset, struct error *error)
{
    uint64_t start = offset / ALIGNMENT * ALIGNMENT;
    uint64_t left = bytes_align(window->file_bytes - start, ALIGNMENT);
    size_t wanted = left < CAPACITY ? (size_t)left : CAPACITY;

    window->size = 0;
    /* Segments are multiples of 4096 bytes long, so an aligned read never passes the end. */
    enum error_code code = file_read(window->fd, window->name, window->data, wanted, start, error);
    if (code)
        return code;
    window->offset = start;
    window->size = wanted;
    return OK;
}

enum error_code segment_window_get(struct segment_window *window, uint64_t offset, size_t size,
                                   const uint8_t **bytes_out, struct error *error)
{
    assert(size <= WINDOW_RANGE_MAX);
    if (offset > window->file_bytes || size > window->file_bytes - offset)
        return error_set(error, ERROR_DAMAGED,
                         "segment %s: %zu bytes at byte %" PRIu64 " lie beyond its end",
                         window->name, size, offset);
    if (offset < window->offset || offset + size > window->offset + window->size) {
        enum error_code code = load(window, offset, error);
        if (code)
            return code;
    }
    *bytes_out = window->data + (offset - window->offset);
    return OK;
}

void segment_window_free(struct segment_window *window)
{
    if (!window)
        return;
    free(window->data);
    free(window);
}
