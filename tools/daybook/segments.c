/*
 * tools/daybook/segments.c - `daybook segments`: the files of the log.
 *
 * Names, sizes and states come from the files; what an active segment holds, and how many events,
 * comes from the index.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"
#include "segment/reader.h"
#include "segment/set.h"
#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

static const struct options_flag segments_flags[] = {
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb segments_verb = {
    .name = "segments",
    .usage = "[FLAGS]",
    .about = "List the segment files of the log, the oldest first.",
    .flags = segments_flags,
    .example = "  daybook segments -o json\n",
};

static const char *const names[] = {"segment", "first_seq", "last_seq",   "events",
                                    "bytes",   "state",     "first_time", "last_time"};

static const char query[] = "SELECT events, first_time, last_time FROM segments WHERE segment = ?1";

static enum error_code load_set(const char *directory, struct segment_set *set_out,
                                struct error *error)
{
    int log_fd = -1, segments_fd = -1;
    enum error_code code = file_open_directory_to_read(directory, &log_fd, error);
    if (!code)
        code = file_open_directory_to_read_at(log_fd, "segments", &segments_fd, error);
    if (!code)
        code = segment_set_load(log_fd, segments_fd, set_out, error);
    file_close(&segments_fd);
    file_close(&log_fd);
    return code;
}

static const char *state_of(const struct segment_set *set, size_t index)
{
    const struct segment_set_segment *segment = &set->segments[index];
    if (index < set->dead_count)
        return "dead"; /* below the lower bound: retention was interrupted before the unlink */
    if (segment_set_check_version(segment, NULL))
        return "newer";
    if (segment->header_verdict != FORMAT_VALID)
        return "damaged";
    if (segment->sealed)
        return segment->header.packed ? "packed" : "sealed";
    return index + 1 == set->count ? "active" : "unsealed";
}

/* The last sequence in a segment, 0 when it is not known. */
static uint64_t last_of(const struct segment_set *set, size_t index, uint64_t watermark)
{
    const struct segment_set_segment *segment = &set->segments[index];
    if (segment->sealed)
        return segment->trailer.sequence_last;
    if (index + 1 < set->count)
        return set->segments[index + 1].sequence_first - 1;
    return watermark;
}

static void add_from_index(struct rows *rows, sqlite3_stmt *statement, uint64_t sequence_first)
{
    if (!statement) {
        rows_null(rows);
        return;
    }
    sqlite3_reset(statement);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)sequence_first);
    if (sqlite3_step(statement) == SQLITE_ROW)
        rows_count(rows, (uint64_t)sqlite3_column_int64(statement, 0));
    else
        rows_count(rows, 0); /* a segment without any event has no row */
}

static void add_times(struct rows *rows, sqlite3_stmt *statement)
{
    bool there = statement && sqlite3_data_count(statement) > 0;
    rows_string(rows, there ? (const char *)sqlite3_column_text(statement, 1) : NULL);
    rows_string(rows, there ? (const char *)sqlite3_column_text(statement, 2) : NULL);
}

static enum error_code add_segment(struct rows *rows, const struct segment_set *set, size_t index,
                                   uint64_t watermark, sqlite3_stmt *statement, struct error *error)
{
    const struct segment_set_segment *segment = &set->segments[index];
    uint64_t last = last_of(set, index, watermark);
    rows_string(rows, segment->name);
    rows_sequence(rows, segment->sequence_first);
    if (last >= segment->sequence_first)
        rows_sequence(rows, last);
    else
        rows_null(rows);
    add_from_index(rows, statement, segment->sequence_first);
    rows_size(rows, segment->size_bytes);
    rows_string(rows, state_of(set, index));
    add_times(rows, statement);
    return rows_end(rows, error);
}

static enum error_code print_segments(const struct segment_set *set, uint64_t watermark,
                                      sqlite3_stmt *statement, enum rows_format format,
                                      struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code =
        rows_create(stdout, format, false, names, sizeof names / sizeof names[0], &rows, error);
    for (size_t i = 0; !code && i < set->count; i++)
        code = add_segment(rows, set, i, watermark, statement, error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}

/* Without an index the columns from it stay empty. */
static sqlite3_stmt *open_query(const char *directory, sqlite3 **database_out,
                                struct index_trouble *trouble_out)
{
    struct error error;
    sqlite3_stmt *statement = NULL;
    if (index_open(segments_verb.name, directory, database_out, trouble_out, &error)) {
        trouble_out->behind = true;
        verb_say(segments_verb.name, "note: %s", error.text);
        return NULL;
    }
    sqlite3_prepare_v2(*database_out, query, -1, &statement, NULL);
    return statement;
}

static int run(const char *directory, enum rows_format format)
{
    struct error error;
    struct segment_reader *reader = NULL;
    if (segment_reader_open(directory, &reader, &error))
        return verb_fail_open(segments_verb.name, directory, &error);
    sqlite3 *database = NULL;
    struct index_trouble trouble;
    sqlite3_stmt *statement = open_query(directory, &database, &trouble);

    struct segment_set set = {0};
    enum error_code code = load_set(directory, &set, &error);
    if (!code)
        code = print_segments(&set, segment_reader_watermark(reader), statement, format, &error);
    segment_set_free(&set);
    sqlite3_finalize(statement);
    index_close(database, &trouble);
    segment_reader_close(reader);
    if (code && code != ERROR_CLOSED)
        return verb_fail(segments_verb.name, &error);
    return index_status(&trouble, directory);
}

int verb_segments(int argc, char **argv)
{
    struct options options;
    const char *value;
    int id, format = ROWS_TABLE;
    options_init(&options, &segments_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        options_choice(&options, "-o", value, rows_format_names, &format);
    options_refuse_operands(&options);
    if (options.finished)
        return options.status;
    return run(options_directory(&options), (enum rows_format)format);
}
