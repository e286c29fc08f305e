/*
 * tests/campaigns/power_disk.h - a disk in memory that records every write and every flush, and can
 * be cut off at any moment of its past.
 *
 * A write is recorded in units: the parts of it that lie in one block of 4 KiB. A unit reaches the
 * disk whole or not at all; nothing else is promised before a flush. So after a power cut the disk
 * holds everything that was written before the last flush that was done began, and any subset of
 * the units written since: power_disk_cut makes one such state.
 *
 * A position counts recorded units and flushes. A disk can be cut again and again, at any position
 * since power_disk_restart; rising positions are cheap.
 *
 * One thread.
 */
#ifndef DAYBOOK_CAMPAIGNS_POWER_DISK_H
#define DAYBOOK_CAMPAIGNS_POWER_DISK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { POWER_DISK_BLOCK = 4096 };

struct power_disk;

/*
 * `position` (borrowed) is kept up to date for others who look at it: it is raised before the
 * caller of write or flush can tell anybody that it is done. `size_bytes` is a multiple of a block.
 */
struct power_disk *power_disk_create(uint64_t size_bytes, _Atomic uint64_t *position);
void power_disk_free(struct power_disk *disk);

uint64_t power_disk_bytes(const struct power_disk *disk);
uint64_t power_disk_position(const struct power_disk *disk);
uint64_t power_disk_flushes(const struct power_disk *disk);
/* The range must lie within the disk: these answer false otherwise, and do nothing. */
_Bool power_disk_read(const struct power_disk *disk, uint64_t offset, size_t size, void *bytes_out);
_Bool power_disk_write(struct power_disk *disk, uint64_t offset, size_t size, const void *bytes);
_Bool power_disk_zero(struct power_disk *disk, uint64_t offset, uint64_t size);
/*
 * A flush is recorded when it is done, and covers what had been recorded when it began, `covered`:
 * not what was written in the meantime.
 */
void power_disk_flush(struct power_disk *disk, uint64_t covered);

/* What is there now is on the disk for good; forget how it came, and count from 0 again. */
void power_disk_restart(struct power_disk *disk);

/* Which of the units that no flush covers are kept. */
enum power_disk_keep {
    POWER_DISK_KEEP_NONE,
    POWER_DISK_KEEP_TENTH,
    POWER_DISK_KEEP_HALF,
    POWER_DISK_KEEP_MOST, /* nine of ten */
    POWER_DISK_KEEP_ALL,
    POWER_DISK_KEEP_ALL_BUT_ONE,
    POWER_DISK_KEEP_ONLY_ONE,
    POWER_DISK_KEEP_KINDS,
};

struct power_disk_cut {
    uint64_t position; /* what was recorded before it has happened */
    uint64_t seed;
    enum power_disk_keep keep;
};

struct power_disk_cut_result {
    uint64_t flushed; /* the position that the last flush covered; 0: there was none */
    uint64_t loose;   /* units written behind it */
    uint64_t kept;    /* of these */
    uint64_t name;    /* equal for equal choices: a hash of flushed and what was kept */
};

/* Make `into`, another disk of the same size, what `disk` may be after a cut, and restart it. */
void power_disk_cut(struct power_disk *disk, const struct power_disk_cut *cut,
                    struct power_disk *into, struct power_disk_cut_result *result_out);

/*
 * The next position, from `from` on, at which a unit begins with the 8 bytes `magic`; UINT64_MAX:
 * none. It tells when a file of a known kind was begun.
 */
uint64_t power_disk_find(const struct power_disk *disk, uint64_t from, const char magic[8]);
/* The position of the next flush, from `from` on; UINT64_MAX: none. */
uint64_t power_disk_find_flush(const struct power_disk *disk, uint64_t from);

#endif
