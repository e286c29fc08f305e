/*
 * segment/repair_bound.h - what a repair does about DIR/lower-bound.
 *
 * The index knows the bound, too, and what it knows is taken where the file says nothing; else the
 * first segment that is there. Looking changes nothing, and finds the same after a repair that was
 * interrupted anywhere (segment/repair_plan.h).
 */
#ifndef DAYBOOK_SEGMENT_REPAIR_BOUND_H
#define DAYBOOK_SEGMENT_REPAIR_BOUND_H

#include "segment/set.h"

struct segment_repair_bound {
    enum segment_repair_bound_fate {
        REPAIR_BOUND_KEEP,    /* it is as it should be */
        REPAIR_BOUND_COPY,    /* a file: a copy is kept, and the new one put over it */
        REPAIR_BOUND_MOVE,    /* a directory, which goes to quarantine itself */
        REPAIR_BOUND_REPLACE, /* a link, a pipe, a file that cannot be opened: nothing to copy */
        REPAIR_BOUND_MAKE,    /* nothing is there */
    } fate;
    bool uncertain; /* what retention deleted cannot be told from what is missing */
    char why[600];  /* what is wrong with it */
};

/* What else is known. */
struct segment_repair_bound_knowledge {
    uint64_t witness; /* the bound as the index knows it; 0: it does not */
    bool unfinished;  /* an earlier repair was interrupted */
};

/*
 * Decide, and give `set`, as it was loaded, the bound that it is to have. An error: nobody can
 * tell.
 */
enum error_code segment_repair_bound_plan(int log_fd, struct segment_set *set,
                                          const struct segment_repair_bound_knowledge *knowledge,
                                          struct segment_repair_bound *bound_out,
                                          struct error *error);
/* Do what was decided, so that the bound is `sequence`. Durable on return. */
enum error_code segment_repair_bound_restore(int log_fd, const struct segment_repair_bound *bound,
                                             uint64_t sequence, struct error *error);

#endif
