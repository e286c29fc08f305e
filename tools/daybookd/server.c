#include "tools/daybookd/server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/daybookd/eviction.h"
#include "tools/daybookd/server_state.h"
#include "tools/daybookd/status.h"
#include "tools/notify.h"

enum {
    EVENTS_PER_ROUND = 64,
    TICK_MS = 1000,      /* how often deadlines are looked at */
    LAST_WORDS_MS = 800, /* for the last commit and its acks, when we stop */
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

struct notices *server_notices(struct server *server)
{
    return &server->notices;
}

uint8_t *server_scratch(struct server *server)
{
    return server->scratch;
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

enum error_code server_log_find_producer(struct server *server, const char *name,
                                         size_t name_bytes, uint64_t *number_out,
                                         struct error *error)
{
    *number_out = 0;
    if (name_bytes == 0)
        return OK;
    return segment_log_find_producer(server->options.log, name, name_bytes, number_out, error);
}

const char *server_directory(const struct server *server)
{
    return server->options.directory;
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
    turns_add(&server->turns, connection, server->now_ns);
}

static size_t answers_bytes_max(const struct server *server)
{
    return server->options.input_bytes_max / SERVER_ANSWERS_SHARE;
}

bool server_answers_are_full(const struct server *server)
{
    return server->answers_bytes > answers_bytes_max(server);
}

void server_count_answers(struct server *server, size_t bytes_before, size_t bytes_now)
{
    bool full_before = server_answers_are_full(server);
    server->answers_bytes += bytes_now - bytes_before;
    if (full_before && !server_answers_are_full(server))
        server_wake_stalled(server);
}

void server_note_active(struct server *server, struct connection *connection)
{
    connection->active_ns = server->now_ns;
    list_remove(&connection->in_all);
    list_append(&server->all, &connection->in_all);
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

void server_watch_room(struct server *server, const struct connection *connection, bool wanted)
{
    struct epoll_event event = {.events = SERVER_CLIENT_EVENTS | (wanted ? EPOLLOUT : 0),
                                .data.u64 = connection->place};
    int failed = epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    assert(!failed);
    (void)failed;
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
    struct bus_counters bus;
    bus_count(server->bus, &bus);
    struct status status = {
        .bus = bus,
        .log = server->options.log,
        .index = server->options.index,
        .log_id = server->log_id,
        .directory = server->options.directory,
        .uptime_ns = server->now_ns - server->started_ns,
        .connections = server->connections,
        .gate = server->options.gate,
        .refused = server->intake.refused,
        .closed = server->notices.closed + bus.closed,
        .turned_away = server->notices.turned_away,
        .memory_max = server->options.memory_max,
    };
    return status_write(&status, map, error);
}

enum error_code server_watch(struct server *server, int fd, uint32_t events, uint64_t source,
                             struct error *error)
{
    struct epoll_event event = {.events = events, .data.u64 = source};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        return error_set_errno(error, errno, "watch a descriptor");
    return OK;
}

void server_unlink(struct server *server, struct connection *connection)
{
    list_remove(&connection->in_all);
    list_remove(&connection->in_ready);
    list_remove(&connection->in_waiting);
    list_remove(&connection->in_stalled);
    places_remove(&server->places, connection->place);
}

void server_forget(struct server *server, struct connection *connection)
{
    notices_line(&server->notices, REPORT_DETAIL,
                 "connection %" PRIu64 ": gone, after %" PRIu64 " events", connection->number,
                 connection->events);
    intake_tell_refusals_of(&server->intake, connection->session.producer,
                            connection->session.producer_bytes, server->now_ns);
    server_unlink(server, connection);
    server->connections--;
    peers_remove(&server->peers, &connection->peer);
    connection_free(connection);
}

/* ---- What the rounds react to ---- */

void server_begin_stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    server->stop_deadline_ns = server->now_ns + LAST_WORDS_MS * INT64_C(1000000);
    server_set_accepting(server, false);
}

static void take_signal(struct server *server)
{
    struct signalfd_siginfo signal;
    if (read(server->options.signal_fd, &signal, sizeof signal) != sizeof signal)
        return;
    report_line(server->options.report, REPORT_INFO, "signal %s from pid %u: stopping",
                sigabbrev_np((int)signal.ssi_signo), signal.ssi_pid);
    notify_send(server->options.notify, "STOPPING=1\nSTATUS=finishing the last commit");
    server_begin_stop(server);
    bus_end(server->bus, "stopping", "the daemon is being stopped");
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *connection = LIST_MEMBER(link, struct connection, in_all);
        connection_fail(connection, "stopping", "the daemon is being stopped");
        server_make_ready(server, connection);
    }
}

static void take_connection_event(struct server *server, const struct epoll_event *event)
{
    struct connection *connection = places_find(&server->places, event->data.u64);
    if (!connection)
        return; /* it has gone meanwhile */
    if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        connection->readable = true;
    if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        connection->hung_up = true;
    server_make_ready(server, connection);
}

static void take_event(struct server *server, const struct epoll_event *event)
{
    switch (event->data.u64) {
    case SOURCE_LISTENER:
        server_accept(server);
        break;
    case SOURCE_SIGNAL:
        take_signal(server);
        break;
    case SOURCE_PROGRESS:
        server_take_news(server);
        break;
    case SOURCE_EXAMINER:
        server_take_result(server);
        break;
    case SOURCE_BUS:
        server_take_departures(server);
        break;
    case SOURCE_WAKE:
    case SOURCE_END:
        break;
    default:
        take_connection_event(server, event);
    }
}

static void give_turn(struct server *server, struct connection *connection, int64_t *now_ns)
{
    connection_turn(connection);
    int64_t end_ns = clock_monotonic_ns();
    turns_charge(connection, end_ns - *now_ns, end_ns);
    *now_ns = end_ns;
    if (connection_may_leave(connection))
        server_hand_over(server, connection);
    else if (connection_is_over(connection))
        server_forget(server, connection);
    else if (connection_has_work(connection))
        server_make_ready(server, connection);
}

/* Unread answers take too much memory: those who have not read for longest have to go. */
static void relieve_answers(struct server *server)
{
    while (server_answers_are_full(server)) {
        struct connection *connection = eviction_for_answers(&server->all);
        if (!connection)
            return;
        struct error why;
        error_set(&why, ERROR_BUSY,
                  "the daemon's memory for unread answers (%zu bytes) is used up, and this "
                  "connection has not read for longest",
                  answers_bytes_max(server));
        connection_evict(connection, why.text);
    }
}

/*
 * Where processors are few: or the kernel would let this thread work for milliseconds before the
 * committer, or a client with an answer to read, gets its time. Not for less than a round's work,
 * as it takes as long until the thread is back; and not when only heavy ones have been here lately,
 * who want throughput.
 */
static void give_way(struct server *server, int64_t worked_ns, int64_t now_ns)
{
    const int64_t lately_ns = 50000000;
    server->worked_ns += worked_ns;
    if (server->worked_ns < TURNS_HEAVY_ROUND_NS || now_ns - server->light_ns > lately_ns)
        return;
    server->worked_ns = 0;
    sched_yield();
}

/* A turn for each light connection that is ready now, and what is left for the heavy ones. */
static void give_turns(struct server *server)
{
    int64_t now_ns = clock_monotonic_ns();
    struct list_link round;
    turns_take_light(&server->turns, &round);
    if (!list_is_empty(&round))
        server->light_ns = now_ns;
    while (!list_is_empty(&round)) {
        struct connection *connection = LIST_MEMBER(round.next, struct connection, in_ready);
        list_remove(&connection->in_ready);
        give_turn(server, connection, &now_ns);
    }
    int64_t begin_ns = now_ns;
    struct connection *heavy;
    while (now_ns < begin_ns + TURNS_HEAVY_ROUND_NS &&
           (heavy = turns_take_heavy(&server->turns)) != NULL)
        give_turn(server, heavy, &now_ns);
    give_way(server, now_ns - begin_ns, now_ns);
    relieve_answers(server);
}

static void tick(struct server *server)
{
    if (server->now_ns - server->ticked_ns < TICK_MS * INT64_C(1000000))
        return;
    server->ticked_ns = server->now_ns;
    if (server->accept_paused && !server->stopping)
        server_set_accepting(server, true);
    notices_tick(&server->notices, server->now_ns);
    intake_tell_refusals(&server->intake, server->now_ns);
    /*
     * Memory comes back without a word. So may a step of the log: two of its threads that tell of
     * one at the same time can leave the wrong note of what was told last (progress.c).
     */
    server_take_news(server);
    server_settle_schemas(server);
    if (notify_is_due(server->options.notify, server->now_ns))
        notify_send(server->options.notify,
                    "WATCHDOG=1\nSTATUS=durable up to %" PRIu64 ", %zu connections",
                    segment_log_durable(server->options.log), server->connections);
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next)
        connection_check_time(LIST_MEMBER(link, struct connection, in_all), server->now_ns);
}

