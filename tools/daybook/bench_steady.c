#include "tools/daybook/bench_steady.h"

#include "core/clock.h"
#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_raw.h"

enum { EVENTS_PER_COMMIT = 10 };
#define COMMIT_NS (INT64_C(10) * 1000000)

static const char suite[] = "socket: 1,000 events/s";

static enum error_code publish_ten(const struct bench *bench, struct daybook *client,
                                   uint64_t first, struct error *error)
{
    struct daybook_error why;
    enum daybook_code code = DAYBOOK_OK;
    for (uint64_t i = first; !code && i < first + EVENTS_PER_COMMIT; i++) {
        struct daybook_event event = bench_daemon_event(bench, i, clock_realtime_ns());
        code = daybook_send(client, &event, &why);
    }
    if (!code)
        code = daybook_flush(client, &why);
    return code ? bench_daemon_client_error(&why, error) : OK;
}

static enum error_code publish_steadily(const struct bench *bench, struct daybook *client,
                                        int64_t duration_ns, struct error *error)
{
    int64_t next_ns = clock_monotonic_ns(), end_ns = next_ns + duration_ns;
    uint64_t index = 0;
    enum error_code code = OK;
    while (!code && next_ns < end_ns) {
        clock_sleep_until_ns(next_ns += COMMIT_NS);
        code = bench_check_interrupted(error);
        if (!code)
            code = publish_ten(bench, client, index, error);
        index += EVENTS_PER_COMMIT;
    }
    return code;
}

static enum error_code report(const struct bench *bench, double bytes, double share,
                              struct error *error)
{
    static const struct bench_figure memory = {.suite = suite,
                                               .name = "memory_at_1000_per_second",
                                               .subject = "daybookd: memory",
                                               .measure = "peak",
                                               .unit = BENCH_BYTES,
                                               .goal = BENCH_AT_MOST,
                                               .target = 25e6};
    static const struct bench_figure processor = {.suite = suite,
                                                  .name = "processor_at_1000_per_second",
                                                  .subject = "daybookd: of one core, all threads",
                                                  .measure = "mean",
                                                  .unit = BENCH_PERCENT,
                                                  .goal = BENCH_AT_MOST,
                                                  .target = 3};
    enum error_code code = bench_report_add(bench->report, &memory, bytes, error);
    return code ? code : bench_report_add(bench->report, &processor, 100 * share, error);
}

static enum error_code measure(const struct bench *bench, const struct bench_daemon *daemon,
                               struct error *error)
{
    struct daybook *client = NULL;
    double bytes = 0, before = 0, after = 0;
    int64_t start_ns = clock_monotonic_ns();
    const struct daybook_options options = {.producer = "bench-one", .gather = true};
    enum error_code code = bench_daemon_connect_with(daemon, options, &client, error);
    if (!code)
        code = bench_daemon_processor(daemon, &before, error);
    if (!code)
        code = publish_steadily(bench, client, bench->slice_ns * bench->rounds, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (!code)
        code = bench_daemon_processor(daemon, &after, error);
    if (!code)
        code = bench_daemon_memory(daemon, &bytes, error);
    daybook_close(client);
    return code ? code
                : report(bench, bytes, (after - before) / seconds, error);
}

static enum error_code measure_raw(const struct bench *bench, struct error *error)
{
    static const struct bench_figure processor = {
        .suite = suite,
        .name = "raw_processor_at_100_commits_per_second",
        .subject = "raw limit: write, fdatasync, 100 times a second",
        .measure = "mean",
        .unit = BENCH_PERCENT};
    double share = 0;
    enum error_code code = bench_raw_steady(bench, &share, error);
    return code ? code : bench_report_add(bench->report, &processor, 100 * share, error);
}

enum error_code bench_steady_run(const struct bench *bench, struct error *error)
{
    struct bench_daemon *daemon = NULL;
    enum error_code code = measure_raw(bench, error);
    if (!code)
        code = bench_daemon_start(bench, &daemon, error);
    if (code)
        return code;
    code = measure(bench, daemon, error);
    enum error_code stop_code = bench_daemon_stop(daemon, code ? NULL : error);
    return code ? code : stop_code;
}
