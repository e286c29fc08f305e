#include "tools/zmq/outlet.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "core/clock.h"
#include "tools/zmq/histories.h"
#include "tools/zmq/socket.h"

#define MS_NS INT64_C(1000000)

enum {
    LIVE_EVENTS = 256, /* in one turn */
    COMMIT_MS = 250, /* what has left for so long is no longer in our memory */
    PATIENCE_MS = 1000,
    PATIENCE_MS_PER_EVENT = 1, /* which it gains: who takes 1,000 a second is waited for */
    LINGER_MS = 300,
};

struct outlet {
    struct outlet_options options;
    void *zmq; /* a context of its own: its end tells that everything has left */
    void *pub;
    struct notices notices;
    struct stream live;
    enum stream_state live_state;
    struct histories histories;
    int64_t settled_ns; /* live events leave from then on */
    int64_t commit_ns;  /* when to commit next */
    uint64_t marked;    /* had left at the last look */
    uint64_t committed;
    int64_t patience_ns; /* how long live events may still wait for those who do not read */
    int64_t patience_at_ns;
};

/* ---- Who subscribes to what ---- */

static void subscribe(struct outlet *outlet, bool on, const void *text, size_t bytes)
{
    zmq_setsockopt(outlet->pub, on ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE, text, bytes);
}

/*
 * Everything that is live, for who subscribes to nothing in particular: whatever begins as a live
 * message may, and no history. (Who subscribes to that first byte as well, and takes one of the two
 * back, has taken both back.)
 */
