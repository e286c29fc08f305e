/*
 * tools/daybook/bench.c - `daybook bench`: measure this disk, and this log on it.
 */
#include "tools/daybook/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/units.h"
#include "tools/client/daybook.h"
#include "tools/daybook/bench_history.h"
#include "tools/daybook/bench_machine.h"
#include "tools/daybook/bench_plot.h"
#include "tools/daybook/bench_scratch.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/options.h"
#include "tools/daybook/verb.h"

enum { FLAG_DIRECTORY = OPTIONS_LONG, FLAG_SECONDS, FLAG_ROUNDS, FLAG_EVENTS, FLAG_PLOT };
enum { ROUNDS_MAX = 100, ROUNDS = 3, EVENTS = 1000000, EVENTS_MIN = 1000, EVENTS_MAX = 100000000 };

/* A goal is for a daemon that is warm, and for a median that one disturbance does not move. */
#define SLICE_NS INT64_C(1500000000)
#define JUDGED_SLICE_NS INT64_C(1000000000)

/* The largest log and index of one round, and SQLite's copy of some of the same. */
#define NEEDED_BYTES (UINT64_C(2) << 30)

static const struct suite {
    const char *name;
    enum error_code (*run)(const struct bench *bench, struct error *error);
    bool needs_history;
} suites[] = {
    {"socket", bench_socket_run, false},
    {"append", bench_append_run, false},
    {"index", bench_index_run, true},
    {"read", bench_read_run, true},
    {"sql", bench_sql_run, true},
    {"start", bench_start_run, true},
    {"retention", bench_retention_run, true},
    {"schema", bench_schema_run, false},
    {"where", bench_where_run, false},
    {"bus", bench_bus_run, false},
    {"disk", bench_disk_run, false},
};
enum { SUITE_COUNT = sizeof suites / sizeof *suites };

struct request {
    const char *parent, *plot;
    int64_t slice_ns;
    uint64_t rounds, events;
    bool json;
    bool chosen[SUITE_COUNT];
};

static const struct options_flag flags[] = {
    {FLAG_DIRECTORY, "dir", "DIR", "measure the disk of this directory (default: the present one)"},
    {'o', "output", "FORMAT", "table (default) or json"},
    {FLAG_SECONDS, "seconds", "N", "how long each measurement runs in each round (default 1.5)"},
    {FLAG_ROUNDS, "rounds", "N", "how often everything is measured in turn (default 3)"},
    {FLAG_EVENTS, "events", "N", "events of the history (default 1,000,000)"},
    {FLAG_PLOT, "plot", "FILE", "draw rates and latencies into this file, as SVG"},
    {0, NULL, NULL, NULL},
};

static const struct options_verb bench_verb = {
    .name = "bench",
    .usage = "[FLAGS] [SUITE …]",
    .about = "Measure speed on your own disk, in rounds, and print median, lowest and highest.\n"
             "\n"
             "Suites:\n"
             "  socket     durable publishing through a daybookd of its own: one in flight, 16\n"
             "             producers, pipelined; against plain SQLite and the raw limit (default)\n"
             "  append     the log opened by the program itself, without a daemon\n"
             "  index      events.db built from a log with a history\n"
             "  read       every event of that history, before and after packing\n"
             "  sql        queries, beside plain SQLite with the same rows\n"
             "  start      the first durable ack of a daemon, after a clean stop and a kill\n"
             "  retention  the oldest fifth deleted while somebody publishes\n"
             "  schema     payloads held against a schema, on one core\n"
             "  where      events held against a condition in SQL, on one core\n"
             "  bus        20,000 events/s, with 100 subscribers and without; publish to receive\n"
             "  disk       both write paths on files that grow, are allocated, or zero-filled\n"
             "  all        each of them\n"
             "\n"
             "Works in a directory of its own inside DIR, which it deletes at the end, and needs\n"
             "at most 2 GiB there for a moment. Takes up to a minute a suite. With less than 1 s\n"
             "for each measurement, or less than 3 rounds, it does not say whether goals are met.",
    .flags = flags,
    .example = "  daybook bench --dir /var/lib/daybook\n"
               "  daybook bench -o json --plot bench.svg all >bench.json\n",
};

enum error_code bench_check_interrupted(struct error *error)
{
    if (interrupt_seen())
        return error_set(error, ERROR_CLOSED, "interrupted; the scratch directory was deleted");
    return OK;
}

static void choose_suite(struct options *options, struct request *request, const char *name)
{
    bool all = strcmp(name, "all") == 0, found = all;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        bool meant = all || strcmp(suites[i].name, name) == 0;
        request->chosen[i] |= meant;
        found |= meant;
    }
    if (!found)
        options_refuse(options, "there is no suite '%s'", name);
}

static void choose_suites(struct options *options, struct request *request)
{
    int count = options_operand_count(options);
    for (int i = 0; i < count; i++)
        choose_suite(options, request, options_operands(options)[i]);
    if (count == 0)
        request->chosen[0] = true;
}

