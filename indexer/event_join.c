#include "indexer/event_join.h"

/* Another column than before: its questions are counted anew. */
static void turn_to(struct indexer_event_join *join, const struct indexer_event_column *column)
{
    if (join->column == column)
        return;
    indexer_event_join_release(join);
    join->column = column;
}

static void make_index(struct indexer_event_join *join, const struct indexer_event_plan *plan,
                       const struct indexer_event_estimate *estimate,
                       struct indexer_lookup *lookup)
{
    struct indexer_event_plan all = *plan;
    struct error error;
    all.sequence_first = estimate->sequence_first;
    all.sequence_last = estimate->sequence_last;
    if (indexer_join_index_make(lookup, &all, &join->column->path, &join->index, &error))
        join->given_up = true; /* what is wrong, the other way finds, too, if it matters there */
}

bool indexer_event_join_begin(struct indexer_event_join *join,
                              const struct indexer_event_plan *plan,
                              const struct indexer_event_estimate *estimate,
                              struct indexer_lookup *lookup)
{
    bool in_order = plan->order == EVENT_ORDER_NONE || plan->order == EVENT_ORDER_SEQ;
    if (!plan->equal_column || !in_order || plan->needs_place || plan->empty)
        return false;
    turn_to(join, plan->equal_column);
    if (!join->index && !join->given_up && join->walked > 0 &&
        join->walked + estimate->found > estimate->topic_events)
        make_index(join, plan, estimate, lookup);
    join->walked += estimate->found;
    if (!join->index ||
        !indexer_join_index_find(join->index, join->column, plan->equal_value, &join->candidates,
                                 &join->left))
        return false;
    join->sequence_first = plan->sequence_first;
    join->sequence_last = plan->sequence_last;
    join->ts_first = plan->ts_first;
    join->ts_last = plan->ts_last;
    return true;
}

enum error_code indexer_event_join_next(struct indexer_event_join *join,
                                        struct indexer_lookup *lookup, struct event *event_out,
                                        int64_t *sequence_out, struct error *error)
{
    for (; join->left > 0; join->candidates++, join->left--) {
        int64_t sequence = (int64_t)*join->candidates;
        if (sequence < join->sequence_first || sequence > join->sequence_last)
            continue;
        const struct event *event;
        enum error_code code =
            indexer_lookup_event(lookup, (uint64_t)sequence, &event, error);
        if (code == ERROR_NOT_FOUND) /* its value is NULL by now, and equal to nothing */
            continue;
        if (code)
            return code;
        if (event->time_ns < join->ts_first || event->time_ns > join->ts_last)
            continue;
        *event_out = *event;
        *sequence_out = sequence;
        join->candidates++;
        join->left--;
        return OK;
    }
    return ERROR_END;
}

void indexer_event_join_release(struct indexer_event_join *join)
{
    indexer_join_index_free(join->index);
    *join = (struct indexer_event_join){0};
}
