#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/file_calls.h"

enum error_code file_guard_standard_streams(struct error *error)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number is this one, because those below are open. */
        if (open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
            return error_set_errno(error, errno, "cannot open /dev/null as descriptor %d", fd);
    }
    return OK;
}

static enum error_code check_regular(int fd, const char *name, enum file_mode mode,
                                     struct error *error)
{
    struct stat status;
    if (file_calls()->status(fd, &status))
        return error_set_errno(error, errno, "cannot inspect '%s'", name);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_FOREIGN, "'%s' is not a regular file", name);
    if (mode == FILE_READ)
        return OK;
    uid_t user = geteuid();
    if (user != 0 && user != status.st_uid)
        return error_set(error, ERROR_FOREIGN, "'%s' belongs to user %u and we are user %u", name,
                         status.st_uid, user);
    if (status.st_nlink > 1)
        return error_set(error, ERROR_FOREIGN,
                         "'%s' has %lu names (hard links), so that others could see it change; "
                         "give it a copy of its own",
                         name, (unsigned long)status.st_nlink);
    return OK;
}

enum error_code file_open(int directory_fd, const char *name, enum file_mode mode, int *fd_out,
                          struct error *error)
{
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK; /* a FIFO must not make us wait */
    flags |= mode == FILE_READ ? O_RDONLY : O_RDWR;
    if (mode == FILE_CREATE)
        flags |= O_CREAT | O_EXCL;
    int fd = file_calls()->open(directory_fd, name, flags, 0640);
    if (fd < 0 && errno == ELOOP)
        return error_set(error, ERROR_FOREIGN, "'%s' is a symbolic link, which is not followed",
                         name);
    if (fd < 0 && (errno == EISDIR || errno == ENXIO))
        return error_set(error, ERROR_FOREIGN, "'%s' is not a regular file", name);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot %s '%s'",
                               mode == FILE_CREATE ? "create" : "open", name);
    enum error_code code = check_regular(fd, name, mode, error);
    if (code) {
        file_close(&fd);
        return code;
    }
    *fd_out = fd;
    return OK;
}

enum error_code file_open_uncached(int directory_fd, const char *name, int *fd_out,
                                   struct error *error)
{
    int fd =
        file_calls()->open(directory_fd, name, O_RDONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0 && errno == EINVAL)
        return file_open(directory_fd, name, FILE_READ, fd_out, error);
    if (fd < 0)
        return error_set_errno(error, errno, "open '%s'", name);
    *fd_out = fd;
    return OK;
}

void file_close(int *fd)
{
    if (*fd >= 0)
        file_calls()->close(*fd);
    *fd = -1;
}

