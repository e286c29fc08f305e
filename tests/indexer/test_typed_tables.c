/* The tables of topics: columns from schemas and indexed fields, and what they hold. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "indexer/extension.h"
#include "indexer/query.h"
#include "tests/indexer/scene.h"
#include "tests/indexer/twin.h"

TestSuite(typed_tables, .init = scene_begin, .fini = scene_end);

static struct error error;

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static void write_topic(const char *topic, const char *const *payloads, size_t count)
{
    struct segment_log *log = scene_open_log();
    for (size_t i = 0; i < count; i++)
        twin_append(log, topic, (int64_t)i * 1000, payloads[i]);
    twin_close_log(log);
}

static void expect_columns(sqlite3 *database, const char *table, const char *columns)
{
    char *sql = sqlite3_mprintf("SELECT group_concat(name || ' ' || type, ', ') FROM"
                                " pragma_table_info(%Q)",
                                table);
    char *rows = sqlite3_mprintf("%s\n", columns);
    twin_expect(database, sql, rows);
    sqlite3_free(sql);
    sqlite3_free(rows);
}

static const char *const orders[] = {
    "{\"id\":\"a\",\"price\":2,\"count\":3.0,\"at\":{\"city\":\"X\",\"zip\":1},\"paid\":true}",
    "{\"id\":\"b\",\"price\":2.5,\"count\":-4,\"paid\":false,\"at\":{\"city\":null},\"any\":\"1\"}",
    "{\"id\":\"\",\"price\":-0.0,\"count\":9223372036854775807,\"any\":1.0,\"tags\":[1,\"x\"]}",
    "{\"id\":null,\"price\":18446744073709551615,\"count\":18446744073709551615,\"any\":null}",
    "{\"id\":5,\"price\":\"2\",\"count\":\"3\",\"paid\":\"yes\",\"at\":7,\"any\":{\"k\":1}}",
    "{\"id\":\"5\",\"price\":1e300,\"count\":2.5,\"paid\":1,\"any\":[]}",
    "{}", "[1,2]", "\"text\"", "null", "7",
    "{\"id\":\"A\",\"price\":100,\"count\":20,\"any\":true}",
    "{\"id\":\"a\",\"price\":9007199254740993,\"count\":9007199254740993,\"any\":\"x\"}",
};
static const char orders_schema[] =
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},"
    "\"price\":{\"type\":\"number\"},\"count\":{\"type\":\"integer\"},"
    "\"paid\":{\"type\":\"boolean\"},\"at\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"zip\":{\"type\":[\"integer\",\"string\"]}}},"
    "\"tags\":{\"type\":\"array\"},\"any\":{}}}";
static const char orders_columns[] =
    "id TEXT, price REAL, \"count\" INTEGER, paid BOOLEAN, at TEXT, \"at.city\" TEXT, \"at.zip\","
    " tags TEXT, \"any\"";

static sqlite3 *open_orders(void)
{
    write_topic("orders", orders, COUNT_OF(orders));
    twin_add_schema("orders", orders_schema);
    return twin_open_extended();
}

Test(typed_tables, have_the_columns_of_the_schema_in_its_order)
{
    sqlite3 *database = open_orders();
    expect_columns(database, "orders",
                   "seq INTEGER, ts INTEGER, time TEXT, id TEXT, price REAL, count INTEGER,"
                   " paid BOOLEAN, at TEXT, at.city TEXT, at.zip , tags TEXT, any ");
    twin_expect(database, "SELECT group_concat(name) FROM pragma_table_xinfo('orders')"
                          " WHERE hidden",
                "topic,segment,offset,bytes,payload\n");
    twin_expect(database, "SELECT DISTINCT topic, segment FROM orders", "orders|1\n");
    sqlite3_close(database);
}

Test(typed_tables, give_each_value_as_sql_has_it)
{
    sqlite3 *database = open_orders();
    twin_expect(database,
                "SELECT id, price, \"count\", paid, at, \"at.city\", \"at.zip\", tags, \"any\""
                " FROM orders ORDER BY seq LIMIT 6",
                "a|2.0|3|1|{\"city\":\"X\",\"zip\":1}|X|1|NULL|NULL\n"
                "b|2.5|-4|0|{\"city\":null}|NULL|NULL|NULL|1\n"
                "|0.0|9223372036854775807|NULL|NULL|NULL|NULL|[1,\"x\"]|1.0\n"
                "NULL|1.84467440737096e+19|1.84467440737096e+19|NULL|NULL|NULL|NULL|NULL|NULL\n"
                "5|2|3|yes|7|NULL|NULL|NULL|{\"k\":1}\n"
                "5|1.0e+300|2.5|1|NULL|NULL|NULL|NULL|[]\n");
    twin_expect(database, "SELECT count(*), count(id), count(price) FROM orders", "13|7|8\n");
    twin_expect(database, "SELECT typeof(price), typeof(\"count\"), typeof(\"any\"),"
                          " price / 4, json_type(at) FROM orders WHERE seq = 1",
                "real|integer|null|0.5|object\n");
    sqlite3_close(database);
}

/* Two plain tables would give two answers to the values that are not of their column's type: a
 * table that stores 5 in a TEXT column has '5'. So these are not among the questions. */