static int round_timeout_ms(const struct server *server)
{
    if (turns_are_due(&server->turns))
        return 0;
    if (server->stopping) {
        int64_t left_ns = server->stop_deadline_ns - server->now_ns;
        return left_ns > 0 ? (int)(left_ns / 1000000) + 1 : 0;
    }
    return TICK_MS;
}

static bool may_end(const struct server *server)
{
    return server->stopping &&
           (server->connections == 0 || server->now_ns >= server->stop_deadline_ns);
}

/* At the helm: take what the other thread has posted. */
static void take_posted(struct server *server)
{
    struct epoll_event events[HELM_EVENTS_MAX];
    bool news;
    size_t count = helm_take(&server->helm, events, &news);
    server->now_ns = clock_monotonic_ns();
    for (size_t i = 0; i < count; i++)
        take_event(server, &events[i]);
    if (news)
        server_take_news(server);
}

/* Between two rounds, when there is more to do: others may have come. */
static void look_around(struct server *server)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    intake_kick(&server->intake);
    int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_ROUND, 0);
    take_posted(server);
    for (int i = 0; i < count; i++)
        take_event(server, &events[i]);
}

static void end_rounds(struct server *server)
{
    uint64_t one = 1;
    atomic_store(&server->ended, true);
    ssize_t written = write(server->end_fd, &one, sizeof one);
    assert(written == sizeof one);
    (void)written;
}

