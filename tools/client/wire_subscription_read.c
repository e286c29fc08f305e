#include "tools/client/wire_element.h"
#include "tools/client/wire_subscription.h"

/* As many unsigned numbers as `names`, and nothing behind them. */
static enum error_code read_numbers(struct msgpack_cursor cursor, uint32_t left, const char *type,
                                    const char *const *names, uint64_t *numbers, uint32_t count,
                                    struct error *error)
{
    enum error_code code = wire_expect_elements(left, count, type, error);
    for (uint32_t i = 0; !code && i < count; i++)
        code = wire_read_unsigned(&cursor, names[i], &numbers[i], error);
    return code ? code : wire_expect_end(&cursor, type, error);
}

static enum error_code read_number(struct msgpack_cursor cursor, uint32_t left, const char *type,
                                   const char *name, uint64_t *number_out, struct error *error)
{
    uint64_t number;
    enum error_code code = read_numbers(cursor, left, type, &name, &number, 1, error);
    if (!code)
        *number_out = number;
    return code;
}

/* ---- events ---- */

enum error_code wire_read_events(struct msgpack_cursor cursor, uint32_t left,
                                 struct wire_events *events_out, struct error *error)
{
    struct wire_events events = {0};
    struct msgpack_value array = {0};
    enum error_code code = wire_expect_elements(left, 2, "events", error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the events' last", &events.last, error);
    if (!code)
        code = wire_read_kind(&cursor, MSGPACK_KIND_ARRAY, "the events", &array, error);
    if (code)
        return code;
    events.count = array.count;
    events.events = cursor;
    *events_out = events;
    return OK;
}

static enum error_code read_given(struct msgpack_cursor *cursor, struct event *event,
                                  struct error *error)
{
    struct wire_text topic = {NULL, 0};
    enum error_code code = wire_read_unsigned(cursor, "its sequence", &event->sequence, error);
    if (!code && (event->sequence == 0 || event->sequence >= EVENT_SEQUENCE_END))
        code = error_set(error, ERROR_INVALID, "no event has the sequence %llu",
                         (unsigned long long)event->sequence);
    if (!code)
        code = wire_read_time(cursor, &event->time_ns, error);
    if (!code && event->time_ns == EVENT_TIME_NONE)
        code = error_set(error, ERROR_INVALID, "its time is nil");
    if (!code)
        code = wire_read_text(cursor, "its topic", &topic, error);
    if (!code && (topic.bytes == 0 || topic.bytes > EVENT_TOPIC_BYTES_MAX))
        code = error_set(error, ERROR_INVALID, "its topic has %zu bytes", topic.bytes);
    if (code)
        return code;
    event->topic = topic.text;
    event->topic_bytes = topic.bytes;
    event->payload = cursor->at;
    code = msgpack_skip(cursor, error);
    if (code)
        error_prefix(error, "its payload");
    else
        event->payload_bytes = (size_t)(cursor->at - (const uint8_t *)event->payload);
    return code;
}

static enum error_code read_try(struct msgpack_cursor *cursor, uint32_t *try_out,
                                struct error *error)
{
    uint64_t number = 0;
    enum error_code code = wire_read_unsigned(cursor, "its try", &number, error);
    if (code)
        return code;
    if (number == 0 || number > UINT32_MAX)
        return error_set(error, ERROR_INVALID, "%llu is no count of tries",
                         (unsigned long long)number);
    *try_out = (uint32_t)number;
    return OK;
}

enum error_code wire_read_event(struct msgpack_cursor *events, struct event *event_out,
                                uint32_t *try_out, struct error *error)
{
    struct event event = {0};
    struct msgpack_value array = {0};
    uint32_t try_number = 0;
    enum error_code code = wire_read_kind(events, MSGPACK_KIND_ARRAY, "an event", &array, error);
    if (code)
        return code;
    if (array.count != 4 && array.count != 5)
        return error_set(error, ERROR_INVALID,
                         "an event has %u elements; it is [seq, time, topic, payload], and in a "
                         "group its try",
                         array.count);
    code = read_given(events, &event, error);
    if (!code && array.count == 5)
        code = read_try(events, &try_number, error);
    if (code) {
        error_prefix(error, "an event");
        return code;
    }
    *event_out = event;
    *try_out = try_number;
    return OK;
}

enum error_code wire_read_events_end(const struct msgpack_cursor *events, struct error *error)
{
    return wire_expect_end(events, "events", error);
}

enum error_code wire_read_caught_up(struct msgpack_cursor cursor, uint32_t left,
                                    uint64_t *last_out, struct error *error)
{
    return read_number(cursor, left, "caught_up", "the last sequence", last_out, error);
}

enum error_code wire_read_lost(struct msgpack_cursor cursor, uint32_t left,
                               struct wire_lost *lost_out, struct error *error)
{
    struct wire_lost lost = {0};
    enum error_code code = wire_expect_elements(left, 4, "lost", error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the first that is lost", &lost.first, error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the last that is lost", &lost.last, error);
    if (!code && (lost.first == 0 || lost.last < lost.first))
        code = error_set(error, ERROR_INVALID, "lost from %llu to %llu is no range",
                         (unsigned long long)lost.first, (unsigned long long)lost.last);
    if (!code)
        code = wire_read_text(&cursor, "the cause of a loss", &lost.cause, error);
    if (!code)
        code = wire_read_text(&cursor, "the text of a loss", &lost.text, error);
    if (!code)
        code = wire_expect_end(&cursor, "lost", error);
    if (!code)
        *lost_out = lost;
    return code;
}

/* ---- credit, commits, settling ---- */

enum error_code wire_read_credit(struct msgpack_cursor cursor, uint32_t left, uint64_t *events_out,
                                 struct error *error)
{
    return read_number(cursor, left, "credit", "the credit", events_out, error);
}

enum error_code wire_read_commit(struct msgpack_cursor cursor, uint32_t left,
                                 uint64_t *sequence_out, struct error *error)
{
    return read_number(cursor, left, "commit", "the commit's sequence", sequence_out, error);
}

enum error_code wire_read_committed(struct msgpack_cursor cursor, uint32_t left,
                                    uint64_t *sequence_out, struct error *error)
{
    return read_number(cursor, left, "committed", "the committed sequence", sequence_out, error);
}

static enum error_code read_range(struct msgpack_cursor *cursor, struct wire_range *range_out,
                                  struct error *error)
{
    struct msgpack_value array = {0};
    struct wire_range range = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_ARRAY, "a range", &array, error);
    if (!code)
        code = wire_expect_elements(array.count, 2, "a range", error);
    if (!code)
        code = wire_read_unsigned(cursor, "the first of a range", &range.first, error);
    if (!code)
        code = wire_read_unsigned(cursor, "the last of a range", &range.last, error);
    if (!code && (range.first == 0 || range.last < range.first))
        code = error_set(error, ERROR_INVALID, "from %llu to %llu is no range of sequences",
                         (unsigned long long)range.first, (unsigned long long)range.last);
    if (!code)
        *range_out = range;
    return code;
}