Test(typed_tables, answer_as_a_plain_table)
{
    static const char *const conditions[] = {
        "id = 'a'", "id = 'A'", "id = 'A' COLLATE NOCASE", "id > 'a'", "id IN ('a', 'b', '')",
        "id LIKE 'A'", "id IS NULL", "id IS NOT NULL", "id = ''", "price = 2", "price = 2.0",
        "price = '2'", "price > 2", "price BETWEEN 2 AND 100", "price < 0.5", "\"count\" = 3",
        "\"count\" >= 9223372036854775807", "\"count\" < -3", "\"count\" = 2.5", "paid", "NOT paid",
        "paid = 1", "paid IS FALSE", "\"at.city\" = 'X'", "tags = '[1,\"x\"]'", "\"any\" = 1",
        "\"any\" = '1'", "\"any\" > 'a'", "\"any\" = 1.0", "seq > 3 AND id = 'a'", "ts < 3000",
        "time < '1970-01-01T00:00:00.000003Z' AND price > 1", "id = 'a' OR price = 2.5",
        "price = 9007199254740993", "price = 9007199254740992", "\"count\" = 9007199254740993",
        "\"count\" = 9007199254740992.0", "price > 9007199254740992", "price >= 1e300",
        "price < 9007199254740993",
    };
    sqlite3 *database = open_orders();
    sqlite3_exec(database, "PRAGMA query_only = 0", NULL, NULL, NULL);
    for (int indexed = 0; indexed < 3; indexed++) {
        twin_add_topic(database, "orders", orders_columns);
        for (size_t i = 0; i < COUNT_OF(conditions); i++) {
            char question[512];
            snprintf(question, sizeof question,
                     "SELECT seq, price, \"count\", \"any\" FROM $orders WHERE seq NOT IN (5, 6)"
                     " AND (%s) ORDER BY seq",
                     conditions[i]);
            twin_expect_same(database, question);
            snprintf(question, sizeof question,
                     "SELECT count(*), max(id), sum(price) FROM $orders WHERE (%s) AND"
                     " seq NOT IN (5, 6)",
                     conditions[i]);
            twin_expect_same(database, question);
        }
        sqlite3_close(database);
        twin_index_field("orders", indexed ? "count any tags" : "id price paid at.city");
        database = twin_open_extended();
        sqlite3_exec(database, "PRAGMA query_only = 0", NULL, NULL, NULL);
    }
    sqlite3_close(database);
}

/* A column of texts compares numbers as texts: '100.5' < '20'. */
Test(typed_tables, are_not_asked_by_an_index_whose_values_the_column_converts)
{
    static const char *const numbers[] = {"{\"x\":100.5,\"y\":\"5\",\"z\":9007199254740993}",
                                          "{\"x\":9.5,\"y\":\"50\",\"z\":1}",
                                          "{\"x\":30.5,\"y\":\"4\"}"};
    write_topic("t", numbers, COUNT_OF(numbers));
    twin_add_schema("t", "{\"properties\":{\"x\":{\"type\":\"string\"},"
                         "\"y\":{\"type\":\"integer\"},"
                         "\"z\":{\"type\":\"number\"}}}");
    twin_index_field("t", "x y z");
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT seq FROM t WHERE x < 20 ORDER BY seq", "1\n");
    twin_expect(database, "SELECT seq FROM t WHERE x > 20 ORDER BY seq", "2\n3\n");
    twin_expect(database, "SELECT seq FROM t WHERE x = '9.5'", "2\n");
    twin_expect(database, "SELECT seq FROM t WHERE y < '4x' ORDER BY seq", "1\n2\n3\n");
    twin_expect(database, "SELECT seq FROM t WHERE y = 50", "2\n");
    twin_expect(database, "SELECT seq FROM t WHERE z = 9007199254740992", "1\n");
    twin_expect(database, "SELECT seq FROM t WHERE z < 9007199254740993", "1\n2\n");
    twin_expect(database, "SELECT seq FROM t WHERE z < 5", "2\n");
    sqlite3_close(database);
}

