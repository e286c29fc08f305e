/*
 * The line mode, as docs/protocol.md tells it: one JSON event a line, one line of answer for each.
 */
#include "tools/daybookd/line.h"

#include <string.h>

#include "core/units.h"
#include "tools/daybookd/connection.h"
#include "tools/daybookd/intake.h"
#include "tools/daybookd/server.h"

enum { LINE_BYTES_MAX = 2097152 };

/* ---- Answers ---- */

static void answer_stored(struct connection *connection, uint64_t sequence)
{
    enum error_code code =
        buffer_printf(&connection->answers.bytes, NULL, "{\"ok\":true,\"seq\":%llu}\n",
                      (unsigned long long)sequence);
    connection_answer(connection, code, sequence);
}

static void answer_duplicate(struct connection *connection, uint64_t sequence)
{
    static const char ANSWER[] = "{\"ok\":true,\"duplicate\":true}\n";
    enum error_code code =
        buffer_append(&connection->answers.bytes, ANSWER, sizeof ANSWER - 1, NULL);
    connection_answer(connection, code, sequence);
}

/* A program has to tell a conflict, behind which it reads on, from what is wrong for good. */
static void answer_refused(struct connection *connection, const struct error *why)
{
    struct buffer *out = &connection->answers.bytes;
    enum error_code code = buffer_printf(out, NULL, "{\"ok\":false,\"error\":");
    if (!code)
        code = json_append_string(out, why->text, strlen(why->text), NULL);
    if (!code && why->code == ERROR_CONFLICT)
        code = buffer_printf(out, NULL, ",\"code\":\"%s\"", error_name(why->code));
    if (!code)
        code = buffer_printf(out, NULL, ",\"line\":%llu}\n",
                             (unsigned long long)connection->lines.count);
    connection_answer(connection, code, 0);
}

/* ---- One line's object ---- */

enum line_key {
    KEY_TOPIC,
    KEY_PAYLOAD,
    KEY_TIME,
    KEY_PRODUCER,
    KEY_NUMBER,
    KEY_SEQ,
    KEY_EXPECT_LAST,
    KEY_EXPECT_TOPIC,
    KEY_COUNT,
};
static const char *const KEYS[KEY_COUNT] = {
    [KEY_TOPIC] = "topic",
    [KEY_PAYLOAD] = "payload",
    [KEY_TIME] = "time",
    [KEY_PRODUCER] = "producer",
    [KEY_NUMBER] = "number",
    [KEY_SEQ] = "seq",
    [KEY_EXPECT_LAST] = "expect_last",
    [KEY_EXPECT_TOPIC] = "expect_topic",
};

/* Each key's value: a cursor over exactly its bytes; at is NULL where it is absent. */
struct line_values {
    struct msgpack_cursor of[KEY_COUNT];
};

static enum error_code find_key(const struct msgpack_value *name, enum line_key *key_out,
                                struct error *error)
{
    for (enum line_key key = 0; key < KEY_COUNT; key++)
        if (name->count == strlen(KEYS[key]) && memcmp(name->bytes, KEYS[key], name->count) == 0) {
            *key_out = key;
            return OK;
        }
    return error_set(error, ERROR_INVALID,
                     "the key \"%.*s\" is none of topic, payload, time, producer, number, "
                     "expect_last, expect_topic",
                     name->count < 64 ? (int)name->count : 64, (const char *)name->bytes);
}

static enum error_code read_values(const struct buffer *object, struct line_values *values_out,
                                   struct error *error)
{
    struct msgpack_cursor cursor = {object->data, object->data + object->size};
    struct msgpack_value map = {0};
    enum error_code code = msgpack_read(&cursor, &map, error);
    if (code)
        return code;
    if (map.kind != MSGPACK_KIND_MAP)
        return error_set(error, ERROR_INVALID, "the line is not a JSON object");

    struct line_values values = {0};
    for (uint32_t i = 0; i < map.count; i++) {
        struct msgpack_value name = {0};
        enum line_key key = KEY_COUNT;
        code = msgpack_read(&cursor, &name, error);
        if (!code)
            code = find_key(&name, &key, error);
        if (code)
            return code;
        if (values.of[key].at)
            return error_set(error, ERROR_INVALID, "the key \"%s\" is there twice", KEYS[key]);
        values.of[key].at = cursor.at;
        code = msgpack_skip(&cursor, error);
        if (code)
            return code;
        values.of[key].end = cursor.at;
    }
    *values_out = values;
    return OK;
}

