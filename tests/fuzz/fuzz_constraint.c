/*
 * fuzz_constraint.c - comparisons with any value: what the table `events` answers by itself is what
 * SQLite finds in a plain table with the same rows.
 *
 *     u8 shape | u8 column, operator, cast | u8 the same | u8 kind | u64 or bytes | …
 *
 * The index is made once and is healthy; the statements and the values are the fuzzer's.
 */
#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/query.h"
#include "indexer/schema.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENTS = 60, EVENTS_A_SEGMENT = 10 };

static sqlite3 *database;

static void must(enum error_code code, const struct error *error)
{
    if (!code)
        return;
    fprintf(stderr, "%s\n", error->text);
    abort();
}

static void run(sqlite3 *connection, char *sql)
{
    if (!sql || sqlite3_exec(connection, sql, NULL, NULL, NULL)) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(connection));
        abort();
    }
    sqlite3_free(sql);
}

/* Times near what a text may stand for, and at the ends. */
static long long time_of(unsigned number)
{
    static const int64_t bases[] = {0, -1, INT64_C(951782399999999999),
                                    INT64_C(1767323045123456789), INT64_MIN + 1000, INT64_MAX - 1000, 1000};
    return bases[number % (sizeof bases / sizeof *bases)] + (number % 5 ? number : 0);
}

/* An index without a log: nobody asks for payloads. */
static void make_index(const char *path)
{
    struct indexer_schema_state state = {.last_sequence = EVENTS, .bound = 1};
    struct error error;
    sqlite3 *connection;
    if (sqlite3_open(path, &connection))
        abort();
    must(indexer_schema_create(connection, &state, &error), &error);
    run(connection, sqlite3_mprintf("INSERT INTO topic_rows SELECT value, CASE value"
                                    " WHEN 0 THEN 'a' WHEN 1 THEN 'A' WHEN 2 THEN 'order.new' ELSE '2026' END, %d,"
                                    " %d, 1, %d, %lld, %lld FROM json_each('[0,1,2,3]')",
                                    EVENTS / 4, EVENTS / 4, EVENTS, INT64_MIN, INT64_MAX));
    for (unsigned i = 1; i <= EVENTS; i++)
        run(connection, sqlite3_mprintf("INSERT INTO event_rows VALUES (%u, %lld, %u, 1)", i,
                                        time_of(i), i % 4));
    for (unsigned first = 1; first <= EVENTS; first += EVENTS_A_SEGMENT)
        run(connection,
            sqlite3_mprintf("INSERT INTO segment_rows SELECT %u, %u, %d, 0, 1, 0, 0, min(ts),"
                            " max(ts), 0, 0, NULL FROM event_rows WHERE seq BETWEEN %u AND %u",
                            first, first + EVENTS_A_SEGMENT - 1, EVENTS_A_SEGMENT, first,
                            first + EVENTS_A_SEGMENT - 1));
    sqlite3_close(connection);
}

static void finish(void)
{
    sqlite3_close(database);
}

static void begin(void)
{
    static const struct image nothing;
    char path[128];
    struct error error;
    image_unpack(&nothing);
    snprintf(path, sizeof path, "%s/events.db", image_directory());
    make_index(path);
    must(indexer_query_open(image_directory(), &database, &error), &error);
    run(database, sqlite3_mprintf("PRAGMA query_only = 0;"
                                  "CREATE TEMP TABLE plain(seq INTEGER PRIMARY KEY, ts INTEGER,"
                                  " time TEXT, topic TEXT);"
                                  "INSERT INTO plain SELECT seq, ts, time, topic FROM"
                                  " main.events"));
    atexit(finish);
}

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static uint64_t next_number(struct input *input, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes && input->at < input->end; i++)
        number |= (uint64_t)*input->at++ << (8 * i);
    return number;
}

