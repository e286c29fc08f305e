#include "segment/view.h"

#include <inttypes.h>
#include <string.h>

#include "segment/block.h"

enum {
    WINDOW_BYTES_MIN = 4096,
    WINDOW_BYTES_MAX = 1024 * 1024,
    AHEAD_BYTES_MIN = 128 * 1024,
    FIND_BYTES = 16 * 1024,
    RELEASE_BYTES = 4 * 1024 * 1024,
};

enum error_code segment_view_open(struct segment_view *view, int segments_fd,
                                  const struct segment_set_segment *segment,
                                  const uint8_t log_id[FORMAT_LOG_ID_BYTES], struct error *error)
{
    struct file_map map;
    enum error_code code = file_map_open(segments_fd, segment->name, &map, error);
    if (code)
        return code;
    segment_view_close(view);
    view->map = map;
    view->segment = *segment;
    view->segment_bytes = segment->header.size_bytes;
    if (segment->header_verdict != FORMAT_VALID) {
        view->segment_bytes = map.size;
        view->segment.seed = segment_format_seed(log_id, segment->sequence_first);
    }
    view->is_open = true;
    /* Who reads from segment to segment goes on with a large window. */
    if (view->window_wanted < WINDOW_BYTES_MIN)
        view->window_wanted = WINDOW_BYTES_MIN;
    return OK;
}

bool segment_view_is_as_listed(const struct segment_view *view)
{
    const struct segment_set_segment *segment = &view->segment;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    struct segment_format_segment_header header;
    uint32_t checksum = 0;

    if (view->map.size != segment->size_bytes)
        return false;
    if (segment->header_verdict != FORMAT_VALID ||
        file_map_copy(&view->map, segment->name, 0, bytes, sizeof bytes, NULL))
        return true;
    return segment_format_decode_segment_header(bytes, &header, &checksum) != FORMAT_VALID ||
           checksum == segment->header_checksum;
}

void segment_view_close(struct segment_view *view)
{
    if (view->is_open)
        file_map_close(&view->map);
    view->is_open = false;
    view->released = 0;
    segment_view_forget(view);
}

void segment_view_release(struct segment_view *view)
{
    segment_view_close(view);
    segment_ahead_free(view->ahead);
    view->ahead = NULL;
    buffer_release(&view->window);
    buffer_release(&view->scratch);
}

void segment_view_forget(struct segment_view *view)
{
    if (view->looks_ahead)
        segment_ahead_end(view->ahead);
    view->looks_ahead = false;
    view->window.size = 0;
}

void segment_view_jump(struct segment_view *view)
{
    segment_view_forget(view);
    view->window_wanted = WINDOW_BYTES_MIN;
}

/* What lies far behind the reader is of no use to this process any more. */
static void release_behind(struct segment_view *view, uint64_t offset)
{
    if (offset < view->released)
        view->released = offset;
    if (offset - view->released < RELEASE_BYTES)
        return;
    file_map_release_before(&view->map, offset);
    view->released = offset;
}

static enum error_code fill_window(struct segment_view *view, uint64_t offset, size_t size,
                                   struct error *error)
{
    segment_view_forget(view);
    enum error_code code = buffer_reserve(&view->window, size, error);
    if (!code)
        code =
            file_map_copy(&view->map, view->segment.name, offset, view->window.data, size, error);
    if (code)
        return code;
    view->window.size = size;
    view->window_offset = offset;
    return OK;
}

/* How many bytes to copy when `size` are needed: more, while reading goes on in order. */
static size_t window_size(struct segment_view *view, uint64_t offset, size_t size)
{
    uint64_t left = offset < view->map.size ? view->map.size - offset : 0;
    size_t wanted = view->window_wanted;
    if (wanted > left)
        wanted = (size_t)left;
    if (view->window_wanted < WINDOW_BYTES_MAX)
        view->window_wanted *= 2;
    return wanted > size ? wanted : size;
}

