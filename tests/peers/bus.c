/*
 * tests/peers/bus.c - another bus under the load of `daybook bench bus`, measured in the same way.
 *
 *     bus PEER ADDRESS SUBSCRIBERS RATE SECONDS ROUND
 *
 * ADDRESS is a Unix socket, or a port on 127.0.0.1. Each millisecond RATE / 1000 events are due and
 * are sent, whatever the answers do (with a RATE below 1000: one event each so many milliseconds);
 * first without subscribers, then with them, which are connections of one thread. Times run from
 * the moment when an event was due; what has no answer 10 s behind the last is counted as missing.
 *
 * Prints lines as the other peers do: test, peer, metric, value, unit, round.
 */
#include "tests/peers/bus.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "tools/daybook/bench_samples.h"

#define TICK_NS  INT64_C(1000000)
#define LIMIT_NS INT64_C(10000000000)
enum { READ_BYTES = 256 << 10, SUBSCRIBERS_MAX = 1000 };

static const struct bus_peer *peer;
static const char *address, *round_text;
static struct bench_pool *pool;
static struct error error;
static _Atomic int64_t *due_ns; /* of each event */
static size_t event_count, per_send;
static int64_t between_ns;

void bus_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void check(enum error_code code)
{
    if (code)
        bus_die("%s", error.text);
}

void bus_write_bytes(struct bus_link *link, const void *data, size_t bytes)
{
    check(buffer_append(&link->out, data, bytes, &error));
}

void bus_write(struct bus_link *link, const char *format, ...)
{
    char text[2000];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (bytes < 0 || (size_t)bytes >= sizeof text)
        bus_die("a request is too long");
    bus_write_bytes(link, text, (size_t)bytes);
}

