/*
 * tests/campaigns/power_fuse.c - the few calls of the FUSE protocol that a loop device makes.
 */
#include "tests/campaigns/power_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"

enum {
    WRITE_BYTES = 1 << 20,
    REQUEST_BYTES = WRITE_BYTES + 4096,
    QUEUE = 32, /* requests looked at together */
    FIRST_INODE = 2,
};

struct request {
    struct fuse_in_header head;
    uint8_t body[REQUEST_BYTES - sizeof(struct fuse_in_header)];
};

struct flush {
    uint64_t unique, covered;
    struct power_disk *disk;
    int64_t due_ns;
};

struct power_fuse {
    int fd;
    unsigned flush_us_max[POWER_FUSE_DISKS];
    struct flush flushes[QUEUE]; /* begun and not done */
    size_t flush_count;
    char *path;
    struct power_disk *disks[POWER_FUSE_DISKS];
    struct request *requests[QUEUE];
    size_t queued;
    uint64_t random;
    uint8_t answer[WRITE_BYTES];
};

/* A request that was aborted meanwhile is nobody's any more: ENOENT is no failure. */
static void answer_unique(const struct power_fuse *fuse, uint64_t unique, int failure,
                          const void *body, size_t size)
{
    struct fuse_out_header head = {
        .len = (uint32_t)(sizeof head + size), .error = -failure, .unique = unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)(uintptr_t)body, size}};
    if (writev(fuse->fd, parts, size ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV)
        fprintf(stderr, "power_fuse: answer a request: %s\n", strerror(errno));
}

static void answer(const struct power_fuse *fuse, const struct request *request, int failure,
                   const void *body, size_t size)
{
    answer_unique(fuse, request->head.unique, failure, body, size);
}

static uint64_t draw(struct power_fuse *fuse)
{
    fuse->random = fuse->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return fuse->random >> 33;
}

static struct power_disk *disk_of(const struct power_fuse *fuse, uint64_t inode)
{
    bool is_disk = inode >= FIRST_INODE && inode < FIRST_INODE + POWER_FUSE_DISKS;
    return is_disk ? fuse->disks[inode - FIRST_INODE] : NULL;
}

static bool fill_attributes(const struct power_fuse *fuse, uint64_t inode, struct fuse_attr *attr)
{
    const struct power_disk *disk = disk_of(fuse, inode);
    *attr = (struct fuse_attr){
        .ino = inode,
        .size = disk ? power_disk_bytes(disk) : 0,
        .blocks = disk ? power_disk_bytes(disk) / 512 : 0,
        .mode = disk ? S_IFREG | 0600 : S_IFDIR | 0700,
        .nlink = 1,
        .blksize = POWER_DISK_BLOCK,
    };
    return disk || inode == FUSE_ROOT_ID;
}

enum { FOREVER_SECONDS = 1 << 20 };

static void serve_lookup(const struct power_fuse *fuse, const struct request *request)
{
    const char *name = (const char *)request->body;
    struct fuse_entry_out entry = {.entry_valid = FOREVER_SECONDS, .attr_valid = FOREVER_SECONDS};
    if (strncmp(name, "disk", 4) == 0 && name[4] >= '0' && name[5] == 0)
        entry.nodeid = FIRST_INODE + (uint64_t)(name[4] - '0');
    if (!disk_of(fuse, entry.nodeid))
        return answer(fuse, request, ENOENT, NULL, 0);
    fill_attributes(fuse, entry.nodeid, &entry.attr);
    answer(fuse, request, 0, &entry, sizeof entry);
}

static void serve_attributes(const struct power_fuse *fuse, const struct request *request)
{
    struct fuse_attr_out out = {.attr_valid = FOREVER_SECONDS};
    bool exists = fill_attributes(fuse, request->head.nodeid, &out.attr);
    answer(fuse, request, exists ? 0 : ENOENT, &out, exists ? sizeof out : 0);
}

/* Past all caches, and with writes that may overtake each other. */
static void serve_open(const struct power_fuse *fuse, const struct request *request)
{
    struct fuse_open_out out = {0};
    if (disk_of(fuse, request->head.nodeid))
        out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH;
    answer(fuse, request, 0, &out, sizeof out);
}