static void subscribe_to_all_live(struct outlet *outlet, bool on)
{
    static const char TOPIC_BYTES[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/-";
    if (outlet->options.prefix[0]) {
        subscribe(outlet, on, outlet->options.prefix, 1);
        return;
    }
    for (const char *byte = TOPIC_BYTES; *byte; byte++)
        subscribe(outlet, on, byte, 1);
}

static void take_live(struct outlet *outlet, bool on, const void *text, size_t bytes)
{
    if (bytes == 0)
        subscribe_to_all_live(outlet, on);
    else
        subscribe(outlet, on, text, bytes);
}

static void take_request(struct outlet *outlet, bool on, const char *text, size_t bytes)
{
    struct request request;
    struct error error;
    enum error_code code =
        request_read(outlet->options.prefix, text, bytes, clock_realtime_ns(), &request, &error);
    if (!code && request.kind == REQUEST_LIVE)
        take_live(outlet, on, text, bytes);
    else if (!code && request.kind == REQUEST_HISTORY && on)
        code = histories_begin(&outlet->histories, &request, text, bytes, &error);
    else if (!code && request.kind == REQUEST_HISTORY)
        histories_leave(&outlet->histories, text, bytes);
    else if (!code && on)
        notices_line(&outlet->notices, REPORT_WARNING,
                     "a subscription to '%.*s' gets nothing: messages begin with '%s'", (int)bytes,
                     text, outlet->options.prefix);
    if (code && on)
        notices_line(&outlet->notices, REPORT_WARNING, "a subscription to '%.*s' gets nothing: %s",
                     (int)(bytes < REQUEST_BYTES_MAX ? bytes : REQUEST_BYTES_MAX), text,
                     error.text);
}

/* What subscribers send: one byte that says whether they come or go, and what they subscribe to. */
static void take_requests(struct outlet *outlet)
{
    zmq_msg_t message;
    bool more = true;
    while (more) {
        zmq_msg_init(&message);
        more = zmq_msg_recv(&message, outlet->pub, ZMQ_DONTWAIT) >= 0;
        const char *text = zmq_msg_data(&message);
        size_t bytes = zmq_msg_size(&message);
        if (more && bytes > 0 && (text[0] == 0 || text[0] == 1)) {
            if (text[0])
                atomic_fetch_add(&outlet->options.counts->subscriptions, 1);
            else
                atomic_fetch_sub(&outlet->options.counts->subscriptions, 1);
            take_request(outlet, text[0], text + 1, bytes - 1);
        }
        zmq_msg_close(&message);
    }
}

/* ---- Live ---- */

/* Waiting costs patience, and every event that leaves brings some back. */
static void count_patience(struct outlet *outlet, int64_t now_ns, uint64_t events)
{
    int64_t passed_ns = now_ns - outlet->patience_at_ns;
    outlet->patience_at_ns = now_ns;
    if (outlet->live_state == STREAM_FULL)
        outlet->patience_ns -= passed_ns;
    outlet->patience_ns += (int64_t)events * PATIENCE_MS_PER_EVENT * MS_NS;
    if (outlet->patience_ns > PATIENCE_MS * MS_NS)
        outlet->patience_ns = PATIENCE_MS * MS_NS;
}

/*
 * Whoever has no room now is left out by libzmq from here on, without another word, until it has
 * read half of what is kept for it.
 */
static void leave_behind(struct outlet *outlet)
{
    notices_line(&outlet->notices, REPORT_WARNING,
                 "a subscriber does not read: it misses events, from sequence %" PRIu64
                 " on, until it has read half of the %d messages that are kept for it",
                 outlet->live.sequence, outlet->options.hwm);
    stream_force(&outlet->live, outlet->pub);
    atomic_fetch_add(&outlet->options.counts->left_behind, 1);
    outlet->patience_ns = PATIENCE_MS * MS_NS; /* the next one may be another */
    outlet->live_state = STREAM_MORE;
}

static void pump_live(struct outlet *outlet, int64_t now_ns, struct error *error)
{
    bool settled = now_ns >= outlet->settled_ns;
    uint64_t before = outlet->live.events;
    enum stream_state state = settled ? stream_pump(&outlet->live, outlet->pub, LIVE_EVENTS, error)
                                      : stream_open(&outlet->live, error);
    count_patience(outlet, now_ns, outlet->live.events - before);
    outlet->live_state = state;
    if (outlet->live_state == STREAM_FULL && outlet->patience_ns <= 0)
        leave_behind(outlet);
    if (stream_fd(&outlet->live) >= 0)
        atomic_store(&outlet->options.counts->open, true);
    atomic_fetch_add(&outlet->options.counts->sent, outlet->live.events - before);
}

/* What had left when we looked last, so that it is no longer in our memory. */
static enum error_code commit(struct outlet *outlet, int64_t now_ns, struct error *error)
{
    struct daybook_error why;
    if (!outlet->live.subscription || now_ns < outlet->commit_ns)
        return OK;
    outlet->commit_ns = now_ns + COMMIT_MS * MS_NS;
    if (outlet->marked > outlet->committed) {
        if (daybook_subscription_commit(outlet->live.subscription, outlet->marked, &why))
            return error_set(error, why.code == DAYBOOK_REPLACED ? ERROR_BUSY : ERROR_CLOSED, "%s",
                             why.text);
        outlet->committed = outlet->marked;
    }
    outlet->marked = outlet->live.sent;
    return OK;
}

/* ---- Running ---- */

static bool is_readable(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) > 0;
}

static int64_t sooner(int64_t timeout_ns, int64_t other_ns)
{
    if (other_ns < 0)
        other_ns = 0;
    return other_ns < timeout_ns ? other_ns : timeout_ns;
}

static enum error_code wait_for_more(struct outlet *outlet, bool more, struct error *error)
{
    int fds[HISTORIES_MAX + 2];
    int count = 0;
    int64_t now_ns = clock_monotonic_ns();
    int64_t timeout_ns = more ? 0 : stream_timeout_ns(outlet->live_state);
    bool settled = now_ns >= outlet->settled_ns;
    fds[count++] = outlet->options.stop_fd;
    if (settled && outlet->live_state == STREAM_IDLE)
        fds[count++] = stream_fd(&outlet->live);
    if (!settled)
        timeout_ns = sooner(timeout_ns, outlet->settled_ns - now_ns);
    if (outlet->live.sent > outlet->committed)
        timeout_ns = sooner(timeout_ns, outlet->commit_ns - now_ns);
    histories_wait(&outlet->histories, fds, &count, &timeout_ns);
    return socket_wait(outlet->pub, fds, count, timeout_ns, error);
}

