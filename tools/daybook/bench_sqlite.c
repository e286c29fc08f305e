#include "tools/daybook/bench_sqlite.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "tools/daybook/bench_curves.h"

enum { PRODUCERS = 16, BATCH = 1000, BUSY_TIMEOUT_MS = 30000 };

static const char file_name[] = "plain.db";

/* One connection and what it has done. */
struct inserter {
    const struct bench *bench;
    sqlite3 *db;
    sqlite3_stmt *insert;
    unsigned batch;
    uint64_t first; /* index of the first event in the pool */
    int64_t end_ns;
    struct bench_samples samples; /* one a transaction */
    enum error_code code;
    struct error error;
};

static enum error_code fail(sqlite3 *db, const char *what, struct error *error)
{
    return error_set(error, ERROR_IO, "plain SQLite: %s: %s", what, sqlite3_errmsg(db));
}

static enum error_code execute(sqlite3 *db, const char *sql, struct error *error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL))
        return fail(db, sql, error);
    return OK;
}

static enum error_code inserter_open(struct inserter *inserter, const struct bench *bench,
                                     struct error *error)
{
    char path[PATH_MAX];
    *inserter = (struct inserter){.bench = bench, .batch = 1};
    snprintf(path, sizeof path, "%s/%s", bench->directory, file_name);
    if (sqlite3_open_v2(path, &inserter->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
        return fail(inserter->db, "open", error);
    sqlite3_busy_timeout(inserter->db, BUSY_TIMEOUT_MS);
    enum error_code code = execute(inserter->db,
                                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                   "CREATE TABLE IF NOT EXISTS events(seq INTEGER PRIMARY KEY, "
                                   "ts INTEGER, topic TEXT, payload TEXT)",
                                   error);
    if (code)
        return code;
    if (sqlite3_prepare_v3(inserter->db, "INSERT INTO events(ts, topic, payload) VALUES(?, ?, ?)",
                           -1, SQLITE_PREPARE_PERSISTENT, &inserter->insert, NULL))
        return fail(inserter->db, "prepare the insertion", error);
    return OK;
}

static void inserter_close(struct inserter *inserter)
{
    sqlite3_finalize(inserter->insert);
    sqlite3_close(inserter->db);
    bench_samples_release(&inserter->samples);
}

static enum error_code insert(struct inserter *inserter, uint64_t index, struct error *error)
{
    const struct bench_pool_event *event = bench_pool_event(inserter->bench->pool, index);
    sqlite3_bind_int64(inserter->insert, 1, clock_realtime_ns());
    sqlite3_bind_text(inserter->insert, 2, event->topic, -1, SQLITE_STATIC);
    sqlite3_bind_text(inserter->insert, 3, event->json, (int)event->json_bytes, SQLITE_STATIC);
    int result = sqlite3_step(inserter->insert);
    sqlite3_reset(inserter->insert);
    return result == SQLITE_DONE ? OK : fail(inserter->db, "insert", error);
}

static enum error_code insert_batch(struct inserter *inserter, uint64_t index, struct error *error)
{
    if (inserter->batch == 1)
        return insert(inserter, index, error);
    enum error_code code = execute(inserter->db, "BEGIN IMMEDIATE", error);
    for (unsigned i = 0; i < inserter->batch && !code; i++)
        code = insert(inserter, index + i, error);
    return code ? code : execute(inserter->db, "COMMIT", error);
}

static enum error_code insert_until_end(struct inserter *inserter, struct error *error)
{
    uint64_t index = inserter->first;
    int64_t now_ns = clock_monotonic_ns();
    while (now_ns < inserter->end_ns) {
        enum error_code code = bench_check_interrupted(error);
        if (!code)
            code = insert_batch(inserter, index, error);
        int64_t done_ns = clock_monotonic_ns();
        if (!code)
            code = bench_samples_add(&inserter->samples, done_ns - now_ns, error);
        if (code)
            return code;
        now_ns = done_ns;
        index += inserter->batch;
    }
    return OK;
}

static enum error_code remove_database(const struct bench *bench, struct error *error)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[sizeof file_name + 4];
        snprintf(name, sizeof name, "%s%s", file_name, suffixes[i]);
        enum error_code code = file_unlink(bench->directory_fd, name, error);
        if (code && code != ERROR_NOT_FOUND)
            return code;
    }
    return OK;
}

