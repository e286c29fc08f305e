#include "segment/block.h"

#include <assert.h>
#include <inttypes.h>
#include <lz4.h>
#include <lz4hc.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"

/* Below this LZ4 finds next to nothing, and a lone event should not wait for it. */
enum { COMPRESS_BYTES_MIN = 512 };
/* Of LZ4's high compression, 3 to 12: docs/decisions/0011-packing.md has what each costs. */
enum { TIGHT_LEVEL = 6 };

enum error_code segment_block_builder_add(struct segment_block_builder *builder,
                                          const struct event *event, size_t raw_max,
                                          struct error *error)
{
    size_t size = segment_format_record_bytes(event);
    bool empty = builder->event_count == 0;

    if (!empty &&
        (builder->raw.size + size > raw_max || builder->event_count == FORMAT_BLOCK_EVENTS_MAX))
        return error_set(error, ERROR_FULL, "the block is full");
    enum error_code code = buffer_reserve(&builder->raw, size, error);
    if (code)
        return code;
    segment_format_encode_record(event, builder->raw.data + builder->raw.size);
    builder->raw.size += size;
    builder->event_count++;
    builder->has_producers |= event->producer_bytes > 0;
    if (empty || event->time_ns < builder->time_min_ns)
        builder->time_min_ns = event->time_ns;
    if (empty || event->time_ns > builder->time_max_ns)
        builder->time_max_ns = event->time_ns;
    return OK;
}

void segment_block_builder_reset(struct segment_block_builder *builder, size_t capacity_keep)
{
    struct buffer raw = builder->raw;

    if (raw.capacity > capacity_keep)
        buffer_release(&raw);
    raw.size = 0;
    *builder = (struct segment_block_builder){.raw = raw};
}

void segment_block_builder_release(struct segment_block_builder *builder)
{
    buffer_release(&builder->raw);
    *builder = (struct segment_block_builder){0};
}

size_t segment_block_encoded_bytes_max(size_t raw_bytes, uint32_t end_align)
{
    size_t pieces = raw_bytes / FORMAT_PIECE_BYTES + 2;
    return FORMAT_BLOCK_HEADER_BYTES + raw_bytes + 4 * pieces + end_align;
}

/* Both give the same format. *packed_out 0: it does not fit into `limit`. */
static enum error_code compress(const void *raw, size_t raw_bytes, enum segment_block_effort effort,
                                uint8_t *to, int limit, int *packed_out, struct error *error)
{
    if (effort == BLOCK_FAST) {
        *packed_out = LZ4_compress_default(raw, (char *)to, (int)raw_bytes, limit);
        return OK;
    }
    void *state = malloc((size_t)LZ4_sizeofStateHC());
    if (!state)
        return error_set(error, ERROR_MEMORY, "no memory for compressing a block");
    *packed_out = LZ4_compress_HC_extStateHC(state, raw, (char *)to, (int)raw_bytes, limit,
                                             TIGHT_LEVEL);
    free(state);
    return OK;
}

/*
 * Put the stored body at `to`: compressed where that saves an eighth, else as it is.
 * `to` has room for raw_bytes.
 */
static enum error_code store_body(struct segment_format_block_header *header, const void *raw,
                                  size_t raw_bytes, enum segment_block_effort effort, uint8_t *to,
                                  struct error *error)
{
    int limit = (int)(raw_bytes - raw_bytes / 8);
    int packed = 0;

    if (raw_bytes >= COMPRESS_BYTES_MIN) {
        enum error_code code = compress(raw, raw_bytes, effort, to, limit, &packed, error);
        if (code)
            return code;
    }
    if (packed > 0) {
        header->codec = FORMAT_CODEC_LZ4;
        header->stored_bytes = (uint32_t)packed;
        header->raw_checksum = checksum_extend(0, raw, raw_bytes);
        return OK;
    }
    header->codec = FORMAT_CODEC_NONE;
    header->stored_bytes = (uint32_t)raw_bytes;
    header->raw_checksum = 0;
    if (raw_bytes > 0)
        memcpy(to, raw, raw_bytes);
    return OK;
}

