#include "tools/bus_event.h"

#include "core/json.h"
#include "core/msgpack.h"

static const char key[] = "event_type";

bool bus_event_is_one(const void *payload, size_t payload_bytes)
{
    const uint8_t *begin = payload;
    struct msgpack_cursor cursor = {begin, begin + payload_bytes};
    struct msgpack_value map, name, value;
    if (msgpack_read(&cursor, &map, NULL) || map.kind != MSGPACK_KIND_MAP)
        return false;
    for (uint32_t i = 0; i < map.count; i++) {
        if (msgpack_read(&cursor, &name, NULL))
            return false;
        if (name.kind == MSGPACK_KIND_STR && name.count == sizeof key - 1 &&
            memcmp(name.bytes, key, name.count) == 0)
            return msgpack_read(&cursor, &value, NULL) == OK && value.kind == MSGPACK_KIND_STR;
        if (name.kind == MSGPACK_KIND_ARRAY || name.kind == MSGPACK_KIND_MAP)
            return false; /* no JSON object has such a key, so it did not come over the bus */
        if (msgpack_skip(&cursor, NULL))
            return false;
    }
    return false;
}

/* "1767603600.642318", also before 1970. */
static enum error_code append_seconds(int64_t time_ns, struct buffer *out, struct error *error)
{
    int64_t us = time_ns / 1000;
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    return buffer_printf(out, error, "%s%llu.%06llu", us < 0 ? "-" : "",
                         (unsigned long long)(size / 1000000),
                         (unsigned long long)(size % 1000000));
}

static enum error_code append_wrapped(const struct event *event, const char *json,
                                      size_t json_bytes, struct buffer *out, struct error *error)
{
    enum error_code code = buffer_printf(out, error, "{\"event_type\":");
    if (!code)
        code = json_append_string(out, event->topic, event->topic_bytes, error);
    if (!code)
        code = buffer_printf(out, error, ",\"timestamp\":");
    if (!code)
        code = append_seconds(event->time_ns, out, error);
    if (!code)
        code = buffer_printf(out, error, ",\"source\":\"daybook\",\"data\":");
    if (!code)
        code = buffer_append(out, json, json_bytes, error);
    if (!code)
        code = buffer_printf(out, error,
                             ",\"correlation_id\":null,\"user_id\":null,\"session_id\":null}");
    return code;
}

enum error_code bus_event_append(const struct event *event, const char *json, size_t json_bytes,
                                 struct buffer *out, struct error *error)
{
    if (bus_event_is_one(event->payload, event->payload_bytes))
        return buffer_append(out, json, json_bytes, error);
    size_t size_before = out->size;
    enum error_code code = append_wrapped(event, json, json_bytes, out, error);
    if (code)
        out->size = size_before;
    return code;
}
