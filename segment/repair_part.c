#include "segment/repair_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"

enum { READ_BYTES = 65536 };

/* From `first` on to `last` there is nothing: as far as it was promised, that is damage. */
static enum error_code visit_hole(const struct segment_repair_part *part,
                                  const struct segment_repair_part_visitor *visitor, uint64_t first,
                                  uint64_t last, struct error *error)
{
    uint64_t promised = part->sequence_promised < last ? part->sequence_promised : last;
    enum error_code code = OK;
    if (first <= promised) {
        struct segment_format_gap gap = {first, promised, FORMAT_GAP_DAMAGE};
        code = visitor->gap(visitor->context, &gap, false, error);
        first = promised + 1;
    }
    if (!code && first <= last) {
        struct segment_format_gap gap = {first, last, FORMAT_GAP_TORN_TAIL};
        code = visitor->gap(visitor->context, &gap, false, error);
    }
    return code;
}

/* A gap that was on record stays there, cut where the next segment begins. */
static enum error_code visit_gap(const struct segment_repair_part_visitor *visitor,
                                 const struct segment_salvage_block *block, struct error *error)
{
    struct segment_format_gap gap;
    enum error_code code = segment_format_decode_gap(block->raw, block->raw_bytes, &gap, error);
    gap.sequence_last = block->sequence_last;
    return code ? code : visitor->gap(visitor->context, &gap, true, error);
}

static enum error_code walk_salvage(struct segment_salvage *salvage,
                                    const struct segment_repair_part *part,
                                    const struct segment_repair_part_visitor *visitor,
                                    struct error *error)
{
    uint64_t expected = part->segment.sequence_first;
    for (;;) {
        struct segment_salvage_block block;
        enum error_code code = segment_salvage_next(salvage, &block, error);
        if (code == ERROR_END)
            return visit_hole(part, visitor, expected, part->sequence_last, error);
        if (code)
            return code;
        if (block.kind == FORMAT_BLOCK_PRODUCERS) {
            if (expected == part->segment.sequence_first && block.sequence_first == expected)
                code = visitor->block(visitor->context, &block, error);
        } else {
            code = visit_hole(part, visitor, expected, block.sequence_first - 1, error);
            if (!code && block.kind == FORMAT_BLOCK_GAP)
                code = visit_gap(visitor, &block, error);
            else if (!code)
                code = visitor->block(visitor->context, &block, error);
            expected = block.sequence_last + 1;
        }
        if (code)
            return code;
    }
}

enum error_code segment_repair_part_walk(const struct segment_repair_plan *plan,
                                         const struct segment_repair_part *part,
                                         const struct segment_repair_part_visitor *visitor,
                                         struct error *error)
{
    struct segment_salvage salvage = {0};
    if (part->fate == REPAIR_FILL)
        return visit_hole(part, visitor, part->segment.sequence_first, part->sequence_last, error);
    enum error_code code = segment_salvage_open(&salvage, plan->segments_fd, &part->segment,
                                                plan->log_id, part->sequence_last, error);
    if (!code)
        code = walk_salvage(&salvage, part, visitor, error);
    segment_salvage_release(&salvage);
    return code;
}

struct measuring {
    struct segment_repair_part *part;
    size_t told;   /* bytes of part->lost */
    size_t ranges; /* that were lost, in all */
};

static enum error_code measure_block(void *context, const struct segment_salvage_block *block,
                                     struct error *error)
{
    struct measuring *measuring = context;
    (void)error;
    measuring->part->events_kept += block->event_count;
    return OK;
}

static enum error_code measure_gap(void *context, const struct segment_format_gap *gap,
                                   bool on_record, struct error *error)
{
    enum { RANGES_TOLD = 4, RANGE_BYTES = 48 };
    struct measuring *measuring = context;
    struct segment_repair_part *part = measuring->part;
    char *at = part->lost + measuring->told;
    size_t left = sizeof part->lost - measuring->told;
    (void)error;
    if (on_record || gap->cause != FORMAT_GAP_DAMAGE)
        return OK;
    part->events_lost += gap->sequence_last - gap->sequence_first + 1;
    if (measuring->ranges > RANGES_TOLD)
        return OK;
    if (++measuring->ranges > RANGES_TOLD || left < RANGE_BYTES) {
        measuring->ranges = RANGES_TOLD + 1; /* the rest is told by its number alone */
        snprintf(at, left, ", …");
        return OK;
    }
    const char *comma = measuring->told ? ", " : "";
    if (gap->sequence_first == gap->sequence_last)
        snprintf(at, left, "%s%" PRIu64, comma, gap->sequence_first);
    else
        snprintf(at, left, "%s%" PRIu64 " to %" PRIu64, comma, gap->sequence_first,
                 gap->sequence_last);
    measuring->told += strlen(at);
    return OK;
}

