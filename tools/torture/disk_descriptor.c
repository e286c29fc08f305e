#include "tools/torture/disk_descriptor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DESCRIPTORS_MAX = 4096, MOUNTS_MAX = 8, MAPS_MAX = 1024, PATH_BYTES = 256 };

/*
 * What the kernel keeps for a process: which descriptors are open, what is mapped where, what is
 * mounted where. One process has one of each, so they are not handed around.
 */
static struct disk_descriptor descriptors[DESCRIPTORS_MAX];
static struct {
    struct torture_disk *disk;
    char path[PATH_BYTES];
} mounts[MOUNTS_MAX];
static struct {
    struct torture_disk *disk;
    struct disk_node *node;
    const void *map;
} maps[MAPS_MAX];
static size_t map_count;
static int descriptor_next; /* the lowest that may be free */
static int descriptor_end;  /* behind the highest that is open */

int disk_descriptor_open(struct torture_disk *disk, struct disk_node *node, int flags,
                         const char *name)
{
    for (int i = descriptor_next; i < DESCRIPTORS_MAX; i++) {
        struct disk_descriptor *descriptor = &descriptors[i];
        if (descriptor->used)
            continue;
        *descriptor =
            (struct disk_descriptor){.disk = disk, .node = node, .flags = flags, .used = true};
        strcpy(descriptor->name, name);
        node->opened++;
        descriptor_next = i + 1;
        if (descriptor_end <= i)
            descriptor_end = i + 1;
        return TORTURE_DISK_FD_FIRST + i;
    }
    errno = EMFILE;
    return -1;
}

struct disk_descriptor *disk_descriptor_find(int fd)
{
    int i = fd - TORTURE_DISK_FD_FIRST;
    if (i >= 0 && i < DESCRIPTORS_MAX && descriptors[i].used && descriptors[i].disk)
        return &descriptors[i];
    errno = EBADF;
    return NULL;
}

int disk_descriptor_close(int fd)
{
    int i = fd - TORTURE_DISK_FD_FIRST;
    if (i < 0 || i >= DESCRIPTORS_MAX || !descriptors[i].used) {
        errno = EBADF;
        return -1;
    }
    struct disk_descriptor *descriptor = &descriptors[i];
    struct torture_disk *disk = descriptor->disk;
    struct disk_node *node = descriptor->node;
    *descriptor = (struct disk_descriptor){0};
    if (i < descriptor_next)
        descriptor_next = i;
    while (descriptor_end > 0 && !descriptors[descriptor_end - 1].used)
        descriptor_end--;
    if (!disk)
        return 0;
    disk_locks_drop(node, fd);
    node->opened--;
    disk_node_settle(disk, node);
    return 0;
}

void disk_descriptors_rename(const struct disk_node *node, const char *name)
{
    for (int i = 0; i < descriptor_end; i++)
        if (descriptors[i].used && descriptors[i].node == node)
            strcpy(descriptors[i].name, name);
}

void disk_descriptors_forget(const struct torture_disk *disk)
{
    for (int i = 0; i < descriptor_end; i++)
        if (descriptors[i].used && descriptors[i].disk == disk)
            descriptors[i].disk = NULL;
    for (size_t i = 0; i < MOUNTS_MAX; i++)
        if (mounts[i].disk == disk)
            mounts[i].disk = NULL;
    for (size_t i = 0; i < map_count;) {
        if (maps[i].disk == disk)
            maps[i] = maps[--map_count];
        else
            i++;
    }
}

void disk_descriptor_note_map(struct torture_disk *disk, struct disk_node *node, const void *map)
{
    if (map_count == MAPS_MAX)
        abort(); /* a test that maps so many files without unmapping them is wrong */
    maps[map_count].disk = disk;
    maps[map_count].node = node;
    maps[map_count++].map = map;
}

static size_t find_map(const void *map)
{
    size_t i = 0;
    while (i < map_count && maps[i].map != map)
        i++;
    return i;
}

bool disk_descriptor_has_map(const void *map)
{
    return find_map(map) < map_count;
}

