/* The names of a simulated disk: entries, and what was done to them since the last sync. */
#include <stdlib.h>
#include <string.h>

#include "tools/torture/disk_inside.h"

static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity ? *capacity * 2 : 8;
    void *grown = disk_allocate(wanted * size);
    if (count > 0)
        memcpy(grown, array, count * size);
    free(array);
    *capacity = wanted;
    return grown;
}

struct disk_entry *disk_entries_find(const struct disk_entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->array[i].name, name) == 0)
            return &entries->array[i];
    return NULL;
}

void disk_entries_put(struct disk_entries *entries, const char *name, uint64_t node)
{
    struct disk_entry *entry = disk_entries_find(entries, name);
    if (!entry) {
        entries->array = grow(entries->array, entries->count, &entries->capacity, sizeof *entry);
        entry = &entries->array[entries->count++];
        strcpy(entry->name, name); /* the calls refuse longer ones */
    }
    entry->node = node;
}

void disk_entries_remove(struct disk_entries *entries, const char *name)
{
    struct disk_entry *entry = disk_entries_find(entries, name);
    if (entry)
        *entry = entries->array[--entries->count];
}

void disk_entries_copy(const struct disk_entries *from, struct disk_entries *to)
{
    free(to->array);
    *to = (struct disk_entries){.count = from->count, .capacity = from->count};
    if (from->count == 0)
        return;
    to->array = disk_allocate(from->count * sizeof *to->array);
    memcpy(to->array, from->array, from->count * sizeof *to->array);
}

void disk_acts_add(struct disk_acts *acts, const struct disk_act *act)
{
    acts->array = grow(acts->array, acts->count, &acts->capacity, sizeof *act);
    acts->array[acts->count++] = *act;
}

void disk_act_apply(const struct disk_act *act, struct disk_entries *entries)
{
    switch (act->kind) {
    case DISK_ACT_LINK:
        disk_entries_put(entries, act->name, act->node);
        break;
    case DISK_ACT_UNLINK:
        disk_entries_remove(entries, act->name);
        break;
    case DISK_ACT_RENAME:
        disk_entries_remove(entries, act->name);
        disk_entries_put(entries, act->to, act->node);
        break;
    }
}
