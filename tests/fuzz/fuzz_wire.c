/*
 * fuzz_wire.c - any bytes at all go to the decoders of frames, as if they stood behind a length.
 *
 * Whatever they accept lies inside of the frame, and a pub that was accepted is written again as a
 * frame that gives the same events.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tools/client/wire_subscription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event events[WIRE_EVENTS_MAX], again[WIRE_EVENTS_MAX];

static void expect_inside(const struct msgpack_cursor *frame, const void *at, size_t bytes)
{
    const uint8_t *first = at;
    assert(bytes == 0 || (first >= frame->at && bytes <= (size_t)(frame->end - first)));
}

static void expect_text_inside(const struct msgpack_cursor *frame, const struct wire_text *text)
{
    expect_inside(frame, text->text, text->bytes);
}

static void expect_same_events(const struct event *left, const struct event *right)
{
    assert(left->time_ns == right->time_ns && left->number == right->number);
    assert(left->topic_bytes == right->topic_bytes && left->payload_bytes == right->payload_bytes);
    assert(memcmp(left->topic, right->topic, left->topic_bytes) == 0);
    assert(memcmp(left->payload, right->payload, left->payload_bytes) == 0);
}

static void expect_same_when_written_again(const struct wire_pub *pub,
                                           const struct wire_text *producer)
{
    struct buffer frame = {0};
    assert(wire_begin_pub(&frame, pub->id, NULL) == OK);
    for (uint32_t i = 0; i < pub->event_count; i++)
        assert(wire_add_event(&frame, &events[i], NULL) == OK);
    assert(!pub->expected.given || wire_add_expectation(&frame, 0, &pub->expected, NULL) == OK);
    /* The same events can need more bytes here, and then no longer fit into one frame. */
    if (frame.size <= WIRE_FRAME_MAX) {
        struct wire_pub read;
        enum wire_type type;
        uint32_t left;
        wire_end_pub(&frame, 0, (uint16_t)pub->event_count);
        struct msgpack_cursor cursor = {frame.data + WIRE_LENGTH_BYTES, frame.data + frame.size};
        assert(wire_read_type(&cursor, &type, &left, NULL) == OK && type == WIRE_PUB);
        assert(wire_read_pub(cursor, left, producer, again, &read, NULL) == OK);
        assert(read.id == pub->id && read.event_count == pub->event_count);
        assert(read.expected.given == pub->expected.given);
        assert(read.expected.last == pub->expected.last);
        assert(read.expected.topic.bytes == pub->expected.topic.bytes);
        for (uint32_t i = 0; i < read.event_count; i++)
            expect_same_events(&events[i], &again[i]);
    }
    buffer_release(&frame);
}

static void read_pub(const struct msgpack_cursor *frame, struct msgpack_cursor cursor,
                     uint32_t left, const struct wire_text *producer)
{
    struct wire_pub pub;
    if (wire_read_pub(cursor, left, producer, events, &pub, NULL))
        return;
    assert(pub.event_count <= WIRE_EVENTS_MAX);
    assert(!pub.expected.given || pub.event_count > 0);
    assert(pub.expected.given || !pub.expected.topic.text);
    if (pub.expected.topic.text)
        expect_inside(frame, pub.expected.topic.text, pub.expected.topic.bytes);
    for (uint32_t i = 0; i < pub.event_count; i++) {
        expect_inside(frame, events[i].topic, events[i].topic_bytes);
        expect_inside(frame, events[i].payload, events[i].payload_bytes);
        assert((events[i].number > 0) == (producer->bytes > 0));
    }
    expect_same_when_written_again(&pub, producer);
}

static void read_ack(const struct msgpack_cursor *frame, struct msgpack_cursor cursor,
                     uint32_t left)
{
    struct wire_ack ack;
    struct wire_refusal refusal;
    if (wire_read_ack(cursor, left, &ack, NULL))
        return;
    while (wire_read_refusal(&ack.refusals, &refusal, NULL) == OK) {
        expect_text_inside(frame, &refusal.code);
        expect_text_inside(frame, &refusal.reason);
    }
}

static void read_maps(const struct msgpack_cursor *frame, struct msgpack_cursor cursor,
                      uint32_t left)
{
    struct wire_hello hello;
    struct wire_welcome welcome;
    struct wire_error error;
    if (wire_read_hello(cursor, left, &hello, NULL) == OK) {
        expect_text_inside(frame, &hello.client);
        expect_text_inside(frame, &hello.producer);
    }
    if (wire_read_welcome(cursor, left, &welcome, NULL) == OK)
        expect_text_inside(frame, &welcome.server);
    if (wire_read_error(cursor, left, &error, NULL) == OK)
        expect_text_inside(frame, &error.text);
}

