#include "tools/daybookd/connection.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "tools/daybookd/server.h"
#include "tools/daybookd/withdrawal.h"

struct ucred connection_peer(int fd)
{
    const struct ucred nobody = {.pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1};
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || size != sizeof peer)
        return nobody;
    if (peer.pid == 0)
        peer.pid = -1; /* of another PID namespace */
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
    connection->credited_ns = connection->opened_ns;
    connection->peer = connection_peer(fd);
    *connection_out = connection;
    return OK;
}

/* Tell the server how much memory the answers take now. */
static void count_answers(struct connection *connection)
{
    size_t bytes = answers_memory(&connection->answers);
    if (bytes == connection->answers_counted)
        return;
    server_count_answers(connection->server, connection->answers_counted, bytes);
    connection->answers_counted = bytes;
}

void connection_free(struct connection *connection)
{
    assert(connection->away != AWAY_RUNNING);
    server_forget_result(connection->server, connection);
    if (connection->session.welcomed && connection->session.ack == WIRE_ACK_WRITTEN)
        server_count_written(connection->server, -1);
    input_drop(&connection->input, server_input_pool(connection->server));
    answers_free(&connection->answers);
    count_answers(connection);
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

static void await_room(struct connection *connection, bool wanted)
{
    if (connection->awaits_room == wanted)
        return;
    connection->awaits_room = wanted;
    server_watch_room(connection->server, connection, wanted);
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
    await_room(connection, blocked);
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
    notices_closing(server_notices(connection->server), connection->number, code, text);
    enum error_code encoded = connection->mode == CONNECTION_LINES
                                  ? write_last_line(connection, text)
                                  : wire_write_error(&connection->answers.bytes, code, text, NULL);
    connection_answer(connection, encoded, 0);
    connection->closing = true;
    server_make_ready(connection->server, connection);
}

void connection_abort(struct connection *connection, const char *code, const char *text)
{
    /* Last words that were said already wait with the answers, and go with them: say new ones. */
    if (answers_are_waiting(&connection->answers))
        connection->closing = false;
    answers_withdraw(&connection->answers);
    connection_fail(connection, code, text);
}

static enum error_code rewrite_answers(struct connection *connection, const char *text)
{
    struct answers *answers = &connection->answers;
    struct buffer waiting = {0};
    enum error_code code = answers_take_back(answers, &waiting, NULL);
    if (!code)
        code = withdrawal_rewrite(waiting.data, waiting.size,
                                  server_log_sequence(connection->server, false), text,
                                  &answers->bytes, NULL);
    buffer_release(&waiting);
    return code;
}

void connection_withdraw(struct connection *connection, const char *text)
{
    bool numbered = connection->mode == CONNECTION_LINES || connection->session.producer_bytes > 0;
    if (connection->deaf && (!numbered || connection->closing))
        return;
    server_make_ready(connection->server, connection);
    if (!numbered) {
        connection_answer(connection, rewrite_answers(connection, text), 0);
        return;
    }
    /* An ack is for a whole frame: one that is stored in part has none. */
    const char *fate = connection->mode == CONNECTION_LINES
                           ? "nothing was stored of what has no answer before this one"
                           : "of what has no answer before this one, at most the first events of "
                             "one frame are stored, and are duplicates when they are sent again";
    struct error why;
    error_set(&why, ERROR_NO_SPACE, "%s: %s", fate, text);
    connection_abort(connection, error_name(ERROR_NO_SPACE), why.text);
}

/* Unless the examiner is reading them, which is over soon. */
static void drop_input(struct connection *connection)
{
    if (connection->away == AWAY_RUNNING)
        return;
    server_forget_result(connection->server, connection);
    input_drop(&connection->input, server_input_pool(connection->server));
}

void connection_evict(struct connection *connection, const char *text)
{
    connection_abort(connection, "busy", text);
    drop_input(connection);
    flush_answers(connection);
    if (answers_total_bytes(&connection->answers) > 0)
        become_deaf(connection);
    count_answers(connection);
    server_make_ready(connection->server, connection);
}

/* ---- Input ---- */

/*
 * All clients' answers take too much memory, and some of ours wait for the log: so nobody can be
 * blamed for not reading them, and the only way to keep the bound is not to make more.
 */
static bool lacks_answer_memory(const struct connection *connection)
{
    return answers_are_waiting(&connection->answers) &&
           server_answers_are_full(connection->server);
}

/* One more answer. What was examined always gets its own: the examiner does nothing before. */
static bool may_answer(const struct connection *connection)
{
    return connection->away == AWAY_BACK ||
           (answers_total_bytes(&connection->answers) < CONNECTION_ANSWERS_MAX &&
            !lacks_answer_memory(connection));
}

static bool may_take(const struct connection *connection)
{
    bool away = connection->away == AWAY_QUEUED || connection->away == AWAY_RUNNING;
    return !connection->closing && !connection->leaving && !connection->stalled && !away &&
           may_answer(connection);
}

/* The first byte is of neither mode. Whoever sends text can read text: a line, not a frame. */
static void refuse_mode(struct connection *connection, uint8_t first)
{
    if (isascii(first) && (isprint(first) || isspace(first)))
        connection->mode = CONNECTION_LINES;
    connection_fail(connection, "malformed",
                    "the first byte is neither 0, for a frame, nor '{', for a line of JSON");
}

static bool choose_mode(struct connection *connection, uint8_t first)
{
    if (first == 0)
        connection->mode = CONNECTION_FRAMED;
    else if (first == '{')
        connection->mode = CONNECTION_LINES;
    else
        refuse_mode(connection, first);
    return !connection->closing;
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

/* A turn's clock, which is looked at now and then: small frames take less time than looking. */
struct turn {
    int64_t end_ns;
    size_t since_bytes;
    unsigned since_units;
    bool over;
};

static struct turn begin_turn(void)
{
    return (struct turn){.end_ns = clock_monotonic_ns() + CONNECTION_TURN_NS};
}

static bool turn_is_over(struct turn *turn, size_t bytes)
{
    enum { UNITS = 16, BYTES = 16384 };
    turn->since_bytes += bytes;
    if (++turn->since_units < UNITS && turn->since_bytes < BYTES)
        return false;
    turn->since_units = 0;
    turn->since_bytes = 0;
    turn->over = clock_monotonic_ns() >= turn->end_ns;
    return turn->over;
}

/* Take frame after frame (line after line) until something is missing, or the turn is over. */
static void take_units(struct connection *connection, struct turn *turn)
{
    bool over = false;
    while (!over && may_take(connection) && input_bytes(&connection->input) > 0) {
        size_t bytes = 0;
        switch (take_one(connection, &bytes)) {
        case TAKE_DONE:
            assert(bytes > 0 && bytes <= input_bytes(&connection->input));
            input_use(&connection->input, bytes);
            connection->input_wanted = 0;
            connection->unit_since_ns = 0;
            over = turn_is_over(turn, bytes);
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
        case TAKE_AWAY:
            connection->unit_since_ns = 0;
            server_examine(connection->server, connection);
            return;
        case TAKE_LEAVE:
            connection->unit_since_ns = 0;
            connection->leaving = true;
            return;
        case TAKE_STOP:
            return;
        }
    }
    connection->starved = input_bytes(&connection->input) == 0;
}

/*
 * Memory to read into. A shortage is paid for by who has caused it, not by who meets it: false,
 * when the connection has to wait, or do without.
 */
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
        return false;
    }
    if (code)
        connection_fail(connection, "busy", error.text);
    return !code;
}