static int connect_to(const char *where)
{
    struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
    struct sockaddr_in port_address = {.sin_family = AF_INET,
                                       .sin_port = htons((uint16_t)atoi(where)),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool is_unix = strchr(where, '/') != NULL;
    snprintf(unix_address.sun_path, sizeof unix_address.sun_path, "%s", where);
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *to =
        is_unix ? (struct sockaddr *)&unix_address : (struct sockaddr *)&port_address;
    if (fd < 0 || connect(fd, to, is_unix ? sizeof unix_address : sizeof port_address))
        bus_die("cannot connect to %s: %s", where, strerror(errno));
    int one = 1;
    if (!is_unix)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* What the socket takes now. */
static void send_some(struct bus_link *link)
{
    while (link->out.size > 0) {
        ssize_t sent = send(link->fd, link->out.data, link->out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            bus_die("%s: the connection is lost: %s", peer->name, strerror(errno));
        buffer_consume(&link->out, (size_t)sent);
    }
}

/* What has come; false: nothing. */
static bool receive_some(struct bus_link *link)
{
    buffer_consume(&link->in, link->taken);
    link->taken = 0;
    check(buffer_reserve(&link->in, READ_BYTES + 1, &error));
    ssize_t got = recv(link->fd, link->in.data + link->in.size, READ_BYTES, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        bus_die("%s: the connection is lost", peer->name);
    if (got > 0)
        link->in.size += (size_t)got;
    link->in.data[link->in.size] = '\0'; /* for who looks for the end of a line */
    return got > 0;
}

/* Send the opening, and give the other side time to have taken it. */
static void open_link(struct bus_link *link, void (*open)(struct bus_link *link),
                      unsigned (*take)(struct bus_link *link))
{
    link->fd = connect_to(address);
    open(link);
    send_some(link);
    while (poll(&(struct pollfd){.fd = link->fd, .events = POLLIN}, 1, 20) > 0 &&
           receive_some(link))
        take(link);
    send_some(link);
}

static void close_link(struct bus_link *link)
{
    close(link->fd);
    buffer_release(&link->in);
    buffer_release(&link->out);
}

/* ---- The publisher ---- */

static void take_answers(struct bus_link *link, struct bench_samples *samples)
{
    while (receive_some(link)) {
        unsigned answers = peer->take_answers(link);
        int64_t now_ns = clock_monotonic_ns();
        for (; answers > 0; answers--)
            check(bench_samples_add(samples, now_ns - atomic_load(&due_ns[link->seen++]), &error));
    }
}

static void wait_until(struct bus_link *link, int64_t until_ns, struct bench_samples *samples)
{
    int64_t left_ns;
    while ((left_ns = until_ns - clock_monotonic_ns()) > 0) {
        short events = (short)(link->out.size ? POLLIN | POLLOUT : POLLIN);
        struct pollfd wanted = {.fd = link->fd, .events = events};
        struct timespec left = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
        if (ppoll(&wanted, 1, &left, NULL) <= 0)
            continue;
        send_some(link);
        take_answers(link, samples);
        if (link->seen == event_count)
            return;
    }
}

/* Gives how many events a second were answered. */
static double publish(struct bench_samples *samples)
{
    struct bus_link link = {0};
    open_link(&link, peer->open_publisher, peer->take_answers);
    int64_t start_ns = clock_monotonic_ns() + TICK_NS, next_ns = start_ns;
    for (size_t i = 0; i < event_count; next_ns += between_ns) {
        wait_until(&link, next_ns, samples);
        for (size_t end = i + per_send; i < end && i < event_count; i++) {
            atomic_store(&due_ns[i], next_ns);
            peer->write_event(&link, bench_pool_event(pool, i));
        }
        send_some(&link);
    }
    wait_until(&link, next_ns + LIMIT_NS, samples);
    int64_t took_ns = clock_monotonic_ns() - start_ns;
    close_link(&link);
    return (double)link.seen * 1e9 / (double)took_ns;
}

/* ---- The subscribers ---- */

struct readers {
    struct bus_link links[SUBSCRIBERS_MAX];
    unsigned count, complete;
    int epoll_fd;
    atomic_bool stop, ended;
    struct bench_samples samples;
};

static void take_events(struct readers *readers, struct bus_link *link)
{
    if (!receive_some(link))
        return;
    unsigned events;
    while ((events = peer->take_events(link)) > 0) {
        int64_t now_ns = clock_monotonic_ns();
        if (link->seen + events > event_count)
            bus_die("%s: a subscriber got more events than were published", peer->name);
        for (; events > 0; events--)
            check(bench_samples_add(&readers->samples,
                                    now_ns - atomic_load(&due_ns[link->seen++]), &error));
        readers->complete += link->seen == event_count;
    }
    send_some(link);
}

static void *read_in_thread(void *argument)
{
    struct readers *readers = argument;
    struct epoll_event ready[64];
    while (readers->complete < readers->count && !atomic_load(&readers->stop)) {
        int count = epoll_wait(readers->epoll_fd, ready, 64, 100);
        for (int i = 0; i < count; i++)
            take_events(readers, ready[i].data.ptr);
    }
    atomic_store(&readers->ended, true);
    return NULL;
}

static void open_readers(struct readers *readers)
{
    readers->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < readers->count; i++) {
        struct bus_link *link = &readers->links[i];
        link->number = i;
        open_link(link, peer->open_subscriber, peer->take_events);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
        if (epoll_ctl(readers->epoll_fd, EPOLL_CTL_ADD, link->fd, &event))
            bus_die("watch a subscriber: %s", strerror(errno));
    }
}

/* ---- The report ---- */

static void print(const char *metric, double value, const char *unit)
{
    printf("BUS\t%s\t%s\t%.6g\t%s\t%s\n", peer->name, metric, value, unit, round_text);
}

static void print_samples(const char *what, struct bench_samples *samples, size_t expected)
{
    char metric[60];
    snprintf(metric, sizeof metric, "%s_p50", what);
    print(metric, (double)bench_samples_percentile(samples, 0.5) / 1e3, "us");
    snprintf(metric, sizeof metric, "%s_p99", what);
    print(metric, (double)bench_samples_percentile(samples, 0.99) / 1e3, "us");
    snprintf(metric, sizeof metric, "%s_missing", what);
    print(metric, (double)(expected - samples->count), "events");
    bench_samples_release(samples);
}

static void measure_alone(void)
{
    struct bench_samples samples = {0};
    double rate = publish(&samples);
    print_samples("alone", &samples, event_count);
    print("alone_rate", rate, "events/s");
}

static void measure_watched(unsigned subscribers)
{
    static struct readers readers;
    struct bench_samples samples = {0};
    pthread_t thread;
    readers.count = subscribers;
    open_readers(&readers);
    if (pthread_create(&thread, NULL, read_in_thread, &readers))
        bus_die("start a thread: %s", strerror(errno));
    double rate = publish(&samples);
    int64_t limit_ns = clock_monotonic_ns() + LIMIT_NS;
    while (!atomic_load(&readers.ended) && clock_monotonic_ns() < limit_ns)
        clock_sleep_until_ns(clock_monotonic_ns() + TICK_NS);
    atomic_store(&readers.stop, true);
    pthread_join(thread, NULL);
    print_samples("watched", &samples, event_count);
    print("watched_rate", rate, "events/s");
    print_samples("arrival", &readers.samples, event_count * subscribers);
    for (unsigned i = 0; i < subscribers; i++)
        close_link(&readers.links[i]);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        bus_die("usage: bus redis|nats ADDRESS SUBSCRIBERS RATE SECONDS ROUND");
    peer = strcmp(argv[1], "nats") == 0 ? &bus_nats : &bus_redis;
    address = argv[2];
    unsigned subscribers = (unsigned)atoi(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]);
    round_text = argv[6];
    if (subscribers < 1 || subscribers > SUBSCRIBERS_MAX || rate < 1 || seconds <= 0)
        bus_die("a number makes no sense");
    per_send = rate < 1000 ? 1 : (size_t)(rate / 1000);
    between_ns = rate < 1000 ? (int64_t)(1e9 / rate) : TICK_NS;
    event_count = (size_t)(rate * seconds) / per_send * per_send;
    due_ns = calloc(event_count + 1, sizeof *due_ns);
    if (!due_ns)
        bus_die("no memory");
    check(bench_pool_create(1, &pool, &error));
    measure_alone();
    measure_watched(subscribers);
    bench_pool_free(pool);
    free((void *)due_ns);
    return 0;
}
