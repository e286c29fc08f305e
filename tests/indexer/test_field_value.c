#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "indexer/field_value.h"

static struct buffer scratch;

static struct indexer_field_value value_of(const void *packed, size_t bytes)
{
    const uint8_t *start = packed;
    struct msgpack_cursor found = {.at = start, .end = start + bytes};
    struct indexer_field_value value;
    cr_assert_eq(indexer_field_value_read(&found, &scratch, &value, NULL), OK);
    return value;
}

#define VALUE(text) value_of(text, sizeof text - 1)

static void expect_text(struct indexer_field_value value, const char *text, size_t bytes)
{
    cr_assert_eq(value.type, FIELD_TEXT);
    cr_assert_eq(value.text_bytes, bytes, "%.*s", (int)value.text_bytes, value.text);
    cr_assert(!memcmp(value.text, text, bytes), "%.*s", (int)value.text_bytes, value.text);
}

static void expect_integer(struct indexer_field_value value, int64_t integer)
{
    cr_assert_eq(value.type, FIELD_INTEGER);
    cr_assert_eq(value.integer, integer, "%lld", (long long)value.integer);
}

static void expect_real(struct indexer_field_value value, double real)
{
    cr_assert_eq(value.type, FIELD_REAL);
    cr_assert_eq(value.real, real, "%.17g", value.real);
}

Test(field_value, of_integers_is_exact_as_far_as_sql_has_them)
{
    expect_integer(VALUE("\x07"), 7);
    expect_integer(VALUE("\xff"), -1);
    expect_integer(VALUE("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN);
    expect_integer(VALUE("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX);
    expect_real(VALUE("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), 9223372036854775808.0);
    expect_real(VALUE("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), 18446744073709551616.0);
}

Test(field_value, of_floats_is_real_or_null_where_json_has_none)
{
    expect_real(VALUE("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"), 1.0);
    expect_real(VALUE("\xca\x3f\x80\x00\x00"), 1.0);
    expect_real(VALUE("\xcb\x80\x00\x00\x00\x00\x00\x00\x00"), 0.0);
    cr_assert_eq(VALUE("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00").type, FIELD_NULL);
    cr_assert_eq(VALUE("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00").type, FIELD_NULL);
    cr_assert_eq(VALUE("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00").type, FIELD_NULL);
}

Test(field_value, of_everything_else)
{
    cr_assert_eq(VALUE("\xc0").type, FIELD_NULL);
    expect_integer(VALUE("\xc2"), 0);
    expect_integer(VALUE("\xc3"), 1);
    expect_text(VALUE("\xa5hello"), "hello", 5);
    expect_text(VALUE("\xa3" "a\0b"), "a\0b", 3);
    expect_text(VALUE("\xa0"), "", 0);
    expect_text(VALUE("\x82\xa1" "b\x01\xa1" "a\x92\xc0\xc3"), "{\"b\":1,\"a\":[null,true]}", 23);
    expect_text(VALUE("\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), "[null]", 6);
    expect_text(VALUE("\xc4\x01\xff"), "{\"$bin\":\"/w==\"}", 15);
}

Test(field_value, of_what_is_no_msgpack_is_null)
{
    cr_assert_eq(VALUE("").type, FIELD_NULL);
    cr_assert_eq(VALUE("\xc1").type, FIELD_NULL);
    cr_assert_eq(VALUE("\x92\x01").type, FIELD_NULL);
    cr_assert_eq(VALUE("\xa5" "hel").type, FIELD_NULL);
}
