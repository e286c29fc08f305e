#include "tools/daybook/bench_pace.h"

#include <poll.h>
#include <stdatomic.h>
#include <time.h>

#include "core/clock.h"

#define TICK_NS INT64_C(1000000)

struct pacer {
    const struct bench *bench;
    struct daybook *client;
    _Atomic int64_t *due_ns;
    struct bench_samples *samples;
    enum error_code code; /* of what an answer met */
    struct error error;
};

size_t bench_pace_events(int64_t duration_ns)
{
    return (size_t)(duration_ns / TICK_NS) * BENCH_PACE_PER_TICK;
}

static void take_result(void *context, const struct daybook_result *result)
{
    struct pacer *pacer = context;
    if (pacer->code)
        return;
    if (result->code)
        pacer->code = error_set(&pacer->error, ERROR_IO, "an event was not stored: %s",
                                result->reason);
    else
        pacer->code = bench_samples_add(
            pacer->samples, clock_monotonic_ns() - atomic_load(&pacer->due_ns[result->tag]),
            &pacer->error);
}

static enum error_code take_answers(struct pacer *pacer, struct error *error)
{
    struct daybook_error why;
    enum daybook_code code = daybook_poll(pacer->client, 0, &why);
    if (code && code != DAYBOOK_TIMEOUT)
        return bench_daemon_client_error(&why, error);
    if (pacer->code)
        *error = pacer->error;
    return pacer->code;
}

/* Take answers until it is time for the next batch. */
static enum error_code wait_until(struct pacer *pacer, int64_t due_ns, struct error *error)
{
    enum error_code code = OK;
    for (int64_t left_ns; !code && (left_ns = due_ns - clock_monotonic_ns()) > 0;) {
        struct pollfd answers = {.fd = daybook_fd(pacer->client), .events = POLLIN};
        struct timespec left = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
        if (ppoll(&answers, 1, &left, NULL) > 0)
            code = take_answers(pacer, error);
    }
    return code;
}

static enum error_code send_batch(struct pacer *pacer, size_t first, int64_t due_ns,
                                  struct error *error)
{
    struct daybook_error why;
    for (size_t i = first; i < first + BENCH_PACE_PER_TICK; i++) {
        struct daybook_event event = bench_daemon_event(pacer->bench, i, clock_realtime_ns());
        event.tag = i;
        atomic_store(&pacer->due_ns[i], due_ns);
        if (daybook_send(pacer->client, &event, &why))
            return bench_daemon_client_error(&why, error);
    }
    return take_answers(pacer, error); /* which sends what has gathered */
}

static enum error_code publish(struct pacer *pacer, size_t count, struct error *error)
{
    struct daybook_error why;
    enum error_code code = OK;
    int64_t due_ns = clock_monotonic_ns() + TICK_NS;
    for (size_t i = 0; !code && i < count; i += BENCH_PACE_PER_TICK, due_ns += TICK_NS) {
        code = bench_check_interrupted(error);
        if (!code)
            code = wait_until(pacer, due_ns, error);
        if (!code)
            code = send_batch(pacer, i, due_ns, error);
    }
    if (!code && daybook_flush(pacer->client, &why))
        code = bench_daemon_client_error(&why, error);
    if (!code && pacer->code) {
        *error = pacer->error;
        code = pacer->code;
    }
    return code;
}

enum error_code bench_pace_publish(const struct bench *bench, const struct bench_daemon *daemon,
                                   size_t count, _Atomic int64_t *due_ns,
                                   struct bench_samples *samples, struct error *error)
{
    struct pacer pacer = {.bench = bench, .due_ns = due_ns, .samples = samples};
    struct daybook_options options = {.producer = "bench-pace",
                                      .gather = true,
                                      .on_result = take_result,
                                      .context = &pacer};
    enum error_code code = bench_daemon_connect_with(daemon, options, &pacer.client, error);
    if (code)
        return code;
    code = publish(&pacer, count, error);
    daybook_close(pacer.client);
    return code;
}
