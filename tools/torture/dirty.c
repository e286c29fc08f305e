#include "tools/torture/dirty.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/torture/disk.h"

struct dirty {
    uint8_t *bytes; /* as of the last sync; NULL: none, or a simulated file */
    size_t size;
    bool doomed;
    bool lost; /* the page cache still shows what the disk will never have */
};

static struct dirty *extra_of(struct handles_file *file)
{
    if (!file->extra)
        file->extra = calloc(1, sizeof(struct dirty));
    if (!file->extra)
        abort(); /* machinery of tests: without memory there is nothing to test */
    return file->extra;
}

static bool is_simulated(int fd)
{
    return fd >= TORTURE_DISK_FD_FIRST;
}

static void keep_bytes(const struct file_calls *inner, int fd, struct dirty *dirty)
{
    struct stat status;
    if (inner->status(fd, &status))
        return;
    size_t size = (size_t)status.st_size;
    uint8_t *bytes = realloc(dirty->bytes, size ? size : 1);
    if (!bytes)
        abort();
    dirty->bytes = bytes;
    dirty->size = 0;
    while (dirty->size < size) {
        ssize_t n = inner->read(fd, bytes + dirty->size, size - dirty->size, (off_t)dirty->size);
        if (n <= 0)
            break;
        dirty->size += (size_t)n;
    }
}

void dirty_opened(const struct file_calls *inner, int fd, int flags, struct handles_file *file)
{
    if (is_simulated(fd))
        return;
    struct dirty *dirty = extra_of(file);
    /* Reading past the cache shows what the disk has. */
    if (dirty->lost && (flags & O_DIRECT))
        fprintf(stderr, "the page cache was not dropped before '%s' was read past it\n",
                file->name);
    if (!dirty->bytes && (flags & O_ACCMODE) != O_RDONLY)
        keep_bytes(inner, fd, dirty);
}

void dirty_synced(const struct file_calls *inner, int fd, struct handles_file *file)
{
    if (!file || is_simulated(fd))
        return;
    struct dirty *dirty = extra_of(file);
    if (dirty->bytes && !dirty->lost)
        keep_bytes(inner, fd, dirty);
}

static void put_back(const struct file_calls *inner, int fd, struct dirty *dirty)
{
    for (size_t at = 0; at < dirty->size;) {
        ssize_t n = inner->write(fd, dirty->bytes + at, dirty->size - at, (off_t)at);
        if (n <= 0)
            abort();
        at += (size_t)n;
    }
}

void dirty_lose(const struct file_calls *inner, int fd, struct handles_file *file, bool keep_cache)
{
    if (is_simulated(fd))
        torture_disk_lose_dirty_pages(fd, keep_cache);
    if (!file)
        return;
    struct dirty *dirty = extra_of(file);
    dirty->doomed = false;
    if (is_simulated(fd))
        return;
    if (keep_cache)
        dirty->lost = true;
    else
        put_back(inner, fd, dirty);
}

void dirty_cache_dropped(const struct file_calls *inner, int fd, struct handles_file *file)
{
    struct dirty *dirty = file ? file->extra : NULL;
    if (!dirty || !dirty->lost)
        return;
    put_back(inner, fd, dirty);
    dirty->lost = false;
}

void dirty_doom(struct handles_file *file)
{
    if (file)
        extra_of(file)->doomed = true;
}

bool dirty_is_doomed(const struct handles_file *file)
{
    const struct dirty *dirty = file ? file->extra : NULL;
    return dirty && dirty->doomed;
}

void dirty_free(void *extra)
{
    struct dirty *dirty = extra;
    free(dirty->bytes);
    free(dirty);
}
