/*
 * tools/daybook/gaps.c - `daybook gaps`: what is missing, of the log and of its producers, and why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gap.h"
#include "indexer/gaps.h"
#include "indexer/schema.h"
#include "tools/daybook/index.h"
#include "tools/daybook/listing.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

enum { FLAG_CAUSE = OPTIONS_LONG, CAUSES_MAX = 16 };

static const struct options_flag gaps_flags[] = {
    {'t', "producer", "NAME", "only the numbers of this producer"},
    {FLAG_CAUSE, "cause", "CAUSE", "only for this cause: 'never arrived', refused, dropped, …"},
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb gaps_verb = {
    .name = "gaps",
    .usage = "[FLAGS]",
    .about =
        "List what is missing, from the index: sequences that retention deleted or damage took,\n"
        "and numbers of producers that never arrived, were refused, or were dropped by the\n"
        "producer before they were sent.",
    .flags = gaps_flags,
    .example = "  daybook gaps -t meter-7\n"
               "  daybook gaps --cause refused -o json\n",
};

static const char *const names[] = {"cause",     "producer", "first_number", "last_number",
                                    "first_seq", "last_seq", "missing",      "time",
                                    "segment",   "reason"};
static const char query[] =
    "SELECT cause, producer, first_number, last_number, first_seq, last_seq, missing, time,"
    " segment, reason FROM gaps WHERE (?1 IS NULL OR producer = ?1) AND (?2 IS NULL OR cause = ?2)"
    " ORDER BY first_seq IS NULL, first_seq, producer, length(first_number), first_number";

/* Every cause that there is, so that a typing error is no empty answer. */
static void list_causes(const char *causes_out[CAUSES_MAX])
{
    size_t count = 0;
    causes_out[count++] = INDEXER_GAP_NEVER_ARRIVED;
    causes_out[count++] = gap_cause_text(GAP_REFUSED);
    causes_out[count++] = gap_cause_text(GAP_DROPPED);
    causes_out[count++] = "retention";
    for (int cause = FORMAT_GAP_TORN_TAIL; cause <= FORMAT_GAP_DAMAGE; cause++)
        causes_out[count++] = segment_format_gap_cause_text((enum segment_format_gap_cause)cause);
    causes_out[count++] = INDEXER_GAP_UNREPAIRED;
    causes_out[count] = NULL;
}

/* From 2^63 on SQLite has numbers as text only. */
static void add_number(struct rows *rows, sqlite3_stmt *gap, int column)
{
    if (sqlite3_column_type(gap, column) == SQLITE_NULL)
        rows_null(rows);
    else
        rows_sequence(rows, strtoull((const char *)sqlite3_column_text(gap, column), NULL, 10));
}

static enum error_code add_gap(struct rows *rows, sqlite3_stmt *gap, struct error *error)
{
    rows_string(rows, (const char *)sqlite3_column_text(gap, 0));
    rows_string(rows, (const char *)sqlite3_column_text(gap, 1));
    for (int column = 2; column <= 5; column++)
        add_number(rows, gap, column);
    rows_count(rows, (uint64_t)sqlite3_column_int64(gap, 6));
    rows_string(rows, (const char *)sqlite3_column_text(gap, 7));
    add_number(rows, gap, 8);
    rows_string(rows, (const char *)sqlite3_column_text(gap, 9));
    return rows_end(rows, error);
}

static enum error_code print_gaps(sqlite3 *database, const char *producer, const char *cause,
                                  enum rows_format format, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, query, -1, &statement, NULL) != SQLITE_OK)
        return index_sql_error(database, error);
    sqlite3_bind_text(statement, 1, producer, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, cause, -1, SQLITE_STATIC);
    struct listing listing = {format, names, sizeof names / sizeof names[0], add_gap};
    return listing_print(&listing, statement, error);
}

int verb_gaps(int argc, char **argv)
{
    struct options options;
    struct error error;
    const char *value, *producer = NULL, *causes[CAUSES_MAX];
    int id, format = ROWS_TABLE, cause = -1;
    list_causes(causes);
    options_init(&options, &gaps_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        if (id == 't')
            producer = value;
        else if (id == FLAG_CAUSE)
            options_choice(&options, "--cause", value, causes, &cause);
        else
            options_choice(&options, "-o", value, rows_format_names, &format);
    options_refuse_operands(&options);
    if (!options.finished && producer && event_check_producer(producer, strlen(producer), &error))
        options_refuse(&options, "-t '%s': %s", producer, error.text);
    if (options.finished)
        return options.status;

    sqlite3 *database = NULL;
    struct index_trouble trouble;
    const char *directory = options_directory(&options);
    if (index_open(gaps_verb.name, directory, &database, &trouble, &error))
        return verb_fail_open(gaps_verb.name, directory, &error);
    enum error_code code = print_gaps(database, producer, cause < 0 ? NULL : causes[cause],
                                      (enum rows_format)format, &error);
    index_close(database, &trouble);
    if (code && code != ERROR_CLOSED)
        return verb_fail(gaps_verb.name, &error);
    return index_status(&trouble, directory);
}
