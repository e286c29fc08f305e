/*
 * tests/support/broken_calls.h - one call on the disk that fails, or before which something
 * happens.
 *
 * A table for core/file_calls.h around the kernel's. It counts the calls of one kind and lets the
 * number-th fail; or it calls a function first, as if another process had been faster. It also
 * counts what is open, so that a test can ask whether everything was closed. (The systematic
 * campaign over all calls is tests/campaigns/faults.c; this is for one call at a time.)
 */
#ifndef DAYBOOK_TESTS_SUPPORT_BROKEN_CALLS_H
#define DAYBOOK_TESTS_SUPPORT_BROKEN_CALLS_H

#include <stdbool.h>

enum broken_call {
    BROKEN_ANY,
    BROKEN_OPEN,
    BROKEN_STATUS, /* of a descriptor or of a name */
    BROKEN_READ,
    BROKEN_WRITE, /* one block or a vector of them */
    BROKEN_SYNC,  /* of data or of a directory */
    BROKEN_ALLOCATE,
    BROKEN_RENAME,
    BROKEN_UNLINK,
    BROKEN_MAKE_DIRECTORY,
    BROKEN_LIST,
    BROKEN_MAP,
    BROKEN_LOCK,
    BROKEN_CALLS
};

struct broken_plan {
    enum broken_call call;
    unsigned number;       /* which of them, from 1 */
    bool for_ever;         /* and all that follow */
    int reason;            /* errno; 0: it does not fail */
    void (*before)(void);  /* called once, before the number-th; may be NULL */
    const char *name_part; /* only calls that name a file with this in its name; NULL: all */
    /* OPEN, STATUS, READ: only of the file that has this path now, not of one that replaces it. */
    const char *bad_file;
};

void broken_calls_begin(const struct broken_plan *plan);
/* The kernel's calls again. Returns how often the plan came true. */
unsigned broken_calls_end(void);
/* Descriptors and maps opened and not closed since begin; negative: closed without. */
int broken_calls_open(void);

#endif
