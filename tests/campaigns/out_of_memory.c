/*
 * The out-of-memory campaign: the n-th allocation fails, and then the next one.
 *
 * malloc and its relatives are the program's own here, so that not only our allocations fail but
 * those of yajl, msgpack-c, SQLite and the C library as well, on every thread. For each scenario:
 * n = 1, 2, 3 …, once and for ever. Asserted: an error with the code for memory, or the full
 * result; no crash, no block left allocated, nothing acknowledged lost, nothing invented.
 *
 *     out_of_memory [--cases N] [--seed S] [--seconds T] [--scenario TITLE --number N [--for-ever]]
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/campaigns/faults.h"
#include "tests/campaigns/out_of_memory.h"

/* ---- Memory that runs out -------------------------------------------------------------------- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
#define ALLOCATOR(name) __interceptor_##name
#else
#define ALLOCATOR(name) __libc_##name
#endif
void *ALLOCATOR(malloc)(size_t size);
void *ALLOCATOR(calloc)(size_t count, size_t size);
void *ALLOCATOR(realloc)(void *block, size_t size);
void *ALLOCATOR(memalign)(size_t alignment, size_t size);
void ALLOCATOR(free)(void *block);

/* An allocator is a program's, so this is too. */
static atomic_bool armed;
static atomic_bool for_ever;
static _Atomic uint64_t fails_at, asked;
static _Atomic int64_t live;
static struct faults_case *_Atomic case_at_hand;

/* A sanitizer allocates when it starts a thread, and takes a refusal for its end. */
static bool is_spared(void)
{
#ifdef SANITIZED
    return faults_case_exempt || gettid() != getpid();
#else
    return faults_case_exempt;
#endif
}

static bool fails(void)
{
    if (!atomic_load(&armed) || is_spared())
        return false;
    uint64_t number = atomic_fetch_add(&asked, 1) + 1;
    uint64_t at = atomic_load(&fails_at);
    if (number < at || (number > at && !atomic_load(&for_ever)))
        return false;
    struct faults_case *c = atomic_load(&case_at_hand);
    atomic_fetch_add(&c->hits, 1);
    atomic_fetch_add(&c->failed_hits, 1);
    errno = ENOMEM;
    return true;
}

static void *counted(void *block)
{
    if (block)
        atomic_fetch_add(&live, 1);
    return block;
}

void *malloc(size_t size)
{
    return fails() ? NULL : counted(ALLOCATOR(malloc)(size));
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(ALLOCATOR(calloc)(count, size));
}

void *realloc(void *block, size_t size)
{
    if (fails())
        return NULL;
    void *moved = ALLOCATOR(realloc)(block, size);
    return block ? moved : counted(moved);
}

