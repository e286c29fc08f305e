/* The events that the gateway has in hand. */
#include <criterion/criterion.h>
#include <string.h>

#include "tools/zmq/tray.h"

static struct tray tray;
static struct error error;

static void end(void)
{
    tray_release(&tray);
}

TestSuite(zmq_tray, .fini = end);

static void put(const char *topic)
{
    char payload[] = "\x01"; /* reused: the tray must have copied it */
    struct event event = {
        .topic = topic, .topic_bytes = strlen(topic), .payload = payload, .payload_bytes = 1};
    cr_assert_eq(tray_put(&tray, &event, &error), OK);
    payload[0] = 0;
}

static uint64_t expect_held(const char *topic)
{
    uint64_t tag;
    const struct event *event = tray_first_held(&tray, &tag);
    cr_assert(event && event->topic_bytes == strlen(topic) &&
              !memcmp(event->topic, topic, event->topic_bytes));
    cr_assert_eq(*(const char *)event->payload, 1);
    return tag;
}

static uint64_t send_next(const char *topic)
{
    uint64_t tag = expect_held(topic);
    tray_note_sent(&tray, tag);
    return tag;
}

Test(zmq_tray, gives_events_in_order_and_forgets_what_is_settled)
{
    put("a");
    put("b");
    uint64_t a = send_next("a"), b = send_next("b"), none;
    cr_assert_null(tray_first_held(&tray, &none));
    tray_settle(&tray, b);
    cr_assert_eq(tray_count(&tray), 2, "b waits behind a");
    tray_settle(&tray, a);
    cr_assert(tray_count(&tray) == 0 && tray.bytes == 0);
}

Test(zmq_tray, gives_an_event_again_that_had_no_room)
{
    put("a");
    put("b");
    put("c");
    uint64_t a = send_next("a"), b = send_next("b");
    tray_settle(&tray, a);
    tray_hold_again(&tray, b);
    send_next("b");
    send_next("c");
    tray_settle(&tray, b);
    tray_settle(&tray, b + 1);
    cr_assert_eq(tray_count(&tray), 0);
}

Test(zmq_tray, is_full_by_number_and_goes_round)
{
    for (int round = 0; round < 3; round++) {
        uint64_t first = tray.tag_next;
        while (!tray_is_full(&tray))
            put("t");
        cr_assert_eq(tray_count(&tray), TRAY_EVENTS_MAX);
        for (uint64_t tag = first; tag < tray.tag_next; tag++)
            cr_assert_eq(send_next("t"), tag);
        for (uint64_t tag = first; tag < first + TRAY_EVENTS_MAX; tag++)
            tray_settle(&tray, tag);
        cr_assert_eq(tray_count(&tray), 0);
    }
}

Test(zmq_tray, is_full_by_bytes)
{
    static char large[TRAY_BYTES_MAX / 2];
    struct event event = {
        .topic = "t", .topic_bytes = 1, .payload = large, .payload_bytes = sizeof large};
    cr_assert_eq(tray_put(&tray, &event, &error), OK);
    cr_assert(!tray_is_full(&tray));
    cr_assert_eq(tray_put(&tray, &event, &error), OK);
    cr_assert(tray_is_full(&tray));
}
