#include "tools/daybookd/server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/client/wire.h"
#include "tools/daybookd/connection.h"
#include "tools/daybookd/eviction.h"
#include "tools/daybookd/intake.h"
#include "tools/daybookd/status.h"

enum {
    EVENTS_PER_ROUND = 64,
    ACCEPTS_PER_ROUND = 16,
    TICK_MS = 1000,      /* how often deadlines are looked at */
    LAST_WORDS_MS = 800, /* for the last commit and its acks, when we stop */
};

struct server {
    struct server_options options;
    int epoll_fd;
    char log_id[FORMAT_LOG_ID_TEXT + 1];
    struct intake intake;
    struct input_pool pool;
    int64_t started_ns;
    int64_t now_ns; /* of this round */
    int64_t ticked_ns;
    uint64_t connections_ever;
    size_t connections;
    struct list_link all, ready, waiting, stalled;
    bool disk_full;     /* as last said in the log */
    bool accept_paused; /* no descriptor was left for the next client */
    bool stopping;
    int64_t stop_deadline_ns;
    struct error failure; /* of the log; code OK: none */
};

/* ---- For connections ---- */

struct intake *server_intake(struct server *server)
{
    return &server->intake;
}

struct input_pool *server_input_pool(struct server *server)
{
    return &server->pool;
}

const struct report *server_report(const struct server *server)
{
    return server->options.report;
}

int64_t server_now_ns(const struct server *server)
{
    return server->now_ns;
}

uint64_t server_log_sequence(const struct server *server, bool written)
{
    return written ? segment_log_written(server->options.log)
                   : segment_log_durable(server->options.log);
}

uint64_t server_log_producer_number(struct server *server, const char *name, size_t name_bytes)
{
    if (name_bytes == 0)
        return 0;
    return segment_log_producer_number(server->options.log, name, name_bytes);
}

const char *server_log_id_text(const struct server *server)
{
    return server->log_id;
}

void server_count_written(struct server *server, int more)
{
    atomic_fetch_add(&server->options.progress->written_waiters, (unsigned)more);
}

void server_make_ready(struct server *server, struct connection *connection)
{
    if (!list_contains(&connection->in_ready))
        list_append(&server->ready, &connection->in_ready);
}

void server_stall(struct server *server, struct connection *connection)
{
    connection->stalled = true;
    if (!list_contains(&connection->in_stalled))
        list_append(&server->stalled, &connection->in_stalled);
    /* What fills the log has to be on its way to the disk, or there would never be room. */
    intake_kick(&server->intake);
}

void server_await_log(struct server *server, struct connection *connection)
{
    if (!list_contains(&connection->in_waiting))
        list_append(&server->waiting, &connection->in_waiting);
}

static struct connection *find_producer(const struct server *server, const char *name,
                                        size_t name_bytes, const struct connection *except)
{
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *other = LIST_MEMBER(link, struct connection, in_all);
        const struct session *session = &other->session;
        if (other != except && session->welcomed && !other->closing &&
            session->producer_bytes == name_bytes &&
            memcmp(session->producer, name, name_bytes) == 0)
            return other;
    }
    return NULL;
}

const struct connection *server_find_producer(const struct server *server, const char *name,
                                              size_t name_bytes)
{
    return find_producer(server, name, name_bytes, NULL);
}

void server_fence(struct server *server, struct connection *connection)
{
    const struct session *session = &connection->session;
    struct connection *other;
    while ((other = find_producer(server, session->producer, session->producer_bytes,
                                  connection)) != NULL) {
        struct error why;
        error_set(&why, ERROR_BUSY, "another connection (pid %d) has said hello as producer '%.*s'",
                  (int)connection->peer.pid, (int)session->producer_bytes, session->producer);
        connection_abort(other, "replaced", why.text);
    }
}

bool server_reclaim_input(struct server *server, const struct connection *asking)
{
    struct connection *holder = eviction_for_memory(&server->all, asking, server->now_ns);
    if (!holder)
        return false;
    struct error why;
    error_set(
        &why, ERROR_BUSY,
        "the daemon's memory for unfinished frames (%zu bytes) is used up, and this connection "
        "has held some of it for longest",
        server->pool.bytes_max);
    connection_evict(holder, why.text);
    return true;
}

