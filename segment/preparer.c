#include "segment/preparer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/signals.h"
#include "segment/ballast.h"

#define RETRY_NS         (INT64_C(500) * 1000000)
#define BALLAST_FIRST_NS (INT64_C(1) * 1000000000) /* a log that is open for less needs none */
#define BALLAST_AGAIN_NS (INT64_C(5) * 1000000000)

enum state { EMPTY, REQUESTED, WORKING, READY };

struct segment_preparer {
    struct segment_preparer_start start;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum state state;
    bool stopping;
    bool asleep;
    bool settling;       /* tell when there is nothing to do but sleep */
    uint64_t size_bytes; /* asked for last */
    int fd;              /* when READY */
    int64_t try_ns;      /* not before */
    int64_t ballast_ns;  /* when to look after it */
    uint64_t failures;
    struct error trouble;
};

static enum error_code remove_leftover(int segments_fd, struct error *error)
{
    enum error_code code = file_unlink(segments_fd, PREPARER_FILE_NAME, error);
    return code == ERROR_NOT_FOUND ? OK : code;
}

/* True when there was one. */
static bool remove_discarded(int segments_fd)
{
    return !file_unlink(segments_fd, PREPARER_DISCARDED_NAME, NULL);
}

static enum error_code make_file(const struct segment_preparer *p, uint64_t size_bytes, int *fd_out,
                                 struct error *error)
{
    int segments_fd = p->start.segments_fd;
    enum error_code code = remove_leftover(segments_fd, error);

    if (!code)
        code = file_create_zeroed(segments_fd, PREPARER_FILE_NAME, size_bytes, fd_out, error);
    if (code == ERROR_NO_SPACE && remove_discarded(segments_fd))
        code = file_create_zeroed(segments_fd, PREPARER_FILE_NAME, size_bytes, fd_out, error);
    return code;
}

/* With the mutex held: what came of making a file. True when that is news. */
static bool note(struct segment_preparer *p, enum error_code code, const struct error *why)
{
    bool failed_before = p->trouble.code != OK;

    p->trouble = code ? *why : (struct error){0};
    p->failures += code != OK;
    if (code)
        p->try_ns = clock_monotonic_ns() + RETRY_NS;
    else if (failed_before) /* the ballast is gone too, and the room may be, soon */
        p->ballast_ns = INT64_MIN;
    return failed_before != (code != OK);
}

/* With the mutex held, and given up for the work. */
static void prepare(struct segment_preparer *p)
{
    uint64_t size = p->size_bytes;
    struct error why = {0};
    int fd = -1;

    p->state = WORKING;
    pthread_mutex_unlock(&p->mutex);
    enum error_code code = make_file(p, size, &fd, &why);
    pthread_mutex_lock(&p->mutex);
    p->state = code ? REQUESTED : READY;
    p->fd = fd;
    bool news = note(p, code, &why);
    pthread_cond_broadcast(&p->changed);
    if (!news || !p->start.on_change)
        return;
    pthread_mutex_unlock(&p->mutex);
    p->start.on_change(p->start.context);
    pthread_mutex_lock(&p->mutex);
}

/* Only once the next segment is there: that one comes first. */
static void look_after_ballast(struct segment_preparer *p)
{
    uint64_t size = p->size_bytes;

    pthread_mutex_unlock(&p->mutex);
    /* Not at once: the disk has acks to wait for just after the start. */
    remove_discarded(p->start.segments_fd);
    segment_ballast_keep(p->start.log_fd, size, NULL);
    pthread_mutex_lock(&p->mutex);
    p->ballast_ns = clock_monotonic_ns() + BALLAST_AGAIN_NS;
}

static int64_t next_due(const struct segment_preparer *p)
{
    if (p->state == READY)
        return p->ballast_ns;
    return p->state == REQUESTED ? p->try_ns : INT64_MAX;
}

/* With the mutex held: until something has changed, or until the next thing is due. */
static void sleep_until_due(struct segment_preparer *p)
{
    if (p->settling) {
        p->settling = false;
        pthread_cond_broadcast(&p->changed);
    }
    int64_t due = next_due(p);
    p->asleep = true;
    if (due == INT64_MAX) {
        pthread_cond_wait(&p->changed, &p->mutex);
        p->asleep = false;
        return;
    }
    /* Our clock may be a simulated one, the condition's is the machine's: only a span means the
     * same to both. */
    int64_t span = due - clock_monotonic_ns();
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + (span > 0 ? span : 0);
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_cond_timedwait(&p->changed, &p->mutex, &until);
    p->asleep = false;
}

