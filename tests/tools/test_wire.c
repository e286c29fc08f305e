/* The frames of docs/protocol.md: what one side writes the other reads, and nothing else passes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client/wire.h"

static struct buffer frame;
static struct event events[WIRE_EVENTS_MAX];
static const struct wire_text ANONYMOUS = {NULL, 0};
static const struct wire_text PRODUCER = {"p", 1};

static void release(void)
{
    buffer_release(&frame);
}
TestSuite(wire, .fini = release);

/* Check the length and the type; give a cursor behind them. */
static struct msgpack_cursor open_frame(enum wire_type type_expected, uint32_t *left_out)
{
    size_t length = (size_t)frame.data[0] << 24 | (size_t)frame.data[1] << 16 |
                    (size_t)frame.data[2] << 8 | frame.data[3];
    cr_assert_eq(length + WIRE_LENGTH_BYTES, frame.size);
    cr_assert_eq(frame.data[0], 0, "the first byte tells a frame from a line");
    struct msgpack_cursor cursor = {frame.data + WIRE_LENGTH_BYTES, frame.data + frame.size};
    enum wire_type type;
    cr_assert_eq(wire_read_type(&cursor, &type, left_out, NULL), OK);
    cr_assert_eq(type, type_expected);
    return cursor;
}

static void expect_text(struct wire_text text, const char *expected)
{
    cr_assert_eq(text.bytes, strlen(expected));
    cr_assert_arr_eq(text.text, expected, text.bytes);
}

static struct event an_event(const char *topic, uint64_t number)
{
    return (struct event){
        .time_ns = EVENT_TIME_NONE,
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = "\x81\xa1"
                   "a\x01",
        .payload_bytes = 4,
        .number = number,
    };
}

Test(wire, hello_and_welcome_arrive_as_they_were_sent)
{
    struct wire_hello hello = {
        .version = 1, .client = {"me/1", 4}, .producer = {"meter-7", 7}, .ack = WIRE_ACK_WRITTEN};
    struct wire_hello hello_read;
    uint32_t left;
    cr_assert_eq(wire_write_hello(&frame, &hello, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_HELLO, &left);
    cr_assert_eq(wire_read_hello(cursor, left, &hello_read, NULL), OK);
    cr_assert_eq(hello_read.version, 1);
    cr_assert_eq(hello_read.ack, WIRE_ACK_WRITTEN);
    expect_text(hello_read.client, "me/1");
    expect_text(hello_read.producer, "meter-7");

    struct wire_welcome welcome = {
        .version = 1,
        .server = {"daybookd 9", 10},
        .log = {"0011223344556677", 16},
        .durable = UINT64_MAX,
        .last_number = 3,
        .frame_max = WIRE_FRAME_MAX,
        .events_max = WIRE_EVENTS_MAX,
    };
    struct wire_welcome welcome_read;
    frame.size = 0;
    cr_assert_eq(wire_write_welcome(&frame, &welcome, NULL), OK);
    cursor = open_frame(WIRE_WELCOME, &left);
    cr_assert_eq(wire_read_welcome(cursor, left, &welcome_read, NULL), OK);
    expect_text(welcome_read.log, "0011223344556677");
    cr_assert_eq(welcome_read.durable, UINT64_MAX);
    cr_assert_eq(welcome_read.last_number, 3);
    cr_assert_eq(welcome_read.frame_max, WIRE_FRAME_MAX);
}

Test(wire, a_pub_gives_back_its_events_in_place)
{
    static const uint64_t IDS[] = {0, 127, 128, 255, 256, 65536, UINT64_C(1) << 32, UINT64_MAX};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++) {
        struct event with_time = an_event("b", 0);
        struct event first = an_event("first:topic", 0);
        with_time.time_ns = -5;
        frame.size = 0;
        cr_assert_eq(wire_begin_pub(&frame, IDS[i], NULL), OK);
        cr_assert_eq(wire_add_event(&frame, &first, NULL), OK);
        cr_assert_eq(wire_add_event(&frame, &with_time, NULL), OK);
        wire_end_pub(&frame, 0, 2);

        uint32_t left;
        struct wire_pub pub;
        struct msgpack_cursor cursor = open_frame(WIRE_PUB, &left);
        cr_assert_eq(wire_read_pub(cursor, left, &ANONYMOUS, events, &pub, NULL), OK);
        cr_assert_eq(pub.id, IDS[i]);
        cr_assert_eq(pub.event_count, 2);
        cr_assert_eq(pub.event_bytes, 11 + 4 + 1 + 4);
        cr_assert_eq(events[0].time_ns, EVENT_TIME_NONE);
        cr_assert_eq(events[1].time_ns, -5);
        cr_assert_eq(events[0].topic_bytes, 11);
        cr_assert_eq(events[1].payload_bytes, 4);
        cr_assert(events[1].payload > (void *)frame.data &&
                      events[1].payload < (void *)(frame.data + frame.size),
                  "nothing is copied");
    }
}

