/* What each keyword of a schema means, as a table. */
#include <string.h>

#include "core/schema_compile.h"
#include "core/schema_constants.h"
#include "core/schema_names.h"

typedef enum error_code take_keyword(struct schema_compiler *compiler, struct schema_node *node,
                                     struct msgpack_cursor value);

/* ---- Values of keywords ---- */

static enum error_code read_number(struct schema_compiler *compiler, struct msgpack_cursor value,
                                   struct schema_number *number_out)
{
    struct msgpack_value read;
    if (msgpack_read(&value, &read, NULL) || !schema_number_from(&read, number_out))
        return schema_compile_fail(compiler, "it must be a number");
    return OK;
}

static enum error_code read_count(struct schema_compiler *compiler, struct msgpack_cursor value,
                                  uint64_t *count_out)
{
    static const struct schema_number zero = {.kind = MSGPACK_KIND_UINT};
    struct msgpack_value read;
    struct schema_number number;
    if (msgpack_read(&value, &read, NULL) || !schema_number_from(&read, &number) ||
        !schema_number_is_integer(&number) || schema_number_compare(&number, &zero) < 0)
        return schema_compile_fail(compiler, "it must be an integer from 0 on");
    /* 1e20 is one, too, and as far beyond whatever will be counted. */
    *count_out = number.kind == MSGPACK_KIND_UINT ? number.magnitude : UINT64_MAX;
    return OK;
}

static enum error_code read_text(struct schema_compiler *compiler, struct msgpack_cursor value,
                                 struct msgpack_value *text_out)
{
    if (msgpack_read(&value, text_out, NULL) || text_out->kind != MSGPACK_KIND_STR)
        return schema_compile_fail(compiler, "it must be a string");
    return OK;
}

/* The head of an array or map; the cursor moves to what is inside. */
static enum error_code read_container(struct schema_compiler *compiler,
                                      struct msgpack_cursor *cursor, enum msgpack_kind kind,
                                      uint32_t *count_out)
{
    struct msgpack_value read;
    if (msgpack_read(cursor, &read, NULL) || read.kind != kind)
        return schema_compile_fail(compiler, kind == MSGPACK_KIND_MAP ? "it must be an object"
                                                                      : "it must be an array");
    *count_out = read.count;
    return OK;
}

static bool text_is(const struct msgpack_value *text, const char *word)
{
    return text->count == strlen(word) && memcmp(text->bytes, word, text->count) == 0;
}

/* ---- Any value ---- */

static enum error_code add_type(struct schema_compiler *compiler, struct schema_node *node,
                                struct msgpack_cursor value)
{
    static const char *const names[] = {"null",   "boolean", "object", "array",
                                        "number", "integer", "string"};
    struct msgpack_value text;
    enum error_code code = read_text(compiler, value, &text);
    if (code)
        return code;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (!text_is(&text, names[i]))
            continue;
        if (node->types & 1U << i)
            return schema_compile_fail(compiler, "\"%s\" is there twice", names[i]);
        node->types |= 1U << i;
        return OK;
    }
    return schema_compile_fail(compiler, "there is no type \"%.*s\"",
                               (int)(text.count < 80 ? text.count : 80), (const char *)text.bytes);
}

static enum error_code take_type(struct schema_compiler *compiler, struct schema_node *node,
                                 struct msgpack_cursor value)
{
    struct msgpack_cursor at = value;
    struct msgpack_value read;
    if (msgpack_read(&at, &read, NULL) || read.kind != MSGPACK_KIND_ARRAY)
        return add_type(compiler, node, value);
    if (read.count == 0)
        return schema_compile_fail(compiler, "an empty list allows nothing");
    enum error_code code = OK;
    for (uint32_t i = 0; i < read.count && !code; i++) {
        code = add_type(compiler, node, at);
        msgpack_skip(&at, NULL);
    }
    return code;
}

