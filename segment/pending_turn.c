/* Whose turn it is to commit, and who waits for what. */
#include <inttypes.h>
#include <time.h>

#include "core/clock.h"
#include "segment/pending_state.h"

/* Something is due, but somebody else has the turn: look again when that much more has passed. */
#define PATIENCE_NS (INT64_C(100) * 1000000)

void segment_pending_wake_committer(struct segment_pending *pending)
{
    if (pending->committer_waits && !pending->has_turn)
        pthread_cond_signal(&pending->work);
}

void segment_pending_kick(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    bool wake = pending->first && pending->committer_waits && !pending->has_turn;
    pending->kicked |= pending->first != NULL;
    pthread_mutex_unlock(&pending->mutex);
    /* Outside of the mutex, or the committer would wake only to wait for it: the way of a lone
     * event. */
    if (wake)
        pthread_cond_signal(&pending->work);
}

void segment_pending_begin_wait(struct segment_pending *pending,
                                struct segment_pending_waiter *waiter, uint64_t sequence)
{
    pthread_mutex_lock(&pending->mutex);
    *waiter = (struct segment_pending_waiter){
        .sequence = sequence,
        .withdrawn = pending->withdrawal.code && sequence >= pending->sequence_next,
        .next = pending->waiters,
    };
    pthread_cond_init(&waiter->woken, NULL);
    pending->waiters = waiter;
    pthread_mutex_unlock(&pending->mutex);
}

static void remove_waiter(struct segment_pending *pending,
                          const struct segment_pending_waiter *waiter)
{
    struct segment_pending_waiter **link = &pending->waiters;

    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
}

/* With the mutex held. */
static bool is_answered(const struct segment_pending *pending,
                        const struct segment_pending_waiter *waiter)
{
    return atomic_load(&pending->durable) >= waiter->sequence || waiter->withdrawn ||
           pending->failure.code;
}

/* With the mutex held. */
static struct segment_pending_block *take_all(struct segment_pending *pending)
{
    struct segment_pending_block *list = pending->first;

    pending->first = pending->last = NULL;
    pending->kicked = false;
    pending->has_turn = true;
    return list;
}

static void sleep_until_woken(struct segment_pending *pending,
                              struct segment_pending_waiter *waiter)
{
    waiter->asleep = true;
    pthread_cond_wait(&waiter->woken, &pending->mutex);
    waiter->asleep = false;
}

struct segment_pending_block *segment_pending_wait(struct segment_pending *pending,
                                                   struct segment_pending_waiter *waiter)
{
    struct segment_pending_block *list = NULL;

    pthread_mutex_lock(&pending->mutex);
    while (!list && !is_answered(pending, waiter)) {
        if (!pending->has_turn && pending->first)
            list = take_all(pending);
        else
            sleep_until_woken(pending, waiter);
    }
    pthread_mutex_unlock(&pending->mutex);
    return list;
}

enum error_code segment_pending_end_wait(struct segment_pending *pending,
                                         struct segment_pending_waiter *waiter,
                                         struct error *error)
{
    uint64_t sequence = waiter->sequence;
    enum error_code code = OK;

    pthread_mutex_lock(&pending->mutex);
    remove_waiter(pending, waiter);
    if (waiter->withdrawn) {
        code = error_set(error, pending->withdrawal.code, "%s", pending->withdrawal.text);
        segment_pending_tell_withdrawal(pending);
    } else if (atomic_load(&pending->durable) < sequence) {
        code = error_set(error, pending->failure.code, "%s", pending->failure.text);
        error_prefix(error, "the outcome of events %" PRIu64 " to %" PRIu64 " is unknown",
                     atomic_load(&pending->durable) + 1, sequence);
    }
    pthread_mutex_unlock(&pending->mutex);
    pthread_cond_destroy(&waiter->woken);
    return code;
}

void segment_pending_wake_answered(struct segment_pending *pending)
{
    for (struct segment_pending_waiter *waiter = pending->waiters; waiter; waiter = waiter->next)
        if (is_answered(pending, waiter))
            pthread_cond_signal(&waiter->woken);
}

