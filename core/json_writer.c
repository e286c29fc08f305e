/* msgpack to JSON text: the second half of core/json.h. */
#include "core/json.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_flat.h"
#include "core/json_number.h"
#include "core/msgpack.h"
#include "core/utf8.h"

static inline enum error_code append_text(struct buffer *out, const char *text, struct error *error)
{
    return buffer_append(out, text, strlen(text), error);
}

/* For each byte: 0 when a JSON string has it as it is, else the letter of its escape. */
static const char ESCAPE_LETTERS[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b',         't',           'n', 'u',
    'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u',         'u',           'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\',
};

/* `text` is UTF-8. Room for its worst case is reserved once, so that the loop only stores. */
static enum error_code append_escaped(struct buffer *out, const char *text, size_t bytes,
                                      struct error *error)
{
    static const char HEX[] = "0123456789abcdef";
    if (bytes > SIZE_MAX / 8)
        return error_set(error, ERROR_MEMORY, "a string of %zu bytes is too long", bytes);
    enum error_code code = buffer_reserve(out, 6 * bytes, error);
    if (code)
        return code;
    uint8_t *to = out->data + out->size;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        char letter = ESCAPE_LETTERS[c];
        if (!letter) {
            *to++ = c;
            continue;
        }
        *to++ = '\\';
        *to++ = (uint8_t)letter;
        if (letter == 'u') {
            *to++ = '0';
            *to++ = '0';
            *to++ = (uint8_t)HEX[c >> 4];
            *to++ = (uint8_t)HEX[c & 15];
        }
    }
    out->size = (size_t)(to - out->data);
    return OK;
}

static enum error_code append_string(struct buffer *out, const char *text, size_t bytes,
                                     struct error *error)
{
    enum error_code code = append_text(out, "\"", error);
    while (!code && bytes > 0) {
        size_t valid = utf8_valid_bytes(text, bytes);
        code = append_escaped(out, text, valid, error);
        text += valid;
        bytes -= valid;
        if (!code && bytes > 0) {
            code = append_text(out, "\xef\xbf\xbd", error); /* U+FFFD for one bad byte */
            text++;
            bytes--;
        }
    }
    if (!code)
        code = append_text(out, "\"", error);
    return code;
}

enum error_code json_append_string(struct buffer *out, const char *text, size_t text_bytes,
                                   struct error *error)
{
    size_t size = out->size;
    enum error_code code = append_string(out, text, text_bytes, error);
    if (code)
        out->size = size;
    return code;
}

static enum error_code append_base64(struct buffer *out, const uint8_t *data, size_t bytes,
                                     struct error *error)
{
    static const char LETTERS[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    enum error_code code = buffer_reserve(out, (bytes / 3 + 1) * 4, error);
    if (code)
        return code;
    uint8_t *to = out->data + out->size;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t three = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? data[i + 2] : 0);
        *to++ = (uint8_t)LETTERS[three >> 18];
        *to++ = (uint8_t)LETTERS[three >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)LETTERS[three >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)LETTERS[three & 63] : '=';
    }
    out->size = (size_t)(to - out->data);
    return OK;
}

