/* The room's part of core/file.h: claiming it, filling it with zeros, giving it back. */
#include "core/file.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/file_calls.h"

static struct file_space space_of(const struct statfs *system)
{
    /* What is reserved for the superuser is there for the superuser. On btrfs it is what only
     * metadata can use, tens of megabytes of a small disk. */
    bool all = geteuid() == 0 && (uint32_t)system->f_type != BTRFS_SUPER_MAGIC;
    uint64_t blocks = (uint64_t)(all ? system->f_bfree : system->f_bavail);
    uint64_t block_bytes =
        system->f_frsize > 0 ? (uint64_t)system->f_frsize : (uint64_t)system->f_bsize;
    return (struct file_space){
        .total_bytes = (uint64_t)system->f_blocks * block_bytes,
        .free_bytes = blocks * block_bytes,
    };
}

enum error_code file_space(int fd, const char *name, struct file_space *space_out,
                           struct error *error)
{
    struct statfs system;
    if (file_calls()->file_system(fd, &system))
        return error_set_errno(error, errno, "cannot ask for the free space of '%s'", name);
    *space_out = space_of(&system);
    return OK;
}

/* The file system's name when it writes every change to a new place, else NULL. */
static const char *copying_name(const struct statfs *system)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } COPYING[] = {
        {BTRFS_SUPER_MAGIC, "btrfs"}, {F2FS_SUPER_MAGIC, "F2FS"}, {NILFS_SUPER_MAGIC, "NILFS"},
        {0xca451a4e, "bcachefs"},     {0x2fc12fc1, "ZFS"}, /* in no header of the system */
    };
    for (size_t i = 0; i < sizeof COPYING / sizeof COPYING[0]; i++)
        if ((uint32_t)system->f_type == COPYING[i].magic)
            return COPYING[i].name;
    return NULL;
}

enum error_code file_check_overwrites(int directory_fd, const char *path, struct error *error)
{
    struct statfs system;
    if (file_calls()->file_system(directory_fd, &system))
        return error_set_errno(error, errno, "cannot inspect the file system of '%s'", path);
    if (!copying_name(&system))
        return OK;
    return error_set(error, ERROR_INVALID,
                     "'%s' is on %s, which writes every change to a new place, so that a full "
                     "disk would kill a process that writes through a map; use the write path "
                     "pwrite there",
                     path, copying_name(&system));
}

void file_keep_in_place(int fd)
{
    /* Where it cannot be had things are as they are. */
    if (file_calls()->keep_in_place)
        file_calls()->keep_in_place(fd);
}

/* One write of up to a mebibyte of zeros, from 64 KiB of them that all processes share. */
static ssize_t write_some_zeros(int fd, uint64_t offset, uint64_t size)
{
    enum { BLOCK = 65536, BLOCKS_MAX = 16 };
    static const char ZEROS[BLOCK];
    struct iovec blocks[BLOCKS_MAX];
    int count = 0;
    for (; count < BLOCKS_MAX && size > 0; count++) {
        size_t length = size < BLOCK ? (size_t)size : BLOCK;
        blocks[count] = (struct iovec){.iov_base = (void *)(uintptr_t)ZEROS, .iov_len = length};
        size -= length;
    }
    return file_calls()->write_vector(fd, blocks, count, (off_t)offset);
}

