#include "tools/daybook/schema_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"

/* One reference token, unescaped (RFC 6901): "~1" is '/', "~0" is '~'. */
static const char *read_token(const char *pointer, char *token_out)
{
    size_t size = 0;
    for (pointer++; *pointer && *pointer != '/'; pointer++) {
        char c = *pointer;
        if (c == '~' && (pointer[1] == '0' || pointer[1] == '1'))
            c = *++pointer == '1' ? '/' : '~';
        token_out[size++] = c;
    }
    token_out[size] = '\0';
    return pointer;
}

/* Step to the value that the token names. False: there is none. */
static bool step(struct msgpack_cursor *cursor, const char *token)
{
    struct msgpack_cursor inside = *cursor, found;
    struct msgpack_value value;
    if (msgpack_read(&inside, &value, NULL))
        return false;
    if (value.kind == MSGPACK_KIND_MAP) {
        if (msgpack_find(cursor, token, &found, NULL))
            return false;
        *cursor = found;
        return true;
    }
    char *end;
    unsigned long index = strtoul(token, &end, 10);
    if (value.kind != MSGPACK_KIND_ARRAY || *end || index >= value.count)
        return false;
    while (index-- > 0)
        if (msgpack_skip(&inside, NULL))
            return false;
    *cursor = inside;
    return true;
}

/* The value at the pointer, as JSON as far as there is room. */
static void copy_value(const struct event *event, const char *pointer, char *text_out, size_t size)
{
    char token[sizeof((struct schema_fault *)0)->pointer];
    struct msgpack_cursor cursor = {event->payload,
                                    (const uint8_t *)event->payload + event->payload_bytes};
    struct buffer json = {0};
    text_out[0] = '\0';
    while (*pointer == '/') {
        pointer = read_token(pointer, token);
        if (!step(&cursor, token))
            return;
    }
    struct msgpack_cursor end = cursor;
    if (!msgpack_skip(&end, NULL) && !json_from_msgpack(cursor.at, (size_t)(end.at - cursor.at),
                                                        JSON_COMPACT, &json, NULL)) {
        size_t bytes = json.size;
        if (bytes >= size)
            for (bytes = size - 4; bytes > 0 && (json.data[bytes] & 0xc0) == 0x80; bytes--)
                continue; /* never within a character */
        snprintf(text_out, size, "%.*s%s", (int)bytes, (const char *)json.data,
                 bytes < json.size ? "..." : "");
    }
    buffer_release(&json);
}

static struct schema_history_rule *find_rule(struct schema_history *history, const char *rule)
{
    for (size_t i = 0; i < history->rule_count; i++)
        if (strcmp(history->rules[i].rule, rule) == 0)
            return &history->rules[i];
    if (history->rule_count == SCHEMA_HISTORY_RULES)
        return NULL;
    struct schema_history_rule *made = &history->rules[history->rule_count++];
    snprintf(made->rule, sizeof made->rule, "%s", rule);
    return made;
}

static void note(struct schema_history *history, const struct event *event,
                 const struct schema_fault *fault)
{
    struct schema_history_rule *rule = find_rule(history, fault->rule);
    history->failed++;
    if (!rule) {
        history->others++;
        return;
    }
    if (rule->count < SCHEMA_HISTORY_EXAMPLES) {
        struct schema_history_example *example = &rule->examples[rule->count];
        example->sequence = event->sequence;
        example->time_ns = event->time_ns;
        example->fault = *fault;
        copy_value(event, fault->pointer, example->value, sizeof example->value);
    }
    rule->count++;
}

/* What comes in meanwhile is not waited for. */
enum error_code schema_history_check(struct history *log, const char *topic, struct schema *schema,
                                     struct schema_history *history, struct error *error)
{
    size_t topic_bytes = strlen(topic);
    uint64_t last = history_watermark(log);
    history->rules = calloc(SCHEMA_HISTORY_RULES, sizeof *history->rules);
    if (!history->rules)
        return error_set(error, ERROR_MEMORY, "no memory for the rules of a schema");
    enum error_code code =
        history_seek(log, history_bound(log), INT64_MIN, INT64_MAX, error);
    struct event event;
    while (!code && !(code = history_next(log, &event, error)) && event.sequence <= last) {
        struct schema_fault fault;
        if (event.topic_bytes != topic_bytes || memcmp(event.topic, topic, topic_bytes) != 0)
            continue;
        history->events++;
        if (!schema_check(schema, event.payload, event.payload_bytes, &fault))
            note(history, &event, &fault);
    }
    return code == ERROR_END ? OK : code;
}

void schema_history_release(struct schema_history *history)
{
    free(history->rules);
    *history = (struct schema_history){0};
}
