#include "core/msgpack_path.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

static struct msgpack_path parsed(const char *text)
{
    struct msgpack_path path;
    struct error error = {0};
    cr_assert_eq(msgpack_path_parse(text, strlen(text), &path, &error), OK, "%s", error.text);
    return path;
}

static const char *canonical(const char *text)
{
    static char written[MSGPACK_PATH_BYTES_MAX + 1];
    struct msgpack_path path = parsed(text);
    struct error error = {0};
    cr_assert_eq(msgpack_path_text(&path, written, &error), OK, "%s", error.text);
    return written;
}

static void pack(const char *json, struct buffer *out)
{
    struct json_reader *reader = NULL;
    struct error error = {0};
    cr_assert_eq(json_reader_create(&reader, &error), OK);
    cr_assert_eq(json_to_msgpack(reader, json, strlen(json), 100, out, &error), OK, "%s",
                 error.text);
    json_reader_free(reader);
}

/* `expected` NULL: it is not there. */
static void expect_found(const char *json, const char *text, const char *expected)
{
    struct msgpack_path path = parsed(text);
    struct msgpack_cursor found;
    struct buffer payload = {0}, value = {0};
    pack(json, &payload);
    enum error_code code = msgpack_path_find(&path, payload.data, payload.size, &found);
    cr_assert_eq(code, expected ? OK : ERROR_NOT_FOUND, "%s in %s", text, json);
    if (expected) {
        json_from_msgpack(found.at, (size_t)(found.end - found.at), JSON_COMPACT, &value, NULL);
        buffer_append(&value, "", 1, NULL);
        cr_assert_str_eq((const char *)value.data, expected, "%s in %s", text, json);
    }
    buffer_release(&payload);
    buffer_release(&value);
}