enum error_code file_zero(int fd, const char *name, uint64_t offset, uint64_t size,
                          struct error *error)
{
    enum error_code code = file_check_range(name, offset, size, error);
    if (code)
        return code;
    while (size > 0) {
        ssize_t n = write_some_zeros(fd, offset, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot write '%s' at byte %llu", name,
                                   (unsigned long long)offset);
        if (n == 0)
            return error_set(error, ERROR_IO, "writing '%s' makes no progress at byte %llu", name,
                             (unsigned long long)offset);
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return OK;
}

/*
 * Do not even begin with what cannot be finished: allocating takes all the space that is left
 * before it fails, and for that moment nobody else has any.
 */
static enum error_code check_space(int fd, const char *name, uint64_t size, struct error *error)
{
    struct statfs system;
    /* Those that copy give back what was deleted only when somebody needs it. */
    if (file_calls()->file_system(fd, &system) || copying_name(&system))
        return OK;
    struct file_space space = space_of(&system);
    if (space.total_bytes == 0 || space.free_bytes >= size)
        return OK;
    return error_set(error, ERROR_NO_SPACE,
                     "cannot allocate %llu bytes for '%s': the file system has %llu left",
                     (unsigned long long)size, name, (unsigned long long)space.free_bytes);
}

/* Claim the space first: a full disk shows here, before anything is written. */
static enum error_code allocate(int fd, const char *name, uint64_t size, struct error *error)
{
    enum error_code code = file_check_range(name, 0, size, error);
    if (code || size == 0)
        return code;
    while (file_calls()->allocate(fd, (off_t)size)) {
        if (errno == EINTR)
            continue;
        /* Where the file system cannot, writing the zeros is the allocation. */
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return OK;
        return error_set_errno(error, errno, "cannot allocate %llu bytes for '%s'",
                               (unsigned long long)size, name);
    }
    return OK;
}

static enum error_code fill_with_zeros(int fd, const char *name, uint64_t size, struct error *error)
{
    enum error_code code = check_space(fd, name, size, error);
    if (!code)
        code = allocate(fd, name, size, error);
    if (code)
        return code;
    code = file_zero(fd, name, 0, size, error);
    if (code)
        return code;
    return file_sync_data(fd, name, error);
}

/* Give the space back at once, even if somebody else still has the file open. */
static void discard(int directory_fd, const char *name, int *fd)
{
    if (file_calls()->truncate(*fd, 0)) {
        /* Then the unlink below frees it. */
    }
    file_close(fd);
    file_calls()->unlink(directory_fd, name);
}

enum error_code file_create_zeroed(int directory_fd, const char *name, uint64_t size, int *fd_out,
                                   struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_CREATE, &fd, error);
    if (code)
        return code;
    file_keep_in_place(fd);
    code = fill_with_zeros(fd, name, size, error);
    if (code) {
        discard(directory_fd, name, &fd);
        return code;
    }
    file_drop_cache(fd, 0, size);
    *fd_out = fd;
    return OK;
}

static enum error_code claim(int fd, const char *name, uint64_t size, struct error *error)
{
    while (file_calls()->allocate(fd, (off_t)size)) {
        if (errno == EINTR)
            continue;
        return errno == EOPNOTSUPP || errno == ENOSYS
                   ? file_zero(fd, name, 0, size, error)
                   : error_set_errno(error, errno, "cannot allocate %llu bytes for '%s'",
                                     (unsigned long long)size, name);
    }
    return OK;
}

enum error_code file_claim(int directory_fd, const char *name, uint64_t size, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_CREATE, &fd, error);
    if (code)
        return code;
    code = claim(fd, name, size, error);
    if (code)
        discard(directory_fd, name, &fd);
    file_close(&fd);
    return code;
}

enum error_code file_claim_more(int directory_fd, const char *name, uint64_t size,
                                struct error *error)
{
    struct stat before;
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_WRITE, &fd, error);
    if (code)
        return code;
    code = file_status(fd, name, &before, error);
    if (!code && (code = claim(fd, name, size, error)) != OK &&
        file_calls()->truncate(fd, before.st_size)) {
        /* Then a part of what was there is claimed as well. */
    }
    file_close(&fd);
    return code;
}

enum error_code file_shrink(int directory_fd, const char *name, uint64_t size, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_WRITE, &fd, error);
    if (code)
        return code;
    if (file_calls()->truncate(fd, (off_t)size))
        code = error_set_errno(error, errno, "cannot cut '%s' to %llu bytes", name,
                               (unsigned long long)size);
    file_close(&fd);
    return code;
}
