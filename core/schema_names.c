#include "core/schema_names.h"

/* FNV-1a (Fowler, Noll, Vo), as keys are short. */
static uint32_t hash_name(const char *bytes, uint32_t size)
{
    uint32_t hash = 2166136261;
    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)bytes[i]) * 16777619;
    return hash;
}

static void put_in_table(struct schema_names *names, uint16_t index)
{
    uint32_t slot = hash_name(names->list[index].bytes, names->list[index].size);
    while (names->slots[slot & names->slot_mask] != SCHEMA_NONE)
        slot++;
    names->slots[slot & names->slot_mask] = index;
}

/* To twice as many, with a table that is at most half full. What was there stays in the arena. */
static bool grow(struct schema *schema, struct schema_names *names)
{
    uint32_t capacity = names->count ? 2 * (uint32_t)names->count : 2, slot_count = 2 * capacity;
    struct schema_name *list = schema_allocate(schema, capacity * sizeof *list);
    uint16_t *slots = schema_allocate(schema, slot_count * sizeof *slots);
    if (!list || !slots)
        return false;
    if (names->count > 0)
        memcpy(list, names->list, names->count * sizeof *list);
    memset(slots, 0xff, slot_count * sizeof *slots);
    names->list = list;
    names->slots = slots;
    names->slot_mask = slot_count - 1;
    for (uint16_t i = 0; i < names->count; i++)
        put_in_table(names, i);
    return true;
}

bool schema_names_add(struct schema *schema, struct schema_names *names, const char *bytes,
                      uint32_t size)
{
    /* The list has room for a power of two, from 2 on: it is full, or not there. */
    bool full = names->count != 1 && (names->count & (names->count - 1)) == 0;
    if (full && !grow(schema, names))
        return false;
    names->list[names->count] = (struct schema_name){.bytes = bytes, .size = size};
    put_in_table(names, names->count++);
    return true;
}

uint16_t schema_names_look_up(const struct schema_names *names, const char *bytes, uint32_t size)
{
    for (uint32_t slot = hash_name(bytes, size);; slot++) {
        uint16_t index = names->slots[slot & names->slot_mask];
        if (index == SCHEMA_NONE || (names->list[index].size == size &&
                                     schema_names_same(names->list[index].bytes, bytes, size)))
            return index;
    }
}
