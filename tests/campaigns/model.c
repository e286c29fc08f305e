/*
 * tests/campaigns/model.c - random sequences of operations on a log, against a small model
 * (model_log.h) that shares no code with it.
 *
 * A seed gives a sequence, and a sequence gives the same history each time: for some of them it is
 * run twice, and all observations and the disk's bytes must have the same hash. A sequence that
 * fails is made shorter as long as it still fails, and then printed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/campaigns/campaign.h"
#include "tests/campaigns/model_steps.h"
#include "tools/torture/chance.h"

enum { STEPS_MIN = 20, STEPS_MAX = 80, RUN_TWICE = 20, FAILURES_MAX = 5 };

static struct campaign campaign = {.cases = 2000, .seed = 1};

struct sequence {
    uint64_t seed;
    size_t count;
    struct model_step steps[STEPS_MAX];
};

/* It is large, and one at a time is in use. */
static struct model_world world;

static struct sequence make_sequence(uint64_t seed)
{
    struct sequence sequence = {.seed = seed};
    uint64_t chance = seed;
    /* Most are short, for what they can show takes few steps; some go on for longer. */
    uint64_t longest = chance_below(&chance, STEPS_MAX - STEPS_MIN + 1);
    sequence.count = STEPS_MIN + (size_t)chance_below(&chance, longest + 1);
    for (size_t i = 0; i < sequence.count; i++)
        sequence.steps[i] = model_step_choose(&chance);
    return sequence;
}

/* Run it, and read all at the end. False: world.failure says what went wrong. */
static bool run_sequence(const struct sequence *sequence, uint64_t *trace_out)
{
    const struct model_step last[] = {{MODEL_SYNC, 0}, {MODEL_READ_ALL, 0}};
    model_world_open(&world, sequence->seed);
    bool good = !world.failed;
    for (size_t i = 0; good && i < sequence->count; i++)
        good = model_step_run(&world, &sequence->steps[i]);
    for (size_t i = 0; good && i < 2; i++)
        good = model_step_run(&world, &last[i]);
    if (good)
        model_world_note(&world, torture_disk_hash(world.disk));
    *trace_out = world.trace;
    model_world_close(&world);
    return good;
}

static void remove_step(struct sequence *sequence, size_t index)
{
    sequence->count--;
    memmove(&sequence->steps[index], &sequence->steps[index + 1],
            (sequence->count - index) * sizeof *sequence->steps);
}

/* As long as it still fails, whatever the reason, take steps away. */
static void shrink(struct sequence *sequence)
{
    bool shorter = true;
    uint64_t trace;
    while (shorter) {
        shorter = false;
        for (size_t i = sequence->count; i > 0; i--) {
            struct sequence candidate = *sequence;
            remove_step(&candidate, i - 1);
            if (run_sequence(&candidate, &trace))
                continue;
            *sequence = candidate;
            shorter = true;
        }
    }
}

/* The first one is made shorter: that takes a while. */
static void print_failure(struct sequence *sequence, bool first)
{
    uint64_t trace;
    printf("# seed %" PRIu64 ": %s\n", sequence->seed, world.failure);
    if (!first)
        return;
    shrink(sequence);
    if (run_sequence(sequence, &trace)) {
        printf("# … but not each time: it depends on the threads' timing\n");
        return;
    }
    printf("# shortest: %s\n", world.failure);
    for (size_t i = 0; i < sequence->count; i++)
        printf("#   %s (%" PRIx64 ")\n", model_step_text(sequence->steps[i].kind),
               sequence->steps[i].draw);
}

/* In a run of so many sequences each of these must have happened. */
static bool check_minimums(const uint64_t *counts, uint64_t cases)
{
    bool good = true;
    for (unsigned i = 0; i < MODEL_COUNTS; i++) {
        uint64_t least =
            i == MODEL_COUNT_FROZEN || i == MODEL_COUNT_BUSY ? cases / 100 : cases / 20;
        campaign_count(counts[i], "%s", model_step_text(i));
        if (counts[i] >= least)
            continue;
        printf("# too few: %s\n", model_step_text(i));
        good = false;
    }
    return good;
}

int main(int count, char **arguments)
{
    uint64_t counts[MODEL_COUNTS] = {0}, done = 0, twice = 0, different = 0, failed = 0;

    campaign_parse(&campaign, count, arguments);
    for (; done < campaign.cases && !campaign_is_over(&campaign) && failed < FAILURES_MAX; done++) {
        struct sequence sequence = make_sequence(campaign.seed + done);
        uint64_t trace, again;
        bool good = run_sequence(&sequence, &trace);
        for (unsigned i = 0; i < MODEL_COUNTS; i++)
            counts[i] += world.counts[i];
        if (!good) {
            print_failure(&sequence, failed == 0);
            failed++;
        } else if (done % RUN_TWICE == 0) {
            twice++;
            if (!run_sequence(&sequence, &again) || again != trace) {
                printf("# seed %" PRIu64 " gives another history the second time\n", sequence.seed);
                different++;
            }
        }
    }
    campaign_count(done, "model sequences");
    campaign_count(twice, "of them run twice");
    bool enough = check_minimums(counts, done);
    campaign_say(&campaign, failed == 0,
                 "the log does what the model says (%" PRIu64 " of %" PRIu64
                 " sequences do not, from seed %" PRIu64 ")",
                 failed, done, campaign.seed);
    campaign_say(&campaign, twice > 0 && different == 0,
                 "a seed repeats a sequence bit for bit (%" PRIu64 " of %" PRIu64 " do not)",
                 different, twice);
    campaign_say(&campaign, enough, "every kind of operation was met often enough");
    return campaign.failures > 0;
}
