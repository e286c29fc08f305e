#include "core/schema_equal.h"

#include <string.h>

#include "core/schema_number.h"

static bool spend(uint64_t *steps_left)
{
    if (*steps_left == 0)
        return false;
    --*steps_left;
    return true;
}

/* Both cursors end behind the values when they are equal, and anywhere when they are not. */
static bool equal(struct msgpack_cursor *a, struct msgpack_cursor *b, uint64_t *steps_left);

static bool equal_arrays(struct msgpack_cursor *a, struct msgpack_cursor *b, uint32_t count,
                         uint64_t *steps_left)
{
    for (uint32_t i = 0; i < count; i++)
        if (!equal(a, b, steps_left))
            return false;
    return true;
}

static bool skip(struct msgpack_cursor *cursor, uint64_t *steps_left)
{
    return !msgpack_skip_within(cursor, steps_left, NULL);
}

/*
 * Is the pair at *pairs this one? *pairs moves behind it. *same_key_out: the key is, at least; it
 * also passes for the same when the steps are at an end, for there is nothing more to look for.
 */
static bool is_pair(struct msgpack_cursor *pairs, struct msgpack_cursor key,
                    struct msgpack_cursor value, bool *same_key_out, uint64_t *steps_left)
{
    struct msgpack_cursor found = *pairs;
    *same_key_out = true;
    if (!skip(pairs, steps_left))
        return false;
    bool same = equal(&key, &found, steps_left);
    struct msgpack_cursor other = *pairs;
    if (!skip(pairs, steps_left))
        return false;
    *same_key_out = same || *steps_left == 0;
    return same && equal(&value, &other, steps_left);
}

/* Has one of the pairs at `pairs` this key and this value? */
static bool has_pair(struct msgpack_cursor pairs, uint32_t count, struct msgpack_cursor key,
                     struct msgpack_cursor value, uint64_t *steps_left)
{
    bool same_key = false, same = false;
    for (uint32_t i = 0; i < count && !same_key; i++)
        same = is_pair(&pairs, key, value, &same_key, steps_left);
    return same;
}

/*
 * Each pair of `a` is in `b`; *a moves behind them. As a rule their keys are in the same order, and
 * then each is where it is looked for first.
 */
static bool has_pairs(struct msgpack_cursor *a, struct msgpack_cursor b, uint32_t count,
                      uint64_t *steps_left)
{
    struct msgpack_cursor opposite = b;
    for (uint32_t i = 0; i < count; i++) {
        struct msgpack_cursor key = *a;
        bool same_key;
        if (!skip(a, steps_left))
            return false;
        struct msgpack_cursor value = *a;
        if (!skip(a, steps_left))
            return false;
        if (is_pair(&opposite, key, value, &same_key, steps_left))
            continue;
        if (same_key || !has_pair(b, count, key, value, steps_left))
            return false;
    }
    return true;
}

/* Both ways: a key that is there twice must not stand for one that is missing. */
static bool equal_maps(struct msgpack_cursor *a, struct msgpack_cursor *b, uint32_t count,
                       uint64_t *steps_left)
{
    struct msgpack_cursor pairs_of_a = *a;
    return has_pairs(a, *b, count, steps_left) && has_pairs(b, pairs_of_a, count, steps_left);
}

static bool equal_bytes(const struct msgpack_value *a, const struct msgpack_value *b)
{
    return a->kind == b->kind && a->count == b->count &&
           (a->kind != MSGPACK_KIND_EXT || a->ext_type == b->ext_type) &&
           (a->count == 0 || memcmp(a->bytes, b->bytes, a->count) == 0);
}

static bool equal(struct msgpack_cursor *a, struct msgpack_cursor *b, uint64_t *steps_left)
{
    struct msgpack_value of_a, of_b;
    struct schema_number number_a, number_b;
    if (!spend(steps_left) || msgpack_read(a, &of_a, NULL) || msgpack_read(b, &of_b, NULL))
        return false;
    if (schema_number_from(&of_a, &number_a))
        return schema_number_from(&of_b, &number_b) &&
               schema_number_compare(&number_a, &number_b) == 0;
    if (of_a.kind != of_b.kind)
        return false;
    switch (of_a.kind) {
    case MSGPACK_KIND_NIL:
        return true;
    case MSGPACK_KIND_BOOL:
        return of_a.boolean == of_b.boolean;
    case MSGPACK_KIND_ARRAY:
        return of_a.count == of_b.count && equal_arrays(a, b, of_a.count, steps_left);
    case MSGPACK_KIND_MAP:
        return of_a.count == of_b.count && equal_maps(a, b, of_a.count, steps_left);
    case MSGPACK_KIND_STR:
    case MSGPACK_KIND_BIN:
    case MSGPACK_KIND_EXT:
        return equal_bytes(&of_a, &of_b);
    default: /* NaN and the infinities: NaN is not even equal to itself */
        return of_a.real == of_b.real;
    }
}

bool schema_equal(struct msgpack_cursor a, struct msgpack_cursor b, uint64_t *steps_left)
{
    return equal(&a, &b, steps_left);
}

/* The finalizer of MurmurHash3 (Appleby, public domain). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

static uint64_t hash_bytes(const void *data, size_t size)
{
    uint64_t hash = size;
    const uint8_t *at = data;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof eight);
        hash = mix(hash ^ eight);
    }
    uint64_t rest = 0;
    if (size > 0)
        memcpy(&rest, at, size);
    return mix(hash ^ rest);
}

static uint64_t hash_number(const struct schema_number *number)
{
    uint64_t bits;
    memcpy(&bits, &number->real, sizeof bits);
    return mix(number->magnitude ^ bits ^ (uint64_t)number->kind << 62);
}

static uint64_t hash(struct msgpack_cursor *cursor, uint64_t *steps_left)
{
    struct msgpack_value value;
    struct schema_number number;
    if (!spend(steps_left) || msgpack_read(cursor, &value, NULL))
        return 0;
    if (schema_number_from(&value, &number))
        return hash_number(&number);
    uint64_t sum = mix((uint64_t)value.kind + 1);
    switch (value.kind) {
    case MSGPACK_KIND_BOOL:
        return sum + value.boolean;
    case MSGPACK_KIND_STR:
    case MSGPACK_KIND_BIN:
    case MSGPACK_KIND_EXT:
        return sum ^ hash_bytes(value.bytes, value.count);
    case MSGPACK_KIND_ARRAY:
        for (uint32_t i = 0; i < value.count; i++)
            sum = mix(sum ^ hash(cursor, steps_left));
        return sum;
    case MSGPACK_KIND_MAP: /* in whatever order */
        for (uint32_t i = 0; i < value.count; i++) {
            uint64_t of_key = hash(cursor, steps_left);
            sum += mix(of_key + 3 * hash(cursor, steps_left));
        }
        return sum;
    default:
        return sum;
    }
}

uint64_t schema_equal_hash(struct msgpack_cursor value, uint64_t *steps_left)
{
    return hash(&value, steps_left);
}
