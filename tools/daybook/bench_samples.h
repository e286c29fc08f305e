/*
 * tools/daybook/bench_samples.h - how long each of many things took, and their percentiles.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_SAMPLES_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Zero-initialised is empty and valid. */
struct bench_samples {
    int64_t *ns;
    size_t count;
    size_t capacity;
};

enum error_code bench_samples_add(struct bench_samples *samples, int64_t ns, struct error *error);
/* Nearest rank: the smallest sample that `fraction` of all do not exceed. Sorts. 0 when empty. */
int64_t bench_samples_percentile(struct bench_samples *samples, double fraction);
/* Free, and leave an empty valid set. */
void bench_samples_release(struct bench_samples *samples);

#endif
