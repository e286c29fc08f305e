#include "indexer/field_value.h"

#include <math.h>

#include "core/json.h"

static enum error_code read_as_json(const struct msgpack_cursor *found, struct buffer *scratch,
                                    struct indexer_field_value *value, struct error *error)
{
    scratch->size = 0;
    enum error_code code = json_from_msgpack(found->at, (size_t)(found->end - found->at),
                                             JSON_STRICT, scratch, error);
    if (code)
        return code == ERROR_MEMORY ? code : OK;
    value->type = FIELD_TEXT;
    value->text = (const char *)scratch->data;
    value->text_bytes = scratch->size;
    return OK;
}

static void set_unsigned(struct indexer_field_value *value, uint64_t number)
{
    bool fits = number <= INT64_MAX;
    value->type = fits ? FIELD_INTEGER : FIELD_REAL;
    if (fits)
        value->integer = (int64_t)number;
    else
        value->real = (double)number;
}

enum error_code indexer_field_value_read(const struct msgpack_cursor *found,
                                         struct buffer *scratch,
                                         struct indexer_field_value *value_out,
                                         struct error *error)
{
    struct msgpack_cursor cursor = *found;
    struct msgpack_value read;
    *value_out = (struct indexer_field_value){.type = FIELD_NULL};
    if (msgpack_read(&cursor, &read, NULL))
        return OK;
    switch (read.kind) {
    case MSGPACK_KIND_NIL:
        return OK;
    case MSGPACK_KIND_BOOL:
        value_out->type = FIELD_INTEGER;
        value_out->integer = read.boolean;
        return OK;
    case MSGPACK_KIND_UINT:
        set_unsigned(value_out, read.unsigned_);
        return OK;
    case MSGPACK_KIND_INT:
        value_out->type = FIELD_INTEGER;
        value_out->integer = read.signed_;
        return OK;
    case MSGPACK_KIND_FLOAT:
        value_out->type = isfinite(read.real) ? FIELD_REAL : FIELD_NULL;
        value_out->real = read.real;
        return OK;
    case MSGPACK_KIND_STR:
        value_out->type = FIELD_TEXT;
        value_out->text = read.bytes;
        value_out->text_bytes = read.count;
        return OK;
    default:
        return read_as_json(found, scratch, value_out, error);
    }
}
