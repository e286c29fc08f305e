/* Suite `where`: how many events a second one core holds against a condition in SQL. */
#include <string.h>

#include "core/clock.h"
#include "indexer/where.h"
#include "tools/daybook/bench.h"

static const char suite[] = "where";

enum { EVENTS_BETWEEN_LOOKS = 4096 };

static const struct {
    const char *condition;
    struct bench_figure figure;
} conditions[] = {
    {"confidence > 0.5",
     {suite, "where_number_rate", "confidence > 0.5", "rate of one core", BENCH_EVENTS_PER_SECOND,
      BENCH_AT_LEAST, 1000000}},
    {"confidence > 0.5 AND direction = 'long'",
     {suite, "where_two_rate", "confidence > 0.5 AND direction = 'long'", "rate of one core",
      BENCH_EVENTS_PER_SECOND, BENCH_NO_GOAL, 0}},
    {"topic GLOB 'signal*' AND symbol LIKE '%USD%'",
     {suite, "where_text_rate", "topic GLOB 'signal*' AND symbol LIKE '%USD%'", "rate of one core",
      BENCH_EVENTS_PER_SECOND, BENCH_NO_GOAL, 0}},
    {"payload ->> 'confidence' > 0.5",
     {suite, "where_json_rate", "payload ->> 'confidence' > 0.5", "rate of one core",
      BENCH_EVENTS_PER_SECOND, BENCH_NO_GOAL, 0}},
};

static enum error_code match_pool(const struct bench *bench, struct indexer_where *where,
                                  uint64_t first, struct error *error)
{
    bool matches;
    enum error_code code = OK;
    for (uint64_t i = first; !code && i < first + EVENTS_BETWEEN_LOOKS; i++) {
        const struct bench_pool_event *from = bench_pool_event(bench->pool, i);
        struct event event = {
            .sequence = i + 1,
            .topic = from->topic,
            .topic_bytes = from->topic_bytes,
            .payload = from->msgpack,
            .payload_bytes = from->msgpack_bytes,
        };
        code = indexer_where_match(where, &event, &matches, error);
    }
    return code ? code : bench_check_interrupted(error);
}

static enum error_code time_matches(const struct bench *bench, const char *condition,
                                    const struct bench_figure *figure, struct error *error)
{
    struct indexer_where *where = NULL;
    uint64_t events = 0;
    enum error_code code = indexer_where_compile(condition, strlen(condition), &where, error);
    int64_t start_ns = clock_monotonic_ns(), now_ns = start_ns;
    while (!code && now_ns - start_ns < bench->slice_ns) {
        code = match_pool(bench, where, events, error);
        events += EVENTS_BETWEEN_LOOKS;
        now_ns = clock_monotonic_ns();
    }
    indexer_where_free(where);
    if (code)
        return code;
    double rate = (double)events * 1e9 / (double)(now_ns - start_ns);
    return bench_report_add(bench->report, figure, rate, error);
}

enum error_code bench_where_run(const struct bench *bench, struct error *error)
{
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds; round++)
        for (size_t i = 0; !code && i < sizeof conditions / sizeof conditions[0]; i++)
            code = time_matches(bench, conditions[i].condition, &conditions[i].figure, error);
    return code;
}
