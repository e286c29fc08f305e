/*
 * The made-up events: the same everywhere, in order, in chains, and equal as JSON and as msgpack.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "tools/generator.h"

enum { EVENTS = 20000 };
#define START_NS (INT64_C(1767603600) * 1000000000)
#define SPAN_NS  (INT64_C(3600) * 1000000000)

static struct generator *create(enum generator_mode mode, uint64_t seed)
{
    struct generator_options options = {
        .mode = mode, .seed = seed, .count = EVENTS, .start_ns = START_NS, .span_ns = SPAN_NS};
    struct generator *generator = NULL;
    cr_assert_eq(generator_create(&options, &generator, NULL), OK);
    return generator;
}

/* All events as one text: time, topic, payload. */
static struct buffer print_all(enum generator_mode mode, uint64_t seed)
{
    struct buffer out = {0};
    struct generator_event event;
    struct generator *generator = create(mode, seed);
    while (generator_next(generator, &event)) {
        cr_assert_eq(buffer_printf(&out, NULL, "%" PRId64 " %s ", event.time_ns, event.topic), OK);
        cr_assert_eq(generator_payload_json(&event, &out, NULL), OK);
    }
    generator_free(generator);
    return out;
}

static const char *text_of(const struct generator_event *event, const char *key)
{
    for (size_t i = 0; i < event->field_count; i++)
        if (strcmp(event->fields[i].key, key) == 0)
            return event->fields[i].text;
    return NULL;
}

Test(generator, gives_the_same_events_for_the_same_seed_and_others_for_another)
{
    struct buffer first = print_all(GENERATOR_TRADING, 1);
    struct buffer again = print_all(GENERATOR_TRADING, 1);
    struct buffer other = print_all(GENERATOR_TRADING, 2);

    cr_assert_eq(first.size, again.size);
    cr_assert_eq(memcmp(first.data, again.data, first.size), 0);
    cr_assert(first.size != other.size || memcmp(first.data, other.data, first.size) != 0);

    buffer_release(&first);
    buffer_release(&again);
    buffer_release(&other);
}

static void expect_times_in_order(enum generator_mode mode)
{
    struct generator *generator = create(mode, 5);
    struct generator_event event;
    int64_t before = START_NS;
    size_t count = 0;
    for (; generator_next(generator, &event); count++) {
        cr_assert_geq(event.time_ns, before);
        before = event.time_ns;
    }
    cr_assert_leq(before, START_NS + SPAN_NS);
    cr_assert_gt(before, START_NS + SPAN_NS / 10 * 9, "the events fill the span");
    cr_assert_eq(count, EVENTS);
    generator_free(generator);
}

Test(generator, keeps_its_times_in_order_and_within_the_span)
{
    expect_times_in_order(GENERATOR_TRADING);
    expect_times_in_order(GENERATOR_FLAT);
}

static void expect_equal_forms(enum generator_mode mode)
{
    struct generator *generator = create(mode, 3);
    struct json_reader *reader = NULL;
    struct generator_event event;
    struct buffer json = {0}, packed = {0}, converted = {0}, printed = {0};
    cr_assert_eq(json_reader_create(&reader, NULL), OK);
    while (generator_next(generator, &event)) {
        json.size = packed.size = converted.size = printed.size = 0;
        cr_assert_eq(generator_payload_json(&event, &json, NULL), OK);
        cr_assert_eq(generator_payload_msgpack(&event, &packed, NULL), OK);
        cr_assert_eq(
            json_to_msgpack(reader, (const char *)json.data, json.size, 32, &converted, NULL), OK);
        cr_assert_eq(json_from_msgpack(packed.data, packed.size, JSON_COMPACT, &printed, NULL), OK);
        cr_assert_eq(converted.size, packed.size);
        cr_assert_eq(memcmp(converted.data, packed.data, packed.size), 0);
        cr_assert_eq(printed.size, json.size);
        cr_assert_eq(memcmp(printed.data, json.data, json.size), 0);
    }
    json_reader_free(reader);
    generator_free(generator);
    buffer_release(&json);
    buffer_release(&packed);
    buffer_release(&converted);
    buffer_release(&printed);
}

Test(generator, writes_the_same_payload_as_json_and_as_msgpack)
{
    expect_equal_forms(GENERATOR_TRADING);
    expect_equal_forms(GENERATOR_FLAT);
}

/* How far the chain behind each correlation_id has come: an index into `stages`. */
static const char *const stages[] = {"signal_generated", "fire_command", "trade_executed",
                                     "balance_update"};

static size_t stage_of(const char *topic)
{
    size_t stage = 0;
    while (stage < sizeof stages / sizeof *stages && strcmp(stages[stage], topic) != 0)
        stage++;
    return stage;
}

Test(generator, leads_from_a_signal_to_a_command_a_trade_and_a_balance_of_the_same_id)
{
    static size_t next_stage[EVENTS];
    struct generator *generator = create(GENERATOR_TRADING, 4);
    struct generator_event event;
    size_t complete = 0;
    while (generator_next(generator, &event)) {
        size_t stage = stage_of(event.topic);
        if (stage == sizeof stages / sizeof *stages)
            continue;
        const char *id = text_of(&event, "correlation_id");
        cr_assert_not_null(id);
        unsigned long chain = strtoul(strrchr(id, '_') + 1, NULL, 10);
        cr_assert_lt(chain, (unsigned long)EVENTS);
        cr_assert_eq(stage, next_stage[chain], "%s of %s comes in its turn", event.topic, id);
        next_stage[chain]++;
        complete += stage == 3;
    }
    cr_assert_gt(complete, (size_t)EVENTS / 20);
    generator_free(generator);
}

Test(generator, refuses_a_span_without_length)
{
    struct generator_options options = {.count = 1};
    struct generator *generator = NULL;
    struct error error;
    cr_assert_eq(generator_create(&options, &generator, &error), ERROR_INVALID);
    cr_assert(strstr(error.text, "span"));
    cr_assert_null(generator);
}
