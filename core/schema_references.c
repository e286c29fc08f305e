#include "core/schema_references.h"

#include <stdlib.h>
#include <string.h>

/*
 * Values of the document that are passed on the way to what is referred to, some nanoseconds each.
 * The largest schemas that people write, of a thousand definitions and a megabyte, need half.
 */
enum { VALUES_MAX = 1 << 28 };

struct resolver {
    struct schema_compiler *compiler;
    uint64_t values_left;
    struct buffer pointer, token; /* without what URIs, and then pointers, escape */
};

static bool append(struct buffer *buffer, uint8_t byte)
{
    return !buffer_append(buffer, &byte, 1, NULL);
}

static bool decode_fragment(const char *text, size_t bytes, struct buffer *pointer)
{
    pointer->size = 0;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte == '%') {
            int high = bytes - i < 3 ? -1 : bytes_hex_digit(text[i + 1]);
            int low = high < 0 ? -1 : bytes_hex_digit(text[i + 2]);
            if (low < 0)
                return false;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (!append(pointer, byte))
            return false;
    }
    return pointer->size == 0 || pointer->data[0] == '/';
}

/* The next token of the pointer, from behind its slash at *at. */
static bool next_token(struct resolver *resolver, size_t *at)
{
    const struct buffer *pointer = &resolver->pointer;
    resolver->token.size = 0;
    for (++*at; *at < pointer->size && pointer->data[*at] != '/'; ++*at) {
        uint8_t byte = pointer->data[*at];
        if (byte == '~') {
            if (++*at == pointer->size || (pointer->data[*at] != '0' && pointer->data[*at] != '1'))
                return false;
            byte = pointer->data[*at] == '0' ? '~' : '/';
        }
        if (!append(&resolver->token, byte))
            return false;
    }
    return true;
}

static enum error_code step_into_map(struct resolver *resolver, struct msgpack_cursor *at,
                                     uint32_t count)
{
    const struct buffer *token = &resolver->token;
    for (uint32_t i = 0; i < count; i++) {
        struct msgpack_value key;
        if (msgpack_read(at, &key, NULL))
            return ERROR_NOT_FOUND;
        if (key.kind == MSGPACK_KIND_STR && key.count == token->size &&
            (key.count == 0 || memcmp(key.bytes, token->data, key.count) == 0))
            return OK;
        if (msgpack_skip_within(at, &resolver->values_left, NULL))
            return ERROR_FULL;
    }
    return ERROR_NOT_FOUND;
}

static enum error_code step_into_array(struct resolver *resolver, struct msgpack_cursor *at,
                                       uint32_t count)
{
    const struct buffer *token = &resolver->token;
    uint64_t index = 0;
    if (token->size == 0 || token->size > 9 || (token->size > 1 && token->data[0] == '0'))
        return ERROR_NOT_FOUND;
    for (size_t i = 0; i < token->size; i++) {
        if (token->data[i] < '0' || token->data[i] > '9')
            return ERROR_NOT_FOUND;
        index = index * 10 + (uint64_t)(token->data[i] - '0');
    }
    if (index >= count)
        return ERROR_NOT_FOUND;
    for (uint64_t i = 0; i < index; i++)
        if (msgpack_skip_within(at, &resolver->values_left, NULL))
            return ERROR_FULL;
    return OK;
}

/*
 * From the document's root along the pointer; the compiler's path goes along. ERROR_NOT_FOUND and
 * ERROR_FULL, the work is too much, are the caller's to put in words.
 */
static enum error_code follow(struct resolver *resolver, struct msgpack_cursor *at)
{
    size_t next = 0;
    enum error_code code = OK;
    while (next < resolver->pointer.size && !code) {
        struct msgpack_value value;
        if (!next_token(resolver, &next) || msgpack_read(at, &value, NULL))
            return ERROR_NOT_FOUND;
        if (value.kind == MSGPACK_KIND_MAP)
            code = step_into_map(resolver, at, value.count);
        else if (value.kind == MSGPACK_KIND_ARRAY)
            code = step_into_array(resolver, at, value.count);
        else
            code = ERROR_NOT_FOUND;
        if (!code)
            code = schema_compile_enter(resolver->compiler, (const char *)resolver->token.data,
                                        resolver->token.size);
    }
    return code;
}

static enum error_code resolve(struct resolver *resolver, const struct schema_ref *ref)
{
    struct schema_compiler *compiler = resolver->compiler;
    const struct buffer *document = &compiler->schema->document;
    struct msgpack_cursor at = {document->data, document->data + document->size};
    compiler->path.size = 1; /* "#" */
    enum error_code code = ERROR_NOT_FOUND;
    if (decode_fragment(ref->pointer, ref->pointer_bytes, &resolver->pointer))
        code = follow(resolver, &at);
    if (code == ERROR_NOT_FOUND)
        return error_set(compiler->error, ERROR_INVALID,
                         "%s/$ref: nothing is at \"#%.*s\" in this schema", ref->node->where,
                         (int)(ref->pointer_bytes < 200 ? ref->pointer_bytes : 200), ref->pointer);
    if (code == ERROR_FULL)
        return error_set(compiler->error, ERROR_INVALID,
                         "%s/$ref: the schema refers too often to too much of itself",
                         ref->node->where);
    return code ? code : schema_compile_node(compiler, at, &ref->node->ref);
}

static int by_pointer(const void *a, const void *b)
{
    const struct schema_ref *x = *(struct schema_ref *const *)a;
    const struct schema_ref *y = *(struct schema_ref *const *)b;
    if (x->pointer_bytes != y->pointer_bytes)
        return x->pointer_bytes < y->pointer_bytes ? -1 : 1;
    return x->pointer_bytes == 0 ? 0 : memcmp(x->pointer, y->pointer, x->pointer_bytes);
}

/* Equal ones, of which there may be thousands, are followed once. */
static enum error_code resolve_sorted(struct resolver *resolver, struct schema_ref **refs,
                                      size_t count)
{
    enum error_code code = OK;
    qsort(refs, count, sizeof *refs, by_pointer);
    for (size_t i = 0; i < count && !code; i++) {
        if (i > 0 && by_pointer(&refs[i - 1], &refs[i]) == 0)
            refs[i]->node->ref = refs[i - 1]->node->ref;
        else
            code = resolve(resolver, refs[i]);
    }
    return code;
}

static enum error_code resolve_list(struct resolver *resolver, struct schema_ref *list)
{
    size_t count = 0, i = 0;
    for (struct schema_ref *ref = list; ref; ref = ref->next)
        count++;
    struct schema_ref **refs = malloc(count * sizeof *refs);
    if (!refs)
        return schema_compile_no_memory(resolver->compiler);
    for (struct schema_ref *ref = list; ref; ref = ref->next)
        refs[i++] = ref;
    enum error_code code = resolve_sorted(resolver, refs, count);
    free(refs);
    return code;
}

/* What is compiled on the way may bring more of them. Not by recursion: they can be many. */
enum error_code schema_references_resolve(struct schema_compiler *compiler)
{
    struct resolver resolver = {.compiler = compiler, .values_left = VALUES_MAX};
    enum error_code code = OK;
    while (compiler->refs && !code) {
        struct schema_ref *list = compiler->refs;
        compiler->refs = NULL;
        code = resolve_list(&resolver, list);
    }
    buffer_release(&resolver.pointer);
    buffer_release(&resolver.token);
    return code;
}
