#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "segment/block.h"

enum { SEGMENT_BYTES = 4 << 20, SEED = 99 };

static struct segment_block_builder builder;
static struct segment_format_block_header header;
static struct buffer encoded, scratch;
static enum segment_block_effort effort = BLOCK_FAST;

static void gather(const char *topic, const void *payload, size_t payload_bytes)
{
    struct event event = {.topic = topic,
                          .topic_bytes = strlen(topic),
                          .payload = payload,
                          .payload_bytes = payload_bytes,
                          .time_ns = 1000 + builder.event_count};
    cr_assert_eq(segment_block_builder_add(&builder, &event, FORMAT_BLOCK_RAW_MAX, NULL), OK);
}

static void gather_noise(size_t bytes)
{
    uint8_t *noise = malloc(bytes);
    srand(7);
    for (size_t i = 0; i < bytes; i++)
        noise[i] = (uint8_t)(rand() | 1); /* no zero bytes: a sector is never zero by chance */
    gather("noise", noise, bytes);
    free(noise);
}

static void encode_at(uint64_t offset, uint32_t align)
{
    header = (struct segment_format_block_header){
        .kind = FORMAT_BLOCK_EVENTS,
        .offset = offset,
        .sequence_first = 10,
        .event_count = builder.event_count,
        .time_min_ns = builder.time_min_ns,
        .time_max_ns = builder.time_max_ns,
    };
    encoded.size = 0;
    cr_assert_eq(segment_block_encode(SEED, &header, builder.raw.data, builder.raw.size,
                                      effort, align, &encoded, NULL),
                 OK);
    cr_assert_eq(encoded.size, header.size_bytes);
}

static enum error_code open_again(const uint8_t **raw_out, struct error *error)
{
    struct segment_format_block_header back;

    if (segment_format_decode_block_header(SEED, encoded.data, header.offset, SEGMENT_BYTES,
                                           &back) != FORMAT_VALID)
        return error_set(error, ERROR_DAMAGED, "header");
    return segment_block_open(&back, encoded.data, &scratch, raw_out, error);
}

Test(block, gives_back_the_events_it_was_given)
{
    struct segment_block_cursor cursor;
    const uint8_t *raw;
    struct event event;

    gather("alpha", "\x01", 1);
    gather("beta", "\x02", 1);
    encode_at(4096, 8);
    cr_assert_eq(header.codec, FORMAT_CODEC_NONE, "a lone event is not worth compressing");
    cr_assert_eq(open_again(&raw, NULL), OK);
    segment_block_cursor_init(&cursor, &header, raw);
    cr_assert_eq(segment_block_cursor_next(&cursor, &event, NULL), OK);
    cr_assert_eq(event.sequence, 10);
    cr_assert_arr_eq(event.topic, "alpha", 5);
    cr_assert_eq(segment_block_cursor_next(&cursor, &event, NULL), OK);
    cr_assert_eq(event.sequence, 11);
    cr_assert_eq(event.time_ns, 1001);
    cr_assert_eq(segment_block_cursor_next(&cursor, &event, NULL), ERROR_END);
}

Test(block, is_compressed_when_that_saves_something)
{
    const uint8_t *raw;

    for (int i = 0; i < 100; i++)
        gather("same", "\xa5hello", 6);
    encode_at(4096, 8);
    cr_assert_eq(header.codec, FORMAT_CODEC_LZ4);
    cr_assert_lt(header.stored_bytes, header.raw_bytes / 2);
    cr_assert_eq(open_again(&raw, NULL), OK);
    cr_assert_arr_eq(raw, builder.raw.data, builder.raw.size);
}

Test(block, is_refused_when_it_decompresses_to_something_else_than_its_header_says)
{
    struct segment_format_block_header claimed;
    const uint8_t *raw;
    struct error error;

    for (int i = 0; i < 100; i++)
        gather("same", "\xa5hello", 6);
    encode_at(4096, 8);
    claimed = header;
    claimed.raw_bytes++;
    cr_assert_eq(segment_block_open(&claimed, encoded.data, &scratch, &raw, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "does not decompress to"), "%s", error.text);
    claimed = header;
    claimed.raw_checksum ^= 1;
    cr_assert_eq(segment_block_open(&claimed, encoded.data, &scratch, &raw, &error), ERROR_DAMAGED);
    cr_assert_str_eq(error.text, "checksum mismatch in the decompressed body");
}

