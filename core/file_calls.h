/*
 * core/file_calls.h - the table of system calls behind core/file.h.
 *
 * Everything that core/file.c asks of the kernel goes through one table, so that the same code runs
 * on real files, on a simulated disk that loses power, and on a disk whose i-th call fails. Each
 * entry behaves as the call of the same meaning in its manual page: -1 and errno, short counts,
 * EINTR. Where a manual page allows a choice, the comment says which one.
 *
 * The table is the process's: it is set before the first file is opened and before any thread is
 * started, and changed only when nothing of the log is open. Programs that users run never set it,
 * but for `daybook torture`.
 */
#ifndef DAYBOOK_CORE_FILE_CALLS_H
#define DAYBOOK_CORE_FILE_CALLS_H

#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>

struct file_calls {
    int (*open)(int directory_fd, const char *path, int flags, mode_t mode); /* openat(2) */
    int (*close)(int fd);
    int (*status)(int fd, struct stat *status_out); /* fstat(2) */
    /* fstatat(2), never through a symbolic link */
    int (*status_at)(int directory_fd, const char *name, struct stat *status_out);
    int (*file_system)(int fd, struct statfs *status_out);                 /* fstatfs(2) */
    ssize_t (*read)(int fd, void *data, size_t size, off_t offset);        /* pread(2) */
    ssize_t (*write)(int fd, const void *data, size_t size, off_t offset); /* pwrite(2) */
    /* pwritev(2) */
    ssize_t (*write_vector)(int fd, const struct iovec *blocks, int count, off_t offset);
    int (*sync_data)(int fd);                            /* fdatasync(2) */
    int (*sync)(int fd);                                 /* fsync(2) */
    int (*allocate)(int fd, off_t size);                 /* fallocate(2) of [0, size) */
    int (*truncate)(int fd, off_t size);                 /* ftruncate(2) */
    int (*drop_cache)(int fd, off_t offset, off_t size); /* posix_fadvise(2), DONTNEED */
    int (*read_soon)(int fd, off_t offset, off_t size);  /* posix_fadvise(2), WILLNEED */
    int (*rename)(int directory_fd, const char *from, const char *to);      /* renameat(2) */
    int (*unlink)(int directory_fd, const char *name);                      /* unlinkat(2) */
    int (*make_directory)(int directory_fd, const char *name, mode_t mode); /* mkdirat(2) */
    /*
     * Call `visit` with each name of a directory but "." and "..", until it returns nonzero, and
     * return that; -1 and errno when the directory cannot be listed.
     */
    int (*list)(int directory_fd, int (*visit)(void *context, const char *name), void *context);
    /* mmap(2), MAP_SHARED, from the file's beginning; MAP_FAILED and errno */
    void *(*map)(size_t size, int protection, int fd);
    int (*unmap)(void *map, size_t size);
    int (*forget_map)(void *map, size_t size); /* madvise(2), MADV_DONTNEED */
    /* fcntl(2) with F_OFD_SETLK or F_OFD_GETLK */
    int (*lock)(int fd, int command, struct flock *lock);
    /*
     * ioctl(2), FS_IOC_SETFLAGS with FS_NOCOW_FL, on an empty file or on a directory, for its new
     * files: blocks stay where they are when they are overwritten. Fails where that means nothing.
     * NULL: not to be had.
     */
    int (*keep_in_place)(int fd);
    /* fchown(2) and fchmod(2); NULL where files have no owners */
    int (*give)(int fd, uid_t owner, gid_t group, mode_t mode);
    /* flock(2), LOCK_EX | LOCK_NB, of a directory. NULL: there is nobody else. */
    int (*lock_directory)(int fd);
};

/* The kernel's own calls. */
extern const struct file_calls file_calls_kernel;

/* The table in force: the kernel's, unless another one was set. */
const struct file_calls *file_calls(void);
/* Set the table, NULL for the kernel's; `calls` is borrowed until the next change. */
void file_calls_use(const struct file_calls *calls);

#endif