Test(wire, an_event_of_the_largest_size_fits_into_a_frame)
{
    static char topic[EVENT_TOPIC_BYTES_MAX];
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX];
    memset(topic, 't', sizeof topic);
    memcpy(payload, "\xc6\x00\x0f\xff\xfb", 5);
    struct event event = {.time_ns = INT64_MAX,
                          .topic = topic,
                          .topic_bytes = sizeof topic,
                          .payload = payload,
                          .payload_bytes = sizeof payload,
                          .number = EVENT_NUMBER_MAX};
    cr_assert_eq(wire_begin_pub(&frame, UINT64_MAX, NULL), OK);
    cr_assert_eq(wire_add_event(&frame, &event, NULL), OK);
    wire_end_pub(&frame, 0, 1);
    cr_assert_leq(frame.size - WIRE_LENGTH_BYTES, WIRE_FRAME_MAX);

    uint32_t left;
    struct wire_pub pub;
    struct msgpack_cursor cursor = open_frame(WIRE_PUB, &left);
    cr_assert_eq(wire_read_pub(cursor, left, &PRODUCER, events, &pub, NULL), OK);
    cr_assert_eq(events[0].number, EVENT_NUMBER_MAX);
    cr_assert_eq(events[0].time_ns, INT64_MAX);
    cr_assert_eq(event_check(&events[0], NULL), OK);
}

/* A refusal without a reason is written in a way of its own. */
Test(wire, a_refusal_has_its_index_whatever_its_size)
{
    const uint32_t indexes[] = {0, 127, 128, 255, 256, 4095, UINT16_MAX, UINT16_MAX + 1};
    const char *const reasons[] = {"", "why"};
    const char *const codes[] = {"x", "a code of exactly thirty-one by",
                                 "one of more than thirty-one bytes"};
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++)
        for (size_t j = 0; j < 2; j++)
            for (size_t k = 0; k < 3; k++) {
                struct buffer bytes = {0};
                struct wire_refusal refusal;
                cr_assert_eq(wire_write_refusal(&bytes, indexes[i], codes[k], reasons[j], NULL),
                             OK);
                struct msgpack_cursor cursor = {bytes.data, bytes.data + bytes.size};
                cr_assert_eq(wire_read_refusal(&cursor, &refusal, NULL), OK);
                cr_assert_eq(refusal.index, indexes[i]);
                expect_text(refusal.code, codes[k]);
                expect_text(refusal.reason, reasons[j]);
                cr_assert_eq(cursor.at, cursor.end);
                buffer_release(&bytes);
            }
}

Test(wire, an_ack_carries_its_refusals)
{
    struct buffer refusals = {0};
    struct wire_ack ack = {.id = 9,
                           .stored = 3,
                           .sequence_first = 10,
                           .sequence_last = 12,
                           .duplicates = 1,
                           .refused = 2};
    struct wire_ack read;
    struct wire_refusal refusal;
    cr_assert_eq(wire_write_refusal(&refusals, 4, "invalid", "why", NULL), OK);
    cr_assert_eq(wire_write_refusal(&refusals, 5, "no_space", "", NULL), OK);
    cr_assert_eq(wire_write_ack(&frame, &ack, &refusals, NULL), OK);
    buffer_release(&refusals);

    uint32_t left;
    struct msgpack_cursor cursor = open_frame(WIRE_ACK, &left);
    cr_assert_eq(wire_read_ack(cursor, left, &read, NULL), OK);
    cr_assert_eq(read.id, 9);
    cr_assert_eq(read.stored, 3);
    cr_assert_eq(read.sequence_last, 12);
    cr_assert_eq(read.duplicates, 1);
    cr_assert_eq(read.refused, 2);
    cr_assert_eq(wire_read_refusal(&read.refusals, &refusal, NULL), OK);
    cr_assert_eq(refusal.index, 4);
    expect_text(refusal.code, "invalid");
    expect_text(refusal.reason, "why");
    cr_assert_eq(wire_read_refusal(&read.refusals, &refusal, NULL), OK);
    cr_assert_eq(refusal.index, 5);
    cr_assert_neq(wire_read_refusal(&read.refusals, &refusal, NULL), OK);
}