static enum error_code read_string(struct msgpack_cursor at, const char *key, const char **text_out,
                                   size_t *bytes_out, struct error *error)
{
    struct msgpack_value value = {0};
    if (!at.at)
        return error_set(error, ERROR_INVALID, "the key \"%s\" is missing", key);
    enum error_code code = msgpack_read(&at, &value, error);
    if (code)
        return code;
    if (value.kind != MSGPACK_KIND_STR)
        return error_set(error, ERROR_INVALID, "\"%s\" is not a string", key);
    *text_out = value.bytes;
    *bytes_out = value.count;
    return OK;
}

static enum error_code read_time(struct msgpack_cursor at, int64_t *time_ns_out,
                                 struct error *error)
{
    struct msgpack_value value = {0};
    enum error_code code = msgpack_read(&at, &value, error);
    if (code || value.kind == MSGPACK_KIND_NIL)
        return code;
    return units_data_time_from_value(&value, time_ns_out, error);
}

/* Both or none: a name without a number could not tell a retry, a number without a name no one. */
static enum error_code read_origin(const struct line_values *values, struct event *event,
                                   struct error *error)
{
    struct msgpack_cursor number = values->of[KEY_NUMBER];
    if (!values->of[KEY_PRODUCER].at && !number.at)
        return OK;
    if (!number.at)
        return error_set(error, ERROR_INVALID, "\"producer\" needs a \"number\" with it");
    enum error_code code = read_string(values->of[KEY_PRODUCER], "producer", &event->producer,
                                       &event->producer_bytes, error);
    if (code)
        return code;
    struct msgpack_value value = {0};
    code = msgpack_read(&number, &value, error);
    if (code)
        return code;
    if (value.kind != MSGPACK_KIND_UINT || value.unsigned_ == 0)
        return error_set(error, ERROR_INVALID, "\"number\" is not an integer from 1");
    event->number = value.unsigned_;
    return event_check_producer(event->producer, event->producer_bytes, error);
}

static enum error_code read_expectation(const struct line_values *values,
                                        struct wire_expectation *expected_out, struct error *error)
{
    struct wire_expectation expected = {0};
    struct msgpack_cursor last = values->of[KEY_EXPECT_LAST];
    struct msgpack_value value = {0};
    enum error_code code = OK;
    if (values->of[KEY_EXPECT_TOPIC].at)
        code = read_string(values->of[KEY_EXPECT_TOPIC], "expect_topic", &expected.topic.text,
                           &expected.topic.bytes, error);
    if (!code && last.at) {
        expected.given = true;
        code = msgpack_read(&last, &value, error);
        if (!code && value.kind != MSGPACK_KIND_UINT)
            code = error_set(error, ERROR_INVALID, "\"expect_last\" is not an integer from 0");
        expected.last = value.unsigned_;
    }
    if (!code)
        code = expectation_check(&expected, error);
    if (!code)
        *expected_out = expected;
    return code;
}

static enum error_code read_event(const struct buffer *object, struct line_said *said_out,
                                  struct error *error)
{
    struct line_values values = {0};
    struct wire_expectation expected = {0};
    struct event event = {.time_ns = EVENT_TIME_NONE};
    enum error_code code = read_values(object, &values, error);
    if (!code)
        code = read_string(values.of[KEY_TOPIC], "topic", &event.topic, &event.topic_bytes, error);
    if (!code && !values.of[KEY_PAYLOAD].at)
        code = error_set(error, ERROR_INVALID, "the key \"payload\" is missing");
    if (!code && values.of[KEY_TIME].at) {
        code = read_time(values.of[KEY_TIME], &event.time_ns, error);
        if (code)
            error_prefix(error, "\"time\"");
    }
    if (!code)
        code = read_origin(&values, &event, error);
    if (!code)
        code = read_expectation(&values, &expected, error);
    if (code)
        return code;
    event.payload = values.of[KEY_PAYLOAD].at;
    event.payload_bytes = (size_t)(values.of[KEY_PAYLOAD].end - values.of[KEY_PAYLOAD].at);
    *said_out = (struct line_said){event, expected};
    return OK;
}