static void parse(struct options *options, struct request *request)
{
    static const char *const formats[] = {"table", "json", NULL};
    const char *value;
    int flag, format = 0;
    while ((flag = options_next(options, &value)) != OPTIONS_DONE) {
        if (flag == FLAG_DIRECTORY)
            request->parent = value;
        else if (flag == 'o')
            options_choice(options, "-o", value, formats, &format);
        else if (flag == FLAG_SECONDS)
            options_duration(options, "--seconds", value, &request->slice_ns);
        else if (flag == FLAG_ROUNDS)
            options_count(options, "--rounds", value, &request->rounds);
        else if (flag == FLAG_PLOT)
            request->plot = value;
        else if (flag == FLAG_EVENTS)
            options_count(options, "--events", value, &request->events);
    }
    request->json = format == 1;
    if (options->finished)
        return;
    if (request->rounds < 1 || request->rounds > ROUNDS_MAX)
        options_refuse(options, "--rounds must be 1 to %d", ROUNDS_MAX);
    if (request->events < EVENTS_MIN || request->events > EVENTS_MAX)
        options_refuse(options, "--events must be %d to %d", EVENTS_MIN, EVENTS_MAX);
    if (request->slice_ns <= 0)
        options_refuse(options, "--seconds must be more than 0");
    choose_suites(options, request);
}

/* The daybookd that was built or installed together with this program. */
static enum error_code find_daemon(char path_out[PATH_MAX], struct error *error)
{
    static const char name[] = "daybookd";
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - sizeof name - 1);
    if (size < 0)
        return error_set(error, ERROR_NOT_FOUND, "/proc is not mounted: cannot find daybookd");
    path[size] = '\0';
    strcpy(strrchr(path, '/') + 1, name);
    if (access(path, X_OK))
        return error_set(error, ERROR_NOT_FOUND,
                         "'%s' is not there: the benchmark needs the daemon beside it", path);
    memcpy(path_out, path, strlen(path) + 1);
    return OK;
}

/* What was known before the first measurement. */
struct setting {
    struct bench_machine machine;
    char file_system[24];
};

static void describe(const char *path, struct setting *setting)
{
    bench_machine_describe(&setting->machine);
    bench_scratch_file_system(path, setting->file_system);
}

static void print_table(const struct bench *bench, const struct setting *setting)
{
    const struct bench_machine *machine = &setting->machine;
    char now[UNITS_TIME_TEXT_SIZE], slice[UNITS_TEXT_SIZE], memory[UNITS_TEXT_SIZE];
    units_format_time_utc(clock_realtime_ns(), now);
    units_format_duration(bench->slice_ns, slice);
    units_format_size(machine->memory_bytes, memory);
    printf("daybook %s, %.19sZ, %s on %s\n", DAYBOOK_VERSION, now, setting->file_system,
           machine->kernel);
    printf("%ld x %s, %s, load %.1f before the start\n", machine->processors, machine->processor,
           memory, machine->load);
    printf("events of %.0f bytes as JSON, %.0f as msgpack; %u rounds of %s each\n",
           bench_pool_json_bytes_mean(bench->pool), bench_pool_msgpack_bytes_mean(bench->pool),
           bench->rounds, slice);
    if (machine->load > (double)machine->processors / 2)
        printf("WARNING: other programs keep this machine busy; the figures say little\n");
    bench_report_print_table(bench->report, stdout);
}

static enum error_code append_member(struct buffer *out, const char *before, const char *text,
                                     struct error *error)
{
    enum error_code code = buffer_printf(out, error, "%s", before);
    return code ? code : json_append_string(out, text, strlen(text), error);
}

static enum error_code append_machine(struct buffer *out, const struct setting *setting,
                                      struct error *error)
{
    const struct bench_machine *machine = &setting->machine;
    enum error_code code =
        append_member(out, ",\"machine\":{\"processor\":", machine->processor, error);
    if (!code)
        code = append_member(out, ",\"kernel\":", machine->kernel, error);
    if (!code)
        code = append_member(out, ",\"file_system\":", setting->file_system, error);
    if (!code)
        code = buffer_printf(out, error,
                             ",\"processors\":%ld,\"memory_bytes\":%" PRIu64 ",\"load\":%.2f}",
                             machine->processors, machine->memory_bytes, machine->load);
    return code;
}

