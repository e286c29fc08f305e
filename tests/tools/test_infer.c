/* A proposed schema: what it says of typical events, and that all events keep to it. */
#include "tools/daybook/infer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"
#include "core/json.h"
#include "core/msgpack.h"
#include "core/schema.h"

static struct infer *infer;
static struct json_reader *json;
static struct error error;

static void begin(void)
{
    cr_assert_eq(infer_create(&infer, &error), OK);
    cr_assert_eq(json_reader_create(&json, &error), OK);
}

static void end(void)
{
    infer_free(infer);
    json_reader_free(json);
}

TestSuite(infer, .init = begin, .fini = end);

static void add(const char *text)
{
    struct buffer payload = {0};
    cr_assert_eq(json_to_msgpack(json, text, strlen(text), 32, &payload, &error), OK, "%s",
                 error.text);
    cr_assert_eq(infer_add(infer, payload.data, payload.size, &error), OK, "%s", error.text);
    buffer_release(&payload);
}

/* The schema on one line, without the head that all have. */
static void expect(const char *expected)
{
    static const char head[] = "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\"";
    struct buffer text = {0}, packed = {0}, line = {0};
    cr_assert_eq(infer_write(infer, &text, &error), OK, "%s", error.text);
    cr_assert_eq(json_to_msgpack(json, (char *)text.data, text.size, 64, &packed, &error), OK);
    cr_assert_eq(json_from_msgpack(packed.data, packed.size, JSON_COMPACT, &line, &error), OK);
    cr_assert_eq(buffer_append(&line, "", 1, NULL), OK);
    cr_assert_eq(strncmp((char *)line.data, head, sizeof head - 1), 0);
    cr_assert_str_eq((char *)line.data + sizeof head - 1, expected);
    buffer_release(&text);
    buffer_release(&packed);
    buffer_release(&line);
}

Test(infer, tells_what_is_always_there_from_what_is_sometimes)
{
    add("{\"a\":1,\"b\":null}");
    add("{\"b\":\"x\",\"a\":-2.5,\"c\":true}");
    expect(",\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"},"
           "\"b\":{\"type\":[\"string\",\"null\"]},\"c\":{\"type\":\"boolean\"}},"
           "\"required\":[\"a\",\"b\"]}");
}

Test(infer, calls_numbers_never_negative_when_many_are_not)
{
    for (int i = 0; i < INFER_SIGN_SEEN_MIN - 1; i++)
        add("3");
    expect(",\"type\":\"integer\"}");
    add("0");
    expect(",\"type\":\"integer\",\"minimum\":0}");
    add("-1");
    expect(",\"type\":\"integer\"}");
}

Test(infer, takes_few_strings_for_a_list_when_each_comes_often)
{
    for (int i = 0; i < 2 * INFER_VALUE_SHARE; i++)
        add(i % 2 ? "\"buy\"" : "\"sell\"");
    expect(",\"type\":\"string\",\"enum\":[\"sell\",\"buy\"]}");
    add("null");
    expect(",\"type\":[\"string\",\"null\"],\"enum\":[\"sell\",\"buy\",null]}");
    add("\"hold\"");
    expect(",\"type\":[\"string\",\"null\"]}");
}

Test(infer, takes_no_list_of_what_was_always_the_same)
{
    for (int i = 0; i < 3 * INFER_VALUE_SHARE; i++)
        add("\"NOT_EXECUTED\"");
    expect(",\"type\":\"string\"}");
}

Test(infer, knows_times_and_uuids)
{
    add("[\"2026-01-02T03:04:05Z\"]");
    add("[]");
    expect(",\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"date-time\"}}");
    add("[\"c1d1e9a4-3c4b-4a51-9d2c-0a8f6a1b2c3d\"]");
    expect(",\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
}

Test(infer, says_nothing_of_what_json_schema_has_no_words_for)
{
    add("NaN");
    add("1");
    expect("}");
}

Test(infer, has_no_rules_for_objects_with_a_key_twice)
{
    add("{\"a\":1}");
    add("{\"a\":1,\"a\":2}");
    expect(",\"type\":\"object\"}");
}

/* ---- Anything at all ---- */

static uint64_t state;

static unsigned below(unsigned bound)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % bound;
}

static void pack_string(msgpack_packer *packer)
{
    static const char *const texts[] = {"",        "a", "2026-01-02T03:04:05Z", "\xf0\x9f\x9a\x80",
                                        "a long text that is longer than forty bytes are, really",
                                        "c1d1e9a4-3c4b-4a51-9d2c-0a8f6a1b2c3d"};
    const char *text = texts[below(6)];
    msgpack_pack_str(packer, strlen(text));
    msgpack_pack_str_body(packer, text, strlen(text));
}

