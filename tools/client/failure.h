/*
 * tools/client/failure.h - our errors, as a stranger's program gets them.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_FAILURE_H
#define DAYBOOK_TOOLS_CLIENT_FAILURE_H

#include "core/error.h"
#include "tools/client/daybook.h"

/* Set code and text and return the code. Accepts NULL for `error`. */
enum daybook_code failure_set(struct daybook_error *error, enum daybook_code code,
                              const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for an error of core or segment; the text is kept. */
enum daybook_code failure_from(struct daybook_error *error, const struct error *cause);

#endif
