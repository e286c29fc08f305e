/*
 * tools/daybook/pace_report.h - how faithful a replay was, for people and as JSON.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_PACE_REPORT_H
#define DAYBOOK_TOOLS_DAYBOOK_PACE_REPORT_H

#include "core/error.h"
#include "tools/daybook/pace.h"

struct pace_report {
    const struct pace *pace;
    uint64_t rounds;
    uint64_t refused; /* by the daemon that it went to */
    int64_t took_ns;
    int64_t sending_ns; /* until the last event left */
    bool interrupted;
};

/* A few sentences on stderr. */
void pace_report_print(const struct pace_report *report);
/* One JSON object into the file `path`, which is made or replaced. */
enum error_code pace_report_write(const struct pace_report *report, const char *path,
                                  struct error *error);

#endif
