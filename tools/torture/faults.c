#include "tools/torture/faults.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tools/torture/dirty.h"
#include "tools/torture/handles.h"

/* A table of calls has no place for a context, so there is one injector a process. */
static struct {
    pthread_mutex_t mutex;
    const struct file_calls *inner;
    struct faults_plan plan;
    bool healed;
    bool keeps_old_bytes; /* some fault of this plan may lose pages */
    struct handles handles;
    struct faults_counts counts;
} injector = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* One call that may fail. */
struct request {
    enum faults_call call;
    enum faults_file file;
    size_t half;     /* what a short one of it would do; 0: it cannot be short */
    bool reads_only; /* opens to read: no medium is too read-only for that */
};

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), end_length = strlen(end);
    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

static enum faults_file file_named(const char *name)
{
    if (ends_in(name, ".seg"))
        return FAULTS_FILE_SEGMENT;
    if (ends_in(name, "prepared.tmp"))
        return FAULTS_FILE_PREPARED;
    if (strncmp(name, "watermark", 9) == 0)
        return FAULTS_FILE_WATERMARK;
    return FAULTS_FILE_OTHER;
}

static enum faults_file file_behind(int fd)
{
    const struct handles_file *file = handles_file_of(&injector.handles, fd);
    if (!file)
        return FAULTS_FILE_OTHER;
    return file->is_directory ? FAULTS_FILE_DIRECTORY : file_named(file->name);
}

/* Count one fault and tell of it. With the mutex; the one who is told must not make calls. */
static void hit(enum faults_call call, enum faults_file file, enum faults_kind kind, bool failed)
{
    struct faults_hit what = {.call = call, .file = file, .kind = kind, .failed = failed};

    injector.counts.hits[call]++;
    injector.counts.hits_by_file[file]++;
    injector.counts.hit_total++;
    if (injector.plan.fired)
        injector.plan.fired(injector.plan.context, &what);
}

static bool is_failure(enum faults_kind kind, enum faults_call call)
{
    bool repeated = call == FAULTS_READ || call == FAULTS_WRITE || call == FAULTS_ALLOCATE;
    return kind != FAULTS_SHORT && kind != FAULTS_LATE && !(kind == FAULTS_EINTR && repeated);
}

/* With the mutex: does this call fail, and how? FAULTS_KINDS: it does not. */
static enum faults_kind judge(const struct request *request)
{
    const struct faults_plan *plan = &injector.plan;
    uint64_t *candidates = &injector.counts.candidates;

    injector.counts.calls[request->call]++;
    injector.counts.calls_on[request->file][request->call]++;
    if (injector.healed || !faults_fits(plan->kind, request->call, plan->for_ever))
        return FAULTS_KINDS;
    if (plan->call != FAULTS_CALLS && plan->call != request->call)
        return FAULTS_KINDS;
    if ((plan->kind == FAULTS_SHORT && request->half == 0) ||
        (plan->kind == FAULTS_EROFS && request->reads_only))
        return FAULTS_KINDS;
    ++*candidates;
    if (plan->number == 0 || *candidates < plan->number ||
        (*candidates > plan->number && !plan->for_ever))
        return FAULTS_KINDS;
    hit(request->call, request->file, plan->kind, is_failure(plan->kind, request->call));
    return plan->kind;
}

static int errno_of(enum faults_kind kind)
{
    switch (kind) {
    case FAULTS_ENOSPC:
        return ENOSPC;
    case FAULTS_EDQUOT:
        return EDQUOT;
    case FAULTS_EINTR:
        return EINTR;
    case FAULTS_EROFS:
        return EROFS;
    case FAULTS_EMFILE:
        return EMFILE;
    case FAULTS_ENOMEM:
        return ENOMEM;
    default:
        return EIO;
    }
}

/* A call without side effects on the bookkeeping: true when it fails now, with errno set. */
static bool fails(enum faults_call call, int fd, const char *name, bool reads_only)
{
    pthread_mutex_lock(&injector.mutex);
    struct request request = {
        .call = call,
        .file = name ? file_named(name) : file_behind(fd),
        .reads_only = reads_only,
    };
    enum faults_kind kind = judge(&request);
    pthread_mutex_unlock(&injector.mutex);
    if (kind == FAULTS_KINDS)
        return false;
    errno = errno_of(kind);
    return true;
}

