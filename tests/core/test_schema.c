#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"
#include "core/json.h"
#include "core/schema.h"
#include "tests/support/schemas.h"

static struct error error;

/* Values that keep to a schema, and others that do not; a NULL ends each list. */
struct rule {
    const char *schema;
    const char *good[12];
    const char *bad[12];
};

static const struct rule rules[] = {
    {"true", {"1", "null", "{}", "[[]]"}, {NULL}},
    {"false", {NULL}, {"1", "null", "{}"}},
    {"{}", {"1", "null", "{}", "\"\""}, {NULL}},
    /* type */
    {"{\"type\":\"null\"}", {"null"}, {"0", "false", "\"\"", "[]", "{}"}},
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"0", "null", "\"true\""}},
    {"{\"type\":\"object\"}", {"{}", "{\"a\":1}"}, {"[]", "\"{}\"", "null"}},
    {"{\"type\":\"array\"}", {"[]", "[1]"}, {"{}", "1", "null"}},
    {"{\"type\":\"number\"}", {"0", "-1", "1.5", "1e300"}, {"\"1\"", "null", "NaN", "Infinity"}},
    {"{\"type\":\"integer\"}",
     {"0", "-7", "1.0", "1e20", "18446744073709551615", "-9223372036854775808"},
     {"1.5", "\"1\"", "1e-1", "true"}},
    {"{\"type\":\"string\"}", {"\"\"", "\"1\""}, {"1", "null", "[]"}},
    {"{\"type\":[\"string\",\"null\"]}", {"\"\"", "null"}, {"1", "false", "{}"}},
    {"{\"type\":[\"integer\",\"array\"]}", {"3", "[]"}, {"3.5", "{}"}},
    /* enum, const */
    {"{\"enum\":[1,\"a\",null,{\"b\":[2]}]}",
     {"1", "1.0", "\"a\"", "null", "{\"b\":[2]}", "{\"b\":[2.0]}"},
     {"2", "\"b\"", "false", "{\"b\":[3]}", "{\"b\":[2],\"c\":1}", "{}"}},
    {"{\"enum\":[0]}", {"0", "0.0", "-0.0"}, {"false", "\"\"", "null", "[]"}},
    {"{\"enum\":[[false]]}", {"[false]"}, {"[0]", "[null]", "false"}},
    {"{\"const\":{\"a\":1,\"b\":2}}", {"{\"a\":1,\"b\":2}", "{\"b\":2.0,\"a\":1}"},
     {"{\"a\":1}", "{\"a\":2,\"b\":1}", "[1,2]"}},
    {"{\"const\":{\"role\":\"user\",\"admin\":false}}",
     {"{\"admin\":false,\"role\":\"user\"}"},
     {"{\"role\":\"user\",\"role\":\"user\"}"}},
    {"{\"const\":9007199254740993}", {"9007199254740993"}, {"9007199254740992",
     "9007199254740992.0"}},
    {"{\"const\":\"a\\u0000b\"}", {"\"a\\u0000b\""}, {"\"a\"", "\"a\\u0000c\""}},
    {"{\"enum\":[1,2,3],\"const\":2}", {"2"}, {"1", "3", "4"}},
    {"{\"const\":2,\"enum\":[1,3]}", {NULL}, {"1", "2", "3"}},
    /* numbers */
    {"{\"minimum\":1.1}", {"1.1", "2", "\"x\"", "18446744073709551615"}, {"1.0", "0", "-5"}},
    {"{\"minimum\":-2}", {"-2", "-2.0", "0", "-1.5"}, {"-2.0001", "-3"}},
    {"{\"maximum\":3}", {"3", "3.0", "2.9", "-1"}, {"3.0000001", "4", "1e300"}},
    {"{\"maximum\":18446744073709551615}", {"18446744073709551615", "-1"}, {"1e20"}},
    {"{\"exclusiveMinimum\":0}", {"0.1", "1"}, {"0", "-0.0", "-1"}},
    {"{\"exclusiveMaximum\":3.5}", {"3", "3.4"}, {"3.5", "4"}},
    {"{\"minimum\":9007199254740993}", {"9007199254740993"}, {"9007199254740992",
     "9007199254740992.0"}},
    {"{\"exclusiveMinimum\":-9007199254740992}", {"-9007199254740991.0"},
     {"-9007199254740992.0", "-9007199254740993", "-1e300"}},
    {"{\"minimum\":-9007199254740993}", {"-9007199254740992.0"}, {"-9007199254740994.0"}},
    {"{\"maximum\":9007199254740993}", {"9007199254740992.0"}, {"9007199254740994.0"}},
    {"{\"type\":[\"integer\",\"number\"]}", {"1.5", "1"}, {"\"1\""}},
    {"{\"enum\":[\"\",\"abc\",\"abcde\",\"abcdefghi\",\"abcdefghijklmnopq\"]}",
     {"\"\"", "\"abc\"", "\"abcde\"", "\"abcdefghi\"", "\"abcdefghijklmnopq\""},
     {"\"abd\"", "\"abcdf\"", "\"bbcde\"", "\"abcdefghj\"", "\"abcdefghijklmnopr\"", "1"}},
    {"{\"multipleOf\":2}", {"0", "4", "-4", "4.0", "\"x\""}, {"3", "4.5", "-1"}},
    {"{\"multipleOf\":128}", {"128", "10000000", "100000000", "1e300"},
     {"10", "100", "1000", "10000", "100000", "1000000", "0.128"}},
    {"{\"multipleOf\":1.5}", {"0", "4.5", "3"}, {"35", "4"}},
    {"{\"multipleOf\":0.0001}", {"0.0075", "1", "1e300"}, {"0.00751", "1e-5"}},
    {"{\"multipleOf\":0.1}", {"0.3", "0.7", "1.1", "-2.3"}, {"0.35"}},
    {"{\"multipleOf\":0.123456789}", {"0.123456789", "0"}, {"1e308", "1"}},
    {"{\"multipleOf\":1e-8}", {"12391239123", "0.00000001"}, {"1e-9"}},
    {"{\"minimum\":18446744073709551615}", {"18446744073709551615", "1.8446744073709552e19"},
     {"18446744073709551614", "1.844674407370955e19", "-1", "0"}},
    {"{\"exclusiveMaximum\":18446744073709551615}", {"18446744073709551614", "-1e300"},
     {"18446744073709551615", "18446744073709551616.0"}},
    {"{\"minimum\":-9223372036854775808}", {"-9223372036854775808", "-9223372036854775808.0", "0"},
     {"-9223372036854777856.0", "-1e300"}},
    {"{\"exclusiveMinimum\":-9223372036854775808}", {"-9223372036854775807"},
     {"-9223372036854775808", "-9223372036854775808.0"}},
    {"{\"maximum\":-9223372036854775808}", {"-9223372036854775808", "-1e19"},
     {"-9223372036854775807", "0", "18446744073709551615"}},
    {"{\"maximum\":9007199254740992.5}", {"9007199254740992"}, {"9007199254740993"}},
    {"{\"minimum\":-0.5}", {"0", "-0.0", "-0.5"}, {"-1", "-0.51"}},
    {"{\"maximum\":-0.5}", {"-1", "-9223372036854775808"}, {"0", "18446744073709551615"}},
    {"{\"minimum\":1e300}", {"1e300", "1.1e300"}, {"18446744073709551615", "-1e301"}},
    {"{\"multipleOf\":18446744073709551615}", {"0", "18446744073709551615", "0.0"},
     {"18446744073709551614", "1", "9223372036854775807", "0.5"}},
    {"{\"multipleOf\":9223372036854775807}", {"18446744073709551614", "-9223372036854775807"},
     {"-9223372036854775808", "18446744073709551615"}},
    {"{\"multipleOf\":3}", {"18446744073709551615", "-9223372036854775806", "9e300"},
     {"18446744073709551614", "-9223372036854775808", "1e300"}},
    {"{\"multipleOf\":0.5}", {"18446744073709551615", "-9223372036854775808", "1e300", "0.5"},
     {"0.25", "1e-300"}},
    {"{\"multipleOf\":5e-324}", {"5e-324", "1e-323", "1.5e-323", "1e-300", "1"}, {NULL}},
    {"{\"multipleOf\":1e-323}", {"1e-323", "2e-323", "1"}, {"5e-324", "1.5e-323"}},
    {"{\"multipleOf\":1.7976931348623157e308}", {"1.7976931348623157e308", "0"}, {"1e308", "1"}},
    /* NaN and the infinities are no numbers, for any rule. */
    {"{\"minimum\":0,\"maximum\":1,\"multipleOf\":0.1}", {"NaN", "Infinity", "-Infinity", "0.3"},
     {"2"}},
    {"{\"type\":[\"null\",\"boolean\",\"object\",\"array\",\"number\",\"integer\",\"string\"]}",
     {"1", "null"}, {"NaN", "Infinity", "-Infinity"}},
    {"{\"not\":{\"type\":\"number\"}}", {"NaN", "-Infinity", "\"1\""}, {"1", "1.5"}},
    {"{\"items\":{\"type\":\"number\"}}", {"[1,1e308]"}, {"[1,NaN]", "[-Infinity]"}},
    {"{\"enum\":[0,1e308]}", {"0", "1e308"}, {"NaN", "Infinity"}},
    {"{\"multipleOf\":1e300}", {"1e300", "0", "3e301"}, {"1", "1e299"}},
    /* strings */
    {"{\"minLength\":2}", {"\"ab\"", "\"\xc3\xa4\xc3\xb6\"", "1", "[]"},
     {"\"\"", "\"a\"", "\"\xc3\xa4\"", "\"\xf0\x9f\x92\xa9\""}},
    {"{\"maxLength\":2.0}", {"\"ab\"", "\"\"", "\"\xf0\x9f\x92\xa9\xf0\x9f\x92\xa9\""},
     {"\"abc\""}},
    {"{\"maxLength\":1e20}", {"\"\"", "\"abc\""}, {NULL}},
    {"{\"minLength\":1e20}", {"1"}, {"\"\"", "\"abc\""}},
    {"{\"maxItems\":18446744073709551615,\"minItems\":-0.0}", {"[]", "[1]"}, {NULL}},
    {"{\"minLength\":3,\"maxLength\":3}", {"\"abc\"", "\"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\""},
     {"\"ab\"", "\"abcd\"", "\"\xe2\x82\xac\"", "\"\xe2\x82\xac\xe2\x82\xac\""}},
    {"{\"pattern\":\"^a*$\"}", {"\"aaa\"", "\"\"", "1", "null"}, {"\"abc\"", "\"a\\n\""}},
    {"{\"pattern\":\"a+\"}", {"\"xxaayy\""}, {"\"xyz\"", "\"\""}},
    {"{\"pattern\":\"^\\\\d{2}$\"}", {"\"42\""}, {"\"\xd9\xa4\xd9\xa2\"", "\"4\""}},
    {"{\"pattern\":\"^.$\"}", {"\"\xf0\x9f\x92\xa9\"", "\"a\""}, {"\"ab\"", "\"\""}},
    /* as ECMA-262 has it */
    {"{\"pattern\":\"^\\\\s$\"}",
     {"\" \"", "\"\\t\"", "\"\\u000b\"", "\"\\u00a0\"", "\"\\ufeff\"", "\"\\u2003\"",
     "\"\\u2029\""},
     {"\"\"", "\"x\"", "\"\\u0085\"", "\"\\u200b\"", "\"\\u180e\""}},
    {"{\"pattern\":\"^\\\\S$\"}",
     {"\"x\"", "\"\\u0085\"", "\"\\u200b\"", "\"\xf0\x9f\x92\xa9\""},
     {"\" \"", "\"\\u00a0\"", "\"\\ufeff\"", "\"\\u3000\"", "\"\\n\""}},
    {"{\"pattern\":\"^[\\\\S]$\"}", {"\"x\"", "\"-\"", "\"\\u00a1\"", "\"\xf4\x8f\xbf\xbf\"",
     "\"\\u0000\""},
     {"\" \"", "\"\\u00a0\"", "\"\\u1680\"", "\"\\u202f\"", "\"\\u205f\"", "\"\\ufeff\"",
     "\"\\r\""}},
    {"{\"pattern\":\"^[^\\\\S]$\"}", {"\" \"", "\"\\u00a0\"", "\"\\u200a\""}, {"\"x\"",
     "\"\\u200b\""}},
    {"{\"pattern\":\"^[^\\\\s]$\"}", {"\"x\"", "\"\\u200b\""}, {"\" \"", "\"\\u00a0\""}},
    {"{\"pattern\":\"^.$\"}", {"\"x\"", "\"\\u0085\"", "\"\\u000b\"", "\"\\u000c\"", "\"\\u0000\""},
     {"\"\\n\"", "\"\\r\"", "\"\\u2028\"", "\"\\u2029\"", "\"\""}},
    {"{\"pattern\":\"^[.]\\\\.$\"}", {"\"..\""}, {"\"a.\"", "\".a\""}},
    {"{\"pattern\":\"^[[:alpha:]]$\"}", {"\"a]\"", "\":]\"", "\"[]\""}, {"\"b\"", "\"a\"",
     "\"b]\""}},
    {"{\"pattern\":\"^[]|^[^]b\"}", {"\"ab\"", "\"\\nb\""}, {"\"a\"", "\"]\""}},
    {"{\"pattern\":\"^[\\\\]\\\\\\\\.]$\"}", {"\"]\"", "\"\\\\\"", "\".\""}, {"\"a\""}},
    {"{\"pattern\":\"^\\\\p{Letter}\\\\p{Nd}\\\\p{gc=Uppercase_Letter}"
     "\\\\P{General_Category=digit}\\\\p{L}$\"}",
     {"\"\xc3\xa4\xd9\xa4Zxa\""}, {"\"14Zxa\"", "\"aaZxa\"", "\"a4zxa\"", "\"a4Z9a\"",
     "\"a4Zx1\""}},
    {"{\"pattern\":\"^[\\\\p{Letter}\\\\p{digit}-]+$\"}", {"\"a-\xd9\xa4\xc3\xa4\""},
     {"\"a b\"", "\"_\""}},
    {"{\"pattern\":\"^\\\\p{Script=Greek}$\"}", {"\"\xce\xb1\""}, {"\"a\""}},
    {"{\"pattern\":\"^(?i:a)(?:b)(?=c)(?!d)(?<x>c)(?<=c)(?<!b)"
     "\\\\k<x>\\\\cI\\\\x41\\\\u{1f4a9}$\"}",
     {"\"Abcc\\tA\xf0\x9f\x92\xa9\""}, {"\"ABcc\\tA\xf0\x9f\x92\xa9\""}},
    {"{\"pattern\":\"\"}", {"\"\"", "\"x\""}, {NULL}},
    {"{\"pattern\":\"^\\\\u00e4$\"}", {"\"\xc3\xa4\""}, {"\"a\""}},
    /* format */
    {"{\"format\":\"date-time\"}",
     {"\"1963-06-19T08:30:06.283185Z\"", "\"1963-06-19t08:30:06z\"",
      "\"1990-12-31T15:59:50.123-08:00\"",
      "\"1998-12-31T23:59:60Z\"", "\"1998-12-31T15:59:60.123-08:00\"",
      "\"2020-02-29T00:00:00+23:59\"", "12"},
     {"\"1998-12-31T23:58:60Z\"", "\"1998-12-31T22:59:60Z\"", "\"1990-02-31T15:59:59Z\"",
      "\"1990-12-31T15:59:59-24:00\"", "\"06/19/1963 08:30:06 PST\"", "\"2013-350T01:01:01\"",
      "\"1963-6-19T08:30:06Z\"", "\"1963-06-19T08:30:06\"", "\"1963-06-19T08:30:06.Z\"",
      "\"2021-02-29T00:00:00Z\"", "\"1963-06-19 08:30:06Z\""}},
    {"{\"format\":\"uuid\"}",
     {"\"2EB8AA08-AA98-11EA-B4AA-73B441D16380\"", "\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\"",
      "\"00000000-0000-0000-0000-000000000000\"", "1"},
     {"\"2eb8aa08-aa98-11ea-b4aa-73b441d1638\"", "\"2eb8aa08aa98-11ea-b4aa73b441d16380\"",
      "\"2eb8aa08aa9811eab4aa73b441d16380----\"", "\"2eb8aa08-aa98-11ea-b4ga-73b441d16380\"",
      "\"2eb8-aa08-aa98-11ea-b4aa73b44-1d16380\"", "\"\""}},
    {"{\"format\":\"ipv4\"}", {"\"192.168.0.1\"", "\"0.0.0.0\"", "null"},
     {"\"127.0.0.0.1\"", "\"256.256.256.256\"", "\"127.0\"", "\"0x7f000001\"", "\"2130706433\"",
      "\"087.10.0.1\"", "\"192.168.1.0/24\"", "\" 1.2.3.4\"", "\"1.2.3.4\\u0000\""}},
    {"{\"format\":\"ipv6\"}", {"\"::1\"", "\"::abef\"", "\"::42:ff:1\"", "\"1:2::192.168.0.1\"",
     "\"::ffff:192.168.0.1\""},
     {"\"12345::\"", "\"1:1:1:1:1:1:1:1:1\"", "\"::laptop\"", "\":2:3:4:5:6:7:8\"",
      "\"fe80::a%eth1\"",
      "\"fe80::/64\"", "\"1::d6::42\"", "\"  ::1\"", "\"1:2:3:4:5:6:7\"", "\"127.0.0.1\""}},
    /* arrays */
    {"{\"items\":{\"type\":\"integer\"}}", {"[]", "[1,2]", "{\"0\":\"x\"}"}, {"[1,\"x\"]",
     "[null]"}},
    {"{\"items\":false}", {"[]", "1"}, {"[1]"}},
    {"{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}",
     {"[]", "[1]", "[1,\"x\"]", "[1,\"x\",true]", "1"}, {"[\"x\"]", "[1,2]"}},
    {"{\"prefixItems\":[true,{\"type\":\"string\"}],\"items\":{\"type\":\"integer\"}}",
     {"[null,\"x\",1,2]", "[null]"}, {"[1,\"x\",\"y\"]", "[1,2]"}},
    {"{\"contains\":{\"minimum\":5}}", {"[3,4,5]", "[5]", "{}", "[\"x\"]"}, {"[]", "[1,2]"}},
    {"{\"contains\":{\"const\":5},\"items\":{\"type\":\"integer\"}}", {"[1,5]"}, {"[5,\"x\"]",
     "[1]"}},
    {"{\"minItems\":1}", {"[1]", "[1,2]", "\"\""}, {"[]"}},
    {"{\"maxItems\":2}", {"[1,2]", "[]"}, {"[1,2,3]"}},
    {"{\"uniqueItems\":true}",
     {"[]", "[1]", "[1,2]", "[1,true]", "[0,false]", "[{\"a\":1},{\"a\":2}]", "[[1],[2]]",
      "[\"a\",\"b\"]", "[{\"a\":false},{\"a\":0}]"},
     {"[1,1]", "[1.0,1.00,1]", "[3,2,1,2]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]",
      "[[1,[2]],[1,[2.0]]]", "[\"x\",\"y\",\"x\"]", "[null,null]", "[{\"a\":[{}]},{\"a\":[{}]}]"}},
    {"{\"uniqueItems\":false}", {"[1,1]"}, {NULL}},
    /* objects */
    {"{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}}}",
     {"{}", "{\"a\":1}", "{\"b\":\"x\",\"a\":1,\"c\":[]}", "[]", "12"},
     {"{\"a\":\"x\"}", "{\"b\":1}", "{\"c\":1,\"a\":null}"}},
    {"{\"properties\":{\"a\":true,\"b\":false}}", {"{\"a\":1}"}, {"{\"b\":1}",
     "{\"a\":1,\"b\":2}"}},
    {"{\"properties\":{\"__proto__\":{\"type\":\"number\"},\"a\\nb\":{\"const\":1},\"\":{\"const\":2}}}",
     {"{\"__proto__\":1,\"a\\nb\":1,\"\":2}"}, {"{\"__proto__\":\"x\"}", "{\"a\\nb\":2}",
      "{\"\":1}"}},
    {"{\"required\":[\"a\",\"b\"]}", {"{\"a\":1,\"b\":null}", "[]", "{\"b\":1,\"c\":1,\"a\":1}"},
     {"{}", "{\"a\":1}", "{\"c\":1}"}},
    {"{\"properties\":{\"a\":{}},\"required\":[\"b\",\"a\"]}", {"{\"a\":1,\"b\":1}"},
     {"{\"a\":1}", "{\"b\":1}"}},
    {"{\"required\":[]}", {"{}"}, {NULL}},
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":false}", {"{}", "{\"a\":1}", "1"},
     {"{\"b\":1}", "{\"a\":1,\"b\":1}"}},
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"boolean\"}}", {"{\"a\":1,\"b\":true}"}, {"{\"a\":1,\"b\":1}"}},
    {"{\"patternProperties\":{\"f.*o\":{\"type\":\"integer\"}}}", {"{\"foo\":1}",
     "{\"foooo\":1,\"x\":\"\"}", "[\"foo\"]"}, {"{\"foo\":\"bar\"}", "{\"xfoo\":null}"}},
    {"{\"patternProperties\":{\"a*\":{\"type\":\"integer\"},\"aaa*\":{\"maximum\":20}}}", {"{\"a\":21}", "{\"aaaa\":18}"}, {"{\"a\":\"b\"}", "{\"aaa\":31}", "{\"aaa\":\"f\"}"}},
    {"{\"properties\":{\"foo\":{\"maxItems\":3}},\"patternProperties\":{\"f.o\":{\"minItems\":2}},\"additionalProperties\":{\"type\":\"integer\"}}",
     {"{\"foo\":[1,2]}", "{\"fxo\":[1,2]}", "{\"quux\":3}"}, {"{\"foo\":[]}",
      "{\"foo\":[1,2,3,4]}", "{\"fxo\":[]}", "{\"quux\":\"x\"}"}},
    /* each pattern that matches, beside the name itself; what any knows is not additional */
    {"{\"properties\":{\"ab\":{\"minimum\":1}},\"patternProperties\":{\"^a\":{\"maximum\":9},"
     "\"b$\":{\"multipleOf\":2},\"\":{\"type\":\"integer\"}},\"additionalProperties\":false}",
     {"{\"ab\":2,\"a\":-1,\"b\":100,\"\":7}"},
     {"{\"ab\":0}", "{\"ab\":10}", "{\"ab\":3}", "{\"a\":10}", "{\"b\":3}", "{\"x\":0.5}"}},
    {"{\"patternProperties\":{\"^a\":true,\"^ab\":false}}", {"{\"a\":1}"}, {"{\"ab\":1}"}},
    {"{\"propertyNames\":{\"maxLength\":3}}", {"{\"f\":1,\"foo\":2}", "{}", "[1]"},
     {"{\"foo\":1,\"foobar\":2}"}},
    {"{\"propertyNames\":false}", {"{}"}, {"{\"a\":1}"}},
    {"{\"minProperties\":1}", {"{\"a\":1}", "[]"}, {"{}"}},
    {"{\"maxProperties\":1}", {"{\"a\":1}", "{}"}, {"{\"a\":1,\"b\":2}"}},
    /* schemas of the same value */
    {"{\"allOf\":[{\"minimum\":2},{\"maximum\":4}]}", {"2", "3"}, {"1", "5"}},
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", {"1", "2.5", "3"}, {"1.5"}},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", {"1", "2.5"}, {"3", "1.5"}},
    {"{\"oneOf\":[true,false,false]}", {"1"}, {NULL}},
    {"{\"oneOf\":[false,false]}", {NULL}, {"1"}},
    {"{\"not\":{\"type\":[\"integer\",\"boolean\"]}}", {"\"x\"", "1.5"}, {"1", "true"}},
    {"{\"not\":{\"not\":{\"type\":\"string\"}}}", {"\"x\""}, {"1"}},
    {"{\"if\":{\"exclusiveMaximum\":0},\"then\":{\"minimum\":-10},\"else\":{\"multipleOf\":2}}", {"-1", "4"}, {"-100", "3"}},
    {"{\"if\":{\"const\":0}}", {"0", "1"}, {NULL}},
    {"{\"then\":false,\"else\":false}", {"0", "1"}, {NULL}},
    {"{\"properties\":{\"k\":{\"enum\":[\"a\",\"b\"]}},\"if\":{\"properties\":{\"k\":{\"const\":\"a\"}}},\"then\":{\"required\":[\"x\"]}}",
     {"{\"k\":\"a\",\"x\":1}", "{\"k\":\"b\"}"}, {"{\"k\":\"a\"}", "{\"k\":\"c\"}"}},
    /* references */
    {"{\"$defs\":{\"c\":{\"type\":\"integer\"},\"b\":{\"$ref\":\"#/$defs/c\"}},\"$ref\":\"#/$defs/b\"}", {"5"}, {"\"a\""}},
    {"{\"$defs\":{\"r\":{\"type\":\"array\"}},\"properties\":{\"f\":{\"$ref\":\"#/$defs/r\",\"maxItems\":2}}}", {"{\"f\":[]}"}, {"{\"f\":[1,2,3]}", "{\"f\":\"s\"}"}},
    {"{\"properties\":{\"foo\":{\"$ref\":\"#\"}},\"additionalProperties\":false}", {"{\"foo\":{\"foo\":false}}"}, {"{\"bar\":false}", "{\"foo\":{\"bar\":1}}"}},
    {"{\"$defs\":{\"til~de\":{\"type\":\"integer\"},\"sla/sh\":{\"type\":\"string\"},\"per%cent\":{\"type\":\"null\"}},\"properties\":{\"t\":{\"$ref\":\"#/$defs/til~0de\"},\"s\":{\"$ref\":\"#/$defs/sla~1sh\"},\"p\":{\"$ref\":\"#/$defs/per%25cent\"}}}",
     {"{\"t\":1,\"s\":\"\",\"p\":null}"}, {"{\"t\":\"\"}", "{\"s\":1}", "{\"p\":1}"}},
    {"{\"prefixItems\":[{\"type\":\"integer\"},{\"$ref\":\"#/prefixItems/0\"}]}", {"[1,2]"},
     {"[1,\"x\"]"}},
    {"{\"properties\":{\"$ref\":{\"type\":\"string\"}}}", {"{\"$ref\":\"a\"}"}, {"{\"$ref\":2}"}},
    {"{\"$defs\":{\"node\":{\"properties\":{\"value\":{\"type\":\"number\"},\"next\":{\"$ref\":\"#/$defs/node\"}},\"required\":[\"value\"]}},\"$ref\":\"#/$defs/node\"}",
     {"{\"value\":1}", "{\"value\":1,\"next\":{\"value\":2,\"next\":{\"value\":3}}}"},
     {"{\"value\":1,\"next\":{\"value\":2,\"next\":{}}}", "{\"next\":{\"value\":1}}"}},
    /* what only describes */
    {"{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"$id\":\"urn:x\",\"title\":\"t\",\"description\":\"d\",\"default\":1,\"examples\":[1],\"deprecated\":true,\"readOnly\":false,\"writeOnly\":false,\"$comment\":\"c\"}",
     {"1", "{}"}, {NULL}},
};