/* ---- Lines ---- */

/* Numbers given here would make those of the producer's own connection pass for duplicates. */
static enum error_code check_owner(const struct connection *connection, const struct event *event,
                                   struct error *error)
{
    if (event->producer_bytes == 0)
        return OK;
    const struct connection *owner =
        server_find_producer(connection->server, event->producer, event->producer_bytes);
    if (!owner)
        return OK;
    return error_set(
        error, ERROR_INVALID,
        "producer '%.*s' is connected (pid %d); only its own connection may number its "
        "events, so wait until it has gone, or use another name",
        (int)event->producer_bytes, event->producer, (int)owner->peer.pid);
}

/* Of one that is in the log already there is nothing to expect: it is behind us. */
static bool is_repeated(struct connection *connection, const struct event *event)
{
    uint64_t last = 0;
    return event->producer_bytes > 0 &&
           server_log_find_producer(connection->server, event->producer, event->producer_bytes,
                                    &last, NULL) == OK &&
           event->number <= last;
}

static enum intake_fate take_in(struct connection *connection, const struct line_said *said,
                                const struct intake_known *known, uint64_t *sequence_out,
                                struct error *error)
{
    struct intake *intake = server_intake(connection->server);
    size_t culprit;
    if (!said->expected.given || is_repeated(connection, &said->event))
        return intake_take(intake, &said->event, known, true, sequence_out, error);
    return intake_take_together(intake, &said->event, 1, known, &said->expected, sequence_out,
                                &culprit, error);
}

static enum take store(struct connection *connection, const struct line_said *said,
                       const struct intake_known *known)
{
    struct error error;
    uint64_t sequence;
    switch (take_in(connection, said, known, &sequence, &error)) {
    case INTAKE_STORED:
        answer_stored(connection, sequence);
        return TAKE_DONE;
    case INTAKE_DUPLICATE:
        answer_duplicate(connection, sequence);
        return TAKE_DONE;
    case INTAKE_REFUSED:
        answer_refused(connection, &error);
        return TAKE_DONE;
    case INTAKE_UNABLE:
    case INTAKE_FAILED:
        break;
    }
    answer_refused(connection, &error);
    if (said->event.producer_bytes == 0)
        return TAKE_DONE;
    /* As in session.c: nothing with a higher number may be stored behind a refusal for now. */
    connection->closing = true;
    return TAKE_STOP;
}

enum error_code line_read(struct json_reader *json, const char *text, size_t bytes,
                          struct buffer *converted, struct line_said *said_out,
                          struct error *error)
{
    enum error_code code =
        json_to_msgpack(json, text, bytes, EVENT_PAYLOAD_DEPTH_MAX + 1, converted, error);
    return code ? code : read_event(converted, said_out, error);
}

/* What the line says, or why it says nothing; also counts it, unless the log has no room. */
static enum take take_event(struct connection *connection, const struct line_said *said,
                            const struct intake_known *known, const struct error *fault)
{
    struct intake *intake = server_intake(connection->server);
    const struct event *event = &said->event;
    struct error error = *fault;
    if (!error.code)
        check_owner(connection, event, &error);
    if (!error.code &&
        !intake_has_room(intake, 1,
                         event->topic_bytes + event->payload_bytes + event->producer_bytes))
        return TAKE_STALL;
    connection->lines.count++;
    if (error.code) {
        intake->refused++;
        answer_refused(connection, &error);
        return TAKE_DONE;
    }
    connection->events++;
    return store(connection, said, known);
}

static enum take take_examined(struct connection *connection, const struct examiner_result *result)
{
    struct intake *intake = server_intake(connection->server);
    const struct line_said said = {result->events[0], result->expected};
    expectations_take(intake->expectations, result->past);
    uint64_t through = result->code ? 0 : intake_wants_past(intake, &said.expected);
    if (through > server_log_sequence(connection->server, false))
        return TAKE_STALL;
    if (through > 0) {
        connection->examination.past_through = through;
        server_forget_result(connection->server, connection);
        return TAKE_AWAY;
    }
    enum take take = take_event(connection, &said, &result->known[0],
                                result->code ? &result->error : &(struct error){0});
    if (take != TAKE_STALL)
        server_forget_result(connection->server, connection);
    return take;
}

