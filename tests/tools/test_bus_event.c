/* tools/bus_event.h: the JSON of events on the ZeroMQ bus. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "tools/bus_event.h"

static struct json_reader *reader;

/* What an event with this payload looks like on the bus. */
static const char *on_bus(const char *json, int64_t time_ns)
{
    static struct buffer packed, out;
    packed.size = out.size = 0;
    if (!reader)
        cr_assert_eq(json_reader_create(&reader, NULL), OK);
    cr_assert_eq(json_to_msgpack(reader, json, strlen(json), 32, &packed, NULL), OK);
    struct event event = {.time_ns = time_ns,
                          .topic = "a.b",
                          .topic_bytes = 3,
                          .payload = packed.data,
                          .payload_bytes = packed.size};
    cr_assert_eq(bus_event_append(&event, json, strlen(json), &out, NULL), OK);
    cr_assert_eq(buffer_append(&out, "", 1, NULL), OK);
    return (const char *)out.data;
}

static const char *wrapped(const char *timestamp, const char *data)
{
    static char text[300];
    snprintf(text, sizeof text,
             "{\"event_type\":\"a.b\",\"timestamp\":%s,\"source\":\"daybook\",\"data\":%s,"
             "\"correlation_id\":null,\"user_id\":null,\"session_id\":null}",
             timestamp, data);
    return text;
}

Test(bus_event, leaves_as_it_came)
{
    static const char *const ours[] = {
        "{\"event_type\":\"x\"}",
        "{\"data\":{\"deep\":[1,{\"event_type\":2}]},\"event_type\":\"x\",\"more\":1}",
    };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        cr_assert_str_eq(on_bus(ours[i], 5), ours[i]);
}

Test(bus_event, is_made_of_any_other_event)
{
    static const char *const others[] = {
        "{}", "1", "null", "[\"event_type\",\"x\"]", "{\"event_type\":1}",
        "{\"a\":{\"event_type\":\"x\"}}", "{\"event_typ\":\"x\"}", "\"event_type\"",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_assert_str_eq(on_bus(others[i], INT64_C(1767603600642318999)),
                         wrapped("1767603600.642318", others[i]), "%zu", i);
}

Test(bus_event, has_its_time_in_seconds)
{
    cr_assert_str_eq(on_bus("1", 0), wrapped("0.000000", "1"));
    cr_assert_str_eq(on_bus("1", -1500000), wrapped("-0.001500", "1"));
    cr_assert_str_eq(on_bus("1", INT64_MAX), wrapped("9223372036.854775", "1"));
    cr_assert_str_eq(on_bus("1", INT64_MIN), wrapped("-9223372036.854775", "1"));
}

Test(bus_event, survives_payloads_that_are_cut_short)
{
    static const uint8_t cut[] = {0x82, 0xa1, 'a', 0x01, 0xaa, 'e', 'v'};
    for (size_t size = 0; size <= sizeof cut; size++)
        cr_assert_not(bus_event_is_one(cut, size));
}
