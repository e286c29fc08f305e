#include <string.h>

#include "core/clock.h"
#include "tools/client/handle.h"
#include "tools/client/wire.h"

#define MS_NS INT64_C(1000000)

enum { PAUSE_FIRST_MS = 10, PAUSE_LAST_MS = 1000, AT_ONCE_MS = 1000 };

static int ms_until(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    return left_ns > 0 ? (int)(left_ns / MS_NS) + 1 : 0;
}

static enum daybook_code say_hello(struct daybook *daybook, struct daybook_error *error)
{
    const struct daybook_options *options = &daybook->options;
    struct wire_hello hello = {
        .version = WIRE_VERSION,
        .client = {options->client, strlen(options->client)},
        .producer = {daybook->producer_bytes ? options->producer : NULL, daybook->producer_bytes},
        .ack = (enum wire_ack_mode)options->ack,
    };
    struct buffer frame = {0};
    struct error why;
    size_t sent = 0;
    enum error_code code = wire_write_hello(&frame, &hello, &why);
    if (!code)
        code = link_send(&daybook->link, frame.data, frame.size, &sent, &why);
    size_t size = frame.size;
    buffer_release(&frame);
    /* Who is turned away is told why before the connection is closed: that is there to be read. */
    if (code == ERROR_CLOSED)
        return DAYBOOK_OK;
    if (code)
        return failure_from(error, &why);
    /* The first bytes on a new connection: its buffer is empty. */
    if (sent < size)
        return failure_set(error, DAYBOOK_UNREACHABLE, "the daemon's socket takes no bytes");
    return DAYBOOK_OK;
}

/*
 * Of the numbers that the log has, all up to the last welcome's were there then, and what this
 * handle has sent since may have been stored, acknowledged or not. A number beyond both is another
 * program's: our next ones would pass for its duplicates, and be lost without a word.
 */
static enum daybook_code check_last_number(const struct daybook *daybook, uint64_t last_number,
                                           struct daybook_error *error)
{
    uint64_t ours = daybook->number_welcomed;
    if (daybook->outbox.number_sent > ours)
        ours = daybook->outbox.number_sent;
    if (!daybook->welcomed || last_number <= ours)
        return DAYBOOK_OK;
    return failure_set(
        error, DAYBOOK_REPLACED,
        "another program has published as producer '%s' in the meantime: the log has "
        "its number %llu, and here none above %llu was sent; give each program a name "
        "of its own",
        daybook->options.producer, (unsigned long long)last_number, (unsigned long long)ours);
}

static enum daybook_code take_welcome(struct daybook *daybook, struct msgpack_cursor frame,
                                      struct daybook_error *error)
{
    struct msgpack_cursor whole = frame;
    enum wire_type type;
    uint32_t left;
    struct wire_welcome welcome;
    struct error why;
    enum error_code code = wire_read_type(&frame, &type, &left, &why);
    if (!code && type == WIRE_ERROR)
        return handle_take_frame(daybook, whole, error);
    if (!code && type != WIRE_WELCOME)
        code = error_set(&why, ERROR_INVALID, "the first frame is no welcome");
    if (!code)
        code = wire_read_welcome(frame, left, &welcome, &why);
    if (code)
        return failure_set(error, DAYBOOK_PROTOCOL, "this is no Daybook daemon: %s", why.text);
    enum daybook_code foreign = check_last_number(daybook, welcome.last_number, error);
    if (foreign)
        return foreign;
    daybook->welcomed = true;
    daybook->number_welcomed = welcome.last_number;
    if (welcome.last_number > daybook->counts.last_number)
        daybook->counts.last_number = welcome.last_number;
    return DAYBOOK_OK;
}

