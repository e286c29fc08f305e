/*
 * tools/generator.h - made-up events that look like a trading desk's, for the demo, tests and
 * benchmarks.
 *
 * The same options give the same events on every machine: integers and plain multiplications
 * only, no library's random numbers or logarithms.
 *
 * GENERATOR_TRADING: seven topics with zipf shares (market_data 39 %, signal_generated 19 %,
 * fire_command 13 %, trade_executed 10 %, balance_update 8 %, system_health 6 %, user_action 6 %).
 * A signal leads to a fire_command, that to a trade_executed, that to a balance_update, each
 * some milliseconds later (2 of 3, 3 of 4 and 4 of 5 times) and with the same correlation_id.
 * Times never go backwards and come in bursts.
 *
 * GENERATOR_FLAT: one shape of about 217 bytes as JSON under eight topics with zipf shares,
 * evenly spaced: what the benchmarks store, so that every side stores equal bytes.
 */
#ifndef DAYBOOK_TOOLS_GENERATOR_H
#define DAYBOOK_TOOLS_GENERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "tools/generator_payload.h"

enum generator_mode { GENERATOR_TRADING, GENERATOR_FLAT };

struct generator_options {
    enum generator_mode mode;
    uint64_t seed;
    uint64_t count;   /* how many events there will be */
    uint64_t signals; /* numbers already used by signals: the first gets the next */
    int64_t start_ns; /* no event is earlier */
    int64_t span_ns;  /* … nor later than start + span; more than 0 */
};

struct generator;

enum error_code generator_create(const struct generator_options *options,
                                 struct generator **generator_out, struct error *error);
/* Make the next event; false when all `count` have been made. */
bool generator_next(struct generator *generator, struct generator_event *event_out);
/* Accepts NULL. */
void generator_free(struct generator *generator);

#endif
