#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "tools/torture/disk.h"

#define MOUNT "/simulated"
enum { SECTOR = 512, PAGE = 4096 };

static struct torture_disk *disk;
static const struct file_calls *calls;
static int root;

static void start(void)
{
    calls = torture_disk_calls();
    disk = torture_disk_create(0);
    torture_disk_mount(disk, MOUNT);
    root = calls->open(AT_FDCWD, MOUNT, O_RDONLY | O_DIRECTORY, 0);
    cr_assert_geq(root, TORTURE_DISK_FD_FIRST);
}

static void stop(void)
{
    torture_disk_free(disk);
}

TestSuite(torture_disk, .init = start, .fini = stop);

static int create(const char *name)
{
    int fd = calls->open(root, name, O_RDWR | O_CREAT | O_EXCL, 0640);
    cr_assert_geq(fd, TORTURE_DISK_FD_FIRST, "cannot create %s", name);
    return fd;
}

static void fill(int fd, off_t offset, size_t size, int value)
{
    char bytes[4 * PAGE];
    cr_assert_leq(size, sizeof bytes);
    memset(bytes, value, size);
    cr_assert_eq(calls->write(fd, bytes, size, offset), (ssize_t)size);
}

static int byte_at(int fd, off_t offset)
{
    unsigned char byte;
    ssize_t count = calls->read(fd, &byte, 1, offset);
    return count == 1 ? byte : -1;
}

static void sync_names(void)
{
    cr_assert_eq(calls->sync(root), 0);
}

/* Make a file of one page of 'a' that is durable with its name; returns its descriptor. */
static int create_durable(const char *name)
{
    int fd = create(name);
    fill(fd, 0, PAGE, 'a');
    cr_assert_eq(calls->sync_data(fd), 0);
    sync_names();
    return fd;
}

static struct torture_power power(unsigned percent)
{
    return (struct torture_power){
        .unit_bytes = SECTOR, .survive_percent = percent, .names_survive_percent = percent};
}

/* Go on with what a power cut leaves now. */
static void cut(const struct torture_power *rule, uint64_t seed)
{
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    struct torture_disk *left = torture_disk_after_power_cut(snapshot, rule, seed);
    torture_snapshot_free(snapshot);
    torture_disk_free(disk);
    disk = left;
    torture_disk_mount(disk, MOUNT);
    root = calls->open(AT_FDCWD, MOUNT, O_RDONLY | O_DIRECTORY, 0);
}

static int open_to_read(const char *name)
{
    return calls->open(root, name, O_RDONLY, 0);
}

/* Open in the disk that the cut left; the file must be there. */
static int must_open(const char *name)
{
    int fd = open_to_read(name);
    cr_assert_geq(fd, 0, "%s is gone", name);
    return fd;
}

Test(torture_disk, never_loses_what_was_synced)
{
    create_durable("file");
    struct torture_power rule = power(0);
    cut(&rule, 1);
    int fd = must_open("file");
    for (off_t at = 0; at < PAGE; at += SECTOR)
        cr_assert_eq(byte_at(fd, at), 'a');
}

Test(torture_disk, loses_each_sector_that_was_not_synced_by_itself)
{
    int fd = create_durable("file");
    fill(fd, 0, PAGE, 'b');
    struct torture_power rule = power(50);
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    bool kept_before_lost = false, lost_before_kept = false;
    for (uint64_t seed = 0; seed < 64; seed++) {
        torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, seed), MOUNT);
        int left = calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0);
        for (off_t at = SECTOR; at < PAGE; at += SECTOR) {
            int before = byte_at(left, at - SECTOR), here = byte_at(left, at);
            cr_assert(here == 'a' || here == 'b');
            cr_assert_eq(byte_at(left, at + SECTOR - 1), here, "a sector is in two pieces");
            kept_before_lost |= before == 'b' && here == 'a';
            lost_before_kept |= before == 'a' && here == 'b';
        }
    }
    cr_assert(kept_before_lost);
    cr_assert(lost_before_kept);
    torture_snapshot_free(snapshot);
}

