#include "segment/tail.h"

#include <string.h>

#include "core/file.h"
#include "segment/window.h"

static enum error_code open_window(const struct segment_tail *tail, int fd,
                                   struct segment_window **window_out, struct error *error)
{
    const struct segment_set_segment *segment = tail->segment;
    return segment_window_create(fd, segment->name, segment->size_bytes, window_out, error);
}

/*
 * The end of the piece that begins at `at`, not behind `end`. A direct read first writes back what
 * is dirty near it, so no two pieces share a page, however large the kernel's pages are.
 */
static uint64_t piece_end(uint64_t at, uint64_t end)
{
    uint64_t piece = (at / WINDOW_RANGE_MAX + 1) * WINDOW_RANGE_MAX;
    return piece < end ? piece : end;
}

/*
 * A page cache that lost the last accepted bytes would not tell. Nor are its own bytes any good,
 * which may be zeros of a recovery that could not sync them.
 */
static enum error_code rewrite_end(const struct segment_tail *tail, struct error *error)
{
    const struct segment_recovery_scan *scan = tail->scan;
    uint64_t at = scan->durable_offset;
    struct segment_window *window = NULL;
    enum error_code code = open_window(tail, tail->disk_fd, &window, error);

    while (!code && at < scan->end_offset) {
        uint64_t end = piece_end(at, scan->end_offset);
        const uint8_t *bytes;
        code = segment_window_get(window, at, (size_t)(end - at), &bytes, error);
        if (!code)
            code = file_write(tail->fd, tail->segment->name, bytes, (size_t)(end - at), at, error);
        at = end;
    }
    segment_window_free(window);
    return code;
}

/* Behind the last byte of the cache that is not zero, at least `end`. */
static enum error_code find_cached_end(const struct segment_tail *tail, uint64_t end,
                                       uint64_t *end_out, struct error *error)
{
    const uint64_t limit = tail->segment->header.size_bytes - FORMAT_TRAILER_BYTES;
    struct segment_window *window = NULL;
    enum error_code code = open_window(tail, tail->fd, &window, error);

    *end_out = end;
    for (uint64_t at = end; !code && at < limit; at += WINDOW_RANGE_MAX) {
        size_t size = limit - at < WINDOW_RANGE_MAX ? (size_t)(limit - at) : WINDOW_RANGE_MAX;
        const uint8_t *bytes;
        code = segment_window_get(window, at, size, &bytes, error);
        if (code || bytes_are_zero(bytes, size))
            continue;
        while (bytes[size - 1] == 0)
            size--;
        *end_out = at + size;
    }
    segment_window_free(window);
    if (end < limit) /* nobody needs them soon */
        file_drop_cache(tail->fd, end, limit - end);
    return code;
}

/* Is the accepted end the same in both, from the last durable byte on? */
static enum error_code compare_end(const struct segment_tail *tail, bool *same_out,
                                   struct error *error)
{
    const struct segment_recovery_scan *scan = tail->scan;
    struct segment_window *cached = NULL, *on_disk = NULL;
    enum error_code code = open_window(tail, tail->fd, &cached, error);

    if (!code)
        code = open_window(tail, tail->disk_fd, &on_disk, error);
    *same_out = true;
    for (uint64_t at = scan->durable_offset; !code && *same_out && at < scan->end_offset;) {
        uint64_t end = piece_end(at, scan->end_offset);
        const uint8_t *a, *b;
        code = segment_window_get(cached, at, (size_t)(end - at), &a, error);
        if (!code)
            code = segment_window_get(on_disk, at, (size_t)(end - at), &b, error);
        *same_out = !code && memcmp(a, b, (size_t)(end - at)) == 0;
        at = end;
    }
    segment_window_free(cached);
    segment_window_free(on_disk);
    return code;
}

enum error_code segment_tail_is_stale(const struct segment_tail *tail, bool *stale_out,
                                      struct error *error)
{
    uint64_t cached_end = 0;
    bool same = false;
    enum error_code code = compare_end(tail, &same, error);

    if (!code)
        code = find_cached_end(tail, tail->scan->dirty_end, &cached_end, error);
    *stale_out = !same || cached_end > tail->scan->dirty_end;
    return code;
}

/* Where both are zero already nothing can come back. */
enum error_code segment_tail_settle(const struct segment_tail *tail, struct error *error)
{
    const struct segment_recovery_scan *scan = tail->scan;
    const char *name = tail->segment->name;
    uint64_t cut_end;
    enum error_code code = find_cached_end(tail, scan->dirty_end, &cut_end, error);

    if (!code)
        code = rewrite_end(tail, error);
    if (!code)
        code = file_sync_data(tail->fd, name, error);
    if (!code && cut_end > scan->end_offset)
        code = file_zero(tail->fd, name, scan->end_offset, cut_end - scan->end_offset, error);
    if (!code)
        code = file_sync_data(tail->fd, name, error);
    return code;
}
