/*
 * tests/campaigns/power_disk.c - blocks are shared between the present, the past and the images
 * made of it, and never changed once somebody else holds them; so an image costs pointers, not
 * copies.
 */
#include "tests/campaigns/power_disk.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No block at all (NULL) is a block of zeros. */
struct block {
    uint32_t holders;
    uint8_t bytes[POWER_DISK_BLOCK];
};

enum kind { UNIT, FLUSH };

struct record {
    struct block *data; /* holds the unit's bytes where they belong in the block */
    uint64_t covered;   /* by a flush */
    uint32_t block;
    uint16_t start, size;
    uint8_t kind;
};

struct power_disk {
    uint64_t block_count;
    struct block **now;
    struct block **first; /* at the restart */
    struct block **base;  /* with everything before base_position */
    uint64_t base_position;
    struct record *records;
    uint64_t count, capacity, flushes;
    _Atomic uint64_t *position;
};

static void *obtain(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (!memory) {
        fprintf(stderr, "power_disk: no memory for %zu bytes\n", size);
        exit(1);
    }
    return memory;
}

static struct block *block_create(void)
{
    struct block *block = obtain(NULL, sizeof *block);
    block->holders = 1;
    return block;
}

static struct block *block_hold(struct block *block)
{
    if (block)
        block->holders++;
    return block;
}

static void block_drop(struct block *block)
{
    if (block && --block->holders == 0)
        free(block);
}

static struct block **table_create(uint64_t count)
{
    struct block **table = obtain(NULL, count * sizeof *table);
    memset(table, 0, count * sizeof *table);
    return table;
}

static void table_copy(struct block **to, struct block *const *from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (to[i] == from[i])
            continue;
        block_drop(to[i]);
        to[i] = block_hold(from[i]);
    }
}

static void table_free(struct block **table, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        block_drop(table[i]);
    free(table);
}

static void table_apply(struct block **table, const struct record *record)
{
    struct block **place = &table[record->block];
    struct block *block = NULL;
    if (record->size == POWER_DISK_BLOCK) {
        block = block_hold(record->data);
    } else {
        block = block_create();
        if (*place)
            memcpy(block->bytes, (*place)->bytes, POWER_DISK_BLOCK);
        else
            memset(block->bytes, 0, POWER_DISK_BLOCK);
        if (record->data)
            memcpy(block->bytes + record->start, record->data->bytes + record->start, record->size);
        else
            memset(block->bytes + record->start, 0, record->size);
    }
    block_drop(*place);
    *place = block;
}

struct power_disk *power_disk_create(uint64_t size_bytes, _Atomic uint64_t *position)
{
    assert(size_bytes % POWER_DISK_BLOCK == 0);
    struct power_disk *disk = obtain(NULL, sizeof *disk);
    uint64_t count = size_bytes / POWER_DISK_BLOCK;
    *disk = (struct power_disk){
        .block_count = count,
        .now = table_create(count),
        .first = table_create(count),
        .base = table_create(count),
        .position = position,
    };
    atomic_store(position, 0);
    return disk;
}

static void forget_records(struct power_disk *disk)
{
    for (uint64_t i = 0; i < disk->count; i++)
        block_drop(disk->records[i].data);
    disk->count = 0;
    disk->flushes = 0;
    disk->base_position = 0;
}

void power_disk_free(struct power_disk *disk)
{
    if (!disk)
        return;
    forget_records(disk);
    free(disk->records);
    table_free(disk->now, disk->block_count);
    table_free(disk->first, disk->block_count);
    table_free(disk->base, disk->block_count);
    free(disk);
}

uint64_t power_disk_bytes(const struct power_disk *disk)
{
    return disk->block_count * POWER_DISK_BLOCK;
}

uint64_t power_disk_position(const struct power_disk *disk)
{
    return disk->count;
}

uint64_t power_disk_flushes(const struct power_disk *disk)
{
    return disk->flushes;
}

static bool fits(const struct power_disk *disk, uint64_t offset, uint64_t size)
{
    uint64_t all = power_disk_bytes(disk);
    return offset <= all && size <= all - offset;
}

static size_t unit_size(uint64_t offset, uint64_t size)
{
    size_t room = POWER_DISK_BLOCK - offset % POWER_DISK_BLOCK;
    return size < room ? (size_t)size : room;
}

_Bool power_disk_read(const struct power_disk *disk, uint64_t offset, size_t size, void *bytes_out)
{
    if (!fits(disk, offset, size))
        return false;
    for (uint8_t *out = bytes_out; size > 0;) {
        size_t part = unit_size(offset, size);
        const struct block *block = disk->now[offset / POWER_DISK_BLOCK];
        if (block)
            memcpy(out, block->bytes + offset % POWER_DISK_BLOCK, part);
        else
            memset(out, 0, part);
        out += part;
        offset += part;
        size -= part;
    }
    return true;
}

