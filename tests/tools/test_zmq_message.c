/* What the gateway makes of the messages of ZeroMQ programs, and the other way round. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tools/zmq/message.h"

static struct message_reader reader;
static struct event event;
static struct error error;

static void end(void)
{
    message_release(&reader);
}

TestSuite(zmq_message, .fini = end);

static void read_text(const char *text)
{
    cr_assert_eq(message_read(&reader, text, strlen(text), &event, &error), OK, "%s", error.text);
}

static void expect_refused(const char *text, const char *why)
{
    cr_assert_eq(message_read(&reader, text, strlen(text), &event, &error), ERROR_INVALID);
    cr_assert(strstr(error.text, why), "'%s' lacks '%s'", error.text, why);
}

/* The JSON that goes out for an event of this topic and payload. */
static char *write_event(const char *topic, int64_t time_ns, const char *payload)
{
    static struct buffer out;
    struct buffer packed = {0};
    struct json_reader *json;
    cr_assert_eq(json_reader_create(&json, NULL), OK);
    cr_assert_eq(json_to_msgpack(json, payload, strlen(payload), 32, &packed, &error), OK);
    struct daybook_event given = {
        .time_ns = time_ns,
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = packed.data,
        .payload_bytes = packed.size,
    };
    out.size = 0;
    cr_assert_eq(message_write(&given, &out, &error), OK);
    cr_assert_eq(buffer_append(&out, "", 1, NULL), OK);
    json_reader_free(json);
    buffer_release(&packed);
    return (char *)out.data;
}

static void expect_topic(const char *topic)
{
    cr_assert(event.topic_bytes == strlen(topic) && !memcmp(event.topic, topic, event.topic_bytes));
}

Test(zmq_message, takes_topic_and_time_from_the_object_and_the_whole_object_as_payload)
{
    const char *text = "{\"event_type\":\"trade_executed\",\"timestamp\":1757386981.642318,"
                       "\"source\":\"x\",\"data\":{\"n\":1},\"unknown\":null}";
    read_text(text);
    expect_topic("trade_executed");
    cr_assert_eq(event.time_ns, INT64_C(1757386981642318000));
    struct buffer out = {0};
    cr_assert_eq(json_from_msgpack(event.payload, event.payload_bytes, 0, &out, &error), OK);
    cr_assert(out.size == strlen(text) && !memcmp(out.data, text, out.size));
    buffer_release(&out);
}

Test(zmq_message, takes_a_time_in_iso_text)
{
    read_text("{\"event_type\":\"a\",\"timestamp\":\"2025-09-09T03:03:01.642318\"}");
    cr_assert_eq(event.time_ns, INT64_C(1757386981642318000));
}

Test(zmq_message, leaves_the_time_to_arrival_when_it_is_none)
{
    static const char *const TIMES[] = {"null", "\"noon\"", "1e300", "[]", "true", "{\"a\":1}"};
    for (size_t i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
        char text[100];
        snprintf(text, sizeof text, "{\"event_type\":\"a\",\"timestamp\":%s}", TIMES[i]);
        read_text(text);
        cr_assert_eq(event.time_ns, EVENT_TIME_NONE, "%s", TIMES[i]);
    }
    read_text("{\"event_type\":\"a\"}");
    cr_assert_eq(event.time_ns, EVENT_TIME_NONE);
}

Test(zmq_message, refuses_what_is_no_event_and_says_why)
{
    expect_refused("", "");
    expect_refused("hello", "");
    expect_refused("[1]", "an array");
    expect_refused("1", "a single value");
    expect_refused("{}", "no text 'event_type'");
    expect_refused("{\"event_type\":1}", "no text 'event_type'");
    expect_refused("{\"event_type\":\"\"}", "topic");
    expect_refused("{\"event_type\":\"a b\"}", "topic");
    expect_refused("{\"event_type\":\"a\"} x", "");
    expect_refused("{\"event_type\":\"a\",\"n\":1e999}", "");
}

Test(zmq_message, sends_an_object_with_an_event_type_as_it_is_stored)
{
    const char *text = "{\"event_type\":\"other\",\"n\":18446744073709551615,\"x\":0.1}";
    cr_assert_str_eq(write_event("a", 0, text), text);
}

Test(zmq_message, puts_any_other_payload_into_an_object_of_that_shape)
{
    cr_assert_str_eq(write_event("a.b", INT64_C(1757386981642318000), "{\"n\":1}"),
                     "{\"event_type\":\"a.b\",\"timestamp\":1757386981.642318,"
                     "\"source\":\"daybook\",\"data\":{\"n\":1},"
                     "\"correlation_id\":null,\"user_id\":null,\"session_id\":null}");
    cr_assert(strstr(write_event("a", INT64_C(1757386981642318999), "1"), ":1757386981.642318,"),
              "a time is cut, as replay does, and not rounded into the future");
    cr_assert(strstr(write_event("a", -1500000000, "[1]"), "\"timestamp\":-1.500000,"));
    cr_assert(strstr(write_event("a", 0, "{\"event_type\":7}"), "\"data\":{\"event_type\":7}"));
}
