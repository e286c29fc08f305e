/* What events of topic "_gap" say, and who may publish them. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/gap.h"

static struct error error;

static struct gap some_gap(void)
{
    return (struct gap){
        .producer = "meter-7",
        .producer_bytes = 7,
        .first = 12,
        .last = EVENT_NUMBER_MAX,
        .count = 3,
        .cause = GAP_DROPPED,
        .reason = "the buffer was full",
        .reason_bytes = 19,
    };
}

Test(gap, that_is_written_is_read_as_it_was)
{
    struct buffer payload = {0};
    struct gap gap = some_gap(), back;
    cr_assert_eq(gap_write(&gap, &payload, &error), OK);
    cr_assert_eq(gap_read(payload.data, payload.size, &back, &error), OK, "%s", error.text);
    cr_assert_eq(back.first, 12);
    cr_assert_eq(back.last, EVENT_NUMBER_MAX);
    cr_assert_eq(back.count, 3);
    cr_assert_eq(back.cause, GAP_DROPPED);
    cr_assert(back.producer_bytes == 7 && !memcmp(back.producer, "meter-7", 7));
    cr_assert(back.reason_bytes == 19 && !memcmp(back.reason, gap.reason, 19));
    buffer_release(&payload);
}

Test(gap, has_a_short_reason_without_half_a_character)
{
    char reason[400];
    for (size_t i = 0; i < sizeof reason; i += 3)
        memcpy(reason + i, "€", i + 3 <= sizeof reason ? 3 : sizeof reason - i);
    struct buffer payload = {0};
    struct gap gap = some_gap(), back;
    gap.reason = reason;
    gap.reason_bytes = sizeof reason;
    cr_assert_eq(gap_write(&gap, &payload, &error), OK);
    cr_assert_eq(gap_read(payload.data, payload.size, &back, &error), OK, "%s", error.text);
    cr_assert_eq(back.reason_bytes, 198);
    buffer_release(&payload);
}

struct wrong {
    const char *payload;
    size_t bytes;
    const char *text;
};
#define BYTES(text) text, sizeof text - 1

Test(gap, of_a_payload_that_makes_no_sense_says_what_is_wrong)
{
    static const struct wrong wrongs[] = {
        {BYTES("\xc0"), "\"producer\""},
        {BYTES("\x80"), "\"producer\""},
        {BYTES("\x81\xa8producer\xc0"), "\"producer\""},
        {BYTES("\x81\xa8producer\xa3"
               "a b"),
         "space"},
        {BYTES("\x81\xa8producer\xa1"
               "a"),
         "\"first\""},
        {BYTES("\x83\xa8producer\xa1"
               "a\xa5"
               "first\x00\xa4last\x02"),
         "\"first\""},
        {BYTES("\x83\xa8producer\xa1"
               "a\xa5"
               "first\x03\xa4last\x02"),
         "in this order"},
        {BYTES("\x83\xa8producer\xa1"
               "a\xa5"
               "first\x03\xa4last\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
         "\"last\""},
        {BYTES("\x84\xa8producer\xa1"
               "a\xa5"
               "first\x01\xa4last\x02\xa5"
               "count\x03"),
         "\"count\""},
        {BYTES("\x83\xa8producer\xa1"
               "a\xa5"
               "first\x01\xa4last\x02"),
         "\"cause\""},
        {BYTES("\x84\xa8producer\xa1"
               "a\xa5"
               "first\x01\xa4last\x02\xa5"
               "cause\xa4lost"),
         "\"refused\" or \"dropped\""},
        {BYTES("\x85\xa8producer\xa1"
               "a\xa5"
               "first\x01\xa4last\x02\xa5"
               "cause\xa7"
               "dropped\xa6reason\x01"),
         "\"reason\""},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        struct gap gap;
        cr_assert_eq(gap_read(wrongs[i].payload, wrongs[i].bytes, &gap, &error), ERROR_INVALID);
        cr_assert_not_null(strstr(error.text, wrongs[i].text), "%zu: %s", i, error.text);
    }
}

static struct event event_of(const char *producer, uint64_t number, const struct buffer *payload)
{
    return (struct event){
        .topic = GAP_TOPIC,
        .topic_bytes = strlen(GAP_TOPIC),
        .producer = producer,
        .producer_bytes = strlen(producer),
        .number = number,
        .payload = payload->data,
        .payload_bytes = payload->size,
    };
}

static void expect_refused(const char *producer, uint64_t number, const struct gap *gap,
                           const char *text)
{
    struct buffer payload = {0};
    struct gap back;
    cr_assert_eq(gap_write(gap, &payload, NULL), OK);
    struct event event = event_of(producer, number, &payload);
    cr_assert_eq(gap_check(&event, NULL), ERROR_INVALID);
    cr_assert_eq(gap_check(&event, &error), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, text), "%s", error.text);
    cr_assert_eq(gap_from_event(&event, &back), producer[0] == '\0', "only the log's writer");
    buffer_release(&payload);
}

Test(gap, may_be_published_by_its_producer_of_itself_and_by_nobody_else)
{
    struct buffer payload = {0};
    struct gap gap = some_gap(), back;
    gap.last = 15;
    cr_assert_eq(gap_write(&gap, &payload, NULL), OK);
    struct event event = event_of("meter-7", 16, &payload);
    cr_assert_eq(gap_check(&event, &error), OK, "%s", error.text);
    cr_assert(gap_from_event(&event, &back));

    expect_refused("meter-7", 15, &gap, "not below its own, 15");
    expect_refused("meter-8", 16, &gap, "names the producer 'meter-7'");
    expect_refused("", 0, &gap, "has no producer");
    gap.cause = GAP_REFUSED;
    expect_refused("meter-7", 16, &gap, "only the log's writer");
    buffer_release(&payload);
}

Test(gap, is_nothing_to_other_topics)
{
    struct event event = {.topic = "_gaps", .topic_bytes = 5};
    struct gap gap;
    cr_assert_eq(gap_check(&event, &error), OK);
    cr_assert_not(gap_from_event(&event, &gap));
}

Test(gap, in_a_payload_too_large_is_not_looked_for)
{
    static uint8_t payload[GAP_PAYLOAD_BYTES_MAX + 1] = {0xdd};
    struct gap gap;
    cr_assert_eq(gap_read(payload, sizeof payload, &gap, &error), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "more than 4096"), "%s", error.text);
}
