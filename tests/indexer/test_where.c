/* Conditions over one event: the answers of SQL, and nothing but the event. */
#include "indexer/where.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/json.h"
#include "segment/reader.h"
#include "tests/indexer/scene.h"
#include "tests/indexer/twin.h"

TestSuite(where, .init = scene_begin, .fini = scene_end);

static struct error error;

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static struct indexer_where *compile(const char *text)
{
    struct indexer_where *where = NULL;
    cr_assert_eq(indexer_where_compile(text, strlen(text), &where, &error), OK, "'%s': %s", text,
                 error.text);
    return where;
}

static void expect_refusal(const char *text, const char *reason)
{
    struct indexer_where *where = NULL;
    error = (struct error){0};
    cr_assert_eq(indexer_where_compile(text, strlen(text), &where, &error), ERROR_INVALID, "'%s'",
                 text);
    cr_assert_str_eq(error.text, reason, "'%s': '%s', not '%s'", text, error.text, reason);
    cr_assert_null(where);
}

/* An event of topic "trade.buy" with a payload that is given as JSON. */
static struct event event_of(const char *json, struct buffer *payload)
{
    struct json_reader *reader = NULL;
    payload->size = 0;
    cr_assert_eq(json_reader_create(&reader, &error), OK);
    cr_assert_eq(json_to_msgpack(reader, json, strlen(json), EVENT_PAYLOAD_DEPTH_MAX, payload,
                                 &error),
                 OK, "%s", error.text);
    json_reader_free(reader);
    return (struct event){
        .sequence = 17,
        .time_ns = INT64_C(1757386981642318000),
        .topic = "trade.buy!", /* … of which 9 bytes are the topic */
        .topic_bytes = 9,
        .payload = payload->data,
        .payload_bytes = payload->size,
    };
}

static bool matches(const char *text, const char *json)
{
    struct buffer payload = {0};
    struct event event = event_of(json, &payload);
    struct indexer_where *where = compile(text);
    bool answer = false;
    cr_assert_eq(indexer_where_match(where, &event, &answer, &error), OK, "'%s': %s", text,
                 error.text);
    indexer_where_free(where);
    buffer_release(&payload);
    return answer;
}

static void expect_failure(const char *text, const char *json, const char *reason)
{
    struct buffer payload = {0};
    struct event event = event_of(json, &payload);
    struct indexer_where *where = compile(text);
    bool answer = false;
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(indexer_where_match(where, &event, &answer, &error), ERROR_INVALID, "'%s'",
                     text);
        cr_assert_str_eq(error.text, reason, "'%s'", text);
    }
    indexer_where_free(where);
    buffer_release(&payload);
}