enum faults_kind faults_ask(enum faults_call call)
{
    struct request request = {.call = call, .file = FAULTS_FILE_OTHER};

    pthread_mutex_lock(&injector.mutex);
    enum faults_kind kind = judge(&request);
    pthread_mutex_unlock(&injector.mutex);
    return kind;
}

/* ---- Names and descriptors ------------------------------------------------------------------ */

static int faulty_open(int directory_fd, const char *path, int flags, mode_t mode)
{
    if (fails(flags & O_CREAT ? FAULTS_CREATE : FAULTS_OPEN, -1, path,
              (flags & O_ACCMODE) == O_RDONLY))
        return -1;
    int fd = injector.inner->open(directory_fd, path, flags, mode);
    if (fd < 0)
        return fd;
    struct stat status;
    if (injector.inner->status(fd, &status))
        return fd;
    pthread_mutex_lock(&injector.mutex);
    struct handles_file *file =
        handles_opened(&injector.handles, fd, directory_fd, path, flags, &status);
    injector.counts.fds_open++;
    if (injector.keeps_old_bytes && S_ISREG(status.st_mode))
        dirty_opened(injector.inner, fd, flags, file);
    pthread_mutex_unlock(&injector.mutex);
    return fd;
}

/* Whatever close says, the descriptor is gone. */
static int faulty_close(int fd)
{
    bool failed = fails(FAULTS_CLOSE, fd, NULL, false);
    int reason = errno;

    pthread_mutex_lock(&injector.mutex);
    if (handles_find(&injector.handles, fd))
        injector.counts.fds_open--;
    handles_closed(&injector.handles, fd);
    pthread_mutex_unlock(&injector.mutex);
    int result = injector.inner->close(fd);
    errno = failed ? reason : errno;
    return failed ? -1 : result;
}

static int faulty_status(int fd, struct stat *status_out)
{
    return fails(FAULTS_STATUS, fd, NULL, true) ? -1 : injector.inner->status(fd, status_out);
}

static int faulty_status_at(int directory_fd, const char *name, struct stat *status_out)
{
    return fails(FAULTS_STATUS, -1, name, true)
               ? -1
               : injector.inner->status_at(directory_fd, name, status_out);
}

static int faulty_file_system(int fd, struct statfs *status_out)
{
    return fails(FAULTS_FILE_SYSTEM, fd, NULL, true) ? -1
                                                     : injector.inner->file_system(fd, status_out);
}

static int faulty_rename(int directory_fd, const char *from, const char *to)
{
    if (fails(FAULTS_RENAME, -1, from, false))
        return -1;
    int result = injector.inner->rename(directory_fd, from, to);
    pthread_mutex_lock(&injector.mutex);
    if (result == 0)
        handles_renamed(&injector.handles, directory_fd, from, to);
    pthread_mutex_unlock(&injector.mutex);
    return result;
}

static int faulty_unlink(int directory_fd, const char *name)
{
    if (fails(FAULTS_UNLINK, -1, name, false))
        return -1;
    int result = injector.inner->unlink(directory_fd, name);
    pthread_mutex_lock(&injector.mutex);
    if (result == 0)
        handles_unlinked(&injector.handles, directory_fd, name);
    pthread_mutex_unlock(&injector.mutex);
    return result;
}

static int faulty_make_directory(int directory_fd, const char *name, mode_t mode)
{
    return fails(FAULTS_MAKE_DIRECTORY, -1, name, false)
               ? -1
               : injector.inner->make_directory(directory_fd, name, mode);
}

