/*
 * Over ZeroMQ, as the gateway sends: a frame with the prefix and the topic, and a frame of JSON.
 *
 * libzmq is loaded when it is asked for, so that nobody else needs it.
 *
 * A PUB socket drops what comes before a subscription has arrived, and what a slow subscriber has
 * no room for, and tells nobody. So we wait for subscribers, and use XPUB, the same on the wire,
 * which lets us see subscriptions and refuses to send where there is no room. A PUSH socket gets
 * events only when somebody is connected.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "core/clock.h"
#include "tools/bus_event.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/replay_target_inside.h"
#include "tools/daybook/verb.h"

enum {
    POLL_MS = 200,
    HIGH_WATER = 100000, /* messages that wait in memory for one slow receiver */
    LINGER_MS = 30000,   /* at the end, for what was not taken yet */
    HURRY_MS = 1000,     /* … when the user interrupts, or nobody takes anything any more */
    DRAIN_EVERY = 1024,
};

/* libzmq's calls, with the types that zmq.h declares. */
struct zmq_calls {
    __typeof__(zmq_ctx_new) *ctx_new;
    __typeof__(zmq_ctx_term) *ctx_term;
    __typeof__(zmq_socket) *socket;
    __typeof__(zmq_close) *close;
    __typeof__(zmq_setsockopt) *setsockopt;
    __typeof__(zmq_bind) *bind;
    __typeof__(zmq_connect) *connect;
    __typeof__(zmq_send) *send;
    __typeof__(zmq_recv) *recv;
    __typeof__(zmq_poll) *poll;
    __typeof__(zmq_errno) *errno_;
    __typeof__(zmq_strerror) *strerror;
};

static const struct {
    const char *name;
    size_t at;
} call_names[] = {
    {"zmq_ctx_new", offsetof(struct zmq_calls, ctx_new)},
    {"zmq_ctx_term", offsetof(struct zmq_calls, ctx_term)},
    {"zmq_socket", offsetof(struct zmq_calls, socket)},
    {"zmq_close", offsetof(struct zmq_calls, close)},
    {"zmq_setsockopt", offsetof(struct zmq_calls, setsockopt)},
    {"zmq_bind", offsetof(struct zmq_calls, bind)},
    {"zmq_connect", offsetof(struct zmq_calls, connect)},
    {"zmq_send", offsetof(struct zmq_calls, send)},
    {"zmq_recv", offsetof(struct zmq_calls, recv)},
    {"zmq_poll", offsetof(struct zmq_calls, poll)},
    {"zmq_errno", offsetof(struct zmq_calls, errno_)},
    {"zmq_strerror", offsetof(struct zmq_calls, strerror)},
};

struct zmq_target {
    struct replay_target base;
    struct zmq_calls zmq;
    void *context;
    void *socket;
    bool publishes; /* XPUB, else PUSH */
    const char *address;
    const char *prefix;
    uint64_t sent;
    struct buffer topic;
    struct buffer body;
};

static enum error_code load(struct zmq_target *target, struct error *error)
{
    void *library = dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_set(error, ERROR_NOT_FOUND,
                         "--to zmq: needs the library libzmq.so.5, which is not installed here "
                         "(Debian: apt-get install libzmq5): %s",
                         dlerror());
    for (size_t i = 0; i < sizeof call_names / sizeof call_names[0]; i++) {
        void *call = dlsym(library, call_names[i].name);
        if (!call)
            return error_set(error, ERROR_VERSION, "libzmq.so.5 has no '%s': it is too old",
                             call_names[i].name);
        memcpy((char *)&target->zmq + call_names[i].at, &call, sizeof call);
    }
    return OK;
}

static enum error_code fail(struct zmq_target *target, const char *what, struct error *error)
{
    return error_set(error, ERROR_IO, "%s '%s': %s", what, target->address,
                     target->zmq.strerror(target->zmq.errno_()));
}

static bool set_option(struct zmq_target *target, int option, int value)
{
    return target->zmq.setsockopt(target->socket, option, &value, sizeof value) == 0;
}