Test(where, is_true_as_in_a_where_of_sql)
{
    static const struct {
        const char *text;
        bool matches;
    } CASES[] = {
        {"price > 100", true},
        {"price > 200", false},
        {"price > 100 AND side = 'buy'", true},
        {"price", true},
        {"side", false}, /* a text that begins with no number */
        {"zero", false},
        {"nil", false},
        {"NOT nil", false}, /* neither is NULL true, nor its opposite */
        {"nil IS NULL AND missing IS NULL", true},
        {"0.5", true},
        {"'1'", true},
        {"seq = 17 AND ts = 1757386981642318000", true},
        {"seq = '17'", true}, /* as of a column that is an integer */
        {"time = '2025-09-09T03:03:01.642318000Z'", true},
        {"time > '2025-09' AND time < '2026'", true},
        {"topic = 'trade.buy'", true},
        {"topic GLOB 'trade.*'", true},
        {"topic LIKE 'TRADE._UY'", true},
        {"payload LIKE '%\"side\":\"buy\"%'", true},
        {"\"user.id\" = 7", true},
        {"[user.id] = 7 AND `user.id` = 7", true},
        {"\"items[1].size\" = 2.5 AND \"$.items[#-1].size\" = 2.5", true},
        {"user = '{\"id\":7}'", true}, /* what is within is JSON */
        {"json_extract(user, '$.id') = 7 AND payload ->> 'side' = 'buy'", true},
        {"daybook_field(payload, 'user.id') = 7 AND daybook_field(seq, 'price') = 123.5", true},
        {"daybook_field('{\"a\":[1,2]}', 'a[1]') = 2", true},
        {"daybook_field(payload, 'Price') IS NULL", true},
        {"\"payload.time\" = 'never' AND \"payload.topic\" = 3", true},
        {"\"payload.payload\" = 1 AND bytes = 9 AND \"payload.bytes\" = 9", true},
        {"yes AND NOT no", true}, /* true and false are 1 and 0 */
        {"big > 9.2e18", true},
        {"rowid IS NULL AND oid IS NULL", true}, /* fields like others */
        {"SIDE = 'buy' IS NULL", true},          /* … whose names have a case */
        {"SEQ = 17 AND Topic = 'trade.buy'", true},
        {"ts > daybook_time('2025-09-09 03:03') AND ts < daybook_time('now')", true},
        {"note LIKE 'a\\%%' ESCAPE '\\' AND instr(note, 'ü') = 4", true},
        {"instr(note, '') = 1 AND instr(note, 'x') = 0 AND instr(note, NULL) IS NULL", true},
        {"0 AND abs(-9223372036854775808) OR 1 OR json_extract(side, '$')", true},
        {"max(price, 5) = 123.5 AND coalesce(missing, 4) = 4", true},
        {"CASE side WHEN 'buy' THEN 1 ELSE 0 END", true},
        {"price BETWEEN 1 AND 200 AND side IN ('buy', 'sell')", true},
        {"(1, 'a;b--c') = (1, 'a;b--c') AND ')(' = ')('", true},
        {"x'00' IS NOT NULL AND 1e3 = 1000", true},
        {"X = x'00' IS NULL", true},
        {"\n price\t>\r\n100 ", true},
    };
    static const char json[] =
        "{\"price\":123.5,\"side\":\"buy\",\"zero\":0,\"nil\":null,\"user\":{\"id\":7},"
        "\"items\":[{\"size\":1},{\"size\":2.5}],\"time\":\"never\",\"topic\":3,\"payload\":1,"
        "\"bytes\":9,\"yes\":true,\"no\":false,\"big\":18446744073709551615,"
        "\"note\":\"a%bücher\"}";
    for (size_t i = 0; i < COUNT_OF(CASES); i++)
        cr_assert_eq(matches(CASES[i].text, json), CASES[i].matches, "%s", CASES[i].text);
}

Test(where, of_a_payload_that_is_no_map_has_no_fields)
{
    static const char *const PAYLOADS[] = {"[1,2]", "\"price\"", "7", "null", "{}"};
    for (size_t i = 0; i < COUNT_OF(PAYLOADS); i++) {
        cr_assert(matches("price IS NULL", PAYLOADS[i]));
        cr_assert_not(matches("price > 100", PAYLOADS[i]));
    }
    cr_assert(matches("payload = '[1,2]' AND \"$[1]\" = 2", "[1,2]"));
}

Test(where, refuses_with_a_sentence_what_is_no_condition)
{
    static const struct {
        const char *text, *reason;
    } CASES[] = {
        {"", "the condition is empty"},
        {" \n", "the condition is empty"},
        {"prise >", "incomplete input"},
        {"price BETWEEN 1 AND", "incomplete input"},
        {"price price", "near \"price\": syntax error, at position 7"},
        {"price > 1 ORDER BY 1", "near \"ORDER\": syntax error, at position 11"},
        {"nope(1)", "no such function: nope, at position 1"},
        {"(price", "a '(' is not closed"},
        {"1, 2", "row value misused"},
        {"price = 'a", "what begins with ' at position 9 never ends"},
        {"[price", "what begins with [ at position 1 never ends"},
        {"user.id = 1", "a field with a dot in its name has to be in double quotes: \"user.id\""},
        {"\"a[\" = 1",
         "no field can be called \"a[\": path 'a[': byte 3: here a number is missing"},
        {"price > 1 AND Price > 1", "price and Price are one name in SQL; write "
                                    "daybook_field(payload, 'Price') for one of them"},
        {"count(*)", "the function count() is not to be had in a condition"},
        {"max(price)", "misuse of aggregate function max(), at position 1"},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++)
        expect_refusal(CASES[i].text, CASES[i].reason);
}

