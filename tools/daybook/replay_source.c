#include "tools/daybook/replay_source.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/signals.h"
#include "tools/daybook/time_merge.h"

/* How far the source is ahead, at most, for when the disk or the processors are busy. */
enum { BATCHES = 64, AHEAD_BYTES = 32 << 20, BATCH_EVENTS = 1024, BATCH_BYTES = 512 << 10 };
/* … and what a merge may hold back. */
enum { MERGE_BYTES = 64 << 20 };

/* What changes hands at once. After a round's last event comes its end. */
struct batch {
    struct replay_event *events[BATCH_EVENTS];
    size_t count;
    size_t bytes;
    bool round_ends;
    bool all_ends;
    enum error_code code; /* why it ends, when not because all rounds are over */
    uint64_t round;
};

struct replay_source {
    struct replay_source_options options;
    uint64_t sequence_last; /* what is written after the start is no part of the past */
    struct time_merge merge;
    struct buffer scratch;
    pthread_t thread;
    struct error error; /* of the batch that ends with a code */

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct batch batches[BATCHES];
    uint64_t filled; /* batches so far, by the thread */
    uint64_t given;  /* … of which the player has taken up */
    size_t bytes;    /* in those that it has not */
    bool stopped;
    bool seek_wanted;
    int64_t seek_ns;
    uint64_t seek_round;

    /* The player's. */
    struct batch *current;
    size_t at;
};

static bool is_disturbed(struct replay_source *source)
{
    return __atomic_load_n(&source->stopped, __ATOMIC_RELAXED) ||
           __atomic_load_n(&source->seek_wanted, __ATOMIC_RELAXED);
}

/* The batch to fill; NULL: something else is wanted now. */
static struct batch *wait_for_room(struct replay_source *source)
{
    pthread_mutex_lock(&source->mutex);
    /* One stays out: the batch that the player is at. */
    while ((source->filled - source->given >= BATCHES - 1 || source->bytes >= AHEAD_BYTES) &&
           !is_disturbed(source))
        pthread_cond_wait(&source->changed, &source->mutex);
    struct batch *batch =
        is_disturbed(source) ? NULL : &source->batches[source->filled % BATCHES];
    pthread_mutex_unlock(&source->mutex);
    return batch;
}

static void empty_batch(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free(batch->events[i]);
    *batch = (struct batch){0};
}

/* A batch that was filled before a seek came about is stale: the seek has emptied the queue. */
static void hand_over(struct replay_source *source, const struct batch *batch)
{
    bool first = false;
    pthread_mutex_lock(&source->mutex);
    if (!is_disturbed(source)) {
        first = source->filled++ == source->given;
        source->bytes += batch->bytes;
    }
    pthread_mutex_unlock(&source->mutex);
    if (first)
        bell_ring(source->options.bell);
}

/* One event that is wanted, into the merge. ERROR_END: there are no more. */
static enum error_code read_event(struct replay_source *source, int64_t since_ns,
                                  struct error *error)
{
    struct replay_source_options *options = &source->options;
    struct event event;
    bool wanted = false;
    enum error_code code = history_next(options->history, &event, error);
    if (!code && event.sequence > source->sequence_last)
        code = ERROR_END;
    if (!code && event.time_ns >= since_ns)
        code = selection_match(options->selection, &event, &wanted, error);
    if (code || !wanted)
        return code;
    remap_apply(options->remap, &event);
    struct replay_event *made;
    code = replay_event_make(&event, &source->scratch, &made, error);
    if (code)
        return code;
    code = time_merge_add(&source->merge, made, error);
    if (code)
        free(made);
    return code;
}

/*
 * The next event of the merge. ERROR_END: the round is over, or disturbed; any other: why no more
 * can be read, once all that was read before has been given.
 */
static enum error_code merge_next(struct replay_source *source, int64_t since_ns,
                                  enum error_code *reading, struct replay_event **event_out)
{
    for (;;) {
        *event_out = time_merge_take(&source->merge, *reading != OK);
        if (*event_out)
            return OK;
        if (*reading || is_disturbed(source))
            return *reading ? *reading : ERROR_END;
        *reading = read_event(source, since_ns, &source->error);
    }
}

/* Fill one batch. False: the round is over, or something else is wanted. */
static bool fill_batch(struct replay_source *source, int64_t since_ns, enum error_code *reading,
                       struct batch *batch)
{
    while (batch->count < BATCH_EVENTS && batch->bytes < BATCH_BYTES) {
        struct replay_event *event;
        enum error_code code = merge_next(source, since_ns, reading, &event);
        if (code) {
            batch->round_ends = true;
            batch->all_ends = code != ERROR_END;
            batch->code = code;
            return false;
        }
        batch->events[batch->count++] = event;
        batch->bytes += event->size;
    }
    return true;
}

/*
 * One round, from `since_ns` on. False: it was the last one, or it was cut short. A round from its
 * beginning that has no event ends it all: for ever would be a busy loop.
 */
static bool run_round(struct replay_source *source, int64_t since_ns, uint64_t round, bool whole)
{
    const struct selection *selection = source->options.selection;
    uint64_t rounds = source->options.rounds;
    bool more = true, any = false;

    if (since_ns < selection->since_ns)
        since_ns = selection->since_ns;
    enum error_code reading = history_seek(source->options.history, selection->after_sequence + 1,
                                           since_ns, selection->until_ns, &source->error);
    while (more) {
        struct batch *batch = wait_for_room(source);
        if (!batch)
            return false;
        empty_batch(batch); /* what the player has done with */
        batch->round = round;
        more = fill_batch(source, since_ns, &reading, batch);
        any |= batch->count > 0;
        batch->all_ends |= batch->round_ends && ((rounds && round >= rounds) || (whole && !any));
        bool ended = batch->all_ends;
        hand_over(source, batch);
        if (ended)
            return false;
    }
    return true;
}