Test(torture_disk, may_leave_any_version_that_a_sector_had_since_its_sync)
{
    int fd = create_durable("file");
    fill(fd, 0, SECTOR, 'b');
    fill(fd, 0, SECTOR, 'c');
    fill(fd, 0, SECTOR, 'd');
    struct torture_power rule = power(90);
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    bool seen[256] = {false};
    for (uint64_t seed = 0; seed < 200; seed++) {
        torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, seed), MOUNT);
        seen[byte_at(calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0), 0)] = true;
    }
    cr_assert(seen['a'] && seen['b'] && seen['c'] && seen['d']);
    torture_snapshot_free(snapshot);
}

Test(torture_disk, keeps_everything_when_everything_survives)
{
    int fd = create_durable("file");
    fill(fd, 100, PAGE, 'b');
    create("other");
    struct torture_power rule = power(100);
    cut(&rule, 1);
    fd = must_open("file");
    cr_assert_eq(byte_at(fd, 99), 'a');
    cr_assert_eq(byte_at(fd, 100), 'b');
    cr_assert_eq(byte_at(fd, PAGE + 99), 'b');
    cr_assert_eq(byte_at(fd, PAGE + 100), -1);
    must_open("other");
}

Test(torture_disk, needs_the_directorys_sync_for_a_name)
{
    int fd = create("file");
    fill(fd, 0, PAGE, 'a');
    cr_assert_eq(calls->sync(fd), 0);
    struct torture_power rule = power(0);
    cut(&rule, 1);
    cr_assert_lt(open_to_read("file"), 0);
    cr_assert_eq(errno, ENOENT);
}

Test(torture_disk, may_lose_a_rename_and_then_has_the_old_name)
{
    create_durable("old");
    cr_assert_eq(calls->rename(root, "old", "new"), 0);
    struct torture_power rule = power(0);
    cut(&rule, 1);
    must_open("old");
    cr_assert_lt(open_to_read("new"), 0);
}

Test(torture_disk, never_has_a_file_under_two_names_or_none_by_a_rename)
{
    create_durable("old");
    create_durable("new");
    cr_assert_eq(calls->rename(root, "old", "new"), 0);
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    struct torture_power rule = power(50);
    rule.names = TORTURE_NAMES_EACH;
    for (uint64_t seed = 0; seed < 20; seed++) {
        torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, seed), MOUNT);
        struct stat from, to;
        int there = calls->open(AT_FDCWD, MOUNT, O_RDONLY | O_DIRECTORY, 0);
        cr_assert_eq(calls->status_at(there, "new", &to), 0);
        cr_assert_eq(to.st_nlink, 1);
        if (calls->status_at(there, "old", &from) == 0)
            cr_assert_neq(from.st_ino, to.st_ino);
    }
    torture_snapshot_free(snapshot);
}

Test(torture_disk, may_bring_a_deleted_file_back_until_the_directory_is_synced)
{
    create_durable("file");
    cr_assert_eq(calls->unlink(root, "file"), 0);
    struct torture_power rule = power(0);
    cut(&rule, 1);
    cr_assert_eq(byte_at(must_open("file"), 0), 'a');
    cr_assert_eq(calls->unlink(root, "file"), 0);
    sync_names();
    cut(&rule, 1);
    cr_assert_lt(open_to_read("file"), 0);
}

Test(torture_disk, keeps_a_first_part_of_the_directory_operations_when_they_are_ordered)
{
    const char *const names[] = {"0", "1", "2", "3", "4", "5"};
    for (size_t i = 0; i < 6; i++)
        create(names[i]);
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    struct torture_power rule = power(60);
    bool each_lost_an_earlier_one = false;
    for (uint64_t seed = 0; seed < 100; seed++) {
        rule.names = seed % 2 ? TORTURE_NAMES_EACH : TORTURE_NAMES_ORDERED;
        torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, seed), MOUNT);
        int there = calls->open(AT_FDCWD, MOUNT, O_RDONLY | O_DIRECTORY, 0);
        bool lost = false;
        for (size_t i = 0; i < 6; i++) {
            struct stat status;
            bool kept = calls->status_at(there, names[i], &status) == 0;
            if (rule.names == TORTURE_NAMES_ORDERED)
                cr_assert(!kept || !lost, "a later one was kept, an earlier one lost");
            each_lost_an_earlier_one |= kept && lost;
            lost |= !kept;
        }
    }
    cr_assert(each_lost_an_earlier_one);
    torture_snapshot_free(snapshot);
}

