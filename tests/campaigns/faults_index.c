/* Scenarios of the fault campaign: the index follows, forgets, is built anew, is asked. */
#include <inttypes.h>
#include <sqlite3.h>

#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/reindex.h"
#include "indexer/retention.h"
#include "tests/campaigns/faults.h"
#include "tests/campaigns/faults_sqlite.h"

enum { SMALL = 65536, SEGMENTS_EVENTS = 20 };

static void fill_log(struct faults_case *c)
{
    faults_case_open(c, SMALL);
    for (int i = 0; i < SEGMENTS_EVENTS; i++) {
        faults_case_append(c, 7000 + faults_case_random(c, 4000));
        faults_case_commit(c);
    }
    faults_case_close(c);
}

/* Everything durable is in the index afterwards, or the error says why not. */
static bool follow(struct faults_case *c)
{
    struct indexer_follower *follower = NULL;
    struct error error = {0};
    enum error_code code = indexer_follower_open(faults_place_path(c->place), &follower, &error);

    if (!code)
        code = indexer_follower_catch_up(follower, &error);
    indexer_follower_close(follower);
    return faults_case_took(c, code, &error);
}

static void prepare_log(struct faults_case *c)
{
    faults_sqlite_install();
    fill_log(c);
    faults_place_keep(c->place);
}

static void prepare_index(struct faults_case *c)
{
    faults_sqlite_install();
    fill_log(c);
    follow(c);
    faults_place_keep(c->place);
}

static void follow_log(struct faults_case *c)
{
    if (!follow(c) || !faults_case_open(c, SMALL))
        return;
    if (faults_case_append(c, 3000) && faults_case_commit(c))
        follow(c);
}

static void retire(struct faults_case *c)
{
    struct indexer_retention_options options = {.max_bytes = 2 * SMALL};
    struct indexer_retention_totals totals = {0};
    struct error error = {0};
    enum error_code code =
        indexer_retention_run(faults_place_path(c->place), &options, NULL, NULL, &totals, &error);

    if (faults_case_took(c, code, &error) && totals.index != INDEXER_RETENTION_INDEX_DONE &&
        (atomic_load(&c->failed_hits) == 0 || totals.index_error[0] == '\0'))
        faults_case_blame(c, "retention leaves the index behind, and says '%s'",
                          totals.index_error);
}

static void reindex(struct faults_case *c)
{
    struct indexer_reindex_totals totals = {0};
    struct error error = {0};
    enum error_code code =
        indexer_reindex(faults_place_path(c->place), NULL, NULL, &totals, &error);

    if (faults_case_took(c, code, &error) && totals.damaged == 0 &&
        totals.events != c->ledger.count)
        faults_case_blame(c, "an index of %" PRIu64 " events was built anew, the log has %" PRIu64,
                          totals.events, c->ledger.count);
}

/* One row for each event that the ledger knows. Returns how many there are; -1: SQL has failed. */
static int64_t compare_rows(struct faults_case *c, sqlite3 *database)
{
    sqlite3_stmt *select = NULL;
    int64_t rows = 0;
    int result = sqlite3_prepare_v2(
        database, "SELECT seq, bytes, length(payload(seq)) FROM events ORDER BY seq", -1, &select,
        NULL);

    while (!result && (result = sqlite3_step(select)) == SQLITE_ROW) {
        uint64_t sequence = (uint64_t)sqlite3_column_int64(select, 0);
        uint64_t id = 1;
        while (id <= c->ledger.count && c->ledger.events[id].sequence != sequence)
            id++;
        if (id > c->ledger.count)
            faults_case_blame(c, "the index has event %" PRIu64 ", which was never sent", sequence);
        else if ((size_t)sqlite3_column_int64(select, 1) != c->ledger.events[id].bytes)
            faults_case_blame(c, "the index has another length of event %" PRIu64, sequence);
        rows++;
        result = SQLITE_OK;
    }
    sqlite3_finalize(select);
    return result == SQLITE_DONE ? rows : -1;
}

static void ask(struct faults_case *c)
{
    sqlite3 *database = NULL;
    struct error error = {0};
    enum error_code code = indexer_query_open(faults_place_path(c->place), &database, &error);

    if (!faults_case_took(c, code, &error))
        return;
    int64_t rows = compare_rows(c, database);
    if (rows >= 0 && (uint64_t)rows != c->ledger.count)
        faults_case_blame(c, "SQL gives %" PRIi64 " rows instead of %" PRIu64 ", and no error",
                          rows, c->ledger.count);
    if (rows < 0 && atomic_load(&c->failed_hits) == 0)
        faults_case_blame(c, "SQL fails although no fault was made: %s", sqlite3_errmsg(database));
    sqlite3_close_v2(database);
}

/* How many events the index has on record as unreadable. */
static int64_t count_gaps(sqlite3 *database)
{
    sqlite3_stmt *select = NULL;
    int64_t gaps = 0;

    if (!sqlite3_prepare_v2(database, "SELECT count(*) FROM gaps WHERE cause = 'damaged'", -1,
                            &select, NULL) &&
        sqlite3_step(select) == SQLITE_ROW)
        gaps = sqlite3_column_int64(select, 0);
    sqlite3_finalize(select);
    return gaps;
}

/*
 * With healthy calls the index becomes what the log is, whatever state it was left in. Only what
 * could not be read again and again is on record as a gap.
 */
static void check_index(struct faults_case *c)
{
    sqlite3 *database = NULL;
    struct error error = {0};
    int64_t seen = 0;

    if (!follow(c))
        return;
    for (uint64_t id = 1; id <= c->ledger.count; id++)
        seen += c->ledger.events[id].seen;
    enum error_code code = indexer_query_open(faults_place_path(c->place), &database, &error);
    if (!faults_case_took(c, code, &error))
        return;
    int64_t rows = compare_rows(c, database);
    if (rows != seen && !(c->plan.for_ever && rows < seen && count_gaps(database) > 0))
        faults_case_blame(c, "the index has %" PRIi64 " events, the log %" PRIi64, rows, seen);
    sqlite3_close_v2(database);
}

const struct faults_scenario faults_index_scenarios[] = {
    {.title = "the index follows the log",
     .on_kernel = true,
     .prepare = prepare_log,
     .run = follow_log,
     .check = check_index},
    {.title = "the index forgets what was deleted",
     .on_kernel = true,
     .prepare = prepare_index,
     .run = retire,
     .check = check_index},
    {.title = "the index is built anew",
     .on_kernel = true,
     .prepare = prepare_index,
     .run = reindex,
     .check = check_index},
    {.title = "the index is asked",
     .on_kernel = true,
     .prepare = prepare_index,
     .run = ask,
     .check = check_index},
};
const size_t faults_index_scenario_count =
    sizeof faults_index_scenarios / sizeof faults_index_scenarios[0];