static void serve_init(const struct power_fuse *fuse, const struct request *request)
{
    struct fuse_init_in in;
    memcpy(&in, request->body, sizeof in);
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .flags = in.flags & (FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_BIG_WRITES | FUSE_MAX_PAGES),
        .max_background = QUEUE,
        .congestion_threshold = QUEUE,
        .max_write = WRITE_BYTES,
        .time_gran = 1,
        .max_pages = WRITE_BYTES / 4096,
    };
    answer(fuse, request, 0, &out, sizeof out);
}

static void serve_read(struct power_fuse *fuse, const struct request *request)
{
    struct fuse_read_in in;
    memcpy(&in, request->body, sizeof in);
    const struct power_disk *disk = disk_of(fuse, request->head.nodeid);
    if (!disk || in.size > WRITE_BYTES)
        return answer(fuse, request, EINVAL, NULL, 0);
    uint64_t all = power_disk_bytes(disk);
    uint64_t left = in.offset < all ? all - in.offset : 0;
    size_t size = in.size < left ? in.size : (size_t)left;
    power_disk_read(disk, in.offset, size, fuse->answer);
    answer(fuse, request, 0, fuse->answer, size);
}

static void serve_write(const struct power_fuse *fuse, const struct request *request)
{
    struct fuse_write_in in;
    memcpy(&in, request->body, sizeof in);
    struct power_disk *disk = disk_of(fuse, request->head.nodeid);
    struct fuse_write_out out = {.size = in.size};
    bool is_whole = request->head.len >= sizeof request->head + sizeof in + in.size;
    if (!disk || !is_whole ||
        !power_disk_write(disk, in.offset, in.size, request->body + sizeof in))
        return answer(fuse, request, EINVAL, NULL, 0);
    answer(fuse, request, 0, &out, sizeof out);
}

/* What a loop device makes of discards and of writing zeros. */
static void serve_fallocate(const struct power_fuse *fuse, const struct request *request)
{
    struct fuse_fallocate_in in;
    memcpy(&in, request->body, sizeof in);
    struct power_disk *disk = disk_of(fuse, request->head.nodeid);
    bool zeroes = in.mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
    bool done = disk && zeroes && power_disk_zero(disk, in.offset, in.length);
    answer(fuse, request, done ? 0 : EOPNOTSUPP, NULL, 0);
}

static void end_flush(struct power_fuse *fuse, size_t number)
{
    struct flush flush = fuse->flushes[number];
    fuse->flushes[number] = fuse->flushes[--fuse->flush_count];
    power_disk_flush(flush.disk, flush.covered);
    answer_unique(fuse, flush.unique, 0, NULL, 0);
}

static void end_flushes(struct power_fuse *fuse)
{
    int64_t now_ns = clock_monotonic_ns();
    for (size_t i = fuse->flush_count; i-- > 0;)
        if (fuse->flushes[i].due_ns <= now_ns)
            end_flush(fuse, i);
}

static void serve_fsync(struct power_fuse *fuse, const struct request *request)
{
    struct power_disk *disk = disk_of(fuse, request->head.nodeid);
    if (!disk)
        return answer(fuse, request, 0, NULL, 0);
    if (fuse->flush_count == QUEUE)
        end_flush(fuse, 0);
    unsigned us_max = fuse->flush_us_max[request->head.nodeid - FIRST_INODE];
    int64_t lasts_ns = us_max ? (int64_t)(draw(fuse) % us_max) * 1000 : 0;
    fuse->flushes[fuse->flush_count++] = (struct flush){
        .unique = request->head.unique,
        .covered = power_disk_position(disk),
        .disk = disk,
        .due_ns = lasts_ns ? clock_monotonic_ns() + lasts_ns : INT64_MIN,
    };
    end_flushes(fuse);
}

void power_fuse_slow(struct power_fuse *fuse, unsigned disk, unsigned flush_us_max)
{
    fuse->flush_us_max[disk] = flush_us_max;
}

int64_t power_fuse_wait_ns(const struct power_fuse *fuse)
{
    int64_t wait_ns = -1, now_ns = clock_monotonic_ns();
    for (size_t i = 0; i < fuse->flush_count; i++) {
        int64_t left_ns = fuse->flushes[i].due_ns - now_ns;
        left_ns = left_ns > 0 ? left_ns : 0;
        wait_ns = wait_ns < 0 || left_ns < wait_ns ? left_ns : wait_ns;
    }
    return wait_ns;
}