/* The part of [offset, offset + size) that lies in the same sector as `offset`. */
static uint32_t piece_bytes(uint64_t offset, uint32_t size)
{
    uint32_t to_boundary = FORMAT_PIECE_BYTES - (uint32_t)(offset % FORMAT_PIECE_BYTES);
    return size < to_boundary ? size : to_boundary;
}

/* Write the checksum of each sector's part of the body behind it. Returns the table's size. */
static uint32_t store_table(uint64_t body_offset, const uint8_t *body, uint32_t size, uint8_t *to)
{
    uint32_t pieces = 0;

    while (size > 0) {
        uint32_t piece = piece_bytes(body_offset, size);
        bytes_store32(to + 4 * pieces, checksum_extend(0, body, piece));
        pieces++;
        body += piece;
        body_offset += piece;
        size -= piece;
    }
    return 4 * pieces;
}

enum error_code segment_block_encode(uint32_t seed, struct segment_format_block_header *header,
                                     const void *raw, size_t raw_bytes,
                                     enum segment_block_effort effort, uint32_t end_align,
                                     struct buffer *out, struct error *error)
{
    assert(raw_bytes <= FORMAT_BLOCK_RAW_MAX);
    assert(header->offset % FORMAT_ALIGNMENT == 0);

    enum error_code code =
        buffer_reserve(out, segment_block_encoded_bytes_max(raw_bytes, end_align), error);
    if (code)
        return code;

    uint8_t *block = out->data + out->size;
    uint8_t *body = block + FORMAT_BLOCK_HEADER_BYTES;
    header->raw_bytes = (uint32_t)raw_bytes;
    code = store_body(header, raw, raw_bytes, effort, body, error);
    if (code)
        return code;
    uint8_t *table = body + header->stored_bytes;
    uint32_t table_bytes =
        store_table(header->offset + FORMAT_BLOCK_HEADER_BYTES, body, header->stored_bytes, table);
    header->table_checksum = table_bytes > 0 ? checksum_extend(0, table, table_bytes) : 0;

    uint64_t end = header->offset + FORMAT_BLOCK_HEADER_BYTES + header->stored_bytes + table_bytes;
    header->size_bytes = (uint32_t)(bytes_align(end, end_align) - header->offset);
    memset(table + table_bytes, 0, (size_t)(header->offset + header->size_bytes - end));
    segment_format_encode_block_header(seed, header, block);
    out->size += header->size_bytes;
    return OK;
}

/* Compare each sector's part of the body with its entry; say which is wrong. */
static enum error_code check_pieces(const struct segment_format_block_header *header,
                                    const uint8_t *body, const uint8_t *table, struct error *error)
{
    uint64_t offset = header->offset + FORMAT_BLOCK_HEADER_BYTES;
    uint32_t left = header->stored_bytes;

    for (uint32_t i = 0; left > 0; i++) {
        uint32_t piece = piece_bytes(offset, left);
        if (checksum_extend(0, body, piece) != bytes_load32(table + 4 * i))
            return error_set(error, ERROR_DAMAGED,
                             "checksum mismatch in the %" PRIu32 " bytes at byte %" PRIu64, piece,
                             offset);
        body += piece;
        offset += piece;
        left -= piece;
    }
    return OK;
}

static enum error_code decompress(const struct segment_format_block_header *header,
                                  const uint8_t *body, struct buffer *scratch,
                                  const uint8_t **raw_out, struct error *error)
{
    scratch->size = 0;
    enum error_code code = buffer_reserve(scratch, header->raw_bytes, error);
    if (code)
        return code;
    int size = LZ4_decompress_safe((const char *)body, (char *)scratch->data,
                                   (int)header->stored_bytes, (int)header->raw_bytes);
    if (size < 0 || (uint32_t)size != header->raw_bytes)
        return error_set(error, ERROR_DAMAGED, "the body does not decompress to %" PRIu32 " bytes",
                         header->raw_bytes);
    if (checksum_extend(0, scratch->data, header->raw_bytes) != header->raw_checksum)
        return error_set(error, ERROR_DAMAGED, "checksum mismatch in the decompressed body");
    scratch->size = header->raw_bytes;
    *raw_out = scratch->data;
    return OK;
}