Test(wire, small_frames_arrive_as_they_were_sent)
{
    uint32_t left;
    uint64_t value, durable;
    cr_assert_eq(wire_write_ping(&frame, 77, NULL), OK);
    struct msgpack_cursor cursor = open_frame(WIRE_PING, &left);
    cr_assert_eq(wire_read_ping(cursor, left, &value, NULL), OK);
    cr_assert_eq(value, 77);

    frame.size = 0;
    cr_assert_eq(wire_write_pong(&frame, 77, 5000, NULL), OK);
    cursor = open_frame(WIRE_PONG, &left);
    cr_assert_eq(wire_read_pong(cursor, left, &value, &durable, NULL), OK);
    cr_assert_eq(durable, 5000);

    struct wire_error error;
    frame.size = 0;
    cr_assert_eq(wire_write_error(&frame, "busy", "come back later", NULL), OK);
    cursor = open_frame(WIRE_ERROR, &left);
    cr_assert_eq(wire_read_error(cursor, left, &error, NULL), OK);
    expect_text(error.code, "busy");
    expect_text(error.text, "come back later");

    frame.size = 0;
    cr_assert_eq(wire_write_status_request(&frame, NULL), OK);
    open_frame(WIRE_STATUS, &left);
    cr_assert_eq(left, 0);
}

/* ---- What must not pass ---- */

struct malformed {
    const char *name;
    const char *bytes; /* of a whole frame behind its length */
    size_t size;
    bool numbered;
    const char *text; /* in the error */
};
#define BYTES(text) text, sizeof text - 1

