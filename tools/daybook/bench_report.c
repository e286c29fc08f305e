#include "tools/daybook/bench_report.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"

enum { ROUNDS_MAX = 100, FIGURES_MAX = 128, NOTES_MAX = 16, VALUE_TEXT_SIZE = 40 };

struct series {
    struct bench_figure figure;
    size_t count;
    double values[ROUNDS_MAX];
};

struct bench_report {
    bool judges;
    size_t series_count;
    struct series series[FIGURES_MAX];
    size_t note_count;
    const char *notes[NOTES_MAX];
};

struct summary {
    double median, lowest, highest;
};

static const char *const unit_names[] = {
    [BENCH_MICROSECONDS] = "us", [BENCH_SECONDS] = "s",   [BENCH_EVENTS_PER_SECOND] = "events/s",
    [BENCH_BYTES] = "bytes",     [BENCH_RATIO] = "ratio",
    [BENCH_PERCENT] = "%",
};

enum error_code bench_report_create(bool judges, struct bench_report **report_out,
                                    struct error *error)
{
    struct bench_report *report = calloc(1, sizeof *report);
    if (!report)
        return error_set(error, ERROR_MEMORY, "no memory for the benchmark's report");
    report->judges = judges;
    *report_out = report;
    return OK;
}

static size_t find(const struct bench_report *report, const char *name)
{
    size_t i = 0;
    while (i < report->series_count && strcmp(report->series[i].figure.name, name) != 0)
        i++;
    return i;
}

enum error_code bench_report_add(struct bench_report *report, const struct bench_figure *figure,
                                 double value, struct error *error)
{
    size_t i = find(report, figure->name);
    if (i == FIGURES_MAX)
        return error_set(error, ERROR_FULL, "a report holds at most %d figures", FIGURES_MAX);
    struct series *series = &report->series[i];
    if (i == report->series_count) {
        series->figure = *figure;
        report->series_count++;
    }
    if (series->count == ROUNDS_MAX)
        return error_set(error, ERROR_FULL, "a report holds at most %d rounds", ROUNDS_MAX);
    series->values[series->count++] = value;
    return OK;
}

double bench_report_last(const struct bench_report *report, const char *name)
{
    size_t i = find(report, name);
    if (i == report->series_count)
        return 0;
    return report->series[i].values[report->series[i].count - 1];
}