enum error_code segment_block_open(const struct segment_format_block_header *header,
                                   const uint8_t *block, struct buffer *scratch,
                                   const uint8_t **raw_out, struct error *error)
{
    const uint8_t *body = block + FORMAT_BLOCK_HEADER_BYTES;
    const uint8_t *table = body + header->stored_bytes;
    uint32_t table_bytes =
        4 * segment_format_piece_count(header->offset + FORMAT_BLOCK_HEADER_BYTES,
                                       header->stored_bytes);
    const uint8_t *padding = table + table_bytes;

    if (checksum_extend(0, table, table_bytes) != header->table_checksum)
        return error_set(error, ERROR_DAMAGED, "checksum mismatch in the table of checksums");
    enum error_code code = check_pieces(header, body, table, error);
    if (code)
        return code;
    if (!bytes_are_zero(padding, (size_t)(block + header->size_bytes - padding)))
        return error_set(error, ERROR_DAMAGED, "the padding is not zero");
    if (header->codec == FORMAT_CODEC_LZ4)
        return decompress(header, body, scratch, raw_out, error);
    *raw_out = body;
    return OK;
}

/*
 * The table may be torn too. A sector that holds any part of it counts as never written when that
 * part is zero; else its entries are compared with the body.
 */
bool segment_block_is_torn(const struct segment_format_block_header *header, const uint8_t *block)
{
    const uint8_t *body = block + FORMAT_BLOCK_HEADER_BYTES;
    const uint8_t *table = body + header->stored_bytes;
    uint64_t body_offset = header->offset + FORMAT_BLOCK_HEADER_BYTES;
    uint32_t pieces = segment_format_piece_count(body_offset, header->stored_bytes);
    bool table_valid = checksum_extend(0, table, 4 * pieces) == header->table_checksum;
    bool zero_seen = false;

    /* Each sector that the table touches is either as written (then it has a reason to be) or zero.
     */
    uint64_t at = body_offset + header->stored_bytes;
    for (uint32_t left = 4 * pieces; left > 0;) {
        uint32_t part = piece_bytes(at, left);
        zero_seen |= bytes_are_zero(block + (at - header->offset), part);
        at += part;
        left -= part;
    }
    if (!table_valid)
        return zero_seen;

    uint32_t left = header->stored_bytes;
    for (uint32_t i = 0; left > 0; i++) {
        uint32_t piece = piece_bytes(body_offset, left);
        bool as_written = checksum_extend(0, body, piece) == bytes_load32(table + 4 * i);
        bool zero = bytes_are_zero(body, piece);
        if (!as_written && !zero)
            return false;
        zero_seen |= !as_written;
        body += piece;
        body_offset += piece;
        left -= piece;
    }
    return zero_seen;
}

void segment_block_cursor_init(struct segment_block_cursor *cursor,
                               const struct segment_format_block_header *header, const uint8_t *raw)
{
    *cursor = (struct segment_block_cursor){
        .at = raw,
        .end = raw + header->raw_bytes,
        .sequence_next = header->sequence_first,
        .events_left = header->event_count,
    };
}

enum error_code segment_block_cursor_next(struct segment_block_cursor *cursor,
                                          struct event *event_out, struct error *error)
{
    size_t size;

    if (cursor->events_left == 0) {
        if (cursor->at != cursor->end)
            return error_set(error, ERROR_DAMAGED, "%zu bytes behind the block's last event",
                             (size_t)(cursor->end - cursor->at));
        return ERROR_END;
    }
    enum error_code code = segment_format_decode_record(
        cursor->at, (size_t)(cursor->end - cursor->at), event_out, &size, error);
    if (code)
        return error_prefix(error, "event %" PRIu64, cursor->sequence_next);
    event_out->sequence = cursor->sequence_next++;
    cursor->events_left--;
    cursor->at += size;
    return OK;
}