static void note_read(struct connection *connection, ssize_t got, size_t space)
{
    if (got > 0) {
        server_note_active(connection->server, connection);
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

/*
 * There is no memory to keep half a frame in. What is whole and small is taken from the socket all
 * the same, and the rest stays there: whoever fills the memory stops nobody who needs none.
 */
static void take_in_passing(struct connection *connection, struct turn *turn)
{
    struct input *input = &connection->input;
    uint8_t *scratch = server_scratch(connection->server);
    ssize_t got = recv(connection->fd, scratch, SERVER_SCRATCH_BYTES, MSG_PEEK | MSG_DONTWAIT);
    note_read(connection, got, SERVER_SCRATCH_BYTES);
    if (got <= 0)
        return;
    *input = (struct input){.data = scratch, .capacity = SERVER_SCRATCH_BYTES, .end = (size_t)got};
    take_units(connection, turn);
    assert(connection->away == AWAY_NOT); /* what is this small is never too much to look through */
    size_t left = input_bytes(input);
    *input = (struct input){0};
    connection->leaving = false; /* what it subscribes with has to be kept, when there is memory */
    if (left < (size_t)got && recv(connection->fd, scratch, (size_t)got - left, MSG_DONTWAIT) < 0)
        connection->ended = true;
    connection->starved = true;
    connection->readable = true;
    if (left > 0 && !connection->closing)
        server_stall(connection->server, connection);
}

static void read_once(struct connection *connection, struct turn *turn)
{
    struct input *input = &connection->input;
    if (!reserve_input(connection)) {
        if (connection->closing)
            return;
        if (input->capacity == 0)
            take_in_passing(connection, turn);
        else
            server_stall(connection->server, connection);
        return;
    }
    size_t space = input->capacity - input->end;
    ssize_t got = read(connection->fd, input->data + input->end, space);
    if (got > 0)
        input->end += (size_t)got;
    note_read(connection, got, space);
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
    enum take take = TAKE_DONE;
    if (connection->mode == CONNECTION_LINES)
        take = line_take_last(connection, input_data(input), input_bytes(input));
    if (take == TAKE_STALL) {
        server_stall(connection->server, connection);
        return;
    }
    if (take == TAKE_AWAY) {
        server_examine(connection->server, connection);
        return;
    }
    if (take == TAKE_LEAVE) {
        connection->leaving = true;
        return;
    }
    input_drop(input, server_input_pool(connection->server));
}

void connection_turn(struct connection *connection)
{
    struct turn turn = begin_turn();
    take_units(connection, &turn);
    if (wants_read(connection)) {
        read_once(connection, &turn);
        take_units(connection, &turn);
    }
    if (connection->ended && connection->starved && may_take(connection) &&
        input_bytes(&connection->input) > 0)
        take_rest(connection);
    if (connection->closing)
        drop_input(connection);
    else if (connection->away == AWAY_NOT)
        input_park(&connection->input, server_input_pool(connection->server));
    flush_answers(connection);
    count_answers(connection);
    if (!connection->closing && connection->away == AWAY_NOT && lacks_answer_memory(connection))
        server_stall(connection->server, connection);
    connection->cut_short = turn.over;
}

bool connection_has_work(const struct connection *connection)
{
    if (!may_take(connection))
        return false;
    return !connection->starved || wants_read(connection) ||
           (connection->ended && input_bytes(&connection->input) > 0);
}

bool connection_may_leave(const struct connection *connection)
{
    return connection->leaving && !connection->closing && !connection->deaf &&
           answers_total_bytes(&connection->answers) == 0;
}

bool connection_is_over(const struct connection *connection)
{
    bool taken = connection->closing ||
                 (connection->ended && connection->starved && input_bytes(&connection->input) == 0);
    return taken && connection->away != AWAY_RUNNING &&
           answers_total_bytes(&connection->answers) == 0;
}

/* Bytes that we have not come to: whose client is not to blame for our being late. */
static bool has_unread_bytes(const struct connection *connection)
{
    int bytes = 0;
    return ioctl(connection->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static bool hello_is_late(const struct connection *connection, int64_t now_ns)
{
    enum { PATIENCE = 5 };
    const int64_t limit_ns = CONNECTION_HELLO_MS * INT64_C(1000000);
    int64_t waited_ns = now_ns - connection->opened_ns;
    if (connection->session.welcomed || connection->mode == CONNECTION_LINES ||
        connection->stalled || waited_ns <= limit_ns)
        return false;
    return waited_ns > PATIENCE * limit_ns || !has_unread_bytes(connection);
}

void connection_check_time(struct connection *connection, int64_t now_ns)
{
    const int64_t ms = 1000000;
    /* While we do not read, the rest of its frame may be waiting for us. */
    if (connection->unit_since_ns && !may_take(connection))
        connection->unit_since_ns = now_ns;
    if (connection->blocked_since_ns &&
        now_ns - connection->blocked_since_ns > CONNECTION_UNREAD_MS * ms) {
        connection_fail(connection, "timeout", "answers were not read for 10 s");
        become_deaf(connection);
        server_make_ready(connection->server, connection);
    } else if (hello_is_late(connection, now_ns)) {
        connection_fail(connection, "timeout", "no hello came within 2 s");
    } else if (connection->unit_since_ns &&
               now_ns - connection->unit_since_ns > CONNECTION_UNIT_MS * ms) {
        connection_fail(connection, "timeout",
                        "a frame or line was still not whole 10 s after its first byte");
    }
}
