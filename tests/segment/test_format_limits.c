/*
 * What the decoders of segment/format.h refuse although every checksum is right: each field, one
 * value inside of its range at most, and the first outside.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "segment/format.h"
#include "segment/producers.h"
#include "segment/seal.h"

enum { SEGMENT_BYTES = 1 << 20, SEED = 4711, OFFSET = 8192 };

/* A field, what is put there, and what the decoder says of it. */
struct edit {
    const char *name;
    unsigned at, width;
    uint64_t value;
    enum segment_format_verdict verdict;
};

static void store(uint8_t *bytes, unsigned at, unsigned width, uint64_t value)
{
    if (width == 1)
        bytes[at] = (uint8_t)value;
    else if (width == 2)
        bytes_store16(bytes + at, (uint16_t)value);
    else if (width == 4)
        bytes_store32(bytes + at, (uint32_t)value);
    else
        bytes_store64(bytes + at, value);
}

/* ---- The segment's header ---- */

static void make_segment_header(uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES])
{
    struct segment_format_segment_header header = {
        .sequence_first = 100,
        .size_bytes = SEGMENT_BYTES,
        .epoch = 1,
        .commit_align = 8,
        .published_bytes = FORMAT_SEGMENT_HEADER_BYTES,
        .predecessor = {50, 99, 70000, 5},
    };
    uint32_t checksum;
    segment_format_encode_segment_header(&header, bytes, &checksum);
}

static enum segment_format_verdict decode_segment_header(uint8_t *bytes)
{
    struct segment_format_segment_header header;
    uint32_t checksum = checksum_extend(0, bytes, 8);
    checksum = checksum_extend(checksum, bytes + 12, FORMAT_SEGMENT_HEADER_BYTES - 12);
    bytes_store32(bytes + 8, checksum);
    return segment_format_decode_segment_header(bytes, &header, &checksum);
}

static const struct edit segment_edits[] = {
    {"version", 12, 4, FORMAT_VERSION + 1, FORMAT_NEWER},
    {"version 0", 12, 4, 0, FORMAT_NEWER},
    {"the last sequence there is", 32, 8, EVENT_SEQUENCE_END, FORMAT_VALID},
    {"a sequence beyond", 32, 8, EVENT_SEQUENCE_END + 1, FORMAT_BAD},
    {"no sequence", 32, 8, 0, FORMAT_BAD},
    {"the smallest size", 40, 8, FORMAT_SEGMENT_BYTES_MIN, FORMAT_VALID},
    {"too small", 40, 8, FORMAT_SEGMENT_BYTES_MIN - 4096, FORMAT_BAD},
    {"the largest size", 40, 8, FORMAT_SEGMENT_BYTES_MAX, FORMAT_VALID},
    {"too large", 40, 8, FORMAT_SEGMENT_BYTES_MAX + 4096, FORMAT_BAD},
    {"no multiple of a page", 40, 8, SEGMENT_BYTES + 512, FORMAT_BAD},
    {"any epoch", 56, 4, UINT32_MAX, FORMAT_VALID},
    {"alignment of a sector", 60, 4, 512, FORMAT_VALID},
    {"alignment of a page", 60, 4, 4096, FORMAT_VALID},
    {"another alignment", 60, 4, 1024, FORMAT_BAD},
    {"a predecessor that is not before", 64, 8, 100, FORMAT_BAD},
    {"a predecessor that reaches in", 72, 8, 100, FORMAT_BAD},
    {"reserved bytes", 92, 4, 1, FORMAT_NEWER},
    {"published before the header's end", 96, 8, 4095, FORMAT_BAD},
    {"published up to the trailer", 96, 8, SEGMENT_BYTES - 64, FORMAT_VALID},
    {"published beyond the trailer", 96, 8, SEGMENT_BYTES - 63, FORMAT_BAD},
    {"replaced: only a last sequence", 112, 8, 100, FORMAT_BAD},
    {"replaced: only an end", 120, 8, 1, FORMAT_BAD},
    {"replaced: only a chain", 128, 4, 1, FORMAT_BAD},
    {"packed in another way", 132, 4, 2, FORMAT_NEWER},
    {"a field of the future", 136, 4, 1, FORMAT_NEWER},
    {"… at the page's end", 4088, 8, 1, FORMAT_NEWER},
};

