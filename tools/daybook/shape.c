#include "tools/daybook/shape.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "core/units.h"

struct shape {
    const struct shape_rules *rules;
    struct json_reader *reader;
    struct buffer object; /* the line as msgpack */
};

enum error_code shape_create(const struct shape_rules *rules, struct shape **shape_out,
                             struct error *error)
{
    struct shape *shape = calloc(1, sizeof *shape);
    if (!shape)
        return error_set(error, ERROR_MEMORY, "no memory to read JSON");
    shape->rules = rules;
    enum error_code code = json_reader_create(&shape->reader, error);
    if (code) {
        free(shape);
        return code;
    }
    *shape_out = shape;
    return OK;
}

void shape_free(struct shape *shape)
{
    if (!shape)
        return;
    json_reader_free(shape->reader);
    buffer_release(&shape->object);
    free(shape);
}

static enum error_code read_time(struct msgpack_cursor cursor, int64_t *time_ns_out,
                                 struct error *error)
{
    struct msgpack_value value;
    enum error_code code = msgpack_read(&cursor, &value, error);
    return code ? code : units_data_time_from_value(&value, time_ns_out, error);
}

static enum error_code read_topic(struct msgpack_cursor cursor, struct event *event,
                                  struct error *error)
{
    struct msgpack_value value;
    enum error_code code = msgpack_read(&cursor, &value, error);
    if (code)
        return code;
    if (value.kind != MSGPACK_KIND_STR)
        return error_set(error, ERROR_INVALID, "a topic is text");
    event->topic = value.bytes;
    event->topic_bytes = value.count;
    return OK;
}

/* Find `field` in the object. A field that was asked for must be there. */
static enum error_code find_field(const struct msgpack_cursor *object, const char *field,
                                  struct msgpack_cursor *found_out, struct error *error)
{
    enum error_code code = msgpack_find(object, field, found_out, NULL);
    if (code == ERROR_NOT_FOUND)
        return error_set(error, ERROR_INVALID, "there is no field '%s'", field);
    return code ? error_set(error, code, "the object cannot be read") : OK;
}

static enum error_code time_from_field(const struct msgpack_cursor *object, const char *field,
                                       struct event *event, struct error *error)
{
    struct msgpack_cursor found;
    enum error_code code = find_field(object, field, &found, error);
    if (code)
        return code;
    code = read_time(found, &event->time_ns, error);
    return code ? error_prefix(error, "field '%s'", field) : OK;
}

static enum error_code topic_from_field(const struct msgpack_cursor *object, const char *field,
                                        struct event *event, struct error *error)
{
    struct msgpack_cursor found;
    enum error_code code = find_field(object, field, &found, error);
    if (code)
        return code;
    code = read_topic(found, event, error);
    return code ? error_prefix(error, "field '%s'", field) : OK;
}

static enum error_code bare_object(const struct shape_rules *rules,
                                   const struct msgpack_cursor *object, struct event *event,
                                   struct error *error)
{
    enum error_code code = OK;
    event->payload = object->at;
    event->payload_bytes = (size_t)(object->end - object->at);
    if (rules->topic) {
        event->topic = rules->topic;
        event->topic_bytes = strlen(rules->topic);
    } else {
        code = topic_from_field(object, rules->topic_field, event, error);
    }
    if (!code && rules->time_field)
        code = time_from_field(object, rules->time_field, event, error);
    return code;
}

static bool is_key(const struct msgpack_value *key, const char *name)
{
    return key->kind == MSGPACK_KIND_STR && key->count == strlen(name) &&
           memcmp(key->bytes, name, key->count) == 0;
}

/* Storing the rest and dropping this key would lose data silently. */
static enum error_code refuse_key(const struct msgpack_value *key, struct error *error)
{
    const char *name = key->bytes;
    bool printable =
        key->kind == MSGPACK_KIND_STR && event_check_topic(name, key->count, NULL) == OK;
    return error_set(error, ERROR_INVALID,
                     "an event has topic, time and payload, but no '%.*s': for bare objects give "
                     "-t TOPIC or --topic-field FIELD",
                     printable ? (int)key->count : 1, printable ? name : "?");
}

/* One key of a whole event; `value` spans its value. */
static enum error_code event_key(const struct msgpack_value *key,
                                 const struct msgpack_cursor *value, struct event *event,
                                 struct error *error)
{
    enum error_code code = OK;
    if (is_key(key, "topic")) {
        code = read_topic(*value, event, error);
    } else if (is_key(key, "payload")) {
        event->payload = value->at;
        event->payload_bytes = (size_t)(value->end - value->at);
    } else if (is_key(key, "time")) {
        bool none = value->at < value->end && *value->at == 0xc0; /* null: as if it were missing */
        if (!none)
            code = read_time(*value, &event->time_ns, error);
    } else if (!is_key(key, "seq")) {
        return refuse_key(key, error);
    }
    return code ? error_prefix(error, "'%.*s'", (int)key->count, (const char *)key->bytes) : OK;
}

static enum error_code whole_event(const struct msgpack_cursor *object, struct event *event,
                                   struct error *error)
{
    struct msgpack_cursor cursor = *object;
    struct msgpack_value map;
    enum error_code code = msgpack_read(&cursor, &map, error);
    for (uint32_t i = 0; !code && i < map.count; i++) {
        struct msgpack_value key;
        struct msgpack_cursor value;
        code = msgpack_read(&cursor, &key, error);
        value.at = cursor.at;
        if (!code)
            code = msgpack_skip(&cursor, error);
        value.end = cursor.at;
        if (!code)
            code = event_key(&key, &value, event, error);
    }
    if (code)
        return code;
    if (!event->topic || !event->payload)
        return error_set(error, ERROR_INVALID,
                         "it has no %s: an event is {\"topic\":…,\"payload\":…}; for bare objects "
                         "give -t TOPIC or --topic-field FIELD",
                         event->topic ? "payload" : "topic");
    return OK;
}

static enum error_code check_is_object(const struct msgpack_cursor *object, struct error *error)
{
    struct msgpack_cursor cursor = *object;
    struct msgpack_value value;
    enum error_code code = msgpack_read(&cursor, &value, error);
    if (!code && value.kind != MSGPACK_KIND_MAP)
        return error_set(error, ERROR_INVALID, "a line must be a JSON object, this is %s",
                         value.kind == MSGPACK_KIND_ARRAY ? "an array" : "a single value");
    return code;
}

enum error_code shape_event(struct shape *shape, const char *text, size_t text_bytes,
                            struct event *event_out, struct error *error)
{
    const struct shape_rules *rules = shape->rules;
    bool bare = rules->topic || rules->topic_field;
    unsigned depth_max = EVENT_PAYLOAD_DEPTH_MAX + (bare ? 0 : 1); /* the event's own braces */
    struct event event = {.time_ns = EVENT_TIME_NONE};

    shape->object.size = 0;
    enum error_code code =
        json_to_msgpack(shape->reader, text, text_bytes, depth_max, &shape->object, error);
    if (code)
        return code;
    struct msgpack_cursor object = {shape->object.data, shape->object.data + shape->object.size};
    code = check_is_object(&object, error);
    if (!code)
        code =
            bare ? bare_object(rules, &object, &event, error) : whole_event(&object, &event, error);
    if (!code && !bare && rules->time_field && event.time_ns == EVENT_TIME_NONE) {
        struct msgpack_cursor payload = {event.payload,
                                         (const uint8_t *)event.payload + event.payload_bytes};
        code = time_from_field(&payload, rules->time_field, &event, error);
    }
    if (!code)
        code = event_check(&event, error);
    if (!code)
        *event_out = event;
    return code;
}
