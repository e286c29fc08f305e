/* The directories' part of core/file.h. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/file_calls.h"

/* Only its owner may write to a directory of ours, or a stranger could swap files under us. */
static enum error_code check_directory_is_ours(int fd, const char *name, struct error *error)
{
    struct stat status;
    if (file_calls()->status(fd, &status))
        return error_set_errno(error, errno, "cannot inspect the directory '%s'", name);
    uid_t user = geteuid();
    if (user != 0 && user != status.st_uid)
        return error_set(error, ERROR_FOREIGN,
                         "the directory '%s' belongs to user %u and we are user %u; run as its "
                         "owner or choose another directory",
                         name, status.st_uid, user);
    if (status.st_mode & 022)
        return error_set(error, ERROR_FOREIGN,
                         "the directory '%s' can be written by others (mode %04o); forbid it with "
                         "chmod go-w '%s'",
                         name, status.st_mode & 07777, name);
    return OK;
}

enum error_code file_open_directory_to_read_at(int directory_fd, const char *name, int *fd_out,
                                               struct error *error)
{
    int fd =
        file_calls()->open(directory_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) {
        *fd_out = fd;
        return OK;
    }
    int reason = errno;
    struct stat status;
    if ((reason != ENOTDIR && reason != ELOOP) ||
        file_calls()->status_at(directory_fd, name, &status))
        return error_set_errno(error, reason, "cannot open the directory '%s'", name);
    if (S_ISLNK(status.st_mode))
        return error_set(error, ERROR_FOREIGN,
                         "'%s' is a symbolic link, which is not followed: name the directory "
                         "itself",
                         name);
    return error_set(error, ERROR_FOREIGN, "'%s' is a file, not a directory", name);
}

static enum error_code open_ours_at(int directory_fd, const char *name, int *fd_out,
                                    struct error *error)
{
    int fd = -1;
    enum error_code code = file_open_directory_to_read_at(directory_fd, name, &fd, error);
    if (code)
        return code;
    code = check_directory_is_ours(fd, name, error);
    if (code) {
        file_close(&fd);
        return code;
    }
    *fd_out = fd;
    return OK;
}

/* Make the directory unless it is there, and make its name survive a crash. */
static enum error_code create_at(int parent_fd, const char *name, struct error *error)
{
    if (file_calls()->make_directory(parent_fd, name, 0750) && errno != EEXIST)
        return error_set_errno(error, errno, "cannot create the directory '%s'", name);
    return file_sync_directory(parent_fd, name, error);
}

enum error_code file_open_directory_at(int directory_fd, const char *name, bool create, int *fd_out,
                                       struct error *error)
{
    enum error_code code = open_ours_at(directory_fd, name, fd_out, error);
    if (code == OK && create)
        return file_sync_directory(directory_fd, name, error);
    if (code != ERROR_NOT_FOUND || !create)
        return code;
    code = create_at(directory_fd, name, error);
    if (code)
        return code;
    return open_ours_at(directory_fd, name, fd_out, error);
}

/* The path without slashes at its end: with them, openat would follow a symbolic link. */
static enum error_code trim_path(const char *path, char trimmed[PATH_MAX], struct error *error)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0)
        return error_set(error, ERROR_INVALID, "the directory's name is empty");
    if (length >= PATH_MAX)
        return error_set(error, ERROR_INVALID, "the directory's path is too long: %zu bytes",
                         length);
    memcpy(trimmed, path, length);
    trimmed[length] = '\0';
    return OK;
}

static enum error_code create_path(const char *path, struct error *error)
{
    char parent[PATH_MAX];
    enum error_code code = trim_path(path, parent, error);
    if (code)
        return code;
    char *slash = strrchr(parent, '/');
    const char *name = slash ? path + (slash - parent) + 1 : path;
    if (slash)
        slash[slash == parent] = '\0'; /* keeps the "/" of "/name" */
    int parent_fd =
        file_calls()->open(AT_FDCWD, slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (parent_fd < 0)
        return error_set_errno(error, errno, "cannot create '%s': cannot open its parent '%s'",
                               path, slash ? parent : ".");
    code = create_at(parent_fd, name, error);
    file_close(&parent_fd);
    return code;
}

enum error_code file_open_directory(const char *path, bool create, int *fd_out, struct error *error)
{
    char trimmed[PATH_MAX];
    enum error_code code = trim_path(path, trimmed, error);
    if (code)
        return code;
    code = open_ours_at(AT_FDCWD, trimmed, fd_out, error);
    /* A name that is there already may have been made a moment ago: sync it, as far as we may. */
    if (code == OK && create)
        create_path(trimmed, NULL);
    if (code != ERROR_NOT_FOUND || !create)
        return code;
    code = create_path(trimmed, error);
    if (code)
        return code;
    return open_ours_at(AT_FDCWD, trimmed, fd_out, error);
}

enum error_code file_open_directory_to_read(const char *path, int *fd_out, struct error *error)
{
    char trimmed[PATH_MAX];
    enum error_code code = trim_path(path, trimmed, error);
    if (code)
        return code;
    return file_open_directory_to_read_at(AT_FDCWD, trimmed, fd_out, error);
}

enum error_code file_list(int directory_fd, const char *name,
                          int (*visit)(void *context, const char *name), void *context,
                          struct error *error)
{
    if (file_calls()->list(directory_fd, visit, context) < 0)
        return error_set_errno(error, errno, "cannot list the directory '%s'", name);
    return OK;
}

enum error_code file_check_local(int directory_fd, const char *path, struct error *error)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } REMOTE[] = {
        {NFS_SUPER_MAGIC, "NFS"},   {CIFS_SUPER_MAGIC, "CIFS"}, {SMB2_SUPER_MAGIC, "SMB"},
        {SMB_SUPER_MAGIC, "SMB"},   {V9FS_MAGIC, "9p"},         {AFS_SUPER_MAGIC, "AFS"},
        {AFS_FS_MAGIC, "AFS"},      {CODA_SUPER_MAGIC, "Coda"}, {NCP_SUPER_MAGIC, "NCP"},
        {CEPH_SUPER_MAGIC, "Ceph"},
    };
    struct statfs system;
    if (file_calls()->file_system(directory_fd, &system))
        return error_set_errno(error, errno, "cannot inspect the file system of '%s'", path);
    for (size_t i = 0; i < sizeof REMOTE / sizeof REMOTE[0]; i++)
        if ((uint32_t)system.f_type == REMOTE[i].magic)
            return error_set(error, ERROR_FOREIGN,
                             "'%s' is on a network file system (%s), where locks and syncs do not "
                             "hold what the log promises; choose a directory on a local disk",
                             path, REMOTE[i].name);
    return OK;
}