Test(format_limits, of_a_segment_header)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    make_segment_header(bytes);
    cr_assert_eq(decode_segment_header(bytes), FORMAT_VALID);
    for (size_t i = 0; i < sizeof segment_edits / sizeof *segment_edits; i++) {
        const struct edit *edit = &segment_edits[i];
        make_segment_header(bytes);
        store(bytes, edit->at, edit->width, edit->value);
        cr_assert_eq(decode_segment_header(bytes), edit->verdict, "%s", edit->name);
    }
}

Test(format_limits, of_what_a_repaired_segment_replaces)
{
    static const struct {
        uint64_t first, last;
        enum segment_format_verdict verdict;
    } replaced[] = {
        {100, 120, FORMAT_VALID},
        {100, 99, FORMAT_VALID}, /* it held no event */
        {90, 98, FORMAT_BAD},    /* it ended before this one begins */
        {200, 150, FORMAT_BAD},  /* it ends before it begins */
        {100, EVENT_SEQUENCE_END, FORMAT_BAD},
    };
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++) {
        make_segment_header(bytes);
        bytes_store64(bytes + 104, replaced[i].first);
        bytes_store64(bytes + 112, replaced[i].last);
        cr_assert_eq(decode_segment_header(bytes), replaced[i].verdict, "%zu", i);
    }
}

/* ---- A block's header ---- */

static void make_block_header(uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES])
{
    struct segment_format_block_header header = {
        .kind = FORMAT_BLOCK_EVENTS,
        .epoch = 3,
        .offset = OFFSET,
        .sequence_first = 77,
        .event_count = 2,
        .size_bytes = 168,
        .stored_bytes = 60,
        .raw_bytes = 60,
        .durable_offset = OFFSET,
        .time_min_ns = 10,
        .time_max_ns = 20,
    };
    segment_format_encode_block_header(SEED, &header, bytes);
}

static enum segment_format_verdict decode_block_header(uint8_t *bytes)
{
    struct segment_format_block_header header;
    bytes_store32(bytes + 4, checksum_extend(SEED, bytes + 8, FORMAT_BLOCK_HEADER_BYTES - 8));
    return segment_format_decode_block_header(SEED, bytes, OFFSET, SEGMENT_BYTES, &header);
}

static const struct edit block_edits[] = {
    {"no kind", 8, 1, 0, FORMAT_NEWER},
    {"a kind of the future", 8, 1, FORMAT_BLOCK_PRODUCERS + 1, FORMAT_NEWER},
    {"a codec of the future", 9, 1, FORMAT_CODEC_LZ4 + 1, FORMAT_NEWER},
    {"reserved bytes", 10, 2, 1, FORMAT_NEWER},
    {"more reserved bytes", 68, 4, 1, FORMAT_NEWER},
    {"another place", 24, 8, OFFSET + 8, FORMAT_BAD},
    {"no sequence", 32, 8, 0, FORMAT_BAD},
    {"the last sequences there are", 32, 8, EVENT_SEQUENCE_END - 2, FORMAT_VALID},
    {"sequences beyond", 32, 8, EVENT_SEQUENCE_END - 1, FORMAT_BAD},
    {"no event", 40, 4, 0, FORMAT_BAD},
    {"the most events", 40, 4, FORMAT_BLOCK_EVENTS_MAX, FORMAT_VALID},
    {"too many events", 40, 4, FORMAT_BLOCK_EVENTS_MAX + 1, FORMAT_BAD},
    {"events in a stop mark", 8, 1, FORMAT_BLOCK_STOP, FORMAT_BAD},
    {"a size that is no multiple", 48, 4, 172, FORMAT_BAD},
    {"a size smaller than what is in it", 48, 4, 160, FORMAT_BAD},
    {"more padding", 48, 4, 168 + 4088, FORMAT_VALID},
    {"more padding than any alignment gives", 48, 4, 168 + 4096, FORMAT_BAD},
    {"a size beyond the segment", 48, 4, SEGMENT_BYTES, FORMAT_BAD},
    {"stored and raw differ without a codec", 52, 4, 59, FORMAT_BAD},
    {"more stored than raw", 56, 4, 59, FORMAT_BAD},
    {"raw beyond the limit", 56, 4, FORMAT_BLOCK_RAW_MAX + 1, FORMAT_BAD},
    {"durable up to itself", 72, 8, OFFSET, FORMAT_VALID},
    {"durable beyond itself", 72, 8, OFFSET + 1, FORMAT_BAD},
    {"times that are not in order", 80, 8, 21, FORMAT_BAD},
};