Test(where, lets_nobody_out_of_its_expression)
{
    static const struct {
        const char *text, *reason;
    } CASES[] = {
        {"1) OR (1", "the ')' at position 2 closes nothing"},
        {"1) LIMIT (1", "the ')' at position 2 closes nothing"},
        {"1); DROP TABLE x; SELECT (1", "the ')' at position 2 closes nothing"},
        {"1; PRAGMA x", "there is a ';' at position 2, but a condition is one expression"},
        {"1 -- )", "'--' at position 3 begins a comment, which a condition cannot have; write "
                   "- (-1) for a minus twice"},
        {"1 /* )", "'/*' at position 3 begins a comment, which a condition cannot have; write "
                   "- (-1) for a minus twice"},
        {"price > ?", "'?' at position 9 has no meaning here; a text has to be in single quotes, "
                      "and a name that has it in double quotes"},
        {"price > :p", "':' at position 9 has no meaning here; a text has to be in single quotes, "
                       "and a name that has it in double quotes"},
        {"@p", "'@' at position 1 has no meaning here; a text has to be in single quotes, and a "
               "name that has it in double quotes"},
        {"$.a", "'$' at position 1 has no meaning here; a text has to be in single quotes, and a "
                "name that has it in double quotes"},
        {"x IN \"\x01\"", "there is a control character, 0x01, at position 7"},
        {"a = '\xff'", "the condition is no UTF-8 at position 6"},
        {"(SELECT 1)", "a condition is one expression over one event: SELECT is not to be had"},
        {"EXISTS (SELECT * FROM json_each(payload))",
         "a condition is one expression over one event: anything but operators and functions is "
         "not to be had"},
        {"price IN (WITH RECURSIVE a(b) AS (SELECT 1 UNION SELECT b + 1 FROM a) SELECT b FROM a)",
         "a condition is one expression over one event: SELECT is not to be had"},
        {"x IN sqlite_master",
         "a condition is one expression over one event: a table is not to be had"},
        {"x IN json_each('[1]')",
         "a condition is one expression over one event: anything but operators and functions is "
         "not to be had"},
        {"load_extension('x')", "the function load_extension() is not to be had in a condition"},
        {"random() > 0", "the function random() is not to be had in a condition"},
        {"randomblob(1000000000)", "the function randomblob() is not to be had in a condition"},
        {"zeroblob(1000000000)", "the function zeroblob() is not to be had in a condition"},
        {"replace(a, b, c)", "the function replace() is not to be had in a condition"},
        {"trim(a, b)", "the function trim() is not to be had in a condition"},
        {"sqlite_version()", "the function sqlite_version() is not to be had in a condition"},
        {"sum(a) OVER ()", "the function sum() is not to be had in a condition"},
        {"RAISE(ABORT, 'x')", "RAISE() may only be used within a trigger-program"},
        {"datetime('now') < time",
         "datetime() may ask the clock, and a condition must give the same answer at any time; "
         "compare time, or ts, as in ts >= daybook_time('2026-01-02 03:04')"},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++)
        expect_refusal(CASES[i].text, CASES[i].reason);

    struct indexer_where *where = NULL;
    cr_assert_eq(indexer_where_compile("1\0 ; x", 6, &where, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, "there is a control character, 0x00, at position 2");
}

static char *repeat(const char *begin, const char *text, size_t times, const char *end)
{
    struct buffer buffer = {0};
    buffer_printf(&buffer, NULL, "%s", begin);
    for (size_t i = 0; i < times; i++)
        buffer_printf(&buffer, NULL, "%s", text);
    buffer_printf(&buffer, NULL, "%s", end);
    buffer_append(&buffer, "", 1, NULL);
    return (char *)buffer.data;
}

Test(where, has_limits_of_length_and_depth)
{
    char *text = repeat("1", " ", INDEXER_WHERE_BYTES_MAX, "");
    expect_refusal(text, "the condition has 4097 bytes, more than 4096");
    free(text);
    text = repeat("", "(", 300, "1");
    text = realloc(text, 700);
    for (size_t i = 0; i < 300; i++)
        strcat(text, ")");
    cr_assert_eq(indexer_where_compile(text, strlen(text), NULL, &error), ERROR_INVALID);
    free(text);
    text = repeat("1", " AND 1", 100, "");
    expect_refusal(text, "Expression tree is too large (maximum depth 100)");
    free(text);
    text = repeat("max(1", ", 1", 20, ")");
    expect_refusal(text, "too many arguments on function max, at position 1");
    free(text);

    struct buffer many = {0};
    for (int i = 0; i <= INDEXER_WHERE_FIELDS_MAX; i++)
        buffer_printf(&many, NULL, "%sf%d", i ? "+" : "", i);
    buffer_append(&many, "", 1, NULL);
    expect_refusal((char *)many.data, "it names more than 64 fields");
    *strrchr((char *)many.data, '+') = '\0';
    indexer_where_free(compile((char *)many.data));
    buffer_release(&many);
}

Test(where, says_for_which_event_it_has_no_value_and_goes_on)
{
    expect_failure("abs(n)", "{\"n\":-9223372036854775808}", "event 17: integer overflow");
    expect_failure("json_extract(s, '$')", "{\"s\":\"{\"}", "event 17: malformed JSON");
    expect_failure("daybook_field(5, 'n')", "{}",
                   "event 17: daybook_field: a condition sees one event: say payload");

    struct buffer bad = {0}, good = {0};
    struct event wrong = event_of("{\"s\":\"{\"}", &bad), right = event_of("{\"s\":\"7\"}", &good);
    struct indexer_where *where = compile("json_extract(s, '$') = 7");
    bool answer = false;
    cr_assert_eq(indexer_where_match(where, &wrong, &answer, &error), ERROR_INVALID);
    cr_assert_eq(indexer_where_match(where, &right, &answer, &error), OK, "%s", error.text);
    cr_assert(answer);
    indexer_where_free(where);
    buffer_release(&bad);
    buffer_release(&good);
}

/* A payload with one long text, at the largest that an event may have. */
static char *long_text(const char *letter)
{
    return repeat("{\"s\":\"", letter, 1000000, "\"}");
}

Test(where, ends_what_takes_too_long)
{
    char *json = long_text("a");
    char *pattern = repeat("s LIKE '%", "a", 999, "b'");
    expect_failure(pattern, json, "event 17: it takes too long");
    expect_failure("s LIKE s", json, "event 17: it takes too long");
    expect_failure("s GLOB s", json, "event 17: it takes too long");
    free(pattern);
    pattern = repeat("length(payload)", " + length(payload)", 60, "");
    expect_failure(pattern, json, "event 17: it takes too long");
    free(pattern);
    /* What is used in earnest does not. */
    cr_assert(matches("s LIKE '%aab%' IS FALSE AND payload NOT GLOB '*b*'", json));
    cr_assert(matches("instr(s, s) = 1 AND instr(s, s || 'b') = 0", json));
    cr_assert(matches("length(payload) = 1000008", json));
    free(json);
    json = long_text("\\u0001"); /* each byte six in JSON */
    cr_assert(matches("length(payload) = 6000008", json));
    expect_failure("length(payload || payload) > 1", json, "event 17: it takes too long");
    free(json);
}

/* "begin" times over, then the middle, then "end" as often. */
static char *nest(const char *begin, const char *middle, const char *end, size_t times)
{
    char *front = repeat("", begin, times, middle);
    char *all = repeat(front, end, times, "");
    free(front);
    return all;
}

/* What SQLite itself does with texts counts nothing: it is paid for when the text is given. */
Test(where, counts_each_function_and_operator_around_a_text)
{
    char *json = repeat("{\"s\":\"", "a", 200000, "\"}");
    char *side = nest("upper(", "s", ")", 20);
    char *text = repeat(side, " IS NULL OR ", 1, side);
    expect_failure(text, json, "event 17: it takes too long");
    free(text);
    free(side);
    text = nest("json(", "payload", ")", 20);
    expect_failure(text, json, "event 17: it takes too long");
    free(text);
    text = repeat("length(s", "||s", 40, ")");
    expect_failure(text, json, "event 17: it takes too long");
    free(text);
    text = repeat("payload", " -> '$'", 60, "");
    expect_failure(text, json, "event 17: it takes too long");
    free(text);
    /* With less around it the same is no trouble. */
    cr_assert(matches("length(upper(lower(s)) || s) = 400000 AND json(payload) -> '$.s' <> s",
                      json));
    free(json);
}

Test(where, has_nothing_that_makes_much_of_little)
{
    expect_refusal("printf('%.1000000c', 'a')",
                   "the function printf() is not to be had in a condition");
    expect_refusal("format('%.1000000c', 'a')",
                   "the function format() is not to be had in a condition");
    expect_refusal("quote('a')", "the function quote() is not to be had in a condition");
    expect_failure("json_extract('[1]', '$', '$') = 1", "{}",
                   "event 17: json_extract() takes one path in a condition");
    char *text = nest("hex(", "'ab'", ")", 18); /* half a million bytes from two */
    expect_failure(text, "{}", "event 17: it takes too long");
    free(text);
    text = nest("hex(", "topic", ")", 18);
    expect_failure(text, "{}", "event 17: it takes too long");
    free(text);
    cr_assert(matches("hex('az\xc3\xbc') = '617AC3BC' AND hex(x'00ff') = '00FF' AND hex(NULL) = '' "
                              "AND hex(12) = '3132'",
                      "{}"));
}

Test(where, knows_which_field_no_event_had)
{
    struct buffer payload = {0};
    struct event event = event_of("{\"price\":1,\"none\":null}", &payload);
    bool answer;
    struct indexer_where *where = compile("price > 2 AND later = 1 OR prise = 1 OR none = 1");
    cr_assert_null(indexer_where_unseen(where));
    cr_assert_eq(indexer_where_match(where, &event, &answer, &error), OK);
    cr_assert_str_eq(indexer_where_unseen(where), "prise", "'later' was never looked for");
    struct buffer other = {0};
    struct event with = event_of("{\"prise\":3}", &other);
    cr_assert_eq(indexer_where_match(where, &with, &answer, &error), OK);
    cr_assert_null(indexer_where_unseen(where));
    indexer_where_free(where);
    buffer_release(&payload);
    buffer_release(&other);
}

/* The same questions to the table of a topic whose columns have no types, as fields have none. */

static const char *const orders[] = {
    "{\"id\":\"a\",\"price\":2,\"count\":3.0,\"at\":{\"city\":\"X\",\"zip\":1},\"paid\":true}",
    "{\"id\":\"b\",\"price\":2.5,\"count\":-4,\"paid\":false,\"at\":{\"city\":null},\"any\":\"1\"}",
    "{\"id\":\"\",\"price\":-0.0,\"count\":9223372036854775807,\"any\":1.0,\"tags\":[1,\"x\"]}",
    "{\"id\":null,\"price\":18446744073709551615,\"count\":18446744073709551615,\"any\":null}",
    "{\"id\":5,\"price\":\"2\",\"count\":\"3\",\"paid\":\"yes\",\"at\":7,\"any\":{\"k\":1}}",
    "{\"id\":\"5\",\"price\":1e300,\"count\":2.5,\"paid\":1,\"any\":[]}",
    "{}",
    "[1,2]",
    "\"text\"",
    "null",
    "7",
    "{\"id\":\"A\",\"price\":100,\"count\":20,\"any\":true,\"time\":5}",
    "{\"id\":\"a\",\"price\":9007199254740993,\"count\":9007199254740993,\"any\":\"x\"}",
};
static const char orders_schema[] =
    "{\"properties\":{\"id\":{},\"price\":{},\"count\":{},\"paid\":{},\"at\":{\"properties\":"
    "{\"city\":{},\"zip\":{}}},\"tags\":{},\"any\":{},\"time\":{}}}";

static const char *const questions[] = {
    "price > 2",
    "price >= '2'",
    "price = 2",
    "price BETWEEN 2 AND 3",
    "id = 'a'",
    "id = 5",
    "id < 'b' COLLATE NOCASE",
    "id",
    "NOT id",
    "id IS NULL",
    "id IN ('a', 5)",
    "count = 3",
    "\"count\" > 9007199254740992",
    "count % 2",
    "paid",
    "paid IS NOT TRUE",
    "paid = 1",
    "at LIKE '%city%'",
    "\"at.city\" = 'X'",
    "\"at.city\" IS NULL AND at IS NOT NULL",
    "\"at.zip\" + 1 = 2",
    "json_type(at) = 'object'",
    "json_array_length(tags) = 2",
    "tags -> 1 = '\"x\"'",
    "any = 1",
    "any",
    "typeof(any) = 'text'",
    "typeof(price) = 'real'",
    "\"payload.time\" = 5",
    "seq % 2 AND seq > '3'",
    "seq || '' = '3'",
    "ts = 2000",
    "ts > '2000'",
    "time > '1970-01-01T00:00:00.000003'",
    "time = 5",
    "topic = 'orders'",
    "topic > 'p'",
    "payload LIKE '%a%'",
    "payload GLOB '*\"paid\":true*'",
    "length(payload) > 20",
    "instr(payload, 'price') = 11",
    "payload ->> '$.price' > 2",
    "json_type(payload) = 'array'",
    "json_type(payload, '$.id') = 'null'",
    "daybook_field(payload, 'at.city') = 'X'",
    "daybook_field(payload, '$[1]') = 2",
    "daybook_field(seq, 'id') = 'a'",
    "id LIKE 'A'",
    "id LIKE '5'",
    "price LIKE '2%'",
    "id GLOB 'a'",
    "id NOT NULL AND id GLOB '[a-z]'",
    "CASE WHEN price > 2 THEN paid ELSE id END",
    "coalesce(paid, any, id) IN ('a', 1)",
    "abs(count) > 3",
    "nullif(id, 'a') IS NULL",
    "iif(price > 2, 1, 0) = 1 AND round(price) <> price",
    "id || '/' || price = 'a/2'",
    "substr(id, 1, 1) = 'a' OR upper(id) = 'B'",
    "(id, price) = ('a', 2)",
    "price IS DISTINCT FROM 2",
    "hex(id) = '61'",
    "CAST(id AS INTEGER) = 5",
    "price > 1 OR NULL",
    "0",
    "1",
};

/* The sequences that pass, as SQL lists them; "error" when one has no value. */
static char *ask_where(const char *question)
{
    struct buffer rows = {0};
    struct segment_reader *reader = NULL;
    struct indexer_where *where = compile(question);
    cr_assert_eq(segment_reader_open(scene_directory(), &reader, &error), OK);
    cr_assert_eq(segment_reader_seek(reader, 1, &error), OK);
    struct event event;
    bool failed = false;
    while (!failed && segment_reader_next(reader, &event, &error) == OK) {
        bool answer = false;
        failed = indexer_where_match(where, &event, &answer, &error) != OK;
        if (answer)
            buffer_printf(&rows, NULL, "%llu\n", (unsigned long long)event.sequence);
    }
    segment_reader_close(reader);
    indexer_where_free(where);
    if (failed)
        rows.size = 0;
    buffer_append(&rows, failed ? "error" : "", failed ? 6 : 1, NULL);
    return (char *)rows.data;
}

static char *ask_sql(sqlite3 *database, const char *question)
{
    char *sql = sqlite3_mprintf("SELECT seq FROM orders WHERE (%s) ORDER BY seq", question);
    struct buffer rows = {0};
    sqlite3_stmt *statement;
    int result;
    cr_assert_eq(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK, "'%s': %s",
                 question, sqlite3_errmsg(database));
    while ((result = sqlite3_step(statement)) == SQLITE_ROW)
        buffer_printf(&rows, NULL, "%lld\n", (long long)sqlite3_column_int64(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    if (result != SQLITE_DONE)
        rows.size = 0;
    buffer_append(&rows, result == SQLITE_DONE ? "" : "error", result == SQLITE_DONE ? 1 : 6, NULL);
    return (char *)rows.data;
}

Test(where, gives_the_answers_of_the_topics_table)
{
    struct segment_log *log = scene_open_log();
    for (size_t i = 0; i < COUNT_OF(orders); i++)
        twin_append(log, "orders", (int64_t)i * 1000, orders[i]);
    twin_close_log(log);
    twin_add_schema("orders", orders_schema);
    sqlite3 *database = twin_open_extended();
    size_t answered = 0;
    for (size_t i = 0; i < COUNT_OF(questions); i++) {
        char *here = ask_where(questions[i]), *there = ask_sql(database, questions[i]);
        cr_assert_str_eq(here, there, "%s: '%s' here, '%s' in the table", questions[i], here,
                         there);
        answered += *here != '\0' && strcmp(here, "error") != 0;
        free(here);
        free(there);
    }
    cr_assert_gt(answered, COUNT_OF(questions) * 2 / 3, "only %zu have an answer", answered);
    sqlite3_close(database);
}
