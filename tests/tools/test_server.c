/*
 * What the daemon does when the log fails, when the disk is full and when its own memory runs
 * short, step by step: the test is the network thread, and disk and clients do what it says.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "tests/support/scratch.h"
#include "tools/allowed_users.h"
#include "tools/daybookd/server_state.h"

enum { LARGE = 600 << 10, SEGMENT_BYTES = 1 << 20, INPUT_BYTES = 8 << 20 };

static atomic_bool held;    /* syncs do not return */
static atomic_bool hanging; /* one is there that does not */
static atomic_bool broken;  /* … and then they fail */
static atomic_bool full;    /* there is no room for a file */
static atomic_int files;    /* that were given room, or refused it */

static struct segment_log *log;
static struct progress progress;
static struct server *server;
static struct server_options options;
static const struct report report = {.level_max = REPORT_ERROR};
static struct allowed_users allowed;
static int signal_ends[2];
static struct error error;

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int sync_data(int fd)
{
    while (atomic_load(&held)) {
        atomic_store(&hanging, true);
        pause_briefly();
    }
    errno = EIO;
    return atomic_load(&broken) ? -1 : file_calls_kernel.sync_data(fd);
}

/* The first file, which is the active segment, always has room. */
static int allocate(int fd, off_t size)
{
    bool first = atomic_fetch_add(&files, 1) == 0;
    errno = ENOSPC;
    return atomic_load(&full) && !first ? -1 : file_calls_kernel.allocate(fd, size);
}

static void open_log(void)
{
    atomic_store(&full, true);
    static struct file_calls calls;
    calls = file_calls_kernel;
    calls.sync_data = sync_data;
    calls.allocate = allocate;
    file_calls_use(&calls);
    struct segment_log_options log_options = {
        .segment_bytes = SEGMENT_BYTES,
        .report_written = true,
        .takes_withdrawals = true,
        .on_progress = progress_notify,
        .context = &progress,
    };
    cr_assert_eq(progress_init(&progress, &error), OK, "%s", error.text);
    cr_assert_eq(segment_log_open(scratch_path("log"), &log_options, &log, NULL, &error), OK, "%s",
                 error.text);
    atomic_store(&progress.log, log);
}

static int listen_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 8), 0);
    return fd;
}

static void setup(void)
{
    open_log();
    cr_assert_eq(pipe(signal_ends), 0);
    options = (struct server_options){
        .log = log,
        .progress = &progress,
        .report = &report,
        .directory = scratch_path("log"),
        .listen_fd = listen_here(),
        .signal_fd = signal_ends[0],
        .connections_max = 16,
        .user_connections_max = 16,
        .input_bytes_max = INPUT_BYTES,
        .allowed = &allowed,
    };
    cr_assert_eq(server_create(&options, &server, &error), OK, "%s", error.text);
}

static void teardown(void)
{
    atomic_store(&held, false);
    server_free(server);
    segment_log_close(log, NULL);
    file_calls_use(NULL);
    progress_release(&progress);
    close(options.listen_fd);
    close(signal_ends[0]);
    close(signal_ends[1]);
}
TestSuite(server, .init = setup, .fini = teardown);

/* ---- Clients ---- */

/* One end is the test's, the other the daemon's. */
struct client {
    int fd;
    struct connection *connection;
};

static int connect_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = 20};
    int bytes = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static struct client connect_client(void)
{
    struct client client = {.fd = connect_here()};
    server_accept(server);
    client.connection = LIST_MEMBER(server->all.previous, struct connection, in_all);
    return client;
}