/* One connection in this thread; its samples are left to the caller, who closes it. */
static enum error_code run_alone(const struct bench *bench, unsigned batch,
                                 struct inserter *inserter, struct error *error)
{
    enum error_code code = inserter_open(inserter, bench, error);
    if (code)
        return code;
    inserter->batch = batch;
    inserter->end_ns = clock_monotonic_ns() + bench->slice_ns;
    return insert_until_end(inserter, error);
}

enum error_code bench_sqlite_one(const struct bench *bench, struct error *error)
{
    static const char subject[] = "SQLite: one event per transaction";
    static const struct bench_figure p50 = {
        .suite = "socket", .name = "sqlite_one_p50", .subject = subject, .measure = "p50"};
    static const struct bench_figure p99 = {
        .suite = "socket", .name = "sqlite_one_p99", .subject = subject, .measure = "p99"};
    struct inserter inserter;
    enum error_code code = run_alone(bench, 1, &inserter, error);
    if (!code)
        code = bench_curves_add(bench, &p50, &p99, &inserter.samples, error);
    inserter_close(&inserter);
    return code ? code : remove_database(bench, error);
}

enum error_code bench_sqlite_batch(const struct bench *bench, struct error *error)
{
    static const struct bench_figure rate = {.suite = "socket",
                                             .name = "sqlite_batch_rate",
                                             .subject = "SQLite: 1,000 events per transaction",
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    struct inserter inserter;
    int64_t start_ns = clock_monotonic_ns();
    enum error_code code = run_alone(bench, BATCH, &inserter, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    double events = (double)inserter.samples.count * (double)BATCH;
    inserter_close(&inserter);
    if (!code)
        code = bench_report_add(bench->report, &rate, events / seconds, error);
    return code ? code : remove_database(bench, error);
}

static void *insert_in_thread(void *argument)
{
    struct inserter *inserter = argument;
    inserter->code = insert_until_end(inserter, &inserter->error);
    return NULL;
}

/* Run all inserters to their end; the first failure of any counts. */
static enum error_code run_threads(struct inserter *inserters, unsigned count, struct error *error)
{
    pthread_t threads[PRODUCERS];
    unsigned started = 0;
    enum error_code code = OK;
    for (; started < count && !code; started++) {
        int result = pthread_create(&threads[started], NULL, insert_in_thread, &inserters[started]);
        if (result) {
            code = error_set_errno(error, result, "start a thread");
            break;
        }
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < started && !code; i++)
        if (inserters[i].code) {
            *error = inserters[i].error;
            code = inserters[i].code;
        }
    return code;
}

static enum error_code report_threads(const struct bench *bench, struct inserter *inserters,
                                      double seconds, struct error *error)
{
    static const char subject[] = "SQLite: 16 connections, one event per transaction";
    static const struct bench_figure rate = {.suite = "socket",
                                             .name = "sqlite_many_rate",
                                             .subject = subject,
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    uint64_t events = 0;
    for (unsigned i = 0; i < PRODUCERS; i++)
        events += inserters[i].samples.count;
    return bench_report_add(bench->report, &rate, (double)events / seconds, error);
}

enum error_code bench_sqlite_many(const struct bench *bench, struct error *error)
{
    struct inserter inserters[PRODUCERS];
    unsigned opened = 0;
    enum error_code code = OK;
    while (opened < PRODUCERS && !code)
        code = inserter_open(&inserters[opened++], bench, error);

    int64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < opened; i++) {
        inserters[i].first = i * UINT64_C(1009);
        inserters[i].end_ns = start_ns + bench->slice_ns;
    }
    if (!code)
        code = run_threads(inserters, PRODUCERS, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (!code)
        code = report_threads(bench, inserters, seconds, error);
    for (unsigned i = 0; i < opened; i++)
        inserter_close(&inserters[i]);
    return code ? code : remove_database(bench, error);
}
