#include "core/event.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct event good_event(void)
{
    return (struct event){
        .time_ns = EVENT_TIME_NONE,
        .topic = "a.topic",
        .topic_bytes = 7,
        .payload = "\x81\xa1k\x01",
        .payload_bytes = 4,
    };
}

static void expect_refusal(const struct event *event, const char *text)
{
    struct error error = {0};
    cr_assert_eq(event_check(event, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, text);
}

Test(event, is_accepted_when_all_rules_hold)
{
    struct event event = good_event();
    cr_assert_eq(event_check(&event, NULL), OK);
    event.producer = "sensor:7/a";
    event.producer_bytes = 10;
    event.number = 1;
    cr_assert_eq(event_check(&event, NULL), OK);
}

Test(event, names_the_fault_of_its_topic)
{
    char long_topic[300];
    memset(long_topic, 'a', sizeof long_topic);
    static const char ALLOWED[] = "; allowed are A-Z a-z 0-9 _ . : / -";
    const struct {
        const char *topic;
        size_t bytes;
        const char *text, *tail;
    } CASES[] = {
        {"", 0, "the topic is empty", ""},
        {long_topic, 256, "the topic has 256 bytes, more than 255", ""},
        {"a topic", 7, "the topic has a space at position 2", ALLOWED},
        {"x,y", 3, "the topic has ',' at position 2", ALLOWED},
        {"a\0b", 3, "the topic has the byte 0x00 at position 2", ALLOWED},
        {"\xc3\xa9", 2, "the topic has the byte 0xc3 at position 1", ALLOWED},
        {"tab\t", 4, "the topic has the byte 0x09 at position 4", ALLOWED},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s%s", CASES[i].text, CASES[i].tail);
        struct event event = good_event();
        event.topic = CASES[i].topic;
        event.topic_bytes = CASES[i].bytes;
        expect_refusal(&event, text);
    }
    cr_assert_eq(event_check_topic(long_topic, 255, NULL), OK);
}

Test(event, takes_each_allowed_byte_in_a_topic_and_no_other)
{
    static const char ALLOWED[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/-";
    for (int c = 0; c < 256; c++) {
        char topic = (char)c;
        enum error_code expected = c && strchr(ALLOWED, c) ? OK : ERROR_INVALID;
        cr_assert_eq(event_check_topic(&topic, 1, NULL), expected, "byte %d", c);
        cr_assert_eq(event_check_producer(&topic, 1, NULL), expected, "byte %d", c);
    }
}

Test(event, of_a_producer_needs_a_number_and_the_reverse)
{
    struct event event = good_event();
    event.number = 5;
    expect_refusal(&event, "the event has the producer's number 5 but no producer's name");
    event.producer = "p q";
    event.producer_bytes = 1;
    event.number = 0;
    expect_refusal(&event, "the producer 'p' gave no number; its events count from 1");
    event.number = UINT64_MAX;
    expect_refusal(&event, "the producer 'p' gave the number 18446744073709551615; the highest is "
                           "18446744073709551614");
    event.number--;
    cr_assert_eq(event_check(&event, NULL), OK);
    event.producer_bytes = 3;
    event.number = 1;
    expect_refusal(&event, "the producer's name has a space at position 2; allowed are A-Z a-z 0-9 "
                           "_ . : / -");
}

Test(event, limits_the_length_of_a_producers_name)
{
    char name[65];
    memset(name, 'p', sizeof name);
    cr_assert_eq(event_check_producer(name, 64, NULL), OK);
    cr_assert_eq(event_check_producer(name, 65, NULL), ERROR_INVALID);
}

Test(event, payload_is_exactly_one_valid_value)
{
    struct event event = good_event();
    event.payload_bytes = 0;
    expect_refusal(&event, "payload: not msgpack: there is no data");
    event.payload_bytes = 3;
    expect_refusal(&event, "payload: not msgpack at byte 3: the data ends inside a value");
    event.payload = "\x01\x02";
    event.payload_bytes = 2;
    expect_refusal(&event, "payload: not one msgpack value: it ends at byte 1, and 1 more follow");
}

Test(event, payload_has_a_largest_size)
{
    /* A binary of just the size that fits, then one byte more. */
    uint8_t *payload = calloc(1, EVENT_PAYLOAD_BYTES_MAX + 1);
    struct event event = good_event();
    for (uint32_t extra = 0; extra <= 1; extra++) {
        uint32_t content = EVENT_PAYLOAD_BYTES_MAX - 5 + extra;
        payload[0] = 0xc6;
        for (int i = 0; i < 4; i++)
            payload[1 + i] = (uint8_t)(content >> (24 - 8 * i));
        event.payload = payload;
        event.payload_bytes = 5 + content;
        if (extra)
            expect_refusal(&event, "the payload has 1048577 bytes, more than 1048576");
        else
            cr_assert_eq(event_check(&event, NULL), OK);
    }
    free(payload);
}

Test(event, payload_has_a_largest_depth)
{
    uint8_t payload[EVENT_PAYLOAD_DEPTH_MAX + 1];
    memset(payload, 0x91, sizeof payload);
    struct event event = good_event();
    event.payload = payload;
    event.payload_bytes = sizeof payload;
    payload[EVENT_PAYLOAD_DEPTH_MAX] = 0x90;
    expect_refusal(&event,
                   "payload: not msgpack at byte 32: too many arrays and maps inside each other");
    payload[EVENT_PAYLOAD_DEPTH_MAX] = 0xc0;
    cr_assert_eq(event_check(&event, NULL), OK);
}