bool server_input_will_return(struct server *server, const struct connection *asking)
{
    return eviction_can_wait(&server->all, asking);
}

enum error_code server_write_status(struct server *server, struct buffer *map, struct error *error)
{
    struct status status = {
        .log = server->options.log,
        .index = server->options.index,
        .log_id = server->log_id,
        .directory = server->options.directory,
        .uptime_ns = server->now_ns - server->started_ns,
        .connections = server->connections,
        .refused = server->intake.refused,
    };
    return status_write(&status, map, error);
}

/* ---- Clients come and go ---- */

static enum error_code watch(struct server *server, int fd, uint32_t events, void *what,
                             struct error *error)
{
    struct epoll_event event = {.events = events, .data.ptr = what};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        return error_set_errno(error, errno, "watch a descriptor");
    return OK;
}

static void forget(struct server *server, struct connection *connection)
{
    report_line(server->options.report, REPORT_DETAIL,
                "connection %" PRIu64 ": gone, after %" PRIu64 " events", connection->number,
                connection->events);
    list_remove(&connection->in_all);
    list_remove(&connection->in_ready);
    list_remove(&connection->in_waiting);
    list_remove(&connection->in_stalled);
    server->connections--;
    connection_free(connection);
}

/* The client may speak either mode; a frame is also readable enough for a person with nc. */
static void turn_away(struct server *server, int fd)
{
    struct buffer answer = {0};
    struct error why;
    report_line(server->options.report, REPORT_WARNING, "a client was turned away: there are %zu",
                server->connections);
    error_set(&why, ERROR_BUSY, "all %zu connections are in use; try again later",
              server->options.connections_max);
    if (!wire_write_error(&answer, "busy", why.text, NULL) &&
        send(fd, answer.data, answer.size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        report_line(server->options.report, REPORT_DETAIL, "it did not hear why");
    buffer_release(&answer);
    close(fd);
}

static void admit(struct server *server, int fd)
{
    struct connection *connection;
    struct error error;
    if (connection_create(server, fd, server->connections_ever + 1, &connection, &error)) {
        turn_away(server, fd);
        return;
    }
    server->connections_ever++;
    server->connections++;
    list_append(&server->all, &connection->in_all);
    report_line(server->options.report, REPORT_INFO,
                "connection %" PRIu64 ": from pid %d, uid %u, gid %u", connection->number,
                (int)connection->peer.pid, (unsigned)connection->peer.uid,
                (unsigned)connection->peer.gid);
    /* Edge-triggered: a connection that waits for room costs nothing while its data waits too. */
    if (watch(server, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, connection, &error)) {
        report_line(server->options.report, REPORT_WARNING, "connection %" PRIu64 ": %s",
                    connection->number, error.text);
        forget(server, connection);
    }
}

/*
 * A place for the client at `fd`, if need be that of another. Who has to go is freed in this
 * round's turns, not here: the events of this round may still speak of it.
 */
static bool make_place(struct server *server, int fd)
{
    if (server->connections < server->options.connections_max)
        return true;
    struct ucred newcomer = connection_peer(fd);
    struct connection *idle =
        eviction_for_place(&server->all, server->options.connections_max, &newcomer);
    if (!idle)
        return false;
    struct error why;
    error_set(&why, ERROR_BUSY,
              "all %zu connections are in use, most of them by this process (pid %d), and this one "
              "was idle for longest",
              server->options.connections_max, (int)idle->peer.pid);
    connection_evict(idle, why.text);
    return true;
}

static void set_accepting(struct server *server, bool accepting)
{
    struct epoll_event event = {.events = accepting ? EPOLLIN : 0,
                                .data.ptr = &server->options.listen_fd};
    epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->options.listen_fd, &event);
    server->accept_paused = !accepting;
}

static void accept_clients(struct server *server)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        int fd = accept4(server->options.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            /* Or epoll would tell us at once again, for ever. The next tick tries again. */
            report_line(server->options.report, REPORT_WARNING, "cannot accept a client: %s",
                        strerror(errno));
            set_accepting(server, false);
            return;
        }
        if (fd < 0)
            return;
        if (make_place(server, fd))
            admit(server, fd);
        else
            turn_away(server, fd);
    }
}

