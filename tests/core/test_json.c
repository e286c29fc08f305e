#include "core/json.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/msgpack.h"

enum { DEPTH_MAX = 32 };

static struct json_reader *new_reader(void)
{
    struct json_reader *reader = NULL;
    cr_assert_eq(json_reader_create(&reader, NULL), OK);
    return reader;
}

static enum error_code convert(const char *text, size_t bytes, struct buffer *out,
                               struct error *error)
{
    struct json_reader *reader = new_reader();
    enum error_code code = json_to_msgpack(reader, text, bytes, DEPTH_MAX, out, error);
    json_reader_free(reader);
    return code;
}

/* The text that comes back when `text` has gone through msgpack. */
static char *there_and_back(const char *text, size_t bytes)
{
    struct buffer msgpack = {0}, json = {0};
    struct error error = {0};
    cr_assert_eq(convert(text, bytes, &msgpack, &error), OK, "%s: %s", text, error.text);
    cr_assert_eq(msgpack_check(msgpack.data, msgpack.size, DEPTH_MAX, &error), OK, "%s: %s", text,
                 error.text);
    cr_assert_eq(json_from_msgpack(msgpack.data, msgpack.size, JSON_COMPACT, &json, &error), OK,
                 "%s: %s", text, error.text);
    char *back = strndup((const char *)json.data, json.size);
    buffer_release(&msgpack);
    buffer_release(&json);
    return back;
}

static void expect_back(const char *text, const char *expected)
{
    char *back = there_and_back(text, strlen(text));
    cr_assert_str_eq(back, expected);
    free(back);
}

