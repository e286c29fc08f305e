#include "tests/tools/bus_stage.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json.h"
#include "tests/support/scratch.h"
#include "tools/daybookd/progress.h"

struct segment_log *stage_log;
struct bus *stage_bus;

static struct progress progress;
static const struct report report = {.level_max = REPORT_ERROR};
static struct json_reader *json;
static struct error error;
static _Atomic int64_t passed_ns; /* the log's own threads ask for the time, too */
static _Atomic int64_t look_ns;
static uint64_t connections;
static char directory[4096];
static int opened;

/* Of all clients of a stage: tests leave theirs to it. */
enum { SLOTS = 512 };
static struct {
    int fd;
    struct buffer received;
} slots[SLOTS];
static int slot_count;

/* ---- Time ---- */

static int64_t machine_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t monotonic_ns(void)
{
    passed_ns += look_ns;
    return machine_ns(CLOCK_MONOTONIC) + passed_ns;
}

static int64_t realtime_ns(void)
{
    return machine_ns(CLOCK_REALTIME) + passed_ns;
}

static void boot_id(uint8_t out[CLOCK_BOOT_ID_SIZE])
{
    memset(out, 7, CLOCK_BOOT_ID_SIZE);
}

static const struct clock_source machine = {
    .realtime_ns = realtime_ns, .monotonic_ns = monotonic_ns, .boot_id = boot_id};

void stage_look_takes(int64_t ns)
{
    look_ns = ns;
}

void stage_pass(int64_t ns)
{
    passed_ns += ns;
}

/* ---- The log and the bus ---- */

void stage_open(uint64_t segment_bytes)
{
    clock_use(&machine);
    const struct segment_log_options log_options = {
        .segment_bytes = segment_bytes,
        .on_progress = progress_notify,
        .context = &progress,
    };
    cr_assert_eq(progress_init(&progress, &error), OK, "%s", error.text);
    snprintf(directory, sizeof directory, "%s", scratch_path("log%d", ++opened));
    cr_assert_eq(segment_log_open(directory, &log_options, &stage_log, NULL, &error), OK,
                 "%s", error.text);
    atomic_store(&progress.log, stage_log);
    const struct bus_options options = {
        .log = stage_log,
        .progress = &progress,
        .report = &report,
        .directory = directory,
        .stepped = true,
    };
    cr_assert_eq(bus_create(&options, &stage_bus, &error), OK, "%s", error.text);
    cr_assert_eq(json_reader_create(&json, &error), OK);
}

static void close_clients(void)
{
    for (int i = 0; i < slot_count; i++) {
        if (slots[i].fd >= 0)
            close(slots[i].fd);
        buffer_release(&slots[i].received);
    }
    slot_count = 0;
}

void stage_close(void)
{
    close_clients();
    bus_free(stage_bus);
    stage_bus = NULL;
    cr_assert_eq(segment_log_close(stage_log, &error), OK, "%s", error.text);
    progress_release(&progress);
    json_reader_free(json);
    clock_use(NULL);
    look_ns = 0;
}

struct progress *stage_progress(void)
{
    return &progress;
}

static const char *topic_of(uint64_t number)
{
    return number % 2 ? "odd" : "even";
}

static uint8_t fill_of(uint64_t number, size_t at)
{
    return (uint8_t)(number * 131 + at);
}

static void pack_payload(uint64_t number, size_t bytes, struct buffer *out)
{
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    msgpack_pack_map(&packer, 2);
    msgpack_pack_text(&packer, "n");
    msgpack_pack_uint64(&packer, number);
    msgpack_pack_text(&packer, "fill");
    msgpack_pack_bin(&packer, bytes);
    buffer_reserve(out, bytes, NULL);
    for (size_t i = 0; i < bytes; i++)
        out->data[out->size++] = fill_of(number, i);
}

void stage_append(unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        struct buffer payload = {0};
        uint64_t number = segment_log_appended(stage_log) + 1, sequence;
        pack_payload(number, bytes, &payload);
        const struct event event = {
            .time_ns = (int64_t)number * 1000000000,
            .topic = topic_of(number),
            .topic_bytes = strlen(topic_of(number)),
            .payload = payload.data,
            .payload_bytes = payload.size,
        };
        enum segment_log_outcome outcome;
        enum error_code code;
        while ((code = segment_log_append(stage_log, &event, &outcome, &sequence, &error)) ==
               ERROR_BUSY)
            stage_commit();
        cr_assert_eq(code, OK, "%s", error.text);
        cr_assert_eq(sequence, number);
        buffer_release(&payload);
    }
}

void stage_commit(void)
{
    uint64_t last = segment_log_appended(stage_log);
    cr_assert_eq(segment_log_wait(stage_log, last, &error), OK, "%s", error.text);
}

void stage_round(void)
{
    stage_pass(BUS_REST_NS);
    bus_round(stage_bus, 0);
}

