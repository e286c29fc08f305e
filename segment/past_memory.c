#include "segment/past_memory.h"

#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"

enum { SLOTS_FIRST = 64, ENTRY_HEAD_BYTES = 17 };

/* The slot of this name, or the free one where it belongs. There is a free one. */
static uint32_t *slot_of(const struct segment_past_memory *memory, const char *name,
                         size_t name_bytes)
{
    size_t mask = memory->slot_count - 1;
    size_t i = checksum_extend(0, name, name_bytes) & mask;

    while (memory->slots[i]) {
        const uint8_t *entry = memory->entries.data + memory->slots[i] - 1;
        if (entry[16] == name_bytes && memcmp(entry + ENTRY_HEAD_BYTES, name, name_bytes) == 0)
            break;
        i = (i + 1) & mask;
    }
    return &memory->slots[i];
}

static enum error_code grow(struct segment_past_memory *memory, struct error *error)
{
    struct segment_past_memory grown = *memory;

    if (2 * ((size_t)memory->count + 1) <= memory->slot_count)
        return OK;
    grown.slot_count = memory->slot_count ? 2 * memory->slot_count : SLOTS_FIRST;
    grown.slots = calloc(grown.slot_count, sizeof *grown.slots);
    if (!grown.slots)
        return error_set(error, ERROR_MEMORY, "no memory for the producers of the past");
    for (size_t at = 0; at < memory->entries.size;) {
        const uint8_t *entry = memory->entries.data + at;
        *slot_of(&grown, (const char *)entry + ENTRY_HEAD_BYTES, entry[16]) = (uint32_t)at + 1;
        at += ENTRY_HEAD_BYTES + (size_t)entry[16];
    }
    free(memory->slots);
    *memory = grown;
    return OK;
}

enum error_code segment_past_memory_put(struct segment_past_memory *memory,
                                        const struct segment_producers_entry *entry,
                                        struct error *error)
{
    size_t size = ENTRY_HEAD_BYTES + entry->name_bytes;
    enum error_code code = grow(memory, error);

    if (!code)
        code = buffer_reserve(&memory->entries, size, error);
    if (code)
        return code;
    uint32_t *slot = slot_of(memory, entry->name, entry->name_bytes);
    uint8_t *at = memory->entries.data + (*slot ? *slot - 1 : memory->entries.size);
    bytes_store64(at, entry->number);
    bytes_store64(at + 8, entry->sequence);
    at[16] = (uint8_t)entry->name_bytes;
    memcpy(at + ENTRY_HEAD_BYTES, entry->name, entry->name_bytes);
    if (!*slot) {
        *slot = (uint32_t)memory->entries.size + 1;
        memory->entries.size += size;
        memory->count++;
    }
    if (entry->sequence > memory->sequence_max)
        memory->sequence_max = entry->sequence;
    return OK;
}

bool segment_past_memory_find(const struct segment_past_memory *memory, const char *name,
                              size_t name_bytes, uint64_t *number_out, uint64_t *sequence_out)
{
    uint32_t slot = memory->count > 0 ? *slot_of(memory, name, name_bytes) : 0;

    if (!slot)
        return false;
    *number_out = bytes_load64(memory->entries.data + slot - 1);
    *sequence_out = bytes_load64(memory->entries.data + slot - 1 + 8);
    return true;
}

enum error_code segment_past_memory_load(struct segment_past_memory *memory,
                                         const struct buffer *entries, struct error *error)
{
    struct segment_producers_entry entry;
    size_t position = 0;
    enum error_code code;

    while ((code = segment_producers_next(entries->data, entries->size, &position, &entry,
                                          error)) == OK) {
        code = segment_past_memory_put(memory, &entry, error);
        if (code)
            return code;
    }
    return code == ERROR_END ? OK : code;
}

enum error_code segment_past_memory_copy(struct segment_past_memory *to,
                                         const struct segment_past_memory *from,
                                         struct error *error)
{
    to->count = from->count;
    to->sequence_max = from->sequence_max;
    return buffer_append(&to->entries, from->entries.data, from->entries.size, error);
}

void segment_past_memory_clear(struct segment_past_memory *memory)
{
    if (memory->slots)
        memset(memory->slots, 0, memory->slot_count * sizeof *memory->slots);
    memory->entries.size = 0;
    memory->count = 0;
    memory->sequence_max = 0;
}

void segment_past_memory_release(struct segment_past_memory *memory)
{
    buffer_release(&memory->entries);
    free(memory->slots);
    *memory = (struct segment_past_memory){0};
}
