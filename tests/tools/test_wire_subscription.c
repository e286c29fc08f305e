/* The frames of subscribers: what one side writes the other reads, and nothing else passes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client/wire_subscription.h"

static struct buffer frame;
static struct error error;

static void release(void)
{
    buffer_release(&frame);
}
TestSuite(wire_subscription, .fini = release);

/* Check the length and the type of a frame that begins at `start`; give a cursor behind them. */
static struct msgpack_cursor open_frame_at(size_t start, enum wire_type type_expected,
                                           uint32_t *left_out)
{
    cr_assert_geq(frame.size, start + WIRE_LENGTH_BYTES);
    cr_assert_eq(frame.data[start], 0, "the first byte tells a frame from a line");
    cr_assert_eq(wire_read_length(frame.data + start) + WIRE_LENGTH_BYTES, frame.size - start);
    struct msgpack_cursor cursor = {frame.data + start + WIRE_LENGTH_BYTES,
                                    frame.data + frame.size};
    enum wire_type type;
    cr_assert_eq(wire_read_type(&cursor, &type, left_out, NULL), OK);
    cr_assert_eq(type, type_expected);
    return cursor;
}

static struct msgpack_cursor open_frame(enum wire_type type_expected, uint32_t *left_out)
{
    return open_frame_at(0, type_expected, left_out);
}

static struct wire_text text(const char *words)
{
    return (struct wire_text){words, strlen(words)};
}

static void expect_text(struct wire_text given, const char *expected)
{
    cr_assert_eq(given.bytes, strlen(expected));
    cr_assert_arr_eq(given.text, expected, given.bytes);
}

static struct event an_event(uint64_t sequence, const char *topic)
{
    return (struct event){
        .sequence = sequence,
        .time_ns = -5,
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = "\x81\xa1"
                   "a\x01",
        .payload_bytes = 4,
    };
}

/* ---- What arrives ---- */

