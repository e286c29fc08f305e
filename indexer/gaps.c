#include "indexer/gaps.h"

#include <stdio.h>
#include <stdlib.h>

#include "indexer/database.h"

enum {
    /* More rows than a producer can have: beside INDEXER_GAPS_MAX a few for each cause. */
    ROWS_MAX = INDEXER_GAPS_MAX + 64,
    CAUSE_BYTES = 32,
};

struct row {
    int64_t id;
    uint64_t first;
    uint64_t last;
    uint64_t missing;
    struct indexer_gaps_place place;
    char cause[CAUSE_BYTES];
    char reason[GAP_REASON_BYTES_MAX + 1];
};

struct indexer_gaps {
    sqlite3 *database; /* borrowed */
    sqlite3_stmt *find;
    sqlite3_stmt *join;
    sqlite3_stmt *insert;
    sqlite3_stmt *delete;
    sqlite3_stmt *move;
    size_t row_count; /* of the last find */
    struct row rows[ROWS_MAX];
};

static const char find_sql[] =
    "SELECT id, first_number, last_number, missing, seq, ts, cause, reason"
    " FROM producer_gap_rows WHERE producer_id = ?1 AND last_number >= ?2 AND first_number <= ?3"
    " ORDER BY last_number";
/* Of a merged row the latest event counts, so that it stays as long as any of them does. */
static const char join_sql[] =
    "UPDATE producer_gap_rows SET first_number = min(first_number, ?3),"
    " last_number = max(last_number, ?4),"
    " missing = CASE WHEN missing > 9223372036854775807 - ?5 THEN 9223372036854775807"
    " ELSE missing + ?5 END,"
    " seq = max(seq, ?6), ts = ?7, reason = ?8"
    " WHERE id = (SELECT id FROM producer_gap_rows WHERE producer_id = ?1 AND cause = ?2"
    " ORDER BY last_number DESC LIMIT 1)";
static const char insert_sql[] =
    "INSERT INTO producer_gap_rows"
    "(producer_id, first_number, last_number, missing, cause, seq, ts, reason)"
    " SELECT ?1, ?3, ?4, ?5, ?2, ?6, ?7, ?8 WHERE ?6 >= (SELECT bound FROM state)";
static const char delete_sql[] = "DELETE FROM producer_gap_rows WHERE id = ?1";
static const char move_sql[] = "UPDATE producer_gap_rows SET seq = max(seq, ?2) WHERE id = ?1";

enum error_code indexer_gaps_create(sqlite3 *database, struct indexer_gaps **gaps_out,
                                    struct error *error)
{
    struct indexer_gaps *gaps = calloc(1, sizeof *gaps);
    if (!gaps)
        return error_set(error, ERROR_MEMORY, "no memory for the index's gaps");
    gaps->database = database;
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } list[] = {
        {&gaps->find, find_sql},     {&gaps->join, join_sql}, {&gaps->insert, insert_sql},
        {&gaps->delete, delete_sql}, {&gaps->move, move_sql},
    };
    enum error_code code = OK;
    for (size_t i = 0; !code && i < sizeof list / sizeof list[0]; i++)
        code = indexer_database_prepare(database, list[i].sql, list[i].statement, error);
    if (code) {
        indexer_gaps_free(gaps);
        return code;
    }
    *gaps_out = gaps;
    return OK;
}

void indexer_gaps_free(struct indexer_gaps *gaps)
{
    if (!gaps)
        return;
    sqlite3_finalize(gaps->find);
    sqlite3_finalize(gaps->join);
    sqlite3_finalize(gaps->insert);
    sqlite3_finalize(gaps->delete);
    sqlite3_finalize(gaps->move);
    free(gaps);
}

/* ---- Single rows ---- */

static void copy_text(sqlite3_stmt *from, int column, char *to, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(from, column);
    snprintf(to, size, "%s", text ? text : "");
}

static void read_row(sqlite3_stmt *find, struct row *row)
{
    row->id = sqlite3_column_int64(find, 0);
    row->first = indexer_gaps_number(sqlite3_column_int64(find, 1));
    row->last = indexer_gaps_number(sqlite3_column_int64(find, 2));
    row->missing = (uint64_t)sqlite3_column_int64(find, 3);
    row->place.sequence = (uint64_t)sqlite3_column_int64(find, 4);
    row->place.time_ns = sqlite3_column_int64(find, 5);
    copy_text(find, 6, row->cause, sizeof row->cause);
    copy_text(find, 7, row->reason, sizeof row->reason);
}