static enum error_code keep_constants(struct schema_compiler *compiler, struct schema_node *node,
                                      struct schema_constants *constants,
                                      struct msgpack_cursor at, uint32_t count)
{
    struct msgpack_cursor *list = schema_allocate(compiler->schema, count * sizeof *list);
    if (!list)
        return schema_compile_no_memory(compiler);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = at;
        msgpack_skip(&at, NULL);
        list[i].end = at.at;
    }
    constants->list = list;
    constants->count = count;
    node->has_constants = true;
    return schema_constants_index(compiler->schema, constants)
               ? OK
               : schema_compile_no_memory(compiler);
}

static enum error_code take_enum(struct schema_compiler *compiler, struct schema_node *node,
                                 struct msgpack_cursor value)
{
    uint32_t count = 0;
    enum error_code code = read_container(compiler, &value, MSGPACK_KIND_ARRAY, &count);
    if (!code && count == 0)
        code = schema_compile_fail(compiler, "an empty list allows nothing");
    return code ? code : keep_constants(compiler, node, &node->enum_, value, count);
}

static enum error_code take_const(struct schema_compiler *compiler, struct schema_node *node,
                                  struct msgpack_cursor value)
{
    return keep_constants(compiler, node, &node->const_, value, 1);
}

/* ---- Numbers ---- */

static enum error_code take_bound(struct schema_compiler *compiler, struct schema_node *node,
                                  struct msgpack_cursor value, unsigned rule,
                                  struct schema_number *bound_out)
{
    node->number_rules |= rule;
    return read_number(compiler, value, bound_out);
}

static enum error_code take_minimum(struct schema_compiler *compiler, struct schema_node *node,
                                    struct msgpack_cursor value)
{
    return take_bound(compiler, node, value, SCHEMA_MINIMUM, &node->minimum);
}

static enum error_code take_maximum(struct schema_compiler *compiler, struct schema_node *node,
                                    struct msgpack_cursor value)
{
    return take_bound(compiler, node, value, SCHEMA_MAXIMUM, &node->maximum);
}

static enum error_code take_exclusive_minimum(struct schema_compiler *compiler,
                                              struct schema_node *node,
                                              struct msgpack_cursor value)
{
    return take_bound(compiler, node, value, SCHEMA_EXCLUSIVE_MINIMUM, &node->exclusive_minimum);
}

static enum error_code take_exclusive_maximum(struct schema_compiler *compiler,
                                              struct schema_node *node,
                                              struct msgpack_cursor value)
{
    return take_bound(compiler, node, value, SCHEMA_EXCLUSIVE_MAXIMUM, &node->exclusive_maximum);
}

static enum error_code take_multiple(struct schema_compiler *compiler, struct schema_node *node,
                                     struct msgpack_cursor value)
{
    static const struct schema_number zero = {.kind = MSGPACK_KIND_UINT};
    enum error_code code = take_bound(compiler, node, value, SCHEMA_MULTIPLE, &node->multiple);
    if (!code && schema_number_compare(&node->multiple, &zero) <= 0)
        code = schema_compile_fail(compiler, "it must be greater than 0");
    if (!code)
        node->multiple_decimal = schema_number_decimal(&node->multiple);
    return code;
}

/* ---- Strings ---- */

static enum error_code take_length_min(struct schema_compiler *compiler, struct schema_node *node,
                                       struct msgpack_cursor value)
{
    node->has_string_rules = true;
    return read_count(compiler, value, &node->length_min);
}

static enum error_code take_length_max(struct schema_compiler *compiler, struct schema_node *node,
                                       struct msgpack_cursor value)
{
    node->has_string_rules = true;
    return read_count(compiler, value, &node->length_max);
}

static enum error_code compile_pattern(struct schema_compiler *compiler, const void *text,
                                       size_t text_bytes, struct schema_pattern **pattern_out)
{
    struct schema *schema = compiler->schema;
    struct error why;
    if (!schema->matcher && !(schema->matcher = schema_matcher_create()))
        return schema_compile_no_memory(compiler);
    enum error_code code = schema_pattern_compile(text, text_bytes, pattern_out, &why);
    if (code == ERROR_INVALID)
        return schema_compile_fail(compiler, "%s", why.text);
    if (code)
        return schema_compile_no_memory(compiler);
    schema_pattern_link(*pattern_out, &schema->patterns);
    return schema_account(schema, schema_pattern_bytes(*pattern_out))
               ? OK
               : schema_compile_no_memory(compiler);
}

