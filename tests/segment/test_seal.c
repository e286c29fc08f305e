#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "segment/block.h"
#include "segment/seal.h"

static struct segment_seal seal, back;
static uint64_t next_sequence = 1, next_offset = 4096;

static void add_block(size_t events, const char *topic_format)
{
    struct segment_block_builder builder = {0};
    for (size_t i = 0; i < events; i++) {
        char topic[64];
        snprintf(topic, sizeof topic, topic_format, i);
        struct event event = {.topic = topic,
                              .topic_bytes = strlen(topic),
                              .payload = "\xc0",
                              .payload_bytes = 1,
                              .time_ns = (int64_t)(next_sequence + i) * 10};
        cr_assert_eq(segment_block_builder_add(&builder, &event, FORMAT_BLOCK_RAW_MAX, NULL), OK);
    }
    struct segment_format_block_header header = {.kind = FORMAT_BLOCK_EVENTS,
                                                 .offset = next_offset,
                                                 .sequence_first = next_sequence,
                                                 .event_count = builder.event_count,
                                                 .raw_bytes = (uint32_t)builder.raw.size,
                                                 .time_min_ns = builder.time_min_ns,
                                                 .time_max_ns = builder.time_max_ns,
                                                 .arrival_ns = 5};
    cr_assert_eq(segment_seal_add(&seal, &header, builder.raw.data, NULL), OK);
    next_sequence += events;
    next_offset += 20000;
    segment_block_builder_release(&builder);
}

static void encode_and_decode(void)
{
    struct buffer bytes = {0};
    struct error error;

    cr_assert_eq(segment_seal_encode(&seal, &bytes, NULL), OK);
    cr_assert_eq(bytes.size, segment_seal_bytes(&seal));
    cr_assert_eq(segment_seal_decode(bytes.data, bytes.size, &back, &error), OK, "%s", error.text);
    for (size_t size = 0; size < bytes.size; size++) {
        struct segment_seal cut;
        cr_assert_eq(segment_seal_decode(bytes.data, size, &cut, NULL), ERROR_DAMAGED, "%zu", size);
    }
    buffer_release(&bytes);
}

Test(seal, keeps_totals_directory_and_topics)
{
    segment_seal_init(&seal, 1);
    for (int i = 0; i < 8; i++)
        add_block(3, "topic.%zu");
    encode_and_decode();
    cr_assert_eq(back.event_count, 24);
    cr_assert_eq(back.block_count, 8);
    cr_assert_eq(back.sequence_first, 1);
    cr_assert_eq(back.sequence_last, 24);
    cr_assert_eq(back.time_min_ns, 10);
    cr_assert_eq(back.time_max_ns, 240);
    cr_assert(back.topics_complete);
    cr_assert_eq(back.topic_count, 3);
    cr_assert_eq(back.topics[1].events, 8);
    cr_assert_eq(back.topics[1].sequence_first, 2);
    cr_assert_eq(back.topics[1].sequence_last, 23);
    /* Blocks are 20,000 bytes apart: an entry for every fourth. */
    cr_assert_eq(back.entry_count, 2);
    cr_assert_eq(back.entries[1].sequence_first, 13);
    cr_assert_eq(back.entries[1].time_min_ns, 130);
    cr_assert_eq(back.entries[1].time_max_ns, 240);
}

Test(seal, leaves_topics_out_when_there_are_too_many)
{
    segment_seal_init(&seal, 1);
    add_block(3, "a%zu");
    add_block(4000, "a.very.much.longer.topic.name.%zu");
    cr_assert_not(seal.topics_complete);
    add_block(3, "a%zu"); /* once there are too many there is no going back */
    encode_and_decode();
    cr_assert_not(back.topics_complete);
    cr_assert_eq(back.topic_count, 0);
    cr_assert_eq(back.event_count, 4006);
}

Test(seal, never_grows_more_than_it_said)
{
    segment_seal_init(&seal, 1);
    for (size_t events = 1; events < 200; events += 7) {
        size_t before = segment_seal_bytes(&seal);
        add_block(events, "topic/%zu");
        cr_assert_leq(segment_seal_bytes(&seal) - before,
                      segment_seal_growth_max(events * (24 + 7 + 1), events));
    }
}

Test(seal, of_an_empty_segment_ends_before_it_begins)
{
    segment_seal_init(&seal, 42);
    encode_and_decode();
    cr_assert_eq(back.sequence_first, 42);
    cr_assert_eq(back.sequence_last, 41);
}
