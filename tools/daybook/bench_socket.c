/* Suite `socket`: our durable publish against plain SQLite and against the raw limit. */
#include <pthread.h>
#include <stdio.h>

#include "core/clock.h"
#include "tools/daybook/bench_curves.h"
#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_raw.h"
#include "tools/daybook/bench_sqlite.h"
#include "tools/daybook/bench_steady.h"

enum {
    PRODUCERS = 16,
    PIPELINED_EVENTS_MAX = 3000000, /* keeps the log and its index of one round below 1.5 GB */
};

static const char suite[] = "socket";

/* One connection that publishes with one event in flight. */
struct producer {
    const struct bench *bench;
    struct daybook *client;
    uint64_t first; /* index of the first event in the pool */
    int64_t end_ns;
    struct bench_samples samples;
    enum error_code code;
    struct error error;
};

static enum error_code publish_until_end(struct producer *producer, struct error *error)
{
    struct daybook_error client_error;
    uint64_t index = producer->first;
    for (;;) {
        int64_t start_ns = clock_monotonic_ns();
        if (start_ns >= producer->end_ns)
            return OK;
        enum error_code code = bench_check_interrupted(error);
        if (code)
            return code;
        struct daybook_event event =
            bench_daemon_event(producer->bench, index++, clock_realtime_ns());
        if (daybook_publish(producer->client, &event, NULL, &client_error))
            return bench_daemon_client_error(&client_error, error);
        code = bench_samples_add(&producer->samples, clock_monotonic_ns() - start_ns, error);
        if (code)
            return code;
    }
}

/* One producer in this thread, for `duration_ns`. The caller releases the samples. */
static enum error_code publish_alone(const struct bench *bench, const struct bench_daemon *daemon,
                                     int64_t duration_ns, struct bench_samples *samples, struct error *error)
{
    struct producer producer = {.bench = bench};
    enum error_code code = bench_daemon_connect(daemon, "bench-one", &producer.client, error);
    if (code)
        return code;
    producer.end_ns = clock_monotonic_ns() + duration_ns;
    code = publish_until_end(&producer, error);
    daybook_close(producer.client);
    *samples = producer.samples;
    return code;
}

static enum error_code measure_one(const struct bench *bench, const struct bench_daemon *daemon,
                                   struct error *error)
{
    static const char subject[] = "daybook: one event in flight";
    static const struct bench_figure p50 = {
        .suite = suite, .name = "one_in_flight_p50", .subject = subject, .measure = "p50"};
    static const struct bench_figure p99 = {
        .suite = suite, .name = "one_in_flight_p99", .subject = subject, .measure = "p99"};
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "one_in_flight_rate",
                                             .subject = subject,
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    struct bench_samples samples = {0};
    enum error_code code = publish_alone(bench, daemon, bench->slice_ns, &samples, error);
    if (!code)
        code = bench_curves_add(bench, &p50, &p99, &samples, error);
    if (!code)
        code = bench_report_add(bench->report, &rate,
                                (double)samples.count * 1e9 / (double)bench->slice_ns, error);
    bench_samples_release(&samples);
    return code;
}

static void *publish_in_thread(void *argument)
{
    struct producer *producer = argument;
    producer->code = publish_until_end(producer, &producer->error);
    return NULL;
}

/* Run all producers to their end; the first failure of any counts. */
static enum error_code run_threads(struct producer *producers, unsigned count, struct error *error)
{
    pthread_t threads[PRODUCERS];
    unsigned started = 0;
    int result = 0;
    while (started < count && !result) {
        result = pthread_create(&threads[started], NULL, publish_in_thread, &producers[started]);
        if (!result)
            started++;
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (result)
        return error_set_errno(error, result, "start a thread");
    for (unsigned i = 0; i < started; i++)
        if (producers[i].code) {
            *error = producers[i].error;
            return producers[i].code;
        }
    return OK;
}

static enum error_code connect_producers(const struct bench *bench,
                                         const struct bench_daemon *daemon,
                                         struct producer *producers, struct error *error)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "bench-%u", i);
        producers[i] = (struct producer){.bench = bench, .first = i * UINT64_C(1009)};
        enum error_code code = bench_daemon_connect(daemon, name, &producers[i].client, error);
        if (code)
            return code;
    }
    return OK;
}