/* Is there anything between `offset` and the trailer? What cannot be read counts as something. */
static bool has_bytes_behind(struct segment_view *view, uint64_t offset)
{
    uint64_t end = view->segment_bytes < view->map.size ? view->segment_bytes : view->map.size;
    while (offset + FORMAT_TRAILER_BYTES < end) {
        uint64_t left = end - FORMAT_TRAILER_BYTES - offset;
        size_t size = left < READ_BYTES ? (size_t)left : READ_BYTES;
        const uint8_t *bytes = NULL;
        if (segment_view_bytes(view, offset, size, &bytes, NULL) || !bytes_are_zero(bytes, size))
            return true;
        offset += size;
    }
    return false;
}

/* Is some of the file not there any more? */
static bool is_cut(const struct segment_set_segment *segment)
{
    if (segment->header_verdict == FORMAT_VALID)
        return segment->size_bytes < segment->header.size_bytes;
    return segment->size_bytes < FORMAT_SEGMENT_BYTES_MIN ||
           segment->size_bytes % FORMAT_SEGMENT_HEADER_BYTES != 0;
}

/* One refusal may pass: look again. */
enum error_code segment_repair_part_is_unreadable(const struct segment_repair_plan *plan,
                                                  const struct segment_set_segment *segment,
                                                  bool *unreadable_out, struct error *error)
{
    uint8_t bytes[READ_BYTES]; /* nobody looks at them */
    bool unreadable = false;
    int fd = -1;
    enum error_code code = file_open(plan->segments_fd, segment->name, FILE_READ, &fd, error);
    if (code)
        return code;
    for (uint64_t at = 0; at < segment->size_bytes && !unreadable; at += sizeof bytes) {
        uint64_t left = segment->size_bytes - at;
        size_t size = left < sizeof bytes ? (size_t)left : sizeof bytes;
        unreadable = file_read(fd, segment->name, bytes, size, at, NULL) &&
                     file_read(fd, segment->name, bytes, size, at, NULL);
    }
    file_close(&fd);
    *unreadable_out = unreadable;
    return OK;
}

/* Run through all of it, to learn what it names, and the last event that is there to be given. */
static enum error_code explore(const struct segment_repair_plan *plan,
                               const struct segment_repair_part *part,
                               struct segment_salvage *salvage, uint64_t *events_last_out,
                               struct error *error)
{
    struct segment_salvage_block block;
    *events_last_out = 0;
    enum error_code code = segment_salvage_open(salvage, plan->segments_fd, &part->segment,
                                                plan->log_id, UINT64_MAX, error);
    while (!code) {
        code = segment_salvage_next(salvage, &block, error);
        if (!code && block.kind == FORMAT_BLOCK_EVENTS)
            *events_last_out = block.sequence_last;
    }
    return code == ERROR_END ? OK : code;
}

/*
 * The last segment ends behind everything that it names. What a witness has seen behind that is
 * lost here, too, when bytes lie where it must have been: they are kept.
 */
static void end_last(const struct segment_repair_plan *plan, struct segment_repair_part *part,
                     struct segment_salvage *salvage)
{
    uint64_t last = salvage->sequence_seen;
    part->sequence_promised = salvage->sequence_promised;
    /* A sealed segment must not have the name that the next one needs. */
    if (last < part->segment.sequence_first)
        last = part->segment.sequence_first;
    if (plan->witness > last && !salvage->sealed &&
        has_bytes_behind(&salvage->view, salvage->offset))
        last = plan->witness;
    if (plan->witness > part->sequence_promised)
        part->sequence_promised = plan->witness < last ? plan->witness : last;
    part->sequence_last = last;
}

enum error_code segment_repair_part_measure(const struct segment_repair_plan *plan,
                                            struct segment_repair_part *part, bool last,
                                            struct error *error)
{
    struct segment_salvage salvage = {0};
    uint64_t events_last;
    enum error_code code = explore(plan, part, &salvage, &events_last, error);
    if (!code && last)
        end_last(plan, part, &salvage);
    part->lacks_producers = salvage.begins_bad;
    part->epoch = salvage.epoch;
    segment_salvage_release(&salvage);
    if (code)
        return code;

    struct measuring measuring = {.part = part};
    struct segment_repair_part_visitor visitor = {measure_block, measure_gap, &measuring};
    part->events_kept = part->events_lost = 0;
    code = segment_repair_part_walk(plan, part, &visitor, error);
    part->needs_acceptance |=
        part->events_lost > 0 &&
        (is_cut(&part->segment) ||
         part->events_lost / REPAIR_EVENTS_PER_BYTE_MAX > part->segment.size_bytes);
    if (code || part->events_lost == 0 || part->needs_acceptance)
        return code;
    return segment_repair_part_is_unreadable(plan, &part->segment, &part->needs_acceptance, error);
}

enum error_code segment_repair_part_end(const struct segment_repair_plan *plan,
                                        const struct segment_repair_part *part, uint64_t *last_out,
                                        uint64_t *events_last_out, struct error *error)
{
    struct segment_salvage salvage = {0};
    enum error_code code = explore(plan, part, &salvage, events_last_out, error);
    if (!code)
        *last_out = salvage.sealed ? salvage.trailer.sequence_last : 0;
    segment_salvage_release(&salvage);
    return code;
}
