#include "indexer/event_scan.h"

#include <string.h>

#include "segment/reader.h"

enum error_code indexer_event_scan_start(struct indexer_event_scan *scan,
                                         struct indexer_lookup *lookup,
                                         const struct indexer_event_plan *plan,
                                         struct error *error)
{
    enum error_code code = indexer_lookup_lend_reader(lookup, &scan->reader, error);
    if (code)
        return code;
    scan->plan = *plan;
    scan->block.events_left = 0;
    scan->next = (uint64_t)plan->sequence_first;
    segment_reader_hint_times(scan->reader, plan->ts_first, plan->ts_last);
    segment_reader_stop_behind(scan->reader, (uint64_t)plan->sequence_last);
    return segment_reader_seek(scan->reader, scan->next, error);
}

/* Open the next block of events. What is on record as lost is skipped, as the index does. */
static enum error_code open_block(struct indexer_event_scan *scan, struct error *error)
{
    struct segment_reader_block block;
    do {
        enum error_code code = segment_reader_next_block(scan->reader, &block, error);
        if (code)
            return code;
    } while (block.header.kind != FORMAT_BLOCK_EVENTS);
    segment_block_cursor_init(&scan->block, &block.header, block.raw);
    return OK;
}

static bool is_wanted(const struct indexer_event_plan *plan, const struct event *event)
{
    return event->sequence >= (uint64_t)plan->sequence_first && event->time_ns >= plan->ts_first &&
           event->time_ns <= plan->ts_last &&
           (!plan->has_topic || (event->topic_bytes == plan->topic_bytes &&
                                 memcmp(event->topic, plan->topic, plan->topic_bytes) == 0));
}

enum error_code indexer_event_scan_next(struct indexer_event_scan *scan, struct event *event_out,
                                        int64_t *sequence_out, struct error *error)
{
    for (;;) {
        enum error_code code = OK;
        *sequence_out = (int64_t)scan->next;
        if (scan->next > (uint64_t)scan->plan.sequence_last)
            return ERROR_END;
        if (scan->block.events_left == 0)
            code = open_block(scan, error);
        if (!code)
            code = segment_block_cursor_next(&scan->block, event_out, error);
        if (code)
            return code == ERROR_IO ? ERROR_DAMAGED : code;
        if (event_out->sequence > (uint64_t)scan->plan.sequence_last)
            return ERROR_END;
        /* Behind a gap it is not the one that came next. */
        *sequence_out = (int64_t)event_out->sequence;
        scan->next = event_out->sequence + 1;
        if (is_wanted(&scan->plan, event_out))
            return OK;
    }
}