/* ---- What the rounds react to ---- */

static void begin_stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    server->stop_deadline_ns = server->now_ns + LAST_WORDS_MS * INT64_C(1000000);
    set_accepting(server, false);
}

static void take_signal(struct server *server)
{
    struct signalfd_siginfo signal;
    if (read(server->options.signal_fd, &signal, sizeof signal) != sizeof signal)
        return;
    report_line(server->options.report, REPORT_INFO, "signal %s from pid %u: stopping",
                sigabbrev_np((int)signal.ssi_signo), signal.ssi_pid);
    begin_stop(server);
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *connection = LIST_MEMBER(link, struct connection, in_all);
        connection_fail(connection, "stopping", "the daemon is being stopped");
        server_make_ready(server, connection);
    }
}

/* D8: nothing is acknowledged any more. Nobody knows what of the last commit is on the disk. */
static void take_failure(struct server *server)
{
    if (server->failure.code || segment_log_failure(server->options.log, &server->failure) == OK)
        return;
    struct error why = server->failure;
    report_line(server->options.report, REPORT_ERROR, "the log has failed: %s", why.text);
    error_prefix(&why, "outcome unknown");
    begin_stop(server);
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *connection = LIST_MEMBER(link, struct connection, in_all);
        connection_abort(connection, "io", why.text);
        server_make_ready(server, connection);
    }
}

/* A full disk ends nothing: say when it begins and when it is over. */
static void take_space(struct server *server)
{
    struct segment_log_counters counters;
    segment_log_count(server->options.log, &counters);
    if (counters.disk_full == server->disk_full)
        return;
    server->disk_full = counters.disk_full;
    if (server->disk_full)
        report_line(server->options.report, REPORT_ERROR,
                    "no room for a new segment: new events are refused until there is space "
                    "('daybook retention' deletes the oldest segments)");
    else
        report_line(server->options.report, REPORT_INFO, "there is room for segments again");
}

/* Whatever they waited for may be there: room in the log, or memory. */
static void wake_stalled(struct server *server)
{
    while (!list_is_empty(&server->stalled)) {
        struct connection *connection =
            LIST_MEMBER(server->stalled.next, struct connection, in_stalled);
        list_remove(&connection->in_stalled);
        connection->stalled = false;
        server_make_ready(server, connection);
    }
}

static void take_progress(struct server *server)
{
    progress_clear(server->options.progress);
    take_failure(server);
    take_space(server);
    wake_stalled(server);
    struct list_link *next;
    for (struct list_link *link = server->waiting.next; link != &server->waiting; link = next) {
        next = link->next;
        struct connection *connection = LIST_MEMBER(link, struct connection, in_waiting);
        bool written = connection->session.ack == WIRE_ACK_WRITTEN;
        answers_release(&connection->answers, server_log_sequence(server, written));
        if (answers_ready_bytes(&connection->answers) > 0)
            server_make_ready(server, connection);
        if (!answers_are_waiting(&connection->answers))
            list_remove(&connection->in_waiting);
    }
}

static void take_event(struct server *server, const struct epoll_event *event)
{
    if (event->data.ptr == &server->options.listen_fd) {
        accept_clients(server);
    } else if (event->data.ptr == &server->options.signal_fd) {
        take_signal(server);
    } else if (event->data.ptr == server->options.progress) {
        take_progress(server);
    } else {
        struct connection *connection = event->data.ptr;
        if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            connection->readable = true;
        if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            connection->hung_up = true;
        server_make_ready(server, connection);
    }
}

