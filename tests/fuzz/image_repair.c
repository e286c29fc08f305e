/*
 * The half of image.h that knows where checksums and links stand.
 */
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "segment/block.h"
#include "tests/fuzz/image.h"

/* Offsets in docs/format.md. */
enum {
    AT_CHECKSUM = 4,
    AT_KIND = 8,
    AT_CODEC = 9,
    AT_LOG_ID = 16,
    AT_OFFSET = 24,
    AT_SEQUENCE = 32,
    AT_EVENTS = 40,
    AT_CHAIN = 44,
    AT_SIZE = 48,
    AT_STORED = 52,
    AT_RAW = 56,
    AT_RAW_CHECKSUM = 60,
    AT_TABLE_CHECKSUM = 64,
};

static uint32_t trailer_bytes(const struct image_file *file)
{
    bool has = (file->flags & IMAGE_TRAILER) &&
               file->bytes_count >= IMAGE_SEGMENT_HEADER_BYTES + FORMAT_TRAILER_BYTES;
    return has ? FORMAT_TRAILER_BYTES : 0;
}

size_t image_blocks(const struct image_file *file, struct image_block *blocks_out,
                    size_t blocks_max)
{
    size_t count = 0;
    uint32_t at = IMAGE_SEGMENT_HEADER_BYTES;
    uint32_t end = file->bytes_count - trailer_bytes(file);
    while (count < blocks_max && at + FORMAT_BLOCK_HEADER_BYTES <= end) {
        uint32_t size = bytes_load32(file->bytes + at + AT_SIZE);
        if (size < FORMAT_BLOCK_HEADER_BYTES || size % FORMAT_ALIGNMENT || size > end - at)
            break;
        blocks_out[count++] = (struct image_block){at, size};
        at += size;
    }
    return count;
}

static void repair_raw(uint8_t *block, uint64_t offset)
{
    struct segment_format_block_header header = {
        .kind = FORMAT_BLOCK_EVENTS,
        .codec = FORMAT_CODEC_LZ4,
        .offset = offset,
        .size_bytes = bytes_load32(block + AT_SIZE),
        .stored_bytes = bytes_load32(block + AT_STORED),
        .raw_bytes = bytes_load32(block + AT_RAW),
        .table_checksum = bytes_load32(block + AT_TABLE_CHECKSUM),
    };
    struct buffer scratch = {0};
    const uint8_t *raw;
    if (header.raw_bytes > 262144)
        return;
    segment_block_open(&header, block, &scratch, &raw, NULL);
    if (scratch.data)
        bytes_store32(block + AT_RAW_CHECKSUM, checksum_extend(0, scratch.data, header.raw_bytes));
    buffer_release(&scratch);
}

/* Stored length, raw length and block size that fit each other, as near as can be. */
static void repair_lengths(uint8_t *block, uint32_t size, uint64_t body_offset)
{
    uint32_t stored = bytes_load32(block + AT_STORED);
    uint32_t room = size - FORMAT_BLOCK_HEADER_BYTES;
    while (stored > room || stored + 4 * segment_format_piece_count(body_offset, stored) > room)
        stored = stored > room ? room : stored - 1;
    bytes_store32(block + AT_STORED, stored);
    if (block[AT_CODEC] == FORMAT_CODEC_NONE || bytes_load32(block + AT_RAW) < stored)
        bytes_store32(block + AT_RAW, stored);
}

static void repair_table(uint8_t *block, uint32_t size, uint64_t body_offset)
{
    uint32_t stored = bytes_load32(block + AT_STORED);
    uint32_t pieces = segment_format_piece_count(body_offset, stored);
    const uint8_t *body = block + FORMAT_BLOCK_HEADER_BYTES;
    uint8_t *table = block + FORMAT_BLOCK_HEADER_BYTES + stored;
    for (uint32_t i = 0, at = 0; i < pieces; i++) {
        uint32_t piece = FORMAT_PIECE_BYTES - (uint32_t)((body_offset + at) % FORMAT_PIECE_BYTES);
        if (piece > stored - at)
            piece = stored - at;
        bytes_store32(table + 4 * (size_t)i, checksum_extend(0, body + at, piece));
        at += piece;
    }
    bytes_store32(block + AT_TABLE_CHECKSUM, pieces ? checksum_extend(0, table, 4 * pieces) : 0);
    memset(table + 4 * (size_t)pieces, 0,
           size - FORMAT_BLOCK_HEADER_BYTES - stored - 4 * (size_t)pieces);
}

struct links {
    uint64_t log_id;
    uint64_t sequence;
    uint32_t chain;
};

static void repair_links(uint8_t *block, uint64_t offset, struct links *links)
{
    memcpy(block, "DBLK", 4);
    bytes_store64(block + AT_LOG_ID, links->log_id);
    bytes_store64(block + AT_OFFSET, offset);
    bytes_store64(block + AT_SEQUENCE, links->sequence);
    bytes_store32(block + AT_CHAIN, links->chain);
    links->sequence += bytes_load32(block + AT_EVENTS);
    if (block[AT_KIND] == FORMAT_BLOCK_GAP && block[AT_CODEC] == FORMAT_CODEC_NONE &&
        bytes_load32(block + AT_STORED) == FORMAT_GAP_BODY_BYTES)
        links->sequence = bytes_load64(block + FORMAT_BLOCK_HEADER_BYTES + 8) + 1;
}

