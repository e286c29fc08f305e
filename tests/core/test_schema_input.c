/* Schemas and events of strangers: broken, contradictory, too large, or made to take long. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/event.h"
#include "tests/support/schemas.h"

static void expect_refused(const char *text, const char *part)
{
    schemas_expect_refused(text, strlen(text), part);
}

Test(schema_input, refuses_a_text_that_is_no_json)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "not JSON"},
        {" \n", "not JSON"},
        {"{\"type\":", "no"},
        {"{\"type\":\"null\"}}", "byte"},
        {"{'type':'null'}", "byte"},
        {"\xef\xbb\xbf{}", "byte"},
        {"{\"title\":\"\xff\"}", "UTF-8"},
        {"{\"title\":\"\xc3\"}", "UTF-8"},
        {"{\"title\":\"\xed\xa0\x80\"}", "UTF-8"},
        {"{\"pattern\":\"\\ud800\"}", "surrogate"},
        {"{\"\xc0\x80\":1}", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i].text, cases[i].part);
    schemas_expect_refused("{}\0", 3, "byte");
}

Test(schema_input, refuses_numbers_that_no_payload_can_have)
{
    expect_refused("{\"maximum\":18446744073709551616}", "64 bits");
    expect_refused("{\"minimum\":-9223372036854775809}", "64 bits");
    expect_refused("{\"const\":1e999}", "1e999");
    expect_refused("{\"maximum\":NaN}", "#/maximum: it must be a number");
    expect_refused("{\"minimum\":-Infinity}", "#/minimum: it must be a number");
    expect_refused("{\"multipleOf\":NaN}", "#/multipleOf: it must be a number");
    expect_refused("{\"multipleOf\":Infinity}", "#/multipleOf: it must be a number");
    expect_refused("{\"multipleOf\":-0.0}", "#/multipleOf: it must be greater than 0");
    expect_refused("{\"maxItems\":NaN}", "#/maxItems: it must be an integer from 0 on");
    expect_refused("{\"maxItems\":-1e20}", "#/maxItems: it must be an integer from 0 on");
}

/* Whichever of the two a reader takes, the other would not be checked. */
Test(schema_input, refuses_a_key_that_is_there_twice)
{
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"{\"minimum\":1,\"maximum\":2,\"minimum\":1}", "#/minimum: "},
        {"{\"properties\":{\"a\":{},\"b\":{},\"a\":{}}}", "#/properties/a: "},
        {"{\"properties\":{\"\":{},\"\":{}}}", "#/properties/: "},
        {"{\"patternProperties\":{\"x\":{},\"x\":{}}}", "#/patternProperties/x: "},
        {"{\"$defs\":{\"a~/\":true,\"a~/\":true}}", "#/$defs/a~0~1: "},
        {"{\"properties\":{\"a\":{\"not\":{\"type\":\"null\",\"type\":\"null\"}}}}",
         "#/properties/a/not/type: "},
        {"{\"const\":{\"a\":1,\"a\":1}}", "#/const/a: "},
        {"{\"enum\":[0,[{\"a\":1,\"b\":2,\"a\":3}]]}", "#/enum/1/0/a: "},
        {"{\"allOf\":[true,{\"items\":{},\"items\":{}}]}", "#/allOf/1/items: "},
        {"{\"title\":\"a\",\"ti\\u0074le\":\"b\"}", "#/title: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refused(cases[i].text, cases[i].where);
        expect_refused(cases[i].text, "there twice");
    }
    struct schema *schema = schemas_compile("{\"properties\":{\"a\":{\"const\":{\"a\":{}}}}}");
    schema_free(schema);
}

Test(schema_input, takes_no_key_of_an_event_twice_where_there_is_a_rule_for_it)
{
    const char *schema = "{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"b\"]}";
    cr_expect(schemas_takes(schema, "{\"a\":1,\"b\":2,\"c\":3,\"c\":4}"));
    cr_expect_not(schemas_takes(schema, "{\"a\":1,\"b\":2,\"a\":1}"));
    cr_expect_not(schemas_takes(schema, "{\"b\":1,\"b\":2}"));
    /*
     * A key that is there twice does not stand for one that is missing; and what is equal is so
     * with it, too. */
    cr_expect_not(schemas_takes("{\"const\":{\"a\":1,\"b\":2}}", "{\"a\":1,\"a\":1}"));
    cr_expect_not(schemas_takes("{\"uniqueItems\":true}", "[{\"a\":1,\"a\":2},{\"a\":1,\"a\":2}]"));
}

/* ---- References ---- */

