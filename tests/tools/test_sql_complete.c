/* What Tab offers in `daybook sql`, and the words that it reads a statement as. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "tools/daybook/sql_complete.h"
#include "tools/daybook/sql_words.h"

static sqlite3 *database;

/* As the index looks: views in main over tables of its own, and one database attached. */
static void setup(void)
{
    cr_assert_eq(sqlite3_open(":memory:", &database), SQLITE_OK);
    const char *sql = "CREATE TABLE event_rows(seq, hidden);"
                      "CREATE TABLE topic_rows(topic);"
                      "INSERT INTO topic_rows VALUES ('orders'), ('it''s'), ('trade/x');"
                      "CREATE VIEW events AS SELECT seq, 1 AS time, 2 AS topic FROM event_rows;"
                      "CREATE VIEW topics AS SELECT topic, 1 AS total FROM topic_rows;"
                      "ATTACH ':memory:' AS mine;"
                      "CREATE TABLE mine.\"odd name\"(\"select\", plain);"
                      "CREATE TABLE mine.people(owner, topic);";
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(database));
}

static void teardown(void)
{
    sqlite3_close(database);
}

/* The words for the text, whose cursor is at '|', with a comma between them; the caller frees. */
static char *offered(const char *text)
{
    char plain[256];
    size_t cursor = strcspn(text, "|");
    snprintf(plain, sizeof plain, "%.*s%s", (int)cursor, text,
             text[cursor] ? text + cursor + 1 : "");
    struct sql_completion completion = {0};
    sql_complete(database, plain, strlen(plain), cursor, &completion);
    cr_assert_leq(completion.start, cursor, "%s", text);
    struct buffer words = {0};
    for (size_t i = 0; i < completion.count; i++)
        buffer_printf(&words, NULL, "%s%s", i ? "," : "", completion.words[i]);
    buffer_append(&words, "", 1, NULL);
    sql_completion_release(&completion);
    return (char *)words.data;
}

static void expect(const char *text, const char *words)
{
    char *found = offered(text);
    cr_assert_str_eq(found, words, "%s offers %s, not %s", text, found, words);
    free(found);
}

static void expect_among(const char *text, const char *word)
{
    char *found = offered(text);
    cr_assert(strstr(found, word), "%s offers %s, without %s", text, found, word);
    free(found);
}

Test(sql_complete, offers_tables_where_a_table_stands, .init = setup, .fini = teardown)
{
    expect("SELECT * FROM ev|", "events");
    expect("SELECT * FROM |", "\"odd name\",events,mine.,people,topics");
    expect("SELECT * FROM events, to|", "topics");
    expect("SELECT * FROM events JOIN pe|", "people");
    expect("SELECT * FROM mine.|", "\"odd name\",people");
    expect("SELECT * FROM mine.od|", "\"odd name\"");
    expect("SELECT * FROM \"od|", "\"odd name\"");
    expect("SELECT * FROM \"mine\".pe|", "people");
}

Test(sql_complete, offers_columns_of_the_tables_that_are_named, .init = setup, .fini = teardown)
{
    expect_among("SELECT t| FROM events", ",time,time(,topic,topics,");
    expect("SELECT | FROM events", "seq,time,topic");
    expect("SELECT | FROM events, topics", "seq,time,topic,total");
    expect("SELECT count(*) FROM topics WHERE tot|", "total,total(,total_changes(");
    expect("SELECT e.| FROM events e", "seq,time,topic");
    expect("SELECT E.se| FROM events AS e", "seq");
    expect("SELECT events.ti| FROM events", "time");
    expect("SELECT p.| FROM mine.people p JOIN events e", "owner,topic");
    expect("SELECT | FROM mine.\"odd name\"", "\"select\",plain");
    expect("SELECT sel| FROM mine.\"odd name\"", "\"select\",select");
    expect("SELECT hid| FROM event_rows", "");
    expect("SELECT nobody.| FROM events", "");
}

Test(sql_complete, looks_at_the_statement_of_the_cursor_alone, .init = setup, .fini = teardown)
{
    expect("SELECT * FROM topics; SELECT | FROM events; SELECT * FROM people", "seq,time,topic");
    expect("SELECT ';', | FROM events", "seq,time,topic");
    expect("SELECT 1; .mod|", "mod("); /* SQL, and no dot command any more */
}

Test(sql_complete, offers_keywords_in_the_case_of_who_types, .init = setup, .fini = teardown)
{
    expect("sel|", "select");
    expect("SEL|", "SELECT");
    expect("select * from events wh|", "when,where");
    expect("SELECT * FROM events W|", "WHEN,WHERE,WINDOW,WITH");
    expect_among("SELECT * FROM events |", "WHERE");
    expect_among("select * from events |", "where");
    expect("SELECT 1 AS s|", "");
    expect_among("SELECT substr|", "substr(");
    expect("SELECT load_e|", "");
    expect("PRAGMA table_l|", "table_list");
    expect("PRAGMA writ|", "");
}

