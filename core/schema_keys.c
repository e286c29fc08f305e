#include "core/schema_keys.h"

#include <stdlib.h>
#include <string.h>

struct key {
    const char *bytes;
    uint32_t size;
};

static int by_bytes(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->size == 0 ? 0 : memcmp(x->bytes, y->bytes, x->size);
}

static enum error_code refuse_equal(struct schema_compiler *compiler, struct key *keys,
                                    uint32_t count)
{
    qsort(keys, count, sizeof *keys, by_bytes);
    for (uint32_t i = 1; i < count; i++) {
        if (by_bytes(&keys[i - 1], &keys[i]) != 0)
            continue;
        enum error_code code = schema_compile_enter(compiler, keys[i].bytes, keys[i].size);
        return code ? code : schema_compile_fail(compiler, "the key is there twice");
    }
    return OK;
}

/* Recursion is as deep as the text, which the reader of JSON has bounded. */
static enum error_code walk(struct schema_compiler *compiler, struct msgpack_cursor *cursor);

static enum error_code walk_pairs(struct schema_compiler *compiler, struct msgpack_cursor *cursor,
                                  struct key *keys, uint32_t count)
{
    enum error_code code = OK;
    for (uint32_t i = 0; i < count && !code; i++) {
        struct msgpack_value key;
        size_t path_bytes = compiler->path.size;
        if (msgpack_read(cursor, &key, NULL) || key.kind != MSGPACK_KIND_STR)
            return schema_compile_fail(compiler, "a key is no string");
        keys[i] = (struct key){key.bytes, key.count};
        code = schema_compile_enter(compiler, key.bytes, key.count);
        if (!code)
            code = walk(compiler, cursor);
        if (!code)
            schema_compile_leave(compiler, path_bytes);
    }
    return code ? code : refuse_equal(compiler, keys, count);
}

static enum error_code walk_map(struct schema_compiler *compiler, struct msgpack_cursor *cursor,
                                uint32_t count)
{
    if (count == 0)
        return OK;
    struct key *keys = malloc(count * sizeof *keys);
    if (!keys)
        return schema_compile_no_memory(compiler);
    enum error_code code = walk_pairs(compiler, cursor, keys, count);
    free(keys);
    return code;
}

static enum error_code walk_array(struct schema_compiler *compiler, struct msgpack_cursor *cursor,
                                  uint32_t count)
{
    enum error_code code = OK;
    for (uint32_t i = 0; i < count && !code; i++) {
        size_t path_bytes = compiler->path.size;
        code = schema_compile_enter_index(compiler, i);
        if (!code)
            code = walk(compiler, cursor);
        if (!code)
            schema_compile_leave(compiler, path_bytes);
    }
    return code;
}

static enum error_code walk(struct schema_compiler *compiler, struct msgpack_cursor *cursor)
{
    struct msgpack_value value;
    if (msgpack_read(cursor, &value, NULL))
        return schema_compile_fail(compiler, "the bytes are no msgpack");
    if (value.kind == MSGPACK_KIND_MAP)
        return walk_map(compiler, cursor, value.count);
    return value.kind == MSGPACK_KIND_ARRAY ? walk_array(compiler, cursor, value.count) : OK;
}

enum error_code schema_keys_check(struct schema_compiler *compiler)
{
    const struct buffer *document = &compiler->schema->document;
    struct msgpack_cursor cursor = {document->data, document->data + document->size};
    return walk(compiler, &cursor);
}
