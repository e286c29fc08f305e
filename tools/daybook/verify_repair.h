/*
 * tools/daybook/verify_repair.h - `daybook verify --repair`: the half of the verb that writes.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_VERIFY_REPAIR_H
#define DAYBOOK_TOOLS_DAYBOOK_VERIFY_REPAIR_H

#include <stdbool.h>

struct verify_repair_request {
    const char *directory;
    bool dry_run;
    bool accept_loss;
};

/* Says what it does on stdout, one line each, the rest on stderr. Returns the exit status. */
int verify_repair(const char *verb, const struct verify_repair_request *request);

#endif