/* The position is raised last: whoever reads it may cut there. */
static void append(struct power_disk *disk, const struct record *record)
{
    if (disk->count == disk->capacity) {
        disk->capacity = disk->capacity ? 2 * disk->capacity : 4096;
        disk->records = obtain(disk->records, disk->capacity * sizeof *disk->records);
    }
    disk->records[disk->count++] = *record;
    atomic_store(disk->position, disk->count);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* `bytes` NULL: zeros. Most of what a log's preparation writes is, and costs no memory here. */
static void write_unit(struct power_disk *disk, uint64_t offset, size_t size, const uint8_t *bytes)
{
    struct record record = {
        .kind = UNIT,
        .block = (uint32_t)(offset / POWER_DISK_BLOCK),
        .start = (uint16_t)(offset % POWER_DISK_BLOCK),
        .size = (uint16_t)size,
    };
    if (bytes && !is_zero(bytes, size)) {
        record.data = block_create();
        memcpy(record.data->bytes + record.start, bytes, size);
    }
    table_apply(disk->now, &record);
    append(disk, &record);
}

_Bool power_disk_write(struct power_disk *disk, uint64_t offset, size_t size, const void *bytes)
{
    if (!fits(disk, offset, size))
        return false;
    for (const uint8_t *from = bytes; size > 0;) {
        size_t part = unit_size(offset, size);
        write_unit(disk, offset, part, from);
        from += part;
        offset += part;
        size -= part;
    }
    return true;
}

_Bool power_disk_zero(struct power_disk *disk, uint64_t offset, uint64_t size)
{
    if (!fits(disk, offset, size))
        return false;
    while (size > 0) {
        size_t part = unit_size(offset, size);
        write_unit(disk, offset, part, NULL);
        offset += part;
        size -= part;
    }
    return true;
}

void power_disk_flush(struct power_disk *disk, uint64_t covered)
{
    /* A restart in the meantime has forgotten what it covers. */
    disk->flushes++;
    append(disk, &(struct record){.kind = FLUSH, .covered = covered <= disk->count ? covered : 0});
}

void power_disk_restart(struct power_disk *disk)
{
    forget_records(disk);
    table_copy(disk->first, disk->now, disk->block_count);
    table_copy(disk->base, disk->now, disk->block_count);
    atomic_store(disk->position, 0);
}

/* xorshift64*: the same images from the same seed, everywhere. */
static uint64_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Flushes that were in flight together may end in any order. */
static uint64_t flushed_before(const struct power_disk *disk, uint64_t position)
{
    uint64_t covered = 0;
    for (uint64_t i = 0; i < position; i++)
        if (disk->records[i].kind == FLUSH && disk->records[i].covered > covered)
            covered = disk->records[i].covered;
    return covered;
}

static uint64_t units_between(const struct power_disk *disk, uint64_t from, uint64_t to)
{
    uint64_t units = 0;
    for (uint64_t i = from; i < to; i++)
        units += disk->records[i].kind == UNIT;
    return units;
}

static void move_base(struct power_disk *disk, uint64_t position)
{
    if (position < disk->base_position) {
        table_copy(disk->base, disk->first, disk->block_count);
        disk->base_position = 0;
    }
    for (; disk->base_position < position; disk->base_position++) {
        const struct record *record = &disk->records[disk->base_position];
        if (record->kind == UNIT)
            table_apply(disk->base, record);
    }
}

static bool keeps(enum power_disk_keep keep, bool is_chosen, uint64_t random)
{
    switch (keep) {
    case POWER_DISK_KEEP_NONE:
        return false;
    case POWER_DISK_KEEP_TENTH:
        return random % 10 == 0;
    case POWER_DISK_KEEP_HALF:
        return random % 10 < 5;
    case POWER_DISK_KEEP_MOST:
        return random % 10 != 0;
    case POWER_DISK_KEEP_ALL_BUT_ONE:
        return !is_chosen;
    case POWER_DISK_KEEP_ONLY_ONE:
        return is_chosen;
    case POWER_DISK_KEEP_ALL:
    default:
        return true;
    }
}

void power_disk_cut(struct power_disk *disk, const struct power_disk_cut *cut,
                    struct power_disk *into, struct power_disk_cut_result *result_out)
{
    assert(disk != into && disk->block_count == into->block_count);
    uint64_t position = cut->position < disk->count ? cut->position : disk->count;
    uint64_t flushed = flushed_before(disk, position);
    uint64_t loose = units_between(disk, flushed, position);
    uint64_t random = cut->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    uint64_t name = UINT64_C(0xcbf29ce484222325) ^ flushed, kept = 0;
    for (int i = 0; i < 4; i++) /* seeds that are alike must not stay alike */
        draw(&random);
    uint64_t chosen = loose ? draw(&random) % loose : 0;

    move_base(disk, flushed);
    table_copy(into->now, disk->base, disk->block_count);
    for (uint64_t i = flushed, unit = 0; i < position; i++) {
        if (disk->records[i].kind != UNIT)
            continue;
        if (!keeps(cut->keep, unit++ == chosen, draw(&random) >> 16))
            continue;
        table_apply(into->now, &disk->records[i]);
        name = (name ^ i) * UINT64_C(0x100000001b3);
        kept++;
    }
    power_disk_restart(into);
    *result_out = (struct power_disk_cut_result){
        .flushed = flushed, .loose = loose, .kept = kept, .name = name};
}

uint64_t power_disk_find(const struct power_disk *disk, uint64_t from, const char magic[8])
{
    for (uint64_t i = from; i < disk->count; i++) {
        const struct record *record = &disk->records[i];
        if (record->kind == UNIT && record->data && record->start == 0 && record->size >= 8 &&
            memcmp(record->data->bytes, magic, 8) == 0)
            return i;
    }
    return UINT64_MAX;
}

uint64_t power_disk_find_flush(const struct power_disk *disk, uint64_t from)
{
    for (uint64_t i = from; i < disk->count; i++)
        if (disk->records[i].kind == FLUSH)
            return i;
    return UINT64_MAX;
}