Test(schema_input, refuses_references_that_come_back_to_the_same_value)
{
    static const char *const loops[] = {
        "{\"$ref\":\"#\"}",
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/a\"}}}",
        "{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
        "{\"allOf\":[true,{\"$ref\":\"#\"}]}",
        "{\"anyOf\":[{\"$ref\":\"#\"}]}",
        "{\"oneOf\":[{\"$ref\":\"#/oneOf/0\"}]}",
        "{\"not\":{\"not\":{\"$ref\":\"#\"}}}",
        "{\"if\":{\"$ref\":\"#\"}}",
        "{\"if\":true,\"then\":{\"$ref\":\"#\"}}",
        "{\"if\":true,\"else\":{\"$ref\":\"#\"}}",
        "{\"properties\":{\"x\":{\"allOf\":[{\"$ref\":\"#/properties/x\"}]}}}",
    };
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        expect_refused(loops[i], "refers to itself for the same value");
}

Test(schema_input, follows_references_that_get_further_in_the_value)
{
    static const struct {
        const char *schema, *good, *bad;
    } cases[] = {
        {"{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#\"}}}", "{\"x\":{\"x\":{}}}",
         "{\"x\":{\"x\":[]}}"},
        {"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", "[[],[[]]]", "[[],[[1]]]"},
        {"{\"type\":\"array\",\"prefixItems\":[{\"$ref\":\"#\"}]}", "[[[]],1]", "[[1]]"},
        {"{\"maxItems\":1,\"contains\":{\"$ref\":\"#\"}}", "[[[1]]]", "[[[]]]"},
        {"{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#\"}}", "{\"a\":{\"b\":{}}}",
         "{\"a\":{\"b\":1}}"},
        {"{\"type\":\"object\",\"patternProperties\":{\"^x\":{\"$ref\":\"#\"}}}",
         "{\"x1\":{\"x2\":{}},\"y\":1}", "{\"x1\":{\"x2\":1}}"},
        {"{\"maxLength\":2,\"propertyNames\":{\"$ref\":\"#\"}}", "{\"ab\":1}", "{\"abc\":1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect(schemas_takes(cases[i].schema, cases[i].good), "%s", cases[i].schema);
        cr_expect_not(schemas_takes(cases[i].schema, cases[i].bad), "%s", cases[i].schema);
    }
}

Test(schema_input, reads_a_reference_as_a_fragment_first_and_then_as_a_pointer)
{
    static const char definitions[] =
        "\"$defs\":{\"a/b\":{\"const\":1},\"a\":{\"const\":{}},\"m~n\":{\"const\":4},"
        "\"c%d\":{\"const\":5},\"\":{\"const\":6},\"~1\":{\"const\":7},"
        "\"\xc3\xa4 \\\"\":{\"const\":8},"
        "\"0\":{\"anyOf\":[false,{\"const\":10}]}}";
    static const struct {
        const char *reference, *good; /* NULL: nothing is there */
    } cases[] = {
        {"#/$defs/a~1b", "1"},     {"#/%24defs/a~1b", "1"},       {"#/$defs/a%7E1b", "1"},
        {"#/$defs/a%7e1b", "1"},   {"#/$defs/m~0n", "4"},         {"#/$defs/m%7E0n", "4"},
        {"#/$defs/c%25d", "5"},    {"#/$defs/", "6"},             {"#/$defs/~01", "7"},
        {"#/$defs/%c3%A4%20%22", "8"}, {"#/$defs/0/anyOf/1", "10"}, {"#%2F$defs%2Fa~1b", NULL},
        {"#/$defs/a%2Fb", NULL},   {"#/$defs/a%252Fb", NULL},     {"#/$defs/m~n", NULL},
        {"#/$defs/m~2n", NULL},    {"#/$defs/a~", NULL},          {"#/$defs/c%d", NULL},
        {"#/$defs/c%2", NULL},     {"#/$defs/0/anyOf/01", NULL},  {"#/$defs/0/anyOf/2", NULL},
        {"#/$defs/0/anyOf/-", NULL}, {"#/$defs/0/anyOf/ 1", NULL}, {"#/$defs/0/anyOf/", NULL},
        {"#/$defs/0/anyOf/4294967297", NULL}, {"#/$defs/a/const/x", NULL}, {"#/$defs/%ff", NULL},
        {"#//", NULL},             {"#/$defs//x", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char schema[600];
        snprintf(schema, sizeof schema, "{\"items\":{\"$ref\":\"%s\"},%s}",
                 cases[i].reference, definitions);
        if (!cases[i].good) {
            expect_refused(schema, "#/items/$ref: ");
            continue;
        }
        char good[40];
        snprintf(good, sizeof good, "[%s]", cases[i].good);
        cr_expect(schemas_takes(schema, good), "%s", cases[i].reference);
        cr_expect_not(schemas_takes(schema, "[99]"), "%s", cases[i].reference);
    }
    /* "%2F" is a slash of the pointer: RFC 6901, section 6. */
    cr_expect(schemas_takes("{\"$defs\":{\"a\":{\"not\":{\"const\":1}}},"
                            "\"$ref\":\"#/$defs/a%2Fnot\"}", "1"));
}

/* Equal ones once, and together no more than some hundred million values passed. */
Test(schema_input, follows_thousands_of_references_and_gives_up_on_more, .timeout = 60)
{
    struct buffer text = {0};
    schemas_repeat(&text, "{\"$defs\":{\"a\":{\"anyOf\":[false", 1);
    schemas_repeat(&text, ",{\"$ref\":\"#/$defs/z\"}", 40000);
    schemas_repeat(&text, "]},\"z\":{\"const\":1}},\"$ref\":\"#/$defs/a\"}", 1);
    cr_expect(schemas_takes((const char *)text.data, "1"));
    /* The same place in as many ways to write it. */
    text.size = 0;
    schemas_repeat(&text, "{\"$defs\":{\"a\":{\"allOf\":[true", 1);
    for (int i = 0; i < 12000; i++) {
        schemas_repeat(&text, ",{\"$ref\":\"#/$defs/", 1);
        for (int bit = 0; bit < 14; bit++)
            schemas_repeat(&text, i >> bit & 1 ? "%7a" : "z", 1);
        schemas_repeat(&text, "\"}", 1);
    }
    schemas_repeat(&text, "]},\"zzzzzzzzzzzzzz\":true}}", 1);
    schemas_expect_refused(text.data, text.size, "refers too often to too much of itself");
    buffer_release(&text);
}

/* ---- Large schemas ---- */

Test(schema_input, knows_a_thousand_names_of_an_object_and_refuses_ten_thousand)
{
    struct buffer schema = {0}, event = {0};
    for (int count = SCHEMA_NAMES_MAX; count <= 10000; count = count < 10000 ? 10000 : count + 1) {
        schema.size = event.size = 0;
        schemas_repeat(&schema, "{\"additionalProperties\":false,\"required\":[\"p7\"],", 1);
        schemas_repeat(&schema, "\"properties\":{", 1);
        schemas_repeat(&event, "{", 1);
        for (int i = 0; i < count; i++) {
            schemas_append(&schema, "%s\"p%d\":{\"const\":%d}", i ? "," : "", i, i);
            schemas_append(&event, "%s\"p%d\":%d", i ? "," : "", count - 1 - i, count - 1 - i);
        }
        schemas_repeat(&schema, "}}", 1);
        schemas_repeat(&event, "}", 1);
        if (count > SCHEMA_NAMES_MAX) {
            schemas_expect_refused(schema.data, schema.size, "10000 names are too many");
            continue;
        }
        const char *text = (const char *)schema.data;
        cr_expect(schemas_takes(text, (const char *)event.data));
        cr_expect_not(schemas_takes(text, "{\"p7\":7,\"p1023\":0}"));
        cr_expect_not(schemas_takes(text, "{\"p7\":7,\"p1024\":1024}"));
        cr_expect_not(schemas_takes(text, "{\"p8\":8}"));
    }
    /* Of `required` alone, and of both together. */
    schema.size = 0;
    schemas_repeat(&schema, "{\"properties\":{\"a\":true,\"b\":true},\"required\":[\"r0\"", 1);
    for (int i = 1; i < SCHEMA_NAMES_MAX; i++)
        schemas_append(&schema, ",\"r%d\"", i);
    schemas_repeat(&schema, "]}", 1);
    schemas_expect_refused(schema.data, schema.size, "names are too many");
    buffer_release(&schema);
    buffer_release(&event);
}

/* The whole path of each of the thousand nodes would be 400 MB. */
Test(schema_input, keeps_little_of_the_path_to_each_rule)
{
    struct buffer text = {0};
    struct schema_fault fault;
    schemas_repeat(&text, "{\"properties\":{\"", 1);
    schemas_repeat(&text, "\xc3\xa4", 200000);
    schemas_repeat(&text, "\":{\"allOf\":[true", 1);
    schemas_repeat(&text, ",{\"type\":\"null\"}", 1000);
    schemas_repeat(&text, "]},\"b\":{\"type\":\"null\"}}}", 1);
    struct schema *schema = schemas_compile((const char *)text.data);
    text.size = 0;
    schemas_repeat(&text, "{\"", 1);
    schemas_repeat(&text, "\xc3\xa4", 200000);
    schemas_repeat(&text, "\":1}", 1);
    cr_expect_not(schemas_keeps(schema, (const char *)text.data, &fault));
    cr_expect(strncmp(fault.rule, "#/properties/\xc3\xa4", 15) == 0, "%s", fault.rule);
    cr_expect_not(schemas_keeps(schema, "{\"b\":1}", &fault));
    cr_expect_str_eq(fault.rule, "#/properties/b/type");
    schema_free(schema);
    buffer_release(&text);
}

Test(schema_input, refuses_more_patterns_than_a_schema_has_memory_for)
{
    struct buffer text = {0};
    schemas_repeat(&text, "{\"allOf\":[true", 1);
    /* Written out by PCRE2, each takes some 50 KB. */
    schemas_repeat(&text, ",{\"pattern\":\"(?:(?:[ab]c){9}){99}\"}", 20000);
    schemas_repeat(&text, "]}", 1);
    schemas_expect_refused(text.data, text.size, "64 MiB");
    /* Each '.' is a class for PCRE2: the translation is longer than a pattern may be. */
    text.size = 0;
    schemas_repeat(&text, "{\"pattern\":\"", 1);
    schemas_repeat(&text, ".", 5000);
    schemas_repeat(&text, "\"}", 1);
    schemas_expect_refused(text.data, text.size, "at its byte 5000: ");
    buffer_release(&text);
    expect_refused("{\"pattern\":\"((a{999}){999}){999}\"}", "#/pattern: the pattern is not");
    expect_refused("{\"pattern\":\"(*UTF8)\\\\C\"}", "#/pattern: the pattern is not");
}

/* ---- Deep and long events ---- */

/* Each of 32 levels is looked at by a chain as long as one may be. */
static void *check_deep(void *schema)
{
    struct buffer event = {0};
    struct schema_fault fault;
    schemas_repeat(&event, "[", EVENT_PAYLOAD_DEPTH_MAX);
    schemas_repeat(&event, "]", EVENT_PAYLOAD_DEPTH_MAX - 1);
    /* As long as an event that may take so many steps. */
    schemas_repeat(&event, ",\"", 1);
    schemas_repeat(&event, "x", 10000);
    schemas_repeat(&event, "\"]", 1);
    bool keeps = schemas_keeps(schema, (const char *)event.data, &fault);
    cr_expect(keeps, "%s", fault.text);
    buffer_release(&event);
    return keeps ? schema : NULL;
}

static struct schema *compile_chain(int length)
{
    struct buffer text = {0};
    schemas_repeat(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{", 1);
    for (int i = 0; i < length; i++)
        schemas_append(&text, "\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"}]},", i, i + 1);
    schemas_append(&text, "\"d%d\":{\"items\":{\"$ref\":\"#\"}}}}", length);
    struct schema *schema = schemas_compile((const char *)text.data);
    buffer_release(&text);
    return schema;
}

Test(schema_input, checks_the_deepest_event_by_the_longest_chain_on_half_a_stack)
{
    enum { STACK_BYTES = 4 << 20, LINKS = (SCHEMA_CHAIN_MAX - 3) / 2 };
    struct schema *schema = compile_chain(LINKS);
    pthread_attr_t attributes;
    pthread_t thread;
    void *result = NULL;
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
    cr_assert_eq(pthread_create(&thread, &attributes, check_deep, schema), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, schema);
    pthread_attr_destroy(&attributes);
    schema_free(schema);
}

Test(schema_input, finds_the_equal_items_of_the_largest_arrays, .timeout = 60)
{
    struct schema *schema = schemas_compile("{\"uniqueItems\":true}");
    struct schema_fault fault;
    struct buffer event = {0};
    schemas_repeat(&event, "[-1", 1);
    for (int i = 0; i < 180000; i++)
        schemas_append(&event, ",%d", i);
    schemas_repeat(&event, "]", 1);
    cr_expect(schemas_keeps(schema, (const char *)event.data, &fault), "%s", fault.text);
    event.size--;
    schemas_repeat(&event, ",77777.0]", 1);
    cr_expect_not(schemas_keeps(schema, (const char *)event.data, &fault));
    cr_expect_str_eq(fault.text, "the items 77778 and 180001 are equal");
    event.size = 0;
    schemas_repeat(&event, "[{}", 1);
    for (int i = 0; i < 30000; i++)
        schemas_append(&event, ",{\"id\":%d,\"tags\":[\"a\",\"b%d\"]}", i / 2, i % 2);
    schemas_repeat(&event, "]", 1);
    cr_expect(schemas_keeps(schema, (const char *)event.data, &fault), "%s", fault.text);
    event.size--;
    schemas_repeat(&event, ",{\"tags\":[\"a\",\"b1\"],\"id\":4}]", 1);
    cr_expect_not(schemas_keeps(schema, (const char *)event.data, &fault));
    cr_expect_str_eq(fault.text, "the items 10 and 30001 are equal");
    buffer_release(&event);
    schema_free(schema);
}

/* Without a search for each key where the order is the same. */
Test(schema_input, compares_large_objects_within_the_steps_of_their_size)
{
    struct buffer object = {0}, text = {0};
    schemas_repeat(&object, "{\"k\":0", 1);
    for (int i = 0; i < 2000; i++)
        schemas_append(&object, ",\"k%d\":%d", i, i);
    schemas_repeat(&object, "}", 1);
    schemas_repeat(&text, "{\"const\":", 1);
    schemas_repeat(&text, (const char *)object.data, 1);
    schemas_repeat(&text, "}", 1);
    struct schema *schema = schemas_compile((const char *)text.data);
    struct schema_fault fault;
    cr_expect(schemas_keeps(schema, (const char *)object.data, &fault), "%s", fault.text);
    object.data[object.size - 2] ^= 1;
    cr_expect_not(schemas_keeps(schema, (const char *)object.data, &fault));
    cr_expect(strstr(fault.text, "not the one value"), "%s", fault.text);
    schema_free(schema);
    buffer_release(&object);
    buffer_release(&text);
}

/* By their hashes, so that neither the length of the list nor that of the event matters. */
Test(schema_input, finds_a_value_among_thousands_of_constants, .timeout = 60)
{
    struct buffer text = {0};
    struct schema_fault fault;
    schemas_repeat(&text, "{\"items\":{\"enum\":[null,1,1,1.0,NaN,NaN,[NaN],-0.0,\"\",[],{}", 1);
    for (int i = 0; i < 1000; i++)
        schemas_append(&text, ",%d,\"%d\",[%d],{\"a\":%d,\"b\":true},%d.5,%d.0", i * 7, i * 7, i,
                       i, i, i * 7 + 1);
    schemas_repeat(&text, ",18446744073709551615,-9223372036854775808,1e300]}}", 1);
    struct schema *schema = schemas_compile((const char *)text.data);
    static const char *const good[] = {
        "[null,1,1.0,0,-0.0,\"\",[],{}]", "[6993,6993.0,\"6993\",[999],[999.0],999.5,6994]",
        "[{\"b\":true,\"a\":999},{\"a\":0.0,\"b\":true}]",
        "[18446744073709551615,-9223372036854775808,-9223372036854775808.0,1e300]",
    };
    static const char *const bad[] = {
        "[false]", "[2]", "[6995]", "[\"6994\"]", "[[1000]]", "[[1,1]]", "[[[1]]]", "[{\"a\":1}]",
        "[{\"a\":1,\"b\":false}]", "[{\"a\":1,\"b\":true,\"c\":1}]", "[0.25]", "[NaN]", "[[NaN]]",
        "[Infinity]", "[18446744073709551614]", "[1e299]", "[\"a\"]",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(schemas_keeps(schema, good[i], &fault), "%s: %s", good[i], fault.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(schemas_keeps(schema, bad[i], &fault), "%s", bad[i]);
    /* More than the event has steps for, if each were compared with each. */
    text.size = 0;
    schemas_repeat(&text, "[[0]", 1);
    schemas_repeat(&text, ",[998]", 300000);
    schemas_repeat(&text, "]", 1);
    cr_expect(schemas_keeps(schema, (const char *)text.data, &fault), "%s", fault.text);
    schema_free(schema);
    buffer_release(&text);
}

Test(schema_input, takes_a_constant_that_is_there_thousands_of_times, .timeout = 30)
{
    static const struct {
        const char *text;
        int count;
    } constants[] = {{"0,", 500000}, {"NaN,", 250000}, {"[NaN],", 150000}};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        struct buffer text = {0};
        schemas_repeat(&text, "{\"enum\":[", 1);
        schemas_repeat(&text, constants[i].text, constants[i].count);
        schemas_repeat(&text, "1]}", 1);
        cr_expect(schemas_takes((const char *)text.data, "1"));
        cr_expect_not(schemas_takes((const char *)text.data, "2"));
        buffer_release(&text);
    }
}
