/*
 * SQL over the tables of the extension is asked while memory runs out: each answer is the one of a
 * healthy run, or SQLite says that there was no memory.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/wishes.h"
#include "segment/log.h"
#include "segment/schemas.h"
#include "tests/campaigns/campaign.h"
#include "tests/campaigns/out_of_memory.h"

enum { EVENTS = 40 };

static char place[600];

static const char *const questions[] = {
    "SELECT sum(length(payload) * seq), count(topic), max(time) FROM events",
    "SELECT count(*), max(segment), max(\"offset\") FROM events WHERE topic = 'a' AND ts > 3",
    "SELECT sum(seq) FROM (SELECT seq FROM events WHERE topic IN ('a', 'b') LIMIT 3)",
    "SELECT sum(seq), max(ts) FROM events WHERE time > '1970' AND seq < 30 ORDER BY seq DESC",
    "SELECT sum(daybook_field(payload, '$.n')), sum(daybook_field(seq, 'n')) FROM events",
    "SELECT sum(n), group_concat(DISTINCT s), max(\"in\") FROM a WHERE n > 5",
    "SELECT count(*), sum(a.n) FROM a WHERE s = 's3'",
    "SELECT count(*), sum(b.n) FROM a CROSS JOIN b ON b.m = a.m",
    "SELECT daybook_time('2026-01-02T03:04:05Z'), daybook_field('{\"a\":[1,2]}', 'a[1]')",
};
enum { QUESTIONS = sizeof questions / sizeof questions[0] };
static char *answers[QUESTIONS]; /* of the first run, which has all the memory it wants */

static enum error_code write_events(struct error *error)
{
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN};
    struct segment_log *log = NULL;
    enum error_code code = segment_log_open(place, &options, &log, NULL, error);
    for (uint8_t i = 0; !code && i < EVENTS; i++) {
        /* {"n": i, "m": i % 5, "s": "s…", "in": [i]} */
        uint8_t payload[] = {0x84, 0xa1, 'n', i,   0xa1, 'm', i % 5, 0xa1, 's', 0xa2,
                             's',  (uint8_t)('0' + i % 7), 0xa2, 'i', 'n', 0x91, i};
        struct event event = {.time_ns = i,
                              .topic = i % 2 ? "a" : "b",
                              .topic_bytes = 1,
                              .payload = payload,
                              .payload_bytes = sizeof payload};
        enum segment_log_outcome outcome;
        uint64_t sequence;
        code = segment_log_append(log, &event, &outcome, &sequence, error);
        if (!code && i % 8 == 0)
            code = segment_log_wait(log, sequence, error);
    }
    enum error_code closed = log ? segment_log_close(log, code ? NULL : error) : OK;
    return code ? code : closed;
}

static enum error_code add_schema(const char *topic, struct error *error)
{
    static const char text[] = "{\"properties\":{\"n\":{\"type\":\"integer\"},\"m\":{},"
                               "\"s\":{\"type\":\"string\"},\"in\":{\"type\":\"array\"}}}";
    struct segment_schemas schemas = {0};
    struct segment_schemas_change change = {.action = SCHEMAS_ADD};
    int fd = -1;
    snprintf(change.topic, sizeof change.topic, "%s", topic);
    enum error_code code = file_open_directory(place, false, &fd, error);
    if (!code)
        code = segment_schemas_load(fd, &schemas, error);
    if (!code)
        code = segment_schemas_note(fd, &schemas, &change, text, sizeof text - 1, error);
    if (!code)
        code = segment_schemas_settle(fd, &schemas, schemas.count, 1, error);
    segment_schemas_free(&schemas);
    file_close(&fd);
    return code;
}

static enum error_code make_index(struct error *error)
{
    struct indexer_wishes wishes = {0};
    struct indexer_follower *follower = NULL;
    size_t changed;
    enum error_code code = indexer_wishes_add_text(&wishes, "a s", error);
    if (!code)
        code = indexer_wishes_change(place, WISHES_ADD, &wishes, &changed, error);
    if (!code)
        code = indexer_follower_open(place, &follower, error);
    if (!code)
        code = indexer_follower_catch_up(follower, error);
    indexer_follower_close(follower);
    indexer_wishes_release(&wishes);
    return code;
}

static void prepare(struct faults_case *c)
{
    struct error error;
    snprintf(place, sizeof place, "%s/asked", campaign_directory());
    enum error_code code = write_events(&error);
    if (!code)
        code = add_schema("a", &error);
    if (!code)
        code = add_schema("b", &error);
    if (!code)
        code = make_index(&error);
    if (code)
        faults_case_blame(c, "the log cannot be made: %s", error.text);
}

static void compare(struct faults_case *c, sqlite3_stmt *select, char **answer)
{
    char text[400];
    faults_case_exempt++;
    snprintf(text, sizeof text, "%s|%s|%s", (const char *)sqlite3_column_text(select, 0),
             (const char *)sqlite3_column_text(select, sqlite3_column_count(select) > 1),
             (const char *)sqlite3_column_text(select, sqlite3_column_count(select) - 1));
    if (!*answer)
        *answer = strdup(text);
    else if (strcmp(*answer, text) != 0)
        faults_case_blame(c, "%s gives %s without memory, and %s with it", sqlite3_sql(select),
                          text, *answer);
    faults_case_exempt--;
}

static void ask(struct faults_case *c, sqlite3 *database, const char *question, char **answer)
{
    sqlite3_stmt *select = NULL;
    int result = sqlite3_prepare_v2(database, question, -1, &select, NULL);
    while (!result && (result = sqlite3_step(select)) == SQLITE_ROW) {
        compare(c, select, answer);
        result = SQLITE_OK;
    }
    if (result != SQLITE_DONE) {
        if (atomic_load(&c->failed_hits) == 0)
            faults_case_blame(c, "%s fails although there is memory: %s", question,
                              sqlite3_errmsg(database));
        if (result != SQLITE_NOMEM && sqlite3_extended_errcode(database) != SQLITE_IOERR_NOMEM)
            faults_case_blame(c, "%s gives %d without memory: %s", question, result,
                              sqlite3_errmsg(database));
    }
    sqlite3_finalize(select);
}

void out_of_memory_sql(struct faults_case *c)
{
    sqlite3 *database = NULL;
    struct error error = {0};
    faults_case_exempt++;
    if (!place[0])
        prepare(c);
    faults_case_exempt--;

    enum error_code code = indexer_query_open(place, &database, &error);
    if (!faults_case_took(c, code, &error))
        return;
    for (size_t i = 0; i < QUESTIONS; i++)
        ask(c, database, questions[i], &answers[i]);
    sqlite3_close(database);
}