/* How long a thread may sleep; one that sleeps already, and for longer, is woken. */
static void set_timeout(struct server *server)
{
    int now_ms = round_timeout_ms(server);
    int before_ms = atomic_exchange(&server->timeout_ms, now_ms);
    uint64_t one = 1;
    if (before_ms <= now_ms)
        return;
    ssize_t written = write(server->wake_fd, &one, sizeof one);
    assert(written == sizeof one);
    (void)written;
}

/*
 * At the helm, until there is nothing to do at once. What came in is still to be committed then, by
 * the caller; or at once, when the helm could not be left.
 */
static void steer(struct server *server)
{
    bool left;
    do {
        take_posted(server);
        give_turns(server);
        tick(server);
        while (turns_are_due(&server->turns) && !may_end(server)) {
            look_around(server);
            give_turns(server);
            tick(server);
        }
        server->worked_ns = 0;
        set_timeout(server);
        if (may_end(server) && !atomic_load(&server->ended))
            end_rounds(server);
        bool appended = intake_takes_kick(&server->intake);
        left = helm_leave(&server->helm);
        if (!left && appended)
            segment_log_kick(server->options.log);
    } while (!left);
}

/*
 * A network thread. With nothing else to do it commits what has come, itself: so a lone event is on
 * its way to the disk, and its ack on the way back, without a second thread having to wake. Another
 * network thread is there for whoever comes meanwhile. Under load the log's own thread commits
 * (look_around), and this one goes on.
 */
