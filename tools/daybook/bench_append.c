/* The log without its daemon: a program that opens the directory itself. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#include "core/clock.h"
#include "tools/daybook/bench_append.h"
#include "tools/daybook/bench_curves.h"
#include "tools/daybook/bench_raw.h"
#include "tools/daybook/bench_scratch.h"

enum {
    WRITERS = 16,
    APPENDED_EVENTS_MAX = 20000000, /* they compress to some 2 GB */
    BETWEEN_CLOCKS = 256,
    BURST_EVENTS = 16384, /* less than LOG_PENDING_BYTES */
};

static const char suite[] = "append";
static const char log_name[] = "append-log";

/* A thread that appends with one event in flight. */
struct writer {
    const struct bench *bench;
    struct segment_log *log;
    uint64_t first; /* index of the first event in the pool */
    int64_t end_ns;
    struct bench_samples samples;
    enum error_code code;
    struct error error;
};

enum error_code bench_append(const struct bench *bench, struct segment_log *log, uint64_t index,
                             int64_t time_ns, uint64_t *sequence_out, struct error *error)
{
    const struct bench_pool_event *from = bench_pool_event(bench->pool, index);
    struct event event = {
        .time_ns = time_ns,
        .topic = from->topic,
        .topic_bytes = from->topic_bytes,
        .payload = from->msgpack,
        .payload_bytes = from->msgpack_bytes,
    };
    enum segment_log_outcome outcome;
    enum error_code code;

    while ((code = segment_log_append(log, &event, &outcome, sequence_out, error)) == ERROR_BUSY)
        segment_log_wait_room(log);
    return code;
}

static enum error_code append_until_end(struct writer *writer, struct error *error)
{
    for (uint64_t index = writer->first;; index++) {
        int64_t start_ns = clock_monotonic_ns();
        uint64_t sequence;
        if (start_ns >= writer->end_ns)
            return OK;
        enum error_code code = bench_check_interrupted(error);
        if (!code)
            code = bench_append(writer->bench, writer->log, index, EVENT_TIME_NONE, &sequence,
                                error);
        if (!code)
            code = segment_log_wait(writer->log, sequence, error);
        if (!code)
            code = bench_samples_add(&writer->samples, clock_monotonic_ns() - start_ns, error);
        if (code)
            return code;
    }
}

static enum error_code measure_one(const struct bench *bench, struct segment_log *log,
                                   struct error *error)
{
    static const char subject[] = "in process: one event in flight";
    static const struct bench_figure p50 = {
        .suite = suite, .name = "append_one_p50", .subject = subject, .measure = "p50"};
    static const struct bench_figure p99 = {
        .suite = suite, .name = "append_one_p99", .subject = subject, .measure = "p99"};
    struct writer writer = {
        .bench = bench, .log = log, .end_ns = clock_monotonic_ns() + bench->slice_ns};
    enum error_code code = append_until_end(&writer, error);
    if (!code)
        code = bench_curves_add(bench, &p50, &p99, &writer.samples, error);
    bench_samples_release(&writer.samples);
    return code;
}

static void *append_in_thread(void *argument)
{
    struct writer *writer = argument;
    writer->code = append_until_end(writer, &writer->error);
    return NULL;
}

/* Run all writers to their end; the first failure of any counts. */
static enum error_code run_writers(struct writer *writers, struct error *error)
{
    pthread_t threads[WRITERS];
    unsigned started = 0;
    int failed = 0;
    while (started < WRITERS && !failed) {
        failed = pthread_create(&threads[started], NULL, append_in_thread, &writers[started]);
        started += !failed;
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (failed)
        return error_set_errno(error, failed, "start a thread");
    for (unsigned i = 0; i < started; i++)
        if (writers[i].code) {
            *error = writers[i].error;
            return writers[i].code;
        }
    return OK;
}

static enum error_code measure_many(const struct bench *bench, struct segment_log *log,
                                    struct error *error)
{
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "append_many_rate",
                                             .subject =
                                                 "in process: 16 threads, one in flight each",
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    struct writer writers[WRITERS];
    int64_t start_ns = clock_monotonic_ns();
    size_t events = 0;
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i] = (struct writer){.bench = bench,
                                     .log = log,
                                     .first = i * UINT64_C(1009),
                                     .end_ns = start_ns + bench->slice_ns};
    enum error_code code = run_writers(writers, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    for (unsigned i = 0; i < WRITERS; i++) {
        events += writers[i].samples.count;
        bench_samples_release(&writers[i].samples);
    }
    return code ? code : bench_report_add(bench->report, &rate, (double)events / seconds, error);
}

/* As many as there is memory for at once: what appending itself takes. */
static enum error_code append_burst(const struct bench *bench, struct segment_log *log,
                                    int64_t *took_ns, struct error *error)
{
    uint64_t sequence = 0;
    enum error_code code = bench_check_interrupted(error);
    int64_t start_ns = clock_monotonic_ns();
    for (uint64_t i = 0; i < BURST_EVENTS && !code; i++)
        code = bench_append(bench, log, i, EVENT_TIME_NONE, &sequence, error);
    *took_ns += clock_monotonic_ns() - start_ns;
    return code ? code : segment_log_wait(log, sequence, error);
}

static enum error_code measure_bursts(const struct bench *bench, struct segment_log *log,
                                      struct error *error)
{
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "append_burst_rate",
                                             .subject = "in process: 16,384 events into memory",
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND,
                                             .goal = BENCH_AT_LEAST,
                                             .target = 5e6};
    int64_t end_ns = clock_monotonic_ns() + bench->slice_ns, took_ns = 0;
    double events = 0;
    enum error_code code = OK;
    while (!code && clock_monotonic_ns() < end_ns) {
        code = append_burst(bench, log, &took_ns, error);
        events += BURST_EVENTS;
    }
    return code ? code
                : bench_report_add(bench->report, &rate, events * 1e9 / (double)took_ns, error);
}

