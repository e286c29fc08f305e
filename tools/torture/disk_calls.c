/* The table: each call finds out whether it is the kernel's or a simulated disk's. */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/bytes.h"
#include "tools/torture/disk_descriptor.h"

static bool is_ours(int fd)
{
    return fd >= TORTURE_DISK_FD_FIRST;
}

static int fail(int reason)
{
    errno = reason;
    return -1;
}

/* Take more of the disk's capacity, up to `size` bytes for this node. False: there is not so much.
 */
static bool claim(struct torture_disk *disk, struct disk_node *node, uint64_t size)
{
    uint64_t wanted = (size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
    if (wanted <= node->allocated)
        return true;
    uint64_t more = wanted - node->allocated;
    if (disk->capacity > 0 && (more > disk->capacity || disk->used > disk->capacity - more))
        return false;
    disk->used += more;
    node->allocated = wanted;
    return true;
}

/* How far a write to [offset, offset + size) can go: a full disk takes a part, by pages. */
static size_t claim_part(struct torture_disk *disk, struct disk_node *node, uint64_t offset,
                         size_t size)
{
    if (claim(disk, node, offset + size))
        return size;
    uint64_t left = disk->used < disk->capacity ? disk->capacity - disk->used : 0;
    uint64_t end = node->allocated + left / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
    if (end <= offset)
        return 0;
    claim(disk, node, end);
    return end - offset < size ? (size_t)(end - offset) : size;
}

/* A new name for a new node, and what programs and a power cut can see of it. */
static struct disk_node *create_node(struct disk_place *place, mode_t mode, bool directory)
{
    struct disk_node *node = disk_node_create(place->disk, mode, directory);
    struct disk_act act = {.kind = DISK_ACT_LINK, .node = node->number};
    act.number = place->disk->operations + 1;
    strcpy(act.name, place->name);
    node->names = 1;
    disk_entries_put(&place->directory->directory->now, place->name, node->number);
    disk_acts_add(&place->directory->directory->acts, &act);
    disk_tell(place->disk, directory ? TORTURE_DISK_MAKE_DIRECTORY : TORTURE_DISK_CREATE,
              place->name, 0, 0);
    return node;
}

/* May the node be opened like this? 0 or a reason. */
static int judge_open(const struct disk_node *node, int flags)
{
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return EEXIST;
    if ((flags & O_DIRECTORY) && !node->directory)
        return ENOTDIR;
    if (node->directory && (flags & O_ACCMODE) != O_RDONLY)
        return EISDIR;
    return 0;
}

static int open_place(struct disk_place *place, int flags, mode_t mode)
{
    if (!place->directory)
        return -1;
    struct disk_node *node = disk_place_node(place);
    if (!node && !(flags & O_CREAT))
        return -1;
    int reason = node ? judge_open(node, flags) : 0;
    if (reason)
        return fail(reason);
    if (!node)
        node = create_node(place, mode, false);
    if ((flags & O_TRUNC) && !node->directory)
        disk_file_resize(node, 0);
    return disk_descriptor_open(place->disk, node, flags, place->name);
}

static int simulated_open(int directory_fd, const char *path, int flags, mode_t mode)
{
    struct disk_place place;
    torture_disk_lock();
    bool ours = disk_place_find(directory_fd, path, &place);
    int fd = ours ? open_place(&place, flags, mode) : -1;
    torture_disk_unlock();
    return ours ? fd : file_calls_kernel.open(directory_fd, path, flags, mode);
}

static int simulated_close(int fd)
{
    if (!is_ours(fd))
        return file_calls_kernel.close(fd);
    torture_disk_lock();
    int answer = disk_descriptor_close(fd);
    torture_disk_unlock();
    return answer;
}

static void describe(const struct torture_disk *disk, const struct disk_node *node,
                     struct stat *status_out)
{
    *status_out = (struct stat){
        .st_dev = (dev_t)(uintptr_t)disk,
        .st_ino = node->number,
        .st_mode = node->mode,
        .st_nlink = node->names,
        .st_uid = disk->user,
        .st_blksize = DISK_PAGE_BYTES,
        .st_size = node->directory ? DISK_PAGE_BYTES : (off_t)disk_file_size(node),
        .st_blocks = (blkcnt_t)(node->allocated / 512),
    };
}

static int simulated_status(int fd, struct stat *status_out)
{
    if (!is_ours(fd))
        return file_calls_kernel.status(fd, status_out);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = disk_descriptor_find(fd);
    if (descriptor)
        describe(descriptor->disk, descriptor->node, status_out);
    torture_disk_unlock();
    return descriptor ? 0 : -1;
}

static int simulated_status_at(int directory_fd, const char *name, struct stat *status_out)
{
    struct disk_place place;
    torture_disk_lock();
    bool ours = disk_place_find(directory_fd, name, &place);
    const struct disk_node *node = ours && place.directory ? disk_place_node(&place) : NULL;
    if (node)
        describe(place.disk, node, status_out);
    torture_disk_unlock();
    if (!ours)
        return file_calls_kernel.status_at(directory_fd, name, status_out);
    return node ? 0 : -1;
}

static int simulated_file_system(int fd, struct statfs *status_out)
{
    if (!is_ours(fd))
        return file_calls_kernel.file_system(fd, status_out);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = disk_descriptor_find(fd);
    if (descriptor) {
        const struct torture_disk *disk = descriptor->disk;
        uint64_t capacity = disk->capacity ? disk->capacity : UINT64_C(1) << 50;
        uint64_t left = disk->used < capacity ? capacity - disk->used : 0;
        *status_out = (struct statfs){.f_type = EXT4_SUPER_MAGIC, .f_bsize = DISK_PAGE_BYTES};
        status_out->f_frsize = DISK_PAGE_BYTES;
        status_out->f_namelen = DISK_NAME_BYTES - 1;
        status_out->f_blocks = capacity / DISK_PAGE_BYTES;
        status_out->f_bfree = status_out->f_bavail = left / DISK_PAGE_BYTES;
    }
    torture_disk_unlock();
    return descriptor ? 0 : -1;
}

/* A file's descriptor that was opened so that this may be done; NULL and errno. */
static struct disk_descriptor *find_file(int fd, bool to_write)
{
    struct disk_descriptor *descriptor = disk_descriptor_find(fd);
    if (!descriptor)
        return NULL;
    if (descriptor->node->directory)
        errno = EISDIR;
    else if ((descriptor->flags & O_ACCMODE) == (to_write ? O_RDONLY : O_WRONLY))
        errno = EBADF;
    else
        return descriptor;
    return NULL;
}

/* As a disk with sectors of 512 bytes asks for. */
static bool is_aligned(const void *data, size_t size, off_t offset)
{
    return (uintptr_t)data % 512 == 0 && size % 512 == 0 && offset % 512 == 0;
}

static ssize_t read_file(const struct disk_descriptor *descriptor, void *data, size_t size,
                         off_t offset)
{
    struct disk_node *node = descriptor->node;
    bool direct = descriptor->flags & O_DIRECT;
    if (offset < 0 || (direct && !is_aligned(data, size, offset)))
        return fail(EINVAL);
    uint64_t end = disk_file_size(node);
    if ((uint64_t)offset >= end)
        return 0;
    if (size > end - (uint64_t)offset)
        size = (size_t)(end - (uint64_t)offset);
    if (direct)
        disk_file_read_uncached(node, (uint64_t)offset, data, size);
    else
        disk_file_read(node, (uint64_t)offset, data, size);
    return (ssize_t)size;
}

static ssize_t simulated_read(int fd, void *data, size_t size, off_t offset)
{
    if (!is_ours(fd))
        return file_calls_kernel.read(fd, data, size, offset);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = find_file(fd, false);
    ssize_t count = descriptor ? read_file(descriptor, data, size, offset) : -1;
    torture_disk_unlock();
    return count;
}

/* Page by page, as the kernel copies it: between two of them a process can be killed. */
static void put_pages(const struct disk_descriptor *descriptor, uint64_t offset,
                      const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t part = DISK_PAGE_BYTES - (size_t)(offset % DISK_PAGE_BYTES);
        if (part > size || !data)
            part = size;
        disk_file_write(descriptor->node, offset, data, part);
        disk_tell(descriptor->disk, TORTURE_DISK_WRITE, descriptor->name, offset, part);
        data = data ? data + part : NULL;
        offset += part;
        size -= part;
    }
}

