#include "tools/daybook/bench_curves.h"

#include <stdlib.h>
#include <string.h>

enum { CURVES_MAX = 16, ROUNDS_MAX = 100, SAMPLES_BEHIND_MIN = 3 };

const double bench_curve_fractions[BENCH_CURVE_POINTS] = {0.5,   0.75,  0.9,    0.95,  0.98,
                                                          0.99, 0.995, 0.999, 0.9995, 0.9999};

struct curve {
    const char *subject;
    size_t rounds;
    double us[BENCH_CURVE_POINTS][ROUNDS_MAX];
};

struct bench_curves {
    size_t count;
    struct curve curves[CURVES_MAX];
};

enum error_code bench_curves_create(struct bench_curves **curves_out, struct error *error)
{
    *curves_out = calloc(1, sizeof **curves_out);
    return *curves_out ? OK : error_set(error, ERROR_MEMORY, "no memory for the curves");
}

void bench_curves_free(struct bench_curves *curves)
{
    free(curves);
}

static enum error_code add_curve(struct bench_curves *curves, const char *subject,
                                 struct bench_samples *samples, struct error *error)
{
    size_t i = 0;
    while (i < curves->count && strcmp(curves->curves[i].subject, subject) != 0)
        i++;
    if (i == CURVES_MAX || curves->curves[i].rounds == ROUNDS_MAX)
        return error_set(error, ERROR_FULL, "there is no place for more curves");
    struct curve *curve = &curves->curves[i];
    curve->subject = subject;
    curves->count += i == curves->count;
    for (size_t point = 0; point < BENCH_CURVE_POINTS; point++) {
        double fraction = bench_curve_fractions[point];
        bool enough = (double)samples->count * (1 - fraction) >= SAMPLES_BEHIND_MIN;
        curve->us[point][curve->rounds] =
            enough ? (double)bench_samples_percentile(samples, fraction) / 1e3 : 0;
    }
    curve->rounds++;
    return OK;
}

enum error_code bench_curves_add(const struct bench *bench, const struct bench_figure *p50,
                                 const struct bench_figure *p99, struct bench_samples *samples,
                                 struct error *error)
{
    enum error_code code = bench_report_add(
        bench->report, p50, (double)bench_samples_percentile(samples, 0.5) / 1e3, error);
    if (!code)
        code = bench_report_add(bench->report, p99,
                                (double)bench_samples_percentile(samples, 0.99) / 1e3, error);
    return code ? code : add_curve(bench->curves, p50->subject, samples, error);
}

size_t bench_curves_count(const struct bench_curves *curves)
{
    return curves->count;
}

const char *bench_curves_subject(const struct bench_curves *curves, size_t i)
{
    return curves->curves[i].subject;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double bench_curves_value(const struct bench_curves *curves, size_t i, size_t point)
{
    const struct curve *curve = &curves->curves[i];
    double sorted[ROUNDS_MAX];
    memcpy(sorted, curve->us[point], curve->rounds * sizeof *sorted);
    qsort(sorted, curve->rounds, sizeof *sorted, compare);
    return curve->rounds ? sorted[curve->rounds / 2] : 0;
}