static enum error_code report_many(const struct bench *bench, struct producer *producers,
                                   double seconds, struct error *error)
{
    static const char subject[] = "daybook: 16 connections (threads), one in flight each";
    static const struct bench_figure p50 = {
        .suite = suite, .name = "many_p50", .subject = subject, .measure = "p50"};
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "many_rate",
                                             .subject = subject,
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    struct bench_samples all = {0};
    enum error_code code = OK;
    for (unsigned i = 0; i < PRODUCERS; i++)
        for (size_t j = 0; j < producers[i].samples.count && !code; j++)
            code = bench_samples_add(&all, producers[i].samples.ns[j], error);
    if (!code)
        code = bench_report_add(bench->report, &p50,
                                (double)bench_samples_percentile(&all, 0.5) / 1e3, error);
    if (!code)
        code = bench_report_add(bench->report, &rate, (double)all.count / seconds, error);
    bench_samples_release(&all);
    return code;
}

static enum error_code measure_many(const struct bench *bench, const struct bench_daemon *daemon,
                                    struct error *error)
{
    struct producer producers[PRODUCERS] = {0};
    enum error_code code = connect_producers(bench, daemon, producers, error);
    int64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < PRODUCERS; i++)
        producers[i].end_ns = start_ns + bench->slice_ns;
    if (!code)
        code = run_threads(producers, PRODUCERS, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (!code)
        code = report_many(bench, producers, seconds, error);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        daybook_close(producers[i].client);
        bench_samples_release(&producers[i].samples);
    }
    return code;
}

/* Send for one slice, wait for the last ack; *counts_out is what the acks said. */
static enum error_code send_pipelined(const struct bench *bench, struct daybook *client,
                                      struct daybook_counts *counts_out, struct error *error)
{
    enum { BETWEEN_CLOCKS = 256 };
    struct daybook_error client_error;
    int64_t end_ns = clock_monotonic_ns() + bench->slice_ns;
    for (uint64_t index = 0; index < PIPELINED_EVENTS_MAX; index++) {
        struct daybook_event event = bench_daemon_event(bench, index, clock_realtime_ns());
        if (daybook_send(client, &event, &client_error))
            return bench_daemon_client_error(&client_error, error);
        if (index % BETWEEN_CLOCKS == 0 && clock_monotonic_ns() >= end_ns)
            break;
        if (index % BETWEEN_CLOCKS == 0 && bench_check_interrupted(error))
            return ERROR_CLOSED;
    }
    if (daybook_flush(client, &client_error))
        return bench_daemon_client_error(&client_error, error);
    daybook_count(client, counts_out);
    return OK;
}

static enum error_code measure_pipelined(const struct bench *bench,
                                         const struct bench_daemon *daemon, struct error *error)
{
    static const char subject[] = "daybook: one connection, pipelined, durable acks";
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "pipelined_rate",
                                             .subject = subject,
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND,
                                             .goal = BENCH_AT_LEAST,
                                             .target = 1000000};
    static const struct bench_figure lag = {.suite = suite,
                                            .name = "index_lag",
                                            .subject = "daybook: index complete after the last ack",
                                            .measure = "time",
                                            .unit = BENCH_SECONDS,
                                            .goal = BENCH_AT_MOST,
                                            .target = 1};
    struct daybook *client = NULL;
    struct daybook_counts counts = {0};
    int64_t lag_ns = 0;
    enum error_code code = bench_daemon_connect(daemon, "bench-pipelined", &client, error);
    if (code)
        return code;
    int64_t start_ns = clock_monotonic_ns();
    code = send_pipelined(bench, client, &counts, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    daybook_close(client);
    if (!code)
        code = bench_daemon_wait_index(daemon, counts.last_sequence, &lag_ns, error);
    if (!code)
        code = bench_report_add(bench->report, &rate, (double)counts.stored / seconds, error);
    if (!code)
        code = bench_report_add(bench->report, &lag, (double)lag_ns / 1e9, error);
    return code;
}

static enum error_code measure_peak_memory(const struct bench *bench,
                                           const struct bench_daemon *daemon, struct error *error)
{
    static const struct bench_figure peak = {.suite = suite,
                                             .name = "memory_peak",
                                             .subject = "daybook: memory after all of the above",
                                             .measure = "peak",
                                             .unit = BENCH_BYTES,
                                             .goal = BENCH_AT_MOST,
                                             .target = 64e6};
    double bytes = 0;
    enum error_code code = bench_daemon_memory(daemon, &bytes, error);
    return code ? code : bench_report_add(bench->report, &peak, bytes, error);
}

