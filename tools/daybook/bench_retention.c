/* Suite `retention`: delete the oldest fifth of a log while somebody publishes. */
#include <pthread.h>
#include <stdatomic.h>

#include "core/clock.h"
#include "indexer/retention.h"
#include "indexer/witness.h"
#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_history.h"
#include "tools/daybook/bench_raw.h"
#include "tools/daybook/bench_samples.h"

enum { INDEX_WAIT_MS = 60000 };

static const char suite[] = "retention";

/* Somebody who publishes with one event in flight, in a thread of his own, until he is told. */
struct producer {
    const struct bench *bench;
    struct daybook *client;
    atomic_bool stopped;
    struct bench_samples samples;
    enum error_code code;
    struct error error;
};

static enum error_code publish_until_stopped(struct producer *producer)
{
    struct daybook_error why;
    for (uint64_t i = 0; !atomic_load(&producer->stopped); i++) {
        struct daybook_event event = bench_daemon_event(producer->bench, i, DAYBOOK_TIME_NONE);
        int64_t start_ns = clock_monotonic_ns();
        if (daybook_publish(producer->client, &event, NULL, &why))
            return bench_daemon_client_error(&why, &producer->error);
        enum error_code code = bench_samples_add(
            &producer->samples, clock_monotonic_ns() - start_ns, &producer->error);
        if (code)
            return code;
    }
    return OK;
}

static void *run_producer(void *argument)
{
    struct producer *producer = argument;
    producer->code = publish_until_stopped(producer);
    return NULL;
}

/* What goes on meanwhile: nothing for a slice, or the deletion. */
typedef enum error_code what_goes_on(const struct bench *bench, struct error *error);

static enum error_code wait_a_slice(const struct bench *bench, struct error *error)
{
    int64_t end_ns = clock_monotonic_ns() + bench->slice_ns;
    enum error_code code = OK;
    while (!code && clock_monotonic_ns() < end_ns) {
        clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
        code = bench_check_interrupted(error);
    }
    return code;
}

struct progress {
    int64_t start_ns, last_ns;
};

static void note_deleted(void *context, const struct indexer_retention_segment *segment)
{
    struct progress *progress = context;
    (void)segment;
    progress->last_ns = clock_monotonic_ns();
}

static enum error_code sum_bytes(const char *path, uint64_t *bytes_out, struct error *error)
{
    struct indexer_retention_options options = {.max_bytes = UINT64_MAX, .dry_run = true};
    struct indexer_retention_totals totals;
    enum error_code code = indexer_retention_run(path, &options, NULL, NULL, &totals, error);
    *bytes_out = code ? 0 : totals.bytes_left;
    return code;
}

static enum error_code measure_raw(const struct bench *bench, struct error *error)
{
    static const struct bench_figure raw = {.suite = suite,
                                            .name = "raw_unlink",
                                            .subject = "raw limit: one file as large, deleted",
                                            .measure = "time",
                                            .unit = BENCH_SECONDS};
    uint64_t bytes = 0;
    double seconds = 0;
    char path[PATH_MAX];
    bench_history_path(bench, path);
    enum error_code code = sum_bytes(path, &bytes, error);
    if (!code)
        code = bench_raw_unlink(bench, bytes / 5, &seconds, error);
    return code ? code : bench_report_add(bench->report, &raw, seconds, error);
}