bool disk_descriptor_unmap(const void *map)
{
    size_t i = find_map(map);
    if (i == map_count)
        return false;
    struct torture_disk *disk = maps[i].disk;
    struct disk_node *node = maps[i].node;
    maps[i] = maps[--map_count];
    disk_file_unmap(node, map);
    disk_node_settle(disk, node);
    return true;
}

void torture_disk_mount(struct torture_disk *disk, const char *path)
{
    torture_disk_lock();
    size_t slot = MOUNTS_MAX;
    for (size_t i = 0; i < MOUNTS_MAX; i++) {
        if (mounts[i].disk && strcmp(mounts[i].path, path) == 0)
            slot = i;
        else if (!mounts[i].disk && slot == MOUNTS_MAX)
            slot = i;
    }
    if (slot == MOUNTS_MAX || strlen(path) >= PATH_BYTES)
        abort();
    mounts[slot].disk = disk;
    strcpy(mounts[slot].path, path);
    torture_disk_unlock();
}

void torture_disk_free(struct torture_disk *disk)
{
    if (!disk)
        return;
    torture_disk_lock();
    disk_descriptors_forget(disk);
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i])
            disk_node_free(disk->nodes[i]);
    free(disk->nodes);
    free(disk);
    torture_disk_unlock();
}

/* The disk that is mounted at the beginning of an absolute path, and the rest of that. */
static struct torture_disk *find_mount(const char *path, const char **rest_out)
{
    for (size_t i = 0; i < MOUNTS_MAX; i++) {
        size_t length = strlen(mounts[i].path);
        if (mounts[i].disk && strncmp(path, mounts[i].path, length) == 0 &&
            (path[length] == '/' || path[length] == '\0')) {
            *rest_out = path + length;
            return mounts[i].disk;
        }
    }
    return NULL;
}

static struct disk_node *step_into(const struct torture_disk *disk, const struct disk_node *node,
                                   const char *name)
{
    const struct disk_entry *entry = disk_entries_find(&node->directory->now, name);
    struct disk_node *child = entry ? disk_node_find(disk, entry->node) : NULL;
    errno = child ? ENOTDIR : ENOENT;
    return child && child->directory ? child : NULL;
}

/* Follow the path; the last name is left over. */
static void walk(struct disk_place *place, const char *path)
{
    strcpy(place->name, ".");
    while (place->directory) {
        path += strspn(path, "/");
        size_t length = strcspn(path, "/");
        if (length == 0)
            return;
        if (length == 1 && path[0] == '.') {
            path++;
            continue;
        }
        if (strcmp(place->name, ".") != 0)
            place->directory = step_into(place->disk, place->directory, place->name);
        if (length >= DISK_NAME_BYTES) {
            errno = ENAMETOOLONG;
            place->directory = NULL;
        }
        if (!place->directory)
            return;
        memcpy(place->name, path, length);
        place->name[length] = '\0';
        path += length;
    }
}

bool disk_place_find(int directory_fd, const char *path, struct disk_place *place_out)
{
    struct disk_place place = {0};
    if (path[0] == '/' || directory_fd == AT_FDCWD) {
        place.disk = find_mount(path, &path);
        if (!place.disk)
            return false;
        place.directory = place.disk->nodes[0];
    } else {
        if (directory_fd < TORTURE_DISK_FD_FIRST)
            return false;
        const struct disk_descriptor *descriptor = disk_descriptor_find(directory_fd);
        if (descriptor) {
            place.disk = descriptor->disk;
            place.directory = descriptor->node->directory ? descriptor->node : NULL;
            errno = ENOTDIR;
        }
    }
    if (place.directory)
        walk(&place, path);
    *place_out = place;
    return true;
}

struct disk_node *disk_place_node(const struct disk_place *place)
{
    if (strcmp(place->name, ".") == 0)
        return place->directory;
    const struct disk_entry *entry =
        disk_entries_find(&place->directory->directory->now, place->name);
    struct disk_node *node = entry ? disk_node_find(place->disk, entry->node) : NULL;
    if (!node)
        errno = ENOENT;
    return node;
}