Test(schema, decides_each_rule_on_good_and_bad_values)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct schema *schema = schemas_compile(rules[i].schema);
        struct schema_fault fault;
        for (int j = 0; j < 12 && rules[i].good[j]; j++)
            cr_expect(schemas_keeps(schema, rules[i].good[j], &fault), "%s: %s: %s",
                      rules[i].schema, rules[i].good[j], fault.text);
        for (int j = 0; j < 12 && rules[i].bad[j]; j++)
            cr_expect(!schemas_keeps(schema, rules[i].bad[j], &fault), "%s: %s", rules[i].schema,
                      rules[i].bad[j]);
        schema_free(schema);
    }
}

/* WhiteSpace and LineTerminator of ECMA-262. */
static bool is_space(unsigned c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000 || c == 0xfeff;
}

Test(schema, takes_the_white_space_of_unicode_for_white_space_in_patterns)
{
    static const struct {
        const char *schema;
        bool spaces;
    } patterns[] = {
        {"{\"pattern\":\"^\\\\s$\"}", true},
        {"{\"pattern\":\"^[\\\\s]$\"}", true},
        {"{\"pattern\":\"^[^\\\\S]$\"}", true},
        {"{\"pattern\":\"^\\\\S$\"}", false},
        {"{\"pattern\":\"^[\\\\S]$\"}", false},
        {"{\"pattern\":\"^[^\\\\s]$\"}", false},
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct schema *schema = schemas_compile(patterns[i].schema);
        for (unsigned c = 0; c < 0xffff; c++) {
            char text[16];
            bool near_space = is_space(c) || is_space(c + 1) || (c > 0 && is_space(c - 1));
            if (!near_space)
                continue;
            snprintf(text, sizeof text, "\"\\u%04x\"", c);
            cr_expect_eq(schemas_keeps(schema, text, NULL), is_space(c) == patterns[i].spaces,
                         "%s: %s", patterns[i].schema, text);
        }
        schema_free(schema);
    }
}

