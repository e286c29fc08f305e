#include "core/msgpack.h"

#include <criterion/criterion.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(text) text, sizeof text - 1

static void expect_refusal(const char *name, const void *data, size_t size, const char *text)
{
    struct error error = {0};
    cr_assert_eq(msgpack_check(data, size, 32, &error), ERROR_INVALID, "%s", name);
    cr_assert_str_eq(error.text, text, "%s: %s", name, error.text);
}

Test(msgpack, is_accepted_in_every_form)
{
    static const struct {
        const char *data;
        size_t size;
    } CASES[] = {
        {BYTES("\x00")},
        {BYTES("\x7f")},
        {BYTES("\xe0")},
        {BYTES("\xff")},
        {BYTES("\xc0")},
        {BYTES("\xc2")},
        {BYTES("\xc3")},
        {BYTES("\xc4\x01\xff")},
        {BYTES("\xc5\x00\x01\xff")},
        {BYTES("\xc6\x00\x00\x00\x01\xff")},
        {BYTES("\xc7\x02\x05xy")},
        {BYTES("\xc8\x00\x02\x05xy")},
        {BYTES("\xc9\x00\x00\x00\x02\x05xy")},
        {BYTES("\xca\x00\x00\x00\x00")},
        {BYTES("\xcb\x00\x00\x00\x00\x00\x00\x00\x00")},
        {BYTES("\xcc\x01")},
        {BYTES("\xcd\x00\x01")},
        {BYTES("\xce\x00\x00\x00\x01")},
        {BYTES("\xcf\x00\x00\x00\x00\x00\x00\x00\x01")},
        {BYTES("\xd0\x81")},
        {BYTES("\xd1\x80\x01")},
        {BYTES("\xd2\x80\x00\x00\x01")},
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x01")},
        {BYTES("\xd4\x05x")},
        {BYTES("\xd5\x05xx")},
        {BYTES("\xd6\x05xxxx")},
        {BYTES("\xd7\x05xxxxxxxx")},
        {BYTES("\xd8\x05xxxxxxxxxxxxxxxx")},
        {BYTES("\xa0")},
        {BYTES("\xa3\xe2\x82\xac")},
        {BYTES("\xd9\x01x")},
        {BYTES("\xda\x00\x01x")},
        {BYTES("\xdb\x00\x00\x00\x01x")},
        {BYTES("\x90")},
        {BYTES("\x92\x01\x02")},
        {BYTES("\xdc\x00\x02\x01\x02")},
        {BYTES("\xdd\x00\x00\x00\x02\x01\x02")},
        {BYTES("\x80")},
        {BYTES("\x82\x01\x02\x03\x04")},
        {BYTES("\xde\x00\x01\x01\x02")},
        {BYTES("\xdf\x00\x00\x00\x01\x01\x02")},
        {BYTES("\x82\xa1p\x91\x90\xa1q\x80")},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct error error = {0};
        cr_assert_eq(msgpack_check(CASES[i].data, CASES[i].size, 32, &error), OK, "case %zu: %s", i,
                     error.text);
        /* And not with its last byte missing, nor with one more. */
        char longer[64] = {0};
        memcpy(longer, CASES[i].data, CASES[i].size);
        cr_assert_eq(msgpack_check(longer, CASES[i].size + 1, 32, NULL), ERROR_INVALID);
        for (size_t size = 0; size < CASES[i].size; size++)
            cr_assert_eq(msgpack_check(CASES[i].data, size, 32, NULL), ERROR_INVALID);
    }
}

