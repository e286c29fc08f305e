#include "tools/daybookd/keeper.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

struct queue {
    struct keeper_task *first, *last;
};

struct keeper {
    int bell_fd;
    pthread_t thread;
    bool running; /* the bus thread's */
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    struct queue given, waiting, done; /* waiting: given, and it may wait */
    unsigned before; /* tasks done since the last one that waited */
    bool ending;
    size_t unfinished; /* the bus thread's: given, and not taken back */
};

static void push(struct queue *queue, struct keeper_task *task)
{
    task->next = NULL;
    if (queue->last)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
}

static struct keeper_task *pop(struct queue *queue)
{
    struct keeper_task *task = queue->first;
    if (!task)
        return NULL;
    queue->first = task->next;
    if (!queue->first)
        queue->last = NULL;
    return task;
}

/* NULL: there is nothing to do. */
static struct keeper_task *next_task(struct keeper *keeper)
{
    bool its_turn = !keeper->given.first || keeper->before >= KEEPER_BEFORE;
    struct keeper_task *task = its_turn ? pop(&keeper->waiting) : NULL;
    if (task) {
        keeper->before = 0;
        return task;
    }
    task = pop(&keeper->given);
    keeper->before += task != NULL;
    return task;
}

static void ring_bell(const struct keeper *keeper)
{
    uint64_t one = 1;
    ssize_t written = write(keeper->bell_fd, &one, sizeof one);
    (void)written; /* fails only when the counter is full, and then it is readable anyway */
}

static void *run(void *context)
{
    struct keeper *keeper = context;
    pthread_setname_np(pthread_self(), "keeper");
    pthread_mutex_lock(&keeper->mutex);
    for (;;) {
        struct keeper_task *task = next_task(keeper);
        if (!task && keeper->ending)
            break;
        if (!task) {
            pthread_cond_wait(&keeper->moved, &keeper->mutex);
            continue;
        }
        pthread_mutex_unlock(&keeper->mutex);
        task->work(task);
        pthread_mutex_lock(&keeper->mutex);
        push(&keeper->done, task);
        pthread_cond_broadcast(&keeper->moved);
        ring_bell(keeper);
    }
    pthread_mutex_unlock(&keeper->mutex);
    return NULL;
}

enum error_code keeper_create(int bell_fd, struct keeper **keeper_out, struct error *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return error_set(error, ERROR_MEMORY, "no memory for the keeper");
    keeper->bell_fd = bell_fd;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_cond_init(&keeper->moved, NULL);
    *keeper_out = keeper;
    return OK;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    assert(keeper->unfinished == 0);
    pthread_mutex_lock(&keeper->mutex);
    keeper->ending = true;
    pthread_cond_broadcast(&keeper->moved);
    pthread_mutex_unlock(&keeper->mutex);
    if (keeper->running)
        pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->moved);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper);
}

void keeper_give(struct keeper *keeper, struct keeper_task *task)
{
    keeper->unfinished++;
    if (!keeper->running)
        keeper->running = pthread_create(&keeper->thread, NULL, run, keeper) == 0;
    bool running = keeper->running;
    if (!running)
        task->work(task);
    pthread_mutex_lock(&keeper->mutex);
    struct queue *to_do = task->may_wait ? &keeper->waiting : &keeper->given;
    push(running ? to_do : &keeper->done, task);
    pthread_cond_broadcast(&keeper->moved);
    pthread_mutex_unlock(&keeper->mutex);
    if (!running)
        ring_bell(keeper);
}

bool keeper_is_idle(const struct keeper *keeper)
{
    return keeper->unfinished == 0;
}

void keeper_take_done(struct keeper *keeper, bool wait)
{
    pthread_mutex_lock(&keeper->mutex);
    while (wait && keeper->unfinished > 0 && !keeper->done.first)
        pthread_cond_wait(&keeper->moved, &keeper->mutex);
    struct queue done = keeper->done;
    keeper->done = (struct queue){0};
    pthread_mutex_unlock(&keeper->mutex);
    struct keeper_task *task;
    while ((task = pop(&done)) != NULL) {
        keeper->unfinished--;
        task->done(task);
    }
}