Test(format_limits, of_a_block_header)
{
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
    make_block_header(bytes);
    cr_assert_eq(decode_block_header(bytes), FORMAT_VALID);
    for (size_t i = 0; i < sizeof block_edits / sizeof *block_edits; i++) {
        const struct edit *edit = &block_edits[i];
        make_block_header(bytes);
        store(bytes, edit->at, edit->width, edit->value);
        cr_assert_eq(decode_block_header(bytes), edit->verdict, "%s", edit->name);
    }
}

Test(format_limits, of_a_block_header_with_a_codec)
{
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
    make_block_header(bytes);
    bytes[9] = FORMAT_CODEC_LZ4;
    bytes_store32(bytes + 56, FORMAT_BLOCK_RAW_MAX);
    cr_assert_eq(decode_block_header(bytes), FORMAT_VALID);
    /* Something does not come of nothing. */
    bytes_store32(bytes + 52, 0);
    bytes_store32(bytes + 48, 104);
    cr_assert_eq(decode_block_header(bytes), FORMAT_BAD);
}

Test(format_limits, of_a_block_without_a_body)
{
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
    make_block_header(bytes);
    bytes_store32(bytes + 52, 0);
    bytes_store32(bytes + 56, 0);
    bytes_store32(bytes + 48, 104);
    cr_assert_eq(decode_block_header(bytes), FORMAT_BAD, "events without a body");
    bytes[8] = FORMAT_BLOCK_WATERMARK;
    cr_assert_eq(decode_block_header(bytes), FORMAT_BAD, "a watermark that counts events");
    bytes_store32(bytes + 40, 0);
    cr_assert_eq(decode_block_header(bytes), FORMAT_VALID);
    bytes[8] = FORMAT_BLOCK_GAP;
    cr_assert_eq(decode_block_header(bytes), FORMAT_BAD, "a gap without a body");
}

/* ---- Trailer, gap, record, name ---- */

Test(format_limits, of_a_trailer)
{
    static const struct edit edits[] = {
        {"reserved bytes", 20, 4, 1, FORMAT_NEWER},
        {"a field of the future", 56, 8, 1, FORMAT_NEWER},
        {"the last sequence there is", 24, 8, EVENT_SEQUENCE_END - 1, FORMAT_VALID},
        {"a sequence beyond", 24, 8, EVENT_SEQUENCE_END, FORMAT_BAD},
    };
    struct segment_format_trailer trailer = {.seal_offset = 5000, .sequence_last = 9}, back;
    uint8_t bytes[FORMAT_TRAILER_BYTES];
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        segment_format_encode_trailer(SEED, &trailer, bytes);
        store(bytes, edits[i].at, edits[i].width, edits[i].value);
        bytes_store32(bytes + 4, checksum_extend(SEED, bytes + 8, FORMAT_TRAILER_BYTES - 8));
        cr_assert_eq(segment_format_decode_trailer(SEED, bytes, &back), edits[i].verdict, "%s",
                     edits[i].name);
    }
}