Test(typed_tables, rename_columns_that_sql_would_take_for_others)
{
    static const char *const payloads[] = {
        "{\"seq\":7,\"TS\":8,\"time\":9,\"topic\":\"x\",\"payload\":\"p\",\"Id\":1,\"id\":2,"
        "\"a.b\":3,\"a\":{\"b\":4},\"\":5,\"q\\\"q\":6,\"\\u00e4 \\u20ac\":10,\"select\":11}"};
    write_topic("odd", payloads, 1);
    twin_add_schema("odd", "{\"properties\":{\"seq\":{},\"TS\":{},\"time\":{},\"topic\":{},"
                           "\"payload\":{},\"Id\":{},\"id\":{},\"a.b\":{},"
                           "\"a\":{\"type\":\"object\",\"properties\":{\"b\":{}}},\"\":{},"
                           "\"q\\\"q\":{},\"\\u00e4 \\u20ac\":{},\"select\":{}}}");
    sqlite3 *database = twin_open_extended();
    twin_expect(database,
                "SELECT seq, \"payload.seq\", \"payload.TS\", \"payload.time\", \"payload.topic\","
                " \"payload.payload\", Id, \"payload.id\", \"a.b\", \"payload.a.b\", \"\","
                " \"q\"\"q\", \"ä €\", \"select\" FROM odd",
                "1|7|8|9|x|p|1|2|3|4|5|6|10|11\n");
    sqlite3_close(database);
}

Test(typed_tables, follow_references_and_all_of)
{
    static const char *const payloads[] = {"{\"a\":1,\"b\":\"x\",\"c\":{\"d\":2.5}}"};
    write_topic("refs", payloads, 1);
    twin_add_schema("refs", "{\"allOf\":[{\"$ref\":\"#/$defs/base\"},{\"properties\":{\"c\":{"
                            "\"$ref\":\"#/$defs/inner~1x\"}}}],\"$defs\":{\"base\":{"
                            "\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"enum\":"
                            "[\"x\",\"y\"]}}},"
                            "\"inner/x\":{\"type\":\"object\",\"properties\":{\"d\":{\"type\":"
                            "\"number\"}}}}}");
    sqlite3 *database = twin_open_extended();
    expect_columns(database, "refs", "seq INTEGER, ts INTEGER, time TEXT, a INTEGER, b TEXT,"
                                     " c TEXT, c.d REAL");
    twin_expect(database, "SELECT a, b, \"c.d\" FROM refs", "1|x|2.5\n");
    sqlite3_close(database);
}

/* 200 references to a definition of 200 references …: nobody lives to see the end of it. */
Test(typed_tables, are_made_in_bounded_time_whatever_a_schema_repeats)
{
    struct buffer json = {0};
    buffer_printf(&json, NULL, "{\"properties\":{\"x\":{}},\"allOf\":[{\"$ref\":\"#/$defs/a0\"}],"
                               "\"$defs\":{");
    for (int level = 0; level < 3; level++) {
        buffer_printf(&json, NULL, "\"a%d\":{\"allOf\":[", level);
        for (int i = 0; i < 1500; i++)
            buffer_printf(&json, NULL, "%s{\"$ref\":\"#/$defs/a%d\"}", i ? "," : "", level + 1);
        buffer_printf(&json, NULL, "]},");
    }
    buffer_printf(&json, NULL, "\"a3\":{\"properties\":{\"y\":{}}}}}");
    buffer_append(&json, "", 1, NULL);
    static const char *const payloads[] = {"{\"x\":1}"};
    write_topic("loops", payloads, 1);
    twin_add_schema("loops", (char *)json.data);
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT x FROM loops", "1\n");
    sqlite3_close(database);
    buffer_release(&json);
}

