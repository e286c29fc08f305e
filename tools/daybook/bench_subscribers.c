#include "tools/daybook/bench_subscribers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/clock.h"
#include "tools/client/link.h"
#include "tools/client/wire_subscription.h"

#define ANSWER_LIMIT_NS INT64_C(20000000000) /* for one answer, and for the last events */
#define POLL_NS         INT64_C(1000000)
enum { WAIT_MS = 100, AT_ONCE = 64 };

struct subscriber {
    struct link link;
    uint64_t first; /* the sequence that comes first */
    uint64_t seen;  /* events so far */
};

struct bench_subscribers {
    struct subscriber *list;
    unsigned count;
    size_t expected;
    const _Atomic int64_t *due_ns;
    int epoll_fd;
    pthread_t thread;
    bool has_thread;
    atomic_bool stop, ended;
    unsigned complete; /* subscribers that have all */
    struct bench_samples samples;
    enum error_code code;
    struct error error;
};

static enum error_code send_all(struct link *link, const struct buffer *frames, struct error *error)
{
    size_t sent = 0, now = 0;
    enum error_code code = OK;
    for (; !code && sent < frames->size; sent += now) {
        code = link_send(link, frames->data + sent, frames->size - sent, &now, error);
        if (!code && now == 0)
            link_wait(link, true, WAIT_MS);
    }
    return code;
}

/* The next frame, which must be of this type. */
static enum error_code expect(struct link *link, enum wire_type wanted,
                              struct msgpack_cursor *cursor_out, uint32_t *left_out,
                              struct error *error)
{
    int64_t limit_ns = clock_monotonic_ns() + ANSWER_LIMIT_NS;
    enum wire_type type;
    enum error_code code;
    while ((code = link_receive(link, cursor_out, error)) == ERROR_END) {
        if (clock_monotonic_ns() > limit_ns)
            return error_set(error, ERROR_BUSY, "daybookd does not answer a subscriber");
        link_wait(link, false, WAIT_MS);
    }
    if (!code)
        code = wire_read_type(cursor_out, &type, left_out, error);
    if (!code && type != wanted)
        code = error_set(error, ERROR_INVALID, "daybookd answers a subscriber with another frame");
    return code;
}

static enum error_code subscribe(struct subscriber *subscriber, const char *socket,
                                 struct error *error)
{
    static const struct wire_hello hello = {.version = WIRE_VERSION,
                                            .client = {"daybook-bench", 13}};
    static const struct wire_subscribe request = {.start = WIRE_START_LATEST};
    struct wire_subscribed subscribed = {0};
    struct buffer frames = {0};
    struct msgpack_cursor cursor;
    uint32_t left;
    enum error_code code =
        link_open(&subscriber->link, socket, clock_monotonic_ns() + ANSWER_LIMIT_NS, error);
    if (!code)
        code = wire_write_hello(&frames, &hello, error);
    if (!code)
        code = wire_write_subscribe(&frames, &request, error);
    if (!code)
        code = send_all(&subscriber->link, &frames, error);
    if (!code)
        code = expect(&subscriber->link, WIRE_WELCOME, &cursor, &left, error);
    if (!code)
        code = expect(&subscriber->link, WIRE_SUBSCRIBED, &cursor, &left, error);
    if (!code)
        code = wire_read_subscribed(cursor, left, &subscribed, error);
    subscriber->first = subscribed.after + 1;
    buffer_release(&frames);
    return code;
}

/* One sample for each event of the frame. */
static enum error_code note_events(struct bench_subscribers *all, struct subscriber *subscriber,
                                   const struct wire_events *events, int64_t now_ns,
                                   struct error *error)
{
    enum error_code code = OK;
    if (events->last + 1 != subscriber->first + subscriber->seen + events->count ||
        subscriber->seen + events->count > all->expected)
        return error_set(error, ERROR_IO, "a subscriber got other events than were published");
    for (uint32_t i = 0; !code && i < events->count; i++)
        code = bench_samples_add(
            &all->samples, now_ns - atomic_load(&all->due_ns[subscriber->seen++]), error);
    all->complete += events->count > 0 && subscriber->seen == all->expected;
    return code;
}

static enum error_code take_frame(struct bench_subscribers *all, struct subscriber *subscriber,
                                  struct msgpack_cursor frame, int64_t now_ns, struct error *error)
{
    enum wire_type type;
    uint32_t left;
    struct wire_events events;
    enum error_code code = wire_read_type(&frame, &type, &left, error);
    if (code || type == WIRE_CAUGHT_UP)
        return code;
    if (type != WIRE_EVENTS)
        return error_set(error, ERROR_IO, "a subscriber got a frame that tells of trouble");
    code = wire_read_events(frame, left, &events, error);
    return code ? code : note_events(all, subscriber, &events, now_ns, error);
}