Test(format_limits, of_a_gap)
{
    static const struct {
        const char *name;
        uint64_t first, last;
        uint32_t cause, reserved;
        enum error_code code;
        const char *text;
    } gaps[] = {
        {"one sequence", 5, 5, FORMAT_GAP_TORN_TAIL, 0, OK, ""},
        {"the last cause", 5, 9, FORMAT_GAP_DAMAGE, 0, OK, ""},
        {"no cause", 5, 9, 0, 0, ERROR_VERSION, "a cause that this Daybook does not know"},
        {"a cause of the future", 5, 9, FORMAT_GAP_DAMAGE + 1, 0, ERROR_VERSION, "does not know"},
        {"reserved", 5, 9, FORMAT_GAP_DAMAGE, 1, ERROR_VERSION, "does not know"},
        {"no first", 0, 9, FORMAT_GAP_DAMAGE, 0, ERROR_DAMAGED, "from 0 to 9 is impossible"},
        {"backwards", 5, 4, FORMAT_GAP_DAMAGE, 0, ERROR_DAMAGED, "from 5 to 4 is impossible"},
        {"to the end", 5, EVENT_SEQUENCE_END - 1, FORMAT_GAP_DAMAGE, 0, OK, ""},
        {"beyond", 5, EVENT_SEQUENCE_END, FORMAT_GAP_DAMAGE, 0, ERROR_DAMAGED, "is impossible"},
    };
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        uint8_t body[FORMAT_GAP_BODY_BYTES];
        struct segment_format_gap back;
        struct error error = {0};
        bytes_store64(body, gaps[i].first);
        bytes_store64(body + 8, gaps[i].last);
        bytes_store32(body + 16, gaps[i].cause);
        bytes_store32(body + 20, gaps[i].reserved);
        cr_assert_eq(segment_format_decode_gap(body, sizeof body, &back, &error), gaps[i].code,
                     "%s", gaps[i].name);
        cr_assert_not_null(strstr(error.text, gaps[i].text), "%s: %s", gaps[i].name, error.text);
        cr_assert_eq(segment_format_decode_gap(body, sizeof body - 1, &back, &error),
                     ERROR_DAMAGED);
    }
}

Test(format_limits, every_cause_of_a_gap_has_a_name)
{
    for (int cause = FORMAT_GAP_TORN_TAIL; cause <= FORMAT_GAP_DAMAGE; cause++) {
        const char *text = segment_format_gap_cause_text((enum segment_format_gap_cause)cause);
        cr_assert_str_neq(text, "unknown", "%d", cause);
        for (int other = FORMAT_GAP_TORN_TAIL; other < cause; other++)
            cr_assert_str_neq(text,
                              segment_format_gap_cause_text((enum segment_format_gap_cause)other));
    }
    cr_assert_str_eq(segment_format_gap_cause_text((enum segment_format_gap_cause)99), "unknown");
}

Test(format_limits, half_of_an_identity_is_shown_and_no_more)
{
    static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xab,
                                                        0xcd, 0xef, 0xde, 0xad, 0xbe, 0xef,
                                                        0xde, 0xad, 0xbe, 0xef};
    char text[FORMAT_LOG_ID_TEXT + 1];
    segment_format_log_id_text(log_id, text);
    cr_assert_str_eq(text, "00017f80ffabcdef");
}

Test(format_limits, of_a_record)
{
    static const struct edit edits[] = {
        {"no payload", 0, 4, 0, FORMAT_BAD},
        {"a payload beyond the limit", 0, 4, EVENT_PAYLOAD_BYTES_MAX + 1, FORMAT_BAD},
        {"a payload beyond the body", 0, 4, 2, FORMAT_BAD},
        {"no topic", 4, 1, 0, FORMAT_BAD},
        {"reserved bytes", 6, 2, 1, FORMAT_BAD},
    };
    struct event event = {.topic = "t", .topic_bytes = 1, .payload = "\xc0", .payload_bytes = 1};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        uint8_t bytes[64] = {0};
        struct event back;
        size_t size;
        segment_format_encode_record(&event, bytes);
        store(bytes, edits[i].at, edits[i].width, edits[i].value);
        cr_assert_eq(segment_format_decode_record(bytes, segment_format_record_bytes(&event), &back,
                                                  &size, NULL),
                     ERROR_DAMAGED, "%s", edits[i].name);
    }
}

