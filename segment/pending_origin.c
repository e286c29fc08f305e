/* Who published an event, and how far he had come. */
#include <inttypes.h>

#include "segment/pending_state.h"

static bool find_in_table(const struct segment_pending *pending, const char *name,
                          size_t name_bytes, struct segment_pending_origin *origin_out)
{
    origin_out->known = segment_producers_find(pending->producers, name, name_bytes,
                                               &origin_out->number, &origin_out->sequence);
    return origin_out->known;
}

/*
 * Without the mutex nobody stands still: the name may have come into the table meanwhile, and even
 * have left it again; then ask once more.
 */
enum error_code segment_pending_find_origin(struct segment_pending *pending, const char *name,
                                            size_t name_bytes,
                                            struct segment_pending_origin *origin_out,
                                            struct error *error)
{
    for (;;) {
        struct segment_pending_origin origin = {0};
        uint64_t leavings = pending->leavings;
        if (find_in_table(pending, name, name_bytes, origin_out) || !pending->past ||
            segment_past_is_empty(pending->past))
            return OK;
        pthread_mutex_unlock(&pending->mutex);
        enum error_code code = segment_past_find(pending->past, name, name_bytes, &origin.number,
                                                 &origin.sequence, error);
        pthread_mutex_lock(&pending->mutex);
        if (find_in_table(pending, name, name_bytes, origin_out))
            return OK;
        if (pending->leavings != leavings)
            continue;
        origin.known = code == OK;
        *origin_out = origin;
        return code == ERROR_NOT_FOUND ? OK : code;
    }
}

/* An event that is not durable may still be withdrawn, and then its number never was. */
static enum error_code let_leave(struct segment_pending *pending,
                                 const struct segment_producers_entry *leaver, struct error *error)
{
    if (leaver->number == 0) /* he was about to publish, and has not */
        return OK;
    if (leaver->sequence > segment_pending_durable(pending))
        return error_set(error, ERROR_BUSY, "events of %d producers wait for the disk already",
                         PRODUCERS_MAX);
    enum error_code code = pending->past ? segment_past_add(pending->past, leaver, error) : OK;
    if (!code)
        pending->leavings++;
    return code;
}

enum error_code segment_pending_know_producer(struct segment_pending *pending,
                                              const struct event *event,
                                              const struct segment_pending_origin *origin,
                                              struct error *error)
{
    struct segment_pending_origin present;
    struct segment_producers_entry leaver;
    enum error_code code = OK;

    if (event->producer_bytes == 0 ||
        find_in_table(pending, event->producer, event->producer_bytes, &present))
        return OK;
    if (segment_producers_leaver(pending->producers, event->producer, event->producer_bytes,
                                 &leaver))
        code = let_leave(pending, &leaver, error);
    return code ? code
                : segment_producers_note(pending->producers, event->producer,
                                         event->producer_bytes, origin->number,
                                         origin->sequence, error);
}

enum error_code segment_pending_find_producer(struct segment_pending *pending, const char *name,
                                              size_t name_bytes, uint64_t *number_out,
                                              struct error *error)
{
    struct segment_pending_origin origin = {0};

    pthread_mutex_lock(&pending->mutex);
    enum error_code code = segment_pending_find_origin(pending, name, name_bytes, &origin, error);
    pthread_mutex_unlock(&pending->mutex);
    if (!code)
        *number_out = origin.known ? origin.number : 0;
    return code;
}
