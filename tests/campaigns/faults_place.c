/* Places of the fault campaign: the simulated disk, and a directory on a real one. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/campaigns/faults.h"
#include "tools/torture/disk.h"

#define MOUNTED "/simulated"

struct faults_place {
    bool simulated;
    const struct file_calls *calls;
    char path[300]; /* of the log */

    /* On the simulated disk. */
    struct torture_disk *disk;
    struct torture_snapshot *start, *frozen;
    uint64_t start_boot;

    /* On a real one. */
    char directory[256];
    char start_path[300], frozen_path[300];
};

static _Atomic uint64_t boots;

void faults_place_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    uint64_t boot = atomic_load(&boots);
    memset(boot_id_out, 0x5a, CLOCK_BOOT_ID_SIZE);
    memcpy(boot_id_out, &boot, sizeof boot);
}

/* A harness that cannot work is no result. */
static void insist(bool holds, const char *what)
{
    if (holds)
        return;
    perror(what);
    exit(2);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Small trees of small files; what is listed may vanish, for a log may be open in `from`. */
static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    FILE *in = fopen(from, "re");
    if (!in)
        return;
    FILE *out = fopen(to, "wxe");
    insist(out != NULL, to);
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, in)) > 0)
        insist(fwrite(bytes, 1, n, out) == n, to);
    fclose(in);
    insist(fclose(out) == 0, to);
}

static char copy_from[300], copy_to[300];

static int copy_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    char to[600];
    (void)walk;
    snprintf(to, sizeof to, "%s%s", copy_to, path + strlen(copy_from));
    if (type == FTW_D)
        insist(mkdir(to, status->st_mode & 0777) == 0, to);
    else if (S_ISREG(status->st_mode))
        copy_file(path, to);
    return 0;
}

static void copy_tree(const char *from, const char *to)
{
    remove_tree(to);
    snprintf(copy_from, sizeof copy_from, "%s", from);
    snprintf(copy_to, sizeof copy_to, "%s", to);
    nftw(from, copy_one, 16, FTW_PHYS);
}

/* Nobody cuts the power of this machine: there syncs cost time and prove nothing. */
static int sync_nothing(int fd)
{
    (void)fd;
    return 0;
}

static const struct file_calls *unsynced_calls(void)
{
    static struct file_calls calls;

    calls = file_calls_kernel;
    calls.sync_data = sync_nothing;
    calls.sync = sync_nothing;
    return &calls;
}

struct faults_place *faults_place_create(enum faults_disk disk)
{
    struct faults_place *place = calloc(1, sizeof *place);
    const char *base = getenv("TMPDIR");

    insist(place != NULL, "memory for a place");
    place->simulated = disk == FAULTS_DISK_SIMULATED;
    place->calls = disk == FAULTS_DISK_UNSYNCED ? unsynced_calls() : &file_calls_kernel;
    if (place->simulated) {
        place->calls = torture_disk_calls();
        snprintf(place->path, sizeof place->path, "%s/log", MOUNTED);
        return place;
    }
    snprintf(place->directory, sizeof place->directory, "%s/daybook-faults-XXXXXX",
             base && *base ? base : "/var/tmp");
    insist(mkdtemp(place->directory) != NULL, place->directory);
    snprintf(place->path, sizeof place->path, "%s/log", place->directory);
    snprintf(place->start_path, sizeof place->start_path, "%s/start", place->directory);
    snprintf(place->frozen_path, sizeof place->frozen_path, "%s/frozen", place->directory);
    return place;
}

/* Files that are still open stay with their disk, so everything must be closed before. */
static void mount_disk(struct faults_place *place, struct torture_disk *disk)
{
    torture_disk_mount(disk, MOUNTED);
    if (place->disk)
        torture_disk_free(place->disk);
    place->disk = disk;
}

static void drop(struct torture_snapshot **snapshot)
{
    if (*snapshot)
        torture_snapshot_free(*snapshot);
    *snapshot = NULL;
}

void faults_place_free(struct faults_place *place)
{
    if (place->simulated) {
        drop(&place->start);
        drop(&place->frozen);
        torture_disk_mount(NULL, MOUNTED);
        if (place->disk)
            torture_disk_free(place->disk);
    } else {
        remove_tree(place->directory);
    }
    free(place);
}

const char *faults_place_path(const struct faults_place *place)
{
    return place->path;
}

const struct file_calls *faults_place_calls(const struct faults_place *place)
{
    return place->calls;
}

void faults_place_clear(struct faults_place *place)
{
    if (place->simulated)
        mount_disk(place, torture_disk_create(0));
    else
        remove_tree(place->path);
}

static void freeze(struct faults_place *place, struct torture_snapshot **snapshot, const char *path)
{
    if (!place->simulated) {
        copy_tree(place->path, path);
        return;
    }
    drop(snapshot);
    *snapshot = torture_disk_snapshot(place->disk);
}

static void thaw(struct faults_place *place, const struct torture_snapshot *snapshot,
                 const char *path)
{
    if (place->simulated)
        mount_disk(place, torture_disk_after_kill(snapshot));
    else
        copy_tree(path, place->path);
}

void faults_place_keep(struct faults_place *place)
{
    place->start_boot = atomic_load(&boots);
    freeze(place, &place->start, place->start_path);
}

void faults_place_restore(struct faults_place *place)
{
    atomic_store(&boots, place->start_boot);
    thaw(place, place->start, place->start_path);
}

void faults_place_freeze(struct faults_place *place)
{
    freeze(place, &place->frozen, place->frozen_path);
}

bool faults_place_freezes_slowly(const struct faults_place *place)
{
    return !place->simulated;
}

void faults_place_after_kill(struct faults_place *place)
{
    thaw(place, place->frozen, place->frozen_path);
}

bool faults_place_after_power_cut(struct faults_place *place, uint64_t seed)
{
    struct torture_power power = {
        .unit_bytes = 512,
        .survive_percent = seed % 2 ? 50 : 0,
        .names = TORTURE_NAMES_ORDERED,
        .names_survive_percent = seed % 2 ? 50 : 0,
    };

    if (!place->simulated)
        return false;
    mount_disk(place, torture_disk_after_power_cut(place->frozen, &power, seed));
    atomic_fetch_add(&boots, 1);
    return true;
}