/* ---- Footer and list of producers ---- */

static void make_seal(struct buffer *body)
{
    struct segment_seal seal;
    struct segment_seal_entry entries[] = {{10, 4096, 1, 2}, {12, 90000, 1, 2}};
    segment_seal_init(&seal, 10);
    seal.sequence_last = 13;
    seal.event_count = 4;
    seal.block_count = 2;
    seal.entries = entries;
    seal.entry_count = 2;
    body->size = 0;
    cr_assert_eq(segment_seal_encode(&seal, body, NULL), OK);
}

Test(format_limits, of_a_footer)
{
    static const struct {
        const char *name;
        unsigned at, width;
        uint64_t value;
        enum error_code code;
        const char *text;
    } edits[] = {
        {"a flag of the future", 12, 4, 3, ERROR_VERSION, "fields that this Daybook"},
        {"a field of the future", 72, 4, 1, ERROR_VERSION, "fields that this Daybook"},
        {"no first sequence", 16, 8, 0, ERROR_DAMAGED, "is impossible"},
        {"last before first", 24, 8, 8, ERROR_DAMAGED, "events 10 to 8 is impossible"},
        {"last beyond", 24, 8, EVENT_SEQUENCE_END, ERROR_DAMAGED, "is impossible"},
        {"more entries than bytes", 64, 4, 3, ERROR_DAMAGED, "names 3 blocks"},
        {"fewer entries than bytes", 64, 4, 1, ERROR_DAMAGED, "32 bytes behind the footer"},
        {"more topics than bytes", 68, 4, 1, ERROR_DAMAGED, "names 1 topics"},
        {"an entry before the segment", 80, 8, 9, ERROR_DAMAGED, "names event 9"},
        {"an entry behind the segment", 112, 8, 14, ERROR_DAMAGED, "names event 14"},
        {"sequences that do not ascend", 112, 8, 10, ERROR_DAMAGED, "out of order"},
        {"offsets that do not ascend", 120, 8, 4096, ERROR_DAMAGED, "out of order"},
    };
    struct buffer body = {0};
    struct segment_seal back;
    struct error error;
    make_seal(&body);
    cr_assert_eq(segment_seal_decode(body.data, body.size, &back, &error), OK, "%s", error.text);
    segment_seal_release(&back);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        make_seal(&body);
        store(body.data, edits[i].at, edits[i].width, edits[i].value);
        cr_assert_eq(segment_seal_decode(body.data, body.size, &back, &error), edits[i].code, "%s",
                     edits[i].name);
        cr_assert_not_null(strstr(error.text, edits[i].text), "%s: %s", edits[i].name, error.text);
    }
    buffer_release(&body);
}

Test(format_limits, of_a_list_of_producers)
{
    static const struct {
        const char *name;
        uint8_t name_bytes;
        uint64_t sequence;
        size_t size;
        enum error_code code;
    } lists[] = {
        {"one producer", 1, 5, 18, OK},
        {"the last sequence there is", 1, EVENT_SEQUENCE_END - 1, 18, OK},
        {"a sequence beyond", 1, EVENT_SEQUENCE_END, 18, ERROR_DAMAGED},
        {"no name", 0, 5, 17, ERROR_DAMAGED},
        {"a name that is too long", EVENT_PRODUCER_BYTES_MAX + 1, 5, 17 + 65, ERROR_DAMAGED},
        {"a name beyond the list", 2, 5, 18, ERROR_DAMAGED},
        {"half an entry", 1, 5, 16, ERROR_DAMAGED},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct segment_producers *producers;
        uint8_t body[128];
        memset(body, 'p', sizeof body);
        bytes_store64(body, 3);
        bytes_store64(body + 8, lists[i].sequence);
        body[16] = lists[i].name_bytes;
        cr_assert_eq(segment_producers_create(&producers, NULL), OK);
        cr_assert_eq(segment_producers_decode(producers, body, lists[i].size, NULL), lists[i].code,
                     "%s", lists[i].name);
        segment_producers_free(producers);
    }
}