Test(wire_subscription, a_subscribe_arrives_with_every_key)
{
    struct wire_subscribe sent = {
        .start = WIRE_START_SINCE,
        .since_ns = -7,
        .cursor = text("billing"),
        .shared = true,
        .ack_timeout_ns = 2000000,
        .tries = 9,
        .where = text("price > 3"),
        .limited = true,
        .credit = UINT64_MAX,
        .topic_count = 2,
        .topics = {text("signal.*"), text("trade.>")},
    };
    struct wire_subscribe read;
    uint32_t left;
    cr_assert_eq(wire_write_subscribe(&frame, &sent, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_SUBSCRIBE, &left);
    cr_assert_eq(wire_read_subscribe(cursor, left, &read, &error), OK, "%s", error.text);
    cr_assert_eq(read.start, WIRE_START_SINCE);
    cr_assert_eq(read.since_ns, -7);
    expect_text(read.cursor, "billing");
    cr_assert(read.shared);
    cr_assert_eq(read.ack_timeout_ns, 2000000);
    cr_assert_eq(read.tries, 9);
    expect_text(read.where, "price > 3");
    cr_assert(read.limited);
    cr_assert_eq(read.credit, UINT64_MAX);
    cr_assert_eq(read.topic_count, 2);
    expect_text(read.topics[0], "signal.*");
    expect_text(read.topics[1], "trade.>");
}

Test(wire_subscription, a_subscribe_arrives_with_any_start_and_with_nothing)
{
    for (enum wire_start start = WIRE_START_NONE; start <= WIRE_START_LATEST; start++) {
        struct wire_subscribe sent = {.start = start, .after = 300, .since_ns = 5}, read;
        uint32_t left;
        frame.size = 0;
        cr_assert_eq(wire_write_subscribe(&frame, &sent, NULL), OK);
        struct msgpack_cursor cursor = open_frame(WIRE_SUBSCRIBE, &left);
        cr_assert_eq(wire_read_subscribe(cursor, left, &read, &error), OK, "%s", error.text);
        cr_assert_eq(read.start, start);
        cr_assert_eq(read.after, start == WIRE_START_AFTER ? 300u : 0u);
        cr_assert_eq(read.since_ns, start == WIRE_START_SINCE ? 5 : 0);
        cr_assert(!read.limited && !read.shared && !read.cursor.text && !read.where.text);
        cr_assert_eq(read.topic_count, 0);
    }
}

Test(wire_subscription, the_largest_subscribe_that_is_allowed_arrives)
{
    static char pattern[EVENT_TOPIC_BYTES_MAX], where[WIRE_WHERE_BYTES_MAX];
    static struct wire_subscribe sent, read;
    memset(pattern, 'p', sizeof pattern);
    memset(where, 'w', sizeof where);
    sent.where = (struct wire_text){where, sizeof where};
    sent.topic_count = WIRE_TOPICS_MAX;
    for (uint32_t i = 0; i < WIRE_TOPICS_MAX; i++)
        sent.topics[i] = (struct wire_text){pattern, sizeof pattern};
    uint32_t left;
    cr_assert_eq(wire_write_subscribe(&frame, &sent, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_SUBSCRIBE, &left);
    cr_assert_eq(wire_read_subscribe(cursor, left, &read, &error), OK, "%s", error.text);
    cr_assert_eq(read.topic_count, WIRE_TOPICS_MAX);
    cr_assert_eq(read.topics[WIRE_TOPICS_MAX - 1].bytes, sizeof pattern);
    cr_assert_eq(read.where.bytes, sizeof where);
}

Test(wire_subscription, subscribed_arrives)
{
    struct wire_subscribed sent = {41, UINT64_MAX, text("0011223344556677")}, read;
    uint32_t left;
    cr_assert_eq(wire_write_subscribed(&frame, &sent, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_SUBSCRIBED, &left);
    cr_assert_eq(wire_read_subscribed(cursor, left, &read, &error), OK, "%s", error.text);
    cr_assert_eq(read.after, 41);
    cr_assert_eq(read.durable, UINT64_MAX);
    expect_text(read.log, "0011223344556677");
}

/* Head and events are made apart, as the daemon does, which keeps the events' bytes in a ring. */
Test(wire_subscription, an_events_frame_is_made_of_its_head_and_events_from_elsewhere)
{
    static const uint32_t COUNTS[] = {0, 1, 15, 16, 255, 65535, 65536};
    static const uint64_t LASTS[] = {0, 127, 128, 65536, EVENT_SEQUENCE_END - 1};
    struct buffer one = {0};
    struct event sent = an_event(9, "t");
    cr_assert_eq(wire_write_event(&one, &sent, NULL), OK);
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        uint64_t last = LASTS[i % (sizeof LASTS / sizeof *LASTS)];
        frame.size = 0;
        cr_assert_eq(wire_write_ping(&frame, 1, NULL), OK, "something may stand before it");
        size_t start = frame.size;
        cr_assert_eq(
            wire_write_events_head(&frame, last, COUNTS[i], COUNTS[i] * one.size, NULL), OK);
        cr_assert_leq(frame.size - start, WIRE_EVENTS_HEAD_BYTES);
        for (uint32_t n = 0; n < COUNTS[i]; n++)
            buffer_append(&frame, one.data, one.size, NULL);

        struct wire_events events;
        struct event read;
        uint32_t left, try_number = 77;
        struct msgpack_cursor cursor = open_frame_at(start, WIRE_EVENTS, &left);
        cr_assert_eq(wire_read_events(cursor, left, &events, &error), OK, "%s", error.text);
        cr_assert_eq(events.last, last);
        cr_assert_eq(events.count, COUNTS[i]);
        for (uint32_t n = 0; n < events.count; n++) {
            cr_assert_eq(wire_read_event(&events.events, &read, &try_number, &error), OK, "%s",
                         error.text);
            cr_assert_eq(read.sequence, 9);
            cr_assert_eq(read.time_ns, -5);
            cr_assert_eq(read.topic_bytes, 1);
            cr_assert_eq(read.payload_bytes, 4);
            cr_assert_eq(try_number, 0);
        }
        cr_assert_eq(wire_read_events_end(&events.events, NULL), OK);
    }
    buffer_release(&one);
}

Test(wire_subscription, an_event_of_a_group_arrives_with_its_try)
{
    struct buffer one = {0};
    struct event sent = an_event(EVENT_SEQUENCE_END - 1, "topic"), read;
    uint32_t try_number;
    cr_assert_eq(wire_write_event_try(&one, &sent, 100, NULL), OK);
    struct msgpack_cursor cursor = {one.data, one.data + one.size};
    cr_assert_eq(wire_read_event(&cursor, &read, &try_number, &error), OK, "%s", error.text);
    cr_assert_eq(try_number, 100);
    cr_assert_eq(read.sequence, EVENT_SEQUENCE_END - 1);
    cr_assert_eq(cursor.at, cursor.end);
    buffer_release(&one);
}

Test(wire_subscription, an_event_of_the_largest_size_fits_into_a_frame_as_its_limits_say)
{
    static char topic[EVENT_TOPIC_BYTES_MAX];
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX];
    memset(topic, 't', sizeof topic);
    memcpy(payload, "\xc6\x00\x0f\xff\xfb", 5);
    struct event event = {.sequence = EVENT_SEQUENCE_END - 1,
                          .time_ns = INT64_MAX,
                          .topic = topic,
                          .topic_bytes = sizeof topic,
                          .payload = payload,
                          .payload_bytes = sizeof payload};
    struct buffer one = {0};
    cr_assert_eq(wire_write_event_try(&one, &event, WIRE_TRIES_MAX, NULL), OK);
    cr_assert_leq(one.size, WIRE_GIVEN_BYTES + sizeof topic + sizeof payload);
    cr_assert_leq(one.size + WIRE_EVENTS_HEAD_BYTES, WIRE_FRAME_MAX);
    cr_assert_eq(wire_write_events_head(&frame, UINT64_MAX, 1, one.size, NULL), OK);
    buffer_append(&frame, one.data, one.size, NULL);
    uint32_t left;
    open_frame(WIRE_EVENTS, &left);
    buffer_release(&one);
}

Test(wire_subscription, lost_arrives)
{
    struct wire_lost sent = {5, UINT64_MAX, text("retention"), text("deleted yesterday")}, read;
    uint32_t left;
    cr_assert_eq(wire_write_lost(&frame, &sent, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_LOST, &left);
    cr_assert_eq(wire_read_lost(cursor, left, &read, &error), OK, "%s", error.text);
    cr_assert_eq(read.first, 5);
    cr_assert_eq(read.last, UINT64_MAX);
    expect_text(read.cause, "retention");
    expect_text(read.text, "deleted yesterday");
}

Test(wire_subscription, numbers_arrive)
{
    uint64_t read = 0, id = 0;
    uint32_t left;
    cr_assert_eq(wire_write_caught_up(&frame, 300, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_CAUGHT_UP, &left);
    cr_assert_eq(wire_read_caught_up(cursor, left, &read, NULL), OK);
    cr_assert_eq(read, 300);
    frame.size = 0;
    cr_assert_eq(wire_write_credit(&frame, UINT64_MAX, NULL), OK);
    cursor = open_frame(WIRE_CREDIT, &left);
    cr_assert_eq(wire_read_credit(cursor, left, &read, NULL), OK);
    cr_assert_eq(read, UINT64_MAX);
    frame.size = 0;
    cr_assert_eq(wire_write_commit(&frame, 41, NULL), OK);
    cursor = open_frame(WIRE_COMMIT, &left);
    cr_assert_eq(wire_read_commit(cursor, left, &read, NULL), OK);
    cr_assert_eq(read, 41);
    frame.size = 0;
    cr_assert_eq(wire_write_committed(&frame, 42, NULL), OK);
    cursor = open_frame(WIRE_COMMITTED, &left);
    cr_assert_eq(wire_read_committed(cursor, left, &read, NULL), OK);
    cr_assert_eq(read, 42);
    frame.size = 0;
    cr_assert_eq(wire_write_settled(&frame, UINT64_MAX, 4, NULL), OK);
    cursor = open_frame(WIRE_SETTLED, &left);
    cr_assert_eq(wire_read_settled(cursor, left, &id, &read, NULL), OK);
    cr_assert_eq(id, UINT64_MAX);
    cr_assert_eq(read, 4);
}

static uint32_t settle_back(enum wire_type type, struct wire_range *ranges, uint64_t *id)
{
    uint32_t left, count = 0;
    struct msgpack_cursor cursor = open_frame(type, &left);
    cr_assert_eq(wire_read_settle(cursor, left, id, ranges, &count, &error), OK, "%s", error.text);
    return count;
}

Test(wire_subscription, accepted_and_released_ranges_arrive)
{
    static struct wire_range many[WIRE_RANGES_MAX], read[WIRE_RANGES_MAX];
    uint64_t id = 0;
    for (uint32_t i = 0; i < WIRE_RANGES_MAX; i++)
        many[i] = (struct wire_range){UINT64_MAX - 2 * i - 1, UINT64_MAX - 2 * i};
    cr_assert_eq(wire_write_accept(&frame, UINT64_MAX, many, WIRE_RANGES_MAX, NULL), OK);
    cr_assert_eq(settle_back(WIRE_ACCEPT, read, &id), WIRE_RANGES_MAX);
    cr_assert_eq(id, UINT64_MAX);
    cr_assert_eq(memcmp(many, read, sizeof many), 0);
    frame.size = 0;
    cr_assert_eq(wire_write_release(&frame, 3, many, 1, NULL), OK);
    cr_assert_eq(settle_back(WIRE_RELEASE, read, &id), 1);
    cr_assert_eq(id, 3);
    frame.size = 0;
    cr_assert_eq(wire_write_accept(&frame, 4, NULL, 0, NULL), OK);
    cr_assert_eq(settle_back(WIRE_ACCEPT, read, &id), 0);
}

Test(wire_subscription, the_list_of_cursors_arrives)
{
    struct buffer list = {0};
    struct wire_cursor sent = {text("billing"), 41, 5, true, false, true, -9}, read;
    struct wire_cursors cursors;
    uint32_t left;
    cr_assert_eq(wire_write_cursor(&list, &sent, NULL), OK);
    sent.name = text("b");
    cr_assert_eq(wire_write_cursor(&list, &sent, NULL), OK);
    cr_assert_eq(wire_write_cursors(&frame, &list, 2, NULL), OK);
    buffer_release(&list);
    struct msgpack_cursor cursor = open_frame(WIRE_CURSORS, &left);
    cr_assert_eq(wire_read_cursors(cursor, left, &cursors, &error), OK, "%s", error.text);
    cr_assert_eq(cursors.count, 2);
    cr_assert_eq(wire_read_cursor(&cursors.entries, &read, &error), OK, "%s", error.text);
    expect_text(read.name, "billing");
    cr_assert_eq(read.position, 41);
    cr_assert_eq(read.lag, 5);
    cr_assert(read.shared && !read.in_use && read.hold);
    cr_assert_eq(read.committed_at_ns, -9);
    cr_assert_eq(wire_read_cursor(&cursors.entries, &read, &error), OK, "%s", error.text);
    expect_text(read.name, "b");
    cr_assert_neq(wire_read_cursor(&cursors.entries, &read, NULL), OK);

    frame.size = 0;
    cr_assert_eq(wire_write_cursors_request(&frame, NULL), OK);
    cursor = open_frame(WIRE_CURSORS, &left);
    cr_assert_eq(wire_read_cursors_request(cursor, left, NULL), OK);
    cr_assert_neq(wire_read_cursors(cursor, left, &cursors, NULL), OK, "it is no answer");
}

/* ---- What must not pass ---- */

static void read_anything(const uint8_t *bytes, size_t size)
{
    static struct wire_range ranges[WIRE_RANGES_MAX];
    static struct wire_subscribe subscribe;
    struct msgpack_cursor cursor = {bytes, bytes + size};
    enum wire_type type;
    uint32_t left, count, try_number;
    uint64_t value, id;
    struct wire_subscribed subscribed;
    struct wire_events events;
    struct event event;
    struct wire_lost lost;
    struct wire_cursors cursors;
    struct wire_cursor entry;
    if (wire_read_type(&cursor, &type, &left, NULL))
        return;
    wire_read_subscribe(cursor, left, &subscribe, NULL);
    wire_read_subscribed(cursor, left, &subscribed, NULL);
    if (wire_read_events(cursor, left, &events, NULL) == OK)
        while (wire_read_event(&events.events, &event, &try_number, NULL) == OK)
            continue;
    wire_read_caught_up(cursor, left, &value, NULL);
    wire_read_lost(cursor, left, &lost, NULL);
    wire_read_credit(cursor, left, &value, NULL);
    wire_read_commit(cursor, left, &value, NULL);
    wire_read_committed(cursor, left, &value, NULL);
    wire_read_settle(cursor, left, &id, ranges, &count, NULL);
    wire_read_settled(cursor, left, &id, &value, NULL);
    wire_read_cursors_request(cursor, left, NULL);
    if (wire_read_cursors(cursor, left, &cursors, NULL) == OK)
        while (wire_read_cursor(&cursors.entries, &entry, NULL) == OK)
            continue;
}

/* Exactly as many bytes as there are, so that the sanitizers see a read beyond them. */
static void read_cut_and_changed(void)
{
    const uint8_t *whole = frame.data + WIRE_LENGTH_BYTES;
    for (size_t cut = 0; cut <= frame.size - WIRE_LENGTH_BYTES; cut++) {
        uint8_t *bytes = malloc(cut ? cut : 1);
        memcpy(bytes, whole, cut);
        read_anything(bytes, cut);
        for (size_t at = 0; at < cut; at++)
            for (int bit = 0; bit < 8; bit++) {
                bytes[at] ^= (uint8_t)(1 << bit);
                read_anything(bytes, cut);
                bytes[at] ^= (uint8_t)(1 << bit);
            }
        free(bytes);
    }
    frame.size = 0;
}

Test(wire_subscription, no_frame_cut_or_changed_anywhere_reads_beyond_its_end)
{
    struct wire_subscribe subscribe = {.start = WIRE_START_AFTER,
                                       .after = 300,
                                       .cursor = text("c"),
                                       .shared = true,
                                       .tries = 2,
                                       .topic_count = 1,
                                       .topics = {text("a.*")}};
    wire_write_subscribe(&frame, &subscribe, NULL);
    read_cut_and_changed();

    struct buffer some = {0};
    struct event event = an_event(7, "topic");
    wire_write_event(&some, &event, NULL);
    wire_write_event_try(&some, &event, 3, NULL);
    wire_write_events_head(&frame, 8, 2, some.size, NULL);
    buffer_append(&frame, some.data, some.size, NULL);
    read_cut_and_changed();

    some.size = 0;
    struct wire_cursor entry = {text("n"), 1, 2, true, false, true, 4};
    wire_write_cursor(&some, &entry, NULL);
    wire_write_cursors(&frame, &some, 1, NULL);
    read_cut_and_changed();
    buffer_release(&some);

    struct wire_lost lost = {5, 6, text("damage"), text("why")};
    wire_write_lost(&frame, &lost, NULL);
    read_cut_and_changed();
    struct wire_range ranges[] = {{1, 2}, {5, 500}};
    wire_write_accept(&frame, 7, ranges, 2, NULL);
    read_cut_and_changed();
}

struct malformed {
    const char *name;
    const char *bytes; /* of a whole frame behind its length */
    size_t size;
    const char *text; /* in the error */
};
#define BYTES(text) text, sizeof text - 1
#define THIRTEEN "\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t\xa1t"
#define SUBSCRIBE "\x92\xa9subscribe"

static const struct malformed SUBSCRIBES[] = {
    {"no map", BYTES("\x91\xa9subscribe"), "elements"},
    {"an array", BYTES(SUBSCRIBE "\x90"), "an array"},
    {"bytes left over", BYTES(SUBSCRIBE "\x80\x00"), ""},
    {"an unknown key", BYTES(SUBSCRIBE "\x81\xa5quiet\xc3"), "no key 'quiet'"},
    {"a key that is no text", BYTES(SUBSCRIBE "\x81\x01\x01"), "a key"},
    {"a key twice", BYTES(SUBSCRIBE "\x82\xa6" "credit\x01\xa6" "credit\x01"), "twice"},
    {"after and from", BYTES(SUBSCRIBE "\x82\xa5" "after\x01\xa4" "from\xa6latest"),
     "more than one"},
    {"after and since", BYTES(SUBSCRIBE "\x82\xa5" "after\x01\xa5" "since\x01"), "more than one"},
    {"after is negative", BYTES(SUBSCRIBE "\x81\xa5" "after\xff"), "after"},
    {"since is nil", BYTES(SUBSCRIBE "\x81\xa5since\xc0"), "since"},
    {"since is a float", BYTES(SUBSCRIBE "\x81\xa5since\xca\x00\x00\x00\x00"), "since"},
    {"from is elsewhere", BYTES(SUBSCRIBE "\x81\xa4" "from\xa5there"), "earliest"},
    {"cursor is empty", BYTES(SUBSCRIBE "\x81\xa6" "cursor\xa0"), "cursor has 0 bytes"},
    {"cursor is nil", BYTES(SUBSCRIBE "\x81\xa6" "cursor\xc0"), "cursor"},
    {"shared without a cursor", BYTES(SUBSCRIBE "\x81\xa6shared\xc3"), "cursor"},
    {"shared is 1", BYTES(SUBSCRIBE "\x82\xa6" "cursor\xa1" "c\xa6shared\x01"), "shared"},
    {"tries without shared", BYTES(SUBSCRIBE "\x82\xa6" "cursor\xa1" "c\xa5tries\x01"), "shared"},
    {"no tries", BYTES(SUBSCRIBE "\x83\xa6" "cursor\xa1" "c\xa6shared\xc3\xa5tries\x00"), "tries"},
    {"101 tries", BYTES(SUBSCRIBE "\x83\xa6" "cursor\xa1" "c\xa6shared\xc3\xa5tries\x65"), "tries"},
    {"ack_timeout of 1 ns",
     BYTES(SUBSCRIBE "\x83\xa6" "cursor\xa1" "c\xa6shared\xc3\xab" "ack_timeout\x01"), "1 ms"},
    {"ack_timeout of 1 day and 1 ns",
     BYTES(SUBSCRIBE "\x83\xa6" "cursor\xa1" "c\xa6shared\xc3\xab"
                     "ack_timeout\xcf\x00\x00\x4e\x94\x91\x4f\x00\x01"),
     "1 day"},
    {"topics is a text", BYTES(SUBSCRIBE "\x81\xa6topics\xa1t"), "topics"},
    {"65 topics",
     BYTES(SUBSCRIBE "\x81\xa6topics\xdc\x00\x41" THIRTEEN THIRTEEN THIRTEEN THIRTEEN THIRTEEN),
     "65 topics"},
    {"an empty pattern", BYTES(SUBSCRIBE "\x81\xa6topics\x91\xa0"), "pattern"},
    {"a pattern that is a number", BYTES(SUBSCRIBE "\x81\xa6topics\x91\x01"), "pattern"},
    {"where that is no UTF-8", BYTES(SUBSCRIBE "\x81\xa5where\xa1\xff"), "UTF-8"},
    {"where is empty", BYTES(SUBSCRIBE "\x81\xa5where\xa0"), "where"},
    {"credit is a text", BYTES(SUBSCRIBE "\x81\xa6" "credit\xa1t"), "credit"},
};

Test(wire_subscription, a_bad_subscribe_is_refused_with_its_reason)
{
    static struct wire_subscribe read;
    for (size_t i = 0; i < sizeof SUBSCRIBES / sizeof *SUBSCRIBES; i++) {
        const struct malformed *bad = &SUBSCRIBES[i];
        uint8_t *bytes = malloc(bad->size);
        memcpy(bytes, bad->bytes, bad->size);
        struct msgpack_cursor cursor = {bytes, bytes + bad->size};
        enum wire_type type;
        uint32_t left;
        cr_assert_eq(wire_read_type(&cursor, &type, &left, &error), OK, "%s", bad->name);
        cr_assert_eq(type, WIRE_SUBSCRIBE);
        cr_assert_eq(wire_read_subscribe(cursor, left, &read, &error), ERROR_INVALID, "%s",
                     bad->name);
        cr_assert(strstr(error.text, bad->text), "%s: %s", bad->name, error.text);
        free(bytes);
    }
}

static const struct malformed EVENTS[] = {
    {"no array", BYTES("\x01"), "an event"},
    {"three elements", BYTES("\x93\x01\x02\xa1t"), "3 elements"},
    {"six elements", BYTES("\x96\x01\x02\xa1t\x01\x01\x01"), "6 elements"},
    {"sequence 0", BYTES("\x94\x00\x02\xa1t\x01"), "sequence 0"},
    {"a sequence that none has", BYTES("\x94\xcf\x40\0\0\0\0\0\0\0\x02\xa1t\x01"), "no event has"},
    {"a negative sequence", BYTES("\x94\xff\x02\xa1t\x01"), "its sequence"},
    {"time nil", BYTES("\x94\x01\xc0\xa1t\x01"), "its time is nil"},
    {"topic binary", BYTES("\x94\x01\x02\xc4\x01t\x01"), "its topic"},
    {"topic empty", BYTES("\x94\x01\x02\xa0\x01"), "its topic"},
    {"payload cut off", BYTES("\x94\x01\x02\xa1t\xd9\x05" "ab"), "its payload"},
    {"payload of a reserved code", BYTES("\x94\x01\x02\xa1t\xc1"), "its payload"},
    {"try 0", BYTES("\x95\x01\x02\xa1t\x01\x00"), "tries"},
    {"try is a text", BYTES("\x95\x01\x02\xa1t\x01\xa1" "1"), "its try"},
};

Test(wire_subscription, a_malformed_event_is_refused_with_its_reason)
{
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        const struct malformed *bad = &EVENTS[i];
        uint8_t *bytes = malloc(bad->size);
        memcpy(bytes, bad->bytes, bad->size);
        struct msgpack_cursor cursor = {bytes, bytes + bad->size};
        struct event event;
        uint32_t try_number;
        cr_assert_eq(wire_read_event(&cursor, &event, &try_number, &error), ERROR_INVALID, "%s",
                     bad->name);
        cr_assert(strstr(error.text, bad->text), "%s: %s", bad->name, error.text);
        free(bytes);
    }
}

static enum error_code read_settle(const char *bytes, size_t size)
{
    static struct wire_range ranges[WIRE_RANGES_MAX];
    struct msgpack_cursor cursor = {(const uint8_t *)bytes, (const uint8_t *)bytes + size};
    enum wire_type type;
    uint32_t left, count;
    uint64_t id;
    cr_assert_eq(wire_read_type(&cursor, &type, &left, &error), OK);
    return wire_read_settle(cursor, left, &id, ranges, &count, &error);
}

Test(wire_subscription, a_range_that_is_none_settles_nothing)
{
    cr_assert_eq(read_settle(BYTES("\x93\xa6" "accept\x01\x91\x92\x00\x01")), ERROR_INVALID);
    cr_assert_eq(read_settle(BYTES("\x93\xa6" "accept\x01\x92\x92\x01\x01\x92\x03\x02")),
                 ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "from 3 to 2"), "%s", error.text);
    cr_assert_eq(read_settle(BYTES("\x93\xa6" "accept\x01\x91\x93\x01\x01\x01")), ERROR_INVALID);
    cr_assert_eq(read_settle(BYTES("\x93\xa6" "accept\x01\x90\x00")), ERROR_INVALID);
    cr_assert_eq(read_settle(BYTES("\x93\xa6" "accept\x01\xdd\xff\xff\xff\xff")), ERROR_INVALID);
}
