#include "core/clock.h"
#include "tools/client/subscription.h"

#include <string.h>

#define MS_NS INT64_C(1000000)

enum { PAUSE_FIRST_MS = 10, PAUSE_LAST_MS = 1000, WAIT_LAST_MS = 60000 };

/* ---- Losing ---- */

static void tell_connection(struct daybook_subscription *sub, bool connected)
{
    if (sub->told_lost != connected)
        return;
    sub->told_lost = !connected;
    if (sub->options.on_connection)
        sub->options.on_connection(sub->options.context, connected);
}

static void forget_connection(struct daybook_subscription *sub)
{
    link_close(&sub->link);
    sub->output.size = 0;
    sub->in_frame = false;
    sub->giving = false;
    sub->backlog.size = 0;
    sub->backlog_taken = 0;
    sub->state = SUBSCRIPTION_OFF;
    subscription_settle_anew(sub);
}

/* The first attempt after a good connection comes at once; the pauses grow from then on. */
static void plan_retry(struct daybook_subscription *sub)
{
    int64_t now = clock_monotonic_ns();
    if (sub->streamed) {
        sub->pause_ms = 0;
        sub->patience_ns = 0;
    } else if (sub->begun) {
        tell_connection(sub, false);
    }
    sub->streamed = false;
    sub->retry_at_ns = now + sub->pause_ms * MS_NS;
    sub->pause_ms = sub->pause_ms == 0 ? PAUSE_FIRST_MS : 2 * sub->pause_ms;
    if (sub->pause_ms > PAUSE_LAST_MS)
        sub->pause_ms = PAUSE_LAST_MS;
}

enum daybook_code subscription_lose(struct daybook_subscription *sub,
                                    const struct daybook_error *why, struct daybook_error *error)
{
    sub->gone = *why;
    forget_connection(sub);
    plan_retry(sub);
    if (why->code == DAYBOOK_UNREACHABLE)
        return DAYBOOK_END;
    if (why->code != DAYBOOK_MEMORY && why->code != DAYBOOK_IO)
        sub->ended = *why;
    return failure_set(error, why->code, "%s", why->text);
}

/* ---- Connecting ---- */

enum daybook_code subscription_greet(struct daybook_subscription *sub, struct daybook_error *error)
{
    struct daybook_error failure;
    struct error why;
    struct wire_hello hello = {
        .version = WIRE_VERSION,
        .client = {sub->options.client, strlen(sub->options.client)},
        .ack = WIRE_ACK_DURABLE,
    };
    sub->attempt_ns = clock_monotonic_ns() + sub->options.connect_timeout_ms * MS_NS;
    sub->state = SUBSCRIPTION_WELCOMING;
    if (!wire_write_hello(&sub->output, &hello, &why))
        return DAYBOOK_OK;
    failure_from(&failure, &why);
    return subscription_lose(sub, &failure, error);
}

static enum daybook_code connect_now(struct daybook_subscription *sub, struct daybook_error *error)
{
    struct daybook_error failure;
    struct error why;
    int64_t until_ns = clock_monotonic_ns();
    /* Later on a full queue is a reason to come back, and nothing to sleep for in here. */
    if (!sub->begun)
        until_ns += sub->options.connect_timeout_ms * MS_NS;
    if (!link_open(&sub->link, sub->options.socket, until_ns, &why))
        return subscription_greet(sub, error);
    failure_from(&failure, &why);
    return subscription_lose(sub, &failure, error);
}

