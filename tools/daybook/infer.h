/*
 * tools/daybook/infer.h - propose a JSON Schema that all of some payloads keep to.
 *
 * What is common to them becomes a rule: types, keys that are always there, few strings that each
 * come often, dates and UUIDs, numbers that are never negative. What only happens to be so (a
 * largest value, a length) does not. Keys that are new later stay allowed.
 *
 * Memory is bounded whatever comes: INFER_NODES_MAX values are told apart by their place; of what
 * lies beyond, deeper or under long names, nothing is said.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_INFER_H
#define DAYBOOK_TOOLS_DAYBOOK_INFER_H

#include "core/bytes.h"

enum {
    INFER_NODES_MAX = 1024,
    INFER_DEPTH_MAX = 12,      /* the schema's event holds 31 levels, an object takes two */
    INFER_NAME_BYTES_MAX = 128, /* of a key */
    INFER_VALUES_MAX = 12,      /* of an enum */
    INFER_VALUE_BYTES_MAX = 40,
    INFER_VALUE_SEEN_MIN = 5,   /* each of them, or chance could have left one out */
    INFER_VALUE_SHARE = 10,     /* … and so many strings for each */
    INFER_SIGN_SEEN_MIN = 10,   /* numbers, before "never negative" means something */
};

struct infer;

enum error_code infer_create(struct infer **infer_out, struct error *error);
/* Accepts NULL. */
void infer_free(struct infer *infer);

/* One payload: one msgpack value that msgpack_check has accepted. */
enum error_code infer_add(struct infer *infer, const void *payload, size_t payload_bytes,
                          struct error *error);
/* Append the schema as JSON text over several lines. */
enum error_code infer_write(const struct infer *infer, struct buffer *out, struct error *error);

#endif