static bool set_options(struct zmq_target *target)
{
    bool done = set_option(target, ZMQ_SNDHWM, HIGH_WATER) &&
                set_option(target, ZMQ_LINGER, LINGER_MS);
    if (target->publishes) /* each subscription is told, also one that somebody else has already */
        return done && set_option(target, ZMQ_XPUB_NODROP, 1) &&
               set_option(target, ZMQ_XPUB_VERBOSE, 1);
    return done && set_option(target, ZMQ_IMMEDIATE, 1); /* only to who is there */
}

static enum error_code open_socket(struct zmq_target *target, struct error *error)
{
    target->context = target->zmq.ctx_new();
    if (!target->context)
        return fail(target, "begin with ZeroMQ for", error);
    target->socket = target->zmq.socket(target->context, target->publishes ? ZMQ_XPUB : ZMQ_PUSH);
    if (!target->socket || !set_options(target))
        return fail(target, "make a ZeroMQ socket for", error);
    if (target->publishes) {
        if (target->zmq.bind(target->socket, target->address))
            return fail(target, "bind a ZeroMQ PUB socket to", error);
    } else if (target->zmq.connect(target->socket, target->address)) {
        return fail(target, "connect a ZeroMQ PUSH socket to", error);
    }
    return OK;
}

/* Does this subscription ask for anything that we may send? One text must begin the other. */
static bool is_for_us(const struct zmq_target *target, const char *message, size_t bytes)
{
    if (bytes == 0 || message[0] != 1)
        return false;
    size_t prefix_bytes = strlen(target->prefix);
    size_t common = bytes - 1 < prefix_bytes ? bytes - 1 : prefix_bytes;
    return memcmp(message + 1, target->prefix, common) == 0;
}

/* Subscriptions that have arrived; XPUB keeps them until they are read. */
static uint64_t take_subscriptions(struct zmq_target *target)
{
    char message[512];
    uint64_t count = 0;
    int bytes;
    while ((bytes = target->zmq.recv(target->socket, message, sizeof message, ZMQ_DONTWAIT)) >= 0) {
        size_t kept = (size_t)bytes < sizeof message ? (size_t)bytes : sizeof message;
        count += is_for_us(target, message, kept);
    }
    return count;
}

/* Wait until the socket is ready. False: not within that time. */
static bool poll_for(struct zmq_target *target, short events, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        if (left_ns <= 0 || interrupt_seen())
            return false;
        long left_ms = left_ns / 1000000 + 1;
        zmq_pollitem_t item = {.socket = target->socket, .events = events};
        if (target->zmq.poll(&item, 1, left_ms < POLL_MS ? left_ms : POLL_MS) > 0)
            return true;
    }
}

static enum error_code wait_for_subscribers(struct zmq_target *target, uint64_t wanted,
                                            struct error *error)
{
    uint64_t count = take_subscriptions(target);
    if (count < wanted)
        verb_say(target->base.verb, "waiting for %llu subscription%s at %s",
                 (unsigned long long)wanted, wanted == 1 ? "" : "s", target->address);
    while (count < wanted) {
        if (interrupt_seen())
            return error_set(error, ERROR_END, "interrupted");
        poll_for(target, ZMQ_POLLIN, clock_monotonic_ns() + INT64_C(1000000) * POLL_MS);
        count += take_subscriptions(target);
    }
    return OK;
}

static enum error_code wait_for_puller(struct zmq_target *target, struct error *error)
{
    if (poll_for(target, ZMQ_POLLOUT, clock_monotonic_ns() + INT64_C(1000000) * POLL_MS))
        return OK;
    verb_say(target->base.verb, "waiting for somebody at %s", target->address);
    while (!poll_for(target, ZMQ_POLLOUT, INT64_MAX))
        if (interrupt_seen())
            return error_set(error, ERROR_END, "interrupted");
    return OK;
}

static enum error_code make_frames(struct zmq_target *target, const struct replay_event *event,
                                   struct error *error)
{
    target->topic.size = 0;
    target->body.size = 0;
    enum error_code code =
        buffer_append(&target->topic, target->prefix, strlen(target->prefix), error);
    if (!code)
        code = buffer_append(&target->topic, event->event.topic, event->event.topic_bytes, error);
    if (!code)
        code = bus_event_append(&event->event, event->payload_text, event->payload_text_bytes,
                                &target->body, error);
    return code;
}