static enum error_code take_input(struct bench_subscribers *all, struct subscriber *subscriber,
                                  struct error *error)
{
    struct msgpack_cursor frame;
    enum error_code code;
    while ((code = link_receive(&subscriber->link, &frame, error)) == OK)
        if ((code = take_frame(all, subscriber, frame, clock_monotonic_ns(), error)))
            return code;
    return code == ERROR_END ? OK : code;
}

static void *read_in_thread(void *argument)
{
    struct bench_subscribers *all = argument;
    struct epoll_event ready[AT_ONCE];
    while (!all->code && all->complete < all->count && !atomic_load(&all->stop)) {
        int count = epoll_wait(all->epoll_fd, ready, AT_ONCE, WAIT_MS);
        for (int i = 0; i < count && !all->code; i++)
            all->code = take_input(all, ready[i].data.ptr, &all->error);
    }
    atomic_store(&all->ended, true);
    return NULL;
}

static enum error_code start_all(struct bench_subscribers *all, const char *socket,
                                 struct error *error)
{
    all->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (all->epoll_fd < 0)
        return error_set_errno(error, errno, "make an epoll");
    for (unsigned i = 0; i < all->count; i++) {
        struct subscriber *subscriber = &all->list[i];
        enum error_code code = subscribe(subscriber, socket, error);
        if (code)
            return code;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = subscriber};
        if (epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, subscriber->link.fd, &event))
            return error_set_errno(error, errno, "watch a subscriber");
    }
    int result = pthread_create(&all->thread, NULL, read_in_thread, all);
    if (result)
        return error_set_errno(error, result, "start a thread");
    all->has_thread = true;
    return OK;
}

enum error_code bench_subscribers_start(const struct bench_daemon *daemon, unsigned count,
                                        size_t expected, const _Atomic int64_t *due_ns,
                                        struct bench_subscribers **subscribers_out,
                                        struct error *error)
{
    char socket[BENCH_SOCKET_SIZE];
    struct bench_subscribers *all = calloc(1, sizeof *all);
    struct subscriber *list = calloc(count, sizeof *list);
    if (!all || !list) {
        free(all);
        free(list);
        return error_set(error, ERROR_MEMORY, "no memory for subscribers");
    }
    all->list = list;
    all->count = count;
    all->expected = expected;
    all->due_ns = due_ns;
    all->epoll_fd = -1;
    for (unsigned i = 0; i < count; i++)
        list[i].link.fd = -1;
    bench_daemon_socket(daemon, socket);
    enum error_code code = start_all(all, socket, error);
    if (code) {
        bench_subscribers_free(all);
        return code;
    }
    *subscribers_out = all;
    return OK;
}

static void end_thread(struct bench_subscribers *all)
{
    atomic_store(&all->stop, true);
    if (all->has_thread)
        pthread_join(all->thread, NULL);
    all->has_thread = false;
}

enum error_code bench_subscribers_finish(struct bench_subscribers *subscribers,
                                         struct bench_samples *samples_out, struct error *error)
{
    int64_t limit_ns = clock_monotonic_ns() + ANSWER_LIMIT_NS;
    enum error_code code = OK;
    while (!code && !atomic_load(&subscribers->ended) && clock_monotonic_ns() < limit_ns) {
        clock_sleep_until_ns(clock_monotonic_ns() + POLL_NS);
        code = bench_check_interrupted(error);
    }
    end_thread(subscribers);
    if (code)
        return code;
    if (subscribers->code) {
        *error = subscribers->error;
        return subscribers->code;
    }
    if (subscribers->complete < subscribers->count)
        return error_set(error, ERROR_IO, "20 s later %u of %u subscribers had all events",
                         subscribers->complete, subscribers->count);
    *samples_out = subscribers->samples;
    subscribers->samples = (struct bench_samples){0};
    return OK;
}

void bench_subscribers_free(struct bench_subscribers *subscribers)
{
    if (!subscribers)
        return;
    end_thread(subscribers);
    for (unsigned i = 0; i < subscribers->count; i++)
        link_close(&subscribers->list[i].link);
    if (subscribers->epoll_fd >= 0)
        close(subscribers->epoll_fd);
    bench_samples_release(&subscribers->samples);
    free(subscribers->list);
    free(subscribers);
}
