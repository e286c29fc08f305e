/* Suite `sql`: the index asked, beside plain SQLite that holds the same rows. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/msgpack.h"
#include "indexer/query.h"
#include "indexer/wishes.h"
#include "tools/daybook/bench_history.h"
#include "tools/daybook/bench_samples.h"

enum { BATCH = 10000, LATEST = 100 };

static const char suite[] = "sql";

enum query { COUNT, LATEST_OF_TOPIC, WINDOW, GROUP, POINT, QUERIES };

/* Ours, or plain SQLite's. */
struct side {
    sqlite3 *db;
    sqlite3_stmt *queries[QUERIES];
    sqlite3_stmt *topics; /* ours only: counts that the index keeps */
};

static enum error_code fail(sqlite3 *db, const char *what, struct error *error)
{
    return error_set(error, ERROR_IO, "SQLite: %s: %s", what, sqlite3_errmsg(db));
}

static enum error_code execute(sqlite3 *db, const char *sql, struct error *error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) ? fail(db, sql, error) : OK;
}

static enum error_code prepare(sqlite3 *db, const char *sql, sqlite3_stmt **statement_out,
                               struct error *error)
{
    return sqlite3_prepare_v2(db, sql, -1, statement_out, NULL) ? fail(db, sql, error) : OK;
}

