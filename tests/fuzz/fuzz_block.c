/*
 * fuzz_block.c - any bytes at all go to the decoders of blocks and of what blocks hold.
 *
 * The first byte says what is repaired before: checksums reject nearly every random input at the
 * first step, so without repair nothing behind them would ever be reached. Nothing may be read
 * outside of the block, and what is accepted must agree with its header.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "segment/block.h"
#include "segment/producers.h"
#include "segment/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPAIR_HEADER = 1, REPAIR_LENGTHS = 2, REPAIR_BODY = 4, REPAIR_RAW = 8 };

/* The block stands at the first place of a segment of the smallest size. */
enum { OFFSET = FORMAT_SEGMENT_HEADER_BYTES, AT_SIZE = 48, AT_STORED = 52, AT_RAW = 56 };

static uint32_t fuzz_seed(void)
{
    static const uint8_t log_id[FORMAT_LOG_ID_BYTES];
    return segment_format_seed(log_id, 1);
}

/* Let stored length, table and size describe the bytes that are there. */
static void repair_lengths(uint8_t *block, size_t size)
{
    size_t body = (size - FORMAT_BLOCK_HEADER_BYTES) * 128 / 132;
    while (body > 0 && FORMAT_BLOCK_HEADER_BYTES + body +
                               4 * segment_format_piece_count(OFFSET + FORMAT_BLOCK_HEADER_BYTES,
                                                              (uint32_t)body) >
                           size)
        body--;
    bytes_store32(block + AT_STORED, (uint32_t)body);
    if (block[9] == FORMAT_CODEC_NONE || bytes_load32(block + AT_RAW) < body)
        bytes_store32(block + AT_RAW, (uint32_t)body);
    bytes_store32(block + AT_SIZE, (uint32_t)(size / FORMAT_ALIGNMENT * FORMAT_ALIGNMENT));
}

/* Let the table and its checksum fit the stored body, as long as both lie within the block. */
static void repair_body(uint8_t *block, size_t size)
{
    uint32_t stored = bytes_load32(block + AT_STORED);
    uint64_t offset = OFFSET + FORMAT_BLOCK_HEADER_BYTES;
    uint32_t pieces = segment_format_piece_count(offset, stored);
    uint8_t *body = block + FORMAT_BLOCK_HEADER_BYTES;
    if ((uint64_t)FORMAT_BLOCK_HEADER_BYTES + stored + 4 * (uint64_t)pieces > size)
        return;
    uint8_t *table = body + stored;
    for (uint32_t i = 0, at = 0; i < pieces; i++) {
        uint32_t piece = FORMAT_PIECE_BYTES - (uint32_t)((offset + at) % FORMAT_PIECE_BYTES);
        if (piece > stored - at)
            piece = stored - at;
        bytes_store32(table + 4 * i, checksum_extend(0, body + at, piece));
        at += piece;
    }
    bytes_store32(block + 64, pieces ? checksum_extend(0, table, 4 * pieces) : 0);
    memset(table + 4 * pieces, 0, size - FORMAT_BLOCK_HEADER_BYTES - stored - 4 * pieces);
}

static void repair_header(uint8_t *block)
{
    memcpy(block, "DBLK", 4);
    bytes_store64(block + 24, OFFSET);
    bytes_store32(block + 4,
                  checksum_extend(fuzz_seed(), block + 8, FORMAT_BLOCK_HEADER_BYTES - 8));
}

static void decode_events(const struct segment_format_block_header *header, const uint8_t *raw)
{
    struct segment_block_cursor cursor;
    struct event event;
    uint32_t count = 0;
    enum error_code code;
    segment_block_cursor_init(&cursor, header, raw);
    while (!(code = segment_block_cursor_next(&cursor, &event, NULL))) {
        const uint8_t *payload = event.payload, *topic = (const uint8_t *)event.topic;
        assert(event.sequence == header->sequence_first + count);
        assert(topic >= raw && payload + event.payload_bytes <= raw + header->raw_bytes);
        count++;
    }
    assert(code == ERROR_END ? count == header->event_count : count <= header->event_count);
}

static void decode_body(const struct segment_format_block_header *header, const uint8_t *raw)
{
    struct segment_producers *producers = NULL;
    struct segment_format_gap gap;
    struct segment_seal seal;
    switch (header->kind) {
    case FORMAT_BLOCK_EVENTS:
        decode_events(header, raw);
        break;
    case FORMAT_BLOCK_GAP:
        if (!segment_format_decode_gap(raw, header->raw_bytes, &gap, NULL))
            assert(gap.sequence_first <= gap.sequence_last);
        break;
    case FORMAT_BLOCK_SEAL:
        if (!segment_seal_decode(raw, header->raw_bytes, &seal, NULL)) {
            assert(segment_seal_bytes(&seal) == header->raw_bytes);
            segment_seal_release(&seal);
        }
        break;
    case FORMAT_BLOCK_PRODUCERS:
        assert(segment_producers_create(&producers, NULL) == OK);
        segment_producers_decode(producers, raw, header->raw_bytes, NULL);
        segment_producers_free(producers);
        break;
    case FORMAT_BLOCK_WATERMARK:
    case FORMAT_BLOCK_STOP:
        assert(header->raw_bytes == 0);
        break;
    }
}

/* `block` is exactly as long as its header says, on the heap, so that ASan watches both ends. */
static void open_block(const struct segment_format_block_header *header, const uint8_t *block)
{
    struct buffer scratch = {0};
    const uint8_t *raw = NULL;
    segment_block_is_torn(header, block);
    if (!segment_block_open(header, block, &scratch, &raw, NULL))
        decode_body(header, raw);
    buffer_release(&scratch);
}

/* What lz4 made of it is known only after decompression: let the checksum say so. */
static void repair_raw(uint8_t *block, const struct segment_format_block_header *header)
{
    struct segment_format_block_header probe = *header;
    struct buffer scratch = {0};
    const uint8_t *raw = NULL;
    segment_block_open(&probe, block, &scratch, &raw, NULL);
    if (scratch.data) {
        scratch.size = header->raw_bytes;
        bytes_store32(block + 60, checksum_extend(0, scratch.data, scratch.size));
    }
    buffer_release(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { BLOCK_BYTES_MAX = (int)FORMAT_SEGMENT_BYTES_MIN - OFFSET - FORMAT_TRAILER_BYTES };
    struct segment_format_block_header header;
    if (size < 1 + FORMAT_BLOCK_HEADER_BYTES || size - 1 > BLOCK_BYTES_MAX)
        return 0;
    uint8_t repair = data[0];
    size -= 1;
    uint8_t *block = malloc(size);
    memcpy(block, data + 1, size);
    if (repair & REPAIR_LENGTHS)
        repair_lengths(block, size);
    if (repair & REPAIR_BODY)
        repair_body(block, size);
    if (repair & REPAIR_HEADER)
        repair_header(block);
    enum segment_format_verdict verdict = segment_format_decode_block_header(
        fuzz_seed(), block, OFFSET, FORMAT_SEGMENT_BYTES_MIN, &header);
    if (verdict == FORMAT_VALID && header.size_bytes <= size) {
        if (repair & REPAIR_RAW) {
            repair_raw(block, &header);
            repair_header(block);
            segment_format_decode_block_header(fuzz_seed(), block, OFFSET, FORMAT_SEGMENT_BYTES_MIN,
                                               &header);
        }
        uint8_t *exact = malloc(header.size_bytes);
        memcpy(exact, block, header.size_bytes);
        open_block(&header, exact);
        free(exact);
    }
    free(block);
    return 0;
}
