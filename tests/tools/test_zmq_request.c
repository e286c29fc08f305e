/* What the subscriptions of ZeroMQ programs mean. */
#include <criterion/criterion.h>
#include <string.h>

#include "tools/zmq/request.h"

#define NOW_NS INT64_C(1757386981000000000)

static struct request request;
static struct error error;

static enum error_code read_request(const char *prefix, const char *text)
{
    return request_read(prefix, text, strlen(text), NOW_NS, &request, &error);
}

static void expect_kind(const char *prefix, const char *text, enum request_kind kind)
{
    cr_assert_eq(read_request(prefix, text), OK, "%s: %s", text, error.text);
    cr_assert_eq(request.kind, kind, "%s", text);
}

static void expect_history(const char *text, const char *head, const char *topic)
{
    expect_kind("bitten.", text, REQUEST_HISTORY);
    cr_assert(request.head_bytes == strlen(head) && !memcmp(request.head, head, strlen(head)));
    cr_assert(request.topic_bytes == strlen(topic) && !memcmp(request.topic, topic, strlen(topic)),
              "%.*s", (int)request.topic_bytes, request.topic);
}

Test(zmq_request, is_live_when_a_message_can_begin_like_it)
{
    expect_kind("bitten.", "", REQUEST_LIVE);
    expect_kind("bitten.", "bit", REQUEST_LIVE);
    expect_kind("bitten.", "bitten.", REQUEST_LIVE);
    expect_kind("bitten.", "bitten.trade", REQUEST_LIVE);
    expect_kind("", "trade", REQUEST_LIVE);
    expect_kind("", "", REQUEST_LIVE);
}

Test(zmq_request, is_nothing_when_no_message_can_begin_like_it)
{
    expect_kind("bitten.", "trade", REQUEST_NONE);
    expect_kind("bitten.", "bittenx", REQUEST_NONE);
    expect_kind("bitten.", "@1@trade", REQUEST_NONE);
}

Test(zmq_request, asks_for_history_from_a_sequence)
{
    expect_history("@1041@bitten.trade", "@1041@", "trade");
    cr_assert(!request.by_time && request.after == 1041);
    expect_history("@0@", "@0@", "");
    cr_assert(!request.by_time && request.after == 0);
    expect_history("@7/desk-7@bitten.", "@7/desk-7@", "");
    cr_assert(!request.by_time && request.after == 7);
    expect_history("@7@bit", "@7@", "");
}

Test(zmq_request, asks_for_history_from_a_time)
{
    expect_history("@-1h@bitten.trade", "@-1h@", "trade");
    cr_assert(request.by_time);
    cr_assert_eq(request.since_ns, NOW_NS - INT64_C(3600000000000));
    expect_history("@2025-09-09T03:03:01.5Z/me@bitten.", "@2025-09-09T03:03:01.5Z/me@", "");
    cr_assert_eq(request.since_ns, INT64_C(1757386981500000000));
}

Test(zmq_request, that_makes_no_sense_is_refused_in_words)
{
    static const char *const TEXTS[] = {"@", "@@", "@@bitten.", "@5", "@x@bitten.", "@5 @bitten.",
                                        "@99999999999999999999@", "@/name@bitten.", "@5x@"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        error.text[0] = '\0';
        cr_assert_eq(read_request("bitten.", TEXTS[i]), ERROR_INVALID, "%s", TEXTS[i]);
        cr_assert_neq(error.text[0], '\0');
    }
    char text[REQUEST_BYTES_MAX + 2];
    memset(text, 'x', sizeof text);
    memcpy(text, "@1@bitten.", 10);
    cr_assert_eq(request_read("bitten.", text, sizeof text, NOW_NS, &request, &error),
                 ERROR_INVALID);
}
