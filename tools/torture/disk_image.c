#include "tools/torture/disk_image.h"

#include <isa-l/crc64.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

struct page {
    uint32_t references;
    bool hashed;
    uint64_t hash;
    uint8_t bytes[DISK_PAGE_BYTES];
};

struct disk_image {
    uint32_t references;
    uint64_t size;
    size_t count; /* of pages; those behind are zero */
    struct page **pages;
};

/* The simulated disk stands in for the kernel, which does not fail for want of our memory. */
static void *check(void *memory)
{
    if (!memory) {
        fputs("the simulated disk has no memory left\n", stderr);
        abort();
    }
    return memory;
}

void *disk_allocate(size_t size)
{
    return check(malloc(size ? size : 1));
}

void *disk_allocate_zeroed(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size));
}

struct disk_image *disk_image_create(void)
{
    struct disk_image *image = disk_allocate_zeroed(1, sizeof *image);
    image->references = 1;
    return image;
}

struct disk_image *disk_image_hold(struct disk_image *image)
{
    image->references++;
    return image;
}

static void release_page(struct page *page)
{
    if (page && --page->references == 0)
        free(page);
}

void disk_image_release(struct disk_image *image)
{
    if (!image || --image->references > 0)
        return;
    for (size_t i = 0; i < image->count; i++)
        release_page(image->pages[i]);
    free(image->pages);
    free(image);
}

uint64_t disk_image_size(const struct disk_image *image)
{
    return image->size;
}

const uint8_t *disk_image_page(const struct disk_image *image, uint64_t page)
{
    return page < image->count && image->pages[page] ? image->pages[page]->bytes : NULL;
}

void disk_image_read(const struct disk_image *image, uint64_t offset, void *to, size_t size)
{
    uint8_t *at = to;
    while (size > 0) {
        size_t within = (size_t)(offset % DISK_PAGE_BYTES);
        size_t part = DISK_PAGE_BYTES - within < size ? DISK_PAGE_BYTES - within : size;
        const uint8_t *page = disk_image_page(image, offset / DISK_PAGE_BYTES);
        if (page)
            memcpy(at, page + within, part);
        else
            memset(at, 0, part);
        at += part;
        offset += part;
        size -= part;
    }
}

/* Make *image one that only the caller holds. */
static void own(struct disk_image **image)
{
    struct disk_image *old = *image;
    if (old->references == 1)
        return;
    struct disk_image *copy = disk_image_create();
    copy->size = old->size;
    copy->count = old->count;
    copy->pages = disk_allocate(old->count * sizeof(struct page *));
    for (size_t i = 0; i < old->count; i++) {
        copy->pages[i] = old->pages[i];
        if (copy->pages[i])
            copy->pages[i]->references++;
    }
    old->references--;
    *image = copy;
}

static void reserve_pages(struct disk_image *image, size_t count)
{
    if (count <= image->count)
        return;
    image->pages = check(realloc(image->pages, count * sizeof(struct page *)));
    memset(image->pages + image->count, 0, (count - image->count) * sizeof(struct page *));
    image->count = count;
}

/* A page that only this image holds, with the bytes that were there. */
static uint8_t *own_page(struct disk_image *image, size_t index)
{
    struct page *page = image->pages[index];
    if (page && page->references == 1) {
        page->hashed = false;
        return page->bytes;
    }
    struct page *copy = disk_allocate(sizeof *copy);
    copy->references = 1;
    copy->hashed = false;
    if (page)
        memcpy(copy->bytes, page->bytes, sizeof copy->bytes);
    else
        memset(copy->bytes, 0, sizeof copy->bytes);
    release_page(page);
    image->pages[index] = copy;
    return copy->bytes;
}

static void write_part(struct disk_image *image, size_t index, size_t within, const uint8_t *bytes,
                       size_t size)
{
    bool zero = !bytes || bytes_are_zero(bytes, size);
    if (zero && (index >= image->count || !image->pages[index]))
        return;
    if (zero && size == DISK_PAGE_BYTES) {
        release_page(image->pages[index]);
        image->pages[index] = NULL;
        return;
    }
    reserve_pages(image, index + 1);
    /* What changes nothing needs no copy. */
    const struct page *page = image->pages[index];
    if (page && bytes && memcmp(page->bytes + within, bytes, size) == 0)
        return;
    uint8_t *to = own_page(image, index) + within;
    if (bytes)
        memcpy(to, bytes, size);
    else
        memset(to, 0, size);
}

void disk_image_write(struct disk_image **image, uint64_t offset, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    own(image);
    if (size > 0 && offset + size > (*image)->size)
        (*image)->size = offset + size;
    while (size > 0) {
        size_t within = (size_t)(offset % DISK_PAGE_BYTES);
        size_t part = DISK_PAGE_BYTES - within < size ? DISK_PAGE_BYTES - within : size;
        write_part(*image, (size_t)(offset / DISK_PAGE_BYTES), within, from, part);
        if (from)
            from += part;
        offset += part;
        size -= part;
    }
}

/* Nothing may come back when a file grows again after it was cut. */
static void clear_from(struct disk_image *image, uint64_t size)
{
    size_t index = (size_t)(size / DISK_PAGE_BYTES), within = (size_t)(size % DISK_PAGE_BYTES);
    if (within > 0)
        write_part(image, index++, within, NULL, DISK_PAGE_BYTES - within);
    for (; index < image->count; index++) {
        release_page(image->pages[index]);
        image->pages[index] = NULL;
    }
}

void disk_image_resize(struct disk_image **image, uint64_t size)
{
    if (size == (*image)->size)
        return;
    own(image);
    if (size < (*image)->size)
        clear_from(*image, size);
    (*image)->size = size;
}

static uint64_t hash_page(struct page *page)
{
    if (!page->hashed) {
        bool zero = bytes_are_zero(page->bytes, sizeof page->bytes);
        page->hash = zero ? 0 : crc64_ecma_refl(1, page->bytes, sizeof page->bytes);
        page->hashed = true;
    }
    return page->hash;
}

uint64_t disk_image_hash(struct disk_image *image)
{
    uint64_t hash = image->size;
    for (size_t i = 0; i < image->count; i++) {
        uint64_t words[3] = {hash, i, image->pages[i] ? hash_page(image->pages[i]) : 0};
        if (words[2] != 0)
            /* Starting from the hash itself would cancel it against the first word. */
            hash = crc64_ecma_refl(0, (const unsigned char *)words, sizeof words);
    }
    return hash;
}