Test(msgpack, is_refused_with_the_reason_and_the_place)
{
    static const struct {
        const char *name, *data;
        size_t size;
        const char *text;
    } CASES[] = {
        {"nothing", BYTES(""), "not msgpack: there is no data"},
        {"reserved byte", BYTES("\x91\xc1"), "not msgpack at byte 1: the byte 0xc1 is no msgpack"},
        {"array of 4 billion", BYTES("\xdd\xff\x00\x00\x00"),
         "not msgpack at byte 0: an array or map claims more elements than there are bytes"},
        {"map of 4 billion", BYTES("\xdf\xff\xff\xff\xff\x00"),
         "not msgpack at byte 0: an array or map claims more elements than there are bytes"},
        {"map with half a pair", BYTES("\x91\x81\x01"),
         "not msgpack at byte 1: an array or map claims more elements than there are bytes"},
        {"string of 4 GiB", BYTES("\xdb\xff\xff\xff\xff\x00"),
         "not msgpack at byte 0: the data ends inside a string or binary"},
        {"binary too long", BYTES("\xc4\x02x"),
         "not msgpack at byte 0: the data ends inside a string or binary"},
        {"extension too long", BYTES("\xd8\x01x"),
         "not msgpack at byte 0: the data ends inside a string or binary"},
        {"extension without type", BYTES("\xd4"),
         "not msgpack at byte 0: the data ends inside a value"},
        {"cut double", BYTES("\x91\xcb\x00"),
         "not msgpack at byte 1: the data ends inside a value"},
        {"string of Latin-1", BYTES("\x92\x01\xa1\xe9"),
         "not msgpack at byte 2: a string is not UTF-8"},
        {"key of Latin-1", BYTES("\x81\xa1\xe9\x01"),
         "not msgpack at byte 1: a string is not UTF-8"},
        {"two values", BYTES("\xc0\xc0"),
         "not one msgpack value: it ends at byte 1, and 1 more follow"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        expect_refusal(CASES[i].name, CASES[i].data, CASES[i].size, CASES[i].text);
}

Test(msgpack, is_limited_in_depth)
{
    enum { LEVELS = 100000 };
    uint8_t *nested = malloc(LEVELS);
    memset(nested, 0x91, LEVELS);
    nested[LEVELS - 1] = 0x90;
    expect_refusal("deep", nested, LEVELS,
                   "not msgpack at byte 32: too many arrays and maps inside each other");
    /* A limit beyond our own does not lift it. */
    cr_assert_eq(msgpack_check(nested, LEVELS, UINT32_MAX, NULL), ERROR_INVALID);
    for (unsigned depth = 0; depth <= 40; depth++) {
        /* `depth` arrays around a nil. */
        nested[depth] = 0xc0;
        cr_assert_eq(msgpack_check(nested, depth + 1, depth, NULL), OK);
        if (depth > 0)
            cr_assert_eq(msgpack_check(nested, depth + 1, depth - 1, NULL), ERROR_INVALID);
        nested[depth] = 0x91;
    }
    free(nested);
}

Test(msgpack, prefix_ends_where_the_first_value_ends)
{
    size_t size = 0;
    cr_assert_eq(msgpack_check_prefix(BYTES("\x92\x01\xa1x\xff\xff"), 32, &size, NULL), OK);
    cr_assert_eq(size, 4);
    cr_assert_eq(msgpack_check_prefix(BYTES("\x92\x01\xa1"), 32, &size, NULL), ERROR_INVALID);
    cr_assert_eq(size, 4);
}

/* What msgpack-c, written by others, says: is this one value, whole and with nothing behind? */
static bool reference_accepts(const void *data, size_t size)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    msgpack_unpack_return result = msgpack_unpack_next(&unpacked, data, size, &offset);
    msgpack_unpacked_destroy(&unpacked);
    return result == MSGPACK_UNPACK_SUCCESS && offset == size;
}

/* Seeds that reach every kind of head; mutations make nearly all of them wrong somewhere. */
static size_t make_seed(uint8_t *data, unsigned choice)
{
    struct buffer buffer = {0};
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, &buffer);
    msgpack_pack_map(&packer, 5);
    msgpack_pack_str_with_body(&packer, "key", 3);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_int64(&packer, choice % 2 ? INT64_MIN : 200);
    msgpack_pack_uint64(&packer, UINT64_MAX);
    msgpack_pack_double(&packer, 0.1);
    msgpack_pack_str_with_body(&packer, "other", 5);
    msgpack_pack_map(&packer, 1);
    msgpack_pack_int(&packer, -1);
    msgpack_pack_nil(&packer);
    msgpack_pack_str_with_body(&packer, "binary", 6);
    msgpack_pack_bin_with_body(&packer, "\x01\x02\x03", choice % 4);
    msgpack_pack_str_with_body(&packer, "x", 1);
    msgpack_pack_ext_with_body(&packer, "1234567890abcdefg", 1 + choice % 17, 7);
    msgpack_pack_str_with_body(&packer, "y", 1);
    msgpack_pack_float(&packer, 1.5f);
    size_t size = buffer.size;
    memcpy(data, buffer.data, size);
    buffer_release(&buffer);
    return size;
}

