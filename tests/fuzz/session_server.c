#include "tests/fuzz/session_server.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "tools/client/wire.h"
#include "tools/daybookd/connection.h"
#include "tools/daybookd/eviction.h"
#include "tools/daybookd/examiner.h"
#include "tools/daybookd/intake.h"
#include "tools/daybookd/server.h"

enum { POOL_BYTES_MAX = 4 << 20, PRODUCERS_MAX = 64, TURNS_MAX = 100000 };

struct producer {
    char name[EVENT_PRODUCER_BYTES_MAX];
    size_t bytes;
    uint64_t number, sequence;
};

struct server {
    struct intake intake;
    struct input_pool pool;
    struct report report;
    struct notices notices;
    struct examiner *examiner;
    struct connection *examined; /* the examiner's, or its result waits for it */
    size_t answers_bytes;
    uint8_t scratch[SERVER_SCRATCH_BYTES];
    int64_t now_ns;
    uint64_t connections_ever;
    struct list_link all, ready, waiting, stalled, away;
    struct session_log log;
    struct producer producers[PRODUCERS_MAX];
    size_t producer_count;
};

static struct server the_server;

/* The real one is opaque too; nobody looks inside. */
static struct segment_log *const the_log = (struct segment_log *)(void *)&the_server;

/* ---- segment/log.h ---- */

static struct producer *find_number(const char *name, size_t bytes)
{
    for (size_t i = 0; i < the_server.producer_count; i++) {
        struct producer *producer = &the_server.producers[i];
        if (producer->bytes == bytes && memcmp(producer->name, name, bytes) == 0)
            return producer;
    }
    return NULL;
}

static struct producer *know_producer(const struct event *event)
{
    struct producer *producer = find_number(event->producer, event->producer_bytes);
    if (producer || the_server.producer_count == PRODUCERS_MAX)
        return producer;
    producer = &the_server.producers[the_server.producer_count++];
    *producer = (struct producer){.bytes = event->producer_bytes};
    memcpy(producer->name, event->producer, event->producer_bytes);
    return producer;
}

static void note(const struct event *event)
{
    struct session_log *log = &the_server.log;
    uint32_t checksum = checksum_extend(log->checksum, event->topic, event->topic_bytes);
    checksum = checksum_extend(checksum, &event->time_ns, sizeof event->time_ns);
    checksum = checksum_extend(checksum, event->payload, event->payload_bytes);
    if (event->producer_bytes > 0)
        checksum = checksum_extend(checksum, event->producer, event->producer_bytes);
    log->checksum = checksum_extend(checksum, &event->number, sizeof event->number);
}

enum error_code segment_log_append(struct segment_log *unused, const struct event *event,
                                   enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                                   struct error *error)
{
    struct session_log *log = &the_server.log;
    assert(unused == the_log && event_check(event, NULL) == OK);
    if (++log->appends == log->fails_at)
        return error_set(error, log->fails_with, "the append that was to fail");
    struct producer *producer = event->producer_bytes ? know_producer(event) : NULL;
    if (producer && event->number <= producer->number) {
        *outcome_out = LOG_DUPLICATE;
        *sequence_out = producer->sequence;
        return OK;
    }
    note(event);
    *sequence_out = ++log->appended;
    *outcome_out = LOG_APPENDED;
    if (producer) {
        producer->number = event->number;
        producer->sequence = log->appended;
    }
    if (!log->lags)
        log->durable = log->appended;
    return OK;
}

/* All or none; what is numbered has numbers that are new. */
enum error_code segment_log_append_together(struct segment_log *unused, const struct event *events,
                                            size_t count, uint64_t *sequence_out,
                                            struct error *error)
{
    struct session_log *log = &the_server.log;
    if (log->fails_at > log->appends && log->fails_at <= log->appends + count) {
        log->appends = log->fails_at;
        return error_set(error, log->fails_with, "the append that was to fail");
    }
    struct producer *producer =
        events[0].producer_bytes ? know_producer(&events[0]) : NULL;
    if (producer && events[0].number <= producer->number)
        return error_set(error, ERROR_INVALID, "its number is in the log already");
    for (size_t i = 0; i < count; i++) {
        enum segment_log_outcome outcome;
        uint64_t sequence;
        enum error_code code =
            segment_log_append(unused, &events[i], &outcome, &sequence, error);
        if (code)
            return code;
        if (i == 0)
            *sequence_out = sequence;
    }
    return OK;
}

bool segment_log_has_room(struct segment_log *unused, size_t events, size_t bytes)
{
    const struct session_log *log = &the_server.log;
    uint64_t waiting = log->appended - log->durable;
    (void)unused, (void)bytes;
    return log->room == 0 || waiting == 0 || waiting + events <= log->room;
}

enum error_code segment_log_failure(const struct segment_log *unused, struct error *error)
{
    const struct session_log *log = &the_server.log;
    (void)unused;
    bool failed = log->fails_at > 0 && log->appends >= log->fails_at && log->fails_with == ERROR_IO;
    return failed ? error_set(error, ERROR_IO, "the append that was to fail") : OK;
}

