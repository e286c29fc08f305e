/*
 * tools/daybook/bench_curves.h - how long a thing took, in percentiles: in the report and as curves
 * for the plot.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_CURVES_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_CURVES_H

#include "tools/daybook/bench.h"
#include "tools/daybook/bench_samples.h"

/* The points of a curve: 0.5, 0.75, 0.9 … */
enum { BENCH_CURVE_POINTS = 10 };
extern const double bench_curve_fractions[BENCH_CURVE_POINTS];

struct bench_curves;

enum error_code bench_curves_create(struct bench_curves **curves_out, struct error *error);
/* Accepts NULL. */
void bench_curves_free(struct bench_curves *curves);
/*
 * One round's samples: two figures of the report, the median and the 99th percentile, and the curve
 * of `p50`s subject. Sorts the samples.
 */
enum error_code bench_curves_add(const struct bench *bench, const struct bench_figure *p50,
                                 const struct bench_figure *p99, struct bench_samples *samples,
                                 struct error *error);

size_t bench_curves_count(const struct bench_curves *curves);
const char *bench_curves_subject(const struct bench_curves *curves, size_t i);
/*
 * Microseconds at that point, the median over the rounds. 0: there were not enough samples to tell.
 */
double bench_curves_value(const struct bench_curves *curves, size_t i, size_t point);

#endif
