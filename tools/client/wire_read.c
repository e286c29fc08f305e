#include <string.h>

#include "tools/client/wire.h"

/* ---- Single elements. `what` names the element in the error's text. ---- */

static const char *kind_name(enum msgpack_kind kind)
{
    static const char *const NAMES[] = {
        [MSGPACK_KIND_NIL] = "nil",         [MSGPACK_KIND_BOOL] = "a boolean",
        [MSGPACK_KIND_UINT] = "an integer", [MSGPACK_KIND_INT] = "a negative integer",
        [MSGPACK_KIND_FLOAT] = "a float",   [MSGPACK_KIND_STR] = "a string",
        [MSGPACK_KIND_BIN] = "binary",      [MSGPACK_KIND_EXT] = "an extension",
        [MSGPACK_KIND_ARRAY] = "an array",  [MSGPACK_KIND_MAP] = "a map",
    };
    return NAMES[kind];
}

static enum error_code read_kind(struct msgpack_cursor *cursor, enum msgpack_kind kind,
                                 const char *what, struct msgpack_value *value_out,
                                 struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = msgpack_read(cursor, &value, error);
    if (code) {
        error_prefix(error, "%s", what);
        return code;
    }
    if (value.kind != kind)
        return error_set(error, ERROR_INVALID, "%s is %s, not %s", what, kind_name(value.kind),
                         kind_name(kind));
    *value_out = value;
    return OK;
}

static enum error_code read_unsigned(struct msgpack_cursor *cursor, const char *what,
                                     uint64_t *number_out, struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = read_kind(cursor, MSGPACK_KIND_UINT, what, &value, error);
    if (!code)
        *number_out = value.unsigned_;
    return code;
}

static enum error_code read_text(struct msgpack_cursor *cursor, const char *what,
                                 struct wire_text *text_out, struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = read_kind(cursor, MSGPACK_KIND_STR, what, &value, error);
    if (!code)
        *text_out = (struct wire_text){value.bytes, value.count};
    return code;
}

bool wire_text_is(const struct wire_text *text, const char *word)
{
    return text->bytes == strlen(word) && memcmp(text->text, word, text->bytes) == 0;
}

/* The value of an optional key. */
static enum error_code find_text(const struct msgpack_cursor *map, const char *key,
                                 struct wire_text *text_out, struct error *error)
{
    struct msgpack_cursor value;
    enum error_code code = msgpack_find(map, key, &value, NULL);
    if (code == ERROR_NOT_FOUND)
        return OK;
    if (code)
        return error_set(error, code, "the map is not valid msgpack");
    return read_text(&value, key, text_out, error);
}

static enum error_code find_unsigned(const struct msgpack_cursor *map, const char *key,
                                     uint64_t *number_out, struct error *error)
{
    struct msgpack_cursor value;
    enum error_code code = msgpack_find(map, key, &value, NULL);
    if (code == ERROR_NOT_FOUND)
        return error_set(error, ERROR_INVALID, "the key '%s' is missing", key);
    if (code)
        return error_set(error, code, "the map is not valid msgpack");
    return read_unsigned(&value, key, number_out, error);
}

static enum error_code expect_elements(uint32_t left, uint32_t expected, const char *type,
                                       struct error *error)
{
    if (left == expected)
        return OK;
    return error_set(error, ERROR_INVALID, "%s has %u elements behind its type, not %u", type, left,
                     expected);
}

static enum error_code expect_end(const struct msgpack_cursor *cursor, const char *type,
                                  struct error *error)
{
    if (cursor->at == cursor->end)
        return OK;
    return error_set(error, ERROR_INVALID, "%zu bytes are left over behind the %s",
                     (size_t)(cursor->end - cursor->at), type);
}

/* ---- Frames ---- */

