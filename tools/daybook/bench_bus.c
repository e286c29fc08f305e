/* Suite `bus`: publishing with many subscribers and without, and how soon they have it. */
#include <stdlib.h>

#include "core/clock.h"
#include "tools/daybook/bench_curves.h"
#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_pace.h"
#include "tools/daybook/bench_subscribers.h"

enum { SUBSCRIBERS = 100 };

static const char suite[] = "bus: 20,000 events/s, durable acks";

/* What one way of publishing is called in the report. */
struct figures {
    struct bench_figure p50, p99, processor;
};

static const struct figures alone = {
    {suite, "bus_alone_p50", "publish, no subscriber", "p50", BENCH_MICROSECONDS, 0, 0},
    {suite, "bus_alone_p99", "publish, no subscriber", "p99", BENCH_MICROSECONDS, 0, 0},
    {suite, "bus_alone_processor", "daybookd: of one core, no subscriber", "mean", BENCH_PERCENT, 0,
     0},
};
static const struct figures watched = {
    {suite, "bus_watched_p50", "publish, 100 subscribers", "p50", BENCH_MICROSECONDS, 0, 0},
    {suite, "bus_watched_p99", "publish, 100 subscribers", "p99", BENCH_MICROSECONDS, 0, 0},
    {suite, "bus_watched_processor", "daybookd: of one core, 100 subscribers", "mean",
     BENCH_PERCENT, 0, 0},
};

static enum error_code publish(const struct bench *bench, const struct bench_daemon *daemon,
                               size_t count, _Atomic int64_t *due_ns,
                               const struct figures *figures, struct error *error)
{
    struct bench_samples samples = {0};
    double before = 0, after = 0;
    enum error_code code = bench_daemon_processor(daemon, &before, error);
    int64_t start_ns = clock_monotonic_ns();
    if (!code)
        code = bench_pace_publish(bench, daemon, count, due_ns, &samples, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (!code)
        code = bench_daemon_processor(daemon, &after, error);
    if (!code)
        code = bench_curves_add(bench, &figures->p50, &figures->p99, &samples, error);
    if (!code)
        code = bench_report_add(bench->report, &figures->processor,
                                100 * (after - before) / seconds, error);
    bench_samples_release(&samples);
    return code;
}

static enum error_code report_arrival(const struct bench *bench, struct bench_samples *samples,
                                      struct error *error)
{
    static const struct bench_figure p50 = {.suite = suite,
                                            .name = "bus_arrival_p50",
                                            .subject = "publish to receive, 100 subscribers",
                                            .measure = "p50",
                                            .goal = BENCH_AT_MOST,
                                            .target = 1500};
    static const struct bench_figure p99 = {.suite = suite,
                                            .name = "bus_arrival_p99",
                                            .subject = "publish to receive, 100 subscribers",
                                            .measure = "p99",
                                            .goal = BENCH_AT_MOST,
                                            .target = 5000};
    return bench_curves_add(bench, &p50, &p99, samples, error);
}

static enum error_code publish_to_subscribers(const struct bench *bench,
                                              const struct bench_daemon *daemon, size_t count,
                                              _Atomic int64_t *due_ns, struct error *error)
{
    struct bench_subscribers *subscribers = NULL;
    struct bench_samples samples = {0};
    enum error_code code =
        bench_subscribers_start(daemon, SUBSCRIBERS, count, due_ns, &subscribers, error);
    if (!code)
        code = publish(bench, daemon, count, due_ns, &watched, error);
    if (!code)
        code = bench_subscribers_finish(subscribers, &samples, error);
    if (!code)
        code = report_arrival(bench, &samples, error);
    bench_samples_release(&samples);
    bench_subscribers_free(subscribers);
    return code;
}

static enum error_code compare(const struct bench *bench, struct error *error)
{
    static const struct bench_figure ratio = {.suite = suite,
                                              .name = "bus_watched_to_alone",
                                              .subject = "publish p99 with 100 / without",
                                              .measure = "ratio",
                                              .unit = BENCH_RATIO,
                                              .goal = BENCH_AT_MOST,
                                              .target = 1.5};
    double below = bench_report_last(bench->report, "bus_alone_p99");
    if (below <= 0)
        return OK; /* too short a slice for even one event */
    return bench_report_add(bench->report, &ratio,
                            bench_report_last(bench->report, "bus_watched_p99") / below, error);
}

/* Both in one round, against one fresh daemon. */
static enum error_code measure(const struct bench *bench, size_t count, _Atomic int64_t *due_ns,
                               struct error *error)
{
    struct bench_daemon *daemon = NULL;
    enum error_code code = bench_daemon_start(bench, &daemon, error);
    if (code)
        return code;
    code = publish(bench, daemon, count, due_ns, &alone, error);
    if (!code)
        code = publish_to_subscribers(bench, daemon, count, due_ns, error);
    if (!code)
        code = compare(bench, error);
    enum error_code stop_code = bench_daemon_stop(daemon, code ? NULL : error);
    return code ? code : stop_code;
}

static enum error_code add_notes(const struct bench *bench, struct error *error)
{
    static const char *const notes[] = {
        "bus: one producer, 20 events each millisecond, whatever the answers do; times run from "
        "the moment when an event was due. 100 subscribers are connections of one thread of this "
        "process, which reads the heads of frames; receive is when the bytes are there.",
    };
    enum error_code code = OK;
    for (size_t i = 0; i < sizeof notes / sizeof *notes && !code; i++)
        code = bench_report_note(bench->report, notes[i], error);
    return code;
}

enum error_code bench_bus_run(const struct bench *bench, struct error *error)
{
    size_t count = bench_pace_events(bench->slice_ns);
    _Atomic int64_t *due_ns = calloc(count + 1, sizeof *due_ns);
    enum error_code code = due_ns ? OK : error_set(error, ERROR_MEMORY, "no memory for times");
    for (unsigned round = 0; round < bench->rounds && !code; round++)
        code = measure(bench, count, due_ns, error);
    free((void *)due_ns);
    return code ? code : add_notes(bench, error);
}