static enum error_code insert(const struct bench *bench, sqlite3 *db, sqlite3_stmt *statement,
                              uint64_t index, struct error *error)
{
    const struct bench_pool_event *event = bench_pool_event(bench->pool, index);
    sqlite3_bind_text(statement, 1, event->topic, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2,
                       BENCH_HISTORY_FIRST_NS + (int64_t)index * BENCH_HISTORY_STEP_NS);
    sqlite3_bind_text(statement, 3, event->json, (int)event->json_bytes, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    sqlite3_reset(statement);
    return result == SQLITE_DONE ? OK : fail(db, "insert", error);
}

static enum error_code insert_all(const struct bench *bench, sqlite3 *db, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    enum error_code code =
        prepare(db, "INSERT INTO events(topic, ts, payload) VALUES(?, ?, ?)", &statement, error);
    for (uint64_t i = 0; i < bench->events && !code; i++) {
        if (i % BATCH == 0)
            code = execute(db, i ? "COMMIT; BEGIN" : "BEGIN", error);
        if (i % BATCH == 0 && !code)
            code = bench_check_interrupted(error);
        if (!code)
            code = insert(bench, db, statement, i, error);
    }
    sqlite3_finalize(statement);
    return code ? code : execute(db, "COMMIT", error);
}

/* The same rows, with the index that each of the questions wants. */
static enum error_code copy(const struct bench *bench, struct side *side, struct error *error)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/copy.db", bench->directory);
    if (sqlite3_open_v2(path, &side->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
        return fail(side->db, "open", error);
    enum error_code code =
        execute(side->db,
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;"
                "CREATE TABLE events(seq INTEGER PRIMARY KEY, topic TEXT NOT NULL,"
                " ts INTEGER NOT NULL, payload TEXT NOT NULL);"
                "CREATE INDEX events_topic_ts ON events(topic, ts);"
                "CREATE INDEX events_signal ON events(topic, payload ->> '$.signal_id')",
                error);
    if (!code)
        code = insert_all(bench, side->db, error);
    return code ? code
                : execute(side->db, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize", error);
}

/* Where and how each side has what is in payloads. */
struct dialect {
    const char *group; /* %s: the topic */
    const char *point;
};
static const struct dialect our_words = {
    "SELECT symbol, count(*), avg(confidence) FROM \"%s\" GROUP BY symbol",
    "SELECT payload FROM \"%s\" WHERE signal_id = ?1 LIMIT 1",
};
static const struct dialect their_words = {
    "SELECT payload ->> '$.symbol' AS symbol, count(*), avg(payload ->> '$.confidence')"
    " FROM events WHERE topic = '%s' GROUP BY symbol",
    "SELECT payload FROM events WHERE topic = '%s' AND payload ->> '$.signal_id' = ?1 LIMIT 1",
};

static enum error_code prepare_with_topic(struct side *side, enum query query, const char *format,
                                          const char *topic, struct error *error)
{
    char *sql = sqlite3_mprintf(format, topic);
    if (!sql)
        return error_set(error, ERROR_MEMORY, "no memory for a query");
    enum error_code code = prepare(side->db, sql, &side->queries[query], error);
    sqlite3_free(sql);
    return code;
}

static enum error_code prepare_all(const struct bench *bench, struct side *side,
                                   const struct dialect *words, struct error *error)
{
    const char *topic = bench_pool_event(bench->pool, 0)->topic;
    char latest[200];
    snprintf(latest, sizeof latest,
             "SELECT payload FROM events WHERE topic = ?1 ORDER BY ts DESC LIMIT %d", LATEST);
    enum error_code code = prepare(side->db, "SELECT topic, count(*) FROM events GROUP BY topic",
                                   &side->queries[COUNT], error);
    if (!code)
        code = prepare(side->db, latest, &side->queries[LATEST_OF_TOPIC], error);
    if (!code)
        code = prepare(side->db,
                       "SELECT payload FROM events WHERE topic = ?1 AND ts >= ?2 AND ts < ?3",
                       &side->queries[WINDOW], error);
    if (!code)
        code = prepare_with_topic(side, GROUP, words->group, topic, error);
    return code ? code : prepare_with_topic(side, POINT, words->point, topic, error);
}

/* The fields of the first topic that the questions name. */
static enum error_code wish_fields(const struct bench *bench, const char *path,
                                   struct error *error)
{
    static const char *const fields[] = {"signal_id", "symbol", "confidence"};
    const char *topic = bench_pool_event(bench->pool, 0)->topic;
    struct indexer_wishes wishes = {0};
    size_t changed;
    enum error_code code = OK;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && !code; i++)
        code = indexer_wishes_add(&wishes, topic, fields[i], error);
    if (!code)
        code = indexer_wishes_change(path, WISHES_ADD, &wishes, &changed, error);
    indexer_wishes_release(&wishes);
    return code;
}

static enum error_code open_ours(const struct bench *bench, struct side *side, struct error *error)
{
    char path[PATH_MAX];
    bench_history_path(bench, path);
    enum error_code code = wish_fields(bench, path, error);
    if (!code)
        code = bench_history_index(bench, error);
    if (!code)
        code = indexer_query_open(path, &side->db, error);
    if (!code) /* as theirs has */
        code = execute(side->db, "PRAGMA cache_size=-65536", error);
    if (!code)
        code = prepare_all(bench, side, &our_words, error);
    return code ? code
                : prepare(side->db, "SELECT topic, events FROM topics", &side->topics, error);
}

static enum error_code open_theirs(const struct bench *bench, struct side *side,
                                   struct error *error)
{
    enum error_code code = copy(bench, side, error);
    return code ? code : prepare_all(bench, side, &their_words, error);
}

static void close_side(struct side *side)
{
    for (int i = 0; i < QUERIES; i++)
        sqlite3_finalize(side->queries[i]);
    sqlite3_finalize(side->topics);
    sqlite3_close_v2(side->db);
}

/* What an answer holds, so that two of them can be compared. */
struct answer {
    uint64_t rows, bytes, sum;
};

static enum error_code ask(sqlite3_stmt *query, struct answer *answer_out, struct error *error)
{
    int result;
    *answer_out = (struct answer){0};
    while ((result = sqlite3_step(query)) == SQLITE_ROW) {
        answer_out->rows++;
        sqlite3_column_text(query, 0);
        answer_out->bytes += (uint64_t)sqlite3_column_bytes(query, 0);
        if (sqlite3_column_count(query) > 1)
            answer_out->sum += (uint64_t)sqlite3_column_int64(query, 1);
    }
    sqlite3_reset(query);
    return result == SQLITE_DONE ? OK : fail(sqlite3_db_handle(query), "a query", error);
}

/* The median of some repetitions in microseconds, and the last answer. */
static enum error_code time_query(sqlite3_stmt *query, int times, double *us_out,
                                  struct answer *answer_out, struct error *error)
{
    struct bench_samples samples = {0};
    enum error_code code = OK;
    for (int i = 0; i < times && !code; i++) {
        code = bench_check_interrupted(error);
        int64_t start_ns = clock_monotonic_ns();
        if (!code)
            code = ask(query, answer_out, error);
        if (!code)
            code = bench_samples_add(&samples, clock_monotonic_ns() - start_ns, error);
    }
    *us_out = (double)bench_samples_percentile(&samples, 0.5) / 1e3;
    bench_samples_release(&samples);
    return code;
}

/* One question to both, and its figures. */
struct question {
    enum query query;
    int times;
    struct bench_figure ours, theirs, ratio;
};

#define FIGURE(word, text, of)                                                                     \
    {.suite = suite, .name = word "_" of, .subject = text ": " of, .measure = "time"}
#define QUESTION(which, repeat, word, text, goal_ratio)                                            \
    {.query = which,                                                                               \
     .times = repeat,                                                                              \
     .ours = FIGURE(word, text, "daybook"),                                                        \
     .theirs = FIGURE(word, text, "sqlite"),                                                       \
     .ratio = {.suite = "sql: ratios",                                                             \
               .name = word "_ratio",                                                              \
               .subject = text ": daybook / sqlite",                                               \
               .measure = "ratio",                                                                 \
               .unit = BENCH_RATIO,                                                                \
               .goal = BENCH_AT_MOST,                                                              \
               .target = goal_ratio}}

static enum error_code ask_both(const struct bench *bench, const struct question *question,
                                const struct side *ours, const struct side *theirs,
                                struct error *error)
{
    struct answer our_answer, their_answer;
    double our_us, their_us;
    enum error_code code =
        time_query(ours->queries[question->query], question->times, &our_us, &our_answer, error);
    if (!code)
        code = time_query(theirs->queries[question->query], question->times, &their_us,
                          &their_answer, error);
    if (code)
        return code;
    /* Texts may be spelled in two ways: JSON from msgpack, and JSON as it was given. */
    if (our_answer.rows != their_answer.rows || our_answer.sum != their_answer.sum)
        return error_set(error, ERROR_DAMAGED,
                         "%s: daybook has %" PRIu64 " rows, plain SQLite %" PRIu64,
                         question->ours.subject, our_answer.rows, their_answer.rows);
    code = bench_report_add(bench->report, &question->ours, our_us, error);
    if (!code)
        code = bench_report_add(bench->report, &question->theirs, their_us, error);
    if (!code && their_us > 0)
        code = bench_report_add(bench->report, &question->ratio, our_us / their_us, error);
    return code;
}

static enum error_code ask_topics(const struct bench *bench, const struct side *ours,
                                  struct error *error)
{
    static const struct bench_figure figure = {.suite = suite,
                                               .name = "topics",
                                               .subject = "events of each topic: the view topics",
                                               .measure = "time",
                                               .goal = BENCH_AT_MOST,
                                               .target = 1000};
    struct answer answer;
    double us;
    enum error_code code = time_query(ours->topics, 20, &us, &answer, error);
    if (!code && answer.sum != bench->events)
        code = error_set(error, ERROR_DAMAGED, "the view topics has %" PRIu64 " of %" PRIu64,
                         answer.sum, bench->events);
    return code ? code : bench_report_add(bench->report, &figure, us, error);
}

/* The value of the key "signal_id", which events of the pool have. */
static enum error_code bind_point(sqlite3_stmt *query, const struct bench_pool_event *event,
                                  struct error *error)
{
    struct msgpack_cursor at = {event->msgpack,
                                (const uint8_t *)event->msgpack + event->msgpack_bytes};
    struct msgpack_cursor found;
    struct msgpack_value value;
    enum error_code code = msgpack_find(&at, "signal_id", &found, error);
    if (!code)
        code = msgpack_read(&found, &value, error);
    if (!code)
        sqlite3_bind_text(query, 1, value.bytes, (int)value.count, SQLITE_STATIC);
    return code;
}

/* One hundredth of the time in the middle, of the first event's topic. */
static enum error_code bind_side(const struct bench *bench, struct side *side, struct error *error)
{
    const char *topic = bench_pool_event(bench->pool, 0)->topic;
    int64_t span_ns = (int64_t)bench->events * BENCH_HISTORY_STEP_NS;
    int64_t since_ns = BENCH_HISTORY_FIRST_NS + span_ns / 2;
    sqlite3_bind_text(side->queries[LATEST_OF_TOPIC], 1, topic, -1, SQLITE_STATIC);
    sqlite3_bind_text(side->queries[WINDOW], 1, topic, -1, SQLITE_STATIC);
    sqlite3_bind_int64(side->queries[WINDOW], 2, since_ns);
    sqlite3_bind_int64(side->queries[WINDOW], 3, since_ns + span_ns / 100);
    return bind_point(side->queries[POINT], bench_pool_event(bench->pool, 0), error);
}

static enum error_code run_rounds(const struct bench *bench, const struct side *ours,
                                  const struct side *theirs, struct error *error)
{
    static const struct question questions[] = {
        QUESTION(COUNT, 1, "count_by_topic", "events of each topic, counted", 1),
        QUESTION(LATEST_OF_TOPIC, 50, "latest_of_topic", "latest 100 of a topic, with payload", 1),
        QUESTION(WINDOW, 5, "window_of_topic", "one topic, 1 % of the time, with payload", 1),
        QUESTION(GROUP, 1, "group_by_field", "one topic, grouped by a field of the payload", 0.5),
        QUESTION(POINT, 50, "point_by_field", "one event by an indexed field, with payload", 1.2),
    };
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds && !code; round++) {
        for (size_t i = 0; i < sizeof questions / sizeof *questions && !code; i++)
            code = ask_both(bench, &questions[i], ours, theirs, error);
        if (!code)
            code = ask_topics(bench, ours, error);
    }
    return code;
}

enum error_code bench_sql_run(const struct bench *bench, struct error *error)
{
    struct side ours = {0}, theirs = {0};
    enum error_code code = open_ours(bench, &ours, error);
    if (!code)
        code = open_theirs(bench, &theirs, error);
    if (!code)
        code = bind_side(bench, &ours, error);
    if (!code)
        code = bind_side(bench, &theirs, error);
    if (!code)
        code = run_rounds(bench, &ours, &theirs, error);
    close_side(&ours);
    close_side(&theirs);
    if (!code)
        code = bench_report_note(bench->report,
                                 "SQLite in the suite sql: one table with the payloads as JSON "
                                 "text, indexes on (topic, ts) and on signal_id, 64 MB of cache; "
                                 "Daybook with the field signal_id indexed, and as much cache.",
                                 error);
    return code;
}