/* Everything of ours in one round, against one fresh daemon. */
static enum error_code measure_daybook(const struct bench *bench, struct error *error)
{
    struct bench_daemon *daemon = NULL;
    enum error_code code = bench_daemon_start(bench, &daemon, error);
    if (code)
        return code;
    code = measure_one(bench, daemon, error);
    if (!code)
        code = measure_many(bench, daemon, error);
    if (!code)
        code = measure_pipelined(bench, daemon, error);
    if (!code)
        code = measure_peak_memory(bench, daemon, error);
    enum error_code stop_code = bench_daemon_stop(daemon, code ? NULL : error);
    return code ? code : stop_code;
}

static enum error_code measure_sqlite(const struct bench *bench, struct error *error)
{
    enum error_code code = bench_sqlite_one(bench, error);
    if (!code)
        code = bench_sqlite_many(bench, error);
    if (!code)
        code = bench_sqlite_batch(bench, error);
    return code;
}

/* This round's ratios. */
static enum error_code compare(const struct bench *bench, struct error *error)
{
    static const struct {
        struct bench_figure figure;
        const char *above, *below, *below_too;
    } ratios[] = {
        {{.name = "one_in_flight_to_raw_limit",
          .subject = "one in flight p50 / (raw write p50 + socket p50)",
          .goal = BENCH_AT_MOST,
          .target = 1.15},
         "one_in_flight_p50",
         "raw_commit_p50",
         "socket_round_trip_p50"},
        {{.name = "one_in_flight_to_raw_server",
          .subject = "one in flight p50 / (there, write, fdatasync, and back)"},
         "one_in_flight_p50",
         "raw_server_p50",
         NULL},
        {{.name = "one_in_flight_to_sqlite", .subject = "one in flight p50 / SQLite p50"},
         "one_in_flight_p50",
         "sqlite_one_p50",
         NULL},
        {{.name = "many_to_sqlite", .subject = "16 producers / SQLite with 16 connections"},
         "many_rate",
         "sqlite_many_rate",
         NULL},
        {{.name = "pipelined_to_sqlite", .subject = "pipelined / SQLite with 1,000 a transaction"},
         "pipelined_rate",
         "sqlite_batch_rate",
         NULL},
    };
    const struct bench_report *report = bench->report;
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
        struct bench_figure figure = ratios[i].figure;
        figure.suite = "socket: ratios";
        figure.measure = "ratio";
        figure.unit = BENCH_RATIO;
        double below = bench_report_last(report, ratios[i].below);
        if (ratios[i].below_too)
            below += bench_report_last(report, ratios[i].below_too);
        if (below <= 0)
            continue; /* Too short a slice for even one event. */
        enum error_code code = bench_report_add(
            bench->report, &figure, bench_report_last(report, ratios[i].above) / below, error);
        if (code)
            return code;
    }
    return OK;
}

static enum error_code add_notes(const struct bench *bench, struct error *error)
{
    static const char *const notes[] = {
        "All sides store the same events on the same disk, in the same rounds; every event is "
        "durable (fdatasync) before it counts.",
        "daybook: C client library over the Unix socket of a fresh daybookd with its default "
        "settings; the index is filled at the same time. 16 producers are 16 threads of this "
        "process with a connection each.",
        "SQLite: WAL, synchronous=FULL, one table without a further index, prepared statements, "
        "no socket in between.",
        "Index lag: from the last durable ack of the pipelined run until max(seq) in events.db is "
        "that event's, polled read-only every millisecond.",
        "Memory: VmHWM minus RssFile and RssShmem of /proc/PID/status: the most that was resident, "
        "without pages of files.",
    };
    enum error_code code = OK;
    for (size_t i = 0; i < sizeof notes / sizeof *notes && !code; i++)
        code = bench_report_note(bench->report, notes[i], error);
    return code;
}

enum error_code bench_socket_run(const struct bench *bench, struct error *error)
{
    static const struct bench_raw_names raw = {suite, "raw_commit_p50", "raw_commit_p99"};
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds && !code; round++) {
        code = bench_raw_commit(bench, &raw, error);
        if (!code)
            code = bench_raw_socket(bench, error);
        if (!code)
            code = bench_raw_server(bench, error);
        if (!code)
            code = measure_daybook(bench, error);
        if (!code)
            code = measure_sqlite(bench, error);
        if (!code)
            code = compare(bench, error);
    }
    if (!code)
        code = bench_steady_run(bench, error);
    return code ? code : add_notes(bench, error);
}
