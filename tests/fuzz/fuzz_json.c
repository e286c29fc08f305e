/*
 * fuzz_json.c - any bytes at all go to the JSON reader.
 *
 * What it accepts becomes msgpack that our checker and msgpack-c accept; written as JSON, compact
 * or pretty, and read again it is the same msgpack. A reader that has seen everything before gives
 * the same answer as a new one.
 */
#include <assert.h>
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH_MAX = 32 };

static enum error_code read_anew(const char *text, size_t size, struct buffer *out,
                                 struct error *error)
{
    struct json_reader *reader;
    assert(json_reader_create(&reader, NULL) == OK);
    enum error_code code = json_to_msgpack(reader, text, size, DEPTH_MAX, out, error);
    json_reader_free(reader);
    return code;
}

static void expect_same(const struct buffer *a, const struct buffer *b)
{
    assert(a->size == b->size);
    assert(a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static void expect_valid(const struct buffer *msgpack)
{
    assert(msgpack_check(msgpack->data, msgpack->size, DEPTH_MAX, NULL) == OK);
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    assert(msgpack_unpack_next(&unpacked, (const char *)msgpack->data, msgpack->size, &offset) ==
           MSGPACK_UNPACK_SUCCESS);
    assert(offset == msgpack->size);
    msgpack_unpacked_destroy(&unpacked);
}

static void expect_same_after_json(const struct buffer *msgpack, enum json_style style)
{
    struct buffer text = {0}, again = {0};
    struct error error = {0};
    assert(json_from_msgpack(msgpack->data, msgpack->size, style, &text, &error) == OK);
    assert(read_anew((const char *)text.data, text.size, &again, &error) == OK);
    expect_same(msgpack, &again);
    buffer_release(&text);
    buffer_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_reader *old_reader;
    if (!old_reader)
        assert(json_reader_create(&old_reader, NULL) == OK);

    struct buffer first = {0}, second = {0}, quoted = {0};
    struct error first_error = {0}, second_error = {0};
    const char *text = (const char *)data;
    enum error_code code = json_to_msgpack(old_reader, text, size, DEPTH_MAX, &first, &first_error);
    assert(read_anew(text, size, &second, &second_error) == code);
    assert(strcmp(first_error.text, second_error.text) == 0);
    expect_same(&first, &second);
    if (code == OK) {
        expect_valid(&first);
        expect_same_after_json(&first, JSON_COMPACT);
        expect_same_after_json(&first, JSON_PRETTY);
    } else {
        assert(code == ERROR_INVALID && first.size == 0 && first_error.text[0]);
    }

    /* Any bytes can be quoted, and what is quoted can be read. */
    assert(json_append_string(&quoted, text, size, NULL) == OK);
    assert(read_anew((const char *)quoted.data, quoted.size, &second, NULL) == OK);
    buffer_release(&first);
    buffer_release(&second);
    buffer_release(&quoted);
    return 0;
}