Test(block, ends_at_the_commit_boundary_that_was_asked_for)
{
    static const uint32_t aligns[] = {8, 512, 4096};

    gather("a", "\x01", 1);
    for (size_t i = 0; i < 3; i++) {
        encode_at(5000 / 8 * 8, aligns[i]);
        cr_assert_eq((header.offset + header.size_bytes) % aligns[i], 0);
    }
}

Test(block, finds_every_flipped_bit_and_says_where)
{
    const uint8_t *raw;
    struct error error;

    gather("alpha", "\x01", 1);
    gather_noise(900);
    encode_at(4200, 512);
    for (size_t bit = 0; bit < 8 * encoded.size; bit++) {
        encoded.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(open_again(&raw, &error), ERROR_DAMAGED, "bit %zu", bit);
        encoded.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    encoded.data[FORMAT_BLOCK_HEADER_BYTES + 600] ^= 1;
    open_again(&raw, &error);
    cr_assert_str_eq(error.text, "checksum mismatch in the 512 bytes at byte 4608");
}

/* Zero the part of the block that lies in one 512-byte sector of the file. */
static void lose_sector(uint64_t sector)
{
    for (size_t i = 0; i < encoded.size; i++)
        if ((header.offset + i) / 512 == sector)
            encoded.data[i] = 0;
}

Test(block, is_torn_whatever_sectors_behind_the_header_are_missing)
{
    gather_noise(3000);
    encode_at(4096, 8);
    uint64_t first = header.offset / 512, last = (header.offset + encoded.size - 1) / 512;
    uint32_t sectors = (uint32_t)(last - first);
    struct buffer whole = {0};
    buffer_append(&whole, encoded.data, encoded.size, NULL);

    for (uint32_t lost = 1; lost < 1u << sectors; lost++) {
        memcpy(encoded.data, whole.data, whole.size);
        for (uint32_t i = 0; i < sectors; i++)
            if (lost >> i & 1)
                lose_sector(first + 1 + i);
        cr_assert(segment_block_is_torn(&header, encoded.data), "lost sectors %x", lost);
    }
    buffer_release(&whole);
}

Test(block, is_not_torn_when_a_sector_holds_something_else)
{
    gather_noise(3000);
    encode_at(4096, 8);
    encoded.data[1500] ^= 0x10;
    cr_assert_not(segment_block_is_torn(&header, encoded.data));
    lose_sector(header.offset / 512 + 1);
    cr_assert_not(segment_block_is_torn(&header, encoded.data));
}

Test(block, takes_one_event_of_the_largest_size_and_refuses_a_second)
{
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX];
    struct event event = {
        .topic = "t", .topic_bytes = 1, .payload = payload, .payload_bytes = sizeof payload};
    const uint8_t *raw;

    cr_assert_eq(segment_block_builder_add(&builder, &event, 262144, NULL), OK);
    cr_assert_eq(segment_block_builder_add(&builder, &event, 262144, NULL), ERROR_FULL);
    cr_assert_eq(builder.event_count, 1);
    encode_at(4096, 8);
    cr_assert_eq(open_again(&raw, NULL), OK);
}

Test(block, refuses_a_body_that_contradicts_its_count)
{
    struct segment_block_cursor cursor;
    const uint8_t *raw;
    struct event event;

    gather("alpha", "\x01", 1);
    gather("beta", "\x02", 1);
    builder.event_count = 1;
    encode_at(4096, 8);
    cr_assert_eq(open_again(&raw, NULL), OK);
    segment_block_cursor_init(&cursor, &header, raw);
    cr_assert_eq(segment_block_cursor_next(&cursor, &event, NULL), OK);
    cr_assert_eq(segment_block_cursor_next(&cursor, &event, NULL), ERROR_DAMAGED);
}

Test(block, takes_no_more_events_than_a_header_may_name)
{
    struct event event = {.topic = "t", .topic_bytes = 1, .payload = "\x01", .payload_bytes = 1};
    struct error error;

    for (int i = 0; i < FORMAT_BLOCK_EVENTS_MAX; i++)
        gather("t", "\x01", 1);
    cr_assert_eq(segment_block_builder_add(&builder, &event, FORMAT_BLOCK_RAW_MAX, &error),
                 ERROR_FULL);
    cr_assert_eq(builder.event_count, FORMAT_BLOCK_EVENTS_MAX);
    const uint8_t *raw;
    encode_at(4096, 8);
    cr_assert_eq(open_again(&raw, NULL), OK, "the header is one that readers take");
}
