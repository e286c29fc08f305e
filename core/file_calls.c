#include "core/file_calls.h"

#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_open(int directory_fd, const char *path, int flags, mode_t mode)
{
    return openat(directory_fd, path, flags, mode);
}

static int kernel_status_at(int directory_fd, const char *name, struct stat *status_out)
{
    return fstatat(directory_fd, name, status_out, AT_SYMLINK_NOFOLLOW);
}

static int kernel_allocate(int fd, off_t size)
{
    return fallocate(fd, 0, 0, size);
}

static int kernel_drop_cache(int fd, off_t offset, off_t size)
{
    return posix_fadvise(fd, offset, size, POSIX_FADV_DONTNEED);
}

static int kernel_read_soon(int fd, off_t offset, off_t size)
{
    return posix_fadvise(fd, offset, size, POSIX_FADV_WILLNEED);
}

static int kernel_rename(int directory_fd, const char *from, const char *to)
{
    return renameat(directory_fd, from, directory_fd, to);
}

static int kernel_unlink(int directory_fd, const char *name)
{
    return unlinkat(directory_fd, name, 0);
}

static int visit_entries(DIR *directory, int (*visit)(void *context, const char *name),
                         void *context)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry)
            return errno ? -1 : 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int answer = visit(context, entry->d_name);
        if (answer)
            return answer;
    }
}

static int kernel_list(int directory_fd, int (*visit)(void *context, const char *name),
                       void *context)
{
    /* A descriptor of its own, because listing moves the position that all copies share. */
    int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *directory = fdopendir(fd);
    if (!directory) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    int answer = visit_entries(directory, visit, context);
    int reason = errno;
    closedir(directory);
    errno = reason;
    return answer;
}

static void *kernel_map(size_t size, int protection, int fd)
{
    return mmap(NULL, size, protection, MAP_SHARED, fd, 0);
}

static int kernel_forget_map(void *map, size_t size)
{
    return madvise(map, size, MADV_DONTNEED);
}

static int kernel_lock_directory(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB);
}

static int kernel_lock(int fd, int command, struct flock *lock)
{
    return fcntl(fd, command, lock);
}

/* The mode last: a change of the owner may take bits of it away. */
static int kernel_give(int fd, uid_t owner, gid_t group, mode_t mode)
{
    return fchown(fd, owner, group) || fchmod(fd, mode) ? -1 : 0;
}

static int kernel_keep_in_place(int fd)
{
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
        return -1;
    flags |= FS_NOCOW_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

const struct file_calls file_calls_kernel = {
    .open = kernel_open,
    .close = close,
    .status = fstat,
    .status_at = kernel_status_at,
    .file_system = fstatfs,
    .read = pread,
    .write = pwrite,
    .write_vector = pwritev,
    .sync_data = fdatasync,
    .sync = fsync,
    .allocate = kernel_allocate,
    .truncate = ftruncate,
    .drop_cache = kernel_drop_cache,
    .read_soon = kernel_read_soon,
    .rename = kernel_rename,
    .unlink = kernel_unlink,
    .make_directory = mkdirat,
    .list = kernel_list,
    .map = kernel_map,
    .unmap = munmap,
    .forget_map = kernel_forget_map,
    .lock = kernel_lock,
    .lock_directory = kernel_lock_directory,
    .keep_in_place = kernel_keep_in_place,
    .give = kernel_give,
};

/* Handing a table down through every call would put the tests' need into every signature. */
static const struct file_calls *_Atomic calls_in_force = &file_calls_kernel;

const struct file_calls *file_calls(void)
{
    return atomic_load_explicit(&calls_in_force, memory_order_acquire);
}

void file_calls_use(const struct file_calls *calls)
{
    atomic_store(&calls_in_force, calls ? calls : &file_calls_kernel);
}