static enum error_code take_pattern(struct schema_compiler *compiler, struct schema_node *node,
                                    struct msgpack_cursor value)
{
    struct msgpack_value text;
    enum error_code code = read_text(compiler, value, &text);
    node->has_string_rules = true;
    return code ? code : compile_pattern(compiler, text.bytes, text.count, &node->pattern);
}

static enum error_code take_format(struct schema_compiler *compiler, struct schema_node *node,
                                   struct msgpack_cursor value)
{
    struct msgpack_value text;
    enum error_code code = read_text(compiler, value, &text);
    if (code)
        return code;
    node->has_string_rules = true;
    node->format = schema_format_find(text.bytes, text.count);
    if (node->format == SCHEMA_FORMAT_NONE)
        return schema_compile_fail(
            compiler, "the format \"%.*s\" is not checked here; date-time, uuid, ipv4, ipv6 are",
            (int)(text.count < 80 ? text.count : 80), (const char *)text.bytes);
    return OK;
}

/* ---- Lists and maps of schemas ---- */

static enum error_code take_list(struct schema_compiler *compiler, struct msgpack_cursor value,
                                 struct schema_nodes *nodes)
{
    uint32_t count = 0;
    enum error_code code = read_container(compiler, &value, MSGPACK_KIND_ARRAY, &count);
    if (!code && count == 0)
        code = schema_compile_fail(compiler, "an empty list of schemas says nothing");
    if (code)
        return code;
    nodes->list = schema_allocate(compiler->schema, count * sizeof *nodes->list);
    if (!nodes->list)
        return schema_compile_no_memory(compiler);
    for (uint32_t i = 0; i < count && !code; i++) {
        size_t path_bytes = compiler->path.size;
        code = schema_compile_enter_index(compiler, i);
        if (!code)
            code = schema_compile_node(compiler, value, &nodes->list[i]);
        if (!code)
            schema_compile_leave(compiler, path_bytes);
        msgpack_skip(&value, NULL);
        nodes->count = i + 1;
    }
    return code;
}

/* What to do with each pair of a map of schemas. */
typedef enum error_code take_pair(struct schema_compiler *compiler, struct schema_node *node,
                                  const struct msgpack_value *key,
                                  const struct schema_node *schema);

static enum error_code take_map(struct schema_compiler *compiler, struct schema_node *node,
                                struct msgpack_cursor value, take_pair *take)
{
    uint32_t count = 0;
    enum error_code code = read_container(compiler, &value, MSGPACK_KIND_MAP, &count);
    if (!code && count > SCHEMA_NAMES_MAX)
        code = schema_compile_fail(compiler, "%u names are too many, %d are allowed", count,
                                   SCHEMA_NAMES_MAX);
    for (uint32_t i = 0; i < count && !code; i++) {
        struct msgpack_value key;
        const struct schema_node *schema;
        size_t path_bytes = compiler->path.size;
        if (msgpack_read(&value, &key, NULL) || key.kind != MSGPACK_KIND_STR)
            return schema_compile_fail(compiler, "a name is no string");
        code = schema_compile_enter(compiler, key.bytes, key.count);
        if (!code)
            code = schema_compile_node(compiler, value, &schema);
        if (!code)
            code = take(compiler, node, &key, schema);
        if (!code)
            schema_compile_leave(compiler, path_bytes);
        msgpack_skip(&value, NULL);
    }
    return code;
}

/* ---- Arrays ---- */

static enum error_code take_prefix(struct schema_compiler *compiler, struct schema_node *node,
                                   struct msgpack_cursor value)
{
    node->has_array_rules = true;
    return take_list(compiler, value, &node->prefix);
}

