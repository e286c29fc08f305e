/*
 * tools/generator_payload.h - a made-up event while it is put together, and its payload as JSON and
 * as msgpack, equal to the last bit.
 */
#ifndef DAYBOOK_TOOLS_GENERATOR_PAYLOAD_H
#define DAYBOOK_TOOLS_GENERATOR_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum { GENERATOR_FIELDS_MAX = 16, GENERATOR_TEXT_BYTES = 48 };

enum generator_kind {
    GENERATOR_TEXT,
    GENERATOR_INTEGER,
    GENERATOR_DECIMAL, /* number / 10^decimals, exact in JSON and the nearest double in msgpack */
    GENERATOR_FLAG,
    GENERATOR_NULL,
};

struct generator_field {
    const char *key;
    enum generator_kind kind;
    unsigned decimals;
    int64_t number;
    char text[GENERATOR_TEXT_BYTES];
};

/* One event. The payload is a map of its fields, in their order. */
struct generator_event {
    const char *topic; /* lives for ever */
    int64_t time_ns;
    size_t field_count;
    struct generator_field fields[GENERATOR_FIELDS_MAX];
};

/* Add a field behind the others. `key` must live as long as the event. */
void generator_add_text(struct generator_event *event, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void generator_add_integer(struct generator_event *event, const char *key, int64_t number);
/* number / 10^decimals; at most 5 decimals. */
void generator_add_decimal(struct generator_event *event, const char *key, int64_t number,
                           unsigned decimals);
void generator_add_flag(struct generator_event *event, const char *key, bool flag);
void generator_add_null(struct generator_event *event, const char *key);

/* Append the payload to `out` as compact JSON; core/json.h would print the msgpack form equally. */
enum error_code generator_payload_json(const struct generator_event *event, struct buffer *out,
                                       struct error *error);
/* Append the payload to `out` as one msgpack map. */
enum error_code generator_payload_msgpack(const struct generator_event *event, struct buffer *out,
                                          struct error *error);

#endif