/* gaps->rows: those that the range touches, ascending. */
static enum error_code find_rows(struct indexer_gaps *gaps, const struct indexer_gaps_known *known,
                                 uint64_t first, uint64_t last, struct error *error)
{
    sqlite3_stmt *find = gaps->find;
    int result = SQLITE_DONE;
    gaps->row_count = 0;
    if (first > known->number_last)
        return OK;
    sqlite3_bind_int64(find, 1, known->producer);
    sqlite3_bind_int64(find, 2, indexer_gaps_cell(first));
    sqlite3_bind_int64(find, 3, indexer_gaps_cell(last));
    while (gaps->row_count < ROWS_MAX && (result = sqlite3_step(find)) == SQLITE_ROW)
        read_row(find, &gaps->rows[gaps->row_count++]);
    sqlite3_reset(find);
    if (result != SQLITE_DONE && result != SQLITE_ROW)
        return indexer_database_error(gaps->database, result, error);
    return OK;
}

static enum error_code delete_row(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                  const struct row *row, struct error *error)
{
    sqlite3_bind_int64(gaps->delete, 1, row->id);
    enum error_code code = indexer_database_run(gaps->delete, error);
    if (!code)
        known->rows--;
    return code;
}

static enum error_code write_row(struct indexer_gaps *gaps, sqlite3_stmt *statement,
                                 const struct indexer_gaps_known *known,
                                 const struct indexer_gaps_range *range,
                                 const struct indexer_gaps_place *place, int *changes_out,
                                 struct error *error)
{
    int64_t missing = range->count < INT64_MAX ? (int64_t)range->count : INT64_MAX;
    sqlite3_bind_int64(statement, 1, known->producer);
    sqlite3_bind_text(statement, 2, range->cause, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, indexer_gaps_cell(range->first));
    sqlite3_bind_int64(statement, 4, indexer_gaps_cell(range->last));
    sqlite3_bind_int64(statement, 5, missing);
    sqlite3_bind_int64(statement, 6, (sqlite3_int64)place->sequence);
    sqlite3_bind_int64(statement, 7, place->time_ns);
    sqlite3_bind_text(statement, 8, range->reason, (int)range->reason_bytes, SQLITE_STATIC);
    enum error_code code = indexer_database_run(statement, error);
    *changes_out = sqlite3_changes(gaps->database);
    return code;
}

/* A range that no row touches: a row of its own, or part of another where there are too many. */
static enum error_code add_row(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                               const struct indexer_gaps_range *range,
                               const struct indexer_gaps_place *place, struct error *error)
{
    int joined = 0, inserted = 0;
    enum error_code code = OK;
    if (range->last < range->first || range->count == 0)
        return OK;
    if (known->rows >= INDEXER_GAPS_MAX) {
        struct indexer_gaps_range more = *range;
        more.reason = INDEXER_GAP_MORE;
        more.reason_bytes = sizeof INDEXER_GAP_MORE - 1;
        code = write_row(gaps, gaps->join, known, &more, place, &joined, error);
    }
    if (!code && !joined)
        code = write_row(gaps, gaps->insert, known, range, place, &inserted, error);
    if (code)
        return code;
    known->rows += (uint64_t)inserted;
    if ((joined || inserted) && range->last > known->number_last)
        known->number_last = range->last;
    return OK;
}

/* The part of a row from `first` to `last`; of its count so many as fit in. */
static enum error_code add_part(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                const struct row *row, uint64_t first, uint64_t last,
                                uint64_t *missing_left, struct error *error)
{
    if (last < first)
        return OK;
    struct indexer_gaps_range part = {
        .first = first,
        .last = last,
        .count = last - first + 1 < *missing_left ? last - first + 1 : *missing_left,
        .cause = row->cause,
        .reason = row->reason,
        .reason_bytes = strlen(row->reason),
    };
    *missing_left -= part.count;
    return add_row(gaps, known, &part, &row->place, error);
}

/* ---- Ranges ---- */