/* One comparison with the parameter; `choice` is any byte. */
static void write_term(char *text, size_t size, uint64_t choice, int parameter)
{
    static const char *const columns[] = {"seq", "ts", "time", "topic"};
    static const char *const operators[] = {"<", "<=", "=", ">=", ">", "IS", "LIKE", "GLOB"};
    static const char *const casts[] = {"?%d", "CAST(?%d AS INTEGER)", "CAST(?%d AS TEXT)",
                                        "CAST(?%d AS REAL)", "+?%d", "CAST(?%d AS BLOB)",
                                        "(?%d COLLATE NOCASE)", "CAST(?%d AS NUMERIC)"};
    uint64_t column = choice % 4, cast = choice / 32 % 8;
    char value[40];
    /* A topic is compared with numbers as a text: indexer/event_plan.h. */
    if (column == 3 && (cast == 1 || cast == 3 || cast == 7))
        cast = 2;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(value, sizeof value, casts[cast], parameter);
#pragma GCC diagnostic pop
    snprintf(text, size, "%s %s %s", columns[column], operators[choice / 4 % 8], value);
}

static void bind(sqlite3_stmt *statement, int parameter, struct input *input)
{
    uint64_t kind = next_number(input, 1), number = next_number(input, 8);
    size_t bytes = (size_t)(input->end - input->at) / (parameter == 1 ? 2 : 1);
    double real;
    memcpy(&real, &number, sizeof real);
    switch (kind % 5) {
    case 0:
        sqlite3_bind_int64(statement, parameter, (int64_t)number);
        break;
    case 1:
        sqlite3_bind_double(statement, parameter, real);
        break;
    case 2:
        sqlite3_bind_double(statement, parameter, (double)(int64_t)number);
        break;
    case 3:
        sqlite3_bind_text(statement, parameter, (const char *)input->at, (int)bytes,
                          SQLITE_TRANSIENT);
        break;
    default:
        sqlite3_bind_blob(statement, parameter, input->at, (int)bytes, SQLITE_TRANSIENT);
    }
    input->at += bytes;
}

/* The answer as text, or the error's code. */
static void ask(const char *sql, const uint8_t *data, size_t size, char *answer, size_t answer_size)
{
    struct input input = {data, data + size};
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    assert(result == SQLITE_OK);
    bind(statement, 1, &input);
    bind(statement, 2, &input);
    size_t used = 0;
    answer[0] = '\0';
    while ((result = sqlite3_step(statement)) == SQLITE_ROW)
        used += (size_t)snprintf(answer + used, answer_size - used, "%lld ",
                                 (long long)sqlite3_column_int64(statement, 0));
    if (result != SQLITE_DONE)
        snprintf(answer, answer_size, "error %d", result);
    sqlite3_finalize(statement);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const orders[] = {"seq", "seq DESC", "ts, seq", "ts DESC, seq DESC",
                                         "topic, seq", "time, seq"};
    char first[80], second[80], ours[400], plain[400], found[1000], expected[1000];
    struct input input = {data, data + size};
    if (!database)
        begin();
    uint64_t shape = next_number(&input, 1);
    write_term(first, sizeof first, next_number(&input, 1), 1);
    write_term(second, sizeof second, next_number(&input, 1), 2);
    snprintf(ours, sizeof ours, "SELECT seq FROM temp.events WHERE %s %s %s ORDER BY %s", first,
             shape & 1 ? "AND" : "OR", second, orders[shape / 2 % 6]);
    snprintf(plain, sizeof plain, "SELECT seq FROM plain WHERE %s %s %s ORDER BY %s", first,
             shape & 1 ? "AND" : "OR", second, orders[shape / 2 % 6]);
    size_t left = (size_t)(input.end - input.at);
    ask(ours, input.at, left, found, sizeof found);
    ask(plain, input.at, left, expected, sizeof expected);
    if (strcmp(found, expected) != 0) {
        fprintf(stderr, "%s\ngives    %s\nand not  %s\n", ours, found, expected);
        abort();
    }
    return 0;
}