/* Nobody waits for the disk, but for the memory that lies between. */
static enum error_code measure_rate(const struct bench *bench, struct segment_log *log,
                                    struct error *error)
{
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "append_rate",
                                             .subject =
                                                 "in process: without end, as memory becomes free",
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    static const struct bench_figure durable = {.suite = suite,
                                                .name = "append_durable_rate",
                                                .subject =
                                                    "in process: … until the last one is durable",
                                                .measure = "rate",
                                                .unit = BENCH_EVENTS_PER_SECOND};
    int64_t start_ns = clock_monotonic_ns(), now_ns = start_ns;
    uint64_t index = 0, sequence = 0;
    enum error_code code = OK;
    while (!code && now_ns < start_ns + bench->slice_ns && index < APPENDED_EVENTS_MAX) {
        code = bench_check_interrupted(error);
        for (int i = 0; !code && i < BETWEEN_CLOCKS; i++)
            code = bench_append(bench, log, index++, EVENT_TIME_NONE, &sequence, error);
        segment_log_kick(log);
        now_ns = clock_monotonic_ns();
    }
    if (!code)
        code = bench_report_add(bench->report, &rate,
                                (double)index * 1e9 / (double)(now_ns - start_ns), error);
    if (!code)
        code = segment_log_wait(log, sequence, error);
    if (!code)
        code = bench_report_add(bench->report, &durable,
                                (double)index * 1e9 / (double)(clock_monotonic_ns() - start_ns),
                                error);
    return code;
}

static enum error_code measure_log(const struct bench *bench, struct error *error)
{
    struct segment_log_options options = {.segment_bytes = 0};
    struct segment_log *log = NULL;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", bench->directory, log_name);
    enum error_code code = segment_log_open(path, &options, &log, NULL, error);
    if (code)
        return code;
    code = measure_one(bench, log, error);
    if (!code)
        code = measure_many(bench, log, error);
    if (!code)
        code = measure_bursts(bench, log, error);
    if (!code)
        code = measure_rate(bench, log, error);
    enum error_code close_code = segment_log_close(log, code ? NULL : error);
    bench_scratch_delete(path);
    return code ? code : close_code;
}

static enum error_code compare(const struct bench *bench, struct error *error)
{
    static const struct bench_figure ratio = {.suite = "append: ratios",
                                              .name = "append_one_to_raw_limit",
                                              .subject = "one in flight p50 / raw write p50",
                                              .measure = "ratio",
                                              .unit = BENCH_RATIO,
                                              .goal = BENCH_AT_MOST,
                                              .target = 1.1};
    double raw = bench_report_last(bench->report, "append_raw_p50");
    double one = bench_report_last(bench->report, "append_one_p50");
    return raw > 0 ? bench_report_add(bench->report, &ratio, one / raw, error) : OK;
}

enum error_code bench_append_run(const struct bench *bench, struct error *error)
{
    static const struct bench_raw_names raw = {suite, "append_raw_p50", "append_raw_p99"};
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds && !code; round++) {
        code = bench_raw_commit(bench, &raw, error);
        if (!code)
            code = measure_log(bench, error);
        if (!code)
            code = compare(bench, error);
    }
    if (!code)
        code = bench_report_note(bench->report,
                                 "In process: this program opens the log itself; nothing is "
                                 "indexed meanwhile.",
                                 error);
    return code;
}
