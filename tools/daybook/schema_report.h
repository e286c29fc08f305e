/*
 * tools/daybook/schema_report.h - what `daybook schema check` has found, on stdout.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SCHEMA_REPORT_H
#define DAYBOOK_TOOLS_DAYBOOK_SCHEMA_REPORT_H

#include "tools/daybook/rows.h"
#include "tools/daybook/schema_history.h"

/* `schema` names it: a file, or "version 2". JSON is one object; CSV only the examples. */
enum error_code schema_report(const char *topic, const char *schema,
                              const struct schema_history *history, enum rows_format format,
                              struct error *error);

#endif
