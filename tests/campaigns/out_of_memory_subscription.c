/* A subscriber of the client library without memory: it says so, and goes on without loss. */
#include "tests/campaigns/out_of_memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/client/subscription.h"

enum { FRAME = 7, COMMITTED = 4, LAST = 4 * FRAME };

static const struct wire_text LOG = {"0011223344556677", WIRE_LOG_ID_TEXT};

struct run {
    struct faults_case *c;
    struct daybook_subscription *sub;
    bool shared;
    int daemon_fd;
    uint64_t given; /* the last event that was given */
};

static void add_frame(struct buffer *out, uint64_t first, uint64_t last, bool shared)
{
    struct buffer events = {0};
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        struct event event = {.sequence = sequence,
                              .time_ns = 1,
                              .topic = "t",
                              .topic_bytes = 1,
                              .payload = "\xc0",
                              .payload_bytes = 1};
        if (shared)
            wire_write_event_try(&events, &event, 1, NULL);
        else
            wire_write_event(&events, &event, NULL);
    }
    wire_write_events_head(out, last, (uint32_t)(last + 1 - first), events.size, NULL);
    buffer_append(out, events.data, events.size, NULL);
    buffer_release(&events);
}

/* All that a daemon would say to who begins behind `after`. */
static void add_stream(const struct run *run, struct buffer *out, uint64_t after)
{
    struct wire_welcome welcome = {
        .version = WIRE_VERSION, .server = {"test", 4}, .log = LOG, .durable = LAST};
    struct wire_subscribed subscribed = {.after = after, .durable = LAST, .log = LOG};
    wire_write_welcome(out, &welcome, NULL);
    wire_write_subscribed(out, &subscribed, NULL);
    for (uint64_t last = after; last < LAST;) {
        uint64_t first = last + 1;
        last += FRAME - last % FRAME;
        add_frame(out, first, last, run->shared);
    }
}

/* The daemon's side has all the memory it wants. */
static void connect_it(struct run *run, uint64_t after)
{
    struct buffer said = {0};
    int ends[2];
    faults_case_exempt++;
    if (run->daemon_fd >= 0)
        close(run->daemon_fd);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
        faults_case_blame(run->c, "no pair of sockets");
    add_stream(run, &said, after);
    if (send(ends[1], said.data, said.size, MSG_NOSIGNAL) != (ssize_t)said.size)
        faults_case_blame(run->c, "a socket takes no %zu bytes", said.size);
    buffer_release(&said);
    faults_case_exempt--;
    run->sub->link.fd = ends[0];
    run->daemon_fd = ends[1];
}

static void answer(struct run *run)
{
    struct buffer said = {0};
    faults_case_exempt++;
    if (run->shared)
        wire_write_settled(&said, 1, 1, NULL);
    else
        wire_write_committed(&said, COMMITTED, NULL);
    send(run->daemon_fd, said.data, said.size, MSG_NOSIGNAL);
    buffer_release(&said);
    faults_case_exempt--;
}

static bool took(struct run *run, enum daybook_code code, const struct daybook_error *failure)
{
    struct error error = {.code = code == DAYBOOK_MEMORY ? ERROR_MEMORY : ERROR_IO};
    snprintf(error.text, sizeof error.text, "%s", failure->text);
    return faults_case_took(run->c, code ? error.code : OK, &error);
}

/* One is settled, and answered at once: what stands before the answer has to be kept. */
static enum daybook_code settle_one(struct run *run, struct daybook_error *error)
{
    enum daybook_code code =
        run->shared ? daybook_subscription_accept(run->sub, COMMITTED, error)
                    : daybook_subscription_commit(run->sub, COMMITTED, error);
    /* Without memory for its frame it is still due, and there is nothing to answer. */
    if (code || (run->shared && run->sub->settle_sent == 0))
        return code;
    answer(run);
    return daybook_subscription_flush(run->sub, error);
}

static enum daybook_code take_all(struct run *run, struct daybook_error *error)
{
    struct daybook_event event;
    while (run->given < LAST) {
        enum daybook_code code = daybook_subscription_next(run->sub, 0, &event, error);
        if (code)
            return code;
        if (event.sequence != run->given + 1)
            faults_case_blame(run->c, "event %" PRIu64 " comes after %" PRIu64, event.sequence,
                              run->given);
        run->given = event.sequence;
        if (run->given == COMMITTED)
            code = settle_one(run, error);
        if (code)
            return code;
    }
    return DAYBOOK_OK;
}

/* When the failure has cost the connection, with a new one; with memory now, for an end. */
static void go_on(struct run *run)
{
    struct daybook_error error;
    enum daybook_code code = DAYBOOK_OK;
    faults_case_exempt++;
    if (run->sub->state == SUBSCRIPTION_OFF) {
        connect_it(run, run->given);
        code = subscription_greet(run->sub, &error);
    }
    if (!code)
        code = take_all(run, &error);
    if (code)
        faults_case_blame(run->c, "with memory again it does not go on: %s", error.text);
    faults_case_exempt--;
}

static void subscribe(struct faults_case *c, bool shared)
{
    struct run run = {.c = c, .shared = shared, .daemon_fd = -1};
    struct daybook_subscription_options options = {.socket = "/nobody",
                                                   .cursor = "c",
                                                   .shared = shared,
                                                   .window_events = 4,
                                                   .retry_timeout_ms = 1};
    struct daybook_error error = {0};
    if (!took(&run, subscription_create(&options, &run.sub, &error), &error))
        return;
    connect_it(&run, 0);
    enum daybook_code code = subscription_greet(run.sub, &error);
    if (!code)
        code = take_all(&run, &error);
    if (!took(&run, code, &error))
        go_on(&run);
    daybook_subscription_close(run.sub);
    close(run.daemon_fd);
}

void out_of_memory_subscription(struct faults_case *c)
{
    subscribe(c, false);
    subscribe(c, true);
}
