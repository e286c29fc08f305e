#include "indexer/where_event.h"

#include <stdlib.h>

void indexer_where_event_set(struct indexer_where_event *at, const struct event *event)
{
    at->event = event;
    at->json.size = 0;
    at->work = 0;
    at->work_max = INDEXER_WHERE_WORK;
    if (event)
        at->work_max += INDEXER_WHERE_WORK_A_BYTE * (uint64_t)event->payload_bytes;
}

bool indexer_where_event_spend(struct indexer_where_event *at, sqlite3_context *context,
                               uint64_t bytes)
{
    at->work += bytes;
    if (at->work <= at->work_max)
        return true;
    sqlite3_result_error(context, "it takes too long", -1);
    return false;
}

bool indexer_where_event_spend_text(struct indexer_where_event *at, sqlite3_context *context,
                                    uint64_t bytes, uint64_t cost)
{
    return indexer_where_event_spend(at, context, cost * bytes * (1 + at->passes));
}

/* As the column of the same name gives it, which SQLite's JSON functions understand. */
enum error_code indexer_where_event_json(struct indexer_where_event *at, struct error *error)
{
    if (at->json.size)
        return OK;
    enum error_code code = json_from_msgpack(at->event->payload, at->event->payload_bytes,
                                             JSON_STRICT, &at->json, error);
    if (code)
        at->json.size = 0;
    return code;
}

void indexer_where_event_trim(struct indexer_where_event *at)
{
    buffer_release(&at->json);
    buffer_release(&at->scratch);
    buffer_release(&at->parsed);
}

void indexer_where_event_release(struct indexer_where_event *at)
{
    for (size_t i = 0; i < at->field_count; i++)
        free(at->fields[i].name);
    free(at->fields);
    json_reader_free(at->reader);
    indexer_where_event_trim(at);
    *at = (struct indexer_where_event){0};
}
