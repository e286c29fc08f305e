/*
 * tools/daybook/bench_append.h - the pool's events into a log that this program has opened itself.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_APPEND_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_APPEND_H

#include "segment/log.h"
#include "tools/daybook/bench.h"

/* Append the pool's `index`th event; waits while there is no room in memory. */
enum error_code bench_append(const struct bench *bench, struct segment_log *log, uint64_t index,
                             int64_t time_ns, uint64_t *sequence_out, struct error *error);

#endif
