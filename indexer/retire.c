#include "indexer/retire.h"

#include <assert.h>
#include <stdio.h>

#include "indexer/database.h"
#include "indexer/fields.h"
#include "indexer/schema.h"
#include "segment/producers.h"

/*
 * The first event of a topic can be found through the topic's index entries (all of them: they are
 * ordered by time) or by walking all rows until one is of the topic. Below this many the entries
 * are cheaper.
 */
#define FEW_EVENTS "100000"

/*
 * Topics' counts are right after each transaction; their first and last after the last one. NOT
 * INDEXED leaves the primary key: the planner would rather walk all of the index on topics, which
 * gives the groups in order.
 */
static const char count_down_sql[] =
    "UPDATE topic_rows SET events = events - gone.n, bytes = bytes - gone.b"
    " FROM (SELECT topic_id, count(*) AS n, sum(bytes) AS b FROM event_rows"
    "  NOT INDEXED WHERE seq < ?1 GROUP BY topic_id) AS gone"
    " WHERE topic_rows.id = gone.topic_id";

static const char delete_events_sql[] = "DELETE FROM event_rows WHERE seq < ?1";
/* A block goes when its last event is gone. */
static const char delete_blocks_sql[] =
    "DELETE FROM block_rows WHERE first_seq < ?1 AND first_seq + count <= ?1";

/*
 * The log remembers the producers that published last, PRODUCERS_MAX of them; who is not among them,
 * and has no event left, may count anew there. So those are forgotten here, too.
 */
#define REMEMBERED "16384"
static_assert(PRODUCERS_MAX == 16384, "the index remembers as many producers as the log");

/* For a whole bound. */
static const char *const finish_sql[] = {
    "DELETE FROM topic_rows WHERE events <= 0",

    "UPDATE topic_rows SET"
    " first_seq = CASE WHEN events < " FEW_EVENTS
    " THEN (SELECT min(seq) FROM event_rows WHERE topic_id = id)"
    " ELSE (SELECT seq FROM event_rows WHERE +topic_id = id ORDER BY seq LIMIT 1) END,"
    " first_ts = (SELECT min(ts) FROM event_rows WHERE topic_id = id),"
    " last_ts = (SELECT max(ts) FROM event_rows WHERE topic_id = id)"
    " WHERE first_seq < ?1",

    "DELETE FROM segment_rows WHERE first_seq < ?1 AND last_seq < ?1",
    "DELETE FROM gap_rows WHERE last_seq < ?1",

    "DELETE FROM producer_gap_rows WHERE seq < ?1",
    "DELETE FROM producer_rows WHERE last_seq < ?1"
    " AND NOT EXISTS (SELECT 1 FROM producer_gap_rows WHERE producer_id = producer_rows.id)"
    " AND id NOT IN (SELECT id FROM producer_rows ORDER BY last_seq DESC LIMIT " REMEMBERED ")",

    "UPDATE state SET bound = ?1, last_seq = max(last_seq, ?1 - 1)",
};

static enum error_code run_below(sqlite3 *database, const char *sql, uint64_t sequence,
                                 struct error *error)
{
    sqlite3_stmt *statement = NULL;
    enum error_code code = indexer_database_prepare(database, sql, &statement, error);
    if (code)
        return code;
    if (sqlite3_bind_parameter_count(statement))
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)sequence);
    code = indexer_database_run(statement, error);
    sqlite3_finalize(statement);
    return code;
}

/* Also for fields that are not filled yet: they may have rows of the last of those events. */
static enum error_code retire_fields(sqlite3 *database, uint64_t limit, struct error *error)
{
    struct indexer_fields fields = {0};
    char sql[128];
    enum error_code code = indexer_fields_load(database, "main", &fields, error);
    for (size_t i = 0; !code && i < fields.count; i++) {
        long long id = fields.list[i].id;
        snprintf(sql, sizeof sql, "DELETE FROM field_%lld WHERE seq < ?1", id);
        code = run_below(database, sql, limit, error);
        long long rows = sqlite3_changes64(database);
        snprintf(sql, sizeof sql, "UPDATE field_rows SET events = events - %lld WHERE id = %lld",
                 rows, id);
        if (!code && rows)
            code = indexer_database_exec(database, sql, error);
    }
    indexer_fields_free(&fields);
    return code;
}

/* All events below `limit` go. */
static enum error_code retire_rows(sqlite3 *database, uint64_t limit, uint64_t *rows_out,
                                   struct error *error)
{
    enum error_code code = run_below(database, count_down_sql, limit, error);
    if (!code)
        code = run_below(database, delete_events_sql, limit, error);
    if (!code)
        *rows_out = (uint64_t)sqlite3_changes64(database);
    if (!code)
        code = run_below(database, delete_blocks_sql, limit, error);
    if (!code)
        code = retire_fields(database, limit, error);
    return code;
}

static enum error_code count_done(sqlite3 *database, int64_t *count_out, struct error *error)
{
    return indexer_database_number(
        database, "SELECT count(*) FROM field_rows WHERE " INDEXER_SCHEMA_FIELD_DONE, 0, count_out,
        error);
}

static enum error_code finish(sqlite3 *database, uint64_t bound, struct error *error)
{
    int64_t done_before = 0, done = 0;
    enum error_code code = count_done(database, &done_before, error);
    for (size_t i = 0; !code && i < sizeof finish_sql / sizeof finish_sql[0]; i++)
        code = run_below(database, finish_sql[i], bound, error);
    if (!code)
        code = count_done(database, &done, error);
    /* Some fields lacked nothing but what is gone now. */
    return code || done == done_before ? code : indexer_schema_show_fields(database, error);
}

static enum error_code retire(sqlite3 *database, uint64_t bound, uint64_t *rows_out, bool *done_out,
                              struct error *error)
{
    int64_t first;
    enum error_code code = indexer_database_number(database, "SELECT min(seq) FROM event_rows",
                                                   INT64_MAX, &first, error);
    if (code)
        return code;

    uint64_t rows = 0;
    bool last = (uint64_t)first >= bound || bound - (uint64_t)first <= INDEXER_RETIRE_ROWS;
    uint64_t limit = last ? bound : (uint64_t)first + INDEXER_RETIRE_ROWS;
    code = retire_rows(database, limit, &rows, error);
    if (!code && last)
        code = finish(database, bound, error);
    if (code)
        return code;
    *rows_out = rows;
    *done_out = last;
    return OK;
}

enum error_code indexer_retire_some(sqlite3 *database, uint64_t bound, uint64_t *rows_out,
                                    bool *done_out, struct error *error)
{
    enum error_code code = indexer_database_exec(database, "BEGIN IMMEDIATE", error);
    if (code)
        return code;
    uint64_t rows = 0;
    bool done = false;
    code = retire(database, bound, &rows, &done, error);
    if (!code)
        code = indexer_database_exec(database, "COMMIT", error);
    if (code) {
        indexer_database_exec(database, "ROLLBACK", NULL);
        return code;
    }
    *rows_out = rows;
    *done_out = done;
    return OK;
}
