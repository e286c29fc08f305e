#include "segment/walk_damage.h"

#include <inttypes.h>

#include "core/file.h"

/*
 * Tell that what stands between `expected` and `resume` cannot be read, and go on with `resume`.
 * Nothing is told, and the walk simply goes on (OK), about what nobody asked for, and twice about
 * the same place.
 */
enum error_code segment_walk_report(struct segment_walk *walk, uint64_t resume, const char *what,
                                    struct error *error)
{
    uint64_t first = walk->expected;
    uint64_t end = resume > walk->horizon.limit + 1 ? walk->horizon.limit + 1 : resume;
    bool again = walk->reported;
    walk->reported = end < resume;
    if (end <= first) {
        walk->reported |= again;
        if (again)
            return OK;
        return error_set(error, ERROR_DAMAGED, "%s; no event is lost by it", what);
    }
    walk->expected = end;
    if (end <= walk->from)
        return OK;
    if (first < walk->from)
        first = walk->from;
    if (first == end - 1)
        return error_set(error, ERROR_DAMAGED, "%s; event %" PRIu64 " cannot be read", what, first);
    return error_set(error, ERROR_DAMAGED, "%s; events %" PRIu64 " to %" PRIu64 " cannot be read",
                     what, first, end - 1);
}

/* As report, about the block at `offset` of the open segment. */
enum error_code segment_walk_report_block(struct segment_walk *walk, uint64_t offset,
                                          uint64_t resume, const char *reason, struct error *error)
{
    struct error what;
    error_set(&what, ERROR_DAMAGED, "segment %s: block at byte %" PRIu64 ": %s",
              walk->view.segment.name, offset, reason);
    return segment_walk_report(walk, resume, what.text, error);
}

/* Where the walk can go on when no valid block follows in the open segment. */
static enum error_code resume_behind_segment(struct segment_walk *walk, uint64_t *resume_out,
                                             struct error *error)
{
    const struct segment_set_segment *segment = &walk->view.segment;
    uint64_t resume = UINT64_MAX;
    enum error_code code = OK;
    if (segment_walk_index_above(&walk->set, segment->sequence_first) == walk->set.count)
        code = segment_walk_reload_set(walk, error);
    if (code)
        return code;
    size_t next = segment_walk_index_above(&walk->set, segment->sequence_first);
    if (next < walk->set.count)
        resume = walk->set.segments[next].sequence_first;
    if (segment->sealed)
        resume = segment->trailer.sequence_last + 1;
    *resume_out = resume;
    return OK;
}

/*
 * Is what is open not the file any more that has the name? A repair has put another in its place,
 * or retention has deleted it: then look there before anything is called damaged. True: the walk
 * starts again with `expected`.
 */
bool segment_walk_was_replaced(struct segment_walk *walk)
{
    if (file_is_named(walk->view.map.fd, walk->segments_fd, walk->view.segment.name))
        return false;
    segment_walk_leave_segment(walk);
    walk->finished = 0;
    if (walk->from < walk->expected)
        walk->from = walk->expected;
    return true;
}

/* No valid block stands at `offset`: search for the next one, behind it. */
enum error_code segment_walk_resume_after_damage(struct segment_walk *walk, uint64_t search_from,
                                                 const char *reason, struct error *error)
{
    uint64_t offset = walk->offset;
    struct segment_format_block_header found;
    enum error_code code = segment_view_find(&walk->view, search_from, &found, error);
    while (!code && found.sequence_first < walk->expected)
        code = segment_view_find(&walk->view, found.offset + FORMAT_ALIGNMENT, &found, error);

    if (!code && found.sequence_first <= walk->horizon.limit + 1) {
        walk->offset = found.offset;
        walk->chain_known = false;
        code = segment_walk_report_block(walk, offset, found.sequence_first, reason, error);
        walk->reported = false;
        return code;
    }
    uint64_t resume = UINT64_MAX;
    if (code == ERROR_END)
        code = resume_behind_segment(walk, &resume, error);
    if (code)
        return code;
    code = segment_walk_report_block(walk, offset, resume, reason, error);
    if (resume != UINT64_MAX && !walk->reported)
        segment_walk_leave_segment(walk);
    return code;
}

/* The block is valid and is not the one that must come here. */
enum error_code segment_walk_pass_misplaced(struct segment_walk *walk,
                                            const struct segment_format_block_header *header,
                                            struct error *error)
{
    const char *reason = "it does not follow the block before it";
    uint64_t resume = header->sequence_first;
    /* From now on it counts as the one before. What is older than what was given is passed over. */
    walk->chain_known = false;
    if (resume < walk->expected) {
        resume = walk->expected;
        walk->offset += header->size_bytes;
        reason = "it repeats sequences that came before";
    }
    return segment_walk_report_block(walk, header->offset, resume, reason, error);
}

void segment_walk_note_loss(struct segment_walk *walk, const struct segment_format_gap *gap)
{
    struct segment_format_gap loss = *gap;
    struct segment_format_gap *last =
        walk->loss_count > 0 ? &walk->losses[walk->loss_count - 1] : NULL;
    if (loss.sequence_first < walk->from)
        loss.sequence_first = walk->from;
    if (last && last->cause == loss.cause && last->sequence_last + 1 == loss.sequence_first)
        last->sequence_last = loss.sequence_last;
    else if (walk->loss_count < WALK_LOSSES_MAX)
        walk->losses[walk->loss_count++] = loss;
}