static enum error_code append_document(const struct bench *bench, const struct setting *setting,
                                       struct buffer *out, struct error *error)
{
    char now[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(clock_realtime_ns(), now);
    enum error_code code = buffer_printf(
        out, error, "{\"program\":\"daybook bench\",\"version\":\"%s\",\"date\":\"%s\"",
        DAYBOOK_VERSION, now);
    if (!code)
        code = append_machine(out, setting, error);
    if (!code)
        code = buffer_printf(out, error,
                             ",\"parameters\":{\"rounds\":%u,\"seconds\":%.6g,"
                             "\"events\":%" PRIu64 ","
                             "\"event_bytes_json\":%.1f,\"event_bytes_msgpack\":%.1f},",
                             bench->rounds, (double)bench->slice_ns / 1e9, bench->events,
                             bench_pool_json_bytes_mean(bench->pool),
                             bench_pool_msgpack_bytes_mean(bench->pool));
    if (!code)
        code = bench_report_append_json(bench->report, out, error);
    if (!code)
        code = buffer_printf(out, error, "}\n");
    return code;
}

static enum error_code print_json(const struct bench *bench, const struct setting *setting,
                                  struct error *error)
{
    struct buffer out = {0};
    enum error_code code = append_document(bench, setting, &out, error);
    if (!code)
        fwrite(out.data, 1, out.size, stdout);
    buffer_release(&out);
    return code;
}

static enum error_code write_plot(const struct bench *bench, const struct setting *setting,
                                  FILE *file, struct error *error)
{
    char now[UNITS_TIME_TEXT_SIZE], title[300];
    units_format_time_utc(clock_realtime_ns(), now);
    snprintf(title, sizeof title, "%s, %.19sZ, %s on %s, %ld x %s", DAYBOOK_VERSION, now,
             setting->file_system, setting->machine.kernel, setting->machine.processors,
             setting->machine.processor);
    bench_plot(bench->report, bench->curves, title, file);
    return fflush(file) ? error_set_errno(error, errno, "write the plot") : OK;
}

static enum error_code run_suites(const struct request *request, const struct bench *bench,
                                  struct error *error)
{
    enum error_code code = OK;
    bool has_history = false;
    for (size_t i = 0; i < SUITE_COUNT && !code; i++) {
        if (!request->chosen[i])
            continue;
        if (suites[i].needs_history && !has_history)
            code = bench_history_make(bench, error);
        has_history |= suites[i].needs_history;
        if (!code)
            code = suites[i].run(bench, error);
    }
    return code;
}

static bool is_judged(const struct request *request)
{
    return request->slice_ns >= JUDGED_SLICE_NS && request->rounds >= ROUNDS;
}

/* In the scratch directory `path`, which the caller deletes. */
static enum error_code run_in(const char *path, const struct request *request, const char *daemon,
                              FILE *plot, struct error *error)
{
    enum { SEED = 1 };
    struct bench_pool *pool = NULL;
    struct bench_report *report = NULL;
    struct bench_curves *curves = NULL;
    struct bench bench = {.directory = path,
                          .directory_fd = -1,
                          .slice_ns = request->slice_ns,
                          .rounds = (unsigned)request->rounds,
                          .events = request->events,
                          .daemon = daemon};
    struct setting setting;
    describe(path, &setting);

    enum error_code code = file_open_directory(path, false, &bench.directory_fd, error);
    if (!code)
        code = bench_pool_create(SEED, &pool, error);
    if (!code)
        code = bench_report_create(is_judged(request), &report, error);
    if (!code)
        code = bench_curves_create(&curves, error);
    bench.pool = pool;
    bench.report = report;
    bench.curves = curves;
    if (!code)
        code = run_suites(request, &bench, error);
    if (!code && request->json)
        code = print_json(&bench, &setting, error);
    else if (!code)
        print_table(&bench, &setting);
    if (!code && plot)
        code = write_plot(&bench, &setting, plot, error);
    bench_curves_free(curves);
    bench_report_free(report);
    bench_pool_free(pool);
    file_close(&bench.directory_fd);
    return code;
}

/* Before anything is measured: a name that cannot be written is known at once. */
static enum error_code open_plot(const char *path, FILE **file_out, struct error *error)
{
    if (!path)
        return OK;
    *file_out = fopen(path, "we");
    return *file_out ? OK : error_set_errno(error, errno, "make '%s'", path);
}

int verb_bench(int argc, char **argv)
{
    struct request request = {
        .parent = ".", .slice_ns = SLICE_NS, .rounds = ROUNDS, .events = EVENTS};
    struct options options;
    struct error error;
    char daemon[PATH_MAX], scratch[PATH_MAX];

    options_init(&options, &bench_verb, argc, argv);
    parse(&options, &request);
    if (options.finished)
        return options.status;
    FILE *plot = NULL;
    if (find_daemon(daemon, &error) || open_plot(request.plot, &plot, &error))
        return verb_fail("bench", &error);
    enum error_code code = bench_scratch_create(request.parent, NEEDED_BYTES, scratch, &error);
    if (!code) {
        interrupt_catch();
        code = run_in(scratch, &request, daemon, plot, &error);
        bench_scratch_delete(scratch);
    }
    if (plot)
        fclose(plot);
    return code ? verb_fail("bench", &error) : STATUS_OK;
}