Test(torture_disk, covers_no_missing_data_by_a_files_length_unless_told_so)
{
    int fd = create_durable("file");
    fill(fd, PAGE, 2 * PAGE, 'b');
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    struct torture_power rule = power(50);
    bool zeros = false;
    for (uint64_t seed = 0; seed < 100; seed++) {
        rule.size_first = seed % 2;
        torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, seed), MOUNT);
        int left = calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0);
        for (off_t at = PAGE; at < 3 * PAGE; at += SECTOR) {
            int byte = byte_at(left, at);
            cr_assert(byte == 'b' || byte == -1 || (byte == 0 && rule.size_first));
            zeros |= byte == 0;
        }
    }
    cr_assert(zeros);
    torture_snapshot_free(snapshot);
}

Test(torture_disk, tears_only_when_it_may_and_only_what_was_on_its_way)
{
    int fd = create("file");
    fill(fd, 0, 4 * PAGE, 'a');
    cr_assert_eq(calls->sync_data(fd), 0);
    sync_names();
    fill(fd, PAGE + 100, 10, 'b');
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    struct torture_power rule = power(50);
    rule.torn = true;
    bool torn = false;
    for (uint64_t seed = 0; seed < 200; seed++) {
        torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, seed), MOUNT);
        int left = calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0);
        unsigned char bytes[4 * PAGE];
        cr_assert_eq(calls->read(left, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
        for (size_t at = 0; at < sizeof bytes; at++) {
            bool in_flight = at >= PAGE && at < 2 * PAGE;
            cr_assert(in_flight || bytes[at] == 'a', "byte %zu was durable", at);
            torn |= bytes[at] != 'a' && bytes[at] != 'b';
        }
    }
    cr_assert(torn);
    torture_snapshot_free(snapshot);
}

Test(torture_disk, tries_every_subset_once)
{
    int fd = create_durable("file");
    for (off_t at = 0; at < 5 * SECTOR; at += SECTOR)
        fill(fd, at, SECTOR, 'b');
    struct torture_power rule = power(0);
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    cr_assert_eq(torture_snapshot_cuts(snapshot, &rule), 32);
    bool seen[32] = {false};
    for (uint64_t i = 0; i < 32; i++) {
        torture_disk_mount(torture_disk_after_nth_cut(snapshot, &rule, i), MOUNT);
        int left = calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0);
        unsigned subset = 0;
        for (unsigned sector = 0; sector < 5; sector++)
            subset |= (unsigned)(byte_at(left, (off_t)sector * SECTOR) == 'b') << sector;
        cr_assert_not(seen[subset]);
        seen[subset] = true;
    }
    torture_snapshot_free(snapshot);
}

Test(torture_disk, shows_stores_through_a_map_to_readers_and_to_power_cuts)
{
    int fd = create_durable("file");
    unsigned char *map = calls->map(PAGE, PROT_READ | PROT_WRITE, fd);
    cr_assert_neq(map, MAP_FAILED);
    map[SECTOR] = 'b';
    cr_assert_eq(byte_at(fd, SECTOR), 'b');
    fill(fd, 0, 1, 'c');
    cr_assert_eq(map[0], 'c', "a map does not see what is written");

    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    struct torture_power rule = power(0);
    torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, 1), MOUNT);
    cr_assert_eq(byte_at(calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0), SECTOR), 'a');
    rule = power(100);
    torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, 1), MOUNT);
    cr_assert_eq(byte_at(calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0), SECTOR), 'b');

    cr_assert_eq(calls->sync_data(fd), 0);
    torture_snapshot_free(snapshot);
    snapshot = torture_disk_snapshot(disk);
    rule = power(0);
    torture_disk_mount(torture_disk_after_power_cut(snapshot, &rule, 1), MOUNT);
    cr_assert_eq(byte_at(calls->open(AT_FDCWD, MOUNT "/file", O_RDONLY, 0), SECTOR), 'b');
    cr_assert_eq(calls->unmap(map, PAGE), 0);
    cr_assert_eq(byte_at(fd, SECTOR), 'b', "unmapping lost a store");
    torture_snapshot_free(snapshot);
}

