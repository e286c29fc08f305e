/*
 * fuzz_subscription.c - any bytes at all go to a subscriber of the client library, as if a daemon
 * had sent them, over one connection or two.
 *
 * Whatever they are: events are given in order and none twice (but to a group), each with a payload
 * that can be read, the position never goes back while a connection lasts, a commit is never sent
 * above what has come, and what was final once stays so.
 *
 * The first byte: 1 with a cursor, 2 in a group, 4 flush now and then, 8 the bytes begin with a
 * welcome of their own, 16 half of them go over a second connection, 32 a window of one event.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/client/subscription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CURSOR = 1, GROUP = 2, FLUSH = 4, OWN_WELCOME = 8, TWICE = 16, SMALL = 32 };
enum { BYTES_MAX = 100000 }; /* a socket takes them all at once */

static const struct wire_text LOG = {"0011223344556677", WIRE_LOG_ID_TEXT};

static void begin_well(struct buffer *out, uint64_t after)
{
    struct wire_welcome welcome = {
        .version = WIRE_VERSION, .server = {"fuzz", 4}, .log = LOG, .durable = UINT64_MAX};
    struct wire_subscribed subscribed = {.after = after, .durable = after, .log = LOG};
    wire_write_welcome(out, &welcome, NULL);
    wire_write_subscribed(out, &subscribed, NULL);
}

/* A daemon that has said all this, and died. */
static void connect_to(struct daybook_subscription *sub, uint8_t options, const uint8_t *data,
                       size_t size)
{
    struct buffer said = {0};
    int ends[2];
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    if (!(options & OWN_WELCOME))
        begin_well(&said, sub->position);
    assert(buffer_append(&said, data, size, NULL) == OK);
    assert(send(ends[1], said.data, said.size, MSG_NOSIGNAL) == (ssize_t)said.size);
    buffer_release(&said);
    assert(shutdown(ends[1], SHUT_WR) == 0);
    sub->link.fd = ends[0];
    assert(subscription_greet(sub, NULL) == DAYBOOK_OK);
    /* What the subscriber says is read by nobody; it is kept by the socket until it closes. */
    close(ends[1]);
}

static uint8_t sum; /* so that reading a payload is not left out */

static void read_payload(const struct daybook_event *event)
{
    struct msgpack_cursor cursor = {event->payload,
                                    (const uint8_t *)event->payload + event->payload_bytes};
    assert(msgpack_skip(&cursor, NULL) == OK && cursor.at == cursor.end);
    assert(event->topic_bytes > 0 && event->topic_bytes <= EVENT_TOPIC_BYTES_MAX);
    for (size_t i = 0; i < event->payload_bytes; i++)
        sum ^= ((const uint8_t *)event->payload)[i];
}

static void settle(struct daybook_subscription *sub, uint8_t options, uint64_t sequence)
{
    if (options & GROUP)
        assert(daybook_subscription_accept(sub, sequence, NULL) == DAYBOOK_OK);
    else if (options & CURSOR)
        assert(daybook_subscription_commit(sub, sequence, NULL) == DAYBOOK_OK);
    assert((options & GROUP) || sub->commit_sent <= sub->seen);
    assert((options & CURSOR) || sub->commit_sent == sub->commit_wanted);
    if ((options & FLUSH) && sequence % 3 == 0)
        daybook_subscription_flush(sub, NULL);
}

static void take_all(struct daybook_subscription *sub, uint8_t options)
{
    struct daybook_event event;
    struct daybook_error error;
    uint64_t position = sub->position;
    while (sub->state != SUBSCRIPTION_OFF) {
        enum daybook_code code = daybook_subscription_next(sub, 0, &event, &error);
        assert(sub->position >= position || !sub->begun || sub->state == SUBSCRIPTION_OFF);
        if (!code) {
            assert((options & GROUP) || event.sequence > position);
            assert(event.sequence < EVENT_SEQUENCE_END);
            read_payload(&event);
            settle(sub, options, event.sequence);
        } else if (code == DAYBOOK_LOST) {
            assert(sub->lost.first <= sub->lost.last && error.text[0]);
        } else if (code != DAYBOOK_CAUGHT_UP && code != DAYBOOK_END &&
                   code != DAYBOOK_UNREACHABLE) {
            assert(error.code == code && sub->ended.code == code);
            assert(daybook_subscription_next(sub, 0, &event, NULL) == code);
        }
        position = sub->position;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > BYTES_MAX)
        return 0;
    uint8_t options = *data++;
    size--;
    if (options & GROUP)
        options |= CURSOR;
    struct daybook_subscription_options asked = {
        .socket = "/dev/null/nobody",
        .cursor = options & CURSOR ? "c" : NULL,
        .shared = options & GROUP,
        .window_events = options & SMALL ? 1 : 100,
        .retry_timeout_ms = 1,
    };
    struct daybook_subscription *sub;
    assert(subscription_create(&asked, &sub, NULL) == DAYBOOK_OK);
    size_t first = options & TWICE ? size / 2 : size;
    connect_to(sub, options, data, first);
    take_all(sub, options);
    if (options & TWICE && !sub->ended.code) {
        connect_to(sub, options, data + first, size - first);
        take_all(sub, options);
    }
    daybook_subscription_close(sub);
    return 0;
}
