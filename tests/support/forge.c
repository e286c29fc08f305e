#include "tests/support/forge.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "segment/format.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

enum { AT_CHECKSUM = 4, AT_KIND = 8, AT_CHAIN = 44, AT_SIZE = 48, AT_STORED = 52, AT_TABLE = 64 };

struct segment {
    const char *path;
    uint8_t *bytes;
    uint64_t size;
    uint32_t seed;
};

static void load(struct forge forge, struct segment *segment)
{
    segment->path = logs_segment_path(forge.log_path, forge.segment_first);
    segment->size = scratch_size(segment->path);
    segment->bytes = malloc((size_t)segment->size);
    cr_assert_not_null(segment->bytes);
    scratch_read(segment->path, 0, segment->bytes, (size_t)segment->size);
}

static void store(struct segment *segment)
{
    scratch_write(segment->path, 0, segment->bytes, (size_t)segment->size);
    free(segment->bytes);
}

static void put(uint8_t *at, enum forge_width width, uint64_t value)
{
    for (int i = 0; i < (int)width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* The block at `offset`, if one can stand there: its size, else 0. */
static uint32_t block_size(const struct segment *segment, uint64_t offset)
{
    const uint8_t *block = segment->bytes + offset;
    uint64_t end = segment->size - FORMAT_TRAILER_BYTES;
    if (offset + FORMAT_BLOCK_HEADER_BYTES > end || memcmp(block, "DBLK", 4) != 0)
        return 0;
    uint32_t size = bytes_load32(block + AT_SIZE);
    return size >= FORMAT_BLOCK_HEADER_BYTES && size <= end - offset ? size : 0;
}

static void repair_table(const struct segment *segment, uint64_t offset)
{
    uint8_t *block = segment->bytes + offset;
    uint32_t stored = bytes_load32(block + AT_STORED);
    uint64_t body_offset = offset + FORMAT_BLOCK_HEADER_BYTES;
    uint32_t pieces = segment_format_piece_count(body_offset, stored);
    uint8_t *body = segment->bytes + body_offset, *table = body + stored;
    for (uint32_t i = 0, at = 0; i < pieces; i++) {
        uint32_t piece = FORMAT_PIECE_BYTES - (uint32_t)((body_offset + at) % FORMAT_PIECE_BYTES);
        if (piece > stored - at)
            piece = stored - at;
        bytes_store32(table + 4 * (size_t)i, checksum_extend(0, body + at, piece));
        at += piece;
    }
    bytes_store32(block + AT_TABLE, pieces ? checksum_extend(0, table, 4 * (size_t)pieces) : 0);
}

static uint32_t repair_block(const struct segment *segment, uint64_t offset)
{
    uint8_t *block = segment->bytes + offset;
    uint32_t checksum = checksum_extend(segment->seed, block + 8, FORMAT_BLOCK_HEADER_BYTES - 8);
    bytes_store32(block + AT_CHECKSUM, checksum);
    return checksum;
}

static uint32_t repair_header(struct segment *segment)
{
    uint8_t *header = segment->bytes;
    uint32_t checksum = checksum_extend(0, header, 8);
    checksum = checksum_extend(checksum, header + 12, FORMAT_SEGMENT_HEADER_BYTES - 12);
    bytes_store32(header + 8, checksum);
    segment->seed = segment_format_seed(header + 16, bytes_load64(header + 32));
    return checksum;
}

static void repair_trailer(const struct segment *segment)
{
    uint8_t *trailer = segment->bytes + segment->size - FORMAT_TRAILER_BYTES;
    if (memcmp(trailer, "DEND", 4) == 0)
        bytes_store32(trailer + 4,
                      checksum_extend(segment->seed, trailer + 8, FORMAT_TRAILER_BYTES - 8));
}

/* Header, chain, the trailer's word of the seal. `kept` is a block whose own chain stays. */
static void repair_all(struct segment *segment, uint64_t kept)
{
    uint8_t *trailer = segment->bytes + segment->size - FORMAT_TRAILER_BYTES;
    uint32_t chain = repair_header(segment), size;
    for (uint64_t at = FORMAT_SEGMENT_HEADER_BYTES; (size = block_size(segment, at)) > 0;
         at += size) {
        if (at != kept)
            bytes_store32(segment->bytes + at + AT_CHAIN, chain);
        chain = repair_block(segment, at);
        if (bytes_load64(trailer + 8) == at)
            bytes_store32(trailer + 16, chain);
    }
    repair_trailer(segment);
}

void forge_header(struct forge forge, unsigned at, enum forge_width width, uint64_t value)
{
    struct segment segment;
    load(forge, &segment);
    put(segment.bytes + at, width, value);
    repair_all(&segment, 0);
    store(&segment);
}

void forge_block(struct forge forge, uint64_t offset, unsigned at, enum forge_width width,
                 uint64_t value)
{
    struct segment segment;
    load(forge, &segment);
    put(segment.bytes + offset + at, width, value);
    repair_all(&segment, at == AT_CHAIN ? offset : 0);
    store(&segment);
}

void forge_block_alone(struct forge forge, uint64_t offset, unsigned at, enum forge_width width,
                       uint64_t value)
{
    struct segment segment;
    load(forge, &segment);
    repair_header(&segment);
    put(segment.bytes + offset + at, width, value);
    repair_block(&segment, offset);
    store(&segment);
}

void forge_body(struct forge forge, uint64_t offset, unsigned at, enum forge_width width,
                uint64_t value)
{
    struct segment segment;
    load(forge, &segment);
    put(segment.bytes + offset + FORMAT_BLOCK_HEADER_BYTES + at, width, value);
    repair_table(&segment, offset);
    repair_all(&segment, 0);
    store(&segment);
}

void forge_trailer(struct forge forge, unsigned at, enum forge_width width, uint64_t value)
{
    struct segment segment;
    load(forge, &segment);
    repair_header(&segment);
    put(segment.bytes + segment.size - FORMAT_TRAILER_BYTES + at, width, value);
    repair_trailer(&segment);
    store(&segment);
}

static uint64_t find(struct forge forge, unsigned number, uint8_t kind)
{
    struct segment segment;
    uint64_t at = FORMAT_SEGMENT_HEADER_BYTES, found = 0;
    uint32_t size;
    load(forge, &segment);
    for (unsigned i = 0; !found && (size = block_size(&segment, at)) > 0; i++, at += size)
        if (kind ? segment.bytes[at + AT_KIND] == kind : i == number)
            found = at;
    free(segment.bytes);
    cr_assert_neq(found, 0, "there is no such block");
    return found;
}

uint64_t forge_find(struct forge forge, unsigned number)
{
    return find(forge, number, 0);
}

uint64_t forge_find_kind(struct forge forge, uint8_t kind)
{
    return find(forge, 0, kind);
}
