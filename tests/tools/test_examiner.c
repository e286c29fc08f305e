/* Frames and lines that take long to look through are judged as any others, only elsewhere. */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>

#include "tools/daybookd/examiner.h"

static struct examiner *examiner;
static struct buffer frame;

static void setup(void)
{
    cr_assert_eq(examiner_create(&examiner, NULL), OK);
}

static void teardown(void)
{
    examiner_free(examiner);
    buffer_release(&frame);
}

static const struct examiner_result *examine(const struct examiner_job *job)
{
    examiner_begin(examiner, job);
    struct pollfd done = {.fd = examiner_fd(examiner), .events = POLLIN};
    cr_assert_eq(poll(&done, 1, 60000), 1);
    const struct examiner_result *result = examiner_result(examiner);
    cr_assert_not_null(result);
    cr_assert_eq(poll(&done, 1, 0), 0);
    return result;
}

static const struct examiner_result *examine_line(const char *text)
{
    return examine(&(struct examiner_job){
        .is_line = true, .data = (const uint8_t *)text, .size = strlen(text)});
}

/* A pub whose events have these payloads. */
static const struct examiner_result *examine_pub(const char *const *payloads, uint32_t count)
{
    frame.size = 0;
    size_t start = frame.size;
    cr_assert_eq(wire_begin_pub(&frame, 7, NULL), OK);
    for (uint32_t i = 0; i < count; i++) {
        struct event event = {.topic = "t",
                              .topic_bytes = 1,
                              .time_ns = EVENT_TIME_NONE,
                              .payload = (const uint8_t *)payloads[i],
                              .payload_bytes = strlen(payloads[i])};
        cr_assert_eq(wire_add_event(&frame, &event, NULL), OK);
    }
    wire_end_pub(&frame, start, (uint16_t)count);
    struct msgpack_cursor cursor = {frame.data + WIRE_LENGTH_BYTES, frame.data + frame.size};
    enum wire_type type;
    uint32_t left;
    cr_assert_eq(wire_read_type(&cursor, &type, &left, NULL), OK);
    return examine(&(struct examiner_job){
        .data = cursor.at, .size = (size_t)(cursor.end - cursor.at), .left = left});
}

Test(examiner, each_event_of_a_pub_gets_its_verdict, .init = setup, .fini = teardown)
{
    static const char *const payloads[] = {"\x01", "\xa1\xff", "\x91\x02"};
    const struct examiner_result *result = examine_pub(payloads, 3);
    cr_assert_eq(result->code, OK);
    cr_assert_eq(result->pub.id, 7);
    cr_assert_eq(result->pub.event_count, 3);
    cr_assert_eq(result->known[0].verdict->code, OK);
    cr_assert_eq(result->known[1].verdict->code, ERROR_INVALID);
    cr_assert_not_null(strstr(result->known[1].verdict->text, "UTF-8"), "%s",
                       result->known[1].verdict->text);
    cr_assert_eq(result->known[2].verdict->code, OK);
    cr_assert_eq(result->events[2].payload_bytes, 2);
    examiner_finish(examiner);
}

Test(examiner, more_refusals_than_reasons_are_refusals_all_the_same, .init = setup,
     .fini = teardown)
{
    const char *payloads[WIRE_REASONS_MAX + 5];
    for (int i = 0; i < WIRE_REASONS_MAX + 5; i++)
        payloads[i] = "\xa1\xff";
    for (int round = 0; round < 2; round++) {
        const struct examiner_result *result = examine_pub(payloads, WIRE_REASONS_MAX + 5);
        for (int i = 0; i < WIRE_REASONS_MAX + 5; i++) {
            cr_assert_eq(result->known[i].verdict->code, ERROR_INVALID);
            cr_assert_eq(result->known[i].verdict->text[0] != '\0', i < WIRE_REASONS_MAX);
        }
        examiner_finish(examiner);
    }
}

Test(examiner, a_malformed_pub_is_told_as_such, .init = setup, .fini = teardown)
{
    static const uint8_t bytes[] = {0x01, 0x91, 0x93, 0xa1, 't', 0xc0, 0xc1};
    const struct examiner_result *result =
        examine(&(struct examiner_job){.data = bytes, .size = sizeof bytes, .left = 2});
    cr_assert_eq(result->code, ERROR_INVALID);
    cr_assert_not_null(strstr(result->error.text, "0xc1"), "%s", result->error.text);
    examiner_finish(examiner);
}

Test(examiner, lines_are_read_and_checked, .init = setup, .fini = teardown)
{
    const struct examiner_result *result = examine_line("{\"topic\":\"a\",\"payload\":[1,2]}");
    cr_assert_eq(result->code, OK);
    cr_assert_eq(result->known[0].verdict->code, OK);
    cr_assert_eq(result->events[0].payload_bytes, 3);
    examiner_finish(examiner);
    result = examine_line("{\"topic\":\"a b\",\"payload\":1}");
    cr_assert_eq(result->code, OK);
    cr_assert_eq(result->known[0].verdict->code, ERROR_INVALID);
    examiner_finish(examiner);
    result = examine_line("{\"topic\":\"a\",\"payload\":}");
    cr_assert_neq(result->code, OK);
    cr_assert_neq(result->error.text[0], '\0');
    examiner_finish(examiner);
}
