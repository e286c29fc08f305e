/*
 * tools/daybook/bench_pace.h - events published at a steady rate, whatever the answers do.
 *
 * Each millisecond a batch is due and is sent, also when the one before has no answer yet: a stall
 * is then seen by all events that it holds up. An event's time runs from the moment when it was
 * due.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_PACE_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_PACE_H

#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_samples.h"

enum { BENCH_PACE_PER_TICK = 20, BENCH_PACE_RATE = 1000 * BENCH_PACE_PER_TICK };

/* How many events that makes in so long. */
size_t bench_pace_events(int64_t duration_ns);

/*
 * Publish `count` events; due_ns[i] becomes the moment when the i-th was due, on the monotonic
 * clock, before it is sent. `samples` gets the time until each was acknowledged as durable.
 */
enum error_code bench_pace_publish(const struct bench *bench, const struct bench_daemon *daemon,
                                   size_t count, _Atomic int64_t *due_ns,
                                   struct bench_samples *samples, struct error *error);

#endif
