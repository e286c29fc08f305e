/*
 * tools/daybook/bench_plot.h - a benchmark as a picture: SVG, which every browser shows.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_PLOT_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_PLOT_H

#include "tools/daybook/bench_curves.h"

/*
 * Write the whole document: a bar for each rate, and a curve for each thing whose durations were
 * taken, from the median to the slowest of ten thousand. `title` says where and when.
 */
void bench_plot(const struct bench_report *report, const struct bench_curves *curves,
                const char *title, FILE *out);

#endif
