/*
 * tests/campaigns/power_fuse.h - power disks as files of a FUSE file system, for loop devices.
 *
 * Speaks the kernel's FUSE protocol itself (linux/fuse.h): that is fewer lines than the use of
 * libfuse, needs no package, and lets this program decide in which order requests that are in
 * flight at the same time are served - at random, as a disk may - and how long a flush takes. A
 * flush therefore covers the writes that were answered before it came, and of those in flight
 * beside it only some; what is written while it lasts is not covered.
 *
 * Nothing is cached above: the files are opened for direct I/O, so each write of a loop device with
 * direct I/O arrives here as a write, and each flush of it as an fsync.
 *
 * One thread.
 */
#ifndef DAYBOOK_CAMPAIGNS_POWER_FUSE_H
#define DAYBOOK_CAMPAIGNS_POWER_FUSE_H

#include "core/error.h"
#include "tests/campaigns/power_disk.h"

enum { POWER_FUSE_DISKS = 3 };

struct power_fuse;

/* Mount at `path`, with the files disk0, disk1 … Borrows the disks. Needs root. */
enum error_code power_fuse_mount(const char *path, struct power_disk *disks[POWER_FUSE_DISKS],
                                 struct power_fuse **fuse_out, struct error *error);
/* From now on a flush of this disk takes up to so long, at random; 0: no time. */
void power_fuse_slow(struct power_fuse *fuse, unsigned disk, unsigned flush_us_max);
/* To poll for input, at most for so long; -1: for ever. */
int64_t power_fuse_wait_ns(const struct power_fuse *fuse);
int power_fuse_fd(const struct power_fuse *fuse);
/* Serve what has come. ERROR_CLOSED: the file system was unmounted. */
enum error_code power_fuse_serve(struct power_fuse *fuse, struct error *error);
/* Unmount and free. Accepts NULL. */
void power_fuse_unmount(struct power_fuse *fuse);

#endif
