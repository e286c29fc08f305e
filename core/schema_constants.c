#include "core/schema_constants.h"

#include <string.h>

#include "core/msgpack_head.h"
#include "core/schema_equal.h"
#include "core/schema_names.h"

enum { COMPARED_MAX = 8, NOTHING = UINT32_MAX };

static void put_in_table(struct schema_constants *constants, uint32_t index)
{
    uint64_t steps = UINT64_MAX;
    struct msgpack_cursor constant = constants->list[index];
    /* One with a NaN in it is equal to nothing. */
    if (!schema_equal(constant, constant, &steps))
        return;
    for (uint64_t slot = schema_equal_hash(constant, &steps);; slot++) {
        uint32_t *at = &constants->slots[slot & constants->slot_mask];
        if (*at == NOTHING)
            *at = index;
        if (*at == index || schema_equal(constants->list[*at], constant, &steps))
            return;
    }
}

bool schema_constants_index(struct schema *schema, struct schema_constants *constants)
{
    uint32_t size = 4;
    if (constants->count <= COMPARED_MAX)
        return true;
    while (size < 2 * constants->count)
        size *= 2;
    constants->slots = schema_allocate(schema, size * sizeof *constants->slots);
    if (!constants->slots)
        return false;
    memset(constants->slots, 0xff, size * sizeof *constants->slots);
    constants->slot_mask = size - 1;
    for (uint32_t i = 0; i < constants->count; i++)
        put_in_table(constants, i);
    return true;
}

static bool is_container(const struct msgpack_value *head)
{
    return head->kind >= MSGPACK_KIND_ARRAY;
}

/* A text is compared byte by byte; whatever else it might be equal to has to be looked into. */
static bool is_constant(struct msgpack_cursor constant, const struct msgpack_value *head,
                        struct msgpack_cursor value, uint64_t *steps_left)
{
    struct msgpack_value other;
    uint64_t one = 1; /* enough for two scalars; with more in them they pay themselves */
    if (head->kind != MSGPACK_KIND_STR)
        return schema_equal(value, constant, is_container(head) ? steps_left : &one);
    return !msgpack_head_read(&constant, &other) && other.kind == MSGPACK_KIND_STR &&
           other.count == head->count && schema_names_same(other.bytes, head->bytes, head->count);
}

static bool find(const struct schema_constants *constants, const struct msgpack_value *head,
                 struct msgpack_cursor value, uint64_t *steps_left)
{
    uint64_t one = 1;
    uint64_t slot = schema_equal_hash(value, is_container(head) ? steps_left : &one);
    for (;; slot++) {
        uint32_t index = constants->slots[slot & constants->slot_mask];
        if (index == NOTHING)
            return false;
        if (is_constant(constants->list[index], head, value, steps_left))
            return true;
    }
}

bool schema_constants_has(const struct schema_constants *constants,
                          const struct msgpack_value *head, struct msgpack_cursor value,
                          uint64_t *steps_left)
{
    if (constants->slots)
        return find(constants, head, value, steps_left);
    for (uint32_t i = 0; i < constants->count; i++)
        if (is_constant(constants->list[i], head, value, steps_left))
            return true;
    return false;
}
