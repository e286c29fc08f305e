/*
 * fuzz_schema.c - any schema, and any event against it.
 *
 * The input is a schema's text, a NUL, and a payload. Whatever a schema says of a payload, the same
 * within allOf says the same, and within `not` never the same good news.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "core/bytes.h"
#include "core/msgpack.h"
#include "core/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH_MAX = 32 };

/* 1: it keeps to the schema `before` + text + `after`; 0: it does not; -1: that is no schema. */
static int verdict(const char *before, const uint8_t *text, size_t text_bytes, const char *after,
                   const uint8_t *payload, size_t payload_bytes)
{
    struct buffer whole = {0};
    struct schema *schema = NULL;
    struct error error;
    struct schema_fault fault = {.text = ""};
    assert(!buffer_append(&whole, before, strlen(before), NULL) &&
           !buffer_append(&whole, text, text_bytes, NULL) &&
           !buffer_append(&whole, after, strlen(after), NULL));
    enum error_code code =
        schema_compile((const char *)whole.data, whole.size, &schema, &error);
    buffer_release(&whole);
    if (code)
        return assert((code == ERROR_INVALID || code == ERROR_MEMORY) && error.text[0]), -1;
    bool valid = schema_check(schema, payload, payload_bytes, &fault);
    assert(valid || fault.text[0]);
    assert(schema_check(schema, payload, payload_bytes, NULL) == valid);
    schema_free(schema);
    return valid;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t text_bytes = end ? (size_t)(end - data) : size;
    const uint8_t *payload = end ? end + 1 : data + size;
    size_t payload_bytes = size - (size_t)(payload - data);
    if (msgpack_check(payload, payload_bytes, DEPTH_MAX, NULL)) {
        payload = (const uint8_t *)"\xc0";
        payload_bytes = 1;
    }
    int plain = verdict("", data, text_bytes, "", payload, payload_bytes);
    /* References and identities mean something else, or nothing, elsewhere. */
    if (plain < 0 || memmem(data, text_bytes, "$", 1) || memmem(data, text_bytes, "\\u", 2))
        return 0;
    int all = verdict("{\"allOf\":[", data, text_bytes, "]}", payload, payload_bytes);
    int none = verdict("{\"not\":", data, text_bytes, "}", payload, payload_bytes);
    assert(all < 0 || all == plain || plain == 1); /* one step more may be one too many */
    assert(none < 0 || !(none == 1 && plain == 1));
    return 0;
}