static enum daybook_code check_log(struct daybook_subscription *sub,
                                   const struct wire_welcome *welcome, struct daybook_error *error)
{
    if (welcome->log.bytes != WIRE_LOG_ID_TEXT)
        return failure_set(error, DAYBOOK_PROTOCOL,
                           "this is no Daybook daemon: its welcome names no log");
    if (!sub->begun)
        memcpy(sub->log, welcome->log.text, WIRE_LOG_ID_TEXT);
    if (memcmp(sub->log, welcome->log.text, WIRE_LOG_ID_TEXT) != 0)
        return failure_set(error, DAYBOOK_FOREIGN,
                           "there is another log at '%s' now: %.*s, and the subscription is to "
                           "%s, whose sequences say nothing here; subscribe anew",
                           sub->options.socket, WIRE_LOG_ID_TEXT, welcome->log.text, sub->log);
    /* Only durable events are given, so no crash takes them back. */
    if (welcome->durable < sub->highest)
        return failure_set(error, DAYBOOK_DAMAGED,
                           "the log at '%s' ends at %llu now, and event %llu was given before: it "
                           "has lost events, or is an older copy; subscribe anew",
                           sub->options.socket, (unsigned long long)welcome->durable,
                           (unsigned long long)sub->highest);
    return DAYBOOK_OK;
}

/*
 * Behind what was given. A cursor's place is the daemon's to say; one that somebody has removed
 * meanwhile begins again where ours was: what was given and not committed is not done.
 */
static enum error_code write_subscribe(struct daybook_subscription *sub, struct error *why)
{
    struct wire_subscribe request = sub->request;
    if (sub->begun && !request.shared) {
        request.start = WIRE_START_AFTER;
        request.after = request.cursor.text ? sub->counts.committed : sub->position;
    }
    return wire_write_subscribe(&sub->output, &request, why);
}

enum daybook_code subscription_take_welcome(struct daybook_subscription *sub,
                                            struct msgpack_cursor cursor, uint32_t left,
                                            struct daybook_error *error)
{
    struct wire_welcome welcome;
    struct error why;
    if (sub->state != SUBSCRIPTION_WELCOMING)
        return subscription_confused(error, "a second welcome");
    if (wire_read_welcome(cursor, left, &welcome, &why))
        return failure_set(error, DAYBOOK_PROTOCOL, "this is no Daybook daemon: %s", why.text);
    enum daybook_code code = check_log(sub, &welcome, error);
    if (code)
        return code;
    if (write_subscribe(sub, &why))
        return failure_from(error, &why);
    sub->attempt_ns = clock_monotonic_ns() + sub->options.retry_timeout_ms * MS_NS;
    sub->state = SUBSCRIPTION_SUBSCRIBING;
    subscription_send(sub);
    return DAYBOOK_OK;
}

/*
 * A cursor that stands before our last commit, or behind what was given, was moved by somebody
 * while we were away: then that is where to go on.
 */
static enum daybook_code find_position(struct daybook_subscription *sub, uint64_t after,
                                       struct daybook_error *error)
{
    if (sub->request.shared)
        return DAYBOOK_OK;
    if (sub->begun && !sub->request.cursor.text && after != sub->position)
        return failure_set(error, DAYBOOK_PROTOCOL,
                           "the daemon's answer makes no sense: asked for what is behind %llu, it "
                           "gives what is behind %llu",
                           (unsigned long long)sub->position, (unsigned long long)after);
    bool moved = !sub->begun || after < sub->counts.committed || after > sub->position;
    if (moved)
        sub->position = after;
    if (moved || !sub->request.cursor.text)
        sub->commit_wanted = after;
    if (sub->request.cursor.text)
        sub->counts.committed = after;
    sub->stream_last = sub->seen = sub->commit_sent = after;
    return DAYBOOK_OK;
}

enum daybook_code subscription_take_subscribed(struct daybook_subscription *sub,
                                               struct msgpack_cursor cursor, uint32_t left,
                                               struct daybook_error *error)
{
    struct wire_subscribed subscribed;
    struct error why;
    if (sub->state != SUBSCRIPTION_SUBSCRIBING)
        return subscription_confused(error, "subscribed, and nobody asked");
    if (wire_read_subscribed(cursor, left, &subscribed, &why))
        return subscription_confused(error, why.text);
    enum daybook_code code = find_position(sub, subscribed.after, error);
    if (code)
        return code;
    if (subscribed.durable > sub->counts.durable)
        sub->counts.durable = subscribed.durable;
    sub->credit_due = 0;
    if (sub->begun)
        sub->counts.reconnects++;
    else
        sub->patience_ns = 0;
    sub->begun = true;
    sub->state = SUBSCRIPTION_STREAMING;
    tell_connection(sub, true);
    return DAYBOOK_OK;
}

