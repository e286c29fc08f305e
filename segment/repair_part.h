/*
 * segment/repair_part.h - what one segment will hold after a repair.
 *
 * Planning and writing walk the same way over what can be read, so that a dry run tells what a
 * repair does.
 */
#ifndef DAYBOOK_SEGMENT_REPAIR_PART_H
#define DAYBOOK_SEGMENT_REPAIR_PART_H

#include "segment/repair_plan.h"

struct segment_repair_part_visitor {
    /* EVENTS, or PRODUCERS before anything else. */
    enum error_code (*block)(void *context, const struct segment_salvage_block *block,
                             struct error *error);
    /* on_record: an earlier repair or recovery has written it down; else it is a loss of now. */
    enum error_code (*gap)(void *context, const struct segment_format_gap *gap, bool on_record,
                           struct error *error);
    void *context;
};

/*
 * Visit blocks and gaps from part->segment.sequence_first to part->sequence_last, without a hole
 * between them.
 */
enum error_code segment_repair_part_walk(const struct segment_repair_plan *plan,
                                         const struct segment_repair_part *part,
                                         const struct segment_repair_part_visitor *visitor,
                                         struct error *error);

/*
 * Set what is kept and lost of a part that is to be renewed. For the last segment of the log also
 * where it ends: behind everything that it names.
 */
enum error_code segment_repair_part_measure(const struct segment_repair_plan *plan,
                                            struct segment_repair_part *part, bool last,
                                            struct error *error);
/* Does the device refuse any byte of the file? */
enum error_code segment_repair_part_is_unreadable(const struct segment_repair_plan *plan,
                                                  const struct segment_set_segment *segment,
                                                  bool *unreadable_out, struct error *error);
/*
 * The last sequence that the segment itself says to have; 0: it does not tell. And the last event
 * that can be read of it; 0: none.
 */
enum error_code segment_repair_part_end(const struct segment_repair_plan *plan,
                                        const struct segment_repair_part *part, uint64_t *last_out,
                                        uint64_t *events_last_out, struct error *error);

#endif