Test(msgpack_path, of_keys_and_of_sqlite_find_the_same_value)
{
    static const char ORDER[] = "{\"id\":1,"
                                "\"order\":{\"id\":7,\"items\":[{\"p\":1.5},{\"p\":2.5}]},"
                                "\"a.b\":3,\"\":4,\"$x\":5,\"a\\\"b\\\\c\":6,\"a b\":8}";
    static const struct {
        const char *text, *expected;
    } CASES[] = {
        {"id", "1"},
        {"$.id", "1"},
        {"$.\"id\"", "1"},
        {"\"id\"", "1"},
        {"order.id", "7"},
        {"$.order.id", "7"},
        {"order.items[0].p", "1.5"},
        {"order.items[1]", "{\"p\":2.5}"},
        {"order.items[#-1].p", "2.5"},
        {"$.order.items[#-2].p", "1.5"},
        {"order.items[2]", NULL},
        {"order.items[#-3]", NULL},
        {"order.items[#]", NULL},
        {"order.items[#-0]", NULL},
        {"order.items.p", NULL},
        {"order[0]", NULL},
        {"[0]", NULL},
        {"id.x", NULL},
        {"nothing", NULL},
        {"i", NULL},
        {"idd", NULL},
        {"a.b", NULL},
        {"\"a.b\"", "3"},
        {"$.\"a.b\"", "3"},
        {"$.\"\"", "4"},
        {"\"$x\"", "5"},
        {"$.$x", "5"},
        {"\"a\\\"b\\\\c\"", "6"},
        {"a\"b\\c", "6"},
        {"a b", "8"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        expect_found(ORDER, CASES[i].text, CASES[i].expected);
    expect_found("[1,[2,3]]", "[1][0]", "2");
    expect_found("[1,[2,3]]", "$[#-1][#-1]", "3");
    expect_found("17", "$", "17");
    expect_found("null", "$", "null");
    expect_found("{\"a\":null}", "a", "null");
    expect_found("null", "a", NULL);
    expect_found("{}", "a", NULL);
    expect_found("[]", "[0]", NULL);
    expect_found("{\"é\":1}", "é", "1");
}

Test(msgpack_path, finds_the_first_of_equal_keys)
{
    expect_found("{\"a\":1,\"b\":2,\"a\":3}", "a", "1");
    expect_found("{\"a\":{\"x\":1},\"a\":{\"y\":2}}", "a.y", NULL);
}

Test(msgpack_path, has_one_text_for_all_that_mean_the_same)
{
    static const struct {
        const char *text, *expected;
    } CASES[] = {
        {"$.user_id", "user_id"},
        {"$.\"user_id\"", "user_id"},
        {"order.id", "order.id"},
        {"$.a[007].b", "a[7].b"},
        {"[0]", "$[0]"},
        {"$[#-01]", "$[#-1]"},
        {"$[#-0]", "$[#]"},
        {"$", "$"},
        {"$.\"\"", "\"\""},
        {"$.$x.$y", "\"$x\".$y"},
        {"$.\"a.b\".\"c[d\"", "\"a.b\".\"c[d\""},
        {"$.\"a\\\"b\"", "a\"b"},
        {"$.\"\\\"b\\\\\"", "\"\\\"b\\\\\""},
        {"$.a\\b", "a\\b"},
        {"a]b", "a]b"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char once[MSGPACK_PATH_BYTES_MAX + 1];
        strcpy(once, canonical(CASES[i].text));
        cr_assert_str_eq(once, CASES[i].expected);
        cr_assert_str_eq(canonical(once), once);
    }
}

Test(msgpack_path, that_makes_no_sense_is_refused_with_the_place)
{
    static const struct {
        const char *text, *expected;
    } CASES[] = {
        {"", "a path must not be empty"},
        {".", "path '.': byte 1: here a key is missing"},
        {"a.", "path 'a.': byte 3: here a key is missing"},
        {"a..b", "path 'a..b': byte 3: here a key is missing"},
        {"$.", "path '$.': byte 3: here a key is missing"},
        {"$a", "path '$a': byte 2: here there can only be '.' or '['"},
        {"a[", "path 'a[': byte 3: here a number is missing"},
        {"a[]", "path 'a[]': byte 3: here a number is missing"},
        {"a[-1]", "path 'a[-1]': byte 3: here a number is missing"},
        {"a[x]", "path 'a[x]': byte 3: here a number is missing"},
        {"a[#-]", "path 'a[#-]': byte 5: here a number is missing"},
        {"a[#1]", "path 'a[#1]': byte 4: the closing ']' is missing"},
        {"a[1", "path 'a[1': byte 4: the closing ']' is missing"},
        {"a[1]b", "path 'a[1]b': byte 5: here there can only be '.' or '['"},
        {"a[4294967296]", "path 'a[4294967296]': byte 12: no array has so many elements"},
        {"\"a", "path '\"a': byte 3: the key's closing '\"' is missing"},
        {"\"a\\", "path '\"a\\': byte 4: behind a '\\' only '\"' and '\\' are known"},
        {"\"a\\n\"", "path '\"a\\n\"': byte 4: behind a '\\' only '\"' and '\\' are known"},
        {"\"a\"b", "path '\"a\"b': byte 4: behind a quoted key there can only be '.' or '['"},
        {"a\nb", "a path must not have control characters"},
        {"a\x7f", "a path must not have control characters"},
        {"a\xff", "a path must be UTF-8"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct msgpack_path path;
        struct error error = {0};
        const char *text = CASES[i].text;
        cr_assert_eq(msgpack_path_parse(text, strlen(text), &path, &error), ERROR_INVALID, "%s",
                     text);
        cr_assert_str_eq(error.text, CASES[i].expected);
    }
}

Test(msgpack_path, is_bounded_in_bytes_and_in_steps)
{
    struct msgpack_path path;
    struct error error = {0};
    char text[512];
    memset(text, 'k', sizeof text);
    cr_assert_eq(msgpack_path_parse(text, 255, &path, &error), OK);
    cr_assert_eq(msgpack_path_parse(text, 256, &path, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, "a path may have 255 bytes, this one has 256");

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '.' : 'k';
    cr_assert_eq(msgpack_path_parse(text, 63, &path, &error), OK);
    cr_assert_eq(msgpack_path_parse(text, 65, &path, &error), ERROR_INVALID);
    cr_assert(strstr(error.text, "more than 32 steps"), "%s", error.text);

    /* Its quotes come on top: 251 quotation marks behind one that makes quoting necessary. */
    memset(text, '"', sizeof text);
    memcpy(text, "$.\"\\\"", 5);
    for (size_t i = 5; i < 253; i += 2)
        memcpy(text + i, "\\\"", 2);
    cr_assert_eq(msgpack_path_parse(text, 254, &path, &error), OK, "%s", error.text);
    char written[MSGPACK_PATH_BYTES_MAX + 1];
    cr_assert_eq(msgpack_path_text(&path, written, &error), OK, "%s", error.text);
    memset(text, '[', sizeof text);
    memcpy(text, "$.\"", 3);
    text[254] = '"';
    cr_assert_eq(msgpack_path_parse(text, 255, &path, &error), OK, "%s", error.text);
    cr_assert_eq(msgpack_path_text(&path, written, &error), OK, "%s", error.text);
    /* $.a.[… is not possible, but $.$"""" is: unquoted there, quoted and escaped here. */
    memset(text, '"', sizeof text);
    memcpy(text, "$.$", 3);
    cr_assert_eq(msgpack_path_parse(text, 255, &path, &error), OK, "%s", error.text);
    cr_assert_eq(msgpack_path_text(&path, written, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text,
                     "a path may have 255 bytes, this one has 507 when its keys are quoted");
}

/* A copy that ends with its page's last byte would be better still; ASan sees the same. */
static enum error_code find_in(const void *bytes, size_t size, const char *text)
{
    struct msgpack_path path = parsed(text);
    struct msgpack_cursor found = {0};
    uint8_t *copy = malloc(size + !size);
    memcpy(copy, bytes, size);
    enum error_code code = msgpack_path_find(&path, copy, size, &found);
    if (!code)
        cr_assert(found.at >= copy && found.at < found.end && found.end <= copy + size);
    free(copy);
    return code;
}

Test(msgpack_path, in_damaged_payloads_reads_nothing_outside_of_them)
{
    struct buffer payload = {0};
    pack("{\"a\":[1,\"text\",{\"b\":[[],{}]}],\"c\":{\"d\":1e300},\"e\":12345678901234}", &payload);
    for (size_t size = 0; size < payload.size; size++) {
        cr_assert_eq(find_in(payload.data, size, "e"), ERROR_INVALID, "%zu bytes", size);
        find_in(payload.data, size, "a[2].b[#-1]");
        find_in(payload.data, size, "$");
    }
    for (size_t at = 0; at < payload.size; at++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t kept = payload.data[at];
            payload.data[at] = (uint8_t)byte;
            find_in(payload.data, payload.size, "e");
            find_in(payload.data, payload.size, "a[2].b[#-1]");
            payload.data[at] = kept;
        }
    buffer_release(&payload);
    cr_assert_eq(find_in("", 0, "$"), ERROR_INVALID);
    cr_assert_eq(find_in("\xdf\xff\xff\xff\xff", 5, "$"), ERROR_INVALID);
    cr_assert_eq(find_in("\x91\xdd\xff\xff\xff\xff", 6, "$[0]"), ERROR_INVALID);
}

/* Ten million arrays inside each other neither recurse nor overflow anything. */
Test(msgpack_path, steps_over_deep_values_and_over_keys_that_are_no_strings)
{
    enum { DEPTH = 10000000 };
    uint8_t *deep = malloc(DEPTH + 16);
    memcpy(deep, "\x82\xa1""a", 3);
    memset(deep + 3, 0x91, DEPTH);
    memcpy(deep + 3 + DEPTH, "\xc0\xa1""b\x05", 4);
    cr_assert_eq(find_in(deep, DEPTH + 7, "b"), OK);
    cr_assert_eq(find_in(deep, DEPTH + 7, "a"), OK);
    cr_assert_eq(find_in(deep, DEPTH + 7, "c"), ERROR_NOT_FOUND);
    free(deep);
    cr_assert_eq(find_in("\x83\x01\x02\x92\x01\x02\x03\xa1" "b\x05", 10, "b"), OK);
    cr_assert_eq(find_in("\x81\x01\x02", 3, "1"), ERROR_NOT_FOUND);
}
