/*
 * tools/torture/disk_inside.h - what the files disk*.c share: nodes, directories, descriptors.
 *
 * Everything here is called with the disks' one lock held.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_DISK_INSIDE_H
#define DAYBOOK_TOOLS_TORTURE_DISK_INSIDE_H

#include "tools/torture/disk.h"
#include "tools/torture/disk_changes.h"
#include "tools/torture/disk_image.h"

enum { DISK_NAME_BYTES = 96 };

/* One name in a directory. */
struct disk_entry {
    char name[DISK_NAME_BYTES];
    uint64_t node; /* its number */
};
struct disk_entries {
    struct disk_entry *array;
    size_t count, capacity;
};

/* A directory operation that is not synced. */
enum disk_act_kind { DISK_ACT_LINK, DISK_ACT_UNLINK, DISK_ACT_RENAME };
struct disk_act {
    enum disk_act_kind kind;
    char name[DISK_NAME_BYTES];
    char to[DISK_NAME_BYTES]; /* of a rename */
    uint64_t node;
    uint64_t number; /* of the operation, on the whole disk */
};
struct disk_acts {
    struct disk_act *array;
    size_t count, capacity;
};

/* A directory as programs see it, as a power cut would leave it, and what lies between. */
struct disk_directory {
    struct disk_entries now;
    struct disk_entries durable;
    struct disk_acts acts;
};

struct disk_lock {
    struct disk_lock *next;
    int owner; /* the descriptor */
    bool exclusive;
    uint64_t first, end;
};

/* A file's bytes while they are mapped: they stand at one address, and *now* lags behind stores. */
struct disk_flat {
    uint8_t *bytes; /* NULL: not mapped */
    size_t size;
    unsigned maps;
    bool writable; /* there was a map for storing */
};

/* A file or a directory; its number is its index in the disk's table. */
struct disk_node {
    uint64_t number;
    mode_t mode;
    unsigned names; /* how many it has, as programs see it */
    unsigned opened;
    uint64_t allocated; /* bytes that it takes from the disk's capacity */
    /* A file: */
    struct disk_image *now;
    struct disk_image *durable;
    struct disk_change *changes; /* between the two */
    bool lost;                   /* *now* has bytes that no sync will ever write */
    struct disk_flat flat;
    struct disk_lock *locks;
    /* A directory: */
    struct disk_directory *directory;
};

struct torture_disk {
    struct disk_node **nodes; /* NULL: gone. The root is number 1. */
    size_t node_count, node_capacity;
    uid_t user; /* whose files these are */
    uint64_t capacity, used;
    uint64_t operations;
    struct torture_disk_losses losses;
    torture_disk_watcher watcher;
    void *watcher_context;
};

void torture_disk_lock(void);
void torture_disk_unlock(void);

/* A node without a name; NULL `directory` makes a file. */
struct disk_node *disk_node_create(struct torture_disk *disk, mode_t mode, bool directory);
/* NULL when there is none of this number. */
struct disk_node *disk_node_find(const struct torture_disk *disk, uint64_t number);
/* Free it when neither a name, a descriptor, a map nor a power cut can reach it any more. */
void disk_node_settle(struct torture_disk *disk, struct disk_node *node);
void disk_node_free(struct disk_node *node);
/* Settle every node: after something that may have cut the last way to some of them. */
void disk_nodes_settle(struct torture_disk *disk);

/* Entries are few: they are searched in order. */
struct disk_entry *disk_entries_find(const struct disk_entries *entries, const char *name);
void disk_entries_put(struct disk_entries *entries, const char *name, uint64_t node);
void disk_entries_remove(struct disk_entries *entries, const char *name);
void disk_entries_copy(const struct disk_entries *from, struct disk_entries *to);
void disk_acts_add(struct disk_acts *acts, const struct disk_act *act);
/* Do to the entries what the act did. */
void disk_act_apply(const struct disk_act *act, struct disk_entries *entries);

/* A file's bytes. Sizes and offsets were checked by the caller. */
uint64_t disk_file_size(const struct disk_node *node);
void disk_file_read(struct disk_node *node, uint64_t offset, void *to, size_t size);
/* Past the cache: what is or will be on the disk, without what a failed sync lost. */
void disk_file_read_uncached(struct disk_node *node, uint64_t offset, void *to, size_t size);
void disk_file_write(struct disk_node *node, uint64_t offset, const void *bytes, size_t size);
void disk_file_resize(struct disk_node *node, uint64_t size);
void disk_file_sync(struct disk_node *node);
void disk_file_drop_cache(struct disk_node *node);
void disk_file_lose_dirty(struct disk_node *node, bool keep_cache);
/* Turn what was stored through maps since the last look into changes. */
void disk_file_harvest(struct disk_node *node);
void *disk_file_map(struct disk_node *node, size_t size, bool writable);
/* False: `map` is none of this file's. */
bool disk_file_unmap(struct disk_node *node, const void *map);

/* fcntl(2) with F_OFD_SETLK or F_OFD_GETLK; a range is given back as it was taken. */
int disk_lock_apply(struct disk_node *node, int fd, int command, struct flock *lock);
/* Open file description locks die with their descriptor. */
void disk_locks_drop(struct disk_node *node, int fd);

/* Count the operation and tell the watcher. */
void disk_tell(struct torture_disk *disk, enum torture_disk_kind kind, const char *name,
               uint64_t offset, uint64_t size);

#endif
