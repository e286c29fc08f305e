#include "tests/tools/played_subscription.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/scratch.h"

struct daybook_error error;
struct played played;
const struct daybook_subscription_options DEFAULTS;

/* ---- What the daemon says ---- */

struct wire_subscribe read_subscribe(int fd)
{
    static struct wire_subscribe subscribe;
    enum wire_type type;
    uint32_t left;
    struct error why;
    struct msgpack_cursor cursor = played_read(&played, fd, &type, &left);
    cr_assert_eq(type, WIRE_SUBSCRIBE);
    cr_assert_eq(wire_read_subscribe(cursor, left, &subscribe, &why), OK, "%s", why.text);
    return subscribe;
}

void say_subscribed(int fd, uint64_t after)
{
    struct buffer frame = {0};
    struct wire_subscribed subscribed = {after, after, {played.log, WIRE_LOG_ID_TEXT}};
    wire_write_subscribed(&frame, &subscribed, NULL);
    played_send_buffer(&played, fd, &frame);
}

/* Welcome a subscriber, and begin behind `after`. */
int subscribe_behind(uint64_t after)
{
    int fd = played_welcome(&played);
    read_subscribe(fd);
    say_subscribed(fd, after);
    return fd;
}

static void add_event(struct buffer *events, uint64_t sequence, unsigned tries)
{
    uint8_t payload[9] = {0xcf};
    for (int i = 0; i < 8; i++)
        payload[1 + i] = (uint8_t)(sequence >> (56 - 8 * i));
    struct event event = {.sequence = sequence,
                          .time_ns = (int64_t)sequence * 1000,
                          .topic = "count",
                          .topic_bytes = 5,
                          .payload = payload,
                          .payload_bytes = sizeof payload};
    if (tries)
        wire_write_event_try(events, &event, tries, NULL);
    else
        wire_write_event(events, &event, NULL);
}

/* The events from `first` to `to`, in a frame that says it goes up to `last`. */
void add_frame(struct buffer *out, uint64_t last, uint64_t first, uint64_t to, unsigned tries)
{
    struct buffer events = {0};
    for (uint64_t sequence = first; sequence <= to; sequence++)
        add_event(&events, sequence, tries);
    wire_write_events_head(out, last, (uint32_t)(to + 1 - first), events.size, NULL);
    buffer_append(out, events.data, events.size, NULL);
    buffer_release(&events);
}

void say_events(int fd, uint64_t first, uint64_t last)
{
    struct buffer frame = {0};
    add_frame(&frame, last, first, last, 0);
    played_send_buffer(&played, fd, &frame);
}

void say_passed(int fd, uint64_t last)
{
    struct buffer frame = {0};
    add_frame(&frame, last, 1, 0, 0);
    played_send_buffer(&played, fd, &frame);
}

void say_caught_up(int fd, uint64_t last)
{
    struct buffer frame = {0};
    wire_write_caught_up(&frame, last, NULL);
    played_send_buffer(&played, fd, &frame);
}

void say_lost(int fd, uint64_t first, uint64_t last, const char *cause)
{
    struct buffer frame = {0};
    struct wire_lost lost = {first, last, {cause, strlen(cause)}, {"gone", 4}};
    wire_write_lost(&frame, &lost, NULL);
    played_send_buffer(&played, fd, &frame);
}

void say_committed(int fd, uint64_t sequence)
{
    struct buffer frame = {0};
    wire_write_committed(&frame, sequence, NULL);
    played_send_buffer(&played, fd, &frame);
}

void say_error(int fd, const char *code, const char *text)
{
    struct buffer frame = {0};
    wire_write_error(&frame, code, text, NULL);
    played_send_buffer(&played, fd, &frame);
}

/* The next frame that is no credit is a commit: of what? */
uint64_t read_commit(int fd)
{
    enum wire_type type;
    uint32_t left;
    uint64_t sequence = 0;
    struct msgpack_cursor cursor;
    do
        cursor = played_read(&played, fd, &type, &left);
    while (type == WIRE_CREDIT);
    cr_assert_eq(type, WIRE_COMMIT);
    cr_assert_eq(wire_read_commit(cursor, left, &sequence, NULL), OK);
    return sequence;
}

/* ---- What the program sees ---- */

struct daybook_subscription *subscribe(struct daybook_subscription_options options)
{
    struct daybook_subscription *subscription = NULL;
    options.socket = scratch_path("played.sock");
    cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_OK, "%s", error.text);
    return subscription;
}

void expect_code(struct daybook_subscription *subscription, enum daybook_code expected)
{
    struct daybook_event event;
    enum daybook_code code = daybook_subscription_next(subscription, 20000, &event, &error);
    cr_assert_eq(code, expected, "%d instead of %d: %s", (int)code, (int)expected,
                 code ? error.text : "an event");
}

struct daybook_event expect_event(struct daybook_subscription *subscription, uint64_t sequence)
{
    struct daybook_event event;
    enum daybook_code code = daybook_subscription_next(subscription, 20000, &event, &error);
    cr_assert_eq(code, DAYBOOK_OK, "%d before %llu: %s", (int)code, (unsigned long long)sequence,
                 error.text);
    cr_assert_eq(event.sequence, sequence, "%llu instead of %llu",
                 (unsigned long long)event.sequence, (unsigned long long)sequence);
    cr_assert_eq(event.time_ns, (int64_t)sequence * 1000);
    cr_assert_eq(event.topic_bytes, 5);
    cr_assert_arr_eq(event.topic, "count", 5);
    cr_assert_eq(event.payload_bytes, 9);
    cr_assert_eq(((const uint8_t *)event.payload)[8], (uint8_t)sequence);
    return event;
}

void expect_events(struct daybook_subscription *subscription, uint64_t first, uint64_t last)
{
    for (uint64_t sequence = first; sequence <= last; sequence++)
        expect_event(subscription, sequence);
}

struct daybook_subscription_counts counts_of(const struct daybook_subscription *subscription)
{
    struct daybook_subscription_counts counts;
    daybook_subscription_count(subscription, &counts);
    return counts;
}