static enum error_code delete_a_fifth(const struct bench *bench, struct error *error)
{
    static const struct bench_figure space = {.suite = suite,
                                              .name = "retention_space",
                                              .subject = "the oldest fifth: its space is back",
                                              .measure = "time",
                                              .unit = BENCH_SECONDS,
                                              .goal = BENCH_AT_MOST,
                                              .target = 0.05};
    static const struct bench_figure rows = {.suite = suite,
                                             .name = "retention_rows",
                                             .subject = "the oldest fifth: its rows are gone",
                                             .measure = "time",
                                             .unit = BENCH_SECONDS};
    struct indexer_retention_totals totals;
    struct indexer_retention_options options = {0};
    char path[PATH_MAX];
    bench_history_path(bench, path);
    enum error_code code = sum_bytes(path, &options.max_bytes, error);
    options.max_bytes = options.max_bytes / 5 * 4;
    struct progress progress = {.start_ns = clock_monotonic_ns()};
    if (!code)
        code = indexer_retention_run(path, &options, note_deleted, &progress, &totals, error);
    if (code || totals.segments_deleted == 0) /* one segment: nothing can go */
        return code;
    code = indexer_wait_for_bound(path, INDEX_WAIT_MS, error);
    int64_t end_ns = clock_monotonic_ns();
    if (!code)
        code = bench_report_add(bench->report, &space,
                                (double)(progress.last_ns - progress.start_ns) / 1e9, error);
    return code ? code
                : bench_report_add(bench->report, &rows, (double)(end_ns - progress.start_ns) / 1e9,
                                   error);
}

/* The producer's p99 in microseconds while the deed is done; 0: it was too short for one event. */
static enum error_code publish_beside(const struct bench *bench, const struct bench_daemon *daemon,
                                      what_goes_on *deed, double *p99_out, struct error *error)
{
    struct producer producer = {.bench = bench};
    pthread_t thread;
    enum error_code code = bench_daemon_connect(daemon, "bench-one", &producer.client, error);
    if (code)
        return code;
    int failed = pthread_create(&thread, NULL, run_producer, &producer);
    if (failed)
        code = error_set_errno(error, failed, "start a thread");
    if (!failed) {
        code = deed(bench, error);
        atomic_store(&producer.stopped, true);
        pthread_join(thread, NULL);
    }
    daybook_close(producer.client);
    *p99_out = (double)bench_samples_percentile(&producer.samples, 0.99) / 1e3;
    bench_samples_release(&producer.samples);
    if (!code && producer.code)
        code = error_set(error, producer.code, "%s", producer.error.text);
    return code;
}

static enum error_code report_p99(const struct bench *bench, double before, double meanwhile,
                                  struct error *error)
{
    static const struct bench_figure alone = {.suite = suite,
                                              .name = "retention_publish_before",
                                              .subject = "one in flight, nothing deleted",
                                              .measure = "p99"};
    static const struct bench_figure beside = {.suite = suite,
                                               .name = "retention_publish_meanwhile",
                                               .subject = "one in flight, until the rows are gone",
                                               .measure = "p99"};
    static const struct bench_figure ratio = {.suite = "retention: ratios",
                                              .name = "retention_publish_ratio",
                                              .subject = "p99 meanwhile / before",
                                              .measure = "ratio",
                                              .unit = BENCH_RATIO,
                                              .goal = BENCH_AT_MOST,
                                              .target = 2};
    if (before <= 0 || meanwhile <= 0)
        return OK;
    enum error_code code = bench_report_add(bench->report, &alone, before, error);
    if (!code)
        code = bench_report_add(bench->report, &beside, meanwhile, error);
    return code ? code : bench_report_add(bench->report, &ratio, meanwhile / before, error);
}

static enum error_code run_round(const struct bench *bench, const struct bench_daemon *daemon,
                                 struct error *error)
{
    double before = 0, meanwhile = 0;
    enum error_code code = measure_raw(bench, error);
    if (!code)
        code = publish_beside(bench, daemon, wait_a_slice, &before, error);
    if (!code)
        code = publish_beside(bench, daemon, delete_a_fifth, &meanwhile, error);
    return code ? code : report_p99(bench, before, meanwhile, error);
}

enum error_code bench_retention_run(const struct bench *bench, struct error *error)
{
    struct bench_daemon *daemon = NULL;
    char path[PATH_MAX];
    bench_history_path(bench, path);
    enum error_code code = bench_history_index(bench, error);
    if (!code)
        code = bench_daemon_start_on(bench, path, &daemon, error);
    for (unsigned round = 0; round < bench->rounds && !code; round++)
        code = run_round(bench, daemon, error);
    enum error_code stop_code = bench_daemon_stop(daemon, code ? NULL : error);
    return code ? code : stop_code;
}
