#include "tools/torture/handles.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Machinery of tests: without memory there is nothing to test. */
static void *insist(void *memory)
{
    if (memory)
        return memory;
    fprintf(stderr, "no memory for the bookkeeping of open files\n");
    abort();
}

static void *grow(void *array, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 32;
    return insist(realloc(array, *capacity * element_bytes));
}

static struct handles_file *find_inode(const struct handles *handles, dev_t device, ino_t inode)
{
    for (size_t i = 0; i < handles->file_count; i++)
        if (handles->files[i]->device == device && handles->files[i]->inode == inode)
            return handles->files[i];
    return NULL;
}

static struct handles_file *add_file(struct handles *handles, const struct stat *status)
{
    struct handles_file *file = insist(calloc(1, sizeof *file));

    handles->files = grow(handles->files, handles->file_count, &handles->file_capacity,
                          sizeof(struct handles_file *));
    *file = (struct handles_file){
        .device = status->st_dev,
        .inode = status->st_ino,
        .is_directory = S_ISDIR(status->st_mode),
    };
    handles->files[handles->file_count++] = file;
    return file;
}

static void forget_extra(const struct handles *handles, struct handles_file *file)
{
    if (file->extra && handles->free_extra)
        handles->free_extra(file->extra);
    file->extra = NULL;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

struct handles_file *handles_opened(struct handles *handles, int fd, int directory_fd,
                                    const char *name, int flags, const struct stat *status)
{
    const struct handles_file *directory = handles_file_of(handles, directory_fd);
    struct handles_file *file = find_inode(handles, status->st_dev, status->st_ino);

    if (!file)
        file = add_file(handles, status);
    else if (flags & O_EXCL)
        forget_extra(handles, file); /* the number is an old file's, the file is not */
    file->directory = directory ? directory->inode : 0;
    snprintf(file->name, sizeof file->name, "%s", last_part(name));
    handles->open =
        grow(handles->open, handles->open_count, &handles->open_capacity, sizeof *handles->open);
    handles->open[handles->open_count++] =
        (struct handles_open){.fd = fd, .flags = flags, .file = file};
    return file;
}

struct handles_open *handles_find(const struct handles *handles, int fd)
{
    for (size_t i = 0; i < handles->open_count; i++)
        if (handles->open[i].fd == fd)
            return &handles->open[i];
    return NULL;
}

struct handles_file *handles_file_of(const struct handles *handles, int fd)
{
    const struct handles_open *open = handles_find(handles, fd);
    return open ? open->file : NULL;
}

struct handles_file *handles_named(const struct handles *handles, int directory_fd,
                                   const char *name)
{
    const struct handles_file *directory = handles_file_of(handles, directory_fd);

    for (size_t i = 0; directory && i < handles->file_count; i++)
        if (handles->files[i]->directory == directory->inode &&
            strcmp(handles->files[i]->name, name) == 0)
            return handles->files[i];
    return NULL;
}

void handles_closed(struct handles *handles, int fd)
{
    struct handles_open *open = handles_find(handles, fd);
    if (open)
        *open = handles->open[--handles->open_count];
}

static void lose_name(struct handles_file *file)
{
    file->name[0] = '\0';
    file->directory = 0;
}

void handles_renamed(struct handles *handles, int directory_fd, const char *from, const char *to)
{
    struct handles_file *file = handles_named(handles, directory_fd, from);
    struct handles_file *replaced = handles_named(handles, directory_fd, to);

    if (replaced)
        lose_name(replaced);
    if (file)
        snprintf(file->name, sizeof file->name, "%s", to);
}

void handles_unlinked(struct handles *handles, int directory_fd, const char *name)
{
    struct handles_file *file = handles_named(handles, directory_fd, name);
    if (file)
        lose_name(file);
}

void handles_release(struct handles *handles)
{
    for (size_t i = 0; i < handles->file_count; i++) {
        forget_extra(handles, handles->files[i]);
        free(handles->files[i]);
    }
    free(handles->files);
    free(handles->open);
    *handles = (struct handles){.free_extra = handles->free_extra};
}
