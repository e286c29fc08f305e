#include "tools/daybook/time_merge.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 1024 };

static bool is_before(const struct replay_event *a, const struct replay_event *b)
{
    if (a->event.time_ns != b->event.time_ns)
        return a->event.time_ns < b->event.time_ns;
    return a->event.sequence < b->event.sequence;
}

static enum error_code reserve(struct time_merge *merge, struct error *error)
{
    if (merge->count < merge->capacity)
        return OK;
    size_t capacity = merge->capacity ? 2 * merge->capacity : CAPACITY_FIRST;
    struct replay_event **heap = realloc(merge->heap, capacity * sizeof(struct replay_event *));
    if (!heap)
        return error_set(error, ERROR_MEMORY, "no memory to merge %zu events", capacity);
    merge->heap = heap;
    merge->capacity = capacity;
    return OK;
}

enum error_code time_merge_add(struct time_merge *merge, struct replay_event *event,
                               struct error *error)
{
    enum error_code code = reserve(merge, error);
    if (code)
        return code;
    if (merge->count == 0 || event->event.time_ns > merge->time_last_ns)
        merge->time_last_ns = event->event.time_ns;
    size_t at = merge->count++;
    while (at > 0 && is_before(event, merge->heap[(at - 1) / 2])) {
        merge->heap[at] = merge->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    merge->heap[at] = event;
    merge->bytes += event->size;
    return OK;
}

static struct replay_event *take_root(struct time_merge *merge)
{
    struct replay_event *root = merge->heap[0];
    struct replay_event *last = merge->heap[--merge->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= merge->count)
            break;
        if (child + 1 < merge->count && is_before(merge->heap[child + 1], merge->heap[child]))
            child++;
        if (!is_before(merge->heap[child], last))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = last;
    merge->bytes -= root->size;
    return root;
}

/* Is the window over for what was recorded at `time_ns`? */
static bool is_due(const struct time_merge *merge, int64_t time_ns)
{
    int64_t passed_ns;
    return __builtin_sub_overflow(merge->time_last_ns, time_ns, &passed_ns) ||
           passed_ns >= merge->window_ns;
}

struct replay_event *time_merge_take(struct time_merge *merge, bool all)
{
    if (merge->count == 0)
        return NULL;
    if (all || merge->bytes > merge->bytes_max || is_due(merge, merge->heap[0]->event.time_ns))
        return take_root(merge);
    return NULL;
}

void time_merge_clear(struct time_merge *merge)
{
    for (size_t i = 0; i < merge->count; i++)
        free(merge->heap[i]);
    merge->count = 0;
    merge->bytes = 0;
}

void time_merge_release(struct time_merge *merge)
{
    time_merge_clear(merge);
    free(merge->heap);
    merge->heap = NULL;
    merge->capacity = 0;
}
