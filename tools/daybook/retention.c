/*
 * tools/daybook/retention.c - `daybook retention`: delete the oldest segments by age or size.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/units.h"
#include "indexer/retention.h"
#include "indexer/witness.h"
#include "tools/daybook/damage.h"
#include "tools/daybook/options.h"
#include "tools/daybook/verb.h"

enum { FLAG_MAX_AGE = OPTIONS_LONG, FLAG_MAX_SIZE, FLAG_DRY_RUN, INDEX_WAIT_MS = 30000 };

static const struct options_flag retention_flags[] = {
    {FLAG_MAX_AGE, "max-age", "AGE", "delete what arrived longer ago than this (30d, 12h)"},
    {FLAG_MAX_SIZE, "max-size", "SIZE", "keep at most so many bytes of segments (20G)"},
    {FLAG_DRY_RUN, "dry-run", NULL, "delete nothing, name what would be deleted"},
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb retention_verb = {
    .name = "retention",
    .usage = "--max-age AGE and/or --max-size SIZE [FLAGS]",
    .about =
        "Delete whole segments, the oldest first, never the active one. Works beside a running\n"
        "daemon and beside readers; may be killed at any moment and run again. Names each\n"
        "deleted segment on stdout. Exits 5 when something asked for had to be left.",
    .flags = retention_flags,
    .example =
        "  17 3 * * *  daybook retention -D /var/lib/daybook/log --max-age 30d --max-size 20G\n",
};

/* What the callbacks know and find out. */
struct telling {
    bool dry_run;
    bool overrun; /* a cursor loses events that it held */
};

static void tell_segment(void *context, const struct indexer_retention_segment *segment)
{
    const struct telling *telling = context;
    char size[UNITS_TEXT_SIZE];
    units_format_size(segment->bytes, size);
    printf("%s %s: ", telling->dry_run ? "would delete" : "deleted", segment->name);
    if (segment->sequence_last >= segment->sequence_first)
        printf("sequences %" PRIu64 "-%" PRIu64 ", ", segment->sequence_first,
               segment->sequence_last);
    else
        printf("no events, ");
    printf("%s%s\n", size, segment->unfinished ? " (left over by an interrupted run)" : "");
    fflush(stdout);
}

static void tell_overrun(void *context, const struct indexer_retention_overrun *overrun)
{
    struct telling *telling = context;
    char hold[UNITS_TEXT_SIZE], count[UNITS_TEXT_SIZE + 8];
    units_format_size(overrun->hold_bytes, hold);
    units_format_count(overrun->sequence_last - overrun->sequence_first + 1, count);
    telling->overrun = true;
    verb_say(retention_verb.name,
             "the cursor '%s' is further behind than the %s that it may hold: events %" PRIu64
             " to %" PRIu64 " (%s) %s although its consumer has not done them",
             overrun->cursor, hold, overrun->sequence_first, overrun->sequence_last, count,
             telling->dry_run ? "would go" : "go");
}

static void print_summary(const struct indexer_retention_totals *totals, bool dry_run)
{
    char deleted[UNITS_TEXT_SIZE], left[UNITS_TEXT_SIZE];
    units_format_size(totals->bytes_deleted, deleted);
    units_format_size(totals->bytes_left, left);
    verb_say(retention_verb.name,
             "%" PRIu64 " segment%s, %s %s; %" PRIu64 " segment%s, %s left, from sequence %" PRIu64,
             totals->segments_deleted, totals->segments_deleted == 1 ? "" : "s", deleted,
             dry_run ? "would be deleted" : "deleted", totals->segments_left,
             totals->segments_left == 1 ? "" : "s", left, totals->bound);
}

/* The rows follow the files: have they? */
static int check_index(const struct indexer_retention_totals *totals, const char *directory)
{
    struct error error;
    if (totals->index == INDEXER_RETENTION_INDEX_FAILED) {
        verb_say(retention_verb.name, "the index still has rows of deleted segments: %s",
                 totals->index_error);
        return STATUS_INCOMPLETE;
    }
    if (totals->index == INDEXER_RETENTION_INDEX_BUSY &&
        indexer_wait_for_bound(directory, INDEX_WAIT_MS, &error) == ERROR_BUSY) {
        verb_say(retention_verb.name, "the index still has rows of deleted segments: %s",
                 error.text);
        return STATUS_INCOMPLETE;
    }
    return STATUS_OK;
}

static int run(const char *directory, const struct indexer_retention_options *limits)
{
    struct error error;
    struct indexer_retention_totals totals = {0};
    struct telling telling = {.dry_run = limits->dry_run};
    damage_warn_of_deleting(retention_verb.name, directory);
    if (indexer_retention_run(directory, limits, tell_segment, &telling, &totals, &error))
        return verb_fail_open(retention_verb.name, directory, &error);
    int status = check_index(&totals, directory);
    print_summary(&totals, telling.dry_run);
    if (totals.frozen[0]) {
        verb_say(retention_verb.name, "nothing was deleted by age: %s", totals.frozen);
        status = STATUS_INCOMPLETE;
    }
    if (totals.blocked[0]) {
        verb_say(retention_verb.name,
                 "%s; it and what is behind it were left, see 'daybook verify -D %s'",
                 totals.blocked, directory);
        status = STATUS_INCOMPLETE;
    }
    if (totals.held[0])
        verb_say(retention_verb.name, "%s; see 'daybook cursors -D %s'", totals.held, directory);
    if (totals.held[0] || telling.overrun)
        status = STATUS_INCOMPLETE;
    if (totals.damaged_cursor[0]) {
        verb_say(retention_verb.name, "%s: it holds nothing", totals.damaged_cursor);
        status = STATUS_DAMAGE;
    }
    return status;
}

/* What is deleted does not come back: 30 is not taken for seconds where days may be meant. */
static void take_age(struct options *options, const char *value, int64_t *age_out_ns)
{
    if (value[0] && value[strspn(value, "0123456789.")] == '\0')
        options_refuse(options, "--max-age %s: of what? Say %sd for days, or h, m, s", value,
                       value);
    else
        options_duration(options, "--max-age", value, age_out_ns);
}

int verb_retention(int argc, char **argv)
{
    struct options options;
    struct indexer_retention_options limits = {.overrun = tell_overrun};
    const char *value;
    int id;
    options_init(&options, &retention_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE) {
        if (id == FLAG_MAX_AGE)
            take_age(&options, value, &limits.max_age_ns);
        else if (id == FLAG_MAX_SIZE)
            options_size(&options, "--max-size", value, &limits.max_bytes);
        else
            limits.dry_run = true;
    }
    options_refuse_operands(&options);
    if (!options.finished && limits.max_age_ns <= 0 && limits.max_bytes == 0)
        options_refuse(&options, "give --max-age, --max-size or both, above 0");
    if (options.finished)
        return options.status;
    return run(options_directory(&options), &limits);
}
