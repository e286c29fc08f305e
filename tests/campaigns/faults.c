/*
 * The fault campaign: one call on the disk fails, and then the next one, until there is none left.
 *
 * For each scenario, each kind of failure and each call that can fail so: the first, the second,
 * the third …, once and for ever. Afterwards the disk is well again, and the log is closed, or its
 * process is killed, or the power is cut; then it is opened again. What must hold is in
 * faults_finish.c and faults_case.c: everything acknowledged is there, once, with its content;
 * nothing else is; after the first failed write or sync of the active segment nothing was
 * acknowledged (D8); every failure is told, with its place and reason; nothing stays open.
 *
 *     faults [--cases N] [--seed S] [--seconds T] [--real-disk]
 *            [--scenario TITLE --kind K --number N [--for-ever]]   one case
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/campaigns/faults.h"

enum { HANG_SECONDS = 60, ORDER_EVENTS_MIN = 5000 };

struct campaign {
    uint64_t cases; /* to be run, over all scenarios */
    uint64_t seed;
    int64_t deadline_ns;
    const char *scenario; /* NULL: all */
    bool on_kernel;       /* all of them on a real disk */
    struct faults_plan single;

    uint64_t ran, fired, failures;
    uint64_t calls[FAULTS_CALLS], hits[FAULTS_CALLS];
    uint64_t stopped, killed, cut; /* how the logs came to their end */
};

/* What one scenario has done so far. */
struct tally {
    const struct faults_scenario *scenario;
    uint64_t calls; /* of one healthy run */
    uint64_t ran, fired;
    bool failed;
};

/* ---- The clock ------------------------------------------------------------------------------- */

static atomic_bool clock_is_fast;
static _Atomic int64_t fast_now;

static int64_t realtime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Each look at the fast clock makes it 20 ms later, and it is far behind the machine's: whoever
 * waits until some moment of it does not wait. It begins anew with each case: over thousands of
 * them it would overtake the clock of a machine that was started an hour ago.
 */
static int64_t monotonic(void)
{
    if (atomic_load(&clock_is_fast))
        return atomic_fetch_add(&fast_now, 20000000);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void set_clock(bool fast)
{
    atomic_store(&fast_now, 0);
    atomic_store(&clock_is_fast, fast);
}

static const struct clock_source clocks = {
    .realtime_ns = realtime,
    .monotonic_ns = monotonic,
    .boot_id = faults_place_boot_id,
};

/* ---- One case -------------------------------------------------------------------------------- */

/* On whatever thread makes the call; before its caller knows. */
static void fired(void *context, const struct faults_hit *hit)
{
    struct faults_case *c = context;
    struct segment_log *log = atomic_load(&c->log);

    atomic_fetch_add(&c->hits, 1);
    if (!hit->failed)
        return;
    atomic_fetch_add(&c->failed_hits, 1);
    if (!log || hit->file != FAULTS_FILE_SEGMENT || atomic_load(&c->latched) ||
        (hit->call != FAULTS_WRITE && hit->call != FAULTS_SYNC_DATA))
        return;
    atomic_store(&c->durable_then, segment_log_durable(log));
    atomic_store(&c->latched, true);
}

static void count_calls(struct campaign *campaign, struct faults_counts *counts)
{
    for (int call = 0; call < FAULTS_CALLS; call++) {
        campaign->calls[call] += counts->calls[call];
        campaign->hits[call] += counts->hits[call];
    }
}

/* Tell which case it was that never came to an end, or to a bad one. */
static struct faults_case *_Atomic case_at_hand;

static void tell_case(int signal_number)
{
    struct faults_case *c = atomic_load(&case_at_hand);
    if (c)
        faults_case_blame(c, "%s", signal_number == SIGALRM ? "it hangs" : "it crashes");
    signal(signal_number, SIG_DFL);
    if (signal_number == SIGALRM)
        _exit(1);
    raise(signal_number);
}

/* Run one case; *counts_out are the calls while something could fail. False: it is not ok. */
static bool run_case(struct campaign *campaign, struct faults_case *c,
                     const struct faults_ledger *start, struct faults_counts *counts_out)
{
    atomic_store(&case_at_hand, c);
    alarm(HANG_SECONDS);
    faults_case_begin(c, start);
    c->plan.fired = fired;
    c->plan.context = c;
    set_clock(c->scenario->fast_clock);
    file_calls_use(faults_start(faults_place_calls(c->place), &c->plan));
    c->scenario->run(c);
    faults_heal();
    faults_count(counts_out);
    count_calls(campaign, counts_out);
    if (counts_out->hit_total == 0 && c->refused)
        faults_case_blame(c, "something fails although no fault was made");
    switch (faults_case_finish(c)) {
    case FAULTS_STOPPED:
        campaign->stopped++;
        break;
    case FAULTS_KILLED:
        campaign->killed++;
        break;
    case FAULTS_CUT:
        campaign->cut++;
        break;
    }
    alarm(0);
    campaign->ran++;
    campaign->fired += counts_out->hit_total > 0;
    campaign->failures += c->broken;
    return !c->broken;
}

/* ---- One scenario ---------------------------------------------------------------------------- */

/*
 * How many calls each kind could fail: by a run in which none does. Threads take turns as they
 * like, so the next run may have a few more or less.
 */
static bool measure(struct campaign *campaign, struct faults_case *c,
                    const struct faults_ledger *start, uint64_t counts_out[FAULTS_KINDS],
                    struct tally *tally)
{
    for (int kind = 0; kind < FAULTS_KINDS; kind++) {
        struct faults_counts counts;
        c->plan = (struct faults_plan){.kind = (enum faults_kind)kind, .call = FAULTS_CALLS};
        if (!run_case(campaign, c, start, &counts))
            return false;
        counts_out[kind] = counts.candidates;
        tally->calls = 0;
        for (int call = 0; call < FAULTS_CALLS; call++)
            tally->calls += counts.calls[call];
    }
    return true;
}

/* The n-th of all cases: kind by kind, once and for ever, call by call. */
static struct faults_plan nth_plan(const uint64_t counts[FAULTS_KINDS], uint64_t n)
{
    struct faults_plan plan = {.call = FAULTS_CALLS, .number = 1};

    for (int kind = 0; kind < FAULTS_KINDS; kind++)
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            if (n < counts[kind]) {
                plan.kind = (enum faults_kind)kind;
                plan.for_ever = for_ever;
                plan.number = n + 1;
                return plan;
            }
            n -= counts[kind];
        }
    return plan;
}

