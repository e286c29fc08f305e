#include "tools/generator_payload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"

/* Keeps number and power of ten far below 2^53, so that both are exact doubles. */
enum { DECIMALS_MAX = 5 };

static struct generator_field *add_field(struct generator_event *event, const char *key,
                                         enum generator_kind kind)
{
    assert(event->field_count < GENERATOR_FIELDS_MAX);
    struct generator_field *field = &event->fields[event->field_count++];
    field->key = key;
    field->kind = kind;
    return field;
}

void generator_add_text(struct generator_event *event, const char *key, const char *format, ...)
{
    struct generator_field *field = add_field(event, key, GENERATOR_TEXT);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(field->text, sizeof field->text, format, arguments);
    va_end(arguments);
    assert(length >= 0 && (size_t)length < sizeof field->text);
}

void generator_add_integer(struct generator_event *event, const char *key, int64_t number)
{
    add_field(event, key, GENERATOR_INTEGER)->number = number;
}

void generator_add_decimal(struct generator_event *event, const char *key, int64_t number,
                           unsigned decimals)
{
    assert(decimals <= DECIMALS_MAX);
    struct generator_field *field = add_field(event, key, GENERATOR_DECIMAL);
    field->number = number;
    field->decimals = decimals;
}

void generator_add_flag(struct generator_event *event, const char *key, bool flag)
{
    add_field(event, key, GENERATOR_FLAG)->number = flag;
}

void generator_add_null(struct generator_event *event, const char *key)
{
    add_field(event, key, GENERATOR_NULL);
}

static int64_t power_of_ten(unsigned exponent)
{
    int64_t power = 1;
    while (exponent-- > 0)
        power *= 10;
    return power;
}

/* The shortest text of the number, but always with a point: what core/json.h prints of a double. */
static enum error_code append_decimal(const struct generator_field *field, struct buffer *out,
                                      struct error *error)
{
    int64_t number = field->number;
    unsigned decimals = field->decimals;
    while (decimals > 1 && number % 10 == 0) {
        number /= 10;
        decimals--;
    }
    int64_t power = power_of_ten(decimals);
    int64_t magnitude = number < 0 ? -number : number;
    return buffer_printf(out, error, "%s%" PRId64 ".%0*" PRId64, number < 0 ? "-" : "",
                         magnitude / power, (int)decimals, magnitude % power);
}

static enum error_code append_value(const struct generator_field *field, struct buffer *out,
                                    struct error *error)
{
    switch (field->kind) {
    case GENERATOR_TEXT:
        return json_append_string(out, field->text, strlen(field->text), error);
    case GENERATOR_INTEGER:
        return buffer_printf(out, error, "%" PRId64, field->number);
    case GENERATOR_DECIMAL:
        return append_decimal(field, out, error);
    case GENERATOR_FLAG:
        return buffer_printf(out, error, "%s", field->number ? "true" : "false");
    case GENERATOR_NULL:
        break;
    }
    return buffer_printf(out, error, "null");
}

enum error_code generator_payload_json(const struct generator_event *event, struct buffer *out,
                                       struct error *error)
{
    for (size_t i = 0; i < event->field_count; i++) {
        enum error_code code =
            buffer_printf(out, error, "%s\"%s\":", i == 0 ? "{" : ",", event->fields[i].key);
        if (!code)
            code = append_value(&event->fields[i], out, error);
        if (code)
            return code;
    }
    return buffer_append(out, "}", 1, error);
}

static int pack_text(msgpack_packer *packer, const char *text)
{
    size_t size = strlen(text);
    if (msgpack_pack_str(packer, size))
        return -1;
    return msgpack_pack_str_body(packer, text, size);
}

static int pack_value(msgpack_packer *packer, const struct generator_field *field)
{
    switch (field->kind) {
    case GENERATOR_TEXT:
        return pack_text(packer, field->text);
    case GENERATOR_INTEGER:
        return msgpack_pack_int64(packer, field->number);
    case GENERATOR_DECIMAL:
        /* Both sides are exact, so the quotient is the double nearest to the decimal text. */
        return msgpack_pack_double(packer,
                                   (double)field->number / (double)power_of_ten(field->decimals));
    case GENERATOR_FLAG:
        return field->number ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    case GENERATOR_NULL:
        break;
    }
    return msgpack_pack_nil(packer);
}

enum error_code generator_payload_msgpack(const struct generator_event *event, struct buffer *out,
                                          struct error *error)
{
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    int failed = msgpack_pack_map(&packer, event->field_count);
    for (size_t i = 0; i < event->field_count && !failed; i++)
        failed = pack_text(&packer, event->fields[i].key) || pack_value(&packer, &event->fields[i]);
    if (failed)
        return error_set(error, ERROR_MEMORY, "no memory for an event's payload");
    return OK;
}
