#include "tools/zmq/inlet.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include "core/clock.h"
#include "tools/client/daybook.h"
#include "tools/daybookd/notices.h"
#include "tools/zmq/heartbeat.h"
#include "tools/zmq/message.h"
#include "tools/zmq/socket.h"
#include "tools/zmq/tray.h"

#define MS_NS INT64_C(1000000)

enum {
    /* What libzmq holds of one producer beyond the tray; its default would hide a full log. */
    RECEIVE_MESSAGES = 256,
    /* Beyond it libzmq ends the connection: an event has at most 1 MiB as msgpack. */
    MESSAGE_BYTES_MAX = 16 << 20,
    MESSAGES_PER_ROUND = 256,
    CONNECT_MS = 400,
    CALL_MS = 200,  /* one call of the library waits no longer, so that a stop is soon seen */
    ROUND_MS = 500, /* between two looks at clocks, when nothing comes */
    OPEN_MS = 10,   /* between two looks whether the way out is open */
    NO_ROOM_MS = 500,
    LAST_MS = 800,  /* for everything that is left when we stop */
    STORE_MS = 300, /* of it, for storing what has been taken */
    QUIET_MS = 100, /* no message for so long: the producers have stopped */
    QUOTE_BYTES = 80,
};

struct inlet {
    struct inlet_options options;
    void *zmq;
    void *pull;
    struct daybook *daybook; /* NULL: not connected yet */
    struct message_reader reader;
    struct notices notices;
    struct heartbeat heartbeat;
    struct tray tray;
    bool away;             /* and it has been said that the daemon is */
    bool no_room;          /* and it has been said that the daemon has none */
    int64_t no_room_until_ns;
    int64_t connect_ns;    /* when to try next */
    struct error trouble;  /* why it cannot go on; code OK: it can */
};

/* ---- Results ---- */

/* The text is a stranger's; what is no ASCII may be anything, or be cut in its middle. */
static void quote(const char *text, size_t text_bytes, char quoted_out[QUOTE_BYTES + 4])
{
    size_t bytes = text_bytes < QUOTE_BYTES ? text_bytes : QUOTE_BYTES;
    for (size_t i = 0; i < bytes; i++)
        quoted_out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    snprintf(quoted_out + bytes, 4, "%s", text_bytes > bytes ? "..." : "");
}

static void refuse(struct inlet *inlet, const char *text, size_t text_bytes, const char *why)
{
    char quoted[QUOTE_BYTES + 4];
    quote(text, text_bytes, quoted);
    atomic_fetch_add(&inlet->options.counts->refused, 1);
    notices_line(&inlet->notices, REPORT_WARNING, "a message is refused: %s%s%s", why,
                 text_bytes > 0 ? ": " : "", quoted);
}

static void take_result(void *context, const struct daybook_result *result)
{
    struct inlet *inlet = context;
    switch (result->code) {
    case DAYBOOK_OK:
        inlet->no_room = false;
        atomic_fetch_add(&inlet->options.counts->stored, 1);
        break;
    case DAYBOOK_NO_SPACE:
        if (!inlet->no_room)
            notices_line(&inlet->notices, REPORT_WARNING,
                         "the daemon has no room, producers wait: %s", result->reason);
        inlet->no_room = true;
        inlet->no_room_until_ns = clock_monotonic_ns() + NO_ROOM_MS * MS_NS;
        tray_hold_again(&inlet->tray, result->tag);
        return;
    case DAYBOOK_UNKNOWN: /* only when the handle is closed: told by inlet_run */
        return;
    default:
        refuse(inlet, "", 0, result->reason);
        break;
    }
    tray_settle(&inlet->tray, result->tag);
}

static void tell_away(struct inlet *inlet, const char *why)
{
    if (inlet->away)
        return;
    inlet->away = true;
    report_line(inlet->options.report, REPORT_WARNING,
                "the daemon is away, producers wait for it: %s", why);
}

static void tell_back(struct inlet *inlet)
{
    if (inlet->away)
        report_line(inlet->options.report, REPORT_INFO, "events can be stored: the daemon is back");
    inlet->away = false;
}

static void take_connection(void *context, bool connected)
{
    if (connected)
        tell_back(context);
    else
        tell_away(context, "the connection was lost");
}

/* What a call of the library said, other than OK. */
static void judge(struct inlet *inlet, const struct daybook_error *error)
{
    switch (error->code) {
    case DAYBOOK_UNREACHABLE:
    case DAYBOOK_TIMEOUT:
    case DAYBOOK_MEMORY:
        tell_away(inlet, error->text);
        return;
    default:
        error_set(&inlet->trouble, error->code == DAYBOOK_REPLACED ? ERROR_BUSY : ERROR_CLOSED, "%s",
                  error->text);
    }
}

/* ---- Towards the daemon ---- */

