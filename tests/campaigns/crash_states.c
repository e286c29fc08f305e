/*
 * tests/campaigns/crash_states.c - cut off random workloads at their operations and judge every
 * state that a crash can leave (tools/torture/crash.h).
 *
 *     crash_states [--cases N] [--seed S] [--seconds T] [--workload W]
 *     crash_states --rules [--cases N] [--seed S] [--seconds T]
 *
 * --workload repeats the one that a failure names. --rules compares rules of recovery instead
 * (tools/torture/crash_rules.h) and prints a table.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "tests/campaigns/campaign.h"
#include "tools/torture/crash.h"
#include "tools/torture/crash_rules.h"

/* Fewer states need not meet everything: a quick look with a sanitizer. */
enum { STATES_FOR_ALL_KINDS = 20000 };

/* Each kind must have occurred, or the campaign has shown less than it says. */
static void report(struct campaign *campaign, const struct torture_crash_counts *counts)
{
    const struct {
        uint64_t number;
        const char *what;
    } kinds[] = {
        {counts->states, "distinct crash states"},
        {counts->by_unit[0], "power cuts by sectors of 512 bytes"},
        {counts->by_unit[1], "power cuts by pages of 4 KiB"},
        {counts->by_unit[2], "power cuts by folios of 1 MiB"},
        {counts->kills, "kills of the simulated process"},
        {counts->exhaustive, "states of exhaustive enumerations"},
        {counts->exhausted, "moments of which every subset of dirty units was tried"},
        {counts->second, "second crashes, inside of a recovery"},
        {counts->third, "third crashes"},
        {counts->by_kind[TORTURE_DISK_CREATE], "crashes after making a file"},
        {counts->by_kind[TORTURE_DISK_WRITE], "crashes after a write"},
        {counts->by_kind[TORTURE_DISK_SYNC_START], "crashes inside of a sync"},
        {counts->by_kind[TORTURE_DISK_SYNC], "crashes after a sync"},
        {counts->by_kind[TORTURE_DISK_SYNC_DIRECTORY], "crashes after a directory's sync"},
        {counts->by_kind[TORTURE_DISK_ALLOCATE], "crashes after an allocation"},
        {counts->by_kind[TORTURE_DISK_RENAME], "crashes after a rename"},
        {counts->by_kind[TORTURE_DISK_UNLINK], "crashes after a deletion"},
        {counts->names_lost, "states that lost directory operations"},
        {counts->units_lost, "states that lost sectors"},
        {counts->units_between, "states with a sector between its old and its last bytes"},
        {counts->units_torn, "states with torn sectors"},
        {counts->lengths_lost, "states that lost a file's length"},
        {counts->by_map, "states left by stores through a map"},
        {counts->by_align[0], "states with commit_align 8"},
        {counts->by_align[1], "states with commit_align 512"},
        {counts->by_align[2], "states with commit_align 4096"},
        {counts->after_retention, "states after retention had begun"},
        {counts->by_verdict[RECOVERY_CLEAN], "recoveries that found a clean stop"},
        {counts->by_verdict[RECOVERY_END], "recoveries that found the end between commits"},
        {counts->by_verdict[RECOVERY_SEALED], "recoveries that found a seal"},
        {counts->by_verdict[RECOVERY_TORN], "recoveries that found a torn tail"},
        {counts->by_verdict[RECOVERY_DAMAGED_TAIL], "recoveries that found a damaged tail"},
        {counts->refused, "recoveries that refused damage"},
        {counts->loud_losses, "acknowledged events lost on disks that tear, and reported"},
        {counts->appended_after, "logs that were used again"},
        {counts->workload.rolls, "rolls"},
        {counts->workload.many_blocks, "commits of many blocks"},
        {counts->workload.idles, "idle watermarks"},
        {counts->workload.retentions, "retentions"},
        {counts->workload.packed, "segments packed"},
        {counts->workload.duplicates, "retries"},
        {counts->workload.stops, "clean stops"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        campaign_count(kinds[i].number, "%s", kinds[i].what);
        if (kinds[i].number == 0 && counts->states >= STATES_FOR_ALL_KINDS)
            campaign_say(campaign, false, "there were %s", kinds[i].what);
    }
    campaign_count(counts->loud_by_align[0], "of those losses with commit_align 8");
    campaign_count(counts->loud_by_align[1], "of those losses with commit_align 512");
    campaign_count(counts->loud_by_align[2], "of those losses with commit_align 4096");
    campaign_count(counts->repeated, "states that were met again, not counted");
    campaign_count(counts->workloads, "workloads");
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Which rule keeps silent about lost events, and which cries without cause? */
static void compare_rules(struct campaign *campaign, const struct torture_crash_options *options)
{
    struct torture_rule_figures figures;
    struct error failure = {0};
    bool good = torture_rules_run(options, &figures, &failure);
    campaign_say(campaign, good, "every state could be judged%s%s", good ? "" : ": ",
                 good ? "" : failure.text);
    campaign_count(figures.flipped, "states with flipped bits that cost acknowledged events");
    campaign_count(figures.honest, "states of honest power cuts");
    campaign_count(figures.torn, "of them with a torn tail");
    printf("| rule | silent loss | false alarms on torn tails |\n|---|---|---|\n");
    for (enum torture_rule rule = 0; rule < TORTURE_RULES; rule++)
        printf("| %s | %" PRIu64 " (%.3f %%) | %" PRIu64 " (%.3f %%) |\n", torture_rule_text(rule),
               figures.silent[rule], percent(figures.silent[rule], figures.flipped),
               figures.alarms[rule], percent(figures.alarms[rule], figures.torn));
    campaign_say(campaign, figures.torn > 0 && figures.flipped > 0,
                 "there were torn tails and flipped bits");
    campaign_say(campaign, figures.alarms[TORTURE_RULE_ALL] == 0,
                 "Daybook's rule raises no false alarm");
    campaign_say(campaign,
                 figures.silent[TORTURE_RULE_ALL] * 100 <= figures.silent[TORTURE_RULE_TRUNCATE],
                 "Daybook's rule is silent at most once where truncating is a hundred times");
}

static void find_crashes(struct campaign *campaign, const struct torture_crash_options *options)
{
    struct torture_crash_counts counts;
    struct error failure = {0};
    bool good = torture_crash_run(options, &counts, &failure);
    campaign_say(campaign, good,
                 "after every crash all acknowledged events are there, and nothing else%s%s",
                 good ? "" : ": ", good ? "" : failure.text);
    if (good && !options->workload)
        report(campaign, &counts);
}

/* Take an option of ours out of the arguments; `values` is how many follow it. NULL: not there. */
static const char *take(int *count, char **arguments, const char *name, int values)
{
    for (int i = 1; i + values < *count; i++) {
        if (strcmp(arguments[i], name) != 0)
            continue;
        const char *value = arguments[i + values];
        memmove(&arguments[i], &arguments[i + 1 + values],
                (size_t)(*count - i - values) * sizeof *arguments);
        *count -= 1 + values;
        return value;
    }
    return NULL;
}

int main(int count, char **arguments)
{
    const char *workload = take(&count, arguments, "--workload", 1);
    bool rules = take(&count, arguments, "--rules", 0) != NULL;
    struct campaign campaign = {.cases = rules ? 50000 : 30000, .seed = 1};
    campaign_parse(&campaign, count, arguments);
    struct torture_crash_options options = {
        .seed = campaign.seed,
        .states = campaign.cases,
        .workload = workload ? strtoull(workload, NULL, 10) : 0,
    };
    /* Before the campaign takes the clock over. */
    if (campaign.deadline_ns != INT64_MAX)
        options.seconds = (double)(campaign.deadline_ns - clock_monotonic_ns()) / 1e9;
    /* Recovery's large buffers come and go a thousand times a second: keep their pages. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    if (rules)
        compare_rules(&campaign, &options);
    else
        find_crashes(&campaign, &options);
    return campaign.failures > 0;
}
