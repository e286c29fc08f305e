#include "tools/torture/crash_seen.h"

#include <stdlib.h>

#include "tools/torture/disk_image.h"

/* Linear probing; the hashes are evenly spread already. */
static bool put(struct crash_seen *seen, uint64_t hash)
{
    size_t at = (size_t)(hash >> 7) & (seen->capacity - 1);
    while (seen->slots[at] != 0) {
        if (seen->slots[at] == hash)
            return false;
        at = (at + 1) & (seen->capacity - 1);
    }
    seen->slots[at] = hash;
    return true;
}

static void grow(struct crash_seen *seen)
{
    struct crash_seen larger = {.capacity = seen->capacity ? seen->capacity * 2 : 4096};
    larger.slots = disk_allocate_zeroed(larger.capacity, sizeof *larger.slots);
    for (size_t i = 0; i < seen->capacity; i++)
        if (seen->slots[i] != 0)
            put(&larger, seen->slots[i]);
    larger.count = seen->count;
    free(seen->slots);
    *seen = larger;
}

bool crash_seen_add(struct crash_seen *seen, uint64_t hash)
{
    if (seen->count * 4 >= seen->capacity * 3)
        grow(seen);
    bool is_new = put(seen, hash | 1);
    seen->count += is_new;
    return is_new;
}

void crash_seen_free(struct crash_seen *seen)
{
    free(seen->slots);
    *seen = (struct crash_seen){0};
}
