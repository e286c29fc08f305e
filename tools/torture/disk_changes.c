#include "tools/torture/disk_changes.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

void disk_changes_add(struct disk_change **list, uint64_t offset, uint64_t size, uint64_t file_size,
                      const void *bytes)
{
    bool zero = !bytes || bytes_are_zero(bytes, (size_t)size);
    struct disk_change *change = disk_allocate(sizeof *change + (zero ? 0 : (size_t)size));
    *change = (struct disk_change){
        .references = 1,
        .before = *list, /* the list's own hold goes over to the link */
        .offset = offset,
        .size = size,
        .file_size = file_size,
        .zero = zero,
    };
    if (!zero)
        memcpy(change->bytes, bytes, (size_t)size);
    *list = change;
}

struct disk_change *disk_changes_hold(struct disk_change *list)
{
    if (list)
        list->references++;
    return list;
}

void disk_changes_release(struct disk_change *list)
{
    while (list && --list->references == 0) {
        struct disk_change *before = list->before;
        free(list);
        list = before;
    }
}

size_t disk_changes_count(const struct disk_change *list)
{
    size_t count = 0;
    for (; list; list = list->before)
        count++;
    return count;
}

void disk_changes_to_array(const struct disk_change *list, const struct disk_change **array)
{
    size_t at = disk_changes_count(list);
    for (; list; list = list->before)
        array[--at] = list;
}

/* The end of a change; a cut file's reaches to the end of everything. */
static uint64_t end_of(const struct disk_change *change)
{
    return change->size > UINT64_MAX - change->offset ? UINT64_MAX : change->offset + change->size;
}

bool disk_change_touches(const struct disk_change *change, uint64_t offset, uint64_t size)
{
    return change->offset < offset + size && offset < end_of(change);
}

void disk_change_apply(const struct disk_change *change, uint64_t offset, uint8_t *bytes,
                       size_t size)
{
    if (!disk_change_touches(change, offset, size))
        return;
    uint64_t first = change->offset > offset ? change->offset : offset;
    uint64_t end = end_of(change) < offset + size ? end_of(change) : offset + size;
    uint8_t *to = bytes + (first - offset);
    if (change->zero)
        memset(to, 0, (size_t)(end - first));
    else
        memcpy(to, change->bytes + (first - change->offset), (size_t)(end - first));
}

void disk_change_apply_to_image(const struct disk_change *change, struct disk_image **image)
{
    if (change->file_size < disk_image_size(*image))
        disk_image_resize(image, change->file_size);
    uint64_t end = end_of(change) < change->file_size ? end_of(change) : change->file_size;
    if (change->offset < end)
        disk_image_write(image, change->offset, change->zero ? NULL : change->bytes,
                         (size_t)(end - change->offset));
    disk_image_resize(image, change->file_size);
}
