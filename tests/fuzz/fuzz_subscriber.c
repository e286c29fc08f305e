/*
 * fuzz_subscriber.c - any bytes at all arrive at the bus from a connection that subscribes, framed
 * or as lines, in any pieces, while events become durable and an honest subscriber looks on.
 *
 * The first four bytes say how the stream is cut. Whatever the rest is,
 *   - what comes back is whole frames (lines), and an error is the last of them;
 *   - the honest one gets every event, in order;
 *   - when the client has gone nothing is left of it: no memory, no feed, no open cursor.
 */
#include <assert.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/daybookd/bus_state.h"
#include "tools/daybookd/intake.h"
#include "tools/daybookd/progress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAN_BYTES = 4, EVENTS = 60, ROUNDS_MAX = 5000 };

static char directory[] = "/tmp/fuzz-subscriber.XXXXXX";
static struct segment_log *log;
static struct progress progress;
static struct intake intake;
static struct bus *bus;
static const struct report report = {.level_max = REPORT_ERROR};

struct client {
    int fd;
    bool lines;
    struct buffer received;
    bool error_seen;
    uint64_t last;
};

/* ---- The log: only by what tests/fuzz/session_server.h does not stand in for. ---- */

static void append(unsigned count)
{
    static const uint8_t payload[] = {0x81, 0xa1, 'n', 7};
    uint64_t sequence = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct event event = {
            .time_ns = EVENT_TIME_NONE,
            .topic = i % 3 ? "a.b" : "c",
            .topic_bytes = i % 3 ? 3 : 1,
            .payload = payload,
            .payload_bytes = sizeof payload,
        };
        enum intake_fate fate = intake_take(&intake, &event, NULL, false, &sequence, NULL);
        assert(fate == INTAKE_STORED);
        (void)fate;
    }
    enum error_code code = segment_log_wait(log, sequence, NULL);
    assert(code == OK);
    (void)code;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void clean_up(void)
{
    bus_free(bus);
    intake_release(&intake);
    segment_log_close(log, NULL);
    progress_release(&progress);
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_all(void)
{
    const struct segment_log_options log_options = {
        .segment_bytes = 1 << 20, .on_progress = progress_notify, .context = &progress};
    if (!mkdtemp(directory) || progress_init(&progress, NULL) ||
        segment_log_open(directory, &log_options, &log, NULL, NULL) ||
        intake_init(&intake, log, NULL, NULL))
        abort();
    atomic_store(&progress.log, log);
    const struct bus_options options = {.log = log,
                                        .progress = &progress,
                                        .report = &report,
                                        .directory = directory,
                                        .stepped = true};
    if (bus_create(&options, &bus, NULL))
        abort();
    append(EVENTS);
    atexit(clean_up);
}

/* ---- Clients ---- */

static void open_client(struct client *client, bool lines)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
        abort();
    *client = (struct client){.fd = ends[0], .lines = lines};
    struct bus_arrival arrival = {.fd = ends[1], .lines = lines, .peer = {.pid = getpid()}};
    if (bus_admit(bus, &arrival, NULL))
        abort();
}

static void check_frame(struct client *client, struct msgpack_cursor cursor)
{
    enum wire_type type;
    uint32_t left;
    struct wire_events events;
    assert(!client->error_seen);
    enum error_code code = wire_read_type(&cursor, &type, &left, NULL);
    assert(code == OK && type != WIRE_OTHER);
    client->error_seen = type == WIRE_ERROR;
    if (type != WIRE_EVENTS)
        return;
    code = wire_read_events(cursor, left, &events, NULL);
    assert(code == OK && events.last >= client->last);
    client->last = events.last;
}

static void check_lines(struct client *client)
{
    const uint8_t *newline;
    while (client->received.size > 0 &&
           (newline = memchr(client->received.data, '\n', client->received.size)) != NULL) {
        assert(!client->error_seen && client->received.data[0] == '{' && newline[-1] == '}');
        client->error_seen = client->received.size > 10 &&
                             memcmp(client->received.data, "{\"ok\":false", 11) == 0;
        buffer_consume(&client->received, (size_t)(newline - client->received.data) + 1);
    }
}

