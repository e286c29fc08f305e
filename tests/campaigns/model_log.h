/*
 * tests/campaigns/model_log.h - what a log is, in a hundred lines of memory: the model that the
 * implementation is compared with. It shares no code with it.
 *
 * Events have sequences, first all of them appended and later durable. A crash takes the end, what
 * is durable never; a full disk takes all that is not durable; retention takes the beginning. Each
 * producer's numbers only grow.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_MODEL_LOG_H
#define DAYBOOK_TESTS_CAMPAIGNS_MODEL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_PRODUCERS = 5 /* the first is anonymous */, MODEL_EVENTS_MAX = 8192 };

struct model_event {
    uint64_t sequence;
    unsigned producer;
    uint64_t number; /* 0 when anonymous */
    uint64_t content;
    int64_t time_ns;
    bool time_known; /* else the log chose it, at `time_ns` at the latest */
};

struct model_log {
    struct model_event events[MODEL_EVENTS_MAX]; /* sequences rise, not always by one */
    size_t count;                                /* appended */
    size_t durable;                              /* of them, the first so many */
    uint64_t sequence_next;
    uint64_t sequence_next_durable; /* the next one after the durable events */
    uint64_t bound;                 /* retention has taken what is below */
};

void model_log_init(struct model_log *log);

/* The last number of a producer, and the sequence that it got; 0: none. */
uint64_t model_log_last_number(const struct model_log *log, unsigned producer,
                               uint64_t *sequence_out);
/* Append; event->sequence is set. False: it is a duplicate, *event stays out of the log. */
bool model_log_append(struct model_log *log, struct model_event *event);
/* All that was appended is durable. */
void model_log_commit(struct model_log *log);
/* All that is not durable never was. */
void model_log_withdraw(struct model_log *log);
/* A crash left the first `kept` events; the log goes on with `sequence_next`. */
void model_log_crash(struct model_log *log, size_t kept, uint64_t sequence_next);
void model_log_retain(struct model_log *log, uint64_t bound);
/* The first event that can be read with a sequence at or above; count when there is none. */
size_t model_log_find(const struct model_log *log, uint64_t sequence);

#endif
