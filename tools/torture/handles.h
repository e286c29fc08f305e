/*
 * tools/torture/handles.h - which file is behind a descriptor, for tables that wrap another one.
 *
 * A bookkeeping of open files by number and of files by device and inode. Its owner tells it of
 * each open, close, rename and unlink that has succeeded, and excludes threads from each other.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_HANDLES_H
#define DAYBOOK_TOOLS_TORTURE_HANDLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { HANDLES_NAME_BYTES = 64 };

/* A file or directory that was opened at least once. */
struct handles_file {
    dev_t device;
    ino_t inode;
    bool is_directory;
    ino_t directory;               /* where its name is; 0: not known */
    char name[HANDLES_NAME_BYTES]; /* within that; "" when it has none any more */
    void *extra;                   /* what the owner of the bookkeeping keeps of it */
};

struct handles_open {
    int fd;
    int flags; /* as given to open */
    struct handles_file *file;
};

/* Zero-initialised is empty. */
struct handles {
    struct handles_open *open;
    size_t open_count, open_capacity;
    struct handles_file **files; /* by reference, so that they do not move */
    size_t file_count, file_capacity;
    void (*free_extra)(void *extra); /* may be NULL */
};

/* A descriptor was opened; `status` is what fstat says of it. A new file forgets an old inode. */
struct handles_file *handles_opened(struct handles *handles, int fd, int directory_fd,
                                    const char *name, int flags, const struct stat *status);
/* NULL: not known. */
struct handles_open *handles_find(const struct handles *handles, int fd);
/* The file behind it, or NULL. */
struct handles_file *handles_file_of(const struct handles *handles, int fd);
/* The file that has this name, or NULL. */
struct handles_file *handles_named(const struct handles *handles, int directory_fd,
                                   const char *name);
void handles_closed(struct handles *handles, int fd);
void handles_renamed(struct handles *handles, int directory_fd, const char *from, const char *to);
void handles_unlinked(struct handles *handles, int directory_fd, const char *name);
void handles_release(struct handles *handles);

#endif