static void check_frames(struct client *client)
{
    for (;;) {
        const uint8_t *at = client->received.data;
        size_t size = client->received.size;
        if (size < WIRE_LENGTH_BYTES || size - WIRE_LENGTH_BYTES < wire_read_length(at))
            return;
        size_t length = wire_read_length(at);
        check_frame(client, (struct msgpack_cursor){at + WIRE_LENGTH_BYTES,
                                                    at + WIRE_LENGTH_BYTES + length});
        buffer_consume(&client->received, WIRE_LENGTH_BYTES + length);
    }
}

static void take_answers(struct client *client)
{
    for (;;) {
        if (buffer_reserve(&client->received, 65536, NULL))
            abort();
        ssize_t got =
            recv(client->fd, client->received.data + client->received.size, 65536, 0);
        if (got <= 0)
            break;
        client->received.size += (size_t)got;
    }
    if (client->lines)
        check_lines(client);
    else
        check_frames(client);
}

static bool is_idle(void)
{
    return list_is_empty(&bus->readable) && list_is_empty(&bus->behind) && !bus->more &&
           keeper_is_idle(bus->keeper) && bus->durable == segment_log_durable(log);
}

static void settle(struct client *client, struct client *honest)
{
    for (unsigned rounds = 0; rounds < 2 || !is_idle(); rounds++) {
        assert(rounds < ROUNDS_MAX);
        bus->rest_until_ns = 0;
        bus_round(bus, 0);
        keeper_take_done(bus->keeper, true);
        take_answers(client);
        take_answers(honest);
    }
}

static void close_client(struct client *client)
{
    close(client->fd);
    buffer_release(&client->received);
}

static void subscribe_honestly(struct client *honest)
{
    struct buffer frame = {0};
    const struct wire_subscribe subscribe = {.start = WIRE_START_EARLIEST};
    open_client(honest, false);
    if (wire_write_subscribe(&frame, &subscribe, NULL) ||
        send(honest->fd, frame.data, frame.size, MSG_NOSIGNAL) < 0)
        abort();
    buffer_release(&frame);
}

static void send_all(struct client *client, struct client *honest, const uint8_t *plan,
                     const uint8_t *data, size_t size)
{
    uint32_t state = bytes_load32(plan);
    while (size > 0) {
        static const uint32_t lengths[] = {1, 3, 4, 5, 17, 100, 4000, 100000};
        state = state * 1664525 + 1013904223;
        size_t piece = lengths[state >> 16 & 7];
        if (piece > size)
            piece = size;
        ssize_t sent = send(client->fd, data, piece, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* it has been closed, or takes no more: answers are unread */
        data += sent;
        size -= (size_t)sent;
        bus_round(bus, 0);
        if (state & 0x80000)
            settle(client, honest);
    }
}

/* Or each input would find the cursors of those before. */
static void remove_cursors(void)
{
    char path[sizeof directory + 300];
    snprintf(path, sizeof path, "%s/cursors", directory);
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client client, honest;
    struct ucred gone[8];
    if (size < PLAN_BYTES)
        return 0;
    if (!bus)
        open_all();
    subscribe_honestly(&honest);
    open_client(&client, size > PLAN_BYTES && data[PLAN_BYTES] == '{');
    send_all(&client, &honest, data, data + PLAN_BYTES, size - PLAN_BYTES);
    shutdown(client.fd, SHUT_WR);
    append(1);
    settle(&client, &honest);
    assert(honest.last == segment_log_durable(log) && !honest.error_seen);
    close_client(&client);
    close_client(&honest);
    for (unsigned rounds = 0; !list_is_empty(&bus->all) || !list_is_empty(&bus->cursors);
         rounds++) {
        assert(rounds < ROUNDS_MAX);
        bus_round(bus, 0);
        keeper_take_done(bus->keeper, true);
    }
    while (bus_take_departures(bus, gone, 8) > 0)
        continue;
    assert(bus->input_bytes == 0 && bus->rings.bytes_used == 0 && bus->conditions == 0 &&
           bus->live_count == 0 && list_is_empty(&bus->feeds));
    remove_cursors();
    return 0;
}
