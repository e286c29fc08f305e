#include "indexer/typed_columns.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "core/schema.h"

/* Where in the schema, and in the payload, we are. */
struct walk {
    struct indexer_event_columns *columns;
    struct msgpack_cursor root; /* of the whole schema */
    struct buffer name;         /* "order." of what is within order */
    struct buffer path;         /* $."order" */
    unsigned left;              /* schemas that may still be looked into: TYPED_COLUMNS_LOOKS_MAX */
    struct error *error;
};

/* What a value may be, as bits. */
enum {
    MAY_TEXT = 1,
    MAY_INTEGER = 2,
    MAY_REAL = 4,
    MAY_BOOLEAN = 8,
    MAY_JSON = 16, /* an array or an object */
    MAY_ANY = 31,
};

static bool find(struct msgpack_cursor at, const char *key, struct msgpack_cursor *found_out)
{
    struct error ignored;
    return msgpack_find(&at, key, found_out, &ignored) == OK;
}

static bool read_head(struct msgpack_cursor *at, struct msgpack_value *value_out)
{
    struct error ignored;
    return msgpack_read(at, value_out, &ignored) == OK;
}

static unsigned named_type(const struct msgpack_value *name)
{
    static const struct {
        const char *name;
        unsigned may;
    } types[] = {
        {"string", MAY_TEXT},     {"integer", MAY_INTEGER}, {"number", MAY_REAL},
        {"boolean", MAY_BOOLEAN}, {"array", MAY_JSON},      {"object", MAY_JSON},
        {"null", 0},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (name->kind == MSGPACK_KIND_STR && name->count == strlen(types[i].name) &&
            memcmp(name->bytes, types[i].name, name->count) == 0)
            return types[i].may;
    return MAY_ANY;
}

static unsigned value_type(const struct msgpack_value *value)
{
    switch (value->kind) {
    case MSGPACK_KIND_NIL:
        return 0;
    case MSGPACK_KIND_BOOL:
        return MAY_BOOLEAN;
    case MSGPACK_KIND_UINT:
    case MSGPACK_KIND_INT:
        return MAY_INTEGER | MAY_REAL; /* to JSON Schema 1 and 1.0 are one number */
    case MSGPACK_KIND_FLOAT:
        return MAY_REAL;
    case MSGPACK_KIND_STR:
        return MAY_TEXT;
    default:
        return MAY_JSON;
    }
}

/* Of "type": one name, or an array of them. */
static unsigned read_type(struct msgpack_cursor at)
{
    struct msgpack_value value;
    if (!read_head(&at, &value))
        return MAY_ANY;
    if (value.kind != MSGPACK_KIND_ARRAY)
        return named_type(&value);
    unsigned may = 0;
    for (uint32_t count = value.count; count > 0 && read_head(&at, &value); count--)
        may |= named_type(&value);
    return may;
}

/* Of "enum": the types of all its values. */
static unsigned read_enum(struct msgpack_cursor at)
{
    struct msgpack_value value;
    struct error ignored;
    if (!read_head(&at, &value) || value.kind != MSGPACK_KIND_ARRAY)
        return MAY_ANY;
    unsigned may = 0;
    for (uint32_t count = value.count; count > 0; count--) {
        struct msgpack_cursor element = at;
        if (msgpack_skip(&at, &ignored) || !read_head(&element, &value))
            return MAY_ANY;
        may |= value_type(&value);
    }
    return may;
}

/* "#/$defs/price", step by step: ~1 is /, ~0 is ~. */
static bool resolve(const struct walk *walk, struct msgpack_cursor reference,
                    struct msgpack_cursor *found_out)
{
    struct msgpack_value text;
    if (!read_head(&reference, &text) || text.kind != MSGPACK_KIND_STR || text.count < 1)
        return false;
    const char *at = text.bytes, *end = at + text.count;
    if (*at++ != '#')
        return false;
    *found_out = walk->root;
    while (at < end) {
        char key[MSGPACK_PATH_BYTES_MAX + 1];
        size_t bytes = 0;
        if (*at++ != '/')
            return false;
        for (; at < end && *at != '/' && bytes < sizeof key - 1; at++) {
            bool escaped = *at == '~' && at + 1 < end;
            at += escaped;
            key[bytes++] = escaped ? (*at == '1' ? '/' : '~') : *at;
        }
        key[bytes] = '\0';
        if (!find(*found_out, key, found_out))
            return false;
    }
    return true;
}

/* What may a value be that keeps to this schema? */
static unsigned may_be(const struct walk *walk, struct msgpack_cursor schema, unsigned depth)
{
    struct msgpack_cursor found;
    unsigned may = MAY_ANY;
    if (find(schema, "type", &found))
        may &= read_type(found);
    if (find(schema, "enum", &found))
        may &= read_enum(found);
    if (find(schema, "const", &found)) {
        struct msgpack_value value;
        if (read_head(&found, &value))
            may &= value_type(&value);
    }
    struct msgpack_cursor target;
    if (depth < TYPED_COLUMNS_DEPTH_MAX && find(schema, "$ref", &found) &&
        resolve(walk, found, &target))
        may &= may_be(walk, target, depth + 1);
    return may;
}

static const char *sql_type(unsigned may)
{
    switch (may) {
    case MAY_TEXT:
    case MAY_JSON:
        return "TEXT";
    case MAY_INTEGER:
        return "INTEGER";
    case MAY_REAL:
    case MAY_REAL | MAY_INTEGER:
        return "REAL";
    case MAY_BOOLEAN:
        return "BOOLEAN";
    default:
        return "";
    }
}

static enum error_code append_step(struct walk *walk, const struct msgpack_value *key)
{
    enum error_code code = buffer_append(&walk->name, key->bytes, key->count, walk->error);
    const char *bytes = key->bytes;
    if (!code)
        code = buffer_append(&walk->path, ".\"", 2, walk->error);
    for (uint32_t i = 0; !code && i < key->count; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            code = buffer_append(&walk->path, "\\", 1, walk->error);
        if (!code)
            code = buffer_append(&walk->path, bytes + i, 1, walk->error);
    }
    return code ? code : buffer_append(&walk->path, "\"", 1, walk->error);
}

/* A key that no path can name (too long, control characters) has no column. */
static enum error_code add_column(struct walk *walk, unsigned may, bool *added_out)
{
    struct msgpack_path path;
    struct error ignored;
    *added_out = false;
    if (msgpack_path_parse((const char *)walk->path.data, walk->path.size, &path, &ignored))
        return OK;
    enum error_code code = buffer_append(&walk->name, "", 1, walk->error);
    if (code)
        return code;
    code = indexer_event_columns_add_field(walk->columns, (const char *)walk->name.data,
                                           sql_type(may), &path, walk->error);
    walk->name.size--;
    *added_out = !code;
    return code;
}

static enum error_code add_properties(struct walk *walk, struct msgpack_cursor schema,
                                      unsigned depth);

/* The column of one property, and those within it. */
static enum error_code add_property(struct walk *walk, const struct msgpack_value *key,
                                    struct msgpack_cursor schema, unsigned depth)
{
    size_t name_size = walk->name.size, path_size = walk->path.size;
    bool added = false;
    enum error_code code = append_step(walk, key);
    unsigned may = may_be(walk, schema, 0);
    if (!code)
        code = add_column(walk, may, &added);
    if (!code && added && (may & MAY_JSON)) {
        code = buffer_append(&walk->name, ".", 1, walk->error);
        if (!code)
            code = add_properties(walk, schema, depth + 1);
    }
    walk->name.size = name_size;
    walk->path.size = path_size;
    return code;
}

static enum error_code add_each(struct walk *walk, struct msgpack_cursor properties, unsigned depth)
{
    struct msgpack_value map, key;
    struct error ignored;
    if (!read_head(&properties, &map) || map.kind != MSGPACK_KIND_MAP)
        return OK;
    for (uint32_t i = 0; i < map.count; i++) {
        if (!read_head(&properties, &key) || key.kind != MSGPACK_KIND_STR)
            return OK;
        struct msgpack_cursor value = properties;
        if (msgpack_skip(&properties, &ignored))
            return OK;
        value.end = properties.at;
        enum error_code code = walk->columns->count < TYPED_COLUMNS_MAX
                                   ? add_property(walk, &key, value, depth)
                                   : OK;
        if (code)
            return code;
    }
    return OK;
}

static enum error_code add_all_of(struct walk *walk, struct msgpack_cursor list, unsigned depth)
{
    struct msgpack_value array;
    struct error ignored;
    if (!read_head(&list, &array) || array.kind != MSGPACK_KIND_ARRAY)
        return OK;
    enum error_code code = OK;
    for (uint32_t i = 0; !code && i < array.count; i++) {
        struct msgpack_cursor schema = list;
        if (msgpack_skip(&list, &ignored))
            return OK;
        schema.end = list.at;
        code = add_properties(walk, schema, depth + 1);
    }
    return code;
}

static enum error_code add_properties(struct walk *walk, struct msgpack_cursor schema,
                                      unsigned depth)
{
    struct msgpack_cursor found, target;
    enum error_code code = OK;
    if (depth >= TYPED_COLUMNS_DEPTH_MAX || walk->left == 0)
        return OK;
    walk->left--;
    if (find(schema, "$ref", &found) && resolve(walk, found, &target))
        code = add_properties(walk, target, depth + 1);
    if (!code && find(schema, "properties", &found))
        code = add_each(walk, found, depth);
    if (!code && find(schema, "allOf", &found))
        code = add_all_of(walk, found, depth);
    return code;
}

enum error_code indexer_typed_columns_add(struct indexer_event_columns *columns, const char *json,
                                          size_t json_bytes, struct error *error)
{
    struct json_reader *reader = NULL;
    struct buffer schema = {0};
    struct walk walk = {.columns = columns, .left = TYPED_COLUMNS_LOOKS_MAX, .error = error};
    enum error_code code = json_reader_create(&reader, error);
    if (!code)
        code = json_to_msgpack(reader, json, json_bytes, SCHEMA_DEPTH_MAX, &schema, error);
    if (!code)
        code = buffer_append(&walk.path, "$", 1, error);
    if (!code) {
        walk.root = (struct msgpack_cursor){schema.data, schema.data + schema.size};
        code = add_properties(&walk, walk.root, 0);
    }
    buffer_release(&walk.name);
    buffer_release(&walk.path);
    buffer_release(&schema);
    json_reader_free(reader);
    return code;
}