static enum error_code split_row(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                 const struct row *row, uint64_t number, struct error *error)
{
    uint64_t left = row->missing;
    enum error_code code = delete_row(gaps, known, row, error);
    if (!code)
        code = add_part(gaps, known, row, row->first, number - 1, &left, error);
    if (!code)
        code = add_part(gaps, known, row, number + 1, row->last, &left, error);
    return code;
}

enum error_code indexer_gaps_remove(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                    uint64_t number, struct error *error)
{
    enum error_code code = find_rows(gaps, known, number, number, error);
    for (size_t i = 0; !code && i < gaps->row_count; i++)
        code = split_row(gaps, known, &gaps->rows[i], number, error);
    return code;
}

static enum error_code move_row(struct indexer_gaps *gaps, const struct row *row,
                                const struct indexer_gaps_place *place, struct error *error)
{
    sqlite3_bind_int64(gaps->move, 1, row->id);
    sqlite3_bind_int64(gaps->move, 2, (sqlite3_int64)place->sequence);
    return indexer_database_run(gaps->move, error);
}

/* What of the range lies from `first` to `last`. */
static enum error_code add_between(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                   struct indexer_gaps_range *range, uint64_t first, uint64_t last,
                                   const struct indexer_gaps_place *place, struct error *error)
{
    if (last < first)
        return OK;
    struct indexer_gaps_range part = *range;
    part.first = first;
    part.last = last;
    if (part.count > last - first + 1)
        part.count = last - first + 1;
    range->count -= part.count;
    return add_row(gaps, known, &part, place, error);
}

static enum error_code fill(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                            const struct indexer_gaps_range *range,
                            const struct indexer_gaps_place *place, bool moves,
                            struct error *error)
{
    struct indexer_gaps_range rest = *range;
    uint64_t at = range->first;
    if (range->last < range->first)
        return OK;
    enum error_code code = find_rows(gaps, known, range->first, range->last, error);
    for (size_t i = 0; !code && i < gaps->row_count; i++) {
        const struct row *row = &gaps->rows[i];
        if (moves)
            code = move_row(gaps, row, place, error);
        if (!code && row->first > at)
            code = add_between(gaps, known, &rest, at, row->first - 1, place, error);
        if (row->last >= at)
            at = row->last + 1;
    }
    if (!code && at <= range->last)
        code = add_between(gaps, known, &rest, at, range->last, place, error);
    return code;
}

enum error_code indexer_gaps_add(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                 const struct indexer_gaps_range *range,
                                 const struct indexer_gaps_place *place, struct error *error)
{
    return fill(gaps, known, range, place, false, error);
}

enum error_code indexer_gaps_close(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                   const struct indexer_gaps_range *range,
                                   const struct indexer_gaps_place *place, struct error *error)
{
    return fill(gaps, known, range, place, true, error);
}

/* A row without a cause, of which the range explains some. */
static enum error_code explain_row(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                   const struct row *row, const struct indexer_gaps_range *range,
                                   int64_t time_ns, struct error *error)
{
    uint64_t left = row->missing;
    uint64_t first = row->first > range->first ? row->first : range->first;
    uint64_t last = row->last < range->last ? row->last : range->last;
    bool exact = row->missing == row->last - row->first + 1;
    /* Which of the numbers of a row that stands for many ranges are meant nobody can tell. */
    if (!exact && (first > row->first || last < row->last))
        return OK;
    struct indexer_gaps_range part = *range;
    part.first = first;
    part.last = last;
    part.count = exact ? last - first + 1 : row->missing;
    struct indexer_gaps_place place = {row->place.sequence, time_ns};
    enum error_code code = delete_row(gaps, known, row, error);
    if (!code)
        code = add_part(gaps, known, row, row->first, first - 1, &left, error);
    if (!code)
        code = add_row(gaps, known, &part, &place, error);
    if (!code)
        code = add_part(gaps, known, row, last + 1, row->last, &left, error);
    return code;
}

enum error_code indexer_gaps_explain(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                     const struct indexer_gaps_range *range, int64_t time_ns,
                                     struct error *error)
{
    if (range->last < range->first)
        return OK;
    enum error_code code = find_rows(gaps, known, range->first, range->last, error);
    for (size_t i = 0; !code && i < gaps->row_count; i++)
        if (strcmp(gaps->rows[i].cause, INDEXER_GAP_NEVER_ARRIVED) == 0)
            code = explain_row(gaps, known, &gaps->rows[i], range, time_ns, error);
    return code;
}
