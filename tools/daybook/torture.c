/*
 * tools/daybook/torture.c - `daybook torture`: try to break the promise, on the user's own disk.
 */
#include "tools/daybook/torture.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/units.h"
#include "tools/daybook/bench_scratch.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/options.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum { FLAG_DIRECTORY = OPTIONS_LONG, FLAG_TIME, FLAG_SEED };
enum { CAMPAIGNS_MAX = 8 };

#define NEEDED_BYTES  (UINT64_C(256) << 20)
#define NS_PER_SECOND INT64_C(1000000000)

static const struct options_flag flags[] = {
    {FLAG_DIRECTORY, "dir", "DIR", "torture the disk of this directory (default: the present one)"},
    {FLAG_TIME, "time", "DURATION", "how long in all (default 60s)"},
    {FLAG_SEED, "seed", "N",
     "repeat what an earlier run did (default: a random one, which is told)"},
    {'o', "output", "FORMAT", "table (default) or json"},
    {0, NULL, NULL, NULL},
};

static const struct options_verb torture_verb = {
    .name = "torture",
    .usage = "[FLAGS] [CAMPAIGN …]",
    .about =
        "Try to break the promise on your own disk and file system, and say what was tried and\n"
        "what survived. Writes to logs of its own only, inside a new directory in DIR that is\n"
        "deleted at the end; needs 256 MiB there. Where a promise is broken it stops, keeps the\n"
        "directory, and exits 1.\n"
        "\n"
        "Campaigns (default: all, one after the other):\n"
        "  kill        a writer is killed at any moment, again and again, and its events counted\n"
        "  power       the states that a power cut can leave of unsynced writes and names, made "
        "in\n"
        "              memory, put on this disk, and recovered here\n"
        "  corruption  bits, sectors and whole files of a log are damaged; all must be noticed\n"
        "\n"
        "It cannot show whether the disk itself keeps what it says that it has written.",
    .flags = flags,
    .example = "  daybook torture --dir /var/lib/daybook --time 10m\n"
               "  daybook torture --time 30s kill\n",
};

struct request {
    const char *parent;
    int64_t time_ns;
    uint64_t seed;
    bool seeded, json;
    bool chosen[CAMPAIGNS_MAX];
};

/* What one campaign came to. */
struct outcome {
    uint64_t cases;
    double seconds;
    struct buffer sentence;
};

static void choose_campaigns(struct options *options, struct request *request)
{
    int count = options_operand_count(options);
    char **names = options_operands(options);

    for (size_t c = 0; torture_campaigns[c].name; c++)
        request->chosen[c] = count == 0;
    for (int i = 0; i < count; i++) {
        size_t c = 0;
        while (torture_campaigns[c].name && strcmp(torture_campaigns[c].name, names[i]) != 0)
            c++;
        if (torture_campaigns[c].name)
            request->chosen[c] = true;
        else
            options_refuse(options, "there is no campaign '%s': kill, power or corruption",
                           names[i]);
    }
}

static void parse(struct options *options, struct request *request)
{
    static const char *const formats[] = {"table", "json", NULL};
    const char *value;
    int flag, format = 0;

    while ((flag = options_next(options, &value)) != OPTIONS_DONE) {
        if (flag == FLAG_DIRECTORY)
            request->parent = value;
        else if (flag == FLAG_TIME)
            options_duration(options, "--time", value, &request->time_ns);
        else if (flag == 'o')
            options_choice(options, "-o", value, formats, &format);
        else if (flag == FLAG_SEED) {
            options_count(options, "--seed", value, &request->seed);
            request->seeded = true;
        }
    }
    request->json = format == 1;
    if (options->finished)
        return;
    if (request->time_ns < NS_PER_SECOND)
        options_refuse(options, "--time must be at least a second");
    choose_campaigns(options, request);
}

static uint64_t random_seed(void)
{
    uint32_t seed;

    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return (uint64_t)clock_realtime_ns() % UINT32_MAX;
    return seed;
}

static enum error_code repeat(const struct torture_campaign *campaign, void *state, int64_t time_ns,
                              struct error *error)
{
    struct terminal_progress progress = {.what = campaign->doing, .duration = true};
    int64_t begin_ns = clock_monotonic_ns();
    int64_t passed_ns = 0;
    enum error_code code = OK;

    while (!code && passed_ns < time_ns && !interrupt_seen()) {
        terminal_progress_show(&progress, (uint64_t)passed_ns, (uint64_t)time_ns);
        code = campaign->once(state, error);
        passed_ns = clock_monotonic_ns() - begin_ns;
    }
    terminal_progress_clear(&progress);
    return code;
}

static enum error_code run_campaign(const struct torture_campaign *campaign, const char *scratch,
                                    const struct request *request, int64_t time_ns,
                                    struct outcome *outcome, struct error *error)
{
    char path[PATH_MAX + 32];
    void *state = NULL;
    int64_t begin_ns = clock_monotonic_ns();