/* {"subscribe": …} and nothing else: what is in it is for the bus to judge. */
static bool is_subscription(const struct buffer *object)
{
    struct msgpack_cursor cursor = {object->data, object->data + object->size};
    struct msgpack_cursor map = cursor, value;
    struct msgpack_value head = {0};
    return object->size > 0 && !msgpack_read(&map, &head, NULL) &&
           head.kind == MSGPACK_KIND_MAP && head.count == 1 &&
           !msgpack_find(&cursor, "subscribe", &value, NULL);
}

/* It takes long, or something has to be read first: beside everything else. */
static enum take take_away(struct connection *connection, const char *text, size_t bytes,
                           uint64_t past_through)
{
    connection->examination = (struct examiner_job){
        .is_line = true,
        .data = (const uint8_t *)text,
        .size = bytes,
        .gate = server_intake(connection->server)->gate,
        .directory = server_directory(connection->server),
        .past_through = past_through,
    };
    return TAKE_AWAY;
}

/* One line, without its newline. */
static enum take take_text(struct connection *connection, const char *text, size_t bytes)
{
    const struct examiner_result *result = server_result(connection->server, connection);
    if (result)
        return take_examined(connection, result);
    if (json_is_blank(text, bytes)) {
        connection->lines.count++;
        return TAKE_DONE;
    }
    if (bytes > EXAMINER_LINE_BYTES)
        return take_away(connection, text, bytes, 0);
    struct intake *intake = server_intake(connection->server);
    struct line_said said = {0};
    struct error error = {0};
    intake->converted.size = 0;
    if (line_read(intake->json, text, bytes, &intake->converted, &said, &error) &&
        is_subscription(&intake->converted))
        return TAKE_LEAVE;
    uint64_t through = error.code ? 0 : intake_wants_past(intake, &said.expected);
    if (through > server_log_sequence(connection->server, false))
        return TAKE_STALL; /* it is about to become durable */
    if (through > 0)
        return take_away(connection, text, bytes, through);
    return take_event(connection, &said, NULL, &error);
}

static void refuse_long_line(struct connection *connection)
{
    struct error error;
    error_set(&error, ERROR_INVALID, "the line is longer than %d bytes", LINE_BYTES_MAX);
    server_intake(connection->server)->refused++;
    connection->lines.count++;
    answer_refused(connection, &error);
}

/* No newline yet: wait for it, or, when the line is too long already, give it up. */
static enum take take_part(struct connection *connection, size_t size, size_t *bytes_out)
{
    struct lines *lines = &connection->lines;
    if (!lines->skipping && size <= LINE_BYTES_MAX) {
        lines->searched = size;
        *bytes_out = size + 1;
        return TAKE_MORE;
    }
    if (!lines->skipping)
        refuse_long_line(connection);
    lines->skipping = true;
    lines->searched = 0;
    *bytes_out = size;
    return TAKE_DONE;
}

enum take line_take(struct connection *connection, const uint8_t *data, size_t size,
                    size_t *bytes_out)
{
    struct lines *lines = &connection->lines;
    const uint8_t *newline = memchr(data + lines->searched, '\n', size - lines->searched);
    if (!newline)
        return take_part(connection, size, bytes_out);

    size_t bytes = (size_t)(newline - data);
    *bytes_out = bytes + 1;
    enum take take = TAKE_DONE;
    if (lines->skipping)
        lines->skipping = false;
    else if (bytes > LINE_BYTES_MAX)
        refuse_long_line(connection);
    else
        take = take_text(connection, (const char *)data, bytes);
    lines->searched = take == TAKE_STALL || take == TAKE_AWAY ? bytes : 0;
    return take;
}

enum take line_take_last(struct connection *connection, const uint8_t *data, size_t size)
{
    if (connection->lines.skipping)
        return TAKE_DONE;
    return take_text(connection, (const char *)data, size);
}
