/* Suite `start`: from the start of daybookd on a log with a history to the first durable ack. */
#include "core/clock.h"
#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_history.h"

enum { SENT_BEFORE_KILL = 1000 };

static const char suite[] = "start";

static enum error_code publish_one(const struct bench *bench, const struct bench_daemon *daemon,
                                   struct error *error)
{
    struct daybook_error why;
    struct daybook *client = NULL;
    struct daybook_event event = bench_daemon_event(bench, 0, DAYBOOK_TIME_NONE);
    enum error_code code = bench_daemon_connect(daemon, NULL, &client, error);
    if (!code && daybook_publish(client, &event, NULL, &why))
        code = bench_daemon_client_error(&why, error);
    daybook_close(client);
    return code;
}

/* Start it, and publish as soon as it answers. */
static enum error_code time_start(const struct bench *bench, const struct bench_figure *figure,
                                  struct bench_daemon **daemon_out, struct error *error)
{
    char path[PATH_MAX];
    bench_history_path(bench, path);
    int64_t start_ns = clock_monotonic_ns();
    enum error_code code = bench_daemon_start_on(bench, path, daemon_out, error);
    if (!code)
        code = publish_one(bench, *daemon_out, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    return code ? code : bench_report_add(bench->report, figure, seconds, error);
}

/* Events on their way, and nobody who waits for them. */
static enum error_code send_some(const struct bench *bench, const struct bench_daemon *daemon,
                                 struct error *error)
{
    struct daybook_error why;
    struct daybook *client = NULL;
    enum error_code code = bench_daemon_connect(daemon, NULL, &client, error);
    for (uint64_t i = 0; i < SENT_BEFORE_KILL && !code; i++) {
        struct daybook_event event = bench_daemon_event(bench, i, DAYBOOK_TIME_NONE);
        if (daybook_send(client, &event, &why))
            code = bench_daemon_client_error(&why, error);
    }
    if (!code && daybook_flush(client, &why))
        code = bench_daemon_client_error(&why, error);
    daybook_close(client);
    return code;
}

static enum error_code run_round(const struct bench *bench, struct error *error)
{
    static const struct bench_figure clean = {.suite = suite,
                                              .name = "start_clean",
                                              .subject = "first durable ack after a clean stop",
                                              .measure = "time",
                                              .unit = BENCH_SECONDS};
    static const struct bench_figure killed = {.suite = suite,
                                               .name = "start_killed",
                                               .subject = "first durable ack after kill -9",
                                               .measure = "time",
                                               .unit = BENCH_SECONDS,
                                               .goal = BENCH_AT_MOST,
                                               .target = 0.2};
    struct bench_daemon *daemon = NULL;
    enum error_code code = time_start(bench, &clean, &daemon, error);
    if (!code)
        code = send_some(bench, daemon, error);
    bench_daemon_kill(daemon);
    daemon = NULL;
    if (!code)
        code = time_start(bench, &killed, &daemon, error);
    enum error_code stop_code = bench_daemon_stop(daemon, code ? NULL : error);
    return code ? code : stop_code;
}

enum error_code bench_start_run(const struct bench *bench, struct error *error)
{
    enum error_code code = bench_history_index(bench, error);
    for (unsigned round = 0; round < bench->rounds && !code; round++)
        code = run_round(bench, error);
    return code;
}
