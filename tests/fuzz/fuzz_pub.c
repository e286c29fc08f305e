/*
 * fuzz_pub.c - any bytes at all as what `daybook pub` reads: lines of JSON, whole events or bare
 * objects.
 *
 * The first byte chooses the rules. An event that comes of a line is one that the log takes, it
 * lies in memory of its own, and the same line means the same a second time, whatever came between.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "tools/daybook/shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct shape_rules all_rules[] = {
    {.topic = NULL},
    {.topic = "t"},
    {.topic_field = "topic"},
    {.topic = "t", .time_field = "ts"},
    {.topic_field = "kind", .time_field = "ts"},
    {.time_field = "ts"},
};
enum { RULES = sizeof all_rules / sizeof *all_rules };

struct result {
    enum error_code code;
    uint32_t checksum;
    int64_t time_ns;
};

static struct result shape_line(struct shape *shape, const char *text, size_t size)
{
    struct event event;
    struct error error = {0};
    struct result result = {.code = shape_event(shape, text, size, &event, &error)};
    if (result.code) {
        assert(result.code == ERROR_INVALID && error.text[0]);
        return result;
    }
    assert(event_check(&event, &error) == OK);
    result.time_ns = event.time_ns;
    result.checksum = checksum_extend(0, event.topic, event.topic_bytes);
    result.checksum = checksum_extend(result.checksum, event.payload, event.payload_bytes);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct shape *shapes[RULES];
    if (size == 0)
        return 0;
    size_t choice = data[0] % RULES;
    if (!shapes[choice] && shape_create(&all_rules[choice], &shapes[choice], NULL))
        abort();
    char *copy = malloc(size);
    assert(copy);
    memcpy(copy, data, size);
    const char *text = copy + 1, *end = copy + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        struct result first = shape_line(shapes[choice], text, length);
        struct result second = shape_line(shapes[choice], text, length);
        assert(first.code == second.code && first.checksum == second.checksum &&
               first.time_ns == second.time_ns);
        text += length + 1;
    }
    free(copy);
    return 0;
}
