/* From a schema's text to its nodes: the walk over the document, and the bounds. */
#include "core/schema_compile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "core/schema_keys.h"
#include "core/schema_references.h"
#include "core/utf8.h"

enum {
    CHUNK_BYTES = 16384,
    ALLOCATED_MAX = 64 << 20, /* a schema of ordinary form takes some ten times its text */
    PATH_SHOWN = 300,
};

struct schema_chunk {
    struct schema_chunk *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

bool schema_account(struct schema *schema, size_t bytes)
{
    if (bytes > ALLOCATED_MAX - schema->allocated)
        return false;
    schema->allocated += bytes;
    return true;
}

void *schema_allocate(struct schema *schema, size_t bytes)
{
    struct schema_chunk *chunk = schema->chunks;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!schema_account(schema, bytes))
        return NULL;
    if (!chunk || chunk->size - chunk->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        chunk = calloc(1, sizeof *chunk + size);
        if (!chunk)
            return NULL;
        chunk->size = size;
        chunk->next = schema->chunks;
        schema->chunks = chunk;
    }
    chunk->used += bytes;
    return chunk->bytes + chunk->used - bytes;
}

void schema_free(struct schema *schema)
{
    if (!schema)
        return;
    while (schema->chunks) {
        struct schema_chunk *next = schema->chunks->next;
        free(schema->chunks);
        schema->chunks = next;
    }
    schema_pattern_free(schema->patterns);
    schema_matcher_free(schema->matcher);
    buffer_release(&schema->document);
    buffer_release(&schema->scratch);
    free(schema);
}

/* ---- Where we are ---- */

enum error_code schema_compile_fail(struct schema_compiler *compiler, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t shown = compiler->path.size < PATH_SHOWN ? compiler->path.size : PATH_SHOWN;
    return error_set(compiler->error, ERROR_INVALID, "%.*s: %s",
                     (int)utf8_valid_bytes(compiler->path.data, shown),
                     (const char *)compiler->path.data, text);
}

enum error_code schema_compile_no_memory(struct schema_compiler *compiler)
{
    return error_set(compiler->error, ERROR_MEMORY,
                     "no memory for a schema (of %d MiB, which one may take)",
                     ALLOCATED_MAX >> 20);
}

enum error_code schema_compile_enter(struct schema_compiler *compiler, const char *name,
                                     size_t name_bytes)
{
    enum error_code code = buffer_append(&compiler->path, "/", 1, compiler->error);
    for (size_t i = 0; i < name_bytes && !code; i++) {
        const char *escaped = name[i] == '~' ? "~0" : name[i] == '/' ? "~1" : NULL;
        code = escaped ? buffer_append(&compiler->path, escaped, 2, compiler->error)
                       : buffer_append(&compiler->path, name + i, 1, compiler->error);
    }
    return code;
}

enum error_code schema_compile_enter_index(struct schema_compiler *compiler, uint32_t index)
{
    char name[16];
    return schema_compile_enter(compiler, name,
                                (size_t)snprintf(name, sizeof name, "%u", index));
}

void schema_compile_leave(struct schema_compiler *compiler, size_t path_bytes)
{
    compiler->path.size = path_bytes;
}

/* As much as a fault or an error shows: the path of each node may be as long as the document. */
static const char *copy_path(struct schema_compiler *compiler)
{
    size_t size = compiler->path.size < PATH_SHOWN ? compiler->path.size : PATH_SHOWN;
    size = utf8_valid_bytes(compiler->path.data, size);
    char *copy = schema_allocate(compiler->schema, size + 1);
    if (copy)
        memcpy(copy, compiler->path.data, size);
    return copy;
}

/* ---- Nodes ---- */

static enum error_code new_node(struct schema_compiler *compiler, struct schema_node **slot,
                                struct schema_node **node_out)
{
    struct schema_node *node = schema_allocate(compiler->schema, sizeof *node);
    if (!node || !(node->where = copy_path(compiler)))
        return schema_compile_no_memory(compiler);
    node->length_max = node->items_max = node->properties_max = UINT64_MAX;
    node->next = compiler->nodes;
    compiler->nodes = node;
    *slot = *node_out = node;
    return OK;
}

static enum error_code take_keywords(struct schema_compiler *compiler, struct schema_node *node,
                                     struct msgpack_cursor cursor, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct msgpack_value key;
        if (msgpack_read(&cursor, &key, NULL) || key.kind != MSGPACK_KIND_STR)
            return schema_compile_fail(compiler, "a keyword is no string");
        size_t path_bytes = compiler->path.size;
        enum error_code code = schema_compile_enter(compiler, key.bytes, key.count);
        if (!code)
            code = schema_keyword_take(compiler, node, &key, cursor);
        if (code)
            return code;
        schema_compile_leave(compiler, path_bytes);
        msgpack_skip(&cursor, NULL);
    }
    return OK;
}

