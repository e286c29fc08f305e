#include "tests/campaigns/model_log.h"

void model_log_init(struct model_log *log)
{
    log->count = log->durable = 0;
    log->sequence_next = log->sequence_next_durable = 1;
    log->bound = 1;
}

uint64_t model_log_last_number(const struct model_log *log, unsigned producer,
                               uint64_t *sequence_out)
{
    for (size_t i = log->count; i > 0 && producer > 0; i--) {
        if (log->events[i - 1].producer != producer)
            continue;
        *sequence_out = log->events[i - 1].sequence;
        return log->events[i - 1].number;
    }
    *sequence_out = 0;
    return 0;
}

bool model_log_append(struct model_log *log, struct model_event *event)
{
    uint64_t sequence;

    if (event->producer > 0 &&
        event->number <= model_log_last_number(log, event->producer, &sequence)) {
        event->sequence = sequence;
        return false;
    }
    event->sequence = log->sequence_next++;
    log->events[log->count++] = *event;
    return true;
}

void model_log_commit(struct model_log *log)
{
    log->durable = log->count;
    log->sequence_next_durable = log->sequence_next;
}

void model_log_withdraw(struct model_log *log)
{
    log->count = log->durable;
    log->sequence_next = log->sequence_next_durable;
}

void model_log_crash(struct model_log *log, size_t kept, uint64_t sequence_next)
{
    log->count = log->durable = kept;
    log->sequence_next = log->sequence_next_durable = sequence_next;
}

void model_log_retain(struct model_log *log, uint64_t bound)
{
    if (bound > log->bound)
        log->bound = bound;
}

size_t model_log_find(const struct model_log *log, uint64_t sequence)
{
    size_t i = 0;

    if (sequence < log->bound)
        sequence = log->bound;
    while (i < log->count && log->events[i].sequence < sequence)
        i++;
    return i;
}