/* Nothing more to do until the player turns the clock, or has had enough. */
static void wait_for_disturbance(struct replay_source *source)
{
    pthread_mutex_lock(&source->mutex);
    while (!is_disturbed(source))
        pthread_cond_wait(&source->changed, &source->mutex);
    pthread_mutex_unlock(&source->mutex);
}

static bool take_seek(struct replay_source *source, int64_t *since_ns_out, uint64_t *round_out)
{
    pthread_mutex_lock(&source->mutex);
    bool wanted = source->seek_wanted && !source->stopped;
    if (wanted) {
        *since_ns_out = source->seek_ns;
        *round_out = source->seek_round;
        __atomic_store_n(&source->seek_wanted, false, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&source->mutex);
    return wanted;
}

static void *run(void *context)
{
    struct replay_source *source = context;
    int64_t since_ns = INT64_MIN;
    uint64_t round = 1;
    bool whole = true;
    for (;;) {
        while (run_round(source, since_ns, round, whole)) {
            since_ns = INT64_MIN;
            whole = true;
            round++;
        }
        wait_for_disturbance(source);
        if (!take_seek(source, &since_ns, &round))
            return NULL;
        time_merge_clear(&source->merge);
        whole = false;
    }
}

static void make_locks(struct replay_source *source)
{
    /* The player may have real-time priority: whoever it waits for must be let on. */
    pthread_mutexattr_t inherit;
    pthread_mutexattr_init(&inherit);
    pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&source->mutex, &inherit);
    pthread_mutexattr_destroy(&inherit);
    pthread_cond_init(&source->changed, NULL);
}

static void release(struct replay_source *source)
{
    for (size_t i = 0; i < BATCHES; i++)
        empty_batch(&source->batches[i]);
    time_merge_release(&source->merge);
    buffer_release(&source->scratch);
    pthread_cond_destroy(&source->changed);
    pthread_mutex_destroy(&source->mutex);
    free(source);
}

enum error_code replay_source_open(const struct replay_source_options *options,
                                   struct replay_source **source_out, struct error *error)
{
    struct replay_source *source = calloc(1, sizeof *source);
    if (!source)
        return error_set(error, ERROR_MEMORY, "no memory to replay");
    source->options = *options;
    source->sequence_last = history_watermark(options->history);
    source->merge.window_ns = options->merge_window_ns;
    source->merge.bytes_max = MERGE_BYTES;
    make_locks(source);
    sigset_t before;
    signals_hold(&before); /* signals are the player's */
    int failure = pthread_create(&source->thread, NULL, run, source);
    signals_let(&before);
    if (failure) {
        release(source);
        return error_set_errno(error, failure, "start a thread that reads the log");
    }
    *source_out = source;
    return OK;
}

void replay_source_close(struct replay_source *source)
{
    if (!source)
        return;
    pthread_mutex_lock(&source->mutex);
    __atomic_store_n(&source->stopped, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->mutex);
    pthread_join(source->thread, NULL);
    release(source);
}

bool replay_source_turns(const struct replay_source *source)
{
    return !source->current || source->at >= source->current->count;
}

/* The player is done with its batch; the next one, NULL when there is none yet. */
static struct batch *take_batch(struct replay_source *source)
{
    struct batch *batch = NULL;
    pthread_mutex_lock(&source->mutex);
    if (source->filled > source->given) {
        batch = &source->batches[source->given % BATCHES];
        source->given++;
        source->bytes -= batch->bytes;
        pthread_cond_signal(&source->changed);
    }
    pthread_mutex_unlock(&source->mutex);
    return batch;
}

/* What follows the last event of a batch that ends something. ERROR_BUSY: this one does not. */
static enum error_code end_of_batch(struct replay_source *source, struct batch *batch,
                                    enum replay_source_kind *kind_out, struct error *error)
{
    if (batch->round_ends) {
        batch->round_ends = false; /* told */
        *kind_out = REPLAY_SOURCE_ROUND;
        return OK;
    }
    if (!batch->all_ends)
        return ERROR_BUSY;
    if (batch->code && batch->code != ERROR_END)
        *error = source->error;
    return batch->code ? batch->code : ERROR_END;
}

enum error_code replay_source_next(struct replay_source *source, enum replay_source_kind *kind_out,
                                   const struct replay_event **event_out, struct error *error)
{
    if (replay_source_turns(source)) {
        enum error_code code =
            source->current ? end_of_batch(source, source->current, kind_out, error) : ERROR_BUSY;
        if (code != ERROR_BUSY)
            return code;
        struct batch *next = take_batch(source);
        if (!next)
            return ERROR_BUSY;
        source->current = next;
        source->at = 0;
        if (next->count == 0)
            return end_of_batch(source, next, kind_out, error);
    }
    *kind_out = REPLAY_SOURCE_EVENT;
    *event_out = source->current->events[source->at++];
    return OK;
}

void replay_source_seek(struct replay_source *source, int64_t time_ns)
{
    pthread_mutex_lock(&source->mutex);
    source->seek_ns = time_ns;
    source->seek_round = source->current ? source->current->round : 1;
    __atomic_store_n(&source->seek_wanted, true, __ATOMIC_RELAXED);
    source->filled = source->given;
    source->bytes = 0;
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->mutex);
    source->current = NULL;
}