static bool is_over(const struct campaign *campaign)
{
    return campaign->failures > 20 || clock_monotonic_ns() > campaign->deadline_ns;
}

static enum faults_disk choose_disk(const struct campaign *campaign,
                                    const struct faults_scenario *scenario)
{
    if (campaign->on_kernel)
        return FAULTS_DISK_REAL;
    return scenario->on_kernel ? FAULTS_DISK_UNSYNCED : FAULTS_DISK_SIMULATED;
}

/* Up to `budget` cases of the scenario, evenly over all of them. */
static void run_scenario(struct campaign *campaign, struct tally *tally, uint64_t seed,
                         uint64_t budget)
{
    uint64_t counts[FAULTS_KINDS], total = 0, failures = campaign->failures;
    struct faults_counts calls;
    static struct faults_ledger start;
    static struct faults_case c;

    c.scenario = tally->scenario;
    c.seed = seed;
    c.place = faults_place_create(choose_disk(campaign, tally->scenario));
    set_clock(c.scenario->fast_clock);
    faults_case_prepare(&c, &start);
    if (campaign->single.number) {
        c.plan = campaign->single;
        run_case(campaign, &c, &start, &calls);
        tally->ran++;
        tally->fired += calls.hit_total > 0;
    } else if (measure(campaign, &c, &start, counts, tally)) {
        for (int kind = 0; kind < FAULTS_KINDS; kind++)
            total += 2 * counts[kind];
        if (budget > total)
            budget = total;
        for (uint64_t i = 0; i < budget && !is_over(campaign); i++) {
            c.plan = nth_plan(counts, (i * total + seed % total) / budget % total);
            run_case(campaign, &c, &start, &calls);
            tally->ran++;
            tally->fired += calls.hit_total > 0;
        }
    }
    faults_place_clear(c.place);
    faults_place_free(c.place);
    file_calls_use(NULL);
    tally->failed |= campaign->failures > failures;
}

/* ---- All of them ----------------------------------------------------------------------------- */

enum { SCENARIOS_MAX = 64 };

static size_t list_scenarios(const struct campaign *campaign, struct tally tallies[SCENARIOS_MAX])
{
    const struct {
        const struct faults_scenario *list;
        size_t count;
    } lists[] = {
        {faults_log_scenarios, faults_log_scenario_count},
        {faults_recovery_scenarios, faults_recovery_scenario_count},
        {faults_index_scenarios, faults_index_scenario_count},
    };
    size_t count = 0;

    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
        for (size_t i = 0; i < lists[l].count; i++)
            if (!campaign->scenario || strcmp(campaign->scenario, lists[l].list[i].title) == 0)
                tallies[count++] = (struct tally){.scenario = &lists[l].list[i]};
    return count;
}

