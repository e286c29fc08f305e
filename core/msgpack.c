#include "core/msgpack.h"

#include <string.h>

#include "core/msgpack_head.h"
#include "core/utf8.h"

/* How many values follow directly inside this one. */
static uint64_t inner_values(const struct msgpack_value *value)
{
    if (value->kind == MSGPACK_KIND_ARRAY)
        return value->count;
    if (value->kind == MSGPACK_KIND_MAP)
        return 2 * (uint64_t)value->count;
    return 0;
}

static const char *check_string(const struct msgpack_value *value)
{
    if (utf8_valid_bytes(value->bytes, value->count) != value->count)
        return "a string is not UTF-8";
    return NULL;
}

/* Check one value, from cursor->at; afterwards cursor->at is its end, or near the fault. */
static const char *check_value(struct msgpack_cursor *cursor, unsigned depth_max)
{
    uint64_t left[MSGPACK_DEPTH_LIMIT + 1]; /* values still missing at each level */
    unsigned depth = 0;
    left[0] = 1;
    struct msgpack_value value;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return NULL;
            depth--;
        }
        left[depth]--;
        const uint8_t *start = cursor->at;
        const char *fault = msgpack_head_read(cursor, &value);
        if (!fault && value.kind == MSGPACK_KIND_STR)
            fault = check_string(&value);
        if (!fault && value.kind >= MSGPACK_KIND_ARRAY) {
            if (depth == depth_max)
                fault = "too many arrays and maps inside each other";
            else
                left[++depth] = inner_values(&value);
        }
        if (fault) {
            cursor->at = start;
            return fault;
        }
    }
}

enum error_code msgpack_check_prefix(const void *data, size_t size, unsigned depth_max,
                                     size_t *size_out, struct error *error)
{
    if (size == 0)
        return error_set(error, ERROR_INVALID, "not msgpack: there is no data");
    const uint8_t *start = data;
    struct msgpack_cursor cursor = {.at = start, .end = start + size};
    if (depth_max > MSGPACK_DEPTH_LIMIT)
        depth_max = MSGPACK_DEPTH_LIMIT;
    const char *fault = check_value(&cursor, depth_max);
    if (fault)
        return error_set(error, ERROR_INVALID, "not msgpack at byte %zu: %s",
                         (size_t)(cursor.at - start), fault);
    *size_out = (size_t)(cursor.at - start);
    return OK;
}

enum error_code msgpack_check(const void *data, size_t size, unsigned depth_max,
                              struct error *error)
{
    size_t used = 0;
    enum error_code code = msgpack_check_prefix(data, size, depth_max, &used, error);
    if (code)
        return code;
    if (used != size)
        return error_set(error, ERROR_INVALID,
                         "not one msgpack value: it ends at byte %zu, and %zu more follow", used,
                         size - used);
    return OK;
}

enum error_code msgpack_read(struct msgpack_cursor *cursor, struct msgpack_value *value_out,
                             struct error *error)
{
    /* Only `at` is put back: to copy a cursor that was just stored in part stalls the processor. */
    const uint8_t *start = cursor->at;
    struct msgpack_value value = {0};
    const char *fault = msgpack_head_read(cursor, &value);
    if (fault) {
        cursor->at = start;
        return error_set(error, ERROR_INVALID, "not msgpack: %s", fault);
    }
    *value_out = value;
    return OK;
}

enum error_code msgpack_skip_within(struct msgpack_cursor *cursor, uint64_t *values_left,
                                    struct error *error)
{
    struct msgpack_cursor next = *cursor;
    struct msgpack_value value;
    uint64_t left = *values_left;
    /* Depth does not matter here: how many values are still missing says when it is over. */
    for (uint64_t missing = 1; missing > 0; missing--) {
        if (left-- == 0)
            return error_set(error, ERROR_FULL, "there are more than %llu values",
                             (unsigned long long)*values_left);
        const char *fault = msgpack_head_read(&next, &value);
        if (!fault && inner_values(&value) + missing - 1 > (uint64_t)(next.end - next.at))
            fault = "arrays and maps claim more elements than there are bytes";
        if (fault)
            return error_set(error, ERROR_INVALID, "not msgpack: %s", fault);
        missing += inner_values(&value);
    }
    *values_left = left;
    *cursor = next;
    return OK;
}

enum error_code msgpack_skip(struct msgpack_cursor *cursor, struct error *error)
{
    uint64_t values_left = UINT64_MAX;
    return msgpack_skip_within(cursor, &values_left, error);
}

/* Step over the key at the cursor; *equal_out says whether it is the string `key`. */
static enum error_code pass_key(struct msgpack_cursor *cursor, const char *key, size_t key_bytes,
                                bool *equal_out, struct error *error)
{
    struct msgpack_cursor start = *cursor;
    struct msgpack_value name;
    enum error_code code = msgpack_read(cursor, &name, error);
    if (code)
        return code;
    if (name.kind == MSGPACK_KIND_STR) {
        *equal_out = name.count == key_bytes && memcmp(name.bytes, key, key_bytes) == 0;
        return OK;
    }
    *equal_out = false;
    *cursor = start;
    return msgpack_skip(cursor, error);
}

enum error_code msgpack_find(const struct msgpack_cursor *cursor, const char *key,
                             struct msgpack_cursor *found_out, struct error *error)
{
    struct msgpack_cursor at = *cursor;
    struct msgpack_value map;
    enum error_code code = msgpack_read(&at, &map, error);
    if (code)
        return code;
    if (map.kind != MSGPACK_KIND_MAP)
        return error_set(error, ERROR_NOT_FOUND, "no key '%s': the value is no map", key);

    size_t key_bytes = strlen(key);
    for (uint32_t i = 0; i < map.count; i++) {
        bool equal;
        code = pass_key(&at, key, key_bytes, &equal, error);
        if (code)
            return code;
        struct msgpack_cursor value = at;
        code = msgpack_skip(&at, error);
        if (code)
            return code;
        if (equal) {
            *found_out = (struct msgpack_cursor){.at = value.at, .end = at.at};
            return OK;
        }
    }
    return error_set(error, ERROR_NOT_FOUND, "the map has no key '%s'", key);
}

static int append_packed(void *buffer, const char *bytes, size_t size)
{
    return buffer_append(buffer, bytes, size, NULL) == OK ? 0 : -1;
}

void msgpack_packer_to_buffer(msgpack_packer *packer, struct buffer *buffer)
{
    msgpack_packer_init(packer, buffer, append_packed);
}