Test(typed_tables, of_very_many_columns_leave_out_the_last_ones)
{
    struct buffer schema = {0}, payload = {0};
    for (int i = 0; i < 600; i++) {
        buffer_printf(&schema, NULL, "%s\"c%d\":{\"type\":\"integer\"}", i ? "," : "", i);
        buffer_printf(&payload, NULL, "%s\"c%d\":%d", i ? "," : "", i, i * 2);
    }
    char *json = sqlite3_mprintf("{\"properties\":{%.*s}}", (int)schema.size, schema.data);
    char *event = sqlite3_mprintf("{%.*s}", (int)payload.size, payload.data);
    write_topic("wide", (const char *const[]){event}, 1);
    twin_add_schema("wide", json);
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT count(*) BETWEEN 390 AND 400 FROM pragma_table_info('wide')",
                "1\n");
    twin_expect(database, "SELECT c0, c59, c60, c61, c62, c63, c64, c390, json_extract(payload,"
                          " '$.c599') FROM wide",
                "0|118|120|122|124|126|128|780|1198\n");
    twin_expect(database, "SELECT c300 FROM wide WHERE c200 = 400 AND c390 > 5", "600\n");
    sqlite3_free(json);
    sqlite3_free(event);
    buffer_release(&schema);
    buffer_release(&payload);
    sqlite3_close(database);
}

Test(typed_tables, have_another_name_where_theirs_is_taken)
{
    static const char *const topics[] = {"events", "Topics", "sqlite_x", "case", "CASE", "Case",
                                         "topic.events", "a:b/c.d-e", "1", "rowid"};
    struct segment_log *log = scene_open_log();
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        char json[32];
        snprintf(json, sizeof json, "{\"x\":%zu}", i);
        twin_append(log, topics[i], 1, json);
    }
    twin_close_log(log);
    for (size_t i = 0; i < COUNT_OF(topics); i++)
        twin_add_schema(topics[i], "{\"properties\":{\"x\":{}}}");
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT x FROM \"topic.events\"", "0\n");
    twin_expect(database, "SELECT x FROM \"topic.Topics\"", "1\n");
    twin_expect(database, "SELECT x FROM \"topic.sqlite_x\"", "2\n");
    twin_expect(database, "SELECT x FROM \"case\"", "3\n");
    twin_expect(database, "SELECT x FROM \"topic.CASE\"", "4\n");
    twin_expect(database, "SELECT x FROM \"topic.topic.Case\"", "5\n");
    twin_expect(database, "SELECT x FROM \"topic.topic.events\"", "6\n");
    twin_expect(database, "SELECT x FROM \"a:b/c.d-e\"", "7\n");
    twin_expect(database, "SELECT x FROM \"1\"", "8\n");
    twin_expect(database, "SELECT x FROM \"rowid\"", "9\n");
    twin_expect(database, "SELECT count(*) FROM events", "10\n");
    twin_expect(database, "SELECT count(*) FROM topics", "10\n");
    sqlite3_close(database);
}

Test(typed_tables, are_there_for_topics_with_indexed_fields_alone)
{
    scene_write(300);
    scene_index();
    twin_index_field("sensor/1", "n");
    twin_index_field("nobody", "x");
    sqlite3 *database = twin_open_extended();
    expect_columns(database, "sensor/1", "seq INTEGER, ts INTEGER, time TEXT, n ");
    twin_expect(database, "SELECT count(*), sum(n = seq) FROM \"sensor/1\"", "59|59\n");
    twin_expect(database, "SELECT count(*) FROM nobody", "0\n");
    twin_expect(database, "SELECT count(*) FROM nobody WHERE x = 1", "0\n");
    sqlite3_close(database);
}

static void doctor(const char *sql)
{
    sqlite3 *database = scene_open_database();
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(database));
    sqlite3_close(database);
}

