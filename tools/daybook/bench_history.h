/*
 * tools/daybook/bench_history.h - a log of many events, for the suites that look back.
 *
 * Made once, by this program itself, for all suites of a run: the events of the pool, a millisecond
 * apart. The suites leave it readable and indexed for those behind them.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_HISTORY_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_HISTORY_H

#include <limits.h>

#include "tools/daybook/bench.h"

#define BENCH_HISTORY_FIRST_NS (INT64_C(1767225600) * 1000000000) /* 2026-01-01 */
#define BENCH_HISTORY_STEP_NS  INT64_C(1000000)

/* Of the log of bench->events events; it goes with the scratch directory. */
void bench_history_path(const struct bench *bench, char path_out[PATH_MAX]);
enum error_code bench_history_make(const struct bench *bench, struct error *error);
/* Bring its index up to date. */
enum error_code bench_history_index(const struct bench *bench, struct error *error);

#endif
