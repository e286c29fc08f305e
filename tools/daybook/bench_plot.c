#include "tools/daybook/bench_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"

enum {
    WIDTH = 960,
    MARGIN = 24,
    LABEL_WIDTH = 400, /* left of the dots */
    VALUE_WIDTH = 80,  /* for the number right of the last */
    ROW = 22,
    HEADING = 48,
    TITLE = 56,
    CURVES_HEIGHT = 320,
    CURVES_LEFT = 72,
    LEGEND = 20, /* a line of it */
};

/* One that tells eight curves apart, also for those who see few colours (Okabe and Ito). */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#e69f00", "#56b4e9", "#000000", "#999999"};
enum { COLOURS = sizeof colours / sizeof *colours };

/* Our texts have none of < > & but in "p50 / raw", and titles name file systems and kernels. */
static void draw_text(FILE *out, double x, double y, const char *attributes, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    for (; *text; text++) {
        if (*text == '<' || *text == '>' || *text == '&')
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
    fprintf(out, "</text>\n");
}

static bool is_rate(const struct bench_report *report, size_t i)
{
    return bench_report_figure(report, i)->unit == BENCH_EVENTS_PER_SECOND &&
           bench_report_median(report, i) > 0;
}

static size_t count_rates(const struct bench_report *report)
{
    size_t rates = 0;
    for (size_t i = 0; i < bench_report_count(report); i++)
        rates += is_rate(report, i);
    return rates;
}

static const char *colour_of(const char *subject)
{
    bool others = strstr(subject, "SQLite") || strstr(subject, "raw limit");
    return others ? colours[COLOURS - 1] : colours[0];
}

/* What is compared lies four powers of ten apart, so there are dots on a grid, no bars. */
static void draw_rates(FILE *out, const struct bench_report *report, double top)
{
    double highest = 0, lowest = HUGE_VAL;
    for (size_t i = 0; i < bench_report_count(report); i++) {
        if (!is_rate(report, i))
            continue;
        highest = fmax(highest, bench_report_median(report, i));
        lowest = fmin(lowest, bench_report_median(report, i));
    }
    double from = floor(log10(lowest)), to = fmax(ceil(log10(highest)), from + 1);
    double left = MARGIN + LABEL_WIDTH, scale = (WIDTH - MARGIN - VALUE_WIDTH - left) / (to - from);
    double y = top + HEADING + ROW, bottom = y + (double)count_rates(report) * ROW - 4;
    char text[UNITS_TEXT_SIZE + 8];
    draw_text(out, MARGIN, top + HEADING / 2.0, "class=\"heading\"",
              "Events per second (median of the rounds)");
    for (double power = from; power <= to; power++) {
        double x = left + (power - from) * scale;
        units_format_count((uint64_t)pow(10, power), text);
        fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>\n",
                x, y - 8, x, bottom);
        draw_text(out, x, y - 14, "text-anchor=\"middle\"", text);
    }
    for (size_t i = 0; i < bench_report_count(report); i++) {
        const struct bench_figure *figure = bench_report_figure(report, i);
        if (!is_rate(report, i))
            continue;
        double rate = bench_report_median(report, i), x = left + (log10(rate) - from) * scale;
        units_format_count((uint64_t)rate, text);
        draw_text(out, left - 12, y + 4, "text-anchor=\"end\"", figure->subject);
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"/>\n", x, y,
                colour_of(figure->subject));
        draw_text(out, x + 10, y + 4, "class=\"value\"", text);
        y += ROW;
    }
}

/* Where the curves lie: nines to the right, powers of ten upward. */
struct axes {
    double left, right, top, bottom;
    double lowest, highest; /* log10 of microseconds */
};

static double x_of(const struct axes *axes, size_t point)
{
    double nines = -log10(1 - bench_curve_fractions[point]);
    double first = -log10(1 - bench_curve_fractions[0]);
    double last = -log10(1 - bench_curve_fractions[BENCH_CURVE_POINTS - 1]);
    return axes->left + (axes->right - axes->left) * (nines - first) / (last - first);
}

static double y_of(const struct axes *axes, double us)
{
    return axes->bottom - (axes->bottom - axes->top) * (log10(us) - axes->lowest) /
                              (axes->highest - axes->lowest);
}

