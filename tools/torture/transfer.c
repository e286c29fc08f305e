#include "tools/torture/transfer.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct transfer {
    const struct file_calls *calls;
    int from_fd, to_fd; /* directories */
    enum error_code code;
    struct error *error;
};

static enum error_code copy_directory(const struct file_calls *calls, int from_fd, int to_fd,
                                      struct error *error);

static enum error_code copy_bytes(const struct file_calls *calls, int from, int to,
                                  const char *name, struct error *error)
{
    static char bytes[1 << 16];
    off_t at = 0;

    for (;;) {
        ssize_t n = calls->read(from, bytes, sizeof bytes, at);
        if (n == 0)
            return OK;
        if (n < 0 || pwrite(to, bytes, (size_t)n, at) != n)
            return error_set_errno(error, errno, "copy '%s'", name);
        at += n;
    }
}

static enum error_code copy_file(const struct transfer *t, const char *name, mode_t mode)
{
    int from = t->calls->open(t->from_fd, name, O_RDONLY, 0);
    int to = openat(t->to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
    enum error_code code = from < 0 || to < 0 ? error_set_errno(t->error, errno, "copy '%s'", name)
                                              : copy_bytes(t->calls, from, to, name, t->error);

    if (from >= 0)
        t->calls->close(from);
    if (to >= 0)
        close(to);
    return code;
}

static enum error_code copy_below(const struct transfer *t, const char *name)
{
    int from = t->calls->open(t->from_fd, name, O_RDONLY | O_DIRECTORY, 0);
    int to = mkdirat(t->to_fd, name, 0700)
                 ? -1
                 : openat(t->to_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum error_code code = from < 0 || to < 0
                               ? error_set_errno(t->error, errno, "copy the directory '%s'", name)
                               : copy_directory(t->calls, from, to, t->error);

    if (from >= 0)
        t->calls->close(from);
    if (to >= 0)
        close(to);
    return code;
}

static int copy_entry(void *context, const char *name)
{
    struct transfer *t = context;
    struct stat status;

    if (t->calls->status_at(t->from_fd, name, &status))
        t->code = error_set_errno(t->error, errno, "look at '%s'", name);
    else if (S_ISDIR(status.st_mode))
        t->code = copy_below(t, name);
    else
        t->code = copy_file(t, name, status.st_mode);
    return t->code ? 1 : 0;
}

static enum error_code copy_directory(const struct file_calls *calls, int from_fd, int to_fd,
                                      struct error *error)
{
    struct transfer t = {calls, from_fd, to_fd, OK, error};

    if (calls->list(from_fd, copy_entry, &t) < 0)
        return error_set_errno(error, errno, "list a directory");
    return t.code;
}

enum error_code torture_transfer_tree(const struct file_calls *calls, const char *from,
                                      const char *to, struct error *error)
{
    int from_fd = calls->open(AT_FDCWD, from, O_RDONLY | O_DIRECTORY, 0);
    if (from_fd < 0)
        return error_set_errno(error, errno, "open '%s'", from);
    int to_fd = mkdir(to, 0700) ? -1 : open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum error_code code = to_fd < 0 ? error_set_errno(error, errno, "make the directory '%s'", to)
                                     : copy_directory(calls, from_fd, to_fd, error);
    calls->close(from_fd);
    if (to_fd >= 0)
        close(to_fd);
    return code;
}

static int delete_one(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status;
    (void)type;
    (void)position;
    return remove(path);
}

enum error_code torture_transfer_delete(const char *path, struct error *error)
{
    enum { DESCRIPTORS = 8 };

    if (nftw(path, delete_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT))
        return error_set_errno(error, errno, "delete '%s'", path);
    return OK;
}
