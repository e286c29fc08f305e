/*
 * tools/torture/corruption_judge.h - was a damaged log treated as promised?
 *
 * The promises: no event that was never published is given out; every event whose block is still
 * whole is given out; every event that is not given out is named as lost, and no other is; damage
 * of any byte is told, also where no event is lost; what was durable is never cut by a writer, and
 * no sequence is given twice.
 *
 * The one exception that docs/format.md states: at the end of the last segment, behind everything
 * that a later block or the watermark page vouches for, damage may look like the torn end of an
 * unfinished write. Such a case is undecidable.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_JUDGE_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_JUDGE_H

#include "tools/torture/corruption_look.h"
#include "tools/torture/corruption_state.h"

struct corruption_verdict {
    bool changed;     /* false: the damage wrote what was there already */
    bool by_verify;   /* told by a finding, or it would not run at all */
    bool by_reader;   /* told by the reader */
    bool refused;     /* the writer would not start */
    bool as_torn;     /* told as a torn tail only, which is cut; no event is lost by it */
    bool undecidable; /* not told: the stated exception */
    uint64_t lost;    /* events that cannot be read any more */
    /* Of them, how many nobody names, because nobody knows where the log ended. */
    uint64_t unreported;
    bool beyond_last_commit; /* some of these were not in the last commit */
};

/*
 * Call after verify, reader and writer had their look. `page`: the watermark page is still there.
 * Broken promises go to look->fault.
 */
void corruption_judge(const struct corruption_state *state, struct corruption_look *look, bool page,
                      struct corruption_verdict *verdict_out);

#endif
