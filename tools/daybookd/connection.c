#include "tools/daybookd/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "tools/daybookd/server.h"

struct ucred connection_peer(int fd)
{
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    return peer;
}

enum error_code connection_create(struct server *server, int fd, uint64_t number,
                                  struct connection **connection_out, struct error *error)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return error_set(error, ERROR_MEMORY, "no memory for a connection");
    connection->server = server;
    connection->fd = fd;
    connection->number = number;
    connection->starved = true;
    connection->opened_ns = connection->active_ns = server_now_ns(server);
    connection->peer = connection_peer(fd);
    *connection_out = connection;
    return OK;
}

void connection_free(struct connection *connection)
{
    if (connection->session.welcomed && connection->session.ack == WIRE_ACK_WRITTEN)
        server_count_written(connection->server, -1);
    input_drop(&connection->input, server_input_pool(connection->server));
    answers_free(&connection->answers);
    file_close(&connection->fd);
    free(connection);
}

/* ---- Answers ---- */

/* Nobody is left who could be told anything. */
static void become_deaf(struct connection *connection)
{
    connection->deaf = true;
    connection->blocked_since_ns = 0;
    answers_free(&connection->answers);
}

void connection_answer(struct connection *connection, enum error_code encoded, uint64_t sequence)
{
    if (!encoded)
        encoded = answers_mark(&connection->answers, sequence, NULL);
    if (encoded) {
        /* Without memory for the answer the client must not wait for it. */
        become_deaf(connection);
        connection->closing = true;
        return;
    }
    if (answers_are_waiting(&connection->answers))
        server_await_log(connection->server, connection);
}

static void flush_answers(struct connection *connection)
{
    struct answers *answers = &connection->answers;
    if (connection->deaf) {
        answers_free(answers);
        return;
    }
    bool written = connection->session.ack == WIRE_ACK_WRITTEN;
    answers_release(answers, server_log_sequence(connection->server, written));
    size_t ready_before = answers_ready_bytes(answers);
    if (ready_before == 0)
        return;
    bool blocked;
    if (answers_send(answers, connection->fd, &blocked, NULL)) {
        become_deaf(connection);
        return;
    }
    bool moved = answers_ready_bytes(answers) < ready_before;
    if (!blocked)
        connection->blocked_since_ns = 0;
    else if (moved || connection->blocked_since_ns == 0)
        connection->blocked_since_ns = server_now_ns(connection->server);
}

static enum error_code write_last_line(struct connection *connection, const char *text)
{
    struct buffer *out = &connection->answers.bytes;
    enum error_code code = buffer_printf(out, NULL, "{\"ok\":false,\"error\":");
    if (!code)
        code = json_append_string(out, text, strlen(text), NULL);
    if (!code)
        code = buffer_printf(out, NULL, ",\"line\":%llu}\n",
                             (unsigned long long)connection->lines.count + 1);
    return code;
}

void connection_fail(struct connection *connection, const char *code, const char *text)
{
    if (connection->closing)
        return;
    report_line(server_report(connection->server), REPORT_WARNING,
                "connection %llu: closed by us: %s: %s", (unsigned long long)connection->number,
                code, text);
    enum error_code encoded = connection->mode == CONNECTION_LINES
                                  ? write_last_line(connection, text)
                                  : wire_write_error(&connection->answers.bytes, code, text, NULL);
    connection_answer(connection, encoded, 0);
    connection->closing = true;
    server_make_ready(connection->server, connection);
}

void connection_abort(struct connection *connection, const char *code, const char *text)
{
    answers_withdraw(&connection->answers);
    connection_fail(connection, code, text);
}

void connection_evict(struct connection *connection, const char *text)
{
    connection_abort(connection, "busy", text);
    input_drop(&connection->input, server_input_pool(connection->server));
    flush_answers(connection);
    if (answers_total_bytes(&connection->answers) > 0)
        become_deaf(connection);
}

/* ---- Input ---- */

static bool may_take(const struct connection *connection)
{
    return !connection->closing && !connection->stalled &&
           answers_total_bytes(&connection->answers) < CONNECTION_ANSWERS_MAX;
}

static bool choose_mode(struct connection *connection, uint8_t first)
{
    if (first == 0)
        connection->mode = CONNECTION_FRAMED;
    else if (first == '{')
        connection->mode = CONNECTION_LINES;
    else
        connection_fail(connection, "malformed",
                        "the first byte is neither 0, for a frame, nor '{', for a line of JSON");
    return connection->mode != CONNECTION_NEW;
}

static enum take take_one(struct connection *connection, size_t *bytes_out)
{
    const uint8_t *data = input_data(&connection->input);
    size_t size = input_bytes(&connection->input);
    if (connection->mode == CONNECTION_NEW && !choose_mode(connection, data[0]))
        return TAKE_STOP;
    if (connection->mode == CONNECTION_FRAMED)
        return session_take(connection, data, size, bytes_out);
    return line_take(connection, data, size, bytes_out);
}

