/*
 * tools/daybook/bench_report.h - figures of a benchmark: one value a round, printed as a table or
 * as one JSON document with median, lowest and highest.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_REPORT_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "core/bytes.h"
#include "core/error.h"

enum bench_unit {
    BENCH_MICROSECONDS,
    BENCH_SECONDS,
    BENCH_EVENTS_PER_SECOND,
    BENCH_BYTES,
    BENCH_RATIO,
    BENCH_PERCENT,
};

enum bench_goal { BENCH_NO_GOAL, BENCH_AT_MOST, BENCH_AT_LEAST };

/* What a figure is; the texts live for ever. */
struct bench_figure {
    const char *suite;
    const char *name;    /* a word for programs: raw_commit_p50 */
    const char *subject; /* for people: one line of the table is "subject  measure  …" */
    const char *measure;
    enum bench_unit unit;
    enum bench_goal goal;
    double target;
};

struct bench_report;

/* `judges`: the run is as long as the goals suppose; else it says of none whether it is met. */
enum error_code bench_report_create(bool judges, struct bench_report **report_out,
                                    struct error *error);
/* Add one round's value of the figure, which is known by its name from the first time on. */
enum error_code bench_report_add(struct bench_report *report, const struct bench_figure *figure,
                                 double value, struct error *error);
/* The last value that was added to a figure; 0 when there is none. */
double bench_report_last(const struct bench_report *report, const char *name);
/* All figures, in the order in which they came. */
size_t bench_report_count(const struct bench_report *report);
const struct bench_figure *bench_report_figure(const struct bench_report *report, size_t i);
double bench_report_median(const struct bench_report *report, size_t i);
/* A remark on how something is measured, printed below the table and in the document. */
enum error_code bench_report_note(struct bench_report *report, const char *text,
                                  struct error *error);

void bench_report_print_table(const struct bench_report *report, FILE *out);
/* Append `"figures":[…],"notes":[…]`. */
enum error_code bench_report_append_json(const struct bench_report *report, struct buffer *out,
                                         struct error *error);
/* Accepts NULL. */
void bench_report_free(struct bench_report *report);

#endif