enum error_code segment_view_bytes(struct segment_view *view, uint64_t offset, size_t size,
                                   const uint8_t **bytes_out, struct error *error)
{
    bool inside = offset >= view->window_offset && size <= view->window.size &&
                  offset - view->window_offset <= view->window.size - size;
    if (!inside) {
        size_t wanted = window_size(view, offset, size);
        enum error_code code = fill_window(view, offset, wanted, error);
        /* Bytes that cannot be read must not take those before them along. */
        if (code && wanted > size)
            code = fill_window(view, offset, size, error);
        if (code)
            return code;
        release_behind(view, offset);
    }
    *bytes_out = view->window.data + (offset - view->window_offset);
    return OK;
}

static enum error_code explain(enum segment_format_verdict verdict, struct error *error)
{
    switch (verdict) {
    case FORMAT_VALID:
        return OK;
    case FORMAT_ZERO:
        return error_set(error, ERROR_DAMAGED, "there are only zeros");
    case FORMAT_NEWER:
        return error_set(error, ERROR_VERSION,
                         "it was written by a newer Daybook; read the log with that");
    case FORMAT_BAD:
        break;
    }
    return error_set(error, ERROR_DAMAGED, "its header is damaged");
}

enum error_code segment_view_header(struct segment_view *view, uint64_t offset,
                                    struct segment_format_block_header *header_out,
                                    struct error *error)
{
    if (view->segment_bytes < FORMAT_SEGMENT_BYTES_MIN ||
        offset > view->segment_bytes - FORMAT_TRAILER_BYTES - FORMAT_BLOCK_HEADER_BYTES)
        return error_set(error, ERROR_DAMAGED, "the segment ends here without a seal");
    const uint8_t *bytes = NULL;
    enum error_code code =
        segment_view_bytes(view, offset, FORMAT_BLOCK_HEADER_BYTES, &bytes, error);
    if (code)
        return code;
    return explain(segment_format_decode_block_header(view->segment.seed, bytes, offset,
                                                      view->segment_bytes, header_out),
                   error);
}

/*
 * Whoever has come so far in order will go on: let the helper open the blocks of the window from
 * this one on.
 */
static bool look_ahead(struct segment_view *view, uint64_t offset)
{
    if (view->looks_ahead || !view->reads_ahead || view->window.size < AHEAD_BYTES_MIN)
        return view->looks_ahead;
    if (!view->ahead && segment_ahead_create(&view->ahead, NULL))
        view->reads_ahead = false;
    if (!view->ahead)
        return false;
    uint64_t passed = offset - view->window_offset;
    struct segment_ahead_stretch stretch = {
        .seed = view->segment.seed,
        .segment_bytes = view->segment_bytes,
        .offset = offset,
        .bytes = view->window.data + passed,
        .size = view->window.size - (size_t)passed,
    };
    segment_ahead_begin(view->ahead, &stretch);
    view->looks_ahead = true;
    return true;
}

enum error_code segment_view_body(struct segment_view *view,
                                  const struct segment_format_block_header *header,
                                  const uint8_t **raw_out, struct error *error)
{
    const uint8_t *block = NULL;
    enum error_code code =
        segment_view_bytes(view, header->offset, header->size_bytes, &block, error);
    if (code)
        return code;
    if (segment_ahead_pays(header) && look_ahead(view, header->offset)) {
        *raw_out = segment_ahead_take(view->ahead, header);
        if (*raw_out)
            return OK;
    }
    return segment_block_open(header, block, &view->scratch, raw_out, error);
}

/* Find in `size` bytes at `offset`. A header that begins in them and ends behind is not found. */
static bool find_within(const struct segment_view *view, const uint8_t *bytes, size_t size,
                        uint64_t offset, struct segment_format_block_header *header_out)
{
    for (size_t at = 0; at + FORMAT_BLOCK_HEADER_BYTES <= size; at += FORMAT_ALIGNMENT) {
        if (segment_format_decode_block_header(view->segment.seed, bytes + at, offset + at,
                                               view->segment_bytes, header_out) == FORMAT_VALID)
            return true;
    }
    return false;
}

