/*
 * tools/torture/cuts.h - what a power cut can leave, put on a real disk and recovered there.
 *
 * A random workload runs on the simulated disk (tools/torture/disk.h); its power is cut at random
 * operations; the files that this leaves are written to a real directory, and the log is read,
 * recovered and read again by the kernel's calls, on the user's own file system. What was
 * acknowledged is known outside of both disks (tools/torture/oracle.h).
 *
 * One thread, and no log open elsewhere in the process: the table of system calls is changed.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CUTS_H
#define DAYBOOK_TOOLS_TORTURE_CUTS_H

#include <stdint.h>

#include "core/error.h"

struct torture_cuts;

struct torture_cuts_counts {
    uint64_t states;
    uint64_t torn;         /* of them: with a torn end */
    uint64_t acknowledged; /* events that had to be there, summed over the states */
};

/* Logs below `path`, a directory that exists and is empty. */
enum error_code torture_cuts_create(const char *path, uint64_t seed, struct torture_cuts **cuts_out,
                                    struct error *error);
/* Accepts NULL; deletes nothing. */
void torture_cuts_free(struct torture_cuts *cuts);
/*
 * One state. ERROR_DAMAGED: a promise was broken, the text says which, and the log is left where it
 * is; other errors: the real disk would not let us.
 */
enum error_code torture_cuts_once(struct torture_cuts *cuts, struct error *error);
void torture_cuts_count(const struct torture_cuts *cuts, struct torture_cuts_counts *counts_out);

#endif