static int faulty_list(int directory_fd, int (*visit)(void *context, const char *name),
                       void *context)
{
    return fails(FAULTS_LIST, directory_fd, NULL, true)
               ? -1
               : injector.inner->list(directory_fd, visit, context);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

/* What a short read gives: from a file that is open past the cache, whole pages. */
static size_t half_of_read(int fd, size_t size)
{
    const struct handles_open *open = handles_find(&injector.handles, fd);
    size_t half = size / 2;
    return open && (open->flags & O_DIRECT) ? half / 4096 * 4096 : half;
}

static ssize_t faulty_read(int fd, void *data, size_t size, off_t offset)
{
    pthread_mutex_lock(&injector.mutex);
    struct request request = {
        .call = FAULTS_READ, .file = file_behind(fd), .half = half_of_read(fd, size)};
    enum faults_kind kind = judge(&request);
    pthread_mutex_unlock(&injector.mutex);
    if (kind == FAULTS_SHORT)
        size = request.half;
    if (kind == FAULTS_SHORT || kind == FAULTS_KINDS)
        return injector.inner->read(fd, data, size, offset);
    errno = errno_of(kind);
    return -1;
}

/*
 * Before a write of `size` bytes: how many of them are to be written; 0: none, the answer is in
 * *answer_out and errno.
 */
static size_t judge_write(int fd, size_t size, ssize_t *answer_out)
{
    pthread_mutex_lock(&injector.mutex);
    struct request request = {.call = FAULTS_WRITE, .file = file_behind(fd), .half = size / 2};
    enum faults_kind kind = judge(&request);
    if (kind == FAULTS_LATE)
        dirty_doom(handles_file_of(&injector.handles, fd));
    pthread_mutex_unlock(&injector.mutex);
    switch (kind) {
    case FAULTS_KINDS:
    case FAULTS_LATE:
        return size;
    case FAULTS_SHORT:
        return request.half;
    case FAULTS_NOTHING:
        *answer_out = 0;
        return 0;
    default:
        errno = errno_of(kind);
        *answer_out = -1;
        return 0;
    }
}

static ssize_t faulty_write(int fd, const void *data, size_t size, off_t offset)
{
    ssize_t answer = 0;
    size_t allowed = judge_write(fd, size, &answer);
    return allowed > 0 ? injector.inner->write(fd, data, allowed, offset) : answer;
}

static ssize_t faulty_write_vector(int fd, const struct iovec *blocks, int count, off_t offset)
{
    enum { COUNT_MAX = 64 };
    struct iovec fewer[COUNT_MAX];
    size_t size = 0;
    ssize_t answer = 0;

    for (int i = 0; i < count; i++)
        size += blocks[i].iov_len;
    size_t allowed = judge_write(fd, size, &answer);
    if (allowed == 0)
        return answer;
    if (allowed == size || count > COUNT_MAX)
        return injector.inner->write_vector(fd, blocks, count, offset);
    int used = 0;
    for (; used < count && allowed > 0; used++) {
        fewer[used] = blocks[used];
        if (fewer[used].iov_len > allowed)
            fewer[used].iov_len = allowed;
        allowed -= fewer[used].iov_len;
    }
    return injector.inner->write_vector(fd, fewer, used, offset);
}

/* With the mutex: what was not on the disk yet never will be, and somebody hears of it now. */
static int fail_sync(int fd, struct handles_file *file, bool keep_cache)
{
    dirty_lose(injector.inner, fd, file, keep_cache);
    errno = EIO;
    return -1;
}

static int faulty_sync_data(int fd)
{
    pthread_mutex_lock(&injector.mutex);
    struct request request = {.call = FAULTS_SYNC_DATA, .file = file_behind(fd)};
    struct handles_file *file = handles_file_of(&injector.handles, fd);
    enum faults_kind kind = judge(&request);
    int result = 0;
    bool late = kind == FAULTS_KINDS && dirty_is_doomed(file);
    if (late)
        hit(FAULTS_SYNC_DATA, request.file, FAULTS_LATE, true);
    if (late || kind == FAULTS_SYNC_LOSES || kind == FAULTS_SYNC_LOSES_LATER)
        result = fail_sync(fd, file, kind == FAULTS_SYNC_LOSES_LATER);
    else if (kind != FAULTS_KINDS)
        result = -1;
    pthread_mutex_unlock(&injector.mutex);
    if (kind != FAULTS_KINDS || late) {
        errno = errno_of(kind);
        return result;
    }
    result = injector.inner->sync_data(fd);
    pthread_mutex_lock(&injector.mutex);
    if (result == 0 && injector.keeps_old_bytes)
        dirty_synced(injector.inner, fd, file);
    pthread_mutex_unlock(&injector.mutex);
    return result;
}

static int faulty_sync(int fd)
{
    return fails(FAULTS_SYNC, fd, NULL, false) ? -1 : injector.inner->sync(fd);
}

static int faulty_allocate(int fd, off_t size)
{
    return fails(FAULTS_ALLOCATE, fd, NULL, false) ? -1 : injector.inner->allocate(fd, size);
}

static int faulty_truncate(int fd, off_t size)
{
    return fails(FAULTS_TRUNCATE, fd, NULL, false) ? -1 : injector.inner->truncate(fd, size);
}

/* Its failure is nobody's business: the read itself tells. */
static int faulty_read_soon(int fd, off_t offset, off_t size)
{
    return injector.inner->read_soon(fd, offset, size);
}

static int faulty_drop_cache(int fd, off_t offset, off_t size)
{
    if (fails(FAULTS_DROP_CACHE, fd, NULL, false))
        return -1;
    pthread_mutex_lock(&injector.mutex);
    dirty_cache_dropped(injector.inner, fd, handles_file_of(&injector.handles, fd));
    pthread_mutex_unlock(&injector.mutex);
    return injector.inner->drop_cache(fd, offset, size);
}

/* ---- Maps and locks ------------------------------------------------------------------------- */

static void *faulty_map(size_t size, int protection, int fd)
{
    if (fails(FAULTS_MAP, fd, NULL, true))
        return MAP_FAILED;
    void *map = injector.inner->map(size, protection, fd);
    pthread_mutex_lock(&injector.mutex);
    injector.counts.maps_open += map != MAP_FAILED;
    pthread_mutex_unlock(&injector.mutex);
    return map;
}

static int faulty_unmap(void *map, size_t size)
{
    pthread_mutex_lock(&injector.mutex);
    injector.counts.maps_open--;
    pthread_mutex_unlock(&injector.mutex);
    return injector.inner->unmap(map, size);
}

static int faulty_forget_map(void *map, size_t size)
{
    return fails(FAULTS_FORGET_MAP, -1, NULL, true) ? -1 : injector.inner->forget_map(map, size);
}

static int faulty_lock(int fd, int command, struct flock *lock)
{
    return fails(FAULTS_LOCK, fd, NULL, true) ? -1 : injector.inner->lock(fd, command, lock);
}

static int faulty_give(int fd, uid_t owner, gid_t group, mode_t mode)
{
    return injector.inner->give ? injector.inner->give(fd, owner, group, mode) : 0;
}

static int faulty_keep_in_place(int fd)
{
    if (fails(FAULTS_KEEP_IN_PLACE, fd, NULL, true))
        return -1;
    if (injector.inner->keep_in_place)
        return injector.inner->keep_in_place(fd);
    errno = ENOTTY;
    return -1;
}

static const struct file_calls faulty_calls = {
    .open = faulty_open,
    .close = faulty_close,
    .status = faulty_status,
    .status_at = faulty_status_at,
    .file_system = faulty_file_system,
    .read = faulty_read,
    .write = faulty_write,
    .write_vector = faulty_write_vector,
    .sync_data = faulty_sync_data,
    .sync = faulty_sync,
    .allocate = faulty_allocate,
    .truncate = faulty_truncate,
    .drop_cache = faulty_drop_cache,
    .read_soon = faulty_read_soon,
    .rename = faulty_rename,
    .unlink = faulty_unlink,
    .make_directory = faulty_make_directory,
    .list = faulty_list,
    .map = faulty_map,
    .unmap = faulty_unmap,
    .forget_map = faulty_forget_map,
    .lock = faulty_lock,
    .keep_in_place = faulty_keep_in_place,
    .give = faulty_give,
};

/* ---- From outside --------------------------------------------------------------------------- */

const struct file_calls *faults_start(const struct file_calls *inner,
                                      const struct faults_plan *plan)
{
    injector.inner = inner;
    injector.plan = *plan;
    injector.healed = false;
    injector.keeps_old_bytes = plan->kind == FAULTS_SYNC_LOSES ||
                               plan->kind == FAULTS_SYNC_LOSES_LATER || plan->kind == FAULTS_LATE;
    injector.counts = (struct faults_counts){0};
    injector.handles = (struct handles){.free_extra = dirty_free};
    return &faulty_calls;
}

void faults_heal(void)
{
    pthread_mutex_lock(&injector.mutex);
    injector.healed = true;
    pthread_mutex_unlock(&injector.mutex);
}

void faults_stop(void)
{
    handles_release(&injector.handles);
}

void faults_count(struct faults_counts *counts_out)
{
    pthread_mutex_lock(&injector.mutex);
    *counts_out = injector.counts;
    pthread_mutex_unlock(&injector.mutex);
}