static void *work(void *context)
{
    struct segment_preparer *p = context;

    pthread_setname_np(pthread_self(), "preparer");
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        int64_t now = clock_monotonic_ns();
        if (p->state == REQUESTED && now >= p->try_ns)
            prepare(p);
        else if (p->state == READY && now >= p->ballast_ns)
            look_after_ballast(p);
        else
            sleep_until_due(p);
    }
    pthread_mutex_unlock(&p->mutex);
    remove_discarded(p->start.segments_fd);
    return NULL;
}

static void init_locks(struct segment_preparer *p)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void free_all(struct segment_preparer *p)
{
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

enum error_code segment_preparer_create(const struct segment_preparer_start *start,
                                        struct segment_preparer **preparer_out, struct error *error)
{
    enum error_code code = remove_leftover(start->segments_fd, error);
    if (code)
        return code;
    struct segment_preparer *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(error, ERROR_MEMORY, "no memory for the preparer of segments");
    p->start = *start;
    p->fd = -1;
    p->ballast_ns = clock_monotonic_ns() + BALLAST_FIRST_NS;
    init_locks(p);
    sigset_t before;
    signals_hold(&before);
    int failed = pthread_create(&p->thread, NULL, work, p);
    signals_let(&before);
    if (failed) {
        free_all(p);
        return error_set_errno(error, failed, "start the thread that prepares segments");
    }
    *preparer_out = p;
    return OK;
}

void segment_preparer_request(struct segment_preparer *p, uint64_t size_bytes)
{
    pthread_mutex_lock(&p->mutex);
    if (p->state == EMPTY) {
        p->state = REQUESTED;
        p->size_bytes = size_bytes;
        p->try_ns = INT64_MIN;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
}

/*
 * Take what is ready, after waiting for what is being made; -1 when there is nothing. What waits to
 * be tried again is the caller's from now on: both would use the same name.
 */
static int take_ready(struct segment_preparer *p, uint64_t *size_out)
{
    int fd = -1;

    pthread_mutex_lock(&p->mutex);
    while (p->state == WORKING || (p->state == REQUESTED && !p->trouble.code))
        pthread_cond_wait(&p->changed, &p->mutex);
    if (p->state == READY) {
        fd = p->fd;
        *size_out = p->size_bytes;
        p->fd = -1;
    }
    p->state = EMPTY;
    pthread_mutex_unlock(&p->mutex);
    return fd;
}

enum error_code segment_preparer_take(struct segment_preparer *p, uint64_t size_min,
                                      uint64_t size_wanted, int *fd_out, uint64_t *size_out,
                                      struct error *error)
{
    uint64_t size = 0;
    int fd = take_ready(p, &size);

    if (fd >= 0 && size >= size_min) {
        *fd_out = fd;
        *size_out = size;
        return OK;
    }
    file_close(&fd);
    struct error why = {0};
    enum error_code code = make_file(p, size_wanted, &fd, &why);
    pthread_mutex_lock(&p->mutex);
    note(p, code, &why);
    if (code) {
        p->state = REQUESTED;
        p->size_bytes = size_wanted;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
    if (code)
        return error_set(error, code, "%s", why.text);
    *fd_out = fd;
    *size_out = size_wanted;
    return OK;
}

void segment_preparer_settle(struct segment_preparer *p)
{
    pthread_mutex_lock(&p->mutex);
    while (!p->asleep || clock_monotonic_ns() >= next_due(p)) {
        p->settling = true;
        pthread_cond_broadcast(&p->changed);
        while (p->settling)
            pthread_cond_wait(&p->changed, &p->mutex);
    }
    pthread_mutex_unlock(&p->mutex);
}

void segment_preparer_read(struct segment_preparer *p, struct segment_preparer_state *state_out)
{
    pthread_mutex_lock(&p->mutex);
    *state_out = (struct segment_preparer_state){.failures = p->failures, .trouble = p->trouble};
    pthread_mutex_unlock(&p->mutex);
}

void segment_preparer_free(struct segment_preparer *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->thread, NULL);
    if (p->fd >= 0) {
        file_close(&p->fd);
        remove_leftover(p->start.segments_fd, NULL);
    }
    free_all(p);
}
