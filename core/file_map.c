/* The maps' part of core/file.h. */
#include "core/file.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/file_calls.h"

/*
 * A signal handler gets no argument of ours, so these two cannot be passed around: whether this
 * process has the handler, and where the thread that is now touching a map continues.
 */
static atomic_bool guard_installed;
static _Thread_local sigjmp_buf *volatile copy_escape;

enum error_code file_map_open(int directory_fd, const char *name, struct file_map *map_out,
                              struct error *error)
{
    struct file_map map = {.fd = -1};
    enum error_code code = file_open(directory_fd, name, FILE_READ, &map.fd, error);
    if (code)
        return code;
    code = file_size(map.fd, name, &map.size, error);
    if (code)
        goto out;
    if (map.size > 0) {
        void *bytes = file_calls()->map((size_t)map.size, PROT_READ, map.fd);
        if (bytes == MAP_FAILED) {
            code = error_set_errno(error, errno, "cannot map '%s'", name);
            goto out;
        }
        map.bytes = bytes;
    }
    *map_out = map;
    return OK;
out:
    file_close(&map.fd);
    return code;
}

void file_map_close(struct file_map *map)
{
    if (map->bytes)
        file_calls()->unmap((void *)(uintptr_t)map->bytes, (size_t)map->size);
    map->bytes = NULL;
    map->size = 0;
    file_close(&map->fd);
}

bool file_map_try(void (*touch)(void *context), void *context)
{
    sigjmp_buf escape;
    /* Saving no signal mask spares a system call; the handler's SA_NODEFER makes up for it. */
    if (sigsetjmp(escape, 0)) {
        copy_escape = NULL;
        return false;
    }
    copy_escape = &escape;
    /* The handler must find the escape set for all that is touched, and only for that. */
    atomic_signal_fence(memory_order_seq_cst);
    touch(context);
    atomic_signal_fence(memory_order_seq_cst);
    copy_escape = NULL;
    return true;
}

struct copy {
    void *to;
    const void *from;
    size_t size;
};

static void copy_bytes(void *context)
{
    const struct copy *copy = context;
    memcpy(copy->to, copy->from, copy->size);
}

enum error_code file_map_copy(const struct file_map *map, const char *name, uint64_t offset,
                              void *to, size_t size, struct error *error)
{
    if (offset > map->size || size > map->size - offset)
        return error_set(error, ERROR_DAMAGED,
                         "'%s' ends at byte %llu, before the end of %zu bytes at byte %llu", name,
                         (unsigned long long)map->size, size, (unsigned long long)offset);
    if (size == 0)
        return OK;
    if (!atomic_load_explicit(&guard_installed, memory_order_relaxed))
        return file_read(map->fd, name, to, size, offset, error);
    struct copy copy = {to, (const char *)map->bytes + offset, size};
    if (file_map_try(copy_bytes, &copy))
        return OK;
    return error_set(error, ERROR_IO,
                     "cannot read '%s' at byte %llu: the disk failed, or somebody cut the file "
                     "short",
                     name, (unsigned long long)offset);
}

void file_map_release_before(const struct file_map *map, uint64_t offset)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (offset > map->size)
        offset = map->size;
    offset -= offset % page;
    if (offset > 0)
        file_calls()->forget_map((void *)(uintptr_t)map->bytes, (size_t)offset);
}

enum error_code file_map_shared(int fd, const char *name, uint64_t size, bool writable,
                                uint8_t **map_out, struct error *error)
{
    void *map = file_calls()->map(size, writable ? PROT_READ | PROT_WRITE : PROT_READ, fd);
    if (map == MAP_FAILED)
        return error_set_errno(error, errno, "cannot map '%s'%s", name,
                               writable ? " for writing" : "");
    *map_out = map;
    return OK;
}

void file_unmap_shared(uint8_t *map, uint64_t size)
{
    file_calls()->unmap(map, size);
}

static void escape_or_die(int signal_number)
{
    if (copy_escape)
        siglongjmp(*copy_escape, 1);
    /* Not ours: die as if there were no handler. */
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

enum error_code file_map_guard(struct error *error)
{
    struct sigaction action = {.sa_handler = escape_or_die, .sa_flags = SA_NODEFER};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL))
        return error_set_errno(error, errno, "cannot handle the signal SIGBUS");
    atomic_store(&guard_installed, true);
    return OK;
}
