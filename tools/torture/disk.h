/*
 * tools/torture/disk.h - a disk in memory that loses power: a table of system calls for
 * core/file_calls.h whose files remember what was synced.
 *
 * Each file has the bytes that programs see (volatile) and those that a power cut cannot take
 * (durable), and between the two every write since the last successful sync, so that any version
 * that a sector had since then can be what a cut leaves. Each directory has its durable entries and
 * the operations since its last sync. A file's sync says nothing about its name: the directory has
 * a sync of its own. Stores through a writable map count as writes; they are found by comparing.
 *
 * Files are sparse pages that are shared until they change, so that a snapshot costs a few
 * pointers, a mebibyte of zeros nothing, and millions of cuts can be tried.
 *
 * Threads: the calls from any thread; they exclude each other, and the watcher runs inside of that
 * exclusion. Memory that runs out ends the process: this is a test's machinery.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_DISK_H
#define DAYBOOK_TOOLS_TORTURE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/file_calls.h"

struct torture_disk;

/* Descriptors of simulated files start here, far above those of the kernel. */
enum { TORTURE_DISK_FD_FIRST = 1 << 20 };

/* An empty disk: one root directory. `capacity_bytes` 0: no limit, else ENOSPC beyond it. */
struct torture_disk *torture_disk_create(uint64_t capacity_bytes);
/* Nothing of it may be mapped any more; descriptors that are still open become EBADF. */
void torture_disk_free(struct torture_disk *disk);
void torture_disk_set_capacity(struct torture_disk *disk, uint64_t capacity_bytes);
/* What files take, as df would tell. */
uint64_t torture_disk_used(struct torture_disk *disk);

/*
 * Names that start with `path` ("/simulated") go to this disk; everything else, and every
 * descriptor below TORTURE_DISK_FD_FIRST, goes to the kernel. Files that are open stay with the
 * disk that they were opened on, so another disk may be mounted while an old one is still in use.
 * NULL: unmount. At most 8 paths.
 */
void torture_disk_mount(struct torture_disk *disk, const char *path);

/* For file_calls_use, or to be wrapped. One table serves all disks. */
const struct file_calls *torture_disk_calls(void);

/* Something that changed the disk, or made something durable. */
enum torture_disk_kind {
    TORTURE_DISK_CREATE,
    TORTURE_DISK_WRITE,
    TORTURE_DISK_SYNC_START,     /* of a file or a directory: asked for, nothing is durable yet */
    TORTURE_DISK_SYNC,           /* of a file: succeeded */
    TORTURE_DISK_SYNC_DIRECTORY, /* succeeded */
    TORTURE_DISK_ALLOCATE,
    TORTURE_DISK_TRUNCATE,
    TORTURE_DISK_DROP_CACHE,
    TORTURE_DISK_RENAME,
    TORTURE_DISK_UNLINK,
    TORTURE_DISK_MAKE_DIRECTORY,
    TORTURE_DISK_KINDS
};
struct torture_disk_operation {
    enum torture_disk_kind kind;
    uint64_t number;  /* 1, 2, 3 … on this disk */
    const char *name; /* within its directory; the new one after a rename */
    uint64_t offset, size;
};
/*
 * Called after each such operation, before the call returns; may take a snapshot, must not make
 * other calls on the disk. NULL: nobody watches.
 */
typedef void (*torture_disk_watcher)(void *context, struct torture_disk *disk,
                                     const struct torture_disk_operation *operation);
void torture_disk_watch(struct torture_disk *disk, torture_disk_watcher watcher, void *context);
/* How many operations there were. */
uint64_t torture_disk_operations(struct torture_disk *disk);

/* The disk at this instant, for ever. Cheap. May be taken inside of a watcher. */
struct torture_snapshot;
struct torture_snapshot *torture_disk_snapshot(struct torture_disk *disk);
void torture_snapshot_free(struct torture_snapshot *snapshot);

/* What happens to directory operations that were not synced. */
enum torture_names {
    TORTURE_NAMES_ORDERED, /* a first part of them is kept, as by a file system with a journal */
    TORTURE_NAMES_EACH, /* each is kept or lost by itself, after those on the same file or name */
};
/* A way to lose power. */
struct torture_power {
    uint32_t unit_bytes;      /* kept or lost as one: 512, 4096, 1 MiB … */
    unsigned survive_percent; /* of the units that were not synced */
    /*
     * Not powersafe: what was on its way to the disk may also turn into other bytes: each unit
     * that was not synced, and those in the same page, which the kernel writes with it.
     */
    bool torn;
    bool size_first; /* a file's new length may be there before its data, which then reads zero */
    enum torture_names names;
    unsigned names_survive_percent;
};

/* A disk after the power came back: nothing open, everything durable. */
struct torture_disk *torture_disk_after_power_cut(const struct torture_snapshot *snapshot,
                                                  const struct torture_power *power, uint64_t seed);
/*
 * All of them, for `unit_bytes` and `names` of the rule, without torn units: as many as
 * torture_snapshot_cuts says (UINT64_MAX: too many to count), by index.
 */
uint64_t torture_snapshot_cuts(const struct torture_snapshot *snapshot,
                               const struct torture_power *power);
struct torture_disk *torture_disk_after_nth_cut(const struct torture_snapshot *snapshot,
                                                const struct torture_power *power, uint64_t index);
/* A disk after every process was killed: nothing open, nothing lost, what is dirty stays dirty. */
struct torture_disk *torture_disk_after_kill(const struct torture_snapshot *snapshot);

/* What the cut that made this disk took and left of what was not synced. */
struct torture_disk_losses {
    uint64_t names_lost, names_kept; /* directory operations */
    uint64_t units_lost, units_kept; /* with the old bytes, with the last ones */
    uint64_t units_between;          /* with those of a write in between */
    uint64_t units_torn;             /* with noise */
    uint64_t lengths_lost;           /* files that are shorter, or longer, than they were */
};
void torture_disk_read_losses(const struct torture_disk *disk,
                              struct torture_disk_losses *losses_out);

/* Of all names and all bytes that programs see. Two disks that differ have different ones. */
uint64_t torture_disk_hash(struct torture_disk *disk);

/*
 * For injectors: what the kernel does to the pages of a file whose sync fails. They count as clean
 * from then on, no later sync writes them. With `keep_cache` readers go on seeing them until the
 * cache is dropped (ext4, XFS), else they read the old bytes at once (Btrfs). The caller's sync
 * then returns -1 and EIO.
 */
void torture_disk_lose_dirty_pages(int fd, bool keep_cache);

#endif