static void connect_when_due(struct inlet *inlet)
{
    int64_t now_ns = clock_monotonic_ns();
    if (inlet->daybook || now_ns < inlet->connect_ns)
        return;
    struct daybook_options options = {
        .directory = inlet->options.directory,
        .socket = inlet->options.socket,
        .producer = inlet->options.producer,
        .client = "daybook-zmq/" DAYBOOK_VERSION,
        .connect_timeout_ms = CONNECT_MS,
        .retry_timeout_ms = CALL_MS,
        .window_bytes = 4 * TRAY_BYTES_MAX, /* the tray is what bounds it */
        .gather = true,
        .on_result = take_result,
        .on_connection = take_connection,
        .context = inlet,
    };
    struct daybook_error error;
    inlet->connect_ns = now_ns + CALL_MS * MS_NS;
    if (daybook_connect(&options, &inlet->daybook, &error))
        judge(inlet, &error);
    else
        tell_back(inlet);
}

/* False: the library does not take events now. */
static bool send_held(struct inlet *inlet)
{
    const struct event *event;
    struct daybook_error error;
    uint64_t tag;
    while ((event = tray_first_held(&inlet->tray, &tag)) != NULL) {
        struct daybook_event sent = {
            .time_ns = event->time_ns,
            .topic = event->topic,
            .topic_bytes = event->topic_bytes,
            .payload = event->payload,
            .payload_bytes = event->payload_bytes,
            .tag = tag,
        };
        enum daybook_code code = daybook_send(inlet->daybook, &sent, &error);
        if (code && code != DAYBOOK_INVALID) {
            judge(inlet, &error);
            return false;
        }
        tray_note_sent(&inlet->tray, tag);
        if (code) {
            refuse(inlet, "", 0, error.text);
            tray_settle(&inlet->tray, tag);
        }
    }
    return true;
}

/* Send what is there, and take the answers. */
static void exchange(struct inlet *inlet)
{
    struct daybook_error error;
    connect_when_due(inlet);
    if (!inlet->daybook || inlet->trouble.code)
        return;
    if (clock_monotonic_ns() >= inlet->no_room_until_ns && !send_held(inlet))
        return;
    if (daybook_poll(inlet->daybook, 0, &error))
        judge(inlet, &error);
    else
        tell_back(inlet);
}

/* ---- From ZeroMQ ---- */

static void take_text(struct inlet *inlet, const char *text, size_t text_bytes)
{
    struct event event;
    struct error error;
    if (message_read(&inlet->reader, text, text_bytes, &event, &error) ||
        tray_put(&inlet->tray, &event, &error))
        refuse(inlet, text, text_bytes, error.text);
}

/* The parts behind the first one of a message that should have one. */
static unsigned pass_parts(struct inlet *inlet)
{
    unsigned parts = 1;
    zmq_msg_t part;
    bool more = true;
    while (more) {
        zmq_msg_init(&part);
        more = zmq_msg_recv(&part, inlet->pull, ZMQ_DONTWAIT) >= 0;
        parts += more;
        more = more && zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
    return parts;
}

static void take_message(struct inlet *inlet, zmq_msg_t *message)
{
    const char *text = zmq_msg_data(message);
    size_t bytes = zmq_msg_size(message);
    atomic_fetch_add(&inlet->options.counts->received, 1);
    if (!zmq_msg_more(message)) {
        take_text(inlet, text, bytes);
        return;
    }
    char why[80];
    snprintf(why, sizeof why, "it has %u parts, and an event is one", pass_parts(inlet));
    refuse(inlet, text, bytes, why);
}

/* How many came. */
static unsigned take_messages(struct inlet *inlet)
{
    unsigned taken = 0;
    bool more = true;
    while (more && taken < MESSAGES_PER_ROUND && !tray_is_full(&inlet->tray)) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        more = zmq_msg_recv(&message, inlet->pull, ZMQ_DONTWAIT) >= 0;
        if (more) {
            take_message(inlet, &message);
            taken++;
        }
        zmq_msg_close(&message);
    }
    return taken;
}

/* Is there somebody to give events to? */
static bool is_open(const struct inlet *inlet)
{
    return atomic_load(&inlet->options.counts->open) && inlet->daybook && !inlet->away &&
           !inlet->no_room;
}

static bool may_take(const struct inlet *inlet)
{
    return is_open(inlet) && !tray_is_full(&inlet->tray);
}

static void beat(struct inlet *inlet)
{
    struct event event;
    struct error error;
    if (!may_take(inlet) || !heartbeat_is_due(&inlet->heartbeat))
        return;
    if (heartbeat_make(&inlet->heartbeat, inlet->options.counts, &inlet->reader, &event, &error) ||
        tray_put(&inlet->tray, &event, &error))
        report_line(inlet->options.report, REPORT_WARNING, "no heartbeat: %s", error.text);
}

/* ---- Running ---- */

static bool is_readable(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) > 0;
}

