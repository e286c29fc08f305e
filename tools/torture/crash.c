#include "tools/torture/crash.h"

#include <string.h>
#include <time.h>

#include "tools/torture/chance.h"
#include "tools/torture/clock.h"
#include "tools/torture/crash_inside.h"

/*
 * A generation is the time between two crashes of one log. Of its operations so many are picked,
 * evenly among the many of one sort and among the few of the other.
 */
enum {
    GENERATIONS_MAX = 3,
    PICKS_COMMON = 10,
    PICKS_RARE = 6,
    PICKS = PICKS_COMMON + PICKS_RARE,
    CUTS = 24,
    EXHAUSTIVE_BITS = 14,
};

struct pick {
    struct torture_snapshot *snapshot;
    struct torture_mark mark;
    enum torture_disk_kind kind;
    uint64_t operation;
};

struct generation {
    struct pick picks[PICKS];
    uint64_t met_common, met_rare;
    uint64_t chance;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Every operation of a sort has the same chance to be among the picks. */
static struct pick *choose_slot(struct generation *g, enum torture_disk_kind kind)
{
    bool common =
        kind == TORTURE_DISK_WRITE || kind == TORTURE_DISK_SYNC || kind == TORTURE_DISK_SYNC_START;
    uint64_t size = common ? PICKS_COMMON : PICKS_RARE;
    uint64_t met = common ? g->met_common++ : g->met_rare++;
    uint64_t slot = met < size ? met : chance_below(&g->chance, met + 1);
    return slot < size ? &g->picks[common ? slot : PICKS_COMMON + slot] : NULL;
}

static void watch(void *context, struct torture_workload *workload,
                  const struct torture_disk_operation *operation)
{
    struct pick *pick = choose_slot(context, operation->kind);
    if (!pick)
        return;
    torture_snapshot_free(pick->snapshot);
    *pick = (struct pick){.kind = operation->kind, .operation = operation->number};
    pick->snapshot = torture_workload_snapshot(workload, &pick->mark);
}

static void free_picks(struct generation *g)
{
    for (size_t i = 0; i < PICKS; i++)
        torture_snapshot_free(g->picks[i].snapshot);
}

static bool is_over(struct crash_campaign *c)
{
    if (c->options.states > 0 && c->counts.states >= c->options.states)
        return true;
    if (c->options.seconds > 0 && now() - c->started >= c->options.seconds)
        return true;
    return c->options.progress && !c->options.progress(c->options.context, &c->counts);
}

static struct crash_cause choose_cause(struct crash_campaign *c, const struct pick *pick)
{
    struct crash_cause cause = {
        .kill = chance_happens(&c->chance, 8),
        .power = crash_choose_power(&c->chance),
        .seed = chance_draw(&c->chance),
        .depth = 1,
        .boot = torture_clock_boot(),
        .kind = pick->kind,
        .operation = pick->operation,
    };
    cause.torn = !cause.kill && cause.power.torn;
    cause.power_lost = !cause.kill;
    cause.boot += !cause.kill;
    return cause;
}

/* Every subset of what was dirty. */
static bool exhaust(struct crash_campaign *c, const struct pick *pick)
{
    struct crash_cause cause = choose_cause(c, pick);
    cause.kill = cause.torn = cause.power.torn = false;
    cause.power_lost = cause.exact = true;
    cause.boot = torture_clock_boot() + 1;
    if (cause.power.unit_bytes > 4096)
        cause.power.unit_bytes = 512;
    uint64_t cuts = torture_snapshot_cuts(pick->snapshot, &cause.power);
    if (cuts < 4 || cuts > UINT64_C(1) << EXHAUSTIVE_BITS)
        return true;
    c->counts.exhausted++;
    bool good = true;
    for (cause.seed = 0; good && cause.seed < cuts; cause.seed++)
        good = c->judge(c, crash_make_disk(pick->snapshot, &cause), &pick->mark, &cause);
    return good;
}

static bool explore(struct crash_campaign *c, const struct generation *g)
{
    bool good = true;
    for (size_t i = 0; good && i < PICKS; i++) {
        const struct pick *pick = &g->picks[i];
        for (int cut = 0; good && cut < CUTS && pick->snapshot && !is_over(c); cut++) {
            struct crash_cause cause = choose_cause(c, pick);
            struct torture_disk *disk = crash_make_disk(pick->snapshot, &cause);
            good = c->judge(c, disk, &pick->mark, &cause);
        }
    }
    const struct pick *chosen = &g->picks[chance_below(&c->chance, PICKS)];
    if (good && chosen->snapshot && !is_over(c) && chance_happens(&c->chance, 25))
        good = exhaust(c, chosen);
    return good;
}

/* Go on from one of the states, with retries of what was not acknowledged. NULL: a failure. */
static struct torture_disk *go_on(struct crash_campaign *c, const struct generation *g,
                                  struct torture_mark *mark_out)
{
    const struct pick *pick = &g->picks[0];
    for (int tries = 0; tries < PICKS && (tries == 0 || !pick->snapshot); tries++)
        pick = &g->picks[chance_below(&c->chance, PICKS)];
    if (!pick->snapshot)
        pick = &g->picks[0];
    struct crash_cause cause = choose_cause(c, pick);
    cause.torn = cause.power.torn = false;
    struct torture_disk *disk = crash_make_disk(pick->snapshot, &cause);
    uint64_t used = pick->mark.written;
    torture_disk_mount(disk, CRASH_MOUNT);
    torture_clock_set_boot(cause.boot);
    /* What a kill left in the page cache only recovery may give to readers: recover first. */
    struct segment_recovery_report report;
    bool good = !crash_recover(c, &report, c->failure) &&
                torture_oracle_go_on(c->oracle, &pick->mark, used, CRASH_PATH, c->failure);
    *mark_out = pick->mark;
    mark_out->appended = torture_oracle_count(c->oracle);
    mark_out->sequence_given = used;
    if (good)
        return disk;
    crash_blame(c, &cause);
    torture_disk_free(disk);
    return NULL;
}

static void add_counts(struct torture_workload_counts *to,
                       const struct torture_workload_counts *from)
{
    to->appended += from->appended;
    to->duplicates += from->duplicates;
    to->commits += from->commits;
    to->rolls += from->rolls;
    to->idles += from->idles;
    to->retentions += from->retentions;
    to->packed += from->packed;
    to->stops += from->stops;
    to->many_blocks += from->many_blocks;
}

/* Some steps of a workload, watched; then what its crashes leave. */
static bool run_generation(struct crash_campaign *c, struct torture_disk *disk,
                           const struct torture_mark *mark, struct generation *g)
{
    struct torture_workload_start start = {
        .oracle = c->oracle,
        .disk = disk,
        .path = CRASH_PATH,
        .seed = chance_draw(&c->chance),
        .content_seed = c->content_seed,
        .options = c->log,
        .mark = *mark,
        .watcher = watch,
        .context = g,
    };
    struct segment_recovery_report report;
    struct torture_workload *workload = torture_workload_open(&start, &report, c->failure);
    bool good = workload != NULL;
    for (uint64_t left = 3 + chance_below(&c->chance, 24); good && left > 0; left--)
        good = torture_workload_step(workload, c->failure);
    if (good && chance_happens(&c->chance, 25))
        good = torture_workload_stop(workload, c->failure);
    if (workload) {
        struct torture_workload_counts counts;
        torture_disk_watch(disk, NULL, NULL);
        torture_workload_count(workload, &counts);
        add_counts(&c->counts.workload, &counts);
    }
    torture_workload_free(workload);
    torture_disk_mount(NULL, CRASH_MOUNT);
    c->counts.generations++;
    if (good)
        return explore(c, g);
    struct crash_cause none = {.depth = 0, .kill = true};
    return crash_blame(c, &none);
}

static void choose_options(struct crash_campaign *c)
{
    static const uint32_t aligns[] = {8, 8, 512, 4096};
    c->log = (struct segment_log_options){
        .segment_bytes = FORMAT_SEGMENT_BYTES_MIN << chance_below(&c->chance, 2),
        .segment_age_ns = TORTURE_CLOCK_NEVER_NS,
        .write_path = chance_happens(&c->chance, 35) ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
        .commit_align = aligns[chance_below(&c->chance, 4)],
        .pending_bytes_max = 4 << 20,
    };
}

static bool run_workload(struct crash_campaign *c)
{
    uint64_t seed = c->options.seed;
    seed = chance_draw(&seed) ^ c->number * UINT64_C(0x9e3779b97f4a7c15);
    torture_clock_use(seed);
    c->chance = seed;
    c->content_seed = chance_draw(&c->chance);
    c->oracle = torture_oracle_create();
    choose_options(c);
    struct torture_disk *disk = torture_disk_create(0);
    torture_disk_mount(disk, CRASH_MOUNT);
    struct torture_mark mark = {.bound_durable = 1, .bound_wanted = 1};
    uint64_t generations = 1 + chance_below(&c->chance, GENERATIONS_MAX);
    bool good = true;
    for (uint64_t i = 0; good && i < generations && !is_over(c); i++) {
        struct generation g = {.chance = chance_draw(&c->chance)};
        good = run_generation(c, disk, &mark, &g);
        torture_disk_free(disk);
        disk = NULL;
        if (good && i + 1 < generations) {
            disk = go_on(c, &g, &mark);
            good = disk != NULL;
        }
        free_picks(&g);
    }
    torture_disk_free(disk);
    torture_oracle_free(c->oracle);
    c->counts.workloads++;
    return good;
}

bool crash_run(struct crash_campaign *c)
{
    bool good = true;
    c->started = now();
    file_calls_use(torture_disk_calls());
    for (c->number = c->options.workload ? c->options.workload : 1; good && !is_over(c);
         c->number++) {
        good = run_workload(c);
        if (c->options.workload)
            break;
    }
    file_calls_use(NULL);
    torture_clock_release();
    crash_seen_free(&c->seen);
    return good;
}

bool torture_crash_run(const struct torture_crash_options *options,
                       struct torture_crash_counts *counts_out, struct error *failure_out)
{
    struct crash_campaign campaign = {
        .options = *options, .judge = crash_judge, .failure = failure_out};
    bool good = crash_run(&campaign);
    *counts_out = campaign.counts;
    return good;
}