/* Sanitizer builds only: what was lost so far is told at the scenario that lost it. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static void check_leaks(struct campaign *campaign, struct tally *tally)
{
    if (!__lsan_do_recoverable_leak_check || !__lsan_do_recoverable_leak_check())
        return;
    printf("not ok - %s: memory is lost\n", tally->scenario->title);
    campaign->failures++;
    tally->failed = true;
}

/* With more cases than there are, the next round has events of other sizes. */
static void run_rounds(struct campaign *campaign, struct tally *tallies, size_t count)
{
    for (uint64_t round = 0; campaign->fired < campaign->cases && !is_over(campaign); round++) {
        uint64_t left = campaign->cases - campaign->fired;
        for (size_t i = 0; i < count && !is_over(campaign); i++) {
            /* SQLite takes ten times as long. */
            uint64_t budget = left / count / (tallies[i].scenario->on_kernel ? 5 : 1) + 1;
            run_scenario(campaign, &tallies[i], campaign->seed + round, budget);
            check_leaks(campaign, &tallies[i]);
        }
        if (campaign->single.number)
            return;
    }
}

static void print_tables(const struct campaign *campaign, struct tally *tallies, size_t count)
{
    printf("# %-42s %9s %9s %9s\n", "scenario", "calls", "cases", "fired");
    for (size_t i = 0; i < count; i++)
        printf("# %-42s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "\n", tallies[i].scenario->title,
               tallies[i].calls, tallies[i].ran, tallies[i].fired);
    printf("# %-42s %9s %9s\n", "call", "made", "failed");
    for (int call = 0; call < FAULTS_CALLS; call++)
        printf("# %-42s %9" PRIu64 " %9" PRIu64 "\n", faults_call_text((enum faults_call)call),
               campaign->calls[call], campaign->hits[call]);
}

static int report(struct campaign *campaign, struct tally *tallies, size_t count)
{
    print_tables(campaign, tallies, count);
    for (size_t i = 0; i < count; i++) {
        struct tally *tally = &tallies[i];
        if (tally->fired == 0) {
            printf("not ok - %s: no fault was made\n", tally->scenario->title);
            campaign->failures++;
        } else if (!tally->failed) {
            printf("ok - %s, while one call on the disk fails\n", tally->scenario->title);
        }
    }
    printf("cases: %" PRIu64 " injected faults that fired\n", campaign->fired);
    printf("cases: %zu scenarios with faults\n", count);
    printf("cases: %" PRIu64 " logs reopened after a stop, %" PRIu64 " after a kill, %" PRIu64
           " after a power cut\n",
           campaign->stopped, campaign->killed, campaign->cut);
    return campaign->failures ? 1 : 0;
}

static void check_order(struct campaign *campaign)
{
    uint64_t events = campaign->cases < ORDER_EVENTS_MIN ? ORDER_EVENTS_MIN : campaign->cases;
    uint64_t written = faults_order_run(events, false);
    uint64_t mapped = faults_order_run(events, true);

    campaign->failures += (written == 0) + (uint64_t)(mapped == 0);
    printf("cases: %" PRIu64 " acknowledgements whose order was checked\n", written + mapped);
}

static void read_options(struct campaign *campaign, int argc, char **argv)
{
    static const struct option options[] = {
        {"cases", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'},
        {"scenario", required_argument, NULL, 'n'},
        {"kind", required_argument, NULL, 'k'},
        {"number", required_argument, NULL, 'i'},
        {"for-ever", no_argument, NULL, 'e'},
        {"real-disk", no_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            campaign->cases = strtoull(optarg, NULL, 10);
            break;
        case 's':
            campaign->seed = strtoull(optarg, NULL, 10);
            break;
        case 't':
            campaign->deadline_ns = clock_monotonic_ns() + atoll(optarg) * 1000000000;
            break;
        case 'n':
            campaign->scenario = optarg;
            break;
        case 'k':
            campaign->single.kind = (enum faults_kind)atoi(optarg);
            break;
        case 'i':
            campaign->single.number = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            campaign->on_kernel = true;
            break;
        case 'e':
            campaign->single.for_ever = true;
            break;
        default:
            fprintf(stderr, "usage: faults [--cases N] [--seed S] [--seconds T] [--real-disk] "
                            "[--scenario TITLE "
                            "[--kind K --number N [--for-ever]]]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct campaign campaign = {
        .cases = 2000,
        .seed = 1,
        .deadline_ns = INT64_MAX,
        .single = {.call = FAULTS_CALLS},
    };
    static struct tally tallies[SCENARIOS_MAX];

    read_options(&campaign, argc, argv);
    clock_use(&clocks);
    signal(SIGALRM, tell_case);
    signal(SIGSEGV, tell_case);
    signal(SIGABRT, tell_case);
    size_t count = list_scenarios(&campaign, tallies);
    run_rounds(&campaign, tallies, count);
    if (!campaign.scenario)
        check_order(&campaign);
    return report(&campaign, tallies, count);
}