Test(json, comes_back_as_it_went_in)
{
    static const char *const TEXTS[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "127",
        "128",
        "-32",
        "-33",
        "65535",
        "65536",
        "4294967295",
        "4294967296",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775808",
        "1.0",
        "-0.0",
        "0.1",
        "88.5",
        "1757386981.642318",
        "0.30000000000000004",
        "3.141592653589793",
        "123456789.12345679",
        "1e+22",
        "1e+15",
        "999999999999999.0",
        "1.7976931348623157e+308",
        "2.2250738585072014e-308",
        "4.94065645841247e-324",
        "1e-05",
        "0.0001",
        "\"\"",
        "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
        "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f/\x7f\"",
        "[]",
        "{}",
        "[[],{},[[1]],{\"a\":{\"b\":[]}}]",
        "{\"b\":1,\"a\":2,\"b\":3}",
        "{\"\":0,\"a\\u0000b\":1,\"a\":2}",
        "[NaN,Infinity,-Infinity,\"NaN\",\"-Infinity\",\"\\\"NaN\"]",
        "NaN",
        "-Infinity",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        expect_back(TEXTS[i], TEXTS[i]);
}

Test(json, is_written_in_one_way)
{
    static const char *const PAIRS[][2] = {
        {" [ 1 , 2 ]\r\n\t", "[1,2]"},
        {"{ \"a\" : [ ] }", "{\"a\":[]}"},
        {"1E5", "100000.0"},
        {"1e22", "1e+22"},
        {"0.10", "0.1"},
        {"-0", "-0.0"},
        {"[0e-999,-0.0e5]", "[0.0,-0.0]"},
        {"1.00000000000000000000000000000001", "1.0"},
        {"5e-324", "4.94065645841247e-324"},
        {"\"\\u00e9\\u20AC\\ud83d\\uDE00\\/\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\""},
    };
    for (size_t i = 0; i < sizeof PAIRS / sizeof PAIRS[0]; i++)
        expect_back(PAIRS[i][0], PAIRS[i][1]);
}

Test(json, is_refused_with_the_reason_and_the_place)
{
    static const struct {
        const char *text, *reason;
    } CASES[] = {
        {"", "not JSON: the text is empty"},
        {"  ", "not JSON: the text is empty"},
        {"\r\n", "not JSON: the text is empty"},
        {"[NaN\xc3\xa9]", "not JSON at byte 1 ('N'): invalid char in json text"},
        {"# comment", "not JSON at byte 0 ('#'): invalid char in json text"},
        {"// comment", "not JSON at byte 1 ('/'): probable comment found in input text, comments "
                       "are not enabled"},
        {"{\"a\":1} # c", "not JSON at byte 8 ('#'): something follows the value; one is expected"},
        {"{\"a\":", "not JSON at byte 5: premature end, the text is cut off"},
        {"{\"pair\":\"XAU", "not JSON at byte 12: premature end, the text is cut off"},
        {"[1,2", "not JSON at byte 4: premature end, the text is cut off"},
        {"tru", "not JSON at byte 3: invalid string in json text"},
        {"{\"a\":1}}", "not JSON at byte 7 ('}'): something follows the value; one is expected"},
        {"{} {}", "not JSON at byte 3 ('{'): something follows the value; one is expected"},
        {"{}\"w", "not JSON at byte 4: something follows the value; one is expected"},
        {"\"w", "not JSON at byte 2: premature end, the text is cut off"},
        {"1 2", "not JSON at byte 3: something follows the value; one is expected"},
        {"01", "not JSON at byte 2: something follows the value; one is expected"},
        {"[1,]", "not JSON at byte 3 (']'): unallowed token at this point in JSON text"},
        {"[1 2]", "not JSON at byte 3 ('2'): after array element, I expect ',' or ']'"},
        {"{1:2}", "not JSON at byte 1 ('1'): invalid object key (must be a string)"},
        {"['a']", "not JSON at byte 1 ('''): invalid char in json text"},
        {"\"a\nb\"", "not JSON at byte 2: invalid character inside string"},
        {"\"\\u12g4\"",
         "not JSON at byte 5 ('g'): invalid (non-hex) character occurs after '\\u' inside string"},
        {"[1.]", "not JSON at byte 3 (']'): malformed number, a digit is required after the "
                 "decimal point"},
        {"\xef\xbb\xbf{}", "not JSON at byte 0: invalid char in json text"},
        {"[\"\xff\"]", "not JSON at byte 2: the text is not UTF-8"},
        {"[\"\xc0\x80\"]", "not JSON at byte 2: the text is not UTF-8"},
        {"[\"\xed\xa0\x80\"]", "not JSON at byte 2: the text is not UTF-8"},
        {"\"\\ud800\"",
         "not usable JSON at byte 1: the escape \\ud800 is half of a surrogate pair"},
        {"\"\\uDC00\"",
         "not usable JSON at byte 1: the escape \\uDC00 is half of a surrogate pair"},
        {"\"\\ud800\\u0041\"",
         "not usable JSON at byte 1: the escape \\ud800 is half of a surrogate pair"},
        {"\"\\udc00\\udc00\"",
         "not usable JSON at byte 1: the escape \\udc00 is half of a surrogate pair"},
        {"\"\\ud83d\\ude00\\ud83d\"",
         "not usable JSON at byte 13: the escape \\ud83d is half of a surrogate pair"},
        {"[18446744073709551616]", "not usable JSON at byte 1: the integer 18446744073709551616 "
                                   "does not fit into 64 bits"},
        {"-9223372036854775809", "not usable JSON at byte 0: the integer -9223372036854775809 "
                                 "does not fit into 64 bits"},
        {"[0,1e999]", "not usable JSON at byte 3: the number 1e999 is too large for a double"},
        {"[0,1e-400]", "not usable JSON at byte 3: the number 1e-400 is too small for a double"},
        {"-0.01E-330", "not usable JSON at byte 0: the number -0.01E-330 is too small for a "
                       "double"},
        {"[-NaN]", "not JSON at byte 2 ('N'): malformed number, a digit is required after the "
                   "minus sign"},
        {"[NaN5]", "not JSON at byte 1 ('N'): invalid char in json text"},
        {"[1NaN]", "not JSON at byte 2 ('N'): invalid char in json text"},
        {"[Infinity0]", "not JSON at byte 1 ('I'): invalid char in json text"},
        {"[1-Infinity]", "not JSON at byte 3 ('I'): malformed number, a digit is required after "
                         "the minus sign"},
        {"[nan]", "not JSON at byte 2 ('a'): invalid string in json text"},
        {"{NaN:1}", "not JSON at byte 3 ('N'): invalid object key (must be a string)"},
        {"[NaN,1e999]", "not usable JSON at byte 5: the number 1e999 is too large for a double"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct buffer out = {0};
        struct error error = {0};
        cr_assert_eq(convert(CASES[i].text, strlen(CASES[i].text), &out, &error), ERROR_INVALID,
                     "%s was accepted", CASES[i].text);
        cr_expect_str_eq(error.text, CASES[i].reason, "%s gives: %s", CASES[i].text, error.text);
        cr_assert_eq(out.size, 0);
        buffer_release(&out);
    }
}

Test(json, keeps_what_was_in_the_buffer_when_it_is_refused)
{
    struct buffer out = {0};
    buffer_append(&out, "before", 6, NULL);
    cr_assert_eq(convert("[1,2,[3,", 8, &out, NULL), ERROR_INVALID);
    cr_assert_eq(out.size, 6);
    cr_assert_eq(convert("7", 1, &out, NULL), OK);
    cr_assert_arr_eq(out.data, "before\x07", 7);
    buffer_release(&out);
}

Test(json, reader_is_as_good_after_an_error_as_before)
{
    static const char *const TEXTS[] = {"[1,[2",   "{\"a\":\"b", "[1",   "NaN",
                                        "[1] [2]", "\x01",       "1e999"};
    struct json_reader *reader = new_reader();
    struct buffer out = {0};
    for (size_t i = 0; i < 7 * 7; i++) {
        const char *text = TEXTS[i % 7];
        json_to_msgpack(reader, text, strlen(text), DEPTH_MAX, &out, NULL);
        out.size = 0;
        cr_assert_eq(json_to_msgpack(reader, "[12]", 4, DEPTH_MAX, &out, NULL), OK);
        cr_assert_arr_eq(out.data, "\x91\x0c", 2);
        out.size = 0;
        /* A number at the very end is only complete when the text is over. */
        cr_assert_eq(json_to_msgpack(reader, "12", 2, DEPTH_MAX, &out, NULL), OK);
        cr_assert_arr_eq(out.data, "\x0c", 1);
        out.size = 0;
    }
    buffer_release(&out);
    json_reader_free(reader);
}

Test(json, is_limited_in_depth)
{
    char text[2 * 200];
    struct json_reader *reader = new_reader();
    struct buffer out = {0};
    struct error error = {0};
    for (unsigned depth = 1; depth <= 200; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        out.size = 0;
        enum error_code expected = depth <= 32 ? OK : ERROR_INVALID;
        cr_assert_eq(json_to_msgpack(reader, text, 2 * depth, 32, &out, &error), expected);
        expected = depth <= MSGPACK_DEPTH_LIMIT ? OK : ERROR_INVALID;
        out.size = 0;
        cr_assert_eq(json_to_msgpack(reader, text, 2 * depth, UINT32_MAX, &out, &error), expected);
    }
    cr_assert_str_eq(error.text,
                     "not usable JSON: arrays and objects lie too deep inside each other; a "
                     "payload may have 32 levels");
    buffer_release(&out);
    json_reader_free(reader);
}

/* An array or object with `count` elements, inside an array, as text. */
static void make_container(struct buffer *text, bool is_object, unsigned count)
{
    buffer_printf(text, NULL, "[%s", is_object ? "{" : "[");
    for (unsigned i = 0; i < count; i++)
        if (is_object)
            buffer_printf(text, NULL, "%s\"%u\":%u", i ? "," : "", i, i);
        else
            buffer_printf(text, NULL, "%s%u", i ? "," : "", i);
    buffer_printf(text, NULL, "%s,null]", is_object ? "}" : "]");
}

Test(json, makes_room_for_the_heads_of_large_containers)
{
    static const unsigned COUNTS[] = {0, 1, 15, 16, 17, 65535, 65536, 70000};
    for (size_t i = 0; i < 2 * sizeof COUNTS / sizeof COUNTS[0]; i++) {
        struct buffer text = {0};
        make_container(&text, i % 2, COUNTS[i / 2]);
        char *back = there_and_back((const char *)text.data, text.size);
        cr_assert_eq(strlen(back), text.size);
        cr_assert_arr_eq(back, text.data, text.size);
        free(back);
        buffer_release(&text);
    }
}

/* A random double of any size, or a decimal of a few digits as people measure them. */
static double random_double(void)
{
    double value;
    uint64_t bits = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
    memcpy(&value, &bits, sizeof value);
    if (random() % 2)
        value = (double)(random() % 100000000) / pow(10, (double)(random() % 9));
    return value;
}

Test(json, keeps_each_double_to_the_last_bit)
{
    srandom(42);
    for (int i = 0; i < 200000; i++) {
        double value = random_double();
        if (!isfinite(value))
            continue;
        struct buffer msgpack = {0}, json = {0}, again = {0};
        msgpack_packer packer;
        msgpack_packer_to_buffer(&packer, &msgpack);
        msgpack_pack_double(&packer, value);
        cr_assert_eq(json_from_msgpack(msgpack.data, msgpack.size, JSON_COMPACT, &json, NULL), OK);
        buffer_append(&json, "", 1, NULL);
        cr_assert_eq(strtod((const char *)json.data, NULL), value, "%.17g", value);
        if (i % 16 == 0) {
            cr_assert_eq(convert((const char *)json.data, json.size - 1, &again, NULL), OK);
            cr_assert_eq(again.size, msgpack.size, "%s", (const char *)json.data);
            cr_assert_arr_eq(again.data, msgpack.data, msgpack.size);
        }
        buffer_release(&msgpack);
        buffer_release(&json);
        buffer_release(&again);
    }
}

/* A decimal that printf finds with 15 digits is never written longer than that. */
Test(json, writes_the_digits_of_a_double_that_printf_would_find)
{
    srandom(43);
    for (int i = 0; i < 100000; i++) {
        double value = random_double();
        if (!(fabs(value) < 1e14) || fabs(value) < 1e-3)
            continue;
        char expected[64];
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(expected, sizeof expected, "%.*g", digits, value);
            if (strtod(expected, NULL) == value)
                break;
        }
        if (!strpbrk(expected, ".e"))
            strcat(expected, ".0");
        struct buffer msgpack = {0}, json = {0};
        msgpack_packer packer;
        msgpack_packer_to_buffer(&packer, &msgpack);
        msgpack_pack_double(&packer, value);
        json_from_msgpack(msgpack.data, msgpack.size, JSON_COMPACT, &json, NULL);
        buffer_append(&json, "", 1, NULL);
        cr_assert_str_eq((const char *)json.data, expected);
        buffer_release(&msgpack);
        buffer_release(&json);
    }
}

/* A program's locale may have a decimal comma. Make one, for few machines have it installed. */
static bool use_decimal_comma(char *directory)
{
    char command[200];
    snprintf(command, sizeof command,
             "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' >/dev/null 2>&1", directory);
    if (system(command) < 0 || setenv("LOCPATH", directory, 1))
        return false;
    return setlocale(LC_ALL, "de_DE.UTF-8") && strcmp(localeconv()->decimal_point, ",") == 0;
}

static void remove_directory(const char *directory)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    cr_assert_eq(system(command), 0);
}

