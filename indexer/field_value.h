/*
 * indexer/field_value.h - a value within a payload as SQL has it: the same for who indexes fields
 * and for who reads them from payloads.
 *
 *     null, or not there   NULL             true, false            1, 0
 *     integer              integer; above 2^63-1 real, as SQLite reads such a number in JSON
 *     float                real; NaN and the infinities NULL, as JSON has none
 *     string               text             array, map, binary …   text: its JSON
 */
#ifndef DAYBOOK_INDEXER_FIELD_VALUE_H
#define DAYBOOK_INDEXER_FIELD_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/msgpack.h"

enum indexer_field_type { FIELD_NULL, FIELD_INTEGER, FIELD_REAL, FIELD_TEXT };

struct indexer_field_value {
    enum indexer_field_type type;
    int64_t integer;
    double real;
    const char *text; /* borrowed from the payload, or in `scratch` until it is used again */
    size_t text_bytes;
};

/*
 * `found` is a cursor over exactly one value, as msgpack_path_find gives it. Whatever cannot be
 * read is NULL; ERROR_MEMORY.
 */
enum error_code indexer_field_value_read(const struct msgpack_cursor *found,
                                         struct buffer *scratch,
                                         struct indexer_field_value *value_out,
                                         struct error *error);

#endif
