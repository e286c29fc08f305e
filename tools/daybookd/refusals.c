#include "tools/daybookd/refusals.h"

#include <stdio.h>
#include <stdlib.h>

/* One producer's: the numbers from `first` to `last`, `count` of them. */
struct refusal {
    size_t producer_bytes; /* 0: the entry is free */
    uint64_t first;
    uint64_t last;
    uint64_t count; /* 0: all is told */
    int64_t told_ns;
    bool told; /* ever */
    char producer[EVENT_PRODUCER_BYTES_MAX];
    char reason[GAP_REASON_BYTES_MAX + 1]; /* of the first; may end within a character */
};

struct refusals {
    struct refusal entries[REFUSALS_MAX];
    struct buffer payload; /* scratch */
    size_t budget;         /* how many may be told until the next second */
};

enum error_code refusals_create(struct refusals **refusals_out, struct error *error)
{
    struct refusals *refusals = calloc(1, sizeof *refusals);
    if (!refusals)
        return error_set(error, ERROR_MEMORY, "no memory for refusals");
    refusals->budget = REFUSALS_MAX;
    *refusals_out = refusals;
    return OK;
}

void refusals_free(struct refusals *refusals)
{
    if (!refusals)
        return;
    buffer_release(&refusals->payload);
    free(refusals);
}

static struct refusal *find(struct refusals *refusals, const char *producer, size_t bytes)
{
    for (size_t i = 0; i < REFUSALS_MAX; i++) {
        struct refusal *entry = &refusals->entries[i];
        if (entry->producer_bytes == bytes && memcmp(entry->producer, producer, bytes) == 0)
            return entry;
    }
    return NULL;
}

/* An entry that says nothing any more; NULL: there is none. */
static struct refusal *find_free(struct refusals *refusals)
{
    for (size_t i = 0; i < REFUSALS_MAX; i++)
        if (refusals->entries[i].count == 0)
            return &refusals->entries[i];
    return NULL;
}

/* Numbers come ascending, but for frames that are sent again: those were counted before. */
static void add_number(struct refusal *entry, uint64_t number, const char *reason)
{
    if (entry->count == 0) {
        entry->first = entry->last = number;
        entry->count = 1;
        entry->reason[0] = '\0';
    } else if (number > entry->last) {
        entry->last = number;
        entry->count++;
    } else if (number < entry->first) {
        entry->first = number;
        entry->count++;
    }
    if (!entry->reason[0])
        snprintf(entry->reason, sizeof entry->reason, "%s", reason);
}

void refusals_note(struct refusals *refusals, const struct event *event, const char *reason)
{
    if (event->producer_bytes == 0 || event->number == 0 || event->number > EVENT_NUMBER_MAX ||
        event_check_producer(event->producer, event->producer_bytes, NULL))
        return;
    struct refusal *entry = find(refusals, event->producer, event->producer_bytes);
    if (!entry) {
        entry = find_free(refusals);
        if (!entry)
            return;
        *entry = (struct refusal){.producer_bytes = event->producer_bytes};
        memcpy(entry->producer, event->producer, event->producer_bytes);
    }
    add_number(entry, event->number, reason);
}

/* Appended by the log's own writer: without a producer, which nobody else may (gap_check). */
static enum error_code append(struct refusals *refusals, struct segment_log *log,
                              const struct refusal *entry)
{
    struct gap gap = {
        .producer = entry->producer,
        .producer_bytes = entry->producer_bytes,
        .first = entry->first,
        .last = entry->last,
        .count = entry->count,
        .cause = GAP_REFUSED,
        .reason = entry->reason,
        .reason_bytes = strlen(entry->reason),
    };
    refusals->payload.size = 0;
    enum error_code code = gap_write(&gap, &refusals->payload, NULL);
    if (code)
        return code;
    struct event event = {
        .time_ns = EVENT_TIME_NONE,
        .topic = GAP_TOPIC,
        .topic_bytes = sizeof GAP_TOPIC - 1,
        .payload = refusals->payload.data,
        .payload_bytes = refusals->payload.size,
    };
    enum segment_log_outcome outcome;
    uint64_t sequence;
    return segment_log_append(log, &event, &outcome, &sequence, NULL);
}

static size_t tell(struct refusals *refusals, struct segment_log *log, struct refusal *entry,
                   int64_t now_ns)
{
    bool paused = !entry->told || now_ns - entry->told_ns >= REFUSALS_PAUSE_MS * INT64_C(1000000);
    if (entry->count == 0 || !paused || refusals->budget == 0 || append(refusals, log, entry))
        return 0;
    entry->count = 0;
    entry->told = true;
    entry->told_ns = now_ns;
    refusals->budget--;
    return 1;
}

size_t refusals_tell(struct refusals *refusals, struct segment_log *log, int64_t now_ns)
{
    size_t told = 0;
    refusals->budget = REFUSALS_MAX;
    for (size_t i = 0; i < REFUSALS_MAX; i++)
        told += tell(refusals, log, &refusals->entries[i], now_ns);
    return told;
}

size_t refusals_tell_of(struct refusals *refusals, struct segment_log *log, const char *producer,
                        size_t producer_bytes, int64_t now_ns)
{
    struct refusal *entry =
        producer_bytes > 0 ? find(refusals, producer, producer_bytes) : NULL;
    return entry ? tell(refusals, log, entry, now_ns) : 0;
}

size_t refusals_tell_all(struct refusals *refusals, struct segment_log *log)
{
    return refusals_tell(refusals, log, INT64_MAX);
}
