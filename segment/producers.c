#include "segment/producers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"

#define SLOTS 32768
enum { NONE = UINT16_MAX, ENTRY_HEAD_BYTES = 17 };
static_assert(SLOTS >= 2 * PRODUCERS_MAX && (int)PRODUCERS_MAX < (int)NONE,
              "the table stays half empty");

struct producer {
    uint64_t number;
    uint64_t sequence;
    uint16_t newer, older; /* the list by use */
    uint16_t next;         /* in the same hash slot */
    uint8_t name_bytes;
    char name[EVENT_PRODUCER_BYTES_MAX];
};

struct segment_producers {
    uint16_t *slots; /* first producer of each hash value */
    struct producer *entries;
    size_t count;
    size_t capacity;
    uint16_t newest, oldest;
};

enum error_code segment_producers_create(struct segment_producers **producers_out,
                                         struct error *error)
{
    struct segment_producers *producers = calloc(1, sizeof *producers);
    if (producers)
        producers->slots = malloc(SLOTS * sizeof *producers->slots);
    if (!producers || !producers->slots) {
        free(producers);
        return error_set(error, ERROR_MEMORY, "no memory for the table of producers");
    }
    memset(producers->slots, 0xff, SLOTS * sizeof *producers->slots);
    producers->newest = producers->oldest = NONE;
    *producers_out = producers;
    return OK;
}

void segment_producers_free(struct segment_producers *producers)
{
    if (!producers)
        return;
    free(producers->entries);
    free(producers->slots);
    free(producers);
}

static uint16_t *slot_of(const struct segment_producers *producers, const char *name,
                         size_t name_bytes)
{
    return &producers->slots[checksum_extend(0, name, name_bytes) % SLOTS];
}

static uint16_t find(const struct segment_producers *producers, const char *name, size_t name_bytes)
{
    uint16_t i = *slot_of(producers, name, name_bytes);

    while (i != NONE) {
        const struct producer *entry = &producers->entries[i];
        if (entry->name_bytes == name_bytes && memcmp(entry->name, name, name_bytes) == 0)
            break;
        i = entry->next;
    }
    return i;
}

bool segment_producers_find(const struct segment_producers *producers, const char *name,
                            size_t name_bytes, uint64_t *number_out, uint64_t *sequence_out)
{
    uint16_t i = find(producers, name, name_bytes);

    if (i == NONE)
        return false;
    *number_out = producers->entries[i].number;
    *sequence_out = producers->entries[i].sequence;
    return true;
}

static void unlink_use(struct segment_producers *producers, uint16_t i)
{
    struct producer *entry = &producers->entries[i];

    if (entry->newer == NONE)
        producers->newest = entry->older;
    else
        producers->entries[entry->newer].older = entry->older;
    if (entry->older == NONE)
        producers->oldest = entry->newer;
    else
        producers->entries[entry->older].newer = entry->newer;
}

static void link_newest(struct segment_producers *producers, uint16_t i)
{
    struct producer *entry = &producers->entries[i];

    entry->newer = NONE;
    entry->older = producers->newest;
    if (producers->newest != NONE)
        producers->entries[producers->newest].newer = i;
    producers->newest = i;
    if (producers->oldest == NONE)
        producers->oldest = i;
}

static void unlink_slot(struct segment_producers *producers, uint16_t i)
{
    struct producer *entry = &producers->entries[i];
    uint16_t *link = slot_of(producers, entry->name, entry->name_bytes);

    while (*link != i)
        link = &producers->entries[*link].next;
    *link = entry->next;
}

/* A free entry: a new one, or that of the producer that was silent for longest. */
static enum error_code take_entry(struct segment_producers *producers, uint16_t *index_out,
                                  struct error *error)
{
    if (producers->count == PRODUCERS_MAX) {
        *index_out = producers->oldest;
        unlink_slot(producers, *index_out);
        unlink_use(producers, *index_out);
        return OK;
    }
    if (producers->count == producers->capacity) {
        size_t wanted = producers->capacity ? 2 * producers->capacity : 16;
        void *grown = realloc(producers->entries, wanted * sizeof *producers->entries);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "no memory for the table of producers");
        producers->entries = grown;
        producers->capacity = wanted;
    }
    *index_out = (uint16_t)producers->count++;
    return OK;
}

enum error_code segment_producers_note(struct segment_producers *producers, const char *name,
                                       size_t name_bytes, uint64_t number, uint64_t sequence,
                                       struct error *error)
{
    uint16_t i = find(producers, name, name_bytes);

