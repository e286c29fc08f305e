#include "tools/client/wire_element.h"

#include <assert.h>
#include <string.h>

/* ---- Reading ---- */

static const char *kind_name(enum msgpack_kind kind)
{
    static const char *const NAMES[] = {
        [MSGPACK_KIND_NIL] = "nil",         [MSGPACK_KIND_BOOL] = "a boolean",
        [MSGPACK_KIND_UINT] = "an integer", [MSGPACK_KIND_INT] = "a negative integer",
        [MSGPACK_KIND_FLOAT] = "a float",   [MSGPACK_KIND_STR] = "a string",
        [MSGPACK_KIND_BIN] = "binary",      [MSGPACK_KIND_EXT] = "an extension",
        [MSGPACK_KIND_ARRAY] = "an array",  [MSGPACK_KIND_MAP] = "a map",
    };
    return NAMES[kind];
}

enum error_code wire_read_kind(struct msgpack_cursor *cursor, enum msgpack_kind kind,
                               const char *what, struct msgpack_value *value_out,
                               struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = msgpack_read(cursor, &value, error);
    if (code) {
        error_prefix(error, "%s", what);
        return code;
    }
    if (value.kind != kind)
        return error_set(error, ERROR_INVALID, "%s is %s, not %s", what, kind_name(value.kind),
                         kind_name(kind));
    *value_out = value;
    return OK;
}

enum error_code wire_read_unsigned(struct msgpack_cursor *cursor, const char *what,
                                   uint64_t *number_out, struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_UINT, what, &value, error);
    if (!code)
        *number_out = value.unsigned_;
    return code;
}

enum error_code wire_read_bool(struct msgpack_cursor *cursor, const char *what, bool *bool_out,
                               struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_BOOL, what, &value, error);
    if (!code)
        *bool_out = value.boolean;
    return code;
}

enum error_code wire_read_text(struct msgpack_cursor *cursor, const char *what,
                               struct wire_text *text_out, struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_STR, what, &value, error);
    if (!code)
        *text_out = (struct wire_text){value.bytes, value.count};
    return code;
}

enum error_code wire_find_text(const struct msgpack_cursor *map, const char *key,
                               struct wire_text *text_out, struct error *error)
{
    struct msgpack_cursor value;
    enum error_code code = msgpack_find(map, key, &value, NULL);
    if (code == ERROR_NOT_FOUND)
        return OK;
    if (code)
        return error_set(error, code, "the map is not valid msgpack");
    return wire_read_text(&value, key, text_out, error);
}

enum error_code wire_find_unsigned(const struct msgpack_cursor *map, const char *key,
                                   uint64_t *number_out, struct error *error)
{
    struct msgpack_cursor value;
    enum error_code code = msgpack_find(map, key, &value, NULL);
    if (code == ERROR_NOT_FOUND)
        return error_set(error, ERROR_INVALID, "the key '%s' is missing", key);
    if (code)
        return error_set(error, code, "the map is not valid msgpack");
    return wire_read_unsigned(&value, key, number_out, error);
}

enum error_code wire_expect_elements(uint32_t left, uint32_t expected, const char *type,
                                     struct error *error)
{
    if (left == expected)
        return OK;
    return error_set(error, ERROR_INVALID, "%s has %u elements behind its type, not %u", type, left,
                     expected);
}

enum error_code wire_expect_end(const struct msgpack_cursor *cursor, const char *type,
                                struct error *error)
{
    if (cursor->at == cursor->end)
        return OK;
    return error_set(error, ERROR_INVALID, "%zu bytes are left over behind the %s",
                     (size_t)(cursor->end - cursor->at), type);
}

enum error_code wire_expect_map(const struct msgpack_cursor *cursor, uint32_t left,
                                const char *type, struct error *error)
{
    enum error_code code = wire_expect_elements(left, 1, type, error);
    if (code)
        return code;
    code = msgpack_check(cursor->at, (size_t)(cursor->end - cursor->at), EVENT_PAYLOAD_DEPTH_MAX,
                         error);
    if (code)
        return code;
    struct msgpack_cursor map = *cursor;
    struct msgpack_value value = {0};
    return wire_read_kind(&map, MSGPACK_KIND_MAP, type, &value, error);
}

enum error_code wire_read_time(struct msgpack_cursor *cursor, int64_t *time_ns_out,
                               struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = msgpack_read(cursor, &value, error);
    if (code) {
        error_prefix(error, "the time");
        return code;
    }
    if (value.kind == MSGPACK_KIND_NIL)
        *time_ns_out = EVENT_TIME_NONE;
    else if (value.kind == MSGPACK_KIND_INT && value.signed_ != EVENT_TIME_NONE)
        *time_ns_out = value.signed_;
    else if (value.kind == MSGPACK_KIND_UINT && value.unsigned_ <= INT64_MAX)
        *time_ns_out = (int64_t)value.unsigned_;
    else if (value.kind == MSGPACK_KIND_UINT || value.kind == MSGPACK_KIND_INT)
        return error_set(error, ERROR_INVALID, "the time is out of range");
    else
        return error_set(error, ERROR_INVALID,
                         "the time is %s; give nanoseconds since 1970 as an integer, or nil",
                         kind_name(value.kind));
    return OK;
}

/* ---- Writing ---- */

enum error_code wire_frame_begin(struct wire_frame *frame, struct buffer *out, size_t bytes_max,
                                 struct error *error)
{
    enum error_code code = buffer_reserve(out, WIRE_LENGTH_BYTES + bytes_max, error);
    if (code)
        return code;
    frame->out = out;
    frame->start = out->size;
    frame->end_max = out->size + WIRE_LENGTH_BYTES + bytes_max;
    out->size += WIRE_LENGTH_BYTES;
    msgpack_packer_to_buffer(&frame->packer, out);
    return OK;
}

/* The length, big-endian as all numbers on the wire are. */
void wire_store_length(struct buffer *out, size_t start)
{
    size_t length = out->size - start - WIRE_LENGTH_BYTES;
    assert(length <= WIRE_FRAME_MAX);
    uint8_t *at = out->data + start;
    at[0] = 0;
    at[1] = (uint8_t)(length >> 16);
    at[2] = (uint8_t)(length >> 8);
    at[3] = (uint8_t)length;
}

enum error_code wire_frame_end(struct wire_frame *frame)
{
    assert(frame->out->size <= frame->end_max);
    wire_store_length(frame->out, frame->start);
    return OK;
}

void wire_pack_text(msgpack_packer *packer, const char *text, size_t bytes)
{
    msgpack_pack_str(packer, bytes);
    msgpack_pack_str_body(packer, text, bytes);
}

void wire_pack_word(msgpack_packer *packer, const char *word)
{
    wire_pack_text(packer, word, strlen(word));
}

void wire_pack_head(struct wire_frame *frame, uint32_t elements, const char *type)
{
    msgpack_pack_array(&frame->packer, elements);
    wire_pack_word(&frame->packer, type);
}

void wire_pack_key_text(msgpack_packer *packer, const char *key, const struct wire_text *text)
{
    wire_pack_word(packer, key);
    wire_pack_text(packer, text->text, text->bytes);
}

void wire_pack_key_number(msgpack_packer *packer, const char *key, uint64_t number)
{
    wire_pack_word(packer, key);
    msgpack_pack_uint64(packer, number);
}

void wire_pack_key_bool(msgpack_packer *packer, const char *key, bool value)
{
    wire_pack_word(packer, key);
    if (value)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
}