static enum error_code take_items(struct schema_compiler *compiler, struct schema_node *node,
                                  struct msgpack_cursor value)
{
    node->has_array_rules = true;
    return schema_compile_node(compiler, value, &node->items);
}

static enum error_code take_contains(struct schema_compiler *compiler, struct schema_node *node,
                                     struct msgpack_cursor value)
{
    node->has_array_rules = true;
    return schema_compile_node(compiler, value, &node->contains);
}

static enum error_code take_items_min(struct schema_compiler *compiler, struct schema_node *node,
                                      struct msgpack_cursor value)
{
    node->has_array_rules = true;
    return read_count(compiler, value, &node->items_min);
}

static enum error_code take_items_max(struct schema_compiler *compiler, struct schema_node *node,
                                      struct msgpack_cursor value)
{
    node->has_array_rules = true;
    return read_count(compiler, value, &node->items_max);
}

static enum error_code take_unique(struct schema_compiler *compiler, struct schema_node *node,
                                   struct msgpack_cursor value)
{
    struct msgpack_value read;
    if (msgpack_read(&value, &read, NULL) || read.kind != MSGPACK_KIND_BOOL)
        return schema_compile_fail(compiler, "it must be true or false");
    node->has_array_rules = true;
    node->unique = read.boolean;
    return OK;
}

/* ---- Objects ---- */

/* The entry of a name, made unless it is there. */
static enum error_code enter_name(struct schema_compiler *compiler, struct schema_names *names,
                                  const struct msgpack_value *key, struct schema_name **name_out)
{
    uint16_t index = schema_names_find(names, key->bytes, key->count, SCHEMA_NONE);
    if (index == SCHEMA_NONE && names->count == SCHEMA_NAMES_MAX)
        return schema_compile_fail(compiler, "more than %d names are too many", SCHEMA_NAMES_MAX);
    if (index == SCHEMA_NONE) {
        index = names->count;
        if (!schema_names_add(compiler->schema, names, key->bytes, key->count))
            return schema_compile_no_memory(compiler);
    }
    *name_out = &names->list[index];
    return OK;
}

static enum error_code add_property(struct schema_compiler *compiler, struct schema_node *node,
                                    const struct msgpack_value *key,
                                    const struct schema_node *schema)
{
    struct schema_name *name;
    enum error_code code = enter_name(compiler, &node->names, key, &name);
    if (!code)
        name->node = schema;
    return code;
}

static enum error_code take_properties(struct schema_compiler *compiler, struct schema_node *node,
                                       struct msgpack_cursor value)
{
    node->has_object_rules = true;
    return take_map(compiler, node, value, add_property);
}

static enum error_code take_required(struct schema_compiler *compiler, struct schema_node *node,
                                     struct msgpack_cursor value)
{
    uint32_t count = 0;
    enum error_code code = read_container(compiler, &value, MSGPACK_KIND_ARRAY, &count);
    node->has_object_rules = true;
    for (uint32_t i = 0; i < count && !code; i++) {
        struct msgpack_value key;
        struct schema_name *name;
        code = read_text(compiler, value, &key);
        if (!code)
            code = enter_name(compiler, &node->names, &key, &name);
        if (!code && name->required)
            code = schema_compile_fail(compiler, "\"%.*s\" is there twice",
                                       (int)(key.count < 80 ? key.count : 80),
                                       (const char *)key.bytes);
        if (code)
            return code;
        name->required = true;
        node->names.required_count++;
        msgpack_skip(&value, NULL);
    }
    return code;
}

static enum error_code add_pattern_rule(struct schema_compiler *compiler, struct schema_node *node,
                                        const struct msgpack_value *key,
                                        const struct schema_node *schema)
{
    struct schema_pattern_rule *rule = &node->pattern_rules[node->pattern_rule_count];
    enum error_code code = compile_pattern(compiler, key->bytes, key->count, &rule->pattern);
    if (code)
        return code;
    rule->node = schema;
    node->pattern_rule_count++;
    return OK;
}

