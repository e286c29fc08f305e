/*
 * tools/daybook/verify.c - `daybook verify`: check every byte of the log.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/units.h"
#include "indexer/witness.h"
#include "segment/reader.h"
#include "segment/schemas.h"
#include "segment/verify.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"
#include "tools/daybook/verify_repair.h"

enum { FLAG_REPAIR = OPTIONS_LONG, FLAG_ACCEPT_LOSS, FLAG_DRY_RUN, GAPS_TOLD = 20 };

static const struct options_flag verify_flags[] = {
    {FLAG_REPAIR, "repair", NULL,
     "keep what can be read, quarantine the rest, record what is lost"},
    {FLAG_ACCEPT_LOSS, "accept-loss", NULL, "also where no byte is left that could be kept"},
    {FLAG_DRY_RUN, "dry-run", NULL, "only say what --repair would do"},
    {'o', "output", "FORMAT", "table|json|csv|markdown (default: a sentence a finding)"},
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb verify_verb = {
    .name = "verify",
    .usage = "[FLAGS]",
    .about = "Check every byte of the log, beside a running daemon or without. Findings go to\n"
             "stdout, one a line, with segment, offset and sequences. Exits 4 when there are any.\n"
             "With --repair, which needs the daemon stopped, the log can be written again.",
    .flags = verify_flags,
    .example = "  daybook verify && echo all is well\n"
               "  daybook verify --repair --dry-run\n",
};

static const char *const names[] = {"segment", "offset", "first_seq", "last_seq", "finding"};

struct verify_run {
    struct rows *rows; /* NULL: sentences */
    struct terminal_progress progress;
    struct error error;
    uint64_t findings;
    uint64_t gaps;
    uint64_t gaps_untold;
};

static void add_row(struct verify_run *run, const struct segment_verify_finding *finding)
{
    rows_sequence(run->rows, finding->segment_first);
    rows_sequence(run->rows, finding->offset);
    if (finding->sequence_first) {
        rows_sequence(run->rows, finding->sequence_first);
        rows_sequence(run->rows, finding->sequence_last);
    } else {
        rows_null(run->rows);
        rows_null(run->rows);
    }
    rows_string(run->rows, finding->text);
    rows_end(run->rows, NULL);
}

static void tell_finding(void *context, const struct segment_verify_finding *finding)
{
    struct verify_run *run = context;
    run->findings++;
    terminal_progress_clear(&run->progress);
    if (run->rows)
        add_row(run, finding);
    else
        printf("%s\n", finding->text);
}

/* What is on record as lost is known, and no finding. */
static void tell_gap(void *context, const struct segment_format_gap *gap)
{
    struct verify_run *run = context;
    if (run->gaps++ >= GAPS_TOLD) {
        run->gaps_untold++;
        return;
    }
    terminal_progress_clear(&run->progress);
    verb_say(verify_verb.name,
             "known: events %" PRIu64 " to %" PRIu64 " are lost, as is on record: %s",
             gap->sequence_first, gap->sequence_last, segment_format_gap_cause_text(gap->cause));
}

static void tell_progress(void *context, uint64_t done, uint64_t total)
{
    struct verify_run *run = context;
    terminal_progress_show(&run->progress, done, total);
}

/*
 * The index only ever holds what was durable. When it has seen more than the log now has, the
 * log's end is missing, however clean that end may look.
 */
static enum error_code compare_with_index(struct verify_run *run, const char *directory,
                                          struct error *error)
{
    uint64_t indexed = 0;
    struct segment_reader *reader = NULL;
    enum error_code code = indexer_witness(directory, &indexed, error);
    if (!code) /* the index first: beside a writer the log only grows */
        code = segment_reader_open(directory, &reader, error);
    if (code == ERROR_NOT_FOUND && indexed > 0)
        code = OK; /* no segment is left, and the index has seen some */
    if (code)
        return code == ERROR_DAMAGED ? OK : code; /* that is among the findings */
    uint64_t last = reader ? segment_reader_watermark(reader) : 0;
    segment_reader_close(reader);
    if (indexed <= last)
        return OK;
    char text[200];
    snprintf(text, sizeof text,
             "the index has seen sequence %" PRIu64 ", the log ends at %" PRIu64
             ": sequences %" PRIu64 "-%" PRIu64 " are lost",
             indexed, last, last + 1, indexed);
    struct segment_verify_finding finding = {
        .sequence_first = last + 1, .sequence_last = indexed, .text = text};
    tell_finding(run, &finding);
    return OK;
}

static void tell_schema(struct verify_run *run, const struct error *why)
{
    tell_finding(run, &(struct segment_verify_finding){.text = why->text});
}