void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(ALLOCATOR(memalign)(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **block_out, size_t alignment, size_t size)
{
    void *block = memalign(alignment, size);
    if (!block)
        return ENOMEM;
    *block_out = block;
    return 0;
}

void free(void *block)
{
    if (block)
        atomic_fetch_sub(&live, 1);
    ALLOCATOR(free)(block);
}

/* ---- One case -------------------------------------------------------------------------------- */

enum { HANG_SECONDS = 60, SCENARIOS_MAX = 64 };

struct campaign {
    uint64_t cases, seed;
    int64_t deadline_ns;
    const char *scenario;
    uint64_t number; /* one case of it; 0: all */
    bool for_ever;
    uint64_t ran, fired, failures;
};

struct tally {
    const struct faults_scenario *scenario;
    uint64_t allocations, ran, fired;
    bool failed;
};

static void tell_case(int signal_number)
{
    struct faults_case *c = atomic_load(&case_at_hand);
    atomic_store(&armed, false);
    if (c)
        faults_case_blame(c, "allocation %" PRIu64 "%s: %s", atomic_load(&fails_at),
                          atomic_load(&for_ever) ? " and all behind it" : "",
                          signal_number == SIGALRM ? "it hangs" : "it crashes");
    signal(signal_number, SIG_DFL);
    if (signal_number == SIGALRM)
        _exit(1);
    raise(signal_number);
}

static uint64_t open_descriptors(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

static void run_on_disk(struct faults_case *c)
{
    uint64_t before = open_descriptors();

    file_calls_use(faults_place_calls(c->place));
    atomic_store(&armed, true);
    c->scenario->run(c);
    atomic_store(&armed, false);
    faults_case_finish(c);
    uint64_t left = open_descriptors() - before;
    if (left)
        faults_case_blame(c, "%" PRIu64 " descriptors are left open", left);
}

static void run_case(struct campaign *campaign, struct faults_case *c,
                     const struct faults_ledger *start, uint64_t number, bool ever)
{
    int64_t before = 0;

    atomic_store(&case_at_hand, c);
    alarm(HANG_SECONDS);
    c->plan = (struct faults_plan){.kind = FAULTS_KINDS, .number = number, .for_ever = ever};
    faults_case_begin(c, start);
    atomic_store(&fails_at, number);
    atomic_store(&for_ever, ever);
    atomic_store(&asked, 0);
    before = atomic_load(&live);
    if (c->scenario->no_log) {
        atomic_store(&armed, true);
        c->scenario->run(c);
        atomic_store(&armed, false);
    } else {
        run_on_disk(c);
    }
    int64_t left = atomic_load(&live) - before;
    if (left > 0 && campaign->ran > 0 && number != UINT64_MAX)
        faults_case_blame(c, "%" PRIi64 " blocks of memory are lost", left);
    alarm(0);
    campaign->ran++;
    campaign->fired += atomic_load(&c->hits) > 0;
    campaign->failures += c->broken;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static void run_scenario(struct campaign *campaign, struct tally *tally, uint64_t seed,
                         uint64_t budget)
{
    static struct faults_ledger start;
    static struct faults_case c;
    uint64_t failures = campaign->failures;

    c.scenario = tally->scenario;
    c.seed = seed;
    c.place = faults_place_create(FAULTS_DISK_UNSYNCED);
    faults_case_prepare(&c, &start);
    /* Twice with all the memory it wants: what is kept for ever is kept by then. */
    run_case(campaign, &c, &start, UINT64_MAX, false);
    run_case(campaign, &c, &start, UINT64_MAX, false);
    tally->allocations = atomic_load(&asked);
    uint64_t total = 2 * tally->allocations;
    if (campaign->number) {
        run_case(campaign, &c, &start, campaign->number, campaign->for_ever);
        tally->fired++;
        total = 0;
    }
    if (budget > total)
        budget = total;
    for (uint64_t i = 0; i < budget && clock_monotonic_ns() < campaign->deadline_ns; i++) {
        uint64_t n = (i * total + seed % (total ? total : 1)) / budget % total;
        run_case(campaign, &c, &start, n / 2 + 1, n % 2);
        tally->ran++;
        tally->fired += atomic_load(&c.hits) > 0;
        if (campaign->failures > failures + 5)
            break;
    }
    faults_place_free(c.place);
    file_calls_use(NULL);
    tally->failed |= campaign->failures > failures;
}

static size_t list_scenarios(const struct campaign *campaign, struct tally tallies[SCENARIOS_MAX])
{
    const struct {
        const struct faults_scenario *list;
        size_t count;
    } lists[] = {
        {out_of_memory_scenarios, out_of_memory_scenario_count},
        {faults_log_scenarios, faults_log_scenario_count},
        {faults_recovery_scenarios, faults_recovery_scenario_count},
        {faults_index_scenarios, faults_index_scenario_count},
    };
    size_t count = 0;

    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
        for (size_t i = 0; i < lists[l].count; i++) {
            const struct faults_scenario *scenario = &lists[l].list[i];
            /* Those that need another clock wait for something that is no allocation. */
            if (!scenario->fast_clock &&
                (!campaign->scenario || strcmp(campaign->scenario, scenario->title) == 0))
                tallies[count++] = (struct tally){.scenario = scenario};
        }
    return count;
}

static int report(struct campaign *campaign, struct tally *tallies, size_t count)
{
    printf("# %-42s %11s %9s %9s\n", "scenario", "allocations", "cases", "fired");
    for (size_t i = 0; i < count; i++)
        printf("# %-42s %11" PRIu64 " %9" PRIu64 " %9" PRIu64 "\n", tallies[i].scenario->title,
               tallies[i].allocations, tallies[i].ran, tallies[i].fired);
    for (size_t i = 0; i < count; i++) {
        if (tallies[i].fired == 0) {
            printf("not ok - %s: no allocation failed\n", tallies[i].scenario->title);
            campaign->failures++;
        } else if (!tallies[i].failed) {
            printf("ok - %s, while memory runs out\n", tallies[i].scenario->title);
        }
    }
    printf("cases: %" PRIu64 " runs in which an allocation failed\n", campaign->fired);
    printf("cases: %zu scenarios without memory\n", count);
    return campaign->failures ? 1 : 0;
}

static void read_options(struct campaign *campaign, int argc, char **argv)
{
    static const struct option options[] = {
        {"cases", required_argument, NULL, 'c'},   {"seed", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'}, {"scenario", required_argument, NULL, 'n'},
        {"kind", required_argument, NULL, 'k'},    {"number", required_argument, NULL, 'i'},
        {"for-ever", no_argument, NULL, 'e'},      {NULL, 0, NULL, 0},
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
        case 'k': /* of the lines that tell how to do a case again: there is one kind only */
            break;
        case 'i':
            campaign->number = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            campaign->for_ever = true;
            break;
        default:
            fprintf(stderr, "usage: out_of_memory [--cases N] [--seed S] [--seconds T] "
                            "[--scenario TITLE [--number N [--for-ever]]]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct campaign campaign = {.cases = 1200, .seed = 1, .deadline_ns = INT64_MAX};
    static struct tally tallies[SCENARIOS_MAX];

    read_options(&campaign, argc, argv);
    signal(SIGALRM, tell_case);
    signal(SIGSEGV, tell_case);
    signal(SIGABRT, tell_case);
    size_t count = list_scenarios(&campaign, tallies);
    for (uint64_t round = 0; campaign.fired < campaign.cases && campaign.failures < 20 &&
                             clock_monotonic_ns() < campaign.deadline_ns;
         round++) {
        uint64_t budget = (campaign.cases - campaign.fired) / (count ? count : 1) + 1;
        for (size_t i = 0; i < count && campaign.failures < 20; i++)
            run_scenario(&campaign, &tallies[i], campaign.seed + round,
                         tallies[i].scenario->on_kernel ? budget / 3 + 1 : budget);
        if (campaign.number)
            break;
    }
    return report(&campaign, tallies, count);
}