/* Where the field's table has lost a row, the answer has, too: so that is where it is from. */
Test(typed_tables, ask_the_index_of_a_field_when_it_is_complete)
{
    static const char *const payloads[] = {"{\"u\":\"x\",\"n\":1}", "{\"u\":\"y\",\"n\":2}",
                                           "{\"u\":\"x\",\"n\":3}", "{\"u\":\"z\",\"n\":4}"};
    write_topic("t", payloads, COUNT_OF(payloads));
    twin_index_field("t", "u n");
    int64_t u = scene_number("SELECT id FROM field_rows WHERE path = '$.u' OR path = 'u'");
    char sql[128];
    snprintf(sql, sizeof sql, "DELETE FROM field_%lld WHERE seq = 3", (long long)u);
    doctor(sql);
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT seq FROM t WHERE u = 'x' ORDER BY seq", "1\n");
    twin_expect(database, "SELECT seq FROM t WHERE u >= 'x' ORDER BY seq", "1\n2\n4\n");
    twin_expect(database, "SELECT seq FROM t WHERE u > 'w' AND u < 'y' ORDER BY seq", "1\n");
    twin_expect(database, "SELECT seq FROM t WHERE u IN ('x', 'z') ORDER BY seq", "1\n4\n");
    /* What needs conversion, another collation, or no value is not asked there. */
    twin_expect(database, "SELECT seq FROM t WHERE u = 'X' COLLATE NOCASE ORDER BY seq", "1\n3\n");
    twin_expect(database, "SELECT seq FROM t WHERE u LIKE 'x' ORDER BY seq", "1\n3\n");
    twin_expect(database, "SELECT seq FROM t WHERE u IS NOT NULL ORDER BY seq", "1\n2\n3\n4\n");
    twin_expect(database, "SELECT seq FROM t WHERE +u = 'x' ORDER BY seq", "1\n3\n");
    twin_expect(database, "SELECT seq FROM t WHERE u = 'x' AND n = 3", "");
    sqlite3_close(database);
}

Test(typed_tables, do_not_ask_the_index_of_a_field_that_is_not_complete)
{
    static const char *const unfinished[] = {
        "UPDATE field_rows SET done_seq = until_seq - 1",
        "UPDATE field_rows SET lost_seq = (SELECT bound FROM state)",
    };
    static const char *const payloads[] = {"{\"u\":\"x\"}", "{\"u\":\"y\"}", "{\"u\":\"x\"}"};
    write_topic("t", payloads, COUNT_OF(payloads));
    twin_index_field("t", "u");
    doctor("DELETE FROM field_1 WHERE seq = 3");
    for (size_t i = 0; i < COUNT_OF(unfinished); i++) {
        scene_copy("events.db", "whole.db");
        doctor(unfinished[i]);
        sqlite3 *database = twin_open_extended();
        twin_expect(database, "SELECT seq FROM t WHERE u = 'x' ORDER BY seq", "1\n3\n");
        sqlite3_close(database);
        scene_copy("whole.db", "events.db");
    }
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT seq FROM t WHERE u = 'x' ORDER BY seq", "1\n");
    /* … nor one that was complete when the table was made. */
    doctor(unfinished[0]);
    twin_expect(database, "SELECT seq FROM t WHERE u = 'x' ORDER BY seq", "1\n3\n");
    sqlite3_close(database);
}

/* Nonsense in the field's table costs rows or gives an error; never another event's values. */
/* The index is believed, as it is for times and topics; but not in what events there are. */
Test(typed_tables, give_no_event_that_only_a_damaged_field_knows)
{
    static const char *const payloads[] = {"{\"u\":\"x\"}", "{\"u\":\"y\"}", "{\"u\":\"x\"}"};
    write_topic("t", payloads, COUNT_OF(payloads));
    twin_index_field("t", "u");
    doctor("UPDATE field_1 SET value = 'x'; INSERT INTO field_1 VALUES (77, 'x'), (-5, 'x')");
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT seq, u FROM t WHERE u = 'x' ORDER BY seq", "1|x\n2|x\n3|x\n");
    sqlite3_close(database);
}

Test(typed_tables, of_a_damaged_catalogue_are_missing_and_events_are_there)
{
    static const char *const payloads[] = {"{\"u\":\"x\"}"};
    write_topic("t", payloads, 1);
    twin_add_schema("t", "{\"properties\":{\"u\":{}}}");
    scene_copy("schemas", "whole");
    scene_flip("schemas/catalogue", 30);
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT payload FROM events", "{\"u\":\"x\"}\n");
    twin_expect_error(database, "SELECT u FROM t", SQLITE_ERROR, "no such table");
    sqlite3_close(database);
    scene_copy("whole", "schemas");
    scene_flip("schemas/t.1.json", 3);
    database = twin_open_extended();
    twin_expect(database, "SELECT payload FROM events", "{\"u\":\"x\"}\n");
    sqlite3_close(database);
}

static enum error_code attach_again(sqlite3 *database)
{
    return indexer_extension_attach(database, "main", &(struct indexer_watcher){0}, &error);
}

