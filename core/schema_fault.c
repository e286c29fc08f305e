#include "core/schema_fault.h"

#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/utf8.h"

struct text {
    char *at, *end; /* one byte behind `end` is for the NUL */
};

static void put(struct text *text, const char *bytes, size_t size)
{
    size_t room = (size_t)(text->end - text->at);
    size = size < room ? size : room;
    memcpy(text->at, bytes, size);
    text->at += size;
    *text->at = 0;
}

/* As RFC 6901 writes a key; NUL, which would end the text, as '?'. */
static void put_key(struct text *text, const char *key, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = key[i] ? key[i] : '?';
        if (c == '~' || c == '/')
            put(text, c == '~' ? "~0" : "~1", 2);
        else
            put(text, &c, 1);
    }
}

static void put_place(struct text *text, const struct schema_place *place)
{
    char number[16];
    if (!place)
        return;
    put_place(text, place->above);
    put(text, "/", 1);
    if (place->key)
        put_key(text, place->key, place->key_bytes);
    else
        put(text, number, (size_t)snprintf(number, sizeof number, "%u", place->index));
}

/* Cut between characters, not within one; and with nothing in it that would upset a terminal. */
static void cut(char *text)
{
    text[utf8_valid_bytes(text, strlen(text))] = 0;
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

void schema_fault_tell(struct schema_fault *fault_out, const struct schema_node *node,
                       const char *keyword, const struct schema_place *place, const char *format,
                       va_list arguments)
{
    struct text pointer = {fault_out->pointer, fault_out->pointer + sizeof fault_out->pointer - 1};
    *pointer.at = 0;
    put_place(&pointer, place);
    cut(fault_out->pointer);
    snprintf(fault_out->rule, sizeof fault_out->rule, "%s%s%s", node->where, *keyword ? "/" : "",
             keyword);
    cut(fault_out->rule);
    vsnprintf(fault_out->text, sizeof fault_out->text, format, arguments);
    cut(fault_out->text);
}

const char *schema_fault_show(struct buffer *scratch, struct msgpack_cursor value)
{
    enum { SHOWN = 48 };
    static const char dots[] = "…";
    struct msgpack_cursor end = value;
    scratch->size = 0;
    if (msgpack_skip(&end, NULL) ||
        json_from_msgpack(value.at, (size_t)(end.at - value.at), JSON_COMPACT, scratch, NULL) ||
        buffer_append(scratch, "", 1, NULL))
        return "it";
    if (scratch->size > SHOWN + sizeof dots) {
        size_t whole = utf8_valid_bytes(scratch->data, SHOWN);
        memcpy(scratch->data + whole, dots, sizeof dots);
    }
    return (const char *)scratch->data;
}

const char *schema_fault_number(const struct schema_number *number,
                                char text[SCHEMA_FAULT_NUMBER_BYTES])
{
    if (number->kind == MSGPACK_KIND_FLOAT)
        snprintf(text, SCHEMA_FAULT_NUMBER_BYTES, "%.15g", number->real);
    else
        snprintf(text, SCHEMA_FAULT_NUMBER_BYTES, "%s%llu",
                 number->kind == MSGPACK_KIND_INT ? "-" : "",
                 (unsigned long long)number->magnitude);
    return text;
}

const char *schema_fault_types(unsigned types, char text[SCHEMA_FAULT_TYPES_BYTES])
{
    static const char *const names[] = {"null",   "boolean", "object", "array",
                                        "number", "integer", "string"};
    char *at = text;
    *at = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (types & 1U << i)
            at += sprintf(at, "%s%s", at > text ? " or " : "", names[i]);
    return text;
}
