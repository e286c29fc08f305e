/*
 * tools/daybook/bench_steady.h - what a daemon costs that has little to do.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_STEADY_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_STEADY_H

#include "tools/daybook/bench.h"

/*
 * Memory and processor time of a daemon of its own at 1,000 events/s, ten of them durable at a
 * time, over as long as one measurement takes in all rounds.
 */
enum error_code bench_steady_run(const struct bench *bench, struct error *error);

#endif
