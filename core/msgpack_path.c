#include "core/msgpack_path.h"

#include <stdio.h>
#include <string.h>

#include "core/msgpack_head.h"
#include "core/utf8.h"

/* The text that is being read. */
struct text {
    const char *start;
    const char *at;
    const char *end;
    size_t key_bytes; /* used of the path's keys */
};

static bool is_next(const struct text *text, char c)
{
    return text->at < text->end && *text->at == c;
}

static enum error_code refuse(const struct text *text, const char *why, struct error *error)
{
    return error_set(error, ERROR_INVALID, "path '%.*s': byte %zu: %s",
                     (int)(text->end - text->start), text->start,
                     (size_t)(text->at - text->start) + 1, why);
}

static enum error_code check_text(const struct text *text, struct error *error)
{
    size_t bytes = (size_t)(text->end - text->start);
    if (bytes == 0)
        return error_set(error, ERROR_INVALID, "a path must not be empty");
    if (bytes > MSGPACK_PATH_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "a path may have %d bytes, this one has %zu",
                         MSGPACK_PATH_BYTES_MAX, bytes);
    if (utf8_valid_bytes(text->start, bytes) != bytes)
        return error_set(error, ERROR_INVALID, "a path must be UTF-8");
    for (const char *at = text->start; at < text->end; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return error_set(error, ERROR_INVALID, "a path must not have control characters");
    return OK;
}

/* Keys never outgrow the text that they come from, which is no longer than `keys`. */
static void put_key_byte(struct msgpack_path *path, struct msgpack_path_step *step,
                         struct text *text)
{
    path->keys[text->key_bytes++] = *text->at++;
    step->key_bytes++;
}

static enum error_code parse_quoted(struct text *text, struct msgpack_path *path,
                                    struct msgpack_path_step *step, struct error *error)
{
    text->at++;
    while (text->at < text->end && *text->at != '"') {
        if (*text->at == '\\') {
            text->at++;
            if (!is_next(text, '"') && !is_next(text, '\\'))
                return refuse(text, "behind a '\\' only '\"' and '\\' are known", error);
        }
        put_key_byte(path, step, text);
    }
    if (text->at == text->end)
        return refuse(text, "the key's closing '\"' is missing", error);
    text->at++;
    if (text->at < text->end && *text->at != '.' && *text->at != '[')
        return refuse(text, "behind a quoted key there can only be '.' or '['", error);
    return OK;
}

static enum error_code parse_key(struct text *text, struct msgpack_path *path,
                                 struct msgpack_path_step *step, struct error *error)
{
    *step = (struct msgpack_path_step){.kind = MSGPACK_PATH_KEY,
                                       .key_offset = (uint16_t)text->key_bytes};
    if (is_next(text, '"'))
        return parse_quoted(text, path, step, error);
    while (text->at < text->end && *text->at != '.' && *text->at != '[')
        put_key_byte(path, step, text);
    if (step->key_bytes == 0)
        return refuse(text, "here a key is missing", error);
    return OK;
}

static enum error_code parse_number(struct text *text, uint32_t *number_out, struct error *error)
{
    uint64_t number = 0;
    const char *first = text->at;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        number = number * 10 + (uint64_t)(*text->at - '0');
        if (number > UINT32_MAX)
            return refuse(text, "no array has so many elements", error);
    }
    if (text->at == first)
        return refuse(text, "here a number is missing", error);
    *number_out = (uint32_t)number;
    return OK;
}

static enum error_code parse_index(struct text *text, struct msgpack_path_step *step,
                                   struct error *error)
{
    *step = (struct msgpack_path_step){.kind = MSGPACK_PATH_INDEX};
    text->at++;
    bool from_end = is_next(text, '#');
    bool has_number = !from_end;
    if (from_end) {
        step->kind = MSGPACK_PATH_FROM_END;
        text->at++;
        has_number = is_next(text, '-');
        text->at += has_number;
    }
    enum error_code code = has_number ? parse_number(text, &step->number, error) : OK;
    if (code)
        return code;
    if (!is_next(text, ']'))
        return refuse(text, "the closing ']' is missing", error);
    text->at++;
    return OK;
}

static enum error_code parse_step(struct text *text, struct msgpack_path *path,
                                  bool *dot_implied, struct error *error)
{
    if (path->step_count == MSGPACK_PATH_STEPS_MAX)
        return refuse(text, "it has more than 32 steps", error);
    struct msgpack_path_step *step = &path->steps[path->step_count++];
    if (is_next(text, '['))
        return parse_index(text, step, error);
    if (is_next(text, '.') && !*dot_implied)
        text->at++;
    else if (!*dot_implied)
        return refuse(text, "here there can only be '.' or '['", error);
    *dot_implied = false;
    return parse_key(text, path, step, error);
}

enum error_code msgpack_path_parse(const char *text, size_t text_bytes,
                                   struct msgpack_path *path_out, struct error *error)
{
    struct text read = {.start = text, .at = text, .end = text + text_bytes};
    struct msgpack_path path = {0};
    enum error_code code = check_text(&read, error);
    if (code)
        return code;
    bool dot_implied = *text != '$' && *text != '[';
    read.at += *text == '$';
    while (!code && read.at < read.end)
        code = parse_step(&read, &path, &dot_implied, error);
    if (!code)
        *path_out = path;
    return code;
}

/* A canonical text that is being written; what does not fit is counted. */
struct canon {
    char *text;
    size_t bytes;
};

