/* What was seen, as rules. */
#include "core/json.h"
#include "tools/daybook/infer_node.h"

/* One object on its way. After a failure everything else is passed over. */
struct writing {
    struct buffer *out;
    bool first; /* no comma before the next keyword */
    enum error_code code;
};

static void put(struct writing *writing, const char *text)
{
    if (!writing->code)
        writing->code = buffer_printf(writing->out, NULL, "%s", text);
}

static void put_string(struct writing *writing, const char *text, size_t bytes)
{
    if (!writing->code)
        writing->code = json_append_string(writing->out, text, bytes, NULL);
}

static void put_node(struct writing *writing, const struct infer_node *node)
{
    if (!writing->code)
        writing->code = infer_node_write(node, false, writing->out, NULL);
}

/* A keyword of the present object. */
static void put_keyword(struct writing *writing, const char *keyword)
{
    put(writing, writing->first ? "\"" : ",\"");
    put(writing, keyword);
    put(writing, "\":");
    writing->first = false;
}

static void put_types(struct writing *writing, const struct infer_node *node)
{
    const struct {
        const char *name;
        uint64_t count;
    } types[] = {
        {"object", node->objects},
        {"array", node->arrays},
        {"string", node->strings},
        {"number", node->reals}, /* of which integers are some */
        {"integer", node->reals ? 0 : node->integers},
        {"boolean", node->booleans},
        {"null", node->nulls},
    };
    int count = 0;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        count += types[i].count > 0;
    if (count == 0 || node->others > 0)
        return;
    put_keyword(writing, "type");
    if (count > 1)
        put(writing, "[");
    const char *before = "\"";
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].count == 0)
            continue;
        put(writing, before);
        put(writing, types[i].name);
        put(writing, "\"");
        before = ",\"";
    }
    if (count > 1)
        put(writing, "]");
}

/* One value that was always the same says nothing of what else may come. */
static bool are_few(const struct infer_node *node)
{
    if (node->many_values || node->value_count < 2 ||
        node->strings < INFER_VALUE_SHARE * node->value_count)
        return false;
    for (size_t i = 0; i < node->value_count; i++)
        if (node->values[i].count < INFER_VALUE_SEEN_MIN)
            return false;
    return node->booleans + node->integers + node->reals + node->objects + node->arrays +
               node->others ==
           0; /* an enum is about values of every type */
}

static void put_strings(struct writing *writing, const struct infer_node *node)
{
    if (node->strings == 0)
        return;
    if (!node->not_times || !node->not_uuids) {
        put_keyword(writing, "format");
        put(writing, node->not_times ? "\"uuid\"" : "\"date-time\"");
    } else if (are_few(node)) {
        put_keyword(writing, "enum");
        put(writing, "[");
        for (size_t i = 0; i < node->value_count; i++) {
            put(writing, i ? "," : "");
            put_string(writing, node->values[i].text, node->values[i].bytes);
        }
        put(writing, node->nulls ? ",null]" : "]");
    }
}

static void put_numbers(struct writing *writing, const struct infer_node *node)
{
    if (node->negative || node->integers + node->reals < INFER_SIGN_SEEN_MIN)
        return;
    put_keyword(writing, "minimum");
    put(writing, "0");
}

static void put_required(struct writing *writing, const struct infer_node *node)
{
    bool any = false;
    for (size_t i = 0; i < node->property_count; i++) {
        const struct infer_property *property = &node->properties[i];
        if (property->objects != node->objects)
            continue;
        if (any) {
            put(writing, ",");
        } else {
            put_keyword(writing, "required");
            put(writing, "[");
        }
        any = true;
        put_string(writing, property->name, property->name_bytes);
    }
    if (any)
        put(writing, "]");
}

static void put_object(struct writing *writing, const struct infer_node *node)
{
    if (node->unruly || node->property_count == 0)
        return;
    put_keyword(writing, "properties");
    put(writing, "{");
    for (size_t i = 0; i < node->property_count; i++) {
        put(writing, i ? "," : "");
        put_string(writing, node->properties[i].name, node->properties[i].name_bytes);
        put(writing, ":");
        put_node(writing, node->properties[i].node);
    }
    put(writing, "}");
    put_required(writing, node);
}

static bool is_known(const struct infer_node *node)
{
    return node && node->nulls + node->booleans + node->integers + node->reals + node->strings +
                           node->objects + node->arrays >
                       0;
}

enum error_code infer_node_write(const struct infer_node *node, bool root, struct buffer *out,
                                 struct error *error)
{
    struct writing writing = {out, true, OK};
    put(&writing, "{");
    if (root) {
        put_keyword(&writing, "$schema");
        put(&writing, "\"https://json-schema.org/draft/2020-12/schema\"");
    }
    put_types(&writing, node);
    put_strings(&writing, node);
    put_numbers(&writing, node);
    put_object(&writing, node);
    if (is_known(node->items)) {
        put_keyword(&writing, "items");
        put_node(&writing, node->items);
    }
    put(&writing, "}");
    return writing.code ? error_set(error, writing.code, "no memory for the inferred schema") : OK;
}