/* Without them nobody can write: every version's text, not only what is in effect. */
static enum error_code check_schemas(struct verify_run *run, const char *directory,
                                     struct error *error)
{
    struct segment_schemas schemas = {0};
    struct error why = {0};
    int log_fd = -1;
    enum error_code code = file_open_directory_to_read(directory, &log_fd, error);
    if (code)
        return code;
    if (segment_schemas_load(log_fd, &schemas, &why))
        tell_schema(run, &why);
    for (size_t i = 0; i < schemas.count; i++) {
        struct buffer text = {0};
        if (schemas.changes[i].action == SCHEMAS_ADD &&
            segment_schemas_read_text(log_fd, &schemas.changes[i], &text, &why))
            tell_schema(run, &why);
        buffer_release(&text);
    }
    segment_schemas_free(&schemas);
    file_close(&log_fd);
    return OK;
}

static void print_summary(const struct verify_run *run, const struct segment_verify_totals *totals,
                          const char *directory, int64_t took_ns)
{
    char segments[UNITS_TEXT_SIZE + 8], events[UNITS_TEXT_SIZE + 8], bytes[UNITS_TEXT_SIZE];
    char took[UNITS_TEXT_SIZE], findings[UNITS_TEXT_SIZE + 8];
    units_format_count(totals->segments, segments);
    units_format_count(totals->events, events);
    units_format_size(totals->bytes, bytes);
    units_format_duration(took_ns, took);
    units_format_count(run->findings, findings);
    verb_say(verify_verb.name, "%s segment%s, %s event%s, %s checked in %s: %s%s", segments,
             totals->segments == 1 ? "" : "s", events, totals->events == 1 ? "" : "s", bytes, took,
             run->findings ? findings : "no damage",
             run->findings == 0   ? ""
             : run->findings == 1 ? " finding"
                                  : " findings");
    if (run->findings)
        verb_say(verify_verb.name,
                 "next: restore the named segments from a backup, or let 'daybook verify -D %s "
                 "--repair --dry-run' say what a repair would keep and put on record as lost "
                 "(docs/operations.md, \"When the log is damaged\")",
                 directory);
    if (run->gaps_untold)
        verb_say(verify_verb.name,
                 "known: … and %" PRIu64 " more such gaps; the view 'gaps' has all",
                 run->gaps_untold);
    if (totals->torn_bytes)
        verb_say(verify_verb.name,
                 "note: %" PRIu64 " bytes of a write that was never acknowledged lie behind the "
                 "end; the next writer removes them",
                 totals->torn_bytes);
}

static enum error_code check(struct verify_run *run, const char *directory,
                             struct segment_verify_totals *totals)
{
    struct segment_verify_watcher watcher = {tell_finding, tell_gap, tell_progress, run};
    enum error_code code = segment_verify_watch(directory, &watcher, totals, &run->error);
    terminal_progress_clear(&run->progress);
    if (!code)
        code = compare_with_index(run, directory, &run->error);
    if (!code)
        code = check_schemas(run, directory, &run->error);
    if (!code && run->rows)
        code = rows_finish(run->rows, &run->error);
    return code;
}

static int run_verify(const char *directory, int format)
{
    struct verify_run run = {.progress = {.what = "checking"}};
    struct segment_verify_totals totals = {0};
    int64_t start_ns = clock_monotonic_ns();
    if (format >= 0 && rows_create(stdout, (enum rows_format)format, false, names,
                                   sizeof names / sizeof names[0], &run.rows, &run.error))
        return verb_fail(verify_verb.name, &run.error);
    enum error_code code = check(&run, directory, &totals);
    rows_free(run.rows);
    if (code && code != ERROR_CLOSED)
        return verb_fail_open(verify_verb.name, directory, &run.error);
    fflush(stdout);
    print_summary(&run, &totals, directory, clock_monotonic_ns() - start_ns);
    return run.findings ? STATUS_DAMAGE : STATUS_OK;
}

static void check_flags(struct options *options, bool repair, bool table,
                        const struct verify_repair_request *request)
{
    if (!repair && (request->dry_run || request->accept_loss))
        options_refuse(options, "--dry-run and --accept-loss belong to --repair");
    else if (repair && table)
        options_refuse(options, "-o and --repair exclude each other");
}

int verb_verify(int argc, char **argv)
{
    struct options options;
    struct verify_repair_request request = {0};
    const char *value;
    bool repair = false;
    int id, format = -1;
    options_init(&options, &verify_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE) {
        repair |= id == FLAG_REPAIR;
        request.dry_run |= id == FLAG_DRY_RUN;
        request.accept_loss |= id == FLAG_ACCEPT_LOSS;
        if (id == 'o')
            options_choice(&options, "-o", value, rows_format_names, &format);
    }
    options_refuse_operands(&options);
    if (!options.finished)
        check_flags(&options, repair, format >= 0, &request);
    if (options.finished)
        return options.status;
    request.directory = options_directory(&options);
    return repair ? verify_repair(verify_verb.name, &request)
                  : run_verify(request.directory, format);
}
