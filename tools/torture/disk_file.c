/* A simulated file's bytes: written, mapped, synced, lost. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/bytes.h"
#include "tools/torture/disk_inside.h"

enum { UNIT = 512, WORDS = UNIT / 8 };

uint64_t disk_file_size(const struct disk_node *node)
{
    return disk_image_size(node->now);
}

void disk_file_read(struct disk_node *node, uint64_t offset, void *to, size_t size)
{
    size_t flat = 0;
    if (node->flat.bytes && offset < node->flat.size) {
        flat = node->flat.size - (size_t)offset < size ? node->flat.size - (size_t)offset : size;
        memcpy(to, node->flat.bytes + offset, flat);
    }
    disk_image_read(node->now, offset + flat, (uint8_t *)to + flat, size - flat);
}

/* What the disk would have if everything that is dirty were written now. */
static struct disk_image *settled_image(const struct disk_node *node)
{
    struct disk_image *image = disk_image_hold(node->durable);
    size_t count = disk_changes_count(node->changes);
    const struct disk_change **changes = disk_allocate(count * sizeof *changes);
    disk_changes_to_array(node->changes, changes);
    for (size_t i = 0; i < count; i++)
        disk_change_apply_to_image(changes[i], &image);
    free(changes);
    return image;
}

void disk_file_read_uncached(struct disk_node *node, uint64_t offset, void *to, size_t size)
{
    disk_file_harvest(node);
    if (!node->lost) {
        disk_image_read(node->now, offset, to, size);
        return;
    }
    struct disk_image *image = settled_image(node);
    disk_image_read(image, offset, to, size);
    disk_image_release(image);
}

/* Those who have the file mapped see it too. */
static void copy_to_flat(struct disk_node *node, uint64_t offset, const void *bytes, size_t size)
{
    if (!node->flat.bytes || offset >= node->flat.size)
        return;
    if (size > node->flat.size - offset)
        size = node->flat.size - (size_t)offset;
    if (bytes)
        memcpy(node->flat.bytes + offset, bytes, size);
    else
        memset(node->flat.bytes + offset, 0, size);
}

void disk_file_write(struct disk_node *node, uint64_t offset, const void *bytes, size_t size)
{
    copy_to_flat(node, offset, bytes, size);
    disk_image_write(&node->now, offset, bytes, size);
    disk_changes_add(&node->changes, offset, size, disk_image_size(node->now), bytes);
}

void disk_file_resize(struct disk_node *node, uint64_t size)
{
    uint64_t old = disk_file_size(node);
    disk_file_harvest(node);
    disk_image_resize(&node->now, size);
    if (size >= old) {
        disk_changes_add(&node->changes, old, 0, size, NULL);
        return;
    }
    disk_changes_add(&node->changes, size, UINT64_MAX - size, size, NULL);
    copy_to_flat(node, size, NULL, node->flat.size);
}

void disk_file_sync(struct disk_node *node)
{
    disk_file_harvest(node);
    struct disk_image *image = node->lost ? settled_image(node) : disk_image_hold(node->now);
    disk_image_release(node->durable);
    node->durable = image;
    disk_changes_release(node->changes);
    node->changes = NULL;
}

/* All bytes become those of `image`, for readers and in the maps. */
static void reload(struct disk_node *node, struct disk_image *image)
{
    disk_image_release(node->now);
    node->now = image;
    node->lost = false;
    if (node->flat.bytes)
        disk_image_read(image, 0, node->flat.bytes, node->flat.size);
}

void disk_file_drop_cache(struct disk_node *node)
{
    /* The kernel does not drop pages that somebody has mapped. */
    if (node->lost && !node->flat.bytes)
        reload(node, settled_image(node));
}

void disk_file_lose_dirty(struct disk_node *node, bool keep_cache)
{
    disk_file_harvest(node);
    disk_changes_release(node->changes);
    node->changes = NULL;
    node->lost = true;
    if (!keep_cache)
        reload(node, disk_image_hold(node->durable));
}

/*
 * A program's threads may store while we look: each word is either old or new then, as it would be
 * for the kernel that copies the page to the disk.
 */
__attribute__((no_sanitize("thread"))) static void copy_words(const uint8_t *from,
                                                              uint64_t to[WORDS])
{
    const uint64_t *words = (const uint64_t *)(const void *)from;
    for (size_t i = 0; i < WORDS; i++)
        to[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
}

static void harvest_unit(struct disk_node *node, uint64_t offset)
{
    uint64_t stored[WORDS];
    uint8_t known[UNIT];
    size_t size = node->flat.size - (size_t)offset < UNIT ? node->flat.size - (size_t)offset : UNIT;
    copy_words(node->flat.bytes + offset, stored);
    disk_image_read(node->now, offset, known, sizeof known);
    if (memcmp(stored, known, size) == 0)
        return;
    disk_image_write(&node->now, offset, stored, size);
    disk_changes_add(&node->changes, offset, size, disk_image_size(node->now), stored);
}

/* Behind the file's end there is nothing to store to. */
static size_t flat_end(const struct disk_node *node)
{
    uint64_t size = disk_image_size(node->now);
    return size < node->flat.size ? (size_t)size : node->flat.size;
}

/* Most pages are as they were: a quick look, which need not be exact, spares the slow one. */
__attribute__((no_sanitize("thread"))) static bool seems_unchanged(const struct disk_node *node,
                                                                   size_t offset, size_t size)
{
    const uint8_t *page = disk_image_page(node->now, offset / DISK_PAGE_BYTES);
    const uint8_t *stored = node->flat.bytes + offset;
    return page ? memcmp(stored, page, size) == 0 : bytes_are_zero(stored, size);
}

void disk_file_harvest(struct disk_node *node)
{
    if (!node->flat.bytes || !node->flat.writable)
        return;
    size_t end = flat_end(node);
    for (size_t page = 0; page < end; page += DISK_PAGE_BYTES) {
        size_t page_end = end - page < DISK_PAGE_BYTES ? end : page + DISK_PAGE_BYTES;
        if (seems_unchanged(node, page, page_end - page))
            continue;
        for (size_t at = page; at < page_end; at += UNIT)
            harvest_unit(node, at);
    }
}

static size_t whole_pages(size_t size)
{
    return (size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
}

void *disk_file_map(struct disk_node *node, size_t size, bool writable)
{
    struct disk_flat *flat = &node->flat;
    if (flat->bytes && size > flat->size)
        return MAP_FAILED; /* it would have to move, and it cannot */
    if (!flat->bytes) {
        flat->size = disk_file_size(node) > size ? (size_t)disk_file_size(node) : size;
        flat->bytes = aligned_alloc(DISK_PAGE_BYTES, whole_pages(flat->size));
        if (!flat->bytes)
            return MAP_FAILED;
        disk_image_read(node->now, 0, flat->bytes, whole_pages(flat->size));
    }
    flat->maps++;
    flat->writable |= writable;
    return flat->bytes;
}

bool disk_file_unmap(struct disk_node *node, const void *map)
{
    struct disk_flat *flat = &node->flat;
    if (!flat->bytes || map != flat->bytes)
        return false;
    if (--flat->maps > 0)
        return true;
    disk_file_harvest(node);
    free(flat->bytes);
    *flat = (struct disk_flat){0};
    return true;
}
