#include "tools/daybook/infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "core/schema.h"
#include "core/schema_format.h"
#include "tools/daybook/infer_node.h"

struct infer {
    struct infer_node *root;
    size_t nodes;
};

static enum error_code make_node(struct infer *infer, struct infer_node **node_out,
                                 struct error *error)
{
    struct infer_node *node = calloc(1, sizeof *node);
    if (!node)
        return error_set(error, ERROR_MEMORY, "no memory to infer a schema");
    infer->nodes++;
    *node_out = node;
    return OK;
}

enum error_code infer_create(struct infer **infer_out, struct error *error)
{
    struct infer *infer = calloc(1, sizeof *infer);
    enum error_code code = infer ? make_node(infer, &infer->root, error)
                                 : error_set(error, ERROR_MEMORY, "no memory to infer a schema");
    if (code)
        free(infer);
    else
        *infer_out = infer;
    return code;
}

static void free_node(struct infer_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->property_count; i++) {
        free_node(node->properties[i].node);
        free(node->properties[i].name);
    }
    free(node->properties);
    free_node(node->items);
    free(node);
}

void infer_free(struct infer *infer)
{
    if (!infer)
        return;
    free_node(infer->root);
    free(infer);
}

/* ---- Strings ---- */

static void note_value(struct infer_node *node, const struct msgpack_value *value)
{
    for (size_t i = 0; i < node->value_count; i++) {
        struct infer_value *known = &node->values[i];
        if (known->bytes == value->count && memcmp(known->text, value->bytes, value->count) == 0) {
            known->count++;
            return;
        }
    }
    if (node->value_count == INFER_VALUES_MAX || value->count > INFER_VALUE_BYTES_MAX) {
        node->many_values = true;
        return;
    }
    struct infer_value *made = &node->values[node->value_count++];
    memcpy(made->text, value->bytes, value->count);
    made->bytes = value->count;
    made->count = 1;
}

static void add_string(struct infer_node *node, const struct msgpack_value *value)
{
    node->strings++;
    node->not_times = node->not_times || !schema_format_check(SCHEMA_FORMAT_DATE_TIME,
                                                              value->bytes, value->count);
    node->not_uuids =
        node->not_uuids || !schema_format_check(SCHEMA_FORMAT_UUID, value->bytes, value->count);
    if (!node->many_values)
        note_value(node, value);
}

/* ---- Containers ---- */

static enum error_code add_value(struct infer *infer, struct infer_node *node, unsigned depth,
                                 struct msgpack_cursor *cursor, struct error *error);

static struct infer_property *find_property(struct infer_node *node,
                                            const struct msgpack_value *name, size_t guess)
{
    /* Producers write their keys in the same order again and again. */
    for (size_t n = 0; n < node->property_count; n++) {
        struct infer_property *property = &node->properties[(guess + n) % node->property_count];
        if (property->name_bytes == name->count &&
            memcmp(property->name, name->bytes, name->count) == 0)
            return property;
    }
    return NULL;
}

/* *property_out stays NULL where there is no room for another one. */
static enum error_code make_property(struct infer *infer, struct infer_node *node,
                                     const struct msgpack_value *name,
                                     struct infer_property **property_out, struct error *error)
{
    if (infer->nodes >= INFER_NODES_MAX || name->count > INFER_NAME_BYTES_MAX)
        return OK;
    if (node->property_count == node->property_capacity) {
        size_t capacity = node->property_capacity ? 2 * node->property_capacity : 8;
        struct infer_property *larger =
            realloc(node->properties, capacity * sizeof *node->properties);
        if (!larger)
            return error_set(error, ERROR_MEMORY, "no memory to infer a schema");
        node->properties = larger;
        node->property_capacity = capacity;
    }
    struct infer_property made = {.name = malloc(name->count + 1), .name_bytes = name->count};
    if (!made.name)
        return error_set(error, ERROR_MEMORY, "no memory to infer a schema");
    memcpy(made.name, name->bytes, name->count);
    enum error_code code = make_node(infer, &made.node, error);
    if (code) {
        free(made.name);
        return code;
    }
    node->properties[node->property_count] = made;
    *property_out = &node->properties[node->property_count++];
    return OK;
}

