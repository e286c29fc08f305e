/*
 * segment/window.h - a sliding view of a file, read in large aligned pieces.
 *
 * For recovery, which reads a segment from front to end, through a descriptor that may be O_DIRECT
 * (aligned address, offset and length) and must not need the memory of a whole segment.
 */
#ifndef DAYBOOK_SEGMENT_WINDOW_H
#define DAYBOOK_SEGMENT_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* The longest range that one call can give. */
#define WINDOW_RANGE_MAX (UINT64_C(2) << 20)

struct segment_window;

/* Borrows `fd` and `name`. `size_bytes` is the file's size. */
enum error_code segment_window_create(int fd, const char *name, uint64_t size_bytes,
                                      struct segment_window **window_out, struct error *error);
/*
 * Bytes [offset, offset + size) of the file, valid until the next call. ERROR_DAMAGED when the file
 * ends before, ERROR_IO when it cannot be read.
 */
enum error_code segment_window_get(struct segment_window *window, uint64_t offset, size_t size,
                                   const uint8_t **bytes_out, struct error *error);
void segment_window_free(struct segment_window *window);

#endif