static void put(struct canon *canon, char c)
{
    if (canon->bytes < MSGPACK_PATH_BYTES_MAX)
        canon->text[canon->bytes] = c;
    canon->bytes++;
}

static bool must_be_quoted(const char *key, size_t bytes, bool first)
{
    return bytes == 0 || *key == '"' || (first && *key == '$') || memchr(key, '.', bytes) ||
           memchr(key, '[', bytes);
}

static void put_key(struct canon *canon, const char *key, size_t bytes, bool first)
{
    if (!first)
        put(canon, '.');
    bool quoted = must_be_quoted(key, bytes, first);
    if (quoted)
        put(canon, '"');
    for (size_t i = 0; i < bytes; i++) {
        if (quoted && (key[i] == '"' || key[i] == '\\'))
            put(canon, '\\');
        put(canon, key[i]);
    }
    if (quoted)
        put(canon, '"');
}

static void put_index(struct canon *canon, const struct msgpack_path_step *step)
{
    char text[16];
    if (step->kind == MSGPACK_PATH_INDEX)
        snprintf(text, sizeof text, "[%u]", step->number);
    else if (step->number)
        snprintf(text, sizeof text, "[#-%u]", step->number);
    else
        snprintf(text, sizeof text, "[#]");
    for (const char *at = text; *at; at++)
        put(canon, *at);
}

enum error_code msgpack_path_text(const struct msgpack_path *path,
                                  char text_out[MSGPACK_PATH_BYTES_MAX + 1], struct error *error)
{
    char text[MSGPACK_PATH_BYTES_MAX + 1];
    struct canon canon = {.text = text};
    if (path->step_count == 0 || path->steps[0].kind != MSGPACK_PATH_KEY)
        put(&canon, '$');
    for (uint32_t i = 0; i < path->step_count; i++) {
        const struct msgpack_path_step *step = &path->steps[i];
        if (step->kind == MSGPACK_PATH_KEY)
            put_key(&canon, path->keys + step->key_offset, step->key_bytes, i == 0);
        else
            put_index(&canon, step);
    }
    if (canon.bytes > MSGPACK_PATH_BYTES_MAX)
        return error_set(error, ERROR_INVALID,
                         "a path may have %d bytes, this one has %zu when its keys are quoted",
                         MSGPACK_PATH_BYTES_MAX, canon.bytes);
    memcpy(text_out, text, canon.bytes);
    text_out[canon.bytes] = '\0';
    return OK;
}

/* False: it is no msgpack. Each value takes a byte at least, so a lie about a count ends there. */
static bool skip(struct msgpack_cursor *cursor, uint64_t values)
{
    struct msgpack_value value;
    for (; values > 0; values--) {
        if (msgpack_head_read(cursor, &value))
            return false;
        if (value.kind == MSGPACK_KIND_ARRAY)
            values += value.count;
        else if (value.kind == MSGPACK_KIND_MAP)
            values += 2 * (uint64_t)value.count;
    }
    return true;
}

/* To the value of the key, in a map of `pairs` whose first key is at the cursor. */
static enum error_code find_key(struct msgpack_cursor *cursor, uint32_t pairs, const char *key,
                                size_t key_bytes)
{
    for (; pairs > 0; pairs--) {
        const uint8_t *start = cursor->at;
        struct msgpack_value name;
        if (msgpack_head_read(cursor, &name))
            return ERROR_INVALID;
        if (name.kind == MSGPACK_KIND_STR) {
            if (name.count == key_bytes && memcmp(name.bytes, key, key_bytes) == 0)
                return OK;
        } else {
            cursor->at = start;
            if (!skip(cursor, 1))
                return ERROR_INVALID;
        }
        if (!skip(cursor, 1))
            return ERROR_INVALID;
    }
    return ERROR_NOT_FOUND;
}

static enum error_code find_element(struct msgpack_cursor *cursor, uint32_t count,
                                    const struct msgpack_path_step *step)
{
    bool from_end = step->kind == MSGPACK_PATH_FROM_END;
    if (from_end ? step->number == 0 || step->number > count : step->number >= count)
        return ERROR_NOT_FOUND;
    return skip(cursor, from_end ? count - step->number : step->number) ? OK : ERROR_INVALID;
}

static enum error_code take_step(const struct msgpack_path *path,
                                 const struct msgpack_path_step *step,
                                 struct msgpack_cursor *cursor)
{
    struct msgpack_value value;
    if (msgpack_head_read(cursor, &value))
        return ERROR_INVALID;
    bool by_key = step->kind == MSGPACK_PATH_KEY;
    if (value.kind != (by_key ? MSGPACK_KIND_MAP : MSGPACK_KIND_ARRAY))
        return ERROR_NOT_FOUND;
    return by_key ? find_key(cursor, value.count, path->keys + step->key_offset, step->key_bytes)
                  : find_element(cursor, value.count, step);
}

enum error_code msgpack_path_find(const struct msgpack_path *path, const void *payload,
                                  size_t payload_bytes, struct msgpack_cursor *found_out)
{
    const uint8_t *start = payload;
    struct msgpack_cursor cursor = {.at = start, .end = start + payload_bytes};
    for (uint32_t i = 0; i < path->step_count; i++) {
        enum error_code code = take_step(path, &path->steps[i], &cursor);
        if (code)
            return code;
    }
    start = cursor.at;
    if (!skip(&cursor, 1))
        return ERROR_INVALID;
    *found_out = (struct msgpack_cursor){.at = start, .end = cursor.at};
    return OK;
}