static ssize_t write_file(const struct disk_descriptor *descriptor, const void *data, size_t size,
                          off_t offset)
{
    if (offset < 0)
        return fail(EINVAL);
    if (size == 0)
        return 0;
    size_t part = claim_part(descriptor->disk, descriptor->node, (uint64_t)offset, size);
    if (part == 0)
        return fail(ENOSPC);
    put_pages(descriptor, (uint64_t)offset, data, part);
    return (ssize_t)part;
}

/* NULL stands for zeros. */
static ssize_t write_to(int fd, const void *data, size_t size, off_t offset)
{
    torture_disk_lock();
    const struct disk_descriptor *descriptor = find_file(fd, true);
    ssize_t count = descriptor ? write_file(descriptor, data, size, offset) : -1;
    torture_disk_unlock();
    return count;
}

static ssize_t simulated_write(int fd, const void *data, size_t size, off_t offset)
{
    return is_ours(fd) ? write_to(fd, data, size, offset)
                       : file_calls_kernel.write(fd, data, size, offset);
}

/* The same zeros over and over, as core/file.c fills a file: they need not be copied together. */
static bool are_zeros(const struct iovec *blocks, int count)
{
    for (int i = 1; i < count; i++)
        if (blocks[i].iov_base != blocks[0].iov_base || blocks[i].iov_len > blocks[0].iov_len)
            return false;
    return count > 0 && bytes_are_zero(blocks[0].iov_base, blocks[0].iov_len);
}