static void draw_grid(FILE *out, const struct axes *axes)
{
    for (double power = axes->lowest; power <= axes->highest; power++) {
        char text[UNITS_TEXT_SIZE];
        double y = y_of(axes, pow(10, power));
        units_format_duration((int64_t)(pow(10, power) * 1e3), text);
        fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>\n",
             axes->left, y, axes->right, y);
        draw_text(out, axes->left - 8, y + 4, "text-anchor=\"end\"", text);
    }
    for (size_t point = 0; point < BENCH_CURVE_POINTS; point++) {
        char text[24];
        double x = x_of(axes, point);
        snprintf(text, sizeof text, "%g", bench_curve_fractions[point] * 100);
        fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>\n", x,
             axes->top, x, axes->bottom);
        draw_text(out, x, axes->bottom + 16, "text-anchor=\"middle\"", text);
    }
}

static void draw_curve(FILE *out, const struct axes *axes,
                       const struct bench_curves *curves, size_t i)
{
    fprintf(out, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"",
         colours[i % COLOURS]);
    for (size_t point = 0; point < BENCH_CURVE_POINTS; point++) {
        double us = bench_curves_value(curves, i, point);
        if (us > 0)
            fprintf(out, "%.1f,%.1f ", x_of(axes, point), y_of(axes, us));
    }
    fprintf(out, "\"/>\n");
    double y = axes->bottom + 2 * LEGEND + (double)i * LEGEND;
    fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"16\" height=\"4\" fill=\"%s\"/>\n",
            axes->left, y - 5, colours[i % COLOURS]);
    draw_text(out, axes->left + 24, y, "", bench_curves_subject(curves, i));
}

static void draw_curves(FILE *out, const struct bench_curves *curves, double top)
{
    double highest = 0, lowest = HUGE_VAL;
    for (size_t i = 0; i < bench_curves_count(curves); i++)
        for (size_t point = 0; point < BENCH_CURVE_POINTS; point++) {
            double us = bench_curves_value(curves, i, point);
            highest = fmax(highest, us);
            lowest = us > 0 ? fmin(lowest, us) : lowest;
        }
    if (highest <= 0)
        return;
    struct axes axes = {
        .left = MARGIN + CURVES_LEFT,
        .right = WIDTH - MARGIN,
        .top = top + HEADING,
        .bottom = top + HEADING + CURVES_HEIGHT,
        .lowest = floor(log10(lowest)),
        .highest = ceil(log10(highest)),
    };
    if (axes.highest <= axes.lowest)
        axes.highest = axes.lowest + 1;
    draw_text(out, MARGIN, top + HEADING / 2.0, "class=\"heading\"",
              "How long one durable event takes, by percentile (median of the rounds)");
    draw_grid(out, &axes);
    for (size_t i = 0; i < bench_curves_count(curves); i++)
        draw_curve(out, &axes, curves, i);
}

void bench_plot(const struct bench_report *report, const struct bench_curves *curves,
                const char *title, FILE *out)
{
    size_t rates = count_rates(report), lines = bench_curves_count(curves);
    double rates_height = rates ? HEADING + (double)(rates + 1) * ROW + MARGIN : 0;
    double curves_height =
        lines ? HEADING + CURVES_HEIGHT + 2.0 * LEGEND + (double)lines * LEGEND + MARGIN : 0;
    double height = TITLE + rates_height + curves_height;
    fprintf(out,
         "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" "
         "viewBox=\"0 0 %d %.0f\">\n"
         "<style>text{font:12px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}"
         ".heading{font-size:13px;font-weight:bold}.value{font-weight:bold}"
         ".grid{stroke:#ddd;stroke-width:1}</style>\n"
         "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
         WIDTH, height, WIDTH, height);
    draw_text(out, MARGIN, TITLE / 2.0, "class=\"title\"", "daybook bench");
    draw_text(out, MARGIN, TITLE / 2.0 + 18, "", title);
    if (rates)
        draw_rates(out, report, TITLE);
    if (lines)
        draw_curves(out, curves, TITLE + rates_height);
    fprintf(out, "</svg>\n");
}