    snprintf(path, sizeof path, "%s/%s", scratch, campaign->name);
    if (mkdir(path, 0700))
        return error_set_errno(error, errno, "make the directory '%s'", path);
    enum error_code code = campaign->open(path, request->seed, &state, error);
    if (!code)
        code = repeat(campaign, state, time_ns, error);
    if (!code)
        code = campaign->tell(state, &outcome->sentence, error);
    if (!code)
        outcome->cases = campaign->count(state);
    /* Evidence stays: closing may delete. */
    if (code != ERROR_DAMAGED)
        campaign->close(state);
    outcome->seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    return code;
}

static unsigned shares(const struct request *request)
{
    unsigned sum = 0;

    for (size_t c = 0; torture_campaigns[c].name; c++)
        sum += request->chosen[c] ? torture_campaigns[c].share : 0;
    return sum;
}

static void print_head(const struct request *request, const char *scratch)
{
    char name[24], duration[UNITS_TEXT_SIZE];

    bench_scratch_file_system(scratch, name);
    units_format_duration(request->time_ns, duration);
    printf("daybook torture: %s on %s in '%s', seed %" PRIu64 "\n", duration, name, request->parent,
           request->seed);
    fflush(stdout);
}

static void print_statement(void)
{
    printf("%s: nothing that was promised was broken\n"
           "not shown: whether this disk keeps what it says that it has written; only cutting its "
           "power shows that\n",
           interrupt_seen() ? "interrupted, and until then" : "survived");
}

static enum error_code print_json(const struct request *request, const char *scratch,
                                  const struct outcome outcomes[CAMPAIGNS_MAX], struct error *error)
{
    struct buffer out = {0};
    char name[24];
    const char *between = "";

    bench_scratch_file_system(scratch, name);
    enum error_code code =
        buffer_printf(&out, error,
                      "{\"program\":\"daybook torture\",\"file_system\":\"%s\",\"seed\":%" PRIu64
                      ",\"survived\":true,\"interrupted\":%s,\"campaigns\":[",
                      name, request->seed, interrupt_seen() ? "true" : "false");
    for (size_t c = 0; !code && torture_campaigns[c].name; c++) {
        if (!request->chosen[c])
            continue;
        code = buffer_printf(
            &out, error,
            "%s{\"name\":\"%s\",\"cases\":%" PRIu64 ",\"seconds\":%.1f,\"says\":", between,
            torture_campaigns[c].name, outcomes[c].cases, outcomes[c].seconds);
        if (!code)
            code = json_append_string(&out, (const char *)outcomes[c].sentence.data,
                                      outcomes[c].sentence.size, error);
        if (!code)
            code = buffer_printf(&out, error, "}");
        between = ",";
    }
    if (!code)
        code = buffer_printf(&out, error, "]}\n");
    if (!code)
        fwrite(out.data, 1, out.size, stdout);
    buffer_release(&out);
    return code;
}

static enum error_code run_all(const struct request *request, const char *scratch,
                               struct outcome outcomes[CAMPAIGNS_MAX], struct error *error)
{
    enum error_code code = OK;

    for (size_t c = 0; !code && torture_campaigns[c].name && !interrupt_seen(); c++) {
        const struct torture_campaign *campaign = &torture_campaigns[c];
        if (!request->chosen[c])
            continue;
        int64_t time_ns = request->time_ns / shares(request) * campaign->share;
        code = run_campaign(campaign, scratch, request, time_ns, &outcomes[c], error);
        if (code)
            error_prefix(error, "%s", campaign->name);
        else if (!request->json)
            printf("  %-11s %.*s\n", campaign->name, (int)outcomes[c].sentence.size,
                   (const char *)outcomes[c].sentence.data);
        fflush(stdout);
    }
    return code;
}

/* A broken promise is the one thing that this verb is looking for. */
static int tell_broken(const struct request *request, const char *scratch,
                       const struct error *error)
{
    verb_say("torture",
             "A PROMISE WAS BROKEN: %s; the log is kept in '%s'; to repeat it: daybook torture "
             "--seed %" PRIu64 "; please report it",
             error->text, scratch, request->seed);
    return STATUS_FAILURE;
}

int verb_torture(int argc, char **argv)
{
    struct request request = {.parent = ".", .time_ns = 60 * NS_PER_SECOND};
    struct outcome outcomes[CAMPAIGNS_MAX] = {0};
    struct options options;
    struct error error;
    char scratch[PATH_MAX];

    options_init(&options, &torture_verb, argc, argv);
    parse(&options, &request);
    if (options.finished)
        return options.status;
    if (!request.seeded)
        request.seed = random_seed();
    if (bench_scratch_create(request.parent, NEEDED_BYTES, scratch, &error))
        return verb_fail("torture", &error);
    interrupt_catch();
    if (!request.json)
        print_head(&request, scratch);
    enum error_code code = run_all(&request, scratch, outcomes, &error);
    if (!code && request.json)
        code = print_json(&request, scratch, outcomes, &error);
    else if (!code)
        print_statement();
    for (size_t c = 0; c < CAMPAIGNS_MAX; c++)
        buffer_release(&outcomes[c].sentence);
    if (code == ERROR_DAMAGED)
        return tell_broken(&request, scratch, &error);
    bench_scratch_delete(scratch);
    return code ? verb_fail("torture", &error) : STATUS_OK;
}
