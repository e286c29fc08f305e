/*
 * fuzz_session.c - any bytes at all arrive on a connection of the daemon, framed or as lines, in
 * any pieces.
 *
 * The first eight bytes say how: where the stream is cut, how the log behaves. Then the same stream
 * goes through a connection three times, and
 *   - in one piece or in many, the answers and the events stored are the same, byte for byte;
 *   - answers are whole frames (lines), an error is the last of them;
 *   - no ack leaves before its events are durable, however slow the log is;
 *   - a connection comes to its end, and gives all its memory back.
 */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bytes.h"
#include "tests/fuzz/session_server.h"
#include "tools/client/wire.h"
#include "tools/daybookd/connection.h"
#include "tools/daybookd/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

/* The plan in front of the stream. */
enum {
    PLAN_BYTES = 8,
    PLAN_CUTS = 0,     /* 4 bytes: the seed of the cuts */
    PLAN_ROOM = 4,     /* events that the slow log takes at a time */
    PLAN_FAILS_AT = 5, /* 0: never */
    PLAN_FAILS_AS = 6, /* bit 0: no space, else it has failed */
    PLAN_SILENCES = 7, /* seconds between the pieces */
};

struct client {
    int fd;
    struct connection *connection;
    struct buffer answers;
    size_t checked; /* answers up to here were looked at */
    bool framed;
    bool error_seen;
    bool eager;
};

static void open_client(struct client *client)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
        abort();
    client->fd = ends[0];
    client->connection = session_server_connect(ends[1]);
}

static void check_frame(struct client *client, struct msgpack_cursor cursor)
{
    enum wire_type type;
    uint32_t left;
    struct wire_ack ack;
    struct wire_refusal refusal;
    struct wire_error error;
    assert(!client->error_seen);
    enum error_code code = wire_read_type(&cursor, &type, &left, NULL);
    assert(code == OK);
    switch (type) {
    case WIRE_ACK:
        code = wire_read_ack(cursor, left, &ack, NULL);
        assert(code == OK &&
               ack.stored == (ack.stored ? ack.sequence_last - ack.sequence_first + 1 : 0));
        assert(client->eager || ack.sequence_last <= session_server_log()->durable);
        for (uint32_t i = 0; i < ack.refused; i++) {
            code = wire_read_refusal(&ack.refusals, &refusal, NULL);
            assert(code == OK && refusal.code.bytes > 0);
        }
        break;
    case WIRE_ERROR:
        code = wire_read_error(cursor, left, &error, NULL);
        assert(code == OK && error.code.bytes > 0 && error.text.bytes > 0);
        client->error_seen = true;
        break;
    default:
        assert(type == WIRE_WELCOME || type == WIRE_PONG || type == WIRE_STATUS);
        break;
    }
}

static void check_frames(struct client *client)
{
    const struct buffer *answers = &client->answers;
    for (;;) {
        const uint8_t *at = answers->data + client->checked;
        size_t left = answers->size - client->checked;
        if (left < WIRE_LENGTH_BYTES || left - WIRE_LENGTH_BYTES < wire_read_length(at))
            return;
        size_t length = wire_read_length(at);
        check_frame(client, (struct msgpack_cursor){at + WIRE_LENGTH_BYTES,
                                                    at + WIRE_LENGTH_BYTES + length});
        client->checked += WIRE_LENGTH_BYTES + length;
    }
}

static void check_lines(struct client *client)
{
    static const char OK_LINE[] = "{\"ok\":";
    const uint8_t *newline;
    struct buffer *answers = &client->answers;
    while (client->checked < answers->size &&
           (newline = memchr(answers->data + client->checked, '\n',
                             answers->size - client->checked)) != NULL) {
        size_t length = (size_t)(newline - answers->data) - client->checked;
        assert(length > sizeof OK_LINE &&
               memcmp(answers->data + client->checked, OK_LINE, sizeof OK_LINE - 1) == 0 &&
               newline[-1] == '}');
        client->checked += length + 1;
    }
}

static void take_answers(struct client *client)
{
    for (;;) {
        if (buffer_reserve(&client->answers, 65536, NULL))
            abort();
        ssize_t got = read(client->fd, client->answers.data + client->answers.size, 65536);
        if (got <= 0)
            break;
        client->answers.size += (size_t)got;
        if (session_server_has(client->connection)) {
            server_make_ready(client->connection->server, client->connection);
            session_server_run();
        }
    }
    if (client->framed)
        check_frames(client);
    else
        check_lines(client);
}

static void let_read(struct client *client)
{
    if (!session_server_has(client->connection))
        return;
    client->connection->readable = true;
    server_make_ready(client->connection->server, client->connection);
    session_server_run();
    take_answers(client);
}