uint64_t segment_log_producer_number(struct segment_log *unused, const char *name,
                                     size_t name_bytes)
{
    (void)unused;
    const struct producer *producer = find_number(name, name_bytes);
    return producer ? producer->number : 0;
}

uint64_t segment_log_appended(const struct segment_log *unused)
{
    (void)unused;
    return the_server.log.appended;
}

uint64_t segment_log_event_last(const struct segment_log *unused)
{
    return segment_log_appended(unused);
}

void segment_log_kick(struct segment_log *unused)
{
    (void)unused;
}

void segment_log_wait_room(struct segment_log *unused)
{
    (void)unused;
}

/* ---- tools/daybookd/server.h ---- */

struct intake *server_intake(struct server *server)
{
    return &server->intake;
}

struct input_pool *server_input_pool(struct server *server)
{
    return &server->pool;
}

struct notices *server_notices(struct server *server)
{
    return &server->notices;
}

uint8_t *server_scratch(struct server *server)
{
    return server->scratch;
}

void server_count_answers(struct server *server, size_t bytes_before, size_t bytes_now)
{
    server->answers_bytes += bytes_now - bytes_before;
}

/* One input makes no such amount. */
bool server_answers_are_full(const struct server *server)
{
    (void)server;
    return false;
}

void server_note_active(struct server *server, struct connection *connection)
{
    connection->active_ns = server->now_ns;
    list_remove(&connection->in_all);
    list_append(&server->all, &connection->in_all);
}

int64_t server_now_ns(const struct server *server)
{
    return server->now_ns;
}

uint64_t server_log_sequence(const struct server *server, bool written)
{
    return written ? server->log.appended : server->log.durable;
}

enum error_code server_log_find_producer(struct server *server, const char *name,
                                         size_t name_bytes, uint64_t *number_out,
                                         struct error *error)
{
    (void)server, (void)error;
    const struct producer *producer = name_bytes ? find_number(name, name_bytes) : NULL;
    *number_out = producer ? producer->number : 0;
    return OK;
}

const char *server_directory(const struct server *server)
{
    (void)server;
    return NULL;
}

const char *server_log_id_text(const struct server *server)
{
    (void)server;
    return "0123456789abcdef";
}

static struct connection *find_client(const struct server *server, const char *name,
                                      size_t name_bytes, const struct connection *except)
{
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *other = LIST_MEMBER(link, struct connection, in_all);
        if (other != except && other->session.welcomed && !other->closing &&
            other->session.producer_bytes == name_bytes &&
            memcmp(other->session.producer, name, name_bytes) == 0)
            return other;
    }
    return NULL;
}

void server_fence(struct server *server, struct connection *connection)
{
    struct connection *other;
    while ((other = find_client(server, connection->session.producer,
                                connection->session.producer_bytes, connection)) != NULL)
        connection_abort(other, "replaced", "another connection has said hello");
}

const struct connection *server_find_producer(const struct server *server, const char *name,
                                              size_t name_bytes)
{
    return find_client(server, name, name_bytes, NULL);
}

bool server_reclaim_input(struct server *server, const struct connection *asking)
{
    struct connection *holder = eviction_for_memory(&server->all, asking, server->now_ns);
    if (holder)
        connection_evict(holder, "held memory for longest");
    return holder != NULL;
}

bool server_input_will_return(struct server *server, const struct connection *asking)
{
    return eviction_can_wait(&server->all, asking);
}

void server_count_written(struct server *server, int more)
{
    (void)server, (void)more;
}

static void put_into(struct list_link *list, struct list_link *link)
{
    if (!list_contains(link))
        list_append(list, link);
}

void server_make_ready(struct server *server, struct connection *connection)
{
    put_into(&server->ready, &connection->in_ready);
}

void server_stall(struct server *server, struct connection *connection)
{
    connection->stalled = true;
    put_into(&server->stalled, &connection->in_stalled);
}

void server_await_log(struct server *server, struct connection *connection)
{
    put_into(&server->waiting, &connection->in_waiting);
}

/* The model gives every connection its turns anyway. */
void server_watch_room(struct server *server, const struct connection *connection, bool wanted)
{
    (void)server;
    assert(connection->awaits_room == wanted);
}

static void examine_next(struct server *server)
{
    if (server->examined || list_is_empty(&server->away))
        return;
    server->examined = LIST_MEMBER(server->away.next, struct connection, in_away);
    list_remove(&server->examined->in_away);
    server->examined->away = AWAY_RUNNING;
    examiner_begin(server->examiner, &server->examined->examination);
}

void server_examine(struct server *server, struct connection *connection)
{
    connection->away = AWAY_QUEUED;
    list_append(&server->away, &connection->in_away);
    examine_next(server);
}