/* Where a part of the range cannot be read: look at each place alone. */
static bool find_singly(const struct segment_view *view, uint64_t from, uint64_t to,
                        struct segment_format_block_header *header_out)
{
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
    for (uint64_t at = from; at + sizeof bytes <= to; at += FORMAT_ALIGNMENT) {
        if (!file_map_copy(&view->map, view->segment.name, at, bytes, sizeof bytes, NULL) &&
            find_within(view, bytes, sizeof bytes, at, header_out))
            return true;
    }
    return false;
}

enum error_code segment_view_find(struct segment_view *view, uint64_t from,
                                  struct segment_format_block_header *header_out,
                                  struct error *error)
{
    uint64_t end = view->segment_bytes < view->map.size ? view->segment_bytes : view->map.size;
    uint64_t offset = bytes_align(from, FORMAT_ALIGNMENT);
    if (offset < FORMAT_SEGMENT_HEADER_BYTES)
        offset = FORMAT_SEGMENT_HEADER_BYTES;
    uint8_t bytes[FIND_BYTES];

    while (offset + FORMAT_BLOCK_HEADER_BYTES <= end) {
        size_t size = end - offset < sizeof bytes ? (size_t)(end - offset) : sizeof bytes;
        bool found = file_map_copy(&view->map, view->segment.name, offset, bytes, size, NULL)
                         ? find_singly(view, offset, offset + size, header_out)
                         : find_within(view, bytes, size, offset, header_out);
        if (found)
            return OK;
        /* The next look starts where no whole header was left. */
        offset += size - (FORMAT_BLOCK_HEADER_BYTES - FORMAT_ALIGNMENT);
    }
    return error_set(error, ERROR_END, "no valid block follows in segment %s", view->segment.name);
}

enum error_code segment_view_trailer(struct segment_view *view,
                                     struct segment_format_trailer *trailer_out,
                                     struct error *error)
{
    const uint8_t *bytes = NULL;
    if (view->segment_bytes < FORMAT_SEGMENT_BYTES_MIN)
        return error_set(error, ERROR_DAMAGED, "the file is too short for a trailer");
    enum error_code code =
        segment_view_bytes(view, view->segment_bytes - FORMAT_TRAILER_BYTES, FORMAT_TRAILER_BYTES,
                           &bytes, error);
    if (code)
        return code;
    switch (segment_format_decode_trailer(view->segment.seed, bytes, trailer_out)) {
    case FORMAT_VALID:
        return OK;
    case FORMAT_ZERO:
        return error_set(error, ERROR_NOT_FOUND, "it has no trailer");
    case FORMAT_NEWER:
        return error_set(error, ERROR_VERSION,
                         "its trailer was written by a newer Daybook; read the log with that");
    case FORMAT_BAD:
        break;
    }
    return error_set(error, ERROR_DAMAGED, "its trailer is damaged");
}

enum error_code segment_view_seal(struct segment_view *view, struct segment_seal *seal_out,
                                  struct error *error)
{
    struct segment_format_block_header header;
    const uint8_t *raw = NULL;
    if (!view->segment.sealed)
        return error_set(error, ERROR_NOT_FOUND, "segment %s is not sealed", view->segment.name);
    enum error_code code =
        segment_view_header(view, view->segment.trailer.seal_offset, &header, error);
    if (!code && header.kind != FORMAT_BLOCK_SEAL)
        code = error_set(error, ERROR_DAMAGED, "it is no seal");
    if (!code)
        code = segment_view_body(view, &header, &raw, error);
    if (!code)
        code = segment_seal_decode(raw, header.raw_bytes, seal_out, error);
    if (code)
        error_prefix(error, "segment %s: the seal at byte %" PRIu64, view->segment.name,
                     view->segment.trailer.seal_offset);
    return code;
}
