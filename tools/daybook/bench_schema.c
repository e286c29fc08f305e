/* Suite `schema`: how many payloads a second one core holds against a schema. */
#include <string.h>

#include "core/clock.h"
#include "core/schema.h"
#include "tools/daybook/bench.h"

static const char suite[] = "schema";

enum { CHECKS_BETWEEN_LOOKS = 4096 };

/* One or two rules for each of the ten fields of the pool's events, as people write them. */
static const char rules[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"signal_id\":{\"type\":\"string\",\"minLength\":12,\"maxLength\":12},"
    "\"symbol\":{\"type\":\"string\",\"minLength\":1},"
    "\"direction\":{\"enum\":[\"long\",\"short\"]},"
    "\"confidence\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},"
    "\"pattern_type\":{\"type\":\"string\"},"
    "\"timeframe\":{\"enum\":[\"1m\",\"5m\",\"15m\",\"1h\",\"4h\",\"1d\"]},"
    "\"entry_price\":{\"type\":\"number\",\"exclusiveMinimum\":0},"
    "\"stop_loss\":{\"type\":\"number\",\"exclusiveMinimum\":0},"
    "\"take_profit\":{\"type\":\"number\",\"exclusiveMinimum\":0},"
    "\"strategy\":{\"type\":\"string\",\"maxLength\":64}},"
    "\"required\":[\"signal_id\",\"symbol\",\"direction\",\"confidence\",\"pattern_type\","
    "\"timeframe\",\"entry_price\",\"stop_loss\",\"take_profit\",\"strategy\"],"
    "\"additionalProperties\":false}";

/* The last rule that is looked at fails: with the words for it. */
static const char failing_rules[] =
    "{\"type\":\"object\",\"properties\":{\"strategy\":{\"maxLength\":1}}}";

static enum error_code check_pool(const struct bench *bench, struct schema *schema, bool expected,
                                  uint64_t first, struct error *error)
{
    struct schema_fault fault;
    for (uint64_t i = first; i < first + CHECKS_BETWEEN_LOOKS; i++) {
        const struct bench_pool_event *event = bench_pool_event(bench->pool, i);
        if (schema_check(schema, event->msgpack, event->msgpack_bytes, &fault) != expected)
            return error_set(error, ERROR_INVALID, "the benchmark's schema: %s",
                             expected ? fault.text : "an event keeps to it");
    }
    return bench_check_interrupted(error);
}

static enum error_code time_checks(const struct bench *bench, const char *json, bool expected,
                                   const struct bench_figure *figure, struct error *error)
{
    struct schema *schema = NULL;
    uint64_t checks = 0;
    enum error_code code = schema_compile(json, strlen(json), &schema, error);
    int64_t start_ns = clock_monotonic_ns(), now_ns = start_ns;
    while (!code && now_ns - start_ns < bench->slice_ns) {
        code = check_pool(bench, schema, expected, checks, error);
        checks += CHECKS_BETWEEN_LOOKS;
        now_ns = clock_monotonic_ns();
    }
    schema_free(schema);
    if (code)
        return code;
    double rate = (double)checks * 1e9 / (double)(now_ns - start_ns);
    return bench_report_add(bench->report, figure, rate, error);
}

enum error_code bench_schema_run(const struct bench *bench, struct error *error)
{
    static const struct bench_figure passing = {.suite = suite,
                                                .name = "schema_check_rate",
                                                .subject = "ten fields held against a schema",
                                                .measure = "rate of one core",
                                                .unit = BENCH_EVENTS_PER_SECOND,
                                                .goal = BENCH_AT_LEAST,
                                                .target = 2000000};
    static const struct bench_figure failing = {.suite = suite,
                                                .name = "schema_fault_rate",
                                                .subject = "… which do not keep to it, in words",
                                                .measure = "rate of one core",
                                                .unit = BENCH_EVENTS_PER_SECOND};
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds && !code; round++) {
        code = time_checks(bench, rules, true, &passing, error);
        if (!code)
            code = time_checks(bench, failing_rules, false, &failing, error);
    }
    return code;
}
