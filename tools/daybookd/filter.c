#include "tools/daybookd/filter.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"
#include "indexer/where.h"

static enum error_code take_where(struct filter *filter, const struct wire_text *where,
                                  struct error *error)
{
    filter->where = strndup(where->text, where->bytes);
    if (!filter->where)
        return error_set(error, ERROR_MEMORY, "no memory for a filter");
    enum error_code code =
        indexer_where_compile(where->text, where->bytes, &filter->condition, error);
    if (code)
        error_prefix(error, "where");
    return code;
}

enum error_code filter_init(struct filter *filter, const struct wire_subscribe *subscribe,
                            bool lines, struct error *error)
{
    struct filter made = {.lines = lines};
    enum error_code code = OK;
    size_t bytes = 0;
    for (uint32_t i = 0; !code && i < subscribe->topic_count; i++) {
        const struct wire_text *topic = &subscribe->topics[i];
        code = topic_patterns_add(&made.topics, topic->text, topic->bytes, error);
        bytes += topic->bytes;
    }
    if (!code && bytes > FILTER_PATTERN_BYTES_MAX)
        code = error_set(error, ERROR_INVALID,
                         "the patterns have %zu bytes in all, more than %d; one with a wildcard "
                         "does for many topics",
                         bytes, FILTER_PATTERN_BYTES_MAX);
    if (!code && subscribe->where.text)
        code = take_where(&made, &subscribe->where, error);
    if (code) {
        filter_release(&made);
        return code;
    }
    *filter = made;
    return OK;
}

void filter_release(struct filter *filter)
{
    topic_patterns_release(&filter->topics);
    free(filter->where);
    indexer_where_free(filter->condition);
    *filter = (struct filter){0};
}

/* The order counts: who asks for the same in another order may well be served on his own. */
static bool have_equal_topics(const struct topic_patterns *a, const struct topic_patterns *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].bytes != b->items[i].bytes ||
            memcmp(a->items[i].text, b->items[i].text, a->items[i].bytes) != 0)
            return false;
    return true;
}

bool filter_is_equal(const struct filter *a, const struct filter *b)
{
    bool equal_where = !a->where || !b->where ? a->where == b->where
                                              : strcmp(a->where, b->where) == 0;
    return a->lines == b->lines && equal_where &&
           have_equal_topics(&a->topics, &b->topics);
}

enum error_code filter_match(struct filter *filter, const struct event *event, bool *match_out,
                             struct error *error)
{
    *match_out = topic_patterns_match(&filter->topics, event->topic, event->topic_bytes);
    if (!*match_out || !filter->condition)
        return OK;
    enum error_code code = indexer_where_match(filter->condition, event, match_out, error);
    if (code)
        error_prefix(error, "where");
    return code;
}

/* ---- Lines ---- */

/* As `daybook read -o json` prints it; `try_number` 0: not for a group. */
static enum error_code write_event_line(const struct event *event, uint32_t try_number,
                                        struct buffer *out, struct error *error)
{
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(event->time_ns, time);
    enum error_code code = buffer_printf(out, error, "{\"seq\":%llu,\"time\":\"%s\",\"topic\":",
                                         (unsigned long long)event->sequence, time);
    if (!code)
        code = json_append_string(out, event->topic, event->topic_bytes, error);
    if (!code)
        code = buffer_append(out, ",\"payload\":", sizeof ",\"payload\":" - 1, error);
    if (!code)
        code = json_from_msgpack(event->payload, event->payload_bytes, JSON_COMPACT, out, error);
    if (!code && try_number)
        code = buffer_printf(out, error, ",\"try\":%u", try_number);
    if (!code)
        code = buffer_append(out, "}\n", 2, error);
    return code;
}

static enum error_code write_lost_line(const struct log_stream_item *item, struct buffer *out,
                                       struct error *error)
{
    enum error_code code =
        buffer_printf(out, error, "{\"lost\":{\"first\":%llu,\"last\":%llu,\"cause\":",
                      (unsigned long long)item->first, (unsigned long long)item->last);
    if (!code)
        code = json_append_string(out, item->cause, strlen(item->cause), error);
    if (!code)
        code = buffer_append(out, ",\"text\":", sizeof ",\"text\":" - 1, error);
    if (!code)
        code = json_append_string(out, item->text, strlen(item->text), error);
    if (!code)
        code = buffer_append(out, "}}\n", 3, error);
    return code;
}

/* ---- Frames ---- */

static enum error_code write_lost_frame(const struct log_stream_item *item, struct buffer *out,
                                        struct error *error)
{
    struct wire_lost lost = {
        .first = item->first,
        .last = item->last,
        .cause = {item->cause, strlen(item->cause)},
        .text = {item->text, strlen(item->text)},
    };
    return wire_write_lost(out, &lost, error);
}

enum error_code filter_write(const struct filter *filter, const struct log_stream_item *item,
                             struct buffer *out, struct error *error)
{
    if (item->lost)
        return filter->lines ? write_lost_line(item, out, error)
                             : write_lost_frame(item, out, error);
    return filter->lines ? write_event_line(&item->event, 0, out, error)
                         : wire_write_event(out, &item->event, error);
}

enum error_code filter_write_try(bool lines, const struct event *event, uint32_t try_number,
                                 struct buffer *out, struct error *error)
{
    return lines ? write_event_line(event, try_number, out, error)
                 : wire_write_event_try(out, event, try_number, error);
}