size_t wire_read_length(const uint8_t *data)
{
    return (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
}

static enum wire_type type_of(const struct wire_text *text)
{
    static const char *const TYPES[] = {
        [WIRE_HELLO] = "hello",   [WIRE_WELCOME] = "welcome", [WIRE_PUB] = "pub",
        [WIRE_ACK] = "ack",       [WIRE_PING] = "ping",       [WIRE_PONG] = "pong",
        [WIRE_STATUS] = "status", [WIRE_ERROR] = "error",
    };
    for (enum wire_type type = WIRE_HELLO; type < WIRE_OTHER; type++)
        if (wire_text_is(text, TYPES[type]))
            return type;
    return WIRE_OTHER;
}

enum error_code wire_read_type(struct msgpack_cursor *cursor, enum wire_type *type_out,
                               uint32_t *left_out, struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code = read_kind(cursor, MSGPACK_KIND_ARRAY, "the frame", &array, error);
    if (code)
        return code;
    if (array.count == 0)
        return error_set(error, ERROR_INVALID, "the frame is an empty array, without a type");
    struct wire_text type;
    code = read_text(cursor, "the frame's type", &type, error);
    if (code)
        return code;
    *type_out = type_of(&type);
    *left_out = array.count - 1;
    return OK;
}

/* The one element of hello, welcome: a map that ends where the frame ends. */
static enum error_code expect_map(const struct msgpack_cursor *cursor, uint32_t left,
                                  const char *type, struct error *error)
{
    enum error_code code = expect_elements(left, 1, type, error);
    if (code)
        return code;
    code = msgpack_check(cursor->at, (size_t)(cursor->end - cursor->at), EVENT_PAYLOAD_DEPTH_MAX,
                         error);
    if (code)
        return code;
    struct msgpack_cursor map = *cursor;
    struct msgpack_value value = {0};
    return read_kind(&map, MSGPACK_KIND_MAP, type, &value, error);
}

static enum error_code find_ack_mode(const struct msgpack_cursor *map, enum wire_ack_mode *mode_out,
                                     struct error *error)
{
    struct wire_text mode = {NULL, 0};
    enum error_code code = find_text(map, "ack", &mode, error);
    if (code)
        return code;
    if (!mode.text || wire_text_is(&mode, "durable"))
        *mode_out = WIRE_ACK_DURABLE;
    else if (wire_text_is(&mode, "written"))
        *mode_out = WIRE_ACK_WRITTEN;
    else if (wire_text_is(&mode, "none"))
        *mode_out = WIRE_ACK_NONE;
    else
        return error_set(error, ERROR_INVALID, "ack is none of durable, written, none");
    return OK;
}

enum error_code wire_read_hello(struct msgpack_cursor cursor, uint32_t left,
                                struct wire_hello *hello_out, struct error *error)
{
    struct wire_hello hello = {0};
    enum error_code code = expect_map(&cursor, left, "hello", error);
    if (!code)
        code = find_unsigned(&cursor, "version", &hello.version, error);
    if (!code)
        code = find_text(&cursor, "client", &hello.client, error);
    if (!code)
        code = find_text(&cursor, "producer", &hello.producer, error);
    if (!code)
        code = find_ack_mode(&cursor, &hello.ack, error);
    if (!code)
        *hello_out = hello;
    return code;
}

enum error_code wire_read_welcome(struct msgpack_cursor cursor, uint32_t left,
                                  struct wire_welcome *welcome_out, struct error *error)
{
    struct wire_welcome welcome = {0};
    enum error_code code = expect_map(&cursor, left, "welcome", error);
    if (!code)
        code = find_unsigned(&cursor, "version", &welcome.version, error);
    if (!code)
        code = find_text(&cursor, "server", &welcome.server, error);
    if (!code)
        code = find_text(&cursor, "log", &welcome.log, error);
    if (!code)
        code = find_unsigned(&cursor, "durable", &welcome.durable, error);
    if (!code)
        code = find_unsigned(&cursor, "last_number", &welcome.last_number, error);
    if (!code)
        code = find_unsigned(&cursor, "max_frame", &welcome.frame_max, error);
    if (!code)
        code = find_unsigned(&cursor, "max_events", &welcome.events_max, error);
    if (!code)
        *welcome_out = welcome;
    return code;
}

enum error_code wire_read_ping(struct msgpack_cursor cursor, uint32_t left, uint64_t *value_out,
                               struct error *error)
{
    uint64_t value = 0;
    enum error_code code = expect_elements(left, 1, "ping", error);
    if (!code)
        code = read_unsigned(&cursor, "the ping's value", &value, error);
    if (!code)
        code = expect_end(&cursor, "ping", error);
    if (!code)
        *value_out = value;
    return code;
}

enum error_code wire_read_pong(struct msgpack_cursor cursor, uint32_t left, uint64_t *value_out,
                               uint64_t *durable_out, struct error *error)
{
    uint64_t value = 0, durable = 0;
    enum error_code code = expect_elements(left, 2, "pong", error);
    if (!code)
        code = read_unsigned(&cursor, "the pong's value", &value, error);
    if (!code)
        code = read_unsigned(&cursor, "the pong's durable sequence", &durable, error);
    if (!code)
        code = expect_end(&cursor, "pong", error);
    if (code)
        return code;
    *value_out = value;
    *durable_out = durable;
    return OK;
}

enum error_code wire_read_error(struct msgpack_cursor cursor, uint32_t left,
                                struct wire_error *error_out, struct error *error)
{
    struct wire_error read = {0};
    enum error_code code = expect_elements(left, 2, "error", error);
    if (!code)
        code = read_text(&cursor, "the error's code", &read.code, error);
    if (!code)
        code = read_text(&cursor, "the error's text", &read.text, error);
    if (!code)
        *error_out = read;
    return code;
}

enum error_code wire_read_ack(struct msgpack_cursor cursor, uint32_t left, struct wire_ack *ack_out,
                              struct error *error)
{
    struct wire_ack ack = {0};
    struct msgpack_value refused = {0};
    enum error_code code = expect_elements(left, 6, "ack", error);
    if (!code)
        code = read_unsigned(&cursor, "the ack's id", &ack.id, error);
    if (!code)
        code = read_unsigned(&cursor, "the ack's stored", &ack.stored, error);
    if (!code)
        code = read_unsigned(&cursor, "the ack's first sequence", &ack.sequence_first, error);
    if (!code)
        code = read_unsigned(&cursor, "the ack's last sequence", &ack.sequence_last, error);
    if (!code)
        code = read_unsigned(&cursor, "the ack's duplicates", &ack.duplicates, error);
    if (!code)
        code = read_kind(&cursor, MSGPACK_KIND_ARRAY, "the ack's refused", &refused, error);
    if (code)
        return code;
    ack.refused = refused.count;
    ack.refusals = cursor;
    *ack_out = ack;
    return OK;
}

enum error_code wire_read_refusal(struct msgpack_cursor *refusals, struct wire_refusal *refusal_out,
                                  struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code = read_kind(refusals, MSGPACK_KIND_ARRAY, "a refusal", &array, error);
    if (!code)
        code = expect_elements(array.count, 3, "refusal", error);
    struct wire_refusal refusal;
    if (!code)
        code = read_unsigned(refusals, "a refusal's index", &refusal.index, error);
    if (!code)
        code = read_text(refusals, "a refusal's code", &refusal.code, error);
    if (!code)
        code = read_text(refusals, "a refusal's reason", &refusal.reason, error);
    if (!code)
        *refusal_out = refusal;
    return code;
}

/* ---- pub ---- */

static enum error_code read_time(struct msgpack_cursor *cursor, int64_t *time_ns_out,
                                 struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = msgpack_read(cursor, &value, error);
    if (code) {
        error_prefix(error, "the time");
        return code;
    }
    if (value.kind == MSGPACK_KIND_NIL)
        *time_ns_out = EVENT_TIME_NONE;
    else if (value.kind == MSGPACK_KIND_INT && value.signed_ != EVENT_TIME_NONE)
        *time_ns_out = value.signed_;
    else if (value.kind == MSGPACK_KIND_UINT && value.unsigned_ <= INT64_MAX)
        *time_ns_out = (int64_t)value.unsigned_;
    else if (value.kind == MSGPACK_KIND_UINT || value.kind == MSGPACK_KIND_INT)
        return error_set(error, ERROR_INVALID, "the time is out of range");
    else
        return error_set(error, ERROR_INVALID,
                         "the time is %s; give nanoseconds since 1970 as an integer, or nil",
                         kind_name(value.kind));
    return OK;
}

static enum error_code read_payload(struct msgpack_cursor *cursor, uint64_t *values_left,
                                    struct event *event, struct error *error)
{
    const uint8_t *start = cursor->at;
    enum error_code code = msgpack_skip_within(cursor, values_left, error);
    if (code) {
        error_prefix(error, "the payload");
        return code;
    }
    event->payload = start;
    event->payload_bytes = (size_t)(cursor->at - start);
    return OK;
}

static enum error_code read_number(struct msgpack_cursor *cursor, uint32_t elements, bool numbered,
                                   uint64_t number_before, struct event *event, struct error *error)
{
    event->number = 0;
    if (elements == 3 && !numbered)
        return OK;
    if (elements == 3)
        return error_set(error, ERROR_INVALID,
                         "the number is missing, which hello's producer requires");
    if (!numbered)
        return error_set(error, ERROR_INVALID,
                         "there is a number, but hello named no producer to count for");
    enum error_code code = read_unsigned(cursor, "the number", &event->number, error);
    if (code)
        return code;
    if (event->number <= number_before)
        return error_set(error, ERROR_INVALID, "the number %llu is not above %llu before it",
                         (unsigned long long)event->number, (unsigned long long)number_before);
    return OK;
}

static enum error_code read_event(struct msgpack_cursor *cursor, const struct wire_text *producer,
                                  uint64_t number_before, uint64_t *values_left,
                                  struct event *event, struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code = read_kind(cursor, MSGPACK_KIND_ARRAY, "it", &array, error);
    if (code)
        return code;
    if (array.count != 3 && array.count != 4)
        return error_set(error, ERROR_INVALID,
                         "it has %u elements; an event is [topic, time, payload] or "
                         "[topic, time, payload, number]",
                         array.count);
    struct wire_text topic;
    code = read_text(cursor, "the topic", &topic, error);
    if (!code)
        code = read_time(cursor, &event->time_ns, error);
    if (!code)
        code = read_payload(cursor, values_left, event, error);
    if (!code)
        code = read_number(cursor, array.count, producer->bytes > 0, number_before, event, error);
    if (code)
        return code;
    event->sequence = 0;
    event->topic = topic.text;
    event->topic_bytes = topic.bytes;
    event->producer = producer->text;
    event->producer_bytes = producer->bytes;
    return OK;
}

static enum error_code read_pub_head(struct msgpack_cursor *cursor, uint32_t left, uint64_t *id_out,
                                     uint32_t *count_out, struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code = expect_elements(left, 2, "pub", error);
    if (!code)
        code = read_unsigned(cursor, "the pub's id", id_out, error);
    if (!code)
        code = read_kind(cursor, MSGPACK_KIND_ARRAY, "the pub's events", &array, error);
    if (code)
        return code;
    if (array.count > WIRE_EVENTS_MAX)
        return error_set(error, ERROR_INVALID, "a pub of %u events; at most %d are allowed",
                         array.count, WIRE_EVENTS_MAX);
    *count_out = array.count;
    return OK;
}

enum error_code wire_read_pub_within(struct msgpack_cursor cursor, uint32_t left,
                                     const struct wire_text *producer, uint64_t values_max,
                                     struct event *events, struct wire_pub *pub_out,
                                     struct error *error)
{
    struct wire_pub pub = {0};
    enum error_code code = read_pub_head(&cursor, left, &pub.id, &pub.event_count, error);
    if (code)
        return code;
    uint64_t number_before = 0;
    for (uint32_t i = 0; i < pub.event_count; i++) {
        struct event *event = &events[i];
        code = read_event(&cursor, producer, number_before, &values_max, event, error);
        if (code) {
            error_prefix(error, "event %u", i);
            return code;
        }
        number_before = event->number;
        pub.event_bytes += event->topic_bytes + event->payload_bytes;
    }
    code = expect_end(&cursor, "pub", error);
    if (!code)
        *pub_out = pub;
    return code;
}

enum error_code wire_read_pub(struct msgpack_cursor cursor, uint32_t left,
                              const struct wire_text *producer, struct event *events,
                              struct wire_pub *pub_out, struct error *error)
{
    return wire_read_pub_within(cursor, left, producer, UINT64_MAX, events, pub_out, error);
}