static size_t mutate(uint8_t *data, size_t size)
{
    for (long changes = random() % 4; changes >= 0; changes--)
        data[(size_t)random() % size] = (uint8_t)random();
    if (random() % 4 == 0)
        size = 1 + (size_t)random() % size;
    return size;
}

/* May it have an array or map with a 32-bit count? msgpack-c would allocate what the count says. */
static bool may_claim_much(const uint8_t *data, size_t size)
{
    return memchr(data, 0xdd, size) || memchr(data, 0xdf, size);
}

Test(msgpack, is_never_accepted_when_another_implementation_refuses_it)
{
    enum { ROUNDS = 300000 };
    unsigned accepted = 0, refused = 0, stricter = 0;
    srandom(20260102);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t data[128];
        size_t size = mutate(data, make_seed(data, i));
        struct error error = {0};
        bool ours = msgpack_check(data, size, 32, &error) == OK;
        accepted += ours;
        refused += !ours;
        if (!ours && may_claim_much(data, size))
            continue;
        bool reference = reference_accepts(data, size);
        if (ours)
            cr_assert(reference, "round %u", i);
        /* We refuse more in two ways only. */
        if (!ours && reference) {
            cr_assert(strstr(error.text, "UTF-8") || strstr(error.text, "inside each other"),
                      "round %u: %s", i, error.text);
            stricter++;
        }
    }
    /* The comparison means something only if both answers were frequent. */
    cr_assert_gt(accepted, ROUNDS / 20);
    cr_assert_gt(refused, ROUNDS / 4);
    cr_assert_gt(stricter, ROUNDS / 1000);
}

static struct msgpack_value read_one(const void *data, size_t size)
{
    struct msgpack_cursor cursor = {.at = data, .end = (const uint8_t *)data + size};
    struct msgpack_value value;
    struct error error = {0};
    cr_assert_eq(msgpack_read(&cursor, &value, &error), OK, "%s", error.text);
    return value;
}

