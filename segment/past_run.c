#include "segment/past_run.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "core/file.h"

static const char magic[8] = "DBKPRODS";
enum {
    HEAD_BYTES = 72,
    ITEM_BYTES = 8,
    ENTRY_BYTES_MAX = 17 + EVENT_PRODUCER_BYTES_MAX,
    VERSION = 1,
    FILE_BYTES_MAX = HEAD_BYTES + PAST_RUN_ENTRIES_MAX * (ITEM_BYTES + ENTRY_BYTES_MAX),
};

uint32_t segment_past_run_hash(const char *name, size_t name_bytes)
{
    return checksum_extend(0, name, name_bytes);
}

void segment_past_run_name(uint64_t number, char name_out[PAST_RUN_NAME_BYTES])
{
    assert(number > 0 && number < UINT64_C(10000000000));
    snprintf(name_out, PAST_RUN_NAME_BYTES, "%010" PRIu64, number);
}

uint64_t segment_past_run_number(const char *name)
{
    if (strlen(name) != PAST_RUN_NAME_BYTES - 1 || strspn(name, "0123456789") != strlen(name))
        return 0;
    return strtoull(name, NULL, 10);
}

/* ---- Writing ---- */

struct item {
    uint32_t hash;
    uint32_t offset; /* among the entries */
};