static enum error_code serve(struct outlet *outlet, struct error *error)
{
    enum error_code code = OK;
    while (!code && !is_readable(outlet->options.stop_fd)) {
        int64_t now_ns = clock_monotonic_ns();
        notices_tick(&outlet->notices, now_ns);
        take_requests(outlet);
        pump_live(outlet, now_ns, error);
        if (outlet->live_state == STREAM_ENDED)
            return error->code;
        /* While the daemon is away, asking for each of them as well would only take time. */
        bool more = outlet->live_state != STREAM_AWAY && histories_pump(&outlet->histories);
        code = commit(outlet, now_ns, error);
        if (!code)
            code = wait_for_more(outlet, more, error);
    }
    return code;
}

/* Let everything leave that is on its way; the cursor follows when it has. */
static void finish(struct outlet *outlet)
{
    struct daybook_error why;
    int64_t start_ns = clock_monotonic_ns();
    socket_close(outlet->pub, LINGER_MS);
    outlet->pub = NULL;
    zmq_ctx_term(outlet->zmq);
    outlet->zmq = NULL;
    bool all_left = clock_monotonic_ns() - start_ns < (LINGER_MS - 10) * MS_NS;
    struct daybook_subscription *live = outlet->live.subscription;
    if (!live)
        return;
    uint64_t sequence = all_left ? outlet->live.sent : outlet->marked;
    enum daybook_code code = DAYBOOK_OK;
    if (sequence > outlet->committed)
        code = daybook_subscription_commit(live, sequence, &why);
    if (!code)
        code = daybook_subscription_flush(live, &why);
    if (code)
        report_line(outlet->options.report, REPORT_WARNING,
                    "the cursor does not follow to %" PRIu64 ", so some events come again: %s",
                    sequence, why.text);
}

enum error_code outlet_run(struct outlet *outlet, struct error *error)
{
    outlet->settled_ns = clock_monotonic_ns() + outlet->options.settle_ns;
    enum error_code code = serve(outlet, error);
    finish(outlet);
    return code;
}

/* ---- Making and ending ---- */

static enum error_code open_socket(struct outlet *outlet, struct error *error)
{
    outlet->zmq = zmq_ctx_new();
    outlet->pub = outlet->zmq ? zmq_socket(outlet->zmq, ZMQ_XPUB) : NULL;
    if (!outlet->pub)
        return socket_fail(error, "make a PUB socket");
    enum error_code code = socket_set(outlet->pub, ZMQ_SNDHWM, outlet->options.hwm, error);
    if (!code)
        code = socket_set(outlet->pub, ZMQ_XPUB_MANUAL, 1, error);
    if (!code)
        code = socket_set(outlet->pub, ZMQ_XPUB_NODROP, 1, error);
    if (!code)
        code = socket_bind(outlet->pub, outlet->options.address, error);
    return code;
}

enum error_code outlet_create(const struct outlet_options *options, struct outlet **outlet_out,
                              struct error *error)
{
    struct outlet *outlet = calloc(1, sizeof *outlet);
    if (!outlet)
        return error_set(error, ERROR_MEMORY, "no memory for the gateway");
    outlet->options = *options;
    outlet->patience_ns = PATIENCE_MS * MS_NS;
    outlet->patience_at_ns = clock_monotonic_ns();
    notices_init(&outlet->notices, options->report, clock_monotonic_ns());
    outlet->histories.options = (struct histories_options){
        .directory = options->directory,
        .socket = options->socket,
        .prefix = options->prefix,
        .notices = &outlet->notices,
        .counts = options->counts,
    };
    struct stream_options live = {
        .directory = options->directory,
        .socket = options->socket,
        .cursor = options->cursor,
        .start = DAYBOOK_START_LATEST, /* when the cursor is new: PUB is for what is new */
        .head = options->prefix,
        .topic = "",
        .notices = &outlet->notices,
    };
    enum error_code code = stream_init(&outlet->live, &live, error);
    if (!code)
        code = open_socket(outlet, error);
    outlet->histories.options.pub = outlet->pub;
    if (code) {
        outlet_free(outlet);
        return code;
    }
    *outlet_out = outlet;
    return OK;
}

void outlet_free(struct outlet *outlet)
{
    if (!outlet)
        return;
    histories_release(&outlet->histories);
    stream_release(&outlet->live);
    socket_close(outlet->pub, 0);
    if (outlet->zmq)
        zmq_ctx_term(outlet->zmq);
    free(outlet);
}
