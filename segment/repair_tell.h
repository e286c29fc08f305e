/*
 * segment/repair_tell.h - a plan in sentences.
 */
#ifndef DAYBOOK_SEGMENT_REPAIR_TELL_H
#define DAYBOOK_SEGMENT_REPAIR_TELL_H

#include "segment/repair_plan.h"

/* Call options->tell with what is wrong and what is done about it, and add it all up. */
void segment_repair_tell(const struct segment_repair_plan *plan,
                         const struct segment_repair_options *options,
                         struct segment_repair_totals *totals_out);

#endif