Test(sql_complete, offers_topics_within_quotes_where_a_topic_stands, .init = setup,
     .fini = teardown)
{
    expect("SELECT 1 FROM events WHERE topic = '|", "'it''s','orders','trade/x'");
    expect("SELECT 1 FROM events WHERE topic='or|", "'orders'");
    expect("SELECT 1 FROM events WHERE e.topic == 'i|", "'it''s'");
    expect("SELECT 1 FROM events WHERE \"topic\" LIKE 'tr|", "'trade/x'");
    expect("SELECT 1 FROM events WHERE topic NOT LIKE 'tr|", "'trade/x'");
    expect("SELECT 1 FROM events WHERE topic IN ('|", "'it''s','orders','trade/x'");
    expect("SELECT 1 FROM events WHERE topic NOT IN ('orders', 'tra|", "'trade/x'");
    expect("SELECT 1 FROM events WHERE topic = 'OR|", "");
    expect("SELECT 1 FROM events WHERE name = 'or|", "");
    expect("SELECT f('or|", "");
    expect("SELECT 1 FROM events WHERE topic = 'orders'|", "");
}

Test(sql_complete, offers_nothing_in_comments_and_numbers, .init = setup, .fini = teardown)
{
    expect("SELECT -- s|", "");
    expect("SELECT /* s|", "");
    expect("SELECT 1|", "");
    expect("SELECT 1 -- done\n FROM ev|", "events");
}

Test(sql_complete, offers_dot_commands_and_their_arguments, .init = setup, .fini = teardown)
{
    expect(".t|", ".tables,.timer,.topics");
    expect(".mode |", "csv,json,markdown,table");
    expect(".mode j|", "json");
    expect(".timer o|", "off,on");
    expect(".schema ev|", "events");
    expect(".schema |", "events,mine.\"odd name\",mine.people,topics");
    expect(".tables |", "");
    expect(".nonsense x|", "");
}

Test(sql_complete, prefers_what_a_bare_name_means, .init = setup, .fini = teardown)
{
    const char *sql = "CREATE VIRTUAL TABLE temp.events USING fts5(payload)";
    if (sqlite3_exec(database, sql, NULL, NULL, NULL))
        cr_skip("this SQLite has no fts5");
    expect("SELECT pay| FROM events", "payload");
    expect("SELECT seq| FROM events", "");
    expect(".schema |", "events,main.events,mine.\"odd name\",mine.people,topics");
}

Test(sql_complete, survives_any_beginning_of_any_text, .init = setup, .fini = teardown)
{
    const char *text = "WITH a AS (SELECT 'x''y', \"q\"\"r\", [b], `c` /* d */ FROM events e) -- f\n"
                       "SELECT e.\"to, a->>'$.x' FROM a, mine.\"odd name\" WHERE topic IN ('a', 'b";
    for (size_t size = 0; size <= strlen(text); size++) {
        char *copy = strndup(text, size); /* of its own, so that a sanitizer sees each end */
        for (size_t cursor = 0; cursor <= size; cursor++) {
            struct sql_completion completion = {0};
            sql_complete(database, copy, size, cursor, &completion);
            cr_assert_leq(completion.start, cursor);
            sql_completion_release(&completion);
        }
        free(copy);
    }
}

static void expect_words(const char *text, const char *expected)
{
    const char *at = text, *end = text + strlen(text);
    struct sql_word word;
    struct buffer words = {0};
    while (sql_words_next(&at, end, &word))
        buffer_printf(&words, NULL, "%c%.*s ", "NQS#M*"[word.kind], (int)word.bytes, word.at);
    buffer_append(&words, "", 1, NULL);
    cr_assert_str_eq((const char *)words.data, expected, "%s gives %s", text,
                     (const char *)words.data);
    buffer_release(&words);
}

Test(sql_words, tells_names_strings_numbers_and_marks_apart)
{
    expect_words("SELECT a,b.c FROM \"x y\"", "NSELECT Na M, Nb M. Nc NFROM Q\"x y\" ");
    expect_words("a='it''s'", "Na M= S'it''s' ");
    expect_words("p->>'$.a'<>1.5e3", "Np M->> S'$.a' M<> #1.5e3 ");
    expect_words("[a]]b` c`", "Q[a] M] Nb Q` c` ");
    expect_words("a--b\nc/*d*/e", "Na Nc Ne ");
    expect_words("Zürich", "NZürich ");
    expect_words("'open", "S'open ");
    expect_words("a /* open", "Na */* open ");
}