Test(msgpack, integers_are_read_whole)
{
    static const struct {
        const char *data;
        size_t size;
        uint64_t value;
    } UNSIGNED[] = {
        {BYTES("\x00"), 0},
        {BYTES("\x7f"), 127},
        {BYTES("\xcc\xff"), 255},
        {BYTES("\xcd\x01\x02"), 0x0102},
        {BYTES("\xce\xff\x02\x03\x04"), 0xff020304},
        {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX},
        {BYTES("\xd0\x7f"), 127}, /* signed in the data, yet not negative */
        {BYTES("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX},
    };
    for (size_t i = 0; i < sizeof UNSIGNED / sizeof UNSIGNED[0]; i++) {
        struct msgpack_value value = read_one(UNSIGNED[i].data, UNSIGNED[i].size);
        cr_assert_eq(value.kind, MSGPACK_KIND_UINT);
        cr_assert_eq(value.unsigned_, UNSIGNED[i].value);
    }
    static const struct {
        const char *data;
        size_t size;
        int64_t value;
    } SIGNED[] = {
        {BYTES("\xff"), -1},
        {BYTES("\xe0"), -32},
        {BYTES("\xd0\x80"), -128},
        {BYTES("\xd1\x80\x00"), INT16_MIN},
        {BYTES("\xd2\x80\x00\x00\x00"), INT32_MIN},
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN},
    };
    for (size_t i = 0; i < sizeof SIGNED / sizeof SIGNED[0]; i++) {
        struct msgpack_value value = read_one(SIGNED[i].data, SIGNED[i].size);
        cr_assert_eq(value.kind, MSGPACK_KIND_INT);
        cr_assert_eq(value.signed_, SIGNED[i].value);
    }
}

Test(msgpack, other_scalars_are_read_whole)
{
    cr_assert_eq(read_one(BYTES("\xc0")).kind, MSGPACK_KIND_NIL);
    cr_assert(read_one(BYTES("\xc3")).boolean);
    cr_assert_not(read_one(BYTES("\xc2")).boolean);
    struct msgpack_value real = read_one(BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"));
    cr_assert_eq(real.kind, MSGPACK_KIND_FLOAT);
    cr_assert(real.real == 0.1 && !real.single);
    real = read_one(BYTES("\xca\x3f\xc0\x00\x00"));
    cr_assert(real.real == 1.5 && real.single);
}

Test(msgpack, strings_and_containers_are_read_by_reference_and_count)
{
    struct msgpack_value value = read_one(BYTES("\xa3"
                                                "abc"));
    cr_assert_eq(value.kind, MSGPACK_KIND_STR);
    cr_assert_eq(value.count, 3);
    cr_assert_arr_eq(value.bytes, "abc", 3);
    value = read_one(BYTES("\xc7\x02\xfbxy"));
    cr_assert_eq(value.kind, MSGPACK_KIND_EXT);
    cr_assert_eq(value.ext_type, -5);
    cr_assert_arr_eq(value.bytes, "xy", 2);
    value = read_one(BYTES("\x82\x01\x02\x03\x04"));
    cr_assert_eq(value.kind, MSGPACK_KIND_MAP);
    cr_assert_eq(value.count, 2);
}

Test(msgpack, cursor_stays_where_it_is_after_a_failure)
{
    static const uint8_t DATA[] = {0x92, 0x01, 0xcd, 0x00};
    struct msgpack_cursor cursor = {.at = DATA, .end = DATA + sizeof DATA};
    cr_assert_eq(msgpack_skip(&cursor, NULL), ERROR_INVALID);
    cr_assert_eq(cursor.at, DATA);
    struct msgpack_value value = {.kind = MSGPACK_KIND_EXT};
    cursor.at = DATA + 2;
    cr_assert_eq(msgpack_read(&cursor, &value, NULL), ERROR_INVALID);
    cr_assert_eq(cursor.at, DATA + 2);
    cr_assert_eq(value.kind, MSGPACK_KIND_EXT);
}

Test(msgpack, is_skipped_exactly_as_far_as_it_was_checked)
{
    enum { ROUNDS = 50000 };
    srandom(5);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t data[128];
        size_t size = mutate(data, make_seed(data, i));
        size_t checked = 0;
        if (msgpack_check_prefix(data, size, 32, &checked, NULL))
            continue;
        struct msgpack_cursor cursor = {.at = data, .end = data + size};
        cr_assert_eq(msgpack_skip(&cursor, NULL), OK);
        cr_assert_eq((size_t)(cursor.at - data), checked);
    }
}

Test(msgpack, is_skipped_at_any_depth_without_a_stack)
{
    enum { LEVELS = 1000000 };
    uint8_t *nested = malloc(LEVELS);
    memset(nested, 0x91, LEVELS);
    nested[LEVELS - 1] = 0xc0;
    struct msgpack_cursor cursor = {.at = nested, .end = nested + LEVELS};
    cr_assert_eq(msgpack_skip(&cursor, NULL), OK);
    cr_assert_eq(cursor.at, cursor.end);
    free(nested);
}

static void expect_found(const char *data, size_t size, const char *key, const char *value,
                         size_t value_size)
{
    struct msgpack_cursor cursor = {.at = (const uint8_t *)data,
                                    .end = (const uint8_t *)data + size};
    struct msgpack_cursor found = {0};
    cr_assert_eq(msgpack_find(&cursor, key, &found, NULL), OK);
    cr_assert_eq((size_t)(found.end - found.at), value_size);
    cr_assert_arr_eq(found.at, value, value_size);
    cr_assert_eq((const char *)cursor.at, data);
}

static void expect_not_found(const char *data, size_t size, const char *key, enum error_code code)
{
    struct msgpack_cursor cursor = {.at = (const uint8_t *)data,
                                    .end = (const uint8_t *)data + size};
    struct msgpack_cursor found = {0};
    cr_assert_eq(msgpack_find(&cursor, key, &found, NULL), code);
    cr_assert_null(found.at);
}

Test(msgpack, key_is_found_behind_others_of_any_kind)
{
    expect_found(BYTES("\x83\x91\x01\x02\xa2kk\x92\x01\x02\xa1k\xa2hi"), "k", BYTES("\xa2hi"));
    expect_found(BYTES("\x82\xa1k\x01\xa1k\x02"), "k", BYTES("\x01"));
    expect_not_found(BYTES("\x81\xa1k\x01"), "kk", ERROR_NOT_FOUND);
    expect_not_found(BYTES("\x91\xa1k"), "k", ERROR_NOT_FOUND);
    expect_not_found(BYTES("\x82\xa1p\x01\xa1k"), "k", ERROR_INVALID);
    expect_not_found(BYTES("\x81\xc4\x01k\x01"), "k", ERROR_NOT_FOUND);
}
