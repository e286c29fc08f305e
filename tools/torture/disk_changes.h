/*
 * tools/torture/disk_changes.h - what was done to a simulated file since its last sync.
 *
 * A list that only grows at its end and whose links never change, so that a snapshot holds it by
 * its last link. Any version that a unit of the file had along the list is one that a power cut may
 * leave.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_DISK_CHANGES_H
#define DAYBOOK_TOOLS_TORTURE_DISK_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/torture/disk_image.h"

struct disk_change {
    uint32_t references;
    struct disk_change *before;
    uint64_t offset, size; /* overwritten; a cut file is zero from its end on, to UINT64_MAX */
    uint64_t file_size;    /* of the file afterwards */
    bool zero;             /* by zeros: no bytes follow */
    uint8_t bytes[];
};

/* Put one more at the end of *list; NULL bytes stand for zeros. */
void disk_changes_add(struct disk_change **list, uint64_t offset, uint64_t size, uint64_t file_size,
                      const void *bytes);
struct disk_change *disk_changes_hold(struct disk_change *list);
/* Forget a list; accepts NULL. */
void disk_changes_release(struct disk_change *list);

size_t disk_changes_count(const struct disk_change *list);
/* Oldest first; `array` has room for disk_changes_count. */
void disk_changes_to_array(const struct disk_change *list, const struct disk_change **array);
bool disk_change_touches(const struct disk_change *change, uint64_t offset, uint64_t size);
/* Do to the `size` bytes at `offset`, which stand in `bytes`, what the change did to the file. */
void disk_change_apply(const struct disk_change *change, uint64_t offset, uint8_t *bytes,
                       size_t size);
/* Do it to a whole image. */
void disk_change_apply_to_image(const struct disk_change *change, struct disk_image **image);

#endif