Test(typed_tables, change_with_the_schema_when_the_extension_is_attached_again)
{
    static const char *const payloads[] = {"{\"u\":\"x\",\"v\":2}"};
    write_topic("t", payloads, 1);
    twin_add_schema("t", "{\"properties\":{\"u\":{}}}");
    sqlite3 *database = twin_open_extended();
    twin_expect(database, "SELECT * FROM t", "1|0|1970-01-01T00:00:00.000000000Z|x\n");
    twin_add_schema("t", "{\"properties\":{\"v\":{}}}");
    cr_assert_eq(attach_again(database), OK, "%s", error.text);
    twin_expect(database, "SELECT * FROM t", "1|0|1970-01-01T00:00:00.000000000Z|2\n");

    sqlite3_stmt *select = NULL;
    sqlite3_prepare_v2(database, "SELECT * FROM t", -1, &select, NULL);
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    cr_assert_neq(attach_again(database), OK);
    cr_assert(error.text[0]);
    sqlite3_finalize(select);
    twin_expect(database, "SELECT * FROM t", "1|0|1970-01-01T00:00:00.000000000Z|2\n");
    cr_assert_eq(attach_again(database), OK, "%s", error.text);
    sqlite3_close(database);
}

Test(typed_tables, are_taken_up_by_a_connection_that_is_open)
{
    static const char *const payloads[] = {"{\"u\":\"x\",\"v\":2}"};
    write_topic("t", payloads, 1);
    sqlite3 *database = twin_open_extended();
    twin_expect_error(database, "SELECT * FROM t", SQLITE_ERROR, "no such table");
    twin_add_schema("t", "{\"properties\":{\"u\":{}}}");
    twin_expect(database, "SELECT daybook_refresh()", "NULL\n");
    twin_expect(database, "SELECT u FROM t", "x\n");
    twin_index_field("t", "v");
    twin_expect(database, "SELECT daybook_refresh()", "NULL\n");
    twin_expect(database, "SELECT u, v FROM t WHERE v = 2", "x|2\n");

    sqlite3_stmt *select = NULL; /* nothing has changed: nothing is touched */
    sqlite3_prepare_v2(database, "SELECT * FROM t", -1, &select, NULL);
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW);
    twin_expect(database, "SELECT daybook_refresh()", "NULL\n");
    cr_assert_eq(sqlite3_step(select), SQLITE_DONE);
    sqlite3_finalize(select);
    sqlite3_close(database);
}

/* Who has made a temporary table of this name would not get it back. */
Test(typed_tables, never_take_the_place_of_a_temporary_table_of_the_users)
{
    scene_write(10);
    scene_index();
    static const char *const mine[] = {
        "CREATE TEMP TABLE events(x); INSERT INTO temp.events VALUES (1)",
        "CREATE TEMP VIEW events AS SELECT 1 AS x",
    };
    for (size_t i = 0; i < COUNT_OF(mine); i++) {
        sqlite3 *database = scene_open_database();
        cr_assert_eq(sqlite3_exec(database, mine[i], NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(attach_again(database), ERROR_EXISTS, "%s", error.text);
        cr_assert_not_null(strstr(error.text, "temp.events"), "%s", error.text);
        twin_expect(database, "SELECT x FROM temp.events", "1\n");
        sqlite3_close(database);
    }
}

Test(typed_tables, of_a_log_attached_under_an_odd_name_are_its_own)
{
    static const char *const payloads[] = {"{\"u\":\"x\"}", "{\"u\":\"y\"}"};
    write_topic("t", payloads, COUNT_OF(payloads));
    twin_index_field("t", "u");
    sqlite3 *database = NULL;
    cr_assert_eq(sqlite3_open(":memory:", &database), SQLITE_OK);
    char *sql = sqlite3_mprintf("CREATE TABLE event_rows(seq, ts); CREATE TABLE topic_rows(id);"
                                "ATTACH %Q AS \"my \"\"log's\"", scene_path("events.db"));
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_free(sql);
    cr_assert_eq(indexer_extension_attach(database, "my \"log's", &(struct indexer_watcher){0},
                                          &error),
                 OK, "%s", error.text);
    twin_expect(database, "SELECT seq, payload, segment FROM events ORDER BY seq",
                "1|{\"u\":\"x\"}|1\n2|{\"u\":\"y\"}|1\n");
    twin_expect(database, "SELECT seq FROM t WHERE u = 'y'", "2\n");
    twin_expect(database, "SELECT topic, count(*) FROM events GROUP BY topic", "t|2\n");
    sqlite3_close(database);
}