static bool is_idle(void)
{
    struct pollfd epoll = {.fd = stage_bus->epoll_fd, .events = POLLIN};
    return poll(&epoll, 1, 0) == 0 && list_is_empty(&stage_bus->readable) &&
           list_is_empty(&stage_bus->behind) && !stage_bus->more &&
           bus_groups_timeout(stage_bus, 1) > 0 &&
           keeper_is_idle(stage_bus->keeper) &&
           clock_monotonic_ns() + BUS_REST_NS >= stage_bus->rest_until_ns &&
           stage_bus->durable == segment_log_durable(stage_log);
}

void stage_settle(void)
{
    do {
        keeper_take_done(stage_bus->keeper, true);
        stage_round();
    } while (!is_idle());
}

/* ---- Clients ---- */

void stage_connect(struct stage_client *client, bool lines, int socket_bytes)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    if (socket_bytes > 0)
        setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &socket_bytes, sizeof socket_bytes);
    *client = (struct stage_client){.fd = ends[0], .lines = lines, .slot = slot_count};
    cr_assert_lt(slot_count, SLOTS);
    slots[slot_count].fd = ends[0];
    client->received = &slots[slot_count++].received;
    struct bus_arrival arrival = {
        .fd = ends[1],
        .number = ++connections,
        .peer = {.pid = getpid(), .uid = getuid(), .gid = getgid()},
        .lines = lines,
    };
    cr_assert_eq(bus_admit(stage_bus, &arrival, &error), OK, "%s", error.text);
}

void stage_hang_up(struct stage_client *client)
{
    close(client->fd);
    slots[client->slot].fd = -1;
    buffer_release(client->received);
    client->fd = -1;
}

void stage_send(struct stage_client *client, const struct buffer *bytes)
{
    cr_assert_eq(send(client->fd, bytes->data, bytes->size, MSG_NOSIGNAL), (ssize_t)bytes->size);
}

static void send_and_release(struct stage_client *client, struct buffer *bytes)
{
    stage_send(client, bytes);
    buffer_release(bytes);
}

void stage_subscribe(struct stage_client *client, const struct wire_subscribe *subscribe)
{
    struct buffer frame = {0};
    cr_assert_eq(wire_write_subscribe(&frame, subscribe, &error), OK);
    client->only_even =
        subscribe->topic_count == 1 && wire_text_is(&subscribe->topics[0], "even");
    send_and_release(client, &frame);
}

void stage_credit(struct stage_client *client, uint64_t events)
{
    struct buffer frame = {0};
    cr_assert_eq(wire_write_credit(&frame, events, &error), OK);
    if (send(client->fd, frame.data, frame.size, MSG_NOSIGNAL) < 0)
        client->closed = true; /* it may have been cut off */
    buffer_release(&frame);
}

void stage_commit_cursor(struct stage_client *client, uint64_t sequence)
{
    struct buffer frame = {0};
    cr_assert_eq(wire_write_commit(&frame, sequence, &error), OK);
    send_and_release(client, &frame);
}