/* Send a piece; false when the daemon has closed. */
static bool send_piece(struct client *client, const uint8_t *data, size_t size)
{
    for (unsigned tries = 0; size > 0; tries++) {
        assert(tries < 10000);
        ssize_t sent = send(client->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
        let_read(client);
        if (sent < 0)
            session_log_step();
    }
    return true;
}

static uint32_t next_cut(uint32_t *state)
{
    static const uint32_t lengths[] = {1, 2, 3, 4, 5, 7, 16, 61, 256, 1500, 20000, 70000};
    *state = *state * 1664525 + 1013904223;
    return lengths[(*state >> 16) % (sizeof lengths / sizeof *lengths)];
}

static void send_all(struct client *client, const uint8_t *plan, const uint8_t *data, size_t size,
                     bool cut, bool silences)
{
    uint32_t state = bytes_load32(plan + PLAN_CUTS);
    while (size > 0) {
        size_t piece = cut ? next_cut(&state) : size;
        if (piece > size)
            piece = size;
        if (!send_piece(client, data, piece))
            break;
        data += piece;
        size -= piece;
        if (silences) {
            session_server_pass_time((int64_t)(plan[PLAN_SILENCES] & 15) * 1000000000);
            session_server_run();
            if (state & 0x10000)
                session_log_step();
        }
    }
    shutdown(client->fd, SHUT_WR);
    for (unsigned rounds = 0; session_server_has(client->connection); rounds++) {
        assert(rounds < 100000);
        client->connection->hung_up = true;
        let_read(client);
        session_log_step();
        session_server_run();
    }
    take_answers(client);
    assert(client->checked == client->answers.size);
}

/* Who begins with text is answered in lines, whatever comes. */
static bool is_text(uint8_t byte)
{
    return byte < 0x80 && (isprint(byte) || isspace(byte));
}

/* Somebody else is there already, who said hello as producer "q". */
static void open_neighbour(struct client *neighbour)
{
    static const uint8_t HELLO[] = "\0\0\0\x1b\x92\xa5hello\x82\xa7version\x01\xa8producer\xa1q";
    *neighbour = (struct client){.framed = true};
    open_client(neighbour);
    send_piece(neighbour, HELLO, sizeof HELLO - 1);
    assert(neighbour->answers.size > 0);
}

struct outcome {
    struct buffer answers;
    struct session_log log;
};

static void run(const uint8_t *data, size_t size, const struct session_log *log, bool cut,
                struct outcome *outcome_out)
{
    struct client client, neighbour;
    const uint8_t *stream = data + PLAN_BYTES;
    client = (struct client){.framed = size == PLAN_BYTES || !is_text(stream[0])};
    /* Whoever asked for "written" or "none" is told sooner; which it is only the hello says. */
    client.eager = memmem(data, size, "written", 7) || memmem(data, size, "none", 4);
    session_server_reset(log);
    open_neighbour(&neighbour);
    open_client(&client);
    send_all(&client, data, stream, size - PLAN_BYTES, cut, log->lags);
    close(client.fd);
    close(neighbour.fd);
    outcome_out->answers = client.answers;
    outcome_out->log = *session_server_log();
    buffer_release(&neighbour.answers);
    session_server_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces, slow;
    if (size < PLAN_BYTES)
        return 0;
    struct session_log quick = {.lags = false};
    struct session_log lagging = {
        .lags = true,
        .room = data[PLAN_ROOM],
        .fails_at = data[PLAN_FAILS_AT],
        .fails_with = data[PLAN_FAILS_AS] & 1 ? ERROR_NO_SPACE : ERROR_IO,
    };
    run(data, size, &quick, false, &whole);
    run(data, size, &quick, true, &pieces);
    assert(whole.log.appended == pieces.log.appended && whole.log.checksum == pieces.log.checksum);
    assert(whole.answers.size == pieces.answers.size);
    assert(whole.answers.size == 0 ||
           memcmp(whole.answers.data, pieces.answers.data, whole.answers.size) == 0);
    run(data, size, &lagging, true, &slow);
    buffer_release(&whole.answers);
    buffer_release(&pieces.answers);
    buffer_release(&slow.answers);
    return 0;
}

/* ---- Frames keep their lengths while they change ---- */

static size_t frame_at(const uint8_t *data, size_t size, size_t at)
{
    if (size - at < WIRE_LENGTH_BYTES)
        return 0;
    size_t length = wire_read_length(data + at);
    return length <= size - at - WIRE_LENGTH_BYTES ? WIRE_LENGTH_BYTES + length : 0;
}

static void store_length(uint8_t *at, size_t length)
{
    at[0] = (uint8_t)(length >> 24);
    at[1] = (uint8_t)(length >> 16);
    at[2] = (uint8_t)(length >> 8);
    at[3] = (uint8_t)length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    enum { FRAMES_MAX = 64 };
    size_t starts[FRAMES_MAX], count = 0, at = PLAN_BYTES, length;
    if (size <= PLAN_BYTES || data[PLAN_BYTES] == '{' || seed % 8 == 0)
        return LLVMFuzzerMutate(data, size, size_max);
    while (count < FRAMES_MAX && at < size && (length = frame_at(data, size, at)) > 0) {
        starts[count++] = at;
        at += length;
    }
    if (count == 0)
        return LLVMFuzzerMutate(data, size, size_max);
    size_t start = starts[seed / 8 % count];
    length = frame_at(data, size, start);
    size_t end = start + length, rest = size - end;
    if (seed / 64 % 8 == 0 && size + length <= size_max) { /* the same frame again */
        memmove(data + end + length, data + end, rest);
        memcpy(data + end, data + start, length);
        return size + length;
    }
    if (seed / 64 % 8 == 1 && count > 1) { /* a frame less */
        memmove(data + start, data + end, rest);
        return size - length;
    }
    uint8_t *tail = malloc(rest + 1);
    if (!tail)
        return size;
    memcpy(tail, data + end, rest);
    length = LLVMFuzzerMutate(data + start + WIRE_LENGTH_BYTES, length - WIRE_LENGTH_BYTES,
                              size_max - start - WIRE_LENGTH_BYTES - rest);
    store_length(data + start, length);
    end = start + WIRE_LENGTH_BYTES + length;
    memcpy(data + end, tail, rest);
    free(tail);
    return end + rest;
}