static void read_subscribe(const struct msgpack_cursor *frame, struct msgpack_cursor cursor,
                           uint32_t left)
{
    static struct wire_subscribe subscribe, again_read;
    struct buffer written = {0};
    if (wire_read_subscribe(cursor, left, &subscribe, NULL))
        return;
    expect_text_inside(frame, &subscribe.cursor);
    expect_text_inside(frame, &subscribe.where);
    assert(subscribe.topic_count <= WIRE_TOPICS_MAX);
    for (uint32_t i = 0; i < subscribe.topic_count; i++)
        expect_text_inside(frame, &subscribe.topics[i]);
    assert(wire_write_subscribe(&written, &subscribe, NULL) == OK);
    enum wire_type type;
    cursor = (struct msgpack_cursor){written.data + WIRE_LENGTH_BYTES, written.data + written.size};
    assert(wire_read_type(&cursor, &type, &left, NULL) == OK && type == WIRE_SUBSCRIBE);
    assert(wire_read_subscribe(cursor, left, &again_read, NULL) == OK);
    assert(again_read.start == subscribe.start && again_read.credit == subscribe.credit &&
           again_read.shared == subscribe.shared && again_read.tries == subscribe.tries &&
           again_read.topic_count == subscribe.topic_count);
    buffer_release(&written);
}

static void read_given(const struct msgpack_cursor *frame, struct msgpack_cursor cursor,
                       uint32_t left)
{
    struct wire_events given;
    struct wire_lost lost;
    struct event event;
    uint32_t tries;
    if (wire_read_lost(cursor, left, &lost, NULL) == OK) {
        assert(lost.first > 0 && lost.first <= lost.last);
        expect_text_inside(frame, &lost.cause);
        expect_text_inside(frame, &lost.text);
    }
    if (wire_read_events(cursor, left, &given, NULL))
        return;
    while (given.count-- > 0 && wire_read_event(&given.events, &event, &tries, NULL) == OK) {
        expect_inside(frame, event.topic, event.topic_bytes);
        expect_inside(frame, event.payload, event.payload_bytes);
        assert(event.sequence > 0 && event.sequence < EVENT_SEQUENCE_END);
        assert(event.topic_bytes > 0 && event.time_ns != EVENT_TIME_NONE);
    }
}

static void read_cursors(const struct msgpack_cursor *frame, struct msgpack_cursor cursor,
                         uint32_t left)
{
    struct wire_cursors cursors;
    struct wire_cursor entry;
    if (wire_read_cursors(cursor, left, &cursors, NULL))
        return;
    while (cursors.count-- > 0 && wire_read_cursor(&cursors.entries, &entry, NULL) == OK)
        expect_text_inside(frame, &entry.name);
}

static void read_settling(struct msgpack_cursor cursor, uint32_t left)
{
    static struct wire_range ranges[WIRE_RANGES_MAX];
    struct wire_subscribed subscribed;
    uint64_t id, value;
    uint32_t count;
    if (wire_read_settle(cursor, left, &id, ranges, &count, NULL) == OK)
        for (uint32_t i = 0; i < count; i++)
            assert(ranges[i].first > 0 && ranges[i].first <= ranges[i].last);
    wire_read_subscribed(cursor, left, &subscribed, NULL);
    wire_read_settled(cursor, left, &id, &value, NULL);
    wire_read_commit(cursor, left, &value, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wire_text ANONYMOUS = {NULL, 0}, PRODUCER = {"p", 1};
    struct msgpack_cursor frame = {data, data + size}, cursor = frame;
    enum wire_type type;
    uint32_t left;
    uint64_t value, durable;
    if (size > WIRE_FRAME_MAX || wire_read_type(&cursor, &type, &left, NULL))
        return 0;
    read_pub(&frame, cursor, left, &ANONYMOUS);
    read_pub(&frame, cursor, left, &PRODUCER);
    read_ack(&frame, cursor, left);
    read_maps(&frame, cursor, left);
    read_subscribe(&frame, cursor, left);
    read_given(&frame, cursor, left);
    read_cursors(&frame, cursor, left);
    read_settling(cursor, left);
    wire_read_ping(cursor, left, &value, NULL);
    wire_read_pong(cursor, left, &value, &durable, NULL);
    return 0;
}
