/*
 * tools/daybook/pack.c - `daybook pack`: write sealed segments anew, smaller.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/units.h"
#include "segment/packer.h"
#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/verb.h"

#define WAIT_NS (INT64_C(100) * 1000000)

static const struct options_flag pack_flags[] = {
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb pack_verb = {
    .name = "pack",
    .usage = "[FLAGS]",
    .about =
        "Write each sealed segment that is not packed yet anew, its events in large blocks,\n"
        "tightly compressed: the same events and sequences in less space. Works beside readers\n"
        "and beside a daemon, which packs by itself unless it was told --pack off; may be killed\n"
        "at any moment and run again. Names each packed segment on stdout. Exits 4 when one is\n"
        "damaged, 5 when one had to be left for another reason.",
    .flags = pack_flags,
    .example = "  daybook pack -D /var/lib/daybook/log\n",
};

struct telling {
    int status;
};

static void tell_packed(void *context, const struct segment_set_segment *segment,
                        const struct segment_pack_result *result)
{
    char before[UNITS_TEXT_SIZE], after[UNITS_TEXT_SIZE];
    (void)context;
    units_format_size(result->bytes_before, before);
    units_format_size(result->bytes_after, after);
    printf("packed %s: %" PRIu64 " events, %s, was %s\n", segment->name, result->events, after,
           before);
    fflush(stdout);
}

static void tell_left(void *context, const struct segment_set_segment *segment,
                      const struct error *why)
{
    struct telling *telling = context;
    (void)segment;
    if (telling->status != STATUS_DAMAGE)
        telling->status = why->code == ERROR_DAMAGED ? STATUS_DAMAGE : STATUS_INCOMPLETE;
    verb_say(pack_verb.name, "%s", why->text);
}

/* The daemon may be packing: then this waits, and does what is left. */
static enum error_code pack(const char *directory, const struct segment_packer_watcher *watcher,
                            struct segment_packer_totals *totals_out, struct error *error)
{
    bool told = false;
    for (;;) {
        enum error_code code = segment_packer_run(directory, watcher, totals_out, error);
        if (code != ERROR_BUSY)
            return code;
        if (!told)
            verb_say(pack_verb.name, "another process packs this log; waiting until it is done");
        told = true;
        clock_sleep_until_ns(clock_monotonic_ns() + WAIT_NS);
    }
}

static void print_summary(const struct segment_packer_totals *totals)
{
    char before[UNITS_TEXT_SIZE], after[UNITS_TEXT_SIZE];
    if (totals->segments_packed == 0) {
        verb_say(pack_verb.name, "nothing to pack: a segment can be when another one follows it");
        return;
    }
    units_format_size(totals->bytes_before, before);
    units_format_size(totals->bytes_after, after);
    verb_say(pack_verb.name, "%" PRIu64 " segment%s, %s, was %s", totals->segments_packed,
             totals->segments_packed == 1 ? "" : "s", after, before);
}

int verb_pack(int argc, char **argv)
{
    struct options options;
    const char *value;
    options_init(&options, &pack_verb, argc, argv);
    while (options_next(&options, &value) != OPTIONS_DONE)
        continue;
    options_refuse_operands(&options);
    if (options.finished)
        return options.status;

    const char *directory = options_directory(&options);
    struct telling telling = {STATUS_OK};
    struct segment_packer_watcher watcher = {
        .packed = tell_packed, .left = tell_left, .context = &telling};
    struct segment_packer_totals totals = {0};
    struct error error;
    if (pack(directory, &watcher, &totals, &error))
        return verb_fail_open(pack_verb.name, directory, &error);
    if (totals.segments_packed > 0)
        index_freshen(pack_verb.name, directory, NULL);
    if (totals.segments_packed > 0 || totals.segments_left == 0)
        print_summary(&totals);
    return telling.status;
}