static void *serve(void *context)
{
    struct server *server = context;
    while (!atomic_load(&server->ended)) {
        struct epoll_event events[EVENTS_PER_ROUND];
        int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_ROUND,
                               atomic_load(&server->timeout_ms));
        if (count < 0 && errno != EINTR) {
            atomic_store(&server->trouble, errno);
            end_rounds(server);
            break;
        }
        if (helm_post(&server->helm, events, count > 0 ? (size_t)count : 0, false))
            steer(server);
        while (progress_commit(server->options.progress))
            if (helm_post(&server->helm, NULL, 0, true))
                steer(server);
    }
    return NULL;
}

enum error_code server_run(struct server *server, struct error *error)
{
    pthread_t second;
    int failed = pthread_create(&second, NULL, serve, server);
    if (failed)
        return error_set_errno(error, failed, "start a network thread");
    pthread_setname_np(second, "network");
    serve(server);
    pthread_join(second, NULL);
    intake_tell_all_refusals(&server->intake);
    server_settle_schemas(server);
    if (atomic_load(&server->trouble))
        return error_set_errno(error, atomic_load(&server->trouble), "wait for clients");
    if (server->connections > 0)
        report_line(server->options.report, REPORT_WARNING,
                    "%zu clients did not take their last answers in time", server->connections);
    if (server->failure.code)
        return error_set(error, server->failure.code, "%s", server->failure.text);
    return OK;
}

/* ---- Making and ending ---- */

/*
 * Each event is for one thread, once: what stays readable would be told to the other thread again
 * and again while the first one is at the helm. So do the listener, until it has been looked at
 * (server_set_accepting), and everything else, whose every step is an edge; but for the end.
 */
static enum error_code watch_all(struct server *server, struct error *error)
{
    const struct server_options *options = &server->options;
    const struct {
        int fd;
        uint32_t events;
        uint64_t source;
    } sources[] = {
        {options->listen_fd, EPOLLIN | EPOLLONESHOT, SOURCE_LISTENER},
        {options->signal_fd, EPOLLIN | EPOLLET, SOURCE_SIGNAL},
        {options->progress->fd, EPOLLIN | EPOLLET, SOURCE_PROGRESS},
        {examiner_fd(server->examiner), EPOLLIN | EPOLLET, SOURCE_EXAMINER},
        {server->wake_fd, EPOLLIN | EPOLLET, SOURCE_WAKE},
        {bus_departures_fd(server->bus), EPOLLIN | EPOLLET, SOURCE_BUS},
        {server->end_fd, EPOLLIN, SOURCE_END},
    };
    enum error_code code = OK;
    for (size_t i = 0; !code && i < sizeof sources / sizeof *sources; i++)
        code =
            server_watch(server, sources[i].fd, sources[i].events, sources[i].source, error);
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
    list_init(&server->away);
    turns_init(&server->turns);
    notices_init(&server->notices, options->report, server->now_ns);
    list_init(&server->waiting);
    list_init(&server->stalled);
    helm_init(&server->helm);
    atomic_init(&server->timeout_ms, round_timeout_ms(server));
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC);
    server->end_fd = eventfd(0, EFD_CLOEXEC);
    enum error_code code = OK;
    if (server->epoll_fd < 0 || server->wake_fd < 0 || server->end_fd < 0)
        code = error_set_errno(error, errno, "create an epoll");
    if (!code)
        code = intake_init(&server->intake, options->log, options->gate, error);
    if (!code)
        code = examiner_create(&server->examiner, error);
    const struct bus_options bus = {
        .log = options->log,
        .progress = options->progress,
        .report = options->report,
        .directory = options->directory,
    };
    if (!code)
        code = bus_create(&bus, &server->bus, error);
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
    /* It may still read a connection's input. */
    examiner_free(server->examiner);
    server->examiner = NULL;
    if (server->examined)
        server->examined->away = AWAY_NOT;
    server->examined = NULL;
    bus_free(server->bus);
    while (!list_is_empty(&server->all))
        server_forget(server, LIST_MEMBER(server->all.next, struct connection, in_all));
    peers_free(&server->peers);
    input_pool_release(&server->pool);
    places_release(&server->places);
    intake_release(&server->intake);
    file_close(&server->epoll_fd);
    file_close(&server->wake_fd);
    file_close(&server->end_fd);
    helm_release(&server->helm);
    free(server);
}
