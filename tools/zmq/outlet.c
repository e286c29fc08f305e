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
#include "tools/zmq/request.h"
#include "tools/zmq/socket.h"
#include "tools/zmq/stream.h"

#define MS_NS INT64_C(1000000)

enum {
    HISTORIES_MAX = 64,
    LIVE_EVENTS = 256, /* in one turn */
    HISTORY_EVENTS = 64,
    COMMIT_MS = 250, /* what has left for so long is no longer in our memory */
    FULL_MS = 5,     /* until a socket that was full is tried again */
    AWAY_MS = 200,
    ROUND_MS = 500, /* between two looks at clocks, when nothing comes */
    PATIENCE_MS = 1000,
    PATIENCE_MS_PER_EVENT = 1, /* which it gains: who takes 1,000 a second is waited for */
    LINGER_MS = 300,
};

struct history {
    char *text; /* of the subscription; NULL: this place is free */
    size_t text_bytes;
    unsigned subscribers;
    struct stream stream;
    enum stream_state state;
};

struct outlet {
    struct outlet_options options;
    void *zmq; /* a context of its own: its end tells that everything has left */
    void *pub;
    struct notices notices;
    struct stream live;
    enum stream_state live_state;
    struct history histories[HISTORIES_MAX];
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

static struct history *find_history(struct outlet *outlet, const void *text, size_t bytes)
{
    for (struct history *h = outlet->histories; h < outlet->histories + HISTORIES_MAX; h++)
        if (h->text && h->text_bytes == bytes && memcmp(h->text, text, bytes) == 0)
            return h;
    return NULL;
}

static void end_history(struct history *history)
{
    stream_release(&history->stream);
    free(history->text);
    *history = (struct history){0};
}

/* From where the request says, also when another one with the same bytes has got further. */
static enum error_code begin_stream(struct outlet *outlet, struct history *history,
                                    const struct request *request, struct error *error)
{
    char head[REQUEST_BYTES_MAX + 80], topic[REQUEST_BYTES_MAX + 1];
    snprintf(head, sizeof head, "%.*s%s", (int)request->head_bytes, request->head,
             outlet->options.prefix);
    snprintf(topic, sizeof topic, "%.*s", (int)request->topic_bytes, request->topic);
    struct stream_options options = {
        .directory = outlet->options.directory,
        .socket = outlet->options.socket,
        .start = request->by_time ? DAYBOOK_START_SINCE : DAYBOOK_START_AFTER,
        .after = request->after,
        .since_ns = request->since_ns,
        .head = head,
        .topic = topic,
        .history = true,
        .notices = &outlet->notices,
    };
    stream_release(&history->stream);
    history->state = STREAM_MORE;
    return stream_init(&history->stream, &options, error);
}

static struct history *new_history(struct outlet *outlet, const void *text, size_t bytes,
                                   struct error *error)
{
    for (struct history *h = outlet->histories; h < outlet->histories + HISTORIES_MAX; h++) {
        if (h->text)
            continue;
        h->text = malloc(bytes);
        if (!h->text) {
            error_set(error, ERROR_MEMORY, "no memory for it");
            return NULL;
        }
        memcpy(h->text, text, bytes);
        h->text_bytes = bytes;
        return h;
    }
    error_set(error, ERROR_FULL, "%d different ones are being served, which is the most",
              HISTORIES_MAX);
    return NULL;
}

static enum error_code begin_history(struct outlet *outlet, const struct request *request,
                                     const void *text, size_t bytes, struct error *error)
{
    struct history *history = find_history(outlet, text, bytes);
    if (!history)
        history = new_history(outlet, text, bytes, error);
    if (!history)
        return error->code;
    subscribe(outlet, true, text, bytes);
    history->subscribers++;
    enum error_code code = begin_stream(outlet, history, request, error);
    if (code)
        end_history(history);
    return code;
}

static void leave_history(struct outlet *outlet, const void *text, size_t bytes)
{
    struct history *history = find_history(outlet, text, bytes);
    if (!history)
        return;
    subscribe(outlet, false, text, bytes);
    if (--history->subscribers == 0)
        end_history(history);
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
        code = begin_history(outlet, &request, text, bytes, &error);
    else if (!code && request.kind == REQUEST_HISTORY)
        leave_history(outlet, text, bytes);
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
            return error_set(error, ERROR_CLOSED, "%s", why.text);
        outlet->committed = outlet->marked;
    }
    outlet->marked = outlet->live.sent;
    return OK;
}

/* ---- Histories ---- */

/* True: there may be more at once. */
static bool pump_histories(struct outlet *outlet)
{
    bool more = false;
    struct error error;
    for (struct history *h = outlet->histories; h < outlet->histories + HISTORIES_MAX; h++) {
        if (!h->text || h->state == STREAM_ENDED)
            continue;
        uint64_t before = h->stream.events;
        h->state = stream_pump(&h->stream, outlet->pub, HISTORY_EVENTS, &error);
        atomic_fetch_add(&outlet->options.counts->replayed, h->stream.events - before);
        if (h->state == STREAM_ENDED)
            notices_line(&outlet->notices, REPORT_WARNING,
                         "the history that was asked for with '%.*s' ends: %s", (int)h->text_bytes,
                         h->text, error.text);
        more = more || h->state == STREAM_MORE;
    }
    return more;
}

/* ---- Running ---- */

static bool is_readable(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) > 0;
}

static int64_t timeout_of(enum stream_state state)
{
    switch (state) {
    case STREAM_MORE:
        return 0;
    case STREAM_FULL:
        return FULL_MS * MS_NS;
    case STREAM_AWAY:
        return AWAY_MS * MS_NS;
    default:
        return ROUND_MS * MS_NS;
    }
}

static void sooner(int64_t *timeout_ns, int64_t other_ns)
{
    if (other_ns < *timeout_ns)
        *timeout_ns = other_ns > 0 ? other_ns : 0;
}

static enum error_code wait_for_more(struct outlet *outlet, bool more, struct error *error)
{
    int fds[HISTORIES_MAX + 2];
    int count = 0;
    int64_t now_ns = clock_monotonic_ns();
    int64_t timeout_ns = more ? 0 : timeout_of(outlet->live_state);
    bool settled = now_ns >= outlet->settled_ns;
    fds[count++] = outlet->options.stop_fd;
    if (settled && outlet->live_state == STREAM_IDLE)
        fds[count++] = stream_fd(&outlet->live);
    if (!settled)
        sooner(&timeout_ns, outlet->settled_ns - now_ns);
    if (outlet->live.sent > outlet->committed)
        sooner(&timeout_ns, outlet->commit_ns - now_ns);
    for (struct history *h = outlet->histories; h < outlet->histories + HISTORIES_MAX; h++) {
        if (!h->text || h->state == STREAM_ENDED)
            continue;
        if (h->state == STREAM_IDLE)
            fds[count++] = stream_fd(&h->stream);
        sooner(&timeout_ns, timeout_of(h->state));
    }
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
        bool more = outlet->live_state != STREAM_AWAY && pump_histories(outlet);
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
    for (struct history *h = outlet->histories; h < outlet->histories + HISTORIES_MAX; h++)
        if (h->text)
            end_history(h);
    stream_release(&outlet->live);
    socket_close(outlet->pub, 0);
    if (outlet->zmq)
        zmq_ctx_term(outlet->zmq);
    free(outlet);
}
