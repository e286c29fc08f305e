/*
 * segment/repair_write.h - write one segment of a repaired log, and put it in its place.
 *
 * Old file into quarantine; new file beside it, synced, read back and checked against what was
 * read of the old one; rename; directory sync. Nothing changes its name before all of that is true.
 */
#ifndef DAYBOOK_SEGMENT_REPAIR_WRITE_H
#define DAYBOOK_SEGMENT_REPAIR_WRITE_H

#include "segment/repair_plan.h"

/*
 * `before` is the segment in front of it, as it is now; NULL: there is none. It becomes the one
 * that was written.
 */
enum error_code segment_repair_write(const struct segment_repair_plan *plan,
                                     const struct segment_repair_part *part,
                                     const struct segment_set_segment *before,
                                     struct segment_set_segment *written_out, struct error *error);

#endif
