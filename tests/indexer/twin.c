#include "tests/indexer/twin.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/file.h"
#include "core/json.h"
#include "indexer/query.h"
#include "indexer/wishes.h"
#include "segment/schemas.h"
#include "tests/indexer/scene.h"

static struct error error;

void twin_append_msgpack(struct segment_log *log, const char *topic, int64_t time_ns,
                         const void *payload, size_t payload_bytes)
{
    struct event event = {
        .time_ns = time_ns,
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = payload,
        .payload_bytes = payload_bytes,
    };
    enum segment_log_outcome outcome;
    uint64_t sequence;
    while (segment_log_append(log, &event, &outcome, &sequence, &error)) {
        cr_assert_eq(error.code, ERROR_BUSY, "%s", error.text);
        segment_log_wait_room(log);
    }
}

void twin_append(struct segment_log *log, const char *topic, int64_t time_ns, const char *json)
{
    struct json_reader *reader = NULL;
    struct buffer payload = {0};
    cr_assert_eq(json_reader_create(&reader, &error), OK);
    cr_assert_eq(json_to_msgpack(reader, json, strlen(json), EVENT_PAYLOAD_DEPTH_MAX, &payload,
                                 &error),
                 OK, "%s: %s", json, error.text);
    twin_append_msgpack(log, topic, time_ns, payload.data, payload.size);
    json_reader_free(reader);
    buffer_release(&payload);
}

void twin_commit(struct segment_log *log)
{
    cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK, "%s", error.text);
}

void twin_close_log(struct segment_log *log)
{
    twin_commit(log);
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
    scene_index();
}

void twin_add_schema(const char *topic, const char *json)
{
    struct segment_schemas schemas = {0};
    struct segment_schemas_change change = {.action = SCHEMAS_ADD, .mode = SCHEMAS_WARN};
    int fd = -1;
    snprintf(change.topic, sizeof change.topic, "%s", topic);
    cr_assert_eq(file_open_directory(scene_directory(), false, &fd, &error), OK, "%s", error.text);
    cr_assert_eq(segment_schemas_load(fd, &schemas, &error), OK, "%s", error.text);
    cr_assert_eq(segment_schemas_note(fd, &schemas, &change, json, strlen(json), &error), OK, "%s",
                 error.text);
    cr_assert_eq(segment_schemas_settle(fd, &schemas, schemas.count, 1, &error), OK, "%s",
                 error.text);
    segment_schemas_free(&schemas);
    file_close(&fd);
}

void twin_index_field(const char *topic, const char *path)
{
    struct indexer_wishes fields = {0};
    size_t changed;
    char text[512];
    snprintf(text, sizeof text, "%s %s", topic, path);
    cr_assert_eq(indexer_wishes_add_text(&fields, text, &error), OK, "%s", error.text);
    cr_assert_eq(indexer_wishes_change(scene_directory(), WISHES_ADD, &fields, &changed, &error),
                 OK, "%s", error.text);
    indexer_wishes_release(&fields);
    scene_index();
}

sqlite3 *twin_open_watched(const struct indexer_watcher *watcher)
{
    sqlite3 *database = NULL;
    cr_assert_eq(indexer_query_open_watched(scene_directory(), watcher, &database, &error), OK,
                 "%s", error.text);
    return database;
}

sqlite3 *twin_open_extended(void)
{
    return twin_open_watched(&(struct indexer_watcher){0});
}

static void run(sqlite3 *database, const char *sql)
{
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(database));
}

/* Filled from the views of events.db, and by the function, not by the table that is tested. */
sqlite3 *twin_open(void)
{
    sqlite3 *database = twin_open_extended();
    run(database, "PRAGMA query_only = 0;"
                  "CREATE TEMP TABLE plain(seq INTEGER PRIMARY KEY, ts INTEGER, time TEXT,"
                  " topic TEXT, segment INTEGER, offset INTEGER, bytes INTEGER, payload TEXT);"
                  "INSERT INTO plain SELECT seq, ts, time, topic, segment, offset, bytes,"
                  " payload(seq) FROM main.events");
    return database;
}

void twin_add_topic(sqlite3 *database, const char *topic, const char *columns)
{
    char *sql = sqlite3_mprintf("CREATE TEMP TABLE \"plain_%w\"(seq INTEGER PRIMARY KEY,"
                                " ts INTEGER, time TEXT%s%s);"
                                "INSERT INTO \"plain_%w\" SELECT * FROM \"%w\"",
                                topic, *columns ? ", " : "", columns, topic, topic);
    run(database, sql);
    sqlite3_free(sql);
}

