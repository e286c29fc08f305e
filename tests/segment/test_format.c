#include <criterion/criterion.h>
#include <string.h>

#include "segment/block.h"

/* The worked example of docs/format.md. */
static const uint8_t example_header[] = {
    0x44, 0x41, 0x59, 0x42, 0x4f, 0x4f, 0x4b, 0x53, 0x91, 0x9f, 0x3e, 0xde, 0x01, 0x00, 0x00,
    0x00, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x61, 0x62, 0x63, 0x64,
    0x65, 0x66, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00,
    0x00, 0x00, 0x00, 0xb0, 0xb0, 0xaf, 0x15, 0x26, 0x7e, 0x63, 0x18, 0x01, 0x00, 0x00, 0x00,
    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};
static const uint8_t example_block[] = {
    0x44, 0x42, 0x4c, 0x4b, 0xc6, 0xcc, 0x41, 0x01, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x91, 0x9f, 0x3e, 0xde,
    0x90, 0x00, 0x00, 0x00, 0x1e, 0x00, 0x00, 0x00, 0x1e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xec, 0x8b, 0xd1, 0x0d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xb0, 0xb0, 0xaf, 0x15, 0x26, 0x7e, 0x63, 0x18, 0xb0, 0xb0, 0xaf, 0x15, 0x26, 0x7e, 0x63, 0x18,
    0x00, 0xf1, 0xb0, 0x15, 0x26, 0x7e, 0x63, 0x18, 0x04, 0x00, 0x00, 0x00, 0x01, 0x01, 0x00, 0x00,
    0xb0, 0xb0, 0xaf, 0x15, 0x26, 0x7e, 0x63, 0x18, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x74, 0x70, 0x81, 0xa1, 0x61, 0x01, 0x61, 0x26, 0xee, 0x3a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

enum { SEGMENT_BYTES = 1 << 20 };

static struct segment_format_segment_header example(void)
{
    struct segment_format_segment_header header = {
        .sequence_first = 1,
        .size_bytes = SEGMENT_BYTES,
        .created_ns = 1757386981642318000,
        .epoch = 1,
        .commit_align = 8,
        .published_bytes = FORMAT_SEGMENT_HEADER_BYTES,
    };
    memcpy(header.log_id, "0123456789abcdef", FORMAT_LOG_ID_BYTES);
    return header;
}

static struct segment_format_block_header a_block_header(void)
{
    return (struct segment_format_block_header){
        .kind = FORMAT_BLOCK_WATERMARK,
        .epoch = 3,
        .offset = 8192,
        .sequence_first = 77,
        .chain = 0xdeadbeef,
        .size_bytes = 104,
        .durable_offset = 8192,
        .arrival_ns = 42,
    };
}

Test(format, writes_the_worked_example_of_the_specification)
{
    struct segment_format_segment_header header = example();
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;

    segment_format_encode_segment_header(&header, bytes, &checksum);
    cr_assert_arr_eq(bytes, example_header, sizeof example_header);

    struct event event = {.topic = "t",
                          .topic_bytes = 1,
                          .payload = "\x81\xa1\x61\x01",
                          .payload_bytes = 4,
                          .time_ns = 1757386981642318000,
                          .producer = "p",
                          .producer_bytes = 1,
                          .number = 1};
    struct segment_block_builder builder = {0};
    cr_assert_eq(segment_block_builder_add(&builder, &event, 1000, NULL), OK);
    struct segment_format_block_header block = {
        .kind = FORMAT_BLOCK_EVENTS,
        .epoch = 1,
        .log_id = bytes_load64(header.log_id),
        .offset = 4096,
        .sequence_first = 1,
        .event_count = 1,
        .chain = checksum,
        .durable_offset = 4096,
        .time_min_ns = builder.time_min_ns,
        .time_max_ns = builder.time_max_ns,
        .arrival_ns = 1757386981642400000,
    };
    struct buffer out = {0};
    cr_assert_eq(segment_format_seed(header.log_id, 1), 0xd1aa58c5);
    cr_assert_eq(segment_block_encode(0xd1aa58c5, &block, builder.raw.data, builder.raw.size,
                                      BLOCK_FAST, 8, &out, NULL),
                 OK);
    cr_assert_eq(out.size, sizeof example_block);
    cr_assert_arr_eq(out.data, example_block, sizeof example_block);
    buffer_release(&out);
    segment_block_builder_release(&builder);
}

Test(format, reads_back_every_field_of_a_segment_header)
{
    struct segment_format_segment_header header = example(), back;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum, checksum_back;

    header.sequence_first = 900;
    header.predecessor = (struct segment_format_predecessor){500, 899, 70000, 0xabcdef01};
    header.published_bytes = 5000;
    header.commit_align = 4096;
    segment_format_encode_segment_header(&header, bytes, &checksum);
    cr_assert_eq(segment_format_decode_segment_header(bytes, &back, &checksum_back), FORMAT_VALID);
    cr_assert_eq(checksum, checksum_back);
    cr_assert_arr_eq(back.log_id, header.log_id, FORMAT_LOG_ID_BYTES);
    cr_assert_eq(back.sequence_first, 900);
    cr_assert_eq(back.size_bytes, SEGMENT_BYTES);
    cr_assert_eq(back.created_ns, header.created_ns);
    cr_assert_eq(back.published_bytes, 5000);
    cr_assert_eq(back.predecessor.sequence_first, 500);
    cr_assert_eq(back.predecessor.sequence_last, 899);
    cr_assert_eq(back.predecessor.end_offset, 70000);
    cr_assert_eq(back.predecessor.chain, 0xabcdef01);
}

Test(format, finds_every_flipped_bit_of_a_segment_header)
{
    struct segment_format_segment_header header = example(), back;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;

    segment_format_encode_segment_header(&header, bytes, &checksum);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(segment_format_decode_segment_header(bytes, &back, &checksum), FORMAT_VALID,
                      "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(format, finds_every_flipped_bit_of_a_block_header)
{
    struct segment_format_block_header header = a_block_header(), back;
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];

    segment_format_encode_block_header(1, &header, bytes);
    cr_assert_eq(segment_format_decode_block_header(1, bytes, 8192, SEGMENT_BYTES, &back),
                 FORMAT_VALID);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(segment_format_decode_block_header(1, bytes, 8192, SEGMENT_BYTES, &back),
                     FORMAT_BAD, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(format, knows_no_block_of_another_segment_or_another_place)
{
    struct segment_format_block_header header = a_block_header(), back;
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];

    segment_format_encode_block_header(1, &header, bytes);
    cr_assert_eq(segment_format_decode_block_header(2, bytes, 8192, SEGMENT_BYTES, &back),
                 FORMAT_BAD);
    cr_assert_eq(segment_format_decode_block_header(1, bytes, 8200, SEGMENT_BYTES, &back),
                 FORMAT_BAD);
}

Test(format, calls_a_version_or_kind_that_it_does_not_know_newer_and_not_damaged)
{
    struct segment_format_block_header header = a_block_header(), back;
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];

    header.kind = (enum segment_format_block_kind)9;
    segment_format_encode_block_header(1, &header, bytes);
    cr_assert_eq(segment_format_decode_block_header(1, bytes, 8192, SEGMENT_BYTES, &back),
                 FORMAT_NEWER);
}

Test(format, tells_zeros_from_damage)
{
    uint8_t zeros[FORMAT_SEGMENT_HEADER_BYTES] = {0};
    struct segment_format_block_header block;
    struct segment_format_segment_header segment;
    struct segment_format_trailer trailer;
    uint32_t checksum;

    cr_assert_eq(segment_format_decode_segment_header(zeros, &segment, &checksum), FORMAT_ZERO);
    cr_assert_eq(segment_format_decode_block_header(1, zeros, 4096, SEGMENT_BYTES, &block),
                 FORMAT_ZERO);
    cr_assert_eq(segment_format_decode_trailer(1, zeros, &trailer), FORMAT_ZERO);
    zeros[50] = 1;
    cr_assert_eq(segment_format_decode_segment_header(zeros, &segment, &checksum), FORMAT_BAD);
    cr_assert_eq(segment_format_decode_block_header(1, zeros, 4096, SEGMENT_BYTES, &block),
                 FORMAT_BAD);
    cr_assert_eq(segment_format_decode_trailer(1, zeros, &trailer), FORMAT_BAD);
}

/* Lies with a right checksum: what a hostile or foreign writer could make. */
Test(format, refuses_lengths_that_do_not_fit_each_other)
{
    static const struct {
        const char *name;
        uint64_t offset;
        uint32_t size, stored, raw, events;
        int kind, codec;
    } lies[] = {
        {"size is not aligned", 8192, 105, 0, 0, 0, FORMAT_BLOCK_WATERMARK, 0},
        {"size is too short", 8192, 96, 0, 0, 0, FORMAT_BLOCK_WATERMARK, 0},
        {"size is too long", 8192, 16384, 0, 0, 0, FORMAT_BLOCK_WATERMARK, 0},
        {"a mark with a body", 8192, 136, 24, 24, 0, FORMAT_BLOCK_STOP, 0},
        {"events without a body", 8192, 104, 0, 0, 1, FORMAT_BLOCK_EVENTS, 0},
        {"a block of no events", 8192, 144, 30, 30, 0, FORMAT_BLOCK_EVENTS, 0},
        {"too many events", 8192, 144, 30, 30, 4097, FORMAT_BLOCK_EVENTS, 0},
        {"a mark with events", 8192, 104, 0, 0, 1, FORMAT_BLOCK_WATERMARK, 0},
        {"raw is too long", 8192, 144, 30, 2000000, 1, FORMAT_BLOCK_EVENTS, 1},
        {"stored is longer than raw", 8192, 144, 30, 20, 1, FORMAT_BLOCK_EVENTS, 1},
        {"raw differs without a codec", 8192, 144, 30, 31, 1, FORMAT_BLOCK_EVENTS, 0},
        {"reaches into the trailer", SEGMENT_BYTES - 160, 104, 0, 0, 0, FORMAT_BLOCK_STOP, 0},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct segment_format_block_header header = a_block_header(), back;
        uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
        header.offset = lies[i].offset;
        header.size_bytes = lies[i].size;
        header.stored_bytes = lies[i].stored;
        header.raw_bytes = lies[i].raw;
        header.event_count = lies[i].events;
        header.kind = (enum segment_format_block_kind)lies[i].kind;
        header.codec = (enum segment_format_codec)lies[i].codec;
        segment_format_encode_block_header(1, &header, bytes);
        cr_assert_eq(
            segment_format_decode_block_header(1, bytes, header.offset, SEGMENT_BYTES, &back),
            FORMAT_BAD, "%s", lies[i].name);
    }
}

Test(format, takes_only_exact_names_for_segments)
{
    static const char *const wrong[] = {
        "1.seg",
        "00000000000000000000.seg",
        "0000000000000000001.seg",
        "000000000000000000001.seg",
        "00000000000000000001.tmp",
        "0000000000000000000x.seg",
        "99999999999999999999.seg",
        "18446744073709551616.seg",
        "04611686018427387905.seg", /* no event has that sequence */
        "0000000000000000000/.seg",
        "00000000000000000001.seg~",
        "prepared.tmp",
        "",
    };
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    uint64_t sequence = 0;

    segment_format_segment_name(EVENT_SEQUENCE_END, name);
    cr_assert_str_eq(name, "04611686018427387904.seg");
    cr_assert(segment_format_parse_segment_name(name, &sequence));
    cr_assert_eq(sequence, EVENT_SEQUENCE_END);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(segment_format_parse_segment_name(wrong[i], &sequence), "%s", wrong[i]);
}

Test(format, refuses_records_that_reach_beyond_their_body)
{
    struct event event = {.topic = "ab", .topic_bytes = 2, .payload = "\xc0", .payload_bytes = 1};
    uint8_t bytes[64];
    struct event back;
    size_t size;

    segment_format_encode_record(&event, bytes);
    size_t whole = segment_format_record_bytes(&event);
    for (size_t available = 0; available < whole; available++)
        cr_assert_eq(segment_format_decode_record(bytes, available, &back, &size, NULL),
                     ERROR_DAMAGED, "%zu bytes", available);
    cr_assert_eq(segment_format_decode_record(bytes, whole, &back, &size, NULL), OK);
    cr_assert_eq(size, whole);
    cr_assert_eq(back.topic_bytes, 2);
    cr_assert_arr_eq(back.topic, "ab", 2);
}

Test(format, refuses_records_whose_names_are_longer_than_a_producers)
{
    char name[200];
    memset(name, 'p', sizeof name);
    struct event event = {.topic = "t",
                          .topic_bytes = 1,
                          .payload = "\xc0",
                          .payload_bytes = 1,
                          .producer = name,
                          .producer_bytes = EVENT_PRODUCER_BYTES_MAX,
                          .number = 1};
    uint8_t bytes[512] = {0};
    struct event back;
    size_t size;

    segment_format_encode_record(&event, bytes);
    cr_assert_eq(segment_format_decode_record(bytes, sizeof bytes, &back, &size, NULL), OK);
    bytes[5] = 200;
    cr_assert_eq(segment_format_decode_record(bytes, sizeof bytes, &back, &size, NULL),
                 ERROR_DAMAGED);
}

Test(format, counts_the_sectors_that_a_range_touches)
{
    cr_assert_eq(segment_format_piece_count(0, 0), 0);
    cr_assert_eq(segment_format_piece_count(0, 1), 1);
    cr_assert_eq(segment_format_piece_count(0, 512), 1);
    cr_assert_eq(segment_format_piece_count(0, 513), 2);
    cr_assert_eq(segment_format_piece_count(511, 2), 2);
    cr_assert_eq(segment_format_piece_count(4200, 1048576), 2049);
}
