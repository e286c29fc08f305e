#include <criterion/criterion.h>
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/file_calls.h"
#include "tests/support/scratch.h"

static int syncs_asked;

static int sync_that_fails(int fd)
{
    (void)fd;
    syncs_asked++;
    errno = EIO;
    return -1;
}

Test(file_calls, every_sync_goes_through_the_table_in_force)
{
    struct file_calls broken = file_calls_kernel;
    struct error error;
    int directory_fd = open(scratch_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;

    broken.sync_data = sync_that_fails;
    file_calls_use(&broken);
    enum error_code code = file_open(directory_fd, "f", FILE_CREATE, &fd, &error);
    cr_assert_eq(code, OK);
    cr_assert_eq(file_sync_data(fd, "f", &error), ERROR_IO);
    cr_assert_eq(syncs_asked, 1);
    file_calls_use(NULL);

    cr_assert_eq(file_sync_data(fd, "f", &error), OK, "NULL gives the kernel's calls back");
    cr_assert_eq(syncs_asked, 1);
    file_close(&fd);
}

static int note_length(void *context, const char *name)
{
    size_t *total = context;
    *total += strlen(name);
    return 0;
}

static int stop_at_once(void *context, const char *name)
{
    (void)name;
    ++*(size_t *)context;
    return 1;
}

Test(file_calls, a_listing_names_each_file_once_and_ends_when_the_visitor_says_so)
{
    struct error error;
    int directory_fd = open(scratch_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t total = 0, calls = 0;

    for (int i = 0; i < 2; i++) {
        int fd = -1;
        cr_assert_eq(file_open(directory_fd, i ? "bb" : "a", FILE_CREATE, &fd, &error), OK);
        file_close(&fd);
    }
    cr_assert_eq(file_list(directory_fd, "here", note_length, &total, &error), OK);
    cr_assert_eq(total, 3);
    cr_assert_eq(file_list(directory_fd, "here", stop_at_once, &calls, &error), OK);
    cr_assert_eq(calls, 1);
    cr_assert_eq(file_list(-1, "nowhere", stop_at_once, &calls, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "nowhere"));
}

static uint32_t system_type;

/* A file system that keeps 90 of its 100 free blocks for itself. */
static int mostly_reserved(int fd, struct statfs *status_out)
{
    (void)fd;
    *status_out = (struct statfs){
        .f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1000, .f_bfree = 100, .f_bavail = 10};
    memcpy(&status_out->f_type, &system_type, sizeof system_type);
    return 0;
}

static uint64_t free_blocks(uint32_t type)
{
    static struct file_calls calls;
    struct file_space space;
    calls = file_calls_kernel;
    calls.file_system = mostly_reserved;
    system_type = type;
    file_calls_use(&calls);
    cr_assert_eq(file_space(-1, "here", &space, NULL), OK);
    file_calls_use(NULL);
    return space.free_bytes / 4096;
}

/* Btrfs counts as free what only its metadata can use, also for the superuser. */
Test(file_calls, free_space_is_what_files_can_have)
{
    cr_assert_eq(free_blocks(EXT4_SUPER_MAGIC), geteuid() == 0 ? 100 : 10);
    cr_assert_eq(free_blocks(BTRFS_SUPER_MAGIC), 10);
}

static int64_t five(void)
{
    return 5;
}

static void all_sevens(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 7, CLOCK_BOOT_ID_SIZE);
}

Test(file_calls, time_and_boot_come_from_the_source_in_force)
{
    static const struct clock_source still = {
        .realtime_ns = five, .monotonic_ns = five, .boot_id = all_sevens};
    uint8_t boot[CLOCK_BOOT_ID_SIZE];

    clock_use(&still);
    cr_assert_eq(clock_realtime_ns(), 5);
    cr_assert_eq(clock_monotonic_ns(), 5);
    clock_boot_id(boot);
    cr_assert_eq(boot[15], 7);
    clock_use(NULL);
    cr_assert_gt(clock_realtime_ns(), 5);
}