const struct examiner_result *server_result(const struct server *server,
                                            const struct connection *connection)
{
    return connection->away == AWAY_BACK ? examiner_result(server->examiner) : NULL;
}

void server_forget_result(struct server *server, struct connection *connection)
{
    if (connection->away == AWAY_QUEUED) {
        list_remove(&connection->in_away);
        connection->away = AWAY_NOT;
    } else if (connection->away == AWAY_BACK) {
        connection->away = AWAY_NOT;
        server->examined = NULL;
        examiner_finish(server->examiner);
        examine_next(server);
    }
}

/* The examiner has a thread of its own; here everybody waits for it. False: it has no job. */
static bool wait_for_examiner(struct server *server)
{
    struct connection *examined = server->examined;
    if (!examined || examined->away != AWAY_RUNNING)
        return false;
    struct pollfd done = {.fd = examiner_fd(server->examiner), .events = POLLIN};
    while (!examiner_result(server->examiner))
        poll(&done, 1, -1);
    examined->away = AWAY_BACK;
    server_make_ready(server, examined);
    return true;
}

enum error_code server_write_status(struct server *server, struct buffer *map, struct error *error)
{
    (void)server;
    return buffer_append(map, "\x81\xa1k\x01", 4, error);
}

/* ---- For the target ---- */

void session_server_reset(const struct session_log *log)
{
    struct server *server = &the_server;
    if (!server->examiner &&
        (intake_init(&server->intake, the_log, NULL, NULL) ||
         examiner_create(&server->examiner, NULL)))
        abort();
    server->pool.bytes_max = POOL_BYTES_MAX;
    server->report.level_max = REPORT_ERROR;
    server->now_ns = INT64_C(1000000000);
    notices_init(&server->notices, &server->report, server->now_ns);
    server->log = *log;
    server->producer_count = 0;
    server->intake.refused = 0;
    list_init(&server->all);
    list_init(&server->ready);
    list_init(&server->waiting);
    list_init(&server->stalled);
    list_init(&server->away);
}

struct session_log *session_server_log(void)
{
    return &the_server.log;
}

static void forget(struct connection *connection)
{
    list_remove(&connection->in_all);
    list_remove(&connection->in_ready);
    list_remove(&connection->in_waiting);
    list_remove(&connection->in_stalled);
    list_remove(&connection->in_away);
    connection_free(connection);
}

void session_log_step(void)
{
    struct server *server = &the_server;
    server->log.durable = server->log.appended;
    while (!list_is_empty(&server->stalled)) {
        struct connection *connection =
            LIST_MEMBER(server->stalled.next, struct connection, in_stalled);
        list_remove(&connection->in_stalled);
        connection->stalled = false;
        server_make_ready(server, connection);
    }
    while (!list_is_empty(&server->waiting)) {
        struct connection *connection =
            LIST_MEMBER(server->waiting.next, struct connection, in_waiting);
        list_remove(&connection->in_waiting);
        server_make_ready(server, connection);
    }
}

struct connection *session_server_connect(int fd)
{
    struct connection *connection;
    if (connection_create(&the_server, fd, ++the_server.connections_ever, &connection, NULL))
        abort();
    list_append(&the_server.all, &connection->in_all);
    return connection;
}

void session_server_run(void)
{
    for (unsigned turns = 0; !list_is_empty(&the_server.ready) || wait_for_examiner(&the_server);
         turns++) {
        struct connection *connection =
            LIST_MEMBER(the_server.ready.next, struct connection, in_ready);
        assert(turns < TURNS_MAX);
        list_remove(&connection->in_ready);
        connection_turn(connection);
        assert(the_server.pool.bytes_used <= POOL_BYTES_MAX);
        /* One that subscribes would be the bus's now, which is not here. */
        if (connection_may_leave(connection) || connection_is_over(connection))
            forget(connection);
        else if (connection_has_work(connection))
            server_make_ready(&the_server, connection);
    }
}

bool session_server_has(const struct connection *connection)
{
    for (struct list_link *link = the_server.all.next; link != &the_server.all; link = link->next)
        if (LIST_MEMBER(link, struct connection, in_all) == connection)
            return true;
    return false;
}

void session_server_pass_time(int64_t ns)
{
    the_server.now_ns += ns;
    notices_tick(&the_server.notices, the_server.now_ns);
    for (struct list_link *link = the_server.all.next; link != &the_server.all; link = link->next)
        connection_check_time(LIST_MEMBER(link, struct connection, in_all), the_server.now_ns);
}

void session_server_end(void)
{
    wait_for_examiner(&the_server);
    while (!list_is_empty(&the_server.all))
        forget(LIST_MEMBER(the_server.all.next, struct connection, in_all));
    assert(the_server.answers_bytes == 0 && !the_server.examined);
    input_pool_release(&the_server.pool);
    /* The spare was counted while it lay there. */
    assert(the_server.pool.bytes_used == 0 || the_server.pool.bytes_used == INPUT_READ_BYTES);
    the_server.pool.bytes_used = 0;
}