void stage_say(struct stage_client *client, const char *line)
{
    cr_assert_eq(send(client->fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
}

/* ---- What they are told ---- */

static void check_payload(const struct event *event)
{
    struct msgpack_cursor payload = {event->payload,
                                     (const uint8_t *)event->payload + event->payload_bytes};
    struct msgpack_cursor at;
    struct msgpack_value value = {0};
    cr_assert_eq(msgpack_find(&payload, "n", &at, &error), OK, "%s", error.text);
    cr_assert_eq(msgpack_read(&at, &value, &error), OK);
    cr_assert_eq(value.unsigned_, event->sequence);
    cr_assert_eq(msgpack_find(&payload, "fill", &at, &error), OK, "%s", error.text);
    cr_assert_eq(msgpack_read(&at, &value, &error), OK);
    const uint8_t *fill = value.bytes;
    for (uint32_t i = 0; i < value.count; i++)
        cr_assert_eq(fill[i], fill_of(event->sequence, i));
    const char *topic = topic_of(event->sequence);
    cr_assert_eq(event->topic_bytes, strlen(topic));
    cr_assert_eq(memcmp(event->topic, topic, event->topic_bytes), 0);
}

/* Everything from the last to this one is accounted for: for this client there was nothing. */
static void step_to(struct stage_client *client, uint64_t sequence, bool is_event)
{
    cr_assert_gt(sequence, client->last, "%" PRIu64 " comes after %" PRIu64, sequence,
                 client->last);
    uint64_t next = client->only_even ? (client->last / 2 + 1) * 2 : client->last + 1;
    if (client->last == 0 && client->after == 0 && client->events == 0)
        next = sequence; /* the beginning: retention may have taken what was before */
    if (is_event)
        cr_assert_eq(sequence, next, "%" PRIu64 " comes, not %" PRIu64, sequence, next);
    client->last = sequence;
}

static void take_events(struct stage_client *client, struct msgpack_cursor cursor, uint32_t left)
{
    struct wire_events events;
    cr_assert_eq(wire_read_events(cursor, left, &events, &error), OK, "%s", error.text);
    client->frames++;
    for (uint32_t i = 0; i < events.count; i++) {
        struct event event;
        uint32_t try_number;
        cr_assert_eq(wire_read_event(&events.events, &event, &try_number, &error), OK, "%s",
                     error.text);
        check_payload(&event);
        step_to(client, event.sequence, true);
        client->events++;
    }
    cr_assert_eq(wire_read_events_end(&events.events, &error), OK, "%s", error.text);
    cr_assert_geq(events.last, client->last);
    if (events.last > client->last) {
        uint64_t next = client->only_even ? (client->last / 2 + 1) * 2 : client->last + 1;
        cr_assert(client->after == 0 || next > events.last,
                  "%" PRIu64 " was left out: looked at up to %" PRIu64, next, events.last);
        client->last = events.last;
    }
}

static void take_lost(struct stage_client *client, struct msgpack_cursor cursor, uint32_t left)
{
    struct wire_lost lost;
    cr_assert_eq(wire_read_lost(cursor, left, &lost, &error), OK, "%s", error.text);
    cr_assert_gt(lost.first, client->last);
    cr_assert_leq(lost.first, client->last + 1 + client->only_even);
    cr_assert_leq(lost.first, lost.last);
    cr_assert_lt(client->lost_count, STAGE_GAPS_MAX);
    client->lost[client->lost_count].first = lost.first;
    client->lost[client->lost_count].last = lost.last;
    snprintf(client->lost[client->lost_count].cause, 32, "%.*s", (int)lost.cause.bytes,
             lost.cause.text);
    client->lost_count++;
    client->last = lost.last;
}

static void take_error(struct stage_client *client, struct msgpack_cursor cursor, uint32_t left)
{
    struct wire_error told;
    cr_assert_eq(wire_read_error(cursor, left, &told, &error), OK);
    snprintf(client->error_code, sizeof client->error_code, "%.*s", (int)told.code.bytes,
             told.code.text);
    snprintf(client->error_text, sizeof client->error_text, "%.*s", (int)told.text.bytes,
             told.text.text);
}

static void take_frame(struct stage_client *client, const uint8_t *data, size_t size)
{
    struct msgpack_cursor cursor = {data, data + size};
    enum wire_type type;
    uint32_t left;
    struct wire_subscribed subscribed;
    cr_assert_eq(wire_read_type(&cursor, &type, &left, &error), OK, "%s", error.text);
    switch (type) {
    case WIRE_SUBSCRIBED:
        cr_assert_not(client->subscribed);
        cr_assert_eq(wire_read_subscribed(cursor, left, &subscribed, &error), OK);
        client->subscribed = true;
        client->after = client->last = subscribed.after;
        break;
    case WIRE_EVENTS:
        cr_assert(client->subscribed);
        take_events(client, cursor, left);
        break;
    case WIRE_CAUGHT_UP:
        cr_assert_eq(wire_read_caught_up(cursor, left, &client->caught_up_at, &error), OK);
        cr_assert_eq(client->caught_up_at, client->last, "at %" PRIu64 ", not %" PRIu64,
                     client->caught_up_at, client->last);
        client->caught_up = true;
        client->times_caught_up++;
        break;
    case WIRE_LOST:
        take_lost(client, cursor, left);
        break;
    case WIRE_COMMITTED:
        cr_assert_eq(wire_read_committed(cursor, left, &client->committed, &error), OK);
        break;
    case WIRE_ERROR:
        take_error(client, cursor, left);
        break;
    case WIRE_PONG:
        client->pongs++;
        break;
    case WIRE_CURSORS:
        break;
    default:
        cr_assert_fail("a frame of type %d", (int)type);
    }
}

static void take_all(struct stage_client *client)
{
    struct buffer *received = client->received;
    size_t at = 0;
    while (received->size - at >= WIRE_LENGTH_BYTES) {
        size_t length = wire_read_length(received->data + at);
        cr_assert_leq(length, (size_t)WIRE_FRAME_MAX);
        if (received->size - at < WIRE_LENGTH_BYTES + length)
            break;
        take_frame(client, received->data + at + WIRE_LENGTH_BYTES, length);
        at += WIRE_LENGTH_BYTES + length;
    }
    buffer_consume(received, at);
}

void stage_read(struct stage_client *client, size_t bytes_max)
{
    struct buffer *received = client->received;
    while (bytes_max > 0) {
        size_t room = bytes_max < 65536 ? bytes_max : 65536;
        cr_assert_eq(buffer_reserve(received, room, &error), OK);
        ssize_t got = recv(client->fd, received->data + received->size, room, 0);
        client->closed = client->closed || got == 0 || (got < 0 && errno == ECONNRESET);
        if (got <= 0)
            break;
        received->size += (size_t)got;
        client->bytes += (uint64_t)got;
        bytes_max -= (size_t)got;
        if (!client->lines)
            take_all(client);
    }
}
