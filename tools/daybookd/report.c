#include "tools/daybookd/report.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/units.h"

enum { REPORT_LINE_MAX = 1200, REPORT_TIME_TEXT = 23 /* up to the milliseconds */ };

static const char *level_name(enum report_level level)
{
    switch (level) {
    case REPORT_ERROR:
        return "error  ";
    case REPORT_WARNING:
        return "warning";
    case REPORT_INFO:
        return "info   ";
    case REPORT_DETAIL:
        return "detail ";
    }
    return "?";
}

static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

void report_line(const struct report *report, enum report_level level, const char *format, ...)
{
    if (level > report->level_max)
        return;
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(clock_realtime_ns(), time);

    char text[REPORT_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clean(text);

    char line[REPORT_LINE_MAX + 64];
    int length = snprintf(line, sizeof line, "%.*sZ %s %s\n", REPORT_TIME_TEXT, time,
                          level_name(level), text);
    /*
     * A pipe that nobody empties must not stop the daemon: with less than a page of room in it the
     * line is dropped.
     */
    struct pollfd standard_error = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&standard_error, 1, 0) <= 0 || !(standard_error.revents & POLLOUT))
        return;
    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
        return;
}