/* One pair of the node's object number node->objects. */
static enum error_code add_pair(struct infer *infer, struct infer_node *node, unsigned depth,
                                size_t index, struct msgpack_cursor *cursor, struct error *error)
{
    struct infer_property *property = NULL;
    struct msgpack_value name;
    struct msgpack_cursor key = *cursor;
    enum error_code code = msgpack_read(&key, &name, error);
    if (!code)
        code = msgpack_skip(cursor, error);
    if (code)
        return code;
    if (name.kind != MSGPACK_KIND_STR) {
        node->unruly = true;
        return msgpack_skip(cursor, error);
    }
    property = find_property(node, &name, index);
    if (!property)
        code = make_property(infer, node, &name, &property, error);
    if (code)
        return code;
    if (!property)
        return msgpack_skip(cursor, error);
    node->unruly = property->object_last == node->objects; /* the key came before, in this one */
    property->object_last = node->objects;
    property->objects++;
    return add_value(infer, property->node, depth + 1, cursor, error);
}

static enum error_code add_object(struct infer *infer, struct infer_node *node, unsigned depth,
                                  uint32_t pairs, struct msgpack_cursor *cursor,
                                  struct error *error)
{
    enum error_code code = OK;
    node->objects++;
    node->unruly = node->unruly || depth >= INFER_DEPTH_MAX;
    for (uint32_t i = 0; !code && i < pairs; i++) {
        if (!node->unruly)
            code = add_pair(infer, node, depth, i, cursor, error);
        else if (!(code = msgpack_skip(cursor, error)))
            code = msgpack_skip(cursor, error);
    }
    return code;
}

static enum error_code add_array(struct infer *infer, struct infer_node *node, unsigned depth,
                                 uint32_t elements, struct msgpack_cursor *cursor,
                                 struct error *error)
{
    enum error_code code = OK;
    /* With the first array or never: the rules are about all of them. */
    if (node->arrays++ == 0 && depth < INFER_DEPTH_MAX && infer->nodes < INFER_NODES_MAX)
        code = make_node(infer, &node->items, error);
    for (uint32_t i = 0; !code && i < elements; i++)
        code = node->items ? add_value(infer, node->items, depth + 1, cursor, error)
                           : msgpack_skip(cursor, error);
    return code;
}

/* ---- Values ---- */

static enum error_code add_value(struct infer *infer, struct infer_node *node, unsigned depth,
                                 struct msgpack_cursor *cursor, struct error *error)
{
    struct msgpack_value value;
    enum error_code code = msgpack_read(cursor, &value, error);
    if (code)
        return code;
    switch (value.kind) {
    case MSGPACK_KIND_NIL:
        node->nulls++;
        break;
    case MSGPACK_KIND_BOOL:
        node->booleans++;
        break;
    case MSGPACK_KIND_INT:
        node->negative = true;
        node->integers++;
        break;
    case MSGPACK_KIND_UINT:
        node->integers++;
        break;
    case MSGPACK_KIND_FLOAT:
        if (!isfinite(value.real)) {
            node->others++;
            break;
        }
        node->negative = node->negative || value.real < 0;
        node->reals++;
        break;
    case MSGPACK_KIND_STR:
        add_string(node, &value);
        break;
    case MSGPACK_KIND_ARRAY:
        return add_array(infer, node, depth, value.count, cursor, error);
    case MSGPACK_KIND_MAP:
        return add_object(infer, node, depth, value.count, cursor, error);
    case MSGPACK_KIND_BIN:
    case MSGPACK_KIND_EXT:
        node->others++;
    }
    return OK;
}

enum error_code infer_add(struct infer *infer, const void *payload, size_t payload_bytes,
                          struct error *error)
{
    struct msgpack_cursor cursor = {payload, (const uint8_t *)payload + payload_bytes};
    return add_value(infer, infer->root, 0, &cursor, error);
}

enum error_code infer_write(const struct infer *infer, struct buffer *out, struct error *error)
{
    struct buffer line = {0}, packed = {0};
    struct json_reader *json = NULL;
    enum error_code code = infer_node_write(infer->root, true, &line, error);
    if (!code)
        code = json_reader_create(&json, error);
    if (!code)
        code = json_to_msgpack(json, (const char *)line.data, line.size, SCHEMA_DEPTH_MAX, &packed,
                               error);
    if (!code)
        code = json_from_msgpack(packed.data, packed.size, JSON_PRETTY, out, error);
    json_reader_free(json);
    buffer_release(&packed);
    buffer_release(&line);
    return code;
}
