#include "indexer/join_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/msgpack.h"
#include "indexer/event_field.h"
#include "indexer/event_scan.h"

struct entry {
    uint64_t hash;
    uint64_t sequence;
};

/* Sorted by hash, then by sequence; afterwards the sequences alone stand in their order, too. */
struct indexer_join_index {
    struct entry *entries;
    uint64_t *sequences;
    size_t count;
    size_t capacity;
    bool has_texts, has_numbers;
};

/* splitmix64's last step: spreads what is alike. Source: Steele, Lea, Flood 2014. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t hash_text(const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    uint64_t hash = count;
    for (; count >= 8; count -= 8, at += 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof eight);
        hash = mix(hash ^ eight);
    }
    uint64_t rest = 0;
    memcpy(&rest, at, count);
    return mix(hash ^ rest);
}

/* An integer and a real that are equal have one hash. */
static uint64_t hash_integer(int64_t number)
{
    return mix((uint64_t)number);
}

static uint64_t hash_real(double number)
{
    const double beyond = 9223372036854775808.0;
    if (floor(number) == number && number < beyond && number >= -beyond)
        return hash_integer((int64_t)number);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return mix(~bits);
}

static enum error_code add(struct indexer_join_index *index, uint64_t hash, uint64_t sequence,
                           struct error *error)
{
    if (index->count == JOIN_INDEX_VALUES_MAX)
        return error_set(error, ERROR_FULL, "more than %d values to join by",
                         JOIN_INDEX_VALUES_MAX);
    if (index->count == index->capacity) {
        size_t capacity = index->capacity ? 2 * index->capacity : 1024;
        struct entry *entries = realloc(index->entries, capacity * sizeof *entries);
        if (!entries)
            return error_set(error, ERROR_MEMORY, "no memory for a join");
        index->entries = entries;
        index->capacity = capacity;
    }
    index->entries[index->count++] = (struct entry){.hash = hash, .sequence = sequence};
    return OK;
}

/* One event's value. NULL is equal to nothing, and is not here. */
static enum error_code add_value(struct indexer_join_index *index, struct msgpack_cursor at,
                                 uint64_t sequence, struct error *error)
{
    struct msgpack_value value;
    if (msgpack_read(&at, &value, NULL))
        return OK;
    switch (value.kind) {
    case MSGPACK_KIND_NIL:
        return OK;
    case MSGPACK_KIND_STR:
        index->has_texts = true;
        return add(index, hash_text(value.bytes, value.count), sequence, error);
    case MSGPACK_KIND_BOOL:
        index->has_numbers = true;
        return add(index, hash_integer(value.boolean), sequence, error);
    case MSGPACK_KIND_INT:
        index->has_numbers = true;
        return add(index, hash_integer(value.signed_), sequence, error);
    case MSGPACK_KIND_UINT:
        index->has_numbers = true;
        return add(index,
                   value.unsigned_ <= INT64_MAX ? hash_integer((int64_t)value.unsigned_)
                                                : hash_real((double)value.unsigned_),
                   sequence, error);
    case MSGPACK_KIND_FLOAT:
        index->has_numbers = true;
        return isfinite(value.real) ? add(index, hash_real(value.real), sequence, error) : OK;
    default: /* a JSON text, which nobody joins by: this index is not for it */
        index->has_texts = index->has_numbers = true;
        return OK;
    }
}

static enum error_code add_all(struct indexer_join_index *index, struct indexer_event_scan *scan,
                               const struct msgpack_path *path, struct error *error)
{
    for (;;) {
        struct event event;
        int64_t sequence;
        struct msgpack_cursor found;
        enum error_code code = indexer_event_scan_next(scan, &event, &sequence, error);
        if (code)
            return code == ERROR_END ? OK : code;
        if (msgpack_path_find(path, event.payload, event.payload_bytes, &found))
            continue;
        code = add_value(index, found, event.sequence, error);
        if (code)
            return code;
    }
}

static int compare(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

static enum error_code sort(struct indexer_join_index *index, struct error *error)
{
    if (index->count == 0)
        return OK;
    qsort(index->entries, index->count, sizeof *index->entries, compare);
    index->sequences = malloc(index->count * sizeof *index->sequences);
    if (!index->sequences)
        return error_set(error, ERROR_MEMORY, "no memory for a join");
    for (size_t i = 0; i < index->count; i++)
        index->sequences[i] = index->entries[i].sequence;
    return OK;
}

enum error_code indexer_join_index_make(struct indexer_lookup *lookup,
                                        const struct indexer_event_plan *plan,
                                        const struct msgpack_path *path,
                                        struct indexer_join_index **index_out,
                                        struct error *error)
{
    struct indexer_join_index *index = calloc(1, sizeof *index);
    if (!index)
        return error_set(error, ERROR_MEMORY, "no memory for a join");
    struct indexer_event_plan all = *plan;
    struct indexer_event_scan scan = {0};
    all.ts_first = INT64_MIN;
    all.ts_last = INT64_MAX;
    enum error_code code = indexer_event_scan_start(&scan, lookup, &all, error);
    if (!code)
        code = add_all(index, &scan, path, error);
    if (!code)
        code = sort(index, error);
    if (code)
        indexer_join_index_free(index);
    else
        *index_out = index;
    return code;
}

bool indexer_join_index_find(const struct indexer_join_index *index,
                             const struct indexer_event_column *column, sqlite3_value *value,
                             const uint64_t **sequences_out, size_t *count_out)
{
    *count_out = 0;
    if (!index->has_texts && !index->has_numbers)
        return true; /* all are NULL */
    if ((index->has_texts && index->has_numbers) ||
        !indexer_event_field_compares(column, index->has_texts, value))
        return false;
    int type = sqlite3_value_type(value);
    bool is_text = type == SQLITE_TEXT;
    uint64_t hash = 0;
    if (is_text) {
        const unsigned char *text = sqlite3_value_text(value);
        if (!text)
            return false;
        hash = hash_text(text, (size_t)sqlite3_value_bytes(value));
    } else {
        hash = type == SQLITE_INTEGER ? hash_integer(sqlite3_value_int64(value))
                                      : hash_real(sqlite3_value_double(value));
    }
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->entries[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    size_t end = low;
    while (end < index->count && index->entries[end].hash == hash)
        end++;
    *sequences_out = index->sequences + low;
    *count_out = end - low;
    return true;
}

void indexer_join_index_free(struct indexer_join_index *index)
{
    if (!index)
        return;
    free(index->entries);
    free(index->sequences);
    free(index);
}