/* One turn for each connection that is ready now; who needs another gets it in the next round. */
static void give_turns(struct server *server)
{
    struct list_link round;
    list_init(&round);
    while (!list_is_empty(&server->ready)) {
        struct list_link *link = server->ready.next;
        list_remove(link);
        list_append(&round, link);
    }
    while (!list_is_empty(&round)) {
        struct connection *connection = LIST_MEMBER(round.next, struct connection, in_ready);
        list_remove(&connection->in_ready);
        connection_turn(connection);
        if (connection_is_over(connection))
            forget(server, connection);
        else if (connection_has_work(connection))
            server_make_ready(server, connection);
    }
    intake_kick(&server->intake);
}

static void tick(struct server *server)
{
    if (server->now_ns - server->ticked_ns < TICK_MS * INT64_C(1000000))
        return;
    server->ticked_ns = server->now_ns;
    if (server->accept_paused && !server->stopping)
        set_accepting(server, true);
    /* Memory comes back without a word, unlike room in the log. */
    wake_stalled(server);
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next)
        connection_check_time(LIST_MEMBER(link, struct connection, in_all), server->now_ns);
}

static int round_timeout_ms(const struct server *server)
{
    if (!list_is_empty(&server->ready))
        return 0;
    if (server->stopping) {
        int64_t left_ns = server->stop_deadline_ns - server->now_ns;
        return left_ns > 0 ? (int)(left_ns / 1000000) + 1 : 0;
    }
    return server->connections > 0 || server->accept_paused ? TICK_MS : -1;
}

static bool may_end(const struct server *server)
{
    return server->stopping &&
           (server->connections == 0 || server->now_ns >= server->stop_deadline_ns);
}

enum error_code server_run(struct server *server, struct error *error)
{
    while (!may_end(server)) {
        struct epoll_event events[EVENTS_PER_ROUND];
        int count =
            epoll_wait(server->epoll_fd, events, EVENTS_PER_ROUND, round_timeout_ms(server));
        if (count < 0 && errno != EINTR)
            return error_set_errno(error, errno, "wait for clients");
        server->now_ns = clock_monotonic_ns();
        for (int i = 0; i < count; i++)
            take_event(server, &events[i]);
        give_turns(server);
        tick(server);
    }
    if (server->connections > 0)
        report_line(server->options.report, REPORT_WARNING,
                    "%zu clients did not take their last answers in time", server->connections);
    if (server->failure.code)
        return error_set(error, server->failure.code, "%s", server->failure.text);
    return OK;
}

/* ---- Making and ending ---- */

static enum error_code watch_all(struct server *server, struct error *error)
{
    struct server_options *options = &server->options;
    enum error_code code = watch(server, options->listen_fd, EPOLLIN, &options->listen_fd, error);
    if (!code)
        code = watch(server, options->signal_fd, EPOLLIN, &options->signal_fd, error);
    if (!code)
        code = watch(server, options->progress->fd, EPOLLIN, options->progress, error);
    return code;
}

enum error_code server_create(const struct server_options *options, struct server **server_out,
                              struct error *error)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(error, ERROR_MEMORY, "no memory for the server");
    server->options = *options;
    server->pool.bytes_max = options->input_bytes_max;
    server->started_ns = server->now_ns = server->ticked_ns = clock_monotonic_ns();
    segment_format_log_id_text(segment_log_id(options->log), server->log_id);
    list_init(&server->all);
    list_init(&server->ready);
    list_init(&server->waiting);
    list_init(&server->stalled);
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    enum error_code code =
        server->epoll_fd < 0 ? error_set_errno(error, errno, "create an epoll") : OK;
    if (!code)
        code = intake_init(&server->intake, options->log, error);
    if (!code)
        code = watch_all(server, error);
    if (code) {
        server_free(server);
        return code;
    }
    *server_out = server;
    return OK;
}

void server_free(struct server *server)
{
    if (!server)
        return;
    while (!list_is_empty(&server->all))
        forget(server, LIST_MEMBER(server->all.next, struct connection, in_all));
    input_pool_release(&server->pool);
    intake_release(&server->intake);
    file_close(&server->epoll_fd);
    free(server);
}