static void repair_block(uint8_t *block, uint32_t size, uint64_t offset, uint32_t seed,
                         struct links *links)
{
    uint64_t body_offset = offset + FORMAT_BLOCK_HEADER_BYTES;
    repair_lengths(block, size, body_offset);
    repair_table(block, size, body_offset);
    if (block[AT_CODEC] == FORMAT_CODEC_LZ4)
        repair_raw(block, offset);
    if (links)
        repair_links(block, offset, links);
    uint32_t checksum = checksum_extend(seed, block + 8, FORMAT_BLOCK_HEADER_BYTES - 8);
    bytes_store32(block + AT_CHECKSUM, checksum);
    if (links)
        links->chain = checksum;
}

static void repair_trailer(const struct image_file *file, uint32_t seed,
                           const struct image_block *last, uint64_t sequence_next, bool links)
{
    uint8_t *trailer = file->bytes + file->bytes_count - FORMAT_TRAILER_BYTES;
    memcpy(trailer, "DEND", 4);
    if (links && last) {
        bytes_store64(trailer + 8,
                      last->at - IMAGE_SEGMENT_HEADER_BYTES + FORMAT_SEGMENT_HEADER_BYTES);
        bytes_store32(trailer + 16, bytes_load32(file->bytes + last->at + AT_CHECKSUM));
        bytes_store64(trailer + 24, sequence_next - 1);
    }
    bytes_store32(trailer + 4, checksum_extend(seed, trailer + 8, FORMAT_TRAILER_BYTES - 8));
}

/* What its predecessor says of itself, in the header of `file`. */
static void link_segments(struct image_file *file, const struct image_file *before)
{
    enum { BLOCKS_MAX = 1024 };
    static struct image_block blocks[BLOCKS_MAX];
    if (before->kind != IMAGE_SEGMENT || before->bytes_count < IMAGE_SEGMENT_HEADER_BYTES)
        return;
    size_t count = image_blocks(before, blocks, BLOCKS_MAX);
    uint8_t *header = file->bytes;
    memcpy(header + 16, before->bytes + 16, FORMAT_LOG_ID_BYTES);
    bytes_store64(header + 64, before->name);
    bytes_store64(header + 72, file->name - 1);
    if (count == 0)
        return;
    const struct image_block *last = &blocks[count - 1];
    bytes_store64(header + 80,
                  last->at + last->size - IMAGE_SEGMENT_HEADER_BYTES + FORMAT_SEGMENT_HEADER_BYTES);
    bytes_store32(header + 88, bytes_load32(before->bytes + last->at + AT_CHECKSUM));
}

static uint32_t header_checksum(const uint8_t *header)
{
    uint8_t whole[FORMAT_SEGMENT_HEADER_BYTES] = {0};
    memcpy(whole, header, IMAGE_SEGMENT_HEADER_BYTES);
    return checksum_extend(checksum_extend(0, whole, 8), whole + 12, sizeof whole - 12);
}

static void repair_segment(struct image_file *file, const struct image_file *before, bool links)
{
    enum { BLOCKS_MAX = 1024 };
    static struct image_block blocks[BLOCKS_MAX];
    if (file->bytes_count < IMAGE_SEGMENT_HEADER_BYTES)
        return;
    uint8_t *header = file->bytes;
    memcpy(header, "DAYBOOKS", 8);
    if (links) {
        bytes_store64(header + 32, file->name);
        bytes_store64(header + 40, file->size);
        if (before)
            link_segments(file, before);
    }
    uint32_t checksum = header_checksum(header);
    bytes_store32(header + 8, checksum);
    uint32_t seed = segment_format_seed(header + 16, bytes_load64(header + 32));
    struct links chain = {bytes_load64(header + 16), bytes_load64(header + 32), checksum};
    size_t count = image_blocks(file, blocks, BLOCKS_MAX);
    for (size_t i = 0; i < count; i++)
        repair_block(file->bytes + blocks[i].at, blocks[i].size,
                     blocks[i].at - IMAGE_SEGMENT_HEADER_BYTES + FORMAT_SEGMENT_HEADER_BYTES, seed,
                     links ? &chain : NULL);
    if (trailer_bytes(file))
        repair_trailer(file, seed, count ? &blocks[count - 1] : NULL, chain.sequence, links);
}

/* "… CHECKSUM\n", over all before the last space. */
static void repair_line(struct image_file *file)
{
    static const char DIGITS[] = "0123456789abcdef";
    uint32_t count = file->bytes_count;
    if (count < 10)
        return;
    uint32_t checksum = checksum_extend(0, file->bytes, count - 10);
    file->bytes[count - 10] = ' ';
    for (int i = 0; i < 8; i++)
        file->bytes[count - 9 + (uint32_t)i] = (uint8_t)DIGITS[checksum >> (28 - 4 * i) & 15];
    file->bytes[count - 1] = '\n';
}

static void repair_page(struct image_file *file, const struct image_file *before, bool links)
{
    enum { CONSTANT_BYTES = 56 };
    if (file->bytes_count < CONSTANT_BYTES)
        return;
    memcpy(file->bytes, "DBKWMARK", 8);
    if (links && before && before->bytes_count >= IMAGE_SEGMENT_HEADER_BYTES)
        memcpy(file->bytes + 16, before->bytes + 16, FORMAT_LOG_ID_BYTES);
    bytes_store32(file->bytes + 12, 0);
    bytes_store32(file->bytes + 12, checksum_extend(0, file->bytes, CONSTANT_BYTES));
}

void image_repair(struct image_file *file, const struct image_file *before, bool links)
{
    switch (file->kind) {
    case IMAGE_SEGMENT:
        repair_segment(file, before, links);
        break;
    case IMAGE_WATERMARK:
        repair_page(file, before, links);
        break;
    case IMAGE_BOUND:
    case IMAGE_CLOCK:
        repair_line(file);
        break;
    case IMAGE_KINDS:
        break;
    }
}
