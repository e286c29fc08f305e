/*
 * core/json.h - JSON text to msgpack and back, without loss.
 *
 * Kept exactly: integers from -2^63 to 2^64-1, doubles to the last bit (written with the first of
 * 15, 16 and 17 digits that reads back equal, always with a '.', an 'e' or a name, so that 1.0
 * stays a double), UTF-8, null, the order of keys and equal keys, NUL characters. -0 becomes the
 * double -0.0, as no integer has that sign. NaN, Infinity and -Infinity are accepted and written as
 * Python's json module does. What cannot be kept is refused: integers beyond 64 bits, doubles that
 * overflow (1e999) or vanish (1e-400; what rounds to a subnormal stays), text that is not UTF-8,
 * more than EVENT_PAYLOAD_DEPTH_MAX levels (a parameter), lone surrogates. What only msgpack
 * has is written as {"$bin":"<base64>"} and {"$ext":[type,"<base64>"]}; a map key that is nil, a
 * boolean or a number is written as its JSON text in a string, any other that is no string as
 * "$msgpack:<base64 of the key as msgpack>".
 *
 * The parser is a library's (docs/decisions/ says which, why, and what was measured).
 */
#ifndef DAYBOOK_CORE_JSON_H
#define DAYBOOK_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "core/bytes.h"
#include "core/error.h"

/* A reader keeps scratch memory between calls. One thread at a time. */
struct json_reader;
enum error_code json_reader_create(struct json_reader **reader_out, struct error *error);
void json_reader_free(struct json_reader *reader);

/*
 * Append the msgpack form of exactly one JSON text (white space around it is allowed) to `out`.
 * On failure `out` keeps its old size, and the error says why and at which byte.
 */
enum error_code json_to_msgpack(struct json_reader *reader, const char *text, size_t text_bytes,
                                unsigned depth_max, struct buffer *out, struct error *error);

/* Only white space within a line: there is no JSON text, and nothing to complain about. */
bool json_is_blank(const char *text, size_t text_bytes);

/* Flags. */
enum json_style {
    JSON_COMPACT = 0,
    JSON_PRETTY = 1, /* indents by two spaces */
    JSON_STRICT = 2, /* for readers of RFC 8259 only: NaN and the infinities become null */
};

/*
 * Append the JSON text of the msgpack value in `data` (already checked by msgpack_check; it is
 * nevertheless safe on anything) to `out`. No newline at the end.
 */
enum error_code json_from_msgpack(const void *data, size_t size, enum json_style style,
                                  struct buffer *out, struct error *error);

/* Append `text` as a JSON string, quoted and escaped (invalid UTF-8 becomes U+FFFD). */
enum error_code json_append_string(struct buffer *out, const char *text, size_t text_bytes,
                                   struct error *error);

#endif
