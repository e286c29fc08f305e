/* Checking a value against a compiled schema. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/msgpack_head.h"
#include "core/schema_constants.h"
#include "core/schema_equal.h"
#include "core/schema_fault.h"
#include "core/schema_names.h"
#include "core/utf8.h"

/*
 * A step is a look at a value by a node. An honest event needs a few for each value; so many that
 * alternatives within alternatives cannot make one event cost seconds.
 */
enum {
    STEPS_PER_BYTE = 16,
    STEPS_MIN = 16384,
    SCRATCH_KEPT = 65536,
    BYTES_PER_STEP = 64, /* of a string that is looked through */
};

struct check {
    struct schema *schema;
    struct schema_fault *fault; /* NULL: nobody wants to know, or it is not one yet */
    uint64_t steps_left;
    uint32_t matches; /* of patterns, so far */
    bool gave_up; /* and so the value is at fault, whatever a `not` makes of it */
    bool told;    /* … and the fault says so: no other may take its place */
};

static void charge(struct check *check, uint64_t steps)
{
    check->steps_left -= steps < check->steps_left ? steps : check->steps_left;
}

/* Returns false, for `return fault(…)`. */
static bool fault(struct check *check, const struct schema_node *node, const char *keyword,
                  const struct schema_place *place, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static bool fault(struct check *check, const struct schema_node *node, const char *keyword,
                  const struct schema_place *place, const char *format, ...)
{
    if (!check->fault || check->told)
        return false;
    va_list arguments;
    va_start(arguments, format);
    schema_fault_tell(check->fault, node, keyword, place, format, arguments);
    va_end(arguments);
    return false;
}

/* A value for a fault's text. Valid until the next call. */
static const char *show(struct check *check, struct msgpack_cursor value)
{
    return check->fault ? schema_fault_show(&check->schema->scratch, value) : "";
}

/* ---- Rules ---- */

static bool check_value(struct check *check, const struct schema_node *node,
                        struct msgpack_cursor *cursor, const struct schema_place *place);

/* Of a double only if it is asked for, as that takes a while: is it an integer? */
static unsigned types_of_real(double real, unsigned asked)
{
    bool whole = asked & SCHEMA_INTEGER && !(asked & SCHEMA_NUMBER) && trunc(real) == real;
    return isfinite(real) ? SCHEMA_NUMBER | (whole ? SCHEMA_INTEGER : 0) : 0;
}

static unsigned types_of(const struct msgpack_value *value, unsigned asked)
{
    switch (value->kind) {
    case MSGPACK_KIND_NIL:
        return SCHEMA_NULL;
    case MSGPACK_KIND_BOOL:
        return SCHEMA_BOOLEAN;
    case MSGPACK_KIND_STR:
        return SCHEMA_STRING;
    case MSGPACK_KIND_ARRAY:
        return SCHEMA_ARRAY;
    case MSGPACK_KIND_MAP:
        return SCHEMA_OBJECT;
    case MSGPACK_KIND_UINT:
    case MSGPACK_KIND_INT:
        return SCHEMA_NUMBER | SCHEMA_INTEGER;
    case MSGPACK_KIND_FLOAT:
        return types_of_real(value->real, asked);
    default:
        return 0;
    }
}

static bool check_constants(struct check *check, const struct schema_node *node,
                            const struct msgpack_value *head, struct msgpack_cursor value,
                            const struct schema_place *place)
{
    if (node->enum_.list &&
        !schema_constants_has(&node->enum_, head, value, &check->steps_left))
        return fault(check, node, "enum", place, "%s is not one of the values that are allowed",
                     show(check, value));
    if (node->const_.list &&
        !schema_constants_has(&node->const_, head, value, &check->steps_left))
        return fault(check, node, "const", place, "%s is not the one value that is allowed",
                     show(check, value));
    return true;
}

/*
 * Of a double and a bound that a double can hold at once: most are such. Anything else takes the
 * long way over the exact values.
 */
static int compare(const struct msgpack_value *value, const struct schema_number *bound)
{
    const uint64_t exact_max = UINT64_C(1) << 53;
    struct schema_number number;
    if (value->kind == MSGPACK_KIND_FLOAT &&
        (bound->kind == MSGPACK_KIND_FLOAT || bound->magnitude <= exact_max)) {
        double real = bound->kind == MSGPACK_KIND_FLOAT ? bound->real : (double)bound->magnitude;
        if (bound->kind == MSGPACK_KIND_INT)
            real = -real;
        return (value->real > real) - (value->real < real);
    }
    schema_number_from(value, &number);
    return schema_number_compare(&number, bound);
}

static bool is_multiple(const struct msgpack_value *value, const struct schema_decimal *divisor)
{
    struct schema_number number;
    schema_number_from(value, &number);
    return schema_number_is_multiple(&number, divisor);
}

static bool breaks(const struct schema_node *node, unsigned rule,
                   const struct msgpack_value *value, const struct schema_number *bound)
{
    switch (rule) {
    case SCHEMA_MINIMUM:
        return compare(value, bound) < 0;
    case SCHEMA_MAXIMUM:
        return compare(value, bound) > 0;
    case SCHEMA_EXCLUSIVE_MINIMUM:
        return compare(value, bound) <= 0;
    case SCHEMA_EXCLUSIVE_MAXIMUM:
        return compare(value, bound) >= 0;
    default:
        return !is_multiple(value, &node->multiple_decimal);
    }
}

static const struct number_rule {
    unsigned rule;
    size_t offset; /* of the bound in the node */
    const char *keyword, *text;
} number_rules[] = {
    {SCHEMA_MINIMUM, offsetof(struct schema_node, minimum), "minimum", "less than the minimum"},
    {SCHEMA_MAXIMUM, offsetof(struct schema_node, maximum), "maximum", "greater than the maximum"},
    {SCHEMA_EXCLUSIVE_MINIMUM, offsetof(struct schema_node, exclusive_minimum), "exclusiveMinimum",
     "not greater than"},
    {SCHEMA_EXCLUSIVE_MAXIMUM, offsetof(struct schema_node, exclusive_maximum), "exclusiveMaximum",
     "not less than"},
    {SCHEMA_MULTIPLE, offsetof(struct schema_node, multiple), "multipleOf", "no multiple of"},
};

static bool check_number(struct check *check, const struct schema_node *node,
                         const struct msgpack_value *number, struct msgpack_cursor value,
                         const struct schema_place *place)
{
    for (size_t i = 0; i < sizeof number_rules / sizeof *number_rules; i++) {
        const struct number_rule *rule = &number_rules[i];
        const struct schema_number *bound =
            (const struct schema_number *)(const void *)((const char *)node + rule->offset);
        char text[SCHEMA_FAULT_NUMBER_BYTES];
        if (node->number_rules & rule->rule && breaks(node, rule->rule, number, bound))
            return fault(check, node, rule->keyword, place, "%s is %s %s", show(check, value),
                         rule->text, schema_fault_number(bound, text));
    }
    return true;
}

static uint64_t count_characters(const char *text, size_t bytes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static bool give_up(struct check *check, const struct schema_node *node, const char *keyword,
                    const struct schema_place *place, const char *why)
{
    check->gave_up = true;
    fault(check, node, keyword, place, "%s", why);
    check->told |= check->fault != NULL;
    return false;
}

/* What it may cost is paid before. */
static enum schema_match match_text(struct check *check, const struct schema_pattern *pattern,
                                    const char *text, size_t bytes)
{
    uint64_t steps = schema_pattern_steps(pattern, bytes);
    if (steps >= check->steps_left)
        return SCHEMA_MATCH_GAVE_UP;
    charge(check, steps);
    return schema_pattern_match(pattern, check->schema->matcher, text, bytes, ++check->matches);
}

static bool check_length(struct check *check, const struct schema_node *node, const char *text,
                         size_t bytes, const struct schema_place *place)
{
    /* A character has one to four bytes: as a rule they need not be counted. */
    if (bytes / 4 >= node->length_min && bytes <= node->length_max)
        return true;
    uint64_t length = count_characters(text, bytes);
    if (length < node->length_min)
        return fault(check, node, "minLength", place, "%llu characters are too few",
                     (unsigned long long)length);
    return length <= node->length_max ||
           fault(check, node, "maxLength", place, "%llu characters are too many",
                 (unsigned long long)length);
}

static bool check_string(struct check *check, const struct schema_node *node, const char *text,
                         size_t bytes, const struct schema_place *place)
{
    charge(check, bytes / BYTES_PER_STEP);
    if (!check_length(check, node, text, bytes, place))
        return false;
    if (node->format && !schema_format_check(node->format, text, bytes))
        return fault(check, node, "format", place, "the text is no %s",
                     schema_format_name(node->format));
    if (!node->pattern)
        return true;
    switch (match_text(check, node->pattern, text, bytes)) {
    case SCHEMA_MATCH_YES:
        return true;
    case SCHEMA_MATCH_NO:
        return fault(check, node, "pattern", place, "the text does not match the pattern");
    default:
        return give_up(check, node, "pattern", place,
                       "it would take too long to match the pattern with this text");
    }
}

/* Over a value that no rule looks into. */
static bool skip(struct check *check, const struct schema_node *node,
                 struct msgpack_cursor *cursor, const struct schema_place *place)
{
    enum error_code code = msgpack_skip_within(cursor, &check->steps_left, NULL);
    return code == ERROR_FULL ? give_up(check, node, "", place, "the check takes too long")
                              : code == OK;
}

/* ---- Arrays ---- */

struct item {
    uint64_t hash;
    struct msgpack_cursor value;
    uint32_t index;
};

static int by_hash(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Two equal ones: *first and *second become their indexes. */
static bool find_equal(struct check *check, const struct item *items, uint32_t count,
                       uint32_t *first, uint32_t *second)
{
    for (uint32_t i = 0; i < count && check->steps_left > 0; i++)
        for (uint32_t j = i + 1;
             j < count && items[j].hash == items[i].hash && check->steps_left > 0; j++)
            if (schema_equal(items[i].value, items[j].value, &check->steps_left)) {
                *first = items[i].index;
                *second = items[j].index;
                return true;
            }
    return false;
}

static bool check_unique(struct check *check, const struct schema_node *node,
                         struct msgpack_cursor cursor, uint32_t count,
                         const struct schema_place *place)
{
    uint32_t first, second;
    if (count < 2)
        return true;
    struct item *items = malloc(count * sizeof *items);
    if (!items)
        return give_up(check, node, "uniqueItems", place, "there is no memory for the check");
    for (uint32_t i = 0; i < count && check->steps_left > 0; i++) {
        items[i] = (struct item){.value = cursor, .index = i};
        items[i].hash = schema_equal_hash(cursor, &check->steps_left);
        msgpack_skip(&cursor, NULL);
    }
    bool found = false;
    if (check->steps_left > 0) {
        qsort(items, count, sizeof *items, by_hash);
        found = find_equal(check, items, count, &first, &second);
    }
    free(items);
    if (check->steps_left == 0)
        return give_up(check, node, "uniqueItems", place, "the check takes too long");
    return !found || fault(check, node, "uniqueItems", place, "the items %u and %u are equal",
                           first, second);
}

/* Whether it keeps to the node, without a word, and without moving. */
static bool is_valid(struct check *check, const struct schema_node *node,
                     struct msgpack_cursor cursor, const struct schema_place *place)
{
    struct schema_fault *fault_out = check->fault;
    check->fault = NULL;
    bool valid = check_value(check, node, &cursor, place);
    check->fault = fault_out;
    return valid;
}

static const struct schema_node *node_of_item(const struct schema_node *node, uint32_t i)
{
    return i < node->prefix.count ? node->prefix.list[i] : node->items;
}

static bool check_array(struct check *check, const struct schema_node *node,
                        struct msgpack_cursor *cursor, uint32_t count,
                         const struct schema_place *place)
{
    struct msgpack_cursor first = *cursor;
    bool contained = !node->contains;
    if (count < node->items_min)
        return fault(check, node, "minItems", place, "%u items are too few", count);
    if (count > node->items_max)
        return fault(check, node, "maxItems", place, "%u items are too many", count);
    for (uint32_t i = 0; i < count; i++) {
        struct schema_place here = {.above = place, .index = i};
        const struct schema_node *of_item = node_of_item(node, i);
        if (!contained)
            contained = is_valid(check, node->contains, *cursor, &here);
        if (check->gave_up ||
            !(of_item ? check_value(check, of_item, cursor, &here)
                      : skip(check, node, cursor, &here)))
            return false;
    }
    if (!contained)
        return fault(check, node, "contains", place, "no item is as one must be");
    return !node->unique || check_unique(check, node, first, count, place);
}

/* ---- Objects ---- */

/* Which of the known names have come. */
struct seen {
    uint64_t words[SCHEMA_NAMES_MAX / 64];
    uint16_t required;
};

static bool check_missing(struct check *check, const struct schema_node *node,
                          const struct seen *seen, const struct schema_place *place)
{
    if (seen->required == node->names.required_count)
        return true;
    for (uint16_t i = 0; i < node->names.count; i++) {
        const struct schema_name *name = &node->names.list[i];
        if (name->required && !(seen->words[i / 64] >> i % 64 & 1))
            return fault(check, node, "required", place, "\"%.*s\" is missing",
                         (int)utf8_valid_bytes(name->bytes, name->size < 80 ? name->size : 80),
                         name->bytes);
    }
    return true;
}

/* By every pattern that matches the key; *matched_out: one has. The cursor stays where it is. */
static bool check_patterns(struct check *check, const struct schema_node *node,
                           struct msgpack_cursor cursor, const struct schema_place *place,
                           const struct schema_place *object, bool *matched_out)
{
    for (uint32_t i = 0; i < node->pattern_rule_count; i++) {
        const struct schema_pattern_rule *rule = &node->pattern_rules[i];
        struct msgpack_cursor value = cursor;
        enum schema_match match =
            match_text(check, rule->pattern, place->key, place->key_bytes);
        if (match == SCHEMA_MATCH_GAVE_UP)
            return give_up(check, node, "patternProperties", object,
                           "it would take too long to match a pattern with one of the keys");
        if (match == SCHEMA_MATCH_NO)
            continue;
        *matched_out = true;
        if (!check_value(check, rule->node, &value, place))
            return false;
    }
    return true;
}

static bool check_name(struct check *check, const struct schema_node *node,
                       struct msgpack_cursor key, const struct schema_place *object)
{
    return check_value(check, node->property_names, &key, object);
}

/* The value of one key, at the cursor, which moves behind it. */
static bool check_property(struct check *check, const struct schema_node *node, uint16_t index,
                           struct msgpack_cursor *cursor, const struct schema_place *here)
{
    const struct schema_node *known =
        index == SCHEMA_NONE ? NULL : node->names.list[index].node;
    bool matched = known != NULL;
    if (node->pattern_rule_count > 0 &&
        !check_patterns(check, node, *cursor, here, here->above, &matched))
        return false;
    if (known)
        return check_value(check, known, cursor, here);
    if (matched || !node->additional)
        return skip(check, node, cursor, here);
    if (node->additional->never)
        return fault(check, node, "additionalProperties", here, "there may be no such key");
    return check_value(check, node->additional, cursor, here);
}

static bool note_name(struct check *check, const struct schema_node *node, uint16_t index,
                      struct seen *seen, const struct schema_place *here)
{
    uint64_t bit = UINT64_C(1) << index % 64;
    if (seen->words[index / 64] & bit)
        return fault(check, node, "properties", here, "the key occurs twice");
    seen->words[index / 64] |= bit;
    seen->required = (uint16_t)(seen->required + node->names.list[index].required);
    return true;
}

static bool check_object(struct check *check, const struct schema_node *node,
                         struct msgpack_cursor *cursor, uint32_t count,
                         const struct schema_place *place)
{
    struct seen seen;
    uint16_t guess = 0;
    memset(seen.words, 0, ((size_t)node->names.count + 63) / 64 * sizeof *seen.words);
    seen.required = 0;
    if (count < node->properties_min)
        return fault(check, node, "minProperties", place, "%u keys are too few", count);
    if (count > node->properties_max)
        return fault(check, node, "maxProperties", place, "%u keys are too many", count);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *key_at = cursor->at;
        struct msgpack_value key;
        if (msgpack_head_read(cursor, &key) || key.kind != MSGPACK_KIND_STR)
            return fault(check, node, "", place, "one of the keys is no string");
        struct schema_place here = {.above = place, .key = key.bytes, .key_bytes = key.count};
        if (node->property_names &&
            !check_name(check, node, (struct msgpack_cursor){key_at, cursor->end}, &here))
            return false;
        uint16_t index = schema_names_find(&node->names, key.bytes, key.count, guess);
        if (index != SCHEMA_NONE) {
            guess = (uint16_t)(index + 1);
            if (!note_name(check, node, index, &seen, &here))
                return false;
        }
        if (!check_property(check, node, index, cursor, &here))
            return false;
    }
    return check_missing(check, node, &seen, place);
}

/* ---- Schemas of the same value ---- */

static bool check_any(struct check *check, const struct schema_node *node,
                      struct msgpack_cursor value, const struct schema_place *place)
{
    for (uint32_t i = 0; i < node->any_of.count; i++)
        if (is_valid(check, node->any_of.list[i], value, place))
            return true;
    return node->any_of.count == 0 ||
           fault(check, node, "anyOf", place, "it is as none of the %u alternatives says",
                 node->any_of.count);
}

static bool check_one(struct check *check, const struct schema_node *node,
                      struct msgpack_cursor value, const struct schema_place *place)
{
    uint32_t valid = 0, first = 0;
    for (uint32_t i = 0; i < node->one_of.count; i++) {
        if (!is_valid(check, node->one_of.list[i], value, place))
            continue;
        if (valid++ > 0)
            return fault(check, node, "oneOf", place,
                         "it is as the alternatives %u and %u say, where only one may", first, i);
        first = i;
    }
    return valid == 1 || node->one_of.count == 0 ||
           fault(check, node, "oneOf", place, "it is as none of the %u alternatives says",
                 node->one_of.count);
}

static bool check_by(struct check *check, const struct schema_node *node,
                     struct msgpack_cursor value, const struct schema_place *place)
{
    return !node || check_value(check, node, &value, place);
}

static bool check_if(struct check *check, const struct schema_node *node,
                     struct msgpack_cursor value, const struct schema_place *place)
{
    if (!node->if_)
        return true;
    bool holds = is_valid(check, node->if_, value, place);
    return check_by(check, holds ? node->then : node->else_, value, place);
}

static bool check_more(struct check *check, const struct schema_node *node,
                       struct msgpack_cursor value, const struct schema_place *place)
{
    if (!check_by(check, node->ref, value, place))
        return false;
    for (uint32_t i = 0; i < node->all_of.count; i++)
        if (!check_by(check, node->all_of.list[i], value, place))
            return false;
    if (node->not_ && is_valid(check, node->not_, value, place))
        return fault(check, node, "not", place, "it is as it must not be");
    return check_any(check, node, value, place) && check_one(check, node, value, place) &&
           check_if(check, node, value, place);
}

/* ---- One value ---- */

/* What is inside, or behind, the head that has been read; the cursor moves to the value's end. */
static bool check_inside(struct check *check, const struct schema_node *node,
                         const struct msgpack_value *value, struct msgpack_cursor start,
                         struct msgpack_cursor *cursor, const struct schema_place *place)
{
    switch (value->kind) {
    case MSGPACK_KIND_STR:
        return !node->has_string_rules ||
               check_string(check, node, value->bytes, value->count, place);
    case MSGPACK_KIND_ARRAY:
        if (node->has_array_rules)
            return check_array(check, node, cursor, value->count, place);
        break;
    case MSGPACK_KIND_MAP:
        if (node->has_object_rules)
            return check_object(check, node, cursor, value->count, place);
        break;
    default:
        return true;
    }
    *cursor = start;
    return skip(check, node, cursor, place);
}

static bool check_value(struct check *check, const struct schema_node *node,
                        struct msgpack_cursor *cursor, const struct schema_place *place)
{
    /* Not a copy of all of it (core/msgpack.c). */
    const uint8_t *first = cursor->at;
    struct msgpack_value value;
    char names[SCHEMA_FAULT_TYPES_BYTES];
    if (check->gave_up)
        return false;
    if (check->steps_left == 0)
        return give_up(check, node, "", place, "the check takes too long");
    check->steps_left--;
    if (node->never)
        return fault(check, node, "", place, "nothing is allowed here");
    if (msgpack_head_read(cursor, &value))
        return fault(check, node, "", place, "the bytes are no msgpack");
    struct msgpack_cursor start = {first, cursor->end};
    unsigned types = types_of(&value, node->types);
    if (node->types && !(types & node->types))
        return fault(check, node, "type", place, "%s is not of the type %s", show(check, start),
                     schema_fault_types(node->types, names));
    if (node->has_constants && !check_constants(check, node, &value, start, place))
        return false;
    if (types & SCHEMA_NUMBER && node->number_rules &&
        !check_number(check, node, &value, start, place))
        return false;
    if (!check_inside(check, node, &value, start, cursor, place))
        return false;
    return !node->has_more || check_more(check, node, start, place);
}

bool schema_check(struct schema *schema, const void *payload, size_t payload_bytes,
                  struct schema_fault *fault_out)
{
    struct schema_fault found;
    struct msgpack_cursor cursor = {payload, (const uint8_t *)payload + payload_bytes};
    struct check check = {
        .schema = schema,
        .fault = &found,
        .steps_left = STEPS_MIN + STEPS_PER_BYTE * (uint64_t)payload_bytes,
    };
    found.text[0] = 0;
    bool valid = check_value(&check, schema->root, &cursor, NULL);
    /* A `not`, or an alternative, may have hidden that we gave up. */
    if (valid && !check.gave_up && check.steps_left > 0)
        return true;
    if (!found.text[0] || check.gave_up || check.steps_left == 0)
        fault(&check, schema->root, "", NULL, "the check takes too long");
    if (fault_out)
        *fault_out = found;
    if (schema->scratch.capacity > SCRATCH_KEPT)
        buffer_release(&schema->scratch);
    return false;
}