static void pack_key(msgpack_packer *packer)
{
    char name[200];
    unsigned kind = below(40);
    if (kind == 0) {
        msgpack_pack_int(packer, 7);
        return;
    }
    int bytes = snprintf(name, sizeof name, "%c%0*u", "ab\"/~"[below(5)],
                         kind == 1 ? INFER_NAME_BYTES_MAX + 5 : 1, below(4));
    msgpack_pack_str(packer, (size_t)bytes);
    msgpack_pack_str_body(packer, name, (size_t)bytes);
}

static void pack_anything(msgpack_packer *packer, unsigned depth)
{
    unsigned kind = below(depth < 20 ? 12 : 9), count;
    switch (kind) {
    case 0:
        msgpack_pack_nil(packer);
        break;
    case 1:
        msgpack_pack_true(packer);
        break;
    case 2:
        msgpack_pack_int(packer, (int)below(100) - 20);
        break;
    case 3:
        msgpack_pack_uint64(packer, UINT64_MAX - below(3));
        break;
    case 4:
        msgpack_pack_double(packer, below(20) ? 0.25 * below(9) : NAN);
        break;
    case 5:
        msgpack_pack_bin(packer, 2);
        msgpack_pack_bin_body(packer, "\xff\x00", 2);
        break;
    case 9:
        count = below(4);
        msgpack_pack_array(packer, count);
        for (unsigned i = 0; i < count; i++)
            pack_anything(packer, depth + 1);
        break;
    case 10:
    case 11:
        count = below(6);
        msgpack_pack_map(packer, count);
        for (unsigned i = 0; i < count; i++) {
            pack_key(packer);
            pack_anything(packer, depth + 1);
        }
        break;
    default:
        pack_string(packer);
    }
}

enum { SAMPLES = 60 };

Test(infer, proposes_what_every_event_keeps_to_whatever_they_are)
{
    for (unsigned round = 0; round < 300; round++) {
        struct buffer payloads[SAMPLES] = {0}, text = {0};
        struct schema *schema = NULL;
        struct schema_fault fault;
        end();
        begin();
        state = round;
        for (unsigned i = 0; i < SAMPLES; i++) {
            msgpack_packer packer;
            msgpack_packer_to_buffer(&packer, &payloads[i]);
            pack_anything(&packer, round % 3 * 9);
            cr_assert_eq(infer_add(infer, payloads[i].data, payloads[i].size, &error), OK);
        }
        cr_assert_eq(infer_write(infer, &text, &error), OK, "%s", error.text);
        cr_assert_eq(schema_compile((char *)text.data, text.size, &schema, &error), OK, "%s: %.*s",
                     error.text, (int)text.size, (char *)text.data);
        for (unsigned i = 0; i < SAMPLES; i++) {
            cr_assert(schema_check(schema, payloads[i].data, payloads[i].size, &fault),
                      "round %u: %s: %s (%s)", round, fault.pointer, fault.text, fault.rule);
            buffer_release(&payloads[i]);
        }
        schema_free(schema);
        buffer_release(&text);
    }
}

Test(infer, of_endlessly_different_keys_stays_small)
{
    char text[64];
    for (int i = 0; i < 20 * INFER_NODES_MAX; i++) {
        snprintf(text, sizeof text, "{\"key%d\":{\"x\":%d}}", i, i);
        add(text);
    }
    struct buffer out = {0};
    struct schema *schema = NULL;
    cr_assert_eq(infer_write(infer, &out, &error), OK);
    cr_assert_lt(out.size, (size_t)SCHEMA_TEXT_BYTES_MAX / 4);
    cr_assert_eq(schema_compile((char *)out.data, out.size, &schema, &error), OK, "%s",
                 error.text);
    schema_free(schema);
    buffer_release(&out);
}

/* The deepest payload there may be gives a schema that `schema add` can publish. */
Test(infer, of_deep_events_is_no_deeper_than_an_event_may_be)
{
    char text[512] = "";
    struct buffer out = {0}, packed = {0};
    for (int i = 0; i < EVENT_PAYLOAD_DEPTH_MAX; i++)
        strcat(text, "{\"a\":");
    strcat(text, "1");
    for (int i = 0; i < EVENT_PAYLOAD_DEPTH_MAX; i++)
        strcat(text, "}");
    add(text);
    cr_assert_eq(infer_write(infer, &out, &error), OK);
    cr_assert_eq(json_to_msgpack(json, (char *)out.data, out.size, EVENT_PAYLOAD_DEPTH_MAX - 1,
                                 &packed, &error),
                 OK, "%s", error.text);
    buffer_release(&out);
    buffer_release(&packed);
}
