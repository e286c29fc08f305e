/*
 * The framed protocol, as docs/protocol.md tells it: hello, then pub, ping and status in any order;
 * or a request of a subscriber, whose connection goes to the bus.
 */
#include <string.h>

#include "tools/client/daybook.h"
#include "tools/daybookd/connection.h"
#include "tools/daybookd/intake.h"
#include "tools/daybookd/server.h"
#include "tools/daybookd/session_pub.h"

enum { HELLO_BYTES_MAX = 4096 }; /* who has not said hello gets no large buffer */

static enum take stop(struct connection *connection, const char *code, const char *text)
{
    connection_fail(connection, code, text);
    return TAKE_STOP;
}

/* ---- hello ---- */

static void welcome(struct connection *connection, uint64_t last_number)
{
    struct server *server = connection->server;
    static const char SERVER[] = "daybookd " DAYBOOK_VERSION;
    struct wire_welcome answer = {
        .version = WIRE_VERSION,
        .server = {SERVER, sizeof SERVER - 1},
        .log = {server_log_id_text(server), WIRE_LOG_ID_TEXT},
        .durable = server_log_sequence(server, false),
        .last_number = last_number,
        .frame_max = WIRE_FRAME_MAX,
        .events_max = WIRE_EVENTS_MAX,
    };
    enum error_code code = wire_write_welcome(&connection->answers.bytes, &answer, NULL);
    connection_answer(connection, code, 0);
}

static enum take greet(struct connection *connection, const struct wire_hello *hello)
{
    uint64_t last_number;
    struct error error;
    struct session *session = &connection->session;
    session->welcomed = true;
    session->ack = hello->ack;
    session->producer_bytes = hello->producer.bytes;
    if (hello->producer.bytes > 0) {
        memcpy(session->producer, hello->producer.text, hello->producer.bytes);
        server_fence(connection->server, connection);
    }
    if (hello->ack == WIRE_ACK_WRITTEN)
        server_count_written(connection->server, 1);
    notices_line(server_notices(connection->server), REPORT_INFO,
                 "connection %llu: hello from %.*s, producer %.*s",
                 (unsigned long long)connection->number,
                 hello->client.bytes < 64 ? (int)hello->client.bytes : 64,
                 hello->client.text ? hello->client.text : "",
                 hello->producer.text ? (int)hello->producer.bytes : 4,
                 hello->producer.text ? hello->producer.text : "none");
    /* Behind the fence: what the connection before has sent is taken, or never will be. */
    if (server_log_find_producer(connection->server, session->producer, session->producer_bytes,
                                 &last_number, &error))
        return stop(connection, "io", error.text);
    welcome(connection, last_number);
    return TAKE_DONE;
}

/*
 * The newest connection of a name wins, so that a program can take over from itself; but a name
 * that is in use by one user is not for another to take.
 */
static enum error_code check_owner(const struct connection *connection,
                                   const struct wire_hello *hello, struct error *error)
{
    if (hello->producer.bytes == 0 || connection->peer.uid == 0)
        return OK;
    const struct connection *owner =
        server_find_producer(connection->server, hello->producer.text, hello->producer.bytes);
    if (!owner || owner->peer.uid == connection->peer.uid)
        return OK;
    return error_set(error, ERROR_BUSY,
                     "producer '%.*s' is connected, as user %u; use another name, or wait until it "
                     "has gone",
                     (int)hello->producer.bytes, hello->producer.text, (unsigned)owner->peer.uid);
}

static enum take take_hello(struct connection *connection, struct msgpack_cursor cursor,
                            uint32_t left)
{
    struct wire_hello hello;
    struct error error;
    if (wire_read_hello(cursor, left, &hello, &error)) {
        error_prefix(&error, "hello");
        return stop(connection, "invalid", error.text);
    }
    if (hello.version != WIRE_VERSION) {
        error_set(&error, ERROR_VERSION, "this daemon speaks version %d, not version %llu",
                  WIRE_VERSION, (unsigned long long)hello.version);
        return stop(connection, "version", error.text);
    }
    if (hello.producer.text &&
        event_check_producer(hello.producer.text, hello.producer.bytes, &error))
        return stop(connection, "invalid", error.text);
    if (check_owner(connection, &hello, &error))
        return stop(connection, "taken", error.text);
    return greet(connection, &hello);
}

/* ---- ping, status ---- */

static enum take take_ping(struct connection *connection, struct msgpack_cursor cursor,
                           uint32_t left)
{
    uint64_t value;
    struct error error;
    if (wire_read_ping(cursor, left, &value, &error))
        return stop(connection, "malformed", error.text);
    enum error_code code = wire_write_pong(&connection->answers.bytes, value,
                                           server_log_sequence(connection->server, false), NULL);
    connection_answer(connection, code, 0);
    return TAKE_DONE;
}

static enum take take_status(struct connection *connection)
{
    struct buffer map = {0};
    enum error_code code = server_write_status(connection->server, &map, NULL);
    if (!code)
        code = wire_write_status(&connection->answers.bytes, &map, NULL);
    buffer_release(&map);
    connection_answer(connection, code, 0);
    return TAKE_DONE;
}

/* ---- frames ---- */

static enum take take_welcomed(struct connection *connection, enum wire_type type,
                               struct msgpack_cursor cursor, uint32_t left)
{
    switch (type) {
    case WIRE_PUB:
        return session_take_pub(connection, cursor, left);
    case WIRE_PING:
        return take_ping(connection, cursor, left);
    case WIRE_STATUS:
        return take_status(connection);
    case WIRE_SUBSCRIBE:
    case WIRE_CURSORS:
        return TAKE_LEAVE;
    case WIRE_HELLO:
        return stop(connection, "malformed", "a second hello");
    default:
        return stop(connection, "unsupported", "a frame of a type that this daemon does not know");
    }
}

static enum take take_frame(struct connection *connection, struct msgpack_cursor cursor)
{
    enum wire_type type;
    uint32_t left;
    struct error error;
    if (wire_read_type(&cursor, &type, &left, &error))
        return stop(connection, "malformed", error.text);
    if (connection->session.welcomed)
        return take_welcomed(connection, type, cursor, left);
    if (type != WIRE_HELLO)
        return stop(connection, "expected_hello", "the first frame is not a hello");
    return take_hello(connection, cursor, left);
}

enum take session_take(struct connection *connection, const uint8_t *data, size_t size,
                       size_t *bytes_out)
{
    if (size < WIRE_LENGTH_BYTES) {
        *bytes_out = WIRE_LENGTH_BYTES;
        return TAKE_MORE;
    }
    size_t length = wire_read_length(data);
    size_t length_max = connection->session.welcomed ? WIRE_FRAME_MAX : HELLO_BYTES_MAX;
    if (length > length_max) {
        struct error error;
        error_set(&error, ERROR_INVALID, "a frame of %zu bytes; at most %zu are allowed%s", length,
                  length_max, connection->session.welcomed ? "" : " before the welcome");
        return stop(connection, "too_large", error.text);
    }
    *bytes_out = WIRE_LENGTH_BYTES + length;
    if (size < *bytes_out)
        return TAKE_MORE;
    return take_frame(connection, (struct msgpack_cursor){data + WIRE_LENGTH_BYTES,
                                                          data + WIRE_LENGTH_BYTES + length});
}
