/*
 * fuzz_msgpack.c - any bytes at all go to the msgpack checker and walker.
 *
 * What the checker accepts, msgpack-c accepts too, the walker steps over exactly, and JSON keeps:
 * written as JSON, read again and written again it is the same text. What msgpack-c accepts, the
 * checker accepts too, if its strings are UTF-8 and it is not too deep.
 */
#include <assert.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "core/utf8.h"

/* Alone it may take the short way (core/json_flat.h), within an array it does not. */
static void expect_same_text_in_an_array(const uint8_t *data, size_t size,
                                         const struct buffer *text)
{
    struct buffer wrapped = {0}, array = {0};
    assert(buffer_append(&wrapped, "\x91", 1, NULL) == OK &&
           buffer_append(&wrapped, data, size, NULL) == OK);
    if (json_from_msgpack(wrapped.data, wrapped.size, JSON_COMPACT, &array, NULL) == OK)
        assert(array.size == text->size + 2 &&
               !memcmp(array.data + 1, text->data, text->size));
    buffer_release(&wrapped);
    buffer_release(&array);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    DEPTH_MAX = 32,
    /* JSON shows a binary as an object with a string, an extension as an object with an array. */
    JSON_DEPTH_MAX = DEPTH_MAX + 2,
};

static void expect_accepted_by_msgpack_c(const uint8_t *data, size_t size)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    assert(msgpack_unpack_next(&unpacked, (const char *)data, size, &offset) ==
           MSGPACK_UNPACK_SUCCESS);
    assert(offset == size);
    msgpack_unpacked_destroy(&unpacked);
}

/* An array or map of 32 bits of length makes msgpack-c ask for memory by the gigabyte. */
static bool is_modest(const uint8_t *data, size_t size)
{
    return !memchr(data, 0xdd, size) && !memchr(data, 0xdf, size);
}

static bool is_ours(const msgpack_object *object, unsigned depth)
{
    bool ours = true;
    switch (object->type) {
    case MSGPACK_OBJECT_STR:
        return utf8_valid_bytes(object->via.str.ptr, object->via.str.size) == object->via.str.size;
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; ours && i < object->via.array.size; i++)
            ours = is_ours(&object->via.array.ptr[i], depth + 1);
        return ours && depth < DEPTH_MAX;
    case MSGPACK_OBJECT_MAP:
        for (uint32_t i = 0; ours && i < object->via.map.size; i++)
            ours = is_ours(&object->via.map.ptr[i].key, depth + 1) &&
                   is_ours(&object->via.map.ptr[i].val, depth + 1);
        return ours && depth < DEPTH_MAX;
    default:
        return true;
    }
}

static void expect_refused_by_msgpack_c(const uint8_t *data, size_t size)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    if (msgpack_unpack_next(&unpacked, (const char *)data, size, &offset) == MSGPACK_UNPACK_SUCCESS)
        assert(offset != size || !is_ours(&unpacked.data, 0));
    msgpack_unpacked_destroy(&unpacked);
}

static void expect_same_text_after_json(const struct buffer *text)
{
    static struct json_reader *reader;
    struct buffer msgpack = {0}, again = {0};
    if (!reader)
        assert(json_reader_create(&reader, NULL) == OK);
    assert(json_to_msgpack(reader, (const char *)text->data, text->size, JSON_DEPTH_MAX, &msgpack,
                           NULL) == OK);
    assert(msgpack_check(msgpack.data, msgpack.size, JSON_DEPTH_MAX, NULL) == OK);
    assert(json_from_msgpack(msgpack.data, msgpack.size, JSON_COMPACT, &again, NULL) == OK);
    assert(again.size == text->size && memcmp(again.data, text->data, text->size) == 0);
    buffer_release(&msgpack);
    buffer_release(&again);
}

/* Whatever the bytes are, walking them ends, inside of them. */
static void walk(const uint8_t *data, size_t size)
{
    struct msgpack_cursor cursor = {.at = data, .end = data + size};
    struct msgpack_cursor found;
    struct msgpack_value value;
    if (msgpack_find(&cursor, "k", &found, NULL) == OK)
        assert(found.at >= data && found.at < found.end && found.end <= data + size);
    while (cursor.at < cursor.end) {
        const uint8_t *before = cursor.at;
        if (msgpack_read(&cursor, &value, NULL))
            break;
        assert(cursor.at > before && cursor.at <= cursor.end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t prefix = 0;
    struct error error;
    enum error_code code = msgpack_check(data, size, DEPTH_MAX, &error);
    enum error_code prefix_code = msgpack_check_prefix(data, size, DEPTH_MAX, &prefix, &error);
    assert((code == OK) == (prefix_code == OK && prefix == size));
    if (size > 0)
        walk(data, size);
    if (prefix_code == OK) {
        struct msgpack_cursor cursor = {.at = data, .end = data + size};
        assert(msgpack_skip(&cursor, NULL) == OK && cursor.at == data + prefix);
    }

    struct buffer text = {0}, pretty = {0};
    enum error_code written = json_from_msgpack(data, size, JSON_COMPACT, &text, &error);
    assert(json_from_msgpack(data, size, JSON_PRETTY, &pretty, &error) == written);
    if (code == OK) {
        expect_accepted_by_msgpack_c(data, size);
        assert(written == OK);
        expect_same_text_in_an_array(data, size, &text);
        expect_same_text_after_json(&text);
    } else if (is_modest(data, size)) {
        expect_refused_by_msgpack_c(data, size);
    }
    buffer_release(&text);
    buffer_release(&pretty);
    return 0;
}