/* Take frame after frame (line after line) until something is missing. */
static void take_units(struct connection *connection)
{
    while (may_take(connection) && input_bytes(&connection->input) > 0) {
        size_t bytes = 0;
        switch (take_one(connection, &bytes)) {
        case TAKE_DONE:
            assert(bytes > 0 && bytes <= input_bytes(&connection->input));
            input_use(&connection->input, bytes);
            connection->input_wanted = 0;
            connection->unit_since_ns = 0;
            break;
        case TAKE_MORE:
            connection->starved = true;
            connection->input_wanted = bytes;
            if (connection->unit_since_ns == 0)
                connection->unit_since_ns = server_now_ns(connection->server);
            return;
        case TAKE_STALL:
            connection->unit_since_ns = 0;
            server_stall(connection->server, connection);
            return;
        case TAKE_STOP:
            return;
        }
    }
    connection->starved = input_bytes(&connection->input) == 0;
}

/* Memory to read into. A shortage is paid for by who has caused it, not by who meets it. */
static bool reserve_input(struct connection *connection)
{
    struct server *server = connection->server;
    struct error error;
    enum error_code code;
    while ((code = input_reserve(&connection->input, server_input_pool(server),
                                 connection->input_wanted, &error)) == ERROR_BUSY) {
        if (server_reclaim_input(server, connection))
            continue;
        if (!server_input_will_return(server, connection))
            break;
        server_stall(server, connection);
        return false;
    }
    if (code)
        connection_fail(connection, "busy", error.text);
    return !code;
}

static void read_once(struct connection *connection)
{
    struct input *input = &connection->input;
    if (!reserve_input(connection))
        return;
    size_t space = input->capacity - input->end;
    ssize_t got = read(connection->fd, input->data + input->end, space);
    if (got > 0) {
        input->end += (size_t)got;
        connection->active_ns = server_now_ns(connection->server);
        connection->starved = false;
        /* A short read has emptied the socket; epoll tells when there is more. */
        connection->readable = (size_t)got == space || connection->hung_up;
    } else if (got < 0 && errno == EAGAIN) {
        connection->readable = false;
    } else if (got == 0 || errno != EINTR) {
        connection->ended = true;
        connection->readable = false;
    }
}

static bool wants_read(const struct connection *connection)
{
    return may_take(connection) && connection->readable && connection->starved &&
           !connection->ended;
}

/* The client has ended in the middle: half a frame is nothing, but a last line may lack its end. */
static void take_rest(struct connection *connection)
{
    struct input *input = &connection->input;
    if (connection->mode == CONNECTION_LINES &&
        line_take_last(connection, input_data(input), input_bytes(input)) == TAKE_STALL) {
        server_stall(connection->server, connection);
        return;
    }
    input_drop(input, server_input_pool(connection->server));
}

void connection_turn(struct connection *connection)
{
    struct input_pool *pool = server_input_pool(connection->server);
    take_units(connection);
    if (wants_read(connection)) {
        read_once(connection);
        take_units(connection);
    }
    if (connection->ended && connection->starved && may_take(connection) &&
        input_bytes(&connection->input) > 0)
        take_rest(connection);
    if (connection->closing)
        input_drop(&connection->input, pool);
    else
        input_park(&connection->input, pool);
    flush_answers(connection);
}

bool connection_has_work(const struct connection *connection)
{
    if (!may_take(connection))
        return false;
    return !connection->starved || wants_read(connection) ||
           (connection->ended && input_bytes(&connection->input) > 0);
}

bool connection_is_over(const struct connection *connection)
{
    bool taken = connection->closing ||
                 (connection->ended && connection->starved && input_bytes(&connection->input) == 0);
    return taken && answers_total_bytes(&connection->answers) == 0;
}

void connection_check_time(struct connection *connection, int64_t now_ns)
{
    const int64_t ms = 1000000;
    bool greeted = connection->session.welcomed || connection->mode == CONNECTION_LINES;
    if (connection->blocked_since_ns &&
        now_ns - connection->blocked_since_ns > CONNECTION_UNREAD_MS * ms) {
        connection_fail(connection, "timeout", "answers were not read for 30 s");
        become_deaf(connection);
        server_make_ready(connection->server, connection);
    } else if (!greeted && now_ns - connection->opened_ns > CONNECTION_HELLO_MS * ms) {
        connection_fail(connection, "timeout", "no hello came within 10 s");
    } else if (connection->unit_since_ns &&
               now_ns - connection->unit_since_ns > CONNECTION_UNIT_MS * ms) {
        connection_fail(connection, "timeout", "half a frame or line came, and no more for 30 s");
    }
}
