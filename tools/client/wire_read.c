#include <string.h>

#include "tools/client/wire_element.h"

bool wire_text_is(const struct wire_text *text, const char *word)
{
    return text->bytes == strlen(word) && memcmp(text->text, word, text->bytes) == 0;
}

size_t wire_read_length(const uint8_t *data)
{
    return (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
}

static enum wire_type type_of(const struct wire_text *text)
{
    static const char *const TYPES[] = {
        [WIRE_HELLO] = "hello",         [WIRE_WELCOME] = "welcome",
        [WIRE_PUB] = "pub",             [WIRE_ACK] = "ack",
        [WIRE_PING] = "ping",           [WIRE_PONG] = "pong",
        [WIRE_STATUS] = "status",       [WIRE_ERROR] = "error",
        [WIRE_SUBSCRIBE] = "subscribe", [WIRE_SUBSCRIBED] = "subscribed",
        [WIRE_EVENTS] = "events",       [WIRE_CAUGHT_UP] = "caught_up",
        [WIRE_LOST] = "lost",           [WIRE_CREDIT] = "credit",
        [WIRE_COMMIT] = "commit",       [WIRE_COMMITTED] = "committed",
        [WIRE_ACCEPT] = "accept",       [WIRE_RELEASE] = "release",
        [WIRE_SETTLED] = "settled",     [WIRE_CURSORS] = "cursors",
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
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_ARRAY, "the frame", &array, error);
    if (code)
        return code;
    if (array.count == 0)
        return error_set(error, ERROR_INVALID, "the frame is an empty array, without a type");
    struct wire_text type;
    code = wire_read_text(cursor, "the frame's type", &type, error);
    if (code)
        return code;
    *type_out = type_of(&type);
    *left_out = array.count - 1;
    return OK;
}

static enum error_code find_ack_mode(const struct msgpack_cursor *map, enum wire_ack_mode *mode_out,
                                     struct error *error)
{
    struct wire_text mode = {NULL, 0};
    enum error_code code = wire_find_text(map, "ack", &mode, error);
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
    enum error_code code = wire_expect_map(&cursor, left, "hello", error);
    if (!code)
        code = wire_find_unsigned(&cursor, "version", &hello.version, error);
    if (!code)
        code = wire_find_text(&cursor, "client", &hello.client, error);
    if (!code)
        code = wire_find_text(&cursor, "producer", &hello.producer, error);
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
    enum error_code code = wire_expect_map(&cursor, left, "welcome", error);
    if (!code)
        code = wire_find_unsigned(&cursor, "version", &welcome.version, error);
    if (!code)
        code = wire_find_text(&cursor, "server", &welcome.server, error);
    if (!code)
        code = wire_find_text(&cursor, "log", &welcome.log, error);
    if (!code)
        code = wire_find_unsigned(&cursor, "durable", &welcome.durable, error);
    if (!code)
        code = wire_find_unsigned(&cursor, "last_number", &welcome.last_number, error);
    if (!code)
        code = wire_find_unsigned(&cursor, "max_frame", &welcome.frame_max, error);
    if (!code)
        code = wire_find_unsigned(&cursor, "max_events", &welcome.events_max, error);
    if (!code)
        *welcome_out = welcome;
    return code;
}

enum error_code wire_read_ping(struct msgpack_cursor cursor, uint32_t left, uint64_t *value_out,
                               struct error *error)
{
    uint64_t value = 0;
    enum error_code code = wire_expect_elements(left, 1, "ping", error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the ping's value", &value, error);
    if (!code)
        code = wire_expect_end(&cursor, "ping", error);
    if (!code)
        *value_out = value;
    return code;
}

enum error_code wire_read_pong(struct msgpack_cursor cursor, uint32_t left, uint64_t *value_out,
                               uint64_t *durable_out, struct error *error)
{
    uint64_t value = 0, durable = 0;
    enum error_code code = wire_expect_elements(left, 2, "pong", error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the pong's value", &value, error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the pong's durable sequence", &durable, error);
    if (!code)
        code = wire_expect_end(&cursor, "pong", error);
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
    enum error_code code = wire_expect_elements(left, 2, "error", error);
    if (!code)
        code = wire_read_text(&cursor, "the error's code", &read.code, error);
    if (!code)
        code = wire_read_text(&cursor, "the error's text", &read.text, error);
    if (!code)
        *error_out = read;
    return code;
}

enum error_code wire_read_ack(struct msgpack_cursor cursor, uint32_t left, struct wire_ack *ack_out,
                              struct error *error)
{
    struct wire_ack ack = {0};
    struct msgpack_value refused = {0};
    enum error_code code = wire_expect_elements(left, 6, "ack", error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the ack's id", &ack.id, error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the ack's stored", &ack.stored, error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the ack's first sequence", &ack.sequence_first, error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the ack's last sequence", &ack.sequence_last, error);
    if (!code)
        code = wire_read_unsigned(&cursor, "the ack's duplicates", &ack.duplicates, error);
    if (!code)
        code = wire_read_kind(&cursor, MSGPACK_KIND_ARRAY, "the ack's refused", &refused, error);
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
    enum error_code code = wire_read_kind(refusals, MSGPACK_KIND_ARRAY, "a refusal", &array, error);
    if (!code)
        code = wire_expect_elements(array.count, 3, "refusal", error);
    struct wire_refusal refusal;
    if (!code)
        code = wire_read_unsigned(refusals, "a refusal's index", &refusal.index, error);
    if (!code)
        code = wire_read_text(refusals, "a refusal's code", &refusal.code, error);
    if (!code)
        code = wire_read_text(refusals, "a refusal's reason", &refusal.reason, error);
    if (!code)
        *refusal_out = refusal;
    return code;
}

/* ---- pub ---- */

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
    enum error_code code = wire_read_unsigned(cursor, "the number", &event->number, error);
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
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_ARRAY, "it", &array, error);
    if (code)
        return code;
    if (array.count != 3 && array.count != 4)
        return error_set(error, ERROR_INVALID,
                         "it has %u elements; an event is [topic, time, payload] or "
                         "[topic, time, payload, number]",
                         array.count);
    struct wire_text topic;
    code = wire_read_text(cursor, "the topic", &topic, error);
    if (!code)
        code = wire_read_time(cursor, &event->time_ns, error);
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
    enum error_code code = left == 3 ? OK : wire_expect_elements(left, 2, "pub", error);
    if (!code)
        code = wire_read_unsigned(cursor, "the pub's id", id_out, error);
    if (!code)
        code = wire_read_kind(cursor, MSGPACK_KIND_ARRAY, "the pub's events", &array, error);
    if (code)
        return code;
    if (array.count > WIRE_EVENTS_MAX)
        return error_set(error, ERROR_INVALID, "a pub of %u events; at most %d are allowed",
                         array.count, WIRE_EVENTS_MAX);
    *count_out = array.count;
    return OK;
}

/* An expectation that was not understood, and so not looked at, would do harm: no other keys. */
static enum error_code read_expectation(struct msgpack_cursor *cursor,
                                        struct wire_expectation *expected_out, struct error *error)
{
    struct wire_expectation expected = {0};
    struct msgpack_value map = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_MAP, "what the pub expects", &map,
                                          error);
    for (uint32_t i = 0; i < map.count && !code; i++) {
        struct wire_text key;
        code = wire_read_text(cursor, "a key of what the pub expects", &key, error);
        if (code)
            return code;
        bool last = wire_text_is(&key, "expect_last");
        if (!last && !wire_text_is(&key, "expect_topic"))
            return error_set(error, ERROR_INVALID,
                             "the pub expects '%.*s', which is none of expect_last, expect_topic",
                             key.bytes < 64 ? (int)key.bytes : 64, key.text);
        if (last ? expected.given : expected.topic.text != NULL)
            return error_set(error, ERROR_INVALID, "the pub says %s twice",
                             last ? "expect_last" : "expect_topic");
        if (last)
            code = wire_read_unsigned(cursor, "expect_last", &expected.last, error);
        else
            code = wire_read_text(cursor, "expect_topic", &expected.topic, error);
        expected.given |= last;
    }
    if (!code && !expected.given)
        code = error_set(error, ERROR_INVALID, "the pub expects something, but no expect_last");
    if (!code)
        *expected_out = expected;
    return code;
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
    if (left == 3)
        code = read_expectation(&cursor, &pub.expected, error);
    if (!code && pub.expected.given && pub.event_count == 0)
        code = error_set(error, ERROR_INVALID, "the pub expects something for no events");
    if (!code)
        code = wire_expect_end(&cursor, "pub", error);
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