/* The first frame decides whether there is room for both: a message goes whole. */
static bool send_frames(struct zmq_target *target)
{
    const struct zmq_calls *zmq = &target->zmq;
    return zmq->send(target->socket, target->topic.data, target->topic.size,
                     ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
           zmq->send(target->socket, target->body.data, target->body.size, ZMQ_DONTWAIT) >= 0;
}

static enum error_code add(struct replay_target *base, const struct replay_event *event,
                           bool *sent_out, struct error *error)
{
    struct zmq_target *target = (struct zmq_target *)base;
    enum error_code code = make_frames(target, event, error);
    if (code)
        return code;
    if (target->publishes && target->sent++ % DRAIN_EVERY == 0)
        take_subscriptions(target);
    int64_t deadline_ns = 0;
    while (!send_frames(target)) {
        int why = target->zmq.errno_();
        if (why == EINTR && !interrupt_seen())
            continue;
        if (why != EAGAIN && why != EINTR)
            return fail(target, "send to", error);
        if (deadline_ns == 0)
            deadline_ns = replay_target_deadline_ns(base);
        if (!poll_for(target, ZMQ_POLLOUT, deadline_ns)) {
            base->counts.no_room++;
            base->stalled = true;
            replay_target_say(base, event, "is dropped: somebody at %s has no room for it",
                              target->address);
            *sent_out = false;
            return OK;
        }
        if (target->publishes) /* XPUB is always ready to write: it is NODROP that says no */
            clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
    }
    base->stalled = false;
    *sent_out = true;
    return OK;
}

/* Until everything is taken, or nobody takes anything any more. */
static void end_context(struct zmq_target *target)
{
    if (target->socket)
        target->zmq.close(target->socket);
    target->socket = NULL;
    if (target->context)
        while (target->zmq.ctx_term(target->context) && target->zmq.errno_() == EINTR)
            continue;
    target->context = NULL;
}

static enum error_code finish(struct replay_target *base, bool hurry, struct error *error)
{
    struct zmq_target *target = (struct zmq_target *)base;
    (void)error;
    int linger_ms = hurry || base->stalled ? HURRY_MS : LINGER_MS;
    int64_t began_ns = clock_monotonic_ns();
    set_option(target, ZMQ_LINGER, linger_ms);
    end_context(target);
    if (clock_monotonic_ns() - began_ns >= INT64_C(1000000) * linger_ms) {
        base->counts.undelivered = 1;
        verb_say(base->verb,
                 "not everything was taken at %s within %d s: the last events may be lost",
                 target->address, linger_ms / 1000);
    }
    return OK;
}

static void close_target(struct replay_target *base)
{
    struct zmq_target *target = (struct zmq_target *)base;
    if (target->socket)
        set_option(target, ZMQ_LINGER, 0); /* it has failed, or was interrupted */
    if (target->context)
        end_context(target);
    /* The library stays until the process ends: threads of it may still be on their way out. */
    buffer_release(&target->topic);
    buffer_release(&target->body);
    free(target);
}

static const struct replay_target_kind kind = {
    .add = add,
    .flush = replay_target_flushed,
    .finish = finish,
    .close = close_target,
    .batch = 1,
};

static enum error_code make(const struct replay_target_options *options, const char *address,
                            bool publishes, struct replay_target **target_out, struct error *error)
{
    struct zmq_target *target = calloc(1, sizeof *target);
    if (!target)
        return error_set(error, ERROR_MEMORY, "no memory for ZeroMQ");
    target->base.kind = &kind;
    target->base.verb = options->verb;
    target->publishes = publishes;
    target->address = address;
    target->prefix = options->prefix;
    enum error_code code = load(target, error);
    if (!code)
        code = open_socket(target, error);
    if (!code && options->subscribers > 0)
        code = publishes ? wait_for_subscribers(target, options->subscribers, error)
                         : wait_for_puller(target, error);
    if (code) {
        close_target(&target->base);
        return code;
    }
    *target_out = &target->base;
    return OK;
}

enum error_code replay_target_pub(const struct replay_target_options *options, const char *address,
                                  struct replay_target **target_out, struct error *error)
{
    return make(options, address, true, target_out, error);
}

enum error_code replay_target_push(const struct replay_target_options *options, const char *address,
                                   struct replay_target **target_out, struct error *error)
{
    return make(options, address, false, target_out, error);
}
