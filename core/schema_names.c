#include "core/schema_names.h"

/* FNV-1a (Fowler, Noll, Vo), as keys are short. */
static uint32_t hash_name(const char *bytes, uint32_t size)
{
    uint32_t hash = 2166136261;
    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)bytes[i]) * 16777619;
    return hash;
}

bool schema_names_index(struct schema *schema, struct schema_names *names)
{
    uint32_t size = 4;
    if (names->count == 0)
        return true;
    while (size < 2 * (uint32_t)names->count)
        size *= 2;
    names->slots = schema_allocate(schema, size * sizeof *names->slots);
    if (!names->slots)
        return false;
    names->slot_mask = size - 1;
    memset(names->slots, 0xff, size * sizeof *names->slots);
    for (uint16_t i = 0; i < names->count; i++) {
        uint32_t slot = hash_name(names->list[i].bytes, names->list[i].size);
        while (names->slots[slot & names->slot_mask] != SCHEMA_NONE)
            slot++;
        names->slots[slot & names->slot_mask] = i;
    }
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
