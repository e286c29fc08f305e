#include "indexer/event_source.h"

enum error_code indexer_event_source_open(struct indexer_event_source *source,
                                          struct indexer_host *host, struct error *error)
{
    enum error_code code = OK;
    source->host = host;
    if (!source->ways)
        code = indexer_event_ways_create(host, &source->ways, error);
    return code ? code : indexer_host_take_lookup(host, &source->lookup, error);
}

void indexer_event_source_close(struct indexer_event_source *source)
{
    indexer_host_give_lookup(source->host, source->lookup);
    source->lookup = NULL;
    indexer_event_join_release(&source->join);
    indexer_event_ways_stop(source->ways);
    if (source->rows)
        indexer_event_rows_stop(source->rows);
}

void indexer_event_source_release(struct indexer_event_source *source)
{
    indexer_event_ways_free(source->ways);
    indexer_event_rows_free(source->rows);
}

/* Begin on source->way. */
static enum error_code begin(struct indexer_event_source *source, struct error *error)
{
    enum error_code code = OK;
    if (source->way == EVENT_WAY_NONE || source->way == EVENT_WAY_JOIN)
        return OK;
    if (source->way == EVENT_WAY_LOG)
        return indexer_event_scan_start(&source->scan, source->lookup, &source->plan, error);
    if (!source->rows)
        code = indexer_event_rows_create(source->host, &source->rows, error);
    return code ? code
                : indexer_event_rows_start(source->rows, &source->plan, source->way, error);
}

enum error_code indexer_event_source_start(struct indexer_event_source *source,
                                           const struct indexer_event_plan *plan,
                                           struct error *error)
{
    struct indexer_event_estimate estimate;
    source->plan = *plan;
    if (source->rows)
        indexer_event_rows_stop(source->rows);
    enum error_code code =
        indexer_event_ways_choose(source->ways, (int64_t)indexer_host_bound(source->host),
                                  &source->plan, &source->way, &estimate, error);
    if (code)
        return code;
    if (indexer_event_join_begin(&source->join, &source->plan, &estimate, source->lookup))
        source->way = EVENT_WAY_JOIN;
    return begin(source, error);
}

static enum error_code next_of_rows(struct indexer_event_source *source, struct error *error)
{
    enum error_code code = indexer_event_rows_next(source->rows, error);
    if (!code && source->way != EVENT_WAY_TOPICS)
        source->sequence = indexer_event_rows_number(source->rows, EVENT_ROW_SEQUENCE);
    return code;
}

/* Behind damage the index goes on, which knows every event that was there. */
static enum error_code next_of_log(struct indexer_event_source *source, struct error *error)
{
    enum error_code code =
        indexer_event_scan_next(&source->scan, &source->event, &source->sequence, error);
    if (code != ERROR_DAMAGED)
        return code;
    source->way = EVENT_WAY_SEQUENCE;
    source->plan.sequence_first = source->sequence;
    code = begin(source, error);
    return code ? code : next_of_rows(source, error);
}

enum error_code indexer_event_source_next(struct indexer_event_source *source,
                                          struct error *error)
{
    switch (source->way) {
    case EVENT_WAY_NONE:
        return ERROR_END;
    case EVENT_WAY_LOG:
        return next_of_log(source, error);
    case EVENT_WAY_JOIN:
        return indexer_event_join_next(&source->join, source->lookup, &source->event,
                                       &source->sequence, error);
    default:
        return next_of_rows(source, error);
    }
}

static bool gives_events(const struct indexer_event_source *source)
{
    return source->way == EVENT_WAY_LOG || source->way == EVENT_WAY_JOIN;
}

int64_t indexer_event_source_ts(struct indexer_event_source *source)
{
    return gives_events(source) ? source->event.time_ns
                                : indexer_event_rows_number(source->rows, EVENT_ROW_TS);
}

int64_t indexer_event_source_bytes(struct indexer_event_source *source)
{
    return gives_events(source) ? (int64_t)source->event.payload_bytes
                                : indexer_event_rows_number(source->rows, EVENT_ROW_BYTES);
}

/* Plans that ask for the place do not go through the log. */
int64_t indexer_event_source_place(struct indexer_event_source *source,
                                   enum indexer_event_number number)
{
    return indexer_event_rows_number(source->rows, number);
}

enum error_code indexer_event_source_topic(struct indexer_event_source *source,
                                           const char **topic_out, size_t *bytes_out,
                                           struct error *error)
{
    *topic_out = source->event.topic;
    *bytes_out = source->event.topic_bytes;
    if (source->plan.has_topic) {
        *topic_out = source->plan.topic;
        *bytes_out = source->plan.topic_bytes;
    } else if (!gives_events(source)) {
        int64_t id = indexer_event_rows_number(source->rows, EVENT_ROW_TOPIC_ID);
        return indexer_event_rows_topic(source->rows, id, topic_out, bytes_out, error);
    }
    return OK;
}

enum error_code indexer_event_source_event(struct indexer_event_source *source,
                                           const struct event **event_out, struct error *error)
{
    *event_out = &source->event;
    if (gives_events(source))
        return OK;
    return indexer_lookup_event(source->lookup, (uint64_t)source->sequence, event_out, error);
}

bool indexer_event_source_has_value(const struct indexer_event_source *source,
                                    const struct indexer_event_column *column)
{
    return source->way == EVENT_WAY_FIELD && source->plan.field.column == column;
}