/* ---- Pumping ---- */

void subscription_send(struct daybook_subscription *sub)
{
    struct error why;
    size_t sent;
    if (sub->link.fd < 0 || sub->output.size == 0)
        return;
    /* Whoever cannot send may still receive: the daemon's last words, and events before them. */
    if (link_send(&sub->link, sub->output.data, sub->output.size, &sent, &why))
        sub->output.size = 0;
    else
        buffer_consume(&sub->output, sent);
}

static int64_t earlier(int64_t left, int64_t right)
{
    return left < right ? left : right;
}

static int wait_ms(int64_t left_ns)
{
    return left_ns < WAIT_LAST_MS * MS_NS ? (int)((left_ns + MS_NS - 1) / MS_NS) : WAIT_LAST_MS;
}

/* Without a connection for too long: told once, then the patience begins anew. */
static enum daybook_code check_patience(struct daybook_subscription *sub,
                                        struct daybook_error *error)
{
    int64_t now = clock_monotonic_ns();
    if (sub->patience_ns == 0)
        sub->patience_ns = now + sub->options.retry_timeout_ms * MS_NS;
    if (now < sub->patience_ns)
        return DAYBOOK_OK;
    sub->patience_ns = 0;
    return failure_set(error, DAYBOOK_UNREACHABLE, "no daemon for %u ms: %s",
                       sub->options.retry_timeout_ms, sub->gone.text);
}

static enum daybook_code pump_without_connection(struct daybook_subscription *sub,
                                                 int64_t deadline_ns, struct daybook_error *error)
{
    enum daybook_code code = check_patience(sub, error);
    if (code)
        return code;
    int64_t wake_ns = earlier(sub->retry_at_ns, sub->patience_ns);
    if (wake_ns > clock_monotonic_ns()) {
        clock_sleep_until_ns(earlier(wake_ns, deadline_ns));
        return wake_ns > deadline_ns ? DAYBOOK_END : DAYBOOK_OK;
    }
    code = connect_now(sub, error);
    /* Lost again: the pause before the next attempt is for the next step. */
    return code == DAYBOOK_END ? DAYBOOK_OK : code;
}

static enum daybook_code give_up_attempt(struct daybook_subscription *sub,
                                         struct daybook_error *error)
{
    struct daybook_error why;
    failure_set(&why, DAYBOOK_UNREACHABLE, "the daemon at '%s' does not answer",
                sub->options.socket);
    enum daybook_code code = subscription_lose(sub, &why, error);
    return code == DAYBOOK_END ? DAYBOOK_OK : code;
}

enum daybook_code subscription_pump(struct daybook_subscription *sub, int64_t deadline_ns,
                                    struct daybook_error *error)
{
    if (sub->ended.code)
        return failure_set(error, sub->ended.code, "%s", sub->ended.text);
    if (sub->state == SUBSCRIPTION_OFF)
        return pump_without_connection(sub, deadline_ns, error);
    subscription_send(sub);
    int64_t now = clock_monotonic_ns();
    if (sub->state != SUBSCRIPTION_STREAMING && now >= sub->attempt_ns)
        return give_up_attempt(sub, error);
    if (now >= deadline_ns)
        return DAYBOOK_END;
    if (sub->state != SUBSCRIPTION_STREAMING)
        deadline_ns = earlier(deadline_ns, sub->attempt_ns);
    link_wait(&sub->link, sub->output.size > 0, wait_ms(deadline_ns - now));
    return DAYBOOK_OK;
}