static void serve_one(struct power_fuse *fuse, const struct request *request)
{
    switch (request->head.opcode) {
    case FUSE_INIT:
        return serve_init(fuse, request);
    case FUSE_LOOKUP:
        return serve_lookup(fuse, request);
    case FUSE_GETATTR:
    case FUSE_SETATTR:
        return serve_attributes(fuse, request);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        return serve_open(fuse, request);
    case FUSE_READ:
        return serve_read(fuse, request);
    case FUSE_WRITE:
        return serve_write(fuse, request);
    case FUSE_FALLOCATE:
        return serve_fallocate(fuse, request);
    case FUSE_FSYNC:
        return serve_fsync(fuse, request);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_READDIR:
    case FUSE_DESTROY:
        return answer(fuse, request, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return; /* These want no answer. */
    default:
        return answer(fuse, request, ENOSYS, NULL, 0);
    }
}

static bool is_io(const struct request *request)
{
    switch (request->head.opcode) {
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_FSYNC:
    case FUSE_FALLOCATE:
        return true;
    default:
        return false;
    }
}

/* Nobody has been told that any of these is done: every order is one that a disk may choose. */
static void serve_queue(struct power_fuse *fuse)
{
    while (fuse->queued > 0) {
        size_t chosen = (size_t)(draw(fuse) % fuse->queued);
        struct request *request = fuse->requests[chosen];
        serve_one(fuse, request);
        fuse->requests[chosen] = fuse->requests[--fuse->queued];
        fuse->requests[fuse->queued] = request;
    }
}

enum error_code power_fuse_serve(struct power_fuse *fuse, struct error *error)
{
    while (fuse->queued < QUEUE) {
        struct request *request = fuse->requests[fuse->queued];
        ssize_t size = read(fuse->fd, request, REQUEST_BYTES);
        if (size < 0 && errno == EAGAIN)
            break;
        if (size < 0 && (errno == EINTR || errno == ENOENT))
            continue;
        if (size < 0)
            return errno == ENODEV ? error_set(error, ERROR_CLOSED, "the disks were unmounted")
                                   : error_set_errno(error, errno, "read a request of the kernel");
        if (is_io(request))
            fuse->queued++;
        else
            serve_one(fuse, request);
    }
    serve_queue(fuse);
    end_flushes(fuse);
    return OK;
}

int power_fuse_fd(const struct power_fuse *fuse)
{
    return fuse->fd;
}

static struct power_fuse *create(const char *path, struct power_disk *disks[POWER_FUSE_DISKS])
{
    struct power_fuse *fuse = calloc(1, sizeof *fuse);
    if (!fuse)
        return NULL;
    fuse->fd = -1;
    fuse->random = 1;
    memcpy(fuse->disks, disks, sizeof fuse->disks);
    fuse->path = strdup(path);
    bool has_memory = fuse->path;
    for (size_t i = 0; i < QUEUE; i++) {
        fuse->requests[i] = malloc(REQUEST_BYTES);
        has_memory = has_memory && fuse->requests[i];
    }
    if (has_memory)
        return fuse;
    power_fuse_unmount(fuse);
    return NULL;
}

enum error_code power_fuse_mount(const char *path, struct power_disk *disks[POWER_FUSE_DISKS],
                                 struct power_fuse **fuse_out, struct error *error)
{
    struct power_fuse *fuse = create(path, disks);
    if (!fuse)
        return error_set(error, ERROR_MEMORY, "no memory for the queue of requests");
    enum error_code code = OK;
    char options[80];
    fuse->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse->fd);
    if (fuse->fd < 0)
        code = error_set_errno(error, errno, "open /dev/fuse");
    else if (mount("daybook-power-cut", path, "fuse", MS_NOSUID | MS_NODEV, options))
        code = error_set_errno(error, errno, "mount FUSE at '%s'", path);
    if (code) {
        power_fuse_unmount(fuse);
        return code;
    }
    *fuse_out = fuse;
    return OK;
}

void power_fuse_unmount(struct power_fuse *fuse)
{
    if (!fuse)
        return;
    if (fuse->fd >= 0) {
        /* Closed first: what a forgotten mount above still asks for must fail, not wait for us. */
        close(fuse->fd);
        umount2(fuse->path, MNT_DETACH);
    }
    for (size_t i = 0; i < QUEUE; i++)
        free(fuse->requests[i]);
    free(fuse->path);
    free(fuse);
}