Test(schema, tells_where_which_rule_and_why)
{
    static const struct {
        const char *schema, *json, *pointer, *rule, *text;
    } cases[] = {
        {"{\"properties\":{\"price\":{\"minimum\":0}}}", "{\"price\":-1}", "/price",
         "#/properties/price/minimum", "-1 is less than the minimum 0"},
        {"{\"properties\":{\"a/b~\":{\"items\":{\"type\":\"string\"}}}}", "{\"a/b~\":[\"x\",2]}",
         "/a~1b~0/1", "#/properties/a~1b~0/items/type", "2 is not of the type string"},
        {"{\"required\":[\"id\"]}", "{}", "", "#/required", "\"id\" is missing"},
        {"{\"additionalProperties\":false}", "{\"x\":1}", "/x", "#/additionalProperties",
         "there may be no such key"},
        {"{\"$defs\":{\"p\":{\"maximum\":1.5}},\"properties\":{\"x\":{\"$ref\":\"#/$defs/p\"}}}",
         "{\"x\":2}", "/x", "#/$defs/p/maximum", "2 is greater than the maximum 1.5"},
        {"{\"enum\":[\"long\",\"short\"]}", "\"flat\"", "", "#/enum",
         "\"flat\" is not one of the values that are allowed"},
        {"{\"type\":[\"string\",\"null\"]}", "7", "", "#/type",
         "7 is not of the type null or string"},
        {"{\"properties\":{\"a\":{}}}", "{\"a\":1,\"a\":2}", "/a", "#/properties",
         "the key occurs twice"},
        {"{\"format\":\"uuid\"}", "\"x\"", "", "#/format", "the text is no uuid"},
        {"{\"multipleOf\":0.01}", "0.125", "", "#/multipleOf", "0.125 is no multiple of 0.01"},
        {"{\"uniqueItems\":true}", "[7,8,7]", "", "#/uniqueItems",
         "the items 0 and 2 are equal"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":5}]}", "3", "", "#/anyOf",
         "it is as none of the 2 alternatives says"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schema *schema = schemas_compile(cases[i].schema);
        struct schema_fault fault;
        cr_assert(!schemas_keeps(schema, cases[i].json, &fault), "%s", cases[i].schema);
        cr_expect_str_eq(fault.pointer, cases[i].pointer);
        cr_expect_str_eq(fault.rule, cases[i].rule);
        cr_expect_str_eq(fault.text, cases[i].text);
        schema_free(schema);
    }
}

Test(schema, cuts_long_values_and_pointers_between_characters)
{
    struct schema *schema = schemas_compile("{\"additionalProperties\":{\"type\":\"null\"}}");
    struct buffer json = {0};
    struct schema_fault fault;
    buffer_append(&json, "{\"", 2, NULL);
    for (int i = 0; i < 200; i++)
        buffer_append(&json, "\xc3\xa4", 2, NULL);
    buffer_append(&json, "\":\"", 3, NULL);
    for (int i = 0; i < 200; i++)
        buffer_append(&json, "\xe2\x82\xac", 3, NULL);
    buffer_append(&json, "\"}", 3, NULL);
    cr_assert(!schemas_keeps(schema, (const char *)json.data, &fault));
    cr_expect_lt(strlen(fault.pointer), sizeof fault.pointer);
    cr_expect(strstr(fault.text, "…") != NULL, "%s", fault.text);
    cr_expect(strstr(fault.text, "is not of the type null") != NULL, "%s", fault.text);
    buffer_release(&json);
    schema_free(schema);
}

Test(schema, refuses_what_is_no_schema_and_what_it_does_not_understand)
{
    static const struct {
        const char *schema, *text;
    } cases[] = {
        {"", "no JSON"},
        {"{\"type\":", NULL},
        {"1", "#: a schema is an object, true or false"},
        {"{\"type\":\"decimal\"}", "#/type: there is no type \"decimal\""},
        {"{\"type\":[]}", "#/type: an empty list allows nothing"},
        {"{\"type\":[\"null\",\"null\"]}", "twice"},
        {"{\"type\":1}", "#/type: it must be a string"},
        {"{\"unevaluatedProperties\":false}",
         "#/unevaluatedProperties: this keyword is not understood"},
        {"{\"dependentRequired\":{}}", "not understood"},
        {"{\"minContains\":1}", "not understood"},
        {"{\"properties\":{\"a\":{\"requierd\":[]}}}", "#/properties/a/requierd: this keyword"},
        {"{\"properties\":[]}", "#/properties: it must be an object"},
        {"{\"properties\":{\"a\":1}}", "#/properties/a: a schema is"},
        {"{\"properties\":{\"a\":{},\"a\":{}}}", "#/properties/a: the key is there twice"},
        {"{\"minimum\":1,\"minimum\":2}", "#/minimum: the key is there twice"},
        {"{\"required\":\"a\"}", "#/required: it must be an array"},
        {"{\"required\":[\"a\",\"a\"]}", "\"a\" is there twice"},
        {"{\"required\":[1]}", "#/required: it must be a string"},
        {"{\"minimum\":\"1\"}", "#/minimum: it must be a number"},
        {"{\"minimum\":NaN}", "#/minimum: it must be a number"},
        {"{\"multipleOf\":0}", "#/multipleOf: it must be greater than 0"},
        {"{\"multipleOf\":-1}", "greater than 0"},
        {"{\"minLength\":-1}", "#/minLength: it must be an integer from 0 on"},
        {"{\"minLength\":1.5}", "integer from 0 on"},
        {"{\"uniqueItems\":1}", "true or false"},
        {"{\"pattern\":\"(\"}", "#/pattern: the pattern is not understood at its byte 1"},
        {"{\"pattern\":\"a..(b\"}", "#/pattern: the pattern is not understood at its byte 5: "},
        {"{\"pattern\":\"ab\\\\Z\"}",
         "the pattern is not understood at its byte 2: ECMA-262 has no such escape"},
        {"{\"pattern\":\"\\\\Qa.b\\\\E\"}", "at its byte 0: ECMA-262 has no such escape"},
        {"{\"pattern\":\"[\\\\h]\"}", "at its byte 1: ECMA-262 has no such escape"},
        {"{\"pattern\":\"\\\\pL\"}", "at its byte 0: ECMA-262 has no such escape"},
        {"{\"pattern\":\"\\\\p{L\"}", "at its byte 0: ECMA-262 has no such escape"},
        {"{\"pattern\":\"\\\\p\"}", "at its byte 0: ECMA-262 has no such escape"},
        {"{\"pattern\":\"\\\\p{Lettuce}\"}", "unknown property"},
        {"{\"pattern\":\"x\\\\\"}", "at its byte 2: "},
        {"{\"pattern\":\"a(?#.)\"}", "at its byte 1: ECMA-262 has no such group"},
        {"{\"pattern\":\"(?i)a\"}", "at its byte 0: ECMA-262 has no such group"},
        {"{\"pattern\":\"(*ACCEPT)\"}", "at its byte 0: ECMA-262 has no such group"},
        {"{\"pattern\":\"(?R)\"}", "at its byte 0: ECMA-262 has no such group"},
        /* Neither a set nor a character is the end of a range. */
        {"{\"pattern\":\"[\\\\s-x]\"}", "invalid range"},
        {"{\"pattern\":\"[+-\\\\s]\"}", "invalid range"},
        {"{\"pattern\":\"[\\\\S-x]\"}", "invalid range"},
        {"{\"pattern\":\"[+-\\\\S]\"}", "invalid range"},
        {"{\"pattern\":\"[z-a]\"}", "at its byte 3: range out of order"},
        {"{\"patternProperties\":{\"[\":{}}}",
         "#/patternProperties/[: the pattern is not understood"},
        {"{\"format\":\"email\"}", "#/format: the format \"email\" is not checked here"},
        {"{\"allOf\":[]}", "#/allOf: an empty list of schemas says nothing"},
        {"{\"allOf\":{}}", "#/allOf: it must be an array"},
        {"{\"enum\":[]}", "#/enum: an empty list allows nothing"},
        {"{\"$ref\":\"other.json\"}", "#/$ref: \"other.json\" is not within this schema"},
        {"{\"$ref\":\"#anchor\"}", "is not within this schema"},
        {"{\"$ref\":\"#/$defs/x\"}", "nothing is at \"#/$defs/x\""},
        {"{\"$ref\":\"#/$defs/%zz\"}", "nothing is at"},
        {"{\"$ref\":1}", "it must be a string"},
        {"{\"$ref\":\"#\"}", "refers to itself"},
        {"{\"allOf\":[{\"$ref\":\"#\"}]}", "refers to itself"},
        {"{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
         "refers to itself"},
        {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "only draft 2020-12"},
        {"{\"properties\":{\"a\":{\"$id\":\"x\"}}}", "#/properties/a/$id: "},
        {"{\"$anchor\":\"x\"}", "not understood"},
        {"{\"$defs\":{\"a\":{\"type\":\"x\"}}}", "#/$defs/a/type: there is no type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schema *schema = NULL;
        const char *text = cases[i].schema;
        cr_expect_eq(schema_compile(text, strlen(text), &schema, &error), ERROR_INVALID, "%s",
                     text);
        cr_expect_null(schema);
        if (cases[i].text && i > 0)
            cr_expect(strstr(error.text, cases[i].text), "%s: %s", text, error.text);
    }
}

Test(schema, has_bounds_that_neither_schema_nor_event_can_pass)
{
    struct schema *schema = NULL;
    struct buffer text = {0};
    /* Within each other. */
    schemas_repeat(&text, "{\"not\":", 5000);
    schemas_repeat(&text, "true", 1);
    schemas_repeat(&text, "}", 5000);
    cr_assert_eq(schema_compile((char *)text.data, text.size, &schema, &error), ERROR_INVALID);
    /* One after the other. */
    text.size = 0;
    for (int length = SCHEMA_CHAIN_MAX - 2; length < 200; length += length < 64 ? 1 : 100) {
        text.size = 0;
        schemas_repeat(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{", 1);
        for (int i = 0; i < length; i++)
            buffer_printf(&text, NULL, "\"d%d\":{\"$ref\":\"#/$defs/d%d\"},", i, i + 1);
        buffer_printf(&text, NULL, "\"d%d\":true}}", length);
        enum error_code code =
            schema_compile((char *)text.data, text.size, &schema, &error);
        cr_assert_eq(code, length + 2 <= SCHEMA_CHAIN_MAX ? OK : ERROR_INVALID, "%d", length);
        if (code)
            cr_assert(strstr(error.text, "in a row"), "%s", error.text);
        else
            schema_free(schema);
    }
    /* Longer than a schema may be. */
    text.size = 0;
    schemas_repeat(&text, " ", SCHEMA_TEXT_BYTES_MAX);
    schemas_repeat(&text, "true", 1);
    cr_assert_eq(schema_compile((char *)text.data, text.size, &schema, &error), ERROR_INVALID);
    cr_assert(strstr(error.text, "bytes"), "%s", error.text);
    buffer_release(&text);
}

Test(schema, gives_up_on_patterns_and_alternatives_that_take_too_long, .timeout = 30)
{
    struct schema_fault fault;
    struct buffer json = {0};
    struct schema *schema = schemas_compile("{\"pattern\":\"^(a+)+$\"}");
    schemas_repeat(&json, "\"", 1);
    schemas_repeat(&json, "a", 40);
    buffer_append(&json, "b\"", 3, NULL);
    cr_assert(!schemas_keeps(schema, (char *)json.data, &fault));
    cr_assert(strstr(fault.text, "too long"), "%s", fault.text);
    schema_free(schema);
    /* Nor may a `not` turn that into good news. */
    schema = schemas_compile("{\"not\":{\"pattern\":\"^(a+)+$\"}}");
    cr_assert(!schemas_keeps(schema, (char *)json.data, &fault));
    schema_free(schema);
    /* Each level twice: 2^30 looks at the innermost value. */
    schema = schemas_compile("{\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"array\",\"maxItems\":0},"
                      "{\"items\":{\"$ref\":\"#/$defs/t\"},\"type\":\"array\"},"
                      "{\"items\":{\"$ref\":\"#/$defs/t\"},\"type\":\"array\"}]}},"
                      "\"$ref\":\"#/$defs/t\"}");
    json.size = 0;
    schemas_repeat(&json, "[", 31);
    schemas_repeat(&json, "1", 1);
    schemas_repeat(&json, "]", 31);
    buffer_append(&json, "", 1, NULL);
    cr_assert(!schemas_keeps(schema, (char *)json.data, &fault));
    cr_assert(strstr(fault.text, "too long"), "%s", fault.text);
    schema_free(schema);
    buffer_release(&json);
}

/* Each backtracks less than what makes the first one give up. */
Test(schema, gives_up_on_texts_that_together_take_too_long, .timeout = 30)
{
    struct schema_fault fault;
    struct buffer json = {0};
    struct schema *schema = schemas_compile("{\"items\":{\"pattern\":\"^(a+)+$|b\"}}");
    schemas_repeat(&json, "[\"aaaaaaaaab\"", 1); /* some 1,000 steps, and then it matches */
    buffer_append(&json, "]", 2, NULL);
    cr_assert(schemas_keeps(schema, (char *)json.data, &fault), "%s", fault.text);
    json.size--;
    json.size--;
    schemas_repeat(&json, ",\"aaaaaaaaab\"", 40000);
    buffer_append(&json, "]", 2, NULL);
    cr_assert(!schemas_keeps(schema, (char *)json.data, &fault));
    cr_assert(strstr(fault.text, "too long"), "%s", fault.text);
    schema_free(schema);
    buffer_release(&json);
}

/* As many as an event may have, of what is equal to nothing and has one hash. */
Test(schema, gives_up_on_items_that_cannot_be_told_apart_by_their_hash, .timeout = 30)
{
    struct schema_fault fault;
    struct buffer payload = {0};
    const uint32_t count = (EVENT_PAYLOAD_BYTES_MAX - 5) / 5;
    const uint8_t head[] = {0xdd, (uint8_t)(count >> 24), (uint8_t)(count >> 16),
                            (uint8_t)(count >> 8), (uint8_t)count};
    buffer_append(&payload, head, sizeof head, NULL);
    for (uint32_t i = 0; i < count; i++)
        buffer_append(&payload, "\xca\x7f\xc0\0\0", 5, NULL);
    struct schema *schema = schemas_compile("{\"uniqueItems\":true}");
    cr_assert(!schema_check(schema, payload.data, payload.size, &fault));
    cr_assert(strstr(fault.text, "too long"), "%s", fault.text);
    schema_free(schema);
    buffer_release(&payload);
}

/* Each text takes the matcher to its limit; the alternative would take all of them in. */
Test(schema, gives_up_at_the_first_text_that_takes_too_long, .timeout = 30)
{
    struct schema_fault fault;
    struct buffer json = {0};
    schemas_repeat(&json, "[0", 1);
    schemas_repeat(&json, ",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", 20000);
    buffer_append(&json, "]", 2, NULL);
    struct schema *schema =
        schemas_compile("{\"items\":{\"anyOf\":[{\"pattern\":\"^(a+)+$\"},true]}}");
    cr_assert(!schemas_keeps(schema, (char *)json.data, &fault));
    schema_free(schema);
    /* Not anchored: the square of the length, however little each try backtracks. */
    json.size = 0;
    schemas_repeat(&json, "\"", 1);
    schemas_repeat(&json, "1", 1000000);
    buffer_append(&json, "x\"", 3, NULL);
    schema = schemas_compile("{\"pattern\":\"[0-9]+$\"}");
    cr_assert(!schemas_keeps(schema, (char *)json.data, &fault));
    cr_assert(strstr(fault.text, "too long"), "%s", fault.text);
    schema_free(schema);
    buffer_release(&json);
}

Test(schema, survives_any_cut_of_a_schema_and_any_cut_of_an_event)
{
    struct json_reader *reader = NULL;
    cr_assert_eq(json_reader_create(&reader, &error), OK, "%s", error.text);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        size_t size = strlen(rules[i].schema);
        for (size_t cut = 0; cut < size; cut++) {
            struct schema *schema = NULL;
            schema_compile(rules[i].schema, cut, &schema, NULL);
            schema_free(schema);
        }
        struct schema *schema = schemas_compile(rules[i].schema);
        for (int j = 0; j < 12 && rules[i].good[j]; j++) {
            struct buffer msgpack = {0};
            json_to_msgpack(reader, rules[i].good[j], strlen(rules[i].good[j]),
                            EVENT_PAYLOAD_DEPTH_MAX, &msgpack, &error);
            for (size_t cut = 0; cut < msgpack.size; cut++) {
                uint8_t *copy = malloc(cut + 1);
                memcpy(copy, msgpack.data, cut);
                schema_check(schema, copy, cut, NULL);
                free(copy);
            }
            buffer_release(&msgpack);
        }
        schema_free(schema);
    }
    json_reader_free(reader);
}

/* 0xc4 is binary, which no JSON type is. */
Test(schema, takes_what_only_msgpack_has_for_no_type)
{
    static const uint8_t binary[] = {0xc4, 1, 7}, numbered[] = {0x81, 1, 2};
    struct schema_fault fault;
    struct schema *schema = schemas_compile("{\"type\":[\"null\",\"boolean\",\"object\",\"array\","
                                     "\"number\",\"string\"]}");
    cr_assert(!schema_check(schema, binary, sizeof binary, &fault));
    schema_free(schema);
    schema = schemas_compile("{}");
    cr_assert(schema_check(schema, binary, sizeof binary, &fault));
    schema_free(schema);
    schema = schemas_compile("{\"properties\":{\"a\":{}}}");
    cr_assert(!schema_check(schema, numbered, sizeof numbered, &fault));
    cr_assert_str_eq(fault.text, "one of the keys is no string");
    schema_free(schema);
}