static const struct malformed PUBS[] = {
    {"no id", BYTES("\x92\xa3pub\x90"), false, "elements"},
    {"id is a string", BYTES("\x93\xa3pub\xa1x\x90"), false, "id"},
    {"events are a map", BYTES("\x93\xa3pub\x01\x80"), false, "events"},
    {"fewer events than said", BYTES("\x93\xa3pub\x01\x92\x93\xa1t\xc0\x01"), false, "event 1"},
    {"too many events for the bytes", BYTES("\x93\xa3pub\x01\xdd\xff\xff\xff\xff"), false,
     "events"},
    {"more than a frame may have", BYTES("\x93\xa3pub\x01\xdc\x10\x01"), false, "events"},
    {"event is no array", BYTES("\x93\xa3pub\x01\x91\x01"), false, "event 0"},
    {"event of two", BYTES("\x93\xa3pub\x01\x91\x92\xa1t\xc0"), false, "2 elements"},
    {"event of five", BYTES("\x93\xa3pub\x01\x91\x95\xa1t\xc0\x01\x01\x01"), false, "5 elements"},
    {"topic is binary", BYTES("\x93\xa3pub\x01\x91\x93\xc4\x01t\xc0\x01"), false, "topic"},
    {"time is a float", BYTES("\x93\xa3pub\x01\x91\x93\xa1t\xca\x00\x00\x00\x00\x01"), false,
     "time"},
    {"time beyond 64 bits",
     BYTES("\x93\xa3pub\x01\x91\x93\xa1t\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false, "time"},
    {"payload cut off",
     BYTES("\x93\xa3pub\x01\x91\x93\xa1t\xc0\xd9\x05"
           "ab"),
     false, "payload"},
    {"payload of a reserved code", BYTES("\x93\xa3pub\x01\x91\x93\xa1t\xc0\xc1"), false, "payload"},
    {"number without a producer", BYTES("\x93\xa3pub\x01\x91\x94\xa1t\xc0\x01\x01"), false,
     "producer"},
    {"producer without a number", BYTES("\x93\xa3pub\x01\x91\x93\xa1t\xc0\x01"), true, "missing"},
    {"number 0", BYTES("\x93\xa3pub\x01\x91\x94\xa1t\xc0\x01\x00"), true, "above 0"},
    {"numbers that do not increase",
     BYTES("\x93\xa3pub\x01\x92\x94\xa1t\xc0\x01\x05\x94\xa1t\xc0\x01\x05"), true, "above 5"},
    {"an expectation that is no map", BYTES("\x94\xa3pub\x01\x91\x93\xa1t\xc0\x01\x90"), false,
     "what the pub expects"},
    {"an expectation without anything", BYTES("\x94\xa3pub\x01\x91\x93\xa1t\xc0\x01\x80"), false,
     "no expect_last"},
    {"an expectation of something else",
     BYTES("\x94\xa3pub\x01\x91\x93\xa1t\xc0\x01\x81\xa1x\x01"), false, "'x', which is none of"},
    {"an expectation for no events", BYTES("\x94\xa3pub\x01\x90\x81\xab" "expect_last\x01"), false,
     "for no events"},
    {"an expectation that ends early",
     BYTES("\x94\xa3pub\x01\x91\x93\xa1t\xc0\x01\x81\xab" "expect"), false, "a key of"},
    {"an expectation twice",
     BYTES("\x94\xa3pub\x01\x91\x93\xa1t\xc0\x01\x82\xab" "expect_last\x01\xab" "expect_last\x02"),
     false, "twice"},
    {"bytes left over", BYTES("\x93\xa3pub\x01\x91\x93\xa1t\xc0\x01\x00"), false, "left over"},
};

Test(wire, a_pub_can_expect_something_of_the_log)
{
    const struct wire_expectation expected[] = {
        {.given = true, .last = 0},
        {.given = true, .last = UINT64_MAX, .topic = {"trade.>", 7}},
    };
    struct event event = {.time_ns = EVENT_TIME_NONE, .topic = "t", .topic_bytes = 1,
                          .payload = "\xc0", .payload_bytes = 1};
    for (size_t i = 0; i < 2; i++) {
        uint32_t left;
        struct wire_pub pub;
        frame.size = 0;
        cr_assert_eq(wire_begin_pub(&frame, 300, NULL), OK);
        cr_assert_eq(wire_add_event(&frame, &event, NULL), OK);
        cr_assert_eq(wire_add_expectation(&frame, 0, &expected[i], NULL), OK);
        wire_end_pub(&frame, 0, 1);
        struct msgpack_cursor cursor = open_frame(WIRE_PUB, &left);
        cr_assert_eq(wire_read_pub(cursor, left, &ANONYMOUS, events, &pub, NULL), OK);
        cr_assert_eq(pub.event_count, 1);
        cr_assert(pub.expected.given && pub.expected.last == expected[i].last);
        cr_assert_eq(pub.expected.topic.bytes, expected[i].topic.bytes);
        cr_assert(!pub.expected.topic.text || wire_text_is(&pub.expected.topic, "trade.>"));
    }
}

Test(wire, a_malformed_pub_is_refused_with_its_place_and_reason)
{
    for (size_t i = 0; i < sizeof PUBS / sizeof *PUBS; i++) {
        const struct malformed *bad = &PUBS[i];
        /* Exactly as many bytes as there are, so that the sanitizers see a read beyond them. */
        uint8_t *bytes = malloc(bad->size);
        memcpy(bytes, bad->bytes, bad->size);
        struct msgpack_cursor cursor = {bytes, bytes + bad->size};
        enum wire_type type;
        uint32_t left;
        struct wire_pub pub;
        struct error error;
        cr_assert_eq(wire_read_type(&cursor, &type, &left, &error), OK, "%s", bad->name);
        enum error_code code = wire_read_pub(cursor, left, bad->numbered ? &PRODUCER : &ANONYMOUS,
                                             events, &pub, &error);
        cr_assert_eq(code, ERROR_INVALID, "%s", bad->name);
        cr_assert(strstr(error.text, bad->text), "%s: %s", bad->name, error.text);
        free(bytes);
    }
}

static void read_anything(const uint8_t *bytes, size_t size)
{
    struct msgpack_cursor cursor = {bytes, bytes + size};
    enum wire_type type;
    uint32_t left;
    struct wire_pub pub;
    struct wire_hello hello;
    struct wire_welcome welcome;
    struct wire_ack ack;
    struct wire_refusal refusal;
    struct wire_error goodbye;
    uint64_t value, durable;
    if (wire_read_type(&cursor, &type, &left, NULL))
        return;
    wire_read_pub(cursor, left, &PRODUCER, events, &pub, NULL);
    wire_read_pub(cursor, left, &ANONYMOUS, events, &pub, NULL);
    wire_read_hello(cursor, left, &hello, NULL);
    wire_read_welcome(cursor, left, &welcome, NULL);
    wire_read_error(cursor, left, &goodbye, NULL);
    wire_read_ping(cursor, left, &value, NULL);
    wire_read_pong(cursor, left, &value, &durable, NULL);
    if (wire_read_ack(cursor, left, &ack, NULL) == OK)
        while (wire_read_refusal(&ack.refusals, &refusal, NULL) == OK)
            continue;
}

Test(wire, no_frame_cut_or_changed_anywhere_reads_beyond_its_end)
{
    struct event first = an_event("first:topic", 1), second = an_event("second", 300);
    wire_begin_pub(&frame, 1000, NULL);
    wire_add_event(&frame, &first, NULL);
    wire_add_event(&frame, &second, NULL);
    wire_end_pub(&frame, 0, 2);
    const uint8_t *whole = frame.data + WIRE_LENGTH_BYTES;
    size_t size = frame.size - WIRE_LENGTH_BYTES;
    for (size_t cut = 0; cut <= size; cut++) {
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
}
