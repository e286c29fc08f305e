/*
 * tools/daybookd/strangers.h - files among the segments that are none: told, never touched.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_STRANGERS_H
#define DAYBOOK_TOOLS_DAYBOOKD_STRANGERS_H

#include "tools/daybookd/report.h"

/* One line for all of them, with some names; none when there are none, or they cannot be listed. */
void strangers_report(const char *directory, const struct report *report);

#endif
