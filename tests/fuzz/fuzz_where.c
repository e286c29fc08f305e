/*
 * fuzz_where.c - any text at all is compiled as a condition, and asked of any payload.
 *
 * The first two bytes say how long the text is; the payload follows it, and when it is no msgpack
 * an empty map stands in for it. A condition that is accepted has the same answer each time, is
 * true when "(text) IS TRUE" is, and is not true when "NOT (text)" is: so it is one expression.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/msgpack.h"
#include "indexer/where.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum error_code ask(struct indexer_where *where, const struct event *event, bool *answer)
{
    struct error error;
    enum error_code code = indexer_where_match(where, event, answer, &error);
    assert(code == OK || code == ERROR_INVALID);
    return code;
}

/* The answer of a condition around the text; false when the longer one is too long or too deep. */
static bool ask_around(const char *begin, const char *text, size_t bytes, const char *end,
                       const struct event *event, bool *answer)
{
    struct buffer around = {0};
    struct indexer_where *where = NULL;
    struct error error;
    assert(!buffer_printf(&around, &error, "%s", begin));
    assert(!buffer_append(&around, text, bytes, &error));
    assert(!buffer_printf(&around, &error, "%s", end));
    bool answered = !indexer_where_compile((char *)around.data, around.size, &where, &error) &&
                    !ask(where, event, answer);
    indexer_where_free(where);
    buffer_release(&around);
    return answered;
}

static void check(const char *text, size_t bytes, const struct event *event)
{
    struct indexer_where *where = NULL;
    struct error error;
    bool first = false, again = false, around = false;
    enum error_code code = indexer_where_compile(text, bytes, &where, &error);
    assert(code == OK || code == ERROR_INVALID);
    if (code)
        return;
    code = ask(where, event, &first);
    assert(ask(where, event, &again) == code && again == first);
    indexer_where_free(where);
    if (code)
        return;
    if (ask_around("(", text, bytes, ") IS TRUE", event, &around))
        assert(around == first);
    if (ask_around("NOT (", text, bytes, ")", event, &around))
        assert(!(around && first));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t bytes = bytes_load16(data);
    if (bytes > size - 2)
        return 0;
    struct event event = {
        .sequence = 17,
        .time_ns = INT64_C(1757386981642318000),
        .topic = "trade.buy",
        .topic_bytes = 9,
        .payload = data + 2 + bytes,
        .payload_bytes = size - 2 - bytes,
    };
    if (event_check(&event, NULL)) {
        event.payload = "\x80";
        event.payload_bytes = 1;
    }
    check((const char *)data + 2, bytes, &event);
    return 0;
}