/* The first of 15, 16 and 17 digits that reads back equal; 17 always do. */
static void format_long_decimal(double value, char text[JSON_NUMBER_TEXT_SIZE])
{
    /* glibc's "C" is a constant: neither call allocates. The program's locale may print ','. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t previous = uselocale(c_locale);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, JSON_NUMBER_TEXT_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    uselocale(previous);
    freelocale(c_locale);
    if (!strpbrk(text, ".e"))
        strcat(text, ".0");
}

static enum error_code append_double(struct buffer *out, double value, bool strict,
                                     struct error *error)
{
    if (strict && !isfinite(value))
        return append_text(out, "null", error);
    if (isnan(value))
        return append_text(out, "NaN", error);
    if (isinf(value))
        return append_text(out, value > 0 ? "Infinity" : "-Infinity", error);
    char text[JSON_NUMBER_TEXT_SIZE], *end = text + sizeof text;
    const char *at = json_number_decimal(end, value);
    if (at)
        return buffer_append(out, at, (size_t)(end - at), error);
    format_long_decimal(value, text);
    return append_text(out, text, error);
}

static enum error_code append_integer(struct buffer *out, bool negative, uint64_t magnitude,
                                      struct error *error)
{
    char text[JSON_NUMBER_TEXT_SIZE], *end = text + sizeof text;
    const char *at = json_number_integer(end, negative, magnitude);
    return buffer_append(out, at, (size_t)(end - at), error);
}

static enum error_code append_binary(struct buffer *out, const struct msgpack_value *value,
                                     struct error *error)
{
    enum error_code code = value->kind == MSGPACK_KIND_BIN
                               ? append_text(out, "{\"$bin\":\"", error)
                               : buffer_printf(out, error, "{\"$ext\":[%d,\"", value->ext_type);
    if (!code)
        code = append_base64(out, value->bytes, value->count, error);
    if (!code)
        code = append_text(out, value->kind == MSGPACK_KIND_BIN ? "\"}" : "\"]}", error);
    return code;
}

/* Everything but arrays and maps. */
static enum error_code append_scalar(struct buffer *out, const struct msgpack_value *value,
                                     bool strict, struct error *error)
{
    switch (value->kind) {
    case MSGPACK_KIND_NIL:
        return append_text(out, "null", error);
    case MSGPACK_KIND_BOOL:
        return append_text(out, value->boolean ? "true" : "false", error);
    case MSGPACK_KIND_UINT:
        return append_integer(out, false, value->unsigned_, error);
    case MSGPACK_KIND_INT:
        return append_integer(out, true, 0 - (uint64_t)value->signed_, error);
    case MSGPACK_KIND_FLOAT:
        return append_double(out, value->real, strict, error);
    case MSGPACK_KIND_STR:
        return append_string(out, value->bytes, value->count, error);
    default:
        return append_binary(out, value, error);
    }
}

struct level {
    uint64_t left; /* values still to come: a map's pair is two */
    bool is_map;
    bool is_empty; /* so far */
};

struct json_writer {
    struct buffer *out;
    struct error *error;
    struct msgpack_cursor cursor;
    bool pretty;
    bool strict;
    unsigned depth;
    struct level levels[MSGPACK_DEPTH_LIMIT];
};

static enum error_code append_line_break(struct json_writer *writer)
{
    enum error_code code = append_text(writer->out, "\n", writer->error);
    for (unsigned i = 0; !code && i < writer->depth; i++)
        code = append_text(writer->out, "  ", writer->error);
    return code;
}

/* What stands between the previous value and the next one of the innermost container. */
static enum error_code append_separator(struct json_writer *writer)
{
    if (writer->depth == 0)
        return OK;
    struct level *level = &writer->levels[writer->depth - 1];
    if (level->is_map && level->left % 2 == 1)
        return append_text(writer->out, writer->pretty ? ": " : ":", writer->error);
    bool first = level->is_empty;
    level->is_empty = false;
    enum error_code code = first ? OK : append_text(writer->out, ",", writer->error);
    if (!code && writer->pretty)
        code = append_line_break(writer);
    return code;
}

static enum error_code open_container(struct json_writer *writer, const struct msgpack_value *value)
{
    if (writer->depth == MSGPACK_DEPTH_LIMIT)
        return error_set(writer->error, ERROR_INVALID,
                         "more than %d arrays and maps inside each other", MSGPACK_DEPTH_LIMIT);
    bool is_map = value->kind == MSGPACK_KIND_MAP;
    writer->levels[writer->depth++] = (struct level){
        .left = is_map ? 2 * (uint64_t)value->count : value->count,
        .is_map = is_map,
        .is_empty = true,
    };
    return append_text(writer->out, is_map ? "{" : "[", writer->error);
}

static enum error_code close_container(struct json_writer *writer)
{
    const struct level *level = &writer->levels[--writer->depth];
    if (writer->pretty && !level->is_empty) {
        enum error_code code = append_line_break(writer);
        if (code)
            return code;
    }
    return append_text(writer->out, level->is_map ? "}" : "]", writer->error);
}

/*
 * A key that is no string. Its text has no quotes inside, which matters: keys inside keys inside
 * keys, each quoting the one before, would double the text with every level.
 */
static enum error_code append_odd_key(struct json_writer *writer, const struct msgpack_value *key,
                                      const uint8_t *start)
{
    enum error_code code;
    if (key->kind < MSGPACK_KIND_STR) {
        code = append_text(writer->out, "\"", writer->error);
        if (!code)
            code = append_scalar(writer->out, key, false, writer->error); /* in quotes */
    } else {
        writer->cursor.at = start;
        code = msgpack_skip(&writer->cursor, writer->error);
        if (!code)
            code = append_text(writer->out, "\"$msgpack:", writer->error);
        if (!code)
            code = append_base64(writer->out, start, (size_t)(writer->cursor.at - start),
                                 writer->error);
    }
    if (!code)
        code = append_text(writer->out, "\"", writer->error);
    return code;
}

static bool expects_key(const struct json_writer *writer)
{
    if (writer->depth == 0)
        return false;
    const struct level *level = &writer->levels[writer->depth - 1];
    return level->is_map && level->left % 2 == 0;
}

static enum error_code append_value(struct json_writer *writer)
{
    bool is_key = expects_key(writer);
    const uint8_t *start = writer->cursor.at;
    struct msgpack_value value;
    enum error_code code = msgpack_read(&writer->cursor, &value, writer->error);
    if (!code)
        code = append_separator(writer);
    if (code)
        return code;
    if (writer->depth > 0)
        writer->levels[writer->depth - 1].left--;
    if (is_key && value.kind != MSGPACK_KIND_STR)
        return append_odd_key(writer, &value, start);
    if (value.kind >= MSGPACK_KIND_ARRAY)
        return open_container(writer, &value);
    return append_scalar(writer->out, &value, writer->strict, writer->error);
}

static enum error_code append_all(struct json_writer *writer)
{
    enum error_code code = append_value(writer);
    while (!code && writer->depth > 0) {
        if (writer->levels[writer->depth - 1].left == 0)
            code = close_container(writer);
        else
            code = append_value(writer);
    }
    return code;
}

enum error_code json_from_msgpack(const void *data, size_t size, enum json_style style,
                                  struct buffer *out, struct error *error)
{
    if (!(style & JSON_PRETTY) && json_append_flat(data, size, style & JSON_STRICT, out))
        return OK;
    struct json_writer writer;
    writer.out = out;
    writer.error = error;
    writer.cursor = (struct msgpack_cursor){.at = data, .end = (const uint8_t *)data + size};
    writer.pretty = style & JSON_PRETTY;
    writer.strict = style & JSON_STRICT;
    writer.depth = 0;

    size_t start = out->size;
    enum error_code code = append_all(&writer);
    if (!code && writer.cursor.at != writer.cursor.end)
        code = error_set(error, ERROR_INVALID, "%zu bytes follow the msgpack value",
                         (size_t)(writer.cursor.end - writer.cursor.at));
    if (code)
        out->size = start;
    return code;
}
