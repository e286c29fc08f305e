#include "tests/support/broken_calls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "core/file_calls.h"

static struct broken_plan plan;
static struct stat bad; /* plan.bad_file, as it was at the beginning */
static atomic_uint calls, hits;
static atomic_int open_things;

static bool fails(enum broken_call call, const char *name)
{
    if (plan.call != BROKEN_ANY && plan.call != call)
        return false;
    if (plan.name_part && !(name && strstr(name, plan.name_part)))
        return false;
    unsigned number = atomic_fetch_add(&calls, 1) + 1;
    if (number < plan.number || (number > plan.number && !plan.for_ever))
        return false;
    atomic_fetch_add(&hits, 1);
    void (*before)(void) = plan.before;
    plan.before = NULL;
    if (before)
        before();
    errno = plan.reason;
    return plan.reason != 0;
}

static bool is_the_bad(const struct stat *status)
{
    return status->st_dev == bad.st_dev && status->st_ino == bad.st_ino;
}

static bool is_bad(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && is_the_bad(&status);
}

static bool names_bad(int directory_fd, const char *name)
{
    struct stat status;
    return fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && is_the_bad(&status);
}

static int opened(int fd)
{
    atomic_fetch_add(&open_things, fd >= 0);
    return fd;
}

static int broken_open(int directory_fd, const char *name, int flags, mode_t mode)
{
    if ((!plan.bad_file || names_bad(directory_fd, name)) && fails(BROKEN_OPEN, name))
        return -1;
    return opened(file_calls_kernel.open(directory_fd, name, flags, mode));
}

static int broken_close(int fd)
{
    atomic_fetch_sub(&open_things, 1);
    return file_calls_kernel.close(fd);
}

static int broken_status(int fd, struct stat *status_out)
{
    if ((!plan.bad_file || is_bad(fd)) && fails(BROKEN_STATUS, NULL))
        return -1;
    return file_calls_kernel.status(fd, status_out);
}

static int broken_status_at(int directory_fd, const char *name, struct stat *status_out)
{
    if ((!plan.bad_file || names_bad(directory_fd, name)) && fails(BROKEN_STATUS, name))
        return -1;
    return file_calls_kernel.status_at(directory_fd, name, status_out);
}

static ssize_t broken_read(int fd, void *data, size_t size, off_t offset)
{
    if ((!plan.bad_file || is_bad(fd)) && fails(BROKEN_READ, NULL))
        return -1;
    return file_calls_kernel.read(fd, data, size, offset);
}

static ssize_t broken_write(int fd, const void *data, size_t size, off_t offset)
{
    return fails(BROKEN_WRITE, NULL) ? -1 : file_calls_kernel.write(fd, data, size, offset);
}

static ssize_t broken_write_vector(int fd, const struct iovec *blocks, int count, off_t offset)
{
    if (fails(BROKEN_WRITE, NULL))
        return -1;
    return file_calls_kernel.write_vector(fd, blocks, count, offset);
}

static int broken_sync_data(int fd)
{
    return fails(BROKEN_SYNC, NULL) ? -1 : file_calls_kernel.sync_data(fd);
}

static int broken_sync(int fd)
{
    return fails(BROKEN_SYNC, NULL) ? -1 : file_calls_kernel.sync(fd);
}

static int broken_allocate(int fd, off_t size)
{
    return fails(BROKEN_ALLOCATE, NULL) ? -1 : file_calls_kernel.allocate(fd, size);
}

static int broken_rename(int directory_fd, const char *from, const char *to)
{
    return fails(BROKEN_RENAME, to) ? -1 : file_calls_kernel.rename(directory_fd, from, to);
}

static int broken_unlink(int directory_fd, const char *name)
{
    return fails(BROKEN_UNLINK, name) ? -1 : file_calls_kernel.unlink(directory_fd, name);
}

static int broken_make_directory(int directory_fd, const char *name, mode_t mode)
{
    if (fails(BROKEN_MAKE_DIRECTORY, name))
        return -1;
    return file_calls_kernel.make_directory(directory_fd, name, mode);
}

static int broken_list(int directory_fd, int (*visit)(void *context, const char *name),
                       void *context)
{
    return fails(BROKEN_LIST, NULL) ? -1 : file_calls_kernel.list(directory_fd, visit, context);
}

static void *broken_map(size_t size, int protection, int fd)
{
    if (fails(BROKEN_MAP, NULL))
        return MAP_FAILED;
    void *map = file_calls_kernel.map(size, protection, fd);
    atomic_fetch_add(&open_things, map != MAP_FAILED);
    return map;
}

static int broken_unmap(void *map, size_t size)
{
    atomic_fetch_sub(&open_things, 1);
    return file_calls_kernel.unmap(map, size);
}

static int broken_lock(int fd, int command, struct flock *lock)
{
    return fails(BROKEN_LOCK, NULL) ? -1 : file_calls_kernel.lock(fd, command, lock);
}

void broken_calls_begin(const struct broken_plan *new_plan)
{
    static struct file_calls broken;
    broken = file_calls_kernel;
    broken.open = broken_open;
    broken.close = broken_close;
    broken.status = broken_status;
    broken.status_at = broken_status_at;
    broken.read = broken_read;
    broken.write = broken_write;
    broken.write_vector = broken_write_vector;
    broken.sync_data = broken_sync_data;
    broken.sync = broken_sync;
    broken.allocate = broken_allocate;
    broken.rename = broken_rename;
    broken.unlink = broken_unlink;
    broken.make_directory = broken_make_directory;
    broken.list = broken_list;
    broken.map = broken_map;
    broken.unmap = broken_unmap;
    broken.lock = broken_lock;
    plan = *new_plan;
    if (plan.bad_file)
        cr_assert_eq(stat(plan.bad_file, &bad), 0);
    atomic_store(&calls, 0);
    atomic_store(&hits, 0);
    atomic_store(&open_things, 0);
    file_calls_use(&broken);
}

unsigned broken_calls_end(void)
{
    file_calls_use(NULL);
    return atomic_load(&hits);
}

int broken_calls_open(void)
{
    return atomic_load(&open_things);
}
