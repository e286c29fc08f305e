#include "tests/support/schemas.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/event.h"
#include "core/json.h"

struct schema *schemas_compile(const char *text)
{
    struct schema *schema = NULL;
    struct error error;
    cr_assert_eq(schema_compile(text, strlen(text), &schema, &error), OK, "%.200s: %s", text,
                 error.text);
    return schema;
}

void schemas_expect_refused(const void *text, size_t text_bytes, const char *part)
{
    struct schema *schema = NULL;
    struct error error = {0};
    enum error_code code = schema_compile(text, text_bytes, &schema, &error);
    cr_expect_neq(code, OK, "%.200s", (const char *)text);
    cr_expect_null(schema);
    cr_expect(strstr(error.text, part), "%.200s: \"%s\" without \"%s\"", (const char *)text,
              error.text, part);
    schema_free(schema);
}

bool schemas_keeps(struct schema *schema, const char *json, struct schema_fault *fault_out)
{
    struct buffer msgpack = {0};
    struct json_reader *reader = NULL;
    struct error error;
    cr_assert_eq(json_reader_create(&reader, &error), OK, "%s", error.text);
    cr_assert_eq(json_to_msgpack(reader, json, strlen(json), EVENT_PAYLOAD_DEPTH_MAX, &msgpack,
                                 &error),
                 OK, "%.200s: %s", json, error.text);
    bool keeps = schema_check(schema, msgpack.data, msgpack.size, fault_out);
    buffer_release(&msgpack);
    json_reader_free(reader);
    return keeps;
}

bool schemas_takes(const char *text, const char *json)
{
    struct schema *schema = schemas_compile(text);
    bool keeps = schemas_keeps(schema, json, NULL);
    schema_free(schema);
    return keeps;
}

static void append(struct buffer *out, const char *text, size_t bytes)
{
    cr_assert_eq(buffer_append(out, text, bytes, NULL), OK);
    cr_assert_eq(buffer_append(out, "", 1, NULL), OK);
    out->size--;
}

void schemas_repeat(struct buffer *out, const char *text, int count)
{
    size_t bytes = strlen(text);
    for (int i = 0; i < count; i++)
        append(out, text, bytes);
}

void schemas_append(struct buffer *out, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cr_assert(bytes >= 0 && (size_t)bytes < sizeof text);
    append(out, text, (size_t)bytes);
}