static enum daybook_code await_welcome(struct daybook *daybook, int64_t deadline_ns,
                                       struct daybook_error *error)
{
    struct msgpack_cursor frame;
    struct error why;
    enum error_code code;
    while ((code = link_receive(&daybook->link, &frame, &why)) == ERROR_END) {
        int left_ms = ms_until(deadline_ns);
        if (left_ms == 0)
            return failure_set(error, DAYBOOK_UNREACHABLE, "the daemon at '%s' does not answer",
                               daybook->options.socket);
        link_wait(&daybook->link, false, left_ms);
    }
    if (code)
        return failure_from(error, &why);
    return take_welcome(daybook, frame, error);
}

enum daybook_code handle_connect_once(struct daybook *daybook, int64_t deadline_ns,
                                      struct daybook_error *error)
{
    struct error why;
    if (link_open(&daybook->link, daybook->options.socket, deadline_ns, &why))
        return failure_from(error, &why);
    enum daybook_code code = say_hello(daybook, error);
    if (!code)
        code = await_welcome(daybook, deadline_ns, error);
    if (code)
        link_close(&daybook->link);
    return code;
}

static void tell_connection(const struct daybook *daybook, bool connected)
{
    if (daybook->options.on_connection)
        daybook->options.on_connection(daybook->options.context, connected);
}

/*
 * Again and again, with a growing pause. What was not acknowledged will be sent again. The first
 * attempt is a short one: who waits should hear of it soon, also when somebody listens and is mute.
 */
static enum daybook_code connect_again(struct daybook *daybook, int64_t deadline_ns,
                                       struct daybook_error *error)
{
    int pause_ms = PAUSE_FIRST_MS;
    bool told = false;
    int64_t attempt_ns = clock_monotonic_ns() + AT_ONCE_MS * MS_NS;
    if (attempt_ns > deadline_ns)
        attempt_ns = deadline_ns;
    enum daybook_code code;
    while ((code = handle_connect_once(daybook, attempt_ns, error)) == DAYBOOK_UNREACHABLE) {
        if (!told)
            tell_connection(daybook, false);
        told = true;
        attempt_ns = deadline_ns;
        int left_ms = ms_until(deadline_ns);
        if (left_ms == 0)
            return code;
        int ms = pause_ms < left_ms ? pause_ms : left_ms;
        clock_sleep_until_ns(clock_monotonic_ns() + ms * MS_NS);
        pause_ms = 2 * pause_ms < PAUSE_LAST_MS ? 2 * pause_ms : PAUSE_LAST_MS;
    }
    if (code)
        return code;
    outbox_rewind(&daybook->outbox);
    if (told)
        tell_connection(daybook, true);
    return DAYBOOK_OK;
}

static bool give_up_unknown(struct daybook *daybook)
{
    if (daybook->producer_bytes > 0)
        return false;
    bool some = false;
    /* What expects something, sent again, would find itself in the way. */
    while (outbox_first_may_be_stored(&daybook->outbox) &&
           (!daybook->options.resend_anonymous || outbox_first_expects(&daybook->outbox))) {
        handle_give_up_first(daybook);
        some = true;
    }
    return some;
}

enum daybook_code handle_ensure(struct daybook *daybook, struct daybook_error *error)
{
    if (daybook->ended.code)
        return failure_set(error, daybook->ended.code, "%s", daybook->ended.text);
    if (daybook->link.fd >= 0)
        return DAYBOOK_OK;
    if (give_up_unknown(daybook))
        return failure_set(error, DAYBOOK_UNKNOWN,
                           "whether the unacknowledged events are stored is unknown: %s",
                           daybook->gone.text);
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)daybook->options.retry_timeout_ms * MS_NS;
    struct daybook_error why;
    enum daybook_code code = connect_again(daybook, deadline_ns, &why);
    if (!code) {
        daybook->counts.reconnects++;
        return DAYBOOK_OK;
    }
    if (code == DAYBOOK_REPLACED || code == DAYBOOK_PROTOCOL)
        daybook->ended = why;
    return failure_set(error, code, "%s (before that: %s)", why.text, daybook->gone.text);
}