enum error_code bench_report_note(struct bench_report *report, const char *text,
                                  struct error *error)
{
    if (report->note_count == NOTES_MAX)
        return error_set(error, ERROR_FULL, "a report holds at most %d notes", NOTES_MAX);
    report->notes[report->note_count++] = text;
    return OK;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static struct summary summarize(const struct series *series)
{
    double sorted[ROUNDS_MAX];
    size_t count = series->count;
    memcpy(sorted, series->values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    double median = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
    return (struct summary){median, sorted[0], sorted[count - 1]};
}

size_t bench_report_count(const struct bench_report *report)
{
    return report->series_count;
}

const struct bench_figure *bench_report_figure(const struct bench_report *report, size_t i)
{
    return &report->series[i].figure;
}

double bench_report_median(const struct bench_report *report, size_t i)
{
    return summarize(&report->series[i]).median;
}

static bool meets(const struct bench_figure *figure, double value)
{
    return figure->goal == BENCH_AT_MOST ? value <= figure->target : value >= figure->target;
}

static void format_value(enum bench_unit unit, double value, char text_out[VALUE_TEXT_SIZE])
{
    char count_text[UNITS_TEXT_SIZE + 8], size_text[UNITS_TEXT_SIZE];
    switch (unit) {
    case BENCH_MICROSECONDS:
        snprintf(text_out, VALUE_TEXT_SIZE, "%.1f us", value);
        return;
    case BENCH_SECONDS:
        snprintf(text_out, VALUE_TEXT_SIZE, "%.3f s", value);
        return;
    case BENCH_EVENTS_PER_SECOND:
        units_format_count((uint64_t)value, count_text);
        snprintf(text_out, VALUE_TEXT_SIZE, "%s/s", count_text);
        return;
    case BENCH_BYTES:
        units_format_size((uint64_t)value, size_text);
        snprintf(text_out, VALUE_TEXT_SIZE, "%s", size_text);
        return;
    case BENCH_PERCENT:
        snprintf(text_out, VALUE_TEXT_SIZE, "%.1f %%", value);
        return;
    case BENCH_RATIO:
        break;
    }
    snprintf(text_out, VALUE_TEXT_SIZE, "%.2fx", value);
}

/* A goal that a short run reaches says as little as one that it does not. */
static const char *judge(const struct bench_report *report, const struct bench_figure *figure,
                         double value)
{
    if (!report->judges)
        return "run too short to judge";
    return meets(figure, value) ? "met" : "MISSED";
}

static void print_series(const struct bench_report *report, const struct series *series,
                         bool same_subject, FILE *out)
{
    const struct bench_figure *figure = &series->figure;
    struct summary summary = summarize(series);
    char median[VALUE_TEXT_SIZE], lowest[VALUE_TEXT_SIZE], highest[VALUE_TEXT_SIZE];
    format_value(figure->unit, summary.median, median);
    format_value(figure->unit, summary.lowest, lowest);
    format_value(figure->unit, summary.highest, highest);
    fprintf(out, "  %-52s %-8s %14s %14s %14s", same_subject ? "" : figure->subject,
            figure->measure, median, lowest, highest);
    if (figure->goal != BENCH_NO_GOAL) {
        char target[VALUE_TEXT_SIZE];
        format_value(figure->unit, figure->target, target);
        fprintf(out, "   goal %s %s: %s", figure->goal == BENCH_AT_MOST ? "<=" : ">=", target,
                judge(report, figure, summary.median));
    }
    fputc('\n', out);
}

void bench_report_print_table(const struct bench_report *report, FILE *out)
{
    const struct bench_figure *before = NULL;
    for (size_t i = 0; i < report->series_count; i++) {
        const struct bench_figure *figure = &report->series[i].figure;
        bool same_suite = before && strcmp(before->suite, figure->suite) == 0;
        if (!same_suite)
            fprintf(out, "\n%-63s %14s %14s %14s\n", figure->suite, "median", "lowest", "highest");
        bool same_subject = same_suite && strcmp(before->subject, figure->subject) == 0;
        print_series(report, &report->series[i], same_subject, out);
        before = figure;
    }
    if (report->note_count > 0)
        fputc('\n', out);
    for (size_t i = 0; i < report->note_count; i++)
        fprintf(out, "- %s\n", report->notes[i]);
}

static enum error_code append_series(const struct bench_report *report,
                                     const struct series *series, struct buffer *out,
                                     struct error *error)
{
    const struct bench_figure *figure = &series->figure;
    struct summary summary = summarize(series);
    enum error_code code = buffer_printf(
        out, error,
        "{\"suite\":\"%s\",\"name\":\"%s\",\"subject\":\"%s\",\"measure\":\"%s\",\"unit\":\"%s\","
        "\"median\":%.6g,\"min\":%.6g,\"max\":%.6g,\"rounds\":[",
        figure->suite, figure->name, figure->subject, figure->measure, unit_names[figure->unit],
        summary.median, summary.lowest, summary.highest);
    for (size_t i = 0; i < series->count && !code; i++)
        code = buffer_printf(out, error, "%s%.6g", i ? "," : "", series->values[i]);
    if (!code)
        code = buffer_printf(out, error, "]");
    if (!code && figure->goal != BENCH_NO_GOAL)
        code = buffer_printf(out, error, ",\"goal\":\"%s\",\"target\":%.6g,\"met\":%s",
                             figure->goal == BENCH_AT_MOST ? "at most" : "at least", figure->target,
                             !report->judges                  ? "null"
                             : meets(figure, summary.median) ? "true"
                                                             : "false");
    if (!code)
        code = buffer_printf(out, error, "}");
    return code;
}

enum error_code bench_report_append_json(const struct bench_report *report, struct buffer *out,
                                         struct error *error)
{
    enum error_code code = buffer_printf(out, error, "\"figures\":[");
    for (size_t i = 0; i < report->series_count && !code; i++) {
        if (i > 0)
            code = buffer_printf(out, error, ",");
        if (!code)
            code = append_series(report, &report->series[i], out, error);
    }
    if (!code)
        code = buffer_printf(out, error, "],\"notes\":[");
    for (size_t i = 0; i < report->note_count && !code; i++) {
        if (i > 0)
            code = buffer_printf(out, error, ",");
        if (!code)
            code = json_append_string(out, report->notes[i], strlen(report->notes[i]), error);
    }
    if (!code)
        code = buffer_printf(out, error, "]");
    return code;
}

void bench_report_free(struct bench_report *report)
{
    free(report);
}