static enum error_code wait_for_more(struct inlet *inlet, struct error *error)
{
    int64_t timeout_ns = ROUND_MS * MS_NS;
    int64_t beat_ns = heartbeat_left_ns(&inlet->heartbeat);
    if (beat_ns < timeout_ns)
        timeout_ns = beat_ns;
    if (!inlet->daybook || inlet->away)
        timeout_ns = CALL_MS * MS_NS;
    if (!atomic_load(&inlet->options.counts->open))
        timeout_ns = OPEN_MS * MS_NS;
    int fds[] = {inlet->options.stop_fd, inlet->daybook ? daybook_fd(inlet->daybook) : -1};
    return socket_wait(may_take(inlet) ? inlet->pull : NULL, fds, 2, timeout_ns, error);
}

static enum error_code serve(struct inlet *inlet, struct error *error)
{
    enum error_code code = OK;
    while (!code && !inlet->trouble.code && !is_readable(inlet->options.stop_fd)) {
        notices_tick(&inlet->notices, clock_monotonic_ns());
        beat(inlet);
        unsigned taken = may_take(inlet) ? take_messages(inlet) : 0;
        exchange(inlet);
        if (taken == 0 && !inlet->trouble.code)
            code = wait_for_more(inlet, error);
    }
    return code;
}

/*
 * What the producers have sent is taken, until they are quiet for a moment, or the time is up. Not
 * zmq_unbind first: it ends the connections, too, and with them what is still in the kernel.
 */
static enum error_code finish(struct inlet *inlet, struct error *error)
{
    int64_t end_ns = clock_monotonic_ns() + LAST_MS * MS_NS;
    int64_t quiet_ns = clock_monotonic_ns() + QUIET_MS * MS_NS;
    while (!inlet->trouble.code && clock_monotonic_ns() < end_ns) {
        bool open = is_open(inlet) && clock_monotonic_ns() < end_ns - STORE_MS * MS_NS;
        if (open && (take_messages(inlet) > 0 || tray_count(&inlet->tray) > 0))
            quiet_ns = clock_monotonic_ns() + QUIET_MS * MS_NS;
        exchange(inlet);
        bool quiet = !open || clock_monotonic_ns() >= quiet_ns;
        if (quiet && tray_count(&inlet->tray) == 0)
            break;
        bool take = open && !tray_is_full(&inlet->tray);
        int fd = inlet->daybook ? daybook_fd(inlet->daybook) : -1;
        enum error_code code = socket_wait(take ? inlet->pull : NULL, &fd, 1, 5 * MS_NS, error);
        if (code)
            return code;
    }
    if (tray_count(&inlet->tray) > 0)
        return error_set(error, ERROR_END, "%zu events that had come in could not be stored: %s",
                         tray_count(&inlet->tray),
                         inlet->away ? "the daemon is away" : "there was no time");
    return OK;
}

enum error_code inlet_run(struct inlet *inlet, struct error *error)
{
    enum error_code code = serve(inlet, error);
    if (!code)
        code = finish(inlet, error);
    if (inlet->trouble.code)
        return error_set(error, inlet->trouble.code, "%s", inlet->trouble.text);
    return code;
}

/* ---- Making and ending ---- */

enum error_code inlet_create(const struct inlet_options *options, struct inlet **inlet_out,
                             struct error *error)
{
    struct inlet *inlet = calloc(1, sizeof *inlet);
    if (!inlet)
        return error_set(error, ERROR_MEMORY, "no memory for the gateway");
    inlet->options = *options;
    notices_init(&inlet->notices, options->report, clock_monotonic_ns());
    heartbeat_init(&inlet->heartbeat, options->heartbeat_ns);
    enum error_code code = OK;
    inlet->zmq = zmq_ctx_new();
    inlet->pull = inlet->zmq ? zmq_socket(inlet->zmq, ZMQ_PULL) : NULL;
    if (!inlet->pull)
        code = socket_fail(error, "make a PULL socket");
    if (!code)
        code = socket_set(inlet->pull, ZMQ_RCVHWM, RECEIVE_MESSAGES, error);
    int64_t bytes_max = MESSAGE_BYTES_MAX;
    if (!code && zmq_setsockopt(inlet->pull, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max))
        code = socket_fail(error, "limit the size of messages");
    if (!code)
        code = socket_bind(inlet->pull, options->address, error);
    if (code) {
        inlet_free(inlet);
        return code;
    }
    *inlet_out = inlet;
    return OK;
}

void inlet_free(struct inlet *inlet)
{
    if (!inlet)
        return;
    daybook_close(inlet->daybook);
    socket_close(inlet->pull, 0);
    if (inlet->zmq)
        zmq_ctx_term(inlet->zmq);
    message_release(&inlet->reader);
    heartbeat_release(&inlet->heartbeat);
    tray_release(&inlet->tray);
    free(inlet);
}
