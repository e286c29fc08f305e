#include "segment/preparer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/file.h"

enum state { EMPTY, REQUESTED, WORKING, READY };

struct segment_preparer {
    int segments_fd; /* borrowed */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum state state;
    bool stopping;
    uint64_t size_bytes;
    int fd; /* when READY */
    uint64_t failures;
};

static enum error_code remove_leftover(int segments_fd, struct error *error)
{
    enum error_code code = file_unlink(segments_fd, PREPARER_FILE_NAME, error);
    return code == ERROR_NOT_FOUND ? OK : code;
}

static void *work(void *context)
{
    struct segment_preparer *p = context;

    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        if (p->state != REQUESTED) {
            pthread_cond_wait(&p->changed, &p->mutex);
            continue;
        }
        p->state = WORKING;
        uint64_t size = p->size_bytes;
        pthread_mutex_unlock(&p->mutex);

        int fd = -1;
        enum error_code code =
            file_create_zeroed(p->segments_fd, PREPARER_FILE_NAME, size, &fd, NULL);

        pthread_mutex_lock(&p->mutex);
        p->state = code ? EMPTY : READY;
        p->failures += code != OK;
        p->fd = fd;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

enum error_code segment_preparer_create(int segments_fd, struct segment_preparer **preparer_out,
                                        struct error *error)
{
    enum error_code code = remove_leftover(segments_fd, error);
    if (code)
        return code;
    struct segment_preparer *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(error, ERROR_MEMORY, "no memory for the preparer of segments");
    p->segments_fd = segments_fd;
    p->fd = -1;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    int failed = pthread_create(&p->thread, NULL, work, p);
    if (failed) {
        free(p);
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
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
}

/* Take what is ready, after waiting for what is being made; -1 when there is nothing. */
static int take_ready(struct segment_preparer *p, uint64_t *size_out)
{
    int fd = -1;

    pthread_mutex_lock(&p->mutex);
    while (p->state == REQUESTED || p->state == WORKING)
        pthread_cond_wait(&p->changed, &p->mutex);
    if (p->state == READY) {
        fd = p->fd;
        *size_out = p->size_bytes;
        p->fd = -1;
        p->state = EMPTY;
    }
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
    enum error_code code = remove_leftover(p->segments_fd, error);
    if (!code)
        code = file_create_zeroed(p->segments_fd, PREPARER_FILE_NAME, size_wanted, &fd, error);
    if (code) {
        pthread_mutex_lock(&p->mutex);
        p->failures++;
        pthread_mutex_unlock(&p->mutex);
        return code;
    }
    *fd_out = fd;
    *size_out = size_wanted;
    return OK;
}

uint64_t segment_preparer_failures(struct segment_preparer *p)
{
    pthread_mutex_lock(&p->mutex);
    uint64_t failures = p->failures;
    pthread_mutex_unlock(&p->mutex);
    return failures;
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
        remove_leftover(p->segments_fd, NULL);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}