static ssize_t simulated_write_vector(int fd, const struct iovec *blocks, int count, off_t offset)
{
    if (!is_ours(fd))
        return file_calls_kernel.write_vector(fd, blocks, count, offset);
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += blocks[i].iov_len;
    if (are_zeros(blocks, count))
        return write_to(fd, NULL, size, offset);
    uint8_t *bytes = disk_allocate(size);
    size_t at = 0;
    for (int i = 0; i < count; at += blocks[i++].iov_len)
        memcpy(bytes + at, blocks[i].iov_base, blocks[i].iov_len);
    ssize_t written = write_to(fd, bytes, size, offset);
    int reason = errno;
    free(bytes);
    errno = reason;
    return written;
}

static void sync_directory(struct disk_node *node)
{
    disk_entries_copy(&node->directory->now, &node->directory->durable);
    node->directory->acts.count = 0;
}

static int sync_descriptor(int fd)
{
    const struct disk_descriptor *descriptor = disk_descriptor_find(fd);
    if (!descriptor)
        return -1;
    struct torture_disk *disk = descriptor->disk;
    struct disk_node *node = descriptor->node;
    disk_tell(disk, TORTURE_DISK_SYNC_START, descriptor->name, 0, 0);
    if (node->directory) {
        sync_directory(node);
        disk_nodes_settle(disk);
        disk_tell(disk, TORTURE_DISK_SYNC_DIRECTORY, descriptor->name, 0, 0);
    } else {
        disk_file_sync(node);
        disk_tell(disk, TORTURE_DISK_SYNC, descriptor->name, 0, 0);
    }
    return 0;
}

static int simulated_sync(int fd)
{
    if (!is_ours(fd))
        return file_calls_kernel.sync(fd);
    torture_disk_lock();
    int answer = sync_descriptor(fd);
    torture_disk_unlock();
    return answer;
}

static int simulated_sync_data(int fd)
{
    return is_ours(fd) ? simulated_sync(fd) : file_calls_kernel.sync_data(fd);
}

static int allocate_file(const struct disk_descriptor *descriptor, off_t size)
{
    struct disk_node *node = descriptor->node;
    if (size <= 0)
        return fail(EINVAL);
    if (!claim(descriptor->disk, node, (uint64_t)size))
        return fail(ENOSPC);
    if ((uint64_t)size > disk_file_size(node))
        disk_file_resize(node, (uint64_t)size);
    disk_tell(descriptor->disk, TORTURE_DISK_ALLOCATE, descriptor->name, 0, (uint64_t)size);
    return 0;
}

static int simulated_allocate(int fd, off_t size)
{
    if (!is_ours(fd))
        return file_calls_kernel.allocate(fd, size);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = find_file(fd, true);
    int answer = descriptor ? allocate_file(descriptor, size) : -1;
    torture_disk_unlock();
    return answer;
}

