/*
 * segment/walk_damage.h - what a walk tells, and where it goes on, when the next block is not
 * there.
 *
 * Internal to segment/walk.c, whose other half this is.
 */
#ifndef DAYBOOK_SEGMENT_WALK_DAMAGE_H
#define DAYBOOK_SEGMENT_WALK_DAMAGE_H

#include "segment/walk.h"

/* In walk.c. */
void segment_walk_leave_segment(struct segment_walk *walk);
enum error_code segment_walk_reload_set(struct segment_walk *walk, struct error *error);
/* The first live segment with a name above `sequence`; set.count when there is none. */
size_t segment_walk_index_above(const struct segment_set *set, uint64_t sequence);

/*
 * Tell that what stands between `expected` and `resume` cannot be read, and go on with `resume`.
 * OK: nobody asked for it, or it was told before.
 */
enum error_code segment_walk_report(struct segment_walk *walk, uint64_t resume, const char *what,
                                    struct error *error);
/* The same, about the block at `offset` of the open segment. */
enum error_code segment_walk_report_block(struct segment_walk *walk, uint64_t offset,
                                          uint64_t resume, const char *reason, struct error *error);
/* Another file has the name of the open one: the walk starts again with `expected`. */
bool segment_walk_was_replaced(struct segment_walk *walk);
/* No valid block stands at the offset at hand: go on with the next one behind it. */
enum error_code segment_walk_resume_after_damage(struct segment_walk *walk, uint64_t search_from,
                                                 const char *reason, struct error *error);
/* The block is valid and is not the one that must come here. */
enum error_code segment_walk_pass_misplaced(struct segment_walk *walk,
                                            const struct segment_format_block_header *header,
                                            struct error *error);
/* Keep a gap by which events were lost until somebody asks. */
void segment_walk_note_loss(struct segment_walk *walk, const struct segment_format_gap *gap);

#endif