static void send_bytes(int fd, const void *data, size_t size)
{
    cr_assert_eq(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void give_turns(struct client *client)
{
    client->connection->readable = true;
    do
        connection_turn(client->connection);
    while (connection_has_work(client->connection));
}

/* A round's work on one client; false: the connection is over, and has gone. */
static bool serve(struct client *client)
{
    give_turns(client);
    intake_kick(&server->intake);
    if (!connection_is_over(client->connection))
        return true;
    server_forget(server, client->connection);
    return false;
}

static void say_hello(int fd, const char *producer)
{
    struct buffer frame = {0};
    struct wire_hello hello = {.version = WIRE_VERSION,
                               .producer = {producer, producer ? strlen(producer) : 0}};
    cr_assert_eq(wire_write_hello(&frame, &hello, NULL), OK);
    send_bytes(fd, frame.data, frame.size);
    buffer_release(&frame);
}

static void add_event(struct buffer *frame, uint64_t id, uint64_t number, const uint8_t *payload,
                      size_t payload_bytes)
{
    size_t start = frame->size;
    struct event event = {.topic = "t",
                          .topic_bytes = 1,
                          .time_ns = EVENT_TIME_NONE,
                          .payload = payload,
                          .payload_bytes = payload_bytes,
                          .producer = number ? "p" : NULL,
                          .producer_bytes = number ? 1 : 0,
                          .number = number};
    cr_assert_eq(wire_begin_pub(frame, id, NULL), OK);
    cr_assert_eq(wire_add_event(frame, &event, NULL), OK);
    wire_end_pub(frame, start, 1);
}

/* A payload that does not compress; two of them have no room in one segment. */
static const uint8_t *large_payload(void)
{
    static uint8_t payload[LARGE] = {0xc6, 0, (LARGE - 5) >> 16, (LARGE - 5) >> 8 & 255,
                                     (LARGE - 5) & 255};
    uint64_t state = 1;
    for (size_t i = 5; i < sizeof payload; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        payload[i] = (uint8_t)(state >> 56);
    }
    return payload;
}

static void publish(int fd, uint64_t id, uint64_t number, bool large)
{
    static const uint8_t small[] = {0x01};
    struct buffer frame = {0};
    add_event(&frame, id, number, large ? large_payload() : small, large ? LARGE : sizeof small);
    send_bytes(fd, frame.data, frame.size);
    buffer_release(&frame);
}

/* An array of as many values as are looked through on the network thread, and one more. */
static void publish_heavy(int fd, uint64_t id, uint64_t number)
{
    static uint8_t payload[3 + EXAMINER_VALUES + 1] = {0xdc, (EXAMINER_VALUES + 1) >> 8,
                                                       (EXAMINER_VALUES + 1) & 255};
    struct buffer frame = {0};
    add_event(&frame, id, number, payload, sizeof payload);
    send_bytes(fd, frame.data, frame.size);
    buffer_release(&frame);
}

static void ping(int fd)
{
    struct buffer frame = {0};
    cr_assert_eq(wire_write_ping(&frame, 7, NULL), OK);
    send_bytes(fd, frame.data, frame.size);
    buffer_release(&frame);
}

/* Everything that comes until the end, or until the daemon has no more to say. */
static size_t read_rest(int fd, char *to, size_t size)
{
    size_t at = 0;
    ssize_t got;
    while (at < size - 1 && (got = recv(fd, to + at, size - 1 - at, MSG_DONTWAIT)) > 0)
        at += (size_t)got;
    to[at] = '\0';
    return at;
}

static bool has(const char *data, size_t size, const char *text)
{
    return memmem(data, size, text, strlen(text)) != NULL;
}

/* ---- The disk ---- */

/* A commit is under way, and stays so; what is appended now waits behind it. */
static void occupy_committer(bool large)
{
    struct client filler = connect_client();
    atomic_store(&held, true);
    say_hello(filler.fd, NULL);
    publish(filler.fd, 1, 0, large);
    cr_assert(serve(&filler));
    while (segment_log_written(log) < segment_log_appended(log))
        pause_briefly();
}

static bool disk_is_full(void)
{
    struct segment_log_counters counters;
    segment_log_count(log, &counters);
    return counters.disk_full;
}

/* What waits behind the commit has no room. */
static void withdraw_the_rest(void)
{
    atomic_store(&held, false);
    while (!disk_is_full())
        pause_briefly();
}

static void make_room(void)
{
    atomic_store(&full, false);
    while (disk_is_full())
        pause_briefly();
}

/* ---- Withdrawals ---- */

static void await_examiner(void)
{
    struct pollfd done = {.fd = examiner_fd(server->examiner), .events = POLLIN};
    cr_assert_eq(poll(&done, 1, 20000), 1);
    server_take_result(server);
}

/* p's first event waits for the disk; p does not read any more, and that was noticed. */
static struct client leave_one_waiting(void)
{
    struct client p = connect_client();
    say_hello(p.fd, "p");
    cr_assert(serve(&p));
    cr_assert_eq(shutdown(p.fd, SHUT_RD), 0);
    ping(p.fd);
    publish(p.fd, 1, 1, true);
    cr_assert(serve(&p));
    cr_assert(p.connection->deaf);
    cr_assert_eq(p.connection->events, 1);
    return p;
}

Test(server, stores_nothing_behind_a_withdrawn_event_of_a_producer_that_is_gone)
{
    occupy_committer(true);
    struct client p = leave_one_waiting();
    publish(p.fd, 2, 2, false);
    withdraw_the_rest();

    server_take_news(server);
    make_room();
    serve(&p);
    cr_assert_eq(segment_log_appended(log), 1);
    cr_assert_eq(segment_log_producer_number(log, "p", 1), 0, "or its retry would be a duplicate");
}

Test(server, stores_nothing_that_was_being_examined_behind_a_withdrawn_event)
{
    occupy_committer(true);
    struct client p = leave_one_waiting();
    publish_heavy(p.fd, 2, 2);
    cr_assert(serve(&p));
    cr_assert_eq(p.connection->away, AWAY_RUNNING);
    withdraw_the_rest();

    server_take_news(server);
    make_room();
    await_examiner();
    serve(&p);
    cr_assert_eq(segment_log_appended(log), 1);
    cr_assert_eq(segment_log_producer_number(log, "p", 1), 0);
}

static void send_line(int fd, uint64_t number, size_t text_bytes)
{
    struct buffer line = {0};
    buffer_printf(&line, NULL, "{\"topic\":\"t\",\"producer\":\"p\",\"number\":%llu",
                  (unsigned long long)number);
    buffer_printf(&line, NULL, ",\"payload\":\"");
    const uint8_t *letters = large_payload();
    for (size_t i = 0; i < text_bytes; i++)
        buffer_printf(&line, NULL, "%c", 'A' + (letters[i] & 15));
    buffer_printf(&line, NULL, "\"}\n");
    send_bytes(fd, line.data, line.size);
    buffer_release(&line);
}

Test(server, stores_no_line_behind_a_withdrawn_one_of_a_client_that_is_gone)
{
    static const char refused[] = "{}\n";
    occupy_committer(true);
    struct client p = connect_client();
    cr_assert_eq(shutdown(p.fd, SHUT_RD), 0);
    send_bytes(p.fd, refused, sizeof refused - 1);
    send_line(p.fd, 1, LARGE);
    cr_assert(serve(&p));
    await_examiner();
    cr_assert(serve(&p));
    cr_assert(p.connection->deaf);
    cr_assert_eq(p.connection->events, 1);
    send_line(p.fd, 2, 1);
    withdraw_the_rest();

    server_take_news(server);
    make_room();
    serve(&p);
    cr_assert_eq(segment_log_appended(log), 1);
    cr_assert_eq(segment_log_producer_number(log, "p", 1), 0);
}

/* The daemon's own loop, until it is stopped as by a signal. */
static void *run(void *context)
{
    server_run(context, NULL);
    return NULL;
}

static void stop(pthread_t thread)
{
    struct signalfd_siginfo signal = {.ssi_signo = SIGTERM};
    cr_assert_eq(write(signal_ends[1], &signal, sizeof signal), (ssize_t)sizeof signal);
    pthread_join(thread, NULL);
}

/*
 * One network thread commits; the other one is there for whoever comes. Nothing is looked at by the
 * clock here, so what the clients hear is what was told at once.
 */
Test(server, takes_clients_in_while_a_commit_hangs_and_sends_the_ack_when_it_is_over)
{
    char said[4096];
    pthread_t thread;
    server->ticked_ns = INT64_MAX / 2;
    cr_assert_eq(pthread_create(&thread, NULL, run, server), 0);
    int first = connect_here(), second = connect_here();
    say_hello(first, NULL);
    ssize_t size = recv(first, said, sizeof said, 0);
    cr_assert(size > 0 && has(said, (size_t)size, "welcome"));
    atomic_store(&held, true);
    publish(first, 1, 0, false);
    while (!atomic_load(&hanging))
        pause_briefly();

    say_hello(second, NULL);
    size = recv(second, said, sizeof said, 0);
    cr_assert(size > 0 && has(said, (size_t)size, "welcome"));
    atomic_store(&held, false);
    size = recv(first, said, sizeof said, 0);
    cr_assert(size > 0 && has(said, (size_t)size, "ack"));
    stop(thread);
    close(first);
    close(second);
}

/*
 * Two threads of the log tell of the same step, and the one that looked first may write down last
 * what was told: then the next full disk is no news. Nobody waits for ever for all that.
 */
Test(server, hears_of_a_withdrawal_even_when_nobody_wakes_it)
{
    char said[4096] = "";
    pthread_t thread;
    occupy_committer(true);
    struct client client = connect_client();
    say_hello(client.fd, NULL);
    publish(client.fd, 1, 0, true);
    cr_assert(serve(&client));
    read_rest(client.fd, said, sizeof said);
    atomic_store(&progress.full_told, true);
    atomic_store(&progress.missing_told, true);
    withdraw_the_rest();
    uint64_t told; /* to nobody */
    cr_assert_eq(read(progress.fd, &told, sizeof told), sizeof told);

    cr_assert_eq(pthread_create(&thread, NULL, run, server), 0);
    ssize_t size = recv(client.fd, said, sizeof said, 0);
    cr_assert(size > 0 && has(said, (size_t)size, "no_space"));
    stop(thread);
}

/* ---- A failed disk ---- */

static void fail_the_disk(void)
{
    atomic_store(&broken, true);
    atomic_store(&held, false);
    while (segment_log_failure(log, NULL) == OK)
        pause_briefly();
}

Test(server, tells_who_sent_on_while_the_disk_failed_that_the_outcome_is_unknown)
{
    char said[4096];
    occupy_committer(false);
    struct client p = connect_client();
    say_hello(p.fd, "p");
    publish(p.fd, 1, 1, false);
    cr_assert(serve(&p));
    read_rest(p.fd, said, sizeof said);
    fail_the_disk();
    publish(p.fd, 2, 2, false);
    cr_assert(serve(&p), "its last words wait behind the first ack");

    server_take_news(server);
    cr_assert_not(serve(&p));
    size_t size = read_rest(p.fd, said, sizeof said);
    cr_assert(has(said, size, "outcome unknown"), "%zu bytes", size);
}

Test(server, tells_who_sent_lines_on_while_the_disk_failed_that_the_outcome_is_unknown)
{
    char said[4096];
    occupy_committer(false);
    struct client p = connect_client();
    send_line(p.fd, 1, 1);
    cr_assert(serve(&p));
    fail_the_disk();
    send_line(p.fd, 2, 1);
    cr_assert(serve(&p));

    server_take_news(server);
    cr_assert_not(serve(&p));
    size_t size = read_rest(p.fd, said, sizeof said);
    cr_assert(has(said, size, "outcome unknown") && has(said, size, "\"ok\":false"), "%s", said);
}

/* The failure comes after a commit whose acks have not left yet. */
Test(server, tells_of_a_failed_disk_behind_the_acks_of_what_was_durable_before)
{
    char said[4096];
    struct client p = connect_client();
    say_hello(p.fd, NULL);
    publish(p.fd, 1, 0, false);
    give_turns(&p);
    occupy_committer(false);
    atomic_store(&held, false);
    while (segment_log_durable(log) < 2)
        pause_briefly();
    occupy_committer(false);
    fail_the_disk();

    server_take_news(server);
    cr_assert_not(serve(&p));
    size_t size = read_rest(p.fd, said, sizeof said);
    cr_assert(has(said, size, "ack") && has(said, size, "outcome unknown"), "%zu bytes", size);
}

/* ---- Memory for answers ---- */

/* As much as others would have to be evicted for. */
static void fill_memory(void)
{
    server_count_answers(server, 0, INPUT_BYTES);
}

static void free_memory(void)
{
    server_count_answers(server, INPUT_BYTES, 0);
}

Test(server, adds_nothing_to_answers_that_wait_while_their_memory_is_used_up)
{
    occupy_committer(false);
    struct client client = connect_client();
    say_hello(client.fd, NULL);
    publish(client.fd, 1, 0, false);
    cr_assert(serve(&client));
    fill_memory();
    publish(client.fd, 2, 0, false);
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->events, 1);
    free_memory();
    cr_assert(list_contains(&client.connection->in_ready), "it is woken");
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->events, 2);

    fill_memory();
    publish(client.fd, 3, 0, false);
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->events, 2);
    atomic_store(&held, false);
    while (segment_log_durable(log) < 3)
        pause_briefly();
    server_take_news(server);
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->events, 3, "who has no answer waiting makes room by reading");
    free_memory();
}

/* The examiner does nothing else before its result has been used. */
Test(server, takes_what_was_examined_whatever_answers_wait)
{
    occupy_committer(false);
    struct client client = connect_client();
    say_hello(client.fd, NULL);
    publish(client.fd, 1, 0, false);
    publish_heavy(client.fd, 2, 0);
    publish(client.fd, 3, 0, false);
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->away, AWAY_RUNNING);
    fill_memory();
    cr_assert(serve(&client));
    await_examiner();
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->away, AWAY_NOT);
    cr_assert_eq(client.connection->events, 2, "and nothing behind it");
    free_memory();
    cr_assert(serve(&client));
    cr_assert_eq(client.connection->events, 3);
}
