/*
 * tools/torture/disk_descriptor.h - open files of simulated disks, and the paths that lead there.
 *
 * Called with the disks' one lock held.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_DISK_DESCRIPTOR_H
#define DAYBOOK_TOOLS_TORTURE_DISK_DESCRIPTOR_H

#include "tools/torture/disk_inside.h"

struct disk_descriptor {
    struct torture_disk *disk; /* NULL: it is gone */
    struct disk_node *node;
    int flags;
    bool used;
    char name[DISK_NAME_BYTES]; /* for the watcher */
};

/* Opens the node; -1 and EMFILE. */
int disk_descriptor_open(struct torture_disk *disk, struct disk_node *node, int flags,
                         const char *name);
/* NULL and EBADF. */
struct disk_descriptor *disk_descriptor_find(int fd);
/* Also when its disk is gone; -1 and EBADF when it is not open. */
int disk_descriptor_close(int fd);
/* The node has another name now. */
void disk_descriptors_rename(const struct disk_node *node, const char *name);
/* The disk is being freed. */
void disk_descriptors_forget(const struct torture_disk *disk);

/* Where a map belongs. False: to the kernel. */
bool disk_descriptor_unmap(const void *map);
void disk_descriptor_note_map(struct torture_disk *disk, struct disk_node *node, const void *map);
bool disk_descriptor_has_map(const void *map);

/*
 * Where a path starting at a descriptor leads: the directory that has, or would have, the last
 * name, and that name; "." for the directory itself. False: to the kernel. A path that leads
 * nowhere gives directory NULL, and errno.
 */
struct disk_place {
    struct torture_disk *disk;
    struct disk_node *directory;
    char name[DISK_NAME_BYTES];
};
bool disk_place_find(int directory_fd, const char *path, struct disk_place *place_out);
/* The node that has the name; NULL and ENOENT. */
struct disk_node *disk_place_node(const struct disk_place *place);

#endif
