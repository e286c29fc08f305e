#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "segment/pending_state.h"

enum { SPARE_BLOCKS = 4 /* kept for reuse */ };

static void init_locks(struct segment_pending *pending)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&pending->mutex, NULL);
    pthread_cond_init(&pending->work, &attributes);
    pthread_cond_init(&pending->progress, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum error_code segment_pending_create(const struct segment_pending_start *start,
                                       struct segment_pending **pending_out, struct error *error)
{
    struct segment_pending *pending = calloc(1, sizeof *pending);
    if (!pending)
        return error_set(error, ERROR_MEMORY, "no memory for pending events");
    init_locks(pending);
    pending->bytes_max = start->bytes_max;
    pending->block_bytes_max = start->block_bytes_max;
    pending->sequence_next = start->sequence_next;
    pending->arrival_ns = start->arrival_ns;
    pending->withdrawals_are_taken = start->withdrawals_are_taken;
    pending->past = start->past;
    pending->sequence_start = start->sequence_next;
    pending->event_last_before = start->event_last;
    atomic_init(&pending->written, start->sequence_next - 1);
    atomic_init(&pending->durable, start->sequence_next - 1);
    enum error_code code = segment_producers_create(&pending->producers, error);
    if (!code)
        code = segment_producers_copy(pending->producers, start->producers, error);
    if (code) {
        segment_pending_free(pending);
        return code;
    }
    *pending_out = pending;
    return OK;
}

static void free_list(struct segment_pending_block *block)
{
    while (block) {
        struct segment_pending_block *next = block->next;
        segment_block_builder_release(&block->builder);
        free(block);
        block = next;
    }
}

void segment_pending_free(struct segment_pending *pending)
{
    if (!pending)
        return;
    free_list(pending->first);
    free_list(pending->spare);
    segment_producers_free(pending->producers);
    pthread_cond_destroy(&pending->work);
    pthread_cond_destroy(&pending->progress);
    pthread_mutex_destroy(&pending->mutex);
    free(pending);
}

/* Start a block with room for `bytes`. It joins the list only when nothing can fail any more. */
static enum error_code open_block(struct segment_pending *pending, size_t bytes,
                                  struct error *error)
{
    struct segment_pending_block *block = pending->spare;

    if (block) {
        pending->spare = block->next;
        pending->spare_count--;
    } else {
        block = calloc(1, sizeof *block);
        if (!block)
            return error_set(error, ERROR_MEMORY, "no memory for a block of events");
    }
    block->next = NULL;
    enum error_code code = buffer_reserve(&block->builder.raw, bytes, error);
    if (code) {
        free_list(block);
        return code;
    }
    if (pending->last)
        pending->last->next = block;
    else
        pending->first = block;
    pending->last = block;
    return OK;
}

/* Arrival times never go backwards, whatever the clock does. */
static int64_t arrive(struct segment_pending *pending)
{
    int64_t now = clock_realtime_ns();

    if (now > pending->arrival_ns)
        pending->arrival_ns = now;
    return pending->arrival_ns;
}

/* Make sure that the open block takes so many events more, or open one that does. */
static enum error_code find_block(struct segment_pending *pending, size_t events, size_t bytes,
                                  struct error *error)
{
    struct segment_pending_block *open = pending->last;

    if (!open)
        return open_block(pending, bytes, error);
    const struct segment_block_builder *builder = &open->builder;
    if (builder->event_count == 0 ||
        (builder->raw.size + bytes <= pending->block_bytes_max &&
         builder->event_count + events <= FORMAT_BLOCK_EVENTS_MAX))
        return buffer_reserve(&open->builder.raw, bytes, error);
    segment_pending_wake_committer(pending);
    return open_block(pending, bytes, error);
}

/* Copy the event into the open block, which has room for it. */
static void store(struct segment_pending *pending, const struct event *given)
{
    struct segment_block_builder *builder = &pending->last->builder;
    struct event event = *given;
    int64_t arrival = arrive(pending);

    if (event.time_ns == EVENT_TIME_NONE)
        event.time_ns = arrival;
    enum error_code code = segment_block_builder_add(builder, &event, FORMAT_BLOCK_RAW_MAX, NULL);
    assert(code == OK);
    (void)code;
    if (builder->event_count == 1) {
        builder->sequence_first = pending->sequence_next;
        builder->arrival_ns = arrival;
    }
    if (event.producer_bytes > 0)
        segment_producers_note(pending->producers, event.producer, event.producer_bytes,
                               event.number, pending->sequence_next, NULL);
    pending->bytes += segment_format_record_bytes(given);
    pending->events++;
    pending->sequence_next++;
}

static bool has_room(const struct segment_pending *pending, size_t events, size_t bytes)
{
    /* An empty queue takes anything, so that one large event cannot be refused for ever. */
    return pending->events == 0 ||
           (pending->bytes + bytes + events * FORMAT_RECORD_HEADER_BYTES <= pending->bytes_max &&
            pending->events + events <= FORMAT_UNDURABLE_EVENTS_MAX);
}

static enum error_code check_open(const struct segment_pending *pending, struct error *error)
{
    const struct error *why = &pending->refusal;

    if (pending->withdrawn)
        why = &pending->withdrawal;
    if (pending->failure.code)
        why = &pending->failure;
    return why->code ? error_set(error, why->code, "%s", why->text) : OK;
}

/* Who has just been refused knows of the withdrawal too, unless it is to be taken. */
void segment_pending_tell_withdrawal(struct segment_pending *pending)
{
    if (!pending->withdrawals_are_taken)
        pending->withdrawn = false;
}

/* For so many events, the first of which is this one: nothing can fail any more afterwards. */
static enum error_code make_room(struct segment_pending *pending, const struct event *event,
                                 const struct segment_pending_origin *origin, size_t count,
                                 size_t bytes, struct error *error)
{
    if (pending->sequence_next + count > EVENT_SEQUENCE_END)
        return error_set(error, ERROR_FULL,
                         "the log has given its last sequence; start a new directory");
    if (!has_room(pending, count, bytes - count * FORMAT_RECORD_HEADER_BYTES))
        return error_set(error, ERROR_BUSY, "%zu events wait for the disk already",
                         pending->events);
    enum error_code code = segment_pending_know_producer(pending, event, origin, error);
    return code ? code : find_block(pending, count, bytes, error);
}

static enum error_code append(struct segment_pending *pending, const struct event *event,
                              enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                              struct error *error)
{
    size_t bytes = segment_format_record_bytes(event);
    struct segment_pending_origin origin = {0};
    struct error untold = {0};
    if (event->producer_bytes > 0)
        segment_pending_find_origin(pending, event->producer, event->producer_bytes, &origin,
                                    &untold);
    enum error_code code = check_open(pending, error);

    /*
     * Before it is refused on a full disk: what is stored must not be called "not stored", or its
     * producer would publish it again. A failed log knows no longer what is stored.
     */
    bool repeated = origin.known && event->number <= origin.number;
    if ((code == OK || !pending->failure.code) && repeated) {
        pending->duplicates++;
        *outcome_out = LOG_DUPLICATE;
        *sequence_out = origin.sequence;
        return OK;
    }
    if (code) {
        segment_pending_tell_withdrawal(pending);
        return code;
    }
    if (untold.code)
        return error_set(error, untold.code, "%s", untold.text);
    code = make_room(pending, event, &origin, 1, bytes, error);
    if (code)
        return code;
    *sequence_out = pending->sequence_next;
    *outcome_out = LOG_APPENDED;
    store(pending, event);
    return OK;
}

enum error_code segment_pending_append(struct segment_pending *pending, const struct event *event,
                                       enum segment_log_outcome *outcome_out,
                                       uint64_t *sequence_out, struct error *error)
{
    pthread_mutex_lock(&pending->mutex);
    enum error_code code = append(pending, event, outcome_out, sequence_out, error);
    pthread_mutex_unlock(&pending->mutex);
    return code;
}

static enum error_code append_together(struct segment_pending *pending, const struct event *events,
                                       size_t count, uint64_t *sequence_out, struct error *error)
{
    struct segment_pending_origin origin = {0};
    size_t bytes = 0;
    enum error_code code = OK;

    for (size_t i = 0; i < count; i++)
        bytes += segment_format_record_bytes(&events[i]);
    if (bytes > FORMAT_BLOCK_RAW_MAX || count > FORMAT_BLOCK_EVENTS_MAX)
        return error_set(error, ERROR_INVALID,
                         "%zu events of %zu bytes are more than can be stored together: %d events "
                         "and %d bytes",
                         count, bytes, FORMAT_BLOCK_EVENTS_MAX, FORMAT_BLOCK_RAW_MAX);
    if (events[0].producer_bytes > 0)
        code = segment_pending_find_origin(pending, events[0].producer, events[0].producer_bytes,
                                           &origin, error);
    if (!code)
        code = check_open(pending, error);
    if (code) {
        segment_pending_tell_withdrawal(pending);
        return code;
    }
    if (origin.known && events[0].number <= origin.number)
        return error_set(error, ERROR_INVALID, "the number %llu is in the log already",
                         (unsigned long long)events[0].number);
    code = make_room(pending, &events[0], &origin, count, bytes, error);
    if (code)
        return code;
    *sequence_out = pending->sequence_next;
    for (size_t i = 0; i < count; i++)
        store(pending, &events[i]);
    return OK;
}

enum error_code segment_pending_append_together(struct segment_pending *pending,
                                                const struct event *events, size_t count,
                                                uint64_t *sequence_out, struct error *error)
{
    assert(count > 0);
    pthread_mutex_lock(&pending->mutex);
    enum error_code code = append_together(pending, events, count, sequence_out, error);
    pthread_mutex_unlock(&pending->mutex);
    return code;
}

bool segment_pending_has_room(struct segment_pending *pending, size_t events, size_t bytes)
{
    pthread_mutex_lock(&pending->mutex);
    /* Who would be refused need not wait to hear it. */
    bool room = check_open(pending, NULL) != OK || has_room(pending, events, bytes);
    pthread_mutex_unlock(&pending->mutex);
    return room;
}

void segment_pending_wait_room(struct segment_pending *pending)
{
    segment_pending_kick(pending);
    pthread_mutex_lock(&pending->mutex);
    size_t events = pending->events;
    while (pending->events > 0 && pending->events >= events && !pending->failure.code &&
           !pending->refusal.code)
        pthread_cond_wait(&pending->progress, &pending->mutex);
    pthread_mutex_unlock(&pending->mutex);
}

uint64_t segment_pending_appended(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    uint64_t last = pending->sequence_next - 1;
    pthread_mutex_unlock(&pending->mutex);
    return last;
}

uint64_t segment_pending_written(const struct segment_pending *pending)
{
    return atomic_load_explicit(&pending->written, memory_order_acquire);
}

uint64_t segment_pending_durable(const struct segment_pending *pending)
{
    return atomic_load_explicit(&pending->durable, memory_order_acquire);
}

uint64_t segment_pending_event_last(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    uint64_t last = pending->sequence_next > pending->sequence_start ? pending->sequence_next - 1
                                                                     : pending->event_last_before;
    pthread_mutex_unlock(&pending->mutex);
    return last;
}

enum error_code segment_pending_failure(struct segment_pending *pending, struct error *error)
{
    enum error_code code = OK;

    pthread_mutex_lock(&pending->mutex);
    if (pending->failure.code)
        code = error_set(error, pending->failure.code, "%s", pending->failure.text);
    pthread_mutex_unlock(&pending->mutex);
    return code;
}

uint64_t segment_pending_duplicates(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    uint64_t duplicates = pending->duplicates;
    pthread_mutex_unlock(&pending->mutex);
    return duplicates;
}

void segment_pending_set_written(struct segment_pending *pending, uint64_t sequence)
{
    atomic_store_explicit(&pending->written, sequence, memory_order_release);
}

void segment_pending_set_durable(struct segment_pending *pending, uint64_t sequence)
{
    atomic_store_explicit(&pending->durable, sequence, memory_order_release);
    if (atomic_load(&pending->written) < sequence)
        atomic_store_explicit(&pending->written, sequence, memory_order_release);
    pthread_mutex_lock(&pending->mutex);
    segment_pending_wake_answered(pending);
    pthread_mutex_unlock(&pending->mutex);
}

/* With the mutex held: give the block's memory and room back. */
static void release_block(struct segment_pending *pending, struct segment_pending_block *block)
{
    pending->bytes -= block->builder.raw.size;
    pending->events -= block->builder.event_count;
    segment_block_builder_reset(&block->builder, 2 * pending->block_bytes_max);
    block->next = NULL;
    if (pending->spare_count == SPARE_BLOCKS) {
        free_list(block);
        return;
    }
    block->next = pending->spare;
    pending->spare = block;
    pending->spare_count++;
}

struct segment_pending_block *segment_pending_release(struct segment_pending *pending,
                                                      struct segment_pending_block *list,
                                                      size_t count)
{
    pthread_mutex_lock(&pending->mutex);
    for (; count > 0; count--) {
        struct segment_pending_block *block = list;
        list = block->next;
        release_block(pending, block);
    }
    pthread_cond_broadcast(&pending->progress);
    pthread_mutex_unlock(&pending->mutex);
    return list;
}

static void release_all(struct segment_pending *pending, struct segment_pending_block *list)
{
    while (list) {
        struct segment_pending_block *next = list->next;
        release_block(pending, list);
        list = next;
    }
}

enum error_code segment_pending_withdraw(struct segment_pending *pending,
                                         struct segment_pending_block *list, uint64_t sequence_last,
                                         const struct segment_producers *producers,
                                         const struct error *why, struct error *error)
{
    pthread_mutex_lock(&pending->mutex);
    enum error_code code = segment_producers_copy(pending->producers, producers, error);
    if (!code) {
        release_all(pending, list);
        release_all(pending, pending->first);
        pending->first = pending->last = NULL;
        pending->kicked = false;
        pending->refusal = pending->withdrawal = *why;
        pending->withdrawn |= pending->sequence_next > sequence_last + 1;
        pending->sequence_next = sequence_last + 1;
        for (struct segment_pending_waiter *waiter = pending->waiters; waiter;
             waiter = waiter->next)
            waiter->withdrawn |= waiter->sequence > sequence_last;
        segment_pending_wake_answered(pending);
        pthread_cond_broadcast(&pending->progress);
    }
    pthread_mutex_unlock(&pending->mutex);
    return code;
}

bool segment_pending_take_withdrawal(struct segment_pending *pending, struct error *why_out)
{
    pthread_mutex_lock(&pending->mutex);
    bool withdrawn = pending->withdrawn;
    pending->withdrawn = false;
    if (withdrawn)
        *why_out = pending->withdrawal;
    pthread_mutex_unlock(&pending->mutex);
    return withdrawn;
}

void segment_pending_read_refusal(struct segment_pending *pending, struct error *why_out)
{
    pthread_mutex_lock(&pending->mutex);
    *why_out = pending->refusal;
    pthread_mutex_unlock(&pending->mutex);
}

void segment_pending_resume(struct segment_pending *pending)
{
    pthread_mutex_lock(&pending->mutex);
    pending->refusal = (struct error){0};
    pthread_cond_broadcast(&pending->progress);
    pthread_mutex_unlock(&pending->mutex);
}

void segment_pending_fail(struct segment_pending *pending, const struct error *why)
{
    pthread_mutex_lock(&pending->mutex);
    if (!pending->failure.code)
        pending->failure = *why;
    /* No space, when it ends the log, is no refusal: nobody knows what was stored. */
    if (pending->failure.code == ERROR_NO_SPACE)
        pending->failure.code = ERROR_IO;
    segment_pending_wake_answered(pending);
    pthread_cond_signal(&pending->work);
    pthread_cond_broadcast(&pending->progress);
    pthread_mutex_unlock(&pending->mutex);
}