/* The question with `plain` in the places of $NAME, or without: for the extension's tables. */
static char *put(const char *question, bool plain)
{
    struct buffer sql = {0};
    for (const char *at = question; *at; at++) {
        if (*at != '$' || !isalpha((unsigned char)at[1])) {
            buffer_append(&sql, at, 1, NULL);
            continue;
        }
        size_t length = 1;
        while (isalnum((unsigned char)at[length]) || at[length] == '_')
            length++;
        bool events = length == 7 && strncmp(at, "$events", 7) == 0;
        if (plain && events)
            buffer_printf(&sql, NULL, "plain");
        else
            buffer_printf(&sql, NULL, "%s%.*s", plain ? "plain_" : "", (int)length - 1, at + 1);
        at += length - 1;
    }
    buffer_append(&sql, "", 1, NULL);
    return (char *)sql.data;
}

static int compare_lines(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static char *sort_lines(char *rows)
{
    size_t count = 0, capacity = 1;
    for (const char *at = rows; *at; at++)
        capacity += *at == '\n';
    char **lines = calloc(capacity, sizeof *lines);
    for (char *save = NULL, *line = strtok_r(rows, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        lines[count++] = line;
    qsort(lines, count, sizeof *lines, compare_lines);
    struct buffer sorted = {0};
    for (size_t i = 0; i < count; i++)
        buffer_printf(&sorted, NULL, "%s\n", lines[i]);
    buffer_append(&sorted, "", 1, NULL);
    free(lines);
    free(rows);
    return (char *)sorted.data;
}

static size_t first_different_line(const char *left, const char *right)
{
    size_t line = 0;
    for (size_t at = 0; left[at] && left[at] == right[at]; at++)
        if (left[at] == '\n')
            line = at + 1;
    return line;
}

static void expect_same(sqlite3 *database, const char *question, bool any_order)
{
    char *ours = put(question, false), *plain = put(question, true);
    char *rows = scene_rows(database, ours), *expected = scene_rows(database, plain);
    if (any_order) {
        rows = sort_lines(rows);
        expected = sort_lines(expected);
    }
    size_t differs = first_different_line(rows, expected);
    cr_assert_str_eq(rows, expected, "%s gives from byte %zu\n%.300s\nand a plain table\n%.300s",
                     ours, differs, rows + differs, expected + differs);
    free(ours);
    free(plain);
    free(rows);
    free(expected);
}

void twin_expect_same(sqlite3 *database, const char *question)
{
    expect_same(database, question, false);
}

void twin_expect_same_in_any_order(sqlite3 *database, const char *question)
{
    expect_same(database, question, true);
}

void twin_expect(sqlite3 *database, const char *sql, const char *rows)
{
    char *found = scene_rows(database, sql);
    cr_assert_str_eq(found, rows, "%s gives\n%snot\n%s", sql, found, rows);
    free(found);
}

void twin_expect_error(sqlite3 *database, const char *sql, int result, const char *text)
{
    sqlite3_stmt *statement = NULL;
    int found = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    if (found == SQLITE_OK)
        do {
            found = sqlite3_step(statement);
        } while (found == SQLITE_ROW);
    cr_assert_eq(found, result, "%s gives %d: %s", sql, found, sqlite3_errmsg(database));
    cr_assert_not_null(strstr(sqlite3_errmsg(database), text), "%s: %s", sql,
                       sqlite3_errmsg(database));
    sqlite3_finalize(statement);
}

static bool sqlite_sorts(sqlite3 *database, const char *sql)
{
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    char *rows = scene_rows(database, explain);
    bool sorts = strstr(rows, "USE TEMP B-TREE") != NULL;
    free(rows);
    sqlite3_free(explain);
    return sorts;
}

void twin_expect_sorted_by_table(sqlite3 *database, const char *sql)
{
    cr_assert(!sqlite_sorts(database, sql), "SQLite sorts: %s", sql);
}

void twin_expect_sorted_by_sqlite(sqlite3 *database, const char *sql)
{
    cr_assert(sqlite_sorts(database, sql), "nobody sorts: %s", sql);
}