Test(json, has_points_in_numbers_whatever_the_locale)
{
    char directory[] = "/var/tmp/daybook-locale-XXXXXX";
    cr_assert_not_null(mkdtemp(directory));
    bool comma = use_decimal_comma(directory);
    /* Without localedef and its sources this is the same as the tests above. */
    expect_back("[1.5,0.1,1.25e+40,3.141592653589793]", "[1.5,0.1,1.25e+40,3.141592653589793]");
    if (comma)
        cr_assert_eq(strtod("1,5", NULL), 1.5, "the test's own locale");
    remove_directory(directory);
}

static void expect_json(const char *msgpack, size_t size, enum json_style style,
                        const char *expected)
{
    struct buffer json = {0};
    struct error error = {0};
    cr_assert_eq(json_from_msgpack(msgpack, size, style, &json, &error), OK, "%s", error.text);
    buffer_append(&json, "", 1, NULL);
    cr_assert_str_eq((const char *)json.data, expected);
    buffer_release(&json);
}

#define MSGPACK(text) text, sizeof text - 1

Test(json, has_forms_for_what_only_msgpack_has)
{
    static const struct {
        const char *msgpack;
        size_t size;
        const char *json;
    } CASES[] = {
        {MSGPACK("\xc4\x00"), "{\"$bin\":\"\"}"},
        {MSGPACK("\xc4\x01\xff"), "{\"$bin\":\"/w==\"}"},
        {MSGPACK("\xc4\x02\xff\x00"), "{\"$bin\":\"/wA=\"}"},
        {MSGPACK("\xc4\x03\xff\x00\x10"), "{\"$bin\":\"/wAQ\"}"},
        {MSGPACK("\xd4\xfe\x01"), "{\"$ext\":[-2,\"AQ==\"]}"},
        {MSGPACK("\xca\x3f\x80\x00\x00"), "1.0"},
        {MSGPACK("\xca\x3d\xcc\xcc\xcd"), "0.10000000149011612"},
        {MSGPACK("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), "NaN"},
        {MSGPACK("\xcb\xff\xf8\x00\x00\x00\x00\x00\x00"), "NaN"},
        {MSGPACK("\x84\x01\x02\xc0\x03\xc3\x04\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x05"),
         "{\"1\":2,\"null\":3,\"true\":4,\"1.5\":5}"},
        {MSGPACK("\x82\x92\x01\x02\xc0\xc4\x01\xff\x91\x01"),
         "{\"$msgpack:kgEC\":null,\"$msgpack:xAH/\":[1]}"},
        {MSGPACK("\xa3"
                 "a\xff"
                 "b"),
         "\"a\xef\xbf\xbd"
         "b\""},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        expect_json(CASES[i].msgpack, CASES[i].size, JSON_COMPACT, CASES[i].json);
}

Test(json, has_null_for_what_is_no_number_when_strict)
{
    expect_json(MSGPACK("\x92\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
                        "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"),
                JSON_STRICT, "[null,null]");
}

Test(json, is_indented_by_two_spaces_when_pretty)
{
    expect_json(MSGPACK("\x83\xa1"
                        "a\x92\x01\x02\xa1"
                        "b\x80\xa1"
                        "c\x91\x81\xa1"
                        "d\xc0"),
                JSON_PRETTY,
                "{\n"
                "  \"a\": [\n"
                "    1,\n"
                "    2\n"
                "  ],\n"
                "  \"b\": {},\n"
                "  \"c\": [\n"
                "    {\n"
                "      \"d\": null\n"
                "    }\n"
                "  ]\n"
                "}");
}

Test(json, of_broken_msgpack_is_an_error_and_leaves_the_buffer)
{
    static const struct {
        const char *msgpack;
        size_t size;
    } CASES[] = {
        {MSGPACK("")},      {MSGPACK("\x92\x01")},         {MSGPACK("\x81\xa1x")},
        {MSGPACK("\xc1")},  {MSGPACK("\x01\x02")},         {MSGPACK("\xdd\xff\xff\xff\xff")},
        {MSGPACK("\xa5x")}, {MSGPACK("\x81\x91\xc1\x01")},
    };
    struct buffer json = {0};
    buffer_append(&json, "x", 1, NULL);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        cr_assert_eq(json_from_msgpack(CASES[i].msgpack, CASES[i].size, JSON_COMPACT, &json, NULL),
                     ERROR_INVALID, "case %zu", i);
        cr_assert_eq(json.size, 1);
    }
    buffer_release(&json);
}

/* Quoting such keys as text would double the output with each level. */
Test(json, of_keys_inside_keys_stays_small)
{
    enum { LEVELS = 100 };
    uint8_t msgpack[2 * LEVELS + 1];
    memset(msgpack, 0x81, LEVELS);
    memset(msgpack + LEVELS, 0xc0, LEVELS + 1);
    struct buffer json = {0};
    cr_assert_eq(json_from_msgpack(msgpack, sizeof msgpack, JSON_COMPACT, &json, NULL), OK);
    cr_assert_lt(json.size, 4 * sizeof msgpack);
    buffer_release(&json);
}

Test(json, string_is_quoted_with_bad_bytes_replaced)
{
    struct buffer out = {0};
    cr_assert_eq(json_append_string(&out, "a\"\n\xc3\xa9\xff\xfe\x01", 8, NULL), OK);
    buffer_append(&out, "", 1, NULL);
    cr_assert_str_eq((const char *)out.data, "\"a\\\"\\n\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\\u0001\"");
    buffer_release(&out);
}

/* The parser's memory is reserved in advance: what needs most of it must still fit. */
Test(json, has_room_for_the_deepest_and_the_most_escaped_text)
{
    enum { LEVELS = MSGPACK_DEPTH_LIMIT, ESCAPES = 40000 };
    struct json_reader *reader = new_reader();
    struct buffer text = {0}, out = {0};
    struct error error = {0};

    for (int i = 0; i < LEVELS; i++)
        cr_assert_eq(buffer_printf(&text, NULL, "[\"\\n\","), OK);
    cr_assert_eq(buffer_append(&text, "\"", 1, NULL), OK);
    for (int i = 0; i < ESCAPES; i++)
        cr_assert_eq(buffer_append(&text, "\\n", 2, NULL), OK);
    size_t unfinished = text.size;
    cr_assert_eq(buffer_append(&text, "\"", 1, NULL), OK);
    for (int i = 0; i < LEVELS; i++)
        cr_assert_eq(buffer_append(&text, "]", 1, NULL), OK);
    cr_assert_eq(json_to_msgpack(reader, (const char *)text.data, text.size, LEVELS, &out, &error),
                 OK, "%s", error.text);
    cr_assert_gt(out.size, (size_t)ESCAPES);
    cr_assert_eq(json_to_msgpack(reader, (const char *)text.data, unfinished, LEVELS, &out, &error),
                 ERROR_INVALID);
    json_reader_free(reader);
    buffer_release(&text);
    buffer_release(&out);
}

Test(json, a_line_of_white_space_is_blank)
{
    cr_assert(json_is_blank("", 0));
    cr_assert(json_is_blank(" \t\r", 3));
    cr_assert_not(json_is_blank(" x", 2));
    cr_assert_not(json_is_blank("\r0", 2));
}

Test(json, has_a_place_for_a_lone_number_wherever_its_text_lies)
{
    char text[] = "1e999";
    struct buffer out = {0};
    struct error error = {0};
    cr_assert_eq(convert(text, strlen(text), &out, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text,
                     "not usable JSON at byte 0: the number 1e999 is too large for a double");
    buffer_release(&out);
}

static uint64_t noise_state = 1;

static uint32_t noise(uint32_t below)
{
    noise_state = noise_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(noise_state >> 33) % below;
}

static void put_big(struct buffer *out, uint8_t head, uint64_t value, size_t size)
{
    cr_assert_eq(buffer_append(out, &head, 1, NULL), OK);
    for (size_t i = size; i-- > 0;) {
        uint8_t byte = (uint8_t)(value >> 8 * i);
        cr_assert_eq(buffer_append(out, &byte, 1, NULL), OK);
    }
}

/* Mostly plain; sometimes what needs an escape, or is no ASCII. */
static void put_text(struct buffer *out, size_t bytes)
{
    static const char *const ODD[] = {"\"", "\\", "\n", "\x01", "\x1f", "\x7f", "\xc3\xa4"};
    const char *odd = noise(4) ? "" : ODD[noise(sizeof ODD / sizeof *ODD)];
    size_t odd_bytes = strlen(odd) <= bytes ? strlen(odd) : 0;
    char text[256];
    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)(' ' + 2 + noise(58));
    memcpy(text + noise((uint32_t)(bytes - odd_bytes + 1)), odd, odd_bytes);
    for (size_t i = 0; i < bytes; i++)
        text[i] = text[i] == '"' && !odd_bytes ? '_' : text[i];
    cr_assert_eq(buffer_append(out, text, bytes, NULL), OK);
}

static double some_double(void)
{
    static const double ODD[] = {0.0, -0.0, 1e15, 1e-4, 9.9e-5, 1e6, 999999.999999999, 1e300,
                                 5e-324, 0.1, 1.0 / 3, 123456.7890125, NAN, INFINITY, -INFINITY};
    double places = 1;
    for (uint32_t k = noise(10); k > 0; k--)
        places *= 10;
    double decimal = (double)noise(1000000000) / places;
    switch (noise(4)) {
    case 0:
        return ODD[noise(sizeof ODD / sizeof *ODD)];
    case 1:
        return (double)noise(UINT32_MAX) * (double)noise(UINT32_MAX) / (1.0 + noise(UINT32_MAX));
    default:
        return noise(2) ? decimal : -decimal;
    }
}

static void put_scalar(struct buffer *out)
{
    static const uint8_t WORDS[] = {0xc0, 0xc2, 0xc3, 0x00, 0x7f, 0xe0, 0xff};
    uint64_t number = (uint64_t)noise(UINT32_MAX) << 32 | noise(UINT32_MAX);
    double real = some_double();
    float single = (float)real;
    uint32_t single_bits;
    size_t bytes = noise(40);
    switch (noise(8)) {
    case 0:
        put_big(out, WORDS[noise(sizeof WORDS)], 0, 0);
        return;
    case 1:
        number >>= noise(64);
        put_big(out, (uint8_t)(0xcc + noise(8)), number, 0);
        bytes = (size_t)1 << (out->data[out->size - 1] & 3);
        for (size_t i = 0; i < bytes; i++)
            put_big(out, (uint8_t)(number >> 8 * i), 0, 0);
        return;
    case 2:
        memcpy(&single_bits, &single, sizeof single_bits);
        put_big(out, 0xca, single_bits, 4);
        return;
    case 3:
        put_big(out, 0xd9, bytes, 1);
        put_text(out, bytes);
        return;
    case 4:
        put_big(out, (uint8_t)(0xa0 + bytes % 32), 0, 0);
        put_text(out, bytes % 32);
        return;
    default:
        memcpy(&number, &real, sizeof number);
        put_big(out, 0xcb, number, 8);
    }
}

/* Alone it may take the short way (core/json_flat.h), within an array it does not. */
Test(json, writes_an_object_alike_alone_and_within_an_array)
{
    struct buffer msgpack = {0}, alone = {0}, within = {0};
    for (int n = 0; n < 50000; n++) {
        uint32_t pairs = noise(n % 100 ? 12 : 40);
        enum json_style style = noise(2) ? JSON_COMPACT : JSON_STRICT;
        msgpack.size = alone.size = within.size = 0;
        put_big(&msgpack, 0x91, 0, 0);
        if (pairs < 16 && noise(4))
            put_big(&msgpack, (uint8_t)(0x80 + pairs), 0, 0);
        else
            put_big(&msgpack, 0xde, pairs, 2);
        for (uint32_t i = 0; i < pairs; i++) {
            uint32_t bytes = noise(32);
            put_big(&msgpack, (uint8_t)(0xa0 + bytes), 0, 0);
            put_text(&msgpack, bytes);
            put_scalar(&msgpack);
        }
        cr_assert_eq(json_from_msgpack(msgpack.data, msgpack.size, style, &within, NULL), OK);
        cr_assert_eq(json_from_msgpack(msgpack.data + 1, msgpack.size - 1, style, &alone, NULL),
                     OK);
        cr_assert_eq(alone.size + 2, within.size);
        cr_assert_arr_eq(alone.data, within.data + 1, alone.size, "%.*s", (int)within.size,
                         (const char *)within.data);
        /* And cut short it is refused, whatever the way. */
        alone.size = 0;
        if (msgpack.size > 2)
            cr_assert_neq(json_from_msgpack(msgpack.data + 1, 1 + noise((uint32_t)msgpack.size - 2),
                                            style, &alone, NULL),
                          OK);
    }
    buffer_release(&msgpack);
    buffer_release(&alone);
    buffer_release(&within);
}