static enum error_code take_pattern_properties(struct schema_compiler *compiler,
                                               struct schema_node *node,
                                               struct msgpack_cursor value)
{
    struct msgpack_cursor at = value;
    uint32_t count = 0;
    enum error_code code = read_container(compiler, &at, MSGPACK_KIND_MAP, &count);
    if (code)
        return code;
    node->has_object_rules = true;
    node->pattern_rules = schema_allocate(compiler->schema, count * sizeof *node->pattern_rules);
    if (!node->pattern_rules)
        return schema_compile_no_memory(compiler);
    return take_map(compiler, node, value, add_pattern_rule);
}

static enum error_code take_additional(struct schema_compiler *compiler, struct schema_node *node,
                                       struct msgpack_cursor value)
{
    node->has_object_rules = true;
    return schema_compile_node(compiler, value, &node->additional);
}

static enum error_code take_property_names(struct schema_compiler *compiler,
                                           struct schema_node *node, struct msgpack_cursor value)
{
    node->has_object_rules = true;
    return schema_compile_node(compiler, value, &node->property_names);
}

static enum error_code take_properties_min(struct schema_compiler *compiler,
                                           struct schema_node *node, struct msgpack_cursor value)
{
    node->has_object_rules = true;
    return read_count(compiler, value, &node->properties_min);
}

static enum error_code take_properties_max(struct schema_compiler *compiler,
                                           struct schema_node *node, struct msgpack_cursor value)
{
    node->has_object_rules = true;
    return read_count(compiler, value, &node->properties_max);
}

/* ---- Schemas of the same value ---- */

static enum error_code take_all_of(struct schema_compiler *compiler, struct schema_node *node,
                                   struct msgpack_cursor value)
{
    node->has_more = true;
    return take_list(compiler, value, &node->all_of);
}

static enum error_code take_any_of(struct schema_compiler *compiler, struct schema_node *node,
                                   struct msgpack_cursor value)
{
    node->has_more = true;
    return take_list(compiler, value, &node->any_of);
}

static enum error_code take_one_of(struct schema_compiler *compiler, struct schema_node *node,
                                   struct msgpack_cursor value)
{
    node->has_more = true;
    return take_list(compiler, value, &node->one_of);
}

static enum error_code take_not(struct schema_compiler *compiler, struct schema_node *node,
                                struct msgpack_cursor value)
{
    node->has_more = true;
    return schema_compile_node(compiler, value, &node->not_);
}

static enum error_code take_if(struct schema_compiler *compiler, struct schema_node *node,
                               struct msgpack_cursor value)
{
    node->has_more = true;
    return schema_compile_node(compiler, value, &node->if_);
}

static enum error_code take_then(struct schema_compiler *compiler, struct schema_node *node,
                                 struct msgpack_cursor value)
{
    return schema_compile_node(compiler, value, &node->then);
}

static enum error_code take_else(struct schema_compiler *compiler, struct schema_node *node,
                                 struct msgpack_cursor value)
{
    return schema_compile_node(compiler, value, &node->else_);
}

static enum error_code take_ref(struct schema_compiler *compiler, struct schema_node *node,
                                struct msgpack_cursor value)
{
    struct msgpack_value text;
    enum error_code code = read_text(compiler, value, &text);
    if (code)
        return code;
    const char *uri = text.bytes;
    if (text.count == 0 || uri[0] != '#' || (text.count > 1 && uri[1] != '/'))
        return schema_compile_fail(
            compiler, "\"%.*s\" is not within this schema: only \"#\" and \"#/…\" are followed",
            (int)(text.count < 80 ? text.count : 80), uri);
    struct schema_ref *ref = schema_allocate(compiler->schema, sizeof *ref);
    if (!ref)
        return schema_compile_no_memory(compiler);
    *ref = (struct schema_ref){node, uri + 1, text.count - 1, compiler->refs};
    compiler->refs = ref;
    node->has_more = true;
    return OK;
}

/* ---- What only describes ---- */