Test(torture_disk, gives_two_maps_of_a_file_the_same_bytes)
{
    int fd = create_durable("file");
    unsigned char *one = calls->map(PAGE, PROT_READ | PROT_WRITE, fd);
    unsigned char *two = calls->map(PAGE, PROT_READ, fd);
    one[5] = 'x';
    cr_assert_eq(two[5], 'x');
    calls->unmap(one, PAGE);
    cr_assert_eq(two[5], 'x');
    calls->unmap(two, PAGE);
}

Test(torture_disk, excludes_by_locks_of_descriptors_until_they_are_closed)
{
    int one = create("LOCK");
    int two = calls->open(root, "LOCK", O_RDWR, 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 1};
    cr_assert_eq(calls->lock(one, F_OFD_SETLK, &lock), 0);
    cr_assert_eq(calls->lock(two, F_OFD_SETLK, &lock), -1);
    cr_assert_eq(errno, EAGAIN);
    struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 4, .l_len = 1};
    cr_assert_eq(calls->lock(two, F_OFD_SETLK, &other), 0);
    struct flock asked = lock;
    cr_assert_eq(calls->lock(two, F_OFD_GETLK, &asked), 0);
    cr_assert_eq(asked.l_type, F_WRLCK);
    cr_assert_eq(calls->close(one), 0);
    cr_assert_eq(calls->lock(two, F_OFD_SETLK, &lock), 0);
}

Test(torture_disk, gives_up_all_locks_and_nothing_else_at_a_kill)
{
    int fd = create("LOCK");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    cr_assert_eq(calls->lock(fd, F_OFD_SETLK, &lock), 0);
    fill(fd, 0, 10, 'd');
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    torture_disk_mount(torture_disk_after_kill(snapshot), MOUNT);
    int again = calls->open(AT_FDCWD, MOUNT "/LOCK", O_RDWR, 0);
    cr_assert_eq(byte_at(again, 9), 'd');
    cr_assert_eq(calls->lock(again, F_OFD_SETLK, &lock), 0);
    torture_snapshot_free(snapshot);
}

Test(torture_disk, still_has_to_lose_after_a_kill_what_was_dirty_before)
{
    int fd = create_durable("file");
    fill(fd, 0, SECTOR, 'b');
    struct torture_snapshot *snapshot = torture_disk_snapshot(disk);
    disk = torture_disk_after_kill(snapshot);
    torture_disk_mount(disk, MOUNT);
    struct torture_power rule = power(0);
    cut(&rule, 1);
    cr_assert_eq(byte_at(must_open("file"), 0), 'a');
    torture_snapshot_free(snapshot);
}

Test(torture_disk, takes_a_part_of_a_write_when_it_is_full_and_then_nothing)
{
    torture_disk_set_capacity(disk, 2 * PAGE);
    int fd = create("file");
    char bytes[4 * PAGE] = {1};
    cr_assert_eq(calls->write(fd, bytes, sizeof bytes, 0), 2 * PAGE);
    cr_assert_eq(calls->write(fd, bytes, sizeof bytes, 2 * PAGE), -1);
    cr_assert_eq(errno, ENOSPC);
    cr_assert_eq(calls->allocate(create("other"), PAGE), -1);
    cr_assert_eq(errno, ENOSPC);
    cr_assert_eq(calls->close(fd), 0);
    cr_assert_eq(calls->unlink(root, "file"), 0);
    cr_assert_eq(torture_disk_used(disk), 0);
}

