/*
 * tools/daybook/reindex.c - `daybook reindex`: build the index anew from the log.
 */
#include <inttypes.h>

#include "core/clock.h"
#include "core/units.h"
#include "indexer/reindex.h"
#include "tools/daybook/options.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

static const struct options_flag reindex_flags[] = {
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb reindex_verb = {
    .name = "reindex",
    .usage = "[FLAGS]",
    .about = "Build events.db anew from the segments. Readers see the old index until the new one\n"
             "is complete. Needs the daemon stopped; beside one delete events.db instead, and the\n"
             "daemon builds it anew. Exits 4 when places of the log could not be read.",
    .flags = reindex_flags,
    .example = "  daybook reindex -D /var/lib/daybook/log\n",
};

static void tell_progress(void *context, uint64_t sequence_done, uint64_t sequence_last)
{
    terminal_progress_show(context, sequence_done, sequence_last);
}

static int run(const char *directory)
{
    struct error error;
    struct terminal_progress progress = {.what = "indexing", .counts = true};
    struct indexer_reindex_totals totals = {0};
    int64_t start_ns = clock_monotonic_ns();
    enum error_code code = indexer_reindex(directory, tell_progress, &progress, &totals, &error);
    terminal_progress_clear(&progress);
    if (code)
        return verb_fail_open(reindex_verb.name, directory, &error);

    char events[UNITS_TEXT_SIZE + 8], bytes[UNITS_TEXT_SIZE], took[UNITS_TEXT_SIZE];
    units_format_count(totals.events, events);
    units_format_size(totals.bytes, bytes);
    units_format_duration(clock_monotonic_ns() - start_ns, took);
    verb_say(reindex_verb.name, "%s event%s indexed in %s, %s", events,
             totals.events == 1 ? "" : "s", took, bytes);
    if (totals.damaged == 0)
        return STATUS_OK;
    verb_say(reindex_verb.name,
             "%" PRIu64 " place%s of the log could not be read: see the table gaps, and "
             "'daybook verify'",
             totals.damaged, totals.damaged == 1 ? "" : "s");
    return STATUS_DAMAGE;
}

int verb_reindex(int argc, char **argv)
{
    struct options options;
    const char *value;
    options_init(&options, &reindex_verb, argc, argv);
    while (options_next(&options, &value) != OPTIONS_DONE)
        continue;
    options_refuse_operands(&options);
    if (options.finished)
        return options.status;
    return run(options_directory(&options));
}