enum error_code wire_read_ranges(struct msgpack_cursor *cursor, struct wire_range *ranges,
                                 uint32_t *count_out, struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code =
        wire_read_kind(cursor, MSGPACK_KIND_ARRAY, "the ranges", &array, error);
    if (!code && array.count > WIRE_RANGES_MAX)
        code = error_set(error, ERROR_INVALID, "%u ranges; at most %d are allowed", array.count,
                         WIRE_RANGES_MAX);
    for (uint32_t i = 0; !code && i < array.count; i++)
        code = read_range(cursor, &ranges[i], error);
    if (!code)
        code = wire_expect_end(cursor, "ranges", error);
    if (!code)
        *count_out = array.count;
    return code;
}

enum error_code wire_read_settle(struct msgpack_cursor cursor, uint32_t left, uint64_t *id_out,
                                 struct wire_range *ranges, uint32_t *count_out,
                                 struct error *error)
{
    uint64_t id = 0;
    enum error_code code = wire_expect_elements(left, 2, "the settling", error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the id", &id, error);
    if (!code)
        code = wire_read_ranges(&cursor, ranges, count_out, error);
    if (!code)
        *id_out = id;
    return code;
}

enum error_code wire_read_settled(struct msgpack_cursor cursor, uint32_t left, uint64_t *id_out,
                                  uint64_t *events_out, struct error *error)
{
    static const char *const NAMES[] = {"the id", "the count of settled events"};
    uint64_t numbers[2];
    enum error_code code = read_numbers(cursor, left, "settled", NAMES, numbers, 2, error);
    if (code)
        return code;
    *id_out = numbers[0];
    *events_out = numbers[1];
    return OK;
}

/* ---- cursors ---- */

enum error_code wire_read_cursors_request(struct msgpack_cursor cursor, uint32_t left,
                                          struct error *error)
{
    return read_numbers(cursor, left, "cursors", NULL, NULL, 0, error);
}

enum error_code wire_read_cursors(struct msgpack_cursor cursor, uint32_t left,
                                  struct wire_cursors *cursors_out, struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code = wire_expect_elements(left, 1, "cursors", error);
    if (!code)
        code = wire_read_kind(&cursor, MSGPACK_KIND_ARRAY, "the cursors", &array, error);
    if (!code)
        *cursors_out = (struct wire_cursors){array.count, cursor};
    return code;
}

static enum error_code find_bool(const struct msgpack_cursor *map, const char *key, bool *bool_out,
                                 struct error *error)
{
    struct msgpack_cursor value;
    enum error_code code = msgpack_find(map, key, &value, NULL);
    if (code == ERROR_NOT_FOUND)
        return error_set(error, ERROR_INVALID, "the key '%s' is missing", key);
    if (code)
        return error_set(error, code, "the map is not valid msgpack");
    return wire_read_bool(&value, key, bool_out, error);
}

static enum error_code find_time(const struct msgpack_cursor *map, const char *key,
                                 int64_t *time_ns_out, struct error *error)
{
    struct msgpack_cursor value;
    enum error_code code = msgpack_find(map, key, &value, NULL);
    if (code)
        return error_set(error, ERROR_INVALID, "the key '%s' is missing", key);
    return wire_read_time(&value, time_ns_out, error);
}

enum error_code wire_read_cursor(struct msgpack_cursor *entries, struct wire_cursor *entry_out,
                                 struct error *error)
{
    struct wire_cursor entry = {0};
    struct msgpack_cursor map = *entries;
    enum error_code code = msgpack_skip(entries, error);
    if (code)
        return code;
    map.end = entries->at;
    code = wire_find_text(&map, "name", &entry.name, error);
    if (!code && !entry.name.text)
        code = error_set(error, ERROR_INVALID, "the key 'name' is missing");
    if (!code)
        code = wire_find_unsigned(&map, "position", &entry.position, error);
    if (!code)
        code = wire_find_unsigned(&map, "lag", &entry.lag, error);
    if (!code)
        code = find_bool(&map, "shared", &entry.shared, error);
    if (!code)
        code = find_bool(&map, "in_use", &entry.in_use, error);
    if (!code)
        code = find_bool(&map, "hold", &entry.hold, error);
    if (!code)
        code = find_time(&map, "committed_at", &entry.committed_at_ns, error);
    if (!code)
        *entry_out = entry;
    else
        error_prefix(error, "a cursor");
    return code;
}
