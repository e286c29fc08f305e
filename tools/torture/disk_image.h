/*
 * tools/torture/disk_image.h - the bytes of a simulated file: sparse pages, shared until they
 * change.
 *
 * An image is a reference-counted value: whoever wants to change one that others hold too gets a
 * copy of its table of pages first, and a copy of each page that it touches. A page that was never
 * written, or written with zeros, takes no memory.
 *
 * Not safe for threads: tools/torture/disk.c excludes them.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_DISK_IMAGE_H
#define DAYBOOK_TOOLS_TORTURE_DISK_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum { DISK_PAGE_BYTES = 4096 };

struct disk_image;

/* An empty image, held once. */
struct disk_image *disk_image_create(void);
/* One more holder. */
struct disk_image *disk_image_hold(struct disk_image *image);
/* One holder fewer; accepts NULL. */
void disk_image_release(struct disk_image *image);

uint64_t disk_image_size(const struct disk_image *image);
/* Beyond the end everything reads as zeros. */
void disk_image_read(const struct disk_image *image, uint64_t offset, void *to, size_t size);
/* The bytes of one page, NULL when they are all zero. */
const uint8_t *disk_image_page(const struct disk_image *image, uint64_t page);

/*
 * The changes: *image is replaced by an image of the caller's own when others hold it too. Writing
 * makes the file longer when it must; NULL stands for zeros.
 */
void disk_image_write(struct disk_image **image, uint64_t offset, const void *bytes, size_t size);
/* Cut it, or make it longer with zeros. */
void disk_image_resize(struct disk_image **image, uint64_t size);

/* Of size and bytes. Pages remember theirs, so that only what changed costs anything. */
uint64_t disk_image_hash(struct disk_image *image);

/* malloc and calloc that end the process instead of failing. */
void *disk_allocate(size_t size);
void *disk_allocate_zeroed(size_t count, size_t size);

#endif