bool file_is_named(int fd, int directory_fd, const char *name)
{
    struct stat held, named;

    return file_calls()->status(fd, &held) == 0 &&
           file_calls()->status_at(directory_fd, name, &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

enum error_code file_status(int fd, const char *name, struct stat *status_out, struct error *error)
{
    struct stat status;
    if (file_calls()->status(fd, &status))
        return error_set_errno(error, errno, "cannot inspect '%s'", name);
    *status_out = status;
    return OK;
}

enum error_code file_status_at(int directory_fd, const char *name, struct stat *status_out,
                               struct error *error)
{
    struct stat status;
    if (file_calls()->status_at(directory_fd, name, &status))
        return error_set_errno(error, errno, "cannot inspect '%s'", name);
    *status_out = status;
    return OK;
}

enum error_code file_size(int fd, const char *name, uint64_t *size_out, struct error *error)
{
    struct stat status;
    if (file_calls()->status(fd, &status))
        return error_set_errno(error, errno, "cannot inspect '%s'", name);
    *size_out = (uint64_t)status.st_size;
    return OK;
}

enum error_code file_check_range(const char *name, uint64_t offset, uint64_t size,
                                 struct error *error)
{
    if (offset <= INT64_MAX && size <= INT64_MAX - offset)
        return OK;
    return error_set(error, ERROR_INVALID, "'%s' cannot have %llu bytes at byte %llu", name,
                     (unsigned long long)size, (unsigned long long)offset);
}

enum error_code file_read(int fd, const char *name, void *data, size_t size, uint64_t offset,
                          struct error *error)
{
    enum error_code code = file_check_range(name, offset, size, error);
    if (code)
        return code;
    for (size_t done = 0; done < size;) {
        ssize_t n =
            file_calls()->read(fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot read '%s' at byte %llu", name,
                                   (unsigned long long)(offset + done));
        if (n == 0)
            return error_set(error, ERROR_DAMAGED, "'%s' ends at byte %llu, %zu bytes too early",
                             name, (unsigned long long)(offset + done), size - done);
        done += (size_t)n;
    }
    return OK;
}

enum error_code file_write(int fd, const char *name, const void *data, size_t size, uint64_t offset,
                           struct error *error)
{
    enum error_code code = file_check_range(name, offset, size, error);
    if (code)
        return code;
    for (size_t done = 0; done < size;) {
        ssize_t n =
            file_calls()->write(fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot write '%s' at byte %llu", name,
                                   (unsigned long long)(offset + done));
        if (n == 0)
            return error_set(error, ERROR_IO, "writing '%s' makes no progress at byte %llu", name,
                             (unsigned long long)(offset + done));
        done += (size_t)n;
    }
    return OK;
}

enum error_code file_sync_data(int fd, const char *name, struct error *error)
{
    if (file_calls()->sync_data(fd))
        return error_set_errno(error, errno, "cannot sync '%s'", name);
    return OK;
}

enum error_code file_sync_directory(int fd, const char *name, struct error *error)
{
    if (file_calls()->sync(fd))
        return error_set_errno(error, errno, "cannot sync the directory of '%s'", name);
    return OK;
}

enum error_code file_rename(int directory_fd, const char *from, const char *to, struct error *error)
{
    if (file_calls()->rename(directory_fd, from, to))
        return error_set_errno(error, errno, "cannot rename '%s' to '%s'", from, to);
    return OK;
}

enum error_code file_unlink(int directory_fd, const char *name, struct error *error)
{
    if (file_calls()->unlink(directory_fd, name))
        return error_set_errno(error, errno, "cannot delete '%s'", name);
    return OK;
}

void file_drop_cache(int fd, uint64_t offset, uint64_t size)
{
    file_calls()->drop_cache(fd, (off_t)offset, (off_t)size);
}

void file_read_soon(int fd, uint64_t offset, uint64_t size)
{
    file_calls()->read_soon(fd, (off_t)offset, (off_t)size);
}

/* Leave `data`, synced, in the new file `name`; leave no file on failure. */
enum error_code file_make_alike(int fd, const char *name, const struct stat *like,
                                struct error *error)
{
    struct stat status;
    enum error_code code = file_status(fd, name, &status, error);
    if (code || !file_calls()->give ||
        (status.st_uid == like->st_uid && status.st_gid == like->st_gid &&
         status.st_mode == like->st_mode))
        return code;
    if (file_calls()->give(fd, like->st_uid, like->st_gid, like->st_mode & 07777))
        return error_set_errno(error, errno, "cannot give '%s' the owner %u, the group %u", name,
                               (unsigned)like->st_uid, (unsigned)like->st_gid);
    return OK;
}

static enum error_code write_new_file(int directory_fd, const char *name, const void *data,
                                      size_t size, const struct stat *like, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_CREATE, &fd, error);
    if (code)
        return code;
    code = file_write(fd, name, data, size, 0, error);
    if (!code && like)
        code = file_make_alike(fd, name, like, error);
    if (!code)
        code = file_sync_data(fd, name, error);
    file_close(&fd);
    if (code)
        file_calls()->unlink(directory_fd, name);
    return code;
}

enum error_code file_replace_alike(int directory_fd, const char *name, const void *data,
                                   size_t size, const struct stat *like, struct error *error)
{
    char temporary[NAME_MAX + 1];
    int length = snprintf(temporary, sizeof temporary, "%s.tmp", name);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return error_set(error, ERROR_INVALID, "the file name '%s' is too long", name);

    /* A crash may have left one. */
    enum error_code code = file_unlink(directory_fd, temporary, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    code = write_new_file(directory_fd, temporary, data, size, like, error);
    if (code)
        return code;
    code = file_rename(directory_fd, temporary, name, error);
    if (code) {
        file_calls()->unlink(directory_fd, temporary);
        return code;
    }
    return file_sync_directory(directory_fd, name, error);
}

enum error_code file_replace(int directory_fd, const char *name, const void *data, size_t size,
                             struct error *error)
{
    return file_replace_alike(directory_fd, name, data, size, NULL, error);
}

static enum error_code write_over(int directory_fd, const char *name, const void *data, size_t size,
                                  struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_WRITE, &fd, error);
    if (!code)
        code = file_write(fd, name, data, size, 0, error);
    if (!code && file_calls()->truncate(fd, (off_t)size))
        code = error_set_errno(error, errno, "cannot cut '%s' to %zu bytes", name, size);
    if (!code)
        code = file_sync_data(fd, name, error);
    file_close(&fd);
    return code;
}

enum error_code file_replace_by(int directory_fd, const char *spare, const char *name,
                                const void *data, size_t size, struct error *error)
{
    enum error_code code = write_over(directory_fd, spare, data, size, error);
    if (!code)
        code = file_rename(directory_fd, spare, name, error);
    return code ? code : file_sync_directory(directory_fd, name, error);
}

static enum error_code load_open_file(int fd, const char *name, size_t size_max,
                                      struct buffer *buffer, struct error *error)
{
    uint64_t size = 0;
    enum error_code code = file_size(fd, name, &size, error);
    if (code)
        return code;
    if (size > size_max)
        return error_set(error, ERROR_DAMAGED, "'%s' has %llu bytes, more than %zu", name,
                         (unsigned long long)size, size_max);
    if (size == 0)
        return OK;
    code = buffer_reserve(buffer, (size_t)size, error);
    if (code)
        return code;
    code = file_read(fd, name, buffer->data + buffer->size, (size_t)size, 0, error);
    if (code)
        return code;
    buffer->size += (size_t)size;
    return OK;
}

enum error_code file_load(int directory_fd, const char *name, size_t size_max,
                          struct buffer *buffer, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = load_open_file(fd, name, size_max, buffer, error);
    file_close(&fd);
    return code;
}

static struct flock one_byte(short type, uint64_t byte)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
}

enum error_code file_lock(int fd, const char *name, uint64_t byte, struct error *error)
{
    struct flock lock = one_byte(F_WRLCK, byte);
    if (!file_calls()->lock(fd, F_OFD_SETLK, &lock))
        return OK;
    if (errno == EAGAIN || errno == EACCES)
        return error_set(error, ERROR_BUSY, "'%s' is locked by another process", name);
    return error_set_errno(error, errno, "cannot lock '%s'", name);
}

enum error_code file_lock_directory(int fd, const char *name, struct error *error)
{
    if (!file_calls()->lock_directory || !file_calls()->lock_directory(fd))
        return OK;
    if (errno == EWOULDBLOCK)
        return error_set(error, ERROR_BUSY, "'%s' is locked by another process", name);
    return error_set_errno(error, errno, "cannot lock '%s'", name);
}

enum error_code file_is_locked(int fd, const char *name, uint64_t byte, bool *locked_out,
                               struct error *error)
{
    struct flock lock = one_byte(F_WRLCK, byte);
    if (file_calls()->lock(fd, F_OFD_GETLK, &lock))
        return error_set_errno(error, errno, "cannot ask for the lock of '%s'", name);
    *locked_out = lock.l_type != F_UNLCK;
    return OK;
}
