#include "tools/daybookd/index_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "indexer/follower.h"
#include "segment/ballast.h"

enum {
    WAIT_MS = 100,
    PAUSE_FIRST_MS = 250, /* after the first trouble; doubles */
    PAUSE_LAST_MS = 30000,
    PAUSE_FULL_MS = 100, /* on a full disk: what becomes free, the log may soon have taken */
    REST_PARTS = 3,      /* behind a step of such work, so many times as long as it took */
    REST_MAX_MS = 200,
};

struct index_thread {
    const char *directory;
    const struct report *report;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t mutex; /* guards what follows, and the sleep */
    pthread_cond_t stopped;
    struct index_thread_state state;
    unsigned pause_ms; /* thread only */
    bool full;         /* … the same; as last said in the log */
};

void index_thread_read(struct index_thread *thread, struct index_thread_state *state_out)
{
    pthread_mutex_lock(&thread->mutex);
    *state_out = thread->state;
    pthread_mutex_unlock(&thread->mutex);
}

static void set_sequence(struct index_thread *thread, uint64_t sequence)
{
    pthread_mutex_lock(&thread->mutex);
    thread->state.sequence = sequence;
    thread->state.trouble[0] = '\0';
    pthread_mutex_unlock(&thread->mutex);
}

static void set_trouble(struct index_thread *thread, const char *text)
{
    pthread_mutex_lock(&thread->mutex);
    snprintf(thread->state.trouble, sizeof thread->state.trouble, "%s", text);
    pthread_mutex_unlock(&thread->mutex);
}

/* Sleep, but not through a stop. */
static void pause_for(struct index_thread *thread, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&thread->mutex);
    while (!atomic_load(&thread->stopping) &&
           pthread_cond_timedwait(&thread->stopped, &thread->mutex, &until) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&thread->mutex);
}

/* On a full disk: the ballast is there for this. Most of it; retention needs the rest. */
static bool take_ballast(struct index_thread *thread)
{
    if (segment_ballast_give_most(thread->directory, NULL))
        return false;
    report_line(thread->report, REPORT_INFO,
                "index: the disk is full; it goes on in the room that was kept for it");
    return true;
}

static void bear_trouble(struct index_thread *thread, const struct error *error)
{
    bool full = error->code == ERROR_NO_SPACE;
    if (full && take_ballast(thread))
        return;
    /* Space may return at any moment, and then SQL is behind for no reason. */
    unsigned last_ms = full ? PAUSE_FULL_MS : PAUSE_LAST_MS;
    if (thread->pause_ms > last_ms)
        thread->pause_ms = last_ms;
    set_trouble(thread, error->text);
    /* The same every second would say no more. */
    if (!full || !thread->full)
        report_line(thread->report, error->code == ERROR_DAMAGED ? REPORT_ERROR : REPORT_WARNING,
                    "index: %s (the log goes on; next try in %u ms)", error->text,
                    thread->pause_ms);
    thread->full = full;
    pause_for(thread, thread->pause_ms);
    thread->pause_ms *= 2;
    if (thread->pause_ms > last_ms)
        thread->pause_ms = last_ms;
}

/* A step succeeded. */
static void forget_trouble(struct index_thread *thread)
{
    thread->pause_ms = PAUSE_FIRST_MS;
    if (thread->full)
        report_line(thread->report, REPORT_INFO, "index: there is room again");
    thread->full = false;
}

static struct indexer_follower *open_follower(struct index_thread *thread)
{
    struct indexer_follower *follower;
    struct error error;
    if (indexer_follower_open(thread->directory, &follower, &error)) {
        bear_trouble(thread, &error);
        return NULL;
    }
    const char *rebuilt = indexer_follower_rebuilt(follower);
    if (rebuilt)
        report_line(thread->report, REPORT_WARNING, "index: it is built anew: %s", rebuilt);
    return follower;
}

/*
 * Nobody waits for rows of deleted segments to go, or for a new field to be filled, and whoever
 * publishes for the same disk. Whoever asks waits for new rows, so they come first.
 */
static void rest_behind(struct index_thread *thread, const struct indexer_step *step,
                        int64_t began_ns)
{
    int64_t took_ms = (clock_monotonic_ns() - began_ns) / 1000000;
    bool can_wait = step->retired > 0 || step->filled > 0;
    if (!can_wait || step->caught_up || step->last_sequence < step->watermark)
        return;
    pause_for(thread, took_ms * REST_PARTS < REST_MAX_MS ? (unsigned)took_ms * REST_PARTS
                                                         : REST_MAX_MS);
}

/* Follow until something fails (false: open it anew) or until stop. */
static bool follow(struct index_thread *thread, struct indexer_follower *follower)
{
    while (!atomic_load(&thread->stopping)) {
        struct indexer_step step;
        struct error error;
        int64_t began_ns = clock_monotonic_ns();
        if (indexer_follower_step(follower, &step, &error)) {
            bear_trouble(thread, &error);
            /* Opened again it would need room, and so would those who read it meanwhile. */
            if (error.code == ERROR_NO_SPACE)
                continue;
            return false;
        }
        forget_trouble(thread);
        set_sequence(thread, step.last_sequence);
        if (step.notice)
            report_line(thread->report, REPORT_WARNING, "index: %s", step.notice);
        rest_behind(thread, &step, began_ns);
        if (step.caught_up)
            indexer_follower_wait(follower, WAIT_MS);
    }
    return true;
}

static void *run(void *context)
{
    struct index_thread *thread = context;

    pthread_setname_np(pthread_self(), "indexer");
    while (!atomic_load(&thread->stopping)) {
        struct indexer_follower *follower = open_follower(thread);
        if (!follower)
            continue;
        follow(thread, follower);
        indexer_follower_close(follower);
    }
    return NULL;
}

enum error_code index_thread_start(const char *directory, const struct report *report,
                                   struct index_thread **thread_out, struct error *error)
{
    struct index_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return error_set(error, ERROR_MEMORY, "no memory for the index thread");
    thread->directory = directory;
    thread->report = report;
    thread->pause_ms = PAUSE_FIRST_MS;
    pthread_mutex_init(&thread->mutex, NULL);
    /* Not the wall clock: when that is set back, a pause would last until it has caught up. */
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&thread->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failed = pthread_create(&thread->thread, NULL, run, thread);
    if (failed) {
        free(thread);
        return error_set_errno(error, failed, "start the index thread");
    }
    *thread_out = thread;
    return OK;
}

void index_thread_stop(struct index_thread *thread)
{
    if (!thread)
        return;
    pthread_mutex_lock(&thread->mutex);
    atomic_store(&thread->stopping, true);
    pthread_cond_broadcast(&thread->stopped);
    pthread_mutex_unlock(&thread->mutex);
    pthread_join(thread->thread, NULL);
    pthread_cond_destroy(&thread->stopped);
    pthread_mutex_destroy(&thread->mutex);
    free(thread);
}
