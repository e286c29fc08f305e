#include "core/msgpack.h"

#include <string.h>

#include "core/utf8.h"

static uint16_t big16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t big32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t big64(const uint8_t *at)
{
    return (uint64_t)big32(at) << 32 | big32(at + 4);
}

static uint64_t big_unsigned(const uint8_t *at, size_t size)
{
    switch (size) {
    case 1:
        return at[0];
    case 2:
        return big16(at);
    case 4:
        return big32(at);
    default:
        return big64(at);
    }
}

static int64_t big_signed(const uint8_t *at, size_t size)
{
    switch (size) {
    case 1:
        return (int8_t)at[0];
    case 2:
        return (int16_t)big16(at);
    case 4:
        return (int32_t)big32(at);
    default:
        return (int64_t)big64(at);
    }
}

static double big_real(const uint8_t *at, size_t size)
{
    if (size == 4) {
        uint32_t bits = big32(at);
        float single;
        memcpy(&single, &bits, sizeof single);
        return (double)single;
    }
    uint64_t bits = big64(at);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

/* The functions below return what is wrong as a text, or NULL when all is well. */

static const char TRUNCATED[] = "the data ends inside a value";

static void set_signed(struct msgpack_value *value, int64_t number)
{
    value->kind = number < 0 ? MSGPACK_KIND_INT : MSGPACK_KIND_UINT;
    value->signed_ = number;
    value->unsigned_ = (uint64_t)number;
}

/* Integers and floats of `size` bytes behind the first byte. */
static const char *read_number(struct msgpack_cursor *cursor, enum msgpack_kind kind, size_t size,
                               struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return TRUNCATED;
    value->kind = kind;
    if (kind == MSGPACK_KIND_UINT)
        value->unsigned_ = big_unsigned(cursor->at, size);
    else if (kind == MSGPACK_KIND_INT)
        set_signed(value, big_signed(cursor->at, size));
    else {
        value->real = big_real(cursor->at, size);
        value->single = size == 4;
    }
    cursor->at += size;
    return NULL;
}

/* `count` bytes of a string, binary or extension. */
static const char *take_bytes(struct msgpack_cursor *cursor, enum msgpack_kind kind, uint32_t count,
                              struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < count)
        return "the data ends inside a string or binary";
    value->kind = kind;
    value->bytes = cursor->at;
    value->count = count;
    cursor->at += count;
    return NULL;
}

/* A string or binary whose length has `size` bytes. */
static const char *read_bytes(struct msgpack_cursor *cursor, enum msgpack_kind kind, size_t size,
                              struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return TRUNCATED;
    uint32_t count = (uint32_t)big_unsigned(cursor->at, size);
    cursor->at += size;
    return take_bytes(cursor, kind, count, value);
}

static const char *take_extension(struct msgpack_cursor *cursor, uint32_t count,
                                  struct msgpack_value *value)
{
    if (cursor->at == cursor->end)
        return TRUNCATED;
    value->ext_type = (int8_t)*cursor->at++;
    return take_bytes(cursor, MSGPACK_KIND_EXT, count, value);
}

static const char *read_extension(struct msgpack_cursor *cursor, size_t size,
                                  struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return TRUNCATED;
    uint32_t count = (uint32_t)big_unsigned(cursor->at, size);
    cursor->at += size;
    return take_extension(cursor, count, value);
}

/* Every element takes a byte at least, so a larger count is a lie. */
static const char *take_container(struct msgpack_cursor *cursor, enum msgpack_kind kind,
                                  uint32_t count, struct msgpack_value *value)
{
    uint64_t values = kind == MSGPACK_KIND_MAP ? 2 * (uint64_t)count : count;
    if (values > (uint64_t)(cursor->end - cursor->at))
        return "an array or map claims more elements than there are bytes";
    value->kind = kind;
    value->count = count;
    return NULL;
}

static const char *read_container(struct msgpack_cursor *cursor, enum msgpack_kind kind,
                                  size_t size, struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return TRUNCATED;
    uint32_t count = (uint32_t)big_unsigned(cursor->at, size);
    cursor->at += size;
    return take_container(cursor, kind, count, value);
}

/* Heads 0xc0 to 0xdf; the rest carry their value or count in the first byte. */
static const char *read_long_head(struct msgpack_cursor *cursor, uint8_t first,
                                  struct msgpack_value *value)
{
    switch (first) {
    case 0xc0:
        value->kind = MSGPACK_KIND_NIL;
        return NULL;
    case 0xc2:
    case 0xc3:
        value->kind = MSGPACK_KIND_BOOL;
        value->boolean = first == 0xc3;
        return NULL;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_bytes(cursor, MSGPACK_KIND_BIN, (size_t)1 << (first - 0xc4), value);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_extension(cursor, (size_t)1 << (first - 0xc7), value);
    case 0xca:
    case 0xcb:
        return read_number(cursor, MSGPACK_KIND_FLOAT, (size_t)4 << (first - 0xca), value);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_number(cursor, MSGPACK_KIND_UINT, (size_t)1 << (first - 0xcc), value);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_number(cursor, MSGPACK_KIND_INT, (size_t)1 << (first - 0xd0), value);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_extension(cursor, UINT32_C(1) << (first - 0xd4), value);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_bytes(cursor, MSGPACK_KIND_STR, (size_t)1 << (first - 0xd9), value);
    case 0xdc:
    case 0xdd:
        return read_container(cursor, MSGPACK_KIND_ARRAY, (size_t)2 << (first - 0xdc), value);
    case 0xde:
    case 0xdf:
        return read_container(cursor, MSGPACK_KIND_MAP, (size_t)2 << (first - 0xde), value);
    default:
        return "the byte 0xc1 is no msgpack";
    }
}

/* The one decoder of heads, for checking, reading and skipping. Moves the cursor even on failure.
 */
static inline const char *read_head(struct msgpack_cursor *cursor, struct msgpack_value *value)
{
    if (cursor->at == cursor->end)
        return TRUNCATED;
    uint8_t first = *cursor->at++;
    if (first <= 0x7f) {
        value->kind = MSGPACK_KIND_UINT;
        value->unsigned_ = first;
        return NULL;
    }
    if (first <= 0x8f)
        return take_container(cursor, MSGPACK_KIND_MAP, first & 0x0f, value);
    if (first <= 0x9f)
        return take_container(cursor, MSGPACK_KIND_ARRAY, first & 0x0f, value);
    if (first <= 0xbf)
        return take_bytes(cursor, MSGPACK_KIND_STR, first & 0x1f, value);
    if (first >= 0xe0) {
        set_signed(value, (int8_t)first);
        return NULL;
    }
    return read_long_head(cursor, first, value);
}

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
        const char *fault = read_head(cursor, &value);
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
    const char *fault = read_head(cursor, &value);
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
        const char *fault = read_head(&next, &value);
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
