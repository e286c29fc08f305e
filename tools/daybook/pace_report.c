#include "tools/daybook/pace_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/units.h"

static double seconds(const struct pace_report *report)
{
    return (double)report->took_ns / 1e9;
}

/*
 * Recorded time over the time that it took; when interrupted, up to the last event that left,
 * because the wait for the next one is no slowness.
 */
static double achieved_rate(const struct pace_report *report)
{
    int64_t took_ns = report->interrupted ? report->sending_ns : report->took_ns;
    return took_ns > 0 ? (double)report->pace->span_ns / (double)took_ns : 0;
}

static void print_errors(const struct pace *pace)
{
    char half[UNITS_TEXT_SIZE], most[UNITS_TEXT_SIZE], all[UNITS_TEXT_SIZE];
    units_format_duration(pace_percentile(pace, 50), half);
    units_format_duration(pace_percentile(pace, 99), most);
    units_format_duration(pace->error_max_ns, all);
    fprintf(stderr,
            "timing error p50 %s, p99 %s, max %s; %" PRIu64 " of %" PRIu64 " more than 1 ms off\n",
            half, most, all, pace->late, pace->measured);
}

static void print_speed(const struct pace_report *report)
{
    double speed = report->took_ns > 0 ? (double)report->pace->events / seconds(report) : 0;
    char text[UNITS_TEXT_SIZE + 8];
    units_format_count((uint64_t)(speed + 0.5), text);
    fprintf(stderr, "rate max, %s events/s\n", text);
}

void pace_report_print(const struct pace_report *report)
{
    const struct pace *pace = report->pace;
    char events[UNITS_TEXT_SIZE + 8], span[UNITS_TEXT_SIZE], took[UNITS_TEXT_SIZE];
    units_format_count(pace->events, events);
    units_format_duration(pace->span_ns, span);
    units_format_duration(report->took_ns, took);
    fprintf(stderr, "replayed %s event%s spanning %s in %s%s: ", events,
            pace->events == 1 ? "" : "s", span, took, report->interrupted ? ", interrupted" : "");
    if (pace->rate > 0)
        fprintf(stderr, "rate %g asked, %.4g achieved\n", pace->rate, achieved_rate(report));
    else
        print_speed(report);
    if (pace->measured)
        print_errors(pace);
    if (pace->backward)
        fprintf(stderr, "%" PRIu64 " event%s left at once because their time goes back\n",
                pace->backward, pace->backward == 1 ? "" : "s");
}

static void write_json(const struct pace_report *report, FILE *file)
{
    const struct pace *pace = report->pace;
    fprintf(file,
            "{\"events\":%" PRIu64 ",\"rounds\":%" PRIu64 ",\"span_ns\":%" PRId64
            ",\"took_ns\":%" PRId64 ",\"rate_asked\":",
            pace->events, report->rounds, pace->span_ns, report->took_ns);
    if (pace->rate > 0)
        fprintf(file, "%.17g", pace->rate);
    else
        fputs("\"max\"", file);
    fprintf(file,
            ",\"rate_achieved\":%.17g,\"measured\":%" PRIu64 ",\"error_p50_ns\":%" PRId64
            ",\"error_p99_ns\":%" PRId64 ",\"error_max_ns\":%" PRId64,
            achieved_rate(report), pace->measured, pace_percentile(pace, 50),
            pace_percentile(pace, 99), pace->error_max_ns);
    fprintf(file,
            ",\"late\":%" PRIu64 ",\"early\":%" PRIu64 ",\"backward\":%" PRIu64
            ",\"refused\":%" PRIu64 ",\"interrupted\":%s}\n",
            pace->late, pace->early, pace->backward, report->refused,
            report->interrupted ? "true" : "false");
}

enum error_code pace_report_write(const struct pace_report *report, const char *path,
                                  struct error *error)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return error_set_errno(error, errno, "write report '%s'", path);
    write_json(report, file);
    if (fclose(file))
        return error_set_errno(error, errno, "write report '%s'", path);
    return OK;
}