static enum error_code add_nothing(struct schema_compiler *compiler, struct schema_node *node,
                                   const struct msgpack_value *key,
                                   const struct schema_node *schema)
{
    (void)compiler, (void)node, (void)key, (void)schema;
    return OK;
}

/* Compiled all the same: a mistake in a definition is told though nobody refers to it. */
static enum error_code take_definitions(struct schema_compiler *compiler, struct schema_node *node,
                                        struct msgpack_cursor value)
{
    return take_map(compiler, node, value, add_nothing);
}

static enum error_code take_description(struct schema_compiler *compiler, struct schema_node *node,
                                        struct msgpack_cursor value)
{
    (void)compiler, (void)node, (void)value;
    return OK;
}

static bool is_at_root(const struct schema_compiler *compiler, const char *keyword)
{
    return compiler->path.size == strlen("#/") + strlen(keyword);
}

static enum error_code take_dialect(struct schema_compiler *compiler, struct schema_node *node,
                                    struct msgpack_cursor value)
{
    struct msgpack_value text;
    (void)node;
    enum error_code code = read_text(compiler, value, &text);
    if (code)
        return code;
    if (!is_at_root(compiler, "$schema"))
        return schema_compile_fail(compiler, "it belongs to the root");
    if (!text_is(&text, "https://json-schema.org/draft/2020-12/schema") &&
        !text_is(&text, "https://json-schema.org/draft/2020-12/schema#"))
        return schema_compile_fail(
            compiler,
            "only draft 2020-12 is understood, \"https://json-schema.org/draft/2020-12/schema\"");
    return OK;
}

static enum error_code take_id(struct schema_compiler *compiler, struct schema_node *node,
                               struct msgpack_cursor value)
{
    struct msgpack_value text;
    (void)node;
    if (!is_at_root(compiler, "$id"))
        return schema_compile_fail(compiler,
                                   "an \"$id\" within a schema, which would change what \"$ref\" "
                                   "refers to, is not understood");
    return read_text(compiler, value, &text);
}

/* ---- The table ---- */

static const struct keyword {
    const char *name;
    take_keyword *take;
} keywords[] = {
    {"$comment", take_description},
    {"$defs", take_definitions},
    {"$id", take_id},
    {"$ref", take_ref},
    {"$schema", take_dialect},
    {"additionalProperties", take_additional},
    {"allOf", take_all_of},
    {"anyOf", take_any_of},
    {"const", take_const},
    {"contains", take_contains},
    {"default", take_description},
    {"deprecated", take_description},
    {"description", take_description},
    {"else", take_else},
    {"enum", take_enum},
    {"examples", take_description},
    {"exclusiveMaximum", take_exclusive_maximum},
    {"exclusiveMinimum", take_exclusive_minimum},
    {"format", take_format},
    {"if", take_if},
    {"items", take_items},
    {"maxItems", take_items_max},
    {"maxLength", take_length_max},
    {"maxProperties", take_properties_max},
    {"maximum", take_maximum},
    {"minItems", take_items_min},
    {"minLength", take_length_min},
    {"minProperties", take_properties_min},
    {"minimum", take_minimum},
    {"multipleOf", take_multiple},
    {"not", take_not},
    {"oneOf", take_one_of},
    {"pattern", take_pattern},
    {"patternProperties", take_pattern_properties},
    {"prefixItems", take_prefix},
    {"properties", take_properties},
    {"propertyNames", take_property_names},
    {"readOnly", take_description},
    {"required", take_required},
    {"then", take_then},
    {"title", take_description},
    {"type", take_type},
    {"uniqueItems", take_unique},
    {"writeOnly", take_description},
};

enum error_code schema_keyword_take(struct schema_compiler *compiler, struct schema_node *node,
                                    const struct msgpack_value *keyword,
                                    struct msgpack_cursor value)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (text_is(keyword, keywords[i].name))
            return keywords[i].take(compiler, node, value);
    }
    return schema_compile_fail(compiler, "this keyword is not understood, so it would not be "
                                         "checked; remove it, or say it with others");
}