static int compare(const void *a, const void *b)
{
    const struct item *left = a, *right = b;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static enum error_code list_items(const struct segment_past_run_head *head,
                                  const struct buffer *entries, struct item *items,
                                  struct error *error)
{
    struct segment_producers_entry entry;
    size_t position = 0;
    enum error_code code = OK;

    for (uint32_t i = 0; i < head->count && !code; i++) {
        items[i].offset = (uint32_t)position;
        code = segment_producers_next(entries->data, entries->size, &position, &entry, error);
        if (!code)
            items[i].hash = segment_past_run_hash(entry.name, entry.name_bytes);
    }
    assert(code || position == entries->size);
    qsort(items, head->count, sizeof *items, compare);
    return code;
}

static void store_head(const struct segment_past_run_head *head, uint8_t at[HEAD_BYTES])
{
    memset(at, 0, HEAD_BYTES);
    memcpy(at, magic, sizeof magic);
    bytes_store32(at + 8, VERSION);
    memcpy(at + 16, head->log_id, FORMAT_LOG_ID_BYTES);
    bytes_store64(at + 32, head->number);
    bytes_store64(at + 40, head->number_first);
    bytes_store64(at + 48, head->through);
    bytes_store64(at + 56, head->sequence_max);
    bytes_store32(at + 64, head->count);
}

/* Over everything but itself. */
static uint32_t checksum_of(const uint8_t *file, size_t size)
{
    uint32_t checksum = checksum_extend(0, file, 12);
    return checksum_extend(checksum, file + 16, size - 16);
}

static enum error_code encode(const struct segment_past_run_head *head,
                              const struct buffer *entries, const struct item *items,
                              struct buffer *out, struct error *error)
{
    size_t size = HEAD_BYTES + head->count * (size_t)ITEM_BYTES + entries->size;
    enum error_code code = buffer_reserve(out, size, error);

    if (code)
        return code;
    store_head(head, out->data);
    for (uint32_t i = 0; i < head->count; i++) {
        uint8_t *at = out->data + HEAD_BYTES + i * (size_t)ITEM_BYTES;
        bytes_store32(at, items[i].hash);
        bytes_store32(at + 4, items[i].offset);
    }
    if (entries->size > 0)
        memcpy(out->data + size - entries->size, entries->data, entries->size);
    out->size = size;
    bytes_store32(out->data + 12, checksum_of(out->data, size));
    return OK;
}

enum error_code segment_past_run_write(int directory_fd, const struct segment_past_run_head *head,
                               const struct buffer *entries, struct error *error)
{
    assert(head->count <= PAST_RUN_ENTRIES_MAX);
    struct item *items = calloc(head->count + 1, sizeof *items);
    struct buffer file = {0};
    char name[PAST_RUN_NAME_BYTES];

    if (!items)
        return error_set(error, ERROR_MEMORY, "no memory for the producers of the past");
    segment_past_run_name(head->number, name);
    enum error_code code = list_items(head, entries, items, error);
    if (!code)
        code = encode(head, entries, items, &file, error);
    if (!code)
        code = file_replace(directory_fd, name, file.data, file.size, error);
    buffer_release(&file);
    free(items);
    return code;
}

/* ---- Opening ---- */

static enum error_code damaged(const struct segment_past_run *run, const char *what,
                               struct error *error)
{
    return error_set(error, ERROR_DAMAGED, "'producers/%s': %s", run->name, what);
}

static enum error_code read_head(struct segment_past_run *run, uint64_t number,
                                 const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                 const struct buffer *file, struct error *error)
{
    const uint8_t *at = file->data;
    struct segment_past_run_head *head = &run->head;

    if (file->size < HEAD_BYTES || memcmp(at, magic, sizeof magic) != 0)
        return damaged(run, "it does not begin as such a file does", error);
    if (bytes_load32(at + 8) != VERSION)
        return error_set(error, ERROR_VERSION, "'producers/%s' was written by a newer Daybook",
                         run->name);
    if (bytes_load32(at + 12) != checksum_of(at, file->size))
        return damaged(run, "its checksum is wrong", error);
    *head = (struct segment_past_run_head){
        .number = bytes_load64(at + 32),
        .number_first = bytes_load64(at + 40),
        .through = bytes_load64(at + 48),
        .sequence_max = bytes_load64(at + 56),
        .count = bytes_load32(at + 64),
    };
    memcpy(head->log_id, at + 16, FORMAT_LOG_ID_BYTES);
    if (memcmp(head->log_id, log_id, FORMAT_LOG_ID_BYTES) != 0)
        return error_set(error, ERROR_FOREIGN, "'producers/%s' belongs to another log", run->name);
    if (head->number != number || head->number_first == 0 || head->number_first > number ||
        head->count > PAST_RUN_ENTRIES_MAX || bytes_load32(at + 68) != 0 ||
        file->size - HEAD_BYTES < head->count * (size_t)ITEM_BYTES)
        return damaged(run, "its header does not fit it", error);
    return OK;
}

/* Every item leads to an entry of its hash, and they are in order: then a search can trust them. */
static enum error_code check_items(const struct segment_past_run *run, const struct buffer *file,
                                   struct error *error)
{
    const uint8_t *items = file->data + HEAD_BYTES;
    const uint8_t *entries = items + run->head.count * (size_t)ITEM_BYTES;
    size_t entries_bytes = (size_t)(file->data + file->size - entries);
    uint32_t hash_before = 0;

    for (uint32_t i = 0; i < run->head.count; i++) {
        struct segment_producers_entry entry;
        uint32_t hash = bytes_load32(items + i * (size_t)ITEM_BYTES);
        size_t position = bytes_load32(items + i * (size_t)ITEM_BYTES + 4);
        if (position >= entries_bytes || hash < hash_before ||
            segment_producers_next(entries, entries_bytes, &position, &entry, NULL) ||
            segment_past_run_hash(entry.name, entry.name_bytes) != hash)
            return damaged(run, "its directory does not fit its entries", error);
        hash_before = hash;
    }
    return OK;
}

static enum error_code keep_fences(struct segment_past_run *run, const struct buffer *file,
                                   struct error *error)
{
    run->fence_count = (run->head.count + PAST_RUN_FENCE - 1) / PAST_RUN_FENCE;
    run->fences = calloc(run->fence_count + 1, sizeof *run->fences);
    if (!run->fences)
        return error_set(error, ERROR_MEMORY, "no memory for the producers of the past");
    for (size_t i = 0; i < run->fence_count; i++)
        run->fences[i] = bytes_load32(file->data + HEAD_BYTES + i * PAST_RUN_FENCE * ITEM_BYTES);
    return OK;
}

enum error_code segment_past_run_open(int directory_fd, uint64_t number,
                                      const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                      struct segment_past_run *run_out, struct buffer *entries_out,
                                      struct error *error)
{
    struct segment_past_run run = {.fd = -1};
    struct buffer file = {0};

    segment_past_run_name(number, run.name);
    enum error_code code = file_open(directory_fd, run.name, FILE_READ, &run.fd, error);
    if (!code)
        code = file_load(directory_fd, run.name, FILE_BYTES_MAX, &file, error);
    if (!code)
        code = read_head(&run, number, log_id, &file, error);
    if (!code)
        code = check_items(&run, &file, error);
    if (!code)
        code = keep_fences(&run, &file, error);
    size_t before = HEAD_BYTES + run.head.count * (size_t)ITEM_BYTES;
    if (!code && entries_out)
        code = buffer_append(entries_out, file.data + before, file.size - before, error);
    buffer_release(&file);
    if (code) {
        segment_past_run_close(&run);
        return code;
    }
    *run_out = run;
    return OK;
}

void segment_past_run_close(struct segment_past_run *run)
{
    file_close(&run->fd);
    free(run->fences);
    run->fences = NULL;
}

/* ---- Searching ---- */

/* Does this entry have the name? Only so much is read as the longest one needs. */
static enum error_code look_at(const struct segment_past_run *run, uint64_t offset,
                               uint64_t file_bytes, const char *name, size_t name_bytes,
                               struct segment_producers_entry *entry_out, struct error *error)
{
    uint8_t bytes[ENTRY_BYTES_MAX];
    size_t position = 0;
    size_t size = file_bytes - offset < sizeof bytes ? (size_t)(file_bytes - offset) : sizeof bytes;
    enum error_code code =
        offset < file_bytes ? file_read(run->fd, run->name, bytes, size, offset, error)
                            : damaged(run, "its directory leads behind its end", error);

    if (!code)
        code = segment_producers_next(bytes, size, &position, entry_out, error);
    if (code)
        return code;
    bool is_it =
        entry_out->name_bytes == name_bytes && memcmp(entry_out->name, name, name_bytes) == 0;
    entry_out->name = NULL; /* it was borrowed from here */
    return is_it ? OK : ERROR_NOT_FOUND;
}

/* The last fence below the hash, or the first one: items with the hash begin there or behind. */
static size_t find_fence(const struct segment_past_run *run, uint32_t hash)
{
    size_t low = 0, high = run->fence_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (run->fences[middle] < hash)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* What is looked for, and the part of the directory that is looked at. */
struct search {
    const struct segment_past_run *run;
    const char *name;
    size_t name_bytes;
    uint32_t hash;
    uint64_t file_bytes;
    size_t at; /* the next item to read */
    size_t count;
    uint8_t items[PAST_RUN_FENCE * ITEM_BYTES];
    struct segment_producers_entry found;
};

static enum error_code read_items(struct search *search, struct error *error)
{
    const struct segment_past_run *run = search->run;
    size_t left = run->head.count - search->at;

    search->count = left < PAST_RUN_FENCE ? left : PAST_RUN_FENCE;
    enum error_code code =
        file_read(run->fd, run->name, search->items, search->count * ITEM_BYTES,
                  HEAD_BYTES + search->at * (uint64_t)ITEM_BYTES, error);
    search->at += search->count;
    return code;
}

/* OK: not among these, but perhaps further on. ERROR_END: it was found. */
static enum error_code look_through(struct search *search, struct error *error)
{
    uint64_t entries_at = HEAD_BYTES + search->run->head.count * (uint64_t)ITEM_BYTES;

    for (size_t i = 0; i < search->count; i++) {
        uint32_t hash = bytes_load32(search->items + i * ITEM_BYTES);
        if (hash > search->hash)
            return ERROR_NOT_FOUND;
        if (hash < search->hash)
            continue;
        uint64_t offset = entries_at + bytes_load32(search->items + i * ITEM_BYTES + 4);
        enum error_code code = look_at(search->run, offset, search->file_bytes, search->name,
                                       search->name_bytes, &search->found, error);
        if (code != ERROR_NOT_FOUND)
            return code ? code : ERROR_END;
    }
    return OK;
}

enum error_code segment_past_run_find(const struct segment_past_run *run, const char *name,
                                      size_t name_bytes, uint64_t *number_out,
                                      uint64_t *sequence_out, struct error *error)
{
    struct search search = {.run = run, .name = name, .name_bytes = name_bytes};

    search.hash = segment_past_run_hash(name, name_bytes);
    search.at = find_fence(run, search.hash) * PAST_RUN_FENCE;
    enum error_code code = file_size(run->fd, run->name, &search.file_bytes, error);
    while (!code && search.at < run->head.count) {
        code = read_items(&search, error);
        if (!code)
            code = look_through(&search, error);
    }
    if (code != ERROR_END)
        return code ? code : ERROR_NOT_FOUND;
    *number_out = search.found.number;
    *sequence_out = search.found.sequence;
    return OK;
}