Test(torture_disk, drops_what_a_failed_sync_lost_when_the_cache_is_dropped)
{
    int fd = create_durable("file");
    fill(fd, 0, SECTOR, 'b');
    torture_disk_lose_dirty_pages(fd, true);
    cr_assert_eq(byte_at(fd, 0), 'b', "the cache still has it");
    fill(fd, SECTOR, SECTOR, 'c');
    cr_assert_eq(calls->sync_data(fd), 0);
    int direct = calls->open(root, "file", O_RDONLY | O_DIRECT, 0);
    static _Alignas(4096) unsigned char page[PAGE];
    cr_assert_eq(calls->read(direct, page, PAGE, 0), PAGE);
    cr_assert_eq(page[0], 'a', "the disk never got it");
    cr_assert_eq(page[SECTOR], 'c', "what was written afterwards it did get");
    cr_assert_eq(calls->drop_cache(fd, 0, PAGE), 0);
    cr_assert_eq(byte_at(fd, 0), 'a');
    cr_assert_eq(byte_at(fd, SECTOR), 'c');
}

Test(torture_disk, refuses_what_the_kernel_refuses)
{
    create("file");
    calls->make_directory(root, "directory", 0750);
    cr_assert_eq(calls->open(root, "file", O_RDWR | O_CREAT | O_EXCL, 0640), -1);
    cr_assert_eq(errno, EEXIST);
    cr_assert_eq(calls->open(root, "file", O_RDONLY | O_DIRECTORY, 0), -1);
    cr_assert_eq(errno, ENOTDIR);
    cr_assert_eq(calls->open(root, "directory", O_RDWR, 0), -1);
    cr_assert_eq(errno, EISDIR);
    cr_assert_eq(calls->make_directory(root, "directory", 0750), -1);
    cr_assert_eq(errno, EEXIST);
    cr_assert_eq(calls->unlink(root, "none"), -1);
    cr_assert_eq(errno, ENOENT);
    int fd = calls->open(root, "file", O_RDONLY | O_DIRECT, 0);
    char byte[SECTOR + 8];
    cr_assert_eq(calls->read(fd, byte, 100, 0), -1, "O_DIRECT needs whole sectors");
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(calls->write(fd, byte, 1, 0), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(calls->close(fd), 0);
    cr_assert_eq(calls->close(fd), -1);
}

Test(torture_disk, leaves_everything_else_to_the_kernel)
{
    int fd = calls->open(AT_FDCWD, "/dev/null", O_RDONLY, 0);
    cr_assert_geq(fd, 0);
    cr_assert_lt(fd, TORTURE_DISK_FD_FIRST);
    cr_assert_eq(calls->close(fd), 0);
    cr_assert_lt(calls->open(AT_FDCWD, MOUNT "-not", O_RDONLY, 0), 0);
}

Test(torture_disk, has_one_hash_for_the_same_content_and_another_for_another)
{
    int fd = create_durable("file");
    uint64_t before = torture_disk_hash(disk);
    fill(fd, 10, 1, 'b');
    uint64_t changed = torture_disk_hash(disk);
    cr_assert_neq(changed, before);
    fill(fd, 10, 1, 'a');
    cr_assert_eq(torture_disk_hash(disk), before);
    fill(fd, PAGE, 100, 0);
    cr_assert_neq(torture_disk_hash(disk), before, "zeros make a file longer");
}

struct watched {
    unsigned kinds[TORTURE_DISK_KINDS];
    char name[64];
};

static void watch(void *context, struct torture_disk *watched_disk,
                  const struct torture_disk_operation *operation)
{
    struct watched *watched = context;
    torture_snapshot_free(torture_disk_snapshot(watched_disk));
    watched->kinds[operation->kind]++;
    strcpy(watched->name, operation->name);
}

Test(torture_disk, tells_a_watcher_each_operation_who_may_take_a_snapshot_then)
{
    struct watched watched = {0};
    torture_disk_watch(disk, watch, &watched);
    create_durable("file");
    cr_assert_eq(calls->rename(root, "file", "other"), 0);
    cr_assert_str_eq(watched.name, "other");
    cr_assert_eq(watched.kinds[TORTURE_DISK_CREATE], 1);
    cr_assert_eq(watched.kinds[TORTURE_DISK_WRITE], 1);
    cr_assert_eq(watched.kinds[TORTURE_DISK_SYNC_START], 2);
    cr_assert_eq(watched.kinds[TORTURE_DISK_SYNC], 1);
    cr_assert_eq(watched.kinds[TORTURE_DISK_SYNC_DIRECTORY], 1);
    cr_assert_eq(torture_disk_operations(disk), 7);
}