enum error_code schema_compile_node(struct schema_compiler *compiler, struct msgpack_cursor at,
                                    const struct schema_node **node_out)
{
    size_t offset = (size_t)(at.at - compiler->schema->document.data);
    struct schema_node **slot = &compiler->nodes_at[offset];
    struct schema_node *node = NULL;
    struct msgpack_value value;
    *node_out = *slot;
    if (*slot)
        return OK;
    if (msgpack_read(&at, &value, NULL) ||
        (value.kind != MSGPACK_KIND_MAP && value.kind != MSGPACK_KIND_BOOL))
        return schema_compile_fail(compiler, "a schema is an object, true or false");
    enum error_code code = new_node(compiler, slot, &node);
    if (code)
        return code;
    *node_out = node;
    if (value.kind == MSGPACK_KIND_BOOL) {
        node->never = !value.boolean;
        return OK;
    }
    return take_keywords(compiler, node, at, value.count);
}

/* ---- Bounds ---- */

static enum error_code measure(struct schema_compiler *compiler, const struct schema_node *node,
                               unsigned depth, uint16_t *longest);

static enum error_code measure_all(struct schema_compiler *compiler,
                                   const struct schema_nodes *nodes, unsigned depth,
                                   uint16_t *longest)
{
    enum error_code code = OK;
    for (uint32_t i = 0; i < nodes->count && !code; i++)
        code = measure(compiler, nodes->list[i], depth, longest);
    return code;
}

static enum error_code measure_below(struct schema_compiler *compiler,
                                     const struct schema_node *node, unsigned depth,
                                     uint16_t *longest)
{
    const struct schema_node *const single[] = {node->ref, node->not_, node->if_, node->then,
                                                node->else_};
    enum error_code code = OK;
    for (size_t i = 0; i < sizeof single / sizeof *single && !code; i++)
        if (single[i])
            code = measure(compiler, single[i], depth, longest);
    if (!code)
        code = measure_all(compiler, &node->all_of, depth, longest);
    if (!code)
        code = measure_all(compiler, &node->any_of, depth, longest);
    return code ? code : measure_all(compiler, &node->one_of, depth, longest);
}

/*
 * How many nodes in a row look at one value, which is how deep a check recurses without getting
 * further in the payload; *longest grows to it.
 */
static enum error_code measure(struct schema_compiler *compiler, const struct schema_node *node,
                               unsigned depth, uint16_t *longest)
{
    struct schema_node *own = (struct schema_node *)(uintptr_t)node; /* it is being made */
    if (node->on_chain)
        return error_set(compiler->error, ERROR_INVALID,
                         "%s: it refers to itself for the same value, without end",
                         node->where);
    if (node->chain == 0) {
        uint16_t below = 0;
        if (depth >= SCHEMA_CHAIN_MAX)
            return error_set(compiler->error, ERROR_INVALID,
                             "%s: more than %d schemas in a row look at the same value",
                             node->where, SCHEMA_CHAIN_MAX);
        own->on_chain = true;
        enum error_code code = measure_below(compiler, node, depth + 1, &below);
        own->on_chain = false;
        if (code)
            return code;
        own->chain = (uint16_t)(below + 1);
    }
    if (node->chain > SCHEMA_CHAIN_MAX - depth)
        return error_set(compiler->error, ERROR_INVALID,
                         "%s: more than %d schemas in a row look at the same value",
                         node->where, SCHEMA_CHAIN_MAX);
    if (node->chain > *longest)
        *longest = node->chain;
    return OK;
}

static enum error_code measure_nodes(struct schema_compiler *compiler)
{
    enum error_code code = OK;
    uint16_t longest = 0;
    for (struct schema_node *node = compiler->nodes; node && !code; node = node->next)
        code = measure(compiler, node, 0, &longest);
    return code;
}

/* ---- All of it ---- */

static enum error_code read_document(struct schema *schema, const char *json, size_t json_bytes,
                                     struct error *error)
{
    struct json_reader *reader = NULL;
    if (json_bytes > SCHEMA_TEXT_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "a schema has at most %d bytes, this one has %zu",
                         SCHEMA_TEXT_BYTES_MAX, json_bytes);
    enum error_code code = json_reader_create(&reader, error);
    if (!code)
        code = json_to_msgpack(reader, json, json_bytes, SCHEMA_DEPTH_MAX, &schema->document,
                               error);
    json_reader_free(reader);
    return code;
}

static enum error_code compile(struct schema_compiler *compiler)
{
    struct schema *schema = compiler->schema;
    struct msgpack_cursor at = {schema->document.data,
                                schema->document.data + schema->document.size};
    compiler->nodes_at = calloc(schema->document.size, sizeof *compiler->nodes_at);
    if (!compiler->nodes_at)
        return schema_compile_no_memory(compiler);
    enum error_code code = buffer_append(&compiler->path, "#", 1, compiler->error);
    if (!code)
        code = schema_keys_check(compiler);
    if (!code)
        code = schema_compile_node(compiler, at, &schema->root);
    if (!code)
        code = schema_references_resolve(compiler);
    return code ? code : measure_nodes(compiler);
}

enum error_code schema_compile(const char *json, size_t json_bytes, struct schema **schema_out,
                               struct error *error)
{
    struct schema_compiler compiler = {.error = error};
    struct schema *schema = calloc(1, sizeof *schema);
    if (!schema)
        return error_set(error, ERROR_MEMORY, "no memory for a schema");
    compiler.schema = schema;
    enum error_code code = read_document(schema, json, json_bytes, error);
    if (!code)
        code = compile(&compiler);
    free(compiler.nodes_at);
    buffer_release(&compiler.path);
    if (code) {
        schema_free(schema);
        return code;
    }
    *schema_out = schema;
    return OK;
}