/* With the mutex held: one that has not, and could commit what it waits for itself; or NULL. */
static struct segment_pending_waiter *find_unanswered(const struct segment_pending *pending)
{
    struct segment_pending_waiter *waiter = pending->waiters;

    while (waiter && is_answered(pending, waiter))
        waiter = waiter->next;
    return waiter;
}

/* With the mutex held: wait for `work` until the deadline; false when that has passed. */
static bool wait_for_work(struct segment_pending *pending, int64_t deadline_ns)
{
    struct timespec deadline = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    int failed = 0;

    pending->committer_waits = true;
    pending->waits_until_ns = deadline_ns;
    if (pending->settling && !pending->has_turn) {
        pending->settling = false;
        pthread_cond_broadcast(&pending->progress);
    }
    if (deadline_ns == INT64_MAX)
        pthread_cond_wait(&pending->work, &pending->mutex);
    else
        failed = pthread_cond_timedwait(&pending->work, &pending->mutex, &deadline);
    pending->committer_waits = false;
    return failed == 0;
}

/* With the mutex held. A full block (there is one behind it) needs no kick. */
static bool has_work(const struct segment_pending *pending)
{
    return pending->kicked || pending->stopping || pending->failure.code ||
           pending->first != pending->last;
}

struct segment_pending_block *segment_pending_take(struct segment_pending *pending,
                                                   bool *stopping_out)
{
    bool due = false;

    pthread_mutex_lock(&pending->mutex);
    int64_t until_ns = pending->deadline_ns;
    while (pending->has_turn || (!has_work(pending) && !due)) {
        due = !wait_for_work(pending, until_ns);
        /* Not until the turn ends: or every end of a turn would have to wake this thread. */
        until_ns = due ? clock_monotonic_ns() + PATIENCE_NS : pending->deadline_ns;
    }
    *stopping_out = pending->stopping;
    struct segment_pending_block *list = pending->failure.code ? NULL : take_all(pending);
    pthread_mutex_unlock(&pending->mutex);
    return list;
}

struct segment_pending_block *segment_pending_try_take(struct segment_pending *pending)
{
    struct segment_pending_block *list = NULL;

    pthread_mutex_lock(&pending->mutex);
    if (pending->has_turn)
        pending->kicked |= pending->first != NULL;
    else if (pending->first && !pending->failure.code)
        list = take_all(pending);
    pthread_mutex_unlock(&pending->mutex);
    return list;
}

void segment_pending_leave(struct segment_pending *pending, int64_t deadline_ns)
{
    pthread_mutex_lock(&pending->mutex);
    pending->has_turn = false;
    pending->deadline_ns = deadline_ns;
    struct segment_pending_waiter *next = pending->first ? find_unanswered(pending) : NULL;
    if (next)
        pthread_cond_signal(&next->woken);
    else if (pending->committer_waits &&
             (has_work(pending) || deadline_ns < pending->waits_until_ns))
        pthread_cond_signal(&pending->work);
    pthread_mutex_unlock(&pending->mutex);
}

/* With the mutex held: is there nothing to take, and nothing due by the clock? */
static bool is_settled(const struct segment_pending *pending)
{
    return pending->committer_waits && !pending->has_turn && !pending->kicked && !pending->first &&
           clock_monotonic_ns() < pending->deadline_ns;
}

/* An early kick, with nothing to take, makes the committer see what is due. */
void segment_pending_settle(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    while (!is_settled(pending) && !pending->failure.code) {
        pending->kicked = pending->settling = true;
        segment_pending_wake_committer(pending);
        while (pending->settling && !pending->failure.code)
            pthread_cond_wait(&pending->progress, &pending->mutex);
    }
    pthread_mutex_unlock(&pending->mutex);
}

void segment_pending_stop(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    pending->stopping = true;
    pthread_cond_signal(&pending->work);
    pthread_mutex_unlock(&pending->mutex);
}
