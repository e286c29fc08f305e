#include "tools/zmq/message.h"

#include "core/msgpack.h"
#include "core/units.h"
#include "tools/bus_event.h"

static enum error_code check_is_object(const struct msgpack_cursor *object, struct error *error)
{
    struct msgpack_cursor cursor = *object;
    struct msgpack_value value;
    enum error_code code = msgpack_read(&cursor, &value, error);
    if (!code && value.kind != MSGPACK_KIND_MAP)
        return error_set(error, ERROR_INVALID, "it is %s, not a JSON object",
                         value.kind == MSGPACK_KIND_ARRAY ? "an array" : "a single value");
    return code;
}

/* False: the object has no such key, or something else than text there. */
static bool find_text(const struct msgpack_cursor *object, const char *key,
                      struct msgpack_value *value_out)
{
    struct msgpack_cursor found;
    return msgpack_find(object, key, &found, NULL) == OK &&
           msgpack_read(&found, value_out, NULL) == OK && value_out->kind == MSGPACK_KIND_STR;
}

/* A clock that is wrong or missing is no reason to lose an event. */
static int64_t find_time(const struct msgpack_cursor *object)
{
    struct msgpack_cursor found;
    struct msgpack_value value;
    int64_t time_ns;
    if (msgpack_find(object, "timestamp", &found, NULL) || msgpack_read(&found, &value, NULL) ||
        units_data_time_from_value(&value, &time_ns, NULL))
        return EVENT_TIME_NONE;
    return time_ns;
}

enum error_code message_read(struct message_reader *reader, const void *text, size_t text_bytes,
                             struct event *event_out, struct error *error)
{
    enum error_code code = OK;
    if (!reader->json)
        code = json_reader_create(&reader->json, error);
    reader->object.size = 0;
    if (!code)
        code = json_to_msgpack(reader->json, text, text_bytes, EVENT_PAYLOAD_DEPTH_MAX,
                               &reader->object, error);
    struct msgpack_cursor object = {reader->object.data, reader->object.data + reader->object.size};
    if (!code)
        code = check_is_object(&object, error);
    if (code)
        return code;
    struct msgpack_value topic;
    if (!find_text(&object, "event_type", &topic))
        return error_set(error, ERROR_INVALID, "it has no text 'event_type', which is the topic");
    struct event event = {
        .time_ns = find_time(&object),
        .topic = topic.bytes,
        .topic_bytes = topic.count,
        .payload = reader->object.data,
        .payload_bytes = reader->object.size,
    };
    code = event_check(&event, error);
    if (!code)
        *event_out = event;
    return code;
}

void message_release(struct message_reader *reader)
{
    json_reader_free(reader->json);
    buffer_release(&reader->object);
    reader->json = NULL;
}

/* For an event that did not come over the bus. */
static enum error_code write_around(const struct event *event, struct buffer *out,
                                    struct error *error)
{
    struct buffer json = {0};
    enum error_code code =
        json_from_msgpack(event->payload, event->payload_bytes, JSON_COMPACT, &json, error);
    if (!code)
        code = bus_event_append(event, (const char *)json.data, json.size, out, error);
    buffer_release(&json);
    return code;
}

enum error_code message_write(const struct daybook_event *event, struct buffer *out,
                              struct error *error)
{
    struct event stored = {
        .time_ns = event->time_ns,
        .topic = event->topic,
        .topic_bytes = event->topic_bytes,
        .payload = event->payload,
        .payload_bytes = event->payload_bytes,
    };
    if (!bus_event_is_one(event->payload, event->payload_bytes))
        return write_around(&stored, out, error);
    return json_from_msgpack(event->payload, event->payload_bytes, JSON_COMPACT, out, error);
}
