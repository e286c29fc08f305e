/*
 * tools/daybookd/report.h - the daemon's words for people: one plain line each, on stderr.
 *
 *     2025-09-09T03:03:01.642Z info    ready
 *
 * Each line is one write, so lines of several threads do not mix. Text from strangers is cleaned of
 * control characters. Never waits: a line that a full pipe does not take is dropped.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_REPORT_H
#define DAYBOOK_TOOLS_DAYBOOKD_REPORT_H

enum report_level {
    REPORT_ERROR,   /* the daemon cannot do its work */
    REPORT_WARNING, /* somebody should look */
    REPORT_INFO,
    REPORT_DETAIL, /* with -v */
};

struct report {
    enum report_level level_max;
};

void report_line(const struct report *report, enum report_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
