#include "tools/daybookd/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---- */

size_t ring_memory(const struct ring *ring)
{
    return ring->capacity + ring->entries_capacity * sizeof *ring->entries;
}

static bool take_budget(struct ring *ring, size_t bytes)
{
    struct ring_budget *budget = ring->budget;
    if (!budget)
        return true;
    if (bytes > budget->bytes_max - budget->bytes_used)
        return false;
    budget->bytes_used += bytes;
    return true;
}

static void give_budget(struct ring *ring, size_t bytes)
{
    if (!ring->budget)
        return;
    assert(bytes <= ring->budget->bytes_used);
    ring->budget->bytes_used -= bytes;
}

/* Other memory for the bytes, which hold what is here. False: there is none. */
static bool resize(struct ring *ring, size_t capacity)
{
    struct iovec pieces[2];
    size_t at = 0;
    assert(capacity >= ring_bytes(ring));
    if (capacity > ring->capacity && !take_budget(ring, capacity - ring->capacity))
        return false;
    uint8_t *bytes = malloc(capacity);
    if (!bytes) {
        if (capacity > ring->capacity)
            give_budget(ring, capacity - ring->capacity);
        return false;
    }
    int count = ring_slice(ring, ring->begin, ring->end, pieces);
    for (int i = 0; i < count; i++) {
        memcpy(bytes + at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    if (capacity < ring->capacity)
        give_budget(ring, ring->capacity - capacity);
    free(ring->bytes);
    ring->bytes = bytes;
    ring->capacity = capacity;
    ring->head = 0;
    return true;
}

static struct ring_entry *entry_at(const struct ring *ring, size_t index)
{
    return &ring->entries[(ring->first + index) & (ring->entries_capacity - 1)];
}

static bool grow_entries(struct ring *ring)
{
    size_t before = ring->entries_capacity;
    size_t capacity = before ? 2 * before : RING_ENTRIES_MIN;
    if ((ring->budget && capacity > RING_ENTRIES_MAX) ||
        !take_budget(ring, (capacity - before) * sizeof *ring->entries))
        return false;
    struct ring_entry *entries = malloc(capacity * sizeof *entries);
    if (!entries) {
        give_budget(ring, (capacity - before) * sizeof *ring->entries);
        return false;
    }
    for (size_t i = 0; i < ring->count; i++)
        entries[i] = *entry_at(ring, i);
    free(ring->entries);
    ring->entries = entries;
    ring->entries_capacity = capacity;
    ring->first = 0;
    return true;
}

void ring_release(struct ring *ring)
{
    give_budget(ring, ring_memory(ring));
    free(ring->bytes);
    free(ring->entries);
    *ring = (struct ring){.budget = ring->budget};
}

void ring_trim(struct ring *ring)
{
    size_t wanted = ring_bytes(ring) > RING_BYTES_MAX ? ring_bytes(ring) : RING_BYTES_MAX;
    if (ring->capacity > wanted)
        resize(ring, wanted);
}

void ring_reset(struct ring *ring, uint64_t sequence)
{
    ring->first = ring->count = 0;
    ring->head = 0;
    ring->begin = ring->end;
    ring->before = ring->looked = sequence;
}

/* ---- What is here ---- */

size_t ring_bytes(const struct ring *ring)
{
    return (size_t)(ring->end - ring->begin);
}

bool ring_reaches(const struct ring *ring, uint64_t after)
{
    return after >= ring->before;
}

int ring_slice(const struct ring *ring, uint64_t begin, uint64_t end, struct iovec pieces_out[2])
{
    assert(begin >= ring->begin && begin <= end && end <= ring->end);
    if (begin == end)
        return 0;
    size_t size = (size_t)(end - begin);
    size_t at = (ring->head + (size_t)(begin - ring->begin)) % ring->capacity;
    size_t straight = ring->capacity - at < size ? ring->capacity - at : size;
    pieces_out[0] = (struct iovec){ring->bytes + at, straight};
    if (straight == size)
        return 1;
    pieces_out[1] = (struct iovec){ring->bytes, size - straight};
    return 2;
}

static uint64_t begin_of(const struct ring *ring, size_t index)
{
    return index == 0 ? ring->begin : entry_at(ring, index - 1)->end;
}

/* ---- Putting in ---- */

static void drop_oldest(struct ring *ring)
{
    const struct ring_entry *oldest = entry_at(ring, 0);
    size_t bytes = (size_t)(oldest->end - ring->begin);
    ring->before = oldest->sequence;
    ring->begin = oldest->end;
    ring->head = (ring->head + bytes) % ring->capacity;
    ring->first = (ring->first + 1) & (ring->entries_capacity - 1);
    ring->count--;
}

void ring_forget(struct ring *ring, uint64_t sequence)
{
    while (ring->count > 0 && entry_at(ring, 0)->sequence <= sequence)
        drop_oldest(ring);
}

static bool grow_bytes(struct ring *ring, size_t size)
{
    size_t capacity = ring->capacity ? 2 * ring->capacity : RING_BYTES_MIN;
    while (capacity < ring_bytes(ring) + size)
        capacity *= 2;
    if (ring->budget && capacity > RING_BYTES_MAX)
        capacity = RING_BYTES_MAX;
    if (ring->count == 0 && capacity < size)
        capacity = size;
    return capacity > ring->capacity && resize(ring, capacity);
}

enum error_code ring_append(struct ring *ring, uint64_t sequence, bool alone, const void *data,
                            size_t size, uint64_t needed_above, struct error *error)
{
    assert(sequence > ring->looked);
    for (;;) {
        bool lacks_entry = ring->count == ring->entries_capacity;
        if (!lacks_entry && size <= ring->capacity - ring_bytes(ring))
            break;
        bool old = ring->count > 0 && entry_at(ring, 0)->sequence <= needed_above;
        if (!old && (lacks_entry ? grow_entries(ring) : grow_bytes(ring, size)))
            continue;
        if (ring->count == 0)
            return error_set(error, ERROR_FULL, "no memory for an event of %zu bytes", size);
        drop_oldest(ring);
    }
    size_t at = ring->capacity ? (ring->head + ring_bytes(ring)) % ring->capacity : 0;
    size_t straight = ring->capacity - at < size ? ring->capacity - at : size;
    memcpy(ring->bytes + at, data, straight);
    memcpy(ring->bytes, (const uint8_t *)data + straight, size - straight);
    ring->end += size;
    *entry_at(ring, ring->count++) = (struct ring_entry){sequence, ring->end, alone};
    ring->looked = sequence;
    return OK;
}

void ring_look(struct ring *ring, uint64_t sequence)
{
    if (sequence > ring->looked)
        ring->looked = sequence;
}

/* ---- Runs ---- */

/* The first entry above `after`; count: there is none. */
static size_t index_above(const struct ring *ring, uint64_t after)
{
    size_t low = 0, high = ring->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entry_at(ring, middle)->sequence > after)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool ring_next_run(const struct ring *ring, uint64_t after, uint32_t count_max, size_t bytes_max,
                   struct ring_run *run_out)
{
    assert(ring_reaches(ring, after));
    size_t from = index_above(ring, after);
    if (from == ring->count)
        return false;
    struct ring_run run = {.begin = begin_of(ring, from), .alone = entry_at(ring, from)->alone};
    size_t at = from;
    do {
        run.end = entry_at(ring, at)->end;
        run.last = run.last_event = entry_at(ring, at)->sequence;
        run.count++;
        at++;
    } while (!run.alone && at < ring->count && run.count < count_max &&
             !entry_at(ring, at)->alone && entry_at(ring, at)->end - run.begin <= bytes_max);
    if (at == ring->count)
        run.last = ring->looked;
    *run_out = run;
    return true;
}

struct ring_run ring_find_run(const struct ring *ring, uint64_t after, uint64_t last)
{
    assert(ring_reaches(ring, after) && ring->looked >= last);
    size_t from = index_above(ring, after);
    size_t to = index_above(ring, last);
    bool alone = false;
    for (size_t i = from; i < to && !alone; i++)
        alone = entry_at(ring, i)->alone;
    return (struct ring_run){
        .begin = begin_of(ring, from),
        .end = begin_of(ring, to),
        .last_event = last,
        .last = last,
        .count = (uint32_t)(to - from),
        .alone = alone,
    };
}