static int truncate_file(const struct disk_descriptor *descriptor, off_t size)
{
    struct disk_node *node = descriptor->node;
    if (size < 0)
        return fail(EINVAL);
    uint64_t pages = ((uint64_t)size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES;
    if (pages * DISK_PAGE_BYTES < node->allocated) {
        descriptor->disk->used -= node->allocated - pages * DISK_PAGE_BYTES;
        node->allocated = pages * DISK_PAGE_BYTES;
    }
    disk_file_resize(node, (uint64_t)size);
    disk_tell(descriptor->disk, TORTURE_DISK_TRUNCATE, descriptor->name, (uint64_t)size, 0);
    return 0;
}

static int simulated_truncate(int fd, off_t size)
{
    if (!is_ours(fd))
        return file_calls_kernel.truncate(fd, size);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = find_file(fd, true);
    int answer = descriptor ? truncate_file(descriptor, size) : -1;
    torture_disk_unlock();
    return answer;
}

/* Everything is in memory. */
static int simulated_read_soon(int fd, off_t offset, off_t size)
{
    return is_ours(fd) ? 0 : file_calls_kernel.read_soon(fd, offset, size);
}

static int simulated_drop_cache(int fd, off_t offset, off_t size)
{
    if (!is_ours(fd))
        return file_calls_kernel.drop_cache(fd, offset, size);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = find_file(fd, false);
    if (descriptor) {
        disk_file_drop_cache(descriptor->node);
        disk_tell(descriptor->disk, TORTURE_DISK_DROP_CACHE, descriptor->name, (uint64_t)offset,
                  (uint64_t)size);
    }
    torture_disk_unlock();
    return descriptor ? 0 : EBADF; /* posix_fadvise returns its error */
}

/* The name no longer leads to its node. */
static void lose_name(struct torture_disk *disk, struct disk_node *node)
{
    node->names--;
    disk_node_settle(disk, node);
}

static int rename_place(struct disk_place *place, const char *to)
{
    struct disk_node *node = place->directory ? disk_place_node(place) : NULL;
    if (!node)
        return -1;
    if (strlen(to) >= DISK_NAME_BYTES)
        return fail(ENAMETOOLONG);
    struct disk_place target = *place;
    strcpy(target.name, to);
    struct disk_node *replaced = disk_place_node(&target);
    if (replaced == node)
        return 0;
    if (replaced && replaced->directory)
        return fail(EISDIR);
    struct disk_act act = {.kind = DISK_ACT_RENAME, .node = node->number};
    act.number = place->disk->operations + 1;
    strcpy(act.name, place->name);
    strcpy(act.to, to);
    disk_act_apply(&act, &place->directory->directory->now);
    disk_acts_add(&place->directory->directory->acts, &act);
    disk_descriptors_rename(node, to);
    disk_tell(place->disk, TORTURE_DISK_RENAME, to, 0, 0);
    if (replaced)
        lose_name(place->disk, replaced);
    return 0;
}

static int simulated_rename(int directory_fd, const char *from, const char *to)
{
    struct disk_place place;
    torture_disk_lock();
    bool ours = disk_place_find(directory_fd, from, &place);
    int answer = ours ? rename_place(&place, to) : -1;
    torture_disk_unlock();
    return ours ? answer : file_calls_kernel.rename(directory_fd, from, to);
}

static int unlink_place(struct disk_place *place)
{
    struct disk_node *node = place->directory ? disk_place_node(place) : NULL;
    if (!node)
        return -1;
    if (node->directory)
        return fail(EISDIR);
    struct disk_act act = {.kind = DISK_ACT_UNLINK, .node = node->number};
    act.number = place->disk->operations + 1;
    strcpy(act.name, place->name);
    disk_act_apply(&act, &place->directory->directory->now);
    disk_acts_add(&place->directory->directory->acts, &act);
    disk_tell(place->disk, TORTURE_DISK_UNLINK, place->name, 0, 0);
    lose_name(place->disk, node);
    return 0;
}

static int simulated_unlink(int directory_fd, const char *name)
{
    struct disk_place place;
    torture_disk_lock();
    bool ours = disk_place_find(directory_fd, name, &place);
    int answer = ours ? unlink_place(&place) : -1;
    torture_disk_unlock();
    return ours ? answer : file_calls_kernel.unlink(directory_fd, name);
}

static int make_directory_at(struct disk_place *place, mode_t mode)
{
    if (!place->directory)
        return -1;
    if (disk_place_node(place))
        return fail(EEXIST);
    create_node(place, mode & ~(mode_t)022, true);
    return 0;
}

static int simulated_make_directory(int directory_fd, const char *name, mode_t mode)
{
    struct disk_place place;
    torture_disk_lock();
    bool ours = disk_place_find(directory_fd, name, &place);
    int answer = ours ? make_directory_at(&place, mode) : -1;
    torture_disk_unlock();
    return ours ? answer : file_calls_kernel.make_directory(directory_fd, name, mode);
}

/* A copy of the names, because the visitor may change the directory. */
static int simulated_list(int directory_fd, int (*visit)(void *context, const char *name),
                          void *context)
{
    if (!is_ours(directory_fd))
        return file_calls_kernel.list(directory_fd, visit, context);
    struct disk_entries entries = {0};
    torture_disk_lock();
    const struct disk_descriptor *descriptor = disk_descriptor_find(directory_fd);
    bool found = descriptor && descriptor->node->directory;
    if (found)
        disk_entries_copy(&descriptor->node->directory->now, &entries);
    torture_disk_unlock();
    if (!found)
        return descriptor ? fail(ENOTDIR) : -1;
    int answer = 0;
    for (size_t i = 0; i < entries.count && answer == 0; i++)
        answer = visit(context, entries.array[i].name);
    free(entries.array);
    return answer;
}

static void *simulated_map(size_t size, int protection, int fd)
{
    if (!is_ours(fd))
        return file_calls_kernel.map(size, protection, fd);
    torture_disk_lock();
    bool writable = protection & PROT_WRITE;
    const struct disk_descriptor *descriptor = find_file(fd, writable);
    void *map = descriptor ? disk_file_map(descriptor->node, size, writable) : MAP_FAILED;
    if (map != MAP_FAILED)
        disk_descriptor_note_map(descriptor->disk, descriptor->node, map);
    torture_disk_unlock();
    return map;
}

static int simulated_unmap(void *map, size_t size)
{
    torture_disk_lock();
    bool ours = disk_descriptor_unmap(map);
    torture_disk_unlock();
    return ours ? 0 : file_calls_kernel.unmap(map, size);
}

static int simulated_forget_map(void *map, size_t size)
{
    torture_disk_lock();
    bool ours = disk_descriptor_has_map(map);
    torture_disk_unlock();
    return ours ? 0 : file_calls_kernel.forget_map(map, size);
}

static int simulated_lock(int fd, int command, struct flock *lock)
{
    if (!is_ours(fd))
        return file_calls_kernel.lock(fd, command, lock);
    torture_disk_lock();
    const struct disk_descriptor *descriptor = disk_descriptor_find(fd);
    int answer = descriptor ? disk_lock_apply(descriptor->node, fd, command, lock) : -1;
    torture_disk_unlock();
    return answer;
}

void torture_disk_lose_dirty_pages(int fd, bool keep_cache)
{
    torture_disk_lock();
    const struct disk_descriptor *descriptor = disk_descriptor_find(fd);
    if (descriptor && !descriptor->node->directory)
        disk_file_lose_dirty(descriptor->node, keep_cache);
    torture_disk_unlock();
}

static const struct file_calls calls = {
    .open = simulated_open,
    .close = simulated_close,
    .status = simulated_status,
    .status_at = simulated_status_at,
    .file_system = simulated_file_system,
    .read = simulated_read,
    .write = simulated_write,
    .write_vector = simulated_write_vector,
    .sync_data = simulated_sync_data,
    .sync = simulated_sync,
    .allocate = simulated_allocate,
    .truncate = simulated_truncate,
    .drop_cache = simulated_drop_cache,
    .read_soon = simulated_read_soon,
    .rename = simulated_rename,
    .unlink = simulated_unlink,
    .make_directory = simulated_make_directory,
    .list = simulated_list,
    .map = simulated_map,
    .unmap = simulated_unmap,
    .forget_map = simulated_forget_map,
    .lock = simulated_lock,
};

const struct file_calls *torture_disk_calls(void)
{
    return &calls;
}