    assert(name_bytes > 0 && name_bytes <= EVENT_PRODUCER_BYTES_MAX);
    if (i != NONE) {
        unlink_use(producers, i);
    } else {
        enum error_code code = take_entry(producers, &i, error);
        if (code)
            return code;
        struct producer *entry = &producers->entries[i];
        uint16_t *slot = slot_of(producers, name, name_bytes);
        entry->name_bytes = (uint8_t)name_bytes;
        memcpy(entry->name, name, name_bytes);
        entry->next = *slot;
        *slot = i;
    }
    link_newest(producers, i);
    producers->entries[i].number = number;
    producers->entries[i].sequence = sequence;
    return OK;
}

enum error_code segment_producers_copy(struct segment_producers *to,
                                       const struct segment_producers *from, struct error *error)
{
    if (to->capacity < from->count) {
        void *grown = realloc(to->entries, from->capacity * sizeof *to->entries);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "no memory for the table of producers");
        to->entries = grown;
        to->capacity = from->capacity;
    }
    memcpy(to->slots, from->slots, SLOTS * sizeof *to->slots);
    if (from->count > 0)
        memcpy(to->entries, from->entries, from->count * sizeof *to->entries);
    to->count = from->count;
    to->newest = from->newest;
    to->oldest = from->oldest;
    return OK;
}

bool segment_producers_is_full(const struct segment_producers *producers)
{
    return producers->count == PRODUCERS_MAX;
}

bool segment_producers_leaver(const struct segment_producers *producers, const char *name,
                              size_t name_bytes, struct segment_producers_entry *leaver_out)
{
    if (!segment_producers_is_full(producers) || find(producers, name, name_bytes) != NONE)
        return false;
    const struct producer *oldest = &producers->entries[producers->oldest];
    *leaver_out = (struct segment_producers_entry){
        .name = oldest->name,
        .name_bytes = oldest->name_bytes,
        .number = oldest->number,
        .sequence = oldest->sequence,
    };
    return true;
}

size_t segment_producers_count(const struct segment_producers *producers)
{
    return producers->count;
}

/* Oldest first, so that decoding in order restores the order of use too. */
enum error_code segment_producers_encode(const struct segment_producers *producers,
                                         size_t *position, struct buffer *out, struct error *error)
{
    size_t limit = out->size + PRODUCERS_BLOCK_MAX;
    uint16_t i = producers->oldest;

    for (size_t skip = 0; skip < *position && i != NONE; skip++)
        i = producers->entries[i].newer;
    for (; i != NONE; i = producers->entries[i].newer) {
        const struct producer *entry = &producers->entries[i];
        size_t size = ENTRY_HEAD_BYTES + (size_t)entry->name_bytes;
        if (out->size + size > limit)
            break;
        enum error_code code = buffer_reserve(out, size, error);
        if (code)
            return code;
        uint8_t *at = out->data + out->size;
        bytes_store64(at, entry->number);
        bytes_store64(at + 8, entry->sequence);
        at[16] = entry->name_bytes;
        memcpy(at + ENTRY_HEAD_BYTES, entry->name, entry->name_bytes);
        out->size += size;
        ++*position;
    }
    return OK;
}

enum error_code segment_producers_next(const void *body, size_t size, size_t *position,
                                       struct segment_producers_entry *entry_out,
                                       struct error *error)
{
    const uint8_t *at = (const uint8_t *)body + *position;
    size_t left = size - *position;

    if (left == 0)
        return ERROR_END;
    if (left < ENTRY_HEAD_BYTES || at[16] == 0 || at[16] > EVENT_PRODUCER_BYTES_MAX ||
        left < ENTRY_HEAD_BYTES + (size_t)at[16])
        return error_set(error, ERROR_DAMAGED, "the list of producers ends within an entry");
    if (bytes_load64(at + 8) >= EVENT_SEQUENCE_END)
        return error_set(error, ERROR_DAMAGED,
                         "the list of producers names a sequence that no event can have");
    *entry_out = (struct segment_producers_entry){
        .name = (const char *)at + ENTRY_HEAD_BYTES,
        .name_bytes = at[16],
        .number = bytes_load64(at),
        .sequence = bytes_load64(at + 8),
    };
    *position += ENTRY_HEAD_BYTES + entry_out->name_bytes;
    return OK;
}

enum error_code segment_producers_decode(struct segment_producers *producers, const void *body,
                                         size_t size, struct error *error)
{
    struct segment_producers_entry entry;
    size_t position = 0;
    enum error_code code;

    while ((code = segment_producers_next(body, size, &position, &entry, error)) == OK) {
        if (producers)
            code = segment_producers_note(producers, entry.name, entry.name_bytes, entry.number,
                                          entry.sequence, error);
        if (code)
            return code;
    }
    return code == ERROR_END ? OK : code;
}
